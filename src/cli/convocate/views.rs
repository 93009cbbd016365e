//! Sessions and agents as people and scripts see them: tables, fields, JSON.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::text::age;
use crate::base::time::Wall;
use crate::cli::table::{Column, Table};
use crate::fleet::listing::{Listing, Note, Row};
use crate::fleet::registry::{KnownAgent, Problem};
use crate::fleet::select::Selected;
use crate::rpc::session::{Pong, Session};
use crate::rpc::values::size;
use crate::status::snapshot::AgentNews;

const fn column(title: &'static str, goes: u8) -> Column {
    Column { title, goes }
}

/// The sessions as a table, for a terminal of this width; whole ids where there is none.
pub(crate) fn listing_table(listing: &Listing, now: Wall, width: Option<usize>) -> String {
    let columns = [
        column("S", 0),
        column("NAME", 0),
        column("ID", 0),
        column("AGENT", 0),
        column("PORT", 2),
        column("DNS", 3),
        column("ACCESS", 0),
        column("IMAGE", 4),
    ];
    let mut table = Table::new(&columns, 1);
    for row in &listing.rows {
        let session = row.session.as_ref();
        table.push([
            state(row, now),
            session.map_or_else(|| "-".to_owned(), |session| session.name.clone()),
            if width.is_some() { row.id.short() } else { row.id.to_string() },
            row.agent.as_ref().map_or_else(|| "-".to_owned(), |(_, host)| host.clone()),
            session.map_or_else(String::new, port),
            session.map_or_else(String::new, |session| session.dns_name.clone()),
            age(now.since(row.last_accessed)),
            session.map_or_else(String::new, |session| session.image.clone()),
        ]);
    }
    table.render(width)
}

/// The state's character, with the age of the news where they are not fresh.
fn state(row: &Row, now: Wall) -> String {
    match row.last_news {
        Some(then) => format!("{} {}", row.state.sign(), age(now.since(then))),
        None => row.state.sign().to_string(),
    }
}

/// What a listing lacks, one sentence.
pub(crate) fn note_line(note: &Note, now: Wall) -> String {
    let Note { id, host, what, last_news, is_silent } = note;
    match (is_silent, last_news) {
        (false, _) => format!("agent {id} ({host}): {what}"),
        (true, None) => format!("? agent {id} ({host}): {what}"),
        (true, Some(then)) => {
            format!("? agent {id} ({host}): {what}; last news {} ago", age(now.since(*then)))
        }
    }
}

/// The sessions and what is missing, for scripts.
pub(crate) fn listing_json(listing: &Listing, problems: &[Problem]) -> Value {
    let sessions: Vec<_> = listing.rows.iter().map(row_json).collect();
    let silent: Vec<_> = listing.notes.iter().map(note_json).collect();
    let problems: Vec<_> = problems.iter().map(problem_json).collect();
    json!({ "sessions": sessions, "incomplete": silent, "problems": problems })
}

fn row_json(row: &Row) -> Value {
    let mut value = row.session.as_ref().map_or_else(|| json!({}), session_value);
    value["uuid"] = json!(row.id);
    value["state"] = json!(row.state.sign());
    value["agent_id"] = json!(row.agent.as_ref().map(|(id, _)| id.as_str()));
    value["agent_host"] = json!(row.agent.as_ref().map(|(_, host)| host));
    value["last_news"] = json!(row.last_news);
    value
}

fn note_json(note: &Note) -> Value {
    json!({
        "agent_id": note.id.as_str(), "agent_host": note.host, "reachable": !note.is_silent,
        "error": note.what, "last_news": note.last_news,
    })
}

fn problem_json(problem: &Problem) -> Value {
    json!({
        "agent": problem.agent, "path": problem.path.to_string_lossy(), "error": problem.what,
        "repair": problem.repair,
    })
}

fn session_value(session: &Session) -> Value {
    serde_json::to_value(session).expect("a session has only strings, numbers and booleans")
}

/// A session with its agent, for scripts.
pub(crate) fn session_json(selected: &Selected) -> Value {
    let mut value = session_value(&selected.session);
    value["state"] = json!(crate::fleet::listing::State::of(&selected.session).sign());
    value["agent_id"] = json!(selected.agent.as_str());
    value["agent_host"] = json!(selected.host);
    value
}

/// A session's fields, one a line.
pub(crate) fn session_fields(selected: &Selected, now: Wall) -> String {
    let session = &selected.session;
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let mut fields = vec![
        ("name", session.name.clone()),
        ("id", session.uuid.to_string()),
        ("agent", format!("{} ({})", selected.host, selected.agent)),
        ("state", words(session)),
        ("created", moment(session.created_at, now)),
        ("last access", moment(session.last_accessed, now)),
    ];
    fields.extend(session.started_at.map(|at| ("started", moment(at, now))));
    fields.extend([
        ("port", or_none(&port(session))),
        ("dns name", or_none(&session.dns_name)),
        ("command", session.command.clone()),
        ("image", session.image.clone()),
        ("memory", size(session.memory)),
        ("cpus", positive(session.cpus, f64::to_string)),
        ("pids", positive(f64::from(session.pids), f64::to_string)),
        (
            "docker",
            if session.docker { "yes: root on the host".to_owned() } else { "no".to_owned() },
        ),
    ]);
    fields.extend(session.broken.clone().map(|why| ("broken", why)));
    fields.extend(session.stale.clone().map(|why| ("stale", why)));
    let lines = fields.iter().filter(|(_, value)| !value.is_empty());
    lines.map(|(name, value)| format!("{name:12}{value}\n")).collect()
}

fn words(session: &Session) -> String {
    let sign = crate::fleet::listing::State::of(session).sign();
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

/// An agent, and what it has answered to a ping, or why it has not.
#[derive(Clone, Debug)]
pub(crate) struct AgentLine {
    pub(crate) agent: KnownAgent,
    /// Its answer with the time that it took, or the sentence.
    pub(crate) pong: Result<(Pong, Duration), String>,
    /// Its sessions, if it has told: all, and those that run.
    pub(crate) sessions: Option<(usize, usize)>,
    /// What the hub knows of its events, if there is one and it knows it.
    pub(crate) status: Option<AgentNews>,
}

/// The agents as a table.
pub(crate) fn agents_table(agents: &[AgentLine], now: Wall, width: Option<usize>) -> String {
    let columns = [
        column("ID", 0),
        column("HOST", 0),
        column("VERSION", 1),
        column("RUNTIME", 3),
        column("SESSIONS", 0),
        column("RUNNING", 2),
        column("EVENTS", 0),
        column("ANSWER", 0),
    ];
    let mut table = Table::new(&columns, 7);
    for line in agents {
        let pong = line.pong.as_ref().ok().map(|(pong, _)| pong);
        let count = |pick: fn((usize, usize)) -> usize| {
            line.sessions.map_or_else(|| "-".to_owned(), |counts| pick(counts).to_string())
        };
        table.push([
            line.agent.id.to_string(),
            line.agent.address.to_string(),
            pong.map_or_else(|| "-".to_owned(), |pong| pong.version.clone()),
            pong.map_or_else(|| "-".to_owned(), |pong| pong.runtime.clone()),
            count(|(all, _)| all),
            count(|(_, running)| running),
            line.status.as_ref().map_or_else(|| "-".to_owned(), |news| events_state(news, now)),
            match &line.pong {
                Ok((_, took)) => format!("{:.1} ms", took.as_secs_f64() * 1000.0),
                Err(error) => format!("? {error}"),
            },
        ]);
    }
    table.render(width)
}

/// Whether an agent's events come, with the age of its last word where they do not.
fn events_state(news: &AgentNews, now: Wall) -> String {
    match news.heard() {
        Some(then) if !news.is_connected() => format!("{} {}", news.state, age(now.since(then))),
        _ => news.state.clone(),
    }
}

/// The agents for scripts.
pub(crate) fn agents_json(agents: &[AgentLine], problems: &[Problem]) -> Value {
    let lines: Vec<_> = agents.iter().map(agent_json).collect();
    let problems: Vec<_> = problems.iter().map(problem_json).collect();
    json!({ "agents": lines, "problems": problems })
}

fn agent_json(line: &AgentLine) -> Value {
    let mut value = json!({
        "agent_id": line.agent.id.as_str(),
        "host": line.agent.host(),
        "address": line.agent.address.to_string(),
        "reachable": line.pong.is_ok(),
        "sessions": line.sessions.map(|(all, _)| all),
        "running": line.sessions.map(|(_, running)| running),
    });
    if let Some(news) = &line.status {
        value["events"] =
            json!({ "state": news.state, "last_news": news.heard(), "error": news.error });
    }
    match &line.pong {
        Ok((pong, took)) => {
            value["version"] = json!(pong.version);
            value["runtime"] = json!(pong.runtime);
            value["server_time"] = json!(pong.server_time);
            value["answer_ms"] = json!(took.as_secs_f64() * 1000.0);
        }
        Err(error) => value["error"] = json!(error),
    }
    value
}

fn port(session: &Session) -> String {
    match session.port {
        0 => String::new(),
        port => format!("{port}/{}", session.protocol),
    }
}

fn moment(at: Wall, now: Wall) -> String {
    format!("{} ({} ago)", Wall::new(at.seconds(), 0), age(now.since(at)))
}

fn positive(number: f64, shown: fn(&f64) -> String) -> String {
    if number > 0.0 { shown(&number) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::listing::tests::{fresh, session, silent};
    use crate::rpc::field::Protocol;

    const NOW: Wall = Wall::new(1_767_348_000, 0);

    fn listing() -> Listing {
        let web = Session {
            running: true,
            attached: true,
            attached_count: 2,
            port: 8080,
            dns_name: "web".to_owned(),
            image: "convocate:0.1.0".to_owned(),
            ..session("0123", "web server", 5)
        };
        let long = "a-name-of-sixty-four-characters-that-goes-on-and-on-and-on-until-end";
        let named = Session {
            port: 53,
            protocol: Protocol::Udp,
            running: true,
            image: "convocate:0.1.0".to_owned(),
            dns_name: "resolver-of-the-whole-cluster".to_owned(),
            ..session("89ab", &long[..64], 7_300)
        };
        let evil = session("fedc", "red\u{1b}[31m\u{202e}", 900_000);
        Listing::merge(
            &[
                fresh(2, vec![web, named]),
                fresh(3, vec![evil]),
                silent(4, vec![session("cafe", "far", 60)]),
            ],
            Vec::new(),
        )
    }

    #[test]
    fn a_listing_for_80_cells() {
        assert_eq!(
            listing_table(&listing(), NOW, Some(80)),
            "\
S     NAME                                     ID        AGENT  PORT      ACCESS
C     web server                               01230000  web-2  8080/tcp  5s
? 1m  far                                      cafe0000  web-4            1m
R     a-name-of-sixty-four-characters-that-g…  89ab0000  web-2  53/udp    2h
-     red\\u{1b}[31m\\u{202e}                    fedc0000  web-3            10d
"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in 50..200 {
            let text = listing_table(&listing(), NOW, Some(width));
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}\n{text}");
            assert!(!text.chars().any(|sign| sign.is_control() && sign != '\n'));
        }
    }

    #[test]
    fn a_listing_in_a_pipe_is_whole() {
        let text = listing_table(&listing(), NOW, None);
        assert!(text.contains("01230000-0000-4000-8000-000000000000"));
        assert!(text.contains("until-end") || text.contains("on-until"), "{text}");
        assert!(text.contains("convocate:0.1.0") && text.contains("resolver-of-the-whole-cluster"));
    }

    #[test]
    fn notes_name_the_agent_and_the_age_of_the_news() {
        assert_eq!(
            note_line(&listing().notes[0], NOW),
            "? agent abcdefghjkm4 (web-4): cannot connect to web-4:222: connection refused; \
             last news 1m ago"
        );
    }

    #[test]
    fn scripts_get_every_field() {
        let value = listing_json(&listing(), &[]);
        assert_eq!(value["sessions"][0]["state"], "C");
        assert_eq!(value["sessions"][0]["agent_host"], "web-2");
        assert_eq!(value["sessions"][1]["state"], "?");
        assert_eq!(value["incomplete"][0]["reachable"], false);
    }
}
