//! What a file is like besides its content, all of it, for root.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chownat, fchmod,
    fchown, fgetxattr, flistxattr, fsetxattr, futimens, utimensat,
};
use rustix::io::Errno;

use crate::base::tree::FileAttributes;
use crate::limits::{TREE_EXTENDED_BYTES_MAX, TREE_EXTENDED_MAX};

/// What the kernel allows for all names of one file, and for one value (limits.h).
const KERNEL_BYTES_MAX: usize = 64 * 1024;
/// What is kept; the rest belongs to a host's own policy.
const KEPT: [&[u8]; 4] = [b"user.", b"trusted.", b"security.capability", b"system.posix_acl_"];

/// Owner, mode and time.
pub(super) fn plain(found: &Stat) -> FileAttributes {
    FileAttributes {
        mode: found.st_mode & 0o7777,
        user: found.st_uid,
        group: found.st_gid,
        seconds: found.st_mtime,
        nanos: u32::try_from(found.st_mtime_nsec).unwrap_or(0),
        extended: Vec::new(),
    }
}

/// The same, and the extended attributes of an open file.
///
/// # Errors
/// [`Errno::TOOBIG`] if they are more than fits into a record.
pub(super) fn whole(file: &impl AsFd, found: &Stat) -> Result<FileAttributes, Errno> {
    let mut attributes = plain(found);
    let mut names = vec![0; KERNEL_BYTES_MAX];
    let length = match flistxattr(file, &mut names) {
        Err(Errno::OPNOTSUPP) => return Ok(attributes),
        other => other?,
    };
    let mut value = Vec::new();
    let mut bytes = 0;
    for name in names[..length].split_inclusive(|&byte| byte == 0) {
        let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::INVAL)?;
        if !KEPT.iter().any(|kept| name.to_bytes().starts_with(kept)) {
            continue;
        }
        value.resize(KERNEL_BYTES_MAX, 0);
        let length = match fgetxattr(file, name, &mut value) {
            Err(Errno::NODATA) => continue,
            other => other?,
        };
        bytes += name.to_bytes().len() + length;
        if bytes > TREE_EXTENDED_BYTES_MAX || attributes.extended.len() == TREE_EXTENDED_MAX {
            return Err(Errno::TOOBIG);
        }
        attributes.extended.push((name.to_bytes().to_vec(), value[..length].to_vec()));
    }
    attributes.extended.sort_unstable();
    Ok(attributes)
}

/// Gives an open file what it is to be like: owner, extended attributes, mode, time, in this
/// order, because each could undo the one after it.
pub(super) fn give(file: &impl AsFd, attributes: &FileAttributes) -> Result<(), Errno> {
    let FileAttributes { user, group, mode, extended, .. } = attributes;
    fchown(file, Some(Uid::from_raw(*user)), Some(Gid::from_raw(*group)))?;
    for (name, value) in extended {
        if !KEPT.iter().any(|kept| name.starts_with(kept)) {
            return Err(Errno::PERM);
        }
        let name = CString::new(name.as_slice()).map_err(|_| Errno::INVAL)?;
        fsetxattr(file, name.as_c_str(), value, XattrFlags::empty())?;
    }
    fchmod(file, Mode::from_raw_mode(*mode))?;
    futimens(file, &times(attributes))
}

/// The same, for what cannot be opened. Links have no mode.
pub(super) fn give_by_name(
    directory: &impl AsFd,
    name: &CStr,
    attributes: &FileAttributes,
) -> Result<(), Errno> {
    let (user, group) = (Uid::from_raw(attributes.user), Gid::from_raw(attributes.group));
    chownat(directory, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    utimensat(directory, name, &times(attributes), AtFlags::SYMLINK_NOFOLLOW)
}

/// When it was read last is nobody's business: reading it here has changed that.
fn times(attributes: &FileAttributes) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: attributes.seconds,
            tv_nsec: i64::from(attributes.nanos),
        },
    }
}
