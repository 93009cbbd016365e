//! Those who are to be let in: they dial anew again and again, prove a key, and ask something.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
use convocate::rpc::RPC_SUBSYSTEM;
use convocate::ssh::keys::{KeyPair, PublicKey};
use convocate::ssh::{ChannelId, ClientConfig, Conn, Error, Event, Tuning};
use rustix::net::SocketFlags;

use crate::HOME;
use crate::attack::{Act, Attack, Ends, byte, dial, seconds};
use crate::support::agent::{Agent, AgentFiles};
use crate::support::hub::Hub;
use crate::support::keys::KeyFile;
use crate::support::wait::{PATIENCE, pause};

/// From one dial of the operator to the next.
const DIAL_EVERY: Duration = Duration::from_millis(150);
/// Whoever is let in later than this is kept out: the attack may be over by then.
const LET_IN_WITHIN: Duration = Duration::from_secs(4);

/// What one login took, or one answer.
#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// In milliseconds.
    fn part(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable();
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).map_or(f64::NAN, |it| it.as_secs_f64() * 1e3)
    }
}

/// What has become of one who dials anew again and again.
#[derive(Default)]
pub struct Visits {
    took: Samples,
    /// Those that needed more than one dial.
    retried: usize,
    /// Why, for each that was not let in.
    kept_out: Vec<Error>,
}

/// A listener, and the key that it lets in.
#[derive(Clone)]
pub struct Way {
    pub to: SocketAddr,
    config: Arc<ClientConfig>,
    /// Whether something is asked once it is in.
    has_calls: bool,
    /// How long it dials again where it is not let in.
    patience: Duration,
    /// Whether it must be let in from addresses that have proven no key.
    spares_fresh: bool,
}

impl Way {
    pub fn to_agent(agent: &Agent) -> Way {
        let files = &agent.files;
        let way = Way::new(agent.address, &files.operator, &files.host_key);
        Way { has_calls: true, ..way }
    }

    pub fn to_hub(hub: &Hub, files: &AgentFiles) -> Way {
        Way::new(hub.address, &files.pusher, &files.status)
    }

    /// To a listener that listens everywhere, too.
    pub fn new(to: SocketAddr, key: &KeyFile, host_key: &KeyFile) -> Way {
        let bytes = std::fs::read(key.path()).expect("a key file");
        Way::by(to, "claude", KeyPair::parse_openssh(&bytes).expect("a key"), host_key)
    }

    pub fn by(to: SocketAddr, user: &str, key: KeyPair, host_key: &KeyFile) -> Way {
        let (host_key, _) = PublicKey::parse_line(&host_key.public_line()).expect("a key");
        let config =
            ClientConfig { user: user.to_owned(), key, host_key, tuning: Tuning::default() };
        let to = if to.ip().is_unspecified() { (HOME, to.port()).into() } else { to };
        Way {
            to,
            config: Arc::new(config),
            has_calls: false,
            patience: LET_IN_WITHIN,
            spares_fresh: true,
        }
    }

    /// One that gives up after its first dial.
    pub fn once(self) -> Way {
        Way { patience: Duration::ZERO, ..self }
    }

    /// The same, which may keep those out whose address has proven no key.
    pub fn sparing_fresh(&self, spares_fresh: bool) -> Way {
        Way { spares_fresh, ..self.clone() }
    }

    /// The same without a call.
    pub fn without_calls(self) -> Way {
        Way { has_calls: false, ..self }
    }

    /// One dial: connect, key exchange, authentication, and the call.
    pub fn try_once(&self, from: IpAddr) -> Result<(), Error> {
        let mut guest = self.enter(from)?;
        if self.has_calls { guest.ping() } else { Ok(()) }
    }

    /// Connect, key exchange, authentication.
    pub fn enter(&self, from: IpAddr) -> Result<Guest, Error> {
        let mut guest = self.reach(from)?;
        loop {
            match guest.next_event() {
                Event::Authenticated { .. } => return Ok(guest),
                Event::Disconnected(error) => return Err(error),
                _ => {}
            }
        }
    }

    fn reach(&self, from: IpAddr) -> Result<Guest, Error> {
        let stream = dial(from, self.to, SocketFlags::empty()).map_err(|_| Error::StreamEnd)?;
        stream.set_nodelay(true).expect("a socket");
        let patience = if self.patience.is_zero() { Duration::from_secs(3) } else { PATIENCE };
        stream.set_read_timeout(Some(patience)).expect("a socket");
        // Nobody is to be kept from guessing it.
        static SEEDS: AtomicU32 = AtomicU32::new(1);
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&SEEDS.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        let conn = Conn::client(Arc::clone(&self.config), seed, Mono::ZERO);
        Ok(Guest { stream, conn })
    }

    /// As our client does: a listener that has too many connections is dialled again.
    pub fn visit(&self, from: IpAddr, visits: &mut Visits) {
        let start = Instant::now();
        let mut is_first = true;
        while let Err(error) = self.try_once(from) {
            if start.elapsed() >= self.patience {
                return visits.kept_out.push(error);
            }
            is_first = false;
            pause(error.retry_after().unwrap_or(Duration::from_millis(100)));
        }
        if !is_first && start.elapsed() >= self.patience {
            return visits.kept_out.push(Error::LoginGrace);
        }
        visits.retried += usize::from(!is_first);
        visits.took.0.push(start.elapsed());
    }

    /// One that must be let in.
    #[track_caller]
    pub fn must_let_in(&self, from: impl Into<IpAddr>) {
        let mut visits = Visits::default();
        self.visit(from.into(), &mut visits);
        assert!(visits.kept_out.is_empty(), "{:?}", visits.kept_out);
    }

    fn visits(&self, attack: &Attack, from: impl Fn(u32) -> Ipv4Addr) -> Visits {
        let mut visits = Visits::default();
        for number in 0.. {
            if !attack.goes_on() {
                break;
            }
            self.visit(from(number).into(), &mut visits);
            pause(DIAL_EVERY);
        }
        visits
    }
}

/// One who is in, or on the way.
pub struct Guest {
    pub stream: TcpStream,
    conn: Conn,
}

impl Guest {
    /// Asks an agent for a sign of life.
    pub fn ping(&mut self) -> Result<(), Error> {
        let channel = self.open(RPC_SUBSYSTEM)?;
        let call = b"{\"op\":\"ping\",\"params\":{}}\n";
        assert_eq!(self.conn.send(channel, call), call.len());
        loop {
            match self.next_event() {
                Event::ExitStatus { code, .. } => {
                    assert_eq!(code, 0, "a ping is answered");
                    let count = self.conn.received(channel).len();
                    self.conn.consume(channel, count);
                }
                Event::Closed { .. } => return Ok(()),
                Event::Disconnected(error) => return Err(error),
                _ => {}
            }
        }
    }

    /// Opens a channel with a subsystem.
    pub fn open(&mut self, subsystem: &'static str) -> Result<ChannelId, Error> {
        let channel = self.conn.open_subsystem(subsystem).expect("there is room");
        loop {
            match self.next_event() {
                Event::Opened { .. } => {
                    // The request for the subsystem.
                    self.flush();
                    return Ok(channel);
                }
                Event::Disconnected(error) => return Err(error),
                _ => {}
            }
        }
    }

    fn next_event(&mut self) -> Event {
        loop {
            if let Some(event) = self.conn.poll_event() {
                return event;
            }
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.flush();
        let Guest { stream, conn } = self;
        match stream.read(conn.input_space()) {
            Ok(0) | Err(_) => conn.input_end(Mono::ZERO),
            Ok(count) => conn.input(Mono::ZERO, count),
        }
    }

    fn flush(&mut self) {
        let Guest { stream, conn } = self;
        while !conn.output().is_empty() {
            match stream.write(conn.output()) {
                Ok(sent) => conn.output_sent(sent),
                // What came before may be a line that says why.
                Err(_) => conn.output_sent(conn.output().len()),
            }
        }
    }
}

/// What is asked all the time beside the logins.
pub struct Asked<'a> {
    what: &'static str,
    every: Duration,
    ask: &'a mut dyn FnMut(),
}

impl<'a> Asked<'a> {
    pub fn often(what: &'static str, ask: &'a mut dyn FnMut()) -> Asked<'a> {
        Asked { what, every: Duration::from_millis(10), ask }
    }

    pub fn seldom(what: &'static str, ask: &'a mut dyn FnMut()) -> Asked<'a> {
        Asked { what, every: Duration::from_millis(500), ask }
    }
}

/// One attack, and those who are to be let in meanwhile: from an address that has proven a key, and
/// from one after the other that has not.
pub fn round(way: &Way, [side, name]: &[&str; 2], acts: &[Act<'_>], asked: Option<&mut Asked<'_>>) {
    static ROUNDS: AtomicU8 = AtomicU8::new(0);
    let network = 100 + ROUNDS.fetch_add(1, Ordering::Relaxed) % 150;
    let attack = &Attack::new(way.to);
    thread::scope(|scope| {
        let ends = Ends(attack);
        for act in acts {
            scope.spawn(move || act(attack));
        }
        let known = scope.spawn(|| way.visits(attack, |_| HOME));
        let fresh = |number: u32| Ipv4Addr::new(127, network, 0, byte(1 + number % 250));
        let unknown = scope.spawn(move || way.visits(attack, fresh));
        let lasts = Duration::from_secs(seconds());
        let mut answers = Samples::default();
        let mut asked = asked;
        while attack.lasts() < lasts {
            let start = Instant::now();
            let every = asked.as_mut().map_or(DIAL_EVERY, |asked| {
                (asked.ask)();
                answers.0.push(start.elapsed());
                asked.every
            });
            pause(every);
        }
        let dials = attack.dials_per_second();
        drop(ends);
        let joined = |thread: ScopedJoinHandle<'_, Visits>| thread.join().expect("it ends");
        let (known, unknown) = (joined(known), joined(unknown));
        // One line each, for tests that run at once.
        let count = if acts.is_empty() { String::new() } else { format!(": {dials:.0} dials/s") };
        let mut text = format!("{side}, {name}{count}\n");
        text.push_str(&report(side, name, "known", known, way));
        text.push_str(&report(side, name, "fresh", unknown, way));
        if let Some(Asked { what, .. }) = asked {
            let (middle, most) = (answers.part(50), answers.part(99));
            text.push_str(&format!("    {what}: median {middle:.1} ms, p99 {most:.1} ms\n"));
            sample(side, name, "answer p99", most, "ms");
        }
        sample(side, name, "dials", dials, "1/s");
        eprint!("{text}");
    });
}

/// # Panics
///
/// If one of ours was kept out.
fn report(side: &str, name: &str, who: &str, mut visits: Visits, way: &Way) -> String {
    let (let_in, kept_out) = (visits.took.0.len(), visits.kept_out.len());
    let (middle, most) = (visits.took.part(50), visits.took.part(99));
    let all = u32::try_from(let_in + kept_out).expect("few");
    let part = f64::from(u32::try_from(let_in).expect("few")) * 100.0 / f64::from(all);
    sample(side, name, &format!("{who} let in"), part, "%");
    sample(side, name, &format!("{who} p99"), most, "ms");
    let why = visits.kept_out.first().map(ToString::to_string).unwrap_or_default();
    let may_fail = way.patience.is_zero() || who == "fresh" && !way.spares_fresh;
    assert!(kept_out == 0 || may_fail, "{side}, {name}: kept out: {why}");
    let retried = visits.retried;
    format!(
        "    {who} address: {let_in} of {all} let in, {retried} by another dial; median \
         {middle:.1} ms, p99 {most:.1} ms {why}\n"
    )
}

/// A line for `scripts/bench`, if it asks: what was measured, of whom, how much of what.
fn sample(side: &str, name: &str, what: &str, value: f64, unit: &str) {
    let Some(path) = std::env::var_os("CONVOCATE_SAMPLES_FILE") else { return };
    let (port, side) = match side {
        "222" | "223" => (format!("{side} "), "ours"),
        side => (String::new(), side),
    };
    if value.is_nan() {
        return;
    }
    let metric = format!("{port}{name}: {what}").replace([',', ':'], "").replace(' ', "-");
    let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the samples");
    writeln!(file, "{metric} {side} {value:.3} {unit}").expect("the samples take a line");
}
