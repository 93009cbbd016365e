//! `convocate events`: events of all agents as they happen, or from a given place on.

use serde::Deserialize;
use serde_json::Value;

use crate::base::sorted_map::SortedMap;
use crate::base::text::{cut, printable};
use crate::base::time::Wall;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, root_paths};
use crate::exit::Exit;
use crate::fleet::run::load;
use crate::io::clock::Clock;
use crate::limits::{EVENT_LINE_CELLS_MAX, SESSION_NAME_BYTES_MAX};
use crate::paths::Paths;
use crate::status::run::Feed;
use crate::status::snapshot::Snapshot;
use crate::status::words::detail;

const SINCE: Flag = Flag::value(
    "since",
    "WHEN",
    "start after event N or EPOCH:SEQ, or at a time: RFC 3339, or 10m",
);

pub(crate) const EVENTS: Command = Command {
    name: "events",
    summary: "show what happens on all agents, as it happens",
    operands: &[],
    flags: &[SINCE, JSON, ROOT],
    help: "\
Without --since, shows events from now on, a line each: the time (UTC), the agent's host,
what happened, the session with the start of its id, and what else is known. --json
prints the hub's own lines, {\"seq\":N,\"event\":{…}}: remember the last N, and
--since N continues after it. EPOCH:SEQ is an agent's own numbering, as in its events.
A time is by the agents' clocks; 90s, 10m, 2h and 3d count back from now. The hub keeps
the last few thousand events and reports older ones as missed. Heartbeats are in --json
only.
Runs until it is interrupted, and reconnects to a hub that restarts.
",
    run: events,
};

/// Where to start.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Since {
    Now,
    /// After the hub's number.
    Number(u64),
    /// After an agent's number.
    Position(String, u64),
    Time(Wall),
}

/// A line of the hub, as far as it is looked at.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    event: Option<Value>,
    #[serde(default)]
    missed: Option<Missed>,
}

#[derive(Deserialize)]
struct Missed {
    from: u64,
    to: u64,
}

/// Shows events and remembers the last one.
struct Reader<'a, 'b> {
    out: &'a mut Out<'b>,
    is_json: bool,
    since: Since,
    /// The hub's number of the newest line that was read; `None` before the first.
    at: Option<u64>,
    /// While earlier events are asked for: the newest that the snapshot covers. Events that the hub
    /// sends meanwhile are newer, and come again after those that were asked for.
    asked: Option<u64>,
    names: Names,
}

/// What people call the agents and sessions of the events.
#[derive(Default)]
pub(super) struct Names {
    /// By the agent's id.
    hosts: SortedMap<String, String>,
    /// By the agent's id and the session's.
    sessions: SortedMap<(String, String), String>,
}

fn events(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = root_paths(parsed)?;
    let now = Clock::new().wall();
    let since = parsed.value(&SINCE).map_or(Ok(Since::Now), |text| Since::parse(text, now));
    let since = since.map_err(Failure::Usage)?;
    let names = Names::of_registry(&paths);
    let is_json = parsed.has(&JSON);
    let mut reader = Reader { out, is_json, since, at: None, asked: None, names };
    let mut feed = Feed::open(&paths).map_err(Failure::Failed)?.ok_or_else(|| no_hub(&paths))?;
    loop {
        reader.follow(&mut feed)?;
        reader.out.note("the status hub closed the connection; waiting to reconnect");
        feed = Feed::open_again(&paths).map_err(Failure::Failed)?;
    }
}

fn no_hub(paths: &Paths) -> Failure {
    let socket = paths.status_socket();
    let start = match paths.is_system() {
        true => "systemctl start convocate-status".to_owned(),
        false => format!("convocate status-serve --root {}", paths.root().display()),
    };
    Failure::Failed(format!("no status hub runs at {}; start it: {start}", socket.display()))
}

impl Reader<'_, '_> {
    /// Reads until the hub closes the connection.
    fn follow(&mut self, feed: &mut Feed) -> Result<(), Failure> {
        let mut is_first = true;
        loop {
            if !feed.has_line() {
                self.out.flush()?;
                if !feed.wait_while_read()? {
                    return Err(Failure::NobodyReads);
                }
            }
            let Ok(Some(line)) = feed.next_line() else { return Ok(()) };
            match Snapshot::parse_if_any(line) {
                // Another snapshot means that this program read too slowly.
                Some(snapshot) => {
                    self.names.learn(&snapshot);
                    if !self.catch_up(feed, snapshot.seq) {
                        return Ok(());
                    }
                }
                None if is_first => return Ok(()),
                None => {
                    if let Ok(read) = serde_json::from_slice::<Line>(line) {
                        self.show(read)?;
                    }
                }
            }
            is_first = false;
        }
    }

    /// Asks for events that the snapshot covers and were not shown, as far as the hub has them.
    /// False if the hub closed the connection.
    fn catch_up(&mut self, feed: &mut Feed, newest: u64) -> bool {
        let from = self.at.unwrap_or(match self.since {
            Since::Now => newest,
            Since::Number(seq) => seq,
            Since::Position(..) | Since::Time(_) => 0,
        });
        self.at = Some(from);
        self.asked = Some(newest).filter(|newest| *newest > from);
        self.asked.is_none() || feed.ask_since(from).is_ok()
    }

    fn show(&mut self, line: Line) -> Result<(), Failure> {
        let Line { seq, event, missed } = line;
        if let Some(Missed { from, to }) = missed {
            self.at = self.at.max(Some(to));
            self.asked = None;
            return match self.is_json {
                true => self.out.json(&serde_json::json!({ "missed": { "from": from, "to": to } })),
                false => {
                    self.out.note(&format!("the hub no longer has events {from} to {to}"));
                    Ok(())
                }
            };
        }
        let Some(event) = event else { return Ok(()) };
        self.names.learn_from(&event);
        let is_heartbeat = event["type"] == "agent.heartbeat";
        if self.asked.is_some_and(|newest| is_heartbeat || seq > newest) {
            return Ok(());
        }
        self.asked = None;
        if !is_heartbeat && self.at.is_some_and(|at| seq <= at) {
            return Ok(());
        }
        self.at = Some(seq);
        if !self.since.admits(&event) {
            return Ok(());
        }
        match self.is_json {
            true => self.out.json(&serde_json::json!({ "seq": seq, "event": event })),
            false if is_heartbeat => Ok(()),
            false => self.out.text(&self.names.line(&event)),
        }
    }
}

impl Since {
    fn parse(text: &str, now: Wall) -> Result<Since, String> {
        if let Some(time) = Wall::parse_rfc3339(text) {
            return Ok(Since::Time(time));
        }
        if let Ok(number) = text.parse() {
            return Ok(Since::Number(number));
        }
        if let Some((epoch, Ok(seq))) =
            text.split_once(':').map(|(epoch, seq)| (epoch, seq.parse()))
            && !epoch.is_empty()
        {
            return Ok(Since::Position(epoch.to_owned(), seq));
        }
        let unit = |unit| match unit {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(3600),
            'd' => Some(86_400),
            _ => None,
        };
        let seconds = text.char_indices().last().and_then(|(at, last)| {
            let count: i64 = text[..at].parse().ok().filter(|count| *count >= 0)?;
            count.checked_mul(unit(last)?)
        });
        match seconds {
            Some(back) => Ok(Since::Time(Wall::new(now.seconds().saturating_sub(back), 0))),
            None => Err(format!(
                "--since: {text:?} must be a number, EPOCH:SEQ, a time like 2026-01-02T03:04:05Z, \
                 or 10m"
            )),
        }
    }

    /// Whether an event is to be shown. From the first one on that is, all are.
    fn admits(&mut self, event: &Value) -> bool {
        let is_first = match self {
            Since::Now | Since::Number(_) => return true,
            Since::Time(time) => {
                let at = event["timestamp"].as_str().and_then(Wall::parse_rfc3339);
                return at.is_none_or(|at| at >= *time);
            }
            Since::Position(epoch, seq) => {
                let found = event["seq"].as_u64().filter(|_| event["epoch"] == **epoch);
                match found {
                    Some(found) if found >= *seq => found > *seq,
                    _ => return false,
                }
            }
        };
        *self = Since::Now;
        is_first
    }
}

impl Names {
    /// The hosts that the registry knows. Events are shown without it, too.
    pub(super) fn of_registry(paths: &Paths) -> Names {
        let agents = load(paths).map(|registry| registry.agents).unwrap_or_default();
        let hosts = agents.iter().map(|agent| (agent.id.to_string(), agent.host())).collect();
        Names { hosts, sessions: SortedMap::new() }
    }

    pub(super) fn learn(&mut self, snapshot: &Snapshot) {
        for agent in &snapshot.agents {
            for session in &agent.sessions {
                let key = (agent.id.clone(), session.uuid.to_string());
                self.sessions.insert(key, session.name.clone());
            }
        }
    }

    /// Created, started and edited sessions say their names; a deleted one keeps its last one.
    pub(super) fn learn_from(&mut self, event: &Value) {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if let (Some(agent), Some(id)) = (text(&event["agent_id"]), text(&event["session_id"]))
            && let Some(name) = text(&event["data"]["name"])
            && name.len() <= SESSION_NAME_BYTES_MAX
        {
            self.sessions.insert((agent, id), name);
        }
    }

    /// One line, whatever stands in the event.
    pub(super) fn line(&self, event: &Value) -> String {
        cut(&printable(&self.sentence(event)), EVENT_LINE_CELLS_MAX).into_owned()
    }

    fn sentence(&self, event: &Value) -> String {
        let text = |name: &str| event[name].as_str().unwrap_or("-");
        let agent = text("agent_id");
        let session = event["session_id"].as_str().map_or_else(String::new, |id| {
            let short = id.get(..8).unwrap_or(id);
            let key = (agent.to_owned(), id.to_owned());
            match self.sessions.get(&key).filter(|name| !name.is_empty()) {
                Some(name) => format!("{name:?} ({short})"),
                None => short.to_owned(),
            }
        });
        let host = self.hosts.get(agent).map_or(agent, String::as_str);
        let time = moment(text("timestamp"));
        let detail = detail(text("type"), &event["data"]);
        let line = format!("{time}  {host:14}  {:17}  {session}  {detail}", text("type"));
        line.trim_end().to_owned()
    }
}

/// A time as people read it: `2026-01-02 03:04:05`, UTC as everything is.
fn moment(text: &str) -> String {
    let Some(at) = Wall::parse_rfc3339(text) else { return text.to_owned() };
    let (year, month, day, hour, minute, second) = at.civil();
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Wall = Wall::new(1_767_348_000, 0);

    #[test]
    fn all_ways_to_say_since_when() {
        for (text, since) in [
            ("17", Since::Number(17)),
            ("00ff:3", Since::Position("00ff".to_owned(), 3)),
            ("2026-01-02T10:00:00Z", Since::Time(NOW)),
            ("10m", Since::Time(Wall::new(NOW.seconds() - 600, 0))),
            ("0s", Since::Time(NOW)),
        ] {
            assert_eq!(Since::parse(text, NOW), Ok(since), "{text}");
        }
        for bad in ["", "m", "-1m", "x:y", ":5", "yesterday", "1w", "99999999999999999999d"] {
            let error = Since::parse(bad, NOW).expect_err(bad);
            assert!(error.starts_with("--since: "), "{error}");
        }
    }

    #[test]
    fn a_position_admits_what_is_behind_it_and_all_after_that() {
        let event = |epoch: &str, seq: u64| json!({ "epoch": epoch, "seq": seq });
        let mut since = Since::Position("a".to_owned(), 2);
        for (event, shown) in [
            (event("b", 9), false),
            (event("a", 1), false),
            (event("a", 2), false),
            (event("b", 10), true),
            (event("a", 3), true),
        ] {
            assert_eq!(since.admits(&event), shown, "{event}");
        }
        let mut late = Since::Position("a".to_owned(), 2);
        assert!(late.admits(&event("a", 7)));
    }

    #[test]
    fn an_event_is_one_line() {
        let event = json!({
            "type": "container.stopped", "agent_id": "abcdefghjkmn",
            "session_id": "01234567-89ab-4def-8123-456789abcdef",
            "timestamp": "2026-01-02T03:04:05Z", "data": { "cause": "exit", "exit_code": null },
        });
        let mut names = Names::default();
        names.hosts.insert("abcdefghjkmn".to_owned(), "web-1".to_owned());
        let line = "2026-01-02 03:04:05  web-1           container.stopped  01234567  exit";
        assert_eq!(names.sentence(&event), line);
        // Whoever told the session's name told it for the events that do not.
        let created = json!({
            "type": "container.created", "session_id": "01234567-89ab-4def-8123-456789abcdef",
            "agent_id": "abcdefghjkmn",
            "data": { "uuid": "01234567-89ab-4def-8123-456789abcdef", "name": "a\u{1b}b" },
        });
        names.learn_from(&created);
        let named = names.sentence(&event);
        assert!(named.contains("\"a\\u{1b}b\" (01234567)  exit"), "{named}");
        // Another agent's words make no second line and name no session of this one.
        let forged = json!({
            "type": "x.note", "session_id": "01234567-89ab-4def-8123-456789abcdef",
            "agent_id": "bcdefghjkmnp",
            "data": { "cause": "x\n2026-01-02 03:04:05  web-1", "name": "evil", "y": "\u{9b}2J" },
        });
        names.learn_from(&forged);
        assert_eq!(names.sentence(&event), named);
        let line = names.line(&forged);
        assert!(line.contains("x\\u{a}2026") && line.contains("y \\u{9b}2J"), "{line}");
        let long = json!({ "type": "x.note", "data": { "cause": "x".repeat(100_000) } });
        assert!(names.line(&long).len() < 2 * EVENT_LINE_CELLS_MAX);
    }
}
