//! Steps in a tree, one name at a time, that links and mounts cannot lead astray.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, chmodat, open, openat, openat2};
use rustix::io::Errno;

use super::{DiskError, failed};
use crate::io::stream::descriptor_path;

/// A handle on what stands under `name`, whatever it is: a link is not followed, a FIFO not waited
/// for, a device not woken.
///
/// # Errors
/// `XDEV` if something is mounted there.
pub(super) fn open_entry(directory: &impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV;
    openat2(directory, name, flags, Mode::empty(), resolve)
}

/// Opens the directory that a handle stands for, for listing.
pub(super) fn open_directory(entry: &impl AsFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(entry, c".", flags, Mode::empty())
}

/// Changes the mode of what a handle stands for; fchmod(2) refuses handles.
pub(super) fn chmod_entry(entry: &impl AsFd, mode: Mode) -> Result<(), Errno> {
    chmodat(CWD, descriptor_path(entry), mode, rustix::fs::AtFlags::empty())
}

/// Opens the directory above a path, and cuts off the last name.
pub(super) fn open_parent(path: &Path) -> Result<(OwnedFd, CString), DiskError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(DiskError::Unfit { path: path.to_owned(), why: "names no directory" });
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(parent, flags, Mode::empty()).map_err(failed("open", parent))?;
    let name = CString::new(name.as_bytes()).map_err(|_| {
        failed("open", path)(io::Error::new(io::ErrorKind::InvalidInput, "a name with a zero byte"))
    })?;
    Ok((directory, name))
}

/// `.` and `..`, which every listing has.
pub(super) fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// A path for messages: `root`, the names on the way down, and a last one.
pub(super) fn path_of<'a>(root: &Path, names: impl Iterator<Item = &'a CStr>) -> PathBuf {
    let mut path = root.to_owned();
    path.extend(names.map(|name| OsStr::from_bytes(name.to_bytes())));
    path
}
