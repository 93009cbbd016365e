//! `convocate-host create-vm`: a virtual machine on a host that becomes a hypervisor.

use serde_json::json;

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::output::{Detail, HostOutput};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, REQUEST};
use crate::cli::this_host::needs_root;
use crate::exit::Exit;
use crate::provision::openssh::Target;
use crate::provision::vm::spec::{
    Domain, IMAGE_URL, ImageSource, Sha256Hex, Size, Url, UserName, VmSpec,
};
use crate::provision::workflow::create_vm::{CreateVm, CreatedVm, on_hypervisor};

const fn with_value(name: &'static str, value: &'static str, summary: &'static str) -> Flag {
    Flag::value(name, value, summary)
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

fn create_vm(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    if parsed.has(&REQUEST) {
        return on_hypervisor(out);
    }
    let host = needed(parsed, &HYPERVISOR).map_err(Failure::Usage)?;
    let user = needed(parsed, &USERNAME).map_err(Failure::Usage)?;
    let is_json = parsed.has(&JSON);
    let request = CreateVm {
        hypervisor: Target::new(host, Some(user)).map_err(Failure::Usage)?,
        spec: spec(parsed).map_err(Failure::Usage)?,
        key_file: parsed.value(&SSH_KEY),
        check: parsed.has(&CHECK),
    };
    let mut output = HostOutput::new(out, is_json, Detail::Steps);
    let created = request.carry_out(&mut |host, event| output.tell(host, event))?;
    if let Some(created) = created {
        show(host, &created, is_json, out)?;
    }
    Ok(Exit::Done)
}

fn on_hypervisor(out: &mut Out<'_>) -> Result<Exit, Failure> {
    let request = read_request()?;
    needs_root()?;
    let mut report = |line: &_| out.json(&json!(line)).and_then(|()| out.flush()).is_ok();
    let answer = on_hypervisor::run(request, &mut report)?;
    out.json(&json!(answer))?;
    Ok(Exit::Done)
}

fn needed<'a>(parsed: &'a Parsed, flag: &Flag) -> Result<&'a str, String> {
    parsed.value(flag).ok_or_else(|| format!("{} is missing", flag.shown()))
}

/// What is asked for, without keys.
fn spec(parsed: &Parsed) -> Result<VmSpec, String> {
    let number = |flag: &Flag| -> Result<u64, String> {
        let text = needed(parsed, flag)?;
        text.parse().map_err(|_| format!("--{}: {text:?} is no whole number", flag.name))
    };
    let domain = Domain::parse(needed(parsed, &DOMAIN)?)?;
    let user = UserName::parse(needed(parsed, &USERNAME)?)?;
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

fn show(host: &str, created: &CreatedVm, is_json: bool, out: &mut Out<'_>) -> Result<(), Failure> {
    let CreatedVm { machine, host_key, is_emulated } = created;
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

    fn parsed(words: &[&str]) -> Result<VmSpec, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        spec(&CREATE_VM.parse(words)?)
    }

    #[test]
    fn each_flag_that_is_needed_is_asked_for() {
        assert!(parsed(&GOOD).is_ok());
        // The first names the host, which is not part of the spec.
        for at in (2..GOOD.len()).step_by(2) {
            let mut words = GOOD.to_vec();
            words.drain(at..at + 2);
            let error = parsed(&words).unwrap_err();
            assert!(error.starts_with(GOOD[at]) && error.ends_with(" is missing"), "{error}");
        }
        let mut words = GOOD;
        words[9] = "1024M";
        assert_eq!(parsed(&words).unwrap_err(), "--ram: \"1024M\" is no whole number");
    }

    #[test]
    fn there_is_one_image() {
        let with = |more: &[&str]| parsed(&[&GOOD[..], more].concat()).map(|spec| spec.image);
        let Ok(ImageSource::Url { url, sha256: None }) = with(&[]) else { panic!("no Ubuntu") };
        assert_eq!(url.as_str(), IMAGE_URL);
        assert!(with(&["--image", "/a", "--image-url", "http://a/b"]).is_err());
        assert!(with(&["--image", "a.img"]).unwrap_err().contains("on the hypervisor"));
        assert!(with(&["--image", "/a.img", "--image-sha256", "12"]).is_err());
        assert!(with(&["--image", "/a.img"]).is_ok());
    }
}
