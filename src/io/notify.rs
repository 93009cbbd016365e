//! What a service and systemd tell each other: that it is ready (sd_notify(3)), and which directory
//! it was given for as long as the host runs (systemd.exec(5), `RuntimeDirectory`).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

/// Says so to whoever started this process and wants to know: `NOTIFY_SOCKET` names a socket, an
/// abstract one if it begins with `@`. Without it nobody does.
///
/// # Errors
/// When there is such a socket and it does not take the message.
pub(crate) fn ready() -> io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&name)?,
    };
    UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address).map(drop)
}

/// The directory that systemd has made for this service below `/run`; none if it was not asked to.
pub(crate) fn runtime_directory() -> Option<PathBuf> {
    std::env::var_os("RUNTIME_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from)
}
