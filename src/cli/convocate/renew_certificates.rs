//! `convocate renew-certificates`: renews certificates for logs before they expire, the collector's
//! here and the agents' over tcp/222.

use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::base::rng::Rng;
use crate::base::time::Wall;
use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::JSON;
use crate::cli::steps::{RunOptions, take};
use crate::cli::this_host::installed_paths;
use crate::exit::Exit;
use crate::fleet::run::{Reply, Runner};
use crate::io::{disk, entropy};
use crate::limits::{PROVISION_PROOF_PATIENCE, PROVISION_PROOF_PAUSE, SURVEY_TIMEOUT};
use crate::paths::{PUBLIC_FILE, Paths};
use crate::provision::logs::authority::{
    AuthorityFiles, AuthorityRequest, WantedAuthority, wanted,
};
use crate::provision::logs::renewal::{Due, due};
use crate::provision::plan::collector::renewed;
use crate::provision::run::found;
use crate::rpc::agent_id::AgentId;
use crate::rpc::call::{Call, RenewCertificate};
use crate::x509::life::days_left;
use crate::x509::rotation::Trust;
use crate::x509::{Certificate, CertificateRole};

pub(crate) const RENEW_CERTIFICATES: Command = Command {
    name: "renew-certificates",
    summary: "renew certificates for logs after two thirds of their lifetime",
    operands: &[],
    flags: &[JSON],
    help: "\
The shell host runs this once a day (convocate-renewal.timer), as root: it renews the
certificate of each agent, over tcp/222, and then the collector's own. The new
certificate is for the same key; no key moves. You can run it at any time. The exit
status is 1 if an agent did not answer or did not install its certificate; the next run
tries again, and convocate agents warns when 30 days are left.
",
    run: renew,
};

/// What the shell host knows of certificates.
struct CertificateStore {
    paths: Paths,
    found: AuthorityFiles,
    trust: Trust,
    issued: Vec<(String, Option<Certificate>)>,
    now: Wall,
    rng: Rng,
}

fn renew(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = installed_paths(parsed)?;
    let mut runner = Runner::open(&paths).map_err(Failure::Failed)?;
    let mut store = CertificateStore::open(&paths, runner.wall())?;
    let is_json = parsed.has(&JSON);
    let own = own_certificate(&mut store)?;
    // The collector's comes last. rsyslog checks a peer only after it has connected, and loses what
    // the peer sent by then. Where all certificates have expired, agents with new ones keep their
    // lines until the collector has its own, and it refuses none of them.
    let failed = renew_agents(&mut store, &mut runner, is_json, out);
    take(renewed(&store.paths, &own).into(), &RunOptions::new(false, is_json), out)?;
    Ok(if failed? == 0 { Exit::Done } else { Exit::Failed })
}

/// Renews the certificates of all agents. How many failed.
fn renew_agents(
    store: &mut CertificateStore,
    runner: &mut Runner,
    is_json: bool,
    out: &mut Out<'_>,
) -> Result<usize, Failure> {
    let agents: Vec<AgentId> = runner.registry().agents.iter().map(|it| it.id.clone()).collect();
    let replies = runner.survey(&agents, &[Call::Certificate], |_| SURVEY_TIMEOUT, |_| false);
    let mut failed = 0;
    for reply in replies.map_err(Failure::Failed)? {
        let id = &reply.agent.id;
        let result = present(&reply).and_then(|present| renew_agent(store, runner, id, &present));
        failed += usize::from(result.is_err());
        let host = reply.agent.host();
        match (is_json, result) {
            (true, Ok((days, renewed))) => {
                out.json(&json!({ "agent": id.as_str(), "days_left": days, "renewed": renewed }))?;
            }
            (true, Err(why)) => out.json(&json!({ "agent": id.as_str(), "error": why }))?,
            (false, Ok((days, true))) => {
                out.text(&format!("{host} ({id}): renewed, {days} days left"))?;
            }
            (false, Ok((days, false))) => out.text(&format!("{host} ({id}): {days} days left"))?,
            (false, Err(why)) => out.text(&format!("{host} ({id}): FAILED: {why}"))?,
        }
    }
    Ok(failed)
}

impl CertificateStore {
    fn open(paths: &Paths, now: Wall) -> Result<CertificateStore, Failure> {
        let found = found::authority(paths).map_err(Failure::Failed)?;
        let files = paths.log_authority();
        let Some(authorities) = &found.authorities else {
            let text = "this host collects no logs yet; run: convocate-host init-shell";
            return Err(Failure::Failed(text.to_owned()));
        };
        let trust = Trust::parse_pem(authorities).map_err(|error| {
            Failure::Failed(format!("{} is invalid: {error}", files.authorities().display()))
        })?;
        Ok(CertificateStore {
            issued: found::agent_certificates(paths).map_err(Failure::Failed)?,
            rng: Rng::from_seed(entropy::seed()),
            paths: paths.clone(),
            found,
            trust,
            now,
        })
    }
}

/// What the collector's own certificate is to be.
fn own_certificate(store: &mut CertificateStore) -> Result<WantedAuthority, Failure> {
    let CertificateStore { paths, found, trust, now, rng, .. } = store;
    let server = found.server_certificate.as_deref().map(Certificate::parse_pem);
    let names = match server {
        Some(Ok(certificate)) => match certificate.role() {
            CertificateRole::Server { names, .. } => names.clone(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    let wanted = wanted(found, &paths.log_authority(), &names, AuthorityRequest::Mend, *now, rng);
    let wanted = wanted.map_err(|failure| Failure::Failed(failure.what))?;
    if wanted.trust != *trust {
        let text = "the log authority has expired; make a new one: convocate-host init-shell, \
                    and then init-agent for each agent";
        return Err(Failure::Failed(text.to_owned()));
    }
    Ok(wanted)
}

/// The certificate that an agent says it has.
fn present(reply: &Reply) -> Result<Certificate, String> {
    let answer = reply.answers.first().ok_or("it was not asked")?;
    read(answer.as_ref().map_err(ToString::to_string)?)
}

fn read(answer: &Value) -> Result<Certificate, String> {
    let enrol = "enrol it again with: convocate-host init-agent";
    let pem = answer["certificate"].as_str();
    let pem = pem.ok_or_else(|| format!("it has no certificate; {enrol}"))?;
    Certificate::parse_pem(pem)
        .map_err(|error| format!("its certificate is invalid: {error}; {enrol}"))
}

/// One agent: how many days are left now, and whether that is by a renewal.
fn renew_agent(
    store: &mut CertificateStore,
    runner: &mut Runner,
    id: &AgentId,
    present: &Certificate,
) -> Result<(i64, bool), String> {
    let enrol = |why: String| format!("{why}; enrol it again with: convocate-host init-agent");
    let issued = store.issued.iter().find(|(known, _)| known == id.as_str());
    let issued = issued.and_then(|(_, certificate)| certificate.as_ref());
    let issued =
        issued.ok_or_else(|| enrol("this host has no record of its certificate".to_owned()))?;
    let now = store.now;
    let due = due(present, issued, &store.trust, &store.found, now, &mut store.rng);
    let renewed = match due.map_err(enrol)? {
        Due::Keep(days) => return Ok((days, false)),
        Due::Renew(renewed) => renewed,
    };
    let certificate = renewed.to_pem();
    let send = RenewCertificate { certificate: certificate.clone() };
    runner.ask(id, &Call::RenewCertificate(send))?;
    let sent = Instant::now();
    while read(&runner.ask(id, &Call::Certificate)?)? != *renewed {
        if sent.elapsed() > PROVISION_PROOF_PATIENCE {
            let look = "look on its host at: journalctl -u convocate-certificate";
            return Err(format!("it has not installed the certificate that it was sent; {look}"));
        }
        thread::park_timeout(PROVISION_PROOF_PAUSE);
    }
    let path = store.paths.agent_entry(id.as_str()).log_certificate();
    disk::write_atomic(&path, certificate.as_bytes(), PUBLIC_FILE.1)
        .map_err(|error| error.to_string())?;
    Ok((days_left(renewed.validity(), now), true))
}
