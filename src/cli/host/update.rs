//! `convocate-host update`: newer agents on many hosts at once. On each host, the same command runs
//! with `--request`.

use std::io::Read;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::agent;
use crate::agent::claude_settings::ClaudeLogin;
use crate::base::hex;
use crate::base::rng::Rng;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::flags::{
    CLAUDE, CLAUDE_FROM, CLAUDE_TOKEN, CLAUDE_VERSION, USER, claude_choice, docker_socket,
};
use crate::cli::host::output::{Detail, HostOutput};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::{CHECK, JSON, REQUEST, ROOT, root_paths};
use crate::cli::steps::{RunOptions, take};
use crate::cli::table::{Column, Table};
use crate::cli::this_host::{agent_facts, needs_root};
use crate::cli::turn::turn;
use crate::exit::Exit;
use crate::fleet::registry::KnownAgent;
use crate::fleet::run::load;
use crate::io::disk::{self, Links};
use crate::io::entropy;
use crate::limits::{PROVISION_FILE_BYTES_MAX, PROVISION_HOSTS_MAX};
use crate::paths::Paths;
use crate::provision::openssh::Target;
use crate::provision::plan::agent_host::{claude_login, claude_release};
use crate::provision::plan::update::{PROGRAM, back, replace, stamp};
use crate::provision::remote::claude::read_login;
use crate::provision::run::receive_claude;
use crate::provision::workflow::update::{Update, UpdateRequest, UpdateWork, UpdatedHost};

const HOSTS: Flag = Flag {
    name: "host",
    value: Some("H[,H]"),
    summary: "the hosts, as ssh knows them; those of all agents if not given",
    choices: &[],
};
const IMAGE: Flag = Flag {
    name: "image",
    value: Some("NAME"),
    summary: "the session image here; that of this version if not given",
    choices: &[],
};
const NO_IMAGE: Flag = Flag {
    name: "no-image",
    value: None,
    summary: "leave the session images as they are",
    choices: &[],
};

pub(crate) const UPDATE: Command = Command {
    name: "update",
    summary: "bring the agents of hosts to this version, with their image",
    operands: &[],
    flags: &[
        HOSTS,
        USER,
        CHECK,
        JSON,
        IMAGE,
        NO_IMAGE,
        CLAUDE,
        CLAUDE_VERSION,
        CLAUDE_FROM,
        CLAUDE_TOKEN,
        ROOT,
        REQUEST,
    ],
    help: "\
To be run on the shell host, with the new convocate-agent beside this program. All
hosts are worked on at once; one that fails does not stop the others, and is in the
table at the end and in the exit status. On each, in this order:

  1. the session image, without the layers that the host has
  2. the login of --claude-token, and the Claude CLI, as init-agent brings it
  3. the program, replaced in one step; the one before stays beside it as
     convocate-agent.previous; everything else that this version installs
  4. the service is started again and has to answer a ping over tcp/222; if it does
     not, the program before is put back, and the report says so
  5. current-image, which new sessions get, and a ping once more

Sessions run on, and attached terminals come back by themselves. Interrupted anywhere,
the same call goes on. --check says what would be changed. A host whose keys are not
here is judged by its service alone, and the table says so.
",
    run: update,
};

fn update(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    if parsed.has(&REQUEST) {
        return update_here(out);
    }
    let targets = targets(parsed)?;
    let claude_login = parsed.value(&CLAUDE_TOKEN).map(read_login).transpose();
    let update = Update {
        check: parsed.has(&CHECK),
        claude: claude_choice(parsed)?,
        claude_login: claude_login.map_err(Failure::Failed)?,
        image: match (parsed.has(&NO_IMAGE), parsed.value(&IMAGE)) {
            (true, _) => None,
            (false, image) => Some(image.map_or_else(agent::image::tag, str::to_owned)),
        },
        docker_socket: docker_socket(parsed),
        paths: root_paths(parsed)?,
    };
    let is_json = parsed.has(&JSON);
    let mut output = HostOutput::new(out, is_json, Detail::Changes);
    let hosts = update.carry_out(&targets, &mut |host, event| output.tell(host, event))?;
    show(&hosts, is_json, out)?;
    let is_good = hosts.iter().all(|host| host.result.is_good());
    Ok(if is_good { Exit::Done } else { Exit::Failed })
}

/// The hosts that are meant, each once.
fn targets(parsed: &Parsed) -> Result<Vec<Target>, Failure> {
    let hosts = match parsed.value(&HOSTS) {
        Some(hosts) => hosts.split(',').map(str::to_owned).collect(),
        None => known_hosts(&root_paths(parsed)?)?,
    };
    let mut targets: Vec<Target> = Vec::new();
    for host in hosts {
        let target = Target::new(&host, parsed.value(&USER)).map_err(Failure::Usage)?;
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    if targets.len() > PROVISION_HOSTS_MAX {
        let text = format!("--host: more than {PROVISION_HOSTS_MAX} hosts");
        return Err(Failure::Usage(text));
    }
    Ok(targets)
}

/// Where all agents are.
fn known_hosts(paths: &Paths) -> Result<Vec<String>, Failure> {
    let registry = load(paths).map_err(Failure::Failed)?;
    if let Some(problem) = registry.problems.first() {
        return Err(Failure::Failed(problem.to_string()));
    }
    match registry.agents.iter().map(KnownAgent::host).collect::<Vec<_>>() {
        none if none.is_empty() => {
            Err(Failure::Usage("no agent is known here; which hosts? give --host".to_owned()))
        }
        hosts => Ok(hosts),
    }
}

fn show(hosts: &[UpdatedHost], is_json: bool, out: &mut Out<'_>) -> Result<(), Failure> {
    let column = |title, goes| Column { title, goes };
    let columns = [column("HOST", 0), column("RESULT", 0), column("VERSION", 2)];
    let columns = [&columns[..], &[column("SECONDS", 3), column("NOTE", 1)]].concat();
    let mut table = Table::new(&columns, 4);
    for UpdatedHost { host, result, version, note, seconds } in hosts {
        if is_json {
            out.json(&json!({
                "line": "summary", "host": host, "result": result.text(), "ok": result.is_good(),
                "version": version, "note": note, "seconds": seconds,
            }))?;
        }
        let (result, seconds) = (result.text().to_owned(), seconds.to_string());
        table.push([host.clone(), result, version.clone(), seconds, note.clone()]);
    }
    if !is_json {
        out.text(&table.render(out.width()))?;
    }
    out.flush()
}

fn update_here(out: &mut Out<'_>) -> Result<Exit, Failure> {
    needs_root()?;
    let request: UpdateRequest = read_request()?;
    let paths = Paths::default();
    let rng = &mut Rng::from_seed(entropy::seed());
    let mut steps = match &request.work {
        UpdateWork::Replace { bytes, sha256 } => {
            let mut facts = agent_facts(&paths, None)?;
            facts.program = read_program(*bytes, sha256)?;
            replace(&facts, read(&paths.program(PROGRAM))?, rng)
        }
        UpdateWork::Back => match read(&paths.program_before(PROGRAM))? {
            Some(before) => back(&paths, &before),
            None => return Err(Failure::Failed("no program from before is kept".to_owned())),
        },
        UpdateWork::Stamp(image) => stamp(&paths, image),
    };
    if let Some(login) = &request.claude_login {
        let login = ClaudeLogin::parse(login.0.as_bytes());
        let login = login.map_err(|why| Failure::Usage(format!("--request: the login {why}")))?;
        steps.push(claude_login(&paths, login.kind(), &login.to_bytes()));
    }
    if let Some(release) = &request.claude_release {
        let more = claude_release(&paths, (&release.version, &release.sha256), &release.url);
        steps.extend(more.map_err(|why| Failure::Usage(format!("--request: {why}")))?);
    }
    if let Some(id) = read(&paths.agent_id())? {
        let id = String::from_utf8_lossy(&id);
        let mut claude = None;
        if let UpdateWork::Replace { .. } = request.work {
            claude = receive_claude::installed(&paths);
        }
        if let Some(claude) = claude.as_mut().filter(|_| request.check) {
            claude.version = receive_claude::version(&paths);
        }
        out.json(&json!({ "agent": id.trim(), "claude": claude }))?;
    }
    let options = RunOptions::of_request(request.check);
    let _turn = turn(&paths, options.mode, out)?;
    take(steps, &options, out)?;
    Ok(Exit::Done)
}

/// The program that follows the request.
fn read_program(bytes: u64, sha256: &str) -> Result<Vec<u8>, Failure> {
    let limit = u64::try_from(PROVISION_FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut program = Vec::new();
    let input = std::io::stdin().lock();
    let read = input.take(bytes.min(limit)).read_to_end(&mut program);
    if read.is_err() || hex::text(&Sha256::digest(&program)) != sha256 {
        let text = "the program that arrived is not the one that was sent";
        return Err(Failure::Failed(text.to_owned()));
    }
    Ok(program)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match disk::read_bounded(path, PROVISION_FILE_BYTES_MAX, Links::Follow) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(Failure::Failed(error.to_string())),
    }
}
