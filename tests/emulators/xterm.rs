//! A real xterm is asked for all that it knows of itself, before and after a session that has set
//! everything.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use crate::house::{can, everything, signal};
use crate::support::process::{CONVOCATE, Running, command};
use crate::support::root::Root;
use crate::support::wait::{PATIENCE, pause, wait_for, wait_until};
use crate::support::{self, Need};

/// Asks from a place of its own, since where the cursor stands is told as well.
const WATCHED: &str = r#"
    ask() {
        stty raw -echo min 0 time 10
        cat questions
        cat >"$1"
        stty "$settings"
    }
    settings=$(stty -g)
    printf '\033]2;mine\007'
    ask before
    sh -c 'echo $$ >pid; exec "$@"' program "$@" 2>words
    echo $? >status
    ask after
    touch over
    exec sleep 1000"#;

/// All of them are answered: reports of modes, of settings, of the cursor with its style, character
/// sets and flags, of tab stops, of colours, of keys, of titles.
fn questions() -> String {
    let private = [1, 3, 4, 5, 6, 7, 8, 9, 12, 25, 40, 45, 47, 66, 67, 69, 1000, 1001, 1002, 1003];
    let more = [1004, 1005, 1006, 1007, 1015, 1016, 1034, 1047, 1048, 1049, 2004];
    let modes = private.into_iter().chain(more).map(|mode| format!("\x1b[?{mode}$p"));
    let standard = [2, 4, 12, 20].map(|mode| format!("\x1b[{mode}$p"));
    let settings = ["m", "r", "s", " q", "\"q"].map(|name| format!("\x1bP$q{name}\x1b\\"));
    let palette = (0..16).chain([200]).map(|colour| format!("\x1b]4;{colour};?\x1b\\"));
    let colours = [10, 11, 12, 13, 14, 17, 19].map(|number| format!("\x1b]{number};?\x1b\\"));
    let others = ["\x1b[1$w", "\x1b[2$w", "\x1b[?4m", "\x1b[?1m", "\x1b[20t", "\x1b[21t"];
    let start = "\x1b[12;1H".to_owned();
    let all = [start].into_iter().chain(modes).chain(standard).chain(settings).chain(palette);
    all.chain(colours).chain(others.map(str::to_owned)).collect()
}

fn display(root: &Root) -> (Running, String) {
    let mut call = command(root, "Xvfb");
    call.args(["-displayfd", "1", "-nolisten", "tcp", "-ac", "-screen", "0", "900x700x24"]);
    let server = Running::start(&mut call);
    let number = wait_for(PATIENCE, "a display", || {
        let text = server.stdout.text();
        text.strip_suffix('\n').map(str::to_owned)
    });
    (server, format!(":{number}"))
}

#[test]
fn an_xterm_says_the_same_of_itself_afterwards() {
    let test = "an_xterm_says_the_same_of_itself_afterwards";
    let needs = [Need::Program("xterm"), Need::Program("Xvfb")];
    if !can(test) || !support::has(test, &needs) {
        return;
    }
    for is_agent_lost in [false, true] {
        let mut agent = everything();
        let (dir, root) = (agent.files.root.dir().to_owned(), &agent.files.root);
        fs::write(dir.join("questions"), questions()).expect("the root is ours");
        let (_server, display) = display(root);
        let mut call = command(root, "xterm");
        call.args(["-display", &display, "-geometry", "100x30"]);
        for setting in ["allowWindowOps: true", "disallowedWindowOps:", "cursorBlink: false"] {
            call.args(["-xrm", &format!("XTerm*{setting}")]);
        }
        call.args(["-e", "sh", "-c", WATCHED, "watched", CONVOCATE, "attach", "web", "--root"]);
        let xterm = Running::start(call.arg(&dir));
        wait_until(PATIENCE, "the session to have written", || dir.join("wrote").exists());
        // It is on its way, and xterm says nothing when it is there.
        pause(Duration::from_secs(1));
        if is_agent_lost {
            agent.kill();
            signal(&agent.files.root, Signal::TERM);
        } else {
            agent.client(&["background", "web"]).expect_done();
        }
        wait_until(PATIENCE, "the second answers", || dir.join("over").exists());
        let said = |name: &str| {
            let bytes = fs::read(dir.join(name)).expect("it was written");
            bytes.escape_ascii().to_string().replace("\\x1b", "\n\\x1b")
        };
        let before = said("before");
        assert!(before.matches('\n').count() > 60, "{before}\n{}", xterm.stderr.text());
        assert_eq!(said("after"), before, "{}", said("words"));
    }
}
