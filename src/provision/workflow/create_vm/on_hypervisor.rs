//! The part of `create-vm` that runs on the hypervisor: makes the machine, or takes it back.
//!
//! What ends in the middle takes the machine back itself, however it ends: also when nobody hears
//! of it any more.

use std::path::Path;

use super::{CreatedVm, VmAnswer, VmRequest};
use crate::base::rng::Rng;
use crate::base::text::without_sequences;
use crate::io::clock::Clock;
use crate::io::disk::{self, Links};
use crate::io::{entropy, machine};
use crate::limits::{PROVISION_FILE_BYTES_MAX, VM_CONSOLE_LINES_SHOWN};
use crate::paths::{DOCKER_SOCKET, Paths};
use crate::provision::engine::StepMode;
use crate::provision::goal::capacity::VmFits;
use crate::provision::plan::hypervisor::{HypervisorFacts, NewVm, create, finish, prepare, remove};
use crate::provision::report::ReportLine;
use crate::provision::run::{self, DriverOptions, found};
use crate::provision::step::Step;
use crate::provision::vm::capacity::Hypervisor;
use crate::provision::vm::domain::Virtualisation;
use crate::provision::vm::machine::{DIRECTORY, Machine};
use crate::provision::vm::network::{NoAddress, free_address};
use crate::provision::vm::seed::HostKey;
use crate::provision::vm::spec::{Size, VmSpec};
use crate::provision::workflow::WorkflowError;
use crate::ssh::keys::KeyPair;

/// Takes a line of the report; whether anybody reads it.
type Report<'a> = dyn FnMut(&ReportLine) -> bool + 'a;

/// Does what the other end wants.
pub(crate) fn run(request: VmRequest, report: &mut Report<'_>) -> Result<VmAnswer, WorkflowError> {
    let paths = Paths::default();
    match request {
        VmRequest::Create { check, spec } => make(&paths, &spec, check, report),
        VmRequest::Finish { machine, keys } => {
            take(finish(&paths, &machine, &keys), StepMode::Apply, report)?;
            Ok(VmAnswer::default())
        }
        VmRequest::Remove { machine } => {
            let console = console(&machine);
            take_back(&machine, report)?;
            Ok(VmAnswer { created: None, console })
        }
    }
}

/// Makes the host a hypervisor and the machine on it.
fn make(
    paths: &Paths,
    spec: &VmSpec,
    check: bool,
    report: &mut Report<'_>,
) -> Result<VmAnswer, WorkflowError> {
    let mode = if check { StepMode::Check } else { StepMode::Apply };
    let capacity = capacity(spec.size).map_err(WorkflowError::Failed)?;
    let facts = HypervisorFacts { paths: paths.clone(), capacity };
    take(prepare(&facts, &spec.image), mode, report)?;
    let mut rng = Rng::from_seed(entropy::seed());
    let machine = match (draw(spec, &mut rng), check) {
        (Ok(machine), _) => machine,
        // There is no libvirt yet to ask; the rest cannot be told.
        (Err(_), true) => return Ok(VmAnswer::default()),
        (Err(why), false) => return Err(WorkflowError::Failed(why)),
    };
    let host_key = host_key(&machine, &mut rng);
    let virtualisation = virtualisation();
    let birth = NewVm {
        paths,
        machine: &machine,
        spec,
        host_key: &host_key,
        virtualisation,
        has_dnsmasq: has_dnsmasq(),
    };
    if let Err(error) = take(create(&birth), mode, report) {
        if !check {
            let _reported = take_back(&machine, report);
        }
        return Err(error);
    }
    let is_emulated = virtualisation == Virtualisation::Emulated;
    let created = CreatedVm { machine, host_key: host_key.public.clone(), is_emulated };
    Ok(VmAnswer { created: (!check).then_some(created), console: Vec::new() })
}

/// Takes steps for the other end, whose end ends them.
fn take(steps: Vec<Step>, mode: StepMode, report: &mut Report<'_>) -> Result<(), WorkflowError> {
    let options =
        DriverOptions { mode, docker_socket: DOCKER_SOCKET.into(), until_stdin_ends: true };
    take_with(steps, &options, report)
}

fn take_with(
    steps: Vec<Step>,
    options: &DriverOptions,
    report: &mut Report<'_>,
) -> Result<(), WorkflowError> {
    let (clock, mode) = (Clock::new(), options.mode);
    let begun = clock.mono();
    let mut is_heard = true;
    let tally = run::run(steps, options, |event| {
        is_heard = report(&ReportLine::of(event, mode));
        if is_heard { Ok(()) } else { Err("the output is closed") }
    });
    let tally = tally.map_err(|error| WorkflowError::Failed(error.to_string()))?;
    is_heard &= report(&ReportLine::end(tally, mode, clock.mono().since(begun)));
    match (is_heard, tally.failed) {
        (false, _) => Err(WorkflowError::NobodyListens),
        (true, 0) => Ok(()),
        (true, _) => Err(WorkflowError::StepsFailed),
    }
}

fn capacity(wanted: Size) -> Result<VmFits, String> {
    let directory = Path::new(DIRECTORY).ancestors().find(|path| path.exists());
    let disk = disk::measure(directory.unwrap_or(Path::new("/"))).map_err(|it| it.to_string())?;
    let hypervisor = Hypervisor {
        cpus: machine::cores() as u64,
        memory_bytes: machine::memory_bytes(),
        disk_bytes: disk.total_bytes,
        disk_used_bytes: disk.used_bytes,
    };
    let machines = found::machines().map_err(|why| {
        format!("libvirt does not tell its machines, and nothing was changed: {why}")
    })?;
    Ok(VmFits { wanted, hypervisor, machines })
}

fn draw(spec: &VmSpec, rng: &mut Rng) -> Result<Machine, String> {
    let network = found::virsh(&["net-dumpxml", "default"])?;
    let leases = found::virsh(&["net-dhcp-leases", "default"])?;
    let address = free_address(&network, &leases, rng).map_err(|error| {
        let what = match error {
            NoAddress::NoRange => "gives out no addresses",
            NoAddress::Full => "has no free address",
        };
        format!("libvirt's network default {what}; see: virsh net-dumpxml default")
    })?;
    Ok(Machine::draw(spec, address, rng))
}

fn host_key(machine: &Machine, rng: &mut Rng) -> HostKey {
    let pair = KeyPair::from_seed(rng.bytes());
    let comment = machine.host_name();
    let private = pair.to_openssh(&comment, rng.below(u32::MAX));
    HostKey { private, public: pair.public().to_line(&comment).trim_end().to_owned() }
}

/// libvirt asks QEMU, which tries it.
fn virtualisation() -> Virtualisation {
    match found::virsh(&["domcapabilities", "--virttype", "kvm", "--arch", "x86_64"]) {
        Ok(_) => Virtualisation::Kvm,
        Err(_) => Virtualisation::Emulated,
    }
}

/// The hypervisor's own, which is not libvirt's.
fn has_dnsmasq() -> bool {
    let places = ["/lib/systemd/system", "/usr/lib/systemd/system"];
    places.iter().any(|place| Path::new(place).join("dnsmasq.service").exists())
}

/// The last that a machine has said on its serial line.
fn console(machine: &Machine) -> Vec<String> {
    let bytes = disk::read_bounded(&machine.console(), PROVISION_FILE_BYTES_MAX, Links::Refuse);
    let text = without_sequences(&String::from_utf8_lossy(&bytes.unwrap_or_default()));
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.len().saturating_sub(VM_CONSOLE_LINES_SHOWN);
    lines[last..].iter().map(ToString::to_string).collect()
}

/// Removes all that was made of a machine. Goes on to its end whether anybody listens or not.
fn take_back(machine: &Machine, report: &mut Report<'_>) -> Result<(), WorkflowError> {
    let docker_socket = DOCKER_SOCKET.into();
    let options = DriverOptions { mode: StepMode::Apply, docker_socket, until_stdin_ends: false };
    take_with(remove(machine, has_dnsmasq()), &options, &mut |line| {
        let _heard = report(line);
        true
    })
}
