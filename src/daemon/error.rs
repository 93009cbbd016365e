//! Why a daemon does not serve.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::io::disk::{DiskError, SecretPolicy, read_secret};
use crate::io::listener::BindError;
use crate::limits::SSH_KEY_FILE_BYTES_MAX;
use crate::ssh::keys::KeyPair;

#[derive(Debug)]
pub(crate) enum ServeError {
    /// A file that it needs. One that is missing is what an installation makes.
    Disk(DiskError),
    /// What stands in a file that it needs.
    Content(PathBuf, String),
    /// The address to listen on.
    Bind(BindError),
    /// A service of the system, and what it was needed for.
    System(&'static str, io::Error),
}

impl ServeError {
    /// What stands in the file at `path` is wrong.
    pub(crate) fn content(path: &Path, error: impl fmt::Display) -> ServeError {
        ServeError::Content(path.to_owned(), error.to_string())
    }

    /// For `map_err`: names what the system was needed for.
    pub(crate) fn system(what: &'static str) -> impl Fn(io::Error) -> ServeError + Copy {
        move |error| ServeError::System(what, error)
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServeError::Disk(error) if error.is_missing() => {
                write!(out, "{error}; this host has not been set up, see: convocate-host help")
            }
            ServeError::Disk(error) => write!(out, "{error}"),
            ServeError::Content(path, error) => write!(out, "{}: {error}", path.display()),
            ServeError::Bind(error) => write!(out, "{error}"),
            ServeError::System(what, error) => write!(out, "{what}: {error}"),
        }
    }
}

impl std::error::Error for ServeError {}

impl From<DiskError> for ServeError {
    fn from(error: DiskError) -> ServeError {
        ServeError::Disk(error)
    }
}

impl From<BindError> for ServeError {
    fn from(error: BindError) -> ServeError {
        ServeError::Bind(error)
    }
}

/// The private key at `path`.
///
/// # Errors
/// The file is missing, not private, or holds no key.
pub(crate) fn private_key(path: &Path) -> Result<KeyPair, ServeError> {
    let bytes = read_secret(path, SSH_KEY_FILE_BYTES_MAX, SecretPolicy::ServiceGroup)?;
    KeyPair::parse_openssh(&bytes).map_err(|error| ServeError::content(path, error))
}
