//! The key of each session, which is lent to it over a socket.

use std::time::Duration;

/// A request of ssh-agent's protocol, without its length: a signature of a login, with the largest
/// host key, is some 2 KiB.
pub(crate) const KEY_REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Connections of one session at once; others wait in the kernel.
pub(crate) const KEY_CONNECTIONS_MAX: usize = 8;
/// From the first byte of a request to its last.
pub(crate) const KEY_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections taken and requests answered of one session in [`KEY_STEPS_SPAN`]: 50 logins, and at
/// most some hundredths of a processor.
pub(crate) const KEY_STEPS_MAX: u32 = 200;
pub(crate) const KEY_STEPS_SPAN: Duration = Duration::from_secs(1);
/// Signatures of one session in [`KEY_SIGNATURES_SPAN`]. Each is an event, and 100 sessions that do
/// their worst tell 3 MiB in that time.
pub(crate) const KEY_SIGNATURES_MAX: u32 = 120;
pub(crate) const KEY_SIGNATURES_SPAN: Duration = Duration::from_secs(60);
/// What an event tells of the user that a login was signed for.
pub(crate) const KEY_USER_CHARS_MAX: usize = 64;
/// A public key in one line, as an agent tells it.
pub(crate) const KEY_LINE_BYTES_MAX: usize = 256;

const _: () = assert!(KEY_STEPS_SPAN.as_secs() < KEY_REQUEST_TIMEOUT.as_secs());
