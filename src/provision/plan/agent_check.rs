//! What can be wrong with an agent host beyond what an installation makes.
//!
//! Conditions only: `convocate-agent check` asks them behind the steps of the installation, whose
//! differences it tells as faults.

use crate::docker::call;
use crate::limits::CAPACITY_PERCENT;
use crate::paths::{Paths, SESSIONS_SLICE};
use crate::provision::goal::command::Condition;
use crate::provision::order::{Answer, Command, End, Entry, Question};
use crate::provision::step::Step;
use crate::ssh::keys::{AuthorizedKeys, PublicKey};

/// The conditions, in the order in which they are told.
pub(crate) fn conditions(paths: &Paths, current_image: &str) -> Vec<Step> {
    let homes = disk("disk of the homes", &paths.sessions().display().to_string());
    let own = vec![drivers(paths), shell_host(paths), clock(), homes];
    if !paths.is_system() {
        return own;
    }
    let of_the_host =
        vec![image(current_image), limits(), disk("disk of docker", "/var/lib/docker"), firewall()];
    own.into_iter().chain(of_the_host).collect()
}

fn image(tag: &str) -> Step {
    Step::new(
        format!("session image {tag}"),
        Condition {
            ask: Question::Engine(call::image_inspect(tag)),
            fault: |answer| match answer {
                Answer::Engine(Ok(response)) if response.status == 200 => None,
                Answer::Engine(Ok(_)) => Some("the Docker engine does not have it".to_owned()),
                Answer::Engine(Err(why)) => Some(why.clone()),
                _ => Some("nobody asked".to_owned()),
            },
            advice: "build it: convocate-agent install; or ship it from the shell host: \
                     convocate-host update"
                .to_owned(),
        },
    )
}

/// A drop-in or another hand may have taken them away.
fn limits() -> Step {
    let show = Command::new("systemctl", ["show", "--property", "MemoryMax,CPUQuotaPerSecUSec"]);
    Step::new(
        "limits of the slice",
        Condition {
            ask: Question::Run(show.with([SESSIONS_SLICE])),
            fault: |answer| {
                let Answer::Ran(ran) = answer else { return Some("nobody asked".to_owned()) };
                let missing = ran.output.lines().find(|line| line.ends_with("=infinity"));
                match missing.and_then(|line| line.split_once('=')) {
                    Some((name, _)) => Some(format!("{SESSIONS_SLICE} has no {name}")),
                    None if ran.output.contains("MemoryMax=") => None,
                    None => Some(format!("systemctl {}", ran.end)),
                }
            },
            advice: format!(
                "look for drop-ins that take it away: systemctl cat {SESSIONS_SLICE}; then: \
                 convocate-agent install"
            ),
        },
    )
}

fn drivers(paths: &Paths) -> Step {
    Step::new(
        "who may drive this agent",
        Condition {
            ask: Question::Read(paths.agent_authorized_keys()),
            fault: |answer| {
                let Answer::Looked(Entry::File { bytes, .. }) = answer else {
                    return Some("there is no file of authorized keys".to_owned());
                };
                let keys = AuthorizedKeys::parse(&String::from_utf8_lossy(bytes));
                match (keys.problems.first(), keys.keys.is_empty()) {
                    (Some((line, problem)), _) => {
                        Some(format!("authorized_keys, line {line}: {problem}"))
                    }
                    (None, true) => Some("nobody: authorized_keys has no key".to_owned()),
                    (None, false) => None,
                }
            },
            advice: format!(
                "enrol it from the shell host (convocate-host init-agent), or add the public key \
                 of the shell host to {}",
                paths.agent_authorized_keys().display()
            ),
        },
    )
}

/// Without the file no shell host is told anything, which is allowed; a bad one is not.
fn shell_host(paths: &Paths) -> Step {
    Step::new(
        "pinned key of the shell host",
        Condition {
            ask: Question::Read(paths.agent_shell_known_host()),
            fault: |answer| match answer {
                Answer::Looked(Entry::Missing) => None,
                Answer::Looked(Entry::File { bytes, .. }) => {
                    let text = String::from_utf8_lossy(bytes);
                    let line = text.lines().next().unwrap_or_default();
                    PublicKey::parse_line(line).err().map(|error| error.to_string())
                }
                _ => Some("it is no file".to_owned()),
            },
            advice: "enrol this host again from the shell host: convocate-host init-agent"
                .to_owned(),
        },
    )
}

/// Only where systemd can tell: a machine whose time comes from elsewhere is not called wrong.
fn clock() -> Step {
    let show = Command::new("timedatectl", ["show", "--property", "NTPSynchronized", "--value"]);
    Step::new(
        "clock",
        Condition {
            ask: Question::Run(show),
            fault: |answer| match answer {
                Answer::Ran(ran) if ran.output.trim() == "no" => {
                    Some("it is not synchronised".to_owned())
                }
                _ => None,
            },
            advice: "install a time service: apt-get install systemd-timesyncd".to_owned(),
        },
    )
}

fn disk(name: &str, path: &str) -> Step {
    Step::new(
        name,
        Condition {
            ask: Question::Run(Command::new("df", ["--output=pcent", path])),
            fault: |answer| {
                let Answer::Ran(ran) = answer else { return Some("nobody asked".to_owned()) };
                if !ran.is_success() {
                    return Some(ran.last_lines(1).concat());
                }
                let last = ran.output.lines().last().unwrap_or_default();
                let used: Option<u64> = last.trim().trim_end_matches('%').parse().ok();
                let is_full = used.filter(|used| *used > CAPACITY_PERCENT)?;
                Some(format!("{is_full} % are in use; above {CAPACITY_PERCENT} % nothing starts"))
            },
            advice: format!(
                "remove sessions (convocate rm) or old images (convocate-agent prune-images), or \
                 give {path} more room"
            ),
        },
    )
}

/// A firewall that keeps the shell host out. One that is off, or not there, keeps nobody out.
fn firewall() -> Step {
    Step::new(
        "firewall",
        Condition {
            ask: Question::Run(Command::new("ufw", ["status"])),
            fault: |answer| match answer {
                Answer::Ran(ran) if ran.end == End::Code(0) => {
                    let is_on = ran.output.lines().any(|line| line == "Status: active");
                    let lets_in = |line: &str| line.starts_with("222") && line.contains("ALLOW");
                    (is_on && !ran.output.lines().any(lets_in))
                        .then(|| "ufw is active and does not let tcp/222 in".to_owned())
                }
                _ => None,
            },
            advice: "run: ufw allow 222/tcp".to_owned(),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Wall;
    use crate::provision::order::{Account, Ran, Seen};
    use crate::provision::step::Verdict;

    fn ran(output: &str) -> Answer {
        let (output, errors) = (output.to_owned(), String::new());
        Answer::Ran(Ran { end: End::Code(0), output, errors })
    }

    fn file(text: &str) -> Answer {
        let account = Account { user: "root".into(), group: "root".into() };
        let seen = Seen { account, mode: 0o644, changed_at: Wall::default() };
        Answer::Looked(Entry::File { bytes: text.as_bytes().to_vec(), seen })
    }

    fn fault(step: &Step, answer: Answer) -> String {
        match step.goal.judge(&[answer]) {
            Verdict::Holds => String::new(),
            Verdict::Refused(failure) => {
                assert!(!failure.advice.is_empty(), "{}", step.name);
                failure.what
            }
            Verdict::Differs(change) => format!("{change:?}"),
        }
    }

    #[test]
    fn a_disk_is_full_above_its_share() {
        let step = disk("d", "/d");
        assert_eq!(fault(&step, ran("Use%\n 90%\n")), "");
        let full = "91 % are in use; above 90 % nothing starts";
        assert_eq!(fault(&step, ran("Use%\n 91%\n")), full);
    }

    #[test]
    fn limits_that_are_gone_are_named() {
        let both = "CPUQuotaPerSecUSec=1.8s\nMemoryMax=100\n";
        assert_eq!(fault(&limits(), ran(both)), "");
        let gone = both.replace("1.8s", "infinity");
        let words = "convocate-sessions.slice has no CPUQuotaPerSecUSec";
        assert_eq!(fault(&limits(), ran(&gone)), words);
        assert!(fault(&limits(), ran("")).starts_with("systemctl"));
    }

    #[test]
    fn keys_that_nobody_can_use_are_told() {
        let paths = Paths::default();
        let nobody = fault(&drivers(&paths), file("# none yet\n"));
        assert_eq!(nobody, "nobody: authorized_keys has no key");
        assert!(
            fault(&drivers(&paths), file("ssh-rsa x\n")).starts_with("authorized_keys, line 1: ")
        );
        assert_eq!(fault(&shell_host(&paths), Answer::Looked(Entry::Missing)), "");
        assert_ne!(fault(&shell_host(&paths), file("ssh-ed25519 AAAA\n")), "");
    }

    #[test]
    fn a_firewall_counts_only_if_it_is_on() {
        let on = "Status: active\n\nTo   Action  From\n22/tcp  ALLOW  Anywhere\n";
        assert_eq!(fault(&firewall(), ran("Status: inactive\n")), "");
        assert_ne!(fault(&firewall(), ran(on)), "");
        assert_eq!(fault(&firewall(), ran(&format!("{on}222/tcp  ALLOW  Anywhere\n"))), "");
    }
}
