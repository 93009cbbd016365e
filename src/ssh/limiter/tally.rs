//! Counts what became of connections, so that the log has one line a source and minute.
//!
//! The first of a source is told at once by whoever counts it. What follows is counted, and said in
//! one line when a minute is over. Sources that have no row are counted together.

use std::fmt;

use super::source::Source;
use crate::base::time::Mono;
use crate::limits::{SSH_TALLIED_SOURCES_MAX, SSH_TALLY_SPAN};

/// What became of a connection without a proven key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Refused,
    /// Its place went to a newcomer.
    Displaced,
    Silent,
    Failed,
    /// It offered a key that nobody has; the connection goes on.
    KeyRefused,
}

const FATES: [&str; 5] = ["refused", "displaced", "silent", "failed", "with an unknown key"];

#[derive(Debug, Default)]
pub struct Tally {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    /// `None`: all that have no row of their own.
    source: Option<Source>,
    counts: [u64; FATES.len()],
    due: Mono,
}

/// A line for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    pub source: Option<Source>,
    counts: [u64; FATES.len()],
}

impl Tally {
    /// Counts, unless it is the first of its source and worth a line: then it says so, and the
    /// caller tells it.
    pub fn count(&mut self, now: Mono, source: Source, fate: Fate) -> bool {
        let own = self.rows.iter().position(|row| row.source == Some(source));
        let is_first = own.is_none() && self.rows.len() < SSH_TALLIED_SOURCES_MAX;
        let index = match own {
            Some(index) => index,
            None if is_first => self.begin(now, Some(source)),
            None => {
                let others = self.rows.iter().position(|row| row.source.is_none());
                others.unwrap_or_else(|| self.begin(now, None))
            }
        };
        let is_told = is_first && matches!(fate, Fate::Refused | Fate::KeyRefused);
        self.rows[index].counts[fate as usize] += u64::from(!is_told);
        is_told
    }

    pub(super) fn is_news(&self, source: Source) -> bool {
        self.rows.len() < SSH_TALLIED_SOURCES_MAX
            && self.rows.iter().all(|row| row.source != Some(source))
    }

    fn begin(&mut self, now: Mono, source: Option<Source>) -> usize {
        self.rows.push(Row { source, counts: Default::default(), due: now + SSH_TALLY_SPAN });
        self.rows.len() - 1
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        self.rows.iter().map(|row| row.due).min()
    }

    /// The next line that is due. A row that has counted nothing in its span is forgotten.
    pub(super) fn poll(&mut self, now: Mono) -> Option<Summary> {
        self.rows.retain(|row| row.due > now || row.counts.iter().any(|count| *count > 0));
        let row = self.rows.iter_mut().find(|row| row.due <= now)?;
        row.due = now + SSH_TALLY_SPAN;
        Some(Summary { source: row.source, counts: std::mem::take(&mut row.counts) })
    }
}

impl Summary {
    /// How many connections met this fate.
    pub fn count(&self, fate: Fate) -> u64 {
        self.counts[fate as usize]
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Some(source) => write!(out, "connections from {source}:")?,
            None => out.write_str("connections from other addresses:")?,
        }
        let counted = self.counts.iter().zip(FATES).filter(|(count, _)| **count > 0);
        for (index, (count, fate)) in counted.enumerate() {
            write!(out, "{} {count} {fate}", if index > 0 { "," } else { "" })?;
        }
        write!(out, " within {} s", SSH_TALLY_SPAN.as_secs())
    }
}
