//! The Docker Engine's API as a sans-IO client.
//!
//! HTTP/1.1 on a unix stream, and nothing of the Engine's CLI. Nothing here opens a socket, knows
//! what a session is, or decides what to do about an answer.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`http`] | requests to bytes, response heads from bytes |
//! | [`body`] | where a response's body ends |
//! | [`conn`] | one connection: calls one after the other, streamed bodies, streams taken over |
//! | [`call`] | the calls that the agent makes, and what it reads in their answers |
//! | [`events`] | the stream of `/events` cut into its objects |
//!
//! Paths carry no version: an Engine then speaks its own newest one. A fixed version would be too
//! old for some engine in use (29 refuses what 20.10 has), and what is used here is in all of them.

pub mod body;
pub mod call;
pub mod conn;
pub mod events;
pub mod http;

use std::fmt;

pub(crate) use conn::{Conn, Event};
pub use http::{Method, Request, Response};

/// Why a call, or a whole connection, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The Engine understood and refused: the status and its own words.
    Refused {
        /// HTTP status, 400 to 599.
        status: u16,
        /// The answer's `message`.
        message: String,
    },
    /// The Engine said something that the protocol does not allow here.
    Protocol(http::HttpError),
    /// The answer is not what the call's answer is.
    Unexpected(String),
    /// The Engine ended the stream in the middle of a call.
    Closed,
    /// No answer came in time.
    Timeout,
}

impl Error {
    /// Whether the Engine said that what the call names is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Error::Refused { status: 404, .. })
    }

    /// Whether the Engine refused because of the state that something is in.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Error::Refused { status: 409, .. })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused { message, .. } => out.write_str(message),
            Error::Protocol(error) => write!(out, "{error}"),
            Error::Unexpected(text) => out.write_str(text),
            Error::Closed => out.write_str("connection closed in the middle of a call"),
            Error::Timeout => out.write_str("no answer in time"),
        }
    }
}

impl std::error::Error for Error {}

impl From<http::HttpError> for Error {
    fn from(error: http::HttpError) -> Error {
        Error::Protocol(error)
    }
}
