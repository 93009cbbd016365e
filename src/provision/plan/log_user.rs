//! As whom `rsyslogd` runs on a host, and what may be read and written so.
//!
//! On Debian it is root. On Ubuntu it drops root's rights for those of the user `syslog`, and
//! AppArmor confines it: keys and tables are then given to its group, it may pass through the
//! directories above them, and a piece of profile names them.

use std::path::{Path, PathBuf};

use crate::paths::{CONFIG_DIR, Owner, PRIVATE_KEY, Paths};
use crate::provision::goal::file::Directory;
use crate::provision::order::{Access, Account};
use crate::provision::plan::parts::{access, drop_in};
use crate::provision::plan::units::MARK;
use crate::provision::step::Step;

/// The bit that lets anybody pass through a directory whose content they know.
const PASS_THROUGH: u32 = 0o001;
/// Who reads the logs of a host besides root, on Debian and Ubuntu alike.
const READERS: &str = "adm";

/// As whom `rsyslogd` runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogUser {
    Root,
    /// As a user with a group, whose names its configuration says.
    Other(Account),
}

impl LogUser {
    /// Reads it from `/etc/rsyslog.conf`.
    pub(crate) fn parse(configuration: &str) -> LogUser {
        let value = |old: &str, new: &str| {
            let mut lines = configuration.lines().map(str::trim);
            lines.find_map(|line| {
                let lower = line.to_ascii_lowercase();
                if lower.starts_with('#') {
                    return None;
                }
                if let Some(rest) = lower.strip_prefix(old) {
                    let value = line[line.len() - rest.len()..].trim();
                    return Some(value.to_owned());
                }
                let at = lower.find(new)? + new.len();
                let value = line[at..].trim_start_matches(['=', '"', ' ']);
                value.split('"').next().map(str::to_owned)
            })
        };
        let user = value("$privdroptouser ", "privdrop.user.name");
        let group = value("$privdroptogroup ", "privdrop.group.name");
        match (user, group) {
            (None, None) => LogUser::Root,
            (Some(user), None) => LogUser::Other(Account { group: user.clone(), user }),
            (user, Some(group)) => {
                LogUser::Other(Account { user: user.unwrap_or_else(|| "root".to_owned()), group })
            }
        }
    }

    /// Owner and mode of a directory with configuration, above or around what `rsyslogd` reads.
    pub(crate) fn config_dir(&self) -> (Owner, u32) {
        match self {
            LogUser::Root => CONFIG_DIR,
            LogUser::Other(_) => (CONFIG_DIR.0, CONFIG_DIR.1 | PASS_THROUGH),
        }
    }

    /// Owner and mode of a secret that `rsyslogd` reads and cannot change.
    pub(crate) fn secret(&self, paths: &Paths) -> Access {
        match self {
            LogUser::Other(Account { group, .. }) if paths.is_system() => {
                let owner = Account { user: "root".to_owned(), group: group.clone() };
                Access { owner: Some(owner), mode: 0o640 }
            }
            _ => access(paths, PRIVATE_KEY),
        }
    }

    /// A directory in which `rsyslogd` makes files.
    pub(crate) fn log_directory(&self, paths: &Paths, path: &Path) -> Step {
        let user = match self {
            LogUser::Root => "root",
            LogUser::Other(account) => &account.user,
        };
        let owner = Account { user: user.to_owned(), group: READERS.to_owned() };
        let access = Access { owner: paths.is_system().then_some(owner), mode: 0o750 };
        let goal = Directory { path: path.to_owned(), access };
        Step::new(format!("directory {}", path.display()), goal)
    }
}

/// The piece of AppArmor's profile that lets `rsyslogd` read `readable`. Its service loads the
/// profile again at each start, so a restart puts it into force.
pub(crate) fn confinement(paths: &Paths, path: &Path, readable: &[PathBuf]) -> Step {
    let mut text = format!("{MARK}.\n");
    for path in readable {
        text.push_str(&format!("{} r,\n", path.display()));
    }
    drop_in(paths, "what AppArmor lets rsyslogd read", path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_as_its_configuration_says() {
        let debian = "module(load=\"imuxsock\")\n$FileOwner root\n#$PrivDropToUser x\n";
        assert_eq!(LogUser::parse(debian), LogUser::Root);
        let ubuntu = "$FileOwner syslog\n$PrivDropToUser syslog\n$PrivDropToGroup syslog\n";
        let syslog = Account { user: "syslog".to_owned(), group: "syslog".to_owned() };
        assert_eq!(LogUser::parse(ubuntu), LogUser::Other(syslog));
        let new = "global(privdrop.user.name=\"a\" PrivDrop.Group.Name = \"b\")\n";
        let account = Account { user: "a".to_owned(), group: "b".to_owned() };
        assert_eq!(LogUser::parse(new), LogUser::Other(account));
    }

    #[test]
    fn who_is_not_root_is_given_what_it_reads() {
        let paths = Paths::default();
        let ubuntu = LogUser::parse("$PrivDropToUser syslog\n$PrivDropToGroup syslog\n");
        assert_eq!(LogUser::Root.secret(&paths).to_string(), "root:root 0600");
        assert_eq!(ubuntu.secret(&paths).to_string(), "root:syslog 0640");
        assert_eq!(ubuntu.config_dir().1, 0o751);
        assert_eq!(LogUser::Root.config_dir(), CONFIG_DIR);
    }
}
