//! Admission: whether one more session may start on this host.
//!
//! What counts is what running sessions may use, not what they use now; and for the disk, which no
//! cap divides, what is in use. The kernel's slice is the second layer and not here.

use std::fmt;

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

/// What running and starting sessions may use together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pledged {
    cpu_millis: u64,
    memory_bytes: u64,
}

impl Pledged {
    pub(super) fn add(&mut self, caps: Caps) {
        self.cpu_millis = self.cpu_millis.saturating_add(u64::from(caps.cpus.as_millis()));
        self.memory_bytes = self.memory_bytes.saturating_add(caps.memory);
    }
}

/// Why a session may not start. Each axis has its own unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CapacityRefusal {
    axis: Axis,
    request: u64,
    pledged: u64,
    cap: u64,
    total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axis {
    Cpu,
    Memory,
    Disk,
}

/// Whether a session with `caps` fits beside what is pledged.
pub(super) fn admit(
    totals: Totals,
    disk: Disk,
    pledged: Pledged,
    caps: Caps,
) -> Result<(), CapacityRefusal> {
    let cpu = u64::from(caps.cpus.as_millis());
    check(Axis::Cpu, cpu, pledged.cpu_millis, totals.cpu_millis)?;
    check(Axis::Memory, caps.memory, pledged.memory_bytes, totals.memory_bytes)?;
    check(Axis::Disk, 0, disk.used_bytes, disk.total_bytes)
}

fn check(axis: Axis, request: u64, pledged: u64, total: u64) -> Result<(), CapacityRefusal> {
    let cap = u64::try_from(u128::from(total) * u128::from(CAPACITY_PERCENT) / 100)
        .expect("a share of a number is not larger than the number");
    if pledged.saturating_add(request) <= cap {
        return Ok(());
    }
    Err(CapacityRefusal { axis, request, pledged, cap, total })
}

impl fmt::Display for CapacityRefusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |amount| Amount { axis: self.axis, amount };
        let (pledged, cap, total) = (show(self.pledged), show(self.cap), show(self.total));
        let of = format_args!("{CAPACITY_PERCENT} % of {total}");
        match self.axis {
            Axis::Disk => {
                write!(out, "no capacity: disk: {pledged} already in use, the cap is {cap} ({of})")
            }
            Axis::Cpu | Axis::Memory => write!(
                out,
                "no capacity: {}: {} requested, {pledged} already pledged to running sessions, \
                 the cap is {cap} ({of})",
                if self.axis == Axis::Cpu { "cpu" } else { "memory" },
                show(self.request),
            ),
        }
    }
}

struct Amount {
    axis: Axis,
    amount: u64,
}

impl fmt::Display for Amount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.axis {
            Axis::Cpu => write_cores(out, self.amount),
            Axis::Memory | Axis::Disk => write_bytes(out, self.amount),
        }
    }
}

/// `2 cores`, `0.25 cores`: thousandths without trailing zeros.
fn write_cores(out: &mut fmt::Formatter<'_>, millis: u64) -> fmt::Result {
    let (whole, rest) = (millis / 1000, millis % 1000);
    let unit = if millis == 1000 { "core" } else { "cores" };
    if rest == 0 {
        return write!(out, "{whole} {unit}");
    }
    let digits = format!("{rest:03}");
    write!(out, "{whole}.{} {unit}", digits.trim_end_matches('0'))
}

/// `1.5 GiB`: one digit after the point, rounded.
fn write_bytes(out: &mut fmt::Formatter<'_>, bytes: u64) -> fmt::Result {
    const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let Some((unit, shift)) = UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0) else {
        return write!(out, "{bytes} B");
    };
    let tenths = ((u128::from(bytes) * 10) + (1 << (shift - 1))) >> shift;
    write!(out, "{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::field::Cpus;

    const GIB: u64 = 1 << 30;
    const TOTALS: Totals = Totals { cpu_millis: 8000, memory_bytes: 16 * GIB };
    const DISK: Disk = Disk { total_bytes: 100 * GIB, used_bytes: 90 * GIB };

    fn caps(millis: u32, memory: u64) -> Caps {
        Caps { memory, cpus: Cpus::from_millis(millis).unwrap(), pids: 100 }
    }

    fn pledged(each: Caps, count: usize) -> Pledged {
        let mut pledged = Pledged::default();
        (0..count).for_each(|_| pledged.add(each));
        pledged
    }

    fn sentence(disk: Disk, pledged: Pledged, caps: Caps) -> String {
        admit(TOTALS, disk, pledged, caps).unwrap_err().to_string()
    }

    #[test]
    fn the_border_itself_is_admitted() {
        let none = Pledged::default();
        assert_eq!(admit(TOTALS, DISK, none, caps(7200, GIB)), Ok(()));
        assert!(admit(TOTALS, DISK, none, caps(7201, GIB)).is_err());
        let border = 16 * GIB * 9 / 10;
        assert_eq!(admit(TOTALS, DISK, none, caps(10, border)), Ok(()));
        assert!(admit(TOTALS, DISK, none, caps(10, border + 1)).is_err());
    }

    #[test]
    fn each_refusal_names_axis_request_pledge_and_cap() {
        assert_eq!(
            sentence(DISK, pledged(caps(3000, GIB), 2), caps(1250, GIB)),
            "no capacity: cpu: 1.25 cores requested, 6 cores already pledged to running sessions, \
             the cap is 7.2 cores (90 % of 8 cores)"
        );
        assert_eq!(
            sentence(DISK, pledged(caps(10, 4 * GIB), 3), caps(10, 5 * GIB / 2)),
            "no capacity: memory: 2.5 GiB requested, 12.0 GiB already pledged to running \
             sessions, the cap is 14.4 GiB (90 % of 16.0 GiB)"
        );
        let full = Disk { used_bytes: 95 * GIB, ..DISK };
        assert_eq!(
            sentence(full, Pledged::default(), caps(10, GIB)),
            "no capacity: disk: 95.0 GiB already in use, the cap is 90.0 GiB (90 % of 100.0 GiB)"
        );
    }

    #[test]
    fn absurd_numbers_neither_wrap_nor_panic() {
        let huge = caps(1_024_000, u64::MAX);
        let text = sentence(DISK, pledged(huge, 3), huge);
        assert!(text.starts_with("no capacity: cpu: 1024 cores requested"), "{text}");
        let totals = Totals { cpu_millis: u64::MAX, memory_bytes: 0 };
        assert!(admit(totals, DISK, Pledged::default(), caps(10, 1)).is_err());
    }
}
