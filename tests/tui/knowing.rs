//! What is known: from the hub, from asking, and when nobody answers.

use convocate::base::time::Wall;
use convocate::base::uuid::Uuid;
use convocate::fleet::listing::LocalHome;
use convocate::rpc::call::Call;
use convocate::tui::messages::{HostFiles, Message};
use convocate::tui::model::ScreenAction;
use serde_json::{Value, json};

use crate::desk::{Desk, START, agent_id, enrolled, id, running, session, snapshot, with};

fn answer_lists(desk: &mut Desk, answer: impl Fn(usize) -> Result<Value, &'static str>) -> usize {
    let mut count = 0;
    for action in std::mem::take(&mut desk.actions) {
        let ScreenAction::Ask { request, agent, call } = action else { continue };
        if call == Call::List {
            let number = (1..9).find(|number| agent_id(*number) == agent).expect("one of ours");
            desk.answers(request, answer(number));
            count += 1;
        }
    }
    count
}

#[test]
fn an_event_changes_its_row() {
    let mut desk = Desk::furnished(120, 40);
    desk.selects("parser rewrite");
    desk.shows("running: since");
    desk.event(1, "session.attached", Some(2), &json!({ "attached_count": 1 }));
    desk.shows("attached: since");
    desk.event(1, "container.stopped", Some(2), &json!({ "cause": "exit", "exit_code": 1 }));
    desk.shows("stopped: claude");
    desk.event(1, "container.started", Some(2), &running(session(2, "renamed", 0)));
    desk.shows("renamed");
    assert_eq!(desk.selected(), "renamed");
    desk.event(1, "hub.lost", None, &json!({ "error": "it was reset" }));
    desk.shows("unknown: it was reset");
    desk.event(1, "hub.connected", None, &json!(null));
    desk.shows("running: since");
    desk.event(1, "container.deleted", Some(2), &json!(null));
    desk.hides("renamed");
    desk.event(9, "hub.connected", None, &json!(null));
    desk.shows("agents 3/4");
    desk.event(9, "hub.forgotten", None, &json!(null));
    desk.shows("agents 2/3");
}

#[test]
fn with_a_hub_nobody_is_asked_but_those_it_does_not_know() {
    let mut desk = Desk::furnished(80, 24);
    desk.tick(100);
    assert_eq!(desk.actions, []);
    let agents = (1..=4).map(enrolled).collect();
    desk.news(Message::Host(HostFiles { agents, ..HostFiles::default() }));
    let asked = answer_lists(&mut desk, |number| {
        assert_eq!(number, 4);
        Ok(json!([session(70, "unknown to the hub", 1)]))
    });
    assert_eq!(asked, 1);
    desk.shows("unknown to the hub");
}

#[test]
fn without_a_hub_agents_are_asked_and_the_silent_ones_rarely() {
    let mut desk = Desk::alone(2);
    let answer = |number| match number {
        1 => Ok(json!([running(session(1, "here", 5)), { "uuid": "nonsense" }])),
        _ => Err("cannot connect to host-2:222: connection refused"),
    };
    assert_eq!(answer_lists(&mut desk, answer), 2);
    desk.shows("agents 1/2");
    desk.shows("here");
    for _ in 0..30 {
        desk.tick(1);
        answer_lists(&mut desk, answer);
    }
    desk.types("aj");
    desk.shows("cannot connect to host-2:222: connection refused");
    desk.shows("convocate-host init-agent --host host-2");
    // What was told once and is now away is unknown, with the age of the news.
    desk.types("1");
    for _ in 0..130 {
        desk.tick(1);
        answer_lists(&mut desk, |_| Err("no answer in time"));
    }
    desk.shows("? 2m");
    desk.shows("1 unknown");
}

#[test]
fn nobody_says_that_there_are_no_sessions_while_nobody_was_heard() {
    let mut desk = Desk::alone(1);
    desk.hides("No sessions yet");
    desk.shows("host-1: is being asked");
    let away = "cannot connect to host-1:222: connection refused";
    answer_lists(&mut desk, |_| Err(away));
    desk.hides("No sessions yet");
    desk.shows(&format!("host-1: {away}"));
    desk.types("\x1b[15~");
    answer_lists(&mut desk, |_| Ok(json!([])));
    desk.shows("No sessions yet. N makes one.");
}

#[test]
fn both_pages_tell_the_same_age_of_news() {
    let mut desk = Desk::furnished(80, 24);
    desk.event(1, "agent.heartbeat", None, &json!({ "sessions": 6 }));
    desk.tick(17);
    desk.event(1, "hub.lost", None, &json!({ "error": "it was reset" }));
    desk.shows("? 17s");
    desk.types("a");
    desk.shows("17s");
    desk.hides("now   it was reset");
}

#[test]
fn silent_agents_are_asked_ever_more_rarely() {
    let mut desk = Desk::alone(1);
    let mut asked = Vec::new();
    for second in 0..200 {
        if answer_lists(&mut desk, |_| Err("refused")) > 0 {
            asked.push(second);
        }
        desk.tick(1);
    }
    assert_eq!(asked, [0, 6, 18, 42, 90, 138, 186]);
    // F5 asks at once.
    desk.types("\x1b[15~");
    assert_eq!(answer_lists(&mut desk, |_| Ok(json!([]))), 1);
    desk.shows("agents 1/1");
}

#[test]
fn a_hub_that_goes_is_replaced_by_asking_and_comes_back() {
    let mut desk = Desk::furnished(80, 24);
    desk.event(5, "container.created", Some(40), &session(40, "not enrolled", -5));
    desk.selects("not enrolled");
    desk.shows("hub live");
    desk.news(Message::HubGone("the hub closed the connection".to_owned()));
    desk.shows("no hub");
    desk.shows("web server");
    desk.shows("only the hub knew it");
    let count = answer_lists(&mut desk, |_| Ok(json!([])));
    assert_eq!(count, 3);
    desk.hides("web server");
    desk.shows("1 session: 1 unknown");
    desk.news(Message::HubFound);
    desk.news(Message::HubLine(snapshot().to_string().into_bytes()));
    desk.shows("web server");
    desk.tick(60);
    assert_eq!(answer_lists(&mut desk, |_| Ok(json!([]))), 0);
}

#[test]
fn a_home_on_this_host_is_an_orphan_only_if_nobody_ever_owned_it() {
    let mut desk = Desk::alone(1);
    let home = |number, age| LocalHome {
        id: Uuid::parse(&id(number)).expect("an id"),
        session: None,
        changed: Wall::new(START - age, 0),
    };
    let homes = vec![home(1, 900), home(2, 900), home(3, 1)];
    let agents = vec![enrolled(1)];
    desk.news(Message::Host(HostFiles { agents, homes, ..HostFiles::default() }));
    desk.shows("2 unknown");
    answer_lists(&mut desk, |_| Ok(json!([session(1, "owned", 5)])));
    desk.shows("1 stopped, 1 orphan");
    desk.tick(3);
    answer_lists(&mut desk, |_| Ok(json!([])));
    desk.shows("1 session: 1 orphan");
    desk.tick(100);
    desk.news(Message::HubGone("still".to_owned()));
    desk.shows("2 sessions: 2 orphan");
}

#[test]
fn nothing_that_the_hub_says_ends_the_screen() {
    let mut desk = Desk::furnished(80, 24);
    let good = snapshot().to_string().into_bytes();
    for cut in (0..good.len()).step_by(97) {
        desk.news(Message::HubLine(good[..cut].to_vec()));
    }
    for line in ["null", "[]", "{\"snapshot\":{}}", "{\"event\":{}}", "{\"event\":[1]}", "\u{ff}"] {
        desk.news(Message::HubLine(line.as_bytes().to_vec()));
    }
    desk.news(Message::HubLine(vec![0xff, 0xfe]));
    desk.shows("unexpected line from the hub");
}

#[test]
fn two_operations_at_once_and_one_that_hangs() {
    let mut desk = Desk::furnished(120, 40);
    desk.selects("notes");
    desk.types("r");
    let (first, ..) = desk.asked();
    desk.selects("parser rewrite");
    desk.types("b");
    let (second, ..) = desk.asked();
    desk.shows("2 under way");
    desk.shows("starting 0s · notes");
    desk.shows("detaching 0s · parser");
    desk.tick(4);
    desk.shows("starting 4s · notes");
    desk.answers(second, Ok(json!(null)));
    desk.shows("detached every terminal of \"parser rewrite\" on host-1");
    desk.hides("detaching");
    assert!(matches!(desk.asked().2, Call::Get(_)), "its state now is asked for");
    desk.tick(11);
    desk.shows("starting 15s · notes");
    desk.selects("notes");
    desk.shows("starting 15s, no answer yet");
    desk.answers(first, Err("no answer in time; whether the request was carried out is not known"));
    desk.shows("restart \"notes\" on host-1: no answer in time");
    desk.tick(61);
    desk.hides("no answer in time");
    desk.types("m");
    desk.shows("restart \"notes\" on host-1: no answer in time");
    desk.shows("detached every terminal");
}

#[test]
fn a_host_without_claude_is_named() {
    let mut desk = Desk::furnished(200, 40);
    desk.selects("notes");
    desk.types("r");
    let (request, _, call) = desk.asked();
    let Call::Restart(restarted) = call else { panic!("{call:?}") };
    desk.answers(request, Err("the command ended at once with status 127"));
    desk.shows("restart \"notes\" on host-1: the command ended at once with status 127");
    let (request, _, call) = desk.asked();
    assert!(matches!(call, Call::Get(_)), "{call:?}");
    let ended = json!({ "at": "2026-01-01T00:00:00Z", "cause": "exit", "exit_code": 127 });
    let notes = with(session(3, "notes", 5), json!({ "uuid": restarted.id, "ended": ended }));
    desk.answers(request, Ok(notes));
    desk.shows("claude is not installed on host-1; run: convocate-host init-agent --host host-1");
}
