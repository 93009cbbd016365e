//! Whether one more machine fits: what is there and what is wanted, summed up on each axis.
//!
//! All machines that libvirt knows count, running or not, each with all that it was promised. Of
//! the disk, what other files take counts, too: they are not made to go.

use std::fmt;

use crate::limits::VM_PERCENT;
use crate::provision::vm::spec::Size;

/// What a hypervisor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hypervisor {
    pub(crate) cpus: u64,
    /// Bytes of memory.
    pub(crate) memory_bytes: u64,
    /// Bytes of the file system for the disks of machines.
    pub(crate) disk_bytes: u64,
    /// Of these, in use by whatever it is.
    pub(crate) disk_used_bytes: u64,
}

/// What machines were promised; of one or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Promised {
    /// How many they are.
    pub(crate) machines: u64,
    pub(crate) cpus: u64,
    /// Bytes of memory.
    pub(crate) memory_bytes: u64,
    /// Bytes that their disks may grow to.
    pub(crate) disk_bytes: u64,
    /// Bytes that their disks take now.
    pub(crate) disk_taken_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CapacitySum {
    name: &'static str,
    unit: &'static str,
    /// One unit as it is shown, in the numbers that follow.
    unit_size: u64,
    machines: u64,
    promised: u64,
    /// What else has a part of it.
    others: Option<u64>,
    wanted: u64,
    total: u64,
}

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;

impl Promised {
    /// Reads what `virsh dominfo` and `virsh domblkinfo --all` say of one machine.
    ///
    /// # Errors
    /// What they do not say.
    pub(crate) fn read(info: &str, disks: &str) -> Result<Promised, &'static str> {
        let value = |name: &str| {
            let mut lines = info.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(key, _)| key.trim() == name);
            found.and_then(|(_, value)| value.split_whitespace().next()?.parse::<u64>().ok())
        };
        let mut promised = Promised {
            machines: 1,
            cpus: value("CPU(s)").ok_or("CPU(s)")?,
            memory_bytes: value("Max memory").ok_or("Max memory")?.saturating_mul(1024),
            ..Promised::default()
        };
        // A drive without a disk in it has dashes for numbers.
        for line in disks.lines() {
            let mut numbers = line.split_whitespace().skip(1).map_while(|word| word.parse().ok());
            let (capacity, taken): (u64, u64) = match (numbers.next(), numbers.next()) {
                (Some(capacity), Some(taken)) => (capacity, taken),
                _ => continue,
            };
            promised.disk_bytes = promised.disk_bytes.saturating_add(capacity);
            promised.disk_taken_bytes = promised.disk_taken_bytes.saturating_add(taken);
        }
        Ok(promised)
    }

    #[must_use]
    pub(crate) fn and(self, other: Promised) -> Promised {
        Promised {
            machines: self.machines + other.machines,
            cpus: self.cpus.saturating_add(other.cpus),
            memory_bytes: self.memory_bytes.saturating_add(other.memory_bytes),
            disk_bytes: self.disk_bytes.saturating_add(other.disk_bytes),
            disk_taken_bytes: self.disk_taken_bytes.saturating_add(other.disk_taken_bytes),
        }
    }
}

impl Hypervisor {
    /// The sums on each axis: processors, memory, disk.
    pub(crate) fn sums(&self, promised: &Promised, wanted: &Size) -> [CapacitySum; 3] {
        let machines = promised.machines;
        let others = self.disk_used_bytes.saturating_sub(promised.disk_taken_bytes);
        [
            CapacitySum {
                name: "CPU",
                unit: "",
                unit_size: 1,
                machines,
                promised: promised.cpus,
                others: None,
                wanted: wanted.cpus.into(),
                total: self.cpus,
            },
            CapacitySum {
                name: "memory",
                unit: " MB",
                unit_size: MIB,
                machines,
                promised: promised.memory_bytes,
                others: None,
                wanted: wanted.memory_mib.saturating_mul(MIB),
                total: self.memory_bytes,
            },
            CapacitySum {
                name: "disk",
                unit: " GB",
                unit_size: GIB,
                machines,
                promised: promised.disk_bytes,
                others: Some(others),
                wanted: wanted.disk_gib().saturating_mul(GIB),
                total: self.disk_bytes,
            },
        ]
    }
}

impl CapacitySum {
    /// What it is of.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether all of it is within what machines may have.
    pub(crate) fn fits(&self) -> bool {
        self.all() * 100 <= u128::from(self.total) * u128::from(VM_PERCENT)
    }

    fn all(&self) -> u128 {
        let parts = [self.promised, self.others.unwrap_or(0), self.wanted];
        parts.iter().map(|part| u128::from(*part)).sum()
    }

    /// In units with a tenth, where that is needed. Never less than it is.
    fn shown(&self, tenths: u128) -> String {
        let unit = self.unit;
        match (tenths / 10, tenths % 10) {
            (whole, 0) => format!("{whole}{unit}"),
            (whole, tenth) => format!("{whole}.{tenth}{unit}"),
        }
    }

    fn part(&self, value: u128) -> String {
        self.shown((value * 10).div_ceil(u128::from(self.unit_size)))
    }
}

/// `memory: 2048 MB of 2 VMs + 1024 MB of this one = 3072 MB; 90 % of 4096 MB is 3686.4 MB`
impl fmt::Display for CapacitySum {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = u128::from(self.total) * u128::from(VM_PERCENT) / 10;
        let allowed = self.shown(allowed / u128::from(self.unit_size));
        let plural = if self.machines == 1 { "" } else { "s" };
        write!(out, "{}: {}", self.name, self.part(self.promised.into()))?;
        write!(out, " of {} VM{plural} + ", self.machines)?;
        if let Some(others) = self.others {
            write!(out, "{} of other files + ", self.part(others.into()))?;
        }
        let (wanted, all) = (self.part(self.wanted.into()), self.part(self.all()));
        let total = self.part(self.total.into());
        write!(out, "{wanted} of this one = {all}; {VM_PERCENT} % of {total} is {allowed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Hypervisor = Hypervisor {
        cpus: 10,
        memory_bytes: 10_000 * MIB,
        disk_bytes: 100 * GIB,
        disk_used_bytes: 12 * GIB,
    };
    const WANTED: Size = Size { cpus: 1, memory_mib: 1000, os_gib: 6, data_gib: 4 };

    /// Eight tenths of each axis are given away; 5 GiB of the disks are written, and 7 are others'.
    fn promised() -> Promised {
        Promised {
            machines: 2,
            cpus: 8,
            memory_bytes: 8000 * MIB,
            disk_bytes: 73 * GIB,
            disk_taken_bytes: 5 * GIB,
        }
    }

    fn fits(promised: &Promised, wanted: &Size) -> [bool; 3] {
        HOST.sums(promised, wanted).map(|sum| sum.fits())
    }

    #[test]
    fn nine_tenths_may_be_given_away_on_each_axis_and_nothing_beyond() {
        assert_eq!(fits(&promised(), &WANTED), [true, true, true]);
        let more = |change: fn(&mut Size)| {
            let mut wanted = WANTED;
            change(&mut wanted);
            fits(&promised(), &wanted)
        };
        assert_eq!(more(|it| it.cpus += 1), [false, true, true]);
        assert_eq!(more(|it| it.memory_mib += 1), [true, false, true]);
        assert_eq!(more(|it| it.os_gib += 1), [true, true, false]);
        assert_eq!(more(|it| it.data_gib += 1), [true, true, false]);
        // A machine that was there takes from the next.
        let one = Promised::read("CPU(s): 1\nMax memory: 1 KiB\n", "vda 1 0 0\n").unwrap();
        assert_eq!(fits(&promised().and(one), &WANTED), [false, false, false]);
        // Nothing overflows.
        let all = Promised { memory_bytes: u64::MAX, disk_bytes: u64::MAX, ..promised() };
        assert_eq!(fits(&all, &WANTED), [true, false, false]);
    }

    #[test]
    fn the_sums_are_shown() {
        let shown = HOST.sums(&promised(), &WANTED).map(|sum| sum.to_string());
        assert_eq!(shown[0], "CPU: 8 of 2 VMs + 1 of this one = 9; 90 % of 10 is 9");
        assert_eq!(
            shown[1],
            "memory: 8000 MB of 2 VMs + 1000 MB of this one = 9000 MB; 90 % of 10000 MB is 9000 MB"
        );
        assert_eq!(
            shown[2],
            "disk: 73 GB of 2 VMs + 7 GB of other files + 10 GB of this one = 90 GB; \
             90 % of 100 GB is 90 GB"
        );
        let small = Hypervisor { cpus: 2, ..HOST };
        let shown = small.sums(&Promised::default(), &WANTED)[0].to_string();
        assert_eq!(shown, "CPU: 0 of 0 VMs + 1 of this one = 1; 90 % of 2 is 1.8");
    }

    #[test]
    fn what_virsh_says_is_read() {
        let info = "Id:             -\nName:           a: 7\nState:          shut off\n\
                    CPU(s):         3\nMax memory:     2097152 KiB\nUsed memory:    4 KiB\n";
        let disks = " Target   Capacity     Allocation   Physical\n\
                     ------------------------------------------\n \
                     vda      21474836480  1839206400   1839333376\n \
                     sda      -            -            -\n \
                     vdb      1024         512          512\n\n";
        let read = Promised::read(info, disks).unwrap();
        let wanted = Promised {
            machines: 1,
            cpus: 3,
            memory_bytes: 2 * GIB,
            disk_bytes: 20 * GIB + 1024,
            disk_taken_bytes: 1_839_206_912,
        };
        assert_eq!(read, wanted);
        assert_eq!(Promised::read("CPU(s): 1\n", ""), Err("Max memory"));
        assert_eq!(Promised::read("", ""), Err("CPU(s)"));
    }
}
