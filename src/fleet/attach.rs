//! A session's terminal, given to a person: the client's end of `convocate-agent-attach`.
//!
//! ```text
//! Connecting ──> Opening ──> Listening ──> Open ──> Draining ──> Parting ──> Ended
//!     ^                          │           │
//!     └── Checking ──> Opening … └───────────┘  connection lost: it is dialled again
//! ```
//!
//! The first attempt is the only one until a terminal was there; from then on a lost connection is
//! dialled again, with a notice, until [`ATTACH_GIVE_UP`]. On return it is asked first
//! whether the session still runs, because attaching starts a stopped session, and that was not
//! wished for. What is typed while the terminal is away goes nowhere, but Ctrl-C gives up.
//! [`typing`] has what is typed, and the way out that is always open.
//!
//! Output goes from the channel's buffer through the filter, a piece at a time, and input into the
//! transport, so a slow side stops the other through the channel's window. The agent sends EOF
//! before it closes, so what is left of the output is still delivered in full.

mod typing;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use self::typing::Typing;
use crate::base::endpoint::Endpoint;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::fleet::connection::{Lost, Mode, StreamAction};
use crate::fleet::member::{Member, MemberEvent, RequestError};
use crate::fleet::registry::KnownAgent;
use crate::limits::{
    ATTACH_DOUBT_INTERVAL, ATTACH_DOUBT_TIMEOUT, ATTACH_FAREWELL_TIMEOUT, ATTACH_GIVE_UP,
    ATTACH_REDIAL_CAP, ATTACH_REFUSAL_BYTES_MAX, ATTACH_TAKEN_TIMEOUT, RPC_ANSWER_TIMEOUT,
    TERMINAL_FILTER_BYTES,
};
use crate::rpc::attach::{AttachHeader, SESSION_ENDED_STATUS, TerminalSize};
use crate::rpc::call::{Call, Id};
use crate::rpc::response;
use crate::rpc::session::Session;
use crate::rpc::{ATTACH_SUBSYSTEM, predecessor};
use crate::ssh::{self, ChannelId};
use crate::terminal::filter::{Clipboard, Filter};
use crate::terminal::leave::takes_sequences;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttachEnd {
    /// The person has left and the session runs on, as far as is known.
    Detached,
    /// The session has ended.
    SessionEnded,
    /// The terminal has ended by itself with this status, and the session runs on.
    Failed(u32),
    /// The agent refused the terminal, in its own words, before there ever was one.
    Refused(String),
    /// The agent could not be reached, and there never was a terminal.
    Unreachable(Lost),
    /// The agent took the request and then said nothing.
    Silent,
    /// The terminal was there and was lost, and reconnecting failed: why.
    GivenUp(String),
}

impl fmt::Display for AttachEnd {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttachEnd::Detached => out.write_str("detached"),
            AttachEnd::SessionEnded => out.write_str("the session has ended"),
            AttachEnd::Failed(status) => write!(out, "the terminal ended with status {status}"),
            AttachEnd::Refused(text) => out.write_str(text),
            AttachEnd::Unreachable(lost) => lost.fmt(out),
            AttachEnd::Silent => {
                let seconds = RPC_ANSWER_TIMEOUT.as_secs();
                write!(out, "the agent gave no terminal within {seconds} s")
            }
            AttachEnd::GivenUp(why) => write!(out, "could not reconnect: {why}"),
        }
    }
}

/// A terminal that was there and is away.
#[derive(Clone, Debug)]
struct Absence {
    give_up: Mono,
    why: String,
}

enum AttachState {
    /// There is no connection; with an absence, the member dials again and again.
    Connecting { absence: Option<Absence> },
    /// It is back: the session is asked whether it still runs.
    Checking { request: Key, absence: Absence },
    /// A channel was asked for, or the header is on its way.
    Opening { channel: ChannelId, header: Vec<u8>, sent: usize, wait: Wait },
    /// The header has left: the first bytes tell a refusal from a terminal.
    Listening { channel: ChannelId, wait: Wait },
    /// The channel is the terminal.
    Open { channel: ChannelId, status: Option<u32> },
    /// Nothing more comes; what is left of the output is still to be written.
    Draining { channel: ChannelId, status: Option<u32> },
    /// The terminal has ended: the session is asked whether it runs on.
    Parting { request: Key, parting: Parting },
    /// It runs on although its terminal failed or said that it has ended, so it may be about to
    /// end: it is asked once more.
    Doubting { ask_at: Mono, parting: Parting },
    /// All is said.
    Ended(AttachEnd),
}

/// A terminal that has ended.
#[derive(Clone, Copy)]
struct Parting {
    status: u32,
    /// Whether the session may be about to end although it is said to run.
    is_doubtful: bool,
    /// How long a session whose terminal failed may take to end, too.
    until: Mono,
}

/// What bounds the time until there is a terminal.
struct Wait {
    until: Mono,
    absence: Option<Absence>,
}

impl Parting {
    /// What it was, of a session that runs on.
    fn end(self) -> AttachEnd {
        match self.status {
            0 => AttachEnd::Detached,
            SESSION_ENDED_STATUS => AttachEnd::SessionEnded,
            status => AttachEnd::Failed(status),
        }
    }
}

/// A terminal with its connection.
pub(crate) struct Attach {
    member: Member,
    header: AttachHeader,
    state: AttachState,
    filter: Filter,
    /// What is to be shown, whole sequences, and how much of it was.
    shown: Vec<u8>,
    shown_sent: usize,
    /// The first of what came, which may be the refusal of a predecessor.
    first: Vec<u8>,
    typing: Typing,
}

/// What gives up while the terminal is away, and leaves a read-only one.
const CTRL_C: u8 = 3;

impl Attach {
    /// A terminal on `member`'s session `header.id`. The member may be connected already; its
    /// pending events are taken as this terminal's.
    pub(crate) fn new(
        mut member: Member,
        header: AttachHeader,
        clipboard: Clipboard,
        now: Mono,
    ) -> Attach {
        member.set_mode(Mode::Once);
        let state = AttachState::Connecting { absence: None };
        let mut filter = Filter::new(clipboard);
        // They could not be set back.
        filter.set_titles(takes_sequences(&header.term));
        let (shown, first, typing) = (Vec::new(), Vec::new(), Typing::new(now));
        let mut attach =
            Attach { member, header, state, filter, shown, shown_sent: 0, first, typing };
        if attach.member.ready().is_some() {
            attach.open(now, None);
        }
        attach
    }

    /// Whose stream is dialled, opened or lost.
    pub(crate) fn member_mut(&mut self) -> &mut Member {
        &mut self.member
    }

    /// What the driver is to do. To be asked after every other call.
    pub(crate) fn poll_action(&mut self) -> Option<StreamAction> {
        self.member.poll_action()
    }

    /// Acts on what has happened. To be called after every other call; output, deadline and end may
    /// have changed then.
    pub(crate) fn work(&mut self, now: Mono) {
        loop {
            self.look(now);
            self.send_typed();
            self.draw_line(now);
            self.filter_output();
            // The rest of an ended terminal's output is delivered before its channel may die.
            if self.is_draining() {
                return;
            }
            match self.member.poll_event(now) {
                None => return,
                Some(MemberEvent::Ready) => self.returned(now),
                Some(MemberEvent::Lost(lost)) => self.lost(now, lost),
                Some(MemberEvent::Answered { request, answer }) => {
                    self.answered(now, request, answer)
                }
                Some(MemberEvent::Channel(event)) => self.on_channel(now, &event),
            }
        }
    }

    /// The person's terminal has another size now.
    pub(crate) fn resized(&mut self, size: TerminalSize) {
        self.header.cols = u32::from(size.cols());
        self.header.rows = u32::from(size.rows());
        if let AttachState::Listening { channel, .. } | AttachState::Open { channel, .. } =
            self.state
            && let Some(conn) = self.member.conn()
        {
            conn.window_change(channel, self.header.cols, self.header.rows);
        }
    }

    /// Ends it because the operator asked for it; the session runs on.
    pub(crate) fn leave(&mut self) {
        let end = match &self.state {
            AttachState::Ended(_) => return,
            AttachState::Connecting { absence: Some(absence) }
            | AttachState::Checking { absence, .. }
            | AttachState::Opening { wait: Wait { absence: Some(absence), .. }, .. }
            | AttachState::Listening { wait: Wait { absence: Some(absence), .. }, .. } => {
                AttachEnd::GivenUp(absence.why.clone())
            }
            _ => AttachEnd::Detached,
        };
        self.end(end);
    }

    /// Bytes for the person's terminal, oldest first; empty if there are none.
    pub(crate) fn terminal_output(&self) -> &[u8] {
        &self.shown[self.shown_sent..]
    }

    /// The first `len` bytes of [`Attach::terminal_output`] have been written.
    pub(crate) fn terminal_output_sent(&mut self, len: usize) {
        self.shown_sent += len;
        self.filter_output();
    }

    /// Whether the session has left the terminal on its alternate screen.
    pub(crate) fn is_alternate(&self) -> bool {
        self.filter.is_alternate()
    }

    /// Filters a piece of the session's output when all before it was written. What is dropped
    /// whole leaves nothing to show, so the next piece is taken.
    fn filter_output(&mut self) {
        let (AttachState::Open { channel, .. } | AttachState::Draining { channel, .. }) =
            self.state
        else {
            return;
        };
        let Some(conn) = self.member.conn() else { return };
        while self.shown_sent == self.shown.len() {
            self.shown.clear();
            self.shown_sent = 0;
            let bytes = conn.received(channel);
            let len = bytes.len().min(TERMINAL_FILTER_BYTES);
            if len == 0 {
                return;
            }
            predecessor::note_first(&mut self.first, &bytes[..len]);
            self.filter.feed(&bytes[..len], &mut self.shown);
            conn.consume(channel, len);
        }
    }

    /// Whether the person's terminal belongs to the session now, so that it should be raw.
    pub(crate) fn is_raw(&self) -> bool {
        match &self.state {
            AttachState::Open { .. }
            | AttachState::Draining { .. }
            | AttachState::Checking { .. }
            | AttachState::Parting { .. }
            | AttachState::Doubting { .. } => true,
            AttachState::Connecting { absence } => absence.is_some(),
            AttachState::Opening { wait, .. } | AttachState::Listening { wait, .. } => {
                wait.absence.is_some()
            }
            AttachState::Ended(_) => false,
        }
    }

    /// How it ended, once all output is written; the connection is closing then.
    pub(crate) fn ended(&self) -> Option<&AttachEnd> {
        match &self.state {
            AttachState::Ended(end) if self.terminal_output().is_empty() => Some(end),
            _ => None,
        }
    }

    pub(crate) fn agent(&self) -> &Arc<KnownAgent> {
        self.member.agent()
    }

    fn returned(&mut self, now: Mono) {
        match std::mem::replace(&mut self.state, AttachState::Connecting { absence: None }) {
            AttachState::Connecting { absence: None } => self.open(now, None),
            AttachState::Connecting { absence: Some(absence) } => match self.ask(now) {
                Ok(request) => self.state = AttachState::Checking { request, absence },
                Err(error) => self.end(AttachEnd::GivenUp(error.to_string())),
            },
            state => self.state = state,
        }
    }

    fn ask(&mut self, now: Mono) -> Result<Key, RequestError> {
        let get = Call::Get(Id { id: self.header.id });
        self.member.request(&get, now + ATTACH_FAREWELL_TIMEOUT)
    }

    fn open(&mut self, now: Mono, absence: Option<Absence>) {
        let wait = Wait { until: now + RPC_ANSWER_TIMEOUT, absence };
        self.state = match self.member.open(ATTACH_SUBSYSTEM) {
            Some(channel) => AttachState::Opening { channel, header: Vec::new(), sent: 0, wait },
            None => AttachState::Connecting { absence: wait.absence },
        };
    }

    fn answered(&mut self, now: Mono, request: Key, answer: Result<Value, RequestError>) {
        let runs = answer.map(|session| {
            serde_json::from_value(session).map_or(true, |session: Session| session.running)
        });
        match &self.state {
            AttachState::Checking { request: asked, absence } if *asked == request => {
                let absence = absence.clone();
                match runs {
                    Ok(true) => self.open(now, Some(absence)),
                    Ok(false) => self.end(AttachEnd::SessionEnded),
                    Err(RequestError::Refused(text)) => self.end(AttachEnd::GivenUp(text)),
                    Err(_) if self.member.ready().is_none() => {
                        self.state = AttachState::Connecting { absence: Some(absence) };
                    }
                    // The agent is slow: it is asked again, until the absence has lasted too long.
                    Err(_) => match self.ask(now) {
                        Ok(request) => self.state = AttachState::Checking { request, absence },
                        Err(error) => self.end(AttachEnd::GivenUp(error.to_string())),
                    },
                }
            }
            AttachState::Parting { request: asked, parting } if *asked == request => {
                let parting = *parting;
                match runs {
                    Ok(false) | Err(RequestError::Refused(_)) => self.end(AttachEnd::SessionEnded),
                    Ok(true) if parting.is_doubtful && now < parting.until => {
                        let ask_at = now + ATTACH_DOUBT_INTERVAL;
                        self.state = AttachState::Doubting { ask_at, parting };
                    }
                    Ok(true) | Err(_) => self.end(parting.end()),
                }
            }
            _ => {}
        }
    }

    /// Asks whether the session of a terminal that has ended runs on.
    fn part(&mut self, now: Mono, parting: Parting) {
        self.state = match self.ask(now) {
            Ok(request) => AttachState::Parting { request, parting },
            Err(_) => AttachState::Ended(parting.end()),
        };
    }

    fn on_channel(&mut self, now: Mono, event: &ssh::Event) {
        match event {
            ssh::Event::Opened { .. } => self.greet(),
            ssh::Event::Writable { .. } => self.send_header(),
            ssh::Event::Refused { .. } => {
                let text = format!("the host does not offer {ATTACH_SUBSYSTEM}");
                self.refused(text);
            }
            ssh::Event::ExitStatus { code, .. } => {
                if let AttachState::Open { status, .. } | AttachState::Draining { status, .. } =
                    &mut self.state
                {
                    *status = Some(*code);
                }
            }
            ssh::Event::Eof { .. } => {
                self.first_bytes(true);
                if let AttachState::Open { channel, status } = self.state {
                    self.state = AttachState::Draining { channel, status };
                }
            }
            ssh::Event::Closed { .. } => self.closed(now),
            _ => {}
        }
    }

    /// The channel is there: the header goes first, with the size as it is now.
    fn greet(&mut self) {
        let line = self.header.to_line();
        if let AttachState::Opening { header, .. } = &mut self.state {
            *header = line;
            self.send_header();
        }
    }

    fn send_header(&mut self) {
        let AttachState::Opening { channel, header, sent, wait } = &mut self.state else { return };
        let Some(conn) = self.member.conn() else { return };
        *sent += conn.send(*channel, &header[*sent..]);
        if *sent == header.len() {
            let wait = Wait { until: wait.until, absence: wait.absence.take() };
            self.state = AttachState::Listening { channel: *channel, wait };
        }
    }

    /// Looks at what has come and at the time.
    fn look(&mut self, now: Mono) {
        self.first_bytes(false);
        if let AttachState::Doubting { ask_at, parting } = self.state
            && ask_at <= now
        {
            return self.part(now, parting);
        }
        let (until, absence) = match &self.state {
            AttachState::Connecting { absence: Some(absence) }
            | AttachState::Checking { absence, .. } => (absence.give_up, Some(absence)),
            AttachState::Opening { wait, .. } | AttachState::Listening { wait, .. } => {
                (wait.until, wait.absence.as_ref())
            }
            _ => return,
        };
        if until <= now {
            let end = absence
                .map_or(AttachEnd::Silent, |absence| AttachEnd::GivenUp(absence.why.clone()));
            self.end(end);
        }
    }

    /// Tells a refusal, which is one line of JSON, from a terminal, which never starts with one.
    fn first_bytes(&mut self, is_all: bool) {
        let AttachState::Listening { channel, .. } = self.state else { return };
        let Some(conn) = self.member.ready() else { return };
        let bytes = conn.received(channel);
        let line =
            bytes.split(|&byte| byte == b'\n').next().filter(|line| line.len() < bytes.len());
        let could_be_refusal =
            bytes.first() == Some(&b'{') && bytes.len() <= ATTACH_REFUSAL_BYTES_MAX;
        match (line, could_be_refusal) {
            _ if bytes.is_empty() && !is_all => {}
            (None, true) if !is_all => {}
            (Some(line), true) if let Ok(Err(text)) = response::parse(line) => self.refused(text),
            _ => {
                self.state = AttachState::Open { channel, status: None };
                self.member.set_mode(Mode::Persistent(ATTACH_REDIAL_CAP));
            }
        }
    }

    fn refused(&mut self, text: String) {
        let end = match self.is_raw() {
            true => AttachEnd::GivenUp(text),
            false => AttachEnd::Refused(text),
        };
        self.end(end);
    }

    /// Whether the last output of a terminal that ended is not written yet.
    fn is_draining(&self) -> bool {
        matches!(self.state, AttachState::Draining { .. }) && !self.terminal_output().is_empty()
    }

    fn closed(&mut self, now: Mono) {
        match &self.state {
            AttachState::Open { status, .. } | AttachState::Draining { status, .. } => {
                let late = predecessor::late_refusal(&self.first).filter(|_| status.is_none());
                if let Some(text) = late {
                    return self.end(AttachEnd::Refused(text));
                }
                // Without a status it was not the terminal that ended: the agent took it away, or
                // what could tell it has gone with the session.
                let is_doubtful = *status != Some(0) || self.filter.has_exited();
                let is_told = status.is_some();
                let status = status.unwrap_or(0);
                let until = now + if is_told { ATTACH_DOUBT_TIMEOUT } else { ATTACH_TAKEN_TIMEOUT };
                self.part(now, Parting { status, is_doubtful, until });
            }
            AttachState::Opening { .. } | AttachState::Listening { .. } => {
                self.refused("the agent closed the terminal before it was there".to_owned());
            }
            _ => {}
        }
    }

    fn lost(&mut self, now: Mono, lost: Lost) {
        let earlier =
            match std::mem::replace(&mut self.state, AttachState::Connecting { absence: None }) {
                AttachState::Open { .. } => None,
                AttachState::Connecting { absence: Some(absence) }
                | AttachState::Checking { absence, .. } => Some(absence),
                AttachState::Opening { wait: Wait { absence: Some(absence), .. }, .. }
                | AttachState::Listening { wait: Wait { absence: Some(absence), .. }, .. } => {
                    Some(absence)
                }
                AttachState::Connecting { absence: None }
                | AttachState::Opening { .. }
                | AttachState::Listening { .. } => return self.end(AttachEnd::Unreachable(lost)),
                AttachState::Draining { .. }
                | AttachState::Parting { .. }
                | AttachState::Doubting { .. } => {
                    return self.end(AttachEnd::Detached);
                }
                ended @ AttachState::Ended(_) => {
                    self.state = ended;
                    return;
                }
            };
        let why = lost.to_string();
        if matches!(lost, Lost::HostKey { .. } | Lost::KeyRefused { .. }) {
            return self.end(AttachEnd::GivenUp(why));
        }
        if earlier.is_none() {
            let keys = self.typing.lose();
            self.tell(&format!("{why}; reconnecting, Ctrl-C gives up{keys}"));
        }
        let give_up = earlier.map_or(now + ATTACH_GIVE_UP, |absence| absence.give_up);
        self.state = AttachState::Connecting { absence: Some(Absence { give_up, why }) };
    }

    /// Puts a line of ours on the person's terminal, which another one will be shown on next.
    fn tell(&mut self, text: &str) {
        self.filter.restart();
        let shown: String = text.chars().filter(|sign| !sign.is_control()).collect();
        self.shown.extend_from_slice(format!("\r\n[convocate: {shown}]\r\n").as_bytes());
    }

    fn end(&mut self, end: AttachEnd) {
        self.state = AttachState::Ended(end);
        self.member.close();
    }
}

/// The stream's end, with the terminal's deadlines.
impl Endpoint for Attach {
    fn input_space(&mut self) -> &mut [u8] {
        self.member.input_space()
    }

    fn input(&mut self, now: Mono, len: usize) {
        self.typing.heard(now);
        self.member.input(now, len);
    }

    fn input_end(&mut self, now: Mono) {
        self.member.input_end(now);
    }

    fn output(&self) -> &[u8] {
        self.member.output()
    }

    fn output_sent(&mut self, len: usize) {
        self.member.output_sent(len);
    }

    fn deadline(&self) -> Option<Mono> {
        let own = match &self.state {
            AttachState::Connecting { absence: Some(absence) }
            | AttachState::Checking { absence, .. } => Some(absence.give_up),
            AttachState::Opening { wait, .. } | AttachState::Listening { wait, .. } => {
                Some(wait.until)
            }
            AttachState::Doubting { ask_at, .. } => Some(*ask_at),
            _ => self.line_due(),
        };
        self.member.deadline().into_iter().chain(own).min()
    }

    fn tick(&mut self, now: Mono) {
        self.member.tick(now);
        self.ask_alive(now);
    }

    fn is_finished(&self) -> bool {
        self.member.is_finished()
    }
}

#[cfg(test)]
mod tests;
