//! What a connection is configured with: its role, keys and bounds.

use std::sync::Arc;
use std::time::Duration;

use super::cipher::{CipherName, aes_is_fast};
use super::kex::KexName;
use super::keys::{KeyPair, PublicKey};
use crate::limits;

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that connected.
    Client,
    /// The one that listened.
    Server,
}

/// A role with what it must know.
pub(super) enum Side {
    Client(Arc<ClientConfig>),
    Server(Arc<ServerConfig>),
}

impl Side {
    pub(super) fn role(&self) -> Role {
        match self {
            Side::Client(_) => Role::Client,
            Side::Server(_) => Role::Server,
        }
    }

    pub(super) fn tuning(&self) -> &Tuning {
        match self {
            Side::Client(config) => &config.tuning,
            Side::Server(config) => &config.tuning,
        }
    }
}

/// What a client must know. Shared by all connections to one server.
#[derive(Debug)]
pub struct ClientConfig {
    /// The user to log in as.
    pub user: String,
    /// The key that proves it.
    pub key: KeyPair,
    /// The only host key that is accepted.
    pub host_key: PublicKey,
    pub tuning: Tuning,
}

/// What a server must know. Shared by all its connections.
#[derive(Debug)]
pub struct ServerConfig {
    /// The server's own key.
    pub host_key: KeyPair,
    /// What clients may ask for. Everything else is refused.
    pub subsystems: &'static [Subsystem],
    pub tuning: Tuning,
}

/// Something that a client may start on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsystem {
    pub name: &'static str,
    /// Whether it has a terminal whose size may change.
    pub window_change: bool,
}

/// Numbers and preferences that tests shrink and turn round; [`Default`] is the profile.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// Bytes in one direction under one key.
    pub rekey_bytes: u64,
    /// Packets in one direction under one key.
    pub rekey_packets: u64,
    /// Age of a key.
    pub rekey_age: Duration,
    /// How long a rekey may take.
    pub rekey_timeout: Duration,
    /// Silence before a keepalive, and between unanswered ones.
    pub keepalive: Duration,
    /// Such silences in a row that end the connection.
    pub keepalive_misses: u32,
    /// From the start to authenticated.
    pub login_grace: Duration,
    /// Server: from authentication, or the opening of a channel, to its subsystem.
    pub subsystem_wait: Duration,
    /// What all channels of a connection may hold above their floors: half of it is for the first.
    pub window_pool_bytes: u32,
    /// AES before ChaCha20, as it should be on a machine with AES instructions.
    pub prefer_aes: bool,
    /// The key exchange methods that are offered, in order.
    pub kex: &'static [KexName],
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning {
            rekey_bytes: limits::SSH_REKEY_BYTES,
            rekey_packets: limits::SSH_REKEY_PACKETS,
            rekey_age: limits::SSH_REKEY_AGE,
            rekey_timeout: limits::SSH_REKEY_TIMEOUT,
            keepalive: limits::SSH_KEEPALIVE_INTERVAL,
            keepalive_misses: limits::SSH_KEEPALIVE_MISSES_MAX,
            login_grace: limits::SSH_LOGIN_GRACE,
            subsystem_wait: limits::SSH_SUBSYSTEM_WAIT,
            window_pool_bytes: limits::SSH_WINDOW_POOL_BYTES,
            prefer_aes: aes_is_fast(),
            kex: &[KexName::MlKem768X25519, KexName::Curve25519, KexName::Curve25519LibSsh],
        }
    }
}

impl Tuning {
    /// The ciphers in the order in which they are offered.
    pub(super) fn ciphers(&self) -> [CipherName; 2] {
        match self.prefer_aes {
            true => [CipherName::Aes256Gcm, CipherName::ChaCha20Poly1305],
            false => [CipherName::ChaCha20Poly1305, CipherName::Aes256Gcm],
        }
    }
}
