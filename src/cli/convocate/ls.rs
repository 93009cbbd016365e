//! `convocate ls`: the sessions of all agents.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::base::text::{age, cut, printable};
use crate::base::time::Wall;
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::convocate::session_flags::AGENT;
use crate::cli::convocate::sessions::{
    NO_AGENT, agent_list, asked_agents, open_fleet, problem_json, published_port, reply_timeout,
    told_json,
};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, root_paths};
use crate::cli::table::{Table, column};
use crate::exit::Exit;
use crate::fleet::listing::{AgentSessions, Listing, ListingNote, ListingRow};
use crate::fleet::registry::Problem;
use crate::fleet::run::{Reply, Runner, local_homes};
use crate::rpc::call::Call;
use crate::rpc::session::{Pong, Session, claude_missing};
use crate::status::run::snapshot;
use crate::status::snapshot::Snapshot;

const SORT: Flag = Flag::choice(
    "sort",
    "ORDER",
    "what comes first: access, or attention, whoever waits for a person",
    &["access", "attention"],
);

pub(crate) const LS: Command = Command {
    name: "ls",
    summary: "list the sessions of all agents, newest access first; also: list",
    operands: &[],
    flags: &[SORT, AGENT, JSON, ROOT],
    help: "\
The first column is the state: - stopped, R running, C running with a terminal attached,
L locked by an operation that was cut short (LR and LC: it runs all the same), O a
directory on this host that no agent owns, ? its agent does not answer. Standard error
names the agents that do not answer; where a status hub runs, ls shows their last known
state, with its age. It also names sessions that ended with their host or the engine there
and could not be started again, with the reason.

ATTENTION is there if a program in a session tells its state, as the Claude CLI does: what
it is, since when, and why. waiting: for a person, a permission, a question or a menu;
done: a turn has ended, and nobody has attached, detached or sent something since;
working; idle; unknown: what the program tells cannot be believed now. Of other programs
nothing is said.

BRANCH is there if a session was made with --repo: the branch that it is on, +N commits
that its upstream lacks (without one: since the session began), *N changed files. It is as
of the last look, which follows whatever happens in the session; show says when that was.
The exit status is 0 if at least one agent has answered.
",
    run: ls,
};

/// Of an attention with its reason, so much is shown.
const ATTENTION_CELLS_MAX: usize = 40;

/// And of a branch with its numbers.
const BRANCH_CELLS_MAX: usize = 32;

/// The same under another name.
pub(crate) const LIST: Command = Command { name: "list", summary: "", ..LS };

fn ls(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let paths = root_paths(parsed)?;
    let mut runner = open_fleet(parsed, out)?;
    let agents = asked_agents(parsed, &runner)?;
    let hub = snapshot(&paths);
    let replies = runner
        .survey(&agents, &[Call::List], |id| reply_timeout(hub.as_ref(), id), |_| false)
        .map_err(Failure::Failed)?;
    let part = |reply: &Reply| agent_list(reply, &reply.answers[0], hub.as_ref());
    let lists: Vec<_> = replies.iter().map(part).collect();
    let is_all = parsed.value(&AGENT).is_none() && runner.registry().problems.is_empty();
    // Only the answers of all agents tell what is an orphan.
    let local = if is_all { local_homes(&paths) } else { Vec::new() };
    let mut listing = Listing::merge(&lists, local);
    if parsed.value(&SORT) == Some("attention") {
        listing.sort_by_attention();
    }
    let now = runner.wall();
    if parsed.has(&JSON) {
        out.json(&listing_json(&listing, &runner.registry().problems))?;
    } else {
        out.text(&listing_table(&listing, now, out.width()))?;
    }
    out.flush()?;
    for note in &listing.notes {
        out.note(&note_line(note, now));
    }
    for text in listing.rows.iter().filter_map(|row| broken(row).or_else(|| not_restarted(row))) {
        out.note(&text);
    }
    for host in hosts_without_claude(&mut runner, &listing, hub.as_ref()) {
        out.note(&claude_missing(&host));
    }
    if lists.is_empty() {
        out.note(NO_AGENT);
        return Ok(Exit::Done);
    }
    let has_fresh = lists.iter().any(|list| matches!(list.news, AgentSessions::Fresh { .. }));
    Ok(if has_fresh { Exit::Done } else { Exit::Failed })
}

/// The sessions as a table, for a terminal of this width; whole ids where there is none.
fn listing_table(listing: &Listing, now: Wall, width: Option<usize>) -> String {
    let columns = [
        column("S", 0),
        column("NAME", 0),
        column("ATTENTION", 1),
        column("BRANCH", 2),
        column("ID", 0),
        column("AGENT", 0),
        column("PORT", 3),
        column("DNS", 4),
        column("ACCESS", 0),
        column("IMAGE", 5),
    ];
    let mut table = Table::new(&columns, 1);
    if listing.rows.iter().all(|row| attention(row, now).is_empty()) {
        table.leave_out(2);
    }
    if listing.rows.iter().all(|row| branch(row).is_empty()) {
        table.leave_out(3);
    }
    for row in &listing.rows {
        let session = row.session.as_ref();
        table.push([
            state(row, now),
            session.map_or_else(|| "-".to_owned(), |session| session.name.clone()),
            cut(&attention(row, now), ATTENTION_CELLS_MAX).into_owned(),
            cut(&branch(row), BRANCH_CELLS_MAX).into_owned(),
            if width.is_some() { row.id.short() } else { row.id.to_string() },
            row.agent.as_ref().map_or_else(|| "-".to_owned(), |(_, host)| host.clone()),
            session.map_or_else(String::new, published_port),
            session.map_or_else(String::new, |session| session.dns_name.clone()),
            age(now.since(row.last_accessed)),
            session.map_or_else(String::new, |session| session.image.clone()),
        ]);
    }
    table.render(width)
}

/// What is wrong with a session whose record cannot be read.
fn broken(row: &ListingRow) -> Option<String> {
    let session = row.session.as_ref()?;
    let why = printable(&session.broken.as_ref()?.0);
    let host = row.agent.as_ref().map_or("its agent", |(_, host)| host);
    Some(format!("session {} on {host} is broken ({why}); it can only be deleted", session.uuid))
}

/// Why a session that ended with its host or the engine there was not started again.
fn not_restarted(row: &ListingRow) -> Option<String> {
    let session = row.session.as_ref().filter(|session| !session.running)?;
    let ended = session.ended.as_ref().filter(|ended| !ended.reason.is_empty())?;
    let host = row.agent.as_ref().map_or("its agent", |(_, host)| host);
    Some(format!("session {:?} on {host}: {}", session.name, ended.in_words()))
}

/// The hosts on which sessions ended because the Claude CLI is not there, and which do not say that
/// they have it by now.
fn hosts_without_claude(
    runner: &mut Runner,
    listing: &Listing,
    hub: Option<&Snapshot>,
) -> BTreeSet<String> {
    let lacking = |row: &&ListingRow| row.session.as_ref().is_some_and(Session::lacks_claude);
    let rows = listing.rows.iter().filter(lacking);
    let agents: BTreeMap<_, _> = rows.filter_map(|row| row.agent.clone()).collect();
    let mut hosts: BTreeSet<String> = agents.values().cloned().collect();
    let ids: Vec<_> = agents.into_keys().collect();
    if ids.is_empty() {
        return hosts;
    }
    let replies = runner.survey(&ids, &[Call::Ping], |id| reply_timeout(hub, id), |_| false);
    for reply in replies.unwrap_or_default() {
        let pong = reply.answers[0].as_ref().ok();
        let pong = pong.and_then(|pong| serde_json::from_value::<Pong>(pong.clone()).ok());
        if pong.is_some_and(|pong| pong.has_claude == Some(true)) {
            hosts.remove(&reply.agent.host());
        }
    }
    hosts
}

/// What its program wants of a person, and since when.
fn attention(row: &ListingRow, now: Wall) -> String {
    let attention = row.session.as_ref().and_then(|session| session.attention.as_ref());
    attention.map_or_else(String::new, |attention| {
        let (state, age) = (attention.state.as_str(), age(now.since(attention.since)));
        printable(format!("{state} {age} {}", attention.reason).trim_end()).into_owned()
    })
}

/// On what branch its repository is, with what is not pushed and not committed.
fn branch(row: &ListingRow) -> String {
    let seen = row.session.as_ref().and_then(|session| session.repository.as_ref());
    seen.map_or_else(String::new, |seen| printable(&seen.in_short()).into_owned())
}

/// The state's character, with the age of the news where they are not fresh.
fn state(row: &ListingRow, now: Wall) -> String {
    match row.last_news {
        Some(then) => format!("{} {}", row.state.sign(), age(now.since(then))),
        None => row.state.signs(row.session.as_ref()),
    }
}

/// What a listing lacks, one sentence.
fn note_line(note: &ListingNote, now: Wall) -> String {
    let ListingNote { id, host, what, last_news, is_silent } = note;
    match (is_silent, last_news) {
        (false, _) => format!("agent {id} ({host}): {what}"),
        (true, None) => format!("? agent {id} ({host}): {what}"),
        (true, Some(then)) => {
            let age = age(now.since(*then));
            format!(
                "? agent {id} ({host}): {what}; what is shown is the status listener's last news, \
                 {age} old"
            )
        }
    }
}

/// The sessions and what is missing, for scripts.
fn listing_json(listing: &Listing, problems: &[Problem]) -> Value {
    let sessions: Vec<_> = listing.rows.iter().map(row_json).collect();
    let silent: Vec<_> = listing.notes.iter().map(note_json).collect();
    let problems: Vec<_> = problems.iter().map(problem_json).collect();
    json!({ "sessions": sessions, "incomplete": silent, "problems": problems })
}

fn row_json(row: &ListingRow) -> Value {
    let mut value = row.session.as_ref().map_or_else(|| json!({}), told_json);
    value["uuid"] = json!(row.id);
    value["state"] = json!(row.state.sign());
    value["state_name"] = json!(row.state.word());
    value["agent_id"] = json!(row.agent.as_ref().map(|(id, _)| id.as_str()));
    value["agent_host"] = json!(row.agent.as_ref().map(|(_, host)| host));
    value["last_news"] = json!(row.last_news);
    value
}

fn note_json(note: &ListingNote) -> Value {
    json!({
        "agent_id": note.id.as_str(), "agent_host": note.host, "reachable": !note.is_silent,
        "error": note.what, "last_news": note.last_news,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::listing::tests::{fresh, session, silent};
    use crate::rpc::attention::{Attention, AttentionState};
    use crate::rpc::field::Protocol;
    use crate::rpc::session::{Ended, Sentence};

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
    fn what_is_broken_or_was_not_started_again_is_told() {
        let row =
            |session: Session| ListingRow { session: Some(session), ..listing().rows.remove(0) };
        let why = Some(Box::new(Sentence("record is torn".to_owned())));
        let told = broken(&row(Session { broken: why, ..session("0123", "x", 5) })).unwrap();
        assert!(told.contains("record is torn") && told.contains("deleted"), "{told}");
        let ended = Ended {
            cause: "engine".to_owned(),
            reason: "its port is taken".to_owned(),
            ..Ended::default()
        };
        let stopped = Session { ended: Some(Box::new(ended)), ..session("0123", "web", 5) };
        let told = not_restarted(&row(stopped.clone())).unwrap();
        assert!(told.contains("\"web\"") && told.contains("its port is taken"), "{told}");
        assert_eq!(not_restarted(&row(Session { running: true, ..stopped })), None);
        assert_eq!(broken(&row(session("0123", "x", 5))), None);
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
    fn who_waits_is_told_if_anybody_tells_it_and_can_come_first() {
        let with = |id: &str, name: &str, seconds, state, reason: &str| Session {
            attention: Some(Box::new(Attention {
                state,
                reason: reason.to_owned(),
                source: String::new(),
                since: Wall::new(NOW.seconds() - 300, 0),
            })),
            running: true,
            ..session(id, name, seconds)
        };
        let sessions = vec![
            session("aaaa", "plain", 5),
            with("bbbb", "busy", 6, AttentionState::Working, ""),
            with("cccc", "asks", 7, AttentionState::Waiting, "permission\u{1b} prompt"),
            with("dddd", "ready", 8, AttentionState::Done, ""),
        ];
        let mut listing = Listing::merge(&[fresh(2, sessions)], Vec::new());
        listing.sort_by_attention();
        assert_eq!(
            listing_table(&listing, NOW, Some(80)),
            "\
S  NAME   ATTENTION                           ID        AGENT  PORT  DNS  ACCESS
R  asks   waiting 5m permission\\u{1b} prompt  cccc0000  web-2             7s
R  ready  done 5m                             dddd0000  web-2             8s
R  busy   working 5m                          bbbb0000  web-2             6s
-  plain                                      aaaa0000  web-2             5s
"
        );
    }

    #[test]
    fn notes_name_the_agent_and_the_age_of_the_news() {
        assert_eq!(
            note_line(&listing().notes[0], NOW),
            "? agent abcdefghjkm4 (web-4): cannot connect to web-4:222: connection refused; \
             what is shown is the status listener's last news, 1m old"
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
