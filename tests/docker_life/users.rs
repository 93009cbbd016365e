//! Each session is a user of its own, and what the kernel grants to a user ends at the session.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::time::Duration;

use serde_json::Value;

use crate::house::{House, container, timed};

/// How long the agent may take for an answer meanwhile, with the client's start and login.
const MEANWHILE_MAX: Duration = Duration::from_secs(3);

/// What a process of a session is, as the kernel says.
fn status(house: &House, session: &str, field: &str) -> String {
    let script = format!("grep '^{field}:' /proc/self/status | cut -f2");
    house.inside(session, &script).expect_done().out().trim().to_owned()
}

fn owner(house: &House, session: &str, name: &str) -> u32 {
    fs::symlink_metadata(house.home(session).join(name)).expect("it is there").uid()
}

/// Types a command in a session's terminal and waits for what it shows.
fn typed(house: &House, session: &str, command: &str, shown: &str) {
    let terminal = house.attach(session, session, &[]);
    terminal.type_text(command);
    terminal.press("Enter");
    terminal.wait_for(shown);
}

#[test]
fn a_session_is_its_own_user_without_any_rights() {
    let Some(house) = House::open("a_session_is_its_own_user_without_any_rights") else { return };
    let [one, two] = ["one", "two"].map(|name| house.create(name, &[]));
    for session in [&one, &two] {
        let id = house.user(session);
        assert_eq!(owner(&house, session, "."), id);
        let mode = fs::metadata(house.home(session)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700);
        let ask = "id -u; id -g; id -un; grep -E '^(Cap(Eff|Prm|Bnd|Amb)|NoNewPrivs|Seccomp):' \
                   /proc/self/status >what; touch mine; echo asked";
        typed(&house, session, &ask.replace("asked", "as''ked"), "asked");
        let what = fs::read_to_string(house.home(session).join("what")).unwrap();
        let line = |name: &str| {
            let line = what.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name} in {what}")).trim().to_owned()
        };
        for name in ["CapEff:", "CapPrm:", "CapAmb:"] {
            assert_eq!(line(name), "0000000000000000", "{name}");
        }
        assert_eq!((line("NoNewPrivs:"), line("Seccomp:")), ("1".to_owned(), "2".to_owned()));
        assert_eq!(owner(&house, session, "mine"), id);
        let label = ["inspect", "-f", "{{index .Config.Labels \"convocate.uid\"}}"];
        let label = house.docker(&[&label[..], &[&container(session)]].concat()).out();
        assert_eq!(label.trim(), id.to_string());
        assert_eq!(status(&house, session, "CapEff"), "0000000000000000");
    }
    assert_ne!(house.user(&one), house.user(&two));
    // Even where it can see them, the other's files are closed to it.
    let (user, home) = (house.user(&one).to_string(), house.home(&two));
    let look = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "ls"];
    let looked = std::process::Command::new(look[0]).args(&look[1..]).arg(&home).output().unwrap();
    assert!(String::from_utf8_lossy(&looked.stderr).contains("Permission denied"), "{looked:?}");
}

/// Its server, or what it puts in the place of that, may have any client of tmux run a program:
/// none of them may have a descriptor of the container's log.
#[test]
fn a_session_has_no_descriptor_of_its_log() {
    let Some(house) = House::open("a_session_has_no_descriptor_of_its_log") else { return };
    let session = house.create("one", &[]);
    house.done(&["restart", "one"]);
    let init = house.docker(&["inspect", "-f", "{{.State.Pid}}", &container(&session)]).out();
    let log = |pid: &str, number: &str| fs::read_link(format!("/proc/{pid}/fd/{number}")).ok();
    let logs: Vec<_> = ["1", "2"].iter().filter_map(|number| log(init.trim(), number)).collect();
    assert_eq!(logs.len(), 2);
    let uid = house.user(&session);
    let mut seen = 0;
    for process in fs::read_dir("/proc").unwrap().flatten() {
        if fs::metadata(process.path()).map_or(true, |of| of.uid() != uid) {
            continue;
        }
        seen += 1;
        for descriptor in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let open = fs::read_link(descriptor.path()).unwrap_or_default();
            let name = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            assert!(!logs.contains(&open), "{name:?} has {}", open.display());
        }
    }
    assert!(seen >= 3, "its server, its waiter and its command: {seen}");
}

#[test]
fn the_user_is_kept_and_a_clone_gets_another() {
    let test = "the_user_is_kept_and_a_clone_gets_another";
    let Some(mut house) = House::open(test) else { return };
    let id = house.create("source", &[]);
    let first = house.user(&id);
    typed(&house, &id, "echo x >mine; ln -s /etc/passwd link; echo mad''e", "made");
    let outside = house.sessions().join("outside");
    fs::write(&outside, "x").unwrap();
    symlink(&outside, house.home(&id).join("out")).unwrap();
    house.done(&["clone", "source", "copy"]);
    let copy = house.show("copy")["uuid"].as_str().unwrap().to_owned();
    let second = house.user(&copy);
    assert_ne!(first, second);
    for name in [".", "mine", "link", "out"] {
        assert_eq!(owner(&house, &copy, name), second, "{name}");
    }
    assert_eq!(fs::metadata(&outside).unwrap().uid(), 0);
    assert_eq!(fs::metadata("/etc/passwd").unwrap().uid(), 0);
    typed(&house, &copy, "cat mine && echo y >>mine && echo wri''tten", "written");
    house.restart_agent();
    house.done(&["kill", &id]);
    typed(&house, &id, "echo y >>mine && echo wri''tten", "written");
    assert_eq!((house.user(&id), owner(&house, &id, "mine")), (first, first));
    fs::remove_file(outside).unwrap();
}

#[test]
fn a_home_of_an_earlier_version_is_given_to_its_session_at_the_next_start() {
    let test = "a_home_of_an_earlier_version_is_given_to_its_session_at_the_next_start";
    let Some(mut house) = House::open(test) else { return };
    let id = house.create("old", &[]);
    let given = house.user(&id);
    let home = house.home(&id);
    fs::create_dir(home.join("src")).unwrap();
    for name in ["src/file", "another"] {
        fs::write(home.join(name), "x").unwrap();
    }
    symlink("/etc/hostname", home.join("link")).unwrap();
    for name in ["src/file", "src", "another", "."] {
        chown(home.join(name), Some(1337), Some(1337)).unwrap();
    }
    let _ = std::os::unix::fs::lchown(home.join("link"), Some(1337), Some(1337));
    // The agent of before kept no user.
    let records = house.agent.files.root.paths().agent_state().join("sessions");
    let path = records.join(format!("{id}.json"));
    let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    record.as_object_mut().unwrap().remove("uid");
    fs::write(&path, record.to_string()).unwrap();
    house.restart_agent();
    typed(&house, &id, "echo y >>src/file && echo wri''tten", "written");
    let after = house.user(&id);
    for name in [".", "src", "src/file", "another", "link"] {
        assert_eq!(owner(&house, &id, name), after, "{name}");
    }
    assert!(after >= given);
    assert_eq!(fs::metadata("/etc/hostname").unwrap().uid(), 0);
}

/// Takes inotify instances, then epoll watches, until the kernel gives no more, and holds them.
const EXHAUST: &str = r#"perl -e '
    my ($instances, $watches) = (0, 0);
    while (syscall(294, 0) >= 0) { $instances++ }
    my $epoll = syscall(291, 0);
    exit 3 if $epoll < 0;
    for (1 .. 8000) {
        my $event = syscall(290, 0, 0);
        last if $event < 0;
        my $data = pack("LQ", 1, 0);
        last if syscall(233, $epoll, 1, $event, $data) < 0;
        $watches++;
    }
    open my $file, ">", "/home/claude/taken"; print $file "$instances $watches\n"; close $file;
    sleep 600' &"#;

#[test]
fn a_user_used_up_is_that_of_one_session() {
    let Some(house) = House::open("a_user_used_up_is_that_of_one_session") else { return };
    let [hog, other] = ["hog", "other"].map(|name| house.create(name, &[]));
    house.done(&["restart", &other]);
    let file = house.home(&hog).join("run");
    fs::write(&file, EXHAUST).unwrap();
    chown(&file, Some(house.user(&hog)), None).unwrap();
    typed(
        &house,
        &hog,
        "sh run; until [ -e taken ]; do sleep 0.1; done; cat taken; echo rea''dy",
        "ready",
    );
    let taken = fs::read_to_string(house.home(&hog).join("taken")).unwrap();
    let instances: u32 = taken.split_whitespace().next().unwrap().parse().unwrap();
    assert!(instances >= 100, "{taken}");
    // The neighbour has its own.
    let one = "perl -e 'exit(syscall(294, 0) >= 0 ? 0 : 1)' && echo got''it";
    typed(&house, &other, one, "gotit");
    for call in [&["ls"][..], &["show", "hog"], &["kill", "hog"]] {
        let (_, took) = timed(|| house.done(call));
        assert!(took < MEANWHILE_MAX, "{call:?}: {took:?}");
    }
    assert_eq!(house.state(&hog), "-");
}

#[test]
fn what_no_control_group_counts_is_bounded() {
    let Some(house) = House::open("what_no_control_group_counts_is_bounded") else { return };
    let id = house.create("bounded", &[]);
    house.done(&["restart", &id]);
    let limits = "cat /proc/self/limits; df -k /dev/shm; echo x >/run/x";
    let told = house.inside(&id, limits);
    assert!(told.err().contains("/run/x: Permission denied"), "{}", told.err());
    let out = told.out();
    let words = |start: &str| {
        let line = out.lines().find(|line| line.starts_with(start)).unwrap_or_default();
        line.trim_start_matches(start).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(words("Max open files")[..2], ["16384", "16384"], "{out}");
    assert_eq!(words("Max core file size")[..2], ["0", "0"], "{out}");
    assert_eq!(words("Max msgqueue size")[0], "819200", "{out}");
    let sizes: Vec<String> = words("tmpfs").into_iter().chain(words("shm")).collect();
    assert!(sizes.contains(&"262144".to_owned()), "{out}");
    assert_eq!(house.state(&id), "R");
}
