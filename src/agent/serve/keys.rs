//! Who may drive this agent: the `authorized_keys` file, read again when it has changed.

use std::path::PathBuf;

use crate::io::disk::{DiskError, Look, WatchedFile};
use crate::limits::SSH_AUTHORIZED_KEYS_BYTES_MAX;
use crate::ssh::keys::{AuthorizedKeys, PublicKey};

/// The file and what stood in it.
#[derive(Debug)]
pub(super) struct KeyRing {
    file: WatchedFile,
    keys: AuthorizedKeys,
}

/// What one look at the file gave.
#[derive(Debug)]
pub(super) enum Refreshed {
    /// It is as it was.
    Same,
    /// It has changed. Lines that cannot be read are told, a sentence each.
    Changed(Vec<String>),
    /// It cannot be read: nobody is let in until it can.
    Unreadable(DiskError),
}

impl KeyRing {
    pub(super) fn new(path: PathBuf) -> KeyRing {
        let file = WatchedFile::new(path, SSH_AUTHORIZED_KEYS_BYTES_MAX);
        KeyRing { file, keys: AuthorizedKeys::parse("") }
    }

    /// Whether `key` is in the file, as it was when it was last read. Options restrict what a key
    /// may do, and none of them is known here, so a line that has any admits nobody.
    pub(super) fn admits(&self, key: &PublicKey) -> bool {
        self.keys.keys.iter().any(|line| line.key == *key && line.options.is_empty())
    }

    /// Reads the file again if it has changed.
    pub(super) fn refresh(&mut self) -> Refreshed {
        match self.file.look() {
            Look::Same => Refreshed::Same,
            Look::Changed(bytes) => {
                self.keys = AuthorizedKeys::parse(&String::from_utf8_lossy(&bytes));
                Refreshed::Changed(self.problems())
            }
            Look::Unreadable(error) => {
                self.keys = AuthorizedKeys::parse("");
                Refreshed::Unreadable(error)
            }
        }
    }

    fn problems(&self) -> Vec<String> {
        let path = self.file.path().display();
        let problems = self.keys.problems.iter();
        let unreadable = problems.map(|(line, error)| format!("{path}: line {line}: {error}"));
        let optioned = self.keys.keys.iter().filter(|line| !line.options.is_empty());
        let ignored = optioned.map(|line| {
            let print = line.key.fingerprint();
            format!("{path}: key {print} admits nobody, because it has options")
        });
        unreadable.chain(ignored).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::io::scratch::Scratch;
    use crate::ssh::keys::KeyPair;

    fn key(number: u8) -> PublicKey {
        *KeyPair::from_seed([number; 32]).public()
    }

    #[test]
    fn the_file_decides_as_it_is_now() {
        let scratch = Scratch::new();
        let path = scratch.join("authorized_keys");
        let mut ring = KeyRing::new(path.clone());
        assert!(matches!(ring.refresh(), Refreshed::Unreadable(_)));
        assert!(matches!(ring.refresh(), Refreshed::Same), "it is told once");
        fs::write(&path, key(1).to_line("one")).unwrap();
        assert!(matches!(ring.refresh(), Refreshed::Changed(problems) if problems.is_empty()));
        assert!(ring.admits(&key(1)) && !ring.admits(&key(2)));
        assert!(matches!(ring.refresh(), Refreshed::Same));
        fs::write(&path, key(2).to_line("another")).unwrap();
        assert!(matches!(ring.refresh(), Refreshed::Changed(_)));
        assert!(!ring.admits(&key(1)) && ring.admits(&key(2)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(ring.refresh(), Refreshed::Unreadable(_)));
        assert!(!ring.admits(&key(2)));
    }

    #[test]
    fn a_key_with_options_admits_nobody() {
        let scratch = Scratch::new();
        let path = scratch.join("authorized_keys");
        let line = key(1).to_line("one");
        fs::write(&path, format!("from=\"192.0.2.1\" {line}\ncert-authority {line}\n")).unwrap();
        let mut ring = KeyRing::new(path);
        let Refreshed::Changed(problems) = ring.refresh() else { panic!("it is new") };
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(!ring.admits(&key(1)));
    }
}
