//! `convocate egress`: what a session reaches now, and what was refused it.

use serde::Deserialize;

use crate::base::text::{age, printable};
use crate::base::time::Wall;
use crate::cli::command::{Command, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSION, SESSION_HELP};
use crate::cli::convocate::sessions::{ask_newer, choose_session, names_json, open_fleet};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT};
use crate::exit::Exit;
use crate::fleet::select::{Care, Selected};
use crate::io::clock::Clock;
use crate::limits::RPC_ANSWER_TIMEOUT;
use crate::rpc::call::{Call, Id};
use crate::rpc::network::Egress;
use crate::rpc::values::size;

pub(crate) const EGRESS_OF: Command = Command {
    name: "egress",
    summary: "show what a session reaches, and what was refused it",
    operands: &[SESSION],
    flags: &[AGENT, JSON, ROOT],
    help: SESSION_HELP,
    run: egress,
};

/// What an agent says. Of what a session made it say, everything is shown escaped.
#[derive(Debug, Deserialize)]
struct Told {
    egress: Egress,
    #[serde(default)]
    allow: Vec<String>,
    /// Nothing where its connections are not carried.
    now: Option<ToldNow>,
}

#[derive(Debug, Deserialize)]
struct ToldNow {
    open: bool,
    count: usize,
    connections: Vec<ToldConnection>,
    refused: Vec<ToldRefusal>,
}

#[derive(Debug, Deserialize)]
struct ToldConnection {
    name: String,
    port: u16,
    address: Option<String>,
    since: Wall,
    sent: u64,
    received: u64,
}

#[derive(Debug, Deserialize)]
struct ToldRefusal {
    what: String,
    why: String,
    count: u64,
    at: Wall,
    allow: Option<String>,
}

fn egress(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let mut runner = open_fleet(parsed, out)?;
    let found = choose_session(parsed, parsed.required(0), &mut runner, Care::Usual)?;
    let call = Call::Egress(Id { id: found.session.uuid });
    let result = ask_newer(&mut runner, &found, &call, RPC_ANSWER_TIMEOUT)?;
    if parsed.has(&JSON) {
        let mut value = names_json(&found);
        for field in ["egress", "allow", "now"] {
            value[field] = result[field].clone();
        }
        out.json(&value)?;
        return Ok(Exit::Done);
    }
    let told: Told = serde_json::from_value(result)
        .map_err(|error| Failure::Failed(format!("unexpected answer: {error}")))?;
    out.text(&in_words(&found, &told, Clock::new().wall()))?;
    Ok(Exit::Done)
}

fn in_words(found: &Selected, told: &Told, now: Wall) -> String {
    let mut lines = vec![format!("egress  {}", told.egress.as_str())];
    match (told.egress, told.allow.is_empty()) {
        (Egress::List, true) => lines.push("allow   nothing".to_owned()),
        (_, true) => {}
        (_, false) => lines.push(format!("allow   {}", told.allow.join(" "))),
    }
    match &told.now {
        Some(told) => lines.extend(now_in_words(found, told, now)),
        None if told.egress == Egress::List => {
            lines.push("it does not run as such a session now".to_owned());
        }
        None => {}
    }
    lines.into_iter().map(|line| format!("{}\n", printable(&line))).collect()
}

fn now_in_words(found: &Selected, told: &ToldNow, now: Wall) -> Vec<String> {
    let mut lines = Vec::new();
    if !told.open {
        lines.push("its proxy is not open yet".to_owned());
    }
    lines.push(format!("{} connections", told.count));
    for ToldConnection { name, port, address, since, sent, received } in &told.connections {
        let address = address.as_deref().unwrap_or("not reached yet");
        let (age, sent, received) = (age(now.since(*since)), size(*sent), size(*received));
        lines.push(format!("  {name}:{port}  {address}  {age}  sent {sent}, received {received}"));
    }
    if !told.refused.is_empty() {
        lines.push("refused lately".to_owned());
    }
    for ToldRefusal { what, why, count, at, allow } in &told.refused {
        let what = if what.is_empty() { "a request" } else { what };
        let ago = age(now.since(*at));
        let times = if *count == 1 { String::new() } else { format!("{count} times, last ") };
        lines.push(format!("  {what}  {times}{ago} ago: {why}"));
        if let Some(name) = allow {
            let session = found.session.uuid.short();
            lines.push(format!("    allow it: convocate edit {session} --allow {name}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::uuid::Uuid;
    use crate::fleet::registry::AgentId;
    use crate::rpc::session::Session;

    #[test]
    fn what_was_refused_comes_with_the_flag_that_allows_it() {
        let uuid = "01234567-89ab-4def-8123-456789abcdef";
        let session: Session = serde_json::from_value(json!({
            "uuid": Uuid::parse(uuid).unwrap(), "name": "web",
            "created_at": Wall::new(0, 0), "last_accessed": Wall::new(0, 0),
        }))
        .unwrap();
        let agent = AgentId::parse("testagent234").unwrap();
        let found = Selected { agent, host: "host-1".to_owned(), session };
        let told: Told = serde_json::from_value(json!({
            "egress": "list", "allow": ["npm", "!x.org"],
            "now": {
                "open": true, "count": 1,
                "connections": [{
                    "name": "registry.npmjs.org", "port": 443, "address": "192.0.2.7",
                    "since": Wall::new(90, 0), "sent": 10, "received": 2_u64 << 20,
                }],
                "refused": [
                    { "what": "a.org:22", "why": "no rule allows it", "count": 3,
                      "at": Wall::new(95, 0), "allow": "a.org:22" },
                    { "what": "\u{1b}[2J", "why": "is no host name", "count": 1,
                      "at": Wall::new(40, 0) },
                ],
            },
        }))
        .unwrap();
        assert_eq!(
            in_words(&found, &told, Wall::new(100, 0)),
            "egress  list\nallow   npm !x.org\n1 connections\n  registry.npmjs.org:443  192.0.2.7  \
             10s  sent 10, received 2m\nrefused lately\n  a.org:22  3 times, last 5s ago: no rule \
             allows it\n    allow it: convocate edit 01234567 --allow a.org:22\n  \\u{1b}[2J  1m \
             ago: is no host name\n"
        );
    }
}
