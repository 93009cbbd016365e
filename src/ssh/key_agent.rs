//! The lender's side of ssh-agent's protocol (draft-ietf-sshm-ssh-agent), for one key.
//!
//! The key is listed, and signs two things: logins of SSH with this key (RFC 4252 §7), and commits
//! and tags of git. Everything else is refused: other texts, other keys, adding, removing, locking
//! and extensions. A text that is a login is never a commit, since the one begins with a short
//! length and the other with letters.
//!
//! [`KeyAgentConn`] is one connection: it cuts requests out of the bytes. There is one answer at a
//! time, and nothing is read while it has not left. What a request comes to is its owner's.

use super::keys::{KeyPair, PublicKey};
use super::names::{
    PUBLICKEY, PUBLICKEY_HOSTBOUND, SSH_AGENT_FAILURE, SSH_AGENT_IDENTITIES_ANSWER,
    SSH_AGENT_SIGN_RESPONSE, SSH_AGENTC_REQUEST_IDENTITIES, SSH_AGENTC_SIGN_REQUEST,
    SSH_CONNECTION, SSH_ED25519, SSH_MSG_USERAUTH_REQUEST, SSHSIG, SSHSIG_GIT, SSHSIG_HASHES,
};
use super::wire::{Reader, WireError, put_string, put_u32};
use crate::base::endpoint::Endpoint;
use crate::base::time::Mono;
use crate::limits::{KEY_REQUEST_BYTES_MAX, KEY_REQUEST_TIMEOUT};

/// Bytes of the length before a message.
const LENGTH_BYTES: usize = 4;
/// Bytes of the identifier of an SSH connection: a hash, of SHA-1 to SHA-512.
const SESSION_ID_BYTES: std::ops::RangeInclusive<usize> = 20..=64;

/// A client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// Which keys there are.
    List,
    Sign {
        /// Which key is to sign, as a blob.
        key: &'a [u8],
        text: &'a [u8],
    },
    /// Something that is refused, whatever it is.
    Other,
}

/// What a text is that the key may sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signable<'a> {
    /// A login.
    Login {
        /// As whom.
        user: &'a str,
        /// The host's key, as a blob, if the signature is for that host alone.
        host_key: Option<&'a [u8]>,
    },
    /// A commit or a tag of git.
    Git,
}

impl<'a> Request<'a> {
    /// Reads a message. One that is malformed is refused like one that is not known.
    pub(crate) fn parse(message: &'a [u8]) -> Request<'a> {
        Request::read(message).unwrap_or(Request::Other)
    }

    fn read(message: &'a [u8]) -> Result<Request<'a>, WireError> {
        let mut reader = Reader::new(message);
        let request = match reader.u8()? {
            SSH_AGENTC_REQUEST_IDENTITIES => Request::List,
            SSH_AGENTC_SIGN_REQUEST => {
                let (key, text) = (reader.string()?, reader.string()?);
                // Its flags are about RSA.
                reader.u32()?;
                Request::Sign { key, text }
            }
            _ => return Ok(Request::Other),
        };
        reader.finish()?;
        Ok(request)
    }
}

impl<'a> Signable<'a> {
    /// What `text` is, if `key` may sign it.
    pub(crate) fn parse(text: &'a [u8], key: &PublicKey) -> Option<Signable<'a>> {
        match text.strip_prefix(SSHSIG) {
            Some(rest) => is_git(rest).then_some(Signable::Git),
            None => login(text, key).ok().flatten(),
        }
    }
}

/// The text of a signature that logs in with `key` (RFC 4252 §7).
fn login<'a>(text: &'a [u8], key: &PublicKey) -> Result<Option<Signable<'a>>, WireError> {
    let mut reader = Reader::new(text);
    let session_id = reader.string()?;
    let (message, user, service) = (reader.u8()?, reader.text()?, reader.string()?);
    let (method, has_signature) = (reader.string()?, reader.u8()?);
    let (algorithm, blob) = (reader.string()?, reader.string()?);
    let is_hostbound = method == PUBLICKEY_HOSTBOUND.as_bytes();
    let host_key = if is_hostbound { Some(reader.string()?) } else { None };
    reader.finish()?;
    let is_login = SESSION_ID_BYTES.contains(&session_id.len())
        && message == SSH_MSG_USERAUTH_REQUEST
        && service == SSH_CONNECTION.as_bytes()
        && (is_hostbound || method == PUBLICKEY.as_bytes())
        && has_signature == 1
        && algorithm == SSH_ED25519.as_bytes()
        && blob == key.blob();
    Ok(is_login.then_some(Signable::Login { user, host_key }))
}

/// Whether what follows `SSHSIG` is the text of a signature of git's.
fn is_git(text: &[u8]) -> bool {
    let read = || -> Result<bool, WireError> {
        let mut reader = Reader::new(text);
        let (namespace, reserved) = (reader.string()?, reader.string()?);
        let (name, hash) = (reader.string()?, reader.string()?);
        reader.finish()?;
        let is_hash =
            SSHSIG_HASHES.iter().any(|known| (known.0.as_bytes(), known.1) == (name, hash.len()));
        Ok(namespace == SSHSIG_GIT.as_bytes() && reserved.is_empty() && is_hash)
    };
    read().unwrap_or(false)
}

/// The answer that lists one key.
pub(crate) fn identities(key: &PublicKey, comment: &str) -> Vec<u8> {
    let mut answer = vec![SSH_AGENT_IDENTITIES_ANSWER];
    put_u32(&mut answer, 1);
    put_string(&mut answer, &key.blob());
    put_string(&mut answer, comment.as_bytes());
    answer
}

/// The answer with the signature of `text`.
pub(crate) fn signature(pair: &KeyPair, text: &[u8]) -> Vec<u8> {
    let mut answer = vec![SSH_AGENT_SIGN_RESPONSE];
    put_string(&mut answer, &pair.sign(text));
    answer
}

/// The answer to what is not done.
pub(crate) fn failure() -> Vec<u8> {
    vec![SSH_AGENT_FAILURE]
}

/// One client's connection. After [`Endpoint::input`] and [`Endpoint::output_sent`] there may be a
/// [`KeyAgentConn::request`]; it stays until [`KeyAgentConn::answer`].
#[derive(Debug)]
pub(crate) struct KeyAgentConn {
    /// One request with its length, and perhaps the start of the next.
    input: Box<[u8]>,
    filled: usize,
    output: Vec<u8>,
    sent: usize,
    /// When a request that has begun must be whole.
    until: Option<Mono>,
    has_input_ended: bool,
    has_failed: bool,
}

impl KeyAgentConn {
    pub(crate) fn new() -> KeyAgentConn {
        KeyAgentConn {
            input: vec![0; LENGTH_BYTES + KEY_REQUEST_BYTES_MAX].into(),
            filled: 0,
            output: Vec::new(),
            sent: 0,
            until: None,
            has_input_ended: false,
            has_failed: false,
        }
    }

    /// The message that waits for its answer.
    pub(crate) fn request(&self) -> Option<&[u8]> {
        let is_free = self.output.is_empty() && !self.has_failed;
        let length = self.length().filter(|_| is_free)?;
        self.input[..self.filled].get(LENGTH_BYTES..LENGTH_BYTES + length)
    }

    /// Answers the request, which there must be.
    pub(crate) fn answer(&mut self, now: Mono, message: &[u8]) {
        let length = self.length().expect("a request is answered");
        put_string(&mut self.output, message);
        self.input.copy_within(LENGTH_BYTES + length..self.filled, 0);
        self.filled -= LENGTH_BYTES + length;
        self.until = None;
        self.look(now);
    }

    /// The length of the first message, if it is there.
    fn length(&self) -> Option<usize> {
        let (length, _) = self.input[..self.filled].split_first_chunk()?;
        Some(usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX))
    }

    /// Judges what has come.
    fn look(&mut self, now: Mono) {
        let length = self.length();
        self.has_failed |=
            length.is_some_and(|length| !(1..=KEY_REQUEST_BYTES_MAX).contains(&length));
        let is_whole = length.is_some_and(|length| self.filled - LENGTH_BYTES >= length);
        self.until = match self.filled {
            0 => None,
            _ if is_whole => None,
            _ => self.until.or(Some(now + KEY_REQUEST_TIMEOUT)),
        };
    }
}

impl Endpoint for KeyAgentConn {
    fn input_space(&mut self) -> &mut [u8] {
        let is_busy = self.has_failed || !self.output.is_empty() || self.request().is_some();
        if is_busy { &mut [] } else { &mut self.input[self.filled..] }
    }

    fn input(&mut self, now: Mono, len: usize) {
        self.filled += len;
        self.look(now);
    }

    fn input_end(&mut self, _now: Mono) {
        self.has_input_ended = true;
    }

    fn output(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    fn output_sent(&mut self, len: usize) {
        self.sent += len;
        if self.sent == self.output.len() {
            (self.output, self.sent) = (Vec::new(), 0);
        }
    }

    fn deadline(&self) -> Option<Mono> {
        self.until
    }

    fn tick(&mut self, now: Mono) {
        self.has_failed |= self.until.is_some_and(|until| until <= now);
    }

    fn is_finished(&self) -> bool {
        self.has_failed || self.has_input_ended && self.request().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn pair() -> KeyPair {
        KeyPair::from_seed([7; 32])
    }

    fn strings(parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        parts.iter().for_each(|part| put_string(&mut out, part));
        out
    }

    /// The text of a login, with a host key or without.
    fn login_text(key: &KeyPair, host_key: Option<&[u8]>) -> Vec<u8> {
        let method = if host_key.is_some() { PUBLICKEY_HOSTBOUND } else { PUBLICKEY };
        let mut text = strings(&[&[9; 32]]);
        text.push(SSH_MSG_USERAUTH_REQUEST);
        text.extend(strings(&[b"git", SSH_CONNECTION.as_bytes(), method.as_bytes()]));
        text.push(1);
        text.extend(strings(&[SSH_ED25519.as_bytes(), &key.public().blob()]));
        host_key.into_iter().for_each(|blob| put_string(&mut text, blob));
        text
    }

    fn git_text(namespace: &str, hash: &str, bytes: usize) -> Vec<u8> {
        let rest = strings(&[namespace.as_bytes(), b"", hash.as_bytes(), &vec![1; bytes]]);
        [SSHSIG, &rest].concat()
    }

    fn parse<'a>(text: &'a [u8]) -> Option<Signable<'a>> {
        Signable::parse(text, pair().public())
    }

    #[test]
    fn logins_and_commits_are_signed_and_nothing_else() {
        let user = "git";
        let login = login_text(&pair(), None);
        assert_eq!(parse(&login), Some(Signable::Login { user, host_key: None }));
        let bound = login_text(&pair(), Some(b"blob"));
        assert_eq!(parse(&bound), Some(Signable::Login { user, host_key: Some(b"blob") }));
        for (hash, bytes) in SSHSIG_HASHES {
            assert_eq!(parse(&git_text("git", hash, bytes)), Some(Signable::Git));
        }
        for other in [
            login_text(&KeyPair::from_seed([8; 32]), None),
            git_text("file", "sha512", 64),
            git_text("git", "sha512", 32),
            git_text("git", "md5", 16),
            b"anything".to_vec(),
            Vec::new(),
        ] {
            assert_eq!(parse(&other), None, "{other:?}");
        }
        // A byte more, a byte less, a bit in what says that it is a login.
        for (text, free) in [(login, 0), (bound, 4), (git_text("git", "sha256", 32), 32)] {
            assert_eq!(parse(&[&text[..], b"x"].concat()), None);
            (0..text.len()).for_each(|cut| assert_eq!(parse(&text[..cut]), None, "{cut}"));
            let is_login = free != 32;
            for at in (0..text.len() - free).filter(|at| !is_login || !(4..36).contains(at)) {
                let mut changed = text.clone();
                changed[at] ^= 0x80;
                assert_eq!(parse(&changed), None, "{at}");
            }
        }
    }

    #[test]
    fn requests_are_read_whole_or_refused() {
        let mut sign = vec![SSH_AGENTC_SIGN_REQUEST];
        sign.extend(strings(&[b"key", b"text"]));
        put_u32(&mut sign, 4);
        assert_eq!(Request::parse(&sign), Request::Sign { key: b"key", text: b"text" });
        (0..sign.len()).for_each(|cut| assert_eq!(Request::parse(&sign[..cut]), Request::Other));
        assert_eq!(Request::parse(&[SSH_AGENTC_REQUEST_IDENTITIES]), Request::List);
        assert_eq!(Request::parse(&[SSH_AGENTC_REQUEST_IDENTITIES, 0]), Request::Other);
        for kind in (0..=255).filter(|kind| ![11, 13].contains(kind)) {
            assert_eq!(Request::parse(&[kind]), Request::Other, "{kind}");
        }
    }

    /// Hands `bytes` over in pieces, answers each request with its first byte, and gives the
    /// answers.
    fn exchange(bytes: &[u8], mut piece: impl FnMut() -> usize) -> (Vec<u8>, KeyAgentConn) {
        let (mut conn, mut left, mut answers) = (KeyAgentConn::new(), bytes, Vec::new());
        loop {
            let space = conn.input_space();
            let count = piece().min(space.len()).min(left.len());
            space[..count].copy_from_slice(&left[..count]);
            left = &left[count..];
            conn.input(Mono::ZERO, count);
            let asked = conn.request().map(|request| request[0]);
            if let Some(kind) = asked {
                conn.answer(Mono::ZERO, &[kind]);
                assert!(conn.input_space().is_empty(), "an answer has not left");
                answers.extend_from_slice(&conn.output()[LENGTH_BYTES..]);
                conn.output_sent(conn.output().len());
            }
            if conn.is_finished() || left.is_empty() && conn.request().is_none() {
                return (answers, conn);
            }
        }
    }

    #[test]
    fn requests_come_out_whole_however_they_are_cut() {
        let long = [&[13][..], &[0; KEY_REQUEST_BYTES_MAX - 1]].concat();
        let bytes = strings(&[&[11], &long, &[12, 5], &[27]]);
        for size in [1, 3, 7, bytes.len()] {
            let (answers, conn) = exchange(&bytes, || size);
            assert_eq!(answers, [11, 13, 12, 27], "{size}");
            assert_eq!((conn.deadline(), conn.is_finished()), (None, false));
        }
    }

    #[test]
    fn what_is_too_long_or_empty_or_late_ends_the_connection() {
        let long = u32::try_from(KEY_REQUEST_BYTES_MAX + 1).unwrap();
        for length in [0, long, u32::MAX] {
            assert!(exchange(&length.to_be_bytes(), || 9).1.is_finished(), "{length}");
        }
        let (_, mut conn) = exchange(&[0, 0], || 1);
        let until = conn.deadline().unwrap();
        assert_eq!(until, Mono::ZERO + KEY_REQUEST_TIMEOUT);
        conn.tick(until);
        assert!(conn.is_finished());
        let (_, mut conn) = exchange(&[], || 1);
        assert!(!conn.is_finished());
        conn.input_end(Mono::ZERO);
        assert!(conn.is_finished());
    }

    #[test]
    fn no_bytes_make_it_sign_for_another_key_or_panic() {
        let mut rng = Rng::from_seed([3; 32]);
        let (ours, other) = (pair(), KeyPair::from_seed([8; 32]));
        for round in 0..20_000 {
            // Half of them are valid but for a few bytes.
            let text = login_text(if round % 4 < 2 { &ours } else { &other }, Some(b"blob"));
            let mut message = vec![SSH_AGENTC_SIGN_REQUEST];
            message.extend(strings(&[&ours.public().blob(), &text]));
            put_u32(&mut message, 0);
            for _ in 0..rng.below(4) {
                let at = rng.below(u32::try_from(message.len()).unwrap()) as usize;
                message[at] = rng.bytes::<1>()[0];
            }
            let bytes = [strings(&[&message]), rng.bytes::<40>().to_vec()].concat();
            let mut dice = Rng::from_seed([4; 32]);
            exchange(&bytes, || dice.below(60) as usize + 1);
            if let Request::Sign { text, .. } = Request::parse(&message)
                && Signable::parse(text, ours.public()).is_some()
            {
                let blob = ours.public().blob();
                assert!(text.windows(blob.len()).any(|part| part == blob), "{text:?}");
            }
        }
    }
}
