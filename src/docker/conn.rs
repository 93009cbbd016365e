//! One connection to the Engine: calls one after the other, until a stream is taken over.
//!
//! A connection is idle, waits for a head, reads a body whole, hands a body out as it comes, is
//! taken over as a raw stream, or is over. It never holds more than one body
//! ([`DOCKER_BODY_BYTES_MAX`]) or one window of a stream in each direction
//! ([`DOCKER_STREAM_BYTES`]): a full window stops reading, and reading goes on as bytes are
//! consumed. It never reconnects; its owner does.

use std::collections::VecDeque;

use super::body::Body;
use super::error::{Error, HttpError};
use super::http::{Head, Request, Response, parse_head};
use crate::base::buffer::Buffer;
use crate::base::endpoint::Endpoint;
use crate::base::time::Mono;
use crate::limits::{
    DOCKER_BODY_BYTES_MAX, DOCKER_READ_BYTES, DOCKER_REQUEST_BYTES_MAX, DOCKER_STREAM_BYTES,
};

/// What the owner wants of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All of it in one piece.
    Whole,
    /// Its body as it comes, for as long as it comes.
    Stream,
    /// The stream itself, in both directions.
    TakeOver,
}

/// What a connection tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The answer: to every [`Answer::Whole`], and to the others if the Engine refused.
    Response(Response),
    /// A body comes; [`Conn::received`] has what there is of it.
    Streaming,
    /// The stream is taken over: [`Conn::received`] and [`Conn::send`] are its two directions.
    TakenOver,
    /// There is something in [`Conn::received`] after there was nothing.
    Readable,
    /// There is room for [`Conn::send`] after there was none.
    Writable,
    /// The streamed body, or the Engine's direction of the stream, has ended. What was received
    /// before can still be consumed.
    End,
    /// The connection is over; the last event. `None` if it was idle or at its [`Event::End`].
    Closed(Option<Error>),
}

/// A call was made while the connection was busy or over; or it was too long to be made at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotNow;

/// One connection. See [`Endpoint`] for how its bytes are moved.
#[derive(Debug)]
pub struct Conn {
    state: State,
    /// Where the driver puts what it reads; empty until it reads for the first time.
    room: Vec<u8>,
    /// What came and is not decoded; on a raw stream, what came and is not consumed.
    input: Buffer,
    output: Buffer,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum State {
    Idle,
    /// A request is on its way.
    Waiting {
        answer: Answer,
        deadline: Mono,
    },
    /// A body is read whole.
    Reading {
        response: Response,
        body: Body,
        keep_alive: bool,
        deadline: Mono,
    },
    /// A body is handed out: `stream` is what is decoded and not consumed.
    Streaming {
        body: Body,
        stream: Buffer,
    },
    /// The same, and no more will come than is in `input`.
    Draining {
        body: Body,
        stream: Buffer,
    },
    /// The connection is a raw stream.
    TakenOver(Sink),
    /// The Engine's direction has ended; what it sent before can be read.
    Ended {
        stream: Buffer,
    },
    Over,
}

/// Whether the owner of a raw stream is to be told of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Open,
    /// It has filled the window.
    Full,
}

/// What a state comes to.
enum Step {
    /// Something was done, and there may be more.
    Go(State),
    /// Nothing can be done before more bytes come or room is made.
    Wait(State),
}

impl Default for Conn {
    fn default() -> Conn {
        Conn::new()
    }
}

impl Conn {
    /// A connection on which nothing was said yet. Allocates nothing.
    pub(crate) const fn new() -> Conn {
        Conn {
            state: State::Idle,
            room: Vec::new(),
            input: Buffer::new(DOCKER_STREAM_BYTES),
            output: Buffer::new(DOCKER_REQUEST_BYTES_MAX),
            events: VecDeque::new(),
        }
    }

    /// Makes a call. Exactly one of [`Event::Response`], [`Event::Streaming`],
    /// [`Event::TakenOver`] and [`Event::Closed`] answers it.
    ///
    /// # Errors
    /// [`NotNow`] unless [`Conn::is_idle`], or if the request exceeds
    /// [`DOCKER_REQUEST_BYTES_MAX`]; then nothing was done.
    pub(crate) fn call(
        &mut self,
        request: &Request,
        answer: Answer,
        now: Mono,
    ) -> Result<(), NotNow> {
        let bytes = request.to_bytes(answer == Answer::TakeOver);
        if !self.is_idle() || bytes.len() > self.output.space() {
            return Err(NotNow);
        }
        let _all = self.output.push(&bytes); // there is room, as was just seen
        self.state = State::Waiting { answer, deadline: now + request.timeout };
        Ok(())
    }

    /// Sends on a stream that was taken over, as much as there is room for, and says how much.
    #[must_use = "what did not fit is still the caller's"]
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        let space = self.send_space();
        let State::TakenOver(sink) = &mut self.state else {
            return 0;
        };
        let count = bytes.len().min(space);
        if count == space {
            *sink = Sink::Full;
        }
        self.output.push(&bytes[..count])
    }

    /// Drops the first `len` bytes of [`Conn::received`] and so makes room for more. Asserts that
    /// they are there.
    pub(crate) fn consume(&mut self, len: usize) {
        match &mut self.state {
            State::Streaming { stream, .. }
            | State::Draining { stream, .. }
            | State::Ended { stream } => stream.consume(len),
            State::TakenOver(_) => self.input.consume(len),
            _ => assert_eq!(len, 0, "consumed bytes of no stream"),
        }
        self.advance();
    }

    /// Ends the connection from this side. What is still to be written may be.
    pub(crate) fn close(&mut self) {
        if !matches!(self.state, State::Over) {
            self.state = State::Over;
            self.input.clear();
            self.events.push_back(Event::Closed(None));
        }
    }

    /// What happened, oldest first.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether a call can be made.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Bytes of the streamed body or of the stream taken over that are not consumed yet.
    pub(crate) fn received(&self) -> &[u8] {
        match &self.state {
            State::Streaming { stream, .. }
            | State::Draining { stream, .. }
            | State::Ended { stream } => stream.as_slice(),
            State::TakenOver(_) => self.input.as_slice(),
            _ => &[],
        }
    }

    /// Whether nothing more comes than [`Conn::received`] has.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended { .. } | State::Over)
    }

    /// How much [`Conn::send`] would take now.
    pub(crate) fn send_space(&self) -> usize {
        match self.state {
            State::TakenOver(_) => DOCKER_STREAM_BYTES.saturating_sub(self.output.len()),
            _ => 0,
        }
    }

    /// Goes on with what was received, as far as it reaches.
    fn advance(&mut self) {
        loop {
            let state = std::mem::replace(&mut self.state, State::Over);
            match self.step(state) {
                Ok(Step::Go(next)) => self.state = next,
                Ok(Step::Wait(next)) => {
                    self.state = next;
                    return;
                }
                Err(error) => {
                    self.fail(error);
                    return;
                }
            }
        }
    }

    fn step(&mut self, state: State) -> Result<Step, Error> {
        match state {
            State::Idle if !self.input.is_empty() => Err(HttpError::Unasked.into()),
            State::Waiting { answer, deadline } => self.read_head(answer, deadline),
            State::Reading { response, body, keep_alive, deadline } => {
                self.read_whole(response, body, keep_alive, deadline)
            }
            State::Streaming { body, stream } => self.read_stream(body, stream, false),
            State::Draining { body, stream } => self.read_stream(body, stream, true),
            State::Idle | State::TakenOver(_) | State::Ended { .. } | State::Over => {
                Ok(Step::Wait(state))
            }
        }
    }

    fn read_head(&mut self, answer: Answer, deadline: Mono) -> Result<Step, Error> {
        let Some((head, length)) = parse_head(self.input.as_slice())? else {
            return Ok(Step::Wait(State::Waiting { answer, deadline }));
        };
        self.input.consume(length);
        match (head.status, answer) {
            (101, Answer::TakeOver) => {
                self.events.push_back(Event::TakenOver);
                if !self.input.is_empty() {
                    self.events.push_back(Event::Readable);
                }
                Ok(Step::Wait(State::TakenOver(Sink::Open)))
            }
            (101, _) => Err(HttpError::Unasked.into()),
            // Interim answers (RFC 9110 §15.2) stand before the real one.
            (100..=199, _) => Ok(Step::Go(State::Waiting { answer, deadline })),
            (200..=299, Answer::Stream) => {
                self.events.push_back(Event::Streaming);
                let stream = Buffer::new(DOCKER_STREAM_BYTES);
                Ok(Step::Go(State::Streaming { body: head.body, stream }))
            }
            _ => Ok(Step::Go(reading(head, deadline))),
        }
    }

    fn read_whole(
        &mut self,
        mut response: Response,
        mut body: Body,
        keep_alive: bool,
        deadline: Mono,
    ) -> Result<Step, Error> {
        let piece = body.decode(self.input.as_slice(), usize::MAX)?;
        if response.body.len() + piece.data.len() > DOCKER_BODY_BYTES_MAX {
            return Err(HttpError::BodyTooLong.into());
        }
        response.body.extend_from_slice(&self.input.as_slice()[piece.data]);
        self.input.consume(piece.taken);
        if body == Body::Ended {
            return Ok(self.answer(response, keep_alive));
        }
        let next = State::Reading { response, body, keep_alive, deadline };
        Ok(if piece.taken > 0 { Step::Go(next) } else { Step::Wait(next) })
    }

    fn answer(&mut self, response: Response, keep_alive: bool) -> Step {
        self.events.push_back(Event::Response(response));
        if keep_alive {
            return Step::Go(State::Idle);
        }
        self.events.push_back(Event::Closed(None));
        Step::Wait(State::Over)
    }

    fn read_stream(
        &mut self,
        mut body: Body,
        mut stream: Buffer,
        peer_ended: bool,
    ) -> Result<Step, Error> {
        let was_empty = stream.is_empty();
        let piece = body.decode(self.input.as_slice(), stream.space())?;
        let moved = stream.push(&self.input.as_slice()[piece.data]);
        self.input.consume(piece.taken);
        if was_empty && moved > 0 {
            self.events.push_back(Event::Readable);
        }
        let is_drained = peer_ended && self.input.is_empty();
        if is_drained && !body.may_end() {
            return Err(Error::Closed);
        }
        if is_drained || body == Body::Ended {
            self.events.push_back(Event::End);
            return Ok(Step::Wait(State::Ended { stream }));
        }
        let next = match peer_ended {
            true => State::Draining { body, stream },
            false => State::Streaming { body, stream },
        };
        Ok(if piece.taken > 0 { Step::Go(next) } else { Step::Wait(next) })
    }

    fn fail(&mut self, error: Error) {
        self.state = State::Over;
        self.input.clear();
        self.events.push_back(Event::Closed(Some(error)));
    }
}

/// An answer that is read whole, before its body.
fn reading(head: Head, deadline: Mono) -> State {
    let response = Response { status: head.status, body: Vec::new() };
    State::Reading { response, body: head.body, keep_alive: head.keep_alive, deadline }
}

impl Endpoint for Conn {
    fn input_space(&mut self) -> &mut [u8] {
        let takes_input =
            !matches!(self.state, State::Draining { .. } | State::Ended { .. } | State::Over);
        let wanted = if takes_input { self.input.space().min(DOCKER_READ_BYTES) } else { 0 };
        if self.room.is_empty() && wanted > 0 {
            self.room = vec![0; DOCKER_READ_BYTES];
        }
        &mut self.room[..wanted]
    }

    fn input(&mut self, _now: Mono, len: usize) {
        let was_empty = self.input.is_empty();
        let taken = self.input.push(&self.room[..len]);
        debug_assert_eq!(taken, len, "more was read than there was room for");
        if was_empty && len > 0 && matches!(self.state, State::TakenOver(_)) {
            self.events.push_back(Event::Readable);
        }
        self.advance();
    }

    fn input_end(&mut self, _now: Mono) {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Idle => self.events.push_back(Event::Closed(None)),
            State::Reading { response, body, .. } if body.may_end() => {
                self.events.push_back(Event::Response(response));
                self.events.push_back(Event::Closed(None));
            }
            State::Waiting { .. } | State::Reading { .. } => self.fail(Error::Closed),
            State::Streaming { body, stream } => self.state = State::Draining { body, stream },
            State::TakenOver(_) => {
                let empty = Buffer::new(DOCKER_STREAM_BYTES);
                self.state = State::Ended { stream: std::mem::replace(&mut self.input, empty) };
                self.events.push_back(Event::End);
            }
            state @ (State::Draining { .. } | State::Ended { .. } | State::Over) => {
                self.state = state;
            }
        }
        self.advance();
    }

    fn output(&self) -> &[u8] {
        self.output.as_slice()
    }

    fn output_sent(&mut self, len: usize) {
        self.output.consume(len);
        let has_space = self.send_space() > 0;
        if has_space && matches!(self.state, State::TakenOver(Sink::Full)) {
            self.state = State::TakenOver(Sink::Open);
            self.events.push_back(Event::Writable);
        }
    }

    fn deadline(&self) -> Option<Mono> {
        match self.state {
            State::Waiting { deadline, .. } | State::Reading { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    fn tick(&mut self, now: Mono) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.fail(Error::Timeout);
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, State::Over)
    }
}

#[cfg(test)]
mod tests;
