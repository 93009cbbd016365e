//! A terminal inside a session's container.
//!
//! An attach is an exec of the Engine's API, in five steps:
//!
//! 1. `POST /containers/…/exec` (create) prepares [`WRAPPER`], a shell script, with a terminal.
//! 2. `POST /exec/…/start` with `Upgrade: tcp` starts it. The Engine answers 101, and from then on
//!    the connection is the terminal's raw stream.
//! 3. The script's first line is the name of its tty inside the container. If the line asks for it,
//!    the agent opens another pty in the container's own `/dev/pts` (it finds the container by the
//!    process number in `GET /exec/…/json`) and answers with the pty's name, or with an empty line.
//! 4. The script runs `tmux attach-session` on that pty. Bytes come to the agent from the kernel
//!    then; on the Engine's stream the shim and the Engine copy each byte, at several times the
//!    cost. Without a pty (an Engine on another machine, another user) the stream is the terminal.
//! 5. `POST /exec/…/resize` tells the stream's terminal its size; a pty is resized directly.
//!
//! Before step 4 nothing that is typed may be sent. Closing the stream does not end the tmux client
//! behind it: [`Attach::detach`] ends exactly that client, and then the stream ends by itself. A
//! client on a pty ends when the pty is closed.

use super::description::container_name;
use super::detach::Detach;
use super::{Procedure, Reply};
use crate::agent::work::WorkError;
use crate::base::lines::Lines;
use crate::base::uuid::Uuid;
use crate::docker::call::{self, ExecConfig};
use crate::docker::{DockerError, DockerRequest};
use crate::limits::DOCKER_TTY_LINE_BYTES_MAX;
use crate::rpc::attach::{AttachHeader, TerminalSize};

/// Sets the terminal's size before tmux draws for the first time, keeps what is typed early from
/// being echoed, and prints the tty's name. Then it reads one line: the pty to use, or an empty
/// line for none; if no line comes for ten seconds, the agent is gone. On a pty tmux leads a
/// session of its own, so that the kernel tells it of a new size and of the end.
///
/// A terminal that the container has no description of becomes the one that nearly all of them
/// understand. A container that has just started has no tmux session for a moment; tmux must not
/// make a server of its own then (`-N`), so this waits, at most five seconds. The session is known
/// by tmux's id for it, which `tmux.conf` notes: its name is the user's to change. One that an
/// earlier image has started has no note. The arguments are data: columns, rows, what the session
/// is called for the status line, options of tmux.
///
/// tmux ends alike whether its client was detached or its session is no more, so it is asked once
/// more which it was: a container still has some time to live then, and nobody is to be told that
/// the session runs on. The last line of tmux goes nowhere (it draws on what it reads from):
/// whoever attached says in his own words what has happened.
///
/// `stty` is silent: the container's runtime sets a mode of the same terminal at about the same
/// time, and then `stty` says that not all is as it has set it.
const WRAPPER: &str = r#"stty -echo -icanon -icrnl -isig cols "$1" rows "$2" 2>/dev/null
lead=
if command -v setsid >/dev/null; then
    stty min 0 time 100 2>/dev/null
    echo "$(tty) lend"
    IFS= read -r lent || exit 129
    [ -z "$lent" ] || { exec <>"$lent" >&0 2>&0; lead='setsid -c'; }
else
    tty
fi
tput clear >/dev/null 2>&1 || export TERM=xterm-256color
label=$3
shift 3
find() {
    session=$(tmux -N show-options -sqv @convocate-session 2>/dev/null)
    [ -z "$session" ] || return 0
    session='=claude'
    tmux -N has-session -t "$session" 2>/dev/null
}
tries=100
until find || [ $tries -eq 0 ]; do
    tries=$((tries - 1))
    sleep 0.05
done
set -- attach-session -t "$session" "$@"
[ -z "$label" ] || set -- set-option -sq @convocate-label "$label" ';' "$@"
$lead tmux -N -u "$@" >/dev/null || exit
tmux -N has-session -t "$session" 2>/dev/null || exit 129"#;

/// Stands behind the tty's name if the script can use another pty.
const PTY_MARK: &[u8] = b" lend";

/// The terminal that is assumed where none is named.
const TERM_DEFAULT: &str = "xterm-256color";

/// One terminal, from the request for it to its end. Variants own what is known in that state.
#[derive(Debug)]
pub enum Attach {
    /// Waits for the answer to the first call.
    Preparing {
        id: Uuid,
        /// The size that it is prepared with.
        prepared: TerminalSize,
        /// The size that it shall have.
        wanted: TerminalSize,
    },
    /// Waits for the stream, and then for the tty's line.
    Starting {
        id: Uuid,
        exec: String,
        /// The size that it is prepared with.
        prepared: TerminalSize,
        /// The size that it shall have.
        wanted: TerminalSize,
        /// The line, as far as it has come.
        line: Lines,
    },
    /// Waits for [`Attach::use_pty`]: the script asks for a pty.
    AwaitingPty {
        id: Uuid,
        exec: String,
        /// The size that it is prepared with.
        prepared: TerminalSize,
        /// The size that it shall have.
        wanted: TerminalSize,
        /// The name of the stream's tty inside the container.
        tty: String,
    },
    /// Bytes are the terminal's.
    Attached {
        id: Uuid,
        exec: String,
        /// The tty's name inside the container.
        tty: String,
    },
}

/// What [`Attach::read`] made of bytes of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TtyLine {
    /// They were a part of the line.
    Incomplete,
    /// The line is complete: so many bytes were its, all after them are the terminal's. A size that
    /// changed meanwhile is to be told with this call.
    Complete(usize, Option<DockerRequest>),
    /// The line is complete, of so many bytes, and asks for a pty: nothing follows it before
    /// [`Attach::use_pty`]. The answer to this call names the process: [`exec_process`].
    WantsPty(usize, DockerRequest),
}

impl Attach {
    /// Prepares a terminal: the first call, whose answer goes to [`Attach::prepared`].
    pub fn begin(header: &AttachHeader, user: &str) -> (Attach, DockerRequest) {
        let (id, size) = (header.id, header.size());
        let term = if header.term.is_empty() { TERM_DEFAULT } else { &header.term };
        let (cols, rows) = (size.cols().to_string(), size.rows().to_string());
        let mut command = vec!["sh", "-c", WRAPPER, "attach", &cols, &rows, &header.label];
        if header.read_only {
            // tmux refuses keys and ignores the size of such a client.
            command.push("-r");
        }
        let env = [format!("TERM={term}")];
        let exec = ExecConfig { user, command: &command, env: &env, stdin: true, directory: None };
        let request = call::exec_create(&container_name(id), &exec);
        (Attach::Preparing { id, prepared: size, wanted: size }, request)
    }

    /// Takes the answer to the first call and gives the second, which is to take its connection
    /// over ([`crate::docker::conn::ResponseMode::TakeOver`]). Any answer to that is a refusal, and
    /// is to be handed over here too.
    ///
    /// # Errors
    /// Why there is no terminal.
    pub fn prepared(self, reply: Reply) -> Result<(Attach, DockerRequest), WorkError> {
        let Attach::Preparing { id, prepared, wanted } = self else {
            let _accepted = reply.and_then(|response| response.accepted())?;
            return Err(WorkError::Docker("the terminal's stream was not given".to_owned()));
        };
        let exec = reply.and_then(|response| response.created())?;
        let request = call::exec_start(&exec);
        let line = Lines::new(DOCKER_TTY_LINE_BYTES_MAX);
        Ok((Attach::Starting { id, exec, prepared, wanted, line }, request))
    }

    /// Reads the stream up to the end of the tty's line. To be called with what the stream has
    /// until it answers otherwise than [`TtyLine::Incomplete`], which means that all of it was
    /// taken.
    ///
    /// # Errors
    /// What came instead of a tty's name.
    pub fn read(self, bytes: &[u8]) -> Result<(Attach, TtyLine), WorkError> {
        let Attach::Starting { id, exec, prepared, wanted, mut line } = self else {
            return Ok((self, TtyLine::Complete(0, None)));
        };
        let unexpected = |error: String| WorkError::Docker(format!("terminal: {error}"));
        let taken = line.push(bytes).map_err(|error| unexpected(error.to_string()))?;
        let Some(text) = line.next_line() else {
            return Ok((
                Attach::Starting { id, exec, prepared, wanted, line },
                TtyLine::Incomplete,
            ));
        };
        let end = text.trim_ascii_end();
        let name = end.strip_suffix(PTY_MARK);
        let tty = tty_name(name.unwrap_or(end))
            .ok_or_else(|| unexpected(String::from_utf8_lossy(&text).trim().to_owned()))?;
        if name.is_some() {
            let request = call::exec_inspect(&exec);
            let awaiting = Attach::AwaitingPty { id, exec, prepared, wanted, tty };
            return Ok((awaiting, TtyLine::WantsPty(taken, request)));
        }
        let resize =
            (wanted != prepared).then(|| call::exec_resize(&exec, wanted.cols(), wanted.rows()));
        Ok((Attach::Attached { id, exec, tty }, TtyLine::Complete(taken, resize)))
    }

    /// Attaches on the pty of this name inside the container, or on the stream. Gives the line to
    /// send on the stream, and the call that tells the stream's terminal its size if that is the
    /// one. A pty gets its size from its owner ([`Attach::wanted`]).
    pub fn use_pty(self, pty: Option<String>) -> (Attach, String, Option<DockerRequest>) {
        let Attach::AwaitingPty { id, exec, prepared, wanted, tty } = self else {
            return (self, String::new(), None);
        };
        let line = format!("{}\n", pty.as_deref().unwrap_or_default());
        let resize = (pty.is_none() && wanted != prepared)
            .then(|| call::exec_resize(&exec, wanted.cols(), wanted.rows()));
        let tty = pty.unwrap_or(tty);
        (Attach::Attached { id, exec, tty }, line, resize)
    }

    /// The size that the terminal shall have, while it is not attached.
    pub(crate) fn wanted(&self) -> Option<TerminalSize> {
        match self {
            Attach::Preparing { wanted, .. }
            | Attach::Starting { wanted, .. }
            | Attach::AwaitingPty { wanted, .. } => Some(*wanted),
            Attach::Attached { .. } => None,
        }
    }

    /// The terminal has another size: the call that tells it, if there is someone to be told; else
    /// it is told with [`TtyLine::Complete`]. The call may fail when the terminal has just ended.
    #[must_use = "the call tells the size"]
    pub fn resize(&mut self, size: TerminalSize) -> Option<DockerRequest> {
        match self {
            Attach::Preparing { wanted, .. }
            | Attach::Starting { wanted, .. }
            | Attach::AwaitingPty { wanted, .. } => {
                *wanted = size;
                None
            }
            Attach::Attached { exec, .. } => {
                Some(call::exec_resize(exec, size.cols(), size.rows()))
            }
        }
    }

    /// Ends the client of an attached terminal and no other; then the stream ends, if it is read
    /// on: a client that cannot write cannot leave. `None` while its name is not known: go on
    /// reading, and ask again.
    pub fn detach(&self, user: &str) -> Option<(Procedure, DockerRequest)> {
        let Attach::Attached { id, tty, .. } = self else {
            return None;
        };
        let (detach, request) = Detach::one_of(*id, user, tty);
        Some((Procedure::Detach(detach), request))
    }

    /// After the end of the stream: asks how the client ended. The answer goes to
    /// [`exit_status`]. `None` if none was started.
    pub(crate) fn ended(&self) -> Option<DockerRequest> {
        match self {
            Attach::Preparing { .. } => None,
            Attach::Starting { exec, .. }
            | Attach::AwaitingPty { exec, .. }
            | Attach::Attached { exec, .. } => Some(call::exec_inspect(exec)),
        }
    }
}

/// How a terminal's client ended: 0 after a detach and after the session's end. `None` while it
/// runs.
///
/// # Errors
/// No answer, or the Engine's refusal.
pub(crate) fn exit_status(reply: Reply) -> Result<Option<i32>, DockerError> {
    let exec = reply.and_then(|response| response.exec())?;
    Ok(exec.exit_code.filter(|_| !exec.running))
}

/// The process that waits for a pty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecProcess {
    /// This process, as the Engine's host counts them.
    Pid(u32),
    /// It has just been started, and the Engine does not know its number yet: ask again.
    Starting,
    /// Nobody any more, or nobody knows.
    Gone,
}

/// Reads the answer to the call of [`TtyLine::WantsPty`].
pub(crate) fn exec_process(reply: Reply) -> ExecProcess {
    match reply.and_then(|response| response.exec()) {
        Ok(exec) if exec.running && exec.pid > 0 => ExecProcess::Pid(exec.pid),
        Ok(exec) if exec.running => ExecProcess::Starting,
        _ => ExecProcess::Gone,
    }
}

/// `/dev/pts/7`, and nothing else: it becomes an argument of tmux.
fn tty_name(line: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(line).ok()?;
    let number = text.strip_prefix("/dev/pts/")?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    const USER: &str = "1000:1001";

    use super::super::description::tests::{ID, id};
    use super::super::script::reply;
    use super::*;

    fn header(read_only: bool) -> AttachHeader {
        let (term, label) = ("foot".to_owned(), "web · a".to_owned());
        AttachHeader { id: id(), cols: 100, rows: 30, term, read_only, label }
    }

    fn body(request: &DockerRequest) -> Value {
        serde_json::from_slice(&request.body.as_ref().unwrap().1).unwrap()
    }

    fn starting() -> Attach {
        let (attach, _) = Attach::begin(&header(false), USER);
        attach.prepared(reply(201, r#"{"Id":"e0"}"#)).unwrap().0
    }

    #[test]
    fn the_command_is_constant_text_and_arguments() {
        let (_, request) = Attach::begin(&header(false), USER);
        assert_eq!(request.target, format!("/containers/convocate-session-{ID}/exec"));
        let exec = body(&request);
        let expected = json!(["sh", "-c", WRAPPER, "attach", "100", "30", "web · a"]);
        assert_eq!((&exec["Cmd"], &exec["User"]), (&expected, &json!("1000:1001")));
        assert_eq!((&exec["Env"], &exec["Tty"]), (&json!(["TERM=foot"]), &json!(true)));
        let (_, request) = Attach::begin(&header(true), USER);
        assert_eq!(body(&request)["Cmd"][7], "-r");
        let (_, request) =
            Attach::begin(&AttachHeader { term: String::new(), ..header(true) }, USER);
        assert_eq!(body(&request)["Env"], json!(["TERM=xterm-256color"]));
    }

    #[test]
    fn the_terminal_begins_behind_the_line_however_it_is_cut() {
        let stream = b"/dev/pts/12\r\n\x1b[2Jscreen\n";
        for step in 1..=stream.len() {
            let (mut attach, mut at) = (starting(), 0);
            loop {
                let part = &stream[at..stream.len().min(at + step)];
                let (next, read) = attach.read(part).unwrap();
                attach = next;
                match read {
                    TtyLine::Incomplete => at += part.len(),
                    TtyLine::Complete(taken, resize) => {
                        assert_eq!((at + taken, resize), (13, None));
                        break;
                    }
                    TtyLine::WantsPty(..) => panic!("nobody asked for one"),
                }
            }
            let Attach::Attached { tty, .. } = &attach else { panic!("{attach:?}") };
            assert_eq!(tty, "/dev/pts/12");
            let (_, request) = attach.detach(USER).unwrap();
            assert_eq!(
                body(&request)["Cmd"],
                json!(["tmux", "-N", "detach-client", "-t", "/dev/pts/12"])
            );
        }
    }

    #[test]
    fn a_container_pty_is_used_or_the_stream_is_the_terminal() {
        for (lent, line, tty) in
            [(Some("/dev/pts/4"), "/dev/pts/4\n", "/dev/pts/4"), (None, "\n", "/dev/pts/3")]
        {
            let (mut attach, read) = starting().read(b"/dev/pts/3 lend\r\n").unwrap();
            let TtyLine::WantsPty(17, request) = read else { panic!("{read:?}") };
            assert_eq!(request.target, "/exec/e0/json");
            assert!(attach.detach(USER).is_none());
            assert_eq!(attach.resize(TerminalSize::clamped(91, 21)), None);
            assert_eq!(attach.wanted(), Some(TerminalSize::clamped(91, 21)));
            let (attach, sent, resize) = attach.use_pty(lent.map(str::to_owned));
            assert_eq!((sent.as_str(), resize.is_none()), (line, lent.is_some()));
            let Attach::Attached { tty: named, .. } = &attach else { panic!("{attach:?}") };
            assert_eq!(named, tty);
        }
        let answer = |json: &str| exec_process(reply(200, json));
        assert_eq!(answer(r#"{"Running":true,"ExitCode":null,"Pid":77}"#), ExecProcess::Pid(77));
        assert_eq!(answer(r#"{"Running":true,"ExitCode":null,"Pid":0}"#), ExecProcess::Starting);
        assert_eq!(answer(r#"{"Running":false,"ExitCode":1,"Pid":77}"#), ExecProcess::Gone);
        assert_eq!(exec_process(reply(404, "{}")), ExecProcess::Gone);
    }

    #[test]
    fn what_is_no_tty_is_told_and_never_an_argument() {
        for line in ["not a tty\r\n", "/dev/pts/\n", "/dev/pts/1;x\n", "/dev/pts/../x\n", "\n"] {
            let error = starting().read(line.as_bytes()).expect_err(line);
            assert!(error.to_string().starts_with("docker: terminal: "), "{error}");
        }
        let endless = [b'x'; DOCKER_TTY_LINE_BYTES_MAX + 1];
        assert!(starting().read(&endless).is_err());
    }

    #[test]
    fn the_newest_size_is_told_as_soon_as_there_is_someone_to_tell() {
        let (mut attach, _) = Attach::begin(&header(false), USER);
        assert_eq!(attach.resize(TerminalSize::clamped(90, 20)), None);
        let (mut attach, _) = attach.prepared(reply(201, r#"{"Id":"e0"}"#)).unwrap();
        assert!(attach.detach(USER).is_none());
        assert_eq!(attach.resize(TerminalSize::clamped(91, 21)), None);
        let (mut attach, read) = attach.read(b"/dev/pts/1\r\n").unwrap();
        let TtyLine::Complete(12, Some(resize)) = read else { panic!("{read:?}") };
        assert_eq!(resize.target, "/exec/e0/resize?h=21&w=91");
        let resize = attach.resize(TerminalSize::clamped(80, 24)).unwrap();
        assert_eq!(resize.target, "/exec/e0/resize?h=24&w=80");
    }

    #[test]
    fn a_terminal_that_cannot_be_had_says_why() {
        let (attach, _) = Attach::begin(&header(false), USER);
        let refusal = reply(409, r#"{"message":"Container x is not running"}"#);
        let error = attach.prepared(refusal).unwrap_err();
        assert_eq!(error.to_string(), "docker: Container x is not running");
        for (status, body, words) in [
            (409, r#"{"message":"Container x is paused"}"#, "docker: Container x is paused"),
            (200, "", "docker: the terminal's stream was not given"),
        ] {
            let error = starting().prepared(reply(status, body)).unwrap_err();
            assert_eq!(error.to_string(), words);
        }
        let running = reply(200, r#"{"Running":true,"ExitCode":null}"#);
        assert_eq!(exit_status(running), Ok(None));
        let ended = reply(200, r#"{"Running":false,"ExitCode":1}"#);
        assert_eq!(exit_status(ended), Ok(Some(1)));
    }
}
