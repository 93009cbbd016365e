//! A prepared host becomes an agent of a shell host.
//!
//! ```text
//! agent: who it is -> certificate, here -> shell host: know it -> image -> agent: belong -> proof
//! ```
//!
//! Each part looks before it changes anything, so the same call again goes on wherever one was cut
//! short. Keys are made where they are used: between the hosts go public halves, the certificate,
//! and the secret of the agent's logs, on standard input and output.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::{WorkflowError, block_signals};
use crate::agent;
use crate::base::address::Address;
use crate::base::rng::Rng;
use crate::io::clock::Clock;
use crate::io::disk::{self, Links, SecretPolicy, read_secret};
use crate::io::{entropy, machine};
use crate::limits::{AGENT_PORT, X509_PEM_BYTES_MAX};
use crate::paths::{DOCKER_SOCKET, Paths};
use crate::provision::enrol::messages::{
    AgentKnown, AgentMade, AgentWanted, Done, EnrolAgent, EnrolHere, ProveAgent, SecretText,
};
use crate::provision::logs::authority::{LogClient, load};
use crate::provision::openssh::Target;
use crate::provision::remote::claude::{ClaudeChoice, bring_claude};
use crate::provision::remote::event::Tell;
use crate::provision::remote::interrupts::Interrupts;
use crate::provision::remote::programs::Programs;
use crate::provision::remote::session::HostSession;
use crate::provision::remote::ship::{SENDER, Source};
use crate::provision::remote::{HostError, RemoteError};
use crate::provision::report::StepLine;
use crate::x509::rotation::Trust;
use crate::x509::{Authority, Certificate};

/// What the operator asks for.
pub(crate) struct InitAgent {
    /// The agent's host; this machine if none.
    pub(crate) agent: Option<Target>,
    pub(crate) shell: ShellHost,
    /// Where the shell host dials the agent, if that is given.
    pub(crate) address: Option<String>,
    pub(crate) programs: Programs,
    /// The Claude CLI of its sessions.
    pub(crate) claude: ClaudeChoice,
    /// What they log in with, if that is brought now.
    pub(crate) claude_login: Option<SecretText>,
    pub(crate) check: bool,
}

/// The shell host, and where its authority for logs is.
pub(crate) enum ShellHost {
    /// This machine; the name by which agents dial it, if that is given.
    Here(Option<String>),
    /// Another host, whose authority is copied to these files.
    There { target: Target, certificate: PathBuf, key: PathBuf },
}

/// Who issues the agent's certificate.
struct Issuer {
    trust: Trust,
    authority: Authority,
}

/// Both hosts.
struct Enrolment<'a, 'b> {
    agent: HostSession<'a>,
    shell: HostSession<'a>,
    claude: (&'b ClaudeChoice, Option<SecretText>),
    interrupts: &'a Interrupts,
    check: bool,
    tell: &'a mut Tell<'b>,
}

impl InitAgent {
    /// Takes the agent in, or reports what that would change.
    pub(crate) fn carry_out(self, tell: &mut Tell<'_>) -> Result<(), WorkflowError> {
        let interrupts = block_signals()?;
        let issuer = self.issuer()?;
        let agent = self.agent_host(&interrupts)?;
        let (shell, shell_address) = self.shell_host(&interrupts)?;
        let check = self.check;
        let claude = (&self.claude, self.claude_login.clone());
        let mut work = Enrolment { agent, shell, claude, interrupts: &interrupts, check, tell };
        work.carry_out(self.address.as_deref(), &issuer, &shell_address)?;
        work.agent.finish(work.tell);
        work.shell.finish(work.tell);
        Ok(())
    }

    fn agent_host<'a>(&self, interrupts: &'a Interrupts) -> Result<HostSession<'a>, WorkflowError> {
        let program = "convocate-agent";
        let Some(target) = self.agent.clone() else {
            let path = self.programs.path(program).map_err(WorkflowError::Failed)?;
            return Ok(HostSession::here(path, interrupts));
        };
        Ok(HostSession::connect(target.with_room(), program, &self.programs, interrupts)?)
    }

    /// The shell host, and where agents dial it.
    fn shell_host<'a>(
        &self,
        interrupts: &'a Interrupts,
    ) -> Result<(HostSession<'a>, String), WorkflowError> {
        match &self.shell {
            ShellHost::Here(name) => {
                let program = Paths::default().program("convocate");
                if !program.is_file() {
                    let text = "this machine is no shell host yet; make it one with: sudo \
                                convocate-host init-shell";
                    return Err(WorkflowError::Failed(text.to_owned()));
                }
                let name = name.clone().unwrap_or_else(full_name);
                Ok((HostSession::here(program, interrupts), name))
            }
            ShellHost::There { target, .. } => {
                let session = HostSession::installed(target.clone(), "convocate", interrupts)?;
                let name = session.dialled_name()?.expect("it is another host");
                Ok((session, name))
            }
        }
    }

    /// Reads who issues: in its place on the shell host, or where the operator says.
    fn issuer(&self) -> Result<Issuer, WorkflowError> {
        let files = Paths::default().log_authority();
        let (certificate, key) = match &self.shell {
            ShellHost::There { certificate, key, .. } => (certificate.clone(), key.clone()),
            ShellHost::Here(_) => (files.authorities(), files.key()),
        };
        let text = disk::read_bounded(&certificate, X509_PEM_BYTES_MAX, Links::Follow);
        let text = text.map_err(|error| {
            WorkflowError::Failed(format!(
                "{error}; run this on the shell host (convocate-host init-shell makes one), or \
                 give --ca-cert, --ca-key and --shell-host"
            ))
        })?;
        let trust = Trust::parse_pem(&String::from_utf8_lossy(&text));
        let trust = trust.map_err(|error| file_failed(&certificate, &error))?;
        // Read before anything is changed, though it may not be needed.
        let secret = read_secret(&key, X509_PEM_BYTES_MAX, SecretPolicy::OwnerOnly);
        let secret = secret.map_err(|error| WorkflowError::Failed(error.to_string()))?;
        let authority = load(&trust, &String::from_utf8_lossy(&secret));
        let authority = authority.map_err(|error| file_failed(&key, &error))?;
        Ok(Issuer { trust, authority })
    }
}

fn file_failed(path: &Path, error: &dyn std::fmt::Display) -> WorkflowError {
    WorkflowError::Failed(format!("{}: {error}", path.display()))
}

fn full_name() -> String {
    let full = std::process::Command::new("hostname").arg("--fqdn").output();
    let full = full.ok().filter(|output| output.status.success());
    let full = full.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    full.filter(|name| !name.is_empty() && name != "localhost").unwrap_or_else(machine::host_name)
}

impl Enrolment<'_, '_> {
    fn carry_out(
        &mut self,
        address: Option<&str>,
        issuer: &Issuer,
        shell_address: &str,
    ) -> Result<(), WorkflowError> {
        let check = self.check;
        let machine = self.agent.probe().map_or(std::env::consts::ARCH, |probe| &probe.machine);
        let claude_release = self.claude.0.release(machine).map_err(WorkflowError::Failed)?;
        let claude_login = self.claude.1.take();
        let wanted = AgentWanted { check, claude_login, claude_release };
        let made: AgentMade = self.agent.carry_out("install --request", &wanted, self.tell)?;
        let there = made.claude.as_ref();
        let brought = bring_claude(&mut self.agent, self.claude.0, there, check, self.tell);
        if let Err(error) = brought {
            self.agent.finish(self.tell);
            return Err(error.into());
        }
        let certificate = issuer.certificate(&made)?.to_pem();
        let wanted = EnrolAgent {
            check,
            id: made.id.clone(),
            host: self.address(address, &made)?,
            host_key: made.host_key,
            agent_to_shell_key: made.agent_to_shell_key,
            certificate: certificate.clone(),
        };
        let known: AgentKnown = self.shell.carry_out("enrol --request", &wanted, self.tell)?;
        let image = agent::image::tag();
        if made.image != known.image || known.image.is_none() {
            self.bring_image(&image, known.image.is_some())?;
        }
        if self.interrupts.has_come() {
            return Err(RemoteError::Interrupted.on(&self.agent.name).into());
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
        let Done {} = self.agent.carry_out_last("enrol --request", &wanted, self.tell)?;
        let wanted = ProveAgent { check, id: made.id, certificate, mark };
        let Done {} = self.shell.carry_out_last("prove --request", &wanted, self.tell)?;
        Ok(())
    }

    /// Where the shell host dials the agent.
    fn address(&self, given: Option<&str>, made: &AgentMade) -> Result<String, WorkflowError> {
        let text = match given {
            Some(text) => text.to_owned(),
            None => self.agent.dialled_name()?.unwrap_or_else(|| made.host_name.clone()),
        };
        match Address::parse_or_port(&text, AGENT_PORT) {
            Ok(_) => Ok(text),
            Err(error) => Err(WorkflowError::Usage(format!("--address: {error}"))),
        }
    }

    /// Brings the session image to the agent, as a step. A check goes on where that fails.
    fn bring_image(&mut self, image: &str, shell_has_it: bool) -> Result<(), HostError> {
        let name = format!("session image {image} from {}", self.shell.name);
        let begun = Instant::now();
        self.agent.begin_step(&name, self.tell)?;
        let brought = self.send_image(image, shell_has_it);
        let line = match &brought {
            Ok(what) => {
                let mut line = StepLine::shown(&name, None, "", begun.elapsed());
                line.has_changed(what, self.check);
                line
            }
            Err((why, advice)) => StepLine::shown(&name, Some(why), advice, begun.elapsed()),
        };
        self.agent.end_step(line, self.tell)?;
        if brought.is_ok() || self.check {
            return Ok(());
        }
        self.agent.finish(self.tell);
        Err(RemoteError::StepsFailed.on(&self.agent.name))
    }

    /// What was done or would be, or why it cannot be and what to do.
    fn send_image(
        &self,
        image: &str,
        shell_has_it: bool,
    ) -> Result<String, (String, &'static str)> {
        if !shell_has_it {
            let text = format!("{} does not have it", self.shell.name);
            return Err((text, "build it: convocate-host init-shell"));
        }
        if self.check {
            return Ok(format!("bring {image}"));
        }
        let source = match self.shell.connection() {
            Some(_) => Source::There(self.shell.words(SENDER)),
            None => Source::Here(DOCKER_SOCKET.into()),
        };
        match self.agent.ship(&source, image, &mut |_| true) {
            Ok(shipped) => Ok(format!("bring {image}: {}", shipped.text())),
            Err(error) => Err((error.to_string(), "run it again: it is sent anew")),
        }
    }
}

impl Issuer {
    /// The agent's certificate: the one that it has, or a new one.
    fn certificate(&self, made: &AgentMade) -> Result<Certificate, WorkflowError> {
        let failed = |error: &dyn std::fmt::Display| WorkflowError::Failed(error.to_string());
        let client =
            LogClient::parse(&made.id, &made.certificate_request).map_err(|it| failed(&it))?;
        let now = Clock::new().wall();
        let kept = made.certificate.as_deref();
        if let Some(certificate) = kept.and_then(|pem| client.kept(pem, &self.trust, now)) {
            return Ok(certificate);
        }
        let mut rng = Rng::from_seed(entropy::seed());
        client.issued(&self.authority, now, &mut rng).map_err(|it| failed(&it))
    }
}
