//! A directory as records.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, Stat, fstat, open, readlinkat};
use rustix::io::{Errno, pread};

use super::attributes;
use crate::base::tree::{FileAttributes, TreeRecord};
use crate::io::disk::copy::next_data;
use crate::io::disk::walk::{is_dots, open_directory, open_entry, path_of};
use crate::io::disk::{DiskError, failed};
use crate::io::stream::descriptor_path;
use crate::limits::{
    COPY_LEVELS_MAX, TREE_CHUNK_BYTES, TREE_LINKED_FILES_MAX, TREE_NAMES_BYTES_MAX, TREE_NOTES_MAX,
};

/// How much of a tree is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// All of it.
    Read,
    /// No data of files: how large it is.
    Skip,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TreeRead {
    /// Names in it, at every depth.
    pub(crate) entries: u64,
    /// Bytes that its files take on their disk, each file once.
    pub(crate) stored_bytes: u64,
    /// What was left out: sockets and devices.
    pub(crate) skipped: u64,
    /// The first of those, each `<path> is <what>`.
    pub(crate) notes: Vec<String>,
}

/// Reads the directory `root`, and hands each record to `tell` until that breaks.
///
/// # Errors
/// [`DiskError`], naming what could not be read, or changed while it was.
pub(crate) fn read_tree(
    root: &Path,
    contents: Contents,
    mut tell: impl FnMut(&TreeRecord<'_>) -> ControlFlow<()>,
) -> Result<TreeRead, DiskError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = open(root, flags, Mode::empty()).map_err(failed("read", root))?;
    let mut reader = Reader {
        root,
        contents,
        tell: &mut tell,
        levels: Vec::new(),
        names_bytes: 0,
        files: 0,
        links: HashMap::new(),
        chunk: vec![0; TREE_CHUNK_BYTES],
        read: TreeRead::default(),
    };
    let begun = reader.begin(top);
    begun.map_err(|fault| reader.error(c"", fault))?;
    reader.run()?;
    Ok(reader.read)
}

struct Reader<'a> {
    root: &'a Path,
    contents: Contents,
    tell: &'a mut dyn FnMut(&TreeRecord<'_>) -> ControlFlow<()>,
    levels: Vec<Level>,
    names_bytes: usize,
    files: u64,
    /// Files with several names, by device and inode.
    links: HashMap<(u64, u64), u64>,
    chunk: Vec<u8>,
    read: TreeRead,
}

/// A directory that is being read.
struct Level {
    directory: OwnedFd,
    name: CString,
    names: std::vec::IntoIter<CString>,
}

/// Why something is not read.
enum Fault {
    System(Errno),
    Unfit(&'static str),
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Fault {
        Fault::System(error)
    }
}

const CHANGED: Fault = Fault::Unfit("has changed while it was read");

impl Reader<'_> {
    fn begin(&mut self, top: OwnedFd) -> Result<(), Fault> {
        let record = TreeRecord::Top(attributes::whole(&top, &fstat(&top)?)?);
        self.say(&record)?;
        self.enter(top, CString::default())
    }

    fn run(&mut self) -> Result<(), DiskError> {
        while let Some(level) = self.levels.last_mut() {
            let Some(name) = level.names.next() else {
                let said = self.say(&TreeRecord::Up);
                said.map_err(|fault| self.error(c"", fault))?;
                self.levels.pop();
                continue;
            };
            self.names_bytes -= name.as_bytes().len();
            let read = self.entry(&name);
            read.map_err(|fault| self.error(&name, fault))?;
        }
        Ok(())
    }

    fn say(&mut self, record: &TreeRecord<'_>) -> Result<(), Fault> {
        match (self.tell)(record) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Fault::Unfit("was not read to its end")),
        }
    }

    fn enter(&mut self, directory: OwnedFd, name: CString) -> Result<(), Fault> {
        if self.levels.len() >= COPY_LEVELS_MAX {
            return Err(Fault::Unfit("is inside of too many directories"));
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if is_dots(entry.file_name()) {
                continue;
            }
            self.names_bytes += entry.file_name().to_bytes().len();
            if self.names_bytes > TREE_NAMES_BYTES_MAX {
                return Err(Fault::Unfit("has too many names in it"));
            }
            names.push(entry.file_name().to_owned());
        }
        names.sort_unstable();
        self.levels.push(Level { directory, name, names: names.into_iter() });
        Ok(())
    }

    fn entry(&mut self, name: &CStr) -> Result<(), Fault> {
        let level = self.levels.last().expect("a name is of a level");
        let entry = match open_entry(&level.directory, name) {
            Err(Errno::XDEV) => return Err(Fault::Unfit("is a mount point; unmount it first")),
            Err(Errno::NOENT) => return Err(CHANGED),
            other => other?,
        };
        let found = fstat(&entry)?;
        self.read.entries += 1;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => self.file(&entry, &found, name),
            FileType::Directory => {
                let directory = open_directory(&entry)?;
                let attributes = attributes::whole(&directory, &found)?;
                self.say(&TreeRecord::Directory { name: name.to_bytes(), attributes })?;
                self.enter(directory, name.to_owned())
            }
            FileType::Symlink => {
                let target = readlinkat(&entry, c"", Vec::new())?;
                let attributes = FileAttributes { mode: 0, ..attributes::plain(&found) };
                let (name, target) = (name.to_bytes(), target.to_bytes());
                self.say(&TreeRecord::Symlink { name, target, attributes })
            }
            FileType::Fifo => {
                let attributes = attributes::plain(&found);
                self.say(&TreeRecord::Fifo { name: name.to_bytes(), attributes })
            }
            FileType::Socket => self.skip(name, "a socket"),
            _ => self.skip(name, "a device"),
        }
    }

    fn file(&mut self, entry: &OwnedFd, found: &Stat, name: &CStr) -> Result<(), Fault> {
        let identity = (found.st_dev, found.st_ino);
        let has_links = found.st_nlink > 1;
        if let Some(&to) = self.links.get(&identity).filter(|_| has_links) {
            return self.say(&TreeRecord::Link { name: name.to_bytes(), to });
        }
        if has_links {
            if self.links.len() >= TREE_LINKED_FILES_MAX {
                return Err(Fault::Unfit("is one file too many with several names"));
            }
            self.links.insert(identity, self.files);
        }
        self.files += 1;
        self.read.stored_bytes += u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512);
        let size = u64::try_from(found.st_size).unwrap_or(0);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOATIME | OFlags::CLOEXEC;
        let path = descriptor_path(entry);
        let file = match open(&path, flags, Mode::empty()) {
            // Somebody else's file: only root and its owner may read without a trace.
            Err(Errno::PERM) => open(&path, flags - OFlags::NOATIME, Mode::empty()),
            other => other,
        }?;
        let attributes = attributes::whole(&file, found)?;
        self.say(&TreeRecord::File { name: name.to_bytes(), size, has_links, attributes })?;
        if self.contents == Contents::Skip {
            return Ok(());
        }
        self.data(&file, size)?;
        let now = fstat(&file)?;
        let time = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec, stat.st_size);
        if time(&now) == time(found) { Ok(()) } else { Err(CHANGED) }
    }

    /// Tells all pieces that are not only zeros.
    fn data(&mut self, file: &OwnedFd, size: u64) -> Result<(), Fault> {
        let chunk_bytes = TREE_CHUNK_BYTES as u64;
        let mut offset = 0;
        while let Some(range) = next_data(file, offset, size)? {
            offset = range.start / chunk_bytes * chunk_bytes;
            while offset < range.end {
                let length = usize::try_from((size - offset).min(chunk_bytes)).unwrap_or(0);
                fill(file, &mut self.chunk[..length], offset)?;
                let bytes = &self.chunk[..length];
                if bytes.iter().any(|&byte| byte != 0)
                    && (self.tell)(&TreeRecord::Data { offset, bytes }).is_break()
                {
                    return Err(Fault::Unfit("was not read to its end"));
                }
                offset += length as u64;
            }
        }
        Ok(())
    }

    /// Leaving something out is no error.
    fn skip(&mut self, name: &CStr, what: &str) -> Result<(), Fault> {
        self.read.skipped += 1;
        if self.read.notes.len() < TREE_NOTES_MAX {
            let note = format!("{:?} is {what}", self.at(name));
            self.read.notes.push(note);
        }
        Ok(())
    }

    fn at(&self, name: &CStr) -> PathBuf {
        let names = self.levels.iter().skip(1).map(|level| level.name.as_c_str());
        path_of(self.root, names.chain((!name.is_empty()).then_some(name)))
    }

    fn error(&self, name: &CStr, fault: Fault) -> DiskError {
        let path = self.at(name);
        match fault {
            Fault::System(error) => failed("read", &path)(error),
            Fault::Unfit(why) => DiskError::Unfit { path, why },
        }
    }
}

fn fill(file: &impl AsFd, space: &mut [u8], offset: u64) -> Result<(), Fault> {
    let mut read = 0;
    while read < space.len() {
        match pread(file, &mut space[read..], offset + read as u64) {
            Ok(0) => return Err(CHANGED),
            Ok(count) => read += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
