//! SOCKS5 (RFC 1928) without authentication, for `CONNECT` to a host by its name.

use super::{Refusal, Target};
use crate::base::text::printable;
use crate::rpc::egress::HostName;

/// The first byte of a client.
pub(crate) const VERSION: u8 = 5;
/// What answers a client that may come without authentication.
pub(crate) const WELCOME: [u8; 2] = [VERSION, 0];
/// What answers all others.
pub(crate) const NO_METHOD: [u8; 2] = [VERSION, 0xff];

const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const DOMAIN_NAME: u8 = 3;

const GRANTED: u8 = 0;

/// How many bytes a greeting has, and whether it can be welcomed; `None` as long as it is not
/// whole.
pub(crate) fn greeting(bytes: &[u8]) -> Option<(usize, bool)> {
    let [_, count, methods @ ..] = bytes else { return None };
    let methods = methods.get(..usize::from(*count))?;
    Some((2 + methods.len(), methods.contains(&NO_AUTHENTICATION)))
}

/// How many bytes a request has, and what it wants; `None` as long as it is not whole.
pub(crate) fn request(bytes: &[u8]) -> Option<(usize, Result<Target, Refusal>)> {
    let [version, command, reserved, kind, rest @ ..] = bytes else { return None };
    let unfit = |why| Some((bytes.len(), Err(Refusal::Unfit(why))));
    if (*version, *reserved) != (VERSION, 0) {
        return unfit("its SOCKS request cannot be read");
    }
    if *command != CONNECT {
        return unfit("SOCKS is for connections only");
    }
    if *kind != DOMAIN_NAME {
        return unfit("its SOCKS request has an address, and only names can be allowed");
    }
    let [length, rest @ ..] = rest else { return None };
    let name = rest.get(..usize::from(*length))?;
    let port = rest.get(name.len()..name.len() + 2)?;
    let text = String::from_utf8_lossy(name);
    let target = match HostName::parse(&text) {
        Ok(name) => Ok(Target { name, port: u16::from(port[0]) << 8 | u16::from(port[1]) }),
        Err(why) => Err(Refusal::NoName { text: printable(&text).into_owned(), why }),
    };
    Some((5 + name.len() + 2, target))
}

/// What answers a request, if it was not refused.
pub(crate) fn granted() -> Vec<u8> {
    answer(GRANTED)
}

/// What answers a request that is refused.
pub(crate) fn refused(refusal: &Refusal) -> Vec<u8> {
    answer(match refusal {
        Refusal::Denied | Refusal::Unlisted | Refusal::Address(_) | Refusal::NoName { .. } => 2,
        Refusal::Unreachable(_) | Refusal::Late => 4,
        Refusal::Unfit(_) => 7,
    })
}

/// No address of ours is told.
fn answer(code: u8) -> Vec<u8> {
    vec![VERSION, code, 0, 1, 0, 0, 0, 0, 0, 0]
}
