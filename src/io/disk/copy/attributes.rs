//! What a copy keeps besides its content.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown,
    fgetxattr, flistxattr, fsetxattr, futimens, utimensat,
};
use rustix::io::Errno;

/// What the kernel allows for all names of one file, and for one value (limits.h).
const ATTRIBUTE_BYTES_MAX: usize = 64 * 1024;

/// Gives `to`, which we made, what `from` has: attributes, owner, mode, times, in this order,
/// because each could undo the one after it. The owner is a new one if that is given.
pub(super) fn copy(
    from: &impl AsFd,
    found: &Stat,
    to: &impl AsFd,
    new_owner: Option<u32>,
) -> Result<(), Errno> {
    copy_extended(from, to);
    let (user, group) = owner(found, new_owner);
    let owned = fchown(to, user, group);
    let kept_owner = match new_owner {
        Some(_) => owned.map(|()| false)?,
        None => owned.is_ok(),
    };
    fchmod(to, mode(found, kept_owner))?;
    futimens(to, &times(found))
}

/// As [`copy`], for what cannot be opened.
pub(super) fn copy_by_name(
    found: &Stat,
    to: &OwnedFd,
    name: &CStr,
    new_owner: Option<u32>,
) -> Result<(), Errno> {
    let (user, group) = owner(found, new_owner);
    // Only root can keep the owner; for others it is theirs from now on.
    match chownat(to, name, user, group, AtFlags::SYMLINK_NOFOLLOW) {
        Err(error) if new_owner.is_some() => return Err(error),
        _ => {}
    }
    utimensat(to, name, &times(found), AtFlags::SYMLINK_NOFOLLOW)
}

/// A program that ran as its owner must not run as us because we copied it.
fn mode(found: &Stat, kept_owner: bool) -> Mode {
    let kept = if kept_owner { 0o7777 } else { 0o1777 };
    Mode::from_raw_mode(found.st_mode & kept)
}

/// Copies `user.` attributes as far as both sides have them: they are decoration, and a copy
/// without them is a copy.
fn copy_extended(from: &impl AsFd, to: &impl AsFd) {
    let mut names = [0; 1024];
    let Ok(length) = flistxattr(from, &mut names) else {
        return;
    };
    if length == 0 {
        return;
    }
    let mut value = vec![0; ATTRIBUTE_BYTES_MAX];
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            return;
        };
        if name.to_bytes().starts_with(b"user.")
            && let Ok(length) = fgetxattr(from, name, &mut value)
        {
            let _ = fsetxattr(to, name, &value[..length], XattrFlags::empty());
        }
    }
}

fn owner(found: &Stat, new: Option<u32>) -> (Option<Uid>, Option<Gid>) {
    let (user, group) = new.map_or((found.st_uid, found.st_gid), |new| (new, new));
    (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
}

fn times(found: &Stat) -> Timestamps {
    // The kernel's own numbers: nanoseconds are below a thousand million.
    let time = |seconds, nanos: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanos).unwrap_or(0),
    };
    Timestamps {
        last_access: time(found.st_atime, found.st_atime_nsec),
        last_modification: time(found.st_mtime, found.st_mtime_nsec),
    }
}
