//! A peer that knows the keys: it makes a real handshake and then seals whatever it is told to say.
//! Built from the leaf modules alone, so it shares no decision with what it tests.

use convocate::base::rng::Rng;
use convocate::ssh::Role;
use convocate::ssh::cipher::{CipherName, LENGTH_BYTES, Opener, Sealer, TAG_BYTES};
use convocate::ssh::kex::{
    ClientExchange, ExchangeHash, KexName, SharedSecret, derive_key, exchange_hash, respond,
};
use convocate::ssh::keys::{KeyPair, PublicKey};
use convocate::ssh::names;
use convocate::ssh::wire::{Reader, put_boolean, put_name_list, put_string, put_u32};

use super::ends::{host_key, strangers_key};
use super::ledger::Ledger;

/// What it offers.
#[derive(Clone, Copy)]
pub struct Offer {
    pub id: &'static str,
    pub kex: KexName,
    /// To the server, and to the client.
    pub ciphers: [CipherName; 2],
    pub strict: bool,
    /// A server with another host key than the one that is known.
    pub impostor: bool,
}

impl Offer {
    /// One of all, by a byte; zero is the plain one.
    pub fn of(byte: u8) -> Offer {
        let kex = if byte & 1 == 0 { KexName::Curve25519 } else { KexName::MlKem768X25519 };
        let gcm = byte & 2 == 0;
        let cipher = if gcm { CipherName::Aes256Gcm } else { CipherName::ChaCha20Poly1305 };
        Offer {
            id: if byte & 4 == 0 { "SSH-2.0-convocate_9" } else { "SSH-2.0-other" },
            kex,
            ciphers: [cipher; 2],
            strict: byte & 8 == 0,
            impostor: byte & 16 != 0,
        }
    }

    /// Whether a connection may agree to it.
    pub fn is_acceptable(&self) -> bool {
        self.strict || (self.ciphers == [CipherName::Aes256Gcm; 2] && self.id == "SSH-2.0-other")
    }
}

/// What one exchange has so far.
#[derive(Default)]
struct Round {
    ours: Option<Vec<u8>>,
    theirs: Option<Vec<u8>>,
    exchange: Option<ClientExchange>,
    opener: Option<Opener>,
}

pub struct Peer {
    role: Role,
    pub offer: Offer,
    /// It goes on with an exchange when the connection does.
    pub willing: bool,
    /// It has lost the thread and hears nothing any more.
    deaf: bool,
    sealer: Option<Sealer>,
    opener: Option<Opener>,
    sequence_out: u32,
    sequence_in: u32,
    inbox: Vec<u8>,
    /// What is on its way to the connection.
    pub outbox: Vec<u8>,
    rng: Rng,
    their_id: Option<Vec<u8>>,
    round: Round,
    pub session_id: Option<[u8; 32]>,
    pub ledger: Ledger,
    /// The keys that it has signed with, for this very session.
    pub signed: Vec<PublicKey>,
}

impl Peer {
    /// `role` is its own. It says nothing yet.
    pub fn new(role: Role, offer: Offer) -> Peer {
        Peer {
            role,
            offer,
            willing: true,
            deaf: false,
            sealer: None,
            opener: None,
            sequence_out: 0,
            sequence_in: 0,
            inbox: Vec::new(),
            outbox: Vec::new(),
            rng: Rng::from_seed([8; 32]),
            their_id: None,
            round: Round::default(),
            session_id: None,
            ledger: Ledger::default(),
            signed: Vec::new(),
        }
    }

    /// Its identification and first KEXINIT.
    pub fn start(&mut self) {
        self.outbox.extend_from_slice(self.offer.id.as_bytes());
        self.outbox.extend_from_slice(b"\r\n");
        self.propose();
    }

    // --- out ---

    /// Sends a message.
    pub fn put(&mut self, payload: &[u8]) {
        let (block, counted) =
            self.sealer.as_ref().map_or((8, 4), |sealer| (sealer.name().block_bytes(), 0));
        let short = block - (counted + 1 + payload.len()) % block;
        let padding = if short < 4 { short + block } else { short };
        self.put_with(payload, u8::try_from(padding).expect("two blocks fit"), None);
    }

    /// Sends a message with any padding, and any length field.
    pub fn put_with(&mut self, payload: &[u8], padding: u8, length: Option<u32>) {
        self.ledger.sends(payload);
        let start = self.outbox.len();
        let real = 1 + payload.len() + usize::from(padding);
        let length = length.unwrap_or(u32::try_from(real).expect("an input is short"));
        self.outbox.extend_from_slice(&length.to_be_bytes());
        self.outbox.push(padding);
        self.outbox.extend_from_slice(payload);
        self.outbox.resize(start + LENGTH_BYTES + real, 0);
        if let Some(sealer) = &mut self.sealer {
            self.outbox.resize(start + LENGTH_BYTES + real + TAG_BYTES, 0);
            sealer.seal(self.sequence_out, &mut self.outbox[start..]);
        }
        self.sequence_out = self.sequence_out.wrapping_add(1);
    }

    /// Its identification and this as its first KEXINIT.
    pub fn start_with(&mut self, kexinit: &[u8]) {
        self.outbox.extend_from_slice(self.offer.id.as_bytes());
        self.outbox.extend_from_slice(b"\r\n");
        self.put(kexinit);
        self.round.ours = Some(kexinit.to_vec());
    }

    /// The connection's KEXINIT of this exchange, if it has come.
    pub fn their_kexinit(&self) -> Option<&[u8]> {
        self.round.theirs.as_deref()
    }

    /// Whether an exchange may be under way, as far as it knows.
    pub fn is_exchanging(&self) -> bool {
        self.deaf || self.round.ours.is_some() || self.round.theirs.is_some()
    }

    /// Starts an exchange unless it has already.
    pub fn propose(&mut self) {
        if self.round.ours.is_none() {
            let ours = self.kexinit();
            self.put(&ours);
            self.round.ours = Some(ours);
        }
    }

    fn kexinit(&self) -> Vec<u8> {
        let mut kex = vec![self.offer.kex.name()];
        if self.session_id.is_none() && self.offer.strict {
            kex.push(match self.role {
                Role::Client => names::KEX_STRICT_CLIENT,
                Role::Server => names::KEX_STRICT_SERVER,
            });
        }
        let [to_server, to_client] = self.offer.ciphers.map(|cipher| [cipher.name()]);
        let mut out = vec![names::SSH_MSG_KEXINIT];
        out.extend_from_slice(&[9; 16]);
        let (host_key, none) = ([names::SSH_ED25519], [names::NONE]);
        for list in [&kex[..], &host_key, &to_server, &to_client] {
            put_name_list(&mut out, list);
        }
        for list in [&[][..], &[], &none, &none, &[], &[]] {
            put_name_list(&mut out, list);
        }
        put_boolean(&mut out, false);
        put_u32(&mut out, 0);
        out
    }

    /// Whether it has shown that the key is its own.
    pub fn has_signed_with(&self, key: &PublicKey) -> bool {
        self.signed.contains(key)
    }

    // --- in ---

    /// Takes what the connection has sent.
    pub fn hear(&mut self, bytes: &[u8]) {
        if self.deaf {
            return;
        }
        self.inbox.extend_from_slice(bytes);
        if self.their_id.is_none() {
            let Some(end) = self.inbox.iter().position(|byte| *byte == b'\n') else { return };
            let mut line: Vec<u8> = self.inbox.drain(..=end).collect();
            line.truncate(end - 1);
            self.their_id = Some(line);
        }
        let mut start = 0;
        while let Some((payload, wire_bytes)) = self.next(start) {
            start += wire_bytes;
            self.ledger.receives(&payload);
            if self.react(&payload).is_none() {
                self.deaf = true;
                break;
            }
        }
        self.inbox.drain(..start);
    }

    /// The next packet's payload and its length on the wire.
    fn next(&mut self, start: usize) -> Option<(Vec<u8>, usize)> {
        let held = self.inbox.get_mut(start..)?;
        let head = *held.first_chunk()?;
        let (length, tag) = match &self.opener {
            None => (u32::from_be_bytes(head), 0),
            Some(opener) => (opener.length(self.sequence_in, head), TAG_BYTES),
        };
        let wire_bytes = LENGTH_BYTES + length as usize + tag;
        let packet = held.get_mut(..wire_bytes)?;
        if let Some(opener) = &mut self.opener
            && opener.open(self.sequence_in, packet).is_err()
        {
            // An exchange that the script has spoiled leaves the two with different keys.
            self.deaf = true;
            return None;
        }
        self.sequence_in = self.sequence_in.wrapping_add(1);
        let padding = usize::from(packet[LENGTH_BYTES]);
        let end = wire_bytes - tag - padding;
        assert!(padding >= 4 && end > LENGTH_BYTES + 1, "padding of {padding} in {length}");
        Some((packet[LENGTH_BYTES + 1..end].to_vec(), wire_bytes))
    }

    /// Goes on with an exchange. `None`: what came makes no sense any more.
    fn react(&mut self, payload: &[u8]) -> Option<()> {
        if payload[0] == names::SSH_MSG_KEXINIT {
            self.round.theirs = Some(payload.to_vec());
        }
        if !self.willing {
            return Some(());
        }
        match payload[0] {
            names::SSH_MSG_KEXINIT => {
                self.propose();
                if self.role == Role::Client {
                    self.put_init();
                }
            }
            names::SSH_MSG_KEX_ECDH_INIT => self.answer(payload)?,
            names::SSH_MSG_KEX_ECDH_REPLY => self.conclude(payload)?,
            names::SSH_MSG_NEWKEYS => {
                self.opener = Some(std::mem::take(&mut self.round).opener?);
                if self.offer.strict {
                    self.sequence_in = 0;
                }
            }
            _ => {}
        }
        Some(())
    }

    // --- the exchange ---

    pub fn put_init(&mut self) {
        let exchange = ClientExchange::start(self.offer.kex, &mut self.rng);
        let mut init = vec![names::SSH_MSG_KEX_ECDH_INIT];
        put_string(&mut init, exchange.init());
        self.round.exchange = Some(exchange);
        self.put(&init);
    }

    fn conclude(&mut self, reply: &[u8]) -> Option<()> {
        let mut reader = Reader::new(&reply[1..]);
        let (blob, value) = (reader.string().ok()?, reader.string().ok()?);
        let signature = reader.string().ok()?;
        let exchange = self.round.exchange.take()?;
        let init = exchange.init().to_vec();
        let secret = exchange.finish(value).ok()?;
        let hash = self.hash(blob, &init, value, &secret)?;
        host_key().public().verify(&hash, signature).ok()?;
        self.change_keys(&secret, &hash);
        Some(())
    }

    fn answer(&mut self, init: &[u8]) -> Option<()> {
        let init = Reader::new(&init[1..]).string().ok()?;
        let (value, secret) = respond(self.offer.kex, init, &mut self.rng).ok()?;
        let key: &KeyPair = if self.offer.impostor { strangers_key() } else { host_key() };
        let blob = key.public().blob();
        let hash = self.hash(&blob, init, &value, &secret)?;
        let mut reply = vec![names::SSH_MSG_KEX_ECDH_REPLY];
        put_string(&mut reply, &blob);
        put_string(&mut reply, &value);
        put_string(&mut reply, &key.sign(&hash));
        self.put(&reply);
        self.change_keys(&secret, &hash);
        Some(())
    }

    fn hash(
        &self,
        k_s: &[u8],
        init: &[u8],
        reply: &[u8],
        secret: &SharedSecret,
    ) -> Option<[u8; 32]> {
        let ours = (self.offer.id.as_bytes(), self.round.ours.as_deref()?);
        let theirs = (self.their_id.as_deref()?, self.round.theirs.as_deref()?);
        let ((v_c, i_c), (v_s, i_s)) = match self.role {
            Role::Client => (ours, theirs),
            Role::Server => (theirs, ours),
        };
        Some(exchange_hash(&ExchangeHash { v_c, v_s, i_c, i_s, k_s, init, reply }, secret))
    }

    fn change_keys(&mut self, secret: &SharedSecret, hash: &[u8; 32]) {
        let session_id = *self.session_id.get_or_insert(*hash);
        let material = |name: CipherName, letters: [u8; 2]| {
            let (mut iv, mut key) = (vec![0; name.iv_bytes()], vec![0; name.key_bytes()]);
            derive_key(secret, hash, &session_id, letters[0], &mut iv);
            derive_key(secret, hash, &session_id, letters[1], &mut key);
            (name, key, iv)
        };
        let [to_server, to_client] = self.offer.ciphers;
        let to_server = material(to_server, [b'A', b'C']);
        let to_client = material(to_client, [b'B', b'D']);
        let (out, into) = match self.role {
            Role::Client => (to_server, to_client),
            Role::Server => (to_client, to_server),
        };
        self.put(&[names::SSH_MSG_NEWKEYS]);
        self.sealer = Some(Sealer::new(out.0, &out.1, &out.2));
        if self.offer.strict {
            self.sequence_out = 0;
        }
        self.round.opener = Some(Opener::new(into.0, &into.1, &into.2));
    }
}
