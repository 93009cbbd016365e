//! A peer that does what a test says: it speaks packets, and knows enough of the protocol to bring
//! a connection into any state. Built from the leaf modules only, so it shares no decision with
//! what it tests.

use std::time::Duration;

use convocate::base::endpoint::Endpoint;
use convocate::base::rng::Rng;
use convocate::base::time::Mono;
use convocate::ssh::admit::AdmitState;
use convocate::ssh::cipher::{CipherName, Opener, Sealer};
use convocate::ssh::kex::{
    ClientExchange, ExchangeHash, KexName, SharedSecret, derive_key, exchange_hash, respond,
};
use convocate::ssh::keys::KeyPair;
use convocate::ssh::wire::{Reader, put_boolean, put_name_list, put_string, put_u32};
use convocate::ssh::{Conn, Error, Event, Role, Tuning, names};

use crate::pair::{client_config, client_key, host_key, server_config};

pub const ID: &str = "SSH-2.0-raw_1";

/// What the raw peer offers.
#[derive(Clone)]
pub struct Offer {
    pub id: &'static str,
    pub kex: Vec<&'static str>,
    pub cipher: CipherName,
    pub strict: bool,
    pub follows: bool,
    pub reserved: u32,
    pub host_key: [u8; 32],
}

impl Default for Offer {
    fn default() -> Offer {
        Offer {
            id: ID,
            kex: vec!["curve25519-sha256"],
            cipher: CipherName::Aes256Gcm,
            strict: true,
            follows: false,
            reserved: 0,
            host_key: [1; 32],
        }
    }
}

pub struct Raw {
    /// The connection under test.
    pub conn: Conn,
    /// Its role.
    pub role: Role,
    pub now: Mono,
    pub events: Vec<Event>,
    pub offer: Offer,
    /// What it is told about keys.
    pub verdict: bool,
    sealer: Option<Sealer>,
    opener: Option<Opener>,
    next_sealer: Option<Sealer>,
    pub sequence_out: u32,
    pub sequence_in: u32,
    inbox: Vec<u8>,
    rng: Rng,
    their_id: Vec<u8>,
    their_kexinit: Vec<u8>,
    our_kexinit: Vec<u8>,
    exchange: Option<ClientExchange>,
    agreed: Option<(SharedSecret, [u8; 32])>,
    pub session_id: Option<[u8; 32]>,
}

impl Raw {
    /// Before anything was said.
    pub fn new(role: Role, offer: Offer, tuning: Tuning) -> Raw {
        let now = Mono::from_nanos(1);
        let conn = match role {
            Role::Client => Conn::client(client_config(tuning), [6; 32], now),
            Role::Server => Conn::server(server_config(tuning), [7; 32], now),
        };
        Raw {
            conn,
            role,
            now,
            events: Vec::new(),
            offer,
            verdict: true,
            sealer: None,
            opener: None,
            next_sealer: None,
            sequence_out: 0,
            sequence_in: 0,
            inbox: Vec::new(),
            rng: Rng::from_seed([8; 32]),
            their_id: Vec::new(),
            their_kexinit: Vec::new(),
            our_kexinit: Vec::new(),
            exchange: None,
            agreed: None,
            session_id: None,
        }
    }

    /// A default connection in this state.
    pub fn at(role: Role, state: AdmitState) -> Raw {
        // A state is looked at for longer than a client may be idle in it.
        let subsystem_wait = Duration::from_secs(24 * 3600);
        let tuning = Tuning { subsystem_wait, ..Tuning::default() };
        let mut raw = Raw::new(role, Offer::default(), tuning);
        raw.advance(state);
        raw
    }

    /// Goes on, step by step, to a state.
    pub fn advance(&mut self, goal: AdmitState) {
        use AdmitState::*;
        let all = [FirstKexInit, FirstKex, FirstNewKeys, Service, Auth, Open, Kex, NewKeys];
        for state in all {
            self.step_to(state);
            if state == goal {
                return;
            }
        }
    }

    /// One step, from the state before.
    pub fn step_to(&mut self, state: AdmitState) {
        self.step(state);
        assert_eq!(self.error(), None, "on the way to {state:?}");
    }

    fn step(&mut self, state: AdmitState) {
        match (state, self.role) {
            (AdmitState::FirstKexInit, _) => {
                self.raw(format!("{}\r\n", self.offer.id).as_bytes());
                self.read_output();
                let end = self.inbox.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
                self.their_id = self.inbox.drain(..end).collect();
                self.their_id.truncate(end - 2);
                self.their_kexinit = self.expect(names::SSH_MSG_KEXINIT);
            }
            (AdmitState::FirstKex, _) => self.put_kexinit(true),
            (AdmitState::Kex, _) => {
                self.put_kexinit(false);
                self.their_kexinit = self.expect(names::SSH_MSG_KEXINIT);
            }
            (AdmitState::FirstNewKeys | AdmitState::NewKeys, Role::Server) => {
                self.put_init();
                self.take_reply();
            }
            (AdmitState::FirstNewKeys | AdmitState::NewKeys, Role::Client) => {
                let init = self.expect(names::SSH_MSG_KEX_ECDH_INIT);
                self.put_reply(&init);
            }
            (AdmitState::Service, Role::Server) => {
                self.put_new_keys();
            }
            (AdmitState::Service, Role::Client) => {
                self.put_new_keys();
                self.expect(names::SSH_MSG_SERVICE_REQUEST);
            }
            (AdmitState::Auth, Role::Server) => {
                self.put_text(names::SSH_MSG_SERVICE_REQUEST, names::SSH_USERAUTH);
                self.expect(names::SSH_MSG_SERVICE_ACCEPT);
            }
            (AdmitState::Auth, Role::Client) => {
                self.put_text(names::SSH_MSG_SERVICE_ACCEPT, names::SSH_USERAUTH);
                self.expect(names::SSH_MSG_USERAUTH_REQUEST);
            }
            (AdmitState::Open, Role::Server) => {
                let request = self.signed_request("u", &client_key());
                self.put(&request);
                self.expect(names::SSH_MSG_USERAUTH_SUCCESS);
            }
            (AdmitState::Open, Role::Client) => self.put(&[names::SSH_MSG_USERAUTH_SUCCESS]),
        }
    }

    // --- bytes ---

    /// Hands bytes to the connection.
    pub fn raw(&mut self, bytes: &[u8]) {
        let mut left = bytes;
        while !left.is_empty() {
            let space = self.conn.input_space();
            let len = space.len().min(left.len());
            if len == 0 {
                break;
            }
            space[..len].copy_from_slice(&left[..len]);
            self.conn.input(self.now, len);
            left = &left[len..];
            self.take_events();
        }
    }

    pub fn take_events(&mut self) {
        while let Some(event) = self.conn.poll_event() {
            if let Event::KeyOffered { .. } = event {
                self.conn.authorize(self.verdict);
            }
            self.events.push(event);
        }
    }

    pub fn read_output(&mut self) {
        let output = self.conn.output().to_vec();
        self.inbox.extend_from_slice(&output);
        self.conn.output_sent(output.len());
        self.take_events();
    }

    /// Why the connection ended.
    pub fn error(&self) -> Option<Error> {
        self.events.iter().find_map(|event| match event {
            Event::Disconnected(error) => Some(error.clone()),
            _ => None,
        })
    }

    // --- packets ---

    /// The wire form of a packet.
    pub fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        let (block, counted) =
            self.sealer.as_ref().map_or((8, 4), |sealer| (sealer.name().block_bytes(), 0));
        let mut padding = block - (counted + 1 + payload.len()) % block;
        if padding < 4 {
            padding += block;
        }
        self.packet_with(payload, u8::try_from(padding).unwrap(), None)
    }

    /// The wire form of a packet with any padding, and any length field.
    pub fn packet_with(&mut self, payload: &[u8], padding: u8, length: Option<u32>) -> Vec<u8> {
        let real = u32::try_from(1 + payload.len() + usize::from(padding)).unwrap();
        let mut packet = length.unwrap_or(real).to_be_bytes().to_vec();
        packet.push(padding);
        packet.extend_from_slice(payload);
        packet.resize(packet.len() + usize::from(padding), 0);
        if let Some(sealer) = &mut self.sealer {
            packet.resize(packet.len() + 16, 0);
            sealer.seal(self.sequence_out, &mut packet);
        }
        self.sequence_out = self.sequence_out.wrapping_add(1);
        packet
    }

    /// Sends a packet.
    pub fn put(&mut self, payload: &[u8]) {
        let packet = self.packet(payload);
        self.raw(&packet);
    }

    /// Sends a message that is a number and a string.
    pub fn put_text(&mut self, number: u8, text: &str) {
        let mut payload = vec![number];
        put_string(&mut payload, text.as_bytes());
        self.put(&payload);
    }

    /// Sends a message that is a number and 32-bit values.
    pub fn put_numbers(&mut self, number: u8, values: &[u32]) {
        let mut payload = vec![number];
        values.iter().for_each(|value| put_u32(&mut payload, *value));
        self.put(&payload);
    }

    /// The next packet that the connection has sent.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.read_output();
        let head: [u8; 4] = *self.inbox.first_chunk()?;
        let (length, tag) = match &self.opener {
            None => (u32::from_be_bytes(head), 0),
            Some(opener) => (opener.length(self.sequence_in, head), 16),
        };
        let wire = 4 + length as usize + tag;
        if self.inbox.len() < wire {
            return None;
        }
        let mut packet: Vec<u8> = self.inbox.drain(..wire).collect();
        if let Some(opener) = &mut self.opener {
            opener.open(self.sequence_in, &mut packet).expect("the connection's own tag is right");
        }
        self.sequence_in = self.sequence_in.wrapping_add(1);
        let end = wire - tag - usize::from(packet[4]);
        assert!(packet[4] >= 4 && end > 5, "well padded");
        Some(packet[5..end].to_vec())
    }

    /// All packets that the connection has sent.
    pub fn take_all(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.take()).collect()
    }

    /// The next packet of this number; EXT_INFO before it is passed over.
    pub fn expect(&mut self, number: u8) -> Vec<u8> {
        loop {
            let payload = self.take().unwrap_or_else(|| {
                panic!("nothing came instead of {number}, events {:?}", self.events)
            });
            if payload[0] == number {
                return payload;
            }
            assert_eq!(payload[0], names::SSH_MSG_EXT_INFO, "instead of {number}");
        }
    }

    // --- the exchange ---

    pub fn kexinit(&self, first: bool) -> Vec<u8> {
        let mut kex = self.offer.kex.clone();
        if first && self.offer.strict {
            kex.push(match self.role {
                Role::Client => names::KEX_STRICT_SERVER,
                Role::Server => names::KEX_STRICT_CLIENT,
            });
        }
        if first && self.role == Role::Server {
            kex.push(names::EXT_INFO_CLIENT);
        }
        let cipher = self.offer.cipher.name();
        let mut out = vec![names::SSH_MSG_KEXINIT];
        out.extend_from_slice(&[9; 16]);
        for list in [
            &kex[..],
            &[names::SSH_ED25519],
            &[cipher],
            &[cipher],
            &[],
            &[],
            &[names::NONE],
            &[names::NONE],
            &[],
            &[],
        ] {
            put_name_list(&mut out, list);
        }
        put_boolean(&mut out, self.offer.follows);
        put_u32(&mut out, self.offer.reserved);
        out
    }

    pub fn put_kexinit(&mut self, first: bool) {
        self.our_kexinit = self.kexinit(first);
        self.put(&self.our_kexinit.clone());
    }

    pub fn put_init(&mut self) {
        let name = KexName::from_name(self.offer.kex[0]).expect("a method that we know");
        let exchange = ClientExchange::start(name, &mut self.rng);
        let mut init = vec![names::SSH_MSG_KEX_ECDH_INIT];
        put_string(&mut init, exchange.init());
        self.exchange = Some(exchange);
        self.put(&init);
    }

    pub fn take_reply(&mut self) {
        let reply = self.expect(names::SSH_MSG_KEX_ECDH_REPLY);
        let mut reader = Reader::new(&reply[1..]);
        let (blob, value, signature) =
            (reader.string().unwrap(), reader.string().unwrap(), reader.string().unwrap());
        let exchange = self.exchange.take().expect("our value is out");
        let init = exchange.init().to_vec();
        let secret = exchange.finish(value).expect("a good value");
        let hash = self.hash(blob, &init, value, &secret);
        host_key().public().verify(&hash, signature).expect("the host's signature");
        self.expect(names::SSH_MSG_NEWKEYS);
        self.derive(&secret, &hash);
    }

    pub fn put_reply(&mut self, init: &[u8]) {
        let reply = self.reply(init);
        self.put(&reply);
        self.expect(names::SSH_MSG_NEWKEYS);
        let (secret, hash) = self.agreed.take().expect("a reply was made");
        self.derive(&secret, &hash);
    }

    /// The answer to a client's public value.
    pub fn reply(&mut self, init: &[u8]) -> Vec<u8> {
        let init = Reader::new(&init[1..]).string().unwrap();
        let name = KexName::from_name(self.offer.kex[0]).expect("a method that we know");
        let (value, secret) = respond(name, init, &mut self.rng).expect("a good value");
        let key = KeyPair::from_seed(self.offer.host_key);
        let blob = key.public().blob();
        let hash = self.hash(&blob, init, &value, &secret);
        self.agreed = Some((secret, hash));
        let mut reply = vec![names::SSH_MSG_KEX_ECDH_REPLY];
        put_string(&mut reply, &blob);
        put_string(&mut reply, &value);
        put_string(&mut reply, &key.sign(&hash));
        reply
    }

    fn hash(&self, k_s: &[u8], init: &[u8], reply: &[u8], secret: &SharedSecret) -> [u8; 32] {
        let ours = (self.offer.id.as_bytes(), &self.our_kexinit[..]);
        let theirs = (&self.their_id[..], &self.their_kexinit[..]);
        let ((v_c, i_c), (v_s, i_s)) = match self.role {
            Role::Client => (theirs, ours),
            Role::Server => (ours, theirs),
        };
        exchange_hash(&ExchangeHash { v_c, v_s, i_c, i_s, k_s, init, reply }, secret)
    }

    /// The connection's NEWKEYS came: its packets are under the new key, ours after ours.
    fn derive(&mut self, secret: &SharedSecret, hash: &[u8; 32]) {
        let session_id = *self.session_id.get_or_insert(*hash);
        let name = self.offer.cipher;
        let keys = |iv: u8, key: u8| {
            let mut iv_bytes = vec![0; name.iv_bytes()];
            let mut key_bytes = vec![0; name.key_bytes()];
            derive_key(secret, hash, &session_id, iv, &mut iv_bytes);
            derive_key(secret, hash, &session_id, key, &mut key_bytes);
            (key_bytes, iv_bytes)
        };
        let (to_server, to_client) = (keys(b'A', b'C'), keys(b'B', b'D'));
        let (ours, theirs) = match self.role {
            Role::Client => (to_client, to_server),
            Role::Server => (to_server, to_client),
        };
        self.opener = Some(Opener::new(name, &theirs.0, &theirs.1));
        self.next_sealer = Some(Sealer::new(name, &ours.0, &ours.1));
        if self.offer.strict {
            self.sequence_in = 0;
        }
    }

    pub fn put_new_keys(&mut self) {
        self.put(&[names::SSH_MSG_NEWKEYS]);
        self.sealer = self.next_sealer.take();
        if self.offer.strict {
            self.sequence_out = 0;
        }
    }

    // --- authentication and channels ---

    pub fn signed_request(&self, user: &str, key: &KeyPair) -> Vec<u8> {
        let mut signed = Vec::new();
        put_string(&mut signed, &self.session_id.expect("an exchange is through"));
        let request = publickey_request(user, names::SSH_CONNECTION, true, &key.public().blob());
        signed.extend_from_slice(&request);
        let mut request = request;
        put_string(&mut request, &key.sign(&signed));
        request
    }

    /// Opens a channel to a server; returns the server's number of it.
    pub fn open_channel(&mut self, ours: u32, window: u32, packet_bytes: u32) -> u32 {
        self.put(&open_message("session", ours, window, packet_bytes));
        let confirmation = self.expect(names::SSH_MSG_CHANNEL_OPEN_CONFIRMATION);
        let mut reader = Reader::new(&confirmation[1..]);
        assert_eq!(reader.u32(), Ok(ours));
        reader.u32().unwrap()
    }

    /// Opens a channel to a server and starts a subsystem on it.
    pub fn open_subsystem(&mut self, name: &str) -> u32 {
        let theirs = self.open_channel(7, 1 << 20, 32 * 1024);
        self.put(&subsystem_message(theirs, name));
        self.expect(names::SSH_MSG_CHANNEL_SUCCESS);
        theirs
    }
}

pub fn publickey_request(user: &str, service: &str, signed: bool, blob: &[u8]) -> Vec<u8> {
    let mut request = vec![names::SSH_MSG_USERAUTH_REQUEST];
    for text in [user, service, names::PUBLICKEY] {
        put_string(&mut request, text.as_bytes());
    }
    put_boolean(&mut request, signed);
    put_string(&mut request, names::SSH_ED25519.as_bytes());
    put_string(&mut request, blob);
    request
}

pub fn open_message(kind: &str, ours: u32, window: u32, packet_bytes: u32) -> Vec<u8> {
    let mut message = vec![names::SSH_MSG_CHANNEL_OPEN];
    put_string(&mut message, kind.as_bytes());
    [ours, window, packet_bytes].iter().for_each(|value| put_u32(&mut message, *value));
    message
}

pub fn request_message(theirs: u32, kind: &str, wants_reply: bool) -> Vec<u8> {
    let mut message = vec![names::SSH_MSG_CHANNEL_REQUEST];
    put_u32(&mut message, theirs);
    put_string(&mut message, kind.as_bytes());
    put_boolean(&mut message, wants_reply);
    message
}

pub fn subsystem_message(theirs: u32, name: &str) -> Vec<u8> {
    let mut message = request_message(theirs, names::SUBSYSTEM, true);
    put_string(&mut message, name.as_bytes());
    message
}

pub fn size_message(theirs: u32, cols: u32, rows: u32) -> Vec<u8> {
    let mut message = request_message(theirs, names::WINDOW_CHANGE, false);
    [cols, rows, 0, 0].iter().for_each(|value| put_u32(&mut message, *value));
    message
}

pub fn data_message(theirs: u32, data: &[u8]) -> Vec<u8> {
    let mut message = vec![names::SSH_MSG_CHANNEL_DATA];
    put_u32(&mut message, theirs);
    put_string(&mut message, data);
    message
}
