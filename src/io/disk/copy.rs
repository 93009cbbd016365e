//! Copies a whole tree.
//!
//! Regular files are cloned where the file system can, copied by the kernel else, and keep their
//! holes and hard links. Links stay links. FIFOs are made anew and never opened. Sockets, devices
//! and mounted places are skipped with a note, and so is what we may not read. Modes, times and
//! `user.` attributes are kept, owners where we may set them. Memory and open files are bounded,
//! whatever the tree is.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, chmodat, fstat, linkat, mkdirat, mkfifoat, open,
    openat, readlinkat, symlinkat,
};
use rustix::io::Errno;

use super::walk::{is_dots, open_directory, open_entry, open_parent, path_of};
use super::{DiskError, failed, remove_tree};
use crate::io::stream::descriptor_path;
use crate::limits::{COPY_HARD_LINKS_MAX, COPY_LEVELS_MAX, COPY_NOTES_MAX};

mod attributes;
mod data;

pub(super) use data::next_data;

/// What to leave out, and whose the copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CopyOptions<'a> {
    /// Names directly below the source that are not copied.
    pub(crate) without: &'a [&'a str],
    /// The user and group that all of the copy belongs to; where none is given, everything keeps
    /// its owner if we may set it.
    pub(crate) owner: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// Regular files, each name counted.
    pub(crate) files: u64,
    /// Their bytes, holes included.
    pub(crate) bytes: u64,
    /// What was left out: sockets, devices, mounted places, what cannot be read.
    pub(crate) skipped: u64,
    /// Of these, files and directories that cannot be read.
    pub(crate) unreadable: u64,
    /// The first of those, each `<path> is <what>`.
    pub(crate) notes: Vec<String>,
}

/// Copies the directory `source` to `target`, which must not exist yet. Durable when it returns.
///
/// # Errors
/// [`DiskError`], naming what could not be read or written; `target` is gone then, unless removing
/// it failed too.
pub(crate) fn copy_tree(
    source: &Path,
    target: &Path,
    options: CopyOptions<'_>,
) -> Result<Copied, DiskError> {
    let (above, name) = open_parent(target)?;
    mkdirat(&above, &name, Mode::RWXU).map_err(failed("make", target))?;
    let copied = copy_into(source, target, &above, &name, options);
    if copied.is_err() {
        // The first error is the one to tell.
        let _ = remove_tree(target);
    }
    copied
}

fn copy_into(
    source: &Path,
    target: &Path,
    above: &OwnedFd,
    name: &CStr,
    options: CopyOptions<'_>,
) -> Result<Copied, DiskError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let from = open(source, flags, Mode::empty()).map_err(failed("read", source))?;
    let entry = open_entry(above, name).map_err(failed("make", target))?;
    let top = open_directory(&entry).map_err(failed("make", target))?;
    let level = Level::new(from, top, CString::default()).map_err(failed("read", source))?;
    let own = fstat(&entry).map_err(failed("make", target))?;
    let mut copier = Copier {
        source: source.to_owned(),
        top: entry,
        own: identity(&own),
        owner: options.owner,
        levels: vec![level],
        links: HashMap::new(),
        data: data::Mover::new(),
        copied: Copied::default(),
    };
    copier.run(options)?;
    // One sync of the file system instead of one for each of many thousand files.
    rustix::fs::syncfs(above).map_err(failed("sync", target))?;
    Ok(copier.copied)
}

struct Copier {
    source: PathBuf,
    /// The target, which hard links are made relative to.
    top: OwnedFd,
    /// The target, should it stand inside of the source.
    own: Identity,
    owner: Option<u32>,
    levels: Vec<Level>,
    links: HashMap<Identity, PathBuf>,
    data: data::Mover,
    copied: Copied,
}

/// A directory that is being copied.
struct Level {
    from: Dir,
    to: OwnedFd,
    name: CString,
    found: Stat,
}

type Identity = (u64, u64);

impl Level {
    fn new(from: OwnedFd, to: OwnedFd, name: CString) -> Result<Level, Errno> {
        let found = fstat(&from)?;
        Ok(Level { from: Dir::new(from)?, to, name, found })
    }
}

impl Copier {
    fn run(&mut self, options: CopyOptions<'_>) -> Result<(), DiskError> {
        while let Some(level) = self.levels.last_mut() {
            match level.from.read() {
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_owned();
                    if !is_dots(&name) && !self.leaves_out(&name, options) {
                        self.copy(&name)?;
                    }
                }
                Some(Err(error)) => return Err(failed("read", &self.at(c""))(error)),
                None => self.go_up()?,
            }
        }
        Ok(())
    }

    fn leaves_out(&self, name: &CStr, options: CopyOptions<'_>) -> bool {
        self.levels.len() == 1
            && options.without.iter().any(|left| left.as_bytes() == name.to_bytes())
    }

    fn copy(&mut self, name: &CStr) -> Result<(), DiskError> {
        match self.copy_entry(name) {
            Ok(()) => Ok(()),
            // It went while we were looking: the session is alive.
            Err(Errno::NOENT) => Ok(()),
            Err(Errno::ACCESS) => {
                self.copied.unreadable += 1;
                self.skip(name, "not readable").map_err(failed("copy", &self.at(name)))
            }
            // A session that runs can hold a lease of its file, and take it again and again.
            Err(Errno::AGAIN) => {
                self.copied.unreadable += 1;
                self.skip(name, "held by a lease").map_err(failed("copy", &self.at(name)))
            }
            Err(Errno::LOOP) => {
                self.copied.unreadable += 1;
                let why = "inside of too many directories to be copied";
                self.skip(name, why).map_err(failed("copy", &self.at(name)))
            }
            Err(error) => Err(failed("copy", &self.at(name))(error)),
        }
    }

    fn copy_entry(&mut self, name: &CStr) -> Result<(), Errno> {
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let entry = match open_entry(&level.from.fd()?, name) {
            Err(Errno::XDEV) => return self.skip(name, "a mount point"),
            other => other?,
        };
        let found = fstat(&entry)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => self.copy_file(&entry, &found, name),
            FileType::Directory => self.enter(&entry, &found, name),
            FileType::Symlink => copy_link(&entry, &found, &level.to, name, self.owner),
            FileType::Fifo => copy_fifo(&found, &level.to, name, self.owner),
            FileType::Socket => self.skip(name, "a socket"),
            _ => self.skip(name, "a device"),
        }
    }

    fn enter(&mut self, entry: &OwnedFd, found: &Stat, name: &CStr) -> Result<(), Errno> {
        if identity(found) == self.own {
            return self.skip(name, "the copy itself");
        }
        if self.levels.len() >= COPY_LEVELS_MAX {
            return Err(Errno::LOOP);
        }
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let from = open_directory(entry)?;
        // Open to us alone until it is complete; then it gets its mode, which may forbid writing.
        mkdirat(&level.to, name, Mode::RWXU)?;
        let to = open_directory(&open_entry(&level.to, name)?)?;
        self.levels.push(Level::new(from, to, name.to_owned())?);
        Ok(())
    }

    fn go_up(&mut self) -> Result<(), DiskError> {
        let path = self.at(c"");
        if let Some(done) = self.levels.pop() {
            let from = done.from.fd().map_err(failed("copy", &path))?;
            attributes::copy(&from, &done.found, &done.to, self.owner)
                .map_err(failed("copy", &path))?;
        }
        Ok(())
    }

    fn copy_file(&mut self, entry: &OwnedFd, found: &Stat, name: &CStr) -> Result<(), Errno> {
        self.copied.files += 1;
        self.copied.bytes += u64::try_from(found.st_size).unwrap_or(0);
        if found.st_nlink > 1 && self.link(found, name) {
            return Ok(());
        }
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let from = open(descriptor_path(entry), flags, Mode::empty())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let to = openat(&level.to, name, flags, Mode::RUSR | Mode::WUSR)?;
        self.data.copy(&from, &to, found)?;
        attributes::copy(&from, found, &to, self.owner)
    }

    /// Gives a file that was copied another name. If that cannot be, the name gets its own copy.
    fn link(&mut self, found: &Stat, name: &CStr) -> bool {
        let Some(level) = self.levels.last() else {
            return false;
        };
        if let Some(first) = self.links.get(&identity(found)) {
            return linkat(&self.top, first, &level.to, name, AtFlags::empty()).is_ok();
        }
        if self.links.len() < COPY_HARD_LINKS_MAX {
            let names = self.levels.iter().skip(1).map(|level| level.name.as_c_str());
            let path = path_of(Path::new(""), names.chain([name]));
            self.links.insert(identity(found), path);
        }
        false
    }

    /// Leaving something out is no error.
    fn skip(&mut self, name: &CStr, what: &str) -> Result<(), Errno> {
        self.copied.skipped += 1;
        if self.copied.notes.len() < COPY_NOTES_MAX {
            let note = format!("{} is {what}", self.at(name).display());
            self.copied.notes.push(note);
        }
        Ok(())
    }

    fn at(&self, name: &CStr) -> PathBuf {
        let names = self.levels.iter().skip(1).map(|level| level.name.as_c_str());
        path_of(&self.source, names.chain((!name.is_empty()).then_some(name)))
    }
}

fn copy_link(
    entry: &OwnedFd,
    found: &Stat,
    to: &OwnedFd,
    name: &CStr,
    owner: Option<u32>,
) -> Result<(), Errno> {
    let points_to = readlinkat(entry, c"", Vec::new())?;
    symlinkat(points_to.as_c_str(), to, name)?;
    attributes::copy_by_name(found, to, name, owner)
}

fn copy_fifo(found: &Stat, to: &OwnedFd, name: &CStr, owner: Option<u32>) -> Result<(), Errno> {
    mkfifoat(to, name, Mode::RUSR | Mode::WUSR)?;
    // Nobody but us can reach into the copy yet, so the name is still the FIFO.
    chmodat(to, name, Mode::from_raw_mode(found.st_mode & 0o777), AtFlags::empty())?;
    attributes::copy_by_name(found, to, name, owner)
}

fn identity(found: &Stat) -> Identity {
    (found.st_dev, found.st_ino)
}

#[cfg(test)]
mod tests;
