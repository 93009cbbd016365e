//! Real programs in a real tmux draw the same screen through the filter as without it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use convocate::terminal::filter::{Clipboard, Filter};

use crate::support::emulator::{Emulator, Screen};
use crate::support::process::{command, run};
use crate::support::root::Root;
use crate::support::terminal::Terminal;
use crate::support::wait::PATIENCE;
use crate::support::{self, Need};

/// A program, what is typed into it and seen then, one after the other, and what its last screen
/// has.
struct Program {
    name: &'static str,
    command: &'static str,
    typed: &'static [(&'static str, &'static [u8])],
    last: &'static str,
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "vim",
        command: "vim -u NONE -N -c 'syntax on' -c 'set nowrap number tgc laststatus=2' text",
        typed: &[
            ("int main", b":vsplit\r"),
            ("int main", b"0ihello \xe6\x97\xa5\xf0\x9f\xa6\x80 \x1b"),
            ("hello", b"j>>:set list\r"),
        ],
        last: "hello",
    },
    Program {
        name: "less",
        command: "less -R text",
        typed: &[("needle", b" "), ("line 40", b"/line 9\r"), ("line 90", b"gg-N\rG")],
        last: "(END)",
    },
    Program {
        name: "htop",
        command: "htop -d 5",
        typed: &[("Load average", b"\x1bOQ"), ("Setup", b"\x1b[B\x1b[B"), ("Colors", b"\x1bOP")],
        last: "Colors",
    },
    Program {
        name: "tmux",
        command: "env -u TMUX tmux -f /dev/null -S inner new-session 'cat text; exec cat'",
        typed: &[
            ("line 100", b"\x02\x02%"),
            ("100", b"\x02\x02\""),
            ("100", b"printf '\\033[38;2;1;200;3mtrue\\033[0m \\033[4:3mcurl\\033[0m\\n'\r"),
            ("true", b"\x02\x02["),
        ],
        last: "line 100",
    },
];

fn text() -> String {
    let lines = (1..=100).map(|line| {
        format!("line {line} \x1b[38;5;{line}mcolour\x1b[0m \x1b[48;2;{line};0;90mtrue\x1b[m\n")
    });
    format!("int main(void) {{ return 0; }} /* 日本 */ 🦀 needle\n{}", lines.collect::<String>())
}

/// What the program writes to a terminal through tmux, as a session's does.
fn recorded(root: &Root, program: &Program) -> Vec<u8> {
    let mut call = command(root, "tmux");
    call.args(["-f", "/dev/null", "-S", "outer", "new-session"]).arg(program.command);
    let mut emulator = Emulator::start((100, 30), &call);
    for (seen, typed) in program.typed {
        emulator.until_text(seen);
        emulator.types(typed);
        emulator.shows(Duration::from_millis(300));
    }
    emulator.until_text(program.last);
    emulator.shows(Duration::from_millis(300));
    for socket in ["outer", "inner"] {
        let mut call = command(root, "tmux");
        let _gone = run(call.args(["-S", socket, "kill-server"]), b"", PATIENCE);
    }
    emulator.written
}

fn filtered(bytes: &[u8], size: usize) -> Vec<u8> {
    let (mut filter, mut output) = (Filter::new(Clipboard::Writable), Vec::new());
    bytes.chunks(size).for_each(|piece| filter.feed(piece, &mut output));
    output
}

/// The screen that bytes leave in a tmux, with its colours.
fn shown(root: &Root, name: &str, bytes: &[u8]) -> String {
    fs::write(root.dir().join(name), bytes).expect("the root is ours");
    let mut call = Command::new("sh");
    let script = "stty raw -echo; cat \"$0\"; touch \"$0.shown\"; exec sleep infinity";
    call.args(["-c", script]).arg(root.dir().join(name));
    let terminal = Terminal::start(root, name, (100, 30), &call);
    support::wait::wait_until(PATIENCE, "all to be shown", || {
        root.dir().join(format!("{name}.shown")).exists()
    });
    let mut last = terminal.escapes();
    loop {
        support::wait::pause(Duration::from_millis(200));
        let now = terminal.escapes();
        if now == last {
            let modes = "#{alternate_on} #{cursor_flag} #{cursor_x} #{cursor_y} \
                         #{keypad_cursor_flag} #{scroll_region_upper} #{mouse_any_flag}";
            return format!("{now}{}", terminal.tells(modes));
        }
        last = now;
    }
}

#[test]
fn programs_draw_the_same_through_the_filter() {
    let test = "programs_draw_the_same_through_the_filter";
    if !support::has(test, &[Need::Program("tmux")]) {
        return;
    }
    for program in PROGRAMS {
        if !support::has(test, &[Need::Program(program.name)]) {
            continue;
        }
        let root = Root::new();
        fs::write(root.dir().join("text"), text()).expect("the root is ours");
        let bytes = recorded(&root, program);
        let kept = filtered(&bytes, 1000);
        assert_eq!(filtered(&bytes, 7), kept, "{}", program.name);
        let through = shown(&root, "filtered", &kept);
        assert_eq!(through, shown(&root, "plain", &bytes), "{}", program.name);
        assert!(through.contains('\x1b'), "{}: {through}", program.name);
        // Of what tmux itself writes, questions are all that is gone.
        let mut screen = Screen::new(100, 30);
        screen.feed(&kept);
        assert_eq!((screen.questions, &*screen.forbidden), (0, &[][..]), "{}", program.name);
        let share = 100 * kept.len() / bytes.len();
        eprintln!("{}: {} bytes, {share} % of them kept", program.name, bytes.len());
    }
}
