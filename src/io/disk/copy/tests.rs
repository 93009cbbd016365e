//! Copying and removing real trees: odd files, odd modes, many files, deep trees, moving targets.

use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use super::*;
use crate::io::scratch::{Scratch, skip};

const ALL: CopyOptions<'_> = CopyOptions { without: &[], owner: None };

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A source directory in a scratch, and where its copy goes.
fn scene() -> (Scratch, PathBuf, PathBuf) {
    scene_in(Scratch::new())
}

/// As [`scene`], in memory where that can be had: for what makes a disk slow.
fn quick_scene() -> (Scratch, PathBuf, PathBuf) {
    let memory = Path::new("/dev/shm");
    scene_in(if memory.is_dir() { Scratch::below(memory) } else { Scratch::new() })
}

fn scene_in(scratch: Scratch) -> (Scratch, PathBuf, PathBuf) {
    let (source, target) = (scratch.join("source"), scratch.join("target"));
    fs::create_dir(&source).unwrap();
    (scratch, source, target)
}

#[test]
fn a_home_is_copied_as_it_is() {
    let (_scratch, source, target) = scene();
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/b/file"), "content").unwrap();
    set_mode(&source.join("a/b/file"), 0o4751);
    fs::write(source.join("session.json"), "left out").unwrap();
    fs::write(source.join("a/session.json"), "kept").unwrap();
    symlink("/etc/passwd", source.join("link")).unwrap();
    symlink("nowhere", source.join("a/dangling")).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    File::open(source.join("a")).unwrap().set_modified(old).unwrap();
    set_mode(&source.join("a/b"), 0o555);
    let copied =
        copy_tree(&source, &target, CopyOptions { without: &["session.json"], owner: None })
            .unwrap();
    assert_eq!((copied.files, copied.bytes, copied.skipped), (2, 11, 0));
    assert_eq!(fs::read(target.join("a/b/file")).unwrap(), b"content");
    assert_eq!(mode(&target.join("a/b/file")), 0o4751);
    assert_eq!(mode(&target.join("a/b")), 0o555);
    assert_eq!(fs::metadata(target.join("a")).unwrap().modified().unwrap(), old);
    assert!(!target.join("session.json").exists());
    assert_eq!(fs::read(target.join("a/session.json")).unwrap(), b"kept");
    assert_eq!(fs::read_link(target.join("link")).unwrap(), Path::new("/etc/passwd"));
    assert_eq!(fs::read_link(target.join("a/dangling")).unwrap(), Path::new("nowhere"));
}

#[test]
fn a_fifo_is_made_anew_and_sockets_are_noted() {
    let (_scratch, source, target) = scene();
    mkfifoat(rustix::fs::CWD, source.join("fifo"), Mode::RUSR).unwrap();
    set_mode(&source.join("fifo"), 0o622);
    let _listener = UnixListener::bind(source.join("sock")).unwrap();
    let copied = copy_tree(&source, &target, ALL).unwrap();
    let fifo = fs::symlink_metadata(target.join("fifo")).unwrap();
    assert!(fifo.file_type().is_fifo());
    assert_eq!(fifo.mode() & 0o777, 0o622);
    assert_eq!(copied.notes, [format!("{} is a socket", source.join("sock").display())]);
    assert!(!target.join("sock").exists());
}

#[test]
fn holes_stay_holes() {
    const SIZE: u64 = 3 << 30;
    let (_scratch, source, target) = scene();
    let file = File::create(source.join("sparse")).unwrap();
    file.set_len(SIZE).unwrap();
    file.write_all_at(b"middle", SIZE / 2).unwrap();
    drop(file);
    copy_tree(&source, &target, ALL).unwrap();
    let found = fs::metadata(target.join("sparse")).unwrap();
    assert_eq!(found.size(), SIZE);
    assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
    let mut middle = [0; 8];
    let copy = File::open(target.join("sparse")).unwrap();
    copy.read_exact_at(&mut middle, SIZE / 2 - 1).unwrap();
    assert_eq!(&middle, b"\0middle\0");
}

#[test]
fn every_way_of_moving_bytes_gives_the_same() {
    let scratch = Scratch::new();
    let content: Vec<u8> = (0..1_000_003_u32).map(|at| at.to_le_bytes()[0] ^ 0x5a).collect();
    fs::write(scratch.join("source"), &content).unwrap();
    let from = OwnedFd::from(File::open(scratch.join("source")).unwrap());
    let found = fstat(&from).unwrap();
    for mut mover in data::Mover::of_every_way() {
        let to = OwnedFd::from(File::create(scratch.join("target")).unwrap());
        mover.copy(&from, &to, &found).unwrap();
        assert!(fs::read(scratch.join("target")).unwrap() == content);
    }
}

#[test]
fn hard_links_stay_together() {
    let (_scratch, source, target) = scene();
    fs::create_dir(source.join("d")).unwrap();
    fs::write(source.join("d/one"), "shared").unwrap();
    fs::hard_link(source.join("d/one"), source.join("two")).unwrap();
    copy_tree(&source, &target, ALL).unwrap();
    let (one, two) = (target.join("d/one"), target.join("two"));
    assert_eq!(fs::metadata(&one).unwrap().ino(), fs::metadata(&two).unwrap().ino());
    assert_eq!(fs::read(two).unwrap(), b"shared");
    assert_ne!(fs::metadata(one).unwrap().ino(), fs::metadata(source.join("two")).unwrap().ino());
}

#[test]
fn user_attributes_are_kept() {
    let (_scratch, source, target) = scene();
    fs::write(source.join("file"), "").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(source.join("file"), "user.note", b"hello", flags).is_err() {
        skip("user_attributes_are_kept", "no user attributes on this file system");
        return;
    }
    copy_tree(&source, &target, ALL).unwrap();
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(target.join("file"), "user.note", &mut value).unwrap();
    assert_eq!(&value[..length], b"hello");
}

#[test]
fn a_failure_names_the_path_and_touches_nothing() {
    let (_scratch, source, target) = scene();
    fs::write(source.join("file"), "x").unwrap();
    fs::create_dir(&target).unwrap();
    fs::write(target.join("precious"), "x").unwrap();
    let error = copy_tree(&source, &target, ALL).unwrap_err().to_string();
    assert!(error.contains(target.to_str().unwrap()), "{error}");
    assert!(target.join("precious").exists(), "what stood there before is not touched");
    let link = source.join("link");
    symlink(&source, &link).unwrap();
    assert!(copy_tree(&link, &source.join("other"), ALL).is_err(), "a link is no source");
    assert!(!source.join("other").exists());
}

#[test]
fn a_copy_into_itself_ends() {
    let (_scratch, source, _) = scene();
    fs::write(source.join("file"), "x").unwrap();
    let copied = copy_tree(&source, &source.join("inside"), ALL).unwrap();
    assert_eq!((copied.files, copied.skipped), (1, 1));
}

#[test]
fn many_files_are_copied_and_removed_with_few_open() {
    let (_scratch, source, target) = quick_scene();
    for directory in 0..20 {
        let directory = source.join(directory.to_string());
        fs::create_dir(&directory).unwrap();
        for file in 0..1000 {
            File::create(directory.join(file.to_string())).unwrap();
        }
    }
    let before = open_files();
    let copied = copy_tree(&source, &target, ALL).unwrap();
    assert_eq!(copied.files, 20_000);
    remove_tree(&target).unwrap();
    assert!(!target.exists());
    assert!(open_files() < before + 50, "nothing is left open, other tests aside");
}

#[test]
fn removing_follows_no_link_and_minds_no_mode() {
    let (scratch, source, _) = scene();
    let outside = scratch.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    symlink(&outside, source.join("link")).unwrap();
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/b/file"), "x").unwrap();
    set_mode(&source.join("a/b"), 0o555);
    set_mode(&source.join("a"), 0o000);
    remove_tree(&source).unwrap();
    assert!(!source.exists());
    assert!(outside.join("precious").exists());
    symlink(&outside, scratch.join("top")).unwrap();
    remove_tree(&scratch.join("top")).unwrap();
    assert!(outside.join("precious").exists());
    remove_tree(&scratch.join("never/was")).unwrap();
}

/// Makes this thread alone an ordinary user; libc's own call would change all threads.
#[expect(unsafe_code, reason = "nothing safe changes one thread only")]
fn become_nobody() {
    // SAFETY: takes three numbers and touches no memory.
    let done = unsafe { libc::syscall(libc::SYS_setresuid, 65_534, 65_534, 65_534) };
    assert_eq!(done, 0);
}

/// Root minds no modes at all, so this one steps down to an ordinary user.
#[test]
fn an_owner_who_is_not_root_copies_and_removes_what_is_not_writable() {
    let (scratch, source, target) = scene();
    let root = rustix::process::geteuid().is_root();
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/b/file"), "x").unwrap();
    set_mode(&source.join("a/b"), 0o555);
    set_mode(&source.join("a"), 0o555);
    if root {
        for path in ["", "source", "source/a", "source/a/b", "source/a/b/file"] {
            std::os::unix::fs::chown(scratch.join(path), Some(65_534), Some(65_534)).unwrap();
        }
    }
    let done = std::thread::spawn(move || {
        if root {
            become_nobody();
        }
        copy_tree(&source, &target, ALL).unwrap();
        assert_eq!(mode(&target.join("a/b")), 0o555);
        set_mode(&target.join("a"), 0o000);
        remove_tree(&target).unwrap();
        assert!(!target.exists());
        remove_tree(&source).unwrap();
    });
    done.join().unwrap();
}

#[test]
fn a_tree_deeper_than_any_path_is_removed() {
    let (_scratch, source, _) = quick_scene();
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut at = open(&source, flags, Mode::empty()).unwrap();
    let name = "d".repeat(200);
    for _ in 0..1000 {
        mkdirat(&at, &name, Mode::RWXU).unwrap();
        mkdirat(&at, "sibling", Mode::RWXU).unwrap();
        at = openat(&at, &name, flags, Mode::empty()).unwrap();
    }
    drop(at);
    remove_tree(&source).unwrap();
    assert!(!source.exists());
}

/// Where something can be mounted: needs root.
#[test]
fn a_mounted_place_is_neither_copied_nor_removed() {
    let (scratch, source, target) = scene();
    let (place, outside) = (source.join("place"), scratch.join("outside"));
    fs::create_dir(&place).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "x").unwrap();
    let run = |program: &str, arguments: &[&Path]| {
        let status = std::process::Command::new(program).args(arguments).status();
        status.is_ok_and(|status| status.success())
    };
    let root = rustix::process::geteuid().is_root();
    if !root || !run("mount", &[Path::new("--bind"), &outside, &place]) {
        skip("a_mounted_place_is_neither_copied_nor_removed", "cannot mount");
        return;
    }
    let copied = copy_tree(&source, &target, ALL);
    let removed = remove_tree(&source);
    assert!(run("umount", &[&place]));
    assert_eq!(copied.unwrap().notes, [format!("{} is a mount point", place.display())]);
    let wanted = format!("{} is a mount point and is not removed", place.display());
    assert_eq!(removed.unwrap_err().to_string(), wanted);
    assert!(outside.join("precious").exists());
}

/// Somebody swaps a directory for a link to the outside, over and over, while we remove and copy.
#[test]
fn a_swapped_directory_leads_nowhere() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let (scratch, source, target) = quick_scene();
    let outside = scratch.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "secret").unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let swapper = {
        let (stop, source, outside) = (Arc::clone(&stop), source.clone(), outside.clone());
        std::thread::spawn(move || {
            let (name, link) = (source.join("name"), source.join("link"));
            while !stop.load(Ordering::Relaxed) {
                // Whichever of these fails, another round sets it right.
                let _ = fs::create_dir(&name);
                let _ = symlink(&outside, &link);
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    &name,
                    rustix::fs::CWD,
                    &link,
                    rustix::fs::RenameFlags::EXCHANGE,
                );
            }
        })
    };
    for _ in 0..200 {
        if copy_tree(&source, &target, ALL).is_ok() {
            for name in ["name", "link"] {
                let copy = target.join(name);
                let is_link = fs::symlink_metadata(&copy).is_ok_and(|found| found.is_symlink());
                assert!(is_link || !copy.join("precious").exists(), "the outside was copied");
            }
            remove_tree(&target).unwrap();
        }
        let _ = remove_tree(&source);
        let _ = fs::create_dir(&source);
    }
    stop.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"secret");
}

/// Does something in a thread that is an ordinary user for files; `None` where we cannot be.
#[expect(unsafe_code, reason = "no crate here sets the file system's user of a thread")]
fn as_nobody<T: Send>(act: impl FnOnce() -> T + Send) -> Option<T> {
    const NOBODY: libc::uid_t = 65_534;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: it takes a number, and changes nothing but what this thread may open.
            let user = unsafe {
                libc::setfsuid(NOBODY);
                libc::setfsuid(NOBODY)
            };
            (u32::try_from(user) == Ok(NOBODY)).then(act)
        });
        thread.join().unwrap()
    })
}

#[test]
fn what_cannot_be_read_is_left_out_and_counted() {
    let (scratch, source, target) = scene();
    fs::create_dir_all(source.join("closed/inner")).unwrap();
    for name in ["open", "secret", "closed/inner/file"] {
        fs::write(source.join(name), "x").unwrap();
    }
    fs::hard_link(source.join("secret"), source.join("secret too")).unwrap();
    set_mode(&source.join("secret"), 0);
    set_mode(&source.join("closed"), 0o700);
    set_mode(scratch.path(), 0o777);
    let Some(copied) = as_nobody(|| copy_tree(&source, &target, ALL)) else { return };
    let copied = copied.unwrap();
    assert_eq!((copied.unreadable, copied.skipped), (3, 3), "{copied:?}");
    assert!(copied.notes.iter().all(|note| note.ends_with(" is not readable")), "{copied:?}");
    assert!(target.join("open").exists());
    assert!(!target.join("secret").exists() && !target.join("closed").exists());
}

#[test]
fn a_session_that_runs_cannot_forbid_its_copy() {
    let (_scratch, source, target) = scene();
    let deep: PathBuf = std::iter::repeat_n("d", COPY_LEVELS_MAX + 2).collect();
    fs::create_dir_all(source.join(&deep)).unwrap();
    fs::write(source.join("leased"), "x").unwrap();
    fs::write(source.join("open"), "x").unwrap();
    let leased = File::options().write(true).open(source.join("leased")).unwrap();
    let copied = with_lease(&leased, || copy_tree(&source, &target, ALL)).unwrap();
    assert_eq!((copied.unreadable, copied.skipped), (2, 2), "{copied:?}");
    assert!(target.join("open").exists() && !target.join("leased").exists());
}

/// Runs `act` while `file` has a write lease, which whoever opens it without waiting is refused by.
#[expect(unsafe_code, reason = "rustix knows no leases")]
fn with_lease<T>(file: &File, act: impl FnOnce() -> T) -> T {
    const F_SETSIG: libc::c_int = 10;
    // SAFETY: it takes numbers, and the descriptor is open. The signal that tells of an opener is
    // one that is ignored unless it is asked for.
    let leased = unsafe {
        libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG);
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
    };
    assert_eq!(leased, 0);
    act()
}

#[test]
fn a_copy_can_be_somebody_elses() {
    let (_scratch, source, target) = scene();
    fs::create_dir(source.join("a")).unwrap();
    fs::write(source.join("a/file"), "x").unwrap();
    set_mode(&source.join("a/file"), 0o6755);
    symlink("/etc/passwd", source.join("link")).unwrap();
    let options = CopyOptions { owner: Some(2_000_001), ..ALL };
    match copy_tree(&source, &target, options) {
        Ok(_) => {}
        // Only root can try.
        Err(DiskError::System { error, .. }) if error.raw_os_error() == Some(libc::EPERM) => return,
        Err(error) => panic!("{error}"),
    }
    for name in ["a", "a/file", "link", "."] {
        let found = fs::symlink_metadata(target.join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (2_000_001, 2_000_001), "{name}");
    }
    assert_eq!(mode(&target.join("a/file")), 0o755, "it does not run as its new owner");
    assert_eq!(fs::metadata("/etc/passwd").unwrap().uid(), 0);
}
