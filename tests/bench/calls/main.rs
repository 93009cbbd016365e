//! What `scripts/bench rpc` measures: a running agent that is asked `ping` on one connection, and
//! on 32 at once, each call on a channel of its own as the client has it.
//!
//! The callers are one thread that reads each connection in turn, so that little of the machine is
//! theirs. `processor` is what the agent's thread took for a call, and `waits` how often it has
//! slept. Words after the program's name choose among the parts.

#![expect(clippy::print_stdout, reason = "samples go to standard output")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a measurement that fails ends here")]

#[path = "../../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
use convocate::rpc::RPC_SUBSYSTEM;
use convocate::ssh::keys::{KeyPair, PublicKey};
use convocate::ssh::{ClientConfig, Conn, Event, Tuning};
use support::agent::Agent;

const PING: &[u8] = b"{\"op\":\"ping\"}\n";
const AT_ONCE: usize = 32;
/// How long each part is measured, after as long a time to get warm.
const SPAN: Duration = Duration::from_secs(3);

fn main() {
    let agent = Agent::start();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    for (name, callers) in [("one", 1), ("at-once", AT_ONCE)] {
        if words.is_empty() || words.iter().any(|word| word == name) {
            measure(&agent, name, callers);
        }
    }
}

fn measure(agent: &Agent, name: &str, count: usize) {
    let mut callers: Vec<Caller> = (0..count).map(|_| Caller::to(agent)).collect();
    callers.iter_mut().for_each(Caller::call);
    run(&mut callers);
    let pid = agent.process().pid();
    let (spent, waits) = (processor(pid), sleeps(pid));
    let (mut took, lasted) = run(&mut callers);
    took.sort_unstable();
    let calls = took.len() as f64;
    println!("calls-{name} ours {:.0} per-second", calls / lasted.as_secs_f64());
    println!("call-{name} ours {:.4} ms", took[took.len() / 2].as_secs_f64() * 1e3);
    println!("processor-{name} ours {:.2} us-per-call", (processor(pid) - spent) * 1e6 / calls);
    println!("waits-{name} ours {:.3} per-call", (sleeps(pid) - waits) / calls);
}

/// What each call took, and all of them together.
fn run(callers: &mut [Caller]) -> (Vec<Duration>, Duration) {
    let (start, mut took) = (Instant::now(), Vec::new());
    while start.elapsed() < SPAN {
        for caller in &mut *callers {
            took.push(caller.finish());
            caller.call();
        }
    }
    (took, start.elapsed())
}

/// Seconds that a process's first thread has run.
fn processor(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// How often it has gone to sleep.
fn sleeps(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}

/// A connection with one call in flight.
struct Caller {
    conn: Conn,
    stream: TcpStream,
    asked: Instant,
}

impl Caller {
    fn to(agent: &Agent) -> Caller {
        let bytes = std::fs::read(agent.files.operator.path()).unwrap();
        let (host_key, _) = PublicKey::parse_line(&agent.files.host_key.public_line()).unwrap();
        let config = ClientConfig {
            user: "claude".to_owned(),
            key: KeyPair::parse_openssh(&bytes).unwrap(),
            host_key,
            tuning: Tuning::default(),
        };
        let stream = TcpStream::connect(agent.address).unwrap();
        stream.set_nodelay(true).unwrap();
        let conn = Conn::client(Arc::new(config), [7; 32], Mono::ZERO);
        let mut caller = Caller { conn, stream, asked: Instant::now() };
        caller.until(|event| matches!(event, Event::Authenticated { .. }));
        caller
    }

    /// Asks, and waits for nothing.
    fn call(&mut self) {
        self.asked = Instant::now();
        self.conn.open_subsystem(RPC_SUBSYSTEM).unwrap();
        self.flush();
    }

    /// The whole answer has come.
    fn finish(&mut self) -> Duration {
        self.until(|event| matches!(event, Event::Closed { .. }));
        self.asked.elapsed()
    }

    fn until(&mut self, is_it: impl Fn(&Event) -> bool) {
        loop {
            while let Some(event) = self.conn.poll_event() {
                match event {
                    Event::Opened { channel } => _ = self.conn.send(channel, PING),
                    Event::Eof { channel } => {
                        let answer = self.conn.received(channel);
                        assert!(answer.starts_with(b"{\"ok\":true"), "{answer:?}");
                        self.conn.consume(channel, answer.len());
                        self.conn.close(channel);
                    }
                    Event::Disconnected(error) => panic!("{error}"),
                    _ => {}
                }
                if is_it(&event) {
                    return;
                }
            }
            self.flush();
            let space = self.conn.input_space();
            let count = self.stream.read(space).unwrap();
            assert!(count > 0, "the agent hung up");
            self.conn.input(Mono::ZERO, count);
        }
    }

    fn flush(&mut self) {
        while !self.conn.output().is_empty() {
            let sent = self.stream.write(self.conn.output()).unwrap();
            self.conn.output_sent(sent);
        }
    }
}
