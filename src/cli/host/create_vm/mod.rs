//! `convocate-host create-vm`: a virtual machine on a host that becomes a hypervisor.
//!
//! ```text
//! keys -> connect -> (there) room, packages, image, machine -> first contact -> (there) finish
//!                                             \- removed there      \- (there) remove
//! ```
//!
//! The machine's host key is made on the hypervisor, told to the machine at its first boot, and to
//! the operator's ssh before anybody dials. The machine is reached through the hypervisor: it is
//! in libvirt's own network.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`on_hypervisor`] | the part that runs on the hypervisor |
//! | [`contact`] | the first contact with the machine |
//! | [`keys`] | whom the machine lets in |

mod contact;
mod keys;
mod on_hypervisor;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::remote::{Report, Worker, operator, talker};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, REQUEST};
use crate::exit::Exit;
use crate::provision::openssh::{Target, Then};
use crate::provision::remote::Remote;
use crate::provision::remote::talk::Talker;
use crate::provision::vm::machine::{DIRECTORY, Machine};
use crate::provision::vm::spec::{
    Domain, IMAGE_URL, ImageSource, Sha256Hex, Size, Url, UserName, VmSpec,
};

const fn with_value(name: &'static str, value: &'static str, summary: &'static str) -> Flag {
    Flag { name, value: Some(value), summary, choices: &[] }
}

const HYPERVISOR: Flag = with_value("hypervisor", "H", "the host that is to run it");
const USERNAME: Flag =
    with_value("username", "U", "who logs in on the hypervisor, and on the new machine");
const DOMAIN: Flag = with_value("domain", "D", "what the machine's random name ends with");
const CPU: Flag = with_value("cpu", "N", "its virtual processors");
const RAM: Flag = with_value("ram", "MB", "its memory");
const OSDISK: Flag = with_value("osdisk", "GB", "its disk for /");
const DATADISK: Flag = with_value("datadisk", "GB", "its disk for /var");
const IMAGE: Flag =
    with_value("image", "PATH", "an image that is on the hypervisor, instead of Ubuntu 24.04");
const IMAGE_URL_FLAG: Flag =
    with_value("image-url", "URL", "an image that the hypervisor fetches, instead of Ubuntu 24.04");
const IMAGE_SHA256: Flag = with_value(
    "image-sha256",
    "HEX",
    "the image's SHA-256; what the list beside its address says, if not given",
);
const SSH_KEY: Flag = with_value(
    "ssh-key",
    "PATH",
    "the public key that is let in; all that your ssh has for the hypervisor, if not given",
);

/// `create-vm`.
pub(crate) const CREATE_VM: Command = Command {
    name: "create-vm",
    summary: "make a virtual machine, on a host that becomes a hypervisor",
    operands: &[],
    flags: &[
        HYPERVISOR,
        USERNAME,
        DOMAIN,
        CPU,
        RAM,
        OSDISK,
        DATADISK,
        IMAGE,
        IMAGE_URL_FLAG,
        IMAGE_SHA256,
        SSH_KEY,
        CHECK,
        JSON,
        REQUEST,
    ],
    help: "\
The hypervisor is a vanilla Ubuntu or Debian of kind x86_64, or one that has machines
already; you log in there as --username, who needs sudo without a password. It is
neither renamed nor restarted. All of this is needed: --hypervisor, --username,
--domain, --cpu, --ram, --osdisk, --datadisk. MB and GB are 1024s of the next.

What it does, in this order:

  1. adds up what all machines there were promised and what this one is to have, and
     refuses it, with the sums, if that is more than 90 % of the processors, the memory
     or the disk; nothing has been changed then
  2. installs QEMU and libvirt, keeps all machines together to 90 % of processors and
     memory (machine.slice), and has libvirt and its network start with the host
  3. fetches the image once, and compares it with its checksum: Ubuntu 24.04, or what
     --image-url says. What has come stays if the line breaks. --image takes a file
     that is on the hypervisor: bring it there with scp
  4. makes two disks, /var with all that is in it on the second, draws a name, an
     address and an SSH host key, and starts the machine, which starts with the
     hypervisor from then on
  5. waits until it has booted, and logs in with the host key that it was given: known
     before the first contact, and then to your own known hosts

On the machine, --username logs in with your keys and has sudo; no password is taken.
Its name is known on the hypervisor and in libvirt's network. From elsewhere it is
reached by a jump: ssh -J U@H U@NAME. Where the processor does not help (/dev/kvm) it
is emulated, which is slow.

What fails, is interrupted, or never answers is removed again: this machine, and
nothing else. Packages and the image stay for the next call.
",
    run: create_vm,
};

/// What the program on the hypervisor is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
enum Request {
    Create {
        /// Only say what would be changed.
        check: bool,
        wish: VmSpec,
    },
    /// It has taken its host key.
    Finish {
        machine: Machine,
        /// Whom it lets in.
        keys: Vec<String>,
    },
    /// It has not come up.
    Remove { machine: Machine },
}

/// What it answers when it has made one.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Answer {
    /// The machine that has been started; none after a check.
    born: Option<CreatedVm>,
    /// The last lines on the console of one that has been removed.
    console: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CreatedVm {
    machine: Machine,
    /// Its public host key, as a line.
    host_key: String,
    /// Whether QEMU does what a processor should.
    is_emulated: bool,
}

fn create_vm(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    if parsed.has(&REQUEST) {
        let request: Request = read_request()?;
        return on_hypervisor::run(request, out);
    }
    let target = needed(parsed, &HYPERVISOR)?;
    let user = needed(parsed, &USERNAME)?;
    let target = Target::new(target, Some(user)).map_err(Failure::Usage)?;
    let mut wish = wish(parsed).map_err(Failure::Usage)?;
    wish.keys = match parsed.value(&SSH_KEY) {
        Some(path) => vec![keys::read(path)?],
        None => keys::of_operator(&target, operator().as_ref())?,
    };
    let call = Call { wish, check: parsed.has(&CHECK), is_json: parsed.has(&JSON) };
    call.make(target, out)
}

fn needed<'a>(parsed: &'a Parsed, flag: &Flag) -> Result<&'a str, Failure> {
    parsed.value(flag).ok_or_else(|| Failure::Usage(format!("{} is missing", flag.shown())))
}

/// What is asked for, without keys.
fn wish(parsed: &Parsed) -> Result<VmSpec, String> {
    let needed = |flag: &Flag| parsed.value(flag).ok_or(format!("{} is missing", flag.shown()));
    let number = |flag: &Flag| -> Result<u64, String> {
        let text = needed(flag)?;
        text.parse().map_err(|_| format!("--{}: {text:?} is no whole number", flag.name))
    };
    let domain = Domain::parse(needed(&DOMAIN)?)?;
    let user = UserName::parse(needed(&USERNAME)?)?;
    let size = Size {
        cpus: u32::try_from(number(&CPU)?).unwrap_or(u32::MAX),
        memory_mib: number(&RAM)?,
        os_gib: number(&OSDISK)?,
        data_gib: number(&DATADISK)?,
    };
    size.check()?;
    Ok(VmSpec { size, domain, user, keys: Vec::new(), image: image(parsed)? })
}

fn image(parsed: &Parsed) -> Result<ImageSource, String> {
    let sha256 = parsed.value(&IMAGE_SHA256).map(Sha256Hex::parse).transpose()?;
    match (parsed.value(&IMAGE), parsed.value(&IMAGE_URL_FLAG)) {
        (Some(_), Some(_)) => Err("--image and --image-url are two images".to_owned()),
        (Some(path), None) if !path.starts_with('/') => {
            Err(format!("--image: {path:?} is no absolute path of a file on the hypervisor"))
        }
        (Some(path), None) => Ok(ImageSource::File { path: path.to_owned(), sha256 }),
        (None, url) => Ok(ImageSource::Url { url: Url::parse(url.unwrap_or(IMAGE_URL))?, sha256 }),
    }
}

/// What the operator has called for.
struct Call {
    wish: VmSpec,
    check: bool,
    is_json: bool,
}

impl Call {
    fn make(self, target: Target, out: &mut Out<'_>) -> Result<Exit, Failure> {
        let (mut worker, probe) = Worker::reach(target, "convocate-host", None)?;
        let host = worker.name.clone();
        if probe.machine != "x86_64" {
            let text =
                format!("{host}: its processor is {}; hypervisors are x86_64", probe.machine);
            return Err(Failure::Failed(format!("{text}; nothing was changed")));
        }
        let mut talker = talker()?;
        let mut report = Report::new(&host, self.is_json);
        let then = if self.check { Then::Remove } else { Then::KeepForMore };
        let keys = self.wish.keys.clone();
        let request = Request::Create { check: self.check, wish: self.wish };
        let command = ("create-vm --request", then);
        let answer: Answer = worker.run(&mut talker, command, &request, &mut report, out)?;
        let Some(born) = answer.born else {
            report.finish(out)?;
            return Ok(Exit::Done);
        };
        let mut work = Work { worker: &mut worker, talker: &mut talker, report: &mut report };
        work.finish(&born, keys, out)?;
        report.finish(out)?;
        tell(&host, &born, self.is_json, out)?;
        Ok(Exit::Done)
    }
}

/// A hypervisor on which a machine has been started.
struct Work<'a> {
    worker: &'a mut Worker,
    talker: &'a mut Talker,
    report: &'a mut Report,
}

impl Work<'_> {
    /// Meets the machine; removes it if that does not come to its end.
    fn finish(
        &mut self,
        born: &CreatedVm,
        keys: Vec<String>,
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        if let Err(failure) = self.meet(born, out) {
            self.take_back(&born.machine, out);
            self.report.finish(out)?;
            return Err(failure);
        }
        // From here on the machine is one, whatever comes.
        contact::pin(self.remote(), born)?;
        let request = Request::Finish { machine: born.machine.clone(), keys };
        let _: Answer = self.run(&request, Then::Remove, out)?;
        Ok(())
    }

    fn take_back(&mut self, machine: &Machine, out: &mut Out<'_>) {
        let name = machine.name.as_str();
        match self.run(&Request::Remove { machine: machine.clone() }, Then::Remove, out) {
            Ok(answer) if !answer.console.is_empty() => {
                out.note("the last that was on its console:");
                answer.console.iter().for_each(|line| out.note(&format!("    | {line}")));
            }
            Ok(_) => {}
            Err(_) => out.note(&format!(
                "{}: {name} could not be removed; there, as root: virsh --connect \
                 qemu:///system destroy {name}; the same with undefine; rm -r {DIRECTORY}/{name}",
                self.worker.name
            )),
        }
    }

    fn meet(&mut self, born: &CreatedVm, out: &mut Out<'_>) -> Result<(), Failure> {
        if born.is_emulated {
            out.note(&format!(
                "{}: /dev/kvm does not work there, so the machine is emulated, and slow",
                self.worker.name
            ));
        }
        let remote = self.worker.remote().expect("a hypervisor is another host");
        contact::meet(remote, self.talker, born, self.report, out)
    }

    fn remote(&self) -> &Remote {
        self.worker.remote().expect("a hypervisor is another host")
    }

    fn run(&mut self, request: &Request, then: Then, out: &mut Out<'_>) -> Result<Answer, Failure> {
        let command = ("create-vm --request", then);
        self.worker.run(self.talker, command, request, self.report, out)
    }
}

fn tell(host: &str, born: &CreatedVm, is_json: bool, out: &mut Out<'_>) -> Result<(), Failure> {
    let CreatedVm { machine, host_key, is_emulated } = born;
    let (name, user) = (machine.host_name(), &machine.user);
    if is_json {
        out.json(&json!({
            "line": "machine",
            "host": host,
            "name": name,
            "address": machine.address,
            "user": user,
            "host_key": host_key,
            "is_emulated": is_emulated,
        }))?;
        return out.flush();
    }
    out.text(&format!(
        "{name} is up, at {} on {host}\n\
         log in:  ssh -J {user}@{host} {user}@{name}\n\
         for the other commands, in ~/.ssh/config:\n\
         \u{20}   Host {name}\n        User {user}\n        ProxyJump {user}@{host}",
        machine.address
    ))?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    const GOOD: [&str; 14] = [
        "--hypervisor",
        "h",
        "--username",
        "ann",
        "--domain",
        "lab",
        "--cpu",
        "1",
        "--ram",
        "1024",
        "--osdisk",
        "8",
        "--datadisk",
        "4",
    ];

    fn told(words: &[&str]) -> Result<VmSpec, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        wish(&CREATE_VM.parse(words)?)
    }

    #[test]
    fn each_flag_that_is_needed_is_asked_for() {
        assert!(told(&GOOD).is_ok());
        // The first names the host, which is not part of the wish.
        for at in (2..GOOD.len()).step_by(2) {
            let mut words = GOOD.to_vec();
            words.drain(at..at + 2);
            let error = told(&words).unwrap_err();
            assert!(error.starts_with(GOOD[at]) && error.ends_with(" is missing"), "{error}");
        }
        let mut words = GOOD;
        words[9] = "1024M";
        assert_eq!(told(&words).unwrap_err(), "--ram: \"1024M\" is no whole number");
    }

    #[test]
    fn there_is_one_image() {
        let with = |more: &[&str]| told(&[&GOOD[..], more].concat()).map(|wish| wish.image);
        let Ok(ImageSource::Url { url, sha256: None }) = with(&[]) else { panic!("no Ubuntu") };
        assert_eq!(url.as_str(), IMAGE_URL);
        assert!(with(&["--image", "/a", "--image-url", "http://a/b"]).is_err());
        assert!(with(&["--image", "a.img"]).unwrap_err().contains("on the hypervisor"));
        assert!(with(&["--image", "/a.img", "--image-sha256", "12"]).is_err());
        assert!(with(&["--image", "/a.img"]).is_ok());
    }
}
