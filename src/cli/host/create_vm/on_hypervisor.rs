//! The part of `create-vm` that runs on the hypervisor: makes the machine, or takes it back.
//!
//! What ends in the middle takes the machine back itself, however it ends: also when nobody hears
//! of it any more.

use std::convert::Infallible;
use std::path::Path;

use serde_json::json;

use super::{Answer, CreatedVm, Request};
use crate::base::rng::Rng;
use crate::base::text::without_sequences;
use crate::cli::output::{Failure, Out};
use crate::cli::steps::{RunOptions, take};
use crate::cli::this_host::needs_root;
use crate::exit::Exit;
use crate::io::clock::Clock;
use crate::io::disk::{self, Links};
use crate::io::{entropy, machine};
use crate::limits::{PROVISION_FILE_BYTES_MAX, VM_CONSOLE_LINES_SHOWN};
use crate::paths::Paths;
use crate::provision::engine::{Event, Mode, Tally};
use crate::provision::goal::capacity::Room;
use crate::provision::plan::hypervisor::{Birth, Facts, create, finish, prepare, remove};
use crate::provision::report::ReportLine;
use crate::provision::run::{Options, found, run as take_steps};
use crate::provision::vm::capacity::Hypervisor;
use crate::provision::vm::domain::Virtualisation;
use crate::provision::vm::machine::{DIRECTORY, Machine};
use crate::provision::vm::network::{NoAddress, free_address};
use crate::provision::vm::seed::HostKey;
use crate::provision::vm::spec::{Size, VmSpec};
use crate::ssh::keys::KeyPair;

pub(super) fn run(request: Request, out: &mut Out<'_>) -> Result<Exit, Failure> {
    needs_root("convocate-host create-vm")?;
    let paths = Paths::default();
    let answer = match request {
        Request::Create { check, wish } => make(&paths, &wish, check, out)?,
        Request::Finish { machine, keys } => {
            take(finish(&paths, &machine, &keys), &RunOptions::of_request(false), out)?;
            Answer::default()
        }
        Request::Remove { machine } => {
            let console = console(&machine);
            take_back(&machine, out)?;
            Answer { born: None, console }
        }
    };
    out.json(&json!(answer))?;
    Ok(Exit::Done)
}

/// Makes the host a hypervisor and the machine on it.
fn make(paths: &Paths, wish: &VmSpec, check: bool, out: &mut Out<'_>) -> Result<Answer, Failure> {
    let manner = RunOptions::of_request(check);
    let facts = Facts { paths: paths.clone(), room: room(wish.size).map_err(Failure::Failed)? };
    take(prepare(&facts, &wish.image), &manner, out)?;
    let mut rng = Rng::from_seed(entropy::seed());
    let machine = match (draw(wish, &mut rng), check) {
        (Ok(machine), _) => machine,
        // There is no libvirt yet to ask; the rest cannot be told.
        (Err(_), true) => return Ok(Answer::default()),
        (Err(why), false) => return Err(Failure::Failed(why)),
    };
    let host_key = host_key(&machine, &mut rng);
    let virtualisation = virtualisation();
    let birth = Birth {
        paths,
        machine: &machine,
        wish,
        host_key: &host_key,
        virtualisation,
        has_dnsmasq: has_dnsmasq(),
    };
    if let Err(failure) = take(create(&birth), &manner, out) {
        if !check {
            let _told_as_far_as_anybody_listens = take_back(&machine, out);
        }
        return Err(failure);
    }
    let is_emulated = virtualisation == Virtualisation::Emulated;
    let born = CreatedVm { machine, host_key: host_key.public.clone(), is_emulated };
    Ok(Answer { born: (!check).then_some(born), console: Vec::new() })
}

fn room(wanted: Size) -> Result<Room, String> {
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
    Ok(Room { wanted, hypervisor, machines })
}

fn draw(wish: &VmSpec, rng: &mut Rng) -> Result<Machine, String> {
    let network = found::virsh(&["net-dumpxml", "default"])?;
    let leases = found::virsh(&["net-dhcp-leases", "default"])?;
    let address = free_address(&network, &leases, rng).map_err(|error| {
        let what = match error {
            NoAddress::NoRange => "gives out no addresses",
            NoAddress::Full => "has no free address",
        };
        format!("libvirt's network default {what}; see: virsh net-dumpxml default")
    })?;
    Ok(Machine::draw(wish, address, rng))
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
fn take_back(machine: &Machine, out: &mut Out<'_>) -> Result<(), Failure> {
    let clock = Clock::new();
    let begun = clock.mono();
    let docker_socket = RunOptions::of_request(false).docker_socket;
    let options = Options { mode: Mode::Apply, docker_socket, until_stdin_ends: false };
    let tell = |event: &Event| {
        let line = json!(ReportLine::of(event, Mode::Apply));
        let _unheard = out.json(&line).and_then(|()| out.flush());
        Ok::<_, Infallible>(())
    };
    let steps = remove(machine, has_dnsmasq());
    let tally = take_steps(steps, &options, tell);
    let tally: Tally = tally.map_err(|error| Failure::Failed(error.to_string()))?;
    out.json(&json!(ReportLine::end(tally, Mode::Apply, clock.mono().since(begun))))?;
    out.flush()?;
    match tally.failed {
        0 => Ok(()),
        _ => Err(Failure::Exit(Exit::Failed, String::new())),
    }
}
