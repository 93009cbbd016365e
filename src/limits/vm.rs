//! Bounds of virtual machines that are made on a hypervisor.

use std::time::Duration;

/// The part of a hypervisor's processors, memory and disk that all its virtual machines may have,
/// in percent. The rest is the hypervisor's own.
pub(crate) const VM_PERCENT: u64 = 90;
/// Processors of one: libvirt's own bound for a machine of kind q35 is 288.
pub(crate) const VM_CPUS_MAX: u32 = 288;
/// MiB of memory below which no Ubuntu boots.
pub(crate) const VM_MEMORY_MIB_MIN: u64 = 512;
/// MiB of memory of one: 16 TiB, beyond any hypervisor of today.
pub(crate) const VM_MEMORY_MIB_MAX: u64 = 16 * 1024 * 1024;
/// GiB of one of its disks: 64 TiB, where ext4 and qcow2 still are at ease.
pub(crate) const VM_DISK_GIB_MAX: u64 = 64 * 1024;
/// An image of a disk that a system is on, as the machine sees it; no system is smaller.
pub(crate) const VM_IMAGE_BYTES_MIN: u64 = 16 * 1024 * 1024;
/// Virtual machines that are counted on one hypervisor.
pub(crate) const VM_COUNT_MAX: usize = 1024;
/// Keys that a new one lets in: the operator's, from an agent and from files.
pub(crate) const VM_KEYS_MAX: usize = 32;
/// Random signs of a host name, from 31: 40 bits, so that no two hypervisors draw the same.
pub(crate) const VM_NAME_SIGNS: usize = 8;
/// Fetching an image of some 600 MB over a slow line. What has come stays, for the next call.
pub(crate) const VM_FETCH_TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);
/// Fetching a list of checksums.
pub(crate) const VM_SUMS_TIMEOUT: Duration = Duration::from_secs(60);
/// Copying an image into a disk and making it larger.
pub(crate) const VM_DISK_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// From its start until it has booted to the end: under emulation with little memory it takes
/// more than a minute, on a busy machine several.
pub(crate) const VM_BOOT_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// The pause between two tries to reach it.
pub(crate) const VM_BOOT_PAUSE: Duration = Duration::from_secs(1);
/// Lines of its console that are shown when it does not come up.
pub(crate) const VM_CONSOLE_LINES_SHOWN: usize = 12;
/// What is read of a public key's file: RSA keys of 16384 bits have 3 KiB.
pub(crate) const VM_KEY_FILE_BYTES_MAX: usize = 16 * 1024;

const _: () = assert!(VM_PERCENT < 100);
