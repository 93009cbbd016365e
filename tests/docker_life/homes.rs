//! Homes with all that a file system can hold.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use crate::house::{House, timed};
use crate::support::process::{CONVOCATE, Running, command};
use crate::support::wait::wait_until;

const SPARSE_BYTES: u64 = 3 << 30;
const SMALL_FILES: u32 = 20_000;
/// Copying and removing take their time on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a call may take meanwhile: the client's start and its login included, in a build for
/// tests, on a machine that does much else.
const MEANWHILE_MAX: Duration = Duration::from_secs(3);

#[test]
fn a_home_of_all_kinds_is_copied_and_removed_in_the_background() {
    let test = "a_home_of_all_kinds_is_copied_and_removed_in_the_background";
    let Some(house) = House::open(test) else { return };
    let id = house.create("zoo", &[]);
    fill(&house.home(&id));
    let before = house.resident_kib();
    meanwhile(&house, &["clone", "zoo", "ark"]);
    let copy = house.home(house.show("ark")["uuid"].as_str().expect("an id"));
    assert_is_copied(&copy);
    meanwhile(&house, &["rm", "zoo"]);
    meanwhile(&house, &["rm", "ark"]);
    assert!(!house.home(&id).exists() && !copy.exists());
    let grown = house.resident_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
}

/// Runs a call, and asks the agent for something else until it has ended.
fn meanwhile(house: &House, call: &[&str]) {
    let root = &house.agent.files.root;
    let mut long =
        Running::start(command(root, CONVOCATE).args(call).arg("--root").arg(root.dir()));
    let (mut asked, mut worst) = (0, Duration::ZERO);
    wait_until(PATIENCE, "the long operation", || {
        let (_, took) = timed(|| house.done(&["ls"]));
        (asked, worst) = (asked + 1, worst.max(took));
        !long.is_alive()
    });
    long.finish(PATIENCE).expect_done();
    assert!(asked >= 1 && worst < MEANWHILE_MAX, "{call:?}: {asked} calls, {worst:?} at worst");
}

fn fill(home: &Path) {
    let at = |name: &str| home.join(name);
    fs::write(at("foreign"), "root's").unwrap();
    chown(at("foreign"), Some(4242), Some(4242)).unwrap();
    fs::create_dir_all(at("locked/inner")).unwrap();
    fs::write(at("locked/inner/file"), "x").unwrap();
    for name in ["locked/inner", "locked"] {
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o555)).unwrap();
    }
    drop(UnixListener::bind(at("socket")).unwrap());
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RWXU).unwrap();
    fs::File::create(at("sparse")).unwrap().set_len(SPARSE_BYTES).unwrap();
    symlink("loop", at("loop")).unwrap();
    symlink("..", at("up")).unwrap();
    fs::create_dir(at("many")).unwrap();
    for number in 0..SMALL_FILES {
        fs::write(at(&format!("many/{number}")), "small").unwrap();
    }
}

fn assert_is_copied(copy: &Path) {
    let found = |name: &str| fs::symlink_metadata(copy.join(name)).unwrap();
    assert_eq!(found("foreign").uid(), fs::metadata(copy).unwrap().uid());
    assert_eq!(found("locked").mode() & 0o777, 0o555);
    assert!(fs::symlink_metadata(copy.join("socket")).is_err());
    assert!(found("fifo").file_type().is_fifo());
    assert_eq!(found("sparse").len(), SPARSE_BYTES);
    assert!(found("sparse").blocks() < 1024, "{} blocks", found("sparse").blocks());
    assert!(found("loop").is_symlink() && found("up").is_symlink());
    let many = fs::read_dir(copy.join("many")).unwrap().count();
    assert_eq!(many, usize::try_from(SMALL_FILES).unwrap());
}
