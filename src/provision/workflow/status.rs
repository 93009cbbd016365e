//! Looks at every host of the cluster, and changes nothing.

use std::path::Path;
use std::process::Command as Process;

use super::parallel::for_each;
use super::update::{UpdateRequest, connect_agent, ping, text};
use super::{WorkflowError, block_signals};
use crate::base::time::Wall;
use crate::fleet::registry::{KnownAgent, Registry};
use crate::io::clock::Clock;
use crate::io::disk::{self, Links};
use crate::io::machine;
use crate::limits::{CONFIG_LINE_BYTES_MAX, X509_PEM_BYTES_MAX, X509_WARN_DAYS};
use crate::paths::Paths;
use crate::provision::enrol::messages::{InstalledClaude, ShellWanted};
use crate::provision::openssh::Target;
use crate::provision::remote::HostError;
use crate::provision::remote::event::{HostEvent, Tell};
use crate::provision::remote::interrupts::Interrupts;
use crate::provision::remote::programs::Programs;
use crate::provision::remote::session::{HostSession, RunReport};
use crate::x509::Certificate;
use crate::x509::life::days_left;
use crate::x509::rotation::Trust;

/// What a host is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostRole {
    /// The operator works there.
    Shell,
    /// It has sessions.
    Agent,
}

/// What is known of one host before it is asked.
#[derive(Clone, Debug)]
pub(crate) struct KnownHost {
    pub(crate) role: HostRole,
    /// Its agent; the shell host may have none.
    pub(crate) id: Option<String>,
    pub(crate) host: String,
    /// The days that its certificate for logs has left.
    pub(crate) days: Option<i64>,
}

/// How a host is.
#[derive(Clone, Debug)]
pub(crate) struct HostStatus {
    /// `None` if its keys are not here.
    pub(crate) version: Result<Option<String>, String>,
    /// What an update would change, or what fails.
    pub(crate) drift: Result<Vec<String>, String>,
    /// The Claude CLI there.
    pub(crate) claude: Option<InstalledClaude>,
}

impl HostStatus {
    /// Whether the host needs nothing.
    pub(crate) fn is_fit(&self, known: &KnownHost) -> bool {
        self.version.is_ok()
            && self.drift.as_ref().is_ok_and(Vec::is_empty)
            && known.days.is_none_or(|days| days > X509_WARN_DAYS)
    }
}

/// Looks at the agents' hosts and, on an installed system, at this one first.
pub(crate) fn status(
    (paths, registry): (&Paths, &Registry),
    user: Option<&str>,
    tell: &mut Tell<'_>,
) -> Result<Vec<(KnownHost, HostStatus)>, WorkflowError> {
    let interrupts = block_signals()?;
    let now = Clock::new().wall();
    let agent = |agent: &KnownAgent| KnownHost {
        role: HostRole::Agent,
        id: Some(agent.id.as_str().to_owned()),
        host: agent.host(),
        days: days(&agent.entry.log_certificate(), now),
    };
    let own = paths.is_system().then(|| shell_host(paths, now));
    let known: Vec<KnownHost> = own.into_iter().chain(registry.agents.iter().map(agent)).collect();
    let found = for_each(&known, tell, |known, tell| match known.role {
        HostRole::Shell => HostStatus {
            version: installed_version(&paths.program("convocate")),
            drift: shell_drift(&interrupts, tell),
            claude: None,
        },
        HostRole::Agent => {
            let mut claude = None;
            HostStatus {
                version: ping(paths, known.id.as_deref()),
                drift: agent_drift(&known.host, user, &interrupts, (tell, &mut claude)),
                claude,
            }
        }
    })?;
    Ok(known.into_iter().zip(found).collect())
}

/// This machine, where the operator works.
fn shell_host(paths: &Paths, now: Wall) -> KnownHost {
    let authority = paths.log_authority();
    let ends =
        [authority_days(&authority.authorities(), now), days(&authority.server_certificate(), now)];
    let agent = disk::read_bounded(&paths.agent_id(), CONFIG_LINE_BYTES_MAX, Links::Follow).ok();
    KnownHost {
        role: HostRole::Shell,
        id: agent.map(|id| String::from_utf8_lossy(&id).trim().to_owned()),
        host: machine::host_name(),
        days: ends.into_iter().flatten().min(),
    }
}

/// The days that a certificate has left.
fn days(path: &Path, now: Wall) -> Option<i64> {
    let certificate = Certificate::parse_pem(&pem(path)?).ok()?;
    Some(days_left(certificate.validity(), now))
}

/// The days that the authority has left which issues the agents' certificates.
fn authority_days(path: &Path, now: Wall) -> Option<i64> {
    let trust = Trust::parse_pem(&pem(path)?).ok()?;
    Some(days_left(trust.agents_issuer().validity(), now))
}

fn pem(path: &Path) -> Option<String> {
    let bytes = disk::read_bounded(path, X509_PEM_BYTES_MAX, Links::Follow).ok()?;
    String::from_utf8(bytes).ok()
}

/// The version that a program on this machine prints.
fn installed_version(program: &Path) -> Result<Option<String>, String> {
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", program.display());
    let done = Process::new(program).arg("version").output().map_err(|error| failed(&error))?;
    match done.status.success() {
        true => {
            let output = String::from_utf8_lossy(&done.stdout);
            Ok(output.trim().rsplit_once(" v").map(|(_, version)| version.to_owned()))
        }
        false => Err(failed(&done.status)),
    }
}

/// What init-shell would change on this machine.
fn shell_drift(interrupts: &Interrupts, tell: &mut Tell<'_>) -> Result<Vec<String>, String> {
    let mut session = HostSession::here(Programs::default().path("convocate")?, interrupts);
    let mut words = session.words("install --request");
    if machine::uid() != 0 {
        words.splice(0..0, ["sudo", "-n", "--"].map(str::to_owned));
    }
    let wanted =
        ShellWanted { check: true, base: None, no_image: false, names: Vec::new(), rotation: None };
    let report = session.run_words(&words, &wanted, &[], &mut quiet);
    drift(&session.name, report, tell)
}

/// What an update would change there.
fn agent_drift(
    host: &str,
    user: Option<&str>,
    interrupts: &Interrupts,
    (tell, claude): (&mut Tell<'_>, &mut Option<InstalledClaude>),
) -> Result<Vec<String>, String> {
    let target = Target::new(host, user)?;
    let (mut session, agent) = connect_agent(&target, interrupts)?;
    let request = UpdateRequest::replace(&agent, true);
    let report = session.run("update --request", &request, &agent, &mut quiet);
    if let Ok(report) = &report {
        *claude = serde_json::from_value(report.answer["claude"].clone()).ok();
    }
    drift(host, report, tell)
}

/// Steps are counted here, and shown to nobody.
fn quiet(_host: &str, _event: HostEvent) -> bool {
    true
}

/// What would be changed, and what fails.
fn drift(
    host: &str,
    report: Result<RunReport, HostError>,
    tell: &mut Tell<'_>,
) -> Result<Vec<String>, String> {
    let RunReport { is_done, mut changed, failed, .. } = report.map_err(text)?;
    match failed {
        Some(failed) => {
            let _heard = tell(host, HostEvent::Note(failed.clone()));
            changed.push(failed);
        }
        None if !is_done => return Err("it failed, and no step of it".to_owned()),
        None => {}
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::remote::RemoteError;

    #[test]
    fn what_fails_there_is_drift_and_silence_is_none() {
        let failed = Some("docker: is not there".to_owned());
        let report = RunReport { failed, ..RunReport::default() };
        let drifts = drift("desk", Ok(report), &mut quiet);
        assert_eq!(drifts, Ok(vec!["docker: is not there".to_owned()]));
        let silence = Err(RemoteError::Unfinished.on("desk"));
        assert!(drift("desk", silence, &mut quiet).is_err());
    }
}
