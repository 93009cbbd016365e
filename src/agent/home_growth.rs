//! How homes grow: who fills the disk is told before anybody is refused for it.
//!
//! The file system of the homes is looked at now and then, which costs one system call. Only while
//! it fills up are the homes counted, and some counts of the last hour kept. When it is fuller by a
//! step than was told, the session that grew most since the oldest of them is named, unless others
//! have taken more than half of what the disk has lost. That is a hint for a person: a count that
//! takes too long is cut off, and nobody is stopped for it.
//!
//! States: off (until [`HomeGrowth::watch`]), at rest, measuring, counting.

use std::collections::VecDeque;
use std::mem;

use super::action::{ActionQueue, WorkId};
use super::capacity::{Disk, Grown};
use super::work::{DiskWork, Done, Outcome, Work};
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::limits::{
    DISK_COUNTED_PERCENT, DISK_LOOK_EVERY, DISK_TOLD_PERCENT, DISK_TOLD_STEP_PERCENT,
    HOMES_COUNT_IN_BACKGROUND_MAX, HOMES_COUNTS_KEPT,
};

#[derive(Debug, Default)]
pub(super) struct HomeGrowth {
    stage: Stage,
    /// The oldest first.
    counts: VecDeque<Count>,
    /// How full the disk was when that was last told, or what it has emptied to since, in percent.
    told: Option<u64>,
}

/// What was counted, and how much of the disk was in use then, by anyone.
#[derive(Debug)]
struct Count {
    at: Mono,
    used_bytes: u64,
    homes: SortedMap<Uuid, u64>,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Off,
    Rest(Mono),
    Measuring(WorkId),
    Counting(WorkId, Disk),
}

impl HomeGrowth {
    /// The homes are watched from now on.
    pub(super) fn watch(&mut self, now: Mono) {
        self.stage = Stage::Rest(now);
    }

    pub(super) fn tick(&mut self, actions: &mut ActionQueue, now: Mono) {
        if let Stage::Rest(next) = self.stage
            && next <= now
        {
            let work = Work::Disk(DiskWork::Measure { containers: Vec::new() });
            self.stage = Stage::Measuring(actions.run(work));
        }
    }

    /// When [`HomeGrowth::tick`] is wanted next.
    pub(super) fn deadline(&self) -> Option<Mono> {
        match self.stage {
            Stage::Rest(next) => Some(next),
            Stage::Off | Stage::Measuring(_) | Stage::Counting(..) => None,
        }
    }

    /// Takes the outcome of a piece of work; returns whether it was this module's, and what is to
    /// be told: the disk, and who grew most, if it was a home.
    pub(super) fn done(
        &mut self,
        actions: &mut ActionQueue,
        now: Mono,
        work: WorkId,
        outcome: &Outcome,
    ) -> (bool, Option<(Disk, Option<Grown>)>) {
        let rest = Stage::Rest(now + DISK_LOOK_EVERY);
        let mut told = None;
        match (mem::replace(&mut self.stage, rest), outcome) {
            (Stage::Measuring(asked), Ok(Done::Measured { total_bytes, used_bytes, .. }))
                if asked == work =>
            {
                let disk = Disk { total_bytes: *total_bytes, used_bytes: *used_bytes };
                if disk.used_percent() >= DISK_COUNTED_PERCENT {
                    let count = DiskWork::CountHomes { within: HOMES_COUNT_IN_BACKGROUND_MAX };
                    self.stage = Stage::Counting(actions.run(Work::Disk(count)), disk);
                } else {
                    self.counts.clear();
                    self.told = None;
                }
            }
            (Stage::Counting(asked, disk), Ok(Done::HomesCounted(homes))) if asked == work => {
                if self.is_news(disk) {
                    told = Some((disk, self.grown_most(now, disk, homes)));
                }
                if self.counts.len() == HOMES_COUNTS_KEPT {
                    self.counts.pop_front();
                }
                let homes = homes.iter().copied().collect();
                self.counts.push_back(Count { at: now, used_bytes: disk.used_bytes, homes });
            }
            // What fails is looked at again in its time.
            (Stage::Measuring(asked) | Stage::Counting(asked, _), _) if asked == work => {}
            (other, _) => {
                self.stage = other;
                return (false, None);
            }
        }
        (true, told)
    }

    /// Who grew most since the oldest count that is kept; without any, the largest. `homes` are all
    /// that there are now. None if it is not by homes that the disk has filled.
    pub(super) fn grown_most(&self, now: Mono, disk: Disk, homes: &[(Uuid, u64)]) -> Option<Grown> {
        let Some(oldest) = self.counts.front() else {
            let largest = homes.iter().max_by_key(|(_, bytes)| *bytes);
            return largest.map(|&(id, bytes)| Grown { id, bytes, by: None });
        };
        let by = |id: Uuid, bytes: u64| {
            bytes.saturating_sub(oldest.homes.get(&id).copied().unwrap_or(0))
        };
        let &(id, bytes) = homes.iter().max_by_key(|&&(id, bytes)| by(id, bytes))?;
        let grown = homes.iter().map(|&(id, bytes)| by(id, bytes)).fold(0, u64::saturating_add);
        let filled = disk.used_bytes.saturating_sub(oldest.used_bytes);
        let by = by(id, bytes);
        (by > 0 && grown >= filled / 2).then(|| Grown {
            id,
            bytes,
            by: Some((by, now.since(oldest.at))),
        })
    }

    /// Whether the disk is fuller by a step than when that was last told, or than it has emptied to
    /// since.
    fn is_news(&mut self, disk: Disk) -> bool {
        let percent = disk.used_percent();
        self.told = self.told.map(|told| told.min(percent));
        let next = |told| DISK_TOLD_PERCENT.max(told + DISK_TOLD_STEP_PERCENT);
        let due = self.told.map_or(DISK_TOLD_PERCENT, next);
        let is_news = percent >= due;
        if is_news {
            self.told = Some(percent);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::action::Action;

    const GIB: u64 = 1 << 30;

    fn id(number: u8) -> Uuid {
        Uuid::parse(&format!("00000000-0000-4000-8000-0000000000{number:02x}")).unwrap()
    }

    /// A watch in virtual time, before a disk of 100 GiB.
    struct Bench {
        growth: HomeGrowth,
        actions: ActionQueue,
        now: Mono,
    }

    impl Bench {
        fn new() -> Bench {
            let mut growth = HomeGrowth::default();
            assert_eq!(growth.deadline(), None);
            growth.watch(Mono::ZERO);
            Bench { growth, actions: ActionQueue::default(), now: Mono::ZERO }
        }

        fn work(&mut self) -> Option<(WorkId, DiskWork)> {
            match self.actions.pop()? {
                Action::Run { id, work: Work::Disk(work) } => Some((id, work)),
                other => panic!("{other:?}"),
            }
        }

        /// The next look, which finds this much in use, and these homes if it counts them.
        fn look(&mut self, used: u64, homes: &[(Uuid, u64)]) -> Option<Option<Grown>> {
            self.now = self.growth.deadline().expect("it rests");
            self.growth.tick(&mut self.actions, self.now);
            let (work, _) = self.work().expect("it measures");
            assert_eq!(self.growth.deadline(), None);
            let measured = Done::Measured {
                total_bytes: 100 * GIB,
                used_bytes: used * GIB,
                memory: SortedMap::new(),
            };
            let foreign =
                self.growth.done(&mut self.actions, self.now, WorkId(99), &Ok(Done::Done));
            assert_eq!(foreign, (false, None));
            let (is_ours, told) =
                self.growth.done(&mut self.actions, self.now, work, &Ok(measured));
            assert_eq!((is_ours, told), (true, None));
            let (work, _) = self.work()?;
            let counted = Ok(Done::HomesCounted(homes.to_vec()));
            let (is_ours, told) = self.growth.done(&mut self.actions, self.now, work, &counted);
            assert!(is_ours);
            told.map(|(_, grown)| grown)
        }
    }

    #[test]
    fn who_grew_is_told_once_a_step_and_not_who_is_large() {
        let mut bench = Bench::new();
        let homes = |small: u64| [(id(1), 60 * GIB), (id(2), small * GIB)];
        assert_eq!(bench.look(30, &homes(1)), None);
        assert!(bench.growth.counts.is_empty(), "nothing is counted while there is room");
        assert_eq!(bench.look(70, &homes(1)), None);
        assert_eq!(bench.look(79, &homes(5)), None);
        let grown = bench.look(85, &homes(11)).flatten().unwrap();
        assert_eq!((grown.id, grown.bytes), (id(2), 11 * GIB));
        assert_eq!(grown.by, Some((10 * GIB, 2 * DISK_LOOK_EVERY)));
        assert_eq!(bench.look(86, &homes(12)), None);
        let grown = bench.look(90, &homes(16)).flatten();
        assert_eq!(grown.map(|grown| grown.bytes), Some(16 * GIB));
        assert_eq!(bench.look(81, &homes(7)), None, "it has emptied, and begins anew from there");
        assert_eq!(bench.look(85, &homes(11)), None);
        assert!(bench.look(86, &homes(12)).is_some());
    }

    #[test]
    fn at_the_first_count_the_largest_is_named_and_a_disk_that_others_fill_names_nobody() {
        let mut bench = Bench::new();
        let homes = [(id(1), GIB), (id(2), 3 * GIB)];
        let grown = bench.look(82, &homes).flatten().unwrap();
        assert_eq!((grown.id, grown.by), (id(2), None));
        assert_eq!(bench.look(89, &homes), Some(None));
        assert_eq!(bench.look(96, &[(id(1), GIB), (id(2), 4 * GIB)]), Some(None), "a small part");
    }

    #[test]
    fn counts_of_an_hour_are_kept_and_failures_are_waited_for() {
        let mut bench = Bench::new();
        for look in 0..3 * HOMES_COUNTS_KEPT {
            bench.look(70, &[(id(1), look as u64)]);
        }
        assert_eq!(bench.growth.counts.len(), HOMES_COUNTS_KEPT);
        bench.now = bench.growth.deadline().unwrap();
        bench.growth.tick(&mut bench.actions, bench.now);
        let (work, _) = bench.work().unwrap();
        let failed = Err(super::super::work::WorkError::Mismatch);
        assert_eq!(bench.growth.done(&mut bench.actions, bench.now, work, &failed), (true, None));
        assert_eq!(bench.growth.deadline(), Some(bench.now + DISK_LOOK_EVERY));
    }
}
