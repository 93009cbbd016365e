//! Sessions on a real Docker engine, through the client and the procedures of the agent.
//!
//! Skipped without an engine or the session image. A container's guard removes it by its name.

#![expect(clippy::panic, reason = "helpers of tests fail like tests")]

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use convocate::agent::docker::attach::{Attach, TtyLine};
use convocate::agent::docker::description::{self, Host};
use convocate::agent::docker::runtime_events::{PendingEvent, RuntimeEvents};
use convocate::agent::docker::{Procedure, Reply, Step};
use convocate::agent::image;
use convocate::agent::work::{
    Done, Outcome, Running, RuntimeEvent, RuntimeWork, StartPlan, WorkError,
};
use convocate::base::endpoint::Endpoint;
use convocate::base::rng::Rng;
use convocate::base::time::Mono;
use convocate::base::uuid::Uuid;
use convocate::docker::conn::{DockerConn, DockerConnEvent, ResponseMode};
use convocate::docker::events::EventStream;
use convocate::docker::{DockerError, DockerRequest, call};
use convocate::paths::Paths;
use convocate::rpc::attach::{AttachHeader, TerminalSize};
use convocate::rpc::field::{Caps, Cpus, Protocol, SessionCommand};
use convocate::rpc::network::{Egress, Publish};

const SOCKET: &str = "/var/run/docker.sock";
const PATIENCE: Duration = Duration::from_secs(30);

// --- the driver ---

/// A connection and its socket, moved by hand.
struct Link {
    conn: DockerConn,
    stream: UnixStream,
    born: Instant,
}

impl Link {
    fn open() -> io::Result<Link> {
        let stream = UnixStream::connect(SOCKET)?;
        stream.set_read_timeout(Some(Duration::from_millis(20)))?;
        Ok(Link { conn: DockerConn::new(), stream, born: Instant::now() })
    }

    fn now(&self) -> Mono {
        Mono::ZERO + self.born.elapsed()
    }

    fn call(&mut self, request: &DockerRequest, answer: ResponseMode) {
        let now = self.now();
        self.conn.call(request, answer, now).expect("an idle connection");
    }

    /// Writes all there is and reads once.
    fn turn(&mut self) {
        while !self.conn.output().is_empty() {
            let len = self.stream.write(self.conn.output()).expect("the engine reads");
            self.conn.output_sent(len);
        }
        let now = self.now();
        let room = self.conn.input_space();
        if !room.is_empty() {
            match self.stream.read(room) {
                Ok(0) => self.conn.input_end(now),
                Ok(len) => self.conn.input(now, len),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => {}
                Err(error) => panic!("read from the engine: {error}"),
            }
        }
        self.conn.tick(now);
    }

    fn next_event(&mut self) -> DockerConnEvent {
        let patience = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.conn.poll_event() {
                return event;
            }
            assert!(Instant::now() < patience, "the engine is silent");
            self.turn();
        }
    }
}

fn ask(request: &DockerRequest) -> Reply {
    let mut link = Link::open().expect("the engine listens");
    link.call(request, ResponseMode::Whole);
    match link.next_event() {
        DockerConnEvent::Response(response) => Ok(response),
        DockerConnEvent::Closed(error) => Err(error.unwrap_or(DockerError::Closed)),
        event => panic!("{event:?} is no answer"),
    }
}

fn finish((mut procedure, mut request): (Procedure, DockerRequest)) -> Outcome {
    loop {
        (procedure, request) = match procedure.step(ask(&request)) {
            Step::Call(next, call) | Step::Stream(next, call) => (next, call),
            Step::Done(outcome) => return outcome,
        };
    }
}

/// The event stream.
struct Feeding {
    link: Link,
    events: EventStream,
    runtime_events: RuntimeEvents,
}

impl Feeding {
    fn follow() -> Feeding {
        let mut link = Link::open().expect("the engine listens");
        link.call(&RuntimeEvents::request(), ResponseMode::Stream);
        assert_eq!(link.next_event(), DockerConnEvent::Streaming);
        Feeding { link, events: EventStream::new(), runtime_events: RuntimeEvents::new() }
    }

    /// The next news of this session.
    fn next(&mut self, session: Uuid) -> PendingEvent {
        let patience = Instant::now() + PATIENCE;
        loop {
            let (taken, event) = self.events.read(self.link.conn.received()).expect("events");
            self.link.conn.consume(taken);
            let notice = event.and_then(|event| self.runtime_events.translate(&event));
            if let Some(notice) = notice.filter(|notice| is_about(&notice.event, session)) {
                return notice;
            }
            if taken == 0 {
                self.link.turn();
            }
            assert!(Instant::now() < patience, "no news of {session}");
        }
    }
}

/// As whom [`Session`]s run.
const USER: &str = "1234:1235";

fn is_about(news: &RuntimeEvent, session: Uuid) -> bool {
    match news {
        RuntimeEvent::Started(running) => running.id == session,
        RuntimeEvent::Ended { id, .. } | RuntimeEvent::LastScreen { id, .. } => *id == session,
        RuntimeEvent::Unreachable(_) | RuntimeEvent::Reachable => false,
    }
}

/// An attached terminal.
struct Terminal {
    link: Link,
    attach: Attach,
    /// What was shown and not expected yet.
    screen: String,
    /// What was shown up to the end of the last thing expected.
    seen: String,
}

impl Terminal {
    fn open(session: &Session, size: TerminalSize, read_only: bool) -> Terminal {
        let (cols, rows) = (u32::from(size.cols()), u32::from(size.rows()));
        let (term, label) = ("xterm-256color".to_owned(), String::new());
        let header = AttachHeader { id: session.id, cols, rows, term, read_only, label };
        let (attach, request) = Attach::begin(&header, USER);
        let (mut attach, request) = attach.prepared(ask(&request)).expect("a terminal");
        let mut link = Link::open().expect("the engine listens");
        link.call(&request, ResponseMode::TakeOver);
        assert_eq!(link.next_event(), DockerConnEvent::TakenOver);
        let patience = Instant::now() + PATIENCE;
        loop {
            let bytes = link.conn.received().to_vec();
            let (next, read) = attach.read(&bytes).expect("a tty");
            attach = next;
            if let TtyLine::WantsPty(taken, _) = read {
                // None is lent: the stream is the terminal.
                let (attach, line, resize) = attach.use_pty(None);
                assert_eq!(resize, None, "the size did not change");
                link.conn.consume(taken);
                assert_eq!(link.conn.send(line.as_bytes()), line.len());
                return Terminal { link, attach, screen: String::new(), seen: String::new() };
            }
            assert_eq!(read, TtyLine::Incomplete, "the image can be lent a terminal");
            link.conn.consume(bytes.len());
            assert!(Instant::now() < patience, "no tty");
            link.turn();
        }
    }

    fn send(&mut self, text: &str) {
        assert_eq!(self.link.conn.send(text.as_bytes()), text.len());
        self.link.turn();
    }

    fn resize(&mut self, cols: u32, rows: u32) {
        let request = self.attach.resize(TerminalSize::clamped(cols, rows)).expect("attached");
        ask(&request).expect("an answer").accepted().expect("resized");
    }

    /// Reads until the terminal has shown `text`, and forgets what was before it.
    fn expect(&mut self, text: &str) {
        let patience = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.screen.find(text) {
                self.seen.extend(self.screen.drain(..at + text.len()));
                return;
            }
            assert!(Instant::now() < patience, "no {text:?} in {:?}", self.screen);
            self.pump();
        }
    }

    /// Reads until the stream ends.
    fn expect_end(&mut self) {
        let patience = Instant::now() + PATIENCE;
        loop {
            match self.link.conn.poll_event() {
                Some(DockerConnEvent::End) => return,
                Some(_) => {}
                None => self.pump(),
            }
            assert!(Instant::now() < patience, "the terminal does not end: {:?}", self.screen);
        }
    }

    fn pump(&mut self) {
        self.link.turn();
        let received = self.link.conn.received();
        self.screen.push_str(&String::from_utf8_lossy(received));
        let len = received.len();
        self.link.conn.consume(len);
    }
}

// --- a session ---

/// A session with a home of its own; its container goes when it is dropped.
struct Session {
    id: Uuid,
    host: Host,
    root: PathBuf,
}

impl Session {
    /// `None`, and reported, if this machine cannot run the test.
    fn new(test: &str) -> Option<Session> {
        if let Err(reason) = engine_is_ready() {
            skip(test, &reason);
            return None;
        }
        let id = fresh_id(test);
        let root = std::env::temp_dir().join(format!("convocate-docker-{id}"));
        let paths = Paths::below(&root);
        fs::create_dir_all(paths.session(id)).expect("a home");
        fs::set_permissions(paths.session(id), Permissions::from_mode(0o777)).expect("a home");
        Some(Session { id, host: Host { paths, uid: 1234, gid: 1235, ..Host::default() }, root })
    }

    fn plan(&self, command: &str) -> StartPlan {
        StartPlan {
            uid: None,
            id: self.id,
            command: SessionCommand::parse(command).expect("a command"),
            port: 0,
            protocol: Protocol::Tcp,
            docker: false,
            egress: Egress::Open,
            has_socket: false,
            has_key: false,
            has_settings: false,
            publish: Publish::Default,
            caps: Caps { memory: 1 << 28, cpus: Cpus::from_millis(999).expect("fit"), pids: 100 },
            cpu_quota: None,
            memory_reservation: 128 << 20,
            image: image::tag(),
            startup: Box::default(),
            size: TerminalSize::clamped(80, 24),
        }
    }

    fn work(&self, work: RuntimeWork) -> Outcome {
        finish(Procedure::begin(work, &self.host))
    }
    fn start(&self, plan: StartPlan) -> Result<Running, WorkError> {
        let done = self.work(RuntimeWork::Start(Box::new(plan)))?;
        let Done::Started(running) = done else { panic!("a start comes to {done:?}") };
        Ok(running)
    }

    fn stop(&self) -> Outcome {
        self.work(RuntimeWork::Stop { id: self.id, grace: Duration::from_secs(10) })
    }

    /// What a survey tells of this session.
    fn survey(&self) -> Option<Running> {
        match self.work(RuntimeWork::List) {
            Ok(Done::Listed(all)) => all.into_iter().find(|running| running.id == self.id),
            outcome => panic!("{outcome:?} is no survey"),
        }
    }

    fn attach(&self) -> Terminal {
        Terminal::open(self, TerminalSize::clamped(80, 24), false)
    }

    fn is_there(&self) -> bool {
        let name = description::container_name(self.id);
        match ask(&call::container_inspect(&name)).and_then(|response| response.container()) {
            Ok(_) => true,
            Err(error) if error.is_not_found() => false,
            Err(error) => panic!("inspect: {error}"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let name = description::container_name(self.id);
        let _gone = ask(&call::container_remove(&name));
        let _left = fs::remove_dir_all(&self.root);
    }
}

fn engine_is_ready() -> Result<(), String> {
    Link::open().map_err(|error| format!("docker: no engine on {SOCKET}: {error}"))?;
    let tag = image::tag();
    let answer = ask(&call::image_inspect(&tag)).and_then(|response| response.accepted());
    answer.map(|_| ()).map_err(|error| {
        format!("docker: image {tag}: {error}; tests/testbed/base-image.sh builds it")
    })
}

fn skip(test: &str, reason: &str) {
    let line = format!("skipped: {test}: {reason}");
    eprintln!("{line}");
    if let Some(path) = std::env::var_os("CONVOCATE_SKIPPED") {
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("the list");
        writeln!(file, "{line}").expect("the list");
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("0.0.0.0", 0)).expect("a port");
    listener.local_addr().expect("a port").port()
}

fn fresh_id(test: &str) -> Uuid {
    let mut seed = [0; 32];
    let nanos = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos();
    seed[..16].copy_from_slice(&nanos.to_le_bytes());
    seed[16..20].copy_from_slice(&std::process::id().to_le_bytes());
    for (place, byte) in seed[20..].iter_mut().zip(test.bytes().rev()) {
        *place = byte;
    }
    Uuid::random(&mut Rng::from_seed(seed))
}

// --- the tests ---

#[test]
fn a_session_starts_is_seen_stops_starts_again_and_goes() {
    let Some(session) = Session::new("a_session_starts_is_seen_stops_starts_again_and_goes") else {
        return;
    };
    assert_eq!(session.survey(), None);
    assert_eq!(session.stop(), Ok(Done::Done), "what is not there is no error");
    let running = session.start(session.plan("bash")).expect("a start");
    let seen = session.survey().expect("it runs");
    assert_eq!(seen.caps, Some(session.plan("bash").caps));
    assert_eq!((seen.image, seen.caps), (image::tag(), running.caps));
    let again = session.start(session.plan("bash")).expect_err("it runs already");
    assert!(matches!(again, WorkError::Docker(_)), "{again}");
    assert!(session.survey().is_some(), "a refused start leaves what runs alone");
    assert_eq!(session.stop(), Ok(Done::Done));
    assert_eq!(session.survey(), None);
    session.start(session.plan("sleep 1000")).expect("the stopped container is replaced");
    assert!(session.survey().is_some());
    let remove = || session.work(RuntimeWork::Remove { id: session.id });
    assert_eq!(remove(), Ok(Done::Done));
    assert!(!session.is_there());
    assert_eq!(remove(), Ok(Done::Done));
}

#[test]
fn a_terminal_types_reads_and_resizes_as_claude() {
    let Some(session) = Session::new("a_terminal_types_reads_and_resizes_as_claude") else {
        return;
    };
    session.start(session.plan("bash")).expect("a start");
    let mut terminal = session.attach();
    terminal.send("echo \"$(id -un):$(id -u):$(id -g):$PWD:$(hostname)\" ; stty size\r");
    terminal.expect(&format!("claude:1234:1235:/home/claude:convocate-{}", session.id.short()));
    terminal.expect("23 80");
    terminal.resize(100, 40);
    terminal.send(
        "clear; while [ \"$(stty size)\" != '39 100' ]; do read -t 0.1; done; \
             echo got-$((20 + 2))\r",
    );
    terminal.expect("got-22");
    terminal.send("grep -E 'Cap(Eff|Prm)|NoNewPrivs' /proc/self/status | tr '\\t' =\r");
    terminal.expect("CapPrm:=0000000000000000");
    terminal.expect("CapEff:=0000000000000000");
    terminal.expect("NoNewPrivs:=1");
    terminal.send("touch made; exit\r");
    terminal.expect_end();
    assert!(session.host.paths.session(session.id).join("made").exists());
}

#[test]
fn one_terminal_is_detached_and_the_others_stay() {
    let Some(session) = Session::new("one_terminal_is_detached_and_the_others_stay") else {
        return;
    };
    session.start(session.plan("bash")).expect("a start");
    let (mut first, mut second) = (session.attach(), session.attach());
    first.send("echo one-$((1 + 1))\r");
    second.expect("one-2");
    assert_eq!(finish(first.attach.detach(USER).expect("a tty")), Ok(Done::Done));
    first.expect_end();
    second.send("echo clients-$(tmux list-clients | wc -l)\r");
    second.expect("clients-1");
    // A terminal whose stream is just closed may leave its client behind, until all are detached.
    drop(second);
    let mut third = session.attach();
    third.send("echo three-$((1 + 2))\r");
    third.expect("three-3");
    assert_eq!(session.work(RuntimeWork::Detach { id: session.id, uid: None }), Ok(Done::Done));
    third.expect_end();
    let mut fourth = session.attach();
    fourth.send(
        "echo clients-$(tmux list-clients | wc -l)-$(pgrep -c -f '^tmux .*attach-session')\r",
    );
    fourth.expect("clients-1-1");
    assert!(session.survey().is_some());
}

#[test]
fn a_watcher_types_nothing() {
    let Some(session) = Session::new("a_watcher_types_nothing") else { return };
    session.start(session.plan("bash")).expect("a start");
    let mut watcher = Terminal::open(&session, TerminalSize::clamped(200, 50), true);
    let mut worker = session.attach();
    watcher.send("touch forbidden\r");
    worker.send(
        "while [ \"$(stty size)\" != '23 80' ]; do read -t 0.1; done; echo seen-$((40 + 2))\r",
    );
    worker.expect("seen-42");
    watcher.expect("seen-42");
    assert!(!session.host.paths.session(session.id).join("forbidden").exists());
}

#[test]
fn tmux_passes_colour_clipboard_keys_and_text() {
    let Some(session) = Session::new("tmux_passes_colour_clipboard_keys_and_text") else { return };
    session.start(session.plan("bash")).expect("a start");
    let mut terminal = session.attach();
    terminal.send("printf '\\033[38;2;1;2;3mdeep\\033[0m \\303\\251\\342\\234\\223\\n'\r");
    terminal.expect("\x1b[38;2;1;2;3m");
    terminal.expect("é✓");
    terminal.send("printf '\\033]52;c;aGVsbG8=\\a'\r");
    terminal.expect("\x1b]52;");
    terminal.send("printf '\\033[>4;2mready-%d\\n' 22; cat -v\r");
    terminal.expect("ready-22");
    terminal.send("\x1b[13;2u");
    terminal.expect("^[[13;2u");
    terminal.send("\x03");
    terminal.expect("claude@");
    terminal.send("printf '\\033[?1000h\\033[?1006hmouse-%d\\n' 33; cat -v\r");
    terminal.expect("mouse-33");
    terminal.send("\x1b[<0;5;3M\x1b[<0;5;3m");
    terminal.expect("^[[<0;5;3M^[[<0;5;3m");
}

#[test]
fn a_command_that_ends_by_itself_has_ended() {
    let Some(session) = Session::new("a_command_that_ends_by_itself_has_ended") else { return };
    let mut news = Feeding::follow();
    // It stops itself in passing, as Ctrl-Z makes programs do, and its last character is tmux's.
    let command = "read -t 1 < <(sleep 9); kill -STOP $$; exit 7;";
    session.start(session.plan(command)).expect("a start");
    assert!(matches!(news.next(session.id).event, RuntimeEvent::Started(running)
        if running.caps == Some(session.plan("x").caps)));
    let notice = news.next(session.id);
    let (id, exit_code, out_of_memory, was_asked) = (session.id, Some(7), false, false);
    assert_eq!(notice.event, RuntimeEvent::Ended { id, exit_code, out_of_memory, was_asked });
    ask(&notice.call_first.expect("a restart to cancel")).expect("it is cancelled");
    let name = description::container_name(session.id);
    let state = ask(&call::container_inspect(&name)).unwrap().container().unwrap().state;
    assert!(!state.running && !state.restarting, "{state:?}");
    assert_eq!(session.survey(), None);
}

#[test]
fn a_stop_ends_with_the_status_that_lets_it_come_back() {
    let Some(session) = Session::new("a_stop_ends_with_the_status_that_lets_it_come_back") else {
        return;
    };
    let mut news = Feeding::follow();
    session.start(session.plan("trap '' HUP; sleep 1000 & wait; wait")).expect("a start");
    assert!(matches!(news.next(session.id).event, RuntimeEvent::Started(_)));
    let asked = Instant::now();
    assert_eq!(session.stop(), Ok(Done::Done));
    assert!(asked.elapsed() < Duration::from_secs(10), "it had to be killed");
    let notice = news.next(session.id);
    let (id, exit_code, out_of_memory, was_asked) = (session.id, Some(143), false, true);
    assert_eq!(notice.event, RuntimeEvent::Ended { id, exit_code, out_of_memory, was_asked });
    assert!(notice.call_first.is_some_and(|look| look.target.ends_with("/json")));
}

#[test]
fn a_command_that_takes_too_much_memory_is_killed_and_that_is_told() {
    let test = "a_command_that_takes_too_much_memory_is_killed_and_that_is_told";
    let Some(session) = Session::new(test) else { return };
    let mut news = Feeding::follow();
    let mut plan = session.plan("read -t 0.5 < <(sleep 9); tail /dev/zero");
    (plan.caps.memory, plan.memory_reservation) = (32 << 20, 32 << 20);
    session.start(plan).expect("a start");
    assert!(matches!(news.next(session.id).event, RuntimeEvent::Started(_)));
    let notice = news.next(session.id);
    let RuntimeEvent::Ended { exit_code, out_of_memory, .. } = notice.event else {
        panic!("{notice:?}")
    };
    assert_eq!((exit_code, out_of_memory), (Some(137), true));
}

#[test]
fn a_port_is_published_and_the_engine_is_there_only_when_asked_for() {
    let test = "a_port_is_published_and_the_engine_is_there_only_when_asked_for";
    let Some(session) = Session::new(test) else { return };
    session.start(session.plan("bash")).expect("a start");
    let mut terminal = session.attach();
    let ping = "said=$(curl -s --unix-socket /var/run/docker.sock http://docker/_ping); \
                echo $said-$((20 + 2))";
    terminal.send(&format!("{ping}\r"));
    terminal.expect("-22");
    assert!(!terminal.seen.contains("OK-22"), "{}", terminal.seen);
    session.stop().expect("a stop");
    let port = free_port();
    let serve = format!(
        "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(LocalPort => {port}, Listen => 1); \
         while ($c = $s->accept) {{ print $c \"served\"; close $c }}' & bash"
    );
    let plan = StartPlan { port, docker: true, ..session.plan(&serve) };
    session.start(plan).expect("a start");
    let mut terminal = session.attach();
    terminal.send(&format!("{ping}\r"));
    terminal.expect("OK-22");
    let patience = Instant::now() + PATIENCE;
    let mut answer = String::new();
    while answer != "served" {
        assert!(Instant::now() < patience, "port {port} answers {answer:?}");
        answer.clear();
        let stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it is published");
        // The engine's proxy resets the connection until the command listens.
        let _reset = (&stream).read_to_string(&mut answer);
    }
}

#[test]
fn processes_stop_at_their_cap() {
    let Some(session) = Session::new("processes_stop_at_their_cap") else { return };
    let mut plan = session.plan("bash");
    plan.caps.pids = 20;
    session.start(plan).expect("a start");
    let mut terminal = session.attach();
    terminal.send("for i in {1..50}; do sleep 100 & done\r");
    terminal.expect("Resource temporarily unavailable");
    let asked = Instant::now();
    assert_eq!(session.stop(), Ok(Done::Done));
    assert!(asked.elapsed() < Duration::from_secs(10), "it had to be killed");
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    let Some(session) = Session::new("what_cannot_start_says_why_and_leaves_nothing") else {
        return;
    };
    let missing = StartPlan { image: "convocate:no-such".to_owned(), ..session.plan("bash") };
    let error = session.start(missing).expect_err("there is no image");
    assert_eq!(error, WorkError::NoImage("convocate:no-such".to_owned()));
    let taken = std::net::TcpListener::bind(("0.0.0.0", 0)).expect("a port");
    let port = taken.local_addr().expect("a port").port();
    let error = session.start(StartPlan { port, ..session.plan("bash") }).expect_err("it is taken");
    assert!(matches!(&error, WorkError::Docker(words) if words.contains(&port.to_string())));
    assert!(!session.is_there());
    fs::remove_dir(session.host.paths.session(session.id)).expect("an empty home");
    let error = session.start(session.plan("bash")).expect_err("there is no home");
    assert!(matches!(error, WorkError::Docker(_)), "{error}");
    assert!(!session.is_there());
    let (id, term, label) = (session.id, String::new(), String::new());
    let header = AttachHeader { id, cols: 0, rows: 0, term, read_only: false, label };
    let refused = Attach::begin(&header, USER);
    assert!(refused.0.prepared(ask(&refused.1)).is_err());
}
