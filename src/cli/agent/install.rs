//! `convocate-agent install` and `prune-images`: what a host needs, as steps.

use serde_json::json;

use crate::agent;
use crate::agent::claude_settings::ClaudeLogin;
use crate::base::rng::Rng;
use crate::cli::command::{Command, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{BASE, CHECK, JSON, NO_IMAGE, REQUEST, ROOT};
use crate::cli::steps::{Format, RunOptions, take};
use crate::cli::this_host::{agent_facts, installed_paths, public_key, read_config, session_image};
use crate::cli::turn::turn;
use crate::exit::Exit;
use crate::io::{entropy, machine};
use crate::limits::{CONFIG_LINE_BYTES_MAX, X509_PEM_BYTES_MAX};
use crate::paths::Paths;
use crate::provision::engine::StepMode;
use crate::provision::enrol::messages::{AgentMade, AgentWanted};
use crate::provision::plan::agent_host::{claude_login, claude_release, plan, preparation};
use crate::provision::run::{found, receive_claude};
use crate::rpc::agent_id::AgentId;
use crate::ssh::keys;
use crate::x509::{CertificateRequest, CommonName, KeyPair};

pub(crate) const INSTALL: Command = Command {
    name: "install",
    summary: "make this machine an agent host, or repair one",
    operands: &[],
    flags: &[CHECK, JSON, BASE, NO_IMAGE, ROOT, REQUEST],
    help: "\
Creates what is missing and repairs what differs: the user claude, the agent's id and
keys, its directories, the program in /usr/local/bin, the session image, the slice that
limits all sessions, their network with the rules that keep them from this host and from
private addresses, the daily removal of old images, and the service. What is right
stays as it is, so you can run it again at any time; it never changes the identity of a
host. Needs root, systemd and Docker.

The image is built from the sources in this program, or from those in
/etc/convocate/image if that directory exists.

With --root it creates only the directories, the id and the keys, below DIR and for the
user who runs it: to try convocate out, without root.
",
    run: install,
};

fn install(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = installed_paths(parsed)?;
    if parsed.has(&REQUEST) {
        return install_by_request(&paths, out);
    }
    let run_options = RunOptions::new(parsed.has(&CHECK), parsed.has(&JSON));
    let _turn = turn(&paths, run_options.mode, out)?;
    let image = match (paths.is_system(), parsed.has(&NO_IMAGE)) {
        (true, false) => Some(session_image(&paths, parsed.value(&BASE))?),
        _ => None,
    };
    let facts = agent_facts(&paths, image)?;
    take(plan(&facts, &mut Rng::from_seed(entropy::seed())), &run_options, out)?;
    if run_options.mode == StepMode::Apply {
        print_identity(&paths, run_options.format, out)?;
    }
    Ok(Exit::Done)
}

/// Prints who this agent is.
fn print_identity(paths: &Paths, format: Format, out: &mut Out<'_>) -> Result<(), Failure> {
    let id = String::from_utf8_lossy(&read_config(&paths.agent_id())?).trim().to_owned();
    let host_key = public_key(&paths.agent_host_key(), "agent host key")?;
    let shell_key = public_key(&paths.agent_shell_key(), "agent to shell")?;
    if format == Format::Json {
        return out.json(&json!({
            "line": "agent",
            "id": id,
            "host_key": host_key,
            "agent_to_shell_key": shell_key,
        }));
    }
    out.text(&format!(
        "\nagent id            {id}\n\
         host key            {host_key}\n\
         agent to shell key  {shell_key}"
    ))
}

/// `install --request`: everything that the agent host can do alone, but the start.
pub(crate) fn install_by_request(paths: &Paths, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let wanted: AgentWanted = read_request()?;
    let options = RunOptions::of_request(wanted.check);
    let _turn = turn(paths, options.mode, out)?;
    let mut rng = Rng::from_seed(entropy::seed());
    let mut steps = preparation(&agent_facts(paths, None)?, &mut rng);
    if let Some(login) = &wanted.claude_login {
        let login = ClaudeLogin::parse(login.0.as_bytes());
        let login = login.map_err(|why| Failure::Usage(format!("--request: the login {why}")))?;
        steps.push(claude_login(paths, login.kind(), &login.to_bytes()));
    }
    if let Some(release) = &wanted.claude_release {
        let more = claude_release(paths, (&release.version, &release.sha256), &release.url);
        steps.extend(more.map_err(|why| Failure::Usage(format!("--request: {why}")))?);
    }
    take(steps, &options, out)?;
    out.json(&json!(agent_made(paths, wanted.check, &mut rng)?))?;
    Ok(Exit::Done)
}

/// Who this agent is. With `check` on a fresh host, made up.
fn agent_made(paths: &Paths, check: bool, rng: &mut Rng) -> Result<AgentMade, Failure> {
    let read = |path: &std::path::Path, limit| found::text(path, limit).map_err(Failure::Failed);
    let tls = paths.agent_tls();
    let id = match read(&paths.agent_id(), CONFIG_LINE_BYTES_MAX)? {
        Some(text) => AgentId::parse(text.trim()),
        None => Ok(AgentId::random(rng)),
    };
    let id = id.map_err(|error| Failure::Failed(error.to_string()))?;
    let mut public = |path: &std::path::Path, comment| match public_key(path, comment) {
        Err(_) if check => Ok(keys::KeyPair::from_seed(rng.bytes()).public().to_line(comment)),
        line => line,
    };
    let host_key = public(&paths.agent_host_key(), "agent host key")?;
    let agent_to_shell_key = public(&paths.agent_shell_key(), "agent to shell")?;
    let key = match read(&tls.key(), X509_PEM_BYTES_MAX)? {
        Some(text) => KeyPair::parse_pem(&text),
        None => Ok(KeyPair::generate(rng)),
    };
    let key = key
        .map_err(|error| Failure::Failed(format!("{} is invalid: {error}", tls.key().display())))?;
    let name = CommonName::parse(id.as_str()).expect("an id is a common name");
    let certificate = read(&tls.certificate(), X509_PEM_BYTES_MAX)?;
    Ok(AgentMade {
        id: id.to_string(),
        host_name: machine::host_name(),
        host_key,
        agent_to_shell_key,
        certificate_request: CertificateRequest::new(&name, &key).to_pem(),
        certificate: certificate.map(|text| text.to_string()),
        image: found::image_layers(&agent::image::tag()),
        claude: receive_claude::installed(paths),
    })
}
