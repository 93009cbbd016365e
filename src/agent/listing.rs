//! Asking the runtime what runs, once for everybody who wants to know.
//!
//! Whoever asks before the question is sent shares it. Whoever asks while one is on its way gets
//! the next one, because the answer on its way may be older than his question. There are never more
//! than two sets of readers, and one listing at a time.

use std::mem;

use super::action::{ActionQueue, Caller, WorkId};
use super::work::{RuntimeWork, Work};
use crate::base::time::Mono;
use crate::base::uuid::Uuid;
use crate::limits::SURVEY_PATIENCE;

/// Who wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListingReader {
    /// A `list`.
    List(Caller),
    /// A `get` of one session.
    Get(Caller, Uuid),
    /// The operation on this session.
    Job(Uuid),
}

impl ListingReader {
    /// Operations wait for the truth; callers do not wait for ever.
    fn is_caller(self) -> bool {
        !matches!(self, ListingReader::Job(_))
    }

    fn is(self, wanted: Caller) -> bool {
        use ListingReader::{Get, List};
        matches!(self, List(caller) | Get(caller, _) if caller == wanted)
    }
}

/// A reader, and since when it waits.
type Waiting = (Mono, ListingReader);

#[derive(Debug, Default)]
pub(super) enum Listing {
    #[default]
    Idle,
    Asked {
        work: WorkId,
        readers: Vec<Waiting>,
        /// Who came since, if anybody wants to know again.
        next: Option<Vec<Waiting>>,
    },
}

impl Listing {
    /// Asks, for `reader` or for the core itself.
    pub(super) fn want(
        &mut self,
        actions: &mut ActionQueue,
        now: Mono,
        reader: Option<ListingReader>,
    ) {
        let waiting = reader.map(|reader| (now, reader));
        match self {
            Listing::Idle => *self = Listing::ask(actions, waiting.into_iter().collect()),
            Listing::Asked { next, .. } => next.get_or_insert_default().extend(waiting),
        }
    }

    /// If `work` was the listing: who waited for it. The next one, if it is wanted, is on its way.
    pub(super) fn finish(
        &mut self,
        actions: &mut ActionQueue,
        work: WorkId,
    ) -> Option<Vec<ListingReader>> {
        match mem::take(self) {
            Listing::Asked { work: asked, readers, next } if asked == work => {
                if let Some(next) = next {
                    *self = Listing::ask(actions, next);
                }
                Some(readers.into_iter().map(|(_, reader)| reader).collect())
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// Takes out the callers that have waited for [`SURVEY_PATIENCE`].
    pub(super) fn take_impatient(&mut self, now: Mono) -> Vec<ListingReader> {
        self.take(|(since, reader)| reader.is_caller() && since + SURVEY_PATIENCE <= now)
    }

    /// Takes out every caller.
    pub(super) fn take_callers(&mut self) -> Vec<ListingReader> {
        self.take(|(_, reader)| reader.is_caller())
    }

    /// Nobody waits for this answer any more.
    pub(super) fn forget(&mut self, caller: Caller) {
        self.take(|(_, reader)| reader.is(caller));
    }

    /// When the first caller loses patience.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let Listing::Asked { readers, next, .. } = self else {
            return None;
        };
        let all = readers.iter().chain(next.iter().flatten());
        let callers = all.filter(|(_, reader)| reader.is_caller());
        callers.map(|(since, _)| *since + SURVEY_PATIENCE).min()
    }

    fn ask(actions: &mut ActionQueue, readers: Vec<Waiting>) -> Listing {
        let work = actions.run(Work::Runtime(RuntimeWork::List));
        Listing::Asked { work, readers, next: None }
    }

    fn take(&mut self, is_taken: impl Fn(Waiting) -> bool) -> Vec<ListingReader> {
        let Listing::Asked { readers, next, .. } = self else {
            return Vec::new();
        };
        let mut taken: Vec<Waiting> =
            readers.extract_if(.., |waiting| is_taken(*waiting)).collect();
        if let Some(next) = next {
            taken.extend(next.extract_if(.., |waiting| is_taken(*waiting)));
        }
        taken.into_iter().map(|(_, reader)| reader).collect()
    }
}
