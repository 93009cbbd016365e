//! Lends one session its key: what each request comes to, how many there may be, what is told.

use std::time::Duration;

use serde_json::{Value, json};

use super::session_key::comment;
use crate::base::text::printable;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::limits::{
    KEY_SIGNATURES_MAX, KEY_SIGNATURES_SPAN, KEY_STEPS_MAX, KEY_STEPS_SPAN, KEY_USER_CHARS_MAX,
};
use crate::ssh::key_agent::{Request, Signable, failure, identities, signature};
use crate::ssh::keys::{KeyPair, fingerprint};

/// The lender of one session's key.
#[derive(Debug)]
pub(crate) struct Signer {
    pair: KeyPair,
    comment: String,
    steps: Quota,
    signatures: Quota,
    /// Signatures that were one too many since this was told last.
    refused: u64,
}

/// So many in a span, which begins with the first of them.
#[derive(Clone, Copy, Debug)]
struct Quota {
    max: u32,
    span: Duration,
    left: u32,
    until: Mono,
}

impl Signer {
    /// For session `id`, whose key this is.
    pub(crate) fn new(id: Uuid, pair: KeyPair) -> Signer {
        Signer {
            pair,
            comment: comment(id),
            steps: Quota::new(KEY_STEPS_MAX, KEY_STEPS_SPAN),
            signatures: Quota::new(KEY_SIGNATURES_MAX, KEY_SIGNATURES_SPAN),
            refused: 0,
        }
    }

    /// Takes another key from now on.
    pub(crate) fn replace(&mut self, pair: KeyPair) {
        self.pair = pair;
    }

    /// Whether a connection may be taken, or a request answered, now; else at
    /// [`Signer::goes_on_at`].
    pub(crate) fn take_step(&mut self, now: Mono) -> bool {
        self.steps.take(now)
    }

    /// When there may be a step again, if there may be none before.
    pub(crate) fn goes_on_at(&self) -> Option<Mono> {
        (self.steps.left == 0).then_some(self.steps.until)
    }

    /// The answer to a request, and what an event tells of it, if there was a signature.
    pub(crate) fn answer(&mut self, now: Mono, message: &[u8]) -> (Vec<u8>, Option<Value>) {
        let key = *self.pair.public();
        match Request::parse(message) {
            Request::List => (identities(&key, &self.comment), None),
            Request::Sign { key: asked, text } if asked == key.blob() => {
                match Signable::parse(text, &key) {
                    Some(_) if !self.signatures.take(now) => {
                        self.refused += 1;
                        (failure(), None)
                    }
                    Some(what) => (signature(&self.pair, text), Some(told(what))),
                    None => (failure(), None),
                }
            }
            Request::Sign { .. } | Request::Other => (failure(), None),
        }
    }

    /// What an event tells of refused signatures, when their span is over.
    pub(crate) fn tick(&mut self, now: Mono) -> Option<Value> {
        let is_due = self.refused > 0 && self.signatures.until <= now;
        let refused = if is_due { std::mem::take(&mut self.refused) } else { 0 };
        is_due.then(|| json!({ "refused": refused }))
    }

    /// When [`Signer::tick`] has something to tell.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        (self.refused > 0).then_some(self.signatures.until)
    }
}

impl Quota {
    fn new(max: u32, span: Duration) -> Quota {
        Quota { max, span, left: max, until: Mono::ZERO }
    }

    fn take(&mut self, now: Mono) -> bool {
        if self.until <= now {
            (self.left, self.until) = (self.max, now + self.span);
        }
        let has_one = self.left > 0;
        self.left -= u32::from(has_one);
        has_one
    }
}

/// What an event tells of a signature. The user is the session's own word.
fn told(what: Signable<'_>) -> Value {
    match what {
        Signable::Git => json!({ "kind": "git" }),
        Signable::Login { user, host_key } => {
            let user: String = user.chars().take(KEY_USER_CHARS_MAX).collect();
            let mut data = json!({ "kind": "login", "user": printable(&user) });
            if let Some(blob) = host_key {
                data["host_key"] = json!(fingerprint(blob));
            }
            data
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::names::{SSH_AGENT_FAILURE, SSH_AGENT_SIGN_RESPONSE};
    use crate::ssh::wire::{Reader, put_string, put_u32};

    fn signer() -> Signer {
        let id = Uuid::parse("01234567-89ab-4def-8123-456789abcdef").unwrap();
        Signer::new(id, KeyPair::from_seed([7; 32]))
    }

    fn request(key: &[u8], text: &[u8]) -> Vec<u8> {
        let mut message = vec![13];
        put_string(&mut message, key);
        put_string(&mut message, text);
        put_u32(&mut message, 0);
        message
    }

    fn commit() -> Vec<u8> {
        let mut text = b"SSHSIG".to_vec();
        let hash = [1; 64];
        [&b"git"[..], b"", b"sha512", &hash].iter().for_each(|part| put_string(&mut text, part));
        text
    }

    #[test]
    fn a_signature_is_this_keys_and_told() {
        let mut signer = signer();
        let key = *signer.pair.public();
        let text = commit();
        let (answer, told) = signer.answer(Mono::ZERO, &request(&key.blob(), &text));
        let mut reader = Reader::new(&answer[1..]);
        assert_eq!(key.verify(&text, reader.string().unwrap()), Ok(()));
        assert_eq!((answer[0], told), (SSH_AGENT_SIGN_RESPONSE, Some(json!({ "kind": "git" }))));
        let other = KeyPair::from_seed([8; 32]).public().blob();
        for refused in [request(&other, &text), request(&key.blob(), b"x"), vec![19], vec![]] {
            assert_eq!(signer.answer(Mono::ZERO, &refused), (vec![SSH_AGENT_FAILURE], None));
        }
        let (list, told) = signer.answer(Mono::ZERO, &[11]);
        assert!(list.ends_with(b"convocate-01234567") && told.is_none());
    }

    #[test]
    fn what_is_told_of_a_login_is_short_and_moves_no_cursor() {
        let user = format!("\u{1b}[2J{}", "x".repeat(1000));
        let data = told(Signable::Login { user: &user, host_key: Some(b"blob") });
        let shown = data["user"].as_str().unwrap();
        assert!(shown.starts_with("\\u{1b}[2Jx") && shown.len() < 80, "{data}");
        assert!(data["host_key"].as_str().unwrap().starts_with("SHA256:"));
    }

    #[test]
    fn signatures_beyond_the_quota_are_refused_counted_and_told_once() {
        let mut signer = signer();
        let message = request(&signer.pair.public().blob(), &commit());
        let mut kinds = [0; 256];
        for _ in 0..KEY_SIGNATURES_MAX + 3 {
            kinds[usize::from(signer.answer(Mono::ZERO, &message).0[0])] += 1;
        }
        assert_eq!((kinds[14], kinds[5]), (KEY_SIGNATURES_MAX, 3));
        let end = Mono::ZERO + KEY_SIGNATURES_SPAN;
        assert_eq!((signer.tick(Mono::ZERO), signer.deadline()), (None, Some(end)));
        assert_eq!(signer.tick(end), Some(json!({ "refused": 3 })));
        assert_eq!((signer.tick(end), signer.deadline()), (None, None));
        assert_eq!(signer.answer(end, &message).0[0], SSH_AGENT_SIGN_RESPONSE);
    }

    #[test]
    fn steps_have_a_pace() {
        let mut signer = signer();
        let taken = (0..1000).filter(|_| signer.take_step(Mono::ZERO)).count();
        assert_eq!(taken, KEY_STEPS_MAX as usize);
        let at = signer.goes_on_at().unwrap();
        assert!(signer.take_step(at) && signer.goes_on_at().is_none());
    }
}
