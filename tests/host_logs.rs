//! Logs over TLS between two real `rsyslogd`, with the files that are written for them: the
//! certificates, both drop-ins, the table of agents, and logrotate's.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use convocate::base::rng::Rng;
use convocate::base::time::Wall;
use convocate::provision::logs::authority::{
    AuthorityFiles, AuthorityRequest, LogClient, WantedAuthority, load, wanted,
};
use convocate::provision::logs::rsyslog::{self, LogAgent, LogDoor, LogTarget, LogToken};
use convocate::rpc::agent_id::AgentId;
use convocate::x509::{AltName, Authority, Certificate, CertificateRequest, DnsName, KeyPair};
use rustix::process::Signal;
use support::Need;
use support::process::{self, Finished, Running};
use support::root::Root;
use support::wait::{PATIENCE, wait_for, wait_until};

const FIRST: &str = "abcdefghjkmn";
const SECOND: &str = "mmmmmmmmmmmm";
const COLLECTOR: &str = "localhost";
const DAY: i64 = 86_400;
/// How long a log call may take that is not to be held up by anything. Far above what it takes, as
/// the machine may do much else, and far below what a call takes that is held up.
const AT_ONCE: Duration = Duration::from_secs(3);

/// Whether both programs and their TLS are here.
fn can_run(test: &str) -> bool {
    if !support::has(test, &[Need::Program("rsyslogd")]) {
        return false;
    }
    let directories = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let has_tls = directories
        .map(|directory| directory.path().join("rsyslog/lmnsd_gtls.so"))
        .any(|driver| driver.is_file());
    if !has_tls {
        support::skip(test, "program: rsyslog-gnutls is not installed");
    }
    has_tls
}

fn now() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Wall::new(i64::try_from(since.as_secs()).expect("this century"), 0)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// A shell host that collects.
struct Collector {
    root: Root,
    authority: Authority,
    agents: Vec<LogAgent>,
    port: u16,
    rng: Rng,
}

impl Collector {
    /// One that lets `agents` in.
    fn new(agents: &[&str]) -> Collector {
        let mut rng = Rng::from_seed([11; 32]);
        let authority = Authority::mint(now(), &mut rng);
        let agents = agents
            .iter()
            .map(|id| LogAgent {
                id: AgentId::parse(id).expect("an id"),
                token: LogToken::random(&mut rng),
            })
            .collect();
        let collector = Collector { root: Root::new(), authority, agents, port: free_port(), rng };
        collector.written()
    }

    fn written(mut self) -> Collector {
        let key = KeyPair::generate(&mut self.rng);
        let names = [AltName::parse(COLLECTOR).expect("a name")];
        let certificate = self.authority.issue_server(&key.public(), &names, now(), &mut self.rng);
        let paths = self.root.paths();
        let tls = paths.log_authority();
        let write = |path: PathBuf, text: &str| self.root.write(&path, text, 0o600);
        write(tls.authorities(), &self.authority.certificate().to_pem());
        write(tls.server_certificate(), &certificate.expect("it may").to_pem());
        write(tls.server_key(), &key.to_pem());
        write(paths.log_agents(), &rsyslog::agents_table(&self.agents));
        let door = LogDoor { address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: self.port };
        write(paths.rsyslog_collector(), &rsyslog::collector(&paths, door, &self.agents));
        write(paths.logrotate(), &rsyslog::rotation(&paths));
        fs::create_dir_all(paths.agent_logs()).expect("a directory");
        write_main(&self.root, "", &paths.rsyslog_collector());
        self
    }

    /// Gives it the files of an authority as `init-shell` writes them.
    fn take(&self, made: &WantedAuthority) {
        let tls = self.root.paths().log_authority();
        let write = |path: PathBuf, text: &str| self.root.write(&path, text, 0o600);
        write(tls.authorities(), &made.trust.to_pem());
        write(tls.server_certificate(), &made.server_certificate.to_pem());
        write(tls.server_key(), &made.server_key);
    }

    fn start(&self) -> Running {
        start(&self.root)
    }

    /// What an agent's file says.
    fn log_of(&self, agent: &str) -> String {
        let file = self.root.paths().agent_logs().join(format!("{agent}.log"));
        fs::read_to_string(file).unwrap_or_default()
    }

    /// The names of all files with logs.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.paths().agent_logs()).expect("the directory");
        let mut names: Vec<String> =
            entries.flatten().map(|it| it.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// What is to become of the files of an authority.
fn made(
    before: Option<&WantedAuthority>,
    ask: AuthorityRequest,
) -> Result<WantedAuthority, String> {
    let found = before.map_or_else(AuthorityFiles::default, |made| AuthorityFiles {
        authorities: Some(made.trust.to_pem()),
        key: made.key.clone(),
        previous_key: made.previous_key.clone(),
        server_certificate: Some(made.server_certificate.to_pem()),
        server_key: Some(made.server_key.clone()),
    });
    let files = Root::new().paths().log_authority();
    let names = [AltName::parse(COLLECTOR).expect("a name")];
    let mut rng = Rng::from_seed([if before.is_some() { 42 } else { 41 }; 32]);
    wanted(&found, &files, &names, ask, now(), &mut rng).map_err(|failure| failure.what)
}

/// An agent as `init-agent` leaves it: with a certificate by whoever issues in `by`, and trusting
/// whom `trusts` trusts.
fn enrolled(
    collector: &Collector,
    agent: usize,
    by: &WantedAuthority,
    trusts: &WantedAuthority,
) -> Enrolled {
    let root = Root::new();
    let agent = &collector.agents[agent];
    let key = KeyPair::generate(&mut Rng::from_seed([43; 32]));
    let id = DnsName::parse(agent.id.as_str()).expect("an id");
    let client =
        LogClient::parse(id.as_str(), &CertificateRequest::new(&id.common(), &key).to_pem());
    let issuer = load(&by.trust, by.key.as_ref().expect("its key")).expect("they fit");
    let mut rng = Rng::from_seed([44; 32]);
    let issued = client.expect("a request").issued(&issuer, now(), &mut rng).expect("it may");
    let tls = root.paths().agent_tls();
    root.write(&tls.authorities(), &trusts.trust.to_pem(), 0o600);
    root.write(&tls.certificate(), &issued.to_pem(), 0o600);
    root.write(&tls.key(), &key.to_pem(), 0o600);
    let sender = Sender::forwarding(root, collector.port, COLLECTOR, &agent.token);
    Enrolled { sender, issued }
}

struct Enrolled {
    sender: Sender,
    issued: Certificate,
}

/// How an agent differs from one in order.
struct Oddity {
    /// Whose certificate it has.
    certificate_of: &'static str,
    /// Whether another cluster's authority issued it.
    is_stranger: bool,
    /// How long ago, in days.
    issued_days_ago: i64,
    /// Which collector it looks for.
    collector: &'static str,
}

impl Oddity {
    fn none(id: &'static str) -> Oddity {
        Oddity { certificate_of: id, is_stranger: false, issued_days_ago: 0, collector: COLLECTOR }
    }
}

/// An agent host that forwards.
struct Sender {
    root: Root,
    socket: UnixDatagram,
}

impl Sender {
    fn new(collector: &Collector, token: &LogToken, oddity: &Oddity) -> Sender {
        let root = Root::new();
        let paths = root.paths();
        let mut rng = Rng::from_seed([12; 32]);
        let then = Wall::new(now().seconds() - oddity.issued_days_ago * DAY, 0);
        let other = Authority::mint(then, &mut rng);
        // An expired leaf needs an authority that lived then.
        let is_other = oddity.is_stranger || oddity.issued_days_ago > 0;
        let authority = if is_other { &other } else { &collector.authority };
        let id = DnsName::parse(oddity.certificate_of).expect("an id");
        let key = KeyPair::generate(&mut rng);
        let request = CertificateRequest::new(&id.common(), &key);
        let certificate = authority.issue_client(&request, &id, then, &mut rng).expect("it may");
        let tls = paths.agent_tls();
        let write = |path: PathBuf, text: &str| root.write(&path, text, 0o600);
        write(tls.authorities(), &collector.authority.certificate().to_pem());
        write(tls.certificate(), &certificate.to_pem());
        write(tls.key(), &key.to_pem());
        if oddity.issued_days_ago > 0 && !oddity.is_stranger {
            let trusted = collector.root.paths().log_authority().authorities();
            let both = [&collector.authority, &other].map(|it| it.certificate().to_pem()).concat();
            collector.root.write(&trusted, &both, 0o600);
        }
        Sender::forwarding(root, collector.port, oddity.collector, token)
    }

    /// One whose certificates are there.
    fn forwarding(root: Root, port: u16, collector: &str, token: &LogToken) -> Sender {
        let paths = root.paths();
        let write = |path: PathBuf, text: &str| root.write(&path, text, 0o600);
        let target = LogTarget {
            host: AltName::parse("127.0.0.1").expect("an address"),
            port,
            name: DnsName::parse(collector).expect("a name").common(),
        };
        write(paths.rsyslog_forward(), &rsyslog::forward(&paths, &target, token));
        fs::create_dir_all(paths.rsyslog_spool()).expect("a directory");
        let input = format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{}\" RateLimit.Interval=\"0\")\n\
             if $programname == \"{MARKER}\" then action(type=\"omfile\" file=\"{}\")\n",
            log_socket(&root).display(),
            markers(&root).display()
        );
        write_main(&root, &input, &paths.rsyslog_forward());
        Sender { root, socket: UnixDatagram::unbound().expect("a socket") }
    }

    fn start(&self) -> Running {
        let running = start(&self.root);
        wait_until(PATIENCE, "rsyslogd opens its socket", || {
            self.socket.connect(log_socket(&self.root)).is_ok()
        });
        running
    }

    /// Returns when rsyslogd has read all that was said. What is still in its socket when it is
    /// stopped is lost: where systemd holds that socket, it stays in there.
    fn read(&self) {
        self.say(MARKER, "the end");
        wait_until(PATIENCE, "the marker", || markers(&self.root).exists());
    }

    /// What `logger` does, timed.
    fn say(&self, tag: &str, text: &str) -> Duration {
        let before = Instant::now();
        let line = format!("<14>{tag}: {text}");
        self.socket.send(line.as_bytes()).expect("rsyslogd listens");
        before.elapsed()
    }
}

/// The tag of a message that stays on the agent's host.
const MARKER: &str = "marker";

fn markers(root: &Root) -> PathBuf {
    root.dir().join("markers")
}

fn log_socket(root: &Root) -> PathBuf {
    root.dir().join("log")
}

/// The main file of an rsyslog, around one drop-in.
fn write_main(root: &Root, input: &str, drop_in: &std::path::Path) {
    let text = format!(
        "global(workDirectory=\"{}\")\n{input}include(file=\"{}\")\n",
        root.dir().display(),
        drop_in.display()
    );
    root.write(&root.dir().join("rsyslog.conf"), &text, 0o600);
}

fn rsyslogd(root: &Root) -> Command {
    let program = process::find("rsyslogd").expect("can_run has looked");
    let mut command = process::command(root, program);
    command.arg("-f").arg(root.dir().join("rsyslog.conf"));
    command
}

fn start(root: &Root) -> Running {
    let mut command = rsyslogd(root);
    command.arg("-n").arg("-i").arg(root.dir().join("rsyslogd.pid"));
    Running::start(&mut command)
}

/// What rsyslog says of the configuration without running it.
fn check(root: &Root) -> Finished {
    process::run(rsyslogd(root).arg("-N1"), b"", PATIENCE)
}

#[test]
fn rsyslog_and_logrotate_read_what_is_written() {
    let test = "rsyslog_and_logrotate_read_what_is_written";
    if !can_run(test) {
        return;
    }
    for agents in [&[][..], &[FIRST], &[FIRST, SECOND]] {
        let collector = Collector::new(agents);
        let said = check(&collector.root).expect_done().err();
        assert!(!said.contains("rror"), "{said}");
    }
    let collector = Collector::new(&[FIRST]);
    let sender = Sender::new(&collector, &collector.agents[0].token, &Oddity::none(FIRST));
    let said = check(&sender.root).expect_done().err();
    assert!(!said.contains("rror"), "{said}");

    if !support::has(test, &[Need::Program("logrotate")]) {
        return;
    }
    let paths = collector.root.paths();
    let log = paths.agent_logs().join(format!("{FIRST}.log"));
    collector.root.write(&log, "a line\n", 0o640);
    let state = collector.root.dir().join("logrotate.state");
    let rotate = process::find("logrotate").expect("it was found");
    let mut command = process::command(&collector.root, rotate);
    command.arg("--force").arg("--state").arg(state).arg(paths.logrotate());
    process::run(&mut command, b"", PATIENCE).expect_done();
    assert!(collector.files().contains(&format!("{FIRST}.log.1")), "{:?}", collector.files());
}

#[test]
fn a_message_is_filed_under_its_sender_whatever_it_claims() {
    if !can_run("a_message_is_filed_under_its_sender_whatever_it_claims") {
        return;
    }
    let collector = Collector::new(&[FIRST, SECOND]);
    let _collecting = collector.start();
    let token = &collector.agents[0].token;
    let first = Sender::new(&collector, token, &Oddity::none(FIRST));
    let _first = first.start();
    let other_token = collector.agents[1].token.reveal();
    first.say("convocate-session/01234567-89ab-4def-8123-456789abcdef", "said in a session");
    first.say("convocate-agent[7]", "said by the agent");
    first.say("sshd", "is nobody's business");
    // Claims of a host, an agent, a path: in the tag, and in the text.
    first.say("convocate-agent[convocate token=\"guess\"]", "../../etc/passwd");
    first.say("convocate-agent", &format!("[convocate token=\"{other_token}\"] {SECOND}"));
    first.say("convocate-agent", "the last");
    let log = wait_for(PATIENCE, "the last message", || {
        Some(collector.log_of(FIRST)).filter(|log| log.contains("the last"))
    });
    assert!(log.contains("convocate-session/01234567-89ab-4def-8123-456789abcdef: said in a"));
    assert!(log.contains("convocate-agent[7]: said by the agent"), "{log}");
    assert!(!log.contains("nobody's business"), "{log}");
    // After a connection that failed rsyslog sends its last message again.
    let lines: BTreeSet<&str> = log.lines().collect();
    assert_eq!(lines.len(), 5, "{log}");
    assert_eq!(collector.files(), [format!("{FIRST}.log")]);
    assert!(!log.contains(token.reveal()), "{log}");

    // The second agent with a token that is not known, and then with its own.
    let unknown = LogToken::random(&mut Rng::from_seed([99; 32]));
    let second = Sender::new(&collector, &unknown, &Oddity::none(SECOND));
    {
        let _second = second.start();
        second.say("convocate-agent", "with a token of nobody");
    }
    let second = Sender::new(&collector, &collector.agents[1].token, &Oddity::none(SECOND));
    let _second = second.start();
    second.say("convocate-agent", "with its own");
    wait_until(PATIENCE, "the second agent's message", || {
        collector.log_of(SECOND).contains("with its own")
    });
    assert_eq!(collector.files(), [format!("{FIRST}.log"), format!("{SECOND}.log")]);
    let all = collector.log_of(FIRST) + &collector.log_of(SECOND);
    assert!(!all.contains("of nobody"), "{all}");
}

#[test]
fn strangers_are_refused() {
    if !can_run("strangers_are_refused") {
        return;
    }
    let in_order = || Oddity::none(FIRST);
    for (what, oddity, reason) in [
        (
            "a certificate of an agent that is not known",
            Oddity { certificate_of: SECOND, ..in_order() },
            "not permitted to talk to it",
        ),
        (
            "another cluster's certificate",
            Oddity { is_stranger: true, ..in_order() },
            "certificate invalid: signer not found",
        ),
        ("an expired certificate", Oddity { issued_days_ago: 366, ..in_order() }, "expired"),
    ] {
        let collector = Collector::new(&[FIRST]);
        let sender = Sender::new(&collector, &collector.agents[0].token, &oddity);
        let collecting = collector.start();
        let _sending = sender.start();
        sender.say("convocate-agent", what);
        wait_until(PATIENCE, what, || collecting.stderr.text().contains(reason));
        assert!(collector.files().is_empty(), "{what}: {:?}", collector.files());
    }
    // And an agent does not tell its logs to whoever answers.
    let collector = Collector::new(&[FIRST]);
    let oddity = Oddity { collector: "other.example.org", ..in_order() };
    let sender = Sender::new(&collector, &collector.agents[0].token, &oddity);
    let _collecting = collector.start();
    let sending = sender.start();
    sender.say("convocate-agent", "not for you");
    wait_until(PATIENCE, "the agent refuses", || {
        sending.stderr.text().contains("not permitted to talk to it")
    });
    assert!(collector.files().is_empty(), "{:?}", collector.files());
}

/// `init-shell --rotate-ca`, `init-agent` for one of two agents, `init-shell --finish-rotation`.
#[test]
fn one_authority_follows_another_and_logs_go_on() {
    if !can_run("one_authority_follows_another_and_logs_go_on") {
        return;
    }
    let first = made(None, AuthorityRequest::Mend).expect("one is made");
    let both = made(Some(&first), AuthorityRequest::Rotate).expect("a rotation begins");
    let collector = Collector::new(&[FIRST, SECOND]);
    collector.take(&both);
    // One has not been visited yet: it knows the first authority alone, on both sides.
    let before = enrolled(&collector, 0, &first, &first);
    let after = enrolled(&collector, 1, &both, &both);
    let mut collecting = collector.start();
    let [_before, _after] = [&before.sender, &after.sender].map(Sender::start);
    before.sender.say("convocate-agent", "by the old one");
    after.sender.say("convocate-agent", "by the new one");
    for (id, text) in [(FIRST, "by the old one"), (SECOND, "by the new one")] {
        wait_until(PATIENCE, text, || collector.log_of(id).contains(text));
    }

    let agents = [(FIRST, &before), (SECOND, &after)];
    let agents: Vec<_> =
        agents.iter().map(|(id, it)| ((*id).to_owned(), Some(it.issued.clone()))).collect();
    let finish = |is_forced| AuthorityRequest::Finish { agents: agents.clone(), is_forced };
    let early = made(Some(&both), finish(false)).err().expect("one would be shut out");
    assert!(early.ends_with(&format!("init-agent for each: {FIRST}")), "{early}");
    let end = made(Some(&both), finish(true)).expect("it is forced");
    collecting.signal(Signal::TERM);
    collecting.finish(PATIENCE);
    collector.take(&end);
    let collecting = collector.start();
    // Again and again: what is under way while a collector restarts can be lost with it.
    wait_until(PATIENCE, "the agent of the new authority", || {
        after.sender.say("convocate-agent", "behind the end");
        collector.log_of(SECOND).contains("behind the end")
    });
    // It would take the collector's new certificate, and its own is refused.
    let late = enrolled(&collector, 0, &first, &both);
    let _late = late.sender.start();
    late.sender.say("convocate-agent", "too late");
    let reason = "certificate invalid: signer not found";
    wait_until(PATIENCE, reason, || collecting.stderr.text().contains(reason));
    assert!(!collector.log_of(FIRST).contains("too late"));
}

/// First nothing listens, then something takes connections and never answers, then the collector is
/// there. Nobody who logs waits, and what was said arrives.
#[test]
fn a_collector_that_is_gone_holds_up_nobody() {
    if !can_run("a_collector_that_is_gone_holds_up_nobody") {
        return;
    }
    let collector = Collector::new(&[FIRST]);
    let sender = Sender::new(&collector, &collector.agents[0].token, &Oddity::none(FIRST));
    let mut sending = sender.start();
    let mut slowest = Duration::ZERO;
    for number in 0..500 {
        slowest = slowest.max(sender.say("convocate-agent", &format!("while down {number};")));
    }
    {
        let _black_hole =
            TcpListener::bind((Ipv4Addr::LOCALHOST, collector.port)).expect("the port is free");
        for number in 0..500 {
            slowest = slowest.max(sender.say("convocate-agent", &format!("swallowed {number};")));
        }
    }
    assert!(slowest < AT_ONCE, "a call took {slowest:?}");
    // What waits survives the agent's rsyslog too.
    sender.read();
    sending.signal(Signal::TERM);
    sending.finish(PATIENCE);
    let _sending = sender.start();
    let _collecting = collector.start();
    let last = "swallowed 499;";
    wait_until(PATIENCE * 3, "the last message", || collector.log_of(FIRST).contains(last));
    let log = collector.log_of(FIRST);
    for number in 0..500 {
        for text in [format!("while down {number};"), format!("swallowed {number};")] {
            assert!(log.contains(&text), "{text} is lost");
        }
    }
}
