//! Strangers with hundreds of sockets at the listeners of a running agent and a running status
//! listener, from many addresses of loopback, while an operator and an agent dial anew and one
//! connection is open: all are let in.
//!
//! What it took is printed, with `--nocapture`; only that it ends is held.

mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
use convocate::ssh::keys::{KeyPair, PublicKey};
use convocate::ssh::{ClientConfig, Conn, Error, Event, Tuning};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use support::Need;
use support::agent::{Agent, AgentFiles};
use support::hub::Hub;
use support::keys::KeyFile;
use support::wait::{PATIENCE, pause};
use support::wire::Wire;

/// How long each attack lasts.
const ATTACK: Duration = Duration::from_secs(4);
/// From one dial of the operator to the next.
const DIAL_EVERY: Duration = Duration::from_millis(150);
/// An operator's program gives up after some tens of seconds.
const LET_IN_WITHIN: Duration = Duration::from_secs(10);

const HOME: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// What attackers share.
struct Attack {
    to: SocketAddr,
    is_over: AtomicBool,
    dials: AtomicU32,
}

/// What the attackers do; the threads take their numbers from 0.
type Act = fn(&Attack, u32);

struct Kind {
    name: &'static str,
    threads: u32,
    act: Act,
}

const KINDS: &[Kind] = &[
    Kind { name: "nothing", threads: 0, act: |_, _| {} },
    Kind { name: "2 sources hold 16 sockets each, renewed", threads: 1, act: two_sources },
    Kind { name: "200 sources hold 1,000 sockets, renewed", threads: 1, act: two_hundred_sources },
    Kind { name: "dials from 60,000 sources", threads: 2, act: dials },
    Kind { name: "garbage from 200 sources", threads: 2, act: garbage },
    Kind { name: "dials from the operator's own address", threads: 2, act: neighbours },
    Kind { name: "data into closing connections", threads: 2, act: pour },
];

/// What one login took, or one ping.
#[derive(Default)]
struct Samples(Vec<Duration>);

impl Samples {
    fn part(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable();
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).map_or(f64::NAN, |it| it.as_secs_f64() * 1e3)
    }
}

/// One who dials anew again and again.
#[derive(Default)]
struct Visits {
    took: Samples,
    /// Those that needed more than one dial.
    retried: usize,
}

/// Of a number that is one.
fn byte(number: u32) -> u8 {
    u8::try_from(number).expect("below 256")
}

fn dial(from: Ipv4Addr, to: SocketAddr) -> rustix::io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let fd: OwnedFd =
        rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&fd, &SocketAddrV4::new(from, 0))?;
    rustix::net::connect(&fd, &to)?;
    Ok(TcpStream::from(fd))
}

impl Attack {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn dial(&self, from: Ipv4Addr) -> Option<TcpStream> {
        self.dials.fetch_add(1, Ordering::Relaxed);
        let stream = dial(from, self.to).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some(stream)
    }

    /// Holds `count` sockets and dials anew for each that is closed.
    fn hold(&self, count: u32, from: impl Fn(u32) -> Ipv4Addr) {
        let mut held: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
        while self.goes_on() {
            for (number, slot) in (0..).zip(&mut held) {
                if slot.as_mut().is_none_or(is_closed) {
                    *slot = self.dial(from(number));
                }
                if !self.goes_on() {
                    return;
                }
            }
            pause(Duration::from_millis(5));
        }
    }
}

/// What was sent is read, and whether that is the end.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

fn two_sources(attack: &Attack, _: u32) {
    attack.hold(32, |number| Ipv4Addr::new(127, 1, 0, byte(1 + number % 2)));
}

fn two_hundred_sources(attack: &Attack, _: u32) {
    attack.hold(1000, |number| Ipv4Addr::new(127, 2, 0, byte(1 + number % 200)));
}

fn dials(attack: &Attack, thread: u32) {
    let mut held = std::collections::VecDeque::new();
    for number in 0_u32.. {
        if !attack.goes_on() {
            return;
        }
        let [.., high, low] = number.to_be_bytes();
        let (network, high) = (byte(10 + thread), high % 120);
        held.extend(attack.dial(Ipv4Addr::new(127, network, high, low.max(1))));
        if held.len() > 300 {
            held.pop_front();
        }
    }
}

fn garbage(attack: &Attack, thread: u32) {
    for number in 0_u32.. {
        if !attack.goes_on() {
            return;
        }
        let from = Ipv4Addr::new(127, byte(20 + thread), 0, byte(1 + number % 100));
        if let Some(mut stream) = attack.dial(from) {
            let _ = stream.write(b"GET / HTTP/1.0\r\n\r\n");
        }
    }
}

fn neighbours(attack: &Attack, _: u32) {
    let mut held = std::collections::VecDeque::new();
    while attack.goes_on() {
        held.extend(attack.dial(HOME));
        if held.len() > 300 {
            held.pop_front();
        }
    }
}

fn pour(attack: &Attack, thread: u32) {
    let bytes = vec![b'x'; 64 * 1024];
    while attack.goes_on() {
        let Some(mut stream) = attack.dial(Ipv4Addr::new(127, 30, 0, byte(1 + thread))) else {
            continue;
        };
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
        while attack.goes_on() && stream.write(&bytes).is_ok() {}
    }
}

/// A listener, and the key that it lets in.
struct Way {
    to: SocketAddr,
    config: Arc<ClientConfig>,
}

impl Way {
    fn new(to: SocketAddr, key: &KeyFile, host_key: &KeyFile) -> Way {
        let bytes = std::fs::read(key.path()).expect("a key file");
        let (host_key, _) = PublicKey::parse_line(&host_key.public_line()).expect("a key");
        let key = KeyPair::parse_openssh(&bytes).expect("a key");
        let tuning = Tuning::default();
        let config = ClientConfig { user: "claude".to_owned(), key, host_key, tuning };
        Way { to, config: Arc::new(config) }
    }

    /// One dial: connect, key exchange, authentication.
    fn try_once(&self, from: Ipv4Addr) -> Result<(), Error> {
        let mut stream = dial(from, self.to).map_err(|_| Error::StreamEnd)?;
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        // Nobody is to be kept from guessing it.
        static SEEDS: AtomicU32 = AtomicU32::new(1);
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&SEEDS.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let mut conn = Conn::client(Arc::clone(&self.config), seed, Mono::ZERO);
        loop {
            while let Some(event) = conn.poll_event() {
                match event {
                    Event::Authenticated { .. } => return Ok(()),
                    Event::Disconnected(error) => return Err(error),
                    _ => {}
                }
            }
            match stream.write(conn.output()) {
                Ok(sent) => conn.output_sent(sent),
                // What came before may be a line that says why.
                Err(_) => conn.output_sent(conn.output().len()),
            }
            if conn.output().is_empty() {
                match stream.read(conn.input_space()) {
                    Ok(0) | Err(_) => conn.input_end(Mono::ZERO),
                    Ok(count) => conn.input(Mono::ZERO, count),
                }
            }
        }
    }

    /// As our client does: a listener that has too many connections is dialled again.
    fn visit(&self, from: Ipv4Addr, visits: &mut Visits) {
        let start = Instant::now();
        let mut is_first = true;
        while let Err(error) = self.try_once(from) {
            let lasts = start.elapsed();
            assert!(lasts < LET_IN_WITHIN, "{from} is kept out: {error}");
            visits.retried += usize::from(is_first);
            is_first = false;
            pause(error.retry_after().unwrap_or(Duration::from_millis(100)));
        }
        visits.took.0.push(start.elapsed());
    }
}

fn visits(way: &Way, attack: &Attack, from: impl Fn(u32) -> Ipv4Addr) -> Visits {
    let mut visits = Visits::default();
    for number in 0.. {
        if !attack.goes_on() {
            break;
        }
        way.visit(from(number), &mut visits);
        pause(DIAL_EVERY);
    }
    visits
}

fn report(who: &str, mut visits: Visits) {
    eprintln!(
        "    {who}: {} let in, {} of them by another dial; median {:.1} ms, p99 {:.1} ms",
        visits.took.0.len(),
        visits.retried,
        visits.took.part(50),
        visits.took.part(99)
    );
}

/// All kinds of attack, one after the other. `pings` is asked until the attack is over.
fn attack_all(way: &Way, mut ping: impl FnMut() + Send) {
    // From home, a key has been proven.
    way.try_once(HOME).expect("it is let in");
    for (round, kind) in (100..).zip(KINDS) {
        let attack = Attack { to: way.to, is_over: false.into(), dials: 0.into() };
        let (attack, mut pings) = (&attack, Samples::default());
        thread::scope(|scope| {
            for number in 0..kind.threads {
                scope.spawn(move || (kind.act)(attack, number));
            }
            let known = scope.spawn(|| visits(way, attack, |_| HOME));
            let fresh = |number: u32| Ipv4Addr::new(127, round, 0, byte(1 + number % 250));
            let unknown = scope.spawn(move || visits(way, attack, fresh));
            let start = Instant::now();
            while start.elapsed() < ATTACK {
                let asked = Instant::now();
                ping();
                pings.0.push(asked.elapsed());
                pause(Duration::from_millis(10));
            }
            attack.is_over.store(true, Ordering::Relaxed);
            let dials =
                f64::from(attack.dials.load(Ordering::Relaxed)) / start.elapsed().as_secs_f64();
            eprintln!("  {}: {dials:.0} hostile dials/s", kind.name);
            let joined = |thread: ScopedJoinHandle<'_, Visits>| thread.join().expect("let in");
            report("known address", joined(known));
            report("fresh addresses", joined(unknown));
        });
        eprintln!(
            "    open connection: p99 {:.1} ms, max {:.1} ms",
            pings.part(99),
            pings.part(100)
        );
    }
}

fn can(test: &str) -> bool {
    let limit = getrlimit(Resource::Nofile);
    let _more = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    support::has(test, &[Need::Program("ssh-keygen")])
}

#[test]
fn the_agents_listener_lets_the_operator_in() {
    if !can("the_agents_listener_lets_the_operator_in") {
        return;
    }
    let agent = Agent::start();
    let way = Way::new(agent.address, &agent.files.operator, &agent.files.host_key);
    let mut wire = Wire::to(&agent);
    eprintln!("tcp/222:");
    attack_all(&way, || _ = wire.call("ping", &json!({})).expect("it answers"));
    check_log(&agent.log());
}

#[test]
fn the_status_listener_lets_the_agent_in() {
    if !can("the_status_listener_lets_the_agent_in") {
        return;
    }
    let files = AgentFiles::write();
    let hub = Hub::start(&files);
    let way = Way::new(hub.address, &files.pusher, &files.status);
    eprintln!("tcp/223:");
    attack_all(&way, || {
        hub.listen();
    });
    check_log(&hub.log());
}

/// The log does not grow with the attack: 65 rows, two lines of each within the first minute, and
/// for each login that was let in one when it came and one when it went.
fn check_log(log: &str) {
    let is_login = |line: &&str| line.contains(" connected ");
    let (logins, others): (Vec<&str>, Vec<&str>) = log.lines().partition(is_login);
    eprintln!("  {} logins in the log, {} other lines", logins.len(), others.len());
    assert!(others.len() < logins.len() + 300, "{:#?}", &others[others.len() - 10..]);
}
