//! What the engine orders from its driver, and what the driver answers.
//!
//! A [`Question`] changes nothing, so `--check` may ask all of them; an [`Action`] is everything
//! else. Every order is answered once, with the [`Answer`] that belongs to its kind.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::base::time::Wall;
use crate::docker::{DockerRequest, DockerResponse};
use crate::limits::PROVISION_COMMAND_TIMEOUT;
use crate::provision::vm::spec::Sha256Hex;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Ask(Question),
    Do(Action),
}

/// Changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// What stands at a path; a link is not followed.
    Look(PathBuf),
    /// The same, with the content of a file.
    Read(PathBuf),
    /// A program that changes nothing.
    Run(Command),
    /// A request to the Docker Engine that changes nothing.
    Engine(DockerRequest),
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Replace a file, or make it, atomically.
    Write {
        path: PathBuf,
        /// All of it, which may be a secret.
        bytes: Zeroizing<Vec<u8>>,
        access: Access,
    },
    MakeDirectory {
        /// Where; what is above it is there, or is made for anyone to look inside.
        path: PathBuf,
        access: Access,
    },
    SetAccess {
        /// A link itself, never what it points to.
        path: PathBuf,
        access: Access,
    },
    Remove(PathBuf),
    /// Fetch a file to its place. What has come of it before goes on; what is not the right one is
    /// thrown away.
    Fetch {
        url: String,
        sha256: Sha256Hex,
        /// Where it is to be; never there before it is all there and right.
        path: PathBuf,
    },
    /// Run a program, which must end with status 0.
    Run(Command),
    /// Have the Docker Engine build an image.
    Build(DockerRequest),
    /// Have the Docker Engine change something else.
    Engine(DockerRequest),
}

/// Who owns something, and what its permission bits are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Access {
    /// Its owner; whoever runs this if none.
    pub(crate) owner: Option<Account>,
    pub(crate) mode: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: String,
    pub(crate) group: String,
}

/// A program with its arguments. Its standard input is empty, its words are English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    /// Its file; looked for in `PATH`.
    pub(crate) program: String,
    pub(crate) arguments: Vec<String>,
    /// Variables that are added to the environment.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) patience: Duration,
    /// Whether it comes to its own end even when everything is to end: half of its work is worse
    /// than none.
    pub(crate) is_whole: bool,
    /// Whether it is a script that runs the command behind its third argument, which is shown.
    pub(crate) is_wrapped: bool,
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// To [`Question::Look`] and [`Question::Read`].
    Looked(Entry),
    /// To [`Question::Run`] and [`Action::Run`].
    Ran(Ran),
    /// To [`Question::Engine`], [`Action::Build`] and [`Action::Engine`]; or why there is none.
    Engine(Result<DockerResponse, String>),
    /// To every other action.
    Done,
    /// The order could not be carried out: one sentence.
    Failed(String),
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Missing,
    /// A regular file.
    File {
        /// Its content if that was asked for; empty otherwise.
        bytes: Vec<u8>,
        seen: Seen,
    },
    Directory(Seen),
    /// Something else, as `a symbolic link`.
    Other(&'static str),
}

/// Owner and mode as they are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its owner, by name where there is one.
    pub(crate) account: Account,
    pub(crate) mode: u32,
    /// When it last changed, by the machine's clock.
    pub(crate) changed_at: Wall,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) end: End,
    /// Its standard output, up to a bound.
    pub(crate) output: String,
    /// Its standard error, up to a bound.
    pub(crate) errors: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It took too long and was killed.
    TooLong,
    /// It was told to end because everything was.
    Stopped,
    /// There is no such program.
    NotThere,
    /// It could not be started: the system's words.
    NotStarted(String),
}

impl Command {
    /// `program` with `arguments`, which may take [`PROVISION_COMMAND_TIMEOUT`].
    pub(crate) fn new<const N: usize>(program: &str, arguments: [&str; N]) -> Command {
        Command {
            program: program.to_owned(),
            arguments: arguments.map(str::to_owned).to_vec(),
            environment: Vec::new(),
            patience: PROVISION_COMMAND_TIMEOUT,
            is_whole: false,
            is_wrapped: false,
        }
    }

    /// The same with further arguments.
    #[must_use]
    pub(crate) fn with<I, A>(mut self, arguments: I) -> Command
    where
        I: IntoIterator<Item = A>,
        A: Into<String>,
    {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The same with another time limit.
    #[must_use]
    pub(crate) fn within(mut self, patience: Duration) -> Command {
        self.patience = patience;
        self
    }
}

/// As a person would type it, near enough: for messages, never for a shell.
impl fmt::Display for Command {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrapped = self.arguments.get(3..).filter(|_| self.is_wrapped);
        let arguments = match wrapped {
            Some([program, arguments @ ..]) => {
                out.write_str(program)?;
                arguments
            }
            Some([]) | None => {
                out.write_str(&self.program)?;
                &self.arguments[..]
            }
        };
        for argument in arguments {
            let is_plain = !argument.is_empty() && !argument.contains([' ', '"', '\'', '\n']);
            if is_plain { write!(out, " {argument}")? } else { write!(out, " {argument:?}")? }
        }
        Ok(())
    }
}

impl fmt::Display for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.user, self.group)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.owner {
            Some(owner) => write!(out, "{owner} {:04o}", self.mode),
            None => write!(out, "{:04o}", self.mode),
        }
    }
}

/// What is written may be a secret, so it is not shown.
impl fmt::Debug for Action {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Write { path, bytes, access } => {
                write!(out, "Write({}, {} bytes, {access})", path.display(), bytes.len())
            }
            Action::MakeDirectory { path, access } => {
                write!(out, "MakeDirectory({}, {access})", path.display())
            }
            Action::SetAccess { path, access } => {
                write!(out, "SetAccess({}, {access})", path.display())
            }
            Action::Remove(path) => write!(out, "Remove({})", path.display()),
            Action::Fetch { url, sha256, .. } => write!(out, "Fetch({url}, {sha256})"),
            Action::Run(command) => write!(out, "Run({command})"),
            Action::Build(request) => write!(out, "Build({})", request.target),
            Action::Engine(request) => write!(out, "Engine({})", request.target),
        }
    }
}

impl Ran {
    /// Whether it ended with status 0.
    pub(crate) fn is_success(&self) -> bool {
        self.end == End::Code(0)
    }

    /// The last lines of what it complained about, or of what it said if it did not complain.
    pub(crate) fn last_lines(&self, count: usize) -> Vec<String> {
        last_lines(if self.errors.trim().is_empty() { &self.output } else { &self.errors }, count)
    }
}

/// The last lines of a program's output, without empty ones.
pub(crate) fn last_lines(output: &str, count: usize) -> Vec<String> {
    let lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(ToString::to_string).collect()
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Code(code) => write!(out, "ended with status {code}"),
            End::Signal(signal) => write!(out, "was killed by signal {signal}"),
            End::TooLong => write!(out, "took too long and was killed"),
            End::Stopped => write!(out, "was told to end"),
            End::NotThere => write!(out, "is not installed"),
            End::NotStarted(why) => write!(out, "could not be started: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_typed() {
        let command = Command::new("useradd", ["--comment", "a b", ""]).with(["claude"]);
        assert_eq!(command.to_string(), "useradd --comment \"a b\" \"\" claude");
    }

    #[test]
    fn the_complaint_comes_first() {
        let mut ran =
            Ran { end: End::Code(1), output: "o1\no2\n\no3\n".to_owned(), errors: "\n".to_owned() };
        assert_eq!(ran.last_lines(2), ["o2", "o3"]);
        ran.errors = "e1\ne2\n".to_owned();
        assert_eq!(ran.last_lines(8), ["e1", "e2"]);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let action = Action::Write {
            path: "/k".into(),
            bytes: Zeroizing::new(b"hush".to_vec()),
            access: Access { owner: None, mode: 0o600 },
        };
        assert_eq!(format!("{action:?}"), "Write(/k, 4 bytes, 0600)");
    }
}
