//! Whole files: read within a bound, written so that a crash leaves the old one or the new one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{Mode, OFlags, fchmod, open, openat, renameat, unlinkat};

use super::access::{Ids, give};
use super::{DiskError, failed};
use crate::io::entropy;

/// Whether the last step of a path may be a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    /// As the operator wishes: configuration.
    Follow,
    /// Where somebody else may write: a session's home.
    Refuse,
}

/// Replaces the file at `path` by one with these `bytes` and this `mode`, durably. Whoever reads or
/// whatever crashes meanwhile sees the old file or the new one, whole. A link at `path` is
/// replaced, not followed.
///
/// A crash may leave a file `.<name>.<random>.tmp` behind, which nothing reads.
///
/// # Errors
/// [`DiskError`]; the old file is untouched then.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
    write_atomic_as(path, bytes, mode, None)
}

/// As [`write_atomic`], and the new file belongs to `owner` if one is named, before anybody can
/// see it.
///
/// # Errors
/// As of [`write_atomic`].
pub(crate) fn write_atomic_as(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Option<Ids>,
) -> Result<(), DiskError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(DiskError::Unfit { path: path.to_owned(), why: "names no file" });
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(parent, flags, Mode::empty()).map_err(failed("open", parent))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{:016x}.tmp", u64::from_le_bytes(entropy::bytes())));
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(&directory, &temporary, flags, Mode::RUSR | Mode::WUSR);
    let mut file = File::from(file.map_err(failed("create a file for", path))?);
    let done = fill(&mut file, bytes, mode, owner)
        .and_then(|()| Ok(renameat(&directory, &temporary, &directory, name)?));
    if let Err(error) = done {
        // The first error is the one to tell.
        let _ = unlinkat(&directory, &temporary, rustix::fs::AtFlags::empty());
        return Err(failed("write", path)(error));
    }
    rustix::fs::fsync(&directory).map_err(failed("sync", parent))
}

fn fill(file: &mut File, bytes: &[u8], mode: u32, owner: Option<Ids>) -> io::Result<()> {
    file.write_all(bytes)?;
    if let Some(ids) = owner {
        give(&*file, ids)?;
    }
    // Not through open(2), which the umask would change.
    fchmod(&*file, Mode::from_raw_mode(mode))?;
    file.sync_all()
}

/// Gives what stands at `from` the name `to`, durably, which must not be taken.
///
/// # Errors
/// [`DiskError`]; nothing has moved then.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<(), DiskError> {
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        from,
        rustix::fs::CWD,
        to,
        rustix::fs::RenameFlags::NOREPLACE,
    )
    .map_err(failed("make", to))?;
    sync_parent(to)
}

/// Makes a directory, durably, with exactly this `mode`. It must not be there yet.
///
/// # Errors
/// [`DiskError`]
pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<(), DiskError> {
    rustix::fs::mkdir(path, Mode::RWXU).map_err(failed("make", path))?;
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))
        .map_err(failed("change the mode of", path))?;
    sync_parent(path)
}

/// Makes a directory with this `mode` and those above it that are missing. What is there stays as
/// it is.
///
/// # Errors
/// [`DiskError`]
pub(crate) fn make_directories(path: &Path, mode: u32) -> Result<(), DiskError> {
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let missing: Vec<&Path> = path.ancestors().take_while(is_missing).collect();
    for path in missing.into_iter().rev() {
        make_directory(path, mode)?;
    }
    Ok(())
}

fn sync_parent(path: &Path) -> Result<(), DiskError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(parent, flags, Mode::empty()).map_err(failed("open", parent))?;
    rustix::fs::fsync(&directory).map_err(failed("sync", parent))
}

/// Reads the regular file at `path`, of at most `limit` bytes. A FIFO or a device there is an
/// error and is not waited for.
///
/// # Errors
/// [`DiskError`]; that it is not there is one for which [`DiskError::is_missing`] holds.
pub(crate) fn read_bounded(path: &Path, limit: usize, links: Links) -> Result<Vec<u8>, DiskError> {
    let (mut file, _) = open_regular(path, links)?;
    let mut bytes = Vec::new();
    read_up_to(&mut file, limit, &mut bytes, path)?;
    Ok(bytes)
}

/// Opens a regular file for reading, and tells its owner and mode.
pub(super) fn open_regular(
    path: &Path,
    links: Links,
) -> Result<(File, std::fs::Metadata), DiskError> {
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if links == Links::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let file = File::from(open(path, flags, Mode::empty()).map_err(failed("read", path))?);
    let found = file.metadata().map_err(failed("read", path))?;
    if !found.is_file() {
        return Err(DiskError::Unfit { path: path.to_owned(), why: "is no regular file" });
    }
    Ok((file, found))
}

/// The size that the file claims sets the first allocation only as far as the limit goes.
pub(super) fn read_up_to(
    file: &mut File,
    limit: usize,
    bytes: &mut Vec<u8>,
    path: &Path,
) -> Result<(), DiskError> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(bytes).map_err(failed("read", path))?;
    if bytes.len() > limit {
        return Err(DiskError::TooLong { path: path.to_owned(), limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::access::mode_bits;
    use super::*;
    use crate::io::scratch::{CHILD_FILE, Scratch, child_arguments, child_file, skip};

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_is_left_over() {
        let scratch = Scratch::new();
        let path = scratch.join("session.json");
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o666).unwrap();
        assert_eq!(read_bounded(&path, 3, Links::Refuse).unwrap(), b"two");
        assert_eq!(mode_bits(&fs::metadata(&path).unwrap()), 0o666);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_is_replaced_and_its_target_untouched() {
        let scratch = Scratch::new();
        let (target, link) = (scratch.join("target"), scratch.join("link"));
        fs::write(&target, "precious").unwrap();
        symlink(&target, &link).unwrap();
        assert!(read_bounded(&link, 100, Links::Refuse).is_err());
        assert_eq!(read_bounded(&link, 100, Links::Follow).unwrap(), b"precious");
        write_atomic(&link, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }

    #[test]
    fn a_failure_names_the_path_and_leaves_nothing() {
        let scratch = Scratch::new();
        let path = scratch.join("taken");
        fs::create_dir(&path).unwrap();
        let error = write_atomic(&path, b"x", 0o600).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot write {}: ", path.display())), "{error}");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
        let lost = scratch.join("no/such");
        assert!(write_atomic(&lost, b"x", 0o600).unwrap_err().is_missing());
        assert!(write_atomic(Path::new("/"), b"x", 0o600).is_err());
    }

    #[test]
    fn reading_has_a_bound_and_waits_for_nobody() {
        let scratch = Scratch::new();
        let path = scratch.join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_bounded(&path, 5, Links::Refuse).unwrap(), b"12345");
        let error = read_bounded(&path, 4, Links::Refuse).unwrap_err().to_string();
        assert_eq!(error, format!("{} is longer than 4 bytes", path.display()));
        let fifo = scratch.join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, Mode::RUSR).unwrap();
        let error = read_bounded(&fifo, 4, Links::Refuse).unwrap_err().to_string();
        assert_eq!(error, format!("{} is no regular file", fifo.display()));
        assert!(read_bounded(Path::new("/dev/zero"), 4, Links::Refuse).is_err());
        assert!(read_bounded(&scratch.join("none"), 4, Links::Refuse).unwrap_err().is_missing());
    }

    /// The other half of `killed_while_writing_leaves_the_old_or_the_new`. Never ends.
    #[test]
    fn writing_in_a_process_of_its_own() {
        let Some(path) = child_file() else { return };
        for round in 0.. {
            let bytes = vec![if round % 2 == 0 { b'o' } else { b'n' }; 300_000 + round % 2];
            write_atomic(&path, &bytes, 0o600).unwrap();
        }
    }

    #[test]
    fn killed_while_writing_leaves_the_old_or_the_new() {
        let scratch = Scratch::new();
        let path = scratch.join("file");
        let name = "io::disk::file::tests::writing_in_a_process_of_its_own";
        for round in 0..8 {
            let mut writer = std::process::Command::new(std::env::current_exe().unwrap())
                .args(child_arguments(name))
                .env(CHILD_FILE, &path)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let _ = fs::remove_file(&path);
            while !path.exists() {
                std::thread::yield_now();
            }
            // Anywhere in the cycle: each round looks at the file a different number of times.
            for _ in 0..round * 300 {
                let _ = fs::symlink_metadata(&path);
            }
            writer.kill().unwrap();
            writer.wait().unwrap();
            let bytes = fs::read(&path).unwrap();
            let first = bytes[0];
            assert_eq!(bytes.len(), 300_000 + usize::from(first == b'n'));
            assert!(bytes.iter().all(|byte| *byte == first));
        }
    }

    /// Where there is a small file system to fill: needs root and mounts.
    #[test]
    fn a_full_disk_keeps_the_old_file() {
        let scratch = Scratch::new();
        let mount = |arguments: &[&str]| {
            let status = std::process::Command::new(arguments[0]).args(&arguments[1..]).status();
            status.is_ok_and(|status| status.success())
        };
        let place = scratch.path().to_str().unwrap();
        if !rustix::process::geteuid().is_root()
            || !mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place])
        {
            skip("a_full_disk_keeps_the_old_file", "cannot mount a tmpfs");
            return;
        }
        let path = scratch.join("file");
        write_atomic(&path, b"old", 0o600).unwrap();
        let error = write_atomic(&path, &[7; 100_000], 0o600).unwrap_err().to_string();
        let (kept, count) = (fs::read(&path), fs::read_dir(scratch.path()).unwrap().count());
        assert!(mount(&["umount", place]));
        assert!(error.contains("No space left"), "{error}");
        assert_eq!((kept.unwrap(), count), (b"old".to_vec(), 1));
    }
}
