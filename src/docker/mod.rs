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
//! | `error` | why a call or a connection failed |
//! | [`outputs`] | the two outputs of a process, taken apart |
//! | [`events`] | the stream of `/events` cut into its objects |
//!
//! Paths carry no version: an Engine then speaks its own newest one. A fixed version would be too
//! old for some engine in use (29 refuses what 20.10 has), and what is used here is in all of them.

pub mod body;
pub mod call;
pub mod conn;
mod error;
pub mod events;
pub mod http;
pub mod outputs;

pub use error::{DockerError, HttpError};
pub use http::{DockerRequest, DockerResponse, Method};
