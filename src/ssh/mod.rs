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
//! leaves: names wire cipher kex keys
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
mod exchange;
pub mod identification;
pub mod kex;
pub mod kexinit;
pub mod keys;
pub mod limiter;
pub mod names;
pub mod packet;
mod sender;
pub mod wire;

use std::sync::Arc;

pub use channel::ChannelId;
pub use config::{ClientConfig, ServerConfig, Subsystem, Tuning};
pub use conn::{Conn, Event, OpenError, Refusal};
pub use error::Error;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that connected.
    Client,
    /// The one that listened.
    Server,
}

/// A role with what it must know.
enum Side {
    Client(Arc<ClientConfig>),
    Server(Arc<ServerConfig>),
}

impl Side {
    fn role(&self) -> Role {
        match self {
            Side::Client(_) => Role::Client,
            Side::Server(_) => Role::Server,
        }
    }

    fn tuning(&self) -> &Tuning {
        match self {
            Side::Client(config) => &config.tuning,
            Side::Server(config) => &config.tuning,
        }
    }
}
