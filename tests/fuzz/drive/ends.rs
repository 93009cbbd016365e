//! Keys and configurations of the two ends, the same in every run.

use std::sync::{Arc, LazyLock};

use convocate::ssh::keys::KeyPair;
use convocate::ssh::{ClientConfig, ServerConfig, Subsystem, Tuning};

pub const HOST_SEED: [u8; 32] = [1; 32];
pub const CLIENT_SEED: [u8; 32] = [2; 32];

pub static SUBSYSTEMS: [Subsystem; 2] = [
    Subsystem { name: "rpc", window_change: false },
    Subsystem { name: "attach", window_change: true },
];

static HOST_KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::from_seed(HOST_SEED));
static CLIENT_KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::from_seed(CLIENT_SEED));
static STRANGERS_KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::from_seed([3; 32]));

pub fn host_key() -> &'static KeyPair {
    &HOST_KEY
}

pub fn client_key() -> &'static KeyPair {
    &CLIENT_KEY
}

/// A key that nobody is told about.
pub fn strangers_key() -> &'static KeyPair {
    &STRANGERS_KEY
}

pub fn server_config(tuning: Tuning) -> Arc<ServerConfig> {
    let host_key = KeyPair::from_seed(HOST_SEED);
    Arc::new(ServerConfig { host_key, subsystems: &SUBSYSTEMS, tuning })
}

pub fn client_config(tuning: Tuning) -> Arc<ClientConfig> {
    Arc::new(ClientConfig {
        user: "agent".to_owned(),
        key: KeyPair::from_seed(CLIENT_SEED),
        host_key: *host_key().public(),
        tuning,
    })
}

/// The profile, or one whose keys wear out at once.
pub fn tuning(choice: u8) -> Tuning {
    let mut tuning = Tuning { prefer_aes: choice & 1 == 0, ..Tuning::default() };
    if choice & 2 != 0 {
        tuning.rekey_bytes = 4096;
    }
    if choice & 4 != 0 {
        tuning.rekey_packets = 12;
    }
    tuning
}
