//! What can be wrong with an agent host beyond what an installation makes.
//!
//! Conditions only: `convocate-agent check` asks them behind the steps of the installation, whose
//! differences it tells as faults.

use crate::limits::CAPACITY_PERCENT;
use crate::paths::{Paths, SESSION_NETWORK, SESSIONS_SLICE};
use crate::provision::goal::condition::Check;
use crate::provision::order::{Command, End, Entry};
use crate::provision::plan::parts::{condition, has_image};
use crate::provision::step::Step;
use crate::rpc::session::claude_missing;
use crate::ssh::keys::{AuthorizedKeys, PublicKey};

/// The conditions, in the order in which they are told.
pub(crate) fn conditions(paths: &Paths, current_image: &str, host: &str) -> Vec<Step> {
    let homes = disk("disk of the homes", &paths.sessions().display().to_string());
    let own = vec![drivers(paths), shell_host(paths), clock(), homes];
    if !paths.is_system() {
        return own;
    }
    let of_the_host = [
        image(current_image),
        claude(paths, host),
        limits(),
        disk("disk of docker", "/var/lib/docker"),
        firewall(),
        session_rules(),
    ];
    own.into_iter().chain(of_the_host).collect()
}

fn image(tag: &str) -> Step {
    let advice = "build it: convocate-agent install; or ship it from the shell host: \
                  convocate-host update";
    has_image(tag, advice)
}

/// What sessions run unless they were told otherwise.
fn claude(paths: &Paths, host: &str) -> Step {
    let program = paths.claude().display().to_string();
    let is_there = Command::new("test", ["-x", program.as_str()]);
    let check = Check::Program(is_there, |ran| {
        (!ran.is_success()).then(|| {
            "/usr/local/bin/claude is not there, and sessions run it by default".to_owned()
        })
    });
    condition("claude", check, claude_missing(host))
}

/// A drop-in or another program may have taken them away.
fn limits() -> Step {
    let show = Command::new("systemctl", ["show", "--property", "MemoryMax,CPUQuotaPerSecUSec"]);
    let check = Check::Program(show.with([SESSIONS_SLICE]), |ran| {
        let missing = ran.output.lines().find(|line| line.ends_with("=infinity"));
        match missing.and_then(|line| line.split_once('=')) {
            Some((name, _)) => Some(format!("{SESSIONS_SLICE} has no {name}")),
            None if ran.output.contains("MemoryMax=") => None,
            None => Some(format!("systemctl {}", ran.end)),
        }
    });
    let advice = format!(
        "look for drop-ins that take it away: systemctl cat {SESSIONS_SLICE}; then: \
         convocate-agent install"
    );
    condition("limits of the slice", check, advice)
}

fn drivers(paths: &Paths) -> Step {
    let keys = paths.agent_authorized_keys();
    let advice = format!(
        "enrol it from the shell host (convocate-host init-agent), or add the public key of the \
         shell host to {}",
        keys.display()
    );
    let check = Check::Content(keys, |entry| {
        let Entry::File { bytes, .. } = entry else {
            return Some("there is no file of authorized keys".to_owned());
        };
        let keys = AuthorizedKeys::parse(&String::from_utf8_lossy(bytes));
        match (keys.problems.first(), keys.keys.is_empty()) {
            (Some((line, problem)), _) => Some(format!("authorized_keys, line {line}: {problem}")),
            (None, true) => Some("nobody: authorized_keys has no key".to_owned()),
            (None, false) => None,
        }
    });
    condition("who may drive this agent", check, advice)
}

/// Without the file no shell host is told anything, which is allowed; a bad one is not.
fn shell_host(paths: &Paths) -> Step {
    let check = Check::Content(paths.agent_shell_known_host(), |entry| match entry {
        Entry::Missing => None,
        Entry::File { bytes, .. } => {
            let text = String::from_utf8_lossy(bytes);
            let line = text.lines().next().unwrap_or_default();
            PublicKey::parse_line(line).err().map(|error| error.to_string())
        }
        _ => Some("it is no file".to_owned()),
    });
    let advice = "enrol this host again from the shell host: convocate-host init-agent";
    condition("pinned key of the shell host", check, advice)
}

/// Only where systemd can tell: a machine whose time comes from elsewhere is not called wrong.
fn clock() -> Step {
    let show = Command::new("timedatectl", ["show", "--property", "NTPSynchronized", "--value"]);
    let check = Check::Program(show, |ran| {
        (ran.output.trim() == "no").then(|| "it is not synchronised".to_owned())
    });
    condition("clock", check, "install a time service: apt-get install systemd-timesyncd")
}

fn disk(name: &str, path: &str) -> Step {
    let check = Check::Program(Command::new("df", ["--output=pcent", path]), |ran| {
        if !ran.is_success() {
            return Some(ran.last_lines(1).concat());
        }
        let last = ran.output.lines().last().unwrap_or_default();
        let used: Option<u64> = last.trim().trim_end_matches('%').parse().ok();
        let is_full = used.filter(|used| *used > CAPACITY_PERCENT)?;
        Some(format!("{is_full} % are in use; above {CAPACITY_PERCENT} % nothing starts"))
    });
    let advice = format!(
        "remove sessions (convocate rm) or old images (convocate-agent prune-images), or give \
         {path} more room"
    );
    condition(name, check, advice)
}

/// A firewall that keeps the shell host out. One that is off, or not there, keeps nobody out.
fn firewall() -> Step {
    let check = Check::Program(Command::new("ufw", ["status"]), |ran| {
        let is_on = ran.output.lines().any(|line| line == "Status: active");
        let lets_in = |line: &str| line.starts_with("222") && line.contains("ALLOW");
        let keeps_out = ran.end == End::Code(0) && is_on && !ran.output.lines().any(lets_in);
        keeps_out.then(|| "ufw is active and does not let tcp/222 in".to_owned())
    });
    condition("firewall", check, "run: ufw allow 222/tcp")
}

/// The rules that keep sessions from this host and its networks. Others may have flushed them.
fn session_rules() -> Step {
    let list = Command::new("nft", ["list", "table", "inet", SESSION_NETWORK]);
    let check = Check::Program(list, |ran| match ran.is_success() {
        true => None,
        false => {
            Some("sessions reach this host's ports and networks: its rules are not loaded".into())
        }
    });
    let advice =
        "load them: systemctl restart convocate-network; a kernel without nftables takes none";
    condition("what sessions may reach", check, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::goal::testing::{file, ran};
    use crate::provision::order::Answer;
    use crate::provision::step::StepVerdict;

    fn fault(step: &Step, answer: Answer) -> String {
        match step.judge(&[answer]) {
            StepVerdict::Holds => String::new(),
            StepVerdict::Refused(failure) => {
                assert!(!failure.advice.is_empty(), "{}", step.name);
                failure.what
            }
            StepVerdict::Differs(change) => format!("{change:?}"),
        }
    }

    #[test]
    fn a_disk_is_full_above_its_share() {
        let step = disk("d", "/d");
        assert_eq!(fault(&step, ran(0, "Use%\n 90%\n")), "");
        let full = "91 % are in use; above 90 % nothing starts";
        assert_eq!(fault(&step, ran(0, "Use%\n 91%\n")), full);
    }

    #[test]
    fn rules_that_are_not_loaded_are_told() {
        assert_eq!(fault(&session_rules(), ran(0, "table inet convocate {\n}\n")), "");
        assert_ne!(fault(&session_rules(), ran(1, "")), "");
    }

    #[test]
    fn limits_that_are_gone_are_named() {
        let both = "CPUQuotaPerSecUSec=1.8s\nMemoryMax=100\n";
        assert_eq!(fault(&limits(), ran(0, both)), "");
        let gone = both.replace("1.8s", "infinity");
        let words = "convocate-sessions.slice has no CPUQuotaPerSecUSec";
        assert_eq!(fault(&limits(), ran(0, &gone)), words);
        assert!(fault(&limits(), ran(0, "")).starts_with("systemctl"));
    }

    #[test]
    fn keys_that_nobody_can_use_are_told() {
        let paths = Paths::default();
        let nobody = fault(&drivers(&paths), file("# none yet\n", 0o644));
        assert_eq!(nobody, "nobody: authorized_keys has no key");
        assert!(
            fault(&drivers(&paths), file("ssh-rsa x\n", 0o644))
                .starts_with("authorized_keys, line 1: ")
        );
        assert_eq!(fault(&shell_host(&paths), Answer::Looked(Entry::Missing)), "");
        assert_ne!(fault(&shell_host(&paths), file("ssh-ed25519 AAAA\n", 0o644)), "");
    }

    #[test]
    fn a_firewall_counts_only_if_it_is_on() {
        let on = "Status: active\n\nTo   Action  From\n22/tcp  ALLOW  Anywhere\n";
        assert_eq!(fault(&firewall(), ran(0, "Status: inactive\n")), "");
        assert_ne!(fault(&firewall(), ran(0, on)), "");
        assert_eq!(fault(&firewall(), ran(0, &format!("{on}222/tcp  ALLOW  Anywhere\n"))), "");
    }
}
