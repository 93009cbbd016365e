//! `convocate-host status`: every host of the cluster, and what there is not as this version has
//! it.

use serde_json::json;

use crate::cli::command::{Command, Parsed};
use crate::cli::host::flags::USER;
use crate::cli::host::output::{Detail, HostOutput};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, root_paths};
use crate::cli::table::{Column, Table};
use crate::exit::Exit;
use crate::fleet::run::load;
use crate::provision::enrol::messages::InstalledClaude;
use crate::provision::workflow::status::{self, HostRole, HostStatus, KnownHost};

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
certificate for logs has left, as it was issued here. CLAUDE is the version of the Claude
CLI there; --json has its SHA-256, too.

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

fn status(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = root_paths(parsed)?;
    let registry = load(&paths).map_err(Failure::Failed)?;
    for problem in &registry.problems {
        out.note(&problem.to_string());
    }
    let is_json = parsed.has(&JSON);
    let mut output = HostOutput::new(out, is_json, Detail::Changes);
    let mut tell = |host: &str, event| output.tell(host, event);
    let hosts = status::status((&paths, &registry), parsed.value(&USER), &mut tell)?;
    let mut is_good = registry.problems.is_empty();
    let mut table = table();
    for (known, status) in &hosts {
        is_good &= status.is_fit(known);
        if is_json {
            out.json(&json_line(known, status))?;
        } else {
            table.push(row(known, status));
        }
    }
    if !is_json {
        out.text(&table.render(out.width()))?;
    }
    for (gone, now) in replaced(&hosts) {
        let id = |known: &KnownHost| known.id.clone().unwrap_or_default();
        out.note(&format!(
            "{} answers to {} now and no more to {}; if it was installed anew: convocate-host \
             remove-agent --agent {2}",
            gone.host,
            id(now),
            id(gone)
        ));
    }
    if registry.agents.is_empty() {
        out.note("no agent is known yet");
    }
    Ok(if is_good { Exit::Done } else { Exit::Failed })
}

/// The agents that do not answer where another one does, each with that one.
fn replaced(hosts: &[(KnownHost, HostStatus)]) -> Vec<(&KnownHost, &KnownHost)> {
    let agents = || hosts.iter().filter(|(known, _)| known.role == HostRole::Agent);
    let answering = |host: &str| {
        let mut all = agents().filter(|(_, status)| status.version.is_ok());
        all.find(|(known, _)| known.host == host).map(|(known, _)| known)
    };
    let silent = agents().filter(|(_, status)| status.version.is_err());
    silent.filter_map(|(gone, _)| Some((gone, answering(&gone.host)?))).collect()
}

fn role(known: &KnownHost) -> &'static str {
    match known.role {
        HostRole::Shell => "shell",
        HostRole::Agent => "agent",
    }
}

fn json_line(known: &KnownHost, status: &HostStatus) -> serde_json::Value {
    let HostStatus { version, drift, claude } = status;
    let claude = claude.as_ref();
    json!({
        "line": "host", "role": role(known), "host": known.host, "agent": known.id,
        "ok": status.is_fit(known),
        "version": version.as_ref().ok(), "version_error": version.as_ref().err(),
        "drift": drift.as_ref().ok(), "drift_error": drift.as_ref().err(),
        "certificate_days": known.days,
        "claude_version": claude.and_then(|claude| claude.version.as_ref()),
        "claude_sha256": claude.map(|claude| &claude.sha256),
    })
}

fn row(known: &KnownHost, status: &HostStatus) -> [String; 8] {
    let version = match &status.version {
        Ok(version) => version.clone().unwrap_or_else(|| "?".to_owned()),
        Err(_) => "no answer".to_owned(),
    };
    let (drift, note) = match (&status.drift, &status.version) {
        (Err(error), _) => ("?".to_owned(), error.clone()),
        (Ok(drift), Err(error)) => (drift.len().to_string(), error.clone()),
        (Ok(drift), Ok(_)) => (drift.len().to_string(), drift.join(", ")),
    };
    let claude = match (&status.claude, known.role, &status.drift) {
        (Some(InstalledClaude { version: Some(version), .. }), ..) => version.clone(),
        // It is there and says nothing: told by its content.
        (Some(claude), ..) => claude.sha256.chars().take(12).collect(),
        (None, HostRole::Agent, Ok(_)) => "missing".to_owned(),
        (None, ..) => "-".to_owned(),
    };
    let days = known.days.map_or_else(|| "-".to_owned(), |days| format!("{days} d"));
    let id = known.id.clone().unwrap_or_else(|| "-".to_owned());
    [known.host.clone(), role(known).to_owned(), id, version, claude, drift, days, note]
}

fn table() -> Table {
    let column = |title, goes| Column { title, goes };
    let first = [column("HOST", 0), column("ROLE", 0), column("AGENT", 3), column("VERSION", 0)];
    let last = [column("CLAUDE", 4), column("DRIFT", 0), column("CERT", 2), column("NOTE", 1)];
    Table::new(&[&first[..], &last].concat(), 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(role: HostRole, id: &str, host: &str) -> KnownHost {
        KnownHost { role, id: Some(id.to_owned()), host: host.to_owned(), days: Some(300) }
    }

    #[test]
    fn a_host_with_both_roles_has_a_row_for_each() {
        let status = HostStatus {
            version: Ok(Some("0.1.0".to_owned())),
            drift: Ok(Vec::new()),
            claude: None,
        };
        for (role, host, word) in
            [(HostRole::Shell, "desk", "shell"), (HostRole::Agent, "192.0.2.7", "agent")]
        {
            let known = known(role, "abcdefghjkmn", host);
            let json = json_line(&known, &status);
            assert_eq!((&json["role"], &json["agent"]), (&word.into(), &"abcdefghjkmn".into()));
            assert_eq!(row(&known, &status)[..3], [host, word, "abcdefghjkmn"]);
        }
    }

    #[test]
    fn an_agent_that_another_has_followed_is_named() {
        let hosts = [("old", "web-1", false), ("new", "web-1", true), ("dead", "web-2", false)];
        let hosts = hosts.map(|(id, host, answers)| {
            let version = if answers { Ok(None) } else { Err("refused".to_owned()) };
            (
                known(HostRole::Agent, id, host),
                HostStatus { version, drift: Ok(Vec::new()), claude: None },
            )
        });
        let pairs = replaced(&hosts);
        let ids: Vec<_> =
            pairs.iter().map(|(gone, now)| (gone.id.as_deref(), now.id.as_deref())).collect();
        assert_eq!(ids, [(Some("old"), Some("new"))]);
    }
}
