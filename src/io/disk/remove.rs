//! Removes a whole tree.
//!
//! Open directories are bounded, and so is memory, however deep or wide the tree: a directory that
//! is too deep is first moved up to the top of the tree, which is to go anyway. Links are removed,
//! never followed; a place where something is mounted stops everything.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, fchmod, fstat, renameat, unlinkat};
use rustix::io::Errno;

use super::walk::{chmod_entry, is_dots, open_directory, open_entry, open_parent, path_of};
use super::{DiskError, failed};
use crate::io::entropy;
use crate::limits::REMOVE_LEVELS_MAX;

/// Removes what stands at `path`: a tree, a file or a link. What is not there is no error. Modes of
/// directories are no obstacle to their owner. Durable when it returns.
///
/// # Errors
/// [`DiskError`], naming what could not be removed; what was removed before stays removed.
pub(crate) fn remove_tree(path: &Path) -> Result<(), DiskError> {
    let (parent, name) = match open_parent(path) {
        Err(error) if error.is_missing() => return Ok(()),
        other => other?,
    };
    let mut remover = Remover { root: path.to_owned(), parent, levels: Vec::new() };
    match unlinkat(&remover.parent, &name, AtFlags::empty()) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {
            let top = remover.open(&remover.parent, &name).map_err(failed("remove", path))?;
            remover.levels.push(Level::new(top, name).map_err(failed("remove", path))?);
            remover.run()?;
        }
        Err(error) => return Err(failed("remove", path)(error)),
    }
    rustix::fs::fsync(&remover.parent).map_err(failed("sync the directory of", path))
}

struct Remover {
    root: PathBuf,
    parent: OwnedFd,
    levels: Vec<Level>,
}

/// A directory that is being emptied.
struct Level {
    directory: Dir,
    name: CString,
    /// Whether this pass over it removed something, so that another one may find it empty.
    progress: bool,
}

impl Level {
    fn new(directory: OwnedFd, name: CString) -> Result<Level, Errno> {
        Ok(Level { directory: Dir::new(directory)?, name, progress: false })
    }
}

impl Remover {
    /// Each round removes something, goes down, goes up, or starts a pass that must make progress.
    fn run(&mut self) -> Result<(), DiskError> {
        while let Some(level) = self.levels.last_mut() {
            match level.directory.read() {
                Some(Ok(entry)) if is_dots(entry.file_name()) => {}
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_owned();
                    let is_directory = entry.file_type() == FileType::Directory;
                    self.remove(&name, is_directory).map_err(|error| self.at(&name, error))?;
                }
                Some(Err(error)) => return Err(self.at(c"", error)),
                None => self.go_up().map_err(|error| self.at(c"", error))?,
            }
        }
        Ok(())
    }

    fn remove(&mut self, name: &CStr, is_directory: bool) -> Result<(), Errno> {
        let Some(level) = self.levels.last_mut() else {
            return Ok(());
        };
        level.progress = true;
        if is_directory {
            return self.enter(name);
        }
        match unlinkat(level.directory.fd()?, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => self.enter(name),
            Err(error) => Err(error),
        }
    }

    fn enter(&mut self, name: &CStr) -> Result<(), Errno> {
        let Some(level) = self.levels.last() else {
            return Ok(());
        };
        let opened = match self.open(&level.directory.fd()?, name) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        if self.levels.len() < REMOVE_LEVELS_MAX {
            self.levels.push(Level::new(opened, name.to_owned())?);
            return Ok(());
        }
        drop(opened);
        self.move_to_top(name)
    }

    fn move_to_top(&mut self, name: &CStr) -> Result<(), Errno> {
        let fresh = format!(".{:016x}.removed", u64::from_le_bytes(entropy::bytes()));
        if let (Some(top), Some(level)) = (self.levels.first(), self.levels.last()) {
            renameat(level.directory.fd()?, name, top.directory.fd()?, fresh)?;
        }
        if let Some(top) = self.levels.first_mut() {
            top.progress = true;
        }
        Ok(())
    }

    /// Opens a directory such that it can be emptied, or moved: its owner can do that.
    fn open(&self, above: &impl std::os::fd::AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
        let entry = open_entry(above, name)?;
        let opened = match open_directory(&entry) {
            Err(Errno::ACCESS) => {
                chmod_entry(&entry, Mode::RWXU)?;
                open_directory(&entry)
            }
            other => other,
        }?;
        let mode = Mode::from_raw_mode(fstat(&opened)?.st_mode);
        if !mode.contains(Mode::RWXU) {
            // Somebody else's directory: if that matters, removing says so.
            let _ = fchmod(&opened, Mode::RWXU);
        }
        Ok(opened)
    }

    /// Removes the directory that has been read to its end; if it is not empty, another pass.
    fn go_up(&mut self) -> Result<(), Errno> {
        let (Some(level), above) = (self.levels.last(), self.levels.iter().rev().nth(1)) else {
            return Ok(());
        };
        let removed = match above {
            Some(above) => unlinkat(above.directory.fd()?, &level.name, AtFlags::REMOVEDIR),
            None => unlinkat(&self.parent, &level.name, AtFlags::REMOVEDIR),
        };
        let progress = level.progress;
        match removed {
            Ok(()) | Err(Errno::NOENT) => drop(self.levels.pop()),
            Err(Errno::NOTEMPTY | Errno::EXIST) if progress => {
                if let Some(level) = self.levels.last_mut() {
                    level.directory.rewind();
                    level.progress = false;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn at(&self, name: &CStr, error: Errno) -> DiskError {
        let names = self.levels.iter().skip(1).map(|level| level.name.as_c_str());
        let last = (!name.is_empty()).then_some(name);
        let path = path_of(&self.root, names.chain(last));
        match error {
            Errno::XDEV => DiskError::Unfit { path, why: "is a mount point and is not removed" },
            error => failed("remove", &path)(error),
        }
    }
}
