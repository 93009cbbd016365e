//! The `host` runtime's command lines: each session is a tmux server of its own on this machine.
//!
//! Command lines and the meaning of their outcomes are data; the driver runs them. The socket's
//! name carries the session's id, so nothing else on the machine is ever touched. The session's
//! command is the operator's and is run by bash, as it is in a container, and so is its setup
//! command; nothing else goes through a shell as text.
//!
//! Its end is told by the end of the server's process ([`Server::pid`]); its exit status and its
//! last screen are in a file. A stop asks with SIGHUP ([`Tmux::stop`]) and kills the process groups
//! that [`Tmux::panes`] told before, and those of the commands in them.

use std::path::PathBuf;

use super::action::TerminalPlan;
use super::environment::{SESSION_ENV, SESSION_SOCKET, WITH_KNOWN_TERM};
use super::image::PANE;
use super::startup;
use super::work::{ExecPlan, Running, StartPlan, WorkError};
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::paths::Paths;
use crate::rpc::env::SessionEnv;
use crate::rpc::field::shown;

/// What a server is configured with: colours, mouse, clipboard, modified keys and UTF-8 go through
/// unharmed, and nothing of it is in the way of the command.
pub(crate) const TMUX_CONF: &str = include_str!("image/tmux.conf");

/// The environment that must not reach a session's server or a terminal's client.
pub(crate) const REMOVED_ENV: [&str; 4] = ["TMUX", "TMUX_PANE", "CONVOCATE_ROOT", "SSH_AUTH_SOCK"];

/// A process to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// What is set in its environment, besides the driver's own without [`REMOVED_ENV`].
    pub(crate) env: Vec<(&'static str, String)>,
    /// What the session was given; `env` comes before it.
    pub(crate) session_env: SessionEnv,
    pub(crate) cwd: PathBuf,
}

/// What a process came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finished<'a> {
    /// Whether its exit status was 0.
    pub(crate) is_success: bool,
    /// What it wrote, bounded by the driver.
    pub(crate) stdout: &'a [u8],
    /// What it complained about, bounded by the driver.
    pub(crate) stderr: &'a [u8],
}

/// A server that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Its process, whose end is the session's.
    pub(crate) pid: u32,
    /// The session, as the core wants it told.
    pub(crate) running: Running,
    /// The session inside of the server, whatever it is called by now.
    pub(crate) target: Target,
}

/// tmux's id for a session: `$0`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target(String);

impl Default for Target {
    /// By its name, where nothing more is known. The equals sign demands the exact name.
    fn default() -> Target {
        Target(format!("={NAME}"))
    }
}

/// The tmux server of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tmux {
    id: Uuid,
    home: PathBuf,
    conf: PathBuf,
    last_words: PathBuf,
    key_socket: PathBuf,
}

/// What the session inside of the server is called at first.
const NAME: &str = "claude";

/// For each session in a server: the process, its start, its id, the id that `tmux.conf` has noted,
/// and its name, which may have spaces.
const LISTED: &str =
    "#{pid} #{session_created} #{session_id} #{@convocate-session} #{session_name}";

impl Tmux {
    /// The server of session `id` of the agent below `paths`.
    pub(crate) fn new(id: Uuid, paths: &Paths) -> Tmux {
        let (home, conf) = (paths.session(id), paths.tmux_conf());
        let (last_words, key_socket) =
            (paths.session_last_words(id), paths.session_socket_dir(id).join(SESSION_SOCKET));
        Tmux { id, home, conf, last_words, key_socket }
    }

    pub(crate) fn socket(&self) -> String {
        socket_name(self.id)
    }

    /// Starts the server, detached. When it has exited with success the server runs; ask for it
    /// with [`Tmux::query`].
    pub(crate) fn start(&self, plan: &StartPlan) -> CommandLine {
        let (cols, rows) = (plan.size.cols().to_string(), plan.size.rows().to_string());
        let home = self.home.display().to_string();
        let line = self.tmux(&[
            "new-session",
            "-d",
            "-s",
            NAME,
            "-x",
            &cols,
            "-y",
            &rows,
            "-c",
            &home,
            "--",
            "bash",
            "-c",
            PANE,
            "pane",
            &self.last_words.display().to_string(),
            "bash",
            "-c",
            // tmux takes a last character `;` of an argument for its own.
            &format!("{}\n", startup::command_text(plan)),
        ]);
        CommandLine {
            argv: line.argv,
            env: self.session_env(plan.has_key).chain(startup::variables(plan)).collect(),
            session_env: plan.startup.env.clone(),
            cwd: self.home.clone(),
        }
    }

    /// A program beside the session's command, as that was started.
    pub(crate) fn exec(&self, plan: &ExecPlan) -> CommandLine {
        CommandLine {
            argv: plan.argv.clone(),
            env: self
                .session_env(self.key_socket.exists())
                .chain(plan.env.iter().cloned())
                .collect(),
            session_env: plan.session_env.clone(),
            cwd: self.home.clone(),
        }
    }

    fn session_env(&self, has_socket: bool) -> impl Iterator<Item = (&'static str, String)> {
        let variables = SESSION_ENV.map(|(name, value)| (name, value.to_owned()));
        let socket = has_socket.then(|| ("SSH_AUTH_SOCK", self.key_socket.display().to_string()));
        let home = [("HOME", self.home.display().to_string())];
        home.into_iter().chain(variables).chain(socket)
    }

    /// Asks for the server's process and start. Understood by [`Tmux::server`].
    pub(crate) fn query(&self) -> CommandLine {
        self.tmux(&["list-sessions", "-F", LISTED])
    }

    /// Asks for the process groups in the session. Understood by [`Tmux::pane_pids`].
    pub(crate) fn panes(&self, target: &Target) -> CommandLine {
        self.tmux(&["list-panes", "-s", "-t", &target.0, "-F", "#{pane_pid}"])
    }

    /// A terminal's client, to be run on a pty.
    pub(crate) fn attach(&self, target: &Target, plan: &TerminalPlan) -> CommandLine {
        let mut args = Vec::new();
        if !plan.label.is_empty() {
            args.extend(["set-option", "-sq", "@convocate-label", &plan.label, ";"]);
        }
        args.extend(["attach-session", "-t", &target.0]);
        if plan.read_only {
            args.push("-r");
        }
        let mut line = self.tmux(&args);
        let first = ["sh", "-c", WITH_KNOWN_TERM, "attach"].map(str::to_owned);
        line.argv.splice(0..0, first);
        let term = if plan.term.is_empty() { "xterm-256color" } else { &plan.term };
        line.env.push(("TERM", term.to_owned()));
        line
    }

    /// Detaches every terminal, ours and foreign ones.
    pub(crate) fn detach(&self, target: &Target) -> CommandLine {
        self.tmux(&["detach-client", "-s", &target.0])
    }

    /// Asks everything in the session to end, and ends the server.
    pub(crate) fn stop(&self) -> CommandLine {
        self.tmux(&["kill-server"])
    }

    /// What [`Tmux::query`] found: the server, or that there is none.
    ///
    /// # Errors
    /// tmux's own words, if it complains about anything else.
    pub(crate) fn server(&self, finished: Finished<'_>) -> Result<Option<Server>, WorkError> {
        if !self.is_there(finished)? {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(finished.stdout);
        for line in text.lines() {
            let mut fields = line.splitn(5, ' ');
            let mut next = || fields.next().unwrap_or_default();
            let (pid, created, id, noted, name) = (next(), next(), next(), next(), next());
            // One that an earlier agent has started has no note.
            let is_ours = if noted.is_empty() { name == NAME } else { id == noted };
            match (pid.parse(), created.parse()) {
                (Ok(pid), Ok(seconds)) if is_ours => {
                    return Ok(Some(self.found(pid, seconds, id)));
                }
                (Ok(_), Ok(_)) => {}
                _ => return Err(WorkError::Tmux(format!("list-sessions said {}", shown(line)))),
            }
        }
        Ok(None)
    }

    fn found(&self, pid: u32, seconds: i64, id: &str) -> Server {
        let started_at = Wall::new(seconds, 0);
        let (container, image) = (String::new(), String::new());
        let running = Running {
            id: self.id,
            started_at,
            container,
            image,
            caps: None,
            uid: None,
            is_carried: false,
        };
        Server { pid, running, target: Target(id.to_owned()) }
    }

    /// What [`Tmux::panes`] found; nothing if there is no server.
    ///
    /// # Errors
    /// tmux's own words, if it complains about anything else.
    pub(crate) fn pane_pids(&self, finished: Finished<'_>) -> Result<Vec<u32>, WorkError> {
        if !self.is_there(finished)? {
            return Ok(Vec::new());
        }
        let text = String::from_utf8_lossy(finished.stdout);
        // 0 and 1 are never a pane, and killing those groups would be killing ourselves or all.
        Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 1).collect())
    }

    /// What [`Tmux::detach`] came to. That nobody was attached is no error.
    ///
    /// # Errors
    /// tmux's own words, if it complains about anything else.
    pub(crate) fn detached(&self, finished: Finished<'_>) -> Result<(), WorkError> {
        match self.is_there(finished) {
            Err(WorkError::Tmux(text)) if text.contains("no current client") => Ok(()),
            other => other.map(drop),
        }
    }

    /// Whether there was a server to do [`Tmux::stop`] on.
    ///
    /// # Errors
    /// tmux's own words, if it complains about anything else.
    pub(crate) fn is_there(&self, finished: Finished<'_>) -> Result<bool, WorkError> {
        if finished.is_success {
            return Ok(true);
        }
        let text = complaint(finished);
        let is_absent = NO_SERVER.iter().any(|sign| text.contains(sign));
        if is_absent { Ok(false) } else { Err(WorkError::Tmux(text)) }
    }

    /// Only a start needs the home: the session may have removed it.
    fn tmux(&self, args: &[&str]) -> CommandLine {
        let conf = self.conf.display().to_string();
        let first = ["tmux", "-u", "-L", &self.socket(), "-f", &conf].map(str::to_owned);
        CommandLine {
            argv: first.into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect(),
            env: vec![("HOME", self.home.display().to_string())],
            session_env: SessionEnv::default(),
            cwd: PathBuf::from("/"),
        }
    }
}

/// How tmux says that a server or its session is not there.
const NO_SERVER: [&str; 4] =
    ["no server running on", "error connecting to", "can't find session", "server exited"];

/// What a failed start came to.
pub(crate) fn start_error(finished: Finished<'_>) -> WorkError {
    WorkError::Tmux(complaint(finished))
}

/// The socket's name of a session's server.
pub(crate) fn socket_name(id: Uuid) -> String {
    format!("convocate-{id}")
}

/// What a process complained about, as one line.
fn complaint(finished: Finished<'_>) -> String {
    let text = String::from_utf8_lossy(finished.stderr);
    let line: String =
        text.trim().chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
    if line.is_empty() { "failed without a word".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rpc::attach::TerminalSize;
    use crate::rpc::field::{Caps, Cpus, Protocol, SessionCommand};
    use crate::rpc::network::{Egress, Publish};

    const ID: &str = "01234567-89ab-4def-8123-456789abcdef";

    fn tmux() -> Tmux {
        let id = Uuid::parse(ID).unwrap();
        Tmux::new(id, &Paths::below("/r"))
    }

    fn finished<'a>(is_success: bool, stdout: &'a str, stderr: &'a str) -> Finished<'a> {
        Finished { is_success, stdout: stdout.as_bytes(), stderr: stderr.as_bytes() }
    }

    #[test]
    fn the_start_is_exactly_this() {
        let plan = StartPlan {
            id: tmux().id,
            command: SessionCommand::parse("sh -c 'echo $HOME; exec cat'").unwrap(),
            port: 0,
            protocol: Protocol::Tcp,
            docker: false,
            egress: Egress::Open,
            publish: Publish::Default,
            caps: Caps { memory: 1 << 30, cpus: Cpus::from_millis(1000).unwrap(), pids: 99 },
            cpu_quota: None,
            memory_reservation: 0,
            image: String::new(),
            startup: Box::default(),
            uid: None,
            has_socket: true,
            has_key: true,
            has_settings: false,
            size: TerminalSize::clamped(100, 30),
        };
        let line = tmux().start(&plan);
        let socket = format!("convocate-{ID}");
        let home = format!("/r/home/claude/{ID}");
        assert_eq!(
            line.argv,
            [
                "tmux",
                "-u",
                "-L",
                &socket,
                "-f",
                "/r/var/lib/convocate-agent/tmux.conf",
                "new-session",
                "-d",
                "-s",
                "claude",
                "-x",
                "100",
                "-y",
                "30",
                "-c",
                &home,
                "--",
                "bash",
                "-c",
                PANE,
                "pane",
                &format!("/r/var/lib/convocate-agent/last-words/{ID}"),
                "bash",
                "-c",
                "sh -c 'echo $HOME; exec cat'\n",
            ]
        );
        assert_eq!(line.env[0], ("HOME", home.clone()));
        assert!(line.env.contains(&("COLORTERM", "truecolor".to_owned())));
        let socket = format!("/r/var/lib/convocate-agent/sockets/{ID}/session.sock");
        assert!(line.env.contains(&("SSH_AUTH_SOCK", socket)));
        assert_eq!(line.cwd, Path::new(&home));
        let target = Target::default();
        for line in [tmux().query(), tmux().panes(&target), tmux().stop(), tmux().detach(&target)] {
            assert_eq!(line.cwd, Path::new("/"), "{line:?}");
        }
    }

    #[test]
    fn an_attach_has_a_term_and_may_be_read_only() {
        let target = Target("$3".to_owned());
        let plan = |term: &str, read_only, label: &str| TerminalPlan {
            session: tmux().id,
            size: TerminalSize::clamped(80, 24),
            term: term.to_owned(),
            uid: None,
            read_only,
            label: label.to_owned(),
        };
        let line = tmux().attach(&target, &plan("", true, ""));
        assert_eq!(line.argv.last().map(String::as_str), Some("-r"));
        assert!(line.env.contains(&("TERM", "xterm-256color".to_owned())));
        let labelled = tmux().attach(&target, &plan("", false, "web · host-1"));
        let first = ["set-option", "-sq", "@convocate-label", "web · host-1", ";"];
        assert!(labelled.argv.windows(5).any(|words| words == first), "{labelled:?}");
        let line = tmux().attach(&target, &plan("xterm-kitty", false, ""));
        assert_eq!(line.argv.last().map(String::as_str), Some("$3"));
        assert!(line.env.contains(&("TERM", "xterm-kitty".to_owned())));
    }

    #[test]
    fn a_query_tells_a_server_or_that_there_is_none() {
        let listed = "4242 1767225599 $0 $1 claude\n4242 1767225600 $1 $1 a b\n";
        let server = tmux().server(finished(true, listed, "")).unwrap().unwrap();
        assert_eq!((server.pid, server.target), (4242, Target("$1".to_owned())));
        assert_eq!(server.running.started_at.to_string(), "2026-01-01T00:00:00Z");
        let earlier = "4242 1767225600 $0  other\n4242 1767225600 $3  claude\n";
        let server = tmux().server(finished(true, earlier, "")).unwrap().unwrap();
        assert_eq!(server.target, Target("$3".to_owned()));
        for none in [
            "no server running on /tmp/tmux-0/convocate-x",
            "error connecting to /tmp/tmux-0/convocate-x (No such file or directory)",
            "can't find session: claude",
        ] {
            assert_eq!(tmux().server(finished(false, "", none)), Ok(None));
        }
        // Other sessions may outlive it.
        for none in ["", "4242 1767225600 $0 $1 claude\n"] {
            assert_eq!(tmux().server(finished(true, none, "")), Ok(None));
        }
        let error = tmux().server(finished(false, "", "lost\nserver\u{1b}")).unwrap_err();
        assert_eq!(error.to_string(), "tmux: lost server ");
        assert!(tmux().server(finished(true, "what", "")).is_err());
    }

    #[test]
    fn nobody_to_detach_is_no_error() {
        assert_eq!(tmux().detached(finished(false, "", "no current client\n")), Ok(()));
        assert_eq!(tmux().detached(finished(false, "", "no server running on x\n")), Ok(()));
        assert!(tmux().detached(finished(false, "", "unknown option\n")).is_err());
    }

    #[test]
    fn panes_never_name_everybody() {
        let found = tmux().pane_pids(finished(true, "77\n1\n0\n-1\nx\n78\n", ""));
        assert_eq!(found, Ok(vec![77, 78]));
    }
}
