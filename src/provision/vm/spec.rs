//! What the operator wants of a new virtual machine. What is wrong with it is said before anybody
//! is asked.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::base::hex;
use crate::limits::{
    HOST_NAME_CHARS_MAX, VM_CPUS_MAX, VM_DISK_GIB_MAX, VM_MEMORY_MIB_MAX, VM_MEMORY_MIB_MIN,
    VM_NAME_SIGNS,
};

/// A machine as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VmSpec {
    /// How large it is to be.
    pub(crate) size: Size,
    /// What its name ends with.
    pub(crate) domain: Domain,
    pub(crate) user: UserName,
    /// Lines of public keys that let that user in.
    pub(crate) keys: Vec<String>,
    /// What its first disk is a copy of.
    pub(crate) image: ImageSource,
}

/// Processors, memory and disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Size {
    pub(crate) cpus: u32,
    /// Memory in MiB.
    pub(crate) memory_mib: u64,
    /// The disk with `/`, in GiB.
    pub(crate) os_gib: u64,
    /// The disk with `/var`, in GiB.
    pub(crate) data_gib: u64,
}

/// Where the image comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum ImageSource {
    /// A file on the hypervisor.
    File {
        path: String,
        /// Its SHA-256, if that is to be compared.
        sha256: Option<Sha256Hex>,
    },
    /// A file that the hypervisor fetches and keeps.
    Url {
        url: Url,
        /// Its SHA-256; what the list beside it says if none.
        sha256: Option<Sha256Hex>,
    },
}

/// The end of a host name: labels of a-z, 0-9 and `-` with dots between them (RFC 1123 §2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Domain(String);

/// A user's name as useradd(8) takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct UserName(String);

/// An address that curl fetches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Url(String);

/// A SHA-256 as 64 digits in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Sha256Hex(String);

/// The image of Ubuntu 24.04 for clouds; the list of checksums stands beside it.
pub(crate) const IMAGE_URL: &str = "https://cloud-images.ubuntu.com/releases/24.04/release/\
                             ubuntu-24.04-server-cloudimg-amd64.img";
/// The name of that list.
pub(crate) const SUMS_NAME: &str = "SHA256SUMS";

impl Size {
    /// Both disks together, in GiB.
    pub(crate) fn disk_gib(&self) -> u64 {
        self.os_gib + self.data_gib
    }

    /// Checks that such a machine can be.
    ///
    /// # Errors
    /// One sentence that names the flag.
    pub(crate) fn check(&self) -> Result<(), String> {
        let within = |flag: &str, value: u64, min: u64, max: u64, unit: &str| {
            let fits = (min..=max).contains(&value);
            let text = || format!("--{flag}: {value} is not between {min} and {max}{unit}");
            if fits { Ok(()) } else { Err(text()) }
        };
        within("cpu", self.cpus.into(), 1, VM_CPUS_MAX.into(), "")?;
        within("ram", self.memory_mib, VM_MEMORY_MIB_MIN, VM_MEMORY_MIB_MAX, " MB")?;
        within("osdisk", self.os_gib, 1, VM_DISK_GIB_MAX, " GB")?;
        within("datadisk", self.data_gib, 1, VM_DISK_GIB_MAX, " GB")
    }
}

impl Domain {
    /// Reads one. Upper case is taken for lower.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn parse(text: &str) -> Result<Domain, String> {
        let text = text.to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let room = HOST_NAME_CHARS_MAX - "vm-.".len() - VM_NAME_SIGNS;
        match text.len() <= room && text.split('.').all(is_label) {
            true => Ok(Domain(text)),
            false => Err(format!("--domain: {text:?} is no name of a domain, as lab.example.org")),
        }
    }
}

impl UserName {
    /// Reads one.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn parse(text: &str) -> Result<UserName, String> {
        let mut bytes = text.bytes();
        let is_first = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let is_rest = |byte: u8| is_first(byte) || byte.is_ascii_digit() || byte == b'-';
        let is_name = text.len() <= 32 && bytes.next().is_some_and(is_first) && bytes.all(is_rest);
        match is_name {
            true => Ok(UserName(text.to_owned())),
            false => Err(format!("--username: {text:?} is no user's name")),
        }
    }
}

impl Url {
    /// Reads one.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn parse(text: &str) -> Result<Url, String> {
        let rest = ["https://", "http://"].iter().find_map(|kind| text.strip_prefix(kind));
        let is_url = rest.is_some_and(|rest| {
            rest.contains('/')
                && !rest.ends_with('/')
                && rest.bytes().all(|it| it.is_ascii_graphic())
        });
        // curl would take brackets and braces for a pattern of many addresses.
        match is_url && !text.contains(['[', ']', '{', '}']) {
            true => Ok(Url(text.to_owned())),
            false => {
                Err(format!("--image-url: {text:?} is no address of a file: http(s)://…/NAME"))
            }
        }
    }

    /// The name of the file.
    pub(crate) fn file_name(&self) -> &str {
        let path = self.0.split(['?', '#']).next().unwrap_or_default();
        path.rsplit('/').next().unwrap_or_default()
    }

    /// A name for the file among those of other addresses.
    pub(crate) fn cache_name(&self) -> String {
        let hash = Sha256::digest(self.0.as_bytes());
        format!("{}-{}", hex::text(&hash[..8]), self.file_name())
    }

    /// Where the list of checksums would be: beside the file.
    pub(crate) fn sums(&self) -> String {
        let path = self.0.split(['?', '#']).next().unwrap_or_default();
        let directory = path.rsplit_once('/').map_or(path, |(directory, _)| directory);
        format!("{directory}/{SUMS_NAME}")
    }
}

impl Sha256Hex {
    /// Reads one, in either case.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn parse(text: &str) -> Result<Sha256Hex, String> {
        match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(Sha256Hex(text.to_ascii_lowercase())),
            false => Err(format!("--image-sha256: {text:?} is no SHA-256 of 64 digits")),
        }
    }

    /// Finds a file's in a list as sha256sum(1) writes it.
    pub(crate) fn in_list(list: &str, file_name: &str) -> Option<Sha256Hex> {
        list.lines().find_map(|line| {
            let (digits, name) = line.split_once(' ')?;
            // A blank or an asterisk tells how the file was read.
            let name = name.strip_prefix([' ', '*']).unwrap_or(name).trim_end();
            (name == file_name).then(|| Sha256Hex::parse(digits).ok())?
        })
    }
}

macro_rules! text_type {
    ($($name:ident),*) => {
        $(
            impl $name {
                pub(crate) fn as_str(&self) -> &str {
                    &self.0
                }
            }

            impl TryFrom<String> for $name {
                type Error = String;

                fn try_from(text: String) -> Result<$name, String> {
                    $name::parse(&text)
                }
            }

            impl From<$name> for String {
                fn from(value: $name) -> String {
                    value.0
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                    out.write_str(&self.0)
                }
            }
        )*
    };
}

text_type!(Domain, UserName, Url, Sha256Hex);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_stand_anywhere_is_a_name() {
        assert_eq!(Domain::parse("Lab.Example.org").unwrap().as_str(), "lab.example.org");
        let long = "a".repeat(64);
        for wrong in ["", ".", "a..b", "-a", "a-", "a b", "a'b", "<a>", "a\nb", "ü", &long] {
            assert!(Domain::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Domain::parse(&"a.".repeat(130)[..259]).is_err());
        for right in ["ann", "_a-1"] {
            assert!(UserName::parse(right).is_ok());
        }
        for wrong in ["", "1a", "-l", "A", "a b", "a$", &"a".repeat(33)] {
            assert!(UserName::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_is_of_one_file_and_its_list_is_beside_it() {
        let url = Url::parse("https://a.example/b/c.img?x=/y").unwrap();
        assert_eq!(url.file_name(), "c.img");
        assert_eq!(url.sums(), "https://a.example/b/SHA256SUMS");
        let other = Url::parse("https://a.example/d/c.img").unwrap();
        assert!(url.cache_name().ends_with("-c.img") && url.cache_name() != other.cache_name());
        assert!(Url::parse(IMAGE_URL).is_ok());
        for wrong in ["", "c.img", "file:///c", "https://a", "https://a/", "http://a/{b,c}", "-o"] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_checksum_is_found_by_the_whole_name() {
        let (one, two) = ("1".repeat(64), "2".repeat(64));
        let list = format!("{one} *c.img.old\nbroken\n{two} *c.img\n{one}  d.img\r\n");
        let found = |name: &str| Sha256Hex::in_list(&list, name).map(|it| it.to_string());
        assert_eq!(found("c.img"), Some(two));
        assert_eq!(found("d.img"), Some(one));
        assert_eq!(found("img"), None);
        assert_eq!(Sha256Hex::in_list("12 *c.img\n", "c.img"), None);
        assert!(Sha256Hex::parse(&"g".repeat(64)).is_err());
    }

    #[test]
    fn a_size_that_cannot_be_names_its_flag() {
        let good = Size { cpus: 1, memory_mib: 1024, os_gib: 8, data_gib: 1 };
        assert_eq!(good.check(), Ok(()));
        for (wrong, flag) in [
            (Size { cpus: 0, ..good }, "--cpu: 0 "),
            (Size { memory_mib: 4, ..good }, "--ram: 4 "),
            (Size { os_gib: 0, ..good }, "--osdisk: 0 "),
            (Size { data_gib: u64::MAX, ..good }, "--datadisk: "),
        ] {
            assert!(wrong.check().unwrap_err().starts_with(flag));
        }
    }

    #[test]
    fn the_other_end_reads_only_what_is_right() {
        let domain = Domain::parse("a.b").unwrap();
        assert_eq!(serde_json::to_string(&domain).unwrap(), "\"a.b\"");
        assert!(serde_json::from_str::<Domain>("\"a b\"").is_err());
    }
}
