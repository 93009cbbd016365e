//! The disk of the homes and of the agent's own state is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use convocate::io::disk::measure;

use crate::house::House;
use crate::support::agent::AgentFiles;

const MIB: u64 = 1 << 20;
const DISK_BYTES: u64 = 10 * MIB;
/// Together more than what is free of a disk that is nearly full.
const FILES: usize = 200;

/// A small file system below the homes and the state.
struct Disk {
    at: PathBuf,
    places: [PathBuf; 2],
}

impl Disk {
    fn below(files: &AgentFiles) -> Disk {
        let paths = files.root.paths();
        let at = files.root.dir().join("disk");
        let places = [paths.sessions(), paths.agent_state()];
        fs::create_dir(&at).unwrap();
        mount(&["-t", "tmpfs", "-o", &format!("size={DISK_BYTES},mode=0700"), "tmpfs"], &at);
        for (part, place) in ["homes", "state"].iter().zip(&places) {
            fs::create_dir(at.join(part)).unwrap();
            mount(&["--bind", at.join(part).to_str().unwrap()], place);
        }
        fs::create_dir(paths.skeleton()).unwrap();
        Disk { at, places }
    }

    fn used(&self) -> u64 {
        measure(&self.at).unwrap().used_bytes
    }

    /// Fills it until so many bytes are in use.
    fn fill_to(&self, bytes: u64) {
        let filler = vec![1; usize::try_from(bytes - self.used()).unwrap()];
        fs::write(self.at.join("filler"), filler).unwrap();
    }

    /// Fills it until there is no room for another byte.
    fn fill(&self) {
        let more = vec![1; usize::try_from(DISK_BYTES).unwrap()];
        assert!(fs::write(self.at.join("more"), more).is_err());
    }

    fn empty(&self) {
        for name in ["filler", "more"] {
            fs::remove_file(self.at.join(name)).unwrap();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for place in self.places.iter().chain([&self.at]) {
            let _gone = Command::new("umount").arg("--lazy").arg(place).status();
        }
    }
}

fn mount(what: &[&str], at: &Path) {
    assert!(Command::new("mount").args(what).arg(at).status().unwrap().success());
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing_half() {
    let test = "a_full_disk_is_told_and_leaves_nothing_half";
    let Some((mut house, disk)) = House::open_on(test, Disk::below) else { return };
    let one = house.create("one", &[]);
    let runs = house.create("runs", &[]);
    let fills = house.create("fills", &[]);
    let many = house.home(&one).join("many");
    fs::create_dir(&many).unwrap();
    (0..FILES).for_each(|file| fs::write(many.join(file.to_string()), [1; 4096]).unwrap());
    ["runs", "fills"].iter().for_each(|name| drop(house.done(&["restart", name])));

    // Nearly full: nothing starts any more, in just these words, and a clone ends amid its files.
    disk.fill_to(DISK_BYTES * 95 / 100);
    refuses_to_start(&house);
    let entries = house.entries();
    let told = house.call(&["clone", "one", "two"]);
    assert!(told.code() == 1 && told.err().contains("No space left on device"), "{}", told.err());
    eprintln!("amid files: {}", told.err().trim());
    assert_eq!((house.entries(), disk.used() * 100 / DISK_BYTES), (entries, 95));

    // As if it had been another boot that came to this, so that the agent finds the host rebooted.
    fs::write(house.agent.files.root.paths().agent_state().join("boot-id"), "other\n").unwrap();
    disk.fill();
    let before = (house.names(), house.entries());
    let paths = house.agent.files.root.paths();
    let places = [paths.sessions(), paths.agent_state()].map(|path| path.display().to_string());
    let calls: [&[&str]; 3] = [
        &["new", "two", "--dns", "two", "--port", "5353"],
        &["clone", "one", "two"],
        &["edit", "one", "--name", "uno", "--dns", "two", "--port", "5353"],
    ];
    for call in calls {
        let told = house.call(call);
        let text = told.err();
        assert_eq!((told.code(), text.lines().count()), (1, 1), "{call:?}: {text}");
        assert!(places.iter().any(|place| text.contains(place)), "{call:?}: {text}");
        assert!(text.contains("No space left on device"), "{call:?}: {text}");
        eprintln!("{call:?}: {}", text.trim());
        assert_eq!((house.names(), house.entries()), before, "{call:?}");
    }
    refuses_to_start(&house);
    // What runs goes on, and can be looked at and ended.
    let terminal = house.attach(&runs, "runs", &[]);
    terminal.type_text("echo goes o''n");
    terminal.press("Enter");
    terminal.wait_for("goes on");
    terminal.press("C-b");
    terminal.press("d");
    assert_eq!(terminal.exit_status(), 0, "{}", terminal.screen());
    drop(terminal);
    house.done(&["kill", "fills"]);
    assert_eq!(house.state(&fills), "-");
    house.restart_agent();
    house.wait_for_log("the address cannot be written to a file");
    assert_eq!((house.names(), house.entries()), before);
    assert_eq!(["one", "runs", "fills"].map(|name| house.state(name)), ["-", "R", "-"]);
    house.done(&["rm", "fills"]);
    assert_eq!(house.names(), ["one", "runs"]);

    // There is room again, and nothing has kept the name or the port.
    disk.empty();
    house.done(calls[0]);
    house.done(&["rm", "two"]);
    calls[1..].iter().for_each(|call| drop(house.done(call)));
    let two = house.show("two")["uuid"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_dir(house.home(&two).join("many")).unwrap().count(), FILES);
    assert_eq!(house.names(), ["runs", "two", "uno"]);
    house.done(&["restart", &one]);
    assert_eq!(house.state(&one), "R");
}

/// The start of a session, by the measure of the host's disk.
fn refuses_to_start(house: &House) {
    let told = house.call(&["restart", "one"]);
    assert_eq!(told.code(), 1, "{}", told.err());
    let used = measure(&house.sessions()).unwrap().used_bytes * 10 / MIB;
    let expected = format!(
        "cannot start session \"one\": no capacity: disk: {}.{} MiB in use where the homes \
         are (most by session \"one\" ",
        used / 10,
        used % 10
    );
    assert!(told.err().contains(&expected), "{} is not: {expected}", told.err());
    assert!(told.err().contains("), the cap is 9.0 MiB (90 % of 10.0 MiB)"), "{}", told.err());
    assert_eq!(house.state("one"), "-");
}
