//! Records as a directory.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Mode, OFlags, chmodat, ftruncate, linkat, mkdirat, mkfifoat, openat, symlinkat, syncfs,
};
use rustix::io::{Errno, pwrite};

use super::attributes;
use crate::base::tree::{FileAttributes, TreeRecord, is_name};
use crate::io::disk::walk::{open_directory, open_entry, open_parent, path_of};
use crate::io::disk::{DiskError, failed};
use crate::limits::{COPY_LEVELS_MAX, TREE_HOLE_BYTES, TREE_LINKED_FILES_MAX};

/// Makes a directory of records, which need not be anybody's friend.
#[derive(Debug)]
pub(crate) struct TreeWriter {
    root: PathBuf,
    above: OwnedFd,
    /// The directory itself, which hard links are made relative to.
    top: Option<OwnedFd>,
    levels: Vec<Level>,
    /// The file whose pieces may come.
    file: Option<OpenFile>,
    files: u64,
    /// Files that get more names: where they are.
    links: HashMap<u64, PathBuf>,
}

/// A directory that is being filled: open to us alone until it is complete.
#[derive(Debug)]
struct Level {
    directory: OwnedFd,
    name: CString,
    attributes: FileAttributes,
}

#[derive(Debug)]
struct OpenFile {
    file: OwnedFd,
    name: CString,
    size: u64,
    attributes: FileAttributes,
}

impl TreeWriter {
    /// One that makes `root`, which must not be there.
    ///
    /// # Errors
    /// [`DiskError`], if there is no place for it.
    pub(crate) fn new(root: &Path) -> Result<TreeWriter, DiskError> {
        let (above, _) = open_parent(root)?;
        let (root, links) = (root.to_owned(), HashMap::new());
        Ok(TreeWriter { root, above, top: None, levels: Vec::new(), file: None, files: 0, links })
    }

    /// Makes what the record says.
    ///
    /// # Errors
    /// [`DiskError`]: what cannot be made, or a record that does not belong here.
    pub(crate) fn write(&mut self, record: TreeRecord<'_>) -> Result<(), DiskError> {
        if let TreeRecord::Data { offset, bytes } = record {
            return self.data(offset, bytes);
        }
        self.close_file()?;
        match record {
            TreeRecord::Top(attributes) => self.begin(attributes),
            TreeRecord::Up => self.go_up(),
            TreeRecord::Directory { name, attributes } => {
                self.make(name, |writer, level, name| writer.directory(level, name, attributes))
            }
            TreeRecord::File { name, size, has_links, attributes } => self
                .make(name, |writer, level, name| {
                    writer.file(level, name, size, has_links, attributes)
                }),
            TreeRecord::Link { name, to } => self.make(name, |writer, level, name| {
                let first = writer.links.get(&to).ok_or(Errno::NOENT)?;
                let top = writer.top.as_ref().ok_or(Errno::NOENT)?;
                linkat(top, first, &writer.levels[level].directory, name, AtFlags::empty())
            }),
            TreeRecord::Symlink { name, target, attributes } => {
                self.make(name, |writer, level, name| {
                    let directory = &writer.levels[level].directory;
                    symlinkat(OsStr::from_bytes(target), directory, name)?;
                    attributes::give_by_name(directory, name, &attributes)
                })
            }
            TreeRecord::Fifo { name, attributes } => self.make(name, |writer, level, name| {
                let directory = &writer.levels[level].directory;
                mkfifoat(directory, name, Mode::RUSR | Mode::WUSR)?;
                // The owner first: that takes away bits of the mode.
                attributes::give_by_name(directory, name, &attributes)?;
                let mode = Mode::from_raw_mode(attributes.mode);
                chmodat(directory, name, mode, AtFlags::empty())
            }),
            TreeRecord::Data { .. } => self.out_of_order(),
        }
    }

    /// All has come: makes it durable.
    ///
    /// # Errors
    /// [`DiskError`], also if something is missing.
    pub(crate) fn finish(mut self) -> Result<(), DiskError> {
        self.close_file()?;
        let Some(top) = self.top.take().filter(|_| self.levels.is_empty()) else {
            let path = self.root;
            return Err(DiskError::Unfit { path, why: "was not sent to its end" });
        };
        // One sync of the file system instead of one for each of many thousand files.
        syncfs(open_directory(&top).map_err(failed("sync", &self.root))?)
            .map_err(failed("sync", &self.root))
    }

    fn begin(&mut self, attributes: FileAttributes) -> Result<(), DiskError> {
        let (None, Some(name)) = (&self.top, self.root.file_name()) else {
            return self.out_of_order();
        };
        let name = CString::new(name.as_bytes()).expect("it was opened by it");
        let make = || {
            mkdirat(&self.above, &name, Mode::RWXU)?;
            let entry = open_entry(&self.above, &name)?;
            Ok((open_directory(&entry)?, entry))
        };
        let made: Result<_, Errno> = make();
        let (directory, entry) = made.map_err(failed("make", &self.root))?;
        self.top = Some(entry);
        self.levels.push(Level { directory, name: CString::default(), attributes });
        Ok(())
    }

    /// Makes something in the open directory.
    fn make(
        &mut self,
        name: &[u8],
        make: impl FnOnce(&mut TreeWriter, usize, &CStr) -> Result<(), Errno>,
    ) -> Result<(), DiskError> {
        let (Some(level), true) = (self.levels.len().checked_sub(1), is_name(name)) else {
            return self.out_of_order();
        };
        let name = CString::new(name).expect("a name has no zero in it");
        make(self, level, &name).map_err(|error| failed("make", &self.at(&name))(error))
    }

    fn directory(
        &mut self,
        level: usize,
        name: &CStr,
        attributes: FileAttributes,
    ) -> Result<(), Errno> {
        if self.levels.len() >= COPY_LEVELS_MAX {
            return Err(Errno::LOOP);
        }
        let above = &self.levels[level].directory;
        mkdirat(above, name, Mode::RWXU)?;
        let directory = open_directory(&open_entry(above, name)?)?;
        self.levels.push(Level { directory, name: name.to_owned(), attributes });
        Ok(())
    }

    fn file(
        &mut self,
        level: usize,
        name: &CStr,
        size: u64,
        has_links: bool,
        attributes: FileAttributes,
    ) -> Result<(), Errno> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let directory = &self.levels[level].directory;
        let file = openat(directory, name, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
        if has_links {
            if self.links.len() >= TREE_LINKED_FILES_MAX {
                return Err(Errno::MLINK);
            }
            let names = self.levels.iter().skip(1).map(|level| level.name.as_c_str());
            self.links.insert(self.files, path_of(Path::new(""), names.chain([name])));
        }
        self.files += 1;
        self.file = Some(OpenFile { file, name: name.to_owned(), size, attributes });
        Ok(())
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let end = offset.checked_add(bytes.len() as u64);
        let Some(open) = self.file.as_ref().filter(|open| end.is_some_and(|end| end <= open.size))
        else {
            return self.out_of_order();
        };
        let written = put(&open.file, offset, bytes);
        written.map_err(|error| failed("write", &self.at(&open.name))(error))
    }

    fn close_file(&mut self) -> Result<(), DiskError> {
        let Some(open) = self.file.take() else { return Ok(()) };
        let closed = ftruncate(&open.file, open.size)
            .and_then(|()| attributes::give(&open.file, &open.attributes));
        closed.map_err(|error| failed("complete", &self.at(&open.name))(error))
    }

    fn go_up(&mut self) -> Result<(), DiskError> {
        let path = self.at(c"");
        let Some(level) = self.levels.pop() else { return self.out_of_order() };
        attributes::give(&level.directory, &level.attributes).map_err(failed("complete", &path))
    }

    fn at(&self, name: &CStr) -> PathBuf {
        let names = self.levels.iter().skip(1).map(|level| level.name.as_c_str());
        path_of(&self.root, names.chain((!name.is_empty()).then_some(name)))
    }

    fn out_of_order(&self) -> Result<(), DiskError> {
        let path = self.root.clone();
        Err(DiskError::Unfit { path, why: "was sent in an order that makes no sense" })
    }
}

/// Writes a piece; zeros that could be a hole are one.
fn put(file: &OwnedFd, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
    let mut at = offset;
    for part in bytes.chunks(TREE_HOLE_BYTES) {
        let mut written = 0;
        let is_hole = part.iter().all(|&byte| byte == 0);
        while !is_hole && written < part.len() {
            match pwrite(file, &part[written..], at + written as u64) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        at += part.len() as u64;
    }
    Ok(())
}
