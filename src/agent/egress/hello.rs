//! The beginning of a TLS connection (RFC 8446 §4.1.2, RFC 6066 §3): for whom the client asks.
//!
//! Nothing is decrypted, and nothing needs to be: the name stands in the clear. Where it does not,
//! because the client has encrypted the true ClientHello (RFC 9849), the connection is refused.

use crate::limits::EGRESS_HELLO_BYTES_MAX;
use crate::rpc::egress::HostName;

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const RECORD_BYTES_MAX: usize = 16 * 1024;

const SERVER_NAME: u16 = 0;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
/// What it was in drafts that are still met.
const OLD_ENCRYPTED: [u16; 6] = [0xffce, 0xfe08, 0xfe09, 0xfe0a, 0xfe0b, 0xfe0c];

/// Extensions of a ClientHello: each is compared with all before it, and programs send some 20.
const EXTENSIONS_MAX: usize = 128;

const BROKEN: &str = "its TLS ClientHello cannot be read";
const NO_NAME: &str = "its TLS ClientHello names no server";
const ENCRYPTED: &str = "its TLS ClientHello is encrypted, so the server's name cannot be seen";

/// The server's name in a ClientHello; `None` as long as that is not whole.
///
/// # Errors
/// Why it is refused.
pub(crate) fn server_name(bytes: &[u8]) -> Result<Option<HostName>, &'static str> {
    let Some(message) = message(bytes)? else { return Ok(None) };
    let mut body = Reader(&message);
    // Version, random, session id, cipher suites, compression.
    body.take(2 + 32)?;
    body.block8()?;
    body.block16()?;
    body.block8()?;
    if body.0.is_empty() {
        return Err(NO_NAME);
    }
    let mut extensions = Reader(body.block16()?);
    body.end()?;
    let (mut seen, mut found) = (Vec::new(), None);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.block16()?;
        if seen.len() >= EXTENSIONS_MAX || seen.contains(&kind) {
            return Err(BROKEN);
        }
        seen.push(kind);
        if kind == SERVER_NAME {
            found = Some(host_name(content)?);
        }
    }
    let is_encrypted = |kind: &u16| *kind == ENCRYPTED_CLIENT_HELLO || OLD_ENCRYPTED.contains(kind);
    match found {
        _ if seen.iter().any(is_encrypted) => Err(ENCRYPTED),
        Some(name) => Ok(Some(name)),
        None => Err(NO_NAME),
    }
}

/// The first handshake message, out of its records; `None` as long as it is not whole.
fn message(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
    let mut handshake = Vec::new();
    loop {
        if let [kind, a, b, c, body @ ..] = &handshake[..] {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            if *kind != CLIENT_HELLO || length > EGRESS_HELLO_BYTES_MAX {
                return Err(BROKEN);
            }
            if let Some(message) = body.get(..length) {
                return Ok(Some(message.to_vec()));
            }
        }
        let [kind, major, _, high, low, rest @ ..] = bytes else { return Ok(None) };
        let length = usize::from(*high) << 8 | usize::from(*low);
        if *kind != HANDSHAKE_RECORD || *major != 3 || length == 0 || length > RECORD_BYTES_MAX {
            return Err(BROKEN);
        }
        let Some(content) = rest.get(..length) else { return Ok(None) };
        handshake.extend_from_slice(content);
        bytes = &rest[length..];
    }
}

/// The one name of a server_name extension.
fn host_name(content: &[u8]) -> Result<HostName, &'static str> {
    let mut outer = Reader(content);
    let mut list = Reader(outer.block16()?);
    outer.end()?;
    let kind = list.take(1)?;
    let name = list.block16()?;
    list.end()?;
    let name = std::str::from_utf8(name).map_err(|_| BROKEN)?;
    if kind != [0] || name.ends_with('.') {
        return Err(BROKEN);
    }
    HostName::parse(name).map_err(|_| "its TLS ClientHello names no server by a host name")
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BROKEN)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        let bytes = self.take(2)?;
        Ok(u16::from(bytes[0]) << 8 | u16::from(bytes[1]))
    }

    fn block8(&mut self) -> Result<&'a [u8], &'static str> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    fn block16(&mut self) -> Result<&'a [u8], &'static str> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn end(&self) -> Result<(), &'static str> {
        if self.0.is_empty() { Ok(()) } else { Err(BROKEN) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn block16(content: &[u8]) -> Vec<u8> {
        [&u16::try_from(content.len()).unwrap().to_be_bytes()[..], content].concat()
    }

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &block16(content)].concat()
    }

    fn name_extension(name: &[u8]) -> Vec<u8> {
        extension(SERVER_NAME, &block16(&[&[0][..], &block16(name)].concat()))
    }

    fn hello_with(extensions: &[u8]) -> Vec<u8> {
        let body =
            [&[3, 3][..], &[7; 32], &[0], &block16(&[0x13, 1]), &[1, 0], &block16(extensions)]
                .concat();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[CLIENT_HELLO][..], &length[1..], &body].concat()
    }

    /// In records of so many bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| [&[HANDSHAKE_RECORD, 3, 1][..], &block16(part)].concat();
        message.chunks(size).flat_map(record).collect()
    }

    /// A ClientHello for a server.
    pub(crate) fn hello(name: &str) -> Vec<u8> {
        let extensions = [extension(43, &[2, 3, 4]), name_extension(name.as_bytes())].concat();
        records(&hello_with(&extensions), RECORD_BYTES_MAX)
    }

    /// One that names nobody.
    pub(crate) fn hello_without_name() -> Vec<u8> {
        records(&hello_with(&extension(43, &[2, 3, 4])), RECORD_BYTES_MAX)
    }

    /// One that names a server in the clear, and another one in what is encrypted.
    pub(crate) fn hello_with_encrypted(name: &str) -> Vec<u8> {
        let encrypted = extension(ENCRYPTED_CLIENT_HELLO, &[0; 40]);
        let extensions = [name_extension(name.as_bytes()), encrypted].concat();
        records(&hello_with(&extensions), RECORD_BYTES_MAX)
    }

    #[test]
    fn the_name_is_found_however_it_is_cut() {
        let name = HostName::parse("a.example").unwrap();
        let message = hello_with(&name_extension(b"A.example"));
        for size in [1, 2, 5, 77, RECORD_BYTES_MAX] {
            let bytes = records(&message, size);
            for cut in 0..bytes.len() {
                assert_eq!(server_name(&bytes[..cut]), Ok(None), "{cut} in {size}");
            }
            assert_eq!(server_name(&bytes), Ok(Some(name.clone())));
            let more = [&bytes[..], b"early data"].concat();
            assert_eq!(server_name(&more), Ok(Some(name.clone())));
        }
    }

    #[test]
    fn what_hides_the_name_or_has_two_is_refused() {
        assert_eq!(server_name(&hello_without_name()), Err(NO_NAME));
        assert_eq!(server_name(&hello_with_encrypted("a.example")), Err(ENCRYPTED));
        let one = name_extension(b"a.example");
        let two = block16(&[&[0][..], &block16(b"a.x"), &[0], &block16(b"b.x")].concat());
        for extensions in [
            [&one[..], &one].concat(),
            extension(SERVER_NAME, &two),
            extension(SERVER_NAME, b""),
            extension(SERVER_NAME, &block16(b"")),
            name_extension(b""),
            name_extension(b"1.2.3.4"),
            name_extension(b"a.example\0b"),
            name_extension(b"a.example."),
            name_extension("\u{e4}.example".as_bytes()),
            [&one[..], &[0]].concat(),
        ] {
            let bytes = records(&hello_with(&extensions), RECORD_BYTES_MAX);
            assert!(server_name(&bytes).is_err(), "{extensions:?}");
        }
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"SSH-2.0-x\r\n",
            &[HANDSHAKE_RECORD, 3, 1, 0, 0],
            &[HANDSHAKE_RECORD, 2, 0, 0, 9],
            &[HANDSHAKE_RECORD, 3, 1, 0xff, 0xff],
            &[HANDSHAKE_RECORD, 3, 1, 0, 4, 2, 0, 0, 0],
            &[HANDSHAKE_RECORD, 3, 1, 0, 4, 1, 0xff, 0, 0],
            &[0x80, 0x2e, 1, 3, 1],
        ] {
            assert_eq!(server_name(bytes), Err(BROKEN), "{bytes:?}");
        }
    }

    #[test]
    fn no_bytes_panic() {
        let good = hello("a.example");
        for place in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[place] = byte;
                let _ = server_name(&bad);
            }
        }
    }
}
