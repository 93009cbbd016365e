//! What room a host has for sessions, as its agent tells it.

use serde::{Deserialize, Serialize};

/// Bytes that are left for sessions, of what the host has; and what a session may use at most where
/// nothing else was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    pub(crate) memory_left: u64,
    pub(crate) memory: u64,
    /// Of the file system of the homes.
    pub(crate) disk_left: u64,
    pub(crate) disk: u64,
    /// Processors, in thousandths; whoever is busy shares them.
    pub(crate) cpu_millis: u64,
    pub(crate) default_memory: u64,
    pub(crate) default_cpu_millis: u64,
    pub(crate) default_pids: u32,
}

impl Capacity {
    /// `10.5g/24g`: what is left of the memory.
    pub(crate) fn memory_in_short(&self) -> String {
        format!("{}/{}", short(self.memory_left), short(self.memory))
    }

    /// The same of the disk.
    pub(crate) fn disk_in_short(&self) -> String {
        format!("{}/{}", short(self.disk_left), short(self.disk))
    }

    pub(crate) fn cpus(&self) -> String {
        cores(self.cpu_millis)
    }

    /// For a sentence.
    pub(crate) fn in_words(&self) -> String {
        format!(
            "memory {} of {}, disk {} of {}, {} processors",
            short(self.memory_left),
            short(self.memory),
            short(self.disk_left),
            short(self.disk),
            self.cpus(),
        )
    }

    /// What a blank choice stands for.
    pub(crate) fn defaults_in_words(&self) -> String {
        let (memory, cpus) = (short(self.default_memory), cores(self.default_cpu_millis));
        format!("at most {memory} memory, {cpus} processors, {} processes", self.default_pids)
    }
}

/// Whole or with two digits behind the point at most.
fn cores(millis: u64) -> String {
    let text = format!("{}.{:02}", millis / 1000, millis % 1000 / 10);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `812m`, `1.5g`, `120g`: never more than is there.
pub(crate) fn short(bytes: u64) -> String {
    match bytes >> 20 {
        mebibytes @ ..1000 => format!("{mebibytes}m"),
        mebibytes @ ..102_400 => {
            let tenths = ((mebibytes & 1023) * 10) >> 10;
            let whole = mebibytes >> 10;
            if tenths == 0 { format!("{whole}g") } else { format!("{whole}.{tenths}g") }
        }
        mebibytes => format!("{}g", mebibytes >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short_and_never_too_large() {
        for (bytes, text) in [
            (0, "0m"),
            (812 << 20, "812m"),
            ((1 << 30) - 1, "0.9g"),
            (3 << 29, "1.5g"),
            (8 << 30, "8g"),
            (u64::MAX, "17179869183g"),
        ] {
            assert_eq!(short(bytes), text, "{bytes}");
        }
        assert_eq!([1500, 8000, 250, 10].map(cores), ["1.5", "8", "0.25", "0.01"]);
    }
}
