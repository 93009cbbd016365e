//! What this machine has, and as whom this process runs on it.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, UdpSocket};

use rustix::process::{Resource, Rlimit, getegid, geteuid, getrlimit, setrlimit};
use rustix::system::sysinfo;

/// Whether an address is one of this machine's own: only those can be bound to.
pub(crate) fn has_address(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// The user as whom files are made.
pub(crate) fn uid() -> u32 {
    geteuid().as_raw()
}

/// The group as which files are made.
pub(crate) fn gid() -> u32 {
    getegid().as_raw()
}

/// Whether this process may give files to others and reach them afterwards: it has `CAP_CHOWN`,
/// `CAP_DAC_OVERRIDE` and `CAP_FOWNER` (linux/capability.h).
pub(crate) fn may_give_files() -> bool {
    const NEEDED: u64 = 1 | 1 << 1 | 1 << 3;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let held = line.and_then(|line| u64::from_str_radix(line.trim(), 16).ok());
    held.is_some_and(|held| held & NEEDED == NEEDED)
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

/// The address of this host from which packets to `other` come, by its routes. Sends nothing.
pub(crate) fn address_towards(other: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match other {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(other).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether this host's own rules drop what it sends to `other`: an empty datagram is sent there.
pub(crate) fn drops_towards(other: SocketAddrV4) -> bool {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0));
    let sent = socket.and_then(|socket| socket.send_to(&[], other));
    sent.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// The host's name, as the kernel has it.
pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// How many descriptors this process may have.
pub(crate) fn descriptor_limit() -> usize {
    let soft = getrlimit(Resource::Nofile).current;
    soft.map_or(usize::MAX, |soft| usize::try_from(soft).unwrap_or(usize::MAX))
}

/// How many descriptors of this process are open.
///
/// # Errors
/// Mostly that it has none left to look with.
pub(crate) fn open_descriptors() -> std::io::Result<usize> {
    // The one to look with is among them.
    Ok(std::fs::read_dir("/proc/self/fd")?.count().saturating_sub(1))
}

/// Lets this process have up to `wanted` descriptors, as far as its hard limit goes: a service
/// begins with a soft limit of 1024. If it fails, the old limit stands.
pub(crate) fn raise_descriptor_limit(wanted: usize) {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let soft = limit.current.unwrap_or(u64::MAX);
    let raised = soft.max(hard.min(wanted as u64));
    let _old_one_stands = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), ..limit });
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_descriptor_limit_rises_to_what_is_wanted_and_never_sinks() {
        let before = getrlimit(Resource::Nofile);
        raise_descriptor_limit(1);
        assert_eq!(getrlimit(Resource::Nofile).current, before.current);
        let more = before.current.map_or(0, |soft| soft + 1);
        raise_descriptor_limit(usize::try_from(more).unwrap());
        let wanted = before.maximum.map_or(more, |hard| hard.min(more));
        assert!(before.current.is_none() || getrlimit(Resource::Nofile).current == Some(wanted));
    }

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

    #[test]
    fn a_route_to_this_machine_begins_on_it() {
        let itself: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(address_towards(itself), Some(itself.ip()));
    }
}
