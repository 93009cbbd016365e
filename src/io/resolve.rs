//! Host names to numbers.
//!
//! The system's resolver blocks, for as long as its servers take. It is run on a worker thread
//! ([`super::worker`]), never in the loop.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::base::address::{Address, Host};
use crate::limits::RESOLVED_NUMBERS_MAX;

/// A name that could not be resolved.
#[derive(Debug)]
pub(crate) struct ResolveError {
    name: String,
    error: Option<io::Error>,
}

/// The numbers to dial for `address`, in the resolver's order, at least one and at most
/// [`RESOLVED_NUMBERS_MAX`].
/// Blocks while a name is looked up.
///
/// # Errors
/// [`ResolveError`], with the name in it; also when the address names no host.
pub(crate) fn resolve(address: &Address) -> Result<Vec<SocketAddr>, ResolveError> {
    if let (Some(number), false) = (address.as_socket_addr(), address.host == Host::Any) {
        return Ok(vec![number]);
    }
    let Host::Name(name) = &address.host else {
        return Err(ResolveError { name: address.to_string(), error: None });
    };
    let fail = |error| ResolveError { name: name.clone(), error };
    let found =
        (name.as_str(), address.port).to_socket_addrs().map_err(|error| fail(Some(error)))?;
    let numbers: Vec<_> = found.take(RESOLVED_NUMBERS_MAX).collect();
    if numbers.is_empty() { Err(fail(None)) } else { Ok(numbers) }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => write!(out, "cannot look up {}: {error}", self.name),
            None => write!(out, "cannot look up {}: it has no address", self.name),
        }
    }
}

impl std::error::Error for ResolveError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Result<Vec<SocketAddr>, String> {
        resolve(&Address::parse(text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn numbers_need_no_look_up_and_localhost_is_known() {
        assert_eq!(numbers("127.0.0.1:5"), Ok(vec!["127.0.0.1:5".parse().unwrap()]));
        assert!(numbers("localhost:5").unwrap().iter().all(|found| found.ip().is_loopback()));
    }

    #[test]
    fn what_cannot_be_found_is_named() {
        let error = numbers("no-such-host.invalid:5").unwrap_err();
        assert!(error.starts_with("cannot look up no-such-host.invalid: "), "{error}");
        assert!(numbers(":5").is_err());
    }
}
