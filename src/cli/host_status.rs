//! `convocate-host status`: every host of the cluster, and what there is not as this version has
//! it.

use std::path::Path;
use std::sync::mpsc::{Sender, channel};

use serde_json::json;

use super::command::{Command, JSON, Parsed, ROOT};
use super::host_update::{Request, agent_program, failure_text, ping};
use super::many::work_on;
use super::out::{Failure, Out};
use super::remote::{USER, operator, program_for};
use super::said::{Report, Said};
use super::table::{Column, Table};
use crate::exit::Exit;
use crate::fleet::run::load;
use crate::io::clock::Clock;
use crate::io::disk::{self, Links};
use crate::limits::{X509_PEM_BYTES_MAX, X509_WARN_DAYS};
use crate::paths::Paths;
use crate::provision::install::Remote;
use crate::provision::openssh::Target;
use crate::x509::Certificate;
use crate::x509::life::days_left;

/// `status`.
pub const STATUS: Command = Command {
    name: "status",
    summary: "look at every agent host of the cluster: versions, drift, certificates",
    operands: &[],
    flags: &[USER, JSON, ROOT],
    help: "\
To be run on the shell host, with convocate-agent beside this program. Every agent of
/etc/convocate/agent-keys is asked for its version over tcp/222, its host is looked at
over your own ssh, and nothing is changed anywhere. DRIFT counts what an update to this
version would change there; --json names all of it. CERT is the days that the
certificate for logs has left, as it was issued here.

The status is 1 if anything drifts, does not answer, or has a certificate that ends
within 30 days.
",
    run: status,
};

/// What is known of one agent before its host is asked.
struct Entry {
    id: String,
    host: String,
    days: Option<i64>,
}

/// How a host is.
struct Found {
    version: Result<Option<String>, String>,
    drift: Result<Vec<String>, String>,
}

fn status(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = super::verbs::paths(parsed)?;
    let registry = load(&paths).map_err(Failure::Failed)?;
    for problem in &registry.problems {
        out.note(&problem.to_string());
    }
    let now = Clock::new().wall();
    let days = |path: &Path| {
        let bytes = disk::read_bounded(path, X509_PEM_BYTES_MAX, Links::Follow).ok()?;
        let certificate = Certificate::parse_pem(std::str::from_utf8(&bytes).ok()?).ok()?;
        Some(days_left(certificate.validity(), now))
    };
    let entry = |agent: &crate::fleet::registry::KnownAgent| Entry {
        id: agent.id.as_str().to_owned(),
        host: agent.host(),
        days: days(&agent.entry.log_certificate()),
    };
    let entries: Vec<Entry> = registry.agents.iter().map(entry).collect();
    let user = parsed.value(&USER);
    let found = work_on(&entries, out, |entry, sayer| look(entry, user, &paths, sayer))?;
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
    if entries.is_empty() {
        out.note("no agent is known yet");
    }
    Ok(if is_good { Exit::Done } else { Exit::Failed })
}

/// Looks at one host, and changes nothing.
fn look(entry: &Entry, user: Option<&str>, paths: &Paths, sayer: &Sender<Said>) -> Found {
    Found { version: ping(paths, Some(&entry.id)), drift: drift(entry, user, sayer) }
}

/// What an update would change there.
fn drift(entry: &Entry, user: Option<&str>, sayer: &Sender<Said>) -> Result<Vec<String>, String> {
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
    if let Some(failed) = report.failed {
        let note = format!("[{}] {failed}", entry.host);
        let _heard = sayer.send(Said::Note(note));
        report.changed.push(failed);
    } else if !is_done || !report.has_ended {
        return Err("it did not say how it is".to_owned());
    }
    Ok(report.changed)
}

impl Found {
    fn is_good(&self) -> bool {
        self.version.is_ok() && self.drift.as_ref().is_ok_and(Vec::is_empty)
    }
}

impl Entry {
    fn json(&self, found: &Found, is_fit: bool) -> serde_json::Value {
        let Found { version, drift } = found;
        json!({
            "line": "host", "host": self.host, "agent": self.id, "ok": is_fit,
            "version": version.as_ref().ok(), "version_error": version.as_ref().err(),
            "drift": drift.as_ref().ok(), "drift_error": drift.as_ref().err(),
            "certificate_days": self.days,
        })
    }

    fn row(&self, found: &Found) -> [String; 6] {
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
        [self.host.clone(), self.id.clone(), version, drift, days, note]
    }
}

fn table() -> Table {
    let column = |title, goes| Column { title, goes };
    let first = [column("HOST", 0), column("AGENT", 3), column("VERSION", 0)];
    let last = [column("DRIFT", 0), column("CERT", 2), column("NOTE", 1)];
    Table::new(&[first, last].concat(), 5)
}
