//! The operator's own command, run for each change of a session's attention.
//!
//! One at a time, so that they come in order; each has so long and is killed then, and what it says
//! is dropped. Of one session it is told the newest change alone, and where changes of too many
//! sessions come faster than it takes them, some are dropped and counted: of the agent that has the
//! most. It is run only if nobody but root and ourselves can have written it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::{Owner, Registry};
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::io::child::{Child, Next};
use crate::io::disk::{self, Kind};
use crate::io::machine;
use crate::io::process::Program;
use crate::limits::{
    ON_ATTENTION_OF_AGENT_MAX, ON_ATTENTION_PATIENCE, ON_ATTENTION_TURNS_MAX,
    ON_ATTENTION_WAITING_MAX,
};
use crate::status::hub::SessionOfAgent;

/// The command, and what it is still to be told.
pub(super) struct OnAttention {
    path: PathBuf,
    waiting: VecDeque<(SessionOfAgent, Vec<u8>)>,
    running: Option<Running>,
    /// What is to be logged.
    notes: VecDeque<String>,
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
        let (waiting, notes) = (VecDeque::new(), VecDeque::new());
        OnAttention { path, waiting, running: None, notes, unfit: None, dropped: 0 }
    }

    /// A session's attention has changed: the event, without newline.
    pub(super) fn tell(&mut self, (session, mut line): (SessionOfAgent, Vec<u8>)) {
        line.push(b'\n');
        if let Some((_, before)) = self.waiting.iter_mut().find(|(other, _)| *other == session) {
            *before = line;
            return;
        }
        let of_agent = self.waiting.iter().filter(|((agent, _), _)| *agent == session.0).count();
        if self.waiting.len() >= ON_ATTENTION_WAITING_MAX || of_agent >= ON_ATTENTION_OF_AGENT_MAX {
            self.dropped += 1;
            return;
        }
        self.waiting.push_back((session, line));
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
            Ok(Next::Again) => self.note("was killed: it writes without end".to_owned()),
            Ok(Next::Ended(report)) if report.exit.is_success() => {}
            Ok(Next::Ended(report)) => self.note(format!("ended with {:?}", report.exit)),
            Ok(Next::Wait) => self.note("was killed: it took too long".to_owned()),
            Err(error) => self.note(error.to_string()),
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
        let Some((_, line)) = self.waiting.pop_front() else { return };
        match fitness(&self.path) {
            Fitness::Fit => {}
            Fitness::Missing => return self.waiting.clear(),
            Fitness::Unfit(why) => {
                self.waiting.clear();
                if self.unfit.as_deref() != Some(why) {
                    self.note(format!("is not run: {why}"));
                    self.unfit = Some(why.to_owned());
                }
                return;
            }
        }
        self.unfit = None;
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.note(format!("is too slow: {dropped} changes were not told to it"));
        }
        match self.start(registry, now, line) {
            Ok(running) => self.running = Some(running),
            Err(why) => self.note(why),
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

    fn note(&mut self, what: String) {
        self.notes.push_back(format!("{} {what}", self.path.display()));
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
