//! The spool on a disk in memory: whole, cut, changed, full.

use std::time::Duration;

use super::recovery::Recovery;
use super::*;
use crate::base::disk::memory::Disk;
use crate::base::time::Wall;
use crate::rpc::event::EventType;

impl Disk {
    /// Whether there was anything to do.
    fn run(&mut self, spool: &mut Spool) -> bool {
        let mut busy = false;
        while let Some(op) = spool.poll_disk() {
            let done = self.execute(op);
            spool.disk_done(Mono::ZERO, done);
            busy = true;
        }
        busy
    }

    fn recover(&mut self) -> Spool {
        self.recover_as(SpoolTuning::default())
    }

    fn recover_as(&mut self, tuning: SpoolTuning) -> Spool {
        let mut recovery = Recovery::new(self.lengths(), tuning, &mut Rng::from_seed([1; 32]));
        while let Some(op) = recovery.poll_disk() {
            let done = self.execute(op);
            recovery.disk_done(done);
        }
        recovery.finish()
    }
}

fn event(data_bytes: usize) -> Event {
    Event {
        kind: EventType::Stopped,
        agent_id: "abcdefghjkmn".to_owned(),
        session_id: None,
        timestamp: Wall::new(1_800_000_000, 0),
        data: Value::String("x".repeat(data_bytes)),
        epoch: None,
        seq: None,
    }
}

/// Everything that is to be sent: numbers of events, and holes.
fn drain(spool: &mut Spool, disk: &mut Disk) -> (Vec<u64>, Vec<(u64, u64)>) {
    let (mut events, mut holes) = (Vec::new(), Vec::new());
    loop {
        match spool.peek() {
            Some(Peek::Hole { from, to }) => holes.push((from, to)),
            Some(Peek::Event { seq }) => {
                let line: Event = serde_json::from_slice(spool.line()).unwrap();
                assert_eq!(line.epoch.as_deref(), Some(spool.epoch().as_str()));
                assert_eq!(line.seq, Some(seq));
                assert!(spool.line().ends_with(b"}\n"));
                events.push(seq);
            }
            None if disk.run(spool) => continue,
            None => return (events, holes),
        }
        spool.advance();
    }
}

#[test]
fn events_are_numbered_sent_and_sent_again_until_acknowledged() {
    let mut disk = Disk::default();
    let mut spool = disk.recover();
    assert_eq!((1..=5).map(|_| spool.append(&event(3))).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!((spool.synced(), spool.peek()), (0, None), "nothing is sent before it is durable");
    assert_eq!(drain(&mut spool, &mut disk), (vec![1, 2, 3, 4, 5], vec![]));
    assert_eq!(disk.reads, 0, "what was just written is not read");
    let epoch = spool.epoch().as_str().to_owned();
    spool.acknowledge("other", 5);
    spool.acknowledge(&epoch, 3);
    spool.rewind();
    assert_eq!(drain(&mut spool, &mut disk), (vec![4, 5], vec![]));
    spool.acknowledge(&epoch, 99);
    assert_eq!(spool.acked(), 5, "what was never sent cannot be acknowledged");
}

#[test]
fn a_restart_keeps_epoch_numbers_and_events() {
    let mut disk = Disk::default();
    let mut spool = disk.recover();
    let epoch = spool.epoch().clone();
    for _ in 0..3 {
        spool.append(&event(3));
    }
    disk.run(&mut spool);
    let mut spool = disk.recover();
    assert_eq!(spool.epoch(), &epoch);
    assert_eq!(spool.append(&event(1)), 4);
    assert_eq!(drain(&mut spool, &mut disk), (vec![1, 2, 3, 4], vec![]));
}

#[test]
fn cut_at_every_length_no_number_is_given_twice() {
    let mut disk = Disk::default();
    let mut spool = disk.recover();
    for _ in 0..3 {
        spool.append(&event(3));
    }
    disk.run(&mut spool);
    let whole = disk.files[&FileNo(1)].clone();
    for cut in 0..whole.len() {
        let mut disk = Disk::default();
        disk.files.insert(FileNo(1), whole[..cut].to_vec());
        let mut spool = disk.recover();
        let seq = spool.append(&event(9));
        let (events, holes) = drain(&mut spool, &mut disk);
        assert_eq!(events.last(), Some(&seq));
        let lost: u64 = holes.iter().map(|(from, to)| to - from + 1).sum();
        assert_eq!(events.len() as u64 + lost, seq, "{cut}: every number is sent or in a hole");
        let again = drain(&mut disk.recover(), &mut disk);
        assert_eq!(again.0, events, "{cut}: what follows a cut is whole");
    }
}

#[test]
fn every_changed_byte_leaves_events_or_a_hole() {
    let mut disk = Disk::default();
    let mut spool = disk.recover();
    for _ in 0..4 {
        spool.append(&event(3));
    }
    disk.run(&mut spool);
    let whole = disk.files[&FileNo(1)].clone();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        let mut disk = Disk::default();
        disk.files.insert(FileNo(1), changed);
        let mut spool = disk.recover();
        let seq = spool.append(&event(9));
        assert!(seq > 4, "{at}: number {seq} was given before");
        let (events, holes) = drain(&mut spool, &mut disk);
        let first = events.first().copied().unwrap_or(seq);
        let lost: u64 = holes.iter().map(|(from, to)| to - from + 1).sum();
        assert!(events.is_sorted() && events.last() == Some(&seq));
        // A first record that rots is known from nothing else; the hub sees that 1 is missing.
        let unseen = if holes.iter().any(|hole| hole.0 == 1) { 0 } else { first - 1 };
        assert_eq!(events.len() as u64 + lost + unseen, seq, "{at}");
    }
}

#[test]
fn acknowledged_segments_go_and_only_those() {
    let mut disk = Disk::default();
    let mut spool = disk.recover();
    let epoch = spool.epoch().as_str().to_owned();
    for _ in 0..40 {
        spool.append(&event(200_000));
        disk.run(&mut spool);
    }
    let before = disk.files.len();
    assert!(before >= 2, "{before}");
    spool.acknowledge(&epoch, 1);
    disk.run(&mut spool);
    assert_eq!(disk.files.len(), before);
    spool.acknowledge(&epoch, 39);
    assert_eq!(drain(&mut spool, &mut disk), (vec![40], vec![]));
    assert_eq!(disk.files.len(), 1);
    assert_eq!(drain(&mut disk.recover(), &mut disk).0.last(), Some(&40));
}

#[test]
fn a_full_spool_loses_the_oldest_and_says_so_after_a_restart_too() {
    let tuning = SpoolTuning { segment_bytes: 40_000, segments_max: 4, tail_bytes_max: 20_000 };
    let mut disk = Disk::default();
    let mut spool = disk.recover_as(tuning);
    for _ in 0..360 {
        spool.append(&event(1000));
        disk.run(&mut spool);
        assert!(disk.files.len() <= 4);
    }
    assert!(spool.segments.iter().map(|segment| segment.len).sum::<u64>() <= 4 * 40_000);
    for mut spool in [disk.recover_as(tuning), spool] {
        spool.rewind();
        let (events, holes) = drain(&mut spool, &mut disk);
        assert_eq!(holes, [(1, events[0] - 1)]);
        assert_eq!(events, (events[0]..=360).collect::<Vec<_>>());
    }
}

#[test]
fn a_disk_that_takes_nothing_costs_bounded_memory_and_a_hole() {
    let mut disk = Disk { full: true, ..Disk::default() };
    let mut spool = disk.recover();
    for _ in 0..5000 {
        spool.append(&event(1000));
        disk.run(&mut spool);
        assert!(spool.tail.bytes.len() <= 3 * SPOOL_TAIL_BYTES_MAX);
    }
    assert!(spool.disk_error().is_some());
    assert_eq!(spool.deadline(), Some(Mono::ZERO + SPOOL_RETRY));
    disk.full = false;
    spool.tick(Mono::ZERO + Duration::from_secs(1));
    let (events, holes) = drain(&mut spool, &mut disk);
    assert_eq!(spool.synced(), 5000);
    assert_eq!(holes, [(1, events[0] - 1)]);
    assert_eq!(events, (events[0]..=5000).collect::<Vec<_>>());
    assert!(events.len() > 500);
}

#[test]
fn a_hole_behind_what_is_acknowledged_is_there_after_a_restart() {
    let tuning = SpoolTuning { segment_bytes: 2900, segments_max: 9, tail_bytes_max: 1400 };
    let mut disk = Disk::default();
    let mut spool = disk.recover_as(tuning);
    for seq in 1..=8 {
        disk.full = (3..=6).contains(&seq);
        spool.append(&event(1200));
        spool.tick(Mono::ZERO + SPOOL_RETRY);
        disk.run(&mut spool);
    }
    let epoch = spool.epoch().as_str().to_owned();
    spool.acknowledge(&epoch, 2);
    disk.run(&mut spool);
    let mut spool = disk.recover_as(tuning);
    spool.acknowledge(&epoch, 2);
    assert_eq!(spool.acked(), 2, "what is lost behind it is not acknowledged");
    assert_eq!(drain(&mut spool, &mut disk), (vec![7, 8], vec![(3, 6)]));
    spool.acknowledge(&epoch, 6);
    disk.run(&mut spool);
    assert_eq!(disk.files.len(), 1, "the segment before the hole goes with it");
}

#[test]
fn an_event_that_is_too_long_goes_without_its_data() {
    let mut disk = Disk::default();
    let mut spool = disk.recover();
    spool.append(&event(2 * EVENT_BYTES_MAX));
    spool.append(&event(1));
    assert_eq!(drain(&mut spool, &mut disk), (vec![1, 2], vec![]));
}

#[test]
fn a_number_that_a_failed_commit_has_left_behind_is_not_given_again() {
    let tuning = SpoolTuning { segment_bytes: 1500, segments_max: 4, tail_bytes_max: 1400 };
    let mut disk = Disk::default();
    let mut spool = disk.recover_as(tuning);
    for _ in 1..=3 {
        spool.append(&event(10));
    }
    disk.run(&mut spool);
    // All of it comes to the disk, which says that it did not.
    spool.append(&event(10));
    spool.append(&event(10));
    let DiskDone::Committed { bytes, .. } = disk.execute(spool.poll_disk().unwrap()) else {
        panic!("a commit");
    };
    let failed = DiskDone::Committed { bytes, result: Err(DiskError("full".to_owned())) };
    spool.disk_done(Mono::ZERO, failed);
    // With one more there is no room in that file: again, in a new one, and the power goes.
    spool.append(&event(700));
    spool.tick(Mono::ZERO + SPOOL_RETRY);
    let Some(DiskOp::Commit { file, offset: 0, mut bytes }) = spool.poll_disk() else {
        panic!("a commit to a new file");
    };
    let whole = |bytes: &[u8]| match record::split(bytes) {
        Split::Record { len, .. } => len,
        other => panic!("{other:?}"),
    };
    let header = whole(&bytes);
    bytes.truncate(header + whole(&bytes[header..]));
    disk.execute(DiskOp::Commit { file, offset: 0, bytes });

    let mut spool = disk.recover_as(tuning);
    assert_eq!(spool.append(&event(1)), 6, "5 is in the file before");
    assert_eq!(drain(&mut spool, &mut disk), (vec![1, 2, 3, 4, 5, 6], vec![]));
}
