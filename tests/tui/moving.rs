//! Moving about: lists, filters, pages, and a great many sessions.

use convocate::base::rng::Rng;
use convocate::tui::keys::Key;
use convocate::tui::messages::Message;
use convocate::tui::model::ScreenAction;
use convocate::tui::page::Page;
use convocate::tui::paint::Painter;
use convocate::tui::view;
use serde_json::json;

use crate::desk::{COLOUR, Desk, agent_id, id, session, snapshot};

#[test]
fn the_selection_follows_its_session() {
    let mut desk = Desk::furnished(80, 24);
    desk.selects("notes");
    let at = desk.model.list(Page::Sessions).at;
    desk.event(1, "session.attached", Some(3), &json!({ "attached_count": 1 }));
    assert_eq!(desk.selected(), "notes");
    assert!(desk.model.list(Page::Sessions).at < at, "the newest access is first");
    desk.types(">>i");
    assert_eq!(desk.selected(), "notes");
    desk.types("g");
    assert_eq!(desk.selected(), "notes");
    // When it goes, its neighbour is selected, and no key was lost.
    desk.event(1, "container.deleted", Some(3), &json!(null));
    assert_ne!(desk.selected(), "notes");
    assert!(desk.model.selected_target().is_some());
}

#[test]
fn keys_move_and_groups_are_passed_over() {
    let mut desk = Desk::furnished(80, 24);
    desk.types("g");
    desk.presses(&Key::Home);
    let mut seen = vec![desk.selected()];
    for _ in 0..20 {
        desk.types("j");
        seen.push(desk.selected());
    }
    seen.dedup();
    assert_eq!(seen.len(), 9, "{seen:?}");
    for _ in 0..20 {
        desk.types("k");
    }
    assert_eq!(desk.selected(), seen[0]);
    desk.presses(&Key::End);
    assert_eq!(Some(&desk.selected()), seen.last());
}

#[test]
fn a_filter_is_typed_kept_and_taken_away() {
    let mut desk = Desk::furnished(80, 24);
    desk.types("/RESOLV");
    assert_eq!(desk.model.items.len(), 1);
    desk.types("\r");
    desk.shows("filter: RESOLV");
    assert_eq!(desk.selected(), "resolver");
    desk.types("\x1b");
    assert_eq!(desk.model.items.len(), 9);
    desk.types("/no such thing");
    desk.shows("No session has these words");
    // Letters are letters while a filter is typed.
    desk.types("dqK");
    assert_eq!(desk.actions, []);
    desk.types("\x1b");
    assert_eq!(desk.model.items.len(), 9);
    desk.types("/locked\r");
    assert_eq!(desk.selected(), "half moved");
    desk.types("\x1b");
    desk.types("a/host-2");
    desk.shows("host-2");
    desk.hides("host-3");
    desk.types("\r\r");
    assert_eq!((desk.model.page, desk.model.items.len()), (Page::Sessions, 2));
}

#[test]
fn a_filter_shows_only_what_is_seen_to_have_its_words() {
    let mut desk = Desk::new(80, 24);
    let sessions: Vec<_> = (1..=40).map(|at| session(at, &format!("task {at}"), 9)).collect();
    let agent = json!({ "id": agent_id(1).as_str(), "state": "connected", "sessions": sessions });
    desk.news(Message::HubFound);
    let line = json!({ "snapshot": { "seq": 1, "agents": [agent] } }).to_string();
    desk.news(Message::HubLine(line.into_bytes()));
    desk.types("/task 29");
    assert_eq!(desk.model.items.len(), 1, "parts of ids are not looked at");
    desk.types("\x15convocate:0.1.0");
    assert_eq!(desk.model.items.len(), 0, "no column of images is shown at this width");
    desk.types("\x15");
    desk.types(&id(29)[..4]);
    assert_eq!(desk.model.items.len(), 1, "the start of an id is typed for that session");
    let actions = desk.model.resized(desk.now(), (200, 24));
    desk.actions.extend(actions);
    desk.types("\x15convocate:0.1.0");
    assert_eq!(desk.model.items.len(), 40);
}

#[test]
fn the_sign_of_the_order_points_to_the_greatest() {
    let mut desk = Desk::furnished(80, 24);
    desk.shows("ACCESS");
    desk.types(">>");
    desk.shows("NAME▲");
    desk.types("i");
    desk.shows("NAME▼");
}

#[test]
fn pages_and_the_way_back() {
    let mut desk = Desk::furnished(80, 24);
    for page in [Page::Agents, Page::Events, Page::Messages, Page::Sessions] {
        desk.types("\t");
        assert_eq!(desk.model.page, page);
    }
    desk.types("a?");
    assert_eq!(desk.model.page, Page::Help);
    desk.types("s");
    assert_eq!(desk.model.page, Page::Settings);
    desk.types("\x1b");
    assert_eq!(desk.model.page, Page::Agents);
    desk.types("\x1b");
    assert_eq!(desk.model.page, Page::Sessions);
    desk.types("\x1b\x7f");
    assert_eq!(desk.model.page, Page::Sessions);
}

#[test]
fn attaching_takes_what_is_selected() {
    let mut desk = Desk::furnished(80, 24);
    desk.selects("resolver");
    desk.types("\r");
    let [ScreenAction::Attach(target)] = &desk.actions[..] else {
        unreachable!("{:?}", desk.actions)
    };
    assert_eq!((target.name.as_str(), &target.agent), ("resolver", &agent_id(1)));
    desk.actions.clear();
    desk.news(Message::Returned {
        text: "session \"resolver\": detached".to_owned(),
        is_failure: false,
    });
    assert_eq!(desk.actions, [ScreenAction::Repaint]);
    desk.shows("detached");
}

#[test]
fn what_is_pasted_does_nothing_to_sessions() {
    let mut desk = Desk::furnished(80, 24);
    desk.types("\x1b[200~dyKyq\rn\x1b[201~");
    assert_eq!(desk.actions, []);
    assert!(desk.model.dialog.is_none());
}

#[test]
fn ten_thousand_sessions_scroll_in_few_bytes() {
    let mut desk = Desk::new(120, 40);
    let sessions = |agent: usize| -> Vec<_> {
        let number = |at: usize| agent * 1_000 + at;
        let age = |at: usize| i64::try_from(number(at) * 7 % 90_000).expect("small");
        (0..1_000)
            .map(|at| session(number(at), &format!("session {}", number(at)), age(at)))
            .collect()
    };
    let agents: Vec<_> = (0..10)
        .map(|agent| {
            json!({
                "id": agent_id(agent).as_str(), "state": "connected", "sessions": sessions(agent),
            })
        })
        .collect();
    desk.news(Message::HubFound);
    let line = json!({ "snapshot": { "seq": 1, "agents": agents } }).to_string();
    desk.news(Message::HubLine(line.into_bytes()));
    desk.shows("10000 sessions");
    let mut painter = Painter::new(COLOUR);
    painter.paint(view::draw(&desk.model));
    let mut bytes = 0;
    for _ in 0..500 {
        desk.types("j");
        bytes += painter.paint(view::draw(&desk.model)).len();
    }
    assert_eq!(desk.model.list(Page::Sessions).at, 500);
    assert!(bytes / 500 < 400, "{} bytes for each line", bytes / 500);
    // An event among them costs a row, not a screen.
    desk.presses(&Key::Home);
    painter.paint(view::draw(&desk.model));
    let number = desk.model.selected.as_ref().map(|spot| spot.id).expect("one is selected");
    let event = json!({ "type": "session.attached", "agent_id": agent_id(0).as_str(),
        "timestamp": desk.now().wall, "session_id": number, "data": { "attached_count": 1 } });
    desk.news(Message::HubLine(json!({ "seq": 2, "event": event }).to_string().into_bytes()));
    let bytes = painter.paint(view::draw(&desk.model)).len();
    assert!(bytes < 300, "{bytes} bytes for an event");
}

#[test]
fn any_keys_at_any_size() {
    let keys: Vec<Key> = "nceEbBdDKkosSq?/jgiI<>ayYN1234mv \t\rxü日"
        .chars()
        .map(|sign| match sign {
            '\t' => Key::Tab,
            '\r' => Key::Enter,
            _ => Key::Char(sign),
        })
        .chain([Key::Esc, Key::Up, Key::Down, Key::PageUp, Key::PageDown, Key::Home, Key::End])
        .chain([Key::Left, Key::Right, Key::Backspace, Key::BackTab, Key::Ctrl('u'), Key::Delete])
        .chain([Key::Paste("pasted text".to_owned()), Key::Function(5), Key::Alt('x')])
        .collect();
    let mut rng = Rng::from_seed([9; 32]);
    let mut desk = Desk::furnished(80, 24);
    let mut painter = Painter::new(COLOUR);
    for round in 0..6_000 {
        let count = u32::try_from(keys.len()).expect("few");
        desk.presses(&keys[rng.below(count) as usize]);
        match rng.below(12) {
            0 => {
                let size = (rng.below(130) as usize, rng.below(50) as usize);
                let actions = desk.model.resized(desk.now(), size);
                desk.actions.extend(actions);
            }
            1 => desk.tick(u64::from(rng.below(20))),
            2 => desk.news(Message::HubLine(snapshot().to_string().into_bytes())),
            3 => desk.news(Message::HubGone(format!("gone {round}"))),
            4 => desk.event(1, "container.deleted", Some(rng.below(9) as usize), &json!(null)),
            _ => {}
        }
        for action in std::mem::take(&mut desk.actions) {
            if let (ScreenAction::Ask { request, .. }, true) = (action, rng.below(3) > 0) {
                let answer = if rng.below(2) == 0 { Err("no") } else { Ok(json!([])) };
                desk.answers(request, answer);
            }
        }
        painter.paint(view::draw(&desk.model));
    }
}
