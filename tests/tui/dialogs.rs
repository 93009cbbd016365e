//! Questions and forms: what they hold, what they refuse, what becomes of them.

use convocate::rpc::call::{Call, Id};
use convocate::tui::keys::Key;
use convocate::tui::messages::Message;
use convocate::tui::model::ScreenAction;
use serde_json::json;

use crate::desk::{Desk, agent_id, id, running, session, snapshot, with};

fn named(number: usize) -> Id {
    serde_json::from_value(json!({ "id": id(number) })).expect("an id")
}

#[test]
fn a_dialog_holds_its_session_while_the_list_moves() {
    for (keys, answer, call) in [
        ("d", "parser rewrite\r", Call::Delete(named(2))),
        ("K", "y", Call::Kill(named(2))),
        ("o", "y", Call::Override(named(2))),
    ] {
        let mut desk = Desk::furnished(80, 24);
        desk.selects("parser rewrite");
        desk.types(keys);
        desk.shows(&format!("session \"parser rewrite\" ({}) on host-1", &id(2)[..8]));
        desk.shows(agent_id(1).as_str());
        // Everything moves: others are accessed, come and go, and it goes away itself.
        desk.event(2, "session.attached", Some(8), &json!({ "attached_count": 1 }));
        desk.event(1, "container.created", Some(50), &session(50, "new one", -10));
        desk.event(1, "container.deleted", Some(1), &json!(null));
        desk.event(1, "container.deleted", Some(2), &json!(null));
        desk.shows(&format!("session \"parser rewrite\" ({})", &id(2)[..8]));
        desk.types(answer);
        let (_, agent, asked) = desk.asked();
        assert_eq!((agent, asked), (agent_id(1), call));
    }
}

#[test]
fn only_yes_is_yes() {
    let mut desk = Desk::furnished(80, 24);
    desk.selects("notes");
    for answer in ["n", "N", "\x1b", "q", "\x03"] {
        desk.types("K");
        desk.shows("Kill session \"notes\"");
        desk.types(answer);
        desk.hides("Kill session");
        assert_eq!(desk.actions, [], "{answer:?}");
    }
    desk.types("K\r \tx");
    desk.presses(&Key::Paste("y".to_owned()));
    desk.shows("Kill session \"notes\"");
    assert_eq!(desk.actions, []);
    desk.types("Y");
    assert_eq!(desk.asked().2, Call::Kill(named(3)));
}

#[test]
fn what_is_removed_for_good_is_named() {
    let mut desk = Desk::furnished(80, 24);
    desk.selects("notes");
    desk.types("dy\rnote\r");
    desk.shows("Delete session \"notes\"");
    assert_eq!(desk.actions, [], "neither y nor another name is its name");
    desk.types("\x1b");
    desk.hides("Delete session");
    desk.types("dnotes\r");
    assert_eq!(desk.asked().2, Call::Delete(named(3)));
    // One without a name is named by its id.
    desk.selects("(no name)");
    desk.types("d");
    desk.shows(&format!("Type {} and press Enter", &id(6)[..8]));
    desk.types(&format!("{}\r", &id(6)[..8]));
    assert_eq!(desk.asked().2, Call::Delete(named(6)));
}

#[test]
fn leaving_asks_where_sessions_end_with_it() {
    let mut desk = Desk::furnished(80, 24);
    desk.model.ends_sessions = true;
    for answer in ["n", "\x1b"] {
        desk.types("q");
        desk.shows("Leave and end the 5 sessions that run?");
        desk.types(answer);
        assert_eq!(desk.actions, []);
    }
    desk.types("qy");
    assert_eq!(desk.actions, [ScreenAction::Quit]);
    let mut desk = Desk::new(80, 24);
    desk.model.ends_sessions = true;
    desk.types("q");
    assert_eq!(desk.actions, [ScreenAction::Quit], "nothing runs");
}

#[test]
fn a_form_is_checked_with_every_key() {
    let mut desk = Desk::furnished(120, 40);
    desk.types("n");
    desk.hides("must not be empty");
    desk.types("\r");
    desk.shows("name must not be empty");
    desk.types("a");
    desk.hides("must not be empty");
    desk.types("/");
    desk.shows("name \"a/\" must be");
    desk.types("\r");
    assert_eq!(desk.actions, [], "nothing wrong is asked for");
    desk.types("\x7fb\t");
    // Nothing stands in the port's field that a number would be typed behind.
    desk.hides("none8");
    for (bad, good, sentence) in [
        ("", "sh", ""),
        ("70000", "8080", "port \"70000\" must be"),
        ("", "u", ""),
        ("A.b", "web", "dns name \"A.b\" must be"),
        ("1x", "512m", "memory \"1x\" must be"),
        ("-", "1.5", "cpus \"-\" must be"),
        ("3", "100", "pids 3 must be"),
    ] {
        desk.presses(&Key::Ctrl('u'));
        desk.types(bad);
        desk.shows(sentence);
        desk.presses(&Key::Ctrl('u'));
        desk.types(good);
        desk.types("\t");
    }
    desk.types("y\r");
    let (request, agent, call) = desk.asked();
    assert_eq!(agent, agent_id(1));
    let Call::Create(create) = call else { unreachable!("{call:?}") };
    let create = serde_json::to_value(create).expect("JSON");
    assert_eq!(
        create,
        json!({
            "name": "ab", "command": "sh", "port": 8080, "protocol": "udp", "dns_name": "web",
            "memory": 512 << 20, "cpus": 1.5, "pids": 100, "docker": true,
        })
    );
    desk.shows("creating 0s");
    desk.answers(request, Ok(session(60, "ab", 0)));
    desk.hides("new session");
    assert_eq!(desk.selected(), "ab");
    desk.shows("created \"ab\" on host-1");
}

#[test]
fn what_the_agent_says_stands_whole_in_the_form_and_nothing_typed_is_lost() {
    let mut desk = Desk::furnished(80, 24);
    desk.types("nmine\r");
    let (request, ..) = desk.asked();
    let sentence = "dns name \"web\" is taken by session 00000000-0000-4000-8000-000000000000 on \
                    this agent; choose another name or change that one first";
    desk.answers(request, Err(sentence));
    for word in sentence.split(' ') {
        desk.shows(word);
    }
    desk.shows("mine");
    desk.types("2\r");
    let (request, _, call) = desk.asked();
    assert!(matches!(call, Call::Create(create) if create.name.as_str() == "mine2"));
    // Leaving it does not stop it; how it ends is told.
    desk.types("\x1b");
    desk.hides("new session");
    desk.answers(request, Err("no"));
    desk.shows("create \"mine2\" on host-1: no");
}

#[test]
fn an_agent_is_chosen_and_an_edit_says_only_what_changes() {
    let mut desk = Desk::furnished(120, 40);
    desk.types("n");
    desk.presses(&Key::Up);
    desk.presses(&Key::Right);
    desk.types("\tx\r");
    assert_eq!(desk.asked().1, agent_id(2));
    desk.types("\x1b");

    desk.selects("resolver");
    desk.types("e");
    desk.types("\r");
    desk.shows("nothing is changed");
    desk.types("\t\t");
    desk.presses(&Key::Ctrl('u'));
    desk.types("\r");
    let (request, agent, call) = desk.asked();
    let expected = json!({ "id": id(5), "port": 0 });
    assert_eq!(agent, agent_id(1));
    assert!(matches!(&call, Call::Edit(edit) if json!(edit) == expected), "{call:?}");
    let changed = with(running(session(5, "resolver", 7_300)), json!({ "port": 0 }));
    desk.answers(request, Ok(changed));
    desk.hides("53/udp");

    desk.types("c\r");
    let (_, _, call) = desk.asked();
    assert!(matches!(call, Call::Clone(copy) if copy.name.as_str() == "resolver copy"));
}

#[test]
fn an_edit_holds_its_session_too() {
    let mut desk = Desk::furnished(80, 24);
    desk.selects("notes");
    desk.types("e");
    desk.news(Message::HubLine(snapshot().to_string().into_bytes()));
    desk.event(1, "container.deleted", Some(3), &json!(null));
    desk.types(" 2\r");
    let (_, _, call) = desk.asked();
    assert!(matches!(call, Call::Edit(edit) if edit.id == named(3).id));
}

#[test]
fn without_a_session_keys_say_so() {
    let mut desk = Desk::new(80, 24);
    for key in ["\r", "d", "e", "n", "K"] {
        desk.types(key);
        assert_eq!(desk.actions, [], "{key:?}");
        assert!(desk.model.dialog.is_none());
    }
    desk.shows("no session is selected");
    desk.types("q");
    assert_eq!(desk.actions, [ScreenAction::Quit]);
}
