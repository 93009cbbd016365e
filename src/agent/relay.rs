//! One channel of `convocate-agent-attach`: a header line, then a terminal.
//!
//! States: Header → Opening → Open → Ending → Done. Before the terminal is open the channel takes
//! one line and no more: what follows the newline belongs to the terminal and stays where it is.
//! Once it is open, bytes go between channel and terminal without passing through here; the relay
//! only says what may. A terminal that cannot be had ends in one line of JSON.

use crate::base::lines::Lines;
use crate::base::time::Mono;
use crate::limits::{ATTACH_HEADER_BYTES_MAX, RPC_REQUEST_TIMEOUT};
use crate::rpc::attach::AttachHeader;
use crate::rpc::response;

use super::exchange::LastLine;

#[derive(Debug)]
pub(crate) struct Relay {
    state: RelayState,
}

#[derive(Debug)]
enum RelayState {
    Header {
        line: Lines,
        until: Mono,
    },
    /// The header is with its owner; the terminal's bytes wait in the channel's window.
    Opening {
        is_read_only: bool,
    },
    Open {
        is_read_only: bool,
    },
    Ending {
        line: LastLine,
        exit_status: Option<u32>,
    },
    Done {
        exit_status: Option<u32>,
    },
}

/// What becomes of the bytes that the peer has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inflow {
    /// They are the terminal's.
    Pass,
    Hold,
    /// Nobody wants them.
    Drop,
}

impl Relay {
    /// A relay whose channel was opened `now`.
    pub(crate) fn new(now: Mono) -> Relay {
        let line = Lines::new(ATTACH_HEADER_BYTES_MAX);
        Relay { state: RelayState::Header { line, until: now + RPC_REQUEST_TIMEOUT } }
    }

    /// Whether bytes are to be given to [`Relay::header`] now.
    pub(crate) fn wants_header(&self) -> bool {
        matches!(self.state, RelayState::Header { .. })
    }

    /// Takes bytes of the header up to its newline. Returns how many it took, and the header that
    /// they complete, which is to be answered with [`Relay::opened`] or [`Relay::refuse`].
    pub(crate) fn header(&mut self, bytes: &[u8]) -> (usize, Option<AttachHeader>) {
        let RelayState::Header { line, .. } = &mut self.state else {
            return (0, None);
        };
        match line.push(bytes) {
            Ok(taken) => {
                let line = line.next_line();
                (taken, line.and_then(|line| self.parsed(&line)))
            }
            Err(error) => {
                self.refuse(format!("header {error}"));
                (bytes.len(), None)
            }
        }
    }

    /// The peer sends nothing more. A terminal that is open stays: its output is still wanted.
    pub(crate) fn input_end(&mut self) {
        if self.wants_header() {
            self.refuse("no header line before the end of input".to_owned());
        }
    }

    /// The terminal is attached.
    pub(crate) fn opened(&mut self) {
        if let RelayState::Opening { is_read_only } = self.state {
            self.state = RelayState::Open { is_read_only };
        }
    }

    /// The terminal cannot be had: the peer gets one line that says why, then the end. Ignored once
    /// the terminal is open or the end has begun: its bytes are the terminal's then.
    pub(crate) fn refuse(&mut self, text: String) {
        if matches!(self.state, RelayState::Header { .. } | RelayState::Opening { .. }) {
            let line = LastLine::new(response::refusal(&text));
            self.state = RelayState::Ending { line, exit_status: None };
        }
    }

    /// The terminal has ended and all of its output was taken.
    pub(crate) fn ended(&mut self, exit_status: u32) {
        if matches!(self.state, RelayState::Opening { .. } | RelayState::Open { .. }) {
            self.state = RelayState::Done { exit_status: Some(exit_status) };
        }
    }

    pub(crate) fn tick(&mut self, now: Mono) {
        if matches!(self.state, RelayState::Header { until, .. } if until <= now) {
            let seconds = RPC_REQUEST_TIMEOUT.as_secs();
            self.refuse(format!("no complete header within {seconds} s"));
        }
    }

    /// When [`Relay::tick`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        match self.state {
            RelayState::Header { until, .. } => Some(until),
            _ => None,
        }
    }

    /// What becomes of what the peer has typed. Read-only means that none of it goes on.
    pub(crate) fn inflow(&self) -> Inflow {
        match self.state {
            RelayState::Opening { is_read_only: false } => Inflow::Hold,
            RelayState::Open { is_read_only: false } => Inflow::Pass,
            RelayState::Header { .. } => Inflow::Hold,
            _ => Inflow::Drop,
        }
    }

    /// Whether the terminal's output may be sent.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, RelayState::Open { .. })
    }

    /// Bytes for the peer that are not the terminal's.
    pub(crate) fn output(&self) -> &[u8] {
        match &self.state {
            RelayState::Ending { line, .. } => line.rest(),
            _ => &[],
        }
    }

    /// The first `len` bytes of [`Relay::output`] were sent.
    pub(crate) fn output_sent(&mut self, len: usize) {
        if let RelayState::Ending { line, exit_status } = &mut self.state
            && line.advance(len)
        {
            self.state = RelayState::Done { exit_status: *exit_status };
        }
    }

    /// Whether it is over: exit status if there is one, EOF and close are due.
    pub(crate) fn end(&self) -> Option<Option<u32>> {
        match self.state {
            RelayState::Done { exit_status } => Some(exit_status),
            _ => None,
        }
    }

    fn parsed(&mut self, line: &[u8]) -> Option<AttachHeader> {
        match AttachHeader::parse(line) {
            Ok(header) => {
                self.state = RelayState::Opening { is_read_only: header.read_only };
                Some(header)
            }
            Err(error) => {
                self.refuse(error.to_string());
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01234567-89ab-4def-8123-456789abcdef";

    fn header(more: &str) -> Vec<u8> {
        format!("{{\"id\":\"{ID}\",\"cols\":100{more}}}\n").into_bytes()
    }

    fn refusal(relay: &mut Relay) -> String {
        let line = relay.output().to_vec();
        relay.output_sent(line.len());
        assert_eq!(relay.end(), Some(None));
        response::parse(&line).expect("a line").expect_err("a refusal")
    }

    #[test]
    fn bytes_behind_the_newline_are_the_terminals() {
        let line = header("");
        let mut bytes = line.clone();
        bytes.extend_from_slice(b"ls\r");
        for step in 1..=bytes.len() {
            let mut relay = Relay::new(Mono::ZERO);
            let (mut at, mut found) = (0, None);
            while at < bytes.len() && found.is_none() {
                let (taken, header) = relay.header(&bytes[at..bytes.len().min(at + step)]);
                at += taken;
                found = header;
            }
            assert_eq!(at, line.len());
            assert_eq!(found.map(|header| header.cols), Some(100));
            assert_eq!(relay.inflow(), Inflow::Hold);
            relay.opened();
            assert_eq!(relay.inflow(), Inflow::Pass);
        }
    }

    #[test]
    fn read_only_drops_what_is_typed_from_the_first_byte_on() {
        let mut relay = Relay::new(Mono::ZERO);
        relay.header(&header(",\"read_only\":true"));
        assert_eq!(relay.inflow(), Inflow::Drop);
        relay.opened();
        assert_eq!(relay.inflow(), Inflow::Drop);
        assert!(relay.is_open());
    }

    #[test]
    fn what_is_no_header_gets_one_line() {
        let mut relay = Relay::new(Mono::ZERO);
        assert_eq!(relay.header(b"{}\nrest").1, None);
        assert!(refusal(&mut relay).starts_with("decode header: missing field `id`"));

        let mut relay = Relay::new(Mono::ZERO);
        relay.header(&[b' '; ATTACH_HEADER_BYTES_MAX]);
        assert!(relay.wants_header());
        relay.header(b" ");
        assert_eq!(refusal(&mut relay), "header line longer than 4096 bytes");

        let mut relay = Relay::new(Mono::ZERO);
        relay.header(&header("")[..20]);
        relay.input_end();
        assert_eq!(refusal(&mut relay), "no header line before the end of input");

        let mut relay = Relay::new(Mono::ZERO);
        relay.tick(relay.deadline().expect("it is waited for"));
        assert_eq!(refusal(&mut relay), "no complete header within 10 s");
    }

    #[test]
    fn the_end_has_the_exit_status_and_no_line() {
        let mut relay = Relay::new(Mono::ZERO);
        relay.header(&header(""));
        relay.opened();
        relay.input_end();
        assert!(relay.is_open(), "its output is still wanted");
        relay.refuse("too late".to_owned());
        assert!(relay.output().is_empty());
        relay.ended(3);
        assert_eq!(relay.end(), Some(Some(3)));
        relay.ended(4);
        assert_eq!(relay.end(), Some(Some(3)));
        assert_eq!(relay.inflow(), Inflow::Drop);
    }
}
