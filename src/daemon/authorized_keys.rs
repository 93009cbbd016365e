//! Which keys may log in: an `authorized_keys` file, read again when it has changed.
//!
//! What a line admits its key to (`I`) is for the daemon to say: to the agent a key is a key; to
//! the status listener it is one agent. What an option means to restrict is not known here, so the
//! daemon refuses lines with options that it does not know.

use std::path::PathBuf;

use crate::io::disk::{DiskError, Look, WatchedFile};
use crate::limits::SSH_AUTHORIZED_KEYS_BYTES_MAX;
use crate::ssh::keys::{AuthorizedKey, AuthorizedKeys, PublicKey};

/// The file and whom it admits.
#[derive(Debug)]
pub(crate) struct KeyFile<I> {
    file: WatchedFile,
    keys: Vec<(PublicKey, I)>,
    identify: Identify<I>,
}

/// Whom a line admits, or why its key admits nobody.
pub(crate) type Identify<I> = fn(&AuthorizedKey) -> Result<I, String>;

/// What one look at the file gave.
#[derive(Debug)]
pub(crate) enum Refreshed {
    /// It is as it was.
    Same,
    /// It has changed. Each line that admits nobody comes with the reason.
    Changed(Vec<String>),
    /// It is gone: nobody is let in.
    Missing(DiskError),
    /// It cannot be read: whom it admitted last is let in until it can.
    Unreadable(DiskError),
}

impl<I> KeyFile<I> {
    /// Admits nobody before the first [`KeyFile::refresh`].
    pub(crate) fn new(path: PathBuf, identify: Identify<I>) -> KeyFile<I> {
        let file = WatchedFile::new(path, SSH_AUTHORIZED_KEYS_BYTES_MAX);
        KeyFile { file, keys: Vec::new(), identify }
    }

    /// Whom `key` admits, as the file was when it was last read.
    pub(crate) fn find(&self, key: &PublicKey) -> Option<&I> {
        self.keys.iter().find(|(known, _)| known == key).map(|(_, identity)| identity)
    }

    /// All that have a key.
    pub(crate) fn identities(&self) -> impl Iterator<Item = &I> {
        self.keys.iter().map(|(_, identity)| identity)
    }

    /// Where the file is, for messages.
    pub(crate) fn path(&self) -> std::path::Display<'_> {
        self.file.path().display()
    }

    /// Reads the file again if it has changed.
    pub(crate) fn refresh(&mut self) -> Refreshed {
        match self.file.look() {
            Look::Same => Refreshed::Same,
            Look::Changed(bytes) => Refreshed::Changed(self.read(&bytes)),
            Look::Missing(error) => {
                self.keys.clear();
                Refreshed::Missing(error)
            }
            Look::Unreadable(error) => Refreshed::Unreadable(error),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Vec<String> {
        let parsed = AuthorizedKeys::parse(&String::from_utf8_lossy(bytes));
        let path = self.file.path().display();
        let unreadable = parsed.problems.iter();
        let mut problems: Vec<String> =
            unreadable.map(|(line, error)| format!("{path}: line {line}: {error}")).collect();
        self.keys.clear();
        for line in &parsed.keys {
            match (self.identify)(line) {
                Ok(identity) => self.keys.push((line.key, identity)),
                Err(why) => {
                    let print = line.key.fingerprint();
                    problems.push(format!("{path}: key {print} admits nobody: {why}"));
                }
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::io::scratch::Scratch;
    use crate::ssh::keys::KeyPair;

    #[test]
    fn the_file_decides_as_it_is_now() {
        let scratch = Scratch::new();
        let path = scratch.join("authorized_keys");
        let key = |number: u8| *KeyPair::from_seed([number; 32]).public();
        let identify: Identify<usize> = |line| match line.options.len() {
            0 => Ok(7),
            _ => Err("it has options".to_owned()),
        };
        let mut keys = KeyFile::new(path.clone(), identify);
        assert!(matches!(keys.refresh(), Refreshed::Missing(_)));
        assert!(matches!(keys.refresh(), Refreshed::Same), "it is reported once");
        fs::write(&path, key(1).to_line("one")).unwrap();
        assert!(matches!(keys.refresh(), Refreshed::Changed(problems) if problems.is_empty()));
        assert_eq!((keys.find(&key(1)), keys.find(&key(2))), (Some(&7), None));
        assert!(matches!(keys.refresh(), Refreshed::Same));
        let one = key(1).to_line("one");
        fs::write(&path, format!("{}\nfrom=\"192.0.2.1\" {one}\nrubbish\n", key(2).to_line("two")))
            .unwrap();
        let Refreshed::Changed(problems) = keys.refresh() else { panic!("it is new") };
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert_eq!((keys.find(&key(1)), keys.find(&key(2))), (None, Some(&7)));
        fs::write(&path, vec![b'#'; SSH_AUTHORIZED_KEYS_BYTES_MAX + 1]).unwrap();
        assert!(matches!(keys.refresh(), Refreshed::Unreadable(_)));
        assert_eq!(keys.find(&key(2)), Some(&7), "the last good content counts");
        fs::remove_file(&path).unwrap();
        assert!(matches!(keys.refresh(), Refreshed::Missing(_)));
        assert_eq!(keys.identities().count(), 0);
    }
}
