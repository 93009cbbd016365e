//! `convocate renew-certificates`: certificates for logs are renewed in good time, the collector's
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
use crate::provision::logs::authority::{Ask, Found, Wanted, wanted};
use crate::provision::logs::collector::renewed;
use crate::provision::logs::renewal::{Due, due};
use crate::provision::run::found;
use crate::rpc::agent_id::AgentId;
use crate::rpc::call::{Call, RenewCertificate};
use crate::x509::life::days_left;
use crate::x509::rotation::Trust;
use crate::x509::{Certificate, Role};

/// `renew-certificates`.
pub(crate) const RENEW_CERTIFICATES: Command = Command {
    name: "renew-certificates",
    summary: "renew the certificates for logs that have lived two thirds of their life",
    operands: &[],
    flags: &[JSON],
    help: "\
The shell host does this once a day (convocate-renewal.timer), as root: the certificate of
each agent, which is asked and told over tcp/222, and then the collector's own. Another
one is issued for the same key; no key moves. It can be run at any time. The status is 1
if an agent could not be asked or has not taken its certificate; it is tried again the
next day, and convocate agents warns when 30 days are left.
",
    run: renew,
};

/// What is known here.
struct House {
    paths: Paths,
    found: Found,
    trust: Trust,
    issued: Vec<(String, Option<Certificate>)>,
    now: Wall,
    rng: Rng,
}

fn renew(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = installed_paths(parsed, "convocate renew-certificates")?;
    let mut runner = Runner::open(&paths).map_err(Failure::Failed)?;
    let mut house = House::open(&paths, runner.wall())?;
    let is_json = parsed.has(&JSON);
    let own = own(&mut house)?;
    // The collector's comes last. rsyslog looks at who has connected when it is connected already,
    // and what was sent by then is lost: where all certificates are over, agents that have theirs
    // anew keep their lines until the collector has its own, and none of them is refused.
    let failed = all(&mut house, &mut runner, is_json, out);
    take(renewed(&house.paths, &own).into(), &RunOptions::new(false, is_json), out)?;
    Ok(if failed? == 0 { Exit::Done } else { Exit::Failed })
}

/// The certificates of all agents; how many of them failed.
fn all(
    house: &mut House,
    runner: &mut Runner,
    is_json: bool,
    out: &mut Out<'_>,
) -> Result<usize, Failure> {
    let agents: Vec<AgentId> = runner.registry().agents.iter().map(|it| it.id.clone()).collect();
    let replies = runner.survey(&agents, &[Call::Certificate], |_| SURVEY_TIMEOUT, |_| false);
    let mut failed = 0;
    for reply in replies.map_err(Failure::Failed)? {
        let id = &reply.agent.id;
        let came = present(&reply).and_then(|present| one(house, runner, id, &present));
        failed += usize::from(came.is_err());
        let host = reply.agent.host();
        match (is_json, came) {
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

impl House {
    fn open(paths: &Paths, now: Wall) -> Result<House, Failure> {
        let found = found::authority(paths).map_err(Failure::Failed)?;
        let files = paths.log_authority();
        let Some(authorities) = &found.authorities else {
            let text = "this host collects no logs yet; make it with: convocate-host init-shell";
            return Err(Failure::Failed(text.to_owned()));
        };
        let trust = Trust::parse_pem(authorities).map_err(|error| {
            Failure::Failed(format!("{} is unfit: {error}", files.authorities().display()))
        })?;
        Ok(House {
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
fn own(house: &mut House) -> Result<Wanted, Failure> {
    let House { paths, found, trust, now, rng, .. } = house;
    let server = found.server_certificate.as_deref().map(Certificate::parse_pem);
    let names = match server {
        Some(Ok(certificate)) => match certificate.role() {
            Role::Server { names, .. } => names.clone(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    let wanted = wanted(found, &paths.log_authority(), &names, Ask::Mend, *now, rng);
    let wanted = wanted.map_err(|failure| Failure::Failed(failure.what))?;
    if wanted.trust != *trust {
        let text = "the life of the log authority is over; make a new one with: convocate-host \
                    init-shell, and then init-agent for each agent";
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
        .map_err(|error| format!("its certificate is unfit: {error}; {enrol}"))
}

/// One agent: how many days are left now, and whether that is by a renewal.
fn one(
    house: &mut House,
    runner: &mut Runner,
    id: &AgentId,
    present: &Certificate,
) -> Result<(i64, bool), String> {
    let enrol = |why: String| format!("{why}; enrol it again with: convocate-host init-agent");
    let issued = house.issued.iter().find(|(known, _)| known == id.as_str());
    let issued = issued.and_then(|(_, certificate)| certificate.as_ref());
    let issued = issued.ok_or_else(|| enrol("no certificate of it is known here".to_owned()))?;
    let now = house.now;
    let due = due(present, issued, &house.trust, &house.found, now, &mut house.rng);
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
            let look = "look there at: journalctl -u convocate-certificate";
            return Err(format!("it was sent a certificate and has not taken it; {look}"));
        }
        thread::park_timeout(PROVISION_PROOF_PAUSE);
    }
    let path = house.paths.agent_entry(id.as_str()).log_certificate();
    disk::write_atomic(&path, certificate.as_bytes(), PUBLIC_FILE.1)
        .map_err(|error| error.to_string())?;
    Ok((days_left(renewed.validity(), now), true))
}
