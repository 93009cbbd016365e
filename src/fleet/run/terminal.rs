//! Drives one attached terminal: the person's tty on one side, the agent on the other.
//!
//! The tty is raw only while it belongs to the session, and is given back on every way out: the
//! guard does it on return, the panic hook in a panic, and signals end the loop in good order.

use std::io;

use crate::base::endpoint::Endpoint;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::fleet::attach::{Attach, AttachEnd};
use crate::fleet::connection::StreamAction;
use crate::fleet::driver::dialled;
use crate::fleet::member::Member;
use crate::io::clock::Clock;
use crate::io::outbound::{DialEvent, Dialler, Outbound};
use crate::io::reactor::{Interests, Reactor, Ready, Watch};
use crate::io::signals::{Signal, Signals};
use crate::io::stream::Moved;
use crate::io::tty::{Heard, Patience, RawMode, Tty};
use crate::limits::{
    ATTACH_HINT_AFTER, FAREWELL_LINGER, FENCE_FLOOD_TIMEOUT, FENCE_SEQUENCE_SILENCE, FENCE_TIMEOUT,
    LINK_TURN_BYTES, TYPED_BYTES_MAX,
};
use crate::rpc::attach::{AttachHeader, TerminalSize};
use crate::terminal::filter::Clipboard;
use crate::terminal::leave::{ENTER, Fence, QUESTION, RESET, reset, takes_sequences};

const TTY: Key = Key::from_bits(u64::MAX - 1);
const SIGNALS: Key = Key::from_bits(u64::MAX - 2);

/// What a person who waits for a terminal is told.
enum Hint {
    /// Nothing before this time.
    At(Mono),
    /// It stands on the screen.
    Shown,
    /// Nothing any more.
    Over,
}

/// The person's terminal, before it is given to a session.
pub(crate) struct Screen {
    tty: Tty,
    signals: Signals,
}

impl Screen {
    /// Opens the controlling terminal and takes the signals over. To be called before any thread
    /// is started.
    ///
    /// # Errors
    /// There is no terminal: one sentence.
    pub(crate) fn open() -> Result<Screen, String> {
        let signals =
            Signals::block().map_err(|error| format!("cannot take signals over: {error}"))?;
        let tty = Tty::open().map_err(|error| {
            format!("there is no terminal to attach: {error}; over ssh, call it with `ssh -t`")
        })?;
        Ok(Screen { tty, signals })
    }

    /// Its size now; the default one if it does not tell.
    pub(crate) fn size(&self) -> TerminalSize {
        let (cols, rows) = self.tty.size().map_or((0, 0), |size| (size.columns, size.rows));
        TerminalSize::clamped(u32::from(cols), u32::from(rows))
    }

    /// Runs the terminal until it ends.
    pub(super) fn run(
        self,
        net: Net,
        member: Member,
        header: AttachHeader,
        clipboard: Clipboard,
    ) -> Result<AttachEnd, String> {
        let takes_sequences = takes_sequences(&header.term);
        let attach = Attach::new(member, header, clipboard, net.clock.mono());
        let show = Show {
            screen: self,
            net,
            attach,
            raw: None,
            hint: Hint::Over,
            takes_sequences,
            typed: Vec::with_capacity(TYPED_BYTES_MAX),
            is_readable: true,
            is_writable: true,
        };
        show.run().map_err(|error| format!("the terminal failed: {error}"))
    }
}

/// What the terminal's loop stands on: the connection to its agent, and what moves and waits.
pub(super) struct Net {
    pub(super) clock: Clock,
    pub(super) reactor: Reactor,
    pub(super) dialler: Dialler,
    pub(super) outbound: Outbound,
}

/// A terminal that is shown.
struct Show {
    screen: Screen,
    net: Net,
    attach: Attach,
    raw: Option<RawMode>,
    hint: Hint,
    /// Whether sequences of ours mean anything to the terminal.
    takes_sequences: bool,
    /// What was read from the tty and is not taken yet.
    typed: Vec<u8>,
    is_readable: bool,
    is_writable: bool,
}

impl Show {
    fn run(mut self) -> io::Result<AttachEnd> {
        let watches = [
            self.net.reactor.watch(&self.screen.tty, TTY, Interests::Both)?,
            self.net.reactor.watch(&self.screen.signals, SIGNALS, Interests::Read)?,
        ];
        assert_eq!(watches, [Watch::Events; 2], "terminals and signals bring events");
        let mut events = Vec::new();
        self.hint = Hint::At(self.net.clock.mono() + ATTACH_HINT_AFTER);
        loop {
            let has_more = self.act()?;
            self.follow_hint();
            if let Some(end) = self.attach.ended().cloned() {
                self.part(&mut events)?;
                return Ok(end);
            }
            let hint_at = match self.hint {
                Hint::At(at) => Some(at),
                Hint::Shown | Hint::Over => None,
            };
            let deadline = self.attach.deadline().into_iter().chain(hint_at).min();
            let Net { clock, reactor, .. } = &mut self.net;
            reactor.turn(clock, deadline, has_more, &mut events)?;
            self.take(&mut events);
        }
    }

    /// Says whom one waits for when it takes long, and takes that away when there is a terminal or
    /// there will be none.
    fn follow_hint(&mut self) {
        let is_over = self.attach.is_raw() || self.attach.ended().is_some();
        let text = match self.hint {
            Hint::At(_) if is_over => String::new(),
            Hint::Shown if is_over && self.takes_sequences => "\r\x1b[K".to_owned(),
            Hint::Shown if is_over => "\r\n".to_owned(),
            Hint::At(at) if at <= self.net.clock.mono() => {
                let host = self.attach.agent().host();
                format!("\rwaiting for a terminal from {host}; Ctrl-C gives up")
            }
            Hint::At(_) | Hint::Shown | Hint::Over => return,
        };
        self.hint = if is_over { Hint::Over } else { Hint::Shown };
        if !text.is_empty() {
            // A terminal that takes nothing now takes no hint.
            let _ = self.screen.tty.stream.write(text.as_bytes());
        }
    }

    /// Does all that can be done now, and says whether more can at once.
    fn act(&mut self) -> io::Result<bool> {
        let now = self.net.clock.mono();
        self.attach.tick(now);
        self.attach.work(now);
        self.follow_actions(now);
        self.follow_raw()?;
        let reads = self.read_keys();
        let shows = self.show();
        self.attach.work(now);
        self.net.outbound.pump(now, &mut self.attach);
        self.attach.work(now);
        let is_late = self.attach.deadline().is_some_and(|at| at <= self.net.clock.mono());
        // The last work may have left bytes for either side, and nobody tells us of those.
        let has_output = self.is_writable && !self.attach.terminal_output().is_empty();
        let moves = self.net.outbound.wants_turn(&mut self.attach);
        let has_more = reads || shows || moves || is_late || has_output;
        Ok(has_more || self.attach.ended().is_some())
    }

    fn follow_actions(&mut self, now: Mono) {
        while let Some(action) = self.attach.poll_action() {
            let Net { reactor, dialler, outbound, .. } = &mut self.net;
            outbound.close();
            if action == StreamAction::Dial {
                let event = outbound.dial(dialler, reactor, &self.attach.agent().address);
                self.dialled(now, event);
            }
        }
    }

    /// Raw while the terminal belongs to the session, and not a moment longer.
    fn follow_raw(&mut self) -> io::Result<()> {
        if self.attach.is_raw() && self.raw.is_none() {
            let reset = if self.takes_sequences { RESET } else { b"" };
            self.raw = Some(self.screen.tty.enter_raw_mode(reset)?);
            self.follow_hint();
            if self.takes_sequences {
                // A terminal that takes nothing now keeps its title as it is.
                let _ = self.screen.tty.stream.write(ENTER);
            }
        }
        Ok(())
    }

    /// Hands on what was typed, and says whether there may be more. Before there is a terminal,
    /// keys stay where they are.
    fn read_keys(&mut self) -> bool {
        let mut left = LINK_TURN_BYTES;
        loop {
            if !self.typed.is_empty() {
                let taken = self.attach.typed(self.net.clock.mono(), &self.typed);
                self.typed.drain(..taken);
                if !self.typed.is_empty() {
                    return false;
                }
            }
            if self.raw.is_none() || !self.is_readable || left == 0 {
                return self.raw.is_some() && self.is_readable;
            }
            self.typed.resize(TYPED_BYTES_MAX.min(left), 0);
            let count = match self.screen.tty.stream.read(&mut self.typed) {
                Moved::Bytes(count) => count,
                Moved::Blocked => {
                    self.is_readable = false;
                    0
                }
                Moved::Closed | Moved::Failed(_) => {
                    self.is_readable = false;
                    self.attach.leave();
                    0
                }
            };
            self.typed.truncate(count);
            left -= count;
        }
    }

    /// Shows what there is to be shown, and says whether there is more.
    fn show(&mut self) -> bool {
        let mut left = LINK_TURN_BYTES;
        while left > 0 && self.is_writable {
            let output = self.attach.terminal_output();
            if output.is_empty() {
                return false;
            }
            match self.screen.tty.stream.write(&output[..output.len().min(left)]) {
                Moved::Bytes(count) => {
                    self.attach.terminal_output_sent(count);
                    left -= count;
                }
                Moved::Blocked => self.is_writable = false,
                Moved::Closed | Moved::Failed(_) => {
                    self.is_writable = false;
                    self.attach.leave();
                }
            }
        }
        self.is_writable
    }

    fn take(&mut self, events: &mut Vec<Ready>) {
        let now = self.net.clock.mono();
        for ready in events.drain(..) {
            match ready.key {
                TTY => {
                    self.is_readable |= ready.readable || ready.closed;
                    self.is_writable |= ready.writable;
                }
                SIGNALS => self.take_signals(),
                key if key == self.net.outbound.key() => {
                    let event = self.net.outbound.ready(&self.net.reactor, ready);
                    self.dialled(now, event);
                }
                _ => {}
            }
        }
        while let Some(found) = self.net.dialler.next_found() {
            let event = self.net.outbound.found(&self.net.reactor, found);
            self.dialled(now, event);
        }
    }

    fn dialled(&mut self, now: Mono, event: DialEvent) {
        dialled(self.attach.member_mut(), now, event);
    }

    fn take_signals(&mut self) {
        while let Some(signal) = self.screen.signals.next_signal() {
            match signal {
                Signal::WindowChange => self.attach.resized(self.screen.size()),
                Signal::Terminate | Signal::Interrupt | Signal::Quit | Signal::HangUp => {
                    self.attach.leave();
                }
            }
        }
    }

    /// Gives the terminal back and lets the agent hear the last words. What was typed or answered
    /// before is discarded: it was for the session, or the session brought it about.
    fn part(&mut self, events: &mut Vec<Ready>) -> io::Result<()> {
        let now = self.net.clock.mono();
        self.net.outbound.pump(now, &mut self.attach);
        if let Some(raw) = self.raw.take() {
            let (reset, question): (&[u8], &[u8]) = match self.takes_sequences {
                true => (reset(self.attach.is_alternate()), QUESTION),
                false => (b"", b""),
            };
            let patience = Patience {
                answer: FENCE_TIMEOUT,
                silence: FENCE_SEQUENCE_SILENCE,
                all: FENCE_FLOOD_TIMEOUT,
            };
            let mut fence = Fence::default();
            raw.leave_behind(reset, question, patience, |byte| match fence.sees(byte) {
                true => Heard::Answer,
                false if fence.is_amid() => Heard::Amid,
                false => Heard::Other,
            });
        }
        let until = self.net.clock.mono() + FAREWELL_LINGER;
        while self.net.outbound.is_open() && self.net.clock.mono() < until {
            let is_more = self.net.outbound.pump(self.net.clock.mono(), &mut self.attach);
            if !is_more && self.net.outbound.is_open() {
                self.net.reactor.wait(&self.net.clock, Some(until), events)?;
                self.take(events);
            }
        }
        Ok(())
    }
}
