//! One channel of `convocate-agent-rpc`: a request line comes in, a response line goes out.
//!
//! States: Reading → Waiting → Answering → Done. A newline or the end of input completes the
//! request; what comes after it is dropped. A request that is too long, too late or no request is
//! answered with one sentence; an answer that is not read is held for a while. It holds bytes and
//! does no I/O: its owner feeds what the channel received and sends what [`Exchange::output`]
//! gives, then EOF and close once it [`is_done`].
//!
//! [`is_done`]: Exchange::is_done

use crate::base::lines::Lines;
use crate::base::time::Mono;
use crate::limits::{
    RPC_INCOMPLETE_BYTES_MAX, RPC_REQUEST_BYTES_MAX, RPC_REQUEST_TIMEOUT, RPC_RESPONSE_BYTES_MAX,
    RPC_UNREAD_BYTES_MAX, RPC_UNREAD_TIMEOUT,
};
use crate::rpc::call::Call;
use crate::rpc::response;

#[derive(Debug)]
pub(crate) struct Exchange {
    state: ExchangeState,
}

#[derive(Debug)]
enum ExchangeState {
    Reading {
        line: Lines,
        until: Mono,
    },
    /// The call is with its owner.
    Waiting,
    Answering {
        line: LastLine,
        /// When the peer is given up, unless it takes more.
        until: Mono,
    },
    Done,
}

impl Exchange {
    /// An exchange whose channel was opened `now`.
    pub(crate) fn new(now: Mono) -> Exchange {
        let line = Lines::new(RPC_REQUEST_BYTES_MAX);
        Exchange { state: ExchangeState::Reading { line, until: now + RPC_REQUEST_TIMEOUT } }
    }

    /// Takes bytes of the peer, all of them. Returns the call that they complete, which is to be
    /// answered with [`Exchange::answer`].
    pub(crate) fn input(&mut self, now: Mono, bytes: &[u8]) -> Option<Call> {
        let ExchangeState::Reading { line, .. } = &mut self.state else {
            return None;
        };
        match line.push(bytes) {
            Ok(_) => {
                let line = line.next_line()?;
                self.request(now, &line)
            }
            Err(error) => self.refuse(now, format!("request {error}")),
        }
    }

    /// The peer sends nothing more. That completes a request too.
    pub(crate) fn input_end(&mut self, now: Mono) -> Option<Call> {
        let ExchangeState::Reading { line, .. } = &mut self.state else {
            return None;
        };
        let line = line.take_rest().unwrap_or_default();
        self.request(now, &line)
    }

    /// Bytes of a request that is not complete.
    pub(crate) fn incomplete_bytes(&self) -> usize {
        match &self.state {
            ExchangeState::Reading { line, .. } => line.held(),
            _ => 0,
        }
    }

    /// Bytes of an answer that the peer has not taken.
    pub(crate) fn unread_bytes(&self) -> usize {
        self.output().len()
    }

    /// The connection has more incomplete requests than it may: this one is refused.
    pub(crate) fn crowd_out(&mut self, now: Mono) {
        let max = RPC_INCOMPLETE_BYTES_MAX;
        self.refuse(now, format!("over {max} bytes of incomplete requests are on this connection"));
    }

    /// The line that answers the call that was returned, on a connection on which the answers of
    /// other calls have so many `unread` bytes. Ignored if none is waited for.
    pub(crate) fn answer(&mut self, now: Mono, line: Vec<u8>, unread: usize) {
        if matches!(self.state, ExchangeState::Waiting) {
            self.begin_answer(now, bounded(line, unread));
        }
    }

    /// Whether the peer is to be given up: it does not take its answer.
    pub(crate) fn tick(&mut self, now: Mono) -> bool {
        match self.state {
            ExchangeState::Reading { until, .. } if until <= now => {
                let seconds = RPC_REQUEST_TIMEOUT.as_secs();
                self.refuse(now, format!("no complete request within {seconds} s"));
                false
            }
            ExchangeState::Answering { until, .. } => until <= now,
            _ => false,
        }
    }

    /// Until when the peer has to take more of an answer, if one is on its way.
    pub(crate) fn answers_until(&self) -> Option<Mono> {
        match self.state {
            ExchangeState::Answering { until, .. } => Some(until),
            _ => None,
        }
    }

    /// The peer has taken something of another answer on the same connection.
    pub(crate) fn wait_until(&mut self, at: Mono) {
        if let ExchangeState::Answering { until, .. } = &mut self.state {
            *until = at.max(*until);
        }
    }

    /// When [`Exchange::tick`] is wanted.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        match self.state {
            ExchangeState::Reading { until, .. } | ExchangeState::Answering { until, .. } => {
                Some(until)
            }
            ExchangeState::Waiting | ExchangeState::Done => None,
        }
    }

    /// Bytes for the peer.
    pub(crate) fn output(&self) -> &[u8] {
        match &self.state {
            ExchangeState::Answering { line, .. } => line.rest(),
            ExchangeState::Reading { .. } | ExchangeState::Waiting | ExchangeState::Done => &[],
        }
    }

    /// The first `len` bytes of [`Exchange::output`] were sent.
    pub(crate) fn output_sent(&mut self, now: Mono, len: usize) {
        let ExchangeState::Answering { line, until } = &mut self.state else { return };
        if len > 0 {
            *until = now + RPC_UNREAD_TIMEOUT;
        }
        if line.advance(len) {
            self.state = ExchangeState::Done;
        }
    }

    /// Whether the answer was sent whole: EOF and close are due.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, ExchangeState::Done)
    }

    fn request(&mut self, now: Mono, line: &[u8]) -> Option<Call> {
        match Call::parse(line) {
            Ok(call) => {
                self.state = ExchangeState::Waiting;
                Some(call)
            }
            Err(error) => self.refuse(now, error.to_string()),
        }
    }

    fn refuse(&mut self, now: Mono, text: String) -> Option<Call> {
        self.begin_answer(now, response::refusal(&text));
        None
    }

    fn begin_answer(&mut self, now: Mono, line: Vec<u8>) {
        let (line, until) = (LastLine::new(line), now + RPC_UNREAD_TIMEOUT);
        self.state = ExchangeState::Answering { line, until };
    }
}

/// A response that the peer can take, or the sentence that it could not.
fn bounded(line: Vec<u8>, unread: usize) -> Vec<u8> {
    let len = line.len() - 1;
    if len > RPC_RESPONSE_BYTES_MAX {
        let max = RPC_RESPONSE_BYTES_MAX;
        return response::refusal(&format!("the response is {len} bytes, more than {max}"));
    }
    if unread > 0 && unread + len > RPC_UNREAD_BYTES_MAX {
        return response::refusal(&format!(
            "the response is {len} bytes, and {unread} bytes of other responses on this connection \
             are not read: read them first"
        ));
    }
    line
}

/// The last line of a channel, on its way.
#[derive(Debug)]
pub(super) struct LastLine {
    line: Vec<u8>,
    sent: usize,
}

impl LastLine {
    pub(super) fn new(line: Vec<u8>) -> LastLine {
        LastLine { line, sent: 0 }
    }

    pub(super) fn rest(&self) -> &[u8] {
        &self.line[self.sent..]
    }

    /// `len` more bytes were sent. Returns whether that is all.
    pub(super) fn advance(&mut self, len: usize) -> bool {
        self.sent += len;
        self.rest().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const PING: &[u8] = b"{\"op\":\"ping\",\"params\":null}\n";

    fn exchange() -> Exchange {
        Exchange::new(Mono::ZERO)
    }

    fn answer(exchange: &mut Exchange) -> response::Answer {
        let line = exchange.output().to_vec();
        exchange.output_sent(Mono::ZERO, line.len());
        assert!(exchange.is_done());
        response::parse(&line).expect("a response line")
    }

    #[test]
    fn a_request_is_the_same_however_it_is_cut() {
        for step in 1..=PING.len() {
            let mut exchange = exchange();
            let calls: Vec<_> =
                PING.chunks(step).filter_map(|chunk| exchange.input(Mono::ZERO, chunk)).collect();
            assert_eq!(calls, [Call::Ping]);
            exchange.answer(Mono::ZERO, response::success(&1), 0);
            assert_eq!(answer(&mut exchange), Ok(serde_json::json!(1)));
        }
    }

    #[test]
    fn the_end_of_input_completes_a_request_or_shows_half_of_one() {
        for cut in 0..PING.len() - 2 {
            let mut exchange = exchange();
            assert_eq!(exchange.input(Mono::ZERO, &PING[..cut]), None);
            assert_eq!(exchange.input_end(Mono::ZERO), None);
            assert!(answer(&mut exchange).unwrap_err().starts_with("decode request: "));
        }
        let mut whole = exchange();
        whole.input(Mono::ZERO, &PING[..PING.len() - 1]);
        assert_eq!(whole.input_end(Mono::ZERO), Some(Call::Ping));
        assert_eq!(whole.input_end(Mono::ZERO), None);
    }

    #[test]
    fn late_bytes_and_second_requests_are_dropped() {
        let mut exchange = exchange();
        let twice = [PING, PING].concat();
        assert_eq!(exchange.input(Mono::ZERO, &twice), Some(Call::Ping));
        assert_eq!(exchange.input(Mono::ZERO, PING), None);
        exchange.answer(Mono::ZERO, response::refusal("no"), 0);
        exchange.answer(Mono::ZERO, response::refusal("twice"), 0);
        assert_eq!(exchange.input(Mono::ZERO, PING), None);
        assert_eq!(answer(&mut exchange), Err("no".to_owned()));
        assert!(exchange.output().is_empty());
    }

    #[test]
    fn an_endless_request_is_refused_when_it_is_too_long() {
        let mut exchange = exchange();
        let chunk = [b'x'; 1000];
        let fed = (0..).take_while(|_| {
            exchange.input(Mono::ZERO, &chunk);
            exchange.output().is_empty()
        });
        assert_eq!(fed.count(), RPC_REQUEST_BYTES_MAX / chunk.len());
        let sentence = "request line longer than 262144 bytes";
        assert_eq!(answer(&mut exchange), Err(sentence.to_owned()));
    }

    #[test]
    fn half_a_request_has_ten_seconds() {
        let mut exchange = exchange();
        exchange.input(Mono::ZERO, b"{\"op\"");
        let deadline = exchange.deadline().expect("it is waited for");
        assert_eq!(deadline, Mono::ZERO + Duration::from_secs(10));
        exchange.tick(Mono::ZERO);
        assert!(exchange.output().is_empty());
        exchange.tick(deadline);
        assert_eq!(answer(&mut exchange), Err("no complete request within 10 s".to_owned()));
        assert_eq!(exchange.deadline(), None);
    }

    #[test]
    fn no_changed_byte_is_more_than_a_sentence() {
        for at in 0..PING.len() {
            for flip in [1, 2, 0x20, 0x80] {
                let mut bytes = PING.to_vec();
                bytes[at] ^= flip;
                let mut exchange = exchange();
                let call = exchange.input(Mono::ZERO, &bytes);
                let call = call.or_else(|| exchange.input_end(Mono::ZERO));
                assert!(call.is_some() || answer(&mut exchange).is_err());
            }
        }
    }

    #[test]
    fn an_answer_that_is_too_long_becomes_a_sentence() {
        let mut exchange = exchange();
        exchange.input(Mono::ZERO, PING);
        exchange.answer(Mono::ZERO, response::refusal(&"x".repeat(RPC_RESPONSE_BYTES_MAX)), 0);
        assert!(answer(&mut exchange).unwrap_err().starts_with("the response is 83886"));
    }

    #[test]
    fn an_answer_that_nobody_takes_has_a_minute_from_the_last_byte() {
        let at = |seconds| Mono::ZERO + Duration::from_secs(seconds);
        let mut exchange = exchange();
        exchange.input(at(1), PING);
        assert_eq!(exchange.deadline(), None, "the agent may take its time");
        exchange.answer(at(5), response::success(&"a long answer"), 0);
        assert_eq!(exchange.deadline(), Some(at(65)));
        exchange.output_sent(at(20), 0);
        assert!(!exchange.tick(at(64)));
        exchange.output_sent(at(64), 3);
        assert!(!exchange.tick(at(65)) && !exchange.tick(at(123)));
        assert!(exchange.tick(at(124)));
        exchange.wait_until(at(130));
        exchange.wait_until(at(10));
        assert_eq!((exchange.tick(at(129)), exchange.tick(at(130))), (false, true));
    }

    #[test]
    fn answers_of_one_connection_are_bounded_in_sum_and_one_alone_may_be_as_long() {
        let long = || response::success(&"x".repeat(RPC_UNREAD_BYTES_MAX - 100));
        for (unread, is_taken) in [(0, true), (50, true), (100, false), (usize::MAX / 2, false)] {
            let mut exchange = exchange();
            exchange.input(Mono::ZERO, PING);
            exchange.answer(Mono::ZERO, long(), unread);
            let told = answer(&mut exchange);
            assert_eq!(told.is_ok(), is_taken, "{unread}");
            if let Err(told) = told {
                assert!(told.ends_with("on this connection are not read: read them first"));
            }
        }
    }
}
