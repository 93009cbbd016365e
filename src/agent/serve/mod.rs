//! The agent's driver: joins the core to sockets, disks, processes and the clock.
//!
//! One thread turns: it waits, tells the core what has happened, carries out what the core wants,
//! moves bytes under a budget for each connection and terminal, and waits again. Slow disk work is
//! on threads of its own ([`disk`]); nothing else here blocks. Nothing here decides about sessions.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`setup`], [`scan`] | what is read before serving: keys, id, host; sessions on disk |
//! | `announce` | the line that says where it listens |
//! | [`registry`] | which part owns which descriptor |
//! | [`peers`] | the connections of tcp/222, and who may make one |
//! | [`event_uplink`] | events, on disk and on their way to the shell host |
//! | [`terminals`], [`terminal_backend`], [`exec_terminal`] | terminals, and what is behind each |
//! | [`runtime`], [`tmux`], [`engine`] | what runs sessions: tmux here, or Docker |
//! | [`requests`] | what connections ask for |
//! | [`key_sockets`] | where sessions are lent their keys |
//! | [`egress`] | the connections of sessions that reach names alone |
//! | [`attentions`] | what programs in sessions tell in their status files |
//! | [`exec_streams`] | what programs in containers say |
//! | [`disk`], [`given`] | work on homes, and files that sessions are given |
//! | [`probe`] | a question to Docker before there is an agent |

mod announce;
mod attentions;
mod certificate;
mod disk;
mod egress;
mod engine;
mod event_uplink;
mod exec_streams;
mod exec_terminal;
mod gauge;
mod given;
mod key_sockets;
mod peers;
mod probe;
mod registry;
mod requests;
mod runtime;
mod runtime_report;
mod scan;
pub(crate) mod setup;
mod terminal_backend;
mod terminal_context;
mod terminals;
mod tmux;

use std::io;
use std::path::PathBuf;

pub(crate) use probe::has_image;

use self::announce::announce;
use self::attentions::Attentions;
use self::disk::Disk;
use self::egress::EgressSockets;
use self::engine::DockerRuntime;
use self::event_uplink::{EventUplink, PendingReplies};
use self::gauge::Gauge;
use self::given::ClaudeLook;
use self::key_sockets::KeySockets;
use self::peers::Peers;
use self::registry::Owner;
use self::runtime::Runtime;
use self::runtime_report::RuntimeReport;
use self::terminals::{Context, Terminals};
use self::tmux::TmuxRuntime;
use super::action::Action;
use super::config::RuntimeKind;
use super::core::Agent;
use super::emitter::Identity;
use super::host::TMUX_CONF;
use super::peer::SUBSYSTEMS;
use super::work::{RuntimeEvent, Work};
use crate::base::address::Address;
use crate::base::slots::{Key, Slots};
use crate::base::time::{Mono, Now};
use crate::daemon::error::{ServeError, private_key};
use crate::daemon::event_loop::{self, Control, Daemon, EventLoop};
use crate::io::disk as files;
use crate::io::entropy;
use crate::io::listener::Listener;
use crate::io::reactor::Ready;
use crate::io::signals::Signals;
use crate::limits::{
    AGENT_DESCRIPTORS_MAX, AGENT_FAREWELL_GRACE, AGENT_SHUTDOWN_GRACE, CALLERS_MAX,
};
use crate::log::Log;
use crate::paths::Paths;
use crate::ssh::{ChannelId, ServerConfig, Tuning};

/// How an agent is to serve.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Everything on disk that is not named below.
    pub(crate) paths: Paths,
    pub(crate) listen: Address,
    pub(crate) host_key: PathBuf,
    /// Who may come in.
    pub(crate) authorized_keys: PathBuf,
    pub(crate) runtime: RuntimeKind,
    pub(crate) docker_socket: PathBuf,
    pub(crate) shell: ShellOptions,
    /// Whether the end of standard input ends the agent: it belongs to the process that holds the
    /// other end.
    pub(crate) until_stdin_ends: bool,
}

/// Where events go, and the keys for it.
#[derive(Clone, Debug)]
pub(crate) struct ShellOptions {
    /// The shell host; what stands in its file if not given. Without both, events go nowhere.
    pub(crate) host: Option<Address>,
    /// Its port, instead of the one that comes with the host.
    pub(crate) port: Option<u16>,
    /// The key that is proved to it.
    pub(crate) key: PathBuf,
    /// Its pinned host key.
    pub(crate) known_host: PathBuf,
}

/// Serves until a signal says otherwise. Must be called before the process has other threads.
///
/// # Errors
/// [`ServeError`], if serving could not begin.
pub(crate) fn serve<W: io::Write>(options: &Options, log: Log<W>) -> Result<(), ServeError> {
    let signals = Signals::block().map_err(ServeError::system("signals"))?;
    setup::agent_id(&options.paths)?;
    setup::prepare(&options.paths)?;
    let _alone = files::LockFile::take(&options.paths.agent_lock())?;
    event_loop::run(&mut Server::start(options, signals, log)?)
}

struct Server<W> {
    paths: Paths,
    event_loop: EventLoop<Owner, W>,
    agent: Agent,
    peers: Peers,
    callers: Slots<Waiting>,
    /// The way of events to the shell host, if there is one.
    uplink: Option<EventUplink>,
    gauge: Gauge,
    /// Answers whose events are not on disk yet.
    pending_replies: PendingReplies,
    terminals: Terminals,
    key_sockets: KeySockets,
    egress: EgressSockets,
    attentions: Attentions,
    claude: ClaudeLook,
    runtime: Runtime,
    disk: Disk,
    /// Runtime connections that asked for another turn.
    again: Vec<Key>,
    /// Why Docker does not answer, as it was logged.
    docker_gone: Option<String>,
    phase: Phase,
}

/// Whoever waits for the answer to a call.
struct Waiting {
    peer: Key,
    channel: ChannelId,
    /// Whether the call may tell an event, which must be on disk before its answer.
    changes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Operations in flight are finished, until then at most.
    Ending(Mono, &'static str),
    /// The last event is delivered, until then at most.
    Parting(Mono),
}

impl<W: io::Write> Server<W> {
    #[inline(never)]
    fn start(options: &Options, signals: Signals, log: Log<W>) -> Result<Self, ServeError> {
        let paths = &options.paths;
        let owners = (Owner::Signals, Owner::ParentPipe);
        let until_stdin_ends = options.until_stdin_ends;
        let mut event_loop =
            EventLoop::new(signals, log, AGENT_DESCRIPTORS_MAX, until_stdin_ends, owners)?;
        let EventLoop { registry, log, clock, .. } = &mut event_loop;
        let config = setup::config(options)?;
        let found = scan::scan(paths).map_err(ServeError::system("sessions"))?;
        found.notes.iter().for_each(|note| log.warning(note));
        if options.runtime == RuntimeKind::Docker && !config.has_uids {
            log.warning(
                "sessions have no users of their own and share this one: that needs CAP_CHOWN, \
                 CAP_DAC_OVERRIDE and CAP_FOWNER",
            );
        }
        let permitted = setup::defaults(paths)?.egress_private;
        let ids: Vec<_> = found.found.iter().map(|found| found.id).collect();
        let host = setup::docker_host(paths);
        let cgroups = setup::cgroups(&host);
        let gauge = Gauge::new(paths, cgroups.clone());
        let rules = setup::attention_rules(paths)?;
        let attentions = Attentions::new(registry, paths, cgroups.clone(), rules);
        let runtime = match options.runtime {
            RuntimeKind::Host => {
                files::write_atomic(&paths.tmux_conf(), TMUX_CONF.as_bytes(), 0o644)?;
                Runtime::Host(TmuxRuntime::start(registry, paths, &ids))
            }
            RuntimeKind::Docker => {
                let socket = options.docker_socket.clone();
                Runtime::Docker(Box::new(DockerRuntime::new(socket, host, entropy::seed())))
            }
        };
        let threads = ServeError::system("threads");
        let wakes = registry.reserve(Owner::Disk).map_err(threads)?;
        let waker = registry.reactor.waker(wakes).map_err(threads)?;
        let disk = Disk::start(paths, cgroups, &waker).map_err(threads)?;
        let shell = setup::shell(options)?;
        let host_key = private_key(&options.host_key)?;
        let ssh = ServerConfig { host_key, subsystems: SUBSYSTEMS, tuning: Tuning::default() };
        let listener = Listener::bind_tcp(&options.listen)?;
        let now = clock.now();
        let keys = options.authorized_keys.clone();
        let peers = Peers::new(listener, ssh, keys, paths, log, now);
        let identity = Identity {
            agent_id: config.agent_id.clone(),
            version: config.version.clone(),
            image_tag: config.image.clone(),
        };
        let uplink = match shell {
            Some(shell) => {
                let key = registry.reserve(Owner::Uplink).map_err(threads)?;
                Some(EventUplink::start(shell, identity, paths, key, (wakes, &waker), now)?)
            }
            None => None,
        };
        event_loop.watch(peers.listener(), Owner::Listener)?;
        announce(&mut event_loop, &peers, &config.agent_id, options);
        let mut agent = Agent::new(config, entropy::seed(), found.found, now);
        agent.found_deleted_homes(found.remains);
        agent.watch_homes(now);
        let mut server = Server {
            paths: paths.clone(),
            event_loop,
            agent,
            peers,
            callers: Slots::new(CALLERS_MAX),
            uplink,
            gauge,
            pending_replies: PendingReplies::default(),
            terminals: Terminals::default(),
            key_sockets: KeySockets::new(paths),
            egress: EgressSockets::new(paths, permitted, wakes),
            attentions,
            claude: ClaudeLook::default(),
            runtime,
            disk,
            again: Vec::new(),
            docker_gone: None,
            phase: Phase::Serving,
        };
        server.peers.refresh(&mut server.event_loop.log);
        Ok(server)
    }

    /// Events on their way, and the answers that waited for them.
    fn turn_uplink(&mut self, now: Now) -> bool {
        let Some(uplink) = &mut self.uplink else { return false };
        let (agent, gauge) = (&self.agent, &mut self.gauge);
        let busy =
            uplink.turn(&mut self.event_loop.registry, now, || gauge.read(now, agent).to_value());
        uplink.report(&mut self.event_loop.log);
        let mut has_replied = false;
        while let Some((peer, channel, line)) = self.pending_replies.release(uplink) {
            self.peers.answer(peer, channel, line);
            has_replied = true;
        }
        busy || has_replied
    }

    /// Hands the events of runtime and connections to the core, and does what the core wants, until
    /// there is nothing more.
    fn settle(&mut self, now: Now) {
        loop {
            if let Some(event) = self.runtime.next_event() {
                match event {
                    RuntimeReport::Outcome(id, outcome) => self.agent.done(now, id, outcome),
                    RuntimeReport::Event(news) => {
                        self.report(&news);
                        self.agent.runtime_event(now, news);
                    }
                    RuntimeReport::Answer(terminal, reply) => {
                        self.terminals.answered(now.mono, terminal, reply);
                    }
                }
            } else if let Some(action) = self.agent.poll_action() {
                self.act(now, action);
            } else if let Some((peer, event)) = self.peers.next_event() {
                self.on_peer_event(now, peer, event);
            } else {
                return;
            }
        }
    }

    fn act(&mut self, now: Now, action: Action) {
        match action {
            Action::Run { id, work: Work::Runtime(work) } => {
                let own_address = self.uplink.as_ref().and_then(EventUplink::own_address);
                if let Some(docker) = self.runtime.docker() {
                    docker.set_cluster_address(own_address);
                }
                self.runtime.run(&mut self.event_loop.registry, now.mono, id, work);
            }
            Action::Run { id, work: Work::Disk(work) } => {
                if let Some(refusal) = self.disk.submit(id, work) {
                    self.agent.done(now, id, refusal);
                }
            }
            Action::Reply { caller, line } => {
                let waiting = self.callers.remove(Key::from_bits(caller.0));
                let Some(Waiting { peer, channel, changes }) = waiting else { return };
                match self.uplink.as_ref().filter(|_| changes) {
                    Some(uplink) => {
                        self.pending_replies.hold(uplink.newest(), (peer, channel, line))
                    }
                    None => self.peers.answer(peer, channel, line),
                }
            }
            Action::OpenTerminal { terminal, plan } => {
                self.with_terminals(|terminals, context| {
                    terminals.open(context, now, terminal, &plan);
                });
            }
            Action::RefuseTerminal { terminal, text } => {
                self.with_terminals(|terminals, context| terminals.refuse(context, terminal, text));
            }
            Action::CloseTerminals { terminals, .. } => self.terminals.close(&terminals),
            Action::LendKey { session, uid } => {
                let lent = self.key_sockets.lend(&mut self.event_loop.registry, session, uid);
                if let Err(why) = lent {
                    let log = &mut self.event_loop.log;
                    log.warning(format_args!("session {session} is not lent its key: {why}"));
                }
            }
            Action::EndLending { session } => {
                self.key_sockets.end(&mut self.event_loop.registry, session);
            }
            Action::Carry { session, uid, rules, port } => {
                let registry = &mut self.event_loop.registry;
                let carried = self.egress.carry(registry, now.mono, (session, uid), (rules, port));
                if let Err(why) = carried {
                    let log = &mut self.event_loop.log;
                    log.warning(format_args!("session {session} reaches nothing: {why}"));
                }
            }
            Action::EndCarrying { session } => {
                self.egress.end(&mut self.event_loop.registry, session);
            }
            Action::Observe { session, container } => {
                let registry = &mut self.event_loop.registry;
                self.attentions.observe(registry, now.mono, session, container);
            }
            Action::EndObserving { session } => {
                self.attentions.end(&mut self.event_loop.registry, session);
            }
            Action::Warn(text) => self.event_loop.log.warning(text),
            Action::Emit(event) => {
                self.event_loop.log.info(format_args!("{}", crate::rpc::event::Summary(&event)));
                if let Some(uplink) = &mut self.uplink {
                    uplink.emit(&event);
                }
            }
        }
    }

    /// Logs that Docker has gone, once for each reason, and that it is back.
    fn report(&mut self, news: &RuntimeEvent) {
        match news {
            RuntimeEvent::Unreachable(text) if self.docker_gone.as_ref() != Some(text) => {
                self.event_loop.log.error(format_args!("docker does not answer: {text}"));
                self.docker_gone = Some(text.clone());
            }
            RuntimeEvent::Reachable if self.docker_gone.take().is_some() => {
                self.event_loop.log.info("docker answers again");
            }
            _ => {}
        }
    }

    fn with_terminals<T>(&mut self, act: impl FnOnce(&mut Terminals, &mut Context<'_>) -> T) -> T {
        let mut context = Context {
            registry: &mut self.event_loop.registry,
            runtime: &mut self.runtime,
            peers: &mut self.peers,
            agent: &mut self.agent,
        };
        act(&mut self.terminals, &mut context)
    }

    /// Carries connections, a bounded share of each, and tells the core what came of that.
    fn turn_egress(&mut self, now: Now) -> bool {
        let own_address = self.uplink.as_ref().and_then(EventUplink::own_address);
        self.egress.set_cluster_address(&mut self.event_loop.registry, own_address);
        self.egress.set_shell_host(self.uplink.as_ref().and_then(EventUplink::shell_address));
        let is_busy = self.egress.turn(&mut self.event_loop.registry, now);
        while let Some((session, data)) = self.egress.next_told() {
            self.agent.refused(now, session, data);
        }
        while let Some((session, pool)) = self.egress.next_wanted() {
            self.agent.open_network(now, session, pool);
        }
        while let Some(text) = self.egress.next_warning() {
            self.event_loop.log.warning(text);
        }
        is_busy
    }

    fn take_looks(&mut self, now: Now) {
        while let Some((session, look)) = self.attentions.next_look() {
            self.agent.looked(now, session, self.attentions.rules(), &look);
        }
    }

    fn turn_runtime(&mut self, now: Mono, key: Key, ready: Option<Ready>) {
        if self.runtime.ready(&mut self.event_loop.registry, now, key, ready) {
            self.again.push(key);
        }
    }

    // --- time and the end ---

    fn deadline(&self) -> Option<Mono> {
        let ending = match self.phase {
            Phase::Serving => None,
            Phase::Ending(until, _) | Phase::Parting(until) => Some(until),
        };
        [
            self.agent.deadline(),
            self.peers.deadline(),
            self.terminals.deadline(),
            self.key_sockets.deadline(),
            self.egress.deadline(),
            self.attentions.deadline(),
            self.runtime.deadline(),
            self.uplink.as_ref().and_then(EventUplink::deadline),
            ending,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn follow_control(&mut self, now: Mono) {
        while let Some(control) = self.event_loop.next_control() {
            match control {
                Control::End(reason) => self.end(now, reason),
                Control::Reload => {
                    self.peers.refresh(&mut self.event_loop.log);
                    self.attentions.reload(&mut self.event_loop.log);
                }
            }
        }
    }

    fn end(&mut self, now: Mono, reason: &'static str) {
        if self.phase == Phase::Serving {
            self.event_loop.log.info("ending; sessions go on without the agent");
            self.agent.shutdown();
            self.phase = Phase::Ending(now + AGENT_SHUTDOWN_GRACE, reason);
        }
    }

    /// When the last operation is done, the shell host is told that this was the end.
    fn go_on_ending(&mut self, now: Now) {
        if let Phase::Ending(until, reason) = self.phase
            && (self.agent.is_idle() && self.pending_replies.is_empty() || until <= now.mono)
        {
            if let Some(uplink) = &mut self.uplink {
                uplink.say_goodbye(now, reason);
            }
            self.peers.keep_known_sources(&mut self.event_loop.log, now);
            self.phase = Phase::Parting(now.mono + AGENT_FAREWELL_GRACE);
        }
    }
}

impl<W: io::Write> Daemon for Server<W> {
    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Serving | Phase::Ending(..) => false,
            Phase::Parting(until) => {
                self.uplink.as_ref().is_none_or(EventUplink::is_settled)
                    || until <= self.event_loop.clock.mono()
            }
        }
    }

    fn wait(&mut self, is_busy: bool, ready: &mut Vec<Ready>) -> io::Result<Now> {
        let deadline = if is_busy { None } else { self.deadline() };
        self.event_loop.wait(deadline, is_busy, ready)
    }

    fn dispatch(&mut self, now: Now, ready: Ready) {
        match self.event_loop.registry.owner(ready.key) {
            Some(Owner::Listener) => {
                self.peers.accept(
                    &mut self.event_loop.registry,
                    &mut self.event_loop.log,
                    now.mono,
                );
            }
            Some(Owner::Signals | Owner::ParentPipe) => self.follow_control(now.mono),
            Some(Owner::Disk) => {
                while let Some((id, outcome)) = self.disk.next_result() {
                    self.agent.done(now, id, outcome);
                }
                self.egress.collect(&mut self.event_loop.registry, now);
                if let Some(uplink) = &mut self.uplink {
                    uplink.collect(&self.event_loop.registry, now);
                }
            }
            Some(Owner::Uplink) => {
                if let Some(uplink) = &mut self.uplink {
                    uplink.ready(&self.event_loop.registry, now.mono, ready);
                }
            }
            Some(Owner::Peer) => self.peers.ready(now.mono, ready.key, ready),
            Some(Owner::Attention) => self.attentions.ready(now.mono, ready.key),
            Some(Owner::KeySocket) => self.key_sockets.ready(now.mono, ready),
            Some(Owner::Egress) => {
                self.egress.ready(&mut self.event_loop.registry, now, ready);
            }
            Some(Owner::Terminal) => self.terminals.ready(now.mono, ready.key, ready),
            Some(Owner::Runtime) => self.turn_runtime(now.mono, ready.key, Some(ready)),
            None => {}
        }
    }

    fn tick(&mut self, now: Now) {
        self.agent.tick(now);
        self.peers.tick(&mut self.event_loop.registry, &mut self.event_loop.log, now);
        self.terminals.tick(&mut self.event_loop.registry, now.mono);
        self.runtime.tick(&mut self.event_loop.registry, now.mono);
        self.key_sockets.tick(now.mono);
        self.egress.tick(&mut self.event_loop.registry, now);
        if let Some(uplink) = &mut self.uplink {
            uplink.tick(now);
        }
        self.go_on_ending(now);
        if self.event_loop.keys_are_due(now.mono) {
            self.peers.refresh(&mut self.event_loop.log);
        }
    }

    /// Everything that can be done without waiting, a bounded share of it. Says whether there is
    /// more.
    fn turn(&mut self, now: Now) -> bool {
        for key in std::mem::take(&mut self.again) {
            self.turn_runtime(now.mono, key, None);
        }
        self.peers.receive(now.mono);
        self.settle(now);
        let terminals_busy = self.with_terminals(|terminals, context| terminals.turn(context, now));
        self.settle(now);
        let mut gone = Vec::new();
        let peers_busy = self.peers.send(&mut self.event_loop.registry, now.mono, &mut gone);
        for peer in gone {
            self.forget_peer(now, peer);
        }
        let keys_busy = self.key_sockets.turn(&mut self.event_loop.registry, now.mono);
        while let Some((session, data)) = self.key_sockets.next_told() {
            self.agent.signed(now, session, data);
        }
        let egress_busy = self.turn_egress(now);
        let looks_busy = self.attentions.turn(&mut self.event_loop.registry, now.mono);
        self.take_looks(now);
        self.settle(now);
        let uplink_busy = self.turn_uplink(now);
        let is_busy = terminals_busy || peers_busy || keys_busy || uplink_busy || looks_busy;
        let is_busy = is_busy || egress_busy;
        is_busy || !self.again.is_empty()
    }
}
