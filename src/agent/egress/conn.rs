//! One connection of a session, from its first byte to its end, without sockets and clocks.
//!
//! ```text
//! Head | Socks -> Asked (the rules, the name, the address) -> Opening (what is said first)
//!     -> Open (bytes pass as they are)
//! Head -> Asked -> Request (its body) -> Answering, or Switching -> Open
//! ```
//!
//! The driver asks the rules for [`Conn::next_ask`], dials, and says what came of it. Until what a
//! client says first is known to fit, nothing of it reaches the server, and the other way round.

use super::hello::server_name;
use super::http::{self, Body, Forward};
use super::{Refusal, Target, socks};
use crate::base::time::Mono;
use crate::limits::{
    EGRESS_DIAL_TIMEOUT, EGRESS_HEAD_TIMEOUT, EGRESS_HELD_BYTES_MAX, EGRESS_HELLO_TIMEOUT,
    EGRESS_LINGER,
};

/// A TLS alert: `access_denied`.
const TLS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
/// The first byte of a TLS connection.
const TLS: u8 = 22;
const SSH: &[u8] = b"SSH-";
const SWITCHED: &[u8] = b"HTTP/1.1 101 ";

#[derive(Debug)]
pub(crate) struct Conn {
    stage: Stage,
    speech: Speech,
    /// What the client has said and nobody has read.
    held: Vec<u8>,
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    target: Option<Target>,
    ask: Option<Target>,
    refusal: Option<Refusal>,
    until: Option<Mono>,
}

#[derive(Debug)]
enum Stage {
    Head,
    /// The client was welcomed.
    Socks,
    Asked(Then),
    Opening,
    Request(Body),
    /// What the server has answered, as far as it may say that it is a WebSocket now.
    Switching(Vec<u8>),
    Answering,
    Open,
    Over,
}

/// What is done when the server is there.
#[derive(Debug)]
enum Then {
    Grant,
    Send(Box<Forward>),
}

/// How the client wants its refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speech {
    Http,
    Socks,
    Tls,
    Other,
}

/// What becomes of bytes from one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// So many are taken now, to be looked at.
    Look(usize),
    /// They pass as they are.
    Pass,
    /// They are dropped.
    Drop,
}

impl Conn {
    pub(crate) fn new(now: Mono) -> Conn {
        Conn {
            stage: Stage::Head,
            speech: Speech::Other,
            held: Vec::new(),
            to_client: Vec::new(),
            to_server: Vec::new(),
            target: None,
            ask: None,
            refusal: None,
            until: Some(now + EGRESS_HEAD_TIMEOUT),
        }
    }

    /// One that is carried into a session, to its published port: nothing is decided about it.
    pub(crate) fn passing() -> Conn {
        Conn { stage: Stage::Open, until: None, ..Conn::new(Mono::ZERO) }
    }

    /// What the client wants to reach, once: to be answered by [`Conn::connected`] or
    /// [`Conn::refuse`].
    pub(crate) fn next_ask(&mut self) -> Option<Target> {
        self.ask.take()
    }

    /// Why it was refused, once.
    pub(crate) fn next_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// What it is about, if that is known.
    pub(crate) fn target(&self) -> Option<&Target> {
        self.target.as_ref()
    }

    /// What is to be written to the client.
    pub(crate) fn take_to_client(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_client)
    }

    /// What is to be written to the server.
    pub(crate) fn take_to_server(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.to_server)
    }

    /// Whether it was refused, or its client went early: what is written to the client is the last.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Whether the server is there and may say something.
    pub(crate) fn is_carried(&self) -> bool {
        !matches!(
            self.stage,
            Stage::Head | Stage::Socks | Stage::Asked(_) | Stage::Opening | Stage::Over
        )
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.until
    }

    /// Whether it is to be closed, because its time is over.
    pub(crate) fn tick(&mut self, now: Mono) -> bool {
        if self.until.is_none_or(|until| until > now) {
            return false;
        }
        match self.stage {
            Stage::Over => return true,
            Stage::Asked(_) => {
                let silent = "it cannot be reached in time".to_owned();
                self.refuse(now, Refusal::Unreachable(silent));
            }
            _ => self.refuse(now, Refusal::Late),
        }
        false
    }

    // --- the client's bytes ---

    pub(crate) fn client_flow(&self) -> Flow {
        match self.stage {
            Stage::Request(_) => Flow::Look(usize::MAX),
            Stage::Open => Flow::Pass,
            Stage::Answering => Flow::Look(usize::MAX),
            Stage::Over => Flow::Drop,
            _ => Flow::Look(EGRESS_HELD_BYTES_MAX.saturating_sub(self.held.len())),
        }
    }

    /// Takes bytes that are to be looked at.
    pub(crate) fn client_said(&mut self, now: Mono, bytes: &[u8]) {
        match &mut self.stage {
            Stage::Request(_) => self.pass_body(now, bytes),
            // Another request, which has no place here: what the server says next would be taken
            // for its answer. Some clients end a body with a line.
            Stage::Answering => {
                if bytes.len() > 2 || bytes.iter().any(|byte| !b"\r\n".contains(byte)) {
                    self.end(now);
                }
            }
            _ => {
                self.held.extend_from_slice(bytes);
                self.advance(now);
            }
        }
    }

    /// The client says nothing more.
    pub(crate) fn client_ended(&mut self, now: Mono) {
        if !self.is_carried() {
            self.end(now);
        }
    }

    fn advance(&mut self, now: Mono) {
        let went_on = match &self.stage {
            Stage::Head if self.held.first() == Some(&socks::VERSION) => self.greeted(),
            Stage::Head if !self.held.is_empty() => self.headed(now),
            Stage::Socks => self.asked_by_socks(now),
            Stage::Opening if !self.held.is_empty() => self.opened(now),
            _ => Ok(()),
        };
        if let Err(refusal) = went_on {
            self.refuse(now, refusal);
        }
    }

    fn greeted(&mut self) -> Result<(), Refusal> {
        let Some((length, is_welcome)) = socks::greeting(&self.held) else { return Ok(()) };
        if !is_welcome {
            self.to_client.extend(socks::NO_METHOD);
            return Err(Refusal::Unfit("it wants to authenticate, and there is no way to"));
        }
        self.held.drain(..length);
        self.to_client.extend(socks::WELCOME);
        (self.stage, self.speech) = (Stage::Socks, Speech::Socks);
        if self.held.is_empty() { Ok(()) } else { Err(Refusal::Unfit("it did not wait")) }
    }

    fn asked_by_socks(&mut self, now: Mono) -> Result<(), Refusal> {
        let Some((length, target)) = socks::request(&self.held) else { return Ok(()) };
        self.held.drain(..length);
        self.ask_for(now, target?, Then::Grant);
        Ok(())
    }

    fn headed(&mut self, now: Mono) -> Result<(), Refusal> {
        self.speech = Speech::Http;
        let Some(head) = http::head(&self.held).map_err(Refusal::Unfit)? else { return Ok(()) };
        self.held.drain(..head.length);
        match head.is_connect() {
            true => self.ask_for(now, head.connect_target()?, Then::Grant),
            false => {
                let forward = head.forward(None)?;
                if forward.target.port == 443 {
                    return Err(Refusal::Unfit("what it says on port 443 is not TLS"));
                }
                self.ask_for(now, forward.target.clone(), Then::Send(Box::new(forward)));
            }
        }
        Ok(())
    }

    fn ask_for(&mut self, now: Mono, target: Target, then: Then) {
        self.target = Some(target.clone());
        self.ask = Some(target);
        self.stage = Stage::Asked(then);
        self.until = Some(now + EGRESS_DIAL_TIMEOUT);
    }

    /// The first bytes in a tunnel.
    fn opened(&mut self, now: Mono) -> Result<(), Refusal> {
        let Some(target) = self.target.clone() else { return Ok(()) };
        let (first, is_usual) = (self.held[0], matches!(target.port, 80 | 443));
        if first == TLS {
            self.speech = Speech::Tls;
            let Some(name) = server_name(&self.held).map_err(Refusal::Unfit)? else {
                return self.unless_full();
            };
            if name != target.name {
                return Err(Refusal::Unfit("its TLS ClientHello names another server"));
            }
            self.pass_all();
        } else if target.port == 443 {
            return Err(Refusal::Unfit("what it says on port 443 is not TLS"));
        } else if !is_usual && self.held.starts_with(SSH) {
            self.pass_all();
        } else if is_usual || !SSH.starts_with(&self.held) {
            self.speech = Speech::Http;
            let Some(head) = http::head(&self.held).map_err(Refusal::Unfit)? else {
                return Ok(());
            };
            self.held.drain(..head.length);
            let forward = head.forward(Some(&target))?;
            self.send(now, forward);
        }
        Ok(())
    }

    fn unless_full(&self) -> Result<(), Refusal> {
        match self.held.len() >= EGRESS_HELD_BYTES_MAX {
            true => Err(Refusal::Unfit("its TLS ClientHello is too long")),
            false => Ok(()),
        }
    }

    fn pass_all(&mut self) {
        self.to_server.append(&mut self.held);
        self.held = Vec::new();
        (self.stage, self.until) = (Stage::Open, None);
    }

    fn send(&mut self, now: Mono, forward: Forward) {
        self.to_server.extend(forward.head);
        self.until = None;
        if forward.is_upgrade {
            self.stage = Stage::Switching(Vec::new());
            return;
        }
        self.stage = Stage::Request(forward.body);
        let held = std::mem::take(&mut self.held);
        self.pass_body(now, &held);
    }

    fn pass_body(&mut self, now: Mono, bytes: &[u8]) {
        let Stage::Request(body) = &mut self.stage else { return };
        match body.take(bytes) {
            Ok(count) => {
                self.to_server.extend_from_slice(&bytes[..count]);
                if body.is_done() {
                    // What follows would be another request, which has no place here.
                    self.stage = Stage::Answering;
                }
            }
            // The server has half of it.
            Err(why) => self.refuse(now, Refusal::Unfit(why)),
        }
    }

    // --- the server's ---

    /// The server is there.
    pub(crate) fn connected(&mut self, now: Mono) {
        let Stage::Asked(then) = std::mem::replace(&mut self.stage, Stage::Opening) else {
            return self.end(now);
        };
        self.until = Some(now + EGRESS_HELLO_TIMEOUT);
        match then {
            Then::Grant => {
                let is_socks = self.speech == Speech::Socks;
                self.to_client.extend(if is_socks { socks::granted() } else { http::granted() });
                self.speech = Speech::Other;
                self.advance(now);
            }
            Then::Send(forward) => self.send(now, *forward),
        }
    }

    /// Looks at bytes of the server's, which pass in any case.
    pub(crate) fn server_said(&mut self, bytes: &[u8]) {
        let Stage::Switching(seen) = &mut self.stage else { return };
        let wanted = SWITCHED.len() - seen.len();
        seen.extend(&bytes[..bytes.len().min(wanted)]);
        if seen == SWITCHED {
            self.pass_all();
        } else if !SWITCHED.starts_with(seen) {
            self.held = Vec::new();
            self.stage = Stage::Answering;
        }
    }

    /// It is not to be: the client is told, in its own words, and that is all.
    pub(crate) fn refuse(&mut self, now: Mono, refusal: Refusal) {
        let target = self.target.as_ref();
        match (&self.stage, self.speech) {
            (Stage::Over, _) => return,
            (Stage::Request(_), _) => {}
            (_, Speech::Http) => self.to_client.extend(http::refused(&refusal, target)),
            (_, Speech::Socks) => self.to_client.extend(socks::refused(&refusal)),
            (_, Speech::Tls) => self.to_client.extend(TLS_DENIED),
            (_, Speech::Other) => {}
        }
        self.refusal = Some(refusal);
        self.end(now);
    }

    fn end(&mut self, now: Mono) {
        self.held = Vec::new();
        self.to_server = Vec::new();
        (self.stage, self.until) = (Stage::Over, Some(now + EGRESS_LINGER));
    }
}

#[cfg(test)]
mod tests;
