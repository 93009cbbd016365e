//! A connection, its owner and a peer that knows the keys, all three led by a script.

use std::time::Duration;

use convocate::ssh::names;
use convocate::ssh::wire::{put_boolean, put_name_list, put_string, put_u32};
use convocate::ssh::{Role, Tuning};

use super::ends::{SUBSYSTEMS, client_key, strangers_key};
use super::peer::{Offer, Peer};
use super::script::Script;
use super::subject::Subject;

/// What a script may send in one step.
const STEP_BYTES_MAX: usize = 40_000;
/// Steps of one script: enough for every flood, and an end.
const STEPS_MAX: usize = 2048;
/// Bytes that may be on their way to the connection.
const OUTBOX_BYTES_MAX: usize = 1024 * 1024;

pub struct Play {
    pub subject: Subject,
    pub peer: Peer,
    /// Bytes reach the connection by themselves, in pieces of this size.
    piece: Option<usize>,
    /// The peer reads what the connection sends.
    reads: bool,
    steps: usize,
}

impl Play {
    /// `role` is the connection's.
    pub fn new(role: Role, offer: Offer, tuning: Tuning) -> Play {
        let other = match role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        Play {
            subject: Subject::new(role, tuning),
            peer: Peer::new(other, offer),
            piece: Some(usize::MAX),
            reads: true,
            steps: 0,
        }
    }

    /// Goes on until the first exchange is through.
    pub fn shake_hands(&mut self) {
        self.peer.start();
        self.settle();
        let through = self.peer.session_id.is_some() && !self.subject.has_ended();
        let trusted = self.subject.role == Role::Server || !self.peer.offer.impostor;
        assert_eq!(through, self.peer.offer.is_acceptable() && trusted, "the handshake");
    }

    /// Goes on until somebody is in.
    pub fn log_in(&mut self) {
        match self.subject.role {
            Role::Server => {
                self.put_text(names::SSH_MSG_SERVICE_REQUEST, names::SSH_USERAUTH);
                self.put_request(&mut Script::new(&[]));
            }
            Role::Client => {
                self.put_text(names::SSH_MSG_SERVICE_ACCEPT, names::SSH_USERAUTH);
                self.peer.put(&[names::SSH_MSG_USERAUTH_SUCCESS]);
            }
        }
        self.settle();
        assert!(self.subject.authenticated.is_some() || self.subject.has_ended(), "nobody is in");
    }

    /// All of a script, and the rest after it.
    pub fn run(&mut self, script: &mut Script<'_>) {
        while !script.is_over() && self.steps < STEPS_MAX {
            self.step(script, true);
            self.settle();
        }
        (self.reads, self.piece) = (true, Some(usize::MAX));
        self.subject.wake();
        self.settle();
        self.subject.come_to_rest(self.peer.is_exchanging());
        self.check_who_is_in();
    }

    /// Moves bytes as long as some can move by themselves.
    pub fn settle(&mut self) {
        loop {
            let sent = self.reads && self.take_output();
            let heard = self.piece.is_some_and(|piece| self.deliver(usize::MAX, piece));
            if !sent && !heard {
                break;
            }
        }
        self.check_who_is_in();
    }

    fn take_output(&mut self) -> bool {
        let output = self.subject.read(usize::MAX);
        self.peer.hear(&output);
        !output.is_empty()
    }

    fn deliver(&mut self, len: usize, piece: usize) -> bool {
        let len = len.min(self.peer.outbox.len());
        let taken = self.subject.feed(&self.peer.outbox[..len], piece);
        self.peer.outbox.drain(..taken);
        if self.subject.has_ended() {
            self.peer.outbox.clear();
        }
        taken > 0
    }

    /// Nobody is in without a signature; no impostor lets anybody in.
    fn check_who_is_in(&self) {
        let Some(key) = self.subject.authenticated else { return };
        match self.subject.role {
            Role::Server => {
                assert!(self.peer.has_signed_with(&key), "a key that did not sign is in");
            }
            Role::Client => {
                assert!(self.peer.ledger.is_open, "in before the server said so");
                assert!(!self.peer.offer.impostor, "in at an impostor's");
            }
        }
    }

    // --- steps ---

    fn step(&mut self, script: &mut Script<'_>, may_repeat: bool) {
        self.steps += 1;
        if self.peer.outbox.len() > OUTBOX_BYTES_MAX {
            script.byte(); // no step is without progress
            return;
        }
        match script.byte() % 40 {
            0 => {
                let len = usize::from(script.byte());
                self.peer.outbox.extend_from_slice(script.bytes(len));
            }
            1 => {
                self.deliver(script.short(), usize::MAX);
            }
            2 => self.reads = script.flag(),
            3 => self.piece = script.choice(&[Some(usize::MAX), None, Some(1), Some(100)]),
            4 => self.pass(script),
            5 => {
                let len = usize::from(script.byte());
                self.peer.put(script.bytes(len));
            }
            6 => self.put_crooked(script),
            7 => self.peer.propose(),
            8 => self.peer.willing = script.flag(),
            9 | 10 => self.put_request(script),
            11 => self.put_service(script),
            12 => self.subject.decide(script.flag()),
            13 => self.subject.verdict = script.choice(&[Some(true), None, Some(false)]),
            14 => self.put_small(script),
            15 => self.put_global(script),
            16 | 17 => self.put_open(script),
            18 => self.put_open_answer(script),
            19 | 20 => self.put_channel_request(script),
            21..=23 => self.put_data(script),
            24 => self.put_numbers(names::SSH_MSG_CHANNEL_EOF, script, 0),
            25 => self.put_numbers(names::SSH_MSG_CHANNEL_CLOSE, script, 0),
            26 => self.put_numbers(names::SSH_MSG_CHANNEL_WINDOW_ADJUST, script, 1),
            27 | 28 => self.subject.open(script.choice(&["rpc", "attach", "status"])),
            38 if may_repeat => self.repeat(script),
            39 => self.end(script),
            _ => self.act(script),
        }
    }

    /// The next step, over and over.
    fn repeat(&mut self, script: &mut Script<'_>) {
        let count = usize::from(script.byte()) * 4;
        let start = *script;
        for _ in 0..count {
            *script = start;
            self.step(script, false);
            self.settle();
        }
    }

    fn pass(&mut self, script: &mut Script<'_>) {
        let millis = script.choice(&[1, 100, 1000, 5000, 15_000, 31_000, 3_600_000]);
        self.subject.pass(Duration::from_millis(millis));
    }

    fn end(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0 => self.subject.end_input(),
            1 => {
                self.subject.conn.disconnect("enough");
                self.subject.look();
            }
            2 => self.subject.attentive = false,
            _ => self.subject.wake(),
        }
    }

    /// Something that the owner does with a channel.
    fn act(&mut self, script: &mut Script<'_>) {
        let (what, index) = (script.byte(), script.byte());
        let Some(id) = self.subject.channel(index) else { return };
        match what % 8 {
            0 | 1 => {
                let bytes = vec![0x55; script.short() % STEP_BYTES_MAX];
                self.subject.send(id, &bytes);
            }
            2 => self.subject.consume(id, script.short()),
            3 => self.subject.consume(id, usize::MAX),
            4 => self.subject.conn.send_eof(id),
            5 => self.subject.close(id),
            6 => self.subject.conn.send_exit_status(id, script.number()),
            _ => self.subject.conn.window_change(id, script.number(), script.number()),
        }
        self.subject.look();
    }

    // --- what the peer says ---

    fn put_text(&mut self, number: u8, text: &str) {
        let mut payload = vec![number];
        put_string(&mut payload, text.as_bytes());
        self.peer.put(&payload);
    }

    /// A packet whose padding and length field say anything.
    fn put_crooked(&mut self, script: &mut Script<'_>) {
        let kind = script.byte();
        let padding = script.byte();
        let length = (kind & 1 == 1).then(|| script.number() >> (kind & 0x1e));
        let len = usize::from(script.byte());
        self.peer.put_with(script.bytes(len), padding, length);
    }

    fn put_service(&mut self, script: &mut Script<'_>) {
        let number =
            script.choice(&[names::SSH_MSG_SERVICE_REQUEST, names::SSH_MSG_SERVICE_ACCEPT]);
        let name = script.choice(&[names::SSH_USERAUTH, names::SSH_CONNECTION, ""]);
        self.put_text(number, name);
    }

    /// A request of one who wants in, or what a server says to it; zeros make the one that works.
    fn put_request(&mut self, script: &mut Script<'_>) {
        let kind = script.byte();
        let user = script.choice(&["agent", "", "somebody else"]);
        let service = script.choice(&[names::SSH_CONNECTION, names::SSH_USERAUTH]);
        let method = script.choice(&[names::PUBLICKEY, names::NONE, "password"]);
        let key = if kind & 1 == 0 { client_key() } else { strangers_key() };
        let mut payload = vec![names::SSH_MSG_USERAUTH_REQUEST];
        for text in [user, service, method] {
            put_string(&mut payload, text.as_bytes());
        }
        put_boolean(&mut payload, kind & 2 == 0);
        put_string(&mut payload, names::SSH_ED25519.as_bytes());
        put_string(&mut payload, &key.public().blob());
        if kind & 4 != 0 {
            flip(&mut payload, script);
        }
        if kind & 2 == 0 {
            self.sign(&mut payload, kind, script);
        }
        self.peer.put(&payload);
    }

    fn sign(&mut self, payload: &mut Vec<u8>, kind: u8, script: &mut Script<'_>) {
        let key = if kind & 8 == 0 { client_key() } else { strangers_key() };
        let mut session_id = self.peer.session_id.unwrap_or_default();
        let mut good = true;
        if kind & 16 != 0 {
            good &= !flip(&mut session_id, script);
        }
        let mut message = Vec::new();
        put_string(&mut message, &session_id);
        message.extend_from_slice(payload);
        let mut signature = key.sign(&message);
        if kind & 32 != 0 {
            good &= !flip(&mut signature, script);
        }
        if good {
            self.peer.signed.push(*key.public());
        }
        put_string(payload, &signature);
        if kind & 64 != 0 {
            flip(payload, script);
        }
    }

    /// Messages that are a number and little else.
    fn put_small(&mut self, script: &mut Script<'_>) {
        let number = script.byte() % 110;
        let count = usize::from(script.byte() % 64);
        let mut payload = vec![number];
        match number {
            names::SSH_MSG_USERAUTH_FAILURE => {
                put_name_list(&mut payload, &[names::PUBLICKEY]);
                put_boolean(&mut payload, false);
            }
            _ => payload.extend_from_slice(script.bytes(count)),
        }
        self.peer.put(&payload);
    }

    fn put_global(&mut self, script: &mut Script<'_>) {
        let mut payload = vec![names::SSH_MSG_GLOBAL_REQUEST];
        let name = script.choice(&[names::KEEPALIVE, "tcpip-forward", "hostkeys-00@openssh.com"]);
        put_string(&mut payload, name.as_bytes());
        put_boolean(&mut payload, script.flag());
        self.peer.put(&payload);
    }

    fn put_open(&mut self, script: &mut Script<'_>) {
        let kind = script.choice(&[names::SESSION, names::SESSION, names::SESSION, "direct-tcpip"]);
        let mut payload = vec![names::SSH_MSG_CHANNEL_OPEN];
        put_string(&mut payload, kind.as_bytes());
        put_u32(&mut payload, u32::from(script.byte()));
        put_u32(&mut payload, size(script));
        put_u32(&mut payload, size(script));
        self.peer.put(&payload);
    }

    /// What a server says to a channel that is asked for.
    fn put_open_answer(&mut self, script: &mut Script<'_>) {
        let (kind, channel) = (script.byte(), u32::from(script.byte()));
        let mut payload = Vec::new();
        if kind % 4 == 0 {
            payload.push(names::SSH_MSG_CHANNEL_OPEN_FAILURE);
            put_u32(&mut payload, channel);
            put_u32(&mut payload, u32::from(script.byte()));
            put_string(&mut payload, b"no");
            put_string(&mut payload, b"");
        } else {
            payload.push(names::SSH_MSG_CHANNEL_OPEN_CONFIRMATION);
            put_u32(&mut payload, channel);
            put_u32(&mut payload, u32::from(script.byte()));
            put_u32(&mut payload, size(script));
            put_u32(&mut payload, size(script));
        }
        self.peer.put(&payload);
    }

    fn put_channel_request(&mut self, script: &mut Script<'_>) {
        let channel = u32::from(script.byte());
        let kinds = [names::SUBSYSTEM, names::WINDOW_CHANGE, names::EXIT_STATUS, "shell", "env"];
        let kind = script.choice(&kinds);
        let mut payload = vec![names::SSH_MSG_CHANNEL_REQUEST];
        put_u32(&mut payload, channel);
        put_string(&mut payload, kind.as_bytes());
        put_boolean(&mut payload, script.flag());
        match kind {
            names::SUBSYSTEM => {
                let name = script.choice(&[SUBSYSTEMS[1].name, SUBSYSTEMS[0].name, "sftp"]);
                put_string(&mut payload, name.as_bytes());
            }
            names::WINDOW_CHANGE => {
                (0..4).for_each(|_| put_u32(&mut payload, script.number()));
            }
            names::EXIT_STATUS => put_u32(&mut payload, script.number()),
            _ => {}
        }
        self.peer.put(&payload);
    }

    fn put_data(&mut self, script: &mut Script<'_>) {
        let (kind, channel) = (script.byte(), u32::from(script.byte()));
        let len = script.short() % STEP_BYTES_MAX;
        let mut payload = Vec::with_capacity(len + 16);
        if kind & 7 == 7 {
            payload.push(names::SSH_MSG_CHANNEL_EXTENDED_DATA);
            put_u32(&mut payload, channel);
            put_u32(&mut payload, 1);
        } else {
            payload.push(names::SSH_MSG_CHANNEL_DATA);
            put_u32(&mut payload, channel);
        }
        put_string(&mut payload, &vec![0xaa; len]);
        self.peer.put(&payload);
    }

    /// A message about a channel, with `count` numbers behind.
    fn put_numbers(&mut self, number: u8, script: &mut Script<'_>, count: usize) {
        let mut payload = vec![number];
        put_u32(&mut payload, u32::from(script.byte()));
        (0..count).for_each(|_| put_u32(&mut payload, size(script)));
        self.peer.put(&payload);
    }
}

/// A window or a packet size: small, usual, or the edges of the range. Zero is a usual one.
fn size(script: &mut Script<'_>) -> u32 {
    match script.byte() {
        0 => 0x8000,
        1 => 0x20_0000,
        2 => u32::MAX,
        3 => 0,
        4 => script.number(),
        5 => 0x8000_0000,
        small => u32::from(small),
    }
}

/// Changes one byte; says whether it is another one now.
fn flip(bytes: &mut [u8], script: &mut Script<'_>) -> bool {
    let (at, by) = (script.short() % bytes.len(), script.byte());
    bytes[at] ^= by;
    by != 0
}
