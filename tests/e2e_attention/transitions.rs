//! Transitions of every kind by the stand-in, in an order drawn by lot, with faults among them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use convocate::base::rng::Rng;

use super::events::Events;
use super::stand_in::{Program, sessions};
use super::support::wait::{PATIENCE, pause, wait_until};
use super::{Cluster, summary};

const STEPS: u32 = 400;
const SESSIONS: u32 = 8;

/// A session, and what is to be told of it.
struct Played {
    id: String,
    home: PathBuf,
    program: Option<Program>,
    /// The state and the reason that were told last; empty if nothing is.
    told: [String; 2],
    had_turn: bool,
    is_killed: bool,
}

impl Played {
    /// What a word makes of it.
    fn expects(&mut self, word: &str) -> [String; 2] {
        let (status, reason) = word.split_once('/').expect("a word and a reason");
        let (state, reason) = match status {
            "busy" => ("working", ""),
            "shell" => ("working", "a background command runs"),
            "waiting" => ("waiting", reason),
            "idle" if self.had_turn => ("done", ""),
            "idle" => ("idle", ""),
            _ => ("unknown", "\"dreaming\" is no word that is known here"),
        };
        self.had_turn |= matches!(state, "working" | "waiting");
        [state.to_owned(), reason.to_owned()]
    }

    /// Does something, and says what is to be told then.
    fn step(&mut self, rng: &mut Rng, cluster: &Cluster) -> (&'static str, [String; 2]) {
        let words = [
            "busy/",
            "shell/",
            "idle/",
            "idle/",
            "waiting/permission prompt",
            "waiting/input needed",
            "waiting/dialog open",
            "dreaming/",
        ];
        let word = words[rng.below(8) as usize];
        let Some(program) = &mut self.program else {
            let program = Program::start(&self.home);
            program.tell("idle/");
            (self.program, self.had_turn, self.is_killed) = (Some(program), false, false);
            return ("start", self.expects("idle/"));
        };
        match rng.below(20) {
            0 => {
                program.kill();
                self.program = None;
                self.is_killed = true;
                ("kill", ["unknown".to_owned(), "the program was killed".to_owned()])
            }
            1 => {
                fs::remove_file(program.file()).expect("it is there");
                program.kill();
                (self.program, self.had_turn) = (None, false);
                ("leave", [String::new(), String::new()])
            }
            2 => {
                let text = program.text(word).to_string();
                fs::write(program.file(), &text[..text.len() / 2]).expect("the home is ours");
                pause(Duration::from_millis(u64::from(rng.below(60))));
                fs::write(program.file(), &text).expect("the home is ours");
                ("half written", self.expects(word))
            }
            3 => {
                // Renamed over the old one, as other programs write.
                let draft = program.file().with_extension("tmp");
                fs::write(&draft, program.text(word).to_string()).expect("the home is ours");
                fs::rename(&draft, program.file()).expect("the home is ours");
                ("renamed", self.expects(word))
            }
            4 | 5 => {
                self.noise(rng);
                ("noise", self.told.clone())
            }
            6 if self.told[0] == "done" => {
                let sent = cluster.client(&["send", &self.id, "--keys", "Escape"]);
                sent.expect_done();
                self.had_turn = false;
                ("send", ["idle".to_owned(), String::new()])
            }
            _ => {
                program.tell(word);
                ("word", self.expects(word))
            }
        }
    }

    /// Files that mean nothing: nobody lives who would say this.
    fn noise(&mut self, rng: &mut Rng) {
        let place = sessions(&self.home);
        let dead = place.join("4194000.json");
        let _gone = fs::remove_file(&dead).or_else(|_| fs::remove_dir(&dead));
        let program = self.program.as_ref().expect("it runs");
        let mut text = program.text("waiting/permission prompt");
        text["startedAt"] = serde_json::json!(u64::MAX);
        match rng.below(8) {
            // A number that is somebody else's by now, in a file that was left behind.
            0 => {
                text["procStart"] = serde_json::json!("1");
                text["pid"] = serde_json::json!(1);
                fs::write(place.join("1.json"), text.to_string()).expect("it is ours");
            }
            1 => {
                text["pid"] = serde_json::json!(4_194_000);
                fs::write(&dead, text.to_string()).expect("it is ours");
            }
            2 => symlink("/etc/passwd", &dead).expect("it is ours"),
            3 => fs::create_dir(&dead).expect("it is ours"),
            4 => fs::write(&dead, vec![b'x'; 1 << 20]).expect("it is ours"),
            5 => {
                let mode = rustix::fs::Mode::RWXU;
                rustix::fs::mkfifoat(rustix::fs::CWD, &dead, mode).expect("it is ours");
            }
            6 => fs::write(place.join("key.key"), "x").expect("it is ours"),
            // Another name for a process that is there.
            _ => fs::write(place.join(format!("0{}.json", program.pid())), text.to_string())
                .expect("it is ours"),
        }
    }
}

#[test]
fn each_transition_is_told_and_no_other() {
    let Some(cluster) = Cluster::start("each_transition_is_told_and_no_other", &[]) else { return };
    let mut rng = Rng::from_seed([7; 32]);
    let mut played: Vec<Played> = (0..SESSIONS)
        .map(|at| {
            let id = cluster.session(&format!("s{at}"), "sleep 1000");
            let home = cluster.home(&id);
            let told = [String::new(), String::new()];
            Played { id, home, program: None, told, had_turn: false, is_killed: false }
        })
        .collect();
    let events = Events::follow(&cluster);
    let mut times = Vec::new();
    let mut counts = std::collections::BTreeMap::new();
    for step in 0..STEPS {
        let session = &mut played[rng.below(SESSIONS) as usize];
        let began = Instant::now();
        let (what, expected) = session.step(&mut rng, &cluster);
        let told_before = std::mem::replace(&mut session.told, expected.clone());
        // A wait for the same thing, begun anew, is told, too.
        let is_anew = expected[0] == "waiting" && what != "noise";
        if expected != told_before || is_anew {
            let (at, [id, state, reason]) = events.next();
            assert_eq!((id, [state, reason]), (session.id.clone(), expected), "{step} {what}");
            times.push(at.duration_since(began));
            *counts.entry(what).or_insert(0) += 1;
        }
    }
    assert_eq!(events.next_within(Duration::from_millis(500)), None);
    eprintln!("{STEPS} steps, {counts:?}; {}", summary(times));
}

#[test]
fn directories_may_come_late_and_go() {
    let Some(cluster) = Cluster::start("directories_may_come_late_and_go", &[]) else { return };
    let id = cluster.session("web", "sleep 1000");
    let home = cluster.home(&id);
    let events = Events::follow(&cluster);
    let told = |state: &str| assert_eq!(events.next().1[1], state);
    // Each step of the way, alone.
    fs::create_dir(home.join(".claude")).expect("the home is ours");
    pause(Duration::from_millis(100));
    fs::create_dir(sessions(&home)).expect("the home is ours");
    pause(Duration::from_millis(100));
    let program = Program::start(&home);
    program.tell("busy/");
    told("working");
    // Moved away, and another one in its place.
    fs::rename(home.join(".claude"), home.join("old")).expect("the home is ours");
    told("");
    fs::create_dir_all(sessions(&home)).expect("the home is ours");
    program.tell("waiting/input needed");
    told("waiting");
    // A link is not followed, wherever it leads.
    fs::rename(home.join(".claude"), home.join("real")).expect("the home is ours");
    told("");
    symlink("real", home.join(".claude")).expect("the home is ours");
    fs::write(home.join("real/sessions/1.json"), "x").expect("the home is ours");
    assert_eq!(events.next_within(Duration::from_millis(500)), None);
    fs::remove_file(home.join(".claude")).expect("the home is ours");
    fs::rename(home.join("real"), home.join(".claude")).expect("the home is ours");
    told("waiting");
    // The end of the session is the end of it.
    cluster.client(&["kill", "web"]).expect_done();
    program.tell("busy/");
    assert_eq!(events.next_within(Duration::from_millis(500)), None);
    let listed = cluster.client(&["ls"]).expect_done().out();
    assert!(!listed.contains("ATTENTION"), "{listed}");
    cluster.client(&["start", "web"]).expect_done();
    told("working");
    let listed = cluster.client(&["ls", "--sort", "attention"]).expect_done().out();
    assert!(listed.contains("ATTENTION") && listed.contains("working"), "{listed}");
    assert!(
        cluster.hub.agent(super::support::agent::AGENT_ID)["sessions"][0]["attention"]["state"]
            == "working"
    );
}

#[test]
fn what_is_sent_does_not_answer_a_dialog_unasked() {
    let Some(cluster) = Cluster::start("what_is_sent_does_not_answer_a_dialog_unasked", &[]) else {
        return;
    };
    let id = cluster.session("web", "cat");
    let home = cluster.home(&id);
    let program = Program::start(&home);
    // Not even when it began to wait this very moment.
    program.tell("waiting/permission prompt");
    let refused = cluster.client(&["send", "web", "hello"]);
    assert_eq!(refused.code(), 1, "{refused:?}");
    assert!(refused.err().contains("waits for a person (permission prompt)"), "{}", refused.err());
    assert_eq!(cluster.client(&["send", "web", "--keys", "Enter"]).code(), 1);
    cluster.client(&["send", "web", "yes", "--answer"]).expect_done();
    program.tell("busy/");
    cluster.client(&["send", "web", "more"]).expect_done();
    let shown = cluster.client(&["screen", "web"]).expect_done().out();
    assert!(shown.contains("yes") && shown.contains("more") && !shown.contains("hello"), "{shown}");
}

#[test]
fn a_wait_is_for_what_comes() {
    let Some(cluster) = Cluster::start("a_wait_is_for_what_comes", &[]) else { return };
    let id = cluster.session("web", "cat");
    let home = cluster.home(&id);
    let program = Program::start(&home);
    let wait = |what: &str| cluster.client(&["wait", "web", "--for", what, "--timeout", "20"]);
    program.tell("idle/");
    let done = wait("done").expect_done().out();
    assert!(done.ends_with(": idle\n"), "{done}");
    // The turn that a text begins, and not that before it.
    cluster.client(&["send", "web", "go"]).expect_done();
    thread::scope(|scope| {
        let waited = scope.spawn(|| wait("waiting,done"));
        pause(Duration::from_millis(300));
        assert!(!waited.is_finished());
        program.tell("busy/");
        pause(Duration::from_millis(100));
        program.tell("waiting/permission prompt");
        let waited = waited.join().expect("it ends").expect_done().out();
        assert!(waited.ends_with(": waiting: permission prompt\n"), "{waited}");
    });
    // What changes nothing holds nobody up for ever.
    cluster.client(&["send", "web", "--keys", "Up", "--answer"]).expect_done();
    let began = Instant::now();
    wait("waiting").expect_done();
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    // One that ends will never be it.
    thread::scope(|scope| {
        let waited = scope.spawn(|| wait("done"));
        pause(Duration::from_millis(100));
        cluster.client(&["kill", "web"]).expect_done();
        let waited = waited.join().expect("it ends");
        assert_eq!(waited.code(), 1, "{waited:?}");
        assert!(waited.out().contains("it was stopped by an operator"), "{}", waited.out());
    });
    assert_eq!(cluster.client(&["wait", "web", "--for", "dnoe"]).code(), 2);
}

#[test]
fn the_operators_own_command_is_told_each_change() {
    let test = "the_operators_own_command_is_told_each_change";
    let Some(cluster) = Cluster::start(test, &[]) else { return };
    let id = cluster.session("web", "sleep 1000");
    let root = &cluster.agent.files.root;
    let (script, told) = (root.dir().join("etc/convocate/on-attention"), root.dir().join("told"));
    let text = format!("#!/bin/sh\ncat >>{}\necho noise; echo noise >&2\n", told.display());
    root.write(&script, &text, 0o755);
    let lines = || fs::read_to_string(&told).unwrap_or_default();
    let program = Program::start(&cluster.home(&id));
    for (at, status) in (1..).zip(["busy/", "waiting/permission prompt", "idle/"]) {
        program.tell(status);
        wait_until(PATIENCE, status, || lines().lines().count() == at);
    }
    let last = lines().lines().last().expect("a line").to_owned();
    let last: serde_json::Value = serde_json::from_str(&last).expect("an event");
    assert_eq!(
        (last["session_id"].as_str(), last["data"]["state"].as_str()),
        (Some(id.as_str()), Some("done"))
    );
    // One that others can have written is not run.
    root.write(&script, &text, 0o757);
    program.tell("busy/");
    wait_until(PATIENCE, "a word of it", || cluster.hub.log().contains("others may write to it"));
    assert_eq!(lines().lines().count(), 3);
    // One that hangs holds nobody up, and one that fails is told of.
    root.write(&script, "#!/bin/sh\nexit 3\n", 0o755);
    program.tell("idle/");
    wait_until(PATIENCE, "a word of it", || cluster.hub.log().contains("ended with Code(3)"));
    root.write(&script, "#!/bin/sh\nsleep 1000\n", 0o755);
    let events = Events::follow(&cluster);
    program.tell("busy/");
    events.until(&id, "working");
    wait_until(PATIENCE, "its end", || cluster.hub.log().contains("it took too long"));
}
