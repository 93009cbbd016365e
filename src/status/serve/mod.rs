//! The status listener: joins the hub to its agents, its disk, its subscribers and the clock.
//!
//! One thread turns: it waits, moves bytes under a budget for each connection, hands the hub's
//! journal to a disk thread, tells subscribers what has become durable, and waits again. Nothing
//! here decides what is new, known or told.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`setup`] | what is read before serving |
//! | [`agent_connections`], [`keys`] | agents on tcp/223, and whose key is whose |
//! | [`surveys`] | the connections on which agents are asked for their sessions |
//! | [`subscribers`] | the status socket |
//! | [`names`] | the hosts file of dnsmasq |

mod agent_connections;
mod keys;
mod names;
mod setup;
mod subscribers;
mod surveys;

use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

pub(crate) use setup::ServeError;

use self::agent_connections::AgentConnections;
use self::names::Names;
use self::subscribers::Subscribers;
use self::surveys::Surveys;
use super::hub::{Hub, HubAction};
use super::peer::SUBSYSTEMS;
use crate::base::address::Address;
use crate::base::slots::Key;
use crate::base::time::{Mono, Now};
use crate::fleet::registry::{Problem, Registry as Known};
use crate::io::clock::Clock;
use crate::io::disk::{self, LockFile, LogWorker, WatchedDirectory};
use crate::io::listener::Listener;
use crate::io::notify;
use crate::io::reactor::{Interests, Ready};
use crate::io::signals::{Signal, Signals};
use crate::io::stream::{Moved, Stream};
use crate::limits::{
    KEYS_LOOK_INTERVAL, REGISTRY_LOOK_INTERVAL, STATUS_DESCRIPTORS_MAX, STATUS_REGISTRY_INTERVAL,
    STATUS_WINDOW_POOL_BYTES,
};
use crate::log::Log;
use crate::paths::{PUBLIC_FILE, Paths, STATUS_SOCKET_MODE};
use crate::ssh::{ServerConfig, Tuning};

/// How a status listener is to serve.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Everything on disk that is not named below.
    pub(crate) paths: Paths,
    /// How the registry of agents below `paths` is read.
    pub(crate) known: fn(&Paths) -> Result<Known, String>,
    /// Where to listen for agents.
    pub(crate) listen: Address,
    pub(crate) host_key: PathBuf,
    /// Which agents may come in, and by which key.
    pub(crate) authorized_keys: PathBuf,
    /// Whether the end of standard input ends it: it belongs to the process that holds the other
    /// end.
    pub(crate) until_stdin_ends: bool,
}

/// The part of the server that an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// tcp/223
    Agents,
    /// The status socket.
    Socket,
    /// SIGTERM and its like.
    Signals,
    /// Standard input, whose end ends an embedded listener.
    ParentPipe,
    /// Results of the threads.
    Threads,
    /// An agent that tells events.
    Guest,
    /// A program that listens.
    Subscriber,
    /// Our connection to an agent.
    Member(Key),
}

type Registry = crate::io::registry::Registry<Owner>;

/// Serves until a signal says otherwise. Must be called before the process has other threads.
///
/// # Errors
/// [`ServeError`], if serving could not begin.
pub(crate) fn serve<W: io::Write>(options: &Options, log: Log<W>) -> Result<(), ServeError> {
    let signals = Signals::block().map_err(|error| ServeError::System("signals", error))?;
    let host_key = setup::key(&options.host_key)?;
    setup::prepare(&options.paths)?;
    let _alone = LockFile::take(&options.paths.status_lock())?;
    let tuning = Tuning { window_pool_bytes: STATUS_WINDOW_POOL_BYTES, ..Tuning::default() };
    let ssh = ServerConfig { host_key, subsystems: SUBSYSTEMS, tuning };
    let mut server = Server::start(options, ssh, signals, log)?;
    server.run().map_err(|error| ServeError::System("event loop", error))
}

struct Server<W> {
    paths: Paths,
    known: fn(&Paths) -> Result<Known, String>,
    clock: Clock,
    log: Log<W>,
    registry: Registry,
    signals: Signals,
    parent_pipe: Option<Stream>,
    hub: Hub,
    disk: LogWorker,
    guests: AgentConnections,
    surveys: Surveys,
    subscribers: Subscribers,
    names: Names,
    /// How much of the history subscribers have been woken for.
    shown: u64,
    look_at_keys: Mono,
    look_at_agents: Mono,
    /// The registry's directory: an entry that comes or leaves is seen at the next look at keys.
    entries: WatchedDirectory,
    /// What was wrong with entries of agents when they were last looked at.
    problems: Vec<Problem>,
    /// What the operator was told about the journal's disk.
    told_of_disk: Option<String>,
    is_over: bool,
}

impl<W: io::Write> Server<W> {
    fn start(
        options: &Options,
        ssh: ServerConfig,
        signals: Signals,
        mut log: Log<W>,
    ) -> Result<Self, ServeError> {
        let system = |what| move |error| ServeError::System(what, error);
        let paths = &options.paths;
        let clock = Clock::new();
        let (hub, directory, damaged) = setup::remember(paths)?;
        if damaged > 0 {
            log.warning(format_args!("{damaged} bytes of the journal were of no use"));
        }
        let mut registry = Registry::new(STATUS_DESCRIPTORS_MAX).map_err(system("event loop"))?;
        let wakes = registry.reserve(Owner::Threads).map_err(system("threads"))?;
        let waker = registry.reactor.waker(wakes).map_err(system("threads"))?;
        let disk = LogWorker::start(directory, &waker).map_err(system("threads"))?;
        let names = Names::start(paths.dns_hosts(), &waker).map_err(system("threads"))?;
        let agents = Listener::bind_tcp(&options.listen).map_err(ServeError::Bind)?;
        let socket = Listener::bind_unix(&paths.status_socket(), STATUS_SOCKET_MODE);
        let socket = socket.map_err(ServeError::Bind)?;
        let parent_pipe = options.until_stdin_ends.then(Stream::stdin).transpose();
        let parent_pipe = parent_pipe.map_err(system("standard input"))?;
        let mut read = |source: &dyn AsFd, owner| {
            let fd = source.as_fd();
            registry.watch_for(&fd, owner, Interests::Read).map_err(system("event loop"))
        };
        read(&signals, Owner::Signals)?;
        read(&agents, Owner::Agents)?;
        read(&socket, Owner::Socket)?;
        if let Some(parent_pipe) = &parent_pipe {
            read(parent_pipe, Owner::ParentPipe)?;
        }
        let now = clock.mono();
        let guests = AgentConnections::new(agents, ssh, options.authorized_keys.clone());
        announce(&mut log, &guests, paths)?;
        Ok(Server {
            paths: paths.clone(),
            known: options.known,
            clock,
            log,
            registry,
            signals,
            parent_pipe,
            hub,
            disk,
            guests,
            surveys: Surveys::new(wakes),
            subscribers: Subscribers::new(socket),
            names,
            shown: 0,
            look_at_keys: now,
            look_at_agents: now,
            entries: WatchedDirectory::new(paths.agent_keys()),
            problems: Vec::new(),
            told_of_disk: None,
            is_over: false,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        let mut is_busy = true;
        while !self.is_over {
            if is_busy {
                self.registry.reactor.look(&mut ready)?;
            } else {
                let deadline = self.deadline();
                self.registry.reactor.wait(&self.clock, deadline, &mut ready)?;
            }
            let now = self.clock.now();
            for ready in &ready {
                self.dispatch(now, *ready);
            }
            self.tick(now);
            is_busy = self.turn(now);
        }
        self.log.info("ending; agents keep their events until a listener is back");
        self.guests.leave(self.clock.mono());
        Ok(())
    }

    fn dispatch(&mut self, now: Now, ready: Ready) {
        let Server { registry, log, .. } = self;
        match registry.owner(ready.key) {
            Some(Owner::Agents) => self.guests.accept(registry, log, now.mono),
            Some(Owner::Socket) => self.subscribers.accept(registry, log, now.mono),
            Some(Owner::Signals) => self.hear_signals(now),
            Some(Owner::ParentPipe) => self.look_at_leash(),
            Some(Owner::Threads) => self.collect(now),
            Some(Owner::Guest) => self.guests.ready(now.mono, ready.key, ready),
            Some(Owner::Subscriber) => self.subscribers.ready(ready.key, ready),
            Some(Owner::Member(member)) => self.surveys.ready(registry, now.mono, member, ready),
            None => {}
        }
    }

    /// What the threads have done.
    fn collect(&mut self, now: Now) {
        while let Some(done) = self.disk.next_done() {
            let _told_by_wake = self.hub.disk_done(now.mono, done);
            self.guests.wake();
        }
        self.surveys.collect(&mut self.registry, now.mono);
        self.names.collect(&mut self.log, now.mono);
        let trouble = self.hub.trouble().map(ToString::to_string);
        if trouble != self.told_of_disk {
            match &trouble {
                Some(why) => self.log.error(format_args!("journal: {why}; agents wait")),
                None => self.log.info("journal: the disk takes events again"),
            }
            self.told_of_disk = trouble;
        }
    }

    /// Everything that can be done without waiting, a bounded share of it. Says whether there is
    /// more.
    fn turn(&mut self, now: Now) -> bool {
        let Server { registry, log, hub, .. } = self;
        let guests_busy = self.guests.turn(registry, log, now, hub);
        while let Some(agent) = self.guests.next_arrival() {
            self.surveys.reconnect_now(&agent, now.mono);
        }
        let surveys_busy = self.surveys.turn(registry, now, hub);
        while let Some(want) = hub.poll_want() {
            match want {
                HubAction::Names => self.names.want(now.mono),
                HubAction::List(id) if self.surveys.knows(&id) => self.surveys.want(&id, now.mono),
                // Enrolment may have written its files since they were looked at.
                HubAction::List(_) => self.look_at_agents = now.mono,
            }
        }
        while let Some(notice) = hub.poll_notice() {
            match notice.is_good() {
                true => log.info(notice),
                false => log.warning(notice),
            }
        }
        let had_room = hub.has_room();
        self.disk.feed(|| hub.poll_disk());
        if !had_room && hub.has_room() {
            self.guests.wake();
        }
        self.names.turn(now.mono, hub, self.guests.addresses());
        if hub.history().visible() != self.shown {
            self.shown = hub.history().visible();
            self.subscribers.wake();
        }
        let subscribers_busy = self.subscribers.turn(registry, log, hub);
        guests_busy || surveys_busy || subscribers_busy || !had_room && hub.has_room()
    }

    // --- time and the end ---

    fn deadline(&self) -> Option<Mono> {
        [
            self.hub.deadline(),
            self.guests.deadline(),
            self.surveys.deadline(),
            self.subscribers.deadline(),
            self.names.deadline(),
            Some(self.look_at_keys),
            Some(self.look_at_agents),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn tick(&mut self, now: Now) {
        self.hub.tick(now);
        self.guests.tick(&mut self.registry, &mut self.log, now.mono);
        self.subscribers.tick(&mut self.registry, &mut self.log, now.mono);
        self.surveys.tick(now.mono);
        if self.look_at_keys <= now.mono {
            self.look_at_keys = now.mono + KEYS_LOOK_INTERVAL;
            let keys_changed = self.guests.refresh(&mut self.log);
            if self.entries.has_changed() || keys_changed {
                self.look_at_agents = now.mono;
            }
        }
        if self.look_at_agents <= now.mono {
            self.look_at_agents(now);
            // An entry that is wrong may just be being written, or repaired.
            self.look_at_agents = now.mono
                + match self.problems.is_empty() {
                    true => STATUS_REGISTRY_INTERVAL,
                    false => REGISTRY_LOOK_INTERVAL,
                };
        }
    }

    /// Reads who is enrolled. An agent that has neither an entry nor a key is forgotten.
    fn look_at_agents(&mut self, now: Now) {
        let known = match (self.known)(&self.paths) {
            Ok(known) => known,
            Err(why) => return self.log.error(why),
        };
        for problem in known.problems.iter().filter(|it| !self.problems.contains(it)) {
            self.log.warning(problem);
        }
        self.surveys.enrol(&mut self.registry, &known, now.mono);
        self.names.enrol(&known, now.mono);
        let enrolled = self.guests.enrolled();
        let is_enrolled = |id: &str| {
            enrolled.contains(id)
                || known.agents.iter().any(|agent| agent.id.as_str() == id)
                || known.problems.iter().any(|problem| problem.agent == id)
        };
        let known_ids = self.hub.agent_ids();
        let gone: Vec<String> =
            known_ids.filter(|id| !is_enrolled(id)).map(str::to_owned).collect();
        for id in gone {
            self.log.info(format_args!("agent {id} is not of this cluster any more"));
            self.hub.forget(now, &id);
        }
        self.problems = known.problems;
    }

    fn hear_signals(&mut self, now: Now) {
        while let Some(signal) = self.signals.next_signal() {
            match signal {
                Signal::Terminate | Signal::Interrupt | Signal::Quit => self.is_over = true,
                Signal::HangUp => (self.look_at_keys, self.look_at_agents) = (now.mono, now.mono),
                Signal::WindowChange => {}
            }
        }
    }

    fn look_at_leash(&mut self) {
        let mut dropped = [0; 64];
        while let Some(parent_pipe) = &self.parent_pipe {
            match parent_pipe.read(&mut dropped) {
                Moved::Bytes(_) => {}
                Moved::Blocked => return,
                Moved::Closed | Moved::Failed(_) => {
                    self.parent_pipe = None;
                    self.is_over = true;
                }
            }
        }
    }
}

/// Says where it listens: in the log, and in a file for whoever chose no port.
fn announce<W: io::Write>(
    log: &mut Log<W>,
    guests: &AgentConnections,
    paths: &Paths,
) -> Result<(), ServeError> {
    let Some(address) = guests.listener().tcp_address() else { return Ok(()) };
    let socket = paths.status_socket();
    log.info(format_args!("status listening on {address}, hub on {}", socket.display()));
    let (_, mode) = PUBLIC_FILE;
    disk::write_atomic(&paths.status_address(), format!("{address}\n").as_bytes(), mode)?;
    if let Err(error) = notify::ready() {
        log.warning(format_args!("systemd is not told that this is ready: {error}"));
    }
    Ok(())
}
