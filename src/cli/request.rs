//! A request that `convocate-host` writes to the standard input of another of our programs.

use std::io::Read;

use serde::de::DeserializeOwned;

use crate::cli::output::Failure;
use crate::limits::PROVISION_REQUEST_BYTES_MAX;

/// One line of standard input, and not a byte more: its end is watched by the run.
///
/// # Errors
/// [`Failure::Usage`], if it is no request of this kind.
pub(crate) fn read_request<R: DeserializeOwned>() -> Result<R, Failure> {
    let mut line = Vec::new();
    let mut input = std::io::stdin().lock();
    let mut byte = [0];
    while input.read(&mut byte).is_ok_and(|length| length == 1) && byte != *b"\n" {
        if line.len() == PROVISION_REQUEST_BYTES_MAX {
            return Err(Failure::Usage("--request: the line is too long".to_owned()));
        }
        line.extend(byte);
    }
    serde_json::from_slice(&line)
        .map_err(|error| Failure::Usage(format!("--request: standard input: {error}")))
}
