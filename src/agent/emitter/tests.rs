//! The emitter against scripted listeners, old and new.

use std::time::Duration;

use super::*;
use crate::agent::spool::{SpoolTuning, recovery::Recovery};
use crate::base::disk::memory::Disk;

struct Bench {
    emitter: Emitter,
    disk: Disk,
    now: Now,
}

impl Bench {
    fn new() -> Bench {
        let now = Now { mono: Mono::from_nanos(1), wall: Wall::new(1_800_000_000, 0) };
        let recovery =
            Recovery::new(Vec::new(), SpoolTuning::default(), &mut Rng::from_seed([1; 32]));
        let identity = Identity {
            agent_id: "abcdefghjkmn".to_owned(),
            version: "0.1.0".to_owned(),
            image_tag: "convocate:1".to_owned(),
        };
        let emitter = Emitter::new(identity, recovery.finish(), [2; 32], now);
        Bench { emitter, disk: Disk::default(), now }
    }

    /// One whose channel is open.
    fn open() -> Bench {
        let mut bench = Bench::new();
        assert_eq!(bench.emitter.poll_action(), Some(EmitterAction::Dial));
        bench.emitter.opened(bench.now.mono);
        bench
    }

    fn pass(&mut self, span: Duration) {
        self.now.mono = self.now.mono + span;
        self.emitter.tick(self.now);
    }

    fn emit(&mut self) -> u64 {
        let event = self.emitter.event(EventType::Deleted, Value::Null);
        self.emitter.emit(&event)
    }

    fn say(&mut self, line: &str) {
        self.emitter.input(self.now, line.as_bytes());
    }

    fn acknowledge(&mut self, seq: u64) {
        let epoch = self.emitter.spool().epoch().as_str().to_owned();
        self.say(&format!("{{\"ack\":{{\"epoch\":\"{epoch}\",\"seq\":{seq}}}}}\n"));
    }

    /// What is sent: types with numbers.
    fn sent(&mut self) -> Vec<(EventType, Option<u64>)> {
        let mut bytes = Vec::new();
        loop {
            let output = self.emitter.output().to_vec();
            self.emitter.output_sent(output.len());
            bytes.extend_from_slice(&output);
            if let Some(op) = self.emitter.poll_disk() {
                let done = self.disk.execute(op);
                self.emitter.disk_done(self.now, done);
            } else if output.is_empty() {
                break;
            }
        }
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let events = lines.map(|line| serde_json::from_slice::<Event>(line).unwrap());
        events.map(|event| (event.kind, event.seq)).collect()
    }
}

const HELLO: &str = "{\"hello\":{\"ack\":true}}\n";
const STARTED: (EventType, Option<u64>) = (EventType::AgentStarted, None);

fn deleted(seq: u64) -> (EventType, Option<u64>) {
    (EventType::Deleted, Some(seq))
}

#[test]
fn nothing_is_sent_before_hello_then_started_then_the_spool_then_what_comes() {
    let mut bench = Bench::open();
    bench.emit();
    assert_eq!(bench.sent(), []);
    bench.say(HELLO);
    assert_eq!(bench.sent(), [STARTED, deleted(1)]);
    bench.emit();
    assert_eq!(bench.sent(), [deleted(2)]);
    bench.acknowledge(1);
    assert!(!bench.emitter.is_drained());
    bench.acknowledge(2);
    assert!(bench.emitter.is_drained());
}

#[test]
fn an_answer_is_understood_however_it_is_cut() {
    for cut in 1..HELLO.len() {
        let mut bench = Bench::open();
        bench.say(&HELLO[..cut]);
        assert!(!bench.emitter.is_live() || cut == HELLO.len());
        bench.say(&HELLO[cut..]);
        assert!(bench.emitter.is_live());
    }
}

#[test]
fn what_was_not_acknowledged_is_sent_again() {
    let mut bench = Bench::open();
    bench.say(HELLO);
    for _ in 0..3 {
        bench.emit();
    }
    assert_eq!(bench.sent().len(), 4);
    bench.acknowledge(1);
    bench.emitter.closed(bench.now.mono, "reset".to_owned());
    bench.pass(REDIAL_FIRST);
    assert_eq!(bench.emitter.poll_action(), Some(EmitterAction::Dial));
    bench.emitter.opened(bench.now.mono);
    bench.say(HELLO);
    assert_eq!(bench.sent(), [STARTED, deleted(2), deleted(3)]);
}

#[test]
fn a_hello_with_a_position_spares_what_the_listener_has() {
    let mut bench = Bench::open();
    for _ in 0..3 {
        bench.emit();
    }
    assert_eq!(bench.sent(), []);
    let epoch = bench.emitter.spool().epoch().as_str().to_owned();
    bench.say(&format!("{{\"hello\":{{\"ack\":true,\"epoch\":\"{epoch}\",\"seq\":2}}}}\n"));
    assert_eq!(bench.sent(), [STARTED, deleted(3)]);
}

#[test]
fn a_listener_of_the_old_kind_gets_everything_and_is_believed_once_proven() {
    let mut bench = Bench::open();
    bench.emit();
    bench.pass(STATUS_HELLO_TIMEOUT);
    assert_eq!(bench.sent(), [STARTED, deleted(1)]);
    assert!(!bench.emitter.is_drained(), "a hello may still come");
    bench.pass(STATUS_PROVEN_AFTER);
    assert!(bench.emitter.is_drained());
    bench.emit();
    bench.emit();
    assert_eq!(bench.sent(), [deleted(2), deleted(3)]);
    assert!(bench.emitter.is_drained(), "written counts as delivered");
}

#[test]
fn a_late_hello_ends_the_old_kind() {
    let mut bench = Bench::open();
    bench.emit();
    bench.pass(STATUS_HELLO_TIMEOUT);
    assert_eq!(bench.sent(), [STARTED, deleted(1)]);
    bench.say(HELLO);
    bench.pass(STATUS_PROVEN_AFTER);
    assert!(!bench.emitter.is_drained());
    bench.acknowledge(1);
    assert!(bench.emitter.is_drained());
}

#[test]
fn only_an_answer_resets_the_wait() {
    let mut bench = Bench::new();
    let mut waits = Vec::new();
    for round in 0..8 {
        assert_eq!(bench.emitter.poll_action(), Some(EmitterAction::Dial));
        bench.emitter.opened(bench.now.mono);
        if round == 6 {
            bench.say(HELLO);
        }
        bench.emitter.closed(bench.now.mono, "reset".to_owned());
        let wait = bench.emitter.deadline().unwrap().since(bench.now.mono);
        waits.push(wait);
        bench.pass(wait);
    }
    assert!(waits[5] >= REDIAL_CAP / 2, "{waits:?}");
    assert!(waits[6] <= REDIAL_FIRST && waits[7] <= 2 * REDIAL_FIRST, "{waits:?}");
}

#[test]
fn a_network_that_is_gone_is_noticed_to_be_back_within_two_seconds() {
    let mut bench = Bench::new();
    let (start, mut dials) = (bench.now.mono, Vec::new());
    while bench.now.mono.since(start) < Duration::from_secs(3600) {
        while let Some(action) = bench.emitter.poll_action() {
            assert_eq!(action, EmitterAction::Dial);
            dials.push(bench.now.mono);
            bench.emitter.connects_started(bench.now.mono);
        }
        let wait = bench.emitter.deadline().unwrap().since(bench.now.mono);
        bench.pass(wait);
    }
    // The kernel's own second packet leaves a second behind the first.
    let spans = dials.windows(2).map(|pair| pair[1].since(pair[0]));
    let (shortest, longest) = (spans.clone().min().unwrap(), spans.max().unwrap());
    assert!(longest <= Duration::from_secs(3), "{longest:?}");
    assert!(shortest >= Duration::from_secs(1), "{shortest:?}");
    assert_eq!(bench.emitter.last_error(), Some(&EmitterError::NoAnswer));
    // Once it is there, it has time for the login, and is not dialled meanwhile.
    while bench.emitter.poll_action().is_some() {}
    bench.emitter.reached(bench.now.mono);
    bench.pass(STATUS_CONNECT_TIMEOUT / 2);
    assert_eq!(bench.emitter.poll_action(), None);
}

#[test]
fn a_wait_does_not_grow_while_nobody_answers() {
    let mut bench = Bench::new();
    for _ in 0..20 {
        assert_eq!(bench.emitter.poll_action(), Some(EmitterAction::Dial));
        let why = Unreached::Silent("no route to host".to_owned());
        bench.emitter.unreached(bench.now.mono, why);
        assert_eq!(bench.emitter.last_error().unwrap().to_string(), "no route to host");
        let wait = bench.emitter.deadline().unwrap().since(bench.now.mono);
        assert!(wait <= REDIAL_FIRST, "{wait:?}");
        bench.pass(wait);
    }
}

#[test]
fn a_dial_that_leads_nowhere_is_given_up() {
    let mut bench = Bench::new();
    assert_eq!(bench.emitter.poll_action(), Some(EmitterAction::Dial));
    bench.emitter.reached(bench.now.mono);
    bench.pass(STATUS_CONNECT_TIMEOUT);
    assert_eq!(bench.emitter.poll_action(), Some(EmitterAction::HangUp));
    assert_eq!(bench.emitter.last_error(), Some(&EmitterError::ConnectTimeout));
    bench.pass(REDIAL_CAP);
    assert_eq!(bench.emitter.poll_action(), Some(EmitterAction::Dial));
}

#[test]
fn nonsense_ends_the_connection() {
    for nonsense in ["what\n".to_owned(), "x".repeat(STATUS_ANSWER_BYTES_MAX + 1)] {
        let mut bench = Bench::open();
        bench.say(&nonsense);
        assert_eq!(bench.emitter.poll_action(), Some(EmitterAction::HangUp));
        assert!(!bench.emitter.is_live());
    }
}

#[test]
fn heartbeats_and_goodbye() {
    let mut bench = Bench::open();
    bench.say(HELLO);
    assert_eq!(bench.sent(), [STARTED]);
    bench.pass(HEARTBEAT_INTERVAL);
    assert_eq!(bench.emitter.poll_action(), Some(EmitterAction::Measure));
    bench.emitter.heartbeat(bench.now, json!({ "load": 1 }));
    bench.emitter.shutdown(bench.now, "SIGTERM");
    let beat = (EventType::AgentHeartbeat, None);
    assert_eq!(bench.sent(), [beat, (EventType::AgentShutdown, Some(1))]);
    bench.acknowledge(1);
    assert!(bench.emitter.is_drained());
}
