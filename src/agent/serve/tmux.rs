//! The `host` runtime's driver: runs tmux command lines, and watches the servers that they start.
//!
//! A piece of work is one task after the other, each a child process; [`Task`] says which. A
//! server's end is seen at its process, at once and without asking. Servers that an earlier agent
//! started are found by their sockets, and no listing is answered before all of them were asked.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use super::registry::{Owner, Registry};
use super::runtime_report::RuntimeReport;
use crate::agent::action::{TerminalPlan, WorkId};
use crate::agent::host::{CommandLine, Finished, REMOVED_ENV, Server, Target, Tmux, start_error};
use crate::agent::last_words::LastWords;
use crate::agent::work::{Done, Exited, Outcome, Running, RuntimeEvent, RuntimeWork, WorkError};
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::io::child::{Child, Next, Report};
use crate::io::disk::{self, Links};
use crate::io::process::{ProcessWatch, Program, children};
use crate::io::reactor::Interests;
use crate::limits::{CHILD_OUTPUT_BYTES_MAX, LAST_WORDS_BYTES_MAX, SESSION_STOP_GRACE};
use crate::paths::Paths;

/// All tmux servers of this agent.
#[derive(Debug)]
pub(super) struct TmuxRuntime {
    paths: Paths,
    servers: SortedMap<Uuid, Watched>,
    children: SortedMap<Key, (Child, Task)>,
    endings: SortedMap<Key, Ending>,
    /// Servers of before that have not answered yet.
    adopting: usize,
    listings: Vec<WorkId>,
    reports: VecDeque<RuntimeReport>,
}

#[derive(Debug)]
struct Watched {
    running: Running,
    target: Target,
    watch: ProcessWatch,
    key: Key,
}

/// What a child is run for.
#[derive(Debug)]
enum Task {
    /// Whether a server of before is still there.
    Adopt(Uuid),
    /// The session's start.
    Start(WorkId, Uuid),
    /// The server that was just started.
    Identify(WorkId, Uuid),
    /// What runs in a session that is to end.
    ListPanes(WorkId, Uuid, Duration),
    Kill(WorkId, Uuid, Vec<u32>, Duration),
    /// The detaching of all its terminals.
    Detach(WorkId, Uuid),
    /// A program in the session, which is killed at this time.
    Exec(WorkId, Mono),
}

/// A session whose processes were asked to end.
#[derive(Debug)]
struct Ending {
    work: WorkId,
    processes: Vec<ProcessWatch>,
    /// When they are killed. `None` once they were.
    until: Option<Mono>,
}

impl TmuxRuntime {
    /// Takes over the servers of `ids` that still run.
    pub(super) fn start(registry: &mut Registry, paths: &Paths, ids: &[Uuid]) -> TmuxRuntime {
        let mut runtime = TmuxRuntime {
            paths: paths.clone(),
            servers: SortedMap::new(),
            children: SortedMap::new(),
            endings: SortedMap::new(),
            adopting: 0,
            listings: Vec::new(),
            reports: VecDeque::new(),
        };
        for &id in ids {
            let query = runtime.tmux(id).query();
            if runtime.spawn(registry, &query, Task::Adopt(id)).is_ok() {
                runtime.adopting += 1;
            }
        }
        runtime
    }

    pub(super) fn run(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        id: WorkId,
        work: RuntimeWork,
    ) {
        match work {
            RuntimeWork::List => self.listings.push(id),
            RuntimeWork::Start(plan) => {
                // Those of the run before; what cannot be removed is replaced.
                let _ = disk::remove_file(&self.paths.session_last_words(plan.id));
                let line = self.tmux(plan.id).start(&plan);
                self.begin(registry, &line, id, Task::Start(id, plan.id));
            }
            RuntimeWork::Stop { id: session, grace } => self.stop(registry, id, session, grace),
            RuntimeWork::Remove { id: session } => {
                self.stop(registry, id, session, SESSION_STOP_GRACE);
            }
            // A server that has ended leaves nothing to look at.
            RuntimeWork::Look { .. } => {
                self.reports.push_back(RuntimeReport::Outcome(id, Ok(Done::LastRun(None))));
            }
            // Only where there are containers does the core ask for this.
            RuntimeWork::EraseAsRoot { .. } => {
                let outcome = Err(WorkError::Tmux("cannot remove files as root".to_owned()));
                self.reports.push_back(RuntimeReport::Outcome(id, outcome));
            }
            RuntimeWork::Detach { id: session, .. } => {
                let line = self.tmux(session).detach(&self.target(session));
                self.begin(registry, &line, id, Task::Detach(id, session));
            }
            RuntimeWork::Exec(plan) => {
                let line = self.tmux(plan.id).exec(&plan);
                let task = Task::Exec(id, now + plan.patience);
                let spawned = self.spawn_up_to(registry, &line, plan.output_bytes_max, task);
                if let Err(error) = spawned {
                    self.report(id, Err(error));
                }
            }
        }
        self.answer_listings();
    }

    /// The program of a terminal's client, to be run on a pty.
    pub(super) fn client(&self, plan: &TerminalPlan) -> Program {
        let target = self.target(plan.session);
        program(&self.tmux(plan.session).attach(&target, plan))
    }

    /// Something happened to what is watched under `key`.
    pub(super) fn ready(&mut self, registry: &mut Registry, now: Mono, key: Key) {
        if let Some((mut child, task)) = self.children.remove(&key) {
            match child.turn() {
                Ok(Next::Wait) => {
                    self.children.insert(key, (child, task));
                }
                Ok(Next::Again) => {
                    self.children.insert(key, (child, task));
                    self.ready(registry, now, key);
                }
                Ok(Next::Ended(report)) => {
                    registry.release(key);
                    self.finished(registry, now, task, report);
                }
                Err(error) => {
                    registry.release(key);
                    self.fail(&task, WorkError::Tmux(error.to_string()));
                }
            }
        } else if self.endings.contains_key(&key) {
            self.look_at_ending(registry, key);
        } else {
            self.look_at_servers(registry, key);
        }
        self.answer_listings();
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let endings = self.endings.values().filter_map(|ending| ending.until);
        let programs = self.children.values().filter_map(|(_, task)| match task {
            Task::Exec(_, until) => Some(*until),
            _ => None,
        });
        endings.chain(programs).min()
    }

    /// Kills what did not end in time.
    pub(super) fn tick(&mut self, registry: &mut Registry, now: Mono) {
        let late = |ending: &Ending| ending.until.is_some_and(|until| until <= now);
        let keys: Vec<Key> =
            self.endings.iter().filter(|(_, ending)| late(ending)).map(|(key, _)| *key).collect();
        for key in keys {
            if let Some(ending) = self.endings.get_mut(&key) {
                ending.until = None;
                // What cannot be killed is waited for: it cannot be somebody else's process.
                let _ = ending.processes.iter().try_for_each(ProcessWatch::kill_group);
            }
            self.look_at_ending(registry, key);
        }
        let late = |task: &Task| matches!(task, Task::Exec(_, until) if *until <= now);
        let programs = self.children.iter().filter(|(_, (_, task))| late(task));
        let keys: Vec<Key> = programs.map(|(key, _)| *key).collect();
        for key in keys {
            // With the child its process group goes.
            if let Some((_, task)) = self.children.remove(&key) {
                registry.release(key);
                self.fail(&task, WorkError::NotEnded);
            }
        }
    }

    pub(super) fn next_event(&mut self) -> Option<RuntimeReport> {
        self.reports.pop_front()
    }

    fn tmux(&self, id: Uuid) -> Tmux {
        Tmux::new(id, &self.paths)
    }

    fn target(&self, id: Uuid) -> Target {
        self.servers.get(&id).map_or_else(Target::default, |server| server.target.clone())
    }

    fn stop(&mut self, registry: &mut Registry, work: WorkId, session: Uuid, grace: Duration) {
        let line = self.tmux(session).panes(&self.target(session));
        self.begin(registry, &line, work, Task::ListPanes(work, session, grace));
    }

    /// Runs the next child of a piece of work, or fails the work.
    fn begin(&mut self, registry: &mut Registry, line: &CommandLine, work: WorkId, task: Task) {
        if let Err(error) = self.spawn(registry, line, task) {
            self.reports.push_back(RuntimeReport::Outcome(work, Err(error)));
        }
    }

    fn spawn(
        &mut self,
        registry: &mut Registry,
        line: &CommandLine,
        task: Task,
    ) -> Result<(), WorkError> {
        self.spawn_up_to(registry, line, CHILD_OUTPUT_BYTES_MAX, task)
    }

    /// Keeps so many bytes of each of its outputs.
    fn spawn_up_to(
        &mut self,
        registry: &mut Registry,
        line: &CommandLine,
        bytes_max: usize,
        task: Task,
    ) -> Result<(), WorkError> {
        let failed = |error: io::Error| WorkError::Tmux(error.to_string());
        let child = Child::spawn(&program(line), Vec::new(), bytes_max)
            .map_err(|error| WorkError::Tmux(error.to_string()))?;
        let key = registry.reserve(Owner::Runtime).map_err(failed)?;
        child.watch(&registry.reactor, key).map_err(failed)?;
        self.children.insert(key, (child, task));
        Ok(())
    }

    fn finished(&mut self, registry: &mut Registry, now: Mono, task: Task, report: Report) {
        if let Task::Exec(work, _) = task {
            let Report { exit, output, errors } = report;
            let exited = Exited { status: exit.status(), output, errors };
            return self.report(work, Ok(Done::Exited(exited)));
        }
        let finished = Finished {
            is_success: report.exit.is_success(),
            stdout: &report.output.bytes,
            stderr: &report.errors.bytes,
        };
        match task {
            Task::Adopt(id) => {
                self.adopting -= 1;
                if let Ok(Some(server)) = self.tmux(id).server(finished) {
                    // Gone again by now is as good as never found.
                    let _ = self.watch(registry, id, server);
                }
            }
            Task::Start(work, _) if !finished.is_success => {
                self.report(work, Err(start_error(finished)));
            }
            Task::Start(work, id) => {
                let line = self.tmux(id).query();
                self.begin(registry, &line, work, Task::Identify(work, id));
            }
            Task::Identify(work, id) => {
                let outcome = self.tmux(id).server(finished);
                let outcome = outcome.and_then(|server| self.started(registry, id, server));
                self.report(work, outcome);
            }
            Task::ListPanes(work, id, grace) => match self.tmux(id).pane_pids(finished) {
                Ok(mut panes) => {
                    // The command is a job, with a group of its own.
                    let jobs: Vec<u32> = panes.iter().copied().flat_map(children).collect();
                    panes.extend(jobs);
                    let line = self.tmux(id).stop();
                    self.begin(registry, &line, work, Task::Kill(work, id, panes, grace));
                }
                Err(error) => self.report(work, Err(error)),
            },
            Task::Kill(work, id, panes, grace) => match self.tmux(id).is_there(finished) {
                Ok(_) => self.await_end(registry, work, id, &panes, now + grace),
                Err(error) => self.report(work, Err(error)),
            },
            Task::Detach(work, id) => {
                let outcome = self.tmux(id).detached(finished).map(|()| Done::Done);
                self.report(work, outcome);
            }
            Task::Exec(..) => {}
        }
    }

    fn fail(&mut self, task: &Task, error: WorkError) {
        match task {
            Task::Adopt(_) => self.adopting -= 1,
            Task::Start(work, _)
            | Task::Identify(work, _)
            | Task::ListPanes(work, ..)
            | Task::Kill(work, ..)
            | Task::Exec(work, _)
            | Task::Detach(work, _) => self.report(*work, Err(error)),
        }
    }

    fn started(
        &mut self,
        registry: &mut Registry,
        id: Uuid,
        server: Option<Server>,
    ) -> Result<Done, WorkError> {
        let words = self.last_words(id);
        let ended = || WorkError::EndedAtOnce(words.clone());
        let running = server.as_ref().map(|server| server.running.clone()).ok_or_else(ended)?;
        match server.map(|server| self.watch(registry, id, server)) {
            Some(Ok(true)) => Ok(Done::Started(running)),
            Some(Err(error)) => Err(WorkError::Tmux(error.to_string())),
            Some(Ok(false)) | None => Err(ended()),
        }
    }

    /// Whether the server is still there to be watched.
    fn watch(&mut self, registry: &mut Registry, id: Uuid, server: Server) -> io::Result<bool> {
        let Some(watch) = ProcessWatch::open(server.pid)? else {
            return Ok(false);
        };
        let key = registry.watch_for(&watch, Owner::Runtime, Interests::Read)?;
        let Server { running, target, .. } = server;
        self.servers.insert(id, Watched { running, target, watch, key });
        Ok(true)
    }

    /// Waits for the end of what ran in the session, and of its server.
    fn await_end(
        &mut self,
        registry: &mut Registry,
        work: WorkId,
        id: Uuid,
        panes: &[u32],
        until: Mono,
    ) {
        let server = self.servers.get(&id).map(|server| server.watch.id());
        let watches = panes.iter().copied().chain(server).map(ProcessWatch::open);
        let opened: io::Result<Vec<_>> = watches.filter_map(Result::transpose).collect();
        let watched = opened.and_then(|processes| {
            let key = registry.reserve(Owner::Runtime)?;
            for process in &processes {
                let _ = registry.reactor.watch(process, key, Interests::Read)?;
            }
            Ok((key, processes))
        });
        match watched {
            Ok((key, processes)) => {
                self.endings.insert(key, Ending { work, processes, until: Some(until) });
                self.look_at_ending(registry, key);
            }
            Err(error) => self.report(work, Err(WorkError::Tmux(error.to_string()))),
        }
    }

    fn look_at_ending(&mut self, registry: &mut Registry, key: Key) {
        let Some(ending) = self.endings.get_mut(&key) else { return };
        ending.processes.retain(|process| !process.has_ended());
        if ending.processes.is_empty() {
            let work = ending.work;
            self.endings.remove(&key);
            registry.release(key);
            self.report(work, Ok(Done::Done));
        }
    }

    fn look_at_servers(&mut self, registry: &mut Registry, key: Key) {
        let ended = |server: &Watched| server.key == key && server.watch.has_ended();
        let id = self.servers.iter().find(|(_, server)| ended(server)).map(|(id, _)| *id);
        if let Some(id) = id {
            self.servers.remove(&id);
            registry.release(key);
            let LastWords { exit_code, screen } = self.last_words(id);
            let news =
                RuntimeEvent::Ended { id, exit_code, out_of_memory: false, was_asked: false };
            let screen = RuntimeEvent::LastScreen { id, screen };
            self.reports.extend([screen, news].map(RuntimeReport::Event));
        }
    }

    fn answer_listings(&mut self) {
        if self.adopting > 0 {
            return;
        }
        for work in std::mem::take(&mut self.listings) {
            let alive = self.servers.values().filter(|server| !server.watch.has_ended());
            let running = alive.map(|server| server.running.clone()).collect();
            self.report(work, Ok(Done::Listed(running)));
        }
    }

    /// What a session left at its end; nothing if it has not ended.
    fn last_words(&self, id: Uuid) -> LastWords {
        let path = self.paths.session_last_words(id);
        let read = disk::read_bounded(&path, LAST_WORDS_BYTES_MAX, Links::Refuse);
        read.map_or_else(|_| LastWords::default(), |bytes| LastWords::parse(&bytes))
    }

    fn report(&mut self, work: WorkId, outcome: Outcome) {
        self.reports.push_back(RuntimeReport::Outcome(work, outcome));
    }
}

fn program(line: &CommandLine) -> Program {
    let (file, arguments) = line.argv.split_first().expect("every command line names a program");
    let mut program = Program::new(file, arguments);
    let given = line.session_env.iter().map(|(name, value)| (name.into(), value.into()));
    let own = line.env.iter().map(|(name, value)| ((*name).into(), value.into()));
    program.environment = given.chain(own).collect();
    program.without = REMOVED_ENV.iter().map(Into::into).collect();
    program.directory = Some(line.cwd.clone());
    program
}
