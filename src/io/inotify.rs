//! Directories, and when something in them changes (inotify(7)).
//!
//! A directory is named by its descriptor, so a link or another directory that was put in its place
//! is not it. One instance serves all.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};
use rustix::io::Errno;

use super::stream::descriptor_path;

/// What is looked for in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changes {
    /// Only whether it is moved away or removed itself.
    OfItself,
    /// Whether an entry came, too.
    Arrivals,
    /// Whether an entry came, went, or was closed after writing, too.
    All,
}

/// One watched directory, by a number of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchId(i32);

/// What was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Something that was looked for.
    Changed(WatchId),
    /// Some of it was lost: anything may have changed.
    Lost,
}

/// All watched directories. The reactor watches it for reading.
#[derive(Debug)]
pub(crate) struct Inotify {
    fd: OwnedFd,
}

impl Inotify {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// When the user or the process has too many.
    pub(crate) fn new() -> io::Result<Inotify> {
        Ok(Inotify { fd: init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)? })
    }

    /// Watches an open directory from now on.
    ///
    /// # Errors
    /// When it may not be read, or the user has too many watches.
    pub(crate) fn watch(&self, directory: &impl AsFd, changes: Changes) -> io::Result<WatchId> {
        let own = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF | WatchFlags::ONLYDIR;
        let arrivals = WatchFlags::CREATE | WatchFlags::MOVED_TO;
        let all = WatchFlags::CLOSE_WRITE | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
        let flags = match changes {
            Changes::OfItself => own,
            Changes::Arrivals => own | arrivals,
            Changes::All => own | arrivals | all,
        };
        Ok(WatchId(add_watch(&self.fd, descriptor_path(directory), flags)?))
    }

    /// Ends a watch. What is removed has ended it already.
    pub(crate) fn forget(&self, watch: WatchId) {
        let _ = rustix::fs::inotify::remove_watch(&self.fd, watch.0);
    }

    /// Reads what is there, up to so many bytes. Says whether there may be more.
    ///
    /// # Errors
    /// Only of a fault of ours.
    pub(crate) fn read(&self, bytes: usize, told: &mut Vec<Told>) -> io::Result<bool> {
        let mut buffer = vec![MaybeUninit::uninit(); bytes];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => {
                    told.push(Told::Lost);
                }
                // The end of a watch is no change by itself.
                Ok(event) if event.events().contains(ReadFlags::IGNORED) => {}
                Ok(event) => told.push(Told::Changed(WatchId(event.wd()))),
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
            if reader.is_buffer_empty() {
                return Ok(true);
            }
        }
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::io::scratch::Scratch;

    fn told(inotify: &Inotify) -> Vec<Told> {
        let mut told = Vec::new();
        while inotify.read(4096, &mut told).unwrap() {}
        told
    }

    #[test]
    fn what_was_looked_for_is_told_and_nothing_else() {
        let scratch = Scratch::new();
        let place = scratch.join("place");
        fs::create_dir(&place).unwrap();
        let inotify = Inotify::new().unwrap();
        let directory = File::open(&place).unwrap();
        let watch = inotify.watch(&directory, Changes::Arrivals).unwrap();
        assert_eq!(told(&inotify), []);
        let file = File::create(place.join("a")).unwrap();
        assert_eq!(told(&inotify), [Told::Changed(watch)]);
        drop(file);
        assert_eq!(told(&inotify), [], "that it was written is not looked for");
        let same = inotify.watch(&directory, Changes::All).unwrap();
        assert_eq!(same, watch);
        fs::write(place.join("a"), "x").unwrap();
        assert_eq!(told(&inotify), [Told::Changed(watch)]);
        fs::rename(&place, scratch.join("away")).unwrap();
        fs::create_dir(&place).unwrap();
        assert_eq!(told(&inotify), [Told::Changed(watch)]);
        fs::write(place.join("b"), "x").unwrap();
        assert_eq!(told(&inotify), [], "another one is in its place");
        inotify.forget(watch);
        fs::write(scratch.join("away/a"), "x").unwrap();
        assert_eq!(told(&inotify), []);
    }
}
