//! What stands at a path, whose it is, and giving it to somebody else.
//!
//! The last step of a path is never followed if it is a link: root does this in directories that
//! others write to.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Gid, Mode, OFlags, Uid, fchmod, fchown, open};

use super::{DiskError, failed};
use crate::base::time::Wall;

/// A user and a group, as numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) user: u32,
    pub(crate) group: u32,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStatus {
    pub(crate) kind: Kind,
    pub(crate) ids: Ids,
    pub(crate) mode: u32,
    /// When its content, name, owner or mode last changed, by this machine's clock. No program can
    /// set it.
    pub(crate) changed_at: Wall,
}

/// What something on the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    Directory,
    /// A symbolic link.
    Link,
    /// A socket, a pipe or a device.
    Special,
}

/// Looks at `path`; `None` if nothing is there.
///
/// # Errors
/// When the system does not let us look.
pub(crate) fn look(path: &Path) -> Result<Option<FileStatus>, DiskError> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) => {
            let error = failed("look at", path)(error);
            return if error.is_missing() { Ok(None) } else { Err(error) };
        }
    };
    let kind = match found.file_type() {
        kind if kind.is_file() => Kind::File,
        kind if kind.is_dir() => Kind::Directory,
        kind if kind.is_symlink() => Kind::Link,
        _ => Kind::Special,
    };
    Ok(Some(FileStatus {
        kind,
        ids: Ids { user: found.uid(), group: found.gid() },
        mode: mode_bits(&found),
        changed_at: changed_at(&found),
    }))
}

/// The permission bits of a file.
pub(super) fn mode_bits(found: &std::fs::Metadata) -> u32 {
    found.mode() & 0o7777
}

fn changed_at(found: &std::fs::Metadata) -> Wall {
    Wall::new(found.ctime(), u32::try_from(found.ctime_nsec()).unwrap_or(0))
}

/// When the content of the file at `path` was last changed; `None` if nobody can say.
pub(crate) fn modified_at(path: &Path) -> Option<Wall> {
    let found = std::fs::metadata(path).ok()?;
    Some(Wall::new(found.mtime(), u32::try_from(found.mtime_nsec()).unwrap_or(0)))
}

/// Gives the file or directory at `path` this owner, if one is named, and this mode.
///
/// # Errors
/// [`DiskError`]; a link is refused.
pub(crate) fn set_access(path: &Path, owner: Option<Ids>, mode: u32) -> Result<(), DiskError> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).map_err(failed("open", path))?;
    if let Some(ids) = owner {
        give(&file, ids).map_err(failed("change the owner of", path))?;
    }
    // Behind the owner, whose change takes special bits away.
    fchmod(&file, Mode::from_raw_mode(mode)).map_err(failed("change the mode of", path))
}

/// Removes the file at `path`, which may be gone already.
///
/// # Errors
/// [`DiskError`]
pub(crate) fn remove_file(path: &Path) -> Result<(), DiskError> {
    match std::fs::remove_file(path).map_err(failed("remove", path)) {
        Err(error) if !error.is_missing() => Err(error),
        _ => Ok(()),
    }
}

/// Gives an open file to somebody.
pub(super) fn give(file: impl std::os::fd::AsFd, ids: Ids) -> rustix::io::Result<()> {
    fchown(file, Some(Uid::from_raw(ids.user)), Some(Gid::from_raw(ids.group)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn each_kind_is_told() {
        let scratch = Scratch::new();
        let (file, link) = (scratch.join("file"), scratch.join("link"));
        fs::write(&file, "x").unwrap();
        symlink(&file, &link).unwrap();
        let kind = |path: &Path| look(path).unwrap().map(|found| found.kind);
        assert_eq!(kind(&file), Some(Kind::File));
        assert_eq!(kind(&link), Some(Kind::Link));
        assert_eq!(kind(scratch.path()), Some(Kind::Directory));
        assert_eq!(kind(Path::new("/dev/null")), Some(Kind::Special));
        assert_eq!(kind(&scratch.join("none")), None);
        assert_eq!(kind(&scratch.join("none/below")), None);
    }

    #[test]
    fn a_mode_is_set_and_a_link_is_not_followed() {
        let scratch = Scratch::new();
        let (file, link) = (scratch.join("file"), scratch.join("link"));
        fs::write(&file, "x").unwrap();
        symlink(&file, &link).unwrap();
        let ours = look(&file).unwrap().unwrap().ids;
        set_access(&file, Some(ours), 0o640).unwrap();
        assert_eq!(look(&file).unwrap().unwrap().mode, 0o640);
        assert!(set_access(&link, None, 0o777).is_err());
        assert_eq!(look(&file).unwrap().unwrap().mode, 0o640);
        remove_file(&link).unwrap();
        remove_file(&link).unwrap();
        assert!(file.exists() && !link.exists());
    }
}
