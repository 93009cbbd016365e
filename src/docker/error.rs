//! Why a call, or a whole connection, failed.

use std::fmt;

use crate::limits::{DOCKER_HEAD_BYTES_MAX, DOCKER_TRAILER_BYTES_MAX};

/// Why a call, or a whole connection, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DockerError {
    /// The Engine understood and refused: the status and its own words.
    Refused {
        /// HTTP status, 400 to 599.
        status: u16,
        /// The answer's `message`.
        message: String,
    },
    /// The Engine said something that the protocol does not allow here.
    Protocol(HttpError),
    /// The answer is not what the call's answer is.
    Unexpected(String),
    /// The Engine ended the stream in the middle of a call.
    Closed,
    /// No answer came in time.
    Timeout,
}

impl DockerError {
    /// Whether the Engine said that what the call names is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, DockerError::Refused { status: 404, .. })
    }

    /// Whether the Engine refused because of the state that something is in.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, DockerError::Refused { status: 409, .. })
    }
}

impl fmt::Display for DockerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DockerError::Refused { message, .. } => out.write_str(message),
            DockerError::Protocol(error) => write!(out, "{error}"),
            DockerError::Unexpected(text) => out.write_str(text),
            DockerError::Closed => out.write_str("connection closed in the middle of a call"),
            DockerError::Timeout => out.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for DockerError {}

impl From<HttpError> for DockerError {
    fn from(error: HttpError) -> DockerError {
        DockerError::Protocol(error)
    }
}

/// What is wrong with what the Engine sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpError {
    /// Not an HTTP response.
    Head(String),
    /// A head that does not end.
    HeadTooLong,
    /// The body's framing: which header, and its value.
    Framing(String),
    /// A chunk's length line.
    Chunk,
    /// Lines after the last chunk that do not end.
    TrailersTooLong,
    /// A body that is longer than what is kept.
    BodyTooLong,
    /// Bytes that no request asked for.
    Unasked,
}

impl fmt::Display for HttpError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Head(text) => write!(out, "response head: {text}"),
            HttpError::HeadTooLong => {
                write!(out, "response head longer than {DOCKER_HEAD_BYTES_MAX} bytes")
            }
            HttpError::Framing(text) => write!(out, "response framing: {text}"),
            HttpError::Chunk => out.write_str("response chunk has no length"),
            HttpError::TrailersTooLong => {
                write!(out, "response trailers longer than {DOCKER_TRAILER_BYTES_MAX} bytes")
            }
            HttpError::BodyTooLong => out.write_str("response body too long"),
            HttpError::Unasked => out.write_str("response without a request"),
        }
    }
}

impl std::error::Error for HttpError {}
