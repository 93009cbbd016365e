//! What runs out: a log that nobody reads, descriptors, an agent's connections, and the listener
//! itself, where what is known comes from the hub.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use convocate::rpc::STATUS_SUBSYSTEM;
use convocate::ssh::keys::KeyPair;

use crate::HOME;
use crate::attack::{Attack, Ends, byte, is_closed};
use crate::support::agent::{AGENT_ID, Agent, AgentFiles};
use crate::support::hub::Hub;
use crate::support::keys::KeyFile;
use crate::support::process::{CONVOCATE_AGENT, command};
use crate::support::pusher;
use crate::support::wait::{PATIENCE, wait_until};
use crate::support::wire::Wire;
use crate::visit::{Guest, Way};

/// What a pipe of Linux holds (pipe(7)).
const PIPE_BYTES: usize = 64 * 1024;

/// A program that is not listened to.
struct Unheard(Child);

impl Drop for Unheard {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    if !crate::can("a_log_that_nobody_reads_stops_nothing") {
        return;
    }
    let files = AgentFiles::write();
    let (mut log, mut end) = std::io::pipe().expect("descriptors");
    end.write_all(&[b'\n'; PIPE_BYTES]).expect("the pipe takes it");
    let mut call = command(&files.root, CONVOCATE_AGENT);
    call.args(["serve", "--listen", "127.0.0.1:0", "--runtime", "host", "--root"]);
    call.arg(files.root.dir()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(end);
    let _agent = Unheard(call.spawn().expect("it starts"));
    // The pipe's other end is the agent's alone.
    drop(call);
    let address = files.root.dir().join("var/lib/convocate-agent/address");
    wait_until(PATIENCE, "the agent to listen", || address.exists());
    let address = fs::read_to_string(address).expect("it is there").trim().parse().expect("it");
    let way = Way::new(address, &files.operator, &files.host_key);
    let attack = Attack::new(address);
    thread::scope(|scope| {
        let ends = Ends(&attack);
        scope.spawn(|| {
            attack.dial_on(|number| Ipv4Addr::new(127, 60, 0, byte(1 + number % 200)), |_| {})
        });
        for number in 0..20 {
            way.must_let_in(Ipv4Addr::new(127, 61, 0, 1 + number));
        }
        drop(ends);
    });
    let mut bytes = vec![0; 2 * PIPE_BYTES];
    let mut read = 0;
    while read < PIPE_BYTES {
        read += log.read(&mut bytes).expect("a pipe");
    }
    way.must_let_in(HOME);
    let mut told = String::new();
    while !told.contains("lines of this log are lost: nobody read them in time") {
        let read = log.read(&mut bytes).expect("a pipe");
        told.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
}

/// As a service whose administrator has set a limit.
fn limited(files: AgentFiles, descriptors: u32) -> Agent {
    let mut call = command(&files.root, "sh");
    let limit = format!("ulimit -n {descriptors} && exec \"$@\"");
    call.args(["-c", &limit, "sh", CONVOCATE_AGENT, "serve", "--listen", "127.0.0.1:0"]);
    call.args(["--runtime", "host", "--root"]).arg(files.root.dir());
    Agent::start_by(files, &mut call)
}

#[test]
fn where_descriptors_run_out_a_key_is_read_and_its_owner_gets_in() {
    if !crate::can("where_descriptors_run_out_a_key_is_read_and_its_owner_gets_in") {
        return;
    }
    let files = AgentFiles::write();
    let hub = Hub::start(&files);
    let agent = limited(files, 128);
    hub.waits_for_agent(AGENT_ID, "connected");
    let root = &agent.files.root;
    let attack = Attack::new(agent.address);
    let open = || {
        let descriptors = format!("/proc/{}/fd", agent.process().pid());
        fs::read_dir(descriptors).expect("it runs").count()
    };
    let quiet = open();
    thread::scope(|scope| {
        let ends = Ends(&attack);
        scope.spawn(|| attack.hold(300, |number| Ipv4Addr::new(127, 62, 0, byte(1 + number % 30))));
        let told = || agent.log().contains("few descriptors are left: a newcomer takes the place");
        let is_told = crate::support::wait::poll(PATIENCE, || told().then_some(()));
        let most = open();
        // The key's owner comes while the attack goes on.
        let late = KeyFile::make(root, &root.dir().join("late"), "late");
        let path = root.paths().agent_authorized_keys();
        let keys = fs::read_to_string(&path).expect("it is there");
        root.write(&path, &format!("{keys}# a comment\n{}\n", late.public_line()), 0o644);
        let start = Instant::now();
        Way::new(agent.address, &late, &agent.files.host_key).must_let_in([127, 63, 0, 1]);
        let took = start.elapsed();
        agent.client(&["new", "one", "--command", "sh"]).expect_done();
        wait_until(PATIENCE, "the event", || hub.agent(AGENT_ID)["sessions"][0]["name"] == "one");
        drop(ends);
        eprintln!(
            "descriptors: {quiet} at rest, {most} of 128 under attack at {:.0} dials/s; a new key \
             is let in after {took:.1?}",
            attack.dials_per_second()
        );
        assert!(is_told.is_some(), "{}", agent.log());
    });
    let told = agent.log().lines().filter(|line| line.contains("few descriptors")).count();
    assert_eq!(told, 1, "once a minute: {}", agent.log());
    agent.client(&["rm", "--force", "one"]);
}

#[test]
fn one_enrolled_agent_takes_two_connections() {
    if !crate::can("one_enrolled_agent_takes_two_connections") {
        return;
    }
    let files = AgentFiles::write();
    pusher::enrol(&files, 2);
    let hub = Hub::start(&files);
    let way = |number| Way::by(hub.address, "claude", pusher::identity(number).1, &files.status);
    let (greedy, other) = (way(0), way(1));
    other.must_let_in([127, 64, 1, 1]);
    let mut guests = Vec::new();
    for number in 0..255 {
        guests.extend(greedy.enter([127, 64, 0, byte(1 + number % 250)].into()).ok());
        if number % 50 == 0 {
            other.must_let_in([127, 64, 1, byte(2 + number)]);
        }
    }
    let mut count = || {
        guests.retain_mut(|guest| {
            guest.stream.set_nonblocking(true).expect("a socket");
            !is_closed(&mut guest.stream)
        });
        guests.len()
    };
    // Sooner than those without a channel end.
    wait_until(Duration::from_secs(5), "all but two to end", || count() <= 2);
    eprintln!("of 255 connections of one agent {} stay", count());
    other.must_let_in([127, 64, 1, 1]);
    // Without a channel these end, too.
    wait_until(PATIENCE, "the rest to end", || count() == 0);
}

/// Listens in an agent's place, and lets nobody in.
fn nobody_gets_in(word: &'static [u8]) -> TcpListener {
    let listener = TcpListener::bind((HOME, 0)).expect("a port");
    let door = listener.try_clone().expect("descriptors");
    // It ends with the process.
    thread::spawn(move || {
        while let Ok((mut stream, _)) = door.accept() {
            let _told = stream.write_all(word);
            // A socket that is closed with input resets, which may take the word away.
            let _end = stream.shutdown(std::net::Shutdown::Write);
            let _patience = stream.set_read_timeout(Some(Duration::from_millis(200)));
            let _rest = stream.read_to_end(&mut Vec::new());
        }
    });
    listener
}

#[test]
fn what_the_hub_knows_is_listed_where_an_agent_lets_nobody_in() {
    if !crate::can("what_the_hub_knows_is_listed_where_an_agent_lets_nobody_in") {
        return;
    }
    let files = AgentFiles::write();
    let hub = Hub::start(&files);
    let agent = Agent::start_with(files, &["--runtime", "host"]);
    hub.waits_for_agent(AGENT_ID, "connected");
    agent.client(&["new", "one", "--command", "sh"]).expect_done();
    wait_until(PATIENCE, "the event", || hub.agent(AGENT_ID)["sessions"][0]["name"] == "one");
    let refusal = b"convocate: too many connections from 127.0.0.1, try again in 30 s\r\n";
    let full = nobody_gets_in(refusal);
    let closes = nobody_gets_in(b"");
    let nobody = TcpListener::bind((HOME, 0)).expect("a port");
    let address = |listener: &TcpListener| listener.local_addr().expect("it is bound");
    let ways = [
        (address(&full), "too many connections from 127.0.0.1, try again in 30 s"),
        (address(&closes), "closed by peer; its log there says why: journalctl -u convocate-agent"),
        (address(&nobody), "nothing listens there: run on that host: systemctl status conv"),
    ];
    drop(nobody);
    for (address, why) in ways {
        agent.files.root.write(&agent.files.entry().host(), &format!("{address}\n"), 0o644);
        let listed = agent.client(&["ls"]);
        assert_eq!(listed.code(), 1, "nobody has answered: {}", listed.out());
        let is_row = |line: &&str| line.starts_with("? ") && line.contains(" one ");
        assert!(listed.out().lines().any(|line| is_row(&line)), "{}", listed.out());
        assert!(listed.err().contains(why), "{}", listed.err());
        let source = "what is shown is the status listener's last news, ";
        assert!(listed.err().contains(source), "{}", listed.err());
    }
    let address = format!("{}\n", agent.address);
    agent.files.root.write(&agent.files.entry().host(), &address, 0o644);
    agent.client(&["rm", "--force", "one"]);
}

#[test]
fn more_agents_than_a_listener_once_had_places_are_served() {
    const AGENTS: u16 = 300;
    if !crate::can("more_agents_than_a_listener_once_had_places_are_served") {
        return;
    }
    let agent = |number: u16| {
        const DIGITS: &[u8] = b"abcdefghjk";
        let digit = |value: u16| char::from(DIGITS[usize::from(value % 10)]);
        let id = format!("agentmany{}{}{}", digit(number / 100), digit(number / 10), digit(number));
        let [high, low] = number.to_be_bytes();
        let mut seed = [7; 32];
        (seed[0], seed[1]) = (high, low);
        (id, KeyPair::from_seed(seed))
    };
    let files = AgentFiles::write();
    let line = |number| {
        let (id, key) = agent(number);
        format!("agent-id=\"{id}\" {}\n", key.public().to_line("many").trim_end())
    };
    let keys: String = (0..AGENTS).map(line).collect();
    files.root.write(&files.root.paths().status_authorized_keys(), &keys, 0o644);
    let hub = Hub::start(&files);
    let start = Instant::now();
    let guests: Vec<Guest> = (0..AGENTS)
        .map(|number| {
            let way = Way::by(hub.address, "claude", agent(number).1, &files.status);
            let [high, low] = number.to_be_bytes();
            let mut guest = way.enter([127, 65, 1 + high, low.max(1)].into()).expect("let in");
            guest.open(STATUS_SUBSYSTEM).expect("it is served");
            guest
        })
        .collect();
    let connected = || {
        let (_, snapshot) = hub.listen();
        let known = snapshot["agents"].as_array().expect("a list");
        known.iter().filter(|agent| agent["state"] == "connected").count()
    };
    wait_until(PATIENCE, "all to be connected", || connected() == guests.len());
    eprintln!("{AGENTS} agents are connected after {:.1?}", start.elapsed());
}

#[test]
fn a_terminal_of_a_hundred_million_cells_is_cut() {
    if !crate::can("a_terminal_of_a_hundred_million_cells_is_cut") {
        return;
    }
    let agent = Agent::start();
    let made = agent.client(&["new", "one", "--command", "sh", "--json"]).expect_done().out();
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    let id = made["uuid"].as_str().expect("an id");
    let mut wire = Wire::to(&agent);
    let channel = wire.attach(id, 10_000, 10_000);
    wire.send(channel, b"echo cols $(stty size | cut -d ' ' -f 2).\r");
    wire.sees(channel, "cols 1000.");
    wire.resize(channel, 60_000, 60_000);
    wire.send(channel, b"echo again $(stty size | cut -d ' ' -f 2).\r");
    wire.sees(channel, "again 1000.");
    agent.client(&["rm", "--force", "one"]);
}
