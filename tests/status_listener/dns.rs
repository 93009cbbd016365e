//! Names of sessions, through a real dnsmasq.

use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::house::{House, can};
use crate::support::process::{Running, command};
use crate::support::root::Root;
use crate::support::wait::{PATIENCE, wait_until};
use crate::support::{self, Need};

/// The address of a name, by asking the server on loopback (RFC 1035 §4.1).
pub fn lookup(port: u16, name: &str) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket has a timeout");
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).expect("a label"));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send_to(&query, ("127.0.0.1", port)).ok()?;
    let mut answer = [0; 512];
    let len = socket.recv(&mut answer).ok()?;
    let answers = u16::from_be_bytes([answer[6], answer[7]]);
    let end: [u8; 4] = answer[len - 4..len].try_into().expect("four bytes");
    (answers == 1).then(|| Ipv4Addr::from(end))
}

fn dnsmasq(root: &Root) -> (Running, u16) {
    let hosts = format!("--hostsdir={}", root.paths().shell_state().display());
    dnsmasq_with(root, &hosts)
}

/// A server with this argument beside those that keep it from the machine's own settings, and its
/// port.
pub fn dnsmasq_with(root: &Root, argument: &str) -> (Running, u16) {
    // It takes both, and ends if it cannot.
    let port = std::iter::repeat_with(|| {
        let stream = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = stream.local_addr().expect("it is bound").port();
        UdpSocket::bind(("127.0.0.1", port)).ok().map(|_both| port)
    });
    let port = port.flatten().next().expect("one of them is free");
    let mut call = command(root, support::process::find("dnsmasq").expect("it was asked for"));
    call.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
        .args(["--listen-address=127.0.0.1", "--bind-interfaces", "--user=root"])
        .arg(format!("--port={port}"))
        .args(argument.split(' '));
    (Running::start(&mut call), port)
}

#[test]
fn names_resolve_and_go_and_survive_an_agent_that_is_away() {
    let test = "names_resolve_and_go_and_survive_an_agent_that_is_away";
    if !can(test) || !support::has(test, &[Need::Program("dnsmasq"), Need::Root]) {
        return;
    }
    let mut house = House::start();
    let (_server, port) = dnsmasq(&house.agent.files.root);
    let here = Some(Ipv4Addr::LOCALHOST);
    house.create(&["web", "--dns", "web"]);
    house.create(&["db", "--dns", "db"]);
    wait_until(PATIENCE, "both names", || [lookup(port, "web"), lookup(port, "db")] == [here; 2]);
    house.agent.client(&["rm", "web"]).expect_done();
    wait_until(PATIENCE, "one name to be gone", || lookup(port, "web").is_none());
    assert_eq!(lookup(port, "db"), here, "{}", house.hosts());
    house.agent.process().signal(rustix::process::Signal::KILL);
    house.hub.waits_for_agent(support::agent::AGENT_ID, "lost");
    house.hub.kill();
    house.hub.start_again(&house.agent.files.root);
    house.hub.waits_for_agent(support::agent::AGENT_ID, "unseen");
    assert_eq!(lookup(port, "db"), here, "{}", house.hosts());
}

fn mode_of(path: &Path) -> u32 {
    std::fs::metadata(path).map_or(0, |found| found.permissions().mode() & 0o7777)
}

#[test]
fn whatever_stands_in_place_of_the_hosts_file_is_replaced() {
    if !can("whatever_stands_in_place_of_the_hosts_file_is_replaced") {
        return;
    }
    let house = House::start();
    let path = house.agent.files.root.paths().dns_hosts();
    wait_until(PATIENCE, "the file", || path.exists());
    let edited = path.with_extension("edited");
    let target = path.with_extension("target");
    std::fs::write(&target, "theirs").expect("the root is ours");
    for (name, is_link, text) in [
        ("web", false, b"192.0.2.9 printer\n".to_vec()),
        ("noise", false, vec![0xff; 4096]),
        ("huge", false, vec![b'x'; 5 * 1024 * 1024]),
        ("link", true, Vec::new()),
    ] {
        match is_link {
            true => std::os::unix::fs::symlink(&target, &edited).expect("the root is ours"),
            false => std::fs::write(&edited, text).expect("the root is ours"),
        }
        std::fs::rename(&edited, &path).expect("the root is ours");
        house.create(&[name, "--dns", name]);
        let line = format!("127.0.0.1 {name}\n");
        wait_until(PATIENCE, name, || house.hosts().contains(&line));
        let hosts = house.hosts();
        let is_ours =
            |line: &str| line.starts_with("# convocate") || line.starts_with("127.0.0.1 ");
        assert!(hosts.lines().all(is_ours), "{hosts}");
    }
    assert_eq!(std::fs::read_to_string(&target).expect("it is there"), "theirs");
    // By itself: a directory is set aside, and rights, a pipe and nothing are mended as well.
    let whole = house.hosts();
    let found = path.with_added_extension("found");
    let set_mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
    };
    let spoil: [&dyn Fn(); 5] = [
        &|| std::fs::write(&path, "192.0.2.9 printer\n").expect("the root is ours"),
        &|| set_mode(&path, 0o600),
        &|| std::fs::remove_file(&path).expect("the root is ours"),
        &|| {
            std::fs::remove_file(&path).expect("the root is ours");
            std::fs::create_dir(&path).expect("the root is ours");
            std::fs::write(path.join("kept"), "theirs").expect("the root is ours");
        },
        &|| {
            std::fs::remove_file(&path).expect("the root is ours");
            let made = Command::new("mkfifo").arg(&path).status().expect("coreutils");
            assert!(made.success());
        },
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        spoil();
        let is_file = || std::fs::symlink_metadata(&path).is_ok_and(|it| it.is_file());
        let is_mended = || is_file() && house.hosts() == whole && mode_of(&path) == 0o644;
        wait_until(PATIENCE, &format!("the file to be mended, {number}"), is_mended);
    }
    assert_eq!(std::fs::read_to_string(found.join("kept")).expect("it is there"), "theirs");
}
