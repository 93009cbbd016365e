//! What a runtime reports, tmux or Docker.

use crate::agent::action::WorkId;
use crate::agent::docker::Reply;
use crate::agent::work::{Outcome, RuntimeEvent};
use crate::base::slots::Key;

/// What a runtime reports, and to whom.
#[derive(Debug)]
pub(super) enum RuntimeReport {
    /// To the core: a piece of work is done.
    Outcome(WorkId, Outcome),
    /// To the core: something happened without being asked for.
    Event(RuntimeEvent),
    /// To a terminal: the answer to a call that was made for it.
    Answer(Key, Reply),
}
