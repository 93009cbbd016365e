//! `convocate-host status`: every host of the cluster, and what there is not as this version has
//! it.

use std::path::Path;
use std::process::Command as Process;
use std::sync::mpsc::{Sender, channel};

use serde_json::json;

use crate::base::time::Wall;
use crate::cli::command::{Command, Parsed};
use crate::cli::host::many::work_on;
use crate::cli::host::output::{OutputLine, Report};
use crate::cli::host::remote::{USER, Worker, operator, program_for};
use crate::cli::host::update::{Request, agent_program, failure_text, ping};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::cli::table::{Column, Table};
use crate::cli::this_host::host_name;
use crate::exit::Exit;
use crate::fleet::registry::KnownAgent;
use crate::fleet::run::load;
use crate::io::clock::Clock;
use crate::io::disk::{self, Links};
use crate::io::machine;
use crate::limits::{CONFIG_LINE_BYTES_MAX, X509_PEM_BYTES_MAX, X509_WARN_DAYS};
use crate::paths::Paths;
use crate::provision::enrol::messages::ShellWanted;
use crate::provision::openssh::Target;
use crate::provision::remote::{Remote, run_here};
use crate::x509::Certificate;
use crate::x509::life::days_left;
use crate::x509::rotation::Trust;

/// `status`.
pub(crate) const STATUS: Command = Command {
    name: "status",
    summary: "look at every host of the cluster: versions, drift, certificates",
    operands: &[],
    flags: &[USER, JSON, ROOT],
    help: "\
To be run on the shell host, with convocate-agent beside this program. Every agent of
/etc/convocate/agent-keys is asked for its version over tcp/222, its host is looked at
over your own ssh, and nothing is changed anywhere. DRIFT counts what an update to this
version would change there; --json names all of it. CERT is the days that the
certificate for logs has left, as it was issued here.

The first row is the shell host itself: the version of the convocate that is installed,
what init-shell with the convocate beside this program would change, for which sudo
must not ask for a password, and the days of the authority for logs or of the
collector's certificate, whichever ends first. If it is an agent, too, its AGENT is that
agent's, which has a row of its own; ROLE says which is which, and \"role\" does so in
--json. With --root there is no such row: what is below a directory is no host.

The status is 1 if anything drifts, does not answer, or has a certificate that ends
within 30 days.
",
    run: status,
};

/// What a host is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// The operator works there.
    Shell,
    /// It has sessions.
    Agent,
}

/// What is known of one host before it is asked.
struct Entry {
    role: Role,
    /// Its agent; the shell host may have none.
    id: Option<String>,
    host: String,
    days: Option<i64>,
}

/// How a host is.
struct Found {
    version: Result<Option<String>, String>,
    drift: Result<Vec<String>, String>,
}

fn status(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = crate::cli::shared_flags::root_paths(parsed)?;
    let registry = load(&paths).map_err(Failure::Failed)?;
    for problem in &registry.problems {
        out.note(&problem.to_string());
    }
    let now = Clock::new().wall();
    let agent = |agent: &KnownAgent| Entry {
        role: Role::Agent,
        id: Some(agent.id.as_str().to_owned()),
        host: agent.host(),
        days: days(&agent.entry.log_certificate(), now),
    };
    let own = paths.is_system().then(|| shell_host(&paths, now));
    let entries: Vec<Entry> = own.into_iter().chain(registry.agents.iter().map(agent)).collect();
    let user = parsed.value(&USER);
    let found = work_on(&entries, out, |entry, sender| look(entry, user, &paths, sender))?;
    let is_json = parsed.has(&JSON);
    let mut is_good = registry.problems.is_empty();
    let mut table = table();
    for (entry, found) in entries.iter().zip(&found) {
        let is_fit = found.is_good() && entry.days.is_none_or(|days| days > X509_WARN_DAYS);
        is_good &= is_fit;
        if is_json {
            out.json(&entry.json(found, is_fit))?;
        } else {
            table.push(entry.row(found));
        }
    }
    if !is_json {
        out.text(&table.render(out.width()))?;
    }
    for (gone, now) in replaced(&entries, &found) {
        out.note(&format!(
            "{} answers to {now} now and no more to {gone}; if it was installed anew: \
             convocate-host remove-agent --agent {gone}",
            entries.iter().find(|it| it.id.as_deref() == Some(gone)).map_or("", |it| &it.host)
        ));
    }
    if registry.agents.is_empty() {
        out.note("no agent is known yet");
    }
    Ok(if is_good { Exit::Done } else { Exit::Failed })
}

/// The agents that do not answer where another one does, each with that one.
fn replaced<'a>(entries: &'a [Entry], found: &[Found]) -> Vec<(&'a str, &'a str)> {
    let agents = || {
        let all = entries.iter().zip(found).filter(|(entry, _)| entry.role == Role::Agent);
        all.map(|(entry, found)| (entry, found.version.is_ok()))
    };
    let silent = agents().filter(|(_, answers)| !answers);
    let pairs = silent.filter_map(|(gone, _)| {
        let (now, _) = agents().find(|(now, answers)| *answers && now.host == gone.host)?;
        Some((gone.id.as_deref()?, now.id.as_deref()?))
    });
    pairs.collect()
}

/// This machine, where the operator works.
fn shell_host(paths: &Paths, now: Wall) -> Entry {
    let authority = paths.log_authority();
    let ends =
        [authority_days(&authority.authorities(), now), days(&authority.server_certificate(), now)];
    let agent = disk::read_bounded(&paths.agent_id(), CONFIG_LINE_BYTES_MAX, Links::Follow).ok();
    Entry {
        role: Role::Shell,
        id: agent.map(|id| String::from_utf8_lossy(&id).trim().to_owned()),
        host: host_name(),
        days: ends.into_iter().flatten().min(),
    }
}

/// The days that a certificate has left.
fn days(path: &Path, now: Wall) -> Option<i64> {
    let certificate = Certificate::parse_pem(&pem(path)?).ok()?;
    Some(days_left(certificate.validity(), now))
}

/// The days that the authority has left which agents get their certificates of.
fn authority_days(path: &Path, now: Wall) -> Option<i64> {
    let trust = Trust::parse_pem(&pem(path)?).ok()?;
    Some(days_left(trust.agents_issuer().validity(), now))
}

fn pem(path: &Path) -> Option<String> {
    let bytes = disk::read_bounded(path, X509_PEM_BYTES_MAX, Links::Follow).ok()?;
    String::from_utf8(bytes).ok()
}

/// Looks at one host, and changes nothing.
fn look(entry: &Entry, user: Option<&str>, paths: &Paths, sender: &Sender<OutputLine>) -> Found {
    match entry.role {
        Role::Shell => Found {
            version: installed_version(&paths.program("convocate")),
            drift: shell_drift(&entry.host, sender),
        },
        Role::Agent => {
            Found { version: ping(paths, entry.id.as_deref()), drift: drift(entry, user, sender) }
        }
    }
}

/// What a program on this machine says that it is.
fn installed_version(program: &Path) -> Result<Option<String>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", program.display());
    let done = Process::new(program).arg("version").output().map_err(|error| failed(&error))?;
    match done.status.success() {
        true => {
            let said = String::from_utf8_lossy(&done.stdout);
            Ok(said.trim().rsplit_once(" v").map(|(_, version)| version.to_owned()))
        }
        false => Err(failed(&done.status)),
    }
}

/// What init-shell would change on this machine.
fn shell_drift(host: &str, sender: &Sender<OutputLine>) -> Result<Vec<String>, String> {
    let program = Worker::here("convocate", None).map_err(failure_text)?;
    let mut words = program.call("install --request");
    if machine::uid() != 0 {
        words.splice(0..0, ["sudo", "-n", "--"].map(str::to_owned));
    }
    let wanted =
        ShellWanted { check: true, base: None, no_image: false, names: Vec::new(), rotation: None };
    // Its steps are counted here, and shown to nobody.
    let (quiet, _unread) = channel();
    let mut report = Report::new(host, true, &quiet);
    let request = json!(wanted).to_string();
    let done = run_here(&words, &request, |line| report.tell(line));
    let is_done = done.map_err(|error| error.to_string())?;
    what_drifts(host, report, is_done, sender)
}

/// What a report says would be changed, and what has failed.
fn what_drifts(
    host: &str,
    mut report: Report<'_>,
    is_done: bool,
    sender: &Sender<OutputLine>,
) -> Result<Vec<String>, String> {
    if let Some(failed) = report.failed {
        let _heard = sender.send(OutputLine::Note(format!("[{host}] {failed}")));
        report.changed.push(failed);
    } else if !is_done || !report.has_ended {
        return Err("it did not say how it is".to_owned());
    }
    Ok(report.changed)
}

/// What an update would change there.
fn drift(
    entry: &Entry,
    user: Option<&str>,
    sender: &Sender<OutputLine>,
) -> Result<Vec<String>, String> {
    let target = Target::new(&entry.host, user)?;
    let (remote, probe) = Remote::connect(target, operator()).map_err(|error| error.to_string())?;
    let agent = agent_program(&probe.machine)?;
    let own = program_for(&probe.machine, "convocate-host", None).map_err(failure_text)?;
    let copy = remote.copy(&own).map_err(|error| error.to_string())?;
    // Its steps are counted here, and shown to nobody.
    let (quiet, _unread) = channel();
    let mut report = Report::new(&entry.host, true, &quiet);
    let request = json!(Request::replace(&agent, true)).to_string();
    let done = remote.run_on(&copy, "update --request", &request, &agent, |line| report.tell(line));
    // A host that is gone keeps a file that only root reads.
    let _removed = remote.clean(&copy);
    let is_done = done.map_err(|error| error.to_string())?;
    what_drifts(&entry.host, report, is_done, sender)
}

impl Found {
    fn is_good(&self) -> bool {
        self.version.is_ok() && self.drift.as_ref().is_ok_and(Vec::is_empty)
    }
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Shell => "shell",
            Role::Agent => "agent",
        }
    }
}

impl Entry {
    fn json(&self, found: &Found, is_fit: bool) -> serde_json::Value {
        let Found { version, drift } = found;
        json!({
            "line": "host", "role": self.role.word(), "host": self.host, "agent": self.id,
            "ok": is_fit,
            "version": version.as_ref().ok(), "version_error": version.as_ref().err(),
            "drift": drift.as_ref().ok(), "drift_error": drift.as_ref().err(),
            "certificate_days": self.days,
        })
    }

    fn row(&self, found: &Found) -> [String; 7] {
        let version = match &found.version {
            Ok(version) => version.clone().unwrap_or_else(|| "?".to_owned()),
            Err(_) => "no answer".to_owned(),
        };
        let (drift, note) = match (&found.drift, &found.version) {
            (Err(error), _) => ("?".to_owned(), error.clone()),
            (Ok(drift), Err(error)) => (drift.len().to_string(), error.clone()),
            (Ok(drift), Ok(_)) => (drift.len().to_string(), drift.join(", ")),
        };
        let days = self.days.map_or_else(|| "-".to_owned(), |days| format!("{days} d"));
        let id = self.id.clone().unwrap_or_else(|| "-".to_owned());
        [self.host.clone(), self.role.word().to_owned(), id, version, drift, days, note]
    }
}

fn table() -> Table {
    let column = |title, goes| Column { title, goes };
    let first = [column("HOST", 0), column("ROLE", 0), column("AGENT", 3), column("VERSION", 0)];
    let last = [column("DRIFT", 0), column("CERT", 2), column("NOTE", 1)];
    Table::new(&[&first[..], &last].concat(), 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_both_roles_has_a_row_for_each() {
        let entry = |role, host: &str| Entry {
            role,
            id: Some("abcdefghjkmn".to_owned()),
            host: host.to_owned(),
            days: Some(300),
        };
        let found = Found { version: Ok(Some("0.1.0".to_owned())), drift: Ok(Vec::new()) };
        for (role, host, word) in
            [(Role::Shell, "desk", "shell"), (Role::Agent, "192.0.2.7", "agent")]
        {
            let entry = entry(role, host);
            let json = entry.json(&found, true);
            assert_eq!((&json["role"], &json["agent"]), (&word.into(), &"abcdefghjkmn".into()));
            assert_eq!(entry.row(&found)[..3], [host, word, "abcdefghjkmn"]);
        }
    }

    #[test]
    fn an_agent_that_another_has_followed_is_named() {
        let entry = |id: &str, host: &str| Entry {
            role: Role::Agent,
            id: Some(id.to_owned()),
            host: host.to_owned(),
            days: None,
        };
        let entries = [entry("old", "web-1"), entry("new", "web-1"), entry("dead", "web-2")];
        let found = [Err("refused".to_owned()), Ok(None), Err("refused".to_owned())];
        let found = found.map(|version| Found { version, drift: Ok(Vec::new()) });
        assert_eq!(replaced(&entries, &found), [("old", "new")]);
    }

    #[test]
    fn what_fails_there_is_drift_and_silence_is_none() {
        let (quiet, _unread) = channel();
        let report = || Report::new("desk", true, &quiet);
        let mut failed = report();
        failed.failed = Some("docker: is not there".to_owned());
        let drift = what_drifts("desk", failed, false, &quiet);
        assert_eq!(drift, Ok(vec!["docker: is not there".to_owned()]));
        assert!(what_drifts("desk", report(), true, &quiet).is_err());
    }
}
