//! One virtual machine: its names, its files, its address. All of it is drawn once, so that what
//! was made of it can be found again and removed, and nothing else.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::rng::Rng;
use crate::base::uuid::Uuid;
use crate::limits::VM_NAME_SIGNS;
use crate::provision::vm::spec::{Domain, Size, UserName, VmSpec};

/// Where all that we keep of machines is: beside libvirt's own, which its rules know.
pub(crate) const DIRECTORY: &str = "/var/lib/libvirt/images/convocate";
/// Where images are kept.
pub(crate) const CACHE: &str = "/var/lib/libvirt/images/convocate/cache";

/// A machine that is made, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    /// Its host name, which is libvirt's name for it, too.
    pub(crate) name: Name,
    pub(crate) domain: Domain,
    pub(crate) user: UserName,
    /// How large it is.
    pub(crate) size: Size,
    /// Its address in libvirt's network.
    pub(crate) address: Ipv4Addr,
    /// What makes it another machine than all others: for libvirt and for cloud-init.
    pub(crate) id: MachineId,
    /// Its file system for `/var`.
    pub(crate) var_id: MachineId,
    /// The address of its network card.
    pub(crate) mac: Mac,
}

/// A host name that we have drawn: `vm-` and signs that nobody takes for others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Name(String);

/// A random UUID as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct MachineId(Uuid);

/// An address of a network card, of those that QEMU has for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mac([u8; 3]);

/// Neither 0 nor o, neither 1 nor l nor i.
const SIGNS: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
const PREFIX: &str = "vm-";

impl Machine {
    /// Draws a new one.
    pub(crate) fn draw(spec: &VmSpec, address: Ipv4Addr, rng: &mut Rng) -> Machine {
        Machine {
            name: Name::draw(rng),
            domain: spec.domain.clone(),
            user: spec.user.clone(),
            size: spec.size,
            address,
            id: MachineId(Uuid::random(rng)),
            var_id: MachineId(Uuid::random(rng)),
            mac: Mac(rng.bytes()),
        }
    }

    pub(crate) fn host_name(&self) -> String {
        format!("{}.{}", self.name.0, self.domain.as_str())
    }

    /// The directory with all of its files.
    pub(crate) fn directory(&self) -> PathBuf {
        PathBuf::from(DIRECTORY).join(&self.name.0)
    }

    /// The disk with `/`.
    pub(crate) fn os_disk(&self) -> PathBuf {
        self.directory().join("os.qcow2")
    }

    /// The disk with `/var`.
    pub(crate) fn data_disk(&self) -> PathBuf {
        self.directory().join("data.qcow2")
    }

    /// The disk that cloud-init reads.
    pub(crate) fn seed(&self) -> PathBuf {
        self.directory().join("seed.iso")
    }

    /// Its definition, until libvirt has it.
    pub(crate) fn definition(&self) -> PathBuf {
        self.directory().join("domain.xml")
    }

    /// What it says on its serial line.
    pub(crate) fn console(&self) -> PathBuf {
        self.directory().join("console.log")
    }

    /// Its line in the hypervisor's `/etc/hosts`.
    pub(crate) fn hosts_line(&self) -> String {
        format!("{} {} {}", self.address, self.host_name(), self.name)
    }

    /// Its address in libvirt's network, as an element.
    pub(crate) fn lease_xml(&self) -> String {
        // Nothing in it needs escaping: all are of letters, digits, dots and hyphens.
        format!("<host mac='{}' name='{}' ip='{}'/>", self.mac, self.name, self.address)
    }

    /// Its name in libvirt's network, as an element.
    pub(crate) fn dns_xml(&self) -> String {
        let hostname = self.hostname_xml();
        format!("<host ip='{}'>{hostname}</host>", self.address)
    }

    /// The part of it that libvirt prints on a line.
    pub(crate) fn hostname_xml(&self) -> String {
        format!("<hostname>{}</hostname>", self.host_name())
    }
}

impl Name {
    fn draw(rng: &mut Rng) -> Name {
        let mut name = PREFIX.to_owned();
        for _ in 0..VM_NAME_SIGNS {
            name.push(char::from(SIGNS[rng.below(31) as usize]));
        }
        Name(name)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A path is built from it, so it is nothing but what was drawn here.
impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Name, String> {
        let signs = text.strip_prefix(PREFIX).unwrap_or_default();
        let is_drawn = signs.len() == VM_NAME_SIGNS && signs.bytes().all(|it| SIGNS.contains(&it));
        if is_drawn { Ok(Name(text)) } else { Err(format!("{text:?} is no name that was drawn")) }
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl TryFrom<String> for MachineId {
    type Error = String;

    fn try_from(text: String) -> Result<MachineId, String> {
        Uuid::parse(&text).map(MachineId).map_err(|error| error.to_string())
    }
}

impl From<MachineId> for String {
    fn from(id: MachineId) -> String {
        id.0.to_string()
    }
}

impl std::fmt::Display for MachineId {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.0)
    }
}

impl std::fmt::Display for Mac {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Mac([a, b, c]) = self;
        write!(out, "52:54:00:{a:02x}:{b:02x}:{c:02x}")
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::provision::vm::spec::{ImageSource, Url};

    pub(crate) fn spec() -> VmSpec {
        VmSpec {
            size: Size { cpus: 2, memory_mib: 2048, os_gib: 10, data_gib: 20 },
            domain: Domain::parse("lab.example").unwrap(),
            user: UserName::parse("ann").unwrap(),
            keys: vec!["ssh-ed25519 AAAA ann's \"own\" key".to_owned()],
            image: ImageSource::Url {
                url: Url::parse("https://a.example/b/c.img").unwrap(),
                sha256: None,
            },
        }
    }

    pub(crate) fn machine(seed: u8) -> Machine {
        Machine::draw(&spec(), Ipv4Addr::new(192, 168, 122, 9), &mut Rng::from_seed([seed; 32]))
    }

    #[test]
    fn no_two_are_the_same_and_all_files_are_in_one_place() {
        let (one, two) = (machine(1), machine(2));
        assert!(one.name != two.name && one.id != two.id && one.mac != two.mac);
        assert_ne!(one.id, one.var_id);
        for path in [one.os_disk(), one.data_disk(), one.seed(), one.definition(), one.console()] {
            assert_eq!(path.parent(), Some(one.directory().as_path()));
        }
        assert!(one.directory().starts_with(DIRECTORY) && !one.directory().starts_with(CACHE));
        assert!(one.host_name().ends_with(".lab.example"));
    }

    #[test]
    fn it_comes_back_as_it_was_and_as_nothing_else() {
        let one = machine(1);
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Machine>(&text).unwrap(), one);
        for wrong in ["", "vm-", "../../etc", "vm-../../ab", "vm-abcdefg1", "vm-abcdefgh2"] {
            let text = text.replace(one.name.as_str(), wrong);
            assert!(serde_json::from_str::<Machine>(&text).is_err(), "{wrong}");
        }
    }
}
