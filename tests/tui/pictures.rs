//! A picture of every screen at three sizes, to be read in a review.

use std::fs;
use std::path::PathBuf;

use convocate::base::time::Wall;
use convocate::base::uuid::Uuid;
use convocate::fleet::listing::LocalHome;
use convocate::tui::keys::Key;
use convocate::tui::messages::{HostFiles, Message};
use serde_json::json;

use crate::attention::attention;
use crate::desk::{Desk, START, enrolled, id};

const SIZES: [(usize, usize); 3] = [(80, 24), (120, 40), (300, 100)];

/// Draws a screen at all sizes and compares.
#[track_caller]
fn picture(name: &str, furnish: fn(usize, usize) -> Desk, act: impl Fn(&mut Desk)) {
    let is_drawing = std::env::var_os("CONVOCATE_DRAW").is_some();
    for (cols, rows) in SIZES {
        let mut desk = furnish(cols, rows);
        act(&mut desk);
        let drawn = desk.screen();
        assert_eq!(drawn.lines().count(), rows);
        let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let path = top.join(format!("tests/tui/screens/{name}-{cols}x{rows}.txt"));
        if is_drawing {
            fs::write(&path, &drawn).expect("the sources can be written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == drawn,
            "{} is now, if that is right CONVOCATE_DRAW=1 keeps it:\n{drawn}",
            path.display()
        );
    }
}

#[test]
fn sessions() {
    picture("sessions", Desk::furnished, |_| {});
}

#[test]
fn sessions_by_agent_with_work_under_way() {
    picture("sessions-grouped", Desk::furnished, |desk| {
        desk.selects("notes");
        desk.types("gr");
        desk.selects("parser rewrite");
        desk.types("Ky");
        desk.tick(12);
    });
}

#[test]
fn sessions_that_wait() {
    picture("sessions-attention", Desk::furnished, |desk| {
        for (agent, number, state, reason) in [
            (1, 1, "working", "a background command runs"),
            (1, 2, "waiting", "permission prompt"),
            (1, 5, "done", ""),
            (2, 7, "waiting", "input needed"),
        ] {
            let told = attention(state, reason, 60 * i64::try_from(number).expect("small"));
            desk.event(agent, "session.attention", Some(number), &told);
        }
        desk.types("w");
    });
}

#[test]
fn sessions_filtered() {
    picture("sessions-filtered", Desk::furnished, |desk| desk.types("/host-1 run"));
}

#[test]
fn a_failure() {
    picture("sessions-failure", Desk::furnished, |desk| {
        desk.selects("notes");
        desk.types("r");
        let (request, ..) = desk.asked();
        let sentence = "not enough memory on this host: session notes wants 4g, sessions that run \
                        have 27g pledged already, and at most 28.8g (90 % of 32g) may be; stop one \
                        or lower its cap";
        desk.answers(request, Err(sentence));
    });
}

#[test]
fn an_orphan() {
    picture("sessions-orphan", Desk::new, |desk| {
        let home = LocalHome {
            id: Uuid::parse(&id(77)).expect("an id"),
            session: None,
            changed: Wall::new(START - 100_000, 0),
        };
        let agents = vec![enrolled(1)];
        let news = HostFiles { agents, homes: vec![home], ..HostFiles::default() };
        desk.news(Message::Host(news));
        desk.news(Message::HubGone(
            "no hub answers on /run/convocate/status.sock: gone".to_owned(),
        ));
        let requests: Vec<_> = std::mem::take(&mut desk.actions).into_iter().collect();
        for action in requests {
            if let convocate::tui::model::ScreenAction::Ask { request, .. } = action {
                desk.answers(request, Ok(json!([])));
            }
        }
    });
}

#[test]
fn no_agents() {
    picture("nothing", Desk::new, |desk| {
        let problem = "/etc/convocate/agent-keys/x/agent-host: empty, a host or host:port is \
                       expected; repair it with: convocate-host init-agent --host HOST";
        let problems = vec![problem.to_owned()];
        desk.news(Message::Host(HostFiles { problems, ..HostFiles::default() }));
    });
}

#[test]
fn agents() {
    picture("agents", Desk::furnished, |desk| desk.types("a"));
}

#[test]
fn events() {
    picture("events", Desk::furnished, |desk| {
        desk.event(1, "container.stopped", Some(2), &json!({ "cause": "exit", "exit_code": 0 }));
        desk.event(1, "session.detached", Some(1), &json!({ "attached_count": 1 }));
        desk.event(3, "hub.connected", None, &json!(null));
        desk.event(2, "agent.heartbeat", None, &json!({ "sessions": 2 }));
        desk.types("3");
    });
}

#[test]
fn messages() {
    picture("messages", Desk::furnished, |desk| {
        desk.selects("notes");
        desk.types("r");
        let (request, ..) = desk.asked();
        desk.answers(request, Ok(json!({})));
        desk.actions.clear();
        desk.types("b");
        let (request, ..) = desk.asked();
        desk.answers(
            request,
            Err("no answer in time; whether the request was carried out is not known"),
        );
        desk.types("r");
        desk.tick(3);
        desk.types("m");
    });
}

#[test]
fn settings() {
    picture("settings", Desk::furnished, |desk| {
        desk.selects("far away");
        desk.types("s");
    });
}

#[test]
fn help() {
    picture("help", Desk::furnished, |desk| desk.types("?"));
}

#[test]
fn a_question() {
    picture("delete", Desk::furnished, |desk| {
        desk.selects("parser rewrite");
        desk.types("d");
    });
}

#[test]
fn a_new_session() {
    picture("new", Desk::furnished, |desk| {
        desk.types("n");
        desk.types("web/2\t\t");
        desk.presses(&Key::Ctrl('u'));
        desk.types("70000\t\tWeb\t9");
    });
}

#[test]
fn a_refused_edit() {
    picture("edit-refused", Desk::furnished, |desk| {
        desk.selects("resolver");
        desk.types("e\t\t");
        desk.presses(&Key::Ctrl('u'));
        desk.types("8080\r");
        let (request, ..) = desk.asked();
        desk.answers(request, Err("port 8080/udp already in use by session \"web server\""));
    });
}

/// What the README shows is what the screen shows, but for its empty lines.
#[test]
fn the_readme_shows_it_as_it_is() {
    let directory = env!("CARGO_MANIFEST_DIR");
    let read = |path: &str| fs::read_to_string(format!("{directory}/{path}")).expect("a text");
    let screen = read("tests/tui/screens/sessions-grouped-80x24.txt");
    let lines = screen.lines().filter(|line| !line.is_empty());
    let shown: String = lines.map(|line| format!("    {line}\n")).collect();
    assert!(read("README.md").contains(&shown), "README.md shows another screen than:\n{shown}");
}
