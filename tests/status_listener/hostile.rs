//! An agent host that was taken over, with its real key and the stock ssh: what it says reaches
//! nobody's names, nobody else's sessions, and not the listener's memory.

use std::fs;
use std::time::Duration;

use convocate::base::uuid::Uuid;
use convocate::rpc::STATUS_SUBSYSTEM;
use convocate::rpc::event::EventType;
use serde_json::{Value, json};

use crate::dns::{dnsmasq_with, lookup};
use crate::house::{Shell, can};
use crate::support::agent::AGENT_ID;
use crate::support::process::{CONVOCATE, command, run};
use crate::support::pusher::{self, Pusher, drive};
use crate::support::wait::{PATIENCE, wait_until};
use crate::support::{self, Need};

/// The session of the agent that is honest.
const THEIRS: &str = "01234567-89ab-4def-8123-456789abcdef";
/// Where github.com is, as the world says.
const GITHUB: [u8; 4] = [198, 51, 100, 4];
/// What the listener may grow by: what it keeps of an agent, its history, its journal's pending
/// writes, and the windows and buffers of a connection.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

fn session(uuid: &str, dns_name: &str) -> Value {
    json!({
        "uuid": uuid, "name": "web", "created_at": "1970-01-02T03:04:05Z",
        "last_accessed": "2026-01-02T03:04:05Z", "dns_name": dns_name, "running": true,
    })
}

fn number(number: u32) -> String {
    format!("99999999-89ab-4def-8123-{number:012x}")
}

/// Lines of an agent, with and without numbers.
#[derive(Default)]
struct Script {
    lines: Vec<String>,
}

impl Script {
    fn event(&mut self, kind: &str, session: &str, data: &Value) -> &mut Script {
        self.any(&json!({
            "type": kind, "agent_id": AGENT_ID, "session_id": session,
            "timestamp": "2026-01-02T03:04:05Z", "data": data,
        }))
    }

    fn any(&mut self, event: &Value) -> &mut Script {
        self.lines.push(format!("{event}\n"));
        self
    }

    fn send(&mut self, house: &Shell) {
        let lines = std::mem::take(&mut self.lines).concat();
        // Whatever the end is: the listener may hang up.
        let _ended = house.ssh().subsystem(STATUS_SUBSYSTEM, lines.as_bytes());
    }
}

fn rss_kib(house: &Shell) -> u64 {
    let path = format!("/proc/{}/status", house.hub.process().pid());
    let status = fs::read_to_string(path).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is told");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn hosts(house: &Shell) -> String {
    fs::read_to_string(house.files.root.paths().dns_hosts()).unwrap_or_default()
}

/// Nothing but lines of ours.
#[track_caller]
fn hosts_are_sane(house: &Shell) {
    let hosts = hosts(house);
    let is_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = |name: &str| name.bytes().all(is_label);
    for line in hosts.lines().filter(|line| !line.starts_with("# convocate: ")) {
        let (address, name) = line.split_once(' ').expect("an address and a name");
        assert!(["127.0.0.1", "192.0.2.7"].contains(&address) && is_name(name), "{hosts}");
    }
}

fn names(script: &mut Script) {
    let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = own.split('.').next().unwrap_or_default().trim().to_ascii_lowercase();
    let broken = [
        "x\n10.9.9.9 github.com",
        "10.9.9.9 github.com",
        "github.com",
        "x\r10.9.9.9\tgithub.com",
        "x github.com",
        "_dmarc",
        "*",
        "X",
        "x\0",
        "x\u{2028}10.9.9.9 github.com",
        "#",
        "",
    ];
    let reserved = ["localhost", "wpad", "isatap", "router", "gateway", "dns", "broadcasthost"];
    let more = ["ip6-localhost", "ip6-loopback", "convocate-x", &*own, "hostile-host", "web"];
    let all = broken.into_iter().chain(reserved).chain(more);
    for (at, name) in (1..).zip(all) {
        for kind in ["container.created", "container.edited", "container.started"] {
            script.event(kind, &number(at), &session(&number(at), name));
        }
    }
    // And one that is good.
    script.event("container.created", &number(900), &session(&number(900), "mine"));
}

/// What is the hub's, or another agent's.
fn forged(script: &mut Script) {
    let (honest, _) = pusher::identity(1);
    for kind in ["hub.forgotten", "hub.removed", "hub.session", "hub.lost", "hub.name_refused"] {
        script.event(kind, THEIRS, &session(THEIRS, "stolen"));
    }
    for kind in ["container.deleted", "container.stopped", "container.edited", "hub.forgotten"] {
        script.any(&json!({
            "type": kind, "agent_id": honest, "session_id": THEIRS,
            "timestamp": "2026-01-02T03:04:05Z", "data": session(THEIRS, "stolen"),
        }));
        script.event(kind, "../../etc/passwd", &Value::Null);
    }
    // Its own, under a session's id that is another agent's.
    script.event("container.deleted", THEIRS, &Value::Null);
    script.any(&json!({
        "type": "agent.gap\u{1b}[2J", "agent_id": AGENT_ID, "timestamp": "\u{1b}", "seq": -1,
    }));
}

/// What grows.
fn large(script: &mut Script) {
    let long = "x".repeat(100_000);
    for at in 0..600 {
        let mut session = session(&number(1000 + at), &format!("n{at}"));
        session["name"] = json!(long);
        script.event("container.created", &number(1000 + at), &session);
    }
    for at in 0..6000 {
        let mut session = session(&number(10_000 + at), &format!("m{at}"));
        session["command"] = json!(&long[..4000]);
        let at_time = "2026-01-02T03:04:05Z";
        session["ended"] = json!({ "at": at_time, "cause": "exit", "screen": &long[..16_000] });
        script.event("container.created", &number(10_000 + at), &session);
    }
    for _ in 0..20 {
        let beat = json!({ "usage": &long, "more": [[[[&long]]]] });
        script.event("agent.heartbeat", THEIRS, &beat);
        script.event("agent.started", THEIRS, &json!({ "version": &long, "image_tag": &long }));
        script.event("agent.gap", THEIRS, &json!({ "from": 0, "to": u64::MAX, "why": &long }));
        script.event("x.note", THEIRS, &json!({ "note": &long }));
    }
}

#[test]
fn an_agent_that_was_taken_over_reaches_nobody_elses_names_and_no_memory() {
    let test = "an_agent_that_was_taken_over_reaches_nobody_elses_names_and_no_memory";
    if !can(test) || !support::has(test, &[Need::Program("dnsmasq"), Need::Root]) {
        return;
    }
    let house = Shell::start();
    let paths = house.files.root.paths();
    // The hostile agent is in the registry, with a name and an address; the honest one has a key.
    let (honest, key) = pusher::identity(1);
    let keys = format!(
        "agent-id=\"{AGENT_ID}\" {}\nagent-id=\"{honest}\" {}\n",
        house.files.pusher.public_line(),
        key.public().to_line("test").trim_end()
    );
    house.files.root.write(&paths.status_authorized_keys(), &keys, 0o644);
    house.files.root.write(&house.files.entry().host(), "192.0.2.7\n", 0o644);
    // A third one is known by its host's name.
    let (entry, other) = (house.files.entry(), paths.agent_entry("thzrdagent22"));
    house.files.root.write(&other.host(), "hostile-host.invalid\n", 0o644);
    for (from, to) in [
        (entry.host_key(), other.host_key()),
        (entry.shell_to_agent_key(), other.shell_to_agent_key()),
    ] {
        fs::copy(from, to).expect("the root is ours");
    }

    // A world in which github.com is somewhere, and the cluster's own server before it.
    let world = format!("--address=/github.com/{}", GITHUB.map(|it| it.to_string()).join("."));
    let (_world, world_port) = dnsmasq_with(&house.files.root, &world);
    let at = |port: u16| lookup(port, "github.com").map(|address| address.octets());
    wait_until(PATIENCE, "the world", || at(world_port) == Some(GITHUB));
    let hostsdir = paths.shell_state();
    let own = format!("--hostsdir={} --server=127.0.0.1#{world_port}", hostsdir.display());
    let (_server, port) = dnsmasq_with(&house.files.root, &own);
    let github = || at(port);
    wait_until(PATIENCE, "the cluster's own server", || github() == Some(GITHUB));

    let mut agents = [Pusher::new(&house.files, 1, house.hub.address)];
    let theirs = Uuid::parse(THEIRS).expect("a UUID");
    drive(&mut agents, |agents| agents[0].is_live());
    agents[0].emit(EventType::Created, theirs, session(THEIRS, "web"));
    drive(&mut agents, |agents| agents[0].is_drained());
    let here = Some([127, 0, 0, 1]);
    let web = || lookup(port, "web").map(|address| address.octets());
    wait_until(PATIENCE, "the honest name", || web() == here);
    let before = rss_kib(&house);
    let (mut feed, _) = house.hub.listen();

    let mut told = String::new();
    let scripts: [fn(&mut Script); 3] = [names, forged, large];
    for (at, write) in scripts.into_iter().enumerate() {
        let mut script = Script::default();
        write(&mut script);
        script.send(&house);
        // A line without an end, and the hub's own hand before it.
        script.lines.push("{\"hello\":{\"ack\":true}}\n".to_owned());
        script.lines.push("x".repeat(300_000));
        script.send(&house);
        assert_eq!((github(), web()), (Some(GITHUB), here), "{at}: {}", hosts(&house));
        hosts_are_sane(&house);
        if at == 0 {
            told = events(&house);
        }
        // Others are served meanwhile.
        agents[0].emit(EventType::Attached, theirs, json!({ "attached_count": at + 1 }));
        drive(&mut agents, |agents| agents[0].is_drained());
    }
    wait_until(PATIENCE, "a good name", || lookup(port, "mine").is_some());
    for name in ["localhost", "wpad", "router", "dns", "gateway", "stolen", "x"] {
        assert_eq!(lookup(port, name), None, "{name}: {}", hosts(&house));
    }
    let grown = rss_kib(&house).saturating_sub(before);
    eprintln!("the listener has grown by {grown} KiB from {before} KiB");
    assert!(grown < GROWTH_KIB_MAX, "{before} KiB and {grown} KiB more");
    let known = house.hub.agent(&honest);
    assert_eq!(known["state"], "connected", "{known}");
    assert_eq!(known["sessions"][0]["dns_name"], "web", "{known}");
    assert_eq!(known["sessions"][0]["attached_count"], 3, "{known}");

    // Whoever came second is told of, in the log and by `events`, and nothing is raw there.
    let refused = feed.until("hub.name_refused");
    assert_eq!(refused["agent_id"], AGENT_ID, "{refused}");
    let held = format!("dns name web is held by a session of agent {honest}");
    let log = house.hub.log();
    assert!(log.contains(&held), "{log:.2000}");
    assert!(told.contains("dns name hostile-host is reserved: a host of this"), "{told:.2000}");
    assert!(told.contains(&held), "{told:.2000}");
    for text in [log, told, events(&house)] {
        let is_raw = |sign: char| sign.is_control() && sign != '\n';
        assert!(!text.contains(is_raw), "{:?}", text.lines().find(|line| line.contains(is_raw)));
    }

    // It is removed: at once nothing of it is there, and its names are free.
    let keys = keys.lines().last().expect("two lines");
    house.files.root.write(&paths.status_authorized_keys(), &format!("{keys}\n"), 0o644);
    fs::remove_dir_all(house.files.entry().dir()).expect("the root is ours");
    wait_until(Duration::from_secs(10), "it to be gone", || lookup(port, "mine").is_none());
    assert_eq!(house.hub.agent(AGENT_ID), Value::Null);
    assert!(!hosts(&house).contains("192.0.2.7"), "{}", hosts(&house));
    assert_eq!((github(), web()), (Some(GITHUB), here));
}

/// What `convocate events` shows a person of all that the hub has.
fn events(house: &Shell) -> String {
    let mut call = command(&house.files.root, "timeout");
    call.args(["3", CONVOCATE, "events", "--since", "0", "--root"]).arg(house.files.root.dir());
    let shown = run(&mut call, b"", PATIENCE);
    format!("{}{}", shown.out(), shown.err())
}

#[test]
fn the_second_has_a_name_when_the_first_has_gone() {
    if !can("the_second_has_a_name_when_the_first_has_gone") {
        return;
    }
    let house = Shell::start();
    pusher::enrol(&house.files, 2);
    let mut agents: Vec<Pusher> =
        [0, 1].map(|it| Pusher::new(&house.files, it, house.hub.address)).into();
    drive(&mut agents, |agents| agents.iter().all(Pusher::is_live));
    let (mut feed, _) = house.hub.listen();
    let ids = [number(1), number(2)];
    for (agent, id) in ids.iter().enumerate() {
        agents[agent].emit(
            EventType::Created,
            Uuid::parse(id).expect("a UUID"),
            session(id, "web"),
        );
        drive(&mut agents, |agents| agents[agent].is_drained());
    }
    let (second, _) = pusher::identity(1);
    let refused = feed.until("hub.name_refused");
    assert_eq!(refused["agent_id"], second, "{refused}");
    assert_eq!(hosts(&house).matches(" web\n").count(), 1);
    // The listener forgets nothing over its death.
    agents[0].emit(EventType::Deleted, Uuid::parse(&ids[0]).expect("a UUID"), Value::Null);
    drive(&mut agents, |agents| agents[0].is_drained());
    agents[0].emit(
        EventType::Created,
        Uuid::parse(&ids[0]).expect("a UUID"),
        session(&ids[0], "web"),
    );
    drive(&mut agents, |agents| agents[0].is_drained());
    let (first, _) = pusher::identity(0);
    let refused = feed.until("hub.name_refused");
    assert_eq!(refused["agent_id"], first, "{refused}");
    wait_until(PATIENCE, "one line", || hosts(&house).matches(" web\n").count() == 1);
}
