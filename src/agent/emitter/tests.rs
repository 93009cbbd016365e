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
        Bench::on(Disk::default())
    }

    /// One that finds this on its disk.
    fn on(mut disk: Disk) -> Bench {
        let now = Now { mono: Mono::from_nanos(1), wall: Wall::new(1_800_000_000, 0) };
        let mut rng = Rng::from_seed([1; 32]);
        let mut recovery = Recovery::new(disk.lengths(), SpoolTuning::default(), &mut rng);
        while let Some(op) = recovery.poll_disk() {
            recovery.disk_done(disk.execute(op));
        }
        let identity = Identity {
            agent_id: "abcdefghjkmn".to_owned(),
            version: "0.1.0".to_owned(),
            image_tag: "convocate:1".to_owned(),
        };
        let emitter = Emitter::new(identity, recovery.finish(), [2; 32], now);
        Bench { emitter, disk, now }
    }

    /// The process ends, and another begins.
    fn restart(&mut self) {
        *self = Bench::on(std::mem::take(&mut self.disk));
    }

    /// The connection breaks, and there is another.
    fn reopen(&mut self) {
        self.emitter.closed(self.now.mono, "reset".to_owned());
        self.pass(REDIAL_FIRST);
        assert_eq!(self.emitter.poll_action(), Some(EmitterAction::Dial));
        self.emitter.opened(self.now.mono);
    }

    fn epoch(&self) -> String {
        self.emitter.spool().epoch().as_str().to_owned()
    }

    /// The listener says what it has of the spool's epoch.
    fn hello(&mut self, seq: u64) {
        let epoch = self.epoch();
        self.say(&format!("{{\"hello\":{{\"ack\":true,\"epoch\":\"{epoch}\",\"seq\":{seq}}}}}\n"));
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
        let epoch = self.epoch();
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
    bench.reopen();
    bench.say(HELLO);
    assert_eq!(bench.sent(), [STARTED, deleted(2), deleted(3)]);
}

#[test]
fn a_hello_with_a_position_spares_what_the_listener_has() {
    let mut bench = Bench::open();
    bench.say(HELLO);
    for _ in 0..3 {
        bench.emit();
    }
    assert_eq!(bench.sent().len(), 4);
    bench.reopen();
    bench.hello(2);
    assert_eq!(bench.sent(), [STARTED, deleted(3)]);
}

#[test]
fn a_spool_that_went_back_in_time_begins_another_epoch_and_tells_what_is_lost() {
    for (found, since) in [(0, 3), (2, 3), (2, 0)] {
        let mut bench = Bench::new();
        let now = bench.now.mono;
        for _ in 0..found {
            bench.emit();
        }
        bench.sent();
        bench.restart();
        let epoch = bench.epoch();
        assert_eq!(bench.emitter.poll_action(), Some(EmitterAction::Dial));
        for _ in 0..since {
            bench.emit();
        }
        // One commit is under way, and its epoch ends meanwhile.
        let commit = bench.emitter.poll_disk();
        bench.emitter.opened(now);
        let newest = bench.emitter.newest();
        bench.hello(found + 1);
        if let Some(op) = commit {
            let done = bench.disk.execute(op);
            bench.emitter.disk_done(bench.now, done);
        }
        assert_ne!(bench.epoch(), epoch);
        assert_eq!(bench.emitter.take_went_back(), Some(since));
        assert!(bench.emitter.covers(newest), "who waits for a lost event waits for ever");
        let gap = (EventType::AgentGap, Some(since));
        assert_eq!(bench.sent()[1..], [gap][..usize::from(since > 0)]);
        bench.emit();
        assert!(!bench.emitter.covers(bench.emitter.newest()));
        assert_eq!(bench.sent(), [deleted(since + 1)]);
        // What is on disk is of the new epoch alone.
        let epoch = bench.epoch();
        bench.restart();
        assert_eq!((bench.epoch(), bench.emitter.spool().last_seq()), (epoch, since + 1));
    }
}

#[test]
fn a_listener_that_has_what_is_here_changes_no_epoch() {
    let mut bench = Bench::new();
    bench.emit();
    bench.emit();
    bench.sent();
    bench.restart();
    let epoch = bench.epoch();
    assert_eq!(bench.emitter.poll_action(), Some(EmitterAction::Dial));
    bench.emitter.opened(bench.now.mono);
    bench.emit();
    bench.hello(2);
    assert_eq!(bench.sent(), [STARTED, deleted(3)]);
    assert_eq!((bench.epoch(), bench.emitter.take_went_back()), (epoch, None));
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
fn a_listener_that_answers_and_says_no_hello_is_believed_after_two_seconds() {
    for is_late in [false, true] {
        let mut bench = Bench::open();
        bench.emit();
        if !is_late {
            bench.emitter.has_no_hello(bench.now);
        }
        bench.pass(STATUS_HELLO_TIMEOUT);
        if is_late {
            bench.emitter.has_no_hello(bench.now);
        }
        assert_eq!(bench.sent(), [STARTED, deleted(1)]);
        assert!(bench.emitter.is_drained(), "it is not sent again");
    }
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
