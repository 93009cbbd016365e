//! HTTP/1.1 as far as a client of the Engine needs it: requests to bytes, responses from bytes.
//!
//! RFC 9112. Heads are bounded by [`DOCKER_HEAD_BYTES_MAX`] and [`DOCKER_HEADERS_MAX`]; where a
//! body ends is [`BodyFraming`]'s. A response that frames its body in two ways is refused, not
//! guessed at.

use std::time::Duration;

use super::body::{BodyFraming, ChunkState};
use super::error::HttpError;
use crate::limits::{DOCKER_CALL_TIMEOUT, DOCKER_HEAD_BYTES_MAX, DOCKER_HEADERS_MAX};

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Delete,
}

impl Method {
    const fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerRequest {
    pub method: Method,
    /// Path and query, percent-encoded where needed ([`RequestTarget`] does it).
    pub target: String,
    /// The body and its content type.
    pub body: Option<(&'static str, Vec<u8>)>,
    /// From the request to the end of a whole answer, or to the head of a streamed one.
    pub timeout: Duration,
}

impl DockerRequest {
    /// A request without a body that may take [`DOCKER_CALL_TIMEOUT`].
    pub(crate) fn new(method: Method, target: RequestTarget) -> DockerRequest {
        DockerRequest { method, target: target.0, body: None, timeout: DOCKER_CALL_TIMEOUT }
    }

    /// The same with a JSON body.
    pub(crate) fn with_json(mut self, body: &serde_json::Value) -> DockerRequest {
        self.body = Some(("application/json", body.to_string().into_bytes()));
        self
    }

    /// The same with another time limit.
    pub(crate) fn with_timeout(mut self, timeout: Duration) -> DockerRequest {
        self.timeout = timeout;
        self
    }

    /// The request as it goes over the wire. `upgrade` asks for the stream to be taken over.
    pub(crate) fn to_bytes(&self, upgrade: bool) -> Vec<u8> {
        let connection = if upgrade { "Connection: Upgrade\r\nUpgrade: tcp\r\n" } else { "" };
        let (content_type, body) = match &self.body {
            Some((kind, body)) => (format!("Content-Type: {kind}\r\n"), body.as_slice()),
            None => (String::new(), &[][..]),
        };
        let length = match (self.method, body.len()) {
            (Method::Get | Method::Delete, 0) => String::new(),
            (_, length) => format!("Content-Length: {length}\r\n"),
        };
        let (method, target) = (self.method.as_str(), &self.target);
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: docker\r\n{connection}{content_type}{length}\r\n"
        );
        [head.as_bytes(), body].concat()
    }
}

impl DockerRequest {
    /// The head of a request whose body follows in chunks ([`chunk_head`]), and which is the last
    /// one on its connection.
    pub(crate) fn streamed_head(&self, content_type: &str) -> Vec<u8> {
        let (method, target) = (self.method.as_str(), &self.target);
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\
             Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        head.into_bytes()
    }
}

/// What stands before a chunk of a body (RFC 9112 §7.1); CR and LF stand behind it.
pub(crate) fn chunk_head(length: usize) -> String {
    format!("{length:x}\r\n")
}

/// What stands behind the last chunk.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Path and query of a request, made from parts of unknown content.
#[derive(Clone, Debug)]
pub(crate) struct RequestTarget(String);

impl RequestTarget {
    /// The path of these segments, each escaped.
    pub(crate) fn path(segments: &[&str]) -> RequestTarget {
        let mut target = String::new();
        for segment in segments {
            target.push('/');
            escape(segment, &mut target);
        }
        RequestTarget(target)
    }

    /// The same with one more `name=value` in its query.
    pub(crate) fn query(mut self, name: &str, value: &str) -> RequestTarget {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        escape(value, &mut self.0);
        self
    }
}

/// Appends `text` with everything but RFC 3986's unreserved characters, and `:`, escaped.
fn escape(text: &str, target: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            target.push(char::from(byte));
        } else {
            target.push('%');
            target.push(char::from(DIGITS[usize::from(byte >> 4)]));
            target.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerResponse {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// What the head of a response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    /// How the body is framed.
    pub(crate) body: BodyFraming,
    /// Whether another call may follow on the connection.
    pub(crate) keep_alive: bool,
}

/// Reads a response's head from the start of `input`: the head and its length, or `None` while it
/// is not complete.
///
/// # Errors
/// What is not a response, or is longer than [`DOCKER_HEAD_BYTES_MAX`].
pub(crate) fn parse_head(input: &[u8]) -> Result<Option<(ResponseHead, usize)>, HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; DOCKER_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let window = &input[..input.len().min(DOCKER_HEAD_BYTES_MAX)];
    let parsed = response.parse(window).map_err(|error| HttpError::Head(error.to_string()))?;
    let httparse::Status::Complete(length) = parsed else {
        let is_full = input.len() >= DOCKER_HEAD_BYTES_MAX;
        return if is_full { Err(HttpError::HeadTooLong) } else { Ok(None) };
    };
    let status = response.code.filter(|status| (100..=599).contains(status));
    let status = status.ok_or_else(|| HttpError::Head("status out of range".to_owned()))?;
    let framing = Framing::of(response.headers)?;
    let body = framing.body(status);
    let is_newer = response.version == Some(1);
    let keep_alive = is_newer && !framing.close && body != BodyFraming::UntilClose;
    Ok(Some((ResponseHead { status, body, keep_alive }, length)))
}

/// What the headers say about where the body ends.
#[derive(Debug, Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    close: bool,
}

impl Framing {
    fn of(headers: &[httparse::Header<'_>]) -> Result<Framing, HttpError> {
        let mut framing = Framing::default();
        for header in headers {
            let value = || String::from_utf8_lossy(header.value).trim().to_ascii_lowercase();
            if header.name.eq_ignore_ascii_case("content-length") {
                framing.set_length(&value())?;
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                framing.set_encoding(&value())?;
            } else if header.name.eq_ignore_ascii_case("connection") {
                framing.close |= value().split(',').any(|token| token.trim() == "close");
            }
        }
        if framing.chunked && framing.length.is_some() {
            return Err(HttpError::Framing("both chunked and with a length".to_owned()));
        }
        Ok(framing)
    }

    fn set_length(&mut self, value: &str) -> Result<(), HttpError> {
        let wrong = || HttpError::Framing(format!("content-length {value:?}"));
        if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let length = value.parse().map_err(|_| wrong())?;
        if self.length.is_some_and(|before| before != length) {
            return Err(wrong());
        }
        self.length = Some(length);
        Ok(())
    }

    fn set_encoding(&mut self, value: &str) -> Result<(), HttpError> {
        if value != "chunked" || self.chunked {
            return Err(HttpError::Framing(format!("transfer-encoding {value:?}")));
        }
        self.chunked = true;
        Ok(())
    }

    /// RFC 9112 §6.3, for responses to requests that are not HEAD or CONNECT.
    fn body(&self, status: u16) -> BodyFraming {
        match (status, self.chunked, self.length) {
            (100..=199 | 204 | 304, _, _) => BodyFraming::Ended,
            (_, true, _) => BodyFraming::Chunked(ChunkState::START),
            (_, _, Some(0)) => BodyFraming::Ended,
            (_, _, Some(length)) => BodyFraming::Length(length),
            (_, false, None) => BodyFraming::UntilClose,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response read in chunks of `step`: status, body, bytes left over. `None` if it is not
    /// complete.
    fn read(input: &[u8], step: usize) -> Result<Option<(u16, Vec<u8>, usize)>, HttpError> {
        let (mut pending, mut head, mut body) = (Vec::new(), None, Vec::new());
        for part in input.chunks(step.max(1)) {
            pending.extend_from_slice(part);
            if head.is_none()
                && let Some((found, length)) = parse_head(&pending)?
            {
                pending.drain(..length);
                head = Some(found);
            }
            let Some(head) = &mut head else { continue };
            loop {
                let piece = head.body.decode(&pending, 3)?;
                body.extend_from_slice(&pending[piece.data.clone()]);
                pending.drain(..piece.taken);
                if piece.taken == 0 {
                    break;
                }
            }
        }
        Ok(head.filter(|head| head.body.may_end()).map(|head| (head.status, body, pending.len())))
    }

    const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 5\r\n\r\nhello";
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        4\r\nhell\r\n0001;name=value\r\no\r\n0\r\nTrailer: x\r\n\r\n";
    const UNTIL_CLOSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: raw\r\n\r\nhello";

    #[test]
    fn same_response_however_it_is_cut() {
        for input in [LENGTH, CHUNKED, UNTIL_CLOSE] {
            for step in 1..=input.len() {
                let response = read(input, step).expect("a response");
                assert_eq!(response, Some((200, b"hello".to_vec(), 0)), "step {step}");
            }
        }
    }

    #[test]
    fn a_cut_response_is_not_complete() {
        for input in [LENGTH, CHUNKED] {
            for length in 0..input.len() {
                assert_eq!(read(&input[..length], 7), Ok(None), "cut at {length}");
            }
        }
    }

    #[test]
    fn a_changed_byte_never_makes_more_than_was_sent() {
        for input in [LENGTH, CHUNKED, UNTIL_CLOSE] {
            for at in 0..input.len() {
                for byte in [0, b'\r', b'\n', b' ', b'0', b'9', b'f', b';', 0xff] {
                    let mut changed = input.to_vec();
                    changed[at] = byte;
                    let outcome = read(&changed, 5);
                    assert_eq!(outcome, read(&changed, 1), "byte {byte} at {at}");
                    if let Ok(Some((status, body, _))) = outcome {
                        assert!((100..=599).contains(&status) && body.len() <= input.len());
                    }
                }
            }
        }
    }

    #[test]
    fn what_follows_a_response_is_left_alone() {
        for input in [LENGTH, CHUNKED] {
            let two = [input, b"HTTP"].concat();
            assert_eq!(read(&two, two.len()), Ok(Some((200, b"hello".to_vec(), 4))));
        }
    }

    #[test]
    fn doubtful_framing_is_refused() {
        for headers in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: -1",
            "Content-Length: +5",
            "Content-Length: ",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ] {
            let head = format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\n");
            let outcome = parse_head(head.as_bytes());
            assert!(matches!(outcome, Err(HttpError::Framing(_))), "{headers}: {outcome:?}");
        }
    }

    #[test]
    fn an_endless_head_is_refused() {
        let endless =
            [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; DOCKER_HEAD_BYTES_MAX]].concat();
        assert_eq!(parse_head(&endless), Err(HttpError::HeadTooLong));
    }

    #[test]
    fn responses_without_a_body() {
        for (head, keep_alive) in [
            ("HTTP/1.1 204 No Content\r\n\r\n", true),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", true),
            ("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\n", true),
            ("HTTP/1.1 204 No Content\r\nConnection: keep-alive, close\r\n\r\n", false),
            ("HTTP/1.0 204 No Content\r\n\r\n", false),
        ] {
            let (found, length) = parse_head(head.as_bytes()).unwrap().unwrap();
            assert_eq!((found.body, found.keep_alive), (BodyFraming::Ended, keep_alive), "{head}");
            assert_eq!(length, head.len());
        }
    }

    #[test]
    fn requests_on_the_wire() {
        let list = DockerRequest::new(
            Method::Get,
            RequestTarget::path(&["containers", "a/b", "json"]).query("filters", "{\"a b\":1}"),
        );
        assert_eq!(
            String::from_utf8(list.to_bytes(false)).unwrap(),
            "GET /containers/a%2Fb/json?filters=%7B%22a%20b%22:1%7D HTTP/1.1\r\n\
             Host: docker\r\n\r\n"
        );
        let start = DockerRequest::new(Method::Post, RequestTarget::path(&["exec", "x", "start"]))
            .with_json(&serde_json::json!({"Tty": true}));
        assert_eq!(
            String::from_utf8(start.to_bytes(true)).unwrap(),
            "POST /exec/x/start HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\
             Content-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"Tty\":true}"
        );
    }
}
