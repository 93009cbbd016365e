//! The plans of `convocate-host create-vm`: a host becomes a hypervisor, a machine is made on it,
//! and what was made is taken back when it does not come to its end.
//!
//! Each step of [`create`] has one in [`remove`], which finds what is there of it.

use std::path::{Path, PathBuf};

use crate::limits::{PROVISION_UNIT_TIMEOUT, VM_PERCENT};
use crate::paths::{Owner, PUBLIC_FILE, Paths};
use crate::provision::goal::capacity::{VmFits, virsh};
use crate::provision::goal::download::Download;
use crate::provision::goal::file::Content;
use crate::provision::goal::guarded::Expect;
use crate::provision::goal::machine::{DefinedVm, VmDisk};
use crate::provision::goal::package::Packages;
use crate::provision::goal::unit::Unit;
use crate::provision::order::Command;
use crate::provision::plan::base_host::{first_boot, system};
use crate::provision::plan::parts::{
    access, directory, drop_in, file, guarded, secret, systemd, unit,
};
use crate::provision::plan::removal::{without_lines, without_tree};
use crate::provision::plan::units::MARK;
use crate::provision::step::Step;
use crate::provision::vm::domain::{self, Virtualisation};
use crate::provision::vm::machine::{CACHE, DIRECTORY, Machine};
use crate::provision::vm::seed::{self, HostKey};
use crate::provision::vm::spec::{ImageSource, VmSpec};

/// What the plan of a hypervisor depends on.
#[derive(Clone, Debug)]
pub(crate) struct HypervisorFacts {
    pub(crate) paths: Paths,
    /// Whether the machine that is wanted fits.
    pub(crate) capacity: VmFits,
}

/// What the plan of a machine depends on.
#[derive(Debug)]
pub(crate) struct NewVm<'a> {
    pub(crate) paths: &'a Paths,
    pub(crate) machine: &'a Machine,
    pub(crate) spec: &'a VmSpec,
    /// What the machine proves to be itself with.
    pub(crate) host_key: &'a HostKey,
    /// How its instructions are run.
    pub(crate) virtualisation: Virtualisation,
    /// Whether a dnsmasq tells the hypervisor's names to others.
    pub(crate) has_dnsmasq: bool,
}

/// Only root and those who know the name: libvirt's own directory of disks is like this.
const DISKS_DIR: (Owner, u32) = (Owner::Root, 0o711);
/// What the machine's owner alone reads; libvirt gives it to QEMU while that runs.
const DISK_FILE: (Owner, u32) = (Owner::Root, 0o600);
/// libvirt's network, and what it is defined by where somebody has taken it away.
const NETWORK: &str = "default";
const NETWORK_FILE: &str = "/usr/share/libvirt/networks/default.xml";
const SLICE: &str = "machine.slice";
/// The hypervisor's own names.
const HOSTS: &str = "/etc/hosts";

/// A host becomes a hypervisor, with the image at hand. Whether the machine fits comes before
/// anything that changes something.
pub(crate) fn prepare(facts: &HypervisorFacts, image: &ImageSource) -> Vec<Step> {
    let paths = &facts.paths;
    let capacity = &facts.capacity;
    let mut steps = vec![system(), systemd(), first_boot()];
    steps.push(Step::new("room for the machine", capacity.clone()));
    steps.push(Step::new("packages", packages()));
    steps.push(slice(paths, capacity.hypervisor.cpus, capacity.hypervisor.memory_bytes));
    let slice = Unit { name: SLICE.to_owned(), is_enabled: false, made_from: Vec::new() };
    steps.push(Step::new(SLICE, slice));
    steps.push(unit("libvirtd.service", Vec::new()));
    steps.extend(network());
    steps.push(directory(paths, Path::new(DIRECTORY), DISKS_DIR));
    steps.push(directory(paths, Path::new(CACHE), (Owner::Root, 0o700)));
    steps.extend(self::image(image));
    steps
}

/// A machine is made and started.
pub(crate) fn create(vm: &NewVm<'_>) -> Vec<Step> {
    let NewVm { paths, machine, spec, .. } = vm;
    let name = machine.name.as_str();
    let os = VmDisk {
        path: machine.os_disk(),
        gib: machine.size.os_gib,
        image: Some(image_path(&spec.image)),
        access: access(paths, DISK_FILE),
    };
    let data = VmDisk {
        path: machine.data_disk(),
        gib: machine.size.data_gib,
        image: None,
        access: access(paths, DISK_FILE),
    };
    let defined = DefinedVm {
        name: name.to_owned(),
        xml: domain::xml(machine, vm.virtualisation),
        path: machine.definition(),
        access: access(paths, DISK_FILE),
    };
    let mut steps = vec![
        directory(paths, &machine.directory(), DISKS_DIR),
        Step::new(format!("disk of {name} for /"), os),
        Step::new(format!("disk of {name} for /var"), data),
        seed_step(paths, machine, Some(vm.host_key), &spec.keys),
    ];
    steps.extend(addresses(machine));
    steps.push(hosts_line(paths, machine));
    steps.extend(vm.has_dnsmasq.then(reread));
    steps.push(Step::new(format!("machine {name}"), defined));
    steps.push(guarded(
        format!("{name} starts with the hypervisor"),
        virsh(["list", "--all", "--autostart", "--name"]),
        Expect::Line(name.to_owned()),
        "start it at boot",
        vec![virsh(["autostart", name])],
    ));
    let start = virsh(["start", name]).within(PROVISION_UNIT_TIMEOUT);
    let running = virsh(["list", "--name"]);
    let expect = Expect::Line(name.to_owned());
    steps.push(guarded(format!("{name} runs"), running, expect, "start it", vec![start]));
    steps
}

/// A machine that has taken its host key: it is nowhere else any more.
pub(crate) fn finish(paths: &Paths, machine: &Machine, keys: &[String]) -> Vec<Step> {
    vec![seed_step(paths, machine, None, keys)]
}

/// Nothing is left of a machine, however far it had come. No other is touched.
pub(crate) fn remove(machine: &Machine, has_dnsmasq: bool) -> Vec<Step> {
    let name = machine.name.as_str();
    let id = machine.id.to_string();
    // By its id: a name could have been given to another.
    let mut steps = vec![
        guarded(
            format!("{name} does not run"),
            virsh(["list", "--uuid"]),
            Expect::NoLine(id.clone()),
            "stop it",
            vec![virsh(["destroy", &id]).within(PROVISION_UNIT_TIMEOUT)],
        ),
        guarded(
            format!("no machine {name}"),
            virsh(["list", "--all", "--uuid"]),
            Expect::NoLine(id.clone()),
            "let libvirt forget it",
            vec![virsh(["undefine", &id])],
        ),
    ];
    let (lease, dns) = (machine.lease_xml(), machine.dns_xml());
    for (what, kind, xml, line) in [
        ("name", "dns-host", &dns, machine.hostname_xml()),
        ("address", "ip-dhcp-host", &lease, lease.clone()),
    ] {
        steps.push(guarded(
            format!("{what} of {name} is free"),
            virsh(["net-dumpxml", NETWORK]),
            Expect::NoLine(line),
            "take it out of libvirt's network",
            vec![net_update("delete", kind, xml)],
        ));
    }
    let line = machine.hosts_line();
    steps.push(guarded(
        format!("{name} is not in /etc/hosts"),
        Command::new("grep", ["-qxF", "--", &line, HOSTS]),
        Expect::Nothing,
        "take its line out",
        vec![without_lines(&format!("/^{}$/d", line.replace('.', "\\.")), HOSTS)],
    ));
    steps.extend(has_dnsmasq.then(reread));
    steps.push(without_tree(&machine.directory()));
    steps
}

fn packages() -> Packages {
    Packages::new([
        "qemu-system-x86",
        "qemu-utils",
        "libvirt-daemon-system",
        "libvirt-clients",
        // For libvirt's network.
        "dnsmasq-base",
        "iptables",
        "curl",
        "ca-certificates",
    ])
}

/// All machines together leave the hypervisor a tenth of itself.
fn slice(paths: &Paths, cpus: u64, memory_bytes: u64) -> Step {
    let (quota, memory) = (cpus * VM_PERCENT, memory_bytes / 100 * VM_PERCENT);
    let text = format!(
        "{MARK}-host create-vm: all virtual machines together, at most {VM_PERCENT} % of this \
         host.\n\n[Slice]\n# {cpus} processors, each of which is 100 %.\nCPUAccounting=yes\n\
         CPUQuota={quota}%\n# {memory_bytes} bytes are in this machine.\nMemoryAccounting=yes\n\
         MemoryMax={memory}\n"
    );
    drop_in(paths, "bound of all machines", &paths.machines_bound(), text)
}

fn network() -> [Step; 3] {
    let line = || Expect::Line(NETWORK.to_owned());
    let all = ["net-list", "--all", "--name"];
    [
        guarded(
            format!("network {NETWORK}"),
            virsh(all),
            line(),
            "let libvirt know it",
            vec![virsh(["net-define", NETWORK_FILE])],
        ),
        guarded(
            format!("network {NETWORK} is on"),
            virsh(["net-list", "--name"]),
            line(),
            "switch it on",
            vec![virsh(["net-start", NETWORK])],
        ),
        guarded(
            format!("network {NETWORK} starts with the hypervisor"),
            virsh(all).with(["--autostart"]),
            line(),
            "switch it on at boot",
            vec![virsh(["net-autostart", NETWORK])],
        ),
    ]
}

fn image(image: &ImageSource) -> Option<Step> {
    let path = image_path(image);
    let (url, sha256, shown) = match image {
        ImageSource::Url { url, sha256 } => (Some(url.clone()), sha256, url.file_name()),
        ImageSource::File { sha256: None, .. } => return None,
        ImageSource::File { path, sha256 } => (None, sha256, path.as_str()),
    };
    Some(Step::new(format!("image {shown}"), Download { url, sha256: sha256.clone(), path }))
}

/// Where the image is on the hypervisor. One that is fetched has its address in its name: two of
/// the same file name are two.
pub(crate) fn image_path(image: &ImageSource) -> PathBuf {
    match image {
        ImageSource::File { path, .. } => PathBuf::from(path),
        ImageSource::Url { url, .. } => Path::new(CACHE).join(url.cache_name()),
    }
}

fn seed_step(
    paths: &Paths,
    machine: &Machine,
    host_key: Option<&HostKey>,
    keys: &[String],
) -> Step {
    let disk = seed::disk(machine, keys, host_key);
    let name = format!("what {} is told", machine.name);
    secret(&name, &machine.seed(), &disk, access(paths, DISK_FILE))
}

/// The same address at each boot, and a name for it.
fn addresses(machine: &Machine) -> [Step; 2] {
    let (lease, dns) = (machine.lease_xml(), machine.dns_xml());
    let shown = || virsh(["net-dumpxml", NETWORK]);
    [
        guarded(
            format!("address {}", machine.address),
            shown(),
            Expect::Line(lease.clone()),
            "keep it for the machine",
            vec![net_update("add-last", "ip-dhcp-host", &lease)],
        ),
        guarded(
            format!("name {}", machine.host_name()),
            shown(),
            Expect::Line(machine.hostname_xml()),
            "tell it in libvirt's network",
            vec![net_update("add-last", "dns-host", &dns)],
        ),
    ]
}

fn net_update(verb: &str, kind: &str, xml: &str) -> Command {
    virsh(["net-update", NETWORK, verb, kind, xml, "--live", "--config"])
}

/// The hypervisor itself, its dnsmasq, and whoever jumps over it find the machine by name.
fn hosts_line(paths: &Paths, machine: &Machine) -> Step {
    let content = Content::Line { line: machine.hosts_line(), instead_of: None };
    file(paths, "name in /etc/hosts", Path::new(HOSTS), content, PUBLIC_FILE)
}

/// dnsmasq reads `/etc/hosts` at its start.
fn reread() -> Step {
    let made_from = vec![PathBuf::from(HOSTS)];
    let name = "dnsmasq.service".to_owned();
    Step::new("dnsmasq knows its name", Unit { name, is_enabled: true, made_from })
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::provision::goal::condition::Condition;
    use crate::provision::goal::file::File;
    use crate::provision::goal::guarded::GuardedCommands;
    use crate::provision::vm::capacity::Hypervisor;
    use crate::provision::vm::machine::tests::{machine, spec};
    use crate::provision::vm::spec::Sha256Hex;

    fn facts() -> HypervisorFacts {
        let hypervisor =
            Hypervisor { cpus: 8, memory_bytes: 16 << 30, disk_bytes: 1, disk_used_bytes: 0 };
        let capacity = VmFits { wanted: spec().size, hypervisor, machines: Vec::new() };
        HypervisorFacts { paths: Paths::default(), capacity }
    }

    fn created(machine: &Machine, has_dnsmasq: bool) -> Vec<Step> {
        let private = Zeroizing::new("secret".to_owned());
        create(&NewVm {
            paths: &Paths::default(),
            machine,
            spec: &spec(),
            host_key: &HostKey { private, public: "ssh-ed25519 AAAA".to_owned() },
            virtualisation: Virtualisation::Kvm,
            has_dnsmasq,
        })
    }

    fn names(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(|step| step.name.as_str()).collect()
    }

    /// What the steps run, as a person would type it.
    fn typed(steps: &[Step]) -> Vec<String> {
        let guarded = steps.iter().filter_map(Step::goal::<GuardedCommands>);
        guarded.flat_map(|goal| goal.commands.iter().map(ToString::to_string)).collect()
    }

    #[test]
    fn whether_it_fits_is_asked_before_anything_is_changed() {
        let steps = prepare(&facts(), &spec().image);
        let at = names(&steps).iter().position(|name| *name == "room for the machine");
        let before = &steps[..at.expect("it is asked")];
        assert!(before.iter().all(|step| step.goal::<Condition>().is_some()));
        let names = names(&steps);
        assert_eq!(names.last(), Some(&"image c.img"));
        assert!(!names.iter().any(|name| name.contains("up to date")), "{names:?}");
    }

    #[test]
    fn all_machines_together_leave_a_tenth() {
        let steps = prepare(&facts(), &spec().image);
        let slice = steps.iter().find(|step| step.name == "bound of all machines");
        let file = slice.and_then(Step::goal::<File>).expect("a file");
        assert!(file.path.ends_with("machine.slice.d/50-convocate.conf"));
        let Content::Text { text, .. } = &file.content else { panic!("no text") };
        assert!(text.contains("\nCPUQuota=720%\n"), "{text}");
        assert!(text.contains(&format!("\nMemoryMax={}\n", (16_u64 << 30) / 100 * 90)));
    }

    #[test]
    fn an_image_of_the_operators_own_is_only_compared() {
        let file = |sha256| ImageSource::File { path: "/srv/i.img".to_owned(), sha256 };
        let last = |image: &ImageSource| prepare(&facts(), image).pop().expect("steps").name;
        assert_eq!(last(&file(None)), format!("directory {CACHE}"));
        let sha256 = Sha256Hex::parse(&"a".repeat(64)).expect("it is one");
        assert_eq!(last(&file(Some(sha256))), "image /srv/i.img");
        assert_eq!(image_path(&file(None)), Path::new("/srv/i.img"));
        assert!(image_path(&spec().image).starts_with(CACHE));
    }

    #[test]
    fn a_machine_starts_when_all_of_it_is_there() {
        let machine = machine(1);
        let steps = created(&machine, true);
        let name = &machine.name;
        let typed = typed(&steps);
        let lease = format!("<host mac='{}' name='{name}' ip='192.168.122.9'/>", machine.mac);
        let dns =
            format!("<host ip='192.168.122.9'><hostname>{name}.lab.example</hostname></host>");
        let virsh = "virsh --connect qemu:///system";
        let update = |kind: &str, xml: &str| {
            format!("{virsh} net-update default add-last {kind} {xml:?} --live --config")
        };
        assert_eq!(
            typed,
            [
                update("ip-dhcp-host", &lease),
                update("dns-host", &dns),
                format!("{virsh} autostart {name}"),
                format!("{virsh} start {name}"),
            ]
        );
        let names = names(&steps);
        assert!(names.contains(&"dnsmasq knows its name"));
        assert_eq!(names.last(), Some(&format!("{name} runs").as_str()));
    }

    #[test]
    fn what_is_taken_back_is_this_machine_and_no_other() {
        let (machine, other) = (machine(1), machine(2));
        let typed = typed(&remove(&machine, false));
        assert_eq!(typed.len(), 6, "{typed:?}");
        for command in &typed {
            let is_ours = [machine.name.as_str(), &machine.id.to_string(), &machine.lease_xml()]
                .iter()
                .any(|mark| command.contains(mark));
            assert!(is_ours, "{command}");
            assert!(!command.contains(other.name.as_str()), "{command}");
        }
        let directory = machine.directory().display().to_string();
        assert_eq!(typed[5], format!("rm -rf --one-file-system -- {directory}"));
        // The dots of a line are no signs of a pattern.
        assert!(typed[4].contains("192\\\\.168") || typed[4].contains("192\\.168"), "{}", typed[4]);
    }

    #[test]
    fn the_seed_that_stays_has_no_key() {
        let machine = machine(1);
        let has_secret = |steps: &[Step]| {
            let seed = steps.iter().find(|step| step.name.ends_with(" is told"));
            let file = seed.and_then(Step::goal::<File>).expect("a seed");
            assert_eq!((file.path.clone(), file.access.mode), (machine.seed(), 0o600));
            let Content::Secret(bytes) = &file.content else { panic!("it is shown") };
            bytes.windows(6).any(|part| part == b"secret")
        };
        assert!(has_secret(&created(&machine, false)));
        assert!(!has_secret(&finish(&Paths::default(), &machine, &spec().keys)));
    }
}
