//! Who waits for a person: seen, counted, sorted, jumped to, and told once.

use convocate::base::time::Wall;
use convocate::tui::messages::Message;
use convocate::tui::model::ScreenAction;
use convocate::tui::page::Page;
use serde_json::{Value, json};

use crate::desk::{Desk, START, snapshot};

pub fn attention(state: &str, reason: &str, age: i64) -> Value {
    let since = Wall::new(START - age, 0);
    json!({ "state": state, "reason": reason, "source": "status file", "since": since })
}

fn tell(desk: &mut Desk, session: usize, state: &str, reason: &str) {
    let agent = if session > 6 { 2 } else { 1 };
    let told = attention(state, reason, 60 * i64::try_from(session).expect("small"));
    desk.event(agent, "session.attention", Some(session), &told);
}

#[test]
fn it_is_seen_where_somebody_tells_it_and_counted() {
    let mut desk = Desk::furnished(120, 40);
    desk.hides("ATTENTION");
    desk.hides("Tab who waits");
    tell(&mut desk, 2, "waiting", "permission prompt");
    desk.shows("ATTENTION");
    desk.shows("waiting 2m permission prompt");
    desk.shows(" convocate  1 wait  ");
    desk.shows("Tab who waits");
    tell(&mut desk, 1, "done", "");
    tell(&mut desk, 7, "working", "");
    desk.shows(" convocate  1 wait, 1 done  ");
    // What a session says moves no cursor.
    tell(&mut desk, 7, "waiting", "\u{1b}[2J");
    desk.shows("1 wait, 1 done");
    // Of an agent that is away, nobody knows it now.
    desk.event(1, "hub.lost", None, &json!({ "error": "it was reset" }));
    desk.hides("permission prompt");
    desk.event(1, "hub.connected", None, &json!(null));
    desk.event(1, "container.stopped", Some(2), &json!({ "cause": "exit", "exit_code": 1 }));
    desk.hides("permission prompt");
    desk.event(1, "session.attention", Some(1), &json!(null));
    desk.hides("1 done");
}

#[test]
fn a_repository_is_shown_where_a_session_has_one() {
    let mut desk = Desk::furnished(140, 40);
    desk.hides("BRANCH");
    let at = Wall::new(START, 0);
    let seen = |branch: &str| json!({ "branch": branch, "ahead": 2, "dirty": 1, "seen_at": at });
    desk.event(1, "session.repository", Some(2), &seen("main"));
    desk.shows("BRANCH");
    desk.shows("main +2 *1");
    // What a session says moves no cursor, and changes nothing.
    desk.event(1, "session.repository", Some(2), &seen("\u{1b}[2J"));
    desk.shows("main +2 *1");
    desk.types("/main\r");
    assert_eq!(desk.selected(), "parser rewrite");
}

#[test]
fn whoever_waits_comes_first_on_request_and_is_jumped_to() {
    let mut desk = Desk::furnished(120, 40);
    desk.selects("notes");
    for (session, state) in [(5, "waiting"), (2, "waiting"), (1, "done"), (7, "working")] {
        tell(&mut desk, session, state, "");
    }
    let mut jumps = Vec::new();
    for _ in 0..3 {
        desk.types("\t");
        jumps.push(desk.selected());
    }
    assert_eq!(jumps, ["parser rewrite", "resolver", "parser rewrite"]);
    desk.types("w\x1b[H");
    assert_eq!(desk.selected(), "resolver", "it has waited longest");
    desk.types("w");
    // Where nobody waits, what is done is next, and then the next page.
    tell(&mut desk, 2, "idle", "");
    tell(&mut desk, 5, "idle", "");
    desk.types("\t");
    assert_eq!((desk.selected().as_str(), desk.model.page), ("web server", Page::Sessions));
    tell(&mut desk, 1, "idle", "");
    desk.types("\t");
    assert_eq!(desk.model.page, Page::Agents);
}

#[test]
fn each_wait_is_told_once_and_not_to_whom_has_seen_it() {
    let mut desk = Desk::furnished(120, 40);
    // What waits already when the screen begins is on it.
    let mut known = snapshot();
    known["snapshot"]["agents"][0]["sessions"][1]["attention"] = attention("waiting", "x", 9);
    desk.news(Message::HubLine(known.to_string().into_bytes()));
    assert_eq!(desk.model.take_notice().as_deref(), Some("\"parser rewrite\" waiting: x"));
    tell(&mut desk, 1, "waiting", "permission prompt");
    let told = desk.model.take_notice();
    assert_eq!(told.as_deref(), Some("\"web server\" waiting: permission prompt"));
    tell(&mut desk, 1, "waiting", "permission prompt");
    assert_eq!(desk.model.take_notice(), None, "it was told");
    tell(&mut desk, 1, "working", "");
    tell(&mut desk, 1, "waiting", "input needed");
    assert!(desk.model.take_notice().is_some(), "that is another wait");
    tell(&mut desk, 1, "working", "");
    // While one is in the session itself, one sees it.
    desk.selects("web server");
    desk.types("\r");
    assert!(desk.actions.iter().any(|action| matches!(action, ScreenAction::Attach(_))));
    desk.news(Message::Returned { text: String::new(), is_failure: false });
    tell(&mut desk, 5, "waiting", "");
    assert_eq!(desk.model.take_notice().as_deref(), Some("\"resolver\" waiting"));
}

#[test]
fn what_room_a_host_has_stands_in_the_form_of_a_new_session() {
    let mut desk = Desk::furnished(120, 40);
    let gib = |count: u64| count << 30;
    let capacity = json!({
        "memory_left": gib(10), "memory": gib(24), "disk_left": gib(80), "disk": gib(200),
        "cpu_millis": 8000, "default_memory": gib(8), "default_cpu_millis": 8000,
        "default_pids": 1024,
    });
    desk.event(1, "agent.heartbeat", None, &json!({ "sessions": 6, "capacity": capacity }));
    desk.selects("web server");
    desk.types("n");
    desk.shows("left on host-1: memory 10g of 24g, disk 80g of 200g, 8 processors; where blank:");
    desk.shows("memory, 8 processors, 1024 processes");
}
