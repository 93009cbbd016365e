//! `convocate show`: every field of a session, as its agent has it now.

use serde_json::Value;

use crate::base::text::{age, printable};
use crate::base::time::Wall;
use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSION, SESSION_HELP};
use crate::cli::convocate::sessions::{
    call_on_session, end_in_words, parse_session, published_port, session_json,
};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::fleet::listing::SessionState;
use crate::fleet::select::{Care, Selected};
use crate::io::clock::Clock;
use crate::rpc::attention::Attention;
use crate::rpc::call::{Call, Id};
use crate::rpc::network::Publish;
use crate::rpc::session::Session;
use crate::rpc::startup::{Branch, ProfileName, Prompt, RepoUrl, SetupCommand};
use crate::rpc::values::size;

pub(crate) const SHOW: Command = Command {
    name: "show",
    summary: "show every field of a session",
    operands: &[SESSION],
    flags: &[AGENT, JSON, ROOT],
    help: SESSION_HELP,
    run: show,
};

fn show(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let (found, result) = call_on_session(parsed, out, Care::Usual, |id| Call::Get(Id { id }))?;
    let allow = result["allow"].clone();
    let selected = Selected { session: parse_session(result)?, ..found };
    if parsed.has(&JSON) {
        let mut value = session_json(&selected);
        if !allow.is_null() {
            value["allow"] = allow;
        }
        out.json(&value)?;
    } else {
        out.text(&session_fields(&selected, &allow, Clock::new().wall()))?;
    }
    Ok(Exit::Done)
}

/// A session's fields, one a line.
fn session_fields(selected: &Selected, allow: &Value, now: Wall) -> String {
    let session = &selected.session;
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let mut fields = vec![
        ("name", session.name.clone()),
        ("id", session.uuid.to_string()),
        ("agent", format!("{} ({})", selected.host, selected.agent)),
        ("state", state_in_words(session)),
        ("created", moment(session.created_at, now)),
        ("last access", moment(session.last_accessed, now)),
    ];
    fields.extend(session.started_at.map(|at| ("started", moment(at, now))));
    fields.extend(session.attention.as_ref().map(|it| ("attention", wants_in_words(it, now))));
    fields.extend(session.repository.as_ref().map(|seen| {
        let text = format!("{}, seen {}", seen.in_words(), moment(seen.seen_at, now));
        ("repository", printable(&text).into_owned())
    }));
    fields.extend([
        ("port", or_none(&published_port(session))),
        ("published on", published_on(session)),
        ("egress", session.egress.as_str().to_owned()),
        ("allow", rules_in_words(allow)),
        ("dns name", or_none(&session.dns_name)),
        (
            "ssh key",
            session.ssh_key.as_ref().map_or_else(String::new, |it| printable(&it.0).into_owned()),
        ),
        ("command", session.command.clone()),
    ]);
    fields.extend(startup_fields(session));
    fields.extend([
        ("image", session.image.clone()),
        ("memory", size(session.memory)),
        ("cpus", positive(session.cpus, f64::to_string)),
        ("pids", positive(f64::from(session.pids), f64::to_string)),
        (
            "docker",
            if session.docker { "yes: root on the host".to_owned() } else { "no".to_owned() },
        ),
    ]);
    let login = if session.claude_login { "its host's, if that has one" } else { "none" };
    fields.push(("claude login", login.to_owned()));
    fields
        .extend(session.ended.as_ref().map(|ended| ("ended", end_in_words(selected, ended, now))));
    fields.extend(session.broken.clone().map(|why| ("broken", why.0)));
    fields.extend(session.stale.clone().map(|why| ("stale", why.0)));
    let lines = fields.iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(name, value)| format!("{name:14}{value}\n")).collect()
}

/// Which names it reaches. They are no part of what is kept of every session.
fn rules_in_words(allow: &Value) -> String {
    let rules = allow.as_array().map(Vec::as_slice).unwrap_or_default();
    let rules: Vec<&str> = rules.iter().filter_map(Value::as_str).collect();
    printable(&rules.join(" ")).into_owned()
}

/// What it starts with. A prompt of several lines is shown as one.
fn startup_fields(session: &Session) -> Vec<(&'static str, String)> {
    let Some(startup) = session.startup.as_deref() else { return Vec::new() };
    let text = |text: Option<&str>| printable(text.unwrap_or_default()).into_owned();
    let env =
        startup.env.iter().map(|(name, value)| ("env", format!("{name}={}", printable(value))));
    let fields = [
        ("profile", text(startup.profile.as_ref().map(ProfileName::as_str))),
        ("repo", text(startup.repo.as_ref().map(RepoUrl::as_str))),
        ("branch", text(startup.branch.as_ref().map(Branch::as_str))),
        ("setup", text(startup.setup.as_ref().map(SetupCommand::as_str))),
        ("prompt", text(startup.prompt.as_ref().map(Prompt::as_str))),
    ];
    fields.into_iter().chain(env).collect()
}

fn published_on(session: &Session) -> String {
    match session.publish.as_deref().copied().unwrap_or_default() {
        _ if session.port == 0 => String::new(),
        Publish::Default => "127.0.0.1 and the agent's own address".to_owned(),
        Publish::All => "every address of its host".to_owned(),
        Publish::Address(address) => address.to_string(),
    }
}

fn state_in_words(session: &Session) -> String {
    let sign = SessionState::of(session).sign();
    let text = match sign {
        '-' => "stopped".to_owned(),
        'L' => "locked: an operation was in flight when the agent died; see override".to_owned(),
        'R' => "running, nobody attached".to_owned(),
        'C' => match session.attached_count {
            0 | 1 => "running, one terminal attached".to_owned(),
            count => format!("running, {count} terminals attached"),
        },
        _ => "unknown".to_owned(),
    };
    format!("{sign} {text}")
}

/// `waiting: permission prompt, since … (5m ago), by its status file`
fn wants_in_words(attention: &Attention, now: Wall) -> String {
    let by = match attention.source.as_str() {
        "" => String::new(),
        source => format!(", by its {source}"),
    };
    let since = moment(attention.since, now);
    printable(&format!("{}, since {since}{by}", attention.in_words())).into_owned()
}

fn moment(at: Wall, now: Wall) -> String {
    format!("{} ({} ago)", Wall::new(at.seconds(), 0), age(now.since(at)))
}

fn positive(number: f64, shown: fn(&f64) -> String) -> String {
    if number > 0.0 { shown(&number) } else { String::new() }
}
