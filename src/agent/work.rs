//! What the agent's core wants done outside, and what came of it.
//!
//! The core hands out [`Work`] under a key and gets exactly one [`Outcome`] back for each. Disk
//! work goes to a worker thread, runtime work to Docker or tmux; the core does not know which.

use std::fmt;
use std::time::Duration;

use super::claude_settings::ClaudeSettings;
use super::engine_words;
use super::last_words::LastWords;
use super::session_key::{KeyChange, KeyFile};
use crate::base::collected::Collected;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::rpc::attach::TerminalSize;
use crate::rpc::env::SessionEnv;
use crate::rpc::field::{Caps, Cpus, Protocol, SessionCommand};
use crate::rpc::network::{Egress, Publish};
use crate::rpc::startup::Startup;

/// One piece of work.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// On the disk.
    Disk(DiskWork),
    /// With what runs sessions.
    Runtime(RuntimeWork),
}

/// Work on the homes and records of sessions. All of it is durable when it is done.
#[derive(Clone, Debug, PartialEq)]
pub enum DiskWork {
    /// Makes a home from the skeleton, and writes its record. Whatever stood under the id is an
    /// error. The home appears whole or not at all: it is made beside, and renamed when its record
    /// is there; what a crash left beside is removed at the next start.
    Create { id: Uuid, metadata: Vec<u8>, owner: Option<u32>, key: KeyChange },
    /// Replaces a session's record atomically, and its key if that changes.
    Save { id: Uuid, metadata: Vec<u8>, key: Option<KeyChange> },
    /// Copies a home, and writes the copy's record. A failure leaves nothing, and the copy appears
    /// whole or not at all, as with [`DiskWork::Create`].
    Clone {
        /// The home that is copied.
        source: Uuid,
        target: Uuid,
        /// The new home's record.
        metadata: Vec<u8>,
        /// Whose the copy is; everybody keeps his if nobody's.
        owner: Option<u32>,
        /// The copy's own key.
        key: KeyChange,
    },
    /// Gives a home a name that is not listed, then removes its key, its record and its lock. What
    /// is not there is no error.
    SetAside { id: Uuid },
    /// Removes a home that was set aside. What is not there is no error.
    Erase { id: Uuid },
    /// Writes the lock that says an operation is in flight.
    Lock {
        id: Uuid,
        content: Vec<u8>,
        /// What is made ready before that, if the session is to start.
        start: Option<Box<StartFiles>>,
    },
    /// Removes the lock. What is not there is no error.
    Unlock { id: Uuid },
    /// Counts what each home takes of the disk, in this time: what is not counted then is left out.
    CountHomes { within: Duration },
    /// Measures the file system of the homes, and the memory that running sessions use.
    Measure {
        /// By session, its container's id.
        containers: Vec<(Uuid, String)>,
    },
}

/// What has to be on disk before a session starts.
#[derive(Clone, Debug, PartialEq)]
pub struct StartFiles {
    /// The user that its home is given to.
    pub owner: Option<u32>,
    /// The record, where it does not stand on disk as it is now.
    pub metadata: Option<Vec<u8>>,
    /// Its key, if it has had none.
    pub key: Option<KeyFile>,
    /// Whether it has a directory for sockets.
    pub has_socket: bool,
    /// Whether it reaches names alone, and ssh is told how.
    pub is_carried: bool,
    /// What the Claude CLI is given in it; nothing where it would have no place.
    pub settings: Option<ClaudeSettings>,
}

/// Work with Docker or tmux.
#[derive(Clone, Debug, PartialEq)]
pub enum RuntimeWork {
    /// Tells what runs, all of it, as it is now.
    List,
    /// Starts a session's command, detached. A container that was left stopped is replaced.
    Start(Box<StartPlan>),
    /// Ends a session's command: asks, waits `grace`, kills. What does not run is no error.
    Stop {
        id: Uuid,
        /// How long it may take to end by itself.
        grace: Duration,
    },
    /// Stops, and removes what the runtime keeps of a session. What is not there is no error.
    Remove { id: Uuid },
    /// Removes, as root, all that is in a home that was set aside. Done when nothing is done to it
    /// any more, even if something is left.
    EraseAsRoot {
        id: Uuid,
        /// The image that the container for it is made from.
        image: String,
    },
    /// Detaches every terminal of a session, ours and foreign ones.
    Detach {
        id: Uuid,
        /// As whom it runs, as in [`Running::uid`].
        uid: Option<u32>,
    },
    /// Tells what became of a session's container, which need not run.
    Look { id: Uuid },
    /// Runs a program beside the session's command: as its user, in its home, with nothing on
    /// standard input.
    Exec(Box<ExecPlan>),
}

/// A program that is to run in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecPlan {
    pub(crate) id: Uuid,
    /// As whom it runs, as in [`Running::uid`].
    pub(crate) uid: Option<u32>,
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// What is added to its environment.
    pub(crate) env: Vec<(&'static str, String)>,
    /// What the session was given. A container has it from its start.
    pub(crate) session_env: SessionEnv,
    /// What is kept of each of its outputs, in bytes.
    pub(crate) output_bytes_max: usize,
    /// How long its end is waited for.
    pub(crate) patience: Duration,
}

/// How a program in a session ended, and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exited {
    /// Its status, or 128 and the signal that ended it.
    pub(crate) status: i32,
    pub(crate) output: Collected,
    pub(crate) errors: Collected,
}

/// All that a runtime must know to start a session.
#[derive(Clone, Debug, PartialEq)]
pub struct StartPlan {
    pub id: Uuid,
    /// What runs in it.
    pub command: SessionCommand,
    /// The port that is published; 0 for none.
    pub port: u16,
    pub protocol: Protocol,
    /// What it reaches.
    pub egress: Egress,
    /// On which addresses its port is.
    pub publish: Publish,
    /// Whether the host's Docker socket is mounted.
    pub docker: bool,
    /// What it may use at most.
    pub caps: Caps,
    /// What of its processors the kernel is to hold it to. Without one, it shares all of them.
    pub cpu_quota: Option<Cpus>,
    /// Memory that is taken from it last, in bytes.
    pub memory_reservation: u64,
    /// The image that its container is made from; empty where the runtime has none.
    pub image: String,
    /// Its variables, and what is done before its command.
    pub startup: Box<Startup>,
    /// The user and group number of its processes; those of its driver if it has none of its own.
    pub uid: Option<u32>,
    /// Whether it has a directory for sockets.
    pub has_socket: bool,
    /// Whether its key is lent to it on one.
    pub has_key: bool,
    /// Whether the Claude CLI is given settings in it.
    pub has_settings: bool,
    /// The first size of its terminal, before anyone attaches.
    pub size: TerminalSize,
}

/// A session that runs, as the runtime tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    pub id: Uuid,
    pub started_at: Wall,
    /// Its container's id; empty where the runtime has none.
    pub container: String,
    /// The image that it was started with; empty where the runtime has none.
    pub image: String,
    /// What it may use at most, as it was started; `None` where the runtime does not enforce.
    pub caps: Option<Caps>,
    /// The user and group number of its processes, if it has its own.
    pub uid: Option<u32>,
    /// Whether it reaches names alone, as it was started: its agent carries its connections.
    pub is_carried: bool,
}

/// What a runtime knows of a session's last run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// Since when it runs, if it does.
    pub since: Option<Wall>,
    /// Its exit status, if it does not.
    pub exit_code: i32,
    /// Whether the kernel killed it for its memory cap.
    pub out_of_memory: bool,
    /// Why the runtime could not start it; empty if it could.
    pub error: String,
}

/// What a piece of work came to.
pub type Outcome = Result<Done, WorkError>;

/// What work that went well came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// There is nothing to tell.
    Done,
    /// Of [`DiskWork::Create`] and [`DiskWork::Clone`].
    Made {
        /// Files and directories that could not be read and are not in the new home.
        left_out: u64,
    },
    /// Of [`RuntimeWork::List`]. A session that is not in it does not run.
    Listed(Vec<Running>),
    /// Of [`RuntimeWork::Start`].
    Started(Running),
    /// Of [`RuntimeWork::Look`]; nothing where the runtime has nothing of it.
    LastRun(Option<LastRun>),
    /// Of [`DiskWork::CountHomes`]: the largest first, in bytes.
    HomesCounted(Vec<(Uuid, u64)>),
    /// Of [`RuntimeWork::Exec`].
    Exited(Exited),
    /// Of [`DiskWork::Measure`].
    Measured {
        /// Size of the file system.
        total_bytes: u64,
        /// In use by anyone.
        used_bytes: u64,
        /// By session, the memory that it uses, in bytes; where that can be read.
        memory: SortedMap<Uuid, u64>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkError {
    /// Docker refused, in its own words.
    Docker(String),
    /// Docker does not answer.
    DockerGone(String),
    /// tmux refused, in its own words.
    Tmux(String),
    /// The disk: what was being done, to which path, and the system's words.
    Disk(String),
    /// The command ended before anybody could attach to it.
    EndedAtOnce(LastWords),
    /// The image is not on this host.
    NoImage(String),
    /// The rules that keep sessions from this host and its networks are not loaded.
    NoRules,
    /// A program in a session did not end in time.
    NotEnded,
    /// The outcome is not one of this work: a fault of ours.
    Mismatch,
}

impl WorkError {
    /// Whether the runtime may have done some of the work.
    pub(crate) fn is_of_runtime(&self) -> bool {
        matches!(self, WorkError::Docker(_) | WorkError::DockerGone(_) | WorkError::Tmux(_))
    }
}

impl fmt::Display for WorkError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkError::Docker(text) => {
                write!(out, "docker: {text}{}", engine_words::advice(text))
            }
            WorkError::DockerGone(text) => write!(out, "docker: not reachable: {text}"),
            WorkError::Tmux(text) => write!(out, "tmux: {text}"),
            WorkError::Disk(text) => out.write_str(text),
            WorkError::EndedAtOnce(words) => ended_at_once(words, out),
            WorkError::NoRules => out.write_str(
                "it would reach this host's ports and networks, because the rules for sessions are \
                 not loaded; load them: sudo systemctl restart convocate-network; a session with \
                 --egress none starts without them",
            ),
            WorkError::NotEnded => out.write_str("the program in the session did not end in time"),
            WorkError::Mismatch => out.write_str("internal error: the outcome is of other work"),
            WorkError::NoImage(image) => {
                write!(
                    out,
                    "docker: image {image} is not on this host; ship it with convocate-host update"
                )
            }
        }
    }
}

/// With the last line that it showed, which mostly says why.
fn ended_at_once(words: &LastWords, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_str("the command ended at once")?;
    if let Some(status) = words.exit_code {
        write!(out, " with status {status}")?;
    }
    match words.screen.lines().last() {
        Some(line) => write!(out, ": {line}"),
        None => Ok(()),
    }
}

impl std::error::Error for WorkError {}

/// What the runtime reports without being asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuntimeEvent {
    /// A session runs; whoever started it.
    Started(Running),
    /// A session has ended.
    Ended {
        id: Uuid,
        /// Its exit status, if it is known.
        exit_code: Option<i32>,
        /// Whether the kernel killed it for its memory cap.
        out_of_memory: bool,
        /// Whether it was asked to end before: by an engine that goes down, or by somebody.
        was_asked: bool,
    },
    /// What a session left; comes before the news that it has ended.
    LastScreen { id: Uuid, screen: String },
    /// Docker cannot be reached from now on: what is known is old.
    Unreachable(String),
    /// Docker answers again; a listing is due.
    Reachable,
}
