//! A virtual machine on a hypervisor: libvirt and QEMU in a host of the testbed, which emulates the
//! processor, and an operator on another host, with ssh as it comes.
//!
//! Ubuntu's image cannot be had everywhere; the machine boots one of the testbed's own
//! (`tests/testbed/guest-image.sh`), from a file of the hypervisor's and from a web server.

#![allow(clippy::panic, reason = "helpers of tests fail like tests")]

#[path = "../support/mod.rs"]
mod support;

mod web;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::Need;
use support::process::CONVOCATE_HOST;
use support::testbed::{Host, Kind, NEEDS, Told};
use support::wait::wait_until;
use web::{NAME, Web};

/// Packages are fetched, and a machine boots without a processor of its own.
const PATIENCE: Duration = Duration::from_secs(600);
const IMAGE: &str = "/var/lib/libvirt/guest.qcow2";
/// What is left when no machine is.
const NO_MACHINES: &str = "cache";

/// The operator's place, and the hypervisor that it knows as `hv`.
struct Hosts {
    operator: Host,
    hypervisor: Host,
}

impl Hosts {
    fn start(guest: &Path) -> Hosts {
        let operator = Host::start(Kind::Plain);
        let hypervisor = Host::start(Kind::Hypervisor);
        operator.put(Path::new(CONVOCATE_HOST), "/root/convocate-host");
        hypervisor.put(guest, IMAGE);
        operator.done(
            "install -d -m 0700 ~/.ssh && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519",
        );
        let key = operator.done("cat ~/.ssh/id_ed25519.pub");
        hypervisor.done(&format!(
            "useradd -m -s /bin/bash ann && install -d -o ann -g ann -m 0700 /home/ann/.ssh && \
             echo '{key}' >/home/ann/.ssh/authorized_keys && chown ann: /home/ann/.ssh/* && \
             echo 'ann ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ann"
        ));
        let host_key = hypervisor.done("cut -d ' ' -f 1,2 /etc/ssh/ssh_host_ed25519_key.pub");
        let address = hypervisor.address();
        operator.done(&format!(
            "echo 'hv {host_key}' >~/.ssh/known_hosts && printf '%s\\n' 'Host hv' \
             'HostName {address}' 'HostKeyAlias hv' >~/.ssh/config"
        ));
        Hosts { operator, hypervisor }
    }

    fn words(more: &str) -> String {
        format!(
            "/root/convocate-host create-vm --hypervisor hv --username ann --domain example.test \
             --cpu 1 --ram 1024 --osdisk 4 --datadisk 2 --image {IMAGE} {more}"
        )
    }

    /// Calls the program; what is given twice counts as it is given last.
    fn create(&self, more: &str) -> Told {
        self.operator.sh(&Hosts::words(more))
    }

    /// The call with one number changed.
    fn create_with(&self, flag: &str, value: &str) -> Told {
        let words = Hosts::words("");
        let (before, behind) = words.split_once(flag).expect("it is one of them");
        let (_, behind) = behind.trim_start().split_once(' ').expect("a value");
        self.operator.sh(&format!("{before}{flag} {value} {behind}"))
    }

    /// The call with an image from elsewhere.
    fn create_from(&self, url: &str) -> Told {
        self.operator.sh(&Hosts::words("").replace(&format!("--image {IMAGE}"), url))
    }

    /// Names of machines.
    fn machines(&self, which: &str) -> String {
        self.hypervisor.done(&format!("virsh -q list {which} --name"))
    }

    fn directories(&self) -> String {
        self.hypervisor.done("ls /var/lib/libvirt/images/convocate")
    }
}

/// The image that machines boot.
fn guest() -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/guest-image.sh");
    let made = Command::new(script).output().expect("a script");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    PathBuf::from(String::from_utf8(made.stdout).expect("a path").trim())
}

#[test]
fn a_machine_is_made_or_leaves_nothing() {
    let test = "a_machine_is_made_or_leaves_nothing";
    if !support::has(test, &NEEDS) || !support::has(test, &[Need::Program("losetup")]) {
        return;
    }
    let guest = guest();
    let hosts = Hosts::start(&guest);
    let boot_id = hosts.hypervisor.boot_id();
    what_does_not_fit_is_refused(&hosts);
    what_fails_is_removed(&hosts);
    let made = an_image_is_fetched(&hosts, &guest);
    let up = made.text.lines().find_map(|line| line.split_once(".example.test is up, at "));
    let (name, rest) = up.unwrap_or_else(|| panic!("no name: {}", made.text));
    let address = rest.strip_suffix(" on hv").expect("an address");
    it_is_as_it_was_wanted(&hosts, name);
    the_hypervisor_knows_it(&hosts, name, address);

    // Two processors bear no second one.
    let second = hosts.create_with("--cpu", &hosts.hypervisor.done("nproc"));
    assert_eq!(second.code, 1, "{}", second.text);
    assert!(second.text.contains("of 1 VM + "), "{}", second.text);
    assert_eq!(hosts.machines(""), name);
    assert_eq!(hosts.hypervisor.boot_id(), boot_id);
    what_machines_share_goes(&hosts, name);
}

/// With `uninstall`, under a machine that runs on.
fn what_machines_share_goes(hosts: &Hosts, name: &str) {
    let taken = hosts.operator.sh("/root/convocate-host uninstall --host hv --user ann --yes");
    assert_eq!(taken.code, 0, "{}", taken.text);
    assert_eq!((hosts.machines("").as_str(), hosts.directories().as_str()), (name, name));
    assert_eq!(hosts.hypervisor.done("find /etc/systemd -name '*convocate*'"), "");
    let quota = hosts.hypervisor.done("systemctl show -P CPUQuotaPerSecUSec machine.slice");
    assert_eq!(quota, "infinity");
}

/// Before anything is changed, with the sums, on each axis.
fn what_does_not_fit_is_refused(hosts: &Hosts) {
    for (flag, much, axis) in
        [("--cpu", "200", "CPU"), ("--ram", "9000000", "memory"), ("--osdisk", "60000", "disk")]
    {
        let refused = hosts.create_with(flag, much);
        assert_eq!(refused.code, 1, "{flag}: {}", refused.text);
        let sum =
            refused.text.lines().find(|line| line.trim_start().starts_with(&format!("| {axis}:")));
        assert!(sum.is_some_and(|sum| sum.contains("90 % of")), "{}", refused.text);
    }
    let looked = hosts.create("--check");
    assert_eq!(looked.code, 0, "{}", looked.text);
    assert!(hosts.hypervisor.sh("command -v virsh").code != 0, "it was only to look");
}

/// What is no image; then Ctrl-C while a machine boots.
fn what_fails_is_removed(hosts: &Hosts) {
    let refused = hosts.create_with("--image", "/etc/hostname");
    assert_eq!(refused.code, 1, "{}", refused.text);
    assert!(refused.text.contains("/etc/hostname is no image of a disk"), "{}", refused.text);
    assert_eq!((hosts.machines("--all").as_str(), hosts.directories().as_str()), ("", NO_MACHINES));

    let words = Hosts::words("");
    hosts
        .operator
        .done(&format!("({words}; echo $? >/root/ended) >/root/said 2>&1 & echo started"));
    wait_until(PATIENCE, "a machine that boots", || !hosts.machines("").is_empty());
    hosts.operator.done("pkill -INT -f '^/root/convocate-host create-vm'");
    wait_until(PATIENCE, "the end", || hosts.operator.sh("test -s /root/ended").code == 0);
    let said = hosts.operator.done("cat /root/said");
    assert_ne!(hosts.operator.done("cat /root/ended"), "0", "{said}");
    assert_eq!(hosts.machines("--all"), "", "{said}");
    assert_eq!(hosts.directories(), NO_MACHINES, "{said}");
    assert!(hosts.hypervisor.sh("grep example.test /etc/hosts").code != 0, "{said}");
}

/// With a wrong checksum; then the line breaks; then the same call goes on, and makes a machine.
fn an_image_is_fetched(hosts: &Hosts, guest: &Path) -> Told {
    let hypervisor = &hosts.hypervisor;
    let web = Web::start(guest);
    let us = hypervisor.done("ip -4 route show default | cut -d ' ' -f 3");
    let image = format!("--image-url {}", web.url(&us));
    let cached = || hypervisor.done(&format!("ls /var/lib/libvirt/images/convocate/{NO_MACHINES}"));
    let before = cached();
    let wrong = "0".repeat(64);
    web.list(&wrong);
    let refused = hosts.create_from(&image);
    assert_eq!(refused.code, 1, "{}", refused.text);
    assert!(refused.text.contains(&format!("and {wrong} is expected")), "{}", refused.text);
    assert_eq!((web.asked(), cached()), (vec![0], before));

    let half = std::fs::metadata(guest).expect("it was made").len() / 2;
    web.list(hypervisor.done(&format!("sha256sum {IMAGE}")).split(' ').next().expect("a sum"));
    web.cut_after(half);
    let broken = hosts.create_from(&image);
    assert_eq!(broken.code, 1, "{}", broken.text);
    assert!(cached().contains(&format!("{NAME}.part")), "{}", broken.text);
    assert_eq!((web.asked(), hosts.directories().as_str()), (vec![0], NO_MACHINES));

    let made = hosts.create_from(&image);
    assert_eq!(made.code, 0, "{}", made.text);
    assert_eq!(web.asked(), [half], "it goes on where it was cut");
    assert!(!cached().contains(".part"), "{}", cached());
    made
}

/// Seen by the operator, who logs in on it: with the pinned host key, or not at all.
fn it_is_as_it_was_wanted(hosts: &Hosts, name: &str) {
    let log_in = format!(
        "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes -J ann@hv ann@{name}.example.test"
    );
    let look = "hostname -f; findmnt -no SOURCE /; findmnt -no SOURCE /var; \
                dpkg-query -W -f '${Status}\\n' sudo; sudo -n id -u; \
                sudo sshd -T | grep -E '^(password|kbdinteractive)authentication'";
    let seen = hosts.operator.done(&format!("{log_in} \"{}\"", look.replace('$', "\\$")));
    let seen: Vec<&str> = seen.lines().collect();
    let own_name = format!("{name}.example.test");
    let wanted = [
        own_name.as_str(),
        "/dev/vda1",
        "/dev/vdb",
        // The packages' own list came along to the second disk.
        "install ok installed",
        "0",
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
    ];
    assert_eq!(seen, wanted);
}

/// Its name, that it starts with the host, the bound of all machines, and disks that are nobody's
/// to read.
fn the_hypervisor_knows_it(hosts: &Hosts, name: &str, address: &str) {
    let hypervisor = &hosts.hypervisor;
    assert_eq!(hosts.machines("--autostart"), name);
    let found = hypervisor.done(&format!("getent hosts {name}.example.test"));
    assert!(found.starts_with(address), "{found}");
    let told = hypervisor.done(&format!(
        "virsh -q net-dumpxml default | grep -c '<hostname>{name}.example.test</hostname>'"
    ));
    assert_eq!(told, "1");
    let quota = hypervisor.done("systemctl show -P CPUQuotaPerSecUSec machine.slice");
    assert_ne!(quota, "infinity");
    let readable = format!("find /var/lib/libvirt/images/convocate/{name} -type f -perm /077");
    assert_eq!(hypervisor.done(&readable), "");
}
