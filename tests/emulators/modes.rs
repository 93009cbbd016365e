//! A session sets everything that a terminal has, and it is all back however the session is left.

use rustix::process::Signal;

use crate::house::{WRITTEN, can, everything, person, settings_are_back, signal, watched};
use crate::support::agent::Agent;
use crate::support::emulator::{Emulator, State};
use crate::support::terminal::Terminal;

const AWAY: &str = "reconnecting, Ctrl-C gives up";

/// A way out, in front of an emulator. The bytes are typed.
type WayOut = (&'static str, fn(&mut Agent, &mut Emulator));

const WAYS_OUT: &[WayOut] = &[
    ("detached by keys", |_, emulator| emulator.detaches()),
    ("detached by another one", |agent, _| {
        agent.client(&["background", "web"]).expect_done();
    }),
    ("the session is killed", |agent, _| {
        agent.client(&["kill", "web"]).expect_done();
    }),
    ("SIGTERM", |agent, _| signal(&agent.files.root, Signal::TERM)),
    ("SIGHUP", |agent, _| signal(&agent.files.root, Signal::HUP)),
    ("the agent is gone, Ctrl-C", |agent, emulator| {
        agent.kill();
        emulator.until_text(AWAY);
        emulator.types(b"\x03");
    }),
    ("the agent is gone, SIGTERM", |agent, emulator| {
        agent.kill();
        emulator.until_text(AWAY);
        signal(&agent.files.root, Signal::TERM);
    }),
];

#[test]
fn everything_that_a_session_sets_is_set_back() {
    if !can("everything_that_a_session_sets_is_set_back") {
        return;
    }
    for (way, leave) in WAYS_OUT {
        let mut agent = everything();
        let mut emulator = person(&agent.files.root, &["attach", "web"]);
        emulator.until_text(WRITTEN);
        let set = emulator.screen.state.clone();
        assert!(set.modes.len() > 15 && set.colours.len() == 5, "{way}: {set:?}");
        assert!(set.kitty.iter().all(|(flags, stack)| *flags > 0 && !stack.is_empty()), "{set:?}");
        leave(&mut agent, &mut emulator);
        emulator.until_text("back with");
        emulator.types(b"typed\r");
        emulator.until_text("read:typed.");
        let State { title, .. } = &emulator.screen.state;
        assert_eq!(title, "mine", "{way}");
        let mine = State { title: "mine".to_owned(), ..State::default() };
        assert_eq!(emulator.screen.state, mine, "{way}");
        let shown = emulator.screen.text();
        assert!(shown.starts_with("above the screen\n"), "{way}: {shown}");
        assert_eq!((&*emulator.screen.forbidden, emulator.screen.questions), (&[][..], 1), "{way}");
        settings_are_back(&agent.files.root);
    }
}

/// What tmux knows of a terminal.
const FORMATS: &str = "#{alternate_on} #{cursor_flag} #{insert_flag} #{keypad_cursor_flag} \
    #{keypad_flag} #{mouse_all_flag} #{mouse_any_flag} #{mouse_button_flag} #{mouse_sgr_flag} \
    #{mouse_standard_flag} #{mouse_utf8_flag} #{origin_flag} #{pane_tabs} #{wrap_flag} \
    #{scroll_region_upper} #{scroll_region_lower} #{pane_title}";

#[test]
fn tmux_knows_no_difference_afterwards() {
    if !can("tmux_knows_no_difference_afterwards") {
        return;
    }
    for is_agent_lost in [false, true] {
        let mut agent = everything();
        // The settings and the title are there when the program's id is.
        let (root, size) = (&agent.files.root, (100, 30));
        let terminal = Terminal::start(root, "tmux", size, &watched(root, &["show", "web"]));
        terminal.wait_for("back with 0");
        let before = terminal.tells(FORMATS);
        assert!(before.ends_with(" 0 29 mine"), "{before}");
        drop(terminal);
        let terminal = Terminal::start(root, "tmux", size, &watched(root, &["attach", "web"]));
        terminal.wait_for(WRITTEN);
        assert_ne!(terminal.tells(FORMATS), before);
        if is_agent_lost {
            agent.process().signal(Signal::KILL);
            terminal.wait_for(AWAY);
            signal(root, Signal::TERM);
        } else {
            agent.client(&["background", "web"]).expect_done();
        }
        terminal.wait_for("back with");
        assert_eq!(terminal.tells(FORMATS), before);
        let shown = terminal.screen();
        assert!(shown.starts_with("above the screen\n"), "{shown}");
        drop(terminal);
        agent.kill();
    }
}
