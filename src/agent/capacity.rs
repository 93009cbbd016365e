//! Admission: whether one more session may start on this host.
//!
//! Of the memory, a running session counts with what it uses, or with its reservation where that is
//! more; its cap may be far above. Processors are shared by weight, so they refuse nobody. Of the
//! disk, which no cap divides, all that is in use counts. The kernel's slice is the second layer
//! and not here.

use std::fmt;
use std::time::Duration;

use crate::base::uuid::Uuid;
use crate::limits::CAPACITY_PERCENT;
use crate::rpc::field::Caps;

/// What the host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Processors, in thousandths of a core.
    pub cpu_millis: u64,
    /// Memory, in bytes.
    pub memory_bytes: u64,
}

/// The file system of the homes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) total_bytes: u64,
    pub(super) used_bytes: u64,
}

impl Disk {
    pub(super) fn used_percent(self) -> u64 {
        let percent = u128::from(self.used_bytes) * 100 / u128::from(self.total_bytes.max(1));
        u64::try_from(percent).unwrap_or(u64::MAX)
    }
}

/// The home that grew most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grown {
    pub(super) id: Uuid,
    /// Of its home, now.
    pub(super) bytes: u64,
    /// By how much it grew, and in which time. Absent before there are two counts.
    pub(super) by: Option<(u64, Duration)>,
}

/// The memory of running and starting sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    bytes: u64,
    sessions: usize,
    /// The one that takes most.
    most: Option<(Uuid, u64)>,
}

impl Taken {
    pub(super) fn add(&mut self, id: Uuid, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.sessions += 1;
        if self.most.is_none_or(|(_, most)| most < bytes) {
            self.most = Some((id, bytes));
        }
    }
}

/// Why a session may not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CapacityRefusal {
    Memory { request: u64, taken: Taken, total: u64 },
    Disk(Disk),
}

/// The memory that a session with `caps` counts with when it uses less: never more than it may use.
pub(super) fn reservation(default: u64, caps: Caps) -> u64 {
    default.min(caps.memory)
}

/// Whether a session that reserves `request` bytes of memory fits beside what is taken.
pub(super) fn admit(
    totals: Totals,
    disk: Disk,
    taken: Taken,
    request: u64,
) -> Result<(), CapacityRefusal> {
    let total = totals.memory_bytes;
    if taken.bytes.saturating_add(request) > share(total) {
        return Err(CapacityRefusal::Memory { request, taken, total });
    }
    if disk.used_bytes > share(disk.total_bytes) {
        return Err(CapacityRefusal::Disk(disk));
    }
    Ok(())
}

/// What is left of memory and disk for sessions, in bytes.
pub(super) fn left(totals: Totals, disk: Disk, taken: Taken) -> (u64, u64) {
    let memory = share(totals.memory_bytes).saturating_sub(taken.bytes);
    (memory, share(disk.total_bytes).saturating_sub(disk.used_bytes))
}

fn share(total: u64) -> u64 {
    u64::try_from(u128::from(total) * u128::from(CAPACITY_PERCENT) / 100)
        .expect("a share of a number is not larger than the number")
}

impl CapacityRefusal {
    /// What is taken, by whom most, what may be, and the ways out. `label` names a session.
    /// `homes` are the largest, in bytes, and who grew most.
    pub(super) fn sentence(
        &self,
        (homes, grown): (&[(Uuid, u64)], Option<Grown>),
        label: impl Fn(Uuid) -> String,
    ) -> String {
        let cap = |total| {
            let (cap, of) = (Bytes(share(total)), Bytes(total));
            format!("the cap is {cap} ({CAPACITY_PERCENT} % of {of})")
        };
        match *self {
            CapacityRefusal::Memory { request, taken, total } => {
                let Taken { bytes, sessions, most } = taken;
                let most = most.map_or_else(String::new, |(id, most)| {
                    format!(" (most by {}: {})", label(id), Bytes(most))
                });
                format!(
                    "no capacity: memory: {} requested, {} taken by {sessions} running \
                     sessions{most}, {}; kill a session, lower memory-reservation in agent.conf, \
                     or use another agent",
                    Bytes(request),
                    Bytes(bytes),
                    cap(total),
                )
            }
            CapacityRefusal::Disk(Disk { total_bytes, used_bytes }) => {
                let name = |(id, bytes): &(Uuid, u64)| format!("{} {}", label(*id), Bytes(*bytes));
                let homes: Vec<String> = homes.iter().map(name).collect();
                let grown = match grown {
                    Some(Grown { id, by: Some((by, time)), .. }) => {
                        let minutes = time.as_secs() / 60;
                        format!("; {} grew most, by {} in {minutes} min", label(id), Bytes(by))
                    }
                    _ => String::new(),
                };
                let most = match homes.is_empty() {
                    true => String::new(),
                    false => format!(" (most by {}{grown})", homes.join(", ")),
                };
                format!(
                    "no capacity: disk: {} in use where the homes are{most}, {}; delete files or \
                     sessions there, or use another agent",
                    Bytes(used_bytes),
                    cap(total_bytes),
                )
            }
        }
    }
}

struct Bytes(u64);

/// `1.5 GiB`: one digit after the point, rounded.
impl fmt::Display for Bytes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let Some((unit, shift)) = UNITS.into_iter().find(|(_, shift)| self.0 >> shift > 0) else {
            return write!(out, "{} B", self.0);
        };
        let tenths = ((u128::from(self.0) * 10) + (1 << (shift - 1))) >> shift;
        write!(out, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::defaults::Defaults;

    const GIB: u64 = 1 << 30;
    const TOTALS: Totals = Totals { cpu_millis: 8000, memory_bytes: 16 * GIB };
    const DISK: Disk = Disk { total_bytes: 100 * GIB, used_bytes: 90 * GIB };

    fn id() -> Uuid {
        Uuid::parse("01234567-89ab-4def-8123-456789abcdef").unwrap()
    }

    fn taken(each: &[u64]) -> Taken {
        let mut taken = Taken::default();
        each.iter().for_each(|bytes| taken.add(id(), *bytes));
        taken
    }

    fn sentence(disk: Disk, taken: Taken, request: u64) -> String {
        let refusal = admit(TOTALS, disk, taken, request).unwrap_err();
        refusal.sentence((&[], None), |id| format!("session \"{}\"", id.short()))
    }

    #[test]
    fn the_border_itself_is_admitted() {
        let border = 16 * GIB * 9 / 10;
        assert_eq!(admit(TOTALS, DISK, Taken::default(), border), Ok(()));
        assert!(admit(TOTALS, DISK, Taken::default(), border + 1).is_err());
        assert_eq!(admit(TOTALS, DISK, taken(&[border - GIB]), GIB), Ok(()));
        let over = Disk { used_bytes: DISK.used_bytes + 1, ..DISK };
        assert!(admit(TOTALS, over, Taken::default(), 0).is_err());
    }

    #[test]
    fn two_cores_and_24_gib_take_40_waiting_sessions() {
        let totals = Totals { cpu_millis: 2000, memory_bytes: 24 * GIB };
        let defaults = Defaults::of_host(totals);
        let request = reservation(defaults.reservation, defaults.caps);
        let mut running = Taken::default();
        for _ in 0..40 {
            assert_eq!(admit(totals, DISK, running, request), Ok(()));
            running.add(id(), request.max(300 << 20));
        }
        assert!(admit(totals, DISK, taken(&[2 * GIB; 40]), request).is_err());
    }

    #[test]
    fn each_refusal_names_axis_request_what_is_taken_cap_and_the_ways_out() {
        assert_eq!(
            sentence(DISK, taken(&[4 * GIB, 6 * GIB, 2 * GIB]), 5 * GIB / 2),
            "no capacity: memory: 2.5 GiB requested, 12.0 GiB taken by 3 running sessions (most \
             by session \"01234567\": 6.0 GiB), the cap is 14.4 GiB (90 % of 16.0 GiB); kill a \
             session, lower memory-reservation in agent.conf, or use another agent"
        );
        let full = Disk { used_bytes: 95 * GIB, ..DISK };
        assert_eq!(
            sentence(full, Taken::default(), GIB),
            "no capacity: disk: 95.0 GiB in use where the homes are, the cap is 90.0 GiB (90 % of \
             100.0 GiB); delete files or sessions there, or use another agent"
        );
        let homes = [(id(), 60 * GIB), (id(), 3 << 20)];
        let told = CapacityRefusal::Disk(full).sentence((&homes, None), |id| id.short());
        let most = "where the homes are (most by 01234567 60.0 GiB, 01234567 3.0 MiB), the cap is";
        assert!(told.contains(most), "{told}");
        let by = Some((2 * GIB, Duration::from_secs(45 * 60)));
        let grown = Some(Grown { id: id(), bytes: 3 * GIB, by });
        let told = CapacityRefusal::Disk(full).sentence((&homes, grown), |id| id.short());
        let most = "01234567 3.0 MiB; 01234567 grew most, by 2.0 GiB in 45 min), the cap is";
        assert!(told.contains(most), "{told}");
    }

    #[test]
    fn absurd_numbers_neither_wrap_nor_panic() {
        let text = sentence(DISK, taken(&[u64::MAX; 3]), u64::MAX);
        assert!(text.starts_with("no capacity: memory: 16777216.0 TiB requested"), "{text}");
        let totals = Totals { cpu_millis: u64::MAX, memory_bytes: 0 };
        assert!(admit(totals, DISK, Taken::default(), 1).is_err());
    }
}
