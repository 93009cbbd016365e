//! What a terminal sends after a session was left is no key: not to the screen, which deletes
//! sessions by keys, nor to the shell from which somebody attached.

use std::time::{Duration, Instant};

use crate::house::{can, person, watched};
use crate::support::agent::Agent;
use crate::support::emulator::{ANSWER, Emulator};
use crate::support::wait::pause;

/// Keys of the screen that ask, change and confirm, and answers that somebody asked for earlier.
const KEYS: &[u8] = b"jdy\rjjDyy\rkKy\rr2c\rnn\x1b[Bd\ry/x\r";
const REPLY: &[u8] = b"\x1b]11;rgb:3434/6464/7272\x1b\\";
const REPLIES: &[&[u8]] = &[
    REPLY,
    b"\x1b[24;80R",
    b"\x1b[>41;390;0c\x1b[?1004;1$y\x1b[?0u",
    b"\x1bP1$r0;4;31m\x1b\\\x1bP>|jdy(390)\x1b\\",
    b"\x1b]52;c;amR5amR5amR5\x07",
    b"\x1b[<0;3;3M\x1b[I\x1b[O\x1b[Mjdy",
];

/// What the dialogs and other pages say.
const PRESSED: &[&str] = &[
    "Delete session \"",
    "Kill session \"",
    "new session on",
    "filter: ",
    "settings of",
    "CONNECTION",
];

fn agent() -> Agent {
    let agent = Agent::start();
    for name in ["alpha", "beta", "web"] {
        agent.client(&["new", name, "--command", "env PS1='go> ' sh"]).expect_done();
    }
    agent
}

/// Attaches to the first session of the screen and leaves it. The terminal has been asked then.
fn left(emulator: &mut Emulator) {
    emulator.answers = false;
    emulator.until_text("3 sessions");
    emulator.types(b"\r");
    emulator.until_text("go>");
    emulator.written.clear();
    let asked = emulator.screen.questions;
    emulator.detaches();
    emulator.until("question", |screen| screen.questions > asked);
}

/// The screen is back, a key that is pressed now counts, and none did before.
#[track_caller]
fn nothing_was_pressed(case: &str, agent: &Agent, emulator: &mut Emulator) {
    emulator.until_text(": detached");
    emulator.until_text("3 sessions");
    emulator.types(b"?");
    emulator.until_text("With the selected session");
    let written = String::from_utf8_lossy(&emulator.written).into_owned();
    for text in PRESSED {
        assert!(!written.contains(text), "{case}: {text:?} in {written}");
    }
    emulator.types(b"\x1b");
    emulator.until_text("3 sessions");
    let listed = agent.client(&["ls", "--json"]).expect_done().out();
    assert_eq!(listed.matches("\"running\":true").count(), 1, "{case}: {listed}");
    assert_eq!(listed.matches("\"uuid\"").count(), 3, "{case}: {listed}");
}

/// Every reply with keys around it, in two pieces.
fn flood(emulator: &mut Emulator, cut: usize) {
    for reply in REPLIES {
        let (first, second) = reply.split_at(cut.min(reply.len()));
        emulator.types(KEYS);
        emulator.types(first);
        emulator.shows(Duration::from_millis(1));
        emulator.types(second);
    }
}

#[test]
fn a_terminal_that_answers_late_presses_no_key() {
    if !can("a_terminal_that_answers_late_presses_no_key") {
        return;
    }
    let agent = agent();
    let mut emulator = Emulator::start((100, 30), &watched(&agent.files.root, &["screen"]));
    // Sessions are sorted by when they were used: the first one stays the first.
    for (number, millis) in [0, 5, 100, 500, 1000, 2000].into_iter().enumerate() {
        left(&mut emulator);
        let late = Instant::now() + Duration::from_millis(millis);
        flood(&mut emulator, number * 3);
        while Instant::now() < late {
            flood_slowly(&mut emulator, number);
        }
        // The answer itself in two pieces, and what is known by then: more answers.
        let (first, second) = ANSWER.split_at(1 + number);
        emulator.types(first);
        pause(Duration::from_millis(20));
        emulator.types(second);
        REPLIES[..5].iter().for_each(|reply| emulator.types(reply));
        nothing_was_pressed(&format!("{millis} ms"), &agent, &mut emulator);
    }
    emulator.types(b"q");
    emulator.until_text("back with 0");
}

fn flood_slowly(emulator: &mut Emulator, cut: usize) {
    emulator.types(KEYS);
    emulator.types(&REPLY[..=cut]);
    emulator.shows(Duration::from_millis(40));
    emulator.types(&REPLY[cut + 1..]);
}

#[test]
fn a_reply_cut_at_any_byte_is_no_key() {
    if !can("a_reply_cut_at_any_byte_is_no_key") {
        return;
    }
    let agent = agent();
    let mut emulator = Emulator::start((100, 30), &watched(&agent.files.root, &["screen"]));
    for cut in 0..REPLY.len() {
        left(&mut emulator);
        flood(&mut emulator, cut);
        emulator.types(ANSWER);
        nothing_was_pressed(&format!("cut at {cut}"), &agent, &mut emulator);
    }
}

#[test]
fn a_terminal_that_never_answers_presses_no_key() {
    if !can("a_terminal_that_never_answers_presses_no_key") {
        return;
    }
    let agent = agent();
    let mut emulator = Emulator::start((100, 30), &watched(&agent.files.root, &["screen"]));
    // Nothing at all; a flood up to shortly before the deadline.
    left(&mut emulator);
    nothing_was_pressed("silence", &agent, &mut emulator);
    left(&mut emulator);
    let until = Instant::now() + Duration::from_millis(2_300);
    while Instant::now() < until {
        flood(&mut emulator, 4);
        emulator.shows(Duration::from_millis(10));
    }
    nothing_was_pressed("a flood", &agent, &mut emulator);
    // A reply that began before the deadline and ends behind it.
    left(&mut emulator);
    let asked = Instant::now();
    emulator.types(KEYS);
    while asked.elapsed() < Duration::from_millis(2_500) {
        emulator.shows(Duration::from_millis(10));
    }
    for byte in REPLY {
        emulator.types(&[*byte]);
        emulator.shows(Duration::from_millis(60));
    }
    nothing_was_pressed("over the deadline", &agent, &mut emulator);
    // Thousands of answers where one was asked for.
    left(&mut emulator);
    emulator.types(KEYS);
    for _ in 0..2_000 {
        emulator.types(ANSWER);
    }
    nothing_was_pressed("many answers", &agent, &mut emulator);
}

/// What a person types is discarded up to the answer or the deadline, and not a byte more.
#[test]
fn a_shell_reads_what_is_typed_behind_the_answer() {
    if !can("a_shell_reads_what_is_typed_behind_the_answer") {
        return;
    }
    let agent = agent();
    for is_answered in [true, false] {
        let mut emulator = person(&agent.files.root, &["attach", "alpha"]);
        emulator.answers = false;
        emulator.until_text("go>");
        emulator.detaches();
        emulator.until("question", |screen| screen.questions == 1);
        emulator.types(b"rm -rf /\r");
        emulator.types(REPLY);
        if is_answered {
            emulator.types(&[ANSWER, b"kept\n"].concat());
        }
        emulator.until_text("back with 0");
        if !is_answered {
            emulator.types(b"kept\r");
        }
        emulator.until_text("read:kept.");
    }
}
