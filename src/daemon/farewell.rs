//! The last words on connections that are not waited for.

use crate::base::endpoint::Endpoint;
use crate::base::time::Mono;
use crate::io::link::Link;
use crate::io::stream::Stream;
use crate::limits::{LINK_TURN_BYTES, SSH_INBOX_FIRST_BYTES};
use crate::ssh::refusal::Refusal;

/// Sends what stands there. What the peer has sent is read: a socket that is closed with input
/// resets, which may take our word away.
#[cold]
pub(super) fn say_last<P: Endpoint>(link: &mut Link<P>, now: Mono) {
    let _last_words = link.send(now, LINK_TURN_BYTES);
    let _dropped = link.stream().read(&mut [0; SSH_INBOX_FIRST_BYTES]);
}

/// Tells a peer, in the line that RFC 4253 §4.2 admits before an identification, why it is refused.
/// What it has sent already is read: a socket that is closed with input resets, which may take the
/// line away.
#[cold]
pub(super) fn tell_refused(stream: &Stream, refusal: Refusal) {
    let _told = stream.write(refusal.to_line().as_bytes());
    stream.end_output();
    let _dropped = stream.read(&mut [0; SSH_INBOX_FIRST_BYTES]);
}
