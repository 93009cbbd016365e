//! Files of a directory that others have filled: no link leads out of it.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

use super::{DiskError, failed};

/// An open directory. Names in it are as in a root directory of its own: a leading `/` is itself,
/// and nothing is above it.
#[derive(Debug)]
pub(crate) struct Beneath {
    directory: OwnedFd,
    path: PathBuf,
}

impl Beneath {
    /// Opens a directory.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(path: &Path) -> Result<Beneath, DiskError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty()).map_err(failed("open", path))?;
        Ok(Beneath { directory, path: path.to_owned() })
    }

    /// Opens a file of it for reading, by a name without any symbolic link on the way.
    ///
    /// # Errors
    /// The system's: `ELOOP` for a link.
    pub(crate) fn file(&self, name: &Path) -> Result<File, DiskError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let inside =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(&self.directory, name, flags, Mode::empty(), inside);
        let file = file.map_err(|error| failed("open", &self.path.join(name))(error))?;
        Ok(File::from(file))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn files_are_read_and_links_are_not_followed() {
        let scratch = Scratch::new();
        let inner = scratch.join("inner");
        fs::create_dir_all(inner.join("sub")).unwrap();
        fs::write(inner.join("sub/file"), "inside").unwrap();
        fs::write(scratch.join("secret"), "outside").unwrap();
        symlink("../secret", inner.join("link")).unwrap();
        symlink("sub", inner.join("way")).unwrap();
        let beneath = Beneath::open(&inner).unwrap();
        for name in ["sub/file", "./sub/file", "/sub/file", "../sub/file"] {
            let mut text = String::new();
            beneath.file(Path::new(name)).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside", "{name}");
        }
        for name in ["link", "way/file", "../secret", "none"] {
            assert!(beneath.file(Path::new(name)).is_err(), "{name}");
        }
    }
}
