//! One session as the core knows it.

use super::action::WorkId;
use super::attention::Known;
use super::lock::Lock;
use super::record::Record;
use super::recovery::Recovery;
use super::repository;
use super::work::Running;
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::rpc::field::{Caps, shown};

/// A session that is on disk.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: Uuid,
    pub(super) body: Body,
    pub(super) run_state: RunState,
    /// What an operation does with the runtime right now. Until it is done, listings and news say
    /// nothing about this session.
    pub(super) transition: Transition,
    /// An end that a listing has not confirmed yet.
    pub(super) unconfirmed_exit: Option<UnconfirmedExit>,
    /// What its program wants of a person.
    pub(super) attention: Known,
    /// What its repository is like.
    pub(super) repository: repository::Known,
    /// What stood on its screen when it ended, until the end is told.
    pub(super) last_screen: String,
    /// Whether its end, or that it runs, does not stand in its record yet.
    pub(super) is_end_unsaved: bool,
    /// How often it was started again after the engine or the host had ended it.
    pub(super) recovery: Recovery,
    /// A lock that no operation of this agent holds.
    pub(super) lock: Option<Lock>,
    /// Terminals that are open. Zero unless it runs.
    pub(super) attached: u32,
    /// Clones that read its home right now.
    pub(super) copies: u32,
    /// The last work that had been handed out when `run_state` was learned: an older listing knows
    /// less.
    pub(super) learned: WorkId,
    /// The `last_accessed` that stands in the file.
    pub(super) stored_access: Wall,
}

/// Its metadata, or why there is none.
#[derive(Debug)]
pub(super) enum Body {
    Good(Box<Record>),
    Broken(String),
    /// There is nothing on disk: somebody has removed record and home under what runs. It is gone
    /// when that ends.
    Stray(String),
}

/// Whether its command runs, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RunState {
    /// The runtime has not been asked yet.
    Unknown,
    Stopped,
    Running {
        running: Running,
        /// When it was learned. A start after that is another one.
        at: Wall,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    Nothing,
    /// Admitted with these caps, and counted from then on.
    Starting(Caps),
    Stopping,
}

/// An end that was told and may be that of an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnconfirmedExit {
    pub(super) end: End,
    /// The last work that had been handed out when the news came.
    pub(super) after: WorkId,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) cause: Cause,
    pub(super) exit_code: Option<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// An operation stopped it.
    Op,
    /// Its command ended.
    Exit,
    /// The kernel killed it for its memory cap.
    Oom,
    /// Somebody else asked it to end: an engine that goes down, or a person there.
    Asked,
    /// It went with the engine or the host.
    Engine,
    /// It was found not running, and nobody said why.
    Lost,
}

impl Cause {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Cause::Op => "op",
            Cause::Exit => "exit",
            Cause::Oom => "oom",
            Cause::Asked => "asked",
            Cause::Engine => "engine",
            Cause::Lost => "lost",
        }
    }
}

impl Session {
    pub(super) fn new(id: Uuid, body: Body, run_state: RunState, learned: WorkId) -> Session {
        let stored_access = match &body {
            Body::Good(record) => record.last_accessed,
            Body::Broken(_) | Body::Stray(_) => Wall::default(),
        };
        Session {
            id,
            body,
            run_state,
            transition: Transition::Nothing,
            unconfirmed_exit: None,
            attention: Known::default(),
            repository: repository::Known::default(),
            last_screen: String::new(),
            is_end_unsaved: false,
            recovery: Recovery::default(),
            lock: None,
            attached: 0,
            copies: 0,
            learned,
            stored_access,
        }
    }

    /// The metadata.
    ///
    /// # Errors
    /// The sentence of a broken session.
    pub(super) fn record(&self) -> Result<&Record, String> {
        match &self.body {
            Body::Good(record) => Ok(record),
            Body::Broken(why) | Body::Stray(why) => {
                Err(format!("{} is broken ({why}); it can only be deleted", self.label()))
            }
        }
    }

    /// `session "web"`, as it stands in sentences.
    pub(super) fn label(&self) -> String {
        match &self.body {
            Body::Good(record) => format!("session {}", shown(record.name.as_str())),
            Body::Broken(_) | Body::Stray(_) => format!("session \"{}\"", self.id),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.run_state, RunState::Running { .. })
    }

    /// As whom its processes run, if not as the driver: told by the runtime where it runs.
    pub(super) fn uid(&self) -> Option<u32> {
        match (&self.run_state, &self.body) {
            (RunState::Running { running, .. }, _) => running.uid,
            (_, Body::Good(record)) => record.uid,
            (_, Body::Broken(_) | Body::Stray(_)) => None,
        }
    }

    /// Whether it has ended, or `last_accessed` has moved, since it was saved.
    pub(super) fn is_unsaved(&self) -> bool {
        match &self.body {
            Body::Good(record) => self.is_end_unsaved || record.last_accessed != self.stored_access,
            Body::Broken(_) | Body::Stray(_) => false,
        }
    }

    /// When it was last used: the order of lists. A broken one was never used.
    pub(super) fn last_accessed(&self) -> Wall {
        match &self.body {
            Body::Good(record) => record.last_accessed,
            Body::Broken(_) | Body::Stray(_) => Wall::default(),
        }
    }

    /// The caps of one that starts or runs. As it was started, not as it was edited since.
    pub(super) fn caps_in_force(&self, default: Caps) -> Option<Caps> {
        match (&self.transition, &self.run_state) {
            (Transition::Starting(caps), _) => Some(*caps),
            (_, RunState::Running { running, .. }) => {
                Some(running.caps.unwrap_or_else(|| self.caps(default)))
            }
            _ => None,
        }
    }

    /// What its metadata gives it.
    pub(super) fn caps(&self, default: Caps) -> Caps {
        match &self.body {
            Body::Good(record) => record.caps(default),
            Body::Broken(_) | Body::Stray(_) => default,
        }
    }
}
