//! The git key that each session has: its public half, and its private half on the way to its file.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::base::rng::Rng;
use crate::base::uuid::Uuid;
use crate::rpc::field::KeyChoice;
use crate::ssh::keys::{KeyPair, PublicKey};

/// What a record says of a session's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SessionKey {
    /// It gets one when it starts.
    #[default]
    NotMade,
    /// It is to have none.
    None,
    /// This one.
    Made(PublicKey),
}

/// A private key as its file has it. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyFile(Zeroizing<String>);

/// What a piece of work does with the file of a session's private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    Write(KeyFile),
    Remove,
}

impl SessionKey {
    /// The key of a session that is made or changed, and what its file is to become.
    pub(super) fn choose(choice: KeyChoice, rng: &mut Rng, id: Uuid) -> (SessionKey, KeyChange) {
        match choice {
            KeyChoice::None => (SessionKey::None, KeyChange::Remove),
            KeyChoice::New => {
                let pair = KeyPair::from_seed(rng.bytes());
                let check = u32::from_le_bytes(rng.bytes());
                let file = KeyFile(pair.to_openssh(&comment(id), check));
                (SessionKey::Made(*pair.public()), KeyChange::Write(file))
            }
        }
    }

    pub(crate) fn is_not_made(&self) -> bool {
        *self == SessionKey::NotMade
    }

    /// What is told of the key of session `id`: its public half in one line, or `none`.
    pub(super) fn told(self, id: Uuid) -> Option<Box<str>> {
        match self {
            SessionKey::NotMade => None,
            SessionKey::None => Some(KeyChoice::None.as_str().into()),
            SessionKey::Made(key) => Some(key.to_line(&comment(id)).into()),
        }
    }
}

/// The name of a session's key, for people.
pub(super) fn comment(id: Uuid) -> String {
    format!("convocate-{}", id.short())
}

impl KeyFile {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeyFile(..)")
    }
}

impl Serialize for SessionKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            SessionKey::Made(key) => serializer.serialize_str(&key.to_line("")),
            SessionKey::None => serializer.serialize_str(KeyChoice::None.as_str()),
            SessionKey::NotMade => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for SessionKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SessionKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == KeyChoice::None.as_str() {
            return Ok(SessionKey::None);
        }
        let read = PublicKey::parse_line(&text).map_err(serde::de::Error::custom);
        read.map(|(key, _)| SessionKey::Made(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_the_key_that_is_told_and_never_prints() {
        let id = Uuid::parse("01234567-89ab-4def-8123-456789abcdef").unwrap();
        let mut rng = Rng::from_seed([1; 32]);
        let (key, change) = SessionKey::choose(KeyChoice::New, &mut rng, id);
        let KeyChange::Write(file) = &change else { panic!("{change:?}") };
        let pair = KeyPair::parse_openssh(file.as_bytes()).unwrap();
        assert_eq!(key, SessionKey::Made(*pair.public()));
        assert_eq!(format!("{change:?}"), "Write(KeyFile(..))");
        let line = key.told(id).unwrap();
        assert_eq!(PublicKey::parse_line(&line).unwrap().1, "convocate-01234567");
        assert_ne!(SessionKey::choose(KeyChoice::New, &mut rng, id).0, key);
        for key in [key, SessionKey::None] {
            let text = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<SessionKey>(&text).unwrap(), key);
        }
        assert!(serde_json::from_str::<SessionKey>("\"ssh-rsa AAAA\"").is_err());
    }
}
