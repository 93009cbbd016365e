//! `convocate-host init-agent`: a prepared host becomes an agent of a shell host.
//!
//! ```text
//! agent: who it is -> certificate, here -> shell host: know it -> image -> agent: belong -> proof
//! ```
//!
//! Each part looks before it changes anything, so the same call again goes on wherever one was cut
//! short. Keys are made where they are used: between the hosts go public halves, the certificate,
//! and the secret of the agent's logs, on standard input and output.

use std::path::Path;
use std::time::Instant;

use crate::agent;
use crate::base::address::Address;
use crate::base::rng::Rng;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::remote::{BIN, HOST, Report, USER, Worker, failure, talker};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{CHECK, JSON};
use crate::cli::this_host::{host_name, needs_root};
use crate::exit::Exit;
use crate::io::clock::Clock;
use crate::io::disk::{self, Links, SecretPolicy, read_secret};
use crate::io::entropy;
use crate::limits::{AGENT_PORT, X509_PEM_BYTES_MAX};
use crate::paths::{DOCKER_SOCKET, Paths};
use crate::provision::enrol::messages::{
    AgentKnown, AgentMade, AgentWanted, Done, EnrolAgent, EnrolHere, ProveAgent,
};
use crate::provision::logs::authority::{Client, load};
use crate::provision::openssh::{Target, Then};
use crate::provision::remote::ship::{RECEIVER, SENDER, Source, ship};
use crate::provision::remote::talk::Talker;
use crate::provision::report::StepLine;
use crate::x509::Certificate;
use crate::x509::rotation::Trust;

const SHELL_HOST: Flag = Flag {
    name: "shell-host",
    value: Some("H"),
    summary: "where the agent tells events and sends logs; this machine if not given",
    choices: &[],
};
const ADDRESS: Flag = Flag {
    name: "address",
    value: Some("A"),
    summary: "where the shell host dials the agent, if it is not what --host stands for",
    choices: &[],
};
const CA_CERT: Flag = Flag {
    name: "ca-cert",
    value: Some("PATH"),
    summary: "a copy of the shell host's rsyslog-ca/ca.crt, to work from elsewhere",
    choices: &[],
};
const CA_KEY: Flag = Flag {
    name: "ca-key",
    value: Some("PATH"),
    summary: "a copy of the shell host's rsyslog-ca/ca.key, to work from elsewhere",
    choices: &[],
};

/// `init-agent`.
pub(crate) const INIT_AGENT: Command = Command {
    name: "init-agent",
    summary: "make a prepared host an agent of a shell host, or mend one",
    operands: &[],
    flags: &[HOST, USER, SHELL_HOST, ADDRESS, CA_CERT, CA_KEY, CHECK, JSON, BIN],
    help: "\
Run it once for each host that is to have sessions, on the shell host as root; run it
again at any time to mend what is not as it should be, or after it was cut short. The
agent keeps its id and its keys. The host was prepared with: convocate-host install.

What it does:

  1. brings convocate-agent there, verified by its hash, and has it make what is the
     host's own: user, directories, id, keys, unit, slice, daily removal of old images
  2. issues the certificate with which the agent sends its logs
  3. on the shell host: makes the key that drives the agent, writes all that is known
     of it to /etc/convocate/agent-keys/ID, and lets it tell events and send logs
  4. brings the session image, without the layers that the agent's Docker has
  5. on the agent: lets the shell host drive it and nobody else, pins the shell host's
     key, forwards logs over TLS, allows 222/tcp, and starts convocate-agent.service
  6. proves it: a call on tcp/222 from the shell host, its events on tcp/223, and a
     line of its log through tcp/514. What is not proven has failed.

Without --host this machine becomes the agent: a shell host can be one itself.

From another machine than the shell host: give copies of its authority with --ca-cert
and --ca-key, and its name with --shell-host. It is then reached by your own ssh, too,
and must know its convocate already. Agents dial what ~/.ssh/config says that the name
of --shell-host stands for.
",
    run: init_agent,
};

/// Both hosts, and what has been shown of them.
struct Work {
    agent: Worker,
    shell: Worker,
    agent_report: Report,
    shell_report: Report,
    check: bool,
}

struct Issuer {
    trust: Trust,
    key: std::path::PathBuf,
}

fn init_agent(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let issuer = issuer(parsed)?;
    let agent = agent_host(parsed)?;
    let (shell, shell_address) = shell_host(parsed)?;
    let is_json = parsed.has(&JSON);
    let mut work = Work {
        agent_report: Report::new(&agent.name, is_json),
        shell_report: Report::new(&shell.name, is_json),
        agent,
        shell,
        check: parsed.has(&CHECK),
    };
    let mut talker = talker()?;
    let done = work.carry_out(parsed, &issuer, &shell_address, &mut talker, out);
    if done.is_ok() {
        work.agent_report.finish(out)?;
        work.shell_report.finish(out)?;
    }
    done.map(|()| Exit::Done)
}

impl Work {
    fn carry_out(
        &mut self,
        parsed: &Parsed,
        issuer: &Issuer,
        shell_address: &str,
        talker: &mut Talker,
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        let check = self.check;
        let Work { agent, shell, agent_report, shell_report, .. } = self;
        let command = ("install --request", Then::KeepForMore);
        let made: AgentMade =
            agent.run(talker, command, &AgentWanted { check }, agent_report, out)?;
        let certificate = certificate(&made, issuer)?.to_pem();
        let wanted = EnrolAgent {
            check,
            id: made.id.clone(),
            host: address(parsed, agent, &made)?,
            host_key: made.host_key,
            agent_to_shell_key: made.agent_to_shell_key,
            certificate: certificate.clone(),
        };
        let command = ("enrol --request", Then::Remove);
        let known: AgentKnown = shell.run(talker, command, &wanted, shell_report, out)?;
        let image = agent::image::tag();
        if made.image != known.image || known.image.is_none() {
            let has_it = known.image.is_some();
            bring_image(Bringing { agent, shell, talker, check, has_it }, agent_report, out)?;
        }
        if talker.is_told_to_end() {
            return Err(Failure::Failed(format!("{}: interrupted; call again", agent.name)));
        }
        let number = u64::from_le_bytes(Rng::from_seed(entropy::seed()).bytes());
        let mark = format!("init-agent proves that this line arrives: {number:016x}");
        let wanted = EnrolHere {
            check,
            shell_host: shell_address.to_owned(),
            layers: known.image.clone(),
            known,
            certificate: certificate.clone(),
            image,
            mark: mark.clone(),
        };
        let Done {} = agent.run(talker, command, &wanted, agent_report, out)?;
        let wanted = ProveAgent { check, id: made.id, certificate, mark };
        let command = ("prove --request", Then::Remove);
        let Done {} = shell.run(talker, command, &wanted, shell_report, out)?;
        Ok(())
    }
}

// --- the hosts ---

fn agent_host(parsed: &Parsed) -> Result<Worker, Failure> {
    let bin = parsed.value(&BIN);
    match parsed.value(&HOST) {
        Some(host) => {
            let target = Target::new(host, parsed.value(&USER)).map_err(Failure::Usage)?;
            Ok(Worker::reach(target, "convocate-agent", bin)?.0)
        }
        None if parsed.has(&USER) => {
            Err(Failure::Usage("--user is for another host: give --host too".to_owned()))
        }
        None => {
            needs_root("convocate-host init-agent")?;
            Worker::here("convocate-agent", bin)
        }
    }
}

/// The shell host, and where agents dial it.
fn shell_host(parsed: &Parsed) -> Result<(Worker, String), Failure> {
    let given = parsed.value(&SHELL_HOST);
    if !parsed.has(&CA_CERT) {
        let worker = Worker::at(&Paths::default().program("convocate"))?;
        return Ok((worker, given.map_or_else(full_name, str::to_owned)));
    }
    let host = given.expect("it was looked for with --ca-cert");
    let target = Target::new(host, None).map_err(Failure::Usage)?;
    let worker = Worker::installed(target, "convocate")?;
    let name = worker.remote().expect("it is another host").host_name();
    Ok((worker, name.map_err(|error| failure(host, error))?))
}

fn full_name() -> String {
    let full = std::process::Command::new("hostname").arg("--fqdn").output();
    let full = full.ok().filter(|output| output.status.success());
    let full = full.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    full.filter(|name| !name.is_empty() && name != "localhost").unwrap_or_else(host_name)
}

/// Where the shell host dials the agent.
fn address(parsed: &Parsed, agent: &Worker, made: &AgentMade) -> Result<String, Failure> {
    let text = match (parsed.value(&ADDRESS), agent.remote()) {
        (Some(text), _) => text.to_owned(),
        (None, Some(remote)) => remote.host_name().map_err(|error| failure(&agent.name, error))?,
        (None, None) => made.host_name.clone(),
    };
    match Address::parse_or_port(&text, AGENT_PORT) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::Usage(format!("--address: {error}"))),
    }
}

// --- the certificate ---

/// Reads who issues: in its place on the shell host, or where the operator says.
fn issuer(parsed: &Parsed) -> Result<Issuer, Failure> {
    let files = Paths::default().log_authority();
    let (certificate, key) = match (parsed.value(&CA_CERT), parsed.value(&CA_KEY)) {
        (Some(_), Some(_)) if !parsed.has(&SHELL_HOST) => {
            let text = "--ca-cert is for another machine than the shell host: give --shell-host";
            return Err(Failure::Usage(text.to_owned()));
        }
        (Some(certificate), Some(key)) => (certificate.into(), key.into()),
        (None, None) => {
            needs_root("convocate-host init-agent")?;
            (files.authorities(), files.key())
        }
        _ => return Err(Failure::Usage("--ca-cert and --ca-key go together".to_owned())),
    };
    let text = read(&certificate)?;
    let trust = Trust::parse_pem(&text)
        .map_err(|error| Failure::Failed(format!("{}: {error}", certificate.display())))?;
    Ok(Issuer { trust, key })
}

fn read(path: &Path) -> Result<String, Failure> {
    match disk::read_bounded(path, X509_PEM_BYTES_MAX, Links::Follow) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => Err(Failure::Failed(format!(
            "{error}; run this on the shell host (convocate-host init-shell makes one), or give \
             --ca-cert, --ca-key and --shell-host"
        ))),
    }
}

/// The agent's certificate: the one that it has, or a new one.
fn certificate(made: &AgentMade, issuer: &Issuer) -> Result<Certificate, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(error.to_string());
    let client = Client::parse(&made.id, &made.certificate_request).map_err(|it| failed(&it))?;
    let now = Clock::new().wall();
    let kept = made.certificate.as_deref().and_then(|pem| client.kept(pem, &issuer.trust, now));
    if let Some(certificate) = kept {
        return Ok(certificate);
    }
    let key = read_secret(&issuer.key, X509_PEM_BYTES_MAX, SecretPolicy::OwnerOnly);
    let key = key.map_err(|it| failed(&it))?;
    let authority = load(&issuer.trust, &String::from_utf8_lossy(&key));
    let authority =
        authority.map_err(|error| Failure::Failed(format!("{}: {error}", issuer.key.display())))?;
    let mut rng = Rng::from_seed(entropy::seed());
    client.issued(&authority, now, &mut rng).map_err(|it| failed(&it))
}

// --- the image ---

/// What it takes to bring the session image to the agent.
struct Bringing<'a> {
    agent: &'a Worker,
    shell: &'a Worker,
    talker: &'a mut Talker,
    check: bool,
    /// Whether the shell host has it.
    has_it: bool,
}

fn bring_image(
    mut work: Bringing<'_>,
    report: &mut Report,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let image = agent::image::tag();
    let name = format!("session image {image} from {}", work.shell.name);
    let begun = Instant::now();
    report.begin(&name, out)?;
    let brought = work.bring(&image);
    let mut line = match &brought {
        Ok(_) => StepLine::shown(&name, None, "", begun.elapsed()),
        Err((why, remedy)) => StepLine::shown(&name, Some(why), remedy, begun.elapsed()),
    };
    if let Ok(what) = &brought {
        line.has_changed(what, work.check);
    }
    report.end(line, out)?;
    if brought.is_ok() || work.check {
        return Ok(());
    }
    report.finish(out)?;
    let text = "mend that and run it again: what is done stays done";
    Err(Failure::Exit(Exit::Failed, format!("{}: {text}", work.agent.name)))
}

impl Bringing<'_> {
    /// What was done or would be, or why it cannot be and what to do.
    fn bring(&mut self, image: &str) -> Result<String, (String, &'static str)> {
        if !self.has_it {
            let text = format!("{} does not have it", self.shell.name);
            return Err((text, "build it: convocate-host init-shell"));
        }
        if self.check {
            return Ok(format!("bring {image}"));
        }
        let source = match self.shell.remote() {
            Some(_) => Source::There(self.shell.call(SENDER)),
            None => Source::Here(DOCKER_SOCKET.into()),
        };
        let receiver = self.agent.call(RECEIVER);
        let shipped = ship(&source, &receiver, image, &mut |_| !self.talker.is_told_to_end());
        match shipped {
            Ok(shipped) => Ok(format!("bring {image}: {}", shipped.text())),
            Err(error) => Err((error.to_string(), "run it again: it is sent anew")),
        }
    }
}
