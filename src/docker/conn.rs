//! One connection to the Engine: calls one after the other, until a stream is taken over.
//!
//! A connection is idle, waits for a head, reads a body whole, hands a body out as it comes, is
//! taken over as a raw stream, or is over. It never holds more than one body
//! ([`DOCKER_BODY_BYTES_MAX`]) or one window of a stream in each direction
//! ([`DOCKER_STREAM_BYTES`]): a full window stops reading, and reading goes on as bytes are
//! consumed. It never reconnects; its owner does.

use std::collections::VecDeque;

use super::body::BodyFraming;
use super::error::{DockerError, HttpError};
use super::http::{DockerRequest, DockerResponse, ResponseHead, parse_head};
use crate::base::buffer::Buffer;
use crate::base::endpoint::Endpoint;
use crate::base::time::Mono;
use crate::limits::{
    DOCKER_BODY_BYTES_MAX, DOCKER_READ_BYTES, DOCKER_REQUEST_BYTES_MAX, DOCKER_STREAM_BYTES,
};

/// What the owner wants of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// All of it in one piece.
    Whole,
    /// Its body as it comes, for as long as it comes.
    Stream,
    /// The stream itself, in both directions.
    TakeOver,
}

/// What a connection tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerConnEvent {
    /// The answer: to every [`ResponseMode::Whole`], and to the others if the Engine refused.
    Response(DockerResponse),
    /// A body comes; [`DockerConn::received`] has what there is of it.
    Streaming,
    /// The stream is taken over: [`DockerConn::received`] and [`DockerConn::send`] are its two
    /// directions.
    TakenOver,
    /// There is something in [`DockerConn::received`] after there was nothing.
    Readable,
    /// There is room for [`DockerConn::send`] after there was none.
    Writable,
    /// The streamed body, or the Engine's direction of the stream, has ended. What was received
    /// before can still be consumed.
    End,
    /// The connection is over; the last event. `None` if it was idle or at its
    /// [`DockerConnEvent::End`].
    Closed(Option<DockerError>),
}

/// A call was made while the connection was busy or over; or it was too long to be made at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNow;

/// One connection. See [`Endpoint`] for how its bytes are moved.
#[derive(Debug)]
pub struct DockerConn {
    state: DockerConnState,
    /// Where the driver puts what it reads; empty until it reads for the first time.
    room: Vec<u8>,
    /// What came and is not decoded; on a raw stream, what came and is not consumed.
    input: Buffer,
    output: Buffer,
    events: VecDeque<DockerConnEvent>,
}

#[derive(Debug)]
enum DockerConnState {
    Idle,
    /// A request is on its way.
    Waiting {
        answer: ResponseMode,
        deadline: Mono,
    },
    /// A body is read whole.
    Reading {
        response: DockerResponse,
        body: BodyFraming,
        keep_alive: bool,
        deadline: Mono,
    },
    /// A body is handed out: `stream` is what is decoded and not consumed.
    Streaming {
        body: BodyFraming,
        stream: Buffer,
    },
    /// The same, and no more will come than is in `input`.
    Draining {
        body: BodyFraming,
        stream: Buffer,
    },
    /// The connection is a raw stream.
    TakenOver(SendWindow),
    /// The Engine's direction has ended; what it sent before can be read.
    Ended {
        stream: Buffer,
    },
    Over,
}

/// Whether the owner of a raw stream is to be told of room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendWindow {
    Open,
    /// It has filled the window.
    Full,
}

/// What a state comes to.
enum ConnStep {
    /// Something was done, and there may be more.
    Go(DockerConnState),
    /// Nothing can be done before more bytes come or room is made.
    Wait(DockerConnState),
}

impl Default for DockerConn {
    fn default() -> DockerConn {
        DockerConn::new()
    }
}

impl DockerConn {
    /// A connection on which nothing was said yet. Allocates nothing.
    pub const fn new() -> DockerConn {
        DockerConn {
            state: DockerConnState::Idle,
            room: Vec::new(),
            input: Buffer::new(DOCKER_STREAM_BYTES),
            output: Buffer::new(DOCKER_REQUEST_BYTES_MAX),
            events: VecDeque::new(),
        }
    }

    /// Makes a call. Exactly one of [`DockerConnEvent::Response`], [`DockerConnEvent::Streaming`],
    /// [`DockerConnEvent::TakenOver`] and [`DockerConnEvent::Closed`] answers it.
    ///
    /// # Errors
    /// [`NotNow`] unless [`DockerConn::is_idle`], or if the request exceeds
    /// [`DOCKER_REQUEST_BYTES_MAX`]; then nothing was done.
    pub fn call(
        &mut self,
        request: &DockerRequest,
        answer: ResponseMode,
        now: Mono,
    ) -> Result<(), NotNow> {
        let bytes = request.to_bytes(answer == ResponseMode::TakeOver);
        if !self.is_idle() || bytes.len() > self.output.space() {
            return Err(NotNow);
        }
        let _all = self.output.push(&bytes); // there is room, as was just seen
        self.state = DockerConnState::Waiting { answer, deadline: now + request.timeout };
        Ok(())
    }

    /// Sends on a stream that was taken over, as much as there is room for, and says how much.
    #[must_use = "what did not fit is still the caller's"]
    pub fn send(&mut self, bytes: &[u8]) -> usize {
        let space = self.send_space();
        let DockerConnState::TakenOver(sink) = &mut self.state else {
            return 0;
        };
        let count = bytes.len().min(space);
        if count == space {
            *sink = SendWindow::Full;
        }
        self.output.push(&bytes[..count])
    }

    /// Drops the first `len` bytes of [`DockerConn::received`] and so makes room for more. Asserts
    /// that they are there.
    pub fn consume(&mut self, len: usize) {
        match &mut self.state {
            DockerConnState::Streaming { stream, .. }
            | DockerConnState::Draining { stream, .. }
            | DockerConnState::Ended { stream } => stream.consume(len),
            DockerConnState::TakenOver(_) => self.input.consume(len),
            _ => assert_eq!(len, 0, "consumed bytes of no stream"),
        }
        self.advance();
    }

    /// Ends the connection from this side. What is still to be written may be.
    pub(crate) fn close(&mut self) {
        if !matches!(self.state, DockerConnState::Over) {
            self.state = DockerConnState::Over;
            self.input.clear();
            self.events.push_back(DockerConnEvent::Closed(None));
        }
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<DockerConnEvent> {
        self.events.pop_front()
    }

    /// Whether a call can be made.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, DockerConnState::Idle)
    }

    /// Bytes of the streamed body or of the stream taken over that are not consumed yet.
    pub fn received(&self) -> &[u8] {
        match &self.state {
            DockerConnState::Streaming { stream, .. }
            | DockerConnState::Draining { stream, .. }
            | DockerConnState::Ended { stream } => stream.as_slice(),
            DockerConnState::TakenOver(_) => self.input.as_slice(),
            _ => &[],
        }
    }

    /// Whether nothing more comes than [`DockerConn::received`] has.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, DockerConnState::Ended { .. } | DockerConnState::Over)
    }

    /// How much [`DockerConn::send`] would take now.
    pub(crate) fn send_space(&self) -> usize {
        match self.state {
            DockerConnState::TakenOver(_) => DOCKER_STREAM_BYTES.saturating_sub(self.output.len()),
            _ => 0,
        }
    }

    /// Goes on with what was received, as far as it reaches.
    fn advance(&mut self) {
        loop {
            let state = std::mem::replace(&mut self.state, DockerConnState::Over);
            match self.step(state) {
                Ok(ConnStep::Go(next)) => self.state = next,
                Ok(ConnStep::Wait(next)) => {
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

    fn step(&mut self, state: DockerConnState) -> Result<ConnStep, DockerError> {
        match state {
            DockerConnState::Idle if !self.input.is_empty() => Err(HttpError::Unasked.into()),
            DockerConnState::Waiting { answer, deadline } => self.read_head(answer, deadline),
            DockerConnState::Reading { response, body, keep_alive, deadline } => {
                self.read_whole(response, body, keep_alive, deadline)
            }
            DockerConnState::Streaming { body, stream } => self.read_stream(body, stream, false),
            DockerConnState::Draining { body, stream } => self.read_stream(body, stream, true),
            DockerConnState::Idle
            | DockerConnState::TakenOver(_)
            | DockerConnState::Ended { .. }
            | DockerConnState::Over => Ok(ConnStep::Wait(state)),
        }
    }

    fn read_head(&mut self, answer: ResponseMode, deadline: Mono) -> Result<ConnStep, DockerError> {
        let Some((head, length)) = parse_head(self.input.as_slice())? else {
            return Ok(ConnStep::Wait(DockerConnState::Waiting { answer, deadline }));
        };
        self.input.consume(length);
        match (head.status, answer) {
            (101, ResponseMode::TakeOver) => {
                self.events.push_back(DockerConnEvent::TakenOver);
                if !self.input.is_empty() {
                    self.events.push_back(DockerConnEvent::Readable);
                }
                Ok(ConnStep::Wait(DockerConnState::TakenOver(SendWindow::Open)))
            }
            (101, _) => Err(HttpError::Unasked.into()),
            // Interim answers (RFC 9110 §15.2) stand before the real one.
            (100..=199, _) => Ok(ConnStep::Go(DockerConnState::Waiting { answer, deadline })),
            (200..=299, ResponseMode::Stream) => {
                self.events.push_back(DockerConnEvent::Streaming);
                let stream = Buffer::new(DOCKER_STREAM_BYTES);
                Ok(ConnStep::Go(DockerConnState::Streaming { body: head.body, stream }))
            }
            _ => Ok(ConnStep::Go(reading(head, deadline))),
        }
    }

    fn read_whole(
        &mut self,
        mut response: DockerResponse,
        mut body: BodyFraming,
        keep_alive: bool,
        deadline: Mono,
    ) -> Result<ConnStep, DockerError> {
        let piece = body.decode(self.input.as_slice(), usize::MAX)?;
        if response.body.len() + piece.data.len() > DOCKER_BODY_BYTES_MAX {
            return Err(HttpError::BodyTooLong.into());
        }
        response.body.extend_from_slice(&self.input.as_slice()[piece.data]);
        self.input.consume(piece.taken);
        if body == BodyFraming::Ended {
            return Ok(self.answer(response, keep_alive));
        }
        let next = DockerConnState::Reading { response, body, keep_alive, deadline };
        Ok(if piece.taken > 0 { ConnStep::Go(next) } else { ConnStep::Wait(next) })
    }

    fn answer(&mut self, response: DockerResponse, keep_alive: bool) -> ConnStep {
        self.events.push_back(DockerConnEvent::Response(response));
        if keep_alive {
            return ConnStep::Go(DockerConnState::Idle);
        }
        self.events.push_back(DockerConnEvent::Closed(None));
        ConnStep::Wait(DockerConnState::Over)
    }

    fn read_stream(
        &mut self,
        mut body: BodyFraming,
        mut stream: Buffer,
        peer_ended: bool,
    ) -> Result<ConnStep, DockerError> {
        let was_empty = stream.is_empty();
        let piece = body.decode(self.input.as_slice(), stream.space())?;
        let moved = stream.push(&self.input.as_slice()[piece.data]);
        self.input.consume(piece.taken);
        if was_empty && moved > 0 {
            self.events.push_back(DockerConnEvent::Readable);
        }
        let is_drained = peer_ended && self.input.is_empty();
        if is_drained && !body.may_end() {
            return Err(DockerError::Closed);
        }
        if is_drained || body == BodyFraming::Ended {
            self.events.push_back(DockerConnEvent::End);
            return Ok(ConnStep::Wait(DockerConnState::Ended { stream }));
        }
        let next = match peer_ended {
            true => DockerConnState::Draining { body, stream },
            false => DockerConnState::Streaming { body, stream },
        };
        Ok(if piece.taken > 0 { ConnStep::Go(next) } else { ConnStep::Wait(next) })
    }

    fn fail(&mut self, error: DockerError) {
        self.state = DockerConnState::Over;
        self.input.clear();
        self.events.push_back(DockerConnEvent::Closed(Some(error)));
    }
}

/// An answer that is read whole, before its body.
fn reading(head: ResponseHead, deadline: Mono) -> DockerConnState {
    let response = DockerResponse { status: head.status, body: Vec::new() };
    DockerConnState::Reading { response, body: head.body, keep_alive: head.keep_alive, deadline }
}

impl Endpoint for DockerConn {
    fn input_space(&mut self) -> &mut [u8] {
        let takes_input = !matches!(
            self.state,
            DockerConnState::Draining { .. }
                | DockerConnState::Ended { .. }
                | DockerConnState::Over
        );
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
        if was_empty && len > 0 && matches!(self.state, DockerConnState::TakenOver(_)) {
            self.events.push_back(DockerConnEvent::Readable);
        }
        self.advance();
    }

    fn input_end(&mut self, _now: Mono) {
        match std::mem::replace(&mut self.state, DockerConnState::Over) {
            DockerConnState::Idle => self.events.push_back(DockerConnEvent::Closed(None)),
            DockerConnState::Reading { response, body, .. } if body.may_end() => {
                self.events.push_back(DockerConnEvent::Response(response));
                self.events.push_back(DockerConnEvent::Closed(None));
            }
            DockerConnState::Waiting { .. } | DockerConnState::Reading { .. } => {
                self.fail(DockerError::Closed)
            }
            DockerConnState::Streaming { body, stream } => {
                self.state = DockerConnState::Draining { body, stream }
            }
            DockerConnState::TakenOver(_) => {
                let empty = Buffer::new(DOCKER_STREAM_BYTES);
                self.state =
                    DockerConnState::Ended { stream: std::mem::replace(&mut self.input, empty) };
                self.events.push_back(DockerConnEvent::End);
            }
            state @ (DockerConnState::Draining { .. }
            | DockerConnState::Ended { .. }
            | DockerConnState::Over) => {
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
        if has_space && matches!(self.state, DockerConnState::TakenOver(SendWindow::Full)) {
            self.state = DockerConnState::TakenOver(SendWindow::Open);
            self.events.push_back(DockerConnEvent::Writable);
        }
    }

    fn deadline(&self) -> Option<Mono> {
        match self.state {
            DockerConnState::Waiting { deadline, .. }
            | DockerConnState::Reading { deadline, .. } => Some(deadline),
            _ => None,
        }
    }

    fn tick(&mut self, now: Mono) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.fail(DockerError::Timeout);
        }
    }

    fn is_finished(&self) -> bool {
        matches!(self.state, DockerConnState::Over)
    }
}

#[cfg(test)]
mod tests;
