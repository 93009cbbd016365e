//! The files of the authority that issues the certificates for logs.

use std::path::{Path, PathBuf};

/// They are the shell host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogAuthority {
    pub(super) dir: PathBuf,
}

impl LogAuthority {
    /// The directory ([`CONFIG_DIR`](super::CONFIG_DIR)).
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The authority's certificate, and during a rotation that of the one before
    /// ([`PUBLIC_FILE`](super::PUBLIC_FILE)).
    pub fn authorities(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// The authority's key ([`PRIVATE_KEY`](super::PRIVATE_KEY)).
    pub fn key(&self) -> PathBuf {
        self.dir.join("ca.key")
    }

    /// The key of the authority before, during a rotation ([`PRIVATE_KEY`](super::PRIVATE_KEY)).
    pub fn previous_key(&self) -> PathBuf {
        self.dir.join("previous.key")
    }

    /// The collector's certificate ([`PUBLIC_FILE`](super::PUBLIC_FILE)).
    pub fn server_certificate(&self) -> PathBuf {
        self.dir.join("server.crt")
    }

    /// The collector's key ([`PRIVATE_KEY`](super::PRIVATE_KEY)).
    pub fn server_key(&self) -> PathBuf {
        self.dir.join("server.key")
    }
}
