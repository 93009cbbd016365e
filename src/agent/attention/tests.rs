//! What looks make of a session, one after the other.

use super::*;
use crate::rpc::attention::AttentionState::{Done, Idle, Unknown, Waiting, Working};

fn at(seconds: u64) -> Now {
    let wall = Wall::new(1_800_000_000 + i64::try_from(seconds).unwrap(), 0);
    Now { mono: Mono::from_nanos(seconds * 1_000_000_000), wall }
}

fn claim(pid: u32, started_at: u64, words: &str, process: Process) -> Claim {
    let text = format!(r#"{{"pid":{pid},"procStart":"7","startedAt":{started_at}{words}}}"#);
    Claim { file: StatusFile::parse(pid, text.as_bytes()), process }
}

fn status(word: &str) -> String {
    match word.split_once('/') {
        Some((word, what)) => format!(r#","status":"{word}","waitingFor":"{what}""#),
        None => format!(r#","status":"{word}""#),
    }
}

/// One program, alive.
fn says(word: &str) -> Look {
    Look::Files(vec![claim(9, 1, &status(word), Process::Alive)])
}

/// A session before rules of ours, and the time, which goes on by a second with each look.
struct Played {
    known: Known,
    rules: Rules,
    seconds: u64,
}

impl Played {
    fn new() -> Played {
        Played { known: Known::default(), rules: Rules::default(), seconds: 0 }
    }

    /// What is told after a look, if it is news.
    fn look(&mut self, look: &Look) -> Option<Option<AttentionState>> {
        self.seconds += 1;
        let is_new = self.known.saw(at(self.seconds), &self.rules, look);
        is_new.then(|| self.known.state())
    }

    fn reason(&self) -> &str {
        self.known.told().map_or("", |told| &told.reason)
    }
}

#[test]
fn each_transition_is_told_once() {
    let mut played = Played::new();
    for (look, told) in [
        (Look::Files(Vec::new()), None),
        // The first-run screens: a file without a status.
        (Look::Files(vec![claim(9, 1, "", Process::Alive)]), None),
        (says("idle"), Some(Some(Idle))),
        (says("idle"), None),
        (says("busy"), Some(Some(Working))),
        (says("busy"), None),
        (says("waiting/permission prompt"), Some(Some(Waiting))),
        (says("waiting/permission prompt"), None),
        (says("waiting/input needed"), Some(Some(Waiting))),
        (says("busy"), Some(Some(Working))),
        (says("shell"), Some(Some(Working))),
        (says("idle"), Some(Some(Done))),
        (says("idle"), None),
        (says("dreaming"), Some(Some(Unknown))),
        (says("idle"), Some(Some(Done))),
        (Look::Failed("it is away"), Some(Some(Unknown))),
        (says("idle"), Some(Some(Done))),
        (Look::Files(Vec::new()), Some(None)),
        (Look::Files(Vec::new()), None),
        (says("idle"), Some(Some(Idle))),
    ] {
        // The clock does not stand in these files, and the same wait is no new one.
        assert_eq!(played.look(&look).map(Some), told.map(Some), "{look:?}");
    }
}

#[test]
fn what_nobody_has_looked_at_is_done_until_then() {
    let mut played = Played::new();
    assert_eq!(played.look(&says("idle")), Some(Some(Idle)), "no turn was seen");
    assert!(!played.known.looked_at());
    played.look(&says("busy"));
    assert!(!played.known.looked_at(), "it still works");
    assert_eq!(played.look(&says("idle")), Some(Some(Done)));
    let since = played.known.told().unwrap().since;
    assert!(played.known.looked_at() && !played.known.looked_at());
    assert_eq!(played.known.state(), Some(Idle));
    assert_eq!(played.known.told().unwrap().since, since, "it has been so since the turn ended");
    assert_eq!(played.look(&says("idle")), None);
    // A dialog that was refused ends a turn, too.
    played.look(&says("waiting/permission prompt"));
    assert_eq!(played.look(&says("idle")), Some(Some(Done)));
}

#[test]
fn only_a_process_that_is_there_counts() {
    for (process, told) in
        [(Process::Alive, Some(Waiting)), (Process::Gone, None), (Process::Unseen, Some(Unknown))]
    {
        let mut played = Played::new();
        let file = claim(9, 1, &status("waiting/permission prompt"), process);
        played.look(&Look::Files(vec![file]));
        assert_eq!(played.known.state(), told, "{process:?}");
    }
}

#[test]
fn one_that_was_killed_is_unknown_until_another_comes_or_its_file_goes() {
    let killed = || claim(9, 1, &status("busy"), Process::Gone);
    let mut played = Played::new();
    played.look(&says("busy"));
    assert_eq!(played.look(&Look::Files(vec![killed()])), Some(Some(Unknown)));
    assert_eq!(played.reason(), "the program was killed");
    assert_eq!(played.look(&Look::Files(vec![killed()])), None);
    let next = claim(10, 2, &status("idle"), Process::Alive);
    assert_eq!(played.look(&Look::Files(vec![killed(), next])), Some(Some(Idle)), "a new program");
    assert_eq!(played.look(&Look::Files(vec![killed()])), Some(None), "that one has left properly");
    // Nobody here has seen it alive: it is from before.
    assert_eq!(Played::new().look(&Look::Files(vec![killed()])), None);
}

#[test]
fn of_several_programs_one_that_waits_comes_first_and_then_the_newest() {
    let of = |words: &[(u32, u64, &str)]| {
        let claims = words
            .iter()
            .map(|(pid, began, word)| claim(*pid, *began, &status(word), Process::Alive));
        let mut played = Played::new();
        played.look(&Look::Files(claims.collect()));
        played.known.state()
    };
    assert_eq!(of(&[(1, 5, "busy"), (2, 6, "idle")]), Some(Idle));
    assert_eq!(of(&[(1, 6, "busy"), (2, 5, "idle")]), Some(Working));
    assert_eq!(of(&[(1, 5, "waiting/input needed"), (2, 6, "busy")]), Some(Waiting));
    // A helper that a program has started says nothing of the session.
    let helper = claim(3, 9, &format!(r#"{},"kind":"bg""#, status("busy")), Process::Alive);
    let own = claim(1, 5, &status("idle"), Process::Alive);
    let mut played = Played::new();
    assert_eq!(played.look(&Look::Files(vec![helper, own])), Some(Some(Idle)));
}

#[test]
fn a_file_that_is_torn_makes_it_unknown_unless_its_process_is_gone() {
    for (process, told) in
        [(Process::Alive, Some(Unknown)), (Process::Unseen, Some(Unknown)), (Process::Gone, None)]
    {
        let mut played = Played::new();
        played.look(&Look::Files(vec![Claim { file: None, process }]));
        assert_eq!(played.known.state(), told, "{process:?}");
    }
}

#[test]
fn a_reason_is_one_short_line_that_shows() {
    let mut played = Played::new();
    let evil = format!("a\\n\\tb\\u001b[2J\\u202e{}", "日".repeat(80));
    played.look(&says(&format!("waiting/{evil}")));
    let reason = played.reason().to_owned();
    assert!(reason.starts_with("a b\\u{1b}[2J\\u{202e}日"), "{reason}");
    played.look(&says(&format!("waiting/{}", "w".repeat(200))));
    assert_eq!(played.reason().chars().count(), ATTENTION_REASON_CHARS_MAX);
    assert!(played.known.told().unwrap().check());
    played.look(&says("\\u001b]0;x"));
    assert_eq!(played.known.state(), Some(Unknown));
    assert!(played.known.told().unwrap().check(), "{}", played.reason());
}

#[test]
fn a_wait_for_the_same_is_news_if_it_began_anew() {
    let waits = |since: u64| {
        let words = format!(r#"{},"statusUpdatedAt":{since}000"#, status("waiting/input needed"));
        Look::Files(vec![claim(9, 1, &words, Process::Alive)])
    };
    let mut played = Played::new();
    assert!(played.look(&waits(1_700_000_000)).is_some());
    assert_eq!(played.known.told().unwrap().since, Wall::new(1_700_000_000, 0));
    assert_eq!(played.look(&waits(1_700_000_000)), None);
    assert!(played.look(&waits(1_700_000_009)).is_some());
    // A time to come is none: it is so since now.
    let mut played = Played::new();
    played.look(&waits(1_900_000_000));
    assert_eq!(played.known.told().unwrap().since, at(1).wall);
}

#[test]
fn what_was_so_before_a_text_was_sent_is_not_what_is_waited_for() {
    let mut played = Played::new();
    let settled = |played: &Played, seconds| played.known.settled(at(seconds).mono);
    assert_eq!(settled(&played, 0), None, "nothing is known");
    played.look(&says("idle"));
    assert_eq!(settled(&played, 1), Some(Idle));
    assert!(!played.known.sent(at(2).mono), "nothing to tell");
    assert_eq!(settled(&played, 2), None);
    played.look(&says("busy"));
    assert_eq!(settled(&played, 3), Some(Working));
    played.look(&says("idle"));
    assert_eq!(settled(&played, 3), Some(Done));
    assert!(played.known.sent(at(4).mono), "done is idle now");
    assert_eq!(settled(&played, 4), None);
    // What did not change anything does not hold up for ever.
    let until = played.known.settles_at();
    assert_eq!(played.known.settled(until), Some(Idle));
    // The same for an answer to a dialog.
    played.look(&says("waiting/input needed"));
    assert!(!played.known.sent(at(50).mono));
    assert_eq!(settled(&played, 50), None);
    played.look(&says("busy"));
    assert_eq!(settled(&played, 50), Some(Working));
}
