//! Authentication: `publickey` and nothing else (RFC 4252).
//!
//! Neither side knows which keys are good. The server verifies signatures and asks its owner; the
//! client has one key and shows it at once.

pub mod client;
pub mod server;

use super::names::{PUBLICKEY, SSH_CONNECTION, SSH_ED25519, SSH_MSG_USERAUTH_REQUEST};
use super::wire::{Reader, WireError, put_boolean, put_string};

/// What stands before the signature in a signed request, behind the session id in what is signed.
fn put_signed_request(out: &mut Vec<u8>, user: &str, key_blob: &[u8]) {
    out.push(SSH_MSG_USERAUTH_REQUEST);
    for text in [user, SSH_CONNECTION, PUBLICKEY] {
        put_string(out, text.as_bytes());
    }
    put_boolean(out, true);
    put_string(out, SSH_ED25519.as_bytes());
    put_string(out, key_blob);
}

/// The name in a SERVICE_REQUEST or SERVICE_ACCEPT.
fn service_name(payload: &[u8]) -> Result<&[u8], WireError> {
    let mut reader = Reader::new(&payload[1..]);
    let name = reader.string()?;
    reader.finish()?;
    Ok(name)
}
