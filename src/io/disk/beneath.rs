//! Small files in a directory that somebody else owns: no link on the way is followed, no mount
//! entered, no FIFO waited for, and all of it has bounds.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, open, openat2, statat};
use rustix::io::Errno;

use super::walk::is_dots;

/// An open directory.
#[derive(Debug)]
pub(crate) struct Beneath(OwnedFd);

impl Beneath {
    /// Opens a directory whose path is ours up to the last step, which may be no link.
    ///
    /// # Errors
    /// When there is none, or it may not be read.
    pub(crate) fn open(path: &Path) -> Result<Beneath, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Beneath(open(path, flags, Mode::empty())?))
    }

    /// Opens a directory in this one. `None` if there is none that may be used.
    pub(crate) fn directory(&self, name: &str) -> Option<Beneath> {
        self.openat(name, OFlags::DIRECTORY).ok().map(Beneath)
    }

    /// The names in it that are `wanted`, those that were changed last first. Says as the second
    /// whether it has more entries than `entries_max`, and so is not known whole.
    pub(crate) fn newest(
        &self,
        entries_max: usize,
        wanted: impl Fn(&str) -> bool,
    ) -> (Vec<String>, bool) {
        let Ok(entries) = Dir::read_from(&self.0) else { return (Vec::new(), false) };
        let mut found = Vec::new();
        let mut is_cut = false;
        for (at, entry) in entries.map_while(Result::ok).enumerate() {
            if at >= entries_max {
                is_cut = true;
                break;
            }
            let name = Some(entry.file_name()).filter(|name| !is_dots(name));
            let name = name.and_then(|name| name.to_str().ok()).filter(|name| wanted(name));
            let Some(name) = name else { continue };
            if let Ok(stat) = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                found.push(((stat.st_mtime, stat.st_mtime_nsec), name.to_owned()));
            }
        }
        found.sort_by(|one, other| other.cmp(one));
        (found.into_iter().map(|(_, name)| name).collect(), is_cut)
    }

    /// The whole of a regular file in it, of at most so many bytes. `None` if it is another thing,
    /// is longer, or cannot be read.
    pub(crate) fn read(&self, name: &str, bytes_max: usize) -> Option<Vec<u8>> {
        let file = self.openat(name, OFlags::NONBLOCK | OFlags::NOCTTY).ok()?;
        let stat = rustix::fs::fstat(&file).ok()?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return None;
        }
        let mut bytes = Vec::new();
        let most = u64::try_from(bytes_max).ok()? + 1;
        File::from(file).take(most).read_to_end(&mut bytes).ok()?;
        (bytes.len() <= bytes_max).then_some(bytes)
    }

    fn openat(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        openat2(&self.0, name, flags, Mode::empty(), resolve)
    }
}

impl AsFd for Beneath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn nothing_but_short_regular_files_is_read() {
        let scratch = Scratch::new();
        fs::write(scratch.join("secret"), "s").unwrap();
        let home = scratch.join("home");
        fs::create_dir_all(home.join("inner/directory.json")).unwrap();
        fs::write(home.join("inner/1.json"), "one").unwrap();
        fs::write(home.join("inner/long.json"), vec![b'x'; 1 << 20]).unwrap();
        symlink(scratch.join("secret"), home.join("inner/link.json")).unwrap();
        symlink("inner", home.join("away")).unwrap();
        let fifo = home.join("inner/fifo.json");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR).unwrap();
        let top = Beneath::open(&home).unwrap();
        let inner = top.directory("inner").unwrap();
        assert_eq!(inner.read("1.json", 3).unwrap(), b"one");
        for bad in ["long.json", "link.json", "fifo.json", "directory.json", "../../secret", "no"] {
            assert_eq!(inner.read(bad, 64), None, "{bad}");
        }
        for bad in ["away", "no", "..", "inner/1.json"] {
            assert!(top.directory(bad).is_none(), "{bad}");
        }
        assert!(Beneath::open(&home.join("away")).is_err());
    }

    #[test]
    fn the_newest_come_first_and_there_is_an_end() {
        let scratch = Scratch::new();
        for (at, name) in ["b", "a", "c", "x"].into_iter().enumerate() {
            let file = File::create(scratch.join(name)).unwrap();
            let when = SystemTime::UNIX_EPOCH + Duration::from_secs(100 + at as u64);
            file.set_modified(when).unwrap();
        }
        let directory = Beneath::open(scratch.path()).unwrap();
        let names = |max| directory.newest(max, |name| name != "x");
        let all = ["c", "a", "b"].map(str::to_owned).to_vec();
        assert_eq!(names(100), (all, false));
        assert!(names(5).1, "the two dots count");
    }
}
