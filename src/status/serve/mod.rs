//! The status listener: joins the hub to its agents, its disk, its subscribers and the clock.
//!
//! One thread turns: it waits, moves bytes under a budget for each connection, hands the hub's
//! journal to a disk thread, tells subscribers what has become durable, and waits again. Nothing
//! here decides what is new, or who is to know it.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`setup`] | what is read before serving |
//! | [`agent_connections`] | agents on tcp/223, and whose key is whose |
//! | [`surveys`] | the connections on which agents are asked for their sessions |
//! | [`subscribers`] | the status socket |
//! | [`names`] | the hosts file of dnsmasq |
//! | [`on_attention`] | the operator's command for each change of attention |

mod agent_connections;
mod names;
mod on_attention;
mod setup;
mod subscribers;
mod surveys;

use std::io;
use std::path::PathBuf;

use self::agent_connections::AgentConnections;
use self::names::Names;
use self::on_attention::OnAttention;
use self::subscribers::Subscribers;
use self::surveys::Surveys;
use super::hub::{Hub, HubAction};
use super::peer::SUBSYSTEMS;
use crate::base::address::Address;
use crate::base::slots::Key;
use crate::base::time::{Mono, Now};
use crate::daemon::error::{ServeError, private_key};
use crate::daemon::event_loop::{self, Control, Daemon, EventLoop};
use crate::fleet::registry::{Problem, Registry as Known};
use crate::io::disk::{LockFile, LogWorker, WatchedPath};
use crate::io::listener::Listener;
use crate::io::reactor::Ready;
use crate::io::signals::Signals;
use crate::limits::{
    REGISTRY_LOOK_INTERVAL, STATUS_DESCRIPTORS_MAX, STATUS_REGISTRY_INTERVAL,
    STATUS_WINDOW_POOL_BYTES,
};
use crate::log::Log;
use crate::paths::{Paths, STATUS_SOCKET_MODE};
use crate::ssh::keys::KeyPair;
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
    AgentListener,
    /// The status socket.
    Socket,
    /// SIGTERM and its like.
    Signals,
    /// Standard input, whose end ends an embedded listener.
    ParentPipe,
    /// Results of the threads.
    Threads,
    /// A connection of an agent, which brings events.
    Agent,
    /// A program that reads the hub's events.
    Subscriber,
    /// Our connection to an agent.
    Member(Key),
    /// The operator's command.
    OnAttention,
}

type Registry = crate::io::registry::Registry<Owner>;

/// Serves until a signal says otherwise. Must be called before the process has other threads.
///
/// # Errors
/// [`ServeError`], if serving could not begin.
pub(crate) fn serve<W: io::Write>(options: &Options, log: Log<W>) -> Result<(), ServeError> {
    let signals = Signals::block().map_err(ServeError::system("signals"))?;
    let host_key = private_key(&options.host_key)?;
    setup::prepare(&options.paths)?;
    let _alone = LockFile::take(&options.paths.status_lock())?;
    let mut server = Server::start(options, host_key, signals, log)?;
    event_loop::run(&mut server)?;
    let EventLoop { log, clock, .. } = &mut server.event_loop;
    log.info("ending; agents keep their events until a listener is back");
    server.agents.leave(log, clock.now());
    Ok(())
}

struct Server<W> {
    paths: Paths,
    known: fn(&Paths) -> Result<Known, String>,
    event_loop: EventLoop<Owner, W>,
    hub: Hub,
    disk: LogWorker,
    agents: AgentConnections,
    surveys: Surveys,
    subscribers: Subscribers,
    names: Names,
    on_attention: OnAttention,
    /// How much of the history subscribers have been woken for.
    shown: u64,
    look_at_agents: Mono,
    /// The registry's directory: an entry that comes or leaves is seen at the next look at keys.
    entries: WatchedPath,
    /// What was wrong with entries of agents when they were last looked at.
    problems: Vec<Problem>,
    /// What was logged about the journal's disk.
    disk_trouble: Option<String>,
    is_over: bool,
}

impl<W: io::Write> Server<W> {
    #[inline(never)]
    fn start(
        options: &Options,
        host_key: KeyPair,
        signals: Signals,
        log: Log<W>,
    ) -> Result<Self, ServeError> {
        let paths = &options.paths;
        let owners = (Owner::Signals, Owner::ParentPipe);
        let until_stdin_ends = options.until_stdin_ends;
        let mut event_loop =
            EventLoop::new(signals, log, STATUS_DESCRIPTORS_MAX, until_stdin_ends, owners)?;
        let EventLoop { registry, log, clock, .. } = &mut event_loop;
        let tuning = Tuning { window_pool_bytes: STATUS_WINDOW_POOL_BYTES, ..Tuning::default() };
        let ssh = ServerConfig { host_key, subsystems: SUBSYSTEMS, tuning };
        let (hub, directory, damaged) = setup::remember(paths)?;
        if damaged > 0 {
            log.warning(format_args!("{damaged} bytes of the journal were of no use"));
        }
        let threads = ServeError::system("threads");
        let wakes = registry.reserve(Owner::Threads).map_err(threads)?;
        let waker = registry.reactor.waker(wakes).map_err(threads)?;
        let disk = LogWorker::start(directory, &waker).map_err(threads)?;
        let names = Names::start(paths.dns_hosts(), &waker).map_err(threads)?;
        let listener = Listener::bind_tcp(&options.listen)?;
        let socket = Listener::bind_unix(&paths.status_socket(), STATUS_SOCKET_MODE)?;
        let now = clock.mono();
        let keys = options.authorized_keys.clone();
        let agents = AgentConnections::new(listener, ssh, keys, paths, log, clock.now());
        event_loop.watch(agents.listener(), Owner::AgentListener)?;
        event_loop.watch(&socket, Owner::Socket)?;
        announce(&mut event_loop, &agents, paths)?;
        Ok(Server {
            paths: paths.clone(),
            known: options.known,
            event_loop,
            hub,
            disk,
            agents,
            surveys: Surveys::new(wakes),
            subscribers: Subscribers::new(socket),
            names,
            on_attention: OnAttention::new(paths.on_attention()),
            shown: 0,
            look_at_agents: now,
            entries: WatchedPath::new(paths.agent_keys()),
            problems: Vec::new(),
            disk_trouble: None,
            is_over: false,
        })
    }

    /// What the threads have done.
    fn collect(&mut self, now: Now) {
        while let Some(done) = self.disk.next_done() {
            let _woken_below = self.hub.disk_done(now.mono, done);
            self.agents.wake();
        }
        self.surveys.collect(&self.event_loop.registry, now.mono);
        self.names.collect(&mut self.event_loop.log, now.mono);
        let trouble = self.hub.trouble().map(ToString::to_string);
        if trouble != self.disk_trouble {
            match &trouble {
                Some(why) => self.event_loop.log.error(format_args!("journal: {why}; agents wait")),
                None => self.event_loop.log.info("journal: the disk takes events again"),
            }
            self.disk_trouble = trouble;
        }
    }

    // --- time and the end ---

    fn deadline(&self) -> Option<Mono> {
        [
            self.hub.deadline(),
            self.agents.deadline(),
            self.surveys.deadline(),
            self.subscribers.deadline(),
            self.names.deadline(),
            self.on_attention.deadline(),
            Some(self.event_loop.keys_deadline()),
            Some(self.look_at_agents),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Reads who is enrolled. An agent that has neither an entry nor a key is forgotten.
    fn look_at_agents(&mut self, now: Now) {
        let known = match (self.known)(&self.paths) {
            Ok(known) => known,
            Err(why) => return self.event_loop.log.error(why),
        };
        for problem in known.problems.iter().filter(|it| !self.problems.contains(it)) {
            self.event_loop.log.warning(problem);
        }
        self.surveys.enrol(&mut self.event_loop.registry, &known, now.mono);
        self.names.enrol(&known, now.mono);
        let enrolled = self.agents.enrolled();
        let is_enrolled = |id: &str| {
            enrolled.contains(id)
                || known.agents.iter().any(|agent| agent.id.as_str() == id)
                || known.problems.iter().any(|problem| problem.agent == id)
        };
        let known_ids = self.hub.agent_ids();
        let gone: Vec<String> =
            known_ids.filter(|id| !is_enrolled(id)).map(str::to_owned).collect();
        for id in gone {
            self.event_loop.log.info(format_args!("agent {id} is not of this cluster any more"));
            self.hub.forget(now, &id);
        }
        self.problems = known.problems;
    }

    #[cold]
    fn follow_control(&mut self, now: Mono) {
        while let Some(control) = self.event_loop.next_control() {
            match control {
                Control::End(_) => self.is_over = true,
                Control::Reload => {
                    self.look_at_keys();
                    self.look_at_agents = now;
                }
            }
        }
    }

    /// Whether they have changed.
    fn look_at_keys(&mut self) -> bool {
        self.agents.refresh(&mut self.event_loop.log)
    }
}

impl<W: io::Write> Daemon for Server<W> {
    fn is_over(&self) -> bool {
        self.is_over
    }

    fn wait(&mut self, is_busy: bool, ready: &mut Vec<Ready>) -> io::Result<Now> {
        let deadline = if is_busy { None } else { self.deadline() };
        self.event_loop.wait(deadline, is_busy, ready)
    }

    fn dispatch(&mut self, now: Now, ready: Ready) {
        let EventLoop { registry, log, .. } = &mut self.event_loop;
        match registry.owner(ready.key) {
            Some(Owner::AgentListener) => self.agents.accept(registry, log, now.mono),
            Some(Owner::Socket) => self.subscribers.accept(registry, log, now.mono),
            Some(Owner::Signals | Owner::ParentPipe) => self.follow_control(now.mono),
            Some(Owner::Threads) => self.collect(now),
            Some(Owner::Agent) => self.agents.ready(now.mono, ready.key, ready),
            Some(Owner::Subscriber) => self.subscribers.ready(ready.key, ready),
            Some(Owner::Member(member)) => self.surveys.ready(registry, now.mono, member, ready),
            Some(Owner::OnAttention) => self.on_attention.ready(registry, now.mono),
            None => {}
        }
    }

    fn tick(&mut self, now: Now) {
        self.hub.tick(now);
        self.agents.tick(&mut self.event_loop.registry, &mut self.event_loop.log, now);
        self.subscribers.tick(&mut self.event_loop.registry, &mut self.event_loop.log, now.mono);
        self.surveys.tick(now.mono);
        if self.event_loop.keys_are_due(now.mono) {
            let keys_changed = self.look_at_keys();
            self.names.look(now.mono);
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

    /// Everything that can be done without waiting, a bounded share of it. Says whether there is
    /// more.
    fn turn(&mut self, now: Now) -> bool {
        let Server { event_loop: EventLoop { registry, log, .. }, hub, .. } = self;
        let agents_busy = self.agents.turn(registry, log, now, hub);
        while let Some(agent) = self.agents.next_arrival() {
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
        self.names.turn(now, hub, self.agents.addresses());
        while let Some(line) = hub.poll_attention() {
            self.on_attention.tell(line);
        }
        self.on_attention.turn(registry, now.mono);
        while let Some(note) = self.on_attention.next_note() {
            log.warning(note);
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
            self.agents.wake();
        }
        if hub.history().visible() != self.shown {
            self.shown = hub.history().visible();
            self.subscribers.wake();
        }
        let subscribers_busy = self.subscribers.turn(registry, log, hub);
        agents_busy || surveys_busy || subscribers_busy || !had_room && hub.has_room()
    }
}

/// Says where it listens.
fn announce<W: io::Write>(
    event_loop: &mut EventLoop<Owner, W>,
    agents: &AgentConnections,
    paths: &Paths,
) -> Result<(), ServeError> {
    let Some(address) = agents.listener().tcp_address() else { return Ok(()) };
    let socket = paths.status_socket();
    let hub = socket.display();
    event_loop.log.info(format_args!("status listening on {address}, hub on {hub}"));
    event_loop::write_address(&paths.status_address(), address)?;
    event_loop.tell_ready();
    Ok(())
}
