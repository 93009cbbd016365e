//! Requests of HTTP/1.1 to a proxy (RFC 9112), read strictly: what two programs could read in two
//! ways is refused, because the server behind us is the second program.
//!
//! A plain request is not passed on as it came: its head is written anew, for the name that was
//! allowed, and as the only one on its connection. Of its body exactly as much passes as its head
//! says.

use super::{Refusal, Target};
use crate::base::text::printable;
use crate::limits::EGRESS_HEAD_BYTES_MAX;
use crate::rpc::egress::HostName;

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    method: String,
    target: String,
    minor: u8,
    fields: Vec<(String, String)>,
    /// How many bytes it had.
    pub(crate) length: usize,
}

/// A request that is passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    pub(crate) target: Target,
    /// Its head, as the server gets it.
    pub(crate) head: Vec<u8>,
    pub(crate) body: Body,
    /// Whether it asks for a WebSocket, so that what follows its answer is no request.
    pub(crate) is_upgrade: bool,
}

/// What of a request's body is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Length(u64),
    Chunked(Chunks),
}

/// Where in a body of chunks it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunks {
    Size { size: u64, digits: u8 },
    SizeEnd(u64),
    Data(u64),
    DataReturn,
    DataEnd,
    LastReturn,
    LastEnd,
    Done,
}

const HEAD: &str = "its HTTP request cannot be read";
const TOO_LONG: &str = "the head of its HTTP request is too long";
const NAMES: &str = "its HTTP request names two hosts, or none";
const BODY: &str = "the length of its HTTP request is not clear";
const CHUNK_DIGITS_MAX: u8 = 8;

/// Fields that are for the proxy, or for one connection, and are not passed on.
const OURS: [&str; 8] = [
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "upgrade",
    "http2-settings",
    "te",
];

/// The head at the beginning of what a client says; `None` as long as it is not whole.
///
/// # Errors
/// Why it is refused.
pub(crate) fn head(bytes: &[u8]) -> Result<Option<Head>, &'static str> {
    let shown = &bytes[..bytes.len().min(EGRESS_HEAD_BYTES_MAX)];
    let end = shown.windows(4).position(|window| window == b"\r\n\r\n");
    let read = end.map_or(shown, |end| &shown[..end]);
    let is_text = |(place, byte): (usize, &u8)| match byte {
        b'\n' => place > 0 && read[place - 1] == b'\r',
        // The last one may be the beginning of an end that is still to come.
        b'\r' => read.get(place + 1).map_or(end.is_none(), |next| *next == b'\n'),
        b'\t' => true,
        byte => !byte.is_ascii_control(),
    };
    if !read.iter().enumerate().all(is_text) {
        return Err(HEAD);
    }
    let text = std::str::from_utf8(read).map_err(|_| HEAD);
    let Some(end) = end else {
        // What is no request is not waited for.
        if let Some((line, _)) = text.unwrap_or_default().split_once("\r\n") {
            request_line(line)?;
        }
        let is_full = bytes.len() >= EGRESS_HEAD_BYTES_MAX;
        return if is_full { Err(TOO_LONG) } else { Ok(None) };
    };
    let mut lines = text?.split("\r\n");
    let (method, target, minor) = request_line(lines.next().unwrap_or_default())?;
    let fields = lines.map(field).collect::<Option<Vec<_>>>().ok_or(HEAD)?;
    let (method, target) = (method.to_owned(), target.to_owned());
    Ok(Some(Head { method, target, minor, fields, length: end + 4 }))
}

/// Method, target, and the second number of the version.
fn request_line(line: &str) -> Result<(&str, &str, u8), &'static str> {
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else { return Err(HEAD) };
    let is_method = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_target = !target.is_empty() && target.bytes().all(|byte| byte.is_ascii_graphic());
    let minor = match version {
        "HTTP/1.1" => 1,
        "HTTP/1.0" => 0,
        _ => return Err(HEAD),
    };
    if is_method && is_target { Ok((method, target, minor)) } else { Err(HEAD) }
}

/// A line of a head. One that goes on from the line before, or has a space before its colon, is
/// none.
fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_name = !name.is_empty() && name.bytes().all(is_token);
    is_name.then(|| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

/// A host with its port, or with `default` where it names none.
fn authority(text: &str, default: Option<u16>) -> Result<Target, Refusal> {
    let (name, port) = text.rsplit_once(':').map_or((text, None), |(name, it)| (name, Some(it)));
    let no_name = |why| Refusal::NoName { text: printable(text).into_owned(), why };
    let is_number = |port: &str| !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit());
    let port = match port {
        Some(port) if is_number(port) => port.parse().ok().filter(|port| *port != 0),
        Some(_) => None,
        None => default,
    };
    let name = HostName::parse(name).map_err(no_name)?;
    let port = port.ok_or_else(|| no_name("names no port"))?;
    Ok(Target { name, port })
}

impl Head {
    pub(crate) fn is_connect(&self) -> bool {
        self.method == "CONNECT"
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.fields.iter().filter(move |(own, _)| own == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The one value of a field.
    ///
    /// # Errors
    /// It stands there more than once.
    fn value<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, ()> {
        let mut values = self.values(name);
        match (values.next(), values.next()) {
            (first, None) => Ok(first),
            _ => Err(()),
        }
    }

    /// For whom a tunnel is asked.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn connect_target(&self) -> Result<Target, Refusal> {
        let target = authority(&self.target, None)?;
        if self.body().map_err(Refusal::Unfit)? != Body::Length(0) {
            return Err(Refusal::Unfit(BODY));
        }
        match self.value("host") {
            Err(()) => Err(Refusal::Unfit(NAMES)),
            Ok(None) => Ok(target),
            Ok(Some(host)) => match authority(host, Some(target.port)) {
                Ok(named) if named.name == target.name => Ok(target),
                _ => Err(Refusal::Unfit(NAMES)),
            },
        }
    }

    /// The request as it is passed on: to the host of its address, or in a tunnel to that one.
    ///
    /// # Errors
    /// Why it is refused.
    pub(crate) fn forward(&self, tunnel: Option<&Target>) -> Result<Forward, Refusal> {
        let (target, path) = match tunnel {
            Some(target) if self.target.starts_with('/') => (target.clone(), self.target.as_str()),
            Some(_) => return Err(Refusal::Unfit(HEAD)),
            None => {
                let address = self.target.strip_prefix("http://").ok_or(Refusal::Unfit(
                    "its HTTP request names no host; a proxy wants http://NAME/",
                ))?;
                let end = address.find(['/', '?', '#']).unwrap_or(address.len());
                let (host, path) = address.split_at(end);
                (authority(host, Some(80))?, path)
            }
        };
        match self.value("host") {
            Ok(Some(host)) if authority(host, Some(80)).as_ref() == Ok(&target) => {}
            // In a tunnel, nothing else says for whom it is.
            Ok(None) if self.minor == 0 && tunnel.is_none() => {}
            _ => return Err(Refusal::Unfit(NAMES)),
        }
        let path = match path.as_bytes() {
            [] => "/",
            [b'/', ..] => path,
            _ => return Err(Refusal::Unfit(HEAD)),
        };
        let body = self.body().map_err(Refusal::Unfit)?;
        let upgrade = self.value("upgrade").map_err(|()| Refusal::Unfit(HEAD))?;
        let is_upgrade = upgrade.is_some_and(|it| it.eq_ignore_ascii_case("websocket"));
        if is_upgrade && body != Body::Length(0) {
            return Err(Refusal::Unfit(BODY));
        }
        let head = self.written(&target, path, is_upgrade);
        Ok(Forward { target, head, body, is_upgrade })
    }

    fn written(&self, target: &Target, path: &str, is_upgrade: bool) -> Vec<u8> {
        let Target { name, port } = target;
        let port = if *port == 80 { String::new() } else { format!(":{port}") };
        let (method, minor, host) = (&self.method, self.minor, name.as_str());
        let mut text = format!("{method} {path} HTTP/1.{minor}\r\nHost: {host}{port}\r\n");
        for (name, value) in self.fields.iter().filter(|(name, _)| !OURS.contains(&name.as_str())) {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str(match is_upgrade {
            true => "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            false => "Connection: close\r\n\r\n",
        });
        text.into_bytes()
    }

    fn body(&self) -> Result<Body, &'static str> {
        let length = self.value("content-length").map_err(|()| BODY)?;
        let coding = self.value("transfer-encoding").map_err(|()| BODY)?;
        match (length, coding) {
            (None, None) => Ok(Body::Length(0)),
            (Some(length), None) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().map(Body::Length).map_err(|_| BODY)
            }
            (None, Some("chunked")) if self.minor == 1 => Ok(Body::Chunked(Chunks::FIRST)),
            _ => Err(BODY),
        }
    }
}

impl Body {
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Body::Length(0) | Body::Chunked(Chunks::Done))
    }

    /// How many of these bytes belong to it.
    ///
    /// # Errors
    /// Its chunks cannot be read.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        match self {
            Body::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= count as u64;
                Ok(count)
            }
            Body::Chunked(chunks) => chunks.take(bytes),
        }
    }
}

impl Chunks {
    const FIRST: Chunks = Chunks::Size { size: 0, digits: 0 };

    fn take(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let mut taken = 0;
        while let (Some(byte), false) = (bytes.get(taken), *self == Chunks::Done) {
            if let Chunks::Data(left) = self {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - taken);
                *left -= count as u64;
                taken += count;
                if *left == 0 {
                    *self = Chunks::DataReturn;
                }
                continue;
            }
            *self = self.after(*byte).ok_or("the chunks of its HTTP request cannot be read")?;
            taken += 1;
        }
        Ok(taken)
    }

    /// Extensions and trailers are not let through.
    fn after(self, byte: u8) -> Option<Chunks> {
        Some(match (self, byte) {
            (Chunks::Size { size, digits: 1.. }, b'\r') => Chunks::SizeEnd(size),
            (Chunks::Size { size, digits }, _) if digits < CHUNK_DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16)?;
                Chunks::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Chunks::SizeEnd(0), b'\n') => Chunks::LastReturn,
            (Chunks::SizeEnd(size), b'\n') => Chunks::Data(size),
            (Chunks::DataReturn, b'\r') => Chunks::DataEnd,
            (Chunks::DataEnd, b'\n') => Chunks::FIRST,
            (Chunks::LastReturn, b'\r') => Chunks::LastEnd,
            (Chunks::LastEnd, b'\n') => Chunks::Done,
            _ => return None,
        })
    }
}

/// What answers a request that is refused.
pub(crate) fn refused(refusal: &Refusal, target: Option<&Target>) -> Vec<u8> {
    let status = match refusal {
        Refusal::Denied | Refusal::Unlisted | Refusal::Address(_) => "403 Forbidden",
        Refusal::NoName { .. } | Refusal::Unfit(_) => "403 Forbidden",
        Refusal::Late => "408 Request Timeout",
        Refusal::Unreachable(_) => "502 Bad Gateway",
    };
    let what = target.map_or_else(String::new, |it| format!("{}:{}: ", it.name.as_str(), it.port));
    let advice = match refusal {
        Refusal::Unlisted => "; its operator can: convocate edit SESSION --allow NAME",
        _ => "",
    };
    let text =
        format!("this session does not reach {what}{}{advice}\n", printable(&refusal.to_string()));
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    )
    .into_bytes()
}

/// What answers a request for a tunnel.
pub(crate) fn granted() -> Vec<u8> {
    b"HTTP/1.1 200 Connection established\r\n\r\n".to_vec()
}
