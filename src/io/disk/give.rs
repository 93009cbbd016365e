//! Gives a whole tree to another user.
//!
//! What belongs to the owner of its top directory is given, and nothing else. The top goes last,
//! when the rest is on disk: a walk that was cut short is known by it and goes on. Links are given
//! and never followed, mounted places left alone. Open files are bounded.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, Uid, chownat, fchmod, fchown, fstat, syncfs};
use rustix::io::Errno;

use super::walk::{is_dots, open_directory, open_entry, open_parent, path_of};
use super::{DiskError, failed};
use crate::limits::COPY_LEVELS_MAX;

/// Gives the directory at `path` and what is in it to user and group `id`, and opens it to that
/// user alone. What is not there is no error.
///
/// # Errors
/// [`DiskError`], naming what could not be given; what was given before stays given.
pub(crate) fn give_tree(path: &Path, id: u32) -> Result<(), DiskError> {
    let (above, name) = open_parent(path)?;
    let found = open_entry(&above, &name).and_then(|entry| Ok((fstat(&entry)?.st_uid, entry)));
    let (from, entry) = match found {
        Err(Errno::NOENT) => return Ok(()),
        Ok((from, _)) if from == id => return Ok(()),
        other => other.map_err(failed("look at", path))?,
    };
    let top = open_directory(&entry).map_err(failed("open", path))?;
    let mut giver = Giver { from, to: id, levels: Vec::new() };
    let given = giver.enter(top, CString::default()).and_then(|()| giver.run());
    given.map_err(|error| giver.failed(path, error))
}

struct Giver {
    from: u32,
    to: u32,
    levels: Vec<Level>,
}

/// A directory that is being read.
struct Level {
    directory: Dir,
    name: CString,
}

impl Giver {
    fn run(&mut self) -> Result<(), Errno> {
        while let Some(level) = self.levels.last_mut() {
            match level.directory.read().transpose()? {
                Some(entry) if is_dots(entry.file_name()) => {}
                Some(entry) => self.give(entry.file_name())?,
                None => self.go_up()?,
            }
        }
        Ok(())
    }

    fn give(&mut self, name: &CStr) -> Result<(), Errno> {
        let Some(level) = self.levels.last() else { return Ok(()) };
        let entry = match open_entry(&level.directory.fd()?, name) {
            Err(Errno::NOENT | Errno::XDEV) => return Ok(()),
            other => other?,
        };
        let found = fstat(&entry)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return self.enter(open_directory(&entry)?, name.to_owned());
        }
        if found.st_uid == self.from {
            let flags = AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW;
            chownat(&entry, c"", Some(self.user()), Some(self.group()), flags)?;
        }
        Ok(())
    }

    fn enter(&mut self, directory: OwnedFd, name: CString) -> Result<(), Errno> {
        if self.levels.len() >= COPY_LEVELS_MAX {
            return Err(Errno::LOOP);
        }
        self.levels.push(Level { directory: Dir::new(directory)?, name });
        Ok(())
    }

    /// Gives the directory that has been read to its end.
    fn go_up(&mut self) -> Result<(), Errno> {
        let is_top = self.levels.len() == 1;
        if let Some(level) = self.levels.last() {
            let directory = level.directory.fd()?;
            if is_top {
                syncfs(directory)?;
                fchmod(directory, Mode::RWXU)?;
            }
            if fstat(directory)?.st_uid == self.from {
                fchown(directory, Some(self.user()), Some(self.group()))?;
            }
        }
        self.levels.pop();
        Ok(())
    }

    fn user(&self) -> Uid {
        Uid::from_raw(self.to)
    }

    fn group(&self) -> Gid {
        Gid::from_raw(self.to)
    }

    fn failed(&self, root: &Path, error: Errno) -> DiskError {
        let names = self.levels.iter().skip(1).map(|level| level.name.as_c_str());
        let path = path_of(root, names);
        match error {
            Errno::LOOP => DiskError::Unfit {
                path,
                why: "has too many directories in one another to be given to its session",
            },
            error => failed("give to its session what is in", &path)(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};

    use super::*;
    use crate::io::scratch::Scratch;

    const OLD: u32 = 2_000_001;
    const NEW: u32 = 2_000_002;

    fn owner(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().uid()
    }

    /// Only root can try: `None` for others.
    fn home(scratch: &Scratch) -> Option<std::path::PathBuf> {
        let home = scratch.join("home");
        fs::create_dir_all(home.join("a/b")).unwrap();
        fs::write(home.join("a/b/file"), "x").unwrap();
        fs::write(home.join("roots"), "x").unwrap();
        fs::write(scratch.join("outside"), "x").unwrap();
        symlink(scratch.join("outside"), home.join("link")).unwrap();
        symlink("/", home.join("up")).unwrap();
        for name in ["link", "up", "a/b/file", "a/b", "a", "."] {
            lchown(home.join(name), Some(OLD), Some(OLD)).ok()?;
        }
        Some(home)
    }

    #[test]
    fn a_tree_is_given_and_nothing_beside_it() {
        let scratch = Scratch::new();
        let Some(home) = home(&scratch) else { return };
        give_tree(&home, NEW).unwrap();
        for name in ["link", "up", "a/b/file", "a/b", "a", "."] {
            assert_eq!(owner(&home.join(name)), NEW, "{name}");
        }
        assert_eq!(fs::metadata(&home).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(owner(&home.join("roots")), owner(&scratch.join("outside")));
        assert_ne!(owner(&scratch.join("outside")), NEW);
        give_tree(&scratch.join("none"), NEW).unwrap();
        assert!(give_tree(&scratch.join("outside"), NEW).is_err());
    }

    #[test]
    fn a_walk_that_was_cut_short_goes_on() {
        let scratch = Scratch::new();
        let Some(home) = home(&scratch) else { return };
        chown(home.join("a"), Some(NEW), Some(NEW)).unwrap();
        give_tree(&home, NEW).unwrap();
        assert_eq!(owner(&home.join("a/b/file")), NEW);
        // It is known by its top, and left alone.
        chown(home.join("a/b/file"), Some(OLD), Some(OLD)).unwrap();
        give_tree(&home, NEW).unwrap();
        assert_eq!(owner(&home.join("a/b/file")), OLD);
    }

    #[test]
    fn what_is_too_deep_is_named() {
        let scratch = Scratch::new();
        let Some(home) = home(&scratch) else { return };
        let deep = vec!["d"; COPY_LEVELS_MAX].join("/");
        fs::create_dir_all(home.join(deep)).unwrap();
        let error = give_tree(&home, NEW).unwrap_err().to_string();
        assert!(error.contains("home/d/d/") && error.contains("too many directories"), "{error}");
        assert_eq!(owner(&home), OLD);
    }
}
