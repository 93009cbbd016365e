//! What this machine has, and as whom this process runs on it.

use rustix::process::{getegid, geteuid};
use rustix::system::sysinfo;

/// The user as whom files are made.
pub(crate) fn uid() -> u32 {
    geteuid().as_raw()
}

/// The group as which files are made.
pub(crate) fn gid() -> u32 {
    getegid().as_raw()
}

/// Processors that this process may use; at least one.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// All memory of the machine, used or not.
pub(crate) fn memory_bytes() -> u64 {
    let info = sysinfo();
    info.totalram * u64::from(info.mem_unit)
}

/// The host's name, as the kernel has it.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_kernel_says_the_same_in_proc() {
        let told = fs::read_to_string("/proc/meminfo").unwrap();
        let total = told.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
        let kib: u64 = total.trim().trim_end_matches(" kB").parse().unwrap();
        assert_eq!(memory_bytes() / 1024, kib);
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let uids = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        assert_eq!(uids.split_whitespace().nth(1), Some(uid().to_string().as_str()));
        assert!(cores() >= 1);
    }
}
