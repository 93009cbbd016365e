//! Files that a session is given at its start, and the login of this host that may be in them.

use crate::agent::claude_settings::{ClaudeLogin, ClaudeOnHost, ClaudeSettings};
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::io::disk::{self, DiskError, Ids, SecretPolicy};
use crate::limits::{CLAUDE_LOGIN_BYTES_MAX, CLAUDE_LOOK_INTERVAL};
use crate::paths::{GIVEN_FILE_MODE, PRIVATE_STATE_DIR, Paths};

/// Writes what the Claude CLI of a session finds, for nobody but the session.
///
/// # Errors
/// [`DiskError`]; also when the host's login may be read by others.
pub(super) fn give_settings(
    paths: &Paths,
    id: Uuid,
    settings: &ClaudeSettings,
    owner: Option<u32>,
) -> Result<(), DiskError> {
    let directory = paths.session_given_dir(id);
    let login = if settings.has_login { read_login(paths)? } else { None };
    let owner = owner.map(|id| Ids { user: id, group: id });
    disk::make_directories(&directory, PRIVATE_STATE_DIR.1)?;
    disk::set_access(&directory, owner, PRIVATE_STATE_DIR.1)?;
    let files = settings.files(login.as_ref(), None);
    for (name, bytes) in &files {
        disk::write_atomic_as(&directory.join(name), bytes, GIVEN_FILE_MODE, owner)?;
    }
    let is_given = |name: &str| files.iter().any(|(given, _)| *given == name);
    let others = ClaudeSettings::NAMES.into_iter().filter(|name| !is_given(name));
    others.map(|name| directory.join(name)).try_for_each(|path| disk::remove_file(&path))
}

/// How sessions of this host log in, if anybody has said so.
fn read_login(paths: &Paths) -> Result<Option<ClaudeLogin>, DiskError> {
    let path = paths.agent_claude_login();
    match disk::read_secret(&path, CLAUDE_LOGIN_BYTES_MAX, SecretPolicy::OwnerOnly) {
        Ok(bytes) => match ClaudeLogin::parse(&bytes) {
            Ok(login) => Ok(Some(login)),
            Err(why) => Err(DiskError::Unfit { path, why }),
        },
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What this host has of Claude, looked at now and then.
#[derive(Debug, Default)]
pub(super) struct ClaudeLook(Option<(Mono, ClaudeOnHost)>);

impl ClaudeLook {
    pub(super) fn found(&mut self, paths: &Paths, now: Mono) -> ClaudeOnHost {
        let fresh = self.0.filter(|(looked, _)| now.since(*looked) < CLAUDE_LOOK_INTERVAL);
        self.0.insert(fresh.unwrap_or_else(|| (now, claude_on_host(paths)))).1
    }
}

/// What this host has of Claude now.
fn claude_on_host(paths: &Paths) -> ClaudeOnHost {
    let kind = read_login(paths).ok().flatten().map(|login| login.wire_kind());
    let since = disk::modified_at(&paths.agent_claude_login());
    ClaudeOnHost { is_there: paths.claude().exists(), login: kind.zip(since) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::PathBuf;

    use super::*;
    use crate::io::scratch::Scratch;

    const GRANTED: ClaudeSettings = ClaudeSettings { has_login: true, base_url: None };
    const KEY: &str = "sk-ant-api03-abcdefghijklmnop";
    const TOKEN: &str = "sk-ant-oat01-abcdefghijklmnop";

    struct Host {
        paths: Paths,
        id: Uuid,
        _scratch: Scratch,
    }

    impl Host {
        fn new() -> Host {
            let scratch = Scratch::new();
            let paths = Paths::below(scratch.path());
            fs::create_dir_all(paths.agent_config()).unwrap();
            fs::create_dir_all(paths.agent_state()).unwrap();
            let id = Uuid::parse("01234567-89ab-4def-8123-456789abcdef").unwrap();
            Host { paths, id, _scratch: scratch }
        }

        fn put(&self, login: &str, mode: u32) {
            let path = self.paths.agent_claude_login();
            fs::write(&path, login).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }

        fn give(&self, settings: &ClaudeSettings) -> Result<(), String> {
            give_settings(&self.paths, self.id, settings, None).map_err(|error| error.to_string())
        }

        fn file(&self, name: &str) -> PathBuf {
            self.paths.session_given_dir(self.id).join(name)
        }

        fn all(&self) -> String {
            let files = fs::read_dir(self.paths.session_given_dir(self.id)).unwrap().flatten();
            files.map(|file| fs::read_to_string(file.path()).unwrap()).collect()
        }
    }

    #[test]
    fn only_the_session_reads_what_it_is_given() {
        let host = Host::new();
        host.give(&GRANTED).unwrap();
        host.put(KEY, 0o600);
        host.give(&GRANTED).unwrap();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(host.paths.session_given_dir(host.id)), 0o700);
        for name in ClaudeSettings::NAMES {
            assert_eq!(mode(host.file(name)), 0o400, "{name}");
        }
        assert!(host.all().contains(KEY));
    }

    #[test]
    fn each_start_writes_it_anew_and_nothing_of_before_stays() {
        let host = Host::new();
        host.put(KEY, 0o600);
        host.give(&GRANTED).unwrap();
        host.put(TOKEN, 0o600);
        host.give(&GRANTED).unwrap();
        assert!(!host.file("api-key").exists());
        assert!(host.all().contains(TOKEN) && !host.all().contains(KEY), "{}", host.all());
        host.give(&ClaudeSettings { has_login: false, base_url: None }).unwrap();
        assert!(!host.all().contains("sk-ant"), "{}", host.all());
    }

    #[test]
    fn a_login_that_others_read_or_that_is_none_is_refused_and_not_printed() {
        let host = Host::new();
        host.put(TOKEN, 0o640);
        let error = host.give(&GRANTED).unwrap_err();
        assert!(error.contains("has mode 0640") && !error.contains(TOKEN), "{error}");
        host.put("hush-hush-hush-hush-hush-hush", 0o600);
        let error = host.give(&GRANTED).unwrap_err();
        assert!(error.contains("is neither") && !error.contains("hush"), "{error}");
        // Sessions without the right do not need it.
        host.give(&ClaudeSettings { has_login: false, base_url: None }).unwrap();
    }

    #[test]
    fn its_age_is_that_of_the_file() {
        let host = Host::new();
        let none = ClaudeOnHost { is_there: false, login: None };
        assert_eq!(claude_on_host(&host.paths), none);
        host.put(TOKEN, 0o600);
        let (kind, since) = claude_on_host(&host.paths).login.unwrap();
        assert!(kind == "token" && since.seconds() > 1_700_000_000, "{kind} {since}");
    }
}
