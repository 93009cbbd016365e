//! The names of this machine's users and groups.
//!
//! Read from `/etc/passwd` and `/etc/group` themselves: a static program has no other name service,
//! and the accounts that own our files are made there.

use std::path::Path;

use super::disk::{DiskError, Links, read_bounded};
use crate::limits::ACCOUNTS_BYTES_MAX;

/// A table of names and numbers. Where one has several entries the first counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    entries: Vec<(String, u32)>,
}

/// Users and groups as they are now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accounts {
    /// User names and ids.
    pub(crate) users: Names,
    /// Group names and ids.
    pub(crate) groups: Names,
}

impl Accounts {
    /// Reads both tables of this machine.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn read() -> Result<Accounts, DiskError> {
        let table = |path: &str| -> Result<Names, DiskError> {
            let bytes = read_bounded(Path::new(path), ACCOUNTS_BYTES_MAX, Links::Follow)?;
            Ok(Names::parse(&String::from_utf8_lossy(&bytes)))
        };
        Ok(Accounts { users: table("/etc/passwd")?, groups: table("/etc/group")? })
    }
}

impl Names {
    /// Reads lines of `name:password:number:…`; what is no such line is passed over.
    pub(crate) fn parse(text: &str) -> Names {
        let entry = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let number = fields.nth(1)?.parse().ok()?;
            Some((name.to_owned(), number))
        };
        Names { entries: text.lines().filter_map(entry).collect() }
    }

    /// The number of a name.
    pub(crate) fn number(&self, name: &str) -> Option<u32> {
        self.entries.iter().find(|entry| entry.0 == name).map(|entry| entry.1)
    }

    /// The name of a number; the number itself if it has none.
    pub(crate) fn name(&self, number: u32) -> String {
        let found = self.entries.iter().find(|entry| entry.1 == number);
        found.map_or_else(|| number.to_string(), |entry| entry.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_root() {
        let accounts = Accounts::read().unwrap();
        assert_eq!(accounts.users.number("root"), Some(0));
        assert_eq!(accounts.groups.name(0), "root");
    }

    #[test]
    fn damaged_lines_are_passed_over() {
        let names = Names::parse("a:x:1:\n\nb\nc:x\nd:x:many:\n:x:4\ne:x:1:\nroot:x:0:0::/:\n");
        assert_eq!((names.number("a"), names.number("e")), (Some(1), Some(1)));
        assert_eq!((names.number("d"), names.number("b")), (None, None));
        assert_eq!((names.name(1).as_str(), names.name(77).as_str()), ("a", "77"));
    }
}
