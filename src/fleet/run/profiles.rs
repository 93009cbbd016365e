//! Reads the profiles of this host.

use std::fs;
use std::io::ErrorKind;
use std::time::SystemTime;

use crate::base::text::printable;
use crate::fleet::profiles::Profile;
use crate::io::disk::{Links, read_bounded};
use crate::limits::{PROFILE_BYTES_MAX, PROFILES_MAX};
use crate::paths::Paths;
use crate::rpc::options::SessionOptions;
use crate::rpc::startup::ProfileName;

/// All profiles of a host, by name.
#[derive(Debug, Default)]
pub(crate) struct Profiles {
    pub(crate) found: Vec<Profile>,
    /// What is wrong with other files beside them, a sentence each.
    pub(crate) problems: Vec<String>,
}

/// Reads a profile. `None` if it is not there.
///
/// # Errors
/// It cannot be used: one sentence with the file, and the line.
pub(crate) fn read_profile(
    paths: &Paths,
    name: &ProfileName,
) -> Result<Option<SessionOptions>, String> {
    let path = paths.profiles().join(name.as_str());
    let bytes = match read_bounded(&path, PROFILE_BYTES_MAX, Links::Refuse) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => return Ok(None),
        Err(error) => return Err(format!("profile {name}: {error}")),
    };
    let named = |error: String| format!("profile {name}: {}: {error}", path.display());
    let text = String::from_utf8(bytes).map_err(|_| named("is not UTF-8".to_owned()))?;
    SessionOptions::of_profile(&text).map(Some).map_err(named)
}

/// Reads all profiles. Without the directory there are none. Hidden files are none.
pub(crate) fn read_profiles(paths: &Paths) -> Profiles {
    let mut profiles = Profiles::default();
    let directory = paths.profiles();
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return profiles,
        Err(error) => {
            let problem = format!("cannot read {}: {error}", directory.display());
            return Profiles { problems: vec![problem], ..profiles };
        }
    };
    let mut names: Vec<String> =
        entries.flatten().map(|it| it.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    for name in names.iter().filter(|name| !name.starts_with('.')) {
        if profiles.found.len() == PROFILES_MAX {
            let problem = format!("more than {PROFILES_MAX} profiles; the others are not shown");
            profiles.problems.push(problem);
            break;
        }
        let Ok(name) = ProfileName::parse(name) else {
            let path = directory.join(name).display().to_string();
            profiles.problems.push(format!("{} is no name of a profile", printable(&path)));
            continue;
        };
        // One that has gone meanwhile is not there.
        if let Some(options) = read_profile(paths, &name).transpose() {
            profiles.found.push(Profile { name, options });
        }
    }
    profiles
}

/// When the profiles of this host have changed last.
pub(crate) fn changed_at(paths: &Paths) -> Option<SystemTime> {
    let directory = paths.profiles();
    let modified = |it: fs::Metadata| it.modified().ok();
    let files = fs::read_dir(&directory).into_iter().flatten().flatten().take(PROFILES_MAX);
    let files = files.filter_map(|entry| entry.metadata().ok().and_then(modified));
    files.chain(fs::metadata(&directory).ok().and_then(modified)).max()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn profiles_are_regular_files_of_bounded_length() {
        let scratch = Scratch::new();
        let paths = Paths::below(scratch.path());
        assert!(read_profiles(&paths).found.is_empty() && changed_at(&paths).is_none());
        let directory = paths.profiles();
        fs::create_dir_all(directory.join("folder")).unwrap();
        let write = |name: &str, text: &[u8]| fs::write(directory.join(name), text).unwrap();
        write("good", b"memory 1g\n");
        write("bad", b"\nsecret /x\n");
        write("long", &vec![b'#'; PROFILE_BYTES_MAX + 1]);
        write("latin", b"prompt \xe9t\xe9");
        write(".hidden", b"");
        write("a b", b"");
        symlink(directory.join("good"), directory.join("link")).unwrap();
        let Profiles { found, problems } = read_profiles(&paths);
        let told: Vec<(&str, String)> = found
            .iter()
            .map(|it| (it.name.as_str(), it.options.clone().err().unwrap_or_default()))
            .collect();
        let is = |name: &str, words: &str| {
            let error = &told.iter().find(|(it, _)| *it == name).expect("it is listed").1;
            assert!(error.contains(words) && error.contains("/profiles/"), "{name}: {error}");
        };
        assert_eq!((told.len(), told[2].0, told[2].1.as_str()), (6, "good", ""));
        is("bad", "profiles/bad: line 2: \"secret\" is no setting");
        is("folder", "is no regular file");
        is("latin", "is not UTF-8");
        is("link", "symbolic link");
        is("long", "65536");
        assert!(problems.len() == 1 && problems[0].contains("a b is no name"), "{problems:?}");
        let none = ProfileName::parse("nothing").unwrap();
        assert_eq!(read_profile(&paths, &none), Ok(None));
        assert!(changed_at(&paths).is_some());
    }
}
