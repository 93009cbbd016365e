//! `convocate` without a command: the screen over all agents.
//!
//! The driver of [`crate::tui`]: it reads keys, the hub's socket and answers of agents, paints, and
//! gives the terminal to `attach`. It is the login shell of `claude` on the shell host, and there
//! is no other shell behind it.

mod hub;
mod terminal;

use std::io;
use std::time::SystemTime;

use crate::base::pace::Pace;
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::cli::output::{Failure, Out};
use crate::exit::Exit;
use crate::fleet::fleet::FleetRequestId;
use crate::fleet::run::{Runner, local_homes, profiles};
use crate::io::child::{self, Child};
use crate::io::process::{Program, Signal};
use crate::io::reactor::{Interests, Ready};
use crate::io::signals;
use crate::limits::{
    ENDED_KEYS_SILENCE, FRAME_INTERVAL, GUEST_OUTPUT_BYTES_MAX, HUB_REDIAL, NOTICE_EVERY,
    NOTICES_BURST, REGISTRY_LOOK_INTERVAL,
};
use crate::paths::Paths;
use crate::tui::keys::Decoder;
use crate::tui::messages::{Enrolled, HostFiles, Message, ScreenRequestId};
use crate::tui::model::{Model, ScreenAction};
use crate::tui::ops::Target;
use crate::tui::paint::{Look, Painter};
use crate::tui::view;
use hub::HubLink;
use terminal::Terminal;

const TTY: Key = Key::from_bits(u64::MAX - 1);
const SIGNALS: Key = Key::from_bits(u64::MAX - 2);
const HUB: Key = Key::from_bits(u64::MAX - 3);
const ATTACH: Key = Key::from_bits(u64::MAX - 4);

/// Shows the screen until the person leaves. `root` is passed on to `attach`;
/// `demo` are the first messages of a demo, whose sessions end with the screen.
pub(crate) fn run(
    paths: &Paths,
    root: Option<&str>,
    demo: Option<&[String]>,
    out: &mut Out<'_>,
) -> Result<Exit, Failure> {
    out.flush()?;
    let unfit = |text: String| {
        let hint = "without a screen, use: convocate ls, agents, new, attach and more; see \
                    `convocate help`";
        Failure::Exit(Exit::Usage, format!("{text}; {hint}"))
    };
    let terminal = Terminal::open().map_err(unfit)?;
    let runner = Runner::open(paths).map_err(Failure::Failed)?;
    let mut driver = ScreenDriver::new(terminal, runner, paths, root);
    if let Some(greetings) = demo {
        greetings.iter().for_each(|greeting| driver.model.log(greeting.clone(), false));
        driver.model.ends_sessions = true;
    }
    driver.run().map_err(|error| Failure::Failed(format!("the screen failed: {error}")))
}

/// The screen while it is shown.
struct ScreenDriver<'a> {
    terminal: Terminal,
    runner: Runner,
    paths: &'a Paths,
    root: Option<&'a str>,
    hub: HubLink,
    model: Model,
    decoder: Decoder,
    painter: Painter,
    requests: SortedMap<FleetRequestId, ScreenRequestId>,
    /// Requests that could not be sent, and why.
    not_sent: Vec<(ScreenRequestId, String)>,
    /// The `attach` that has the terminal now.
    attach: Option<Child>,
    /// When to look at the registry again, and when it changed last.
    registry_due: Mono,
    changed: [Option<SystemTime>; 3],
    wants_repaint: bool,
    /// When the last picture was painted, and whether the next one is waited for by a person.
    painted_at: Mono,
    is_urgent: bool,
    /// Until when keys mean nothing, unless more of them come until then.
    deaf_until: Mono,
    /// How often the terminal is told that a session waits: a session can have it told.
    notice_pace: Pace,
    is_over: bool,
}

impl<'a> ScreenDriver<'a> {
    fn new(terminal: Terminal, runner: Runner, paths: &'a Paths, root: Option<&'a str>) -> Self {
        let look = Look::from_environment(|name| std::env::var(name).ok());
        let now = runner.now();
        ScreenDriver {
            model: Model::new(terminal.size(), look, now),
            terminal,
            hub: HubLink::new(paths.status_socket()),
            runner,
            paths,
            root,
            decoder: Decoder::default(),
            painter: Painter::new(look),
            requests: SortedMap::new(),
            not_sent: Vec::new(),
            attach: None,
            registry_due: Mono::ZERO,
            changed: [None; 3],
            wants_repaint: false,
            painted_at: Mono::ZERO,
            is_urgent: true,
            deaf_until: Mono::ZERO,
            notice_pace: Pace::new(NOTICES_BURST, NOTICE_EVERY),
            is_over: false,
        }
    }

    fn run(mut self) -> io::Result<Exit> {
        let _ = self.runner.watch(self.terminal.tty(), TTY, Interests::Both)?;
        let _ = self.runner.watch(self.terminal.signals(), SIGNALS, Interests::Read)?;
        self.terminal.take()?;
        let mut ready = Vec::new();
        loop {
            self.reload_registry()?;
            self.read_keys();
            self.read_hub()?;
            self.read_replies();
            self.poll_attach()?;
            if self.is_over && self.attach.is_none() {
                self.terminal.give_back();
                return Ok(Exit::Done);
            }
            let deadline = self.paint();
            self.runner.step(Some(deadline), &mut ready)?;
            for event in std::mem::take(&mut ready) {
                self.note(event);
            }
        }
    }

    /// Paints what has changed. Until when there is nothing to do.
    fn paint(&mut self) -> Mono {
        let now = self.runner.now();
        if self.attach.is_none() {
            let actions = self.model.tick(now);
            self.follow(actions);
            if std::mem::take(&mut self.wants_repaint) {
                self.painter.forget();
            }
            // A slow line gets the newest picture, not every one.
            let is_due = self.is_urgent || now.mono >= self.painted_at + FRAME_INTERVAL;
            if is_due && self.terminal.is_flushed() {
                (self.painted_at, self.is_urgent) = (now.mono, false);
                self.model.refresh();
                let bytes = self.painter.paint(view::draw(&self.model));
                self.model.painted.note(bytes.len());
                let notice = match self.notice_pace.next(now.mono) <= now.mono {
                    true => self.model.take_notice(),
                    false => None,
                };
                if notice.is_some() {
                    self.notice_pace.take(now.mono, 1);
                }
                self.terminal.write(bytes, notice.as_deref());
            }
            self.terminal.flush();
        }
        let own = [self.decoder.deadline(), self.hub.deadline(), Some(self.registry_due)];
        let more = self.terminal.has_more() || self.hub.has_more();
        match more {
            true => now.mono,
            false if self.model.is_stale() => self.painted_at + FRAME_INTERVAL,
            false => own.into_iter().flatten().fold(self.model.deadline(), Mono::min),
        }
    }

    /// Takes note of what became possible; nothing is moved yet.
    fn note(&mut self, ready: Ready) {
        match ready.key {
            TTY => self.terminal.note(ready),
            SIGNALS => self.take_signals(),
            HUB => self.hub.note(),
            _ => {}
        }
    }

    fn read_keys(&mut self) {
        let now = self.runner.now();
        let mut keys = Vec::new();
        if self.attach.is_none() {
            let decoder = &mut self.decoder;
            if self.terminal.read(|bytes| decoder.feed(now.mono, bytes, &mut keys)) {
                self.is_over = true;
            }
            self.decoder.tick(now.mono, &mut keys);
        }
        // What is still being typed was for the session that has ended under it.
        if now.mono < self.deaf_until && !keys.is_empty() {
            self.deaf_until = now.mono + ENDED_KEYS_SILENCE;
            keys.clear();
        }
        self.is_urgent |= !keys.is_empty();
        for key in keys {
            let actions = self.model.key(self.runner.now(), &key);
            self.follow(actions);
        }
    }

    fn take_signals(&mut self) {
        while let Some(signal) = self.terminal.next_signal() {
            match signal {
                signals::Signal::WindowChange => {
                    let actions = self.model.resized(self.runner.now(), self.terminal.size());
                    self.follow(actions);
                }
                // While a session has the terminal, Ctrl-C before it is there belongs to that
                // session.
                signals::Signal::Interrupt | signals::Signal::Quit if self.attach.is_some() => {}
                signals::Signal::Interrupt
                | signals::Signal::Quit
                | signals::Signal::Terminate
                | signals::Signal::HangUp => {
                    self.is_over = true;
                    if let Some(attach) = &self.attach {
                        // It restores the terminal and ends.
                        let _ = attach.signal(Signal::TERM);
                    }
                }
            }
        }
    }

    fn follow(&mut self, actions: Vec<ScreenAction>) {
        for action in actions {
            match action {
                ScreenAction::Ask { request, agent, call } => {
                    match self.runner.submit(&agent, &call) {
                        Ok(id) => {
                            self.requests.insert(id, request);
                        }
                        Err(text) => self.not_sent.push((request, text)),
                    }
                }
                ScreenAction::Attach(target) => self.run_attach(&target),
                ScreenAction::Repaint => self.wants_repaint = true,
                ScreenAction::Quit => self.is_over = true,
            }
        }
    }

    fn handle(&mut self, message: Message) {
        let actions = self.model.receive(self.runner.now(), message);
        self.follow(actions);
    }

    fn read_replies(&mut self) {
        for (request, text) in std::mem::take(&mut self.not_sent) {
            self.handle(Message::Answered { request, answer: Err(text) });
        }
        while let Some((id, answer)) = self.runner.next_reply() {
            if let Some(request) = self.requests.remove(&id) {
                let answer = answer.map_err(|error| error.to_string());
                self.handle(Message::Answered { request, answer });
            }
        }
    }

    fn read_hub(&mut self) -> io::Result<()> {
        let now = self.runner.now().mono;
        for news in self.hub.turn(now, now + HUB_REDIAL, self.runner.reactor(), HUB)? {
            self.handle(news);
        }
        Ok(())
    }

    /// Reads the registry, the homes and the profiles of this host when one of them has changed.
    fn reload_registry(&mut self) -> io::Result<()> {
        let now = self.runner.now().mono;
        if now < self.registry_due {
            return Ok(());
        }
        let is_first = self.registry_due == Mono::ZERO;
        self.registry_due = now + REGISTRY_LOOK_INTERVAL;
        let [agents, homes] = [self.paths.agent_keys(), self.paths.sessions()]
            .map(|directory| std::fs::metadata(directory).and_then(|it| it.modified()).ok());
        let changed = [agents, homes, profiles::changed_at(self.paths)];
        if changed == self.changed && !is_first {
            return Ok(());
        }
        self.changed = changed;
        let failed = self.runner.reload(self.paths).err();
        let news = self.host_files(failed);
        self.handle(Message::Host(news));
        Ok(())
    }

    fn host_files(&self, failed: Option<String>) -> HostFiles {
        let registry = self.runner.registry();
        let enrolled = |agent: &crate::fleet::registry::KnownAgent| Enrolled {
            id: agent.id.clone(),
            host: agent.host(),
            address: agent.address.to_string(),
            repair: agent.repair(),
        };
        let problems = registry.problems.iter().map(ToString::to_string);
        HostFiles {
            agents: registry.agents.iter().map(enrolled).collect(),
            problems: problems.chain(failed).collect(),
            profiles: profiles::read_profiles(self.paths).found,
            homes: local_homes(self.paths),
        }
    }

    /// Gives the terminal to this program's `attach`.
    fn run_attach(&mut self, target: &Target) {
        let mut arguments = vec!["attach".to_owned(), target.id.to_string()];
        arguments.push(format!("--agent={}", target.agent));
        arguments.extend(self.root.map(|root| format!("--root={root}")));
        let program = Program::new("/proc/self/exe", arguments);
        self.terminal.give_back();
        let attach = Child::lend_terminal(&program, GUEST_OUTPUT_BYTES_MAX);
        let watched = attach.map_err(io::Error::other).and_then(|attach| {
            attach.watch(self.runner.reactor(), ATTACH)?;
            Ok(attach)
        });
        match watched {
            Ok(attach) => self.attach = Some(attach),
            Err(error) => self.returned(&error.to_string(), true),
        }
    }

    fn poll_attach(&mut self) -> io::Result<()> {
        let Some(attach) = &mut self.attach else { return Ok(()) };
        let child::Next::Ended(report) = attach.turn()? else { return Ok(()) };
        self.attach = None;
        let is_failure = !report.exit.is_success();
        let text = match is_failure {
            true => report.complaint(),
            false => String::from_utf8_lossy(&report.errors.bytes).into_owned(),
        };
        self.returned(&text, is_failure);
        Ok(())
    }

    fn returned(&mut self, text: &str, is_failure: bool) {
        if !self.is_over
            && let Err(error) = self.terminal.take()
        {
            self.is_over = true;
            self.model.log(error.to_string(), true);
        }
        let text = text.trim().replace('\n', "; ");
        let text = text.strip_prefix("convocate: attach: ").unwrap_or(&text);
        // The hint how to attach again is for a shell prompt.
        let mut parts = text.split("; come back with: ");
        let text = parts.next().unwrap_or(text).to_owned();
        if is_failure || parts.next().is_none() {
            self.deaf_until = self.runner.now().mono + ENDED_KEYS_SILENCE;
        }
        self.is_urgent = true;
        let actions = self.model.resized(self.runner.now(), self.terminal.size());
        self.follow(actions);
        self.handle(Message::Returned { text, is_failure });
    }
}
