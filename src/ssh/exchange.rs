//! The key exchange, first and later ones (RFC 4253 §7, RFC 8731,
//! draft-ietf-sshm-mlkem-hybrid-kex).
//!
//! States are the variants of [`ExchangeState`]; each owns what only it needs. The exchange never
//! decides what may come in a state, that is [`super::admit`]; it never starts by itself, its owner
//! counts bytes and time.
//!
//! Strict key exchange answers the Terrapin attack (CVE-2023-48795): the first exchange is not
//! encrypted, so whoever sits between the ends can insert messages (IGNORE, say) that shift the
//! sequence numbers, and then drop the first encrypted ones unseen. Under the strict rules KEXINIT
//! must be the peer's very first packet, no message but those of the exchange may come before
//! NEWKEYS, and both ends reset their sequence numbers at every NEWKEYS. Each end offers it with a
//! pseudo-method in its first KEXINIT; it holds for the connection's whole life if both do.
//!
//! A later exchange (rekeying) replaces the keys, not the session id. From our KEXINIT to our
//! NEWKEYS we send nothing else; the peer's messages go on coming until its own KEXINIT. The two
//! directions change keys independently, each behind its sender's NEWKEYS.
//!
//! ```text
//! Idle ── propose ──▶ Proposed ── KEXINIT ──▶ Reply (client) ── KEX_ECDH_REPLY ──▶ NewKeys
//!   └────────────── KEXINIT ────────────────▶ Init (server)  ── KEX_ECDH_INIT ───▶    │
//! Idle ◀──────────────────────────── NEWKEYS ─────────────────────────────────────────┘
//! ```

use zeroize::Zeroizing;

use super::admit::AdmitState;
use super::cipher::{CipherName, Opener, Sealer};
use super::config::Side;
use super::error::Error;
use super::identification::{self, Identification};
use super::kex::{ClientExchange, ExchangeHash, SharedSecret, derive_key, exchange_hash, respond};
use super::kexinit::{self, Agreed};
use super::keys::PublicKey;
use super::names::{
    SSH_MSG_KEX_ECDH_INIT, SSH_MSG_KEX_ECDH_REPLY, SSH_MSG_KEXINIT, SSH_MSG_NEWKEYS,
    SSH_MSG_USERAUTH_REQUEST,
};
use super::packet::Receiving;
use super::sender::Sender;
use super::wire::{Reader, put_string};
use crate::base::rng::Rng;

/// Where an exchange stands.
enum ExchangeState {
    /// None is under way.
    Idle,
    /// Our KEXINIT is out.
    Proposed { ours: Vec<u8> },
    /// Client: our public value is out.
    Reply { pending: ClientExchange, terms: Terms },
    /// Server: the client's public value is waited for.
    Init { terms: Terms },
    /// Our NEWKEYS is out; the peer's puts this in force.
    NewKeys { opener: Opener, first: bool },
}

/// What two KEXINITs agreed on, and themselves for the hash.
struct Terms {
    agreed: Agreed,
    ours: Vec<u8>,
    theirs: Vec<u8>,
}

/// What the first exchange left for good.
#[derive(Clone, Copy)]
struct Session {
    id: [u8; 32],
    strict: bool,
}

/// What a step of the exchange changed for the rest of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Going,
    /// Our NEWKEYS is out: what is put from now on goes under the new key.
    Sealed {
        /// It is the first exchange.
        first: bool,
        /// The client takes EXT_INFO.
        ext_info: bool,
    },
    /// The peer's NEWKEYS came: the exchange is over.
    Over,
}

/// What the exchange works with but does not own.
pub(crate) struct ExchangeContext<'a> {
    /// Our role and its keys.
    pub(crate) side: &'a Side,
    pub(crate) sender: &'a mut Sender,
    pub(crate) receiving: &'a mut Receiving,
    pub(crate) rng: &'a mut Rng,
}

/// The key exchanges of one connection, from the peer's identification on.
pub(crate) struct KeyExchange {
    peer: Identification,
    session: Option<Session>,
    exchange: ExchangeState,
}

/// Our first KEXINIT goes out with our identification, before the peer has said anything.
pub(crate) fn start(side: &Side, sender: &mut Sender, rng: &mut Rng) -> Vec<u8> {
    sender.put_plain(identification::OURS.as_bytes());
    sender.put_plain(b"\r\n");
    let ours = kexinit::write(side.role(), true, side.tuning(), rng.bytes());
    put_proposal(sender, &ours);
    ours
}

/// Shuts the gate and puts our KEXINIT.
fn put_proposal(sender: &mut Sender, ours: &[u8]) {
    sender.shut();
    sender.put(ours.len(), |out| out.extend_from_slice(ours));
}

impl KeyExchange {
    /// The first exchange; `ours` is what [`start`] returned.
    pub(crate) fn new(peer: Identification, ours: Vec<u8>) -> KeyExchange {
        KeyExchange { peer, session: None, exchange: ExchangeState::Proposed { ours } }
    }

    /// Starts a new exchange unless one is under way. Says whether it did.
    pub(crate) fn propose(&mut self, context: &mut ExchangeContext<'_>) -> bool {
        let ExchangeState::Idle = self.exchange else { return false };
        let side = context.side;
        let ours = kexinit::write(side.role(), false, side.tuning(), context.rng.bytes());
        put_proposal(context.sender, &ours);
        self.exchange = ExchangeState::Proposed { ours };
        true
    }

    pub(crate) fn peer(&self) -> &Identification {
        &self.peer
    }

    /// Identifies this connection in what is signed; zeros until the first exchange is through.
    pub(crate) fn session_id(&self) -> [u8; 32] {
        self.session.map_or([0; 32], |session| session.id)
    }

    /// Whether no exchange is under way.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.exchange, ExchangeState::Idle)
    }

    /// What the exchange waits for; `None` while it leaves that to authentication: there is none,
    /// or the peer has not taken notice of ours yet.
    pub(crate) fn state(&self) -> Option<AdmitState> {
        match (&self.exchange, self.session) {
            (ExchangeState::Idle, _) | (ExchangeState::Proposed { .. }, Some(_)) => None,
            (ExchangeState::Proposed { .. }, None) => Some(AdmitState::FirstKexInit),
            (ExchangeState::Reply { .. } | ExchangeState::Init { .. }, None) => {
                Some(AdmitState::FirstKex)
            }
            (ExchangeState::Reply { .. } | ExchangeState::Init { .. }, Some(_)) => {
                Some(AdmitState::Kex)
            }
            (ExchangeState::NewKeys { first: true, .. }, _) => Some(AdmitState::FirstNewKeys),
            (ExchangeState::NewKeys { first: false, .. }, _) => Some(AdmitState::NewKeys),
        }
    }

    /// Whether IGNORE and the like end the connection in the first exchange. Before the peer's
    /// KEXINIT that is not known; then the number of that packet tells.
    pub(crate) fn is_strict(&self) -> bool {
        match &self.exchange {
            ExchangeState::Reply { terms, .. } | ExchangeState::Init { terms } => {
                terms.agreed.strict
            }
            _ => self.session.is_some_and(|session| session.strict),
        }
    }

    /// Whether a message of this number is the peer's wrong guess, which is dropped. Asked once for
    /// each message, for only the first one after KEXINIT can be it.
    pub(crate) fn drops_guess(&mut self, number: u8) -> bool {
        let (ExchangeState::Reply { terms, .. } | ExchangeState::Init { terms }) =
            &mut self.exchange
        else {
            return false;
        };
        let missed = std::mem::replace(&mut terms.agreed.guess_missed, false);
        missed && (SSH_MSG_KEX_ECDH_INIT..SSH_MSG_USERAUTH_REQUEST).contains(&number)
    }

    /// A message that [`super::admit`] admitted in this phase. `sequence` is its packet's number.
    pub(crate) fn receive(
        &mut self,
        payload: &[u8],
        sequence: u32,
        context: &mut ExchangeContext<'_>,
    ) -> Result<Progress, Error> {
        let exchange = std::mem::replace(&mut self.exchange, ExchangeState::Idle);
        match (exchange, payload.first()) {
            (ExchangeState::Idle, Some(&SSH_MSG_KEXINIT)) => {
                self.propose(context);
                self.receive_kexinit(payload, sequence, context)
            }
            (ExchangeState::Proposed { ours }, Some(&SSH_MSG_KEXINIT)) => {
                self.exchange = ExchangeState::Proposed { ours };
                self.receive_kexinit(payload, sequence, context)
            }
            (ExchangeState::Reply { pending, terms }, Some(&SSH_MSG_KEX_ECDH_REPLY)) => {
                self.receive_reply(pending, &terms, payload, context)
            }
            (ExchangeState::Init { terms }, Some(&SSH_MSG_KEX_ECDH_INIT)) => {
                self.receive_init(&terms, payload, context)
            }
            (ExchangeState::NewKeys { opener, .. }, Some(&SSH_MSG_NEWKEYS)) => {
                Reader::new(&payload[1..]).finish().map_err(Error::message(SSH_MSG_NEWKEYS))?;
                context.receiving.rekey(opener, self.is_strict());
                Ok(Progress::Over)
            }
            (_, number) => Err(Error::Unexpected {
                number: number.copied().unwrap_or(0),
                state: AdmitState::Kex,
            }),
        }
    }

    fn receive_kexinit(
        &mut self,
        payload: &[u8],
        sequence: u32,
        context: &mut ExchangeContext<'_>,
    ) -> Result<Progress, Error> {
        let ExchangeState::Proposed { ours } =
            std::mem::replace(&mut self.exchange, ExchangeState::Idle)
        else {
            return Ok(Progress::Going);
        };
        let agreed = kexinit::agree(context.side.role(), &ours, payload);
        let agreed = agreed.map_err(Error::Negotiation)?;
        self.check_strict(&agreed, sequence)?;
        let terms = Terms { agreed, ours, theirs: payload.to_vec() };
        self.exchange = match context.side {
            Side::Server(_) => ExchangeState::Init { terms },
            Side::Client(_) => {
                let pending = ClientExchange::start(agreed.kex, context.rng);
                context.sender.put(pending.init().len() + 5, |out| {
                    out.push(SSH_MSG_KEX_ECDH_INIT);
                    put_string(out, pending.init());
                });
                ExchangeState::Reply { pending, terms }
            }
        };
        Ok(Progress::Going)
    }

    /// The rules of the strict exchange (OpenSSH PROTOCOL §1.10), and ours: our own kind always has
    /// it, and without it only the cipher that is not weakened by that.
    fn check_strict(&self, agreed: &Agreed, sequence: u32) -> Result<(), Error> {
        let strict = match self.session {
            Some(session) => session.strict,
            None if agreed.strict && sequence != 0 => return Err(Error::StrictBroken),
            None => agreed.strict,
        };
        if strict {
            return Ok(());
        }
        if self.peer.is_ours() {
            return Err(Error::StrictMissing);
        }
        let ciphers = [agreed.cipher_to_server, agreed.cipher_to_client];
        match ciphers.into_iter().find(|cipher| *cipher != CipherName::Aes256Gcm) {
            Some(cipher) => Err(Error::CipherNeedsStrict(cipher.name())),
            None => Ok(()),
        }
    }

    fn receive_init(
        &mut self,
        terms: &Terms,
        payload: &[u8],
        context: &mut ExchangeContext<'_>,
    ) -> Result<Progress, Error> {
        let Side::Server(config) = context.side else {
            unreachable!("only a server waits for a client's value")
        };
        let mut reader = Reader::new(&payload[1..]);
        let init = reader.string().map_err(Error::message(SSH_MSG_KEX_ECDH_INIT))?;
        reader.finish().map_err(Error::message(SSH_MSG_KEX_ECDH_INIT))?;
        let (reply, secret) = respond(terms.agreed.kex, init, context.rng).map_err(Error::Kex)?;
        let blob = config.host_key.public().blob();
        let hash =
            exchange_hash(&self.hash_inputs(context.side, terms, &blob, init, &reply), &secret);
        let signature = config.host_key.sign(&hash);
        context.sender.put(reply.len() + 256, |out| {
            out.push(SSH_MSG_KEX_ECDH_REPLY);
            put_string(out, &blob);
            put_string(out, &reply);
            put_string(out, &signature);
        });
        Ok(self.change_keys(&terms.agreed, &hash, &secret, context))
    }

    fn receive_reply(
        &mut self,
        pending: ClientExchange,
        terms: &Terms,
        payload: &[u8],
        context: &mut ExchangeContext<'_>,
    ) -> Result<Progress, Error> {
        let Side::Client(config) = context.side else {
            unreachable!("only a client waits for a server's value")
        };
        let (blob, reply, signature) =
            parse_reply(payload).map_err(Error::message(SSH_MSG_KEX_ECDH_REPLY))?;
        check_pinned(&config.host_key, blob)?;
        let init = pending.init().to_vec();
        let secret = pending.finish(reply).map_err(Error::Kex)?;
        let hash =
            exchange_hash(&self.hash_inputs(context.side, terms, blob, &init, reply), &secret);
        config.host_key.verify(&hash, signature).map_err(|_| Error::HostKeySignature)?;
        Ok(self.change_keys(&terms.agreed, &hash, &secret, context))
    }

    fn hash_inputs<'a>(
        &'a self,
        side: &Side,
        terms: &'a Terms,
        k_s: &'a [u8],
        init: &'a [u8],
        reply: &'a [u8],
    ) -> ExchangeHash<'a> {
        let ours = (identification::OURS.as_bytes(), terms.ours.as_slice());
        let theirs = (self.peer.as_str().as_bytes(), terms.theirs.as_slice());
        let ((v_c, i_c), (v_s, i_s)) = match side {
            Side::Client(_) => (ours, theirs),
            Side::Server(_) => (theirs, ours),
        };
        ExchangeHash { v_c, v_s, i_c, i_s, k_s, init, reply }
    }

    /// Puts NEWKEYS, seals what follows with the new key and keeps the peer's for its NEWKEYS.
    fn change_keys(
        &mut self,
        agreed: &Agreed,
        hash: &[u8; 32],
        secret: &SharedSecret,
        context: &mut ExchangeContext<'_>,
    ) -> Progress {
        let first = self.session.is_none();
        let session = *self.session.get_or_insert(Session { id: *hash, strict: agreed.strict });
        let derive = |letter: u8, out: &mut [u8]| {
            derive_key(secret, hash, &session.id, letter, out);
        };
        context.sender.put(1, |out| out.push(SSH_MSG_NEWKEYS));
        let (to_server, to_client) =
            (Letters { iv: b'A', key: b'C' }, Letters { iv: b'B', key: b'D' });
        let ((out, out_letters), (into, into_letters)) = match context.side {
            Side::Client(_) => {
                ((agreed.cipher_to_server, to_server), (agreed.cipher_to_client, to_client))
            }
            Side::Server(_) => {
                ((agreed.cipher_to_client, to_client), (agreed.cipher_to_server, to_server))
            }
        };
        let sealer = out_letters.with_keys(out, derive, |key, iv| Sealer::new(out, key, iv));
        let opener = into_letters.with_keys(into, derive, |key, iv| Opener::new(into, key, iv));
        context.sender.rekey(sealer, session.strict);
        self.exchange = ExchangeState::NewKeys { opener, first };
        Progress::Sealed { first, ext_info: agreed.ext_info }
    }
}

/// The letters of one direction's keys (RFC 4253 §7.2).
struct Letters {
    iv: u8,
    key: u8,
}

impl Letters {
    /// Derives both, hands them to `build` and wipes them.
    fn with_keys<T>(
        &self,
        name: CipherName,
        derive: impl Fn(u8, &mut [u8]),
        build: impl FnOnce(&[u8], &[u8]) -> T,
    ) -> T {
        let mut key = Zeroizing::new([0; 64]);
        let mut iv = Zeroizing::new([0; 32]);
        let (key, iv) = (&mut key[..name.key_bytes()], &mut iv[..name.iv_bytes()]);
        derive(self.key, key);
        derive(self.iv, iv);
        build(key, iv)
    }
}

type Parts<'a> = (&'a [u8], &'a [u8], &'a [u8]);

/// Host key, public value, signature.
fn parse_reply(payload: &[u8]) -> Result<Parts<'_>, super::wire::WireError> {
    let mut reader = Reader::new(&payload[1..]);
    let parts = (reader.string()?, reader.string()?, reader.string()?);
    reader.finish()?;
    Ok(parts)
}

fn check_pinned(pinned: &PublicKey, blob: &[u8]) -> Result<(), Error> {
    if pinned.blob()[..] == *blob {
        return Ok(());
    }
    let got =
        PublicKey::from_blob(blob).map_or_else(|error| error.to_string(), |key| key.fingerprint());
    Err(Error::HostKeyMismatch { expected: pinned.fingerprint(), got })
}
