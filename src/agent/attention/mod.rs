//! What the program in a session wants of a person, as far as it is known. No input or output.
//!
//! The driver looks at a session's status files and at the processes that they name, and hands
//! both in as a [`Look`]. What cannot be believed is unknown; a program that tells nothing has no
//! attention at all, and is never guessed at.
//!
//! A turn that has ended is `done` until somebody has looked: attached, detached or sent
//! something. Then the session is `idle`.

mod rules;
mod status_file;

pub(crate) use rules::Rules;
pub(crate) use status_file::{Program, StatusFile};

use crate::base::text::printable;
use crate::base::time::{Mono, Now, Wall};
use crate::limits::{ATTENTION_REASON_BYTES_MAX, ATTENTION_REASON_CHARS_MAX, SENT_PATIENCE};
use crate::rpc::attention::{Attention, AttentionState};

/// Who says it: the status file.
const STATUS_FILE: &str = "status file";

/// What one look at a session's files gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// These files.
    Files(Vec<Claim>),
    /// They cannot be looked at, for this reason.
    Failed(&'static str),
}

/// A status file that was read, and what is known of the process that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// `None` if it cannot be understood.
    pub(crate) file: Option<StatusFile>,
    pub(crate) process: Process,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    /// It is there, and it is the one that is meant.
    Alive,
    /// There is none, or another one has its number.
    Gone,
    /// Whether it is there cannot be seen.
    Unseen,
}

/// What is known of one session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    told: Option<Attention>,
    /// Of whom it was told.
    program: Option<Program>,
    /// Whether a turn was seen whose end nobody has looked at.
    had_turn: bool,
    /// When a text or keys were sent that have not changed anything yet.
    sent_at: Option<Mono>,
}

/// What the files say, taken together.
enum Verdict<'a> {
    /// No program tells anything.
    Nothing,
    Unknown(&'static str),
    Says(&'a StatusFile),
}

impl Known {
    pub(crate) fn told(&self) -> Option<&Attention> {
        self.told.as_ref()
    }

    pub(crate) fn state(&self) -> Option<AttentionState> {
        self.told.as_ref().map(|told| told.state)
    }

    /// Takes a look. Returns whether there is something new to tell.
    pub(crate) fn saw(&mut self, now: Now, rules: &Rules, look: &Look) -> bool {
        let new = match judge(look, rules, self.program) {
            Verdict::Nothing => {
                (self.program, self.had_turn) = (None, false);
                None
            }
            Verdict::Unknown(why) => Some(self.unknown(now.wall, why.to_owned())),
            Verdict::Says(file) => Some(self.says(now.wall, rules, file)),
        };
        let is_new = match (&self.told, &new) {
            (Some(told), Some(new)) => {
                // It may wait a second time for the same, with a moment between that nobody saw.
                let waits_anew = new.state == AttentionState::Waiting && new.since > told.since;
                (told.state, &told.reason) != (new.state, &new.reason) || waits_anew
            }
            (told, new) => told.is_some() != new.is_some(),
        };
        if is_new {
            self.told = new;
            self.sent_at = None;
        }
        is_new
    }

    fn says(&mut self, now: Wall, rules: &Rules, file: &StatusFile) -> Attention {
        if self.program != Some(file.program) {
            (self.program, self.had_turn) = (Some(file.program), false);
        }
        let word = file.status.as_deref().unwrap_or_default();
        let Some(rule) = rules.of(word) else {
            return self.unknown(now, format!("{word:?} is no word that is known here"));
        };
        let state = match rule.state {
            AttentionState::Done if !self.had_turn => AttentionState::Idle,
            state => state,
        };
        self.had_turn |= matches!(state, AttentionState::Working | AttentionState::Waiting);
        let reason = match (state, &file.waiting_for) {
            (AttentionState::Waiting, Some(what)) => what,
            _ => &rule.reason,
        };
        // What a program says of the time before it was first seen is believed of its own row.
        let was = self.told.as_ref().filter(|told| told.state == state);
        let since = file.since(now).or(was.map(|told| told.since)).unwrap_or(now);
        Attention { state, reason: reason_of(reason), source: STATUS_FILE.to_owned(), since }
    }

    fn unknown(&self, now: Wall, why: String) -> Attention {
        let was = self.told.as_ref().filter(|told| told.state == AttentionState::Unknown);
        let since = was.map_or(now, |told| told.since);
        let (state, source) = (AttentionState::Unknown, STATUS_FILE.to_owned());
        Attention { state, reason: reason_of(&why), source, since }
    }

    /// Somebody has looked at the session. Returns whether there is something new to tell.
    pub(crate) fn looked_at(&mut self) -> bool {
        let Some(told) = self.told.as_mut() else { return false };
        if told.state != AttentionState::Done {
            return false;
        }
        told.state = AttentionState::Idle;
        self.had_turn = false;
        true
    }

    /// A text or keys were sent. Returns as [`Known::looked_at`].
    pub(crate) fn sent(&mut self, now: Mono) -> bool {
        self.sent_at = self.told.is_some().then_some(now);
        self.looked_at()
    }

    /// Nothing runs any more. The end is told otherwise.
    pub(crate) fn forget(&mut self) {
        *self = Known::default();
    }

    /// From when on its state counts for who waits for it. Until something changes it may be that
    /// of before what was sent.
    pub(crate) fn settles_at(&self) -> Mono {
        self.sent_at.map_or(Mono::ZERO, |at| at + SENT_PATIENCE)
    }

    /// Its state, once that counts.
    pub(crate) fn settled(&self, now: Mono) -> Option<AttentionState> {
        self.state().filter(|_| self.settles_at() <= now)
    }
}

/// Of several programs that are there, one that waits comes first, because a person is missing
/// there whatever the others do; else the one that started last.
fn judge<'a>(look: &'a Look, rules: &Rules, known: Option<Program>) -> Verdict<'a> {
    let claims = match look {
        Look::Files(claims) => claims,
        Look::Failed(why) => return Verdict::Unknown(why),
    };
    let of = |process| {
        let claims = claims.iter().filter(move |claim| claim.process == process);
        claims.filter_map(|claim| claim.file.as_ref())
    };
    let waits = |file: &StatusFile| {
        let rule = file.status.as_deref().and_then(|word| rules.of(word));
        rule.is_some_and(|rule| rule.state == AttentionState::Waiting)
    };
    let alive = of(Process::Alive).filter(|file| file.counts());
    if let Some(file) = alive.max_by_key(|file| (waits(file), file.started_at, file.program)) {
        return Verdict::Says(file);
    }
    if of(Process::Gone).any(|file| Some(file.program) == known) {
        return Verdict::Unknown("the program was killed");
    }
    let is_torn = |claim: &Claim| claim.file.is_none() && claim.process != Process::Gone;
    if claims.iter().any(is_torn) {
        return Verdict::Unknown("its status file cannot be understood");
    }
    if of(Process::Unseen).any(StatusFile::counts) {
        return Verdict::Unknown("its process cannot be seen");
    }
    Verdict::Nothing
}

/// A text of a session's as a reason: one line that shows, and not too long.
fn reason_of(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown = printable(&words);
    let mut reason: String = shown.chars().take(ATTENTION_REASON_CHARS_MAX).collect();
    if reason.len() < shown.len() {
        reason.pop();
        reason.push('…');
    }
    debug_assert!(reason.len() <= ATTENTION_REASON_BYTES_MAX, "a character has four bytes");
    reason
}

const _: () = assert!(4 * ATTENTION_REASON_CHARS_MAX <= ATTENTION_REASON_BYTES_MAX);

#[cfg(test)]
mod tests;
