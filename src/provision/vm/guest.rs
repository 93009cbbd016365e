//! A machine over the operator's ssh, through the connection to its hypervisor: it is in libvirt's
//! own network, which nobody else reaches.
//!
//! The first contact is with a host key that is known before: what answers with another one is not
//! this machine. Words alone, as in `openssh`.

use std::path::Path;

use crate::limits::VM_BOOT_PATIENCE;
use crate::provision::openssh::Ssh;
use crate::provision::vm::machine::Machine;

/// What the machine says when it has booted to the end, or a while after it should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    /// How its first boot went, as cloud-init says.
    pub(crate) status: String,
    /// Its whole host name.
    pub(crate) name: String,
    /// The UUID of the file system that is mounted on `/var`; empty if none is.
    pub(crate) var: String,
}

/// Asks the machine: [`Proof::parse`]. `known` is a file with [`known_host`] alone.
pub(crate) fn proof(ssh: &Ssh, machine: &Machine, known: &Path) -> Vec<String> {
    let seconds = VM_BOOT_PATIENCE.as_secs();
    // No single quote is in it: it stands between two of them.
    let script = format!(
        "timeout {seconds} cloud-init status --wait >/dev/null 2>&1; \
         echo \"status $(cloud-init status 2>/dev/null | sed -n \"s/^status: //p\")\"; \
         echo \"name $(hostname -f)\"; \
         echo \"var $(findmnt -n -o UUID --mountpoint /var)\""
    );
    let mut words = ssh.program();
    // Until it is up every try fails, and none is worth a word.
    words.extend(["-T", "-q"].map(String::from));
    for option in [
        format!("ProxyCommand={}", ssh.relay()),
        format!("HostKeyAlias={}", machine.host_name()),
        format!("UserKnownHostsFile={}", known.display()),
        "GlobalKnownHostsFile=/dev/null".to_owned(),
        "StrictHostKeyChecking=yes".to_owned(),
        "PasswordAuthentication=no".to_owned(),
        "BatchMode=yes".to_owned(),
        "ControlPath=none".to_owned(),
    ] {
        words.extend(["-o".to_owned(), option]);
    }
    words.extend(ssh.patience());
    words.extend(["-l".to_owned(), machine.user.to_string()]);
    words.extend(["--".to_owned(), machine.host_name(), format!("sh -c '{script}'")]);
    words
}

/// The machine's line of a file of known hosts.
pub(crate) fn known_host(machine: &Machine, host_key: &str) -> String {
    format!("{} {}\n", machine.host_name(), host_key.trim_end())
}

/// The first file of known hosts that the operator's ssh writes to, out of what `ssh -G` says.
pub(crate) fn known_hosts_file(settings: &str) -> Option<&str> {
    value(settings, "userknownhostsfile")?.split_whitespace().next()
}

/// The files of the keys that the operator's ssh would log in with, out of what `ssh -G` says.
pub(crate) fn identity_files(settings: &str) -> impl Iterator<Item = &str> {
    settings.lines().filter_map(|line| line.strip_prefix("identityfile "))
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
}

impl Proof {
    /// Reads what the machine said; `None` if that is not all of it.
    pub(crate) fn parse(text: &str) -> Option<Proof> {
        let status = value(text, "status")?.to_owned();
        let (name, var) = (value(text, "name")?.to_owned(), value(text, "var")?.to_owned());
        Some(Proof { status, name, var })
    }

    /// What is not as it was to be.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn check(&self, machine: &Machine) -> Result<(), String> {
        let host_name = machine.host_name();
        if self.status != "done" {
            return Err(format!("its first boot is not done: cloud-init says {:?}", self.status));
        }
        if self.name != host_name {
            return Err(format!("it is called {:?} and not {host_name}", self.name));
        }
        if self.var != machine.var_id.to_string() {
            return Err("its /var is not on the disk that is for it".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::provision::openssh::Target;
    use crate::provision::vm::machine::tests::machine;

    fn ssh() -> Ssh {
        let target = Target::new("web-1", Some("ann")).unwrap();
        Ssh {
            target,
            control: PathBuf::from("/tmp/x%y/ssh"),
            operator: None,
            agent: None,
            is_recent: true,
        }
    }

    #[test]
    fn the_machine_is_reached_through_the_open_connection_and_pinned() {
        let words = proof(&ssh(), &machine(1), Path::new("/tmp/known"));
        let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)).unwrap();
        let relay = option("ProxyCommand=");
        assert!(relay.starts_with("ssh "), "{relay}");
        assert!(relay.contains(" -W %h:%p ") && relay.contains("ControlPath=/tmp/x%%y/ssh"));
        assert!(relay.ends_with(" -l ann -- web-1"), "{relay}");
        assert_eq!(option("UserKnownHostsFile="), "/tmp/known");
        assert_eq!(option("StrictHostKeyChecking="), "yes");
        let script = words.last().unwrap();
        assert_eq!(script.matches('\'').count(), 2, "{script}");
    }

    #[test]
    fn the_relay_survives_the_operators_shell() {
        let target = Target::new("a$(b)'c", None).unwrap();
        let relay = Ssh { target, ..ssh() }.relay();
        assert!(relay.ends_with(r"-- 'a$(b)'\''c'"), "{relay}");
    }

    #[test]
    fn only_what_was_wanted_is_taken_for_it() {
        let machine = machine(1);
        let said = format!("status done\nname {}\nvar {}\n", machine.host_name(), machine.var_id);
        let check = |text: &str| Proof::parse(text).expect("all of it").check(&machine);
        assert_eq!(check(&said), Ok(()));
        for (from, to, told) in [
            ("done", "error", "its first boot is not done"),
            ("name vm", "name bm", "it is called"),
            ("var ", "var x", "its /var is not"),
        ] {
            assert!(check(&said.replace(from, to)).unwrap_err().starts_with(told));
        }
        assert_eq!(Proof::parse("status done\n"), None);
    }

    #[test]
    fn ssh_says_which_files_it_has() {
        let said = "user ann\nidentityfile ~/.ssh/a\nidentityfile /b\n\
                    userknownhostsfile /k1 /k2\n";
        assert_eq!(known_hosts_file(said), Some("/k1"));
        assert_eq!(identity_files(said).collect::<Vec<_>>(), ["~/.ssh/a", "/b"]);
    }
}
