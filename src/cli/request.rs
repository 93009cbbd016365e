//! A request that `convocate-host` writes to the standard input of another of our programs.

use std::io::Read;

use serde::de::DeserializeOwned;

use crate::cli::command::Parsed;
use crate::cli::output::Failure;
use crate::cli::shared_flags::REQUEST;
use crate::cli::this_host::installed_paths;
use crate::limits::PROVISION_REQUEST_BYTES_MAX;
use crate::paths::Paths;

/// The paths and the request of a command that only `convocate-host init-agent` runs.
pub(crate) fn init_agent_request<R: DeserializeOwned>(
    parsed: &Parsed,
) -> Result<(Paths, R), Failure> {
    if !parsed.has(&REQUEST) {
        return Err(Failure::Usage("convocate-host init-agent runs this".to_owned()));
    }
    let paths = installed_paths(parsed)?;
    Ok((paths, read_request()?))
}

/// Reads one line of standard input, and not a byte more: the run watches for its end.
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
