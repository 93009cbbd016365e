//! Looks at the status files of sessions, when they change and not otherwise.
//!
//! A session that runs is watched: its directory of status files, or the next one on the way there
//! that exists; and the programs that the files name, until they end. The first change takes the
//! watches away and makes a look due a moment later, which sets them anew before it reads: however
//! often a session changes its files, one turn of the loop and one look come of it, and looks have
//! a pace of their own, for each session and for all.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use super::registry::{Owner, Registry};
use super::setup;
use crate::agent::attention::{Claim, Look, Process, Program, Rules, StatusFile};
use crate::base::pace::Pace;
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::io::cgroup::Cgroups;
use crate::io::disk::Beneath;
use crate::io::inotify::{Changes, Inotify, Told, WatchId};
use crate::io::process::ProcessWatch;
use crate::io::process_table::{number_space_of, numbers_of, start_of};
use crate::io::reactor::Interests;
use crate::limits::{
    STATUS_ENTRIES_MAX, STATUS_EVENTS_BYTES, STATUS_FILE_BYTES_MAX, STATUS_FILES_MAX,
    STATUS_LOOK_DELAY, STATUS_LOOK_EVERY, STATUS_LOOK_EVERY_ALL, STATUS_LOOKS_BURST,
    STATUS_LOOKS_BURST_ALL, STATUS_PROCESSES_A_LOOK, STATUS_PROCESSES_MAX, STATUS_PROGRAMS_MAX,
    STATUS_RETRIES_MAX, STATUS_WATCH_AGAIN,
};
use crate::log::Log;
use crate::paths::Paths;

/// The way from a home to the files.
const STEPS: [&str; 2] = [".claude", "sessions"];

/// All sessions that run.
pub(super) struct Attentions {
    paths: Paths,
    cgroups: Cgroups,
    rules: Rules,
    /// Our own space of process numbers.
    space: Option<String>,
    /// `None` where the system has none to give.
    inotify: Option<Inotify>,
    has_events: bool,
    sessions: SortedMap<Uuid, Watched>,
    /// Whose a watch is.
    watches: SortedMap<WatchId, Uuid>,
    /// Whose a program is.
    programs: SortedMap<Key, Uuid>,
    /// When which look is due.
    due: BTreeSet<(Mono, Uuid)>,
    pace: Pace,
    looks: VecDeque<(Uuid, Look)>,
}

/// One session.
struct Watched {
    /// Its container's id; empty where there is none.
    container: String,
    watches: Vec<WatchId>,
    programs: SortedMap<Program, (ProcessWatch, Key)>,
    due: Option<Mono>,
    pace: Pace,
    /// How often in a row a file was found half written.
    retries: u32,
}

impl Attentions {
    /// Watches nothing yet.
    pub(super) fn new(
        registry: &mut Registry,
        paths: &Paths,
        cgroups: Cgroups,
        rules: Rules,
    ) -> Attentions {
        let watched = |inotify: Inotify| {
            registry.watch_for(&inotify, Owner::Attention, Interests::Read).map(|_| inotify)
        };
        Attentions {
            paths: paths.clone(),
            cgroups,
            rules,
            space: number_space_of(std::process::id()),
            inotify: Inotify::new().and_then(watched).ok(),
            has_events: false,
            sessions: SortedMap::new(),
            watches: SortedMap::new(),
            programs: SortedMap::new(),
            due: BTreeSet::new(),
            pace: Pace::new(STATUS_LOOKS_BURST_ALL, STATUS_LOOK_EVERY_ALL),
            looks: VecDeque::new(),
        }
    }

    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Reads the rules again. They hold from the next look on; wrong ones change nothing.
    pub(super) fn reload<W: io::Write>(&mut self, log: &mut Log<W>) {
        match setup::attention_rules(&self.paths) {
            Ok(rules) => self.rules = rules,
            Err(error) => log.warning(error),
        }
    }

    /// A session runs.
    pub(super) fn observe(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        id: Uuid,
        container: String,
    ) {
        self.end(registry, id);
        let pace = Pace::new(STATUS_LOOKS_BURST, STATUS_LOOK_EVERY);
        let (watches, programs, due) = (Vec::new(), SortedMap::new(), None);
        let watched = Watched { container, watches, programs, due, pace, retries: 0 };
        self.sessions.insert(id, watched);
        self.stir(now, id, Duration::ZERO);
    }

    /// A session runs no more.
    pub(super) fn end(&mut self, registry: &mut Registry, id: Uuid) {
        self.unwatch(id);
        let Some(watched) = self.sessions.remove(&id) else { return };
        self.due.extract_if(.., |(_, other)| *other == id).for_each(drop);
        for (_, key) in watched.programs.values() {
            self.programs.remove(key);
            registry.release(*key);
        }
        self.looks.retain(|(other, _)| *other != id);
    }

    /// Something was changed somewhere, or a program has ended.
    pub(super) fn ready(&mut self, now: Mono, key: Key) {
        match self.programs.get(&key) {
            Some(id) => self.stir(now, *id, Duration::ZERO),
            None => self.has_events = true,
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let (first, _) = self.due.first()?;
        Some(self.pace.next(*first))
    }

    /// Takes what was changed, and looks where that is due; a bounded share. Says whether there is
    /// more at once.
    pub(super) fn turn(&mut self, registry: &mut Registry, now: Mono) -> bool {
        if std::mem::take(&mut self.has_events) {
            self.read_events(now);
        }
        if let Some((at, id)) = self.due.first().copied()
            && at <= now
            && self.pace.next(now) <= now
        {
            self.look(registry, now, id);
        }
        let is_due = |(at, _): &(Mono, Uuid)| *at <= now && self.pace.next(now) <= now;
        self.has_events || self.due.first().is_some_and(is_due)
    }

    pub(super) fn next_look(&mut self) -> Option<(Uuid, Look)> {
        self.looks.pop_front()
    }

    fn read_events(&mut self, now: Mono) {
        let Some(inotify) = &self.inotify else { return };
        let mut told = Vec::new();
        self.has_events = inotify.read(STATUS_EVENTS_BYTES, &mut told).unwrap_or(false);
        for told in told {
            match told {
                Told::Changed(watch) => {
                    if let Some(id) = self.watches.get(&watch) {
                        self.stir(now, *id, STATUS_LOOK_DELAY);
                    }
                }
                Told::Lost => {
                    let ids: Vec<Uuid> = self.sessions.keys().copied().collect();
                    ids.into_iter().for_each(|id| self.stir(now, id, STATUS_LOOK_DELAY));
                }
            }
        }
    }

    /// Makes a look due so long from now, or later if the session has had many.
    fn stir(&mut self, now: Mono, id: Uuid, delay: Duration) {
        let Some(watched) = self.sessions.get_mut(&id) else { return };
        let at = watched.pace.next(now).max(now + delay);
        if let Some(due) = watched.due {
            if due <= at {
                return;
            }
            self.due.remove(&(due, id));
        }
        watched.due = Some(at);
        self.due.insert((at, id));
        self.unwatch(id);
    }

    fn unwatch(&mut self, id: Uuid) {
        let Some(watched) = self.sessions.get_mut(&id) else { return };
        for watch in std::mem::take(&mut watched.watches) {
            self.watches.remove(&watch);
            self.inotify.iter().for_each(|inotify| inotify.forget(watch));
        }
    }

    /// Looks at a session now, if it is watched.
    pub(super) fn look(&mut self, registry: &mut Registry, now: Mono, id: Uuid) {
        self.unwatch(id);
        let Some(watched) = self.sessions.get_mut(&id) else { return };
        if let Some(due) = watched.due.take() {
            self.due.remove(&(due, id));
        }
        self.pace.take(now, 1);
        watched.pace.take(now, 1);
        let files = match self.watch_and_read(id) {
            Ok(files) => files,
            Err(why) => {
                self.stir(now, id, STATUS_WATCH_AGAIN);
                return self.looks.push_back((id, Look::Failed(why)));
            }
        };
        let mut search = Search::default();
        let mut claims = Vec::new();
        let mut alive = 0;
        for (pid, file) in files {
            let process = match alive < STATUS_PROGRAMS_MAX {
                true => self.process_of(registry, id, pid, file.as_ref(), &mut search),
                false => Process::Unseen,
            };
            alive += usize::from(process == Process::Alive);
            claims.push(Claim { file, process });
        }
        self.forget_programs(registry, id, &claims);
        let Some(watched) = self.sessions.get_mut(&id) else { return };
        let cost = search.processes().div_ceil(STATUS_PROCESSES_A_LOOK);
        watched.pace.take(now, cost);
        self.pace.take(now, cost);
        let is_torn = |claim: &Claim| claim.file.is_none() && claim.process != Process::Gone;
        watched.retries = if claims.iter().any(is_torn) { watched.retries + 1 } else { 0 };
        if (1..=STATUS_RETRIES_MAX).contains(&watched.retries) {
            return self.stir(now, id, STATUS_LOOK_DELAY);
        }
        self.looks.push_back((id, Look::Files(claims)));
    }

    /// The status files of a session, that began last first, with the numbers that they are named
    /// after. Each directory on the way is watched before anything is read in it.
    fn watch_and_read(&mut self, id: Uuid) -> Result<Vec<(u32, Option<StatusFile>)>, &'static str> {
        let inotify = self.inotify.as_ref().ok_or("its files cannot be watched")?;
        let mut way = match Beneath::open(&self.paths.session(id)) {
            Ok(home) => vec![home],
            Err(_) => return Err("its home cannot be read"),
        };
        let mut watches = Vec::new();
        loop {
            let last = way.last().expect("the home is there");
            let at = way.len() - 1;
            let Some(step) = STEPS.get(at) else {
                watches.extend(inotify.watch(last, Changes::All));
                break;
            };
            // It may come between a look for it and the watch.
            let next = last.directory(step).or_else(|| {
                watches.extend(inotify.watch(last, Changes::Arrivals));
                last.directory(step)
            });
            let Some(next) = next else { break };
            if at > 0 {
                watches.extend(inotify.watch(last, Changes::OfItself));
            }
            way.push(next);
        }
        let is_watched = !watches.is_empty();
        let watched = self.sessions.get_mut(&id).ok_or("it is gone")?;
        for watch in &watches {
            self.watches.insert(*watch, id);
        }
        watches.sort();
        watches.dedup();
        watched.watches = watches;
        if !is_watched {
            return Err("its files cannot be watched");
        }
        match way.get(STEPS.len()) {
            Some(directory) => files(directory),
            None => Ok(Vec::new()),
        }
    }

    /// What is known of the process that a file means, which is watched if it is there.
    fn process_of(
        &mut self,
        registry: &mut Registry,
        id: Uuid,
        pid: u32,
        file: Option<&StatusFile>,
        search: &mut Search,
    ) -> Process {
        let Some(watched) = self.sessions.get(&id) else { return Process::Gone };
        let program = file.map(|file| file.program);
        let known = program.and_then(|program| watched.programs.get(&program));
        if let Some((watch, _)) = known {
            return if watch.has_ended() { Process::Gone } else { Process::Alive };
        }
        let found = match watched.container.as_str() {
            "" => Found::Process(pid),
            container => search.find(&self.cgroups, container, pid),
        };
        let here = match found {
            Found::Process(here) => here,
            Found::None => return Process::Gone,
            Found::Unseen => return Process::Unseen,
        };
        let Some(start) = start_of(here) else { return Process::Gone };
        let Some(file) = file else { return Process::Alive };
        let space = match watched.container.is_empty() {
            true => self.space.clone(),
            false => number_space_of(here),
        };
        let is_its_space = match (&file.domain, &space) {
            (Some(said), Some(space)) => said == space,
            _ => true,
        };
        if start != file.program.start || !is_its_space {
            return Process::Gone;
        }
        let Ok(Some(watch)) = ProcessWatch::open(here) else { return Process::Unseen };
        // Another one may have come to the number meanwhile.
        if start_of(here) != Some(start) {
            return Process::Gone;
        }
        let key = registry.watch_for(&watch, Owner::Attention, Interests::Read);
        let Ok(key) = key else { return Process::Unseen };
        self.programs.insert(key, id);
        let watched = self.sessions.get_mut(&id).expect("it was there above");
        watched.programs.insert(file.program, (watch, key));
        Process::Alive
    }

    /// Ends the watching of programs that have ended, or whose files are gone.
    fn forget_programs(&mut self, registry: &mut Registry, id: Uuid, claims: &[Claim]) {
        let Some(watched) = self.sessions.get_mut(&id) else { return };
        let is_alive = |program: &Program| {
            let is_its = |claim: &Claim| {
                claim.process == Process::Alive
                    && claim.file.as_ref().is_some_and(|file| file.program == *program)
            };
            claims.iter().any(is_its)
        };
        let gone: Vec<Program> =
            watched.programs.keys().filter(|program| !is_alive(program)).copied().collect();
        for program in gone {
            if let Some((_, key)) = watched.programs.remove(&program) {
                self.programs.remove(&key);
                registry.release(key);
            }
        }
    }
}

/// What the directory holds.
fn files(directory: &Beneath) -> Result<Vec<(u32, Option<StatusFile>)>, &'static str> {
    let (names, is_cut) = directory.newest(STATUS_ENTRIES_MAX, |name| pid_of(name).is_some());
    if is_cut {
        return Err("it has too many status files");
    }
    let mut files: Vec<(u32, Option<StatusFile>)> = Vec::new();
    for name in names.iter().take(STATUS_FILES_MAX) {
        let Some(pid) = pid_of(name) else { continue };
        let bytes = directory.read(name, STATUS_FILE_BYTES_MAX);
        files.push((pid, bytes.and_then(|bytes| StatusFile::parse(pid, &bytes))));
    }
    Ok(files)
}

/// The process that a file is named after.
fn pid_of(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".json")?;
    let pid: u32 = number.parse().ok()?;
    (pid > 0 && pid.to_string() == number).then_some(pid)
}

/// The processes of one container, by their numbers in it; read once for a look.
#[derive(Default)]
struct Search {
    numbers: Option<Option<SortedMap<u32, u32>>>,
    processes: u32,
}

enum Found {
    /// Its number here.
    Process(u32),
    None,
    Unseen,
}

impl Search {
    /// How many were looked at.
    fn processes(&self) -> u32 {
        self.processes
    }

    fn find(&mut self, cgroups: &Cgroups, container: &str, pid: u32) -> Found {
        let processes = &mut self.processes;
        let numbers = self.numbers.get_or_insert_with(|| {
            let here = cgroups.processes(container, STATUS_PROCESSES_MAX)?;
            *processes = u32::try_from(here.len()).unwrap_or(u32::MAX);
            let mut numbers = SortedMap::new();
            for here in here {
                // Processes in a space of numbers inside of the session's have more.
                if let Some([_, inside]) = numbers_of(here).as_deref() {
                    numbers.insert(*inside, here);
                }
            }
            Some(numbers)
        });
        match numbers {
            // Not even the first process of the container.
            None => Found::Unseen,
            Some(numbers) if numbers.is_empty() => Found::Unseen,
            Some(numbers) => numbers.get(&pid).map_or(Found::None, |here| Found::Process(*here)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_number_names_a_process() {
        assert_eq!(pid_of("7798.json"), Some(7798));
        for name in ["0.json", "07.json", "+7.json", "7", "7.json.tmp", "x.json", "4294967296.json"]
        {
            assert_eq!(pid_of(name), None, "{name}");
        }
    }
}
