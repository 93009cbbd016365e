//! What is reported of a host while something works on it. Whoever has the output turns it into
//! lines; nothing here prints.

use std::time::Duration;

use crate::base::uuid::Uuid;
use crate::io::disk::TreeRead;
use crate::provision::report::{EndLine, ReportLine};
use crate::provision::run::send::ShipReport;
use crate::provision::ship::progress::Progress;

/// Takes what happens on a host, by the host's name; whether anybody listens.
pub(crate) type Tell<'a> = dyn FnMut(&str, HostEvent) -> bool + 'a;

/// Something that happens on a host.
#[derive(Clone, Debug)]
pub(crate) enum HostEvent {
    /// A line of the report of one run.
    Report(ReportLine),
    /// All runs on this host together, when they are over.
    Total(EndLine),
    /// For a person; also what a login shell says of itself.
    Note(String),
    /// The host wants to be restarted, or is.
    Restart {
        /// Why.
        reason: String,
        /// How far it is.
        text: String,
    },
    ImageProgress {
        image: String,
        progress: Progress,
    },
    ImageShipped {
        image: String,
        shipped: ShipReport,
    },
    /// A session that is moved to the host.
    Session {
        id: Uuid,
        phase: SessionPhase,
    },
}

/// A directory that lies on the other host under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) read: TreeRead,
    /// The hash of the tree at both ends.
    pub(crate) sha256: String,
    /// Bytes that went to the host.
    pub(crate) wire_bytes: u64,
    /// How long it took.
    pub(crate) took: Duration,
}

/// How far a session's move is.
#[derive(Clone, Debug)]
pub(crate) enum SessionPhase {
    /// What would be done.
    Check(String),
    /// So many bytes are on their way.
    Sending {
        bytes: u64,
    },
    Progress(Progress),
    Arrived(Moved),
    /// It has arrived in an earlier call; both copies are compared.
    Comparing,
    /// It is there, and nothing of it is here.
    There,
    /// The agent lists it.
    Listed,
    /// Here it has another name, and is a session no more.
    SetAside,
    /// Here it is gone.
    Erased,
    /// Why it is not moved.
    Failed(String),
}
