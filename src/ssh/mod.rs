//! The SSH transport: minimal SSH-2, client and server, sans-IO.
//!
//! [`Conn`] takes bytes, events and time and gives bytes, events and its next deadline; it knows no
//! socket, clock or random source. It speaks one profile (post-quantum key exchange, Ed25519, two
//! AEAD ciphers, sessions with subsystems) and refuses everything else at protocol level.
//!
//! ```text
//! conn            receive buffer, public calls, Endpoint
//!  └ core         stages, admission, dispatch, deadlines
//!     ├ packet    in: framing, opening          ├ exchange   key exchange, first and later
//!     ├ sender    out: sealing, backpressure    │  └ kexinit negotiation
//!     ├ admit     message × state table         ├ auth       client, server
//!     └ identification                          └ channels   windows, requests
//! leaves: names wire cipher kex keys config event refusal
//! apart: limiter, which a listener asks before there is a connection
//!        key_agent, the protocol of ssh-agent: what signs for somebody who does not have the key
//! ```

pub mod admit;
mod auth;
mod channel;
mod channels;
pub mod cipher;
pub mod config;
pub mod conn;
mod core;
pub mod error;
pub mod event;
mod exchange;
pub mod identification;
pub mod kex;
pub mod kexinit;
pub(crate) mod key_agent;
pub mod keys;
pub mod limiter;
pub mod names;
pub mod packet;
pub mod refusal;
mod sender;
pub mod wire;

pub use channel::ChannelId;

pub use config::{ClientConfig, Role, ServerConfig, Subsystem, Tuning};
pub use conn::Conn;
pub use error::Error;
pub use event::{ChannelRefusal, Event, OpenError};
