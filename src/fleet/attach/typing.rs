//! What is typed into an attached terminal, and the line of ours at the bottom of its screen.
//!
//! Keys pass [`Escape`] as they come, so that the way out is open when the network takes nothing
//! more; what it has not taken waits here. Where the network is silent, the last line of the screen
//! says so, with the keys that are not taken; when something comes again, the session is asked to
//! draw itself anew, by a size that changes and, once that has arrived, changes back.

use super::{Attach, AttachState, CTRL_C, Wait};
use crate::base::text::cut;
use crate::base::time::Mono;
use crate::fleet::silence::Silence;
use crate::limits::TYPED_WAITING_BYTES_MAX;
use crate::terminal::escape::{Asked, Escape, HELP};
use crate::terminal::leave::takes_sequences;

/// The keys of an attached terminal.
pub(super) struct Typing {
    escape: Escape,
    /// What the transport has not taken.
    waiting: Vec<u8>,
    pub(super) silence: Silence,
    is_helped: bool,
    /// Our line, if it stands on the screen.
    drawn: Option<String>,
    redraw: Redraw,
}

/// How far the session is with drawing itself anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Redraw {
    None,
    /// It was told another size.
    Asked,
    /// Something has come since, so that was heard: two sizes at once would be one.
    Heard,
}

impl Typing {
    pub(super) fn new(now: Mono) -> Typing {
        Typing {
            escape: Escape::default(),
            waiting: Vec::new(),
            silence: Silence::new(now),
            is_helped: false,
            drawn: None,
            redraw: Redraw::None,
        }
    }

    /// Something came from the agent.
    pub(super) fn heard(&mut self, now: Mono) {
        self.silence.heard(now);
        if self.redraw == Redraw::Asked {
            self.redraw = Redraw::Heard;
        }
    }

    /// The connection is gone, and what waited with it. How many keys may be lost, for a sentence.
    pub(super) fn lose(&mut self) -> String {
        let lost = match self.silence.keys() {
            0 => String::new(),
            1 => "; 1 key may be lost".to_owned(),
            keys => format!("; {keys} keys may be lost"),
        };
        self.waiting.clear();
        (self.is_helped, self.drawn, self.redraw) = (false, None, Redraw::None);
        lost
    }
}

impl Attach {
    /// Takes what was typed, and returns how much of it. Zero means: ask again after the next
    /// [`Attach::work`].
    pub(crate) fn typed(&mut self, now: Mono, bytes: &[u8]) -> usize {
        let is_sent = match &self.state {
            AttachState::Ended(_) => return bytes.len(),
            AttachState::Connecting { absence: None }
            | AttachState::Opening { wait: Wait { absence: None, .. }, .. }
            | AttachState::Listening { wait: Wait { absence: None, .. }, .. } => return 0,
            AttachState::Open { .. } => !self.header.read_only,
            _ => false,
        };
        let typing = &mut self.typing;
        let room = TYPED_WAITING_BYTES_MAX.saturating_sub(typing.waiting.len());
        // While the network is silent, what there is no room for is lost: whoever types must be
        // able to leave.
        let is_dropped = room == 0 && (!is_sent || typing.silence.is_told());
        let taken = if is_dropped { bytes.len() } else { bytes.len().min(room) };
        let mut session = Vec::new();
        let (keys, asked) = typing.escape.take(&bytes[..taken], &mut session);
        if keys > 0 || asked.is_some() {
            typing.is_helped = asked == Some(Asked::Help);
        }
        if is_sent {
            typing.silence.typed(now, keys);
            if !is_dropped {
                typing.waiting.extend_from_slice(&session);
            }
            self.send_typed();
        } else if session.contains(&CTRL_C) {
            self.leave();
        }
        if asked == Some(Asked::Leave) {
            self.leave();
        }
        taken
    }

    /// Gives the transport what it has room for.
    pub(super) fn send_typed(&mut self) {
        let AttachState::Open { channel, .. } = self.state else { return };
        if !self.typing.waiting.is_empty()
            && let Some(conn) = self.member.conn()
        {
            let taken = conn.send(channel, &self.typing.waiting);
            self.typing.waiting.drain(..taken);
        }
    }

    /// Asks the agent whether it is there, if that is due.
    pub(super) fn ask_alive(&mut self, now: Mono) {
        if matches!(self.state, AttachState::Open { .. })
            && self.typing.silence.asks(now)
            && let Some(conn) = self.member.conn()
        {
            conn.ask_alive();
        }
    }

    /// When [`Attach::ask_alive`] or [`Attach::draw_line`] has something to do.
    pub(super) fn line_due(&self) -> Option<Mono> {
        let is_open = matches!(self.state, AttachState::Open { .. });
        is_open.then(|| self.typing.silence.deadline())?
    }

    /// Puts our line on the screen, or takes it away, between two pieces of output.
    pub(super) fn draw_line(&mut self, now: Mono) {
        let AttachState::Open { channel, .. } = self.state else { return };
        let size = self.header.size();
        let (cols, rows) = (u32::from(size.cols()), u32::from(size.rows()));
        if self.typing.redraw == Redraw::Heard {
            self.typing.redraw = Redraw::None;
            self.member.conn().into_iter().for_each(|it| it.window_change(channel, cols, rows));
        }
        let line = self.line(now);
        if line == self.typing.drawn || !self.terminal_output().is_empty() {
            return;
        }
        let drawn = std::mem::replace(&mut self.typing.drawn, line);
        self.shown.clear();
        self.shown_sent = 0;
        match (&self.typing.drawn, takes_sequences(&self.header.term)) {
            (Some(text), true) => {
                let text = cut(text, usize::from(size.cols()).saturating_sub(2));
                let line =
                    format!("\x1b7\x1b[{rows};1H\x1b(B\x0f\x1b[0;7m {text} \x1b[K\x1b[0m\x1b8");
                self.shown.extend_from_slice(line.as_bytes());
            }
            // A line that cannot be taken away is said once.
            (Some(text), false) if drawn.is_none() => {
                self.shown.extend_from_slice(format!("\r\n[convocate: {text}]\r\n").as_bytes());
            }
            (None, true) => {
                if let Some(conn) = self.member.conn() {
                    let (cols, rows) = if rows > 1 { (cols, rows - 1) } else { (cols + 1, rows) };
                    conn.window_change(channel, cols, rows);
                    conn.ask_alive();
                    self.typing.redraw = Redraw::Asked;
                }
            }
            (_, false) => {}
        }
    }

    fn line(&mut self, now: Mono) -> Option<String> {
        let silent = self.typing.silence.lasts(now);
        if self.typing.is_helped {
            return Some(HELP.to_owned());
        }
        let keys = match self.typing.silence.keys() {
            0 => String::new(),
            1 => ", 1 key not taken".to_owned(),
            keys => format!(", {keys} keys not taken"),
        };
        let (host, seconds) = (self.agent().host(), silent?.as_secs());
        Some(format!("no answer from {host} for {seconds} s{keys}; Enter ~. leaves"))
    }
}
