//! Names of sessions, through a real dnsmasq.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use crate::house::{House, can};
use crate::support::process::{Running, command};
use crate::support::root::Root;
use crate::support::wait::{PATIENCE, wait_until};
use crate::support::{self, Need};

/// The address of a name, by asking the server on loopback (RFC 1035 §4.1).
fn lookup(port: u16, name: &str) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a socket has a timeout");
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.push(u8::try_from(name.len()).expect("a label"));
    query.extend_from_slice(name.as_bytes());
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    socket.send_to(&query, ("127.0.0.1", port)).ok()?;
    let mut answer = [0; 512];
    let len = socket.recv(&mut answer).ok()?;
    let answers = u16::from_be_bytes([answer[6], answer[7]]);
    let end: [u8; 4] = answer[len - 4..len].try_into().expect("four bytes");
    (answers == 1).then(|| Ipv4Addr::from(end))
}

fn dnsmasq(root: &Root) -> (Running, u16) {
    let free = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let port = free.expect("a free port").port();
    let mut call = command(root, support::process::find("dnsmasq").expect("it was asked for"));
    call.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"])
        .args(["--listen-address=127.0.0.1", "--bind-interfaces", "--user=root"])
        .arg(format!("--port={port}"))
        .arg(format!("--hostsdir={}", root.paths().shell_state().display()));
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
    // A directory is told of, and the file is there again when it is gone.
    std::fs::remove_file(&path).expect("the root is ours");
    std::fs::create_dir(&path).expect("the root is ours");
    house.create(&["last", "--dns", "last"]);
    std::fs::remove_dir(&path).expect("the listener leaves it alone");
    wait_until(PATIENCE, "the file again", || path.is_file());
    assert!(house.hosts().contains("127.0.0.1 last\n"), "{}", house.hosts());
}
