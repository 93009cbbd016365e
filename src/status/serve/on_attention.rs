//! The operator's own command, run for each change of a session's attention.
//!
//! One at a time, so that they come in order; each has so long and is killed then, and what it says
//! is dropped. Of one session it is told the newest change alone, and where changes of too many
//! sessions come faster than it takes them, some are dropped and counted: of the agent that has the
//! most. It is run only if nobody but root and ourselves can have written it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::{Owner, Registry};
use crate::base::pace::Pace;
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::io::child::{Child, Next};
use crate::io::disk::{self, Kind};
use crate::io::machine;
use crate::io::process::Program;
use crate::limits::{
    ON_ATTENTION_NOTE_EVERY, ON_ATTENTION_NOTES_BURST, ON_ATTENTION_OF_AGENT_MAX,
    ON_ATTENTION_PATIENCE, ON_ATTENTION_TURNS_MAX, ON_ATTENTION_WAITING_MAX,
};
use crate::status::hub::SessionOfAgent;

/// The command, and what it is still to be told.
pub(super) struct OnAttention {
    path: PathBuf,
    waiting: VecDeque<(SessionOfAgent, Vec<u8>)>,
    running: Option<Running>,
    /// Which turn each agent with something waiting had last; none before its first.
    turns: SortedMap<Box<str>, u64>,
    turn: u64,
    /// What is to be logged.
    notes: VecDeque<String>,
    pace: Pace,
    /// Notes that came too fast.
    unnoted: u64,
    /// Why the command was not run the last time.
    unfit: Option<String>,
    /// Changes that nobody was told of since the last one that was.
    dropped: u64,
}

struct Running {
    child: Child,
    key: Key,
    until: Mono,
}

impl OnAttention {
    pub(super) fn new(path: PathBuf) -> OnAttention {
        OnAttention {
            path,
            waiting: VecDeque::new(),
            running: None,
            turns: SortedMap::new(),
            turn: 0,
            notes: VecDeque::new(),
            pace: Pace::new(ON_ATTENTION_NOTES_BURST, ON_ATTENTION_NOTE_EVERY),
            unnoted: 0,
            unfit: None,
            dropped: 0,
        }
    }

    /// A session's attention has changed: the event, without newline.
    pub(super) fn tell(&mut self, (session, mut line): (SessionOfAgent, Vec<u8>)) {
        line.push(b'\n');
        if let Some((_, before)) = self.waiting.iter_mut().find(|(other, _)| *other == session) {
            *before = line;
            return;
        }
        if self.of_agent(&session.0) >= ON_ATTENTION_OF_AGENT_MAX {
            self.dropped += 1;
            return;
        }
        // One that had nothing to be told has its turn behind those that wait.
        let turn = self.turn;
        self.turns.or_insert_with(session.0.clone(), || turn);
        self.waiting.push_back((session, line));
        if self.waiting.len() > ON_ATTENTION_WAITING_MAX {
            self.dropped += 1;
            let crowd = |at: &usize| (self.of_agent(&self.waiting[*at].0.0), *at);
            if let Some(newest) = (0..self.waiting.len()).max_by_key(crowd) {
                self.waiting.remove(newest);
            }
        }
    }

    fn of_agent(&self, id: &str) -> usize {
        self.waiting.iter().filter(|((agent, _), _)| **agent == *id).count()
    }

    /// The next one: the agents have turns, and the changes of each their order.
    fn next(&mut self) -> Option<Vec<u8>> {
        let last = |at: &usize| (self.turns.get(&self.waiting[*at].0.0).copied(), *at);
        let next = (0..self.waiting.len()).min_by_key(last)?;
        let ((agent, _), line) = self.waiting.remove(next)?;
        self.turn += 1;
        self.turns.insert(agent, self.turn);
        let waiting = &self.waiting;
        self.turns.retain(|agent, _| waiting.iter().any(|((other, _), _)| other == agent));
        Some(line)
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.running.as_ref().map(|running| running.until)
    }

    /// Something happened to what runs.
    pub(super) fn ready(&mut self, registry: &mut Registry, now: Mono) {
        let Some(running) = &mut self.running else { return };
        let is_over = running.until <= now;
        let mut turned = running.child.turn();
        for _ in 0..ON_ATTENTION_TURNS_MAX {
            match turned {
                Ok(Next::Again) => turned = running.child.turn(),
                _ => break,
            }
        }
        match turned {
            Ok(Next::Wait) if !is_over => return,
            Ok(Next::Again) => self.note(now, "was killed: it writes without end".to_owned()),
            Ok(Next::Ended(report)) if report.exit.is_success() => {}
            Ok(Next::Ended(report)) => self.note(now, format!("ended with {:?}", report.exit)),
            Ok(Next::Wait) => self.note(now, "was killed: it took too long".to_owned()),
            Err(error) => self.note(now, error.to_string()),
        }
        if let Some(Running { key, .. }) = self.running.take() {
            registry.release(key);
        }
    }

    /// Runs the next one, if none runs.
    pub(super) fn turn(&mut self, registry: &mut Registry, now: Mono) {
        if self.running.as_ref().is_some_and(|running| running.until <= now) {
            self.ready(registry, now);
        }
        if self.running.is_some() {
            return;
        }
        let Some(line) = self.next() else { return };
        match fitness(&self.path) {
            Fitness::Fit => {}
            Fitness::Missing => return self.waiting.clear(),
            Fitness::Unfit(why) => {
                self.waiting.clear();
                if self.unfit.as_deref() != Some(why) {
                    self.note(now, format!("is not run: {why}"));
                    self.unfit = Some(why.to_owned());
                }
                return;
            }
        }
        self.unfit = None;
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.note(now, format!("is too slow: {dropped} changes were not told to it"));
        }
        match self.start(registry, now, line) {
            Ok(running) => self.running = Some(running),
            Err(why) => self.note(now, why),
        }
    }

    fn start(&self, registry: &mut Registry, now: Mono, line: Vec<u8>) -> Result<Running, String> {
        let key = registry.reserve(Owner::OnAttention).map_err(|error| error.to_string())?;
        let program = Program::new(&self.path, [] as [&str; 0]);
        let child = Child::spawn(&program, line, 0).map_err(|error| error.to_string());
        let watched = child.and_then(|child| {
            child.watch(&registry.reactor, key).map_err(|error| error.to_string())?;
            Ok(child)
        });
        match watched {
            Ok(child) => Ok(Running { child, key, until: now + ON_ATTENTION_PATIENCE }),
            Err(why) => {
                registry.release(key);
                Err(why)
            }
        }
    }

    /// What is to be logged.
    pub(super) fn next_note(&mut self) -> Option<String> {
        self.notes.pop_front()
    }

    fn note(&mut self, now: Mono, what: String) {
        if self.pace.next(now) > now {
            self.unnoted += 1;
            return;
        }
        self.pace.take(now, 1);
        let more = match std::mem::take(&mut self.unnoted) {
            0 => String::new(),
            more => format!(" ({more} more lines like this were left out before it)"),
        };
        self.notes.push_back(format!("{} {what}{more}", self.path.display()));
    }
}

enum Fitness {
    Fit,
    Missing,
    Unfit(&'static str),
}

/// Whether a command may be run, which somebody else may have put there.
fn fitness(path: &Path) -> Fitness {
    match disk::look(path) {
        Ok(None) => Fitness::Missing,
        Ok(Some(found)) if found.kind != Kind::File => Fitness::Unfit("it is no regular file"),
        Ok(Some(found)) if found.ids.user != 0 && found.ids.user != machine::uid() => {
            Fitness::Unfit("it belongs neither to root nor to the user of the listener")
        }
        Ok(Some(found)) if found.mode & 0o022 != 0 => Fitness::Unfit("others may write to it"),
        Ok(Some(found)) if found.mode & 0o111 == 0 => Fitness::Unfit("it is not executable"),
        Ok(Some(_)) => Fitness::Fit,
        Err(_) => Fitness::Unfit("it cannot be looked at"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::io::scratch::Scratch;

    #[test]
    fn only_what_nobody_else_can_have_written_is_run() {
        let scratch = Scratch::new();
        let path = scratch.join("on-attention");
        let is_fit = |path: &Path| matches!(fitness(path), Fitness::Fit);
        assert!(matches!(fitness(&path), Fitness::Missing));
        fs::write(&path, "#!/bin/sh\n").unwrap();
        for (mode, fit) in
            [(0o700, true), (0o755, true), (0o644, false), (0o775, false), (0o757, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_fit(&path), fit, "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        symlink(&path, scratch.join("link")).unwrap();
        assert!(!is_fit(&scratch.join("link")) && !is_fit(scratch.path()));
        if machine::uid() == 0 {
            std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
            assert!(!is_fit(&path));
        }
    }
}
