//! Sources that have proven a key, within hours or on a connection that is open.

use std::time::Duration;

use super::source::Source;
use crate::base::time::Mono;
use crate::limits::{SSH_KNOWN_SOURCE_AGE, SSH_KNOWN_SOURCES_MAX, SSH_KNOWN_SOURCES_OF_KEY_MAX};
use crate::ssh::keys::PublicKey;

/// The table. A key has at most [`SSH_KNOWN_SOURCES_OF_KEY_MAX`] rows, so that its owner cannot
/// have the others forgotten.
#[derive(Debug, Default)]
pub(super) struct KnownSources {
    rows: Vec<Row>,
    /// Counts what [`KnownSources::remembered`] gives otherwise than before.
    changes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    source: Source,
    /// Who has proven it last, where that was on a connection of this listener.
    key: Option<PublicKey>,
    /// Its connections that are open and have proven one.
    live: usize,
    /// When it is forgotten, unless a connection is open.
    until: Mono,
}

impl KnownSources {
    pub(super) fn has(&self, now: Mono, source: Source) -> bool {
        self.row(source).is_some_and(|row| row.is_known(now))
    }

    /// A connection from there has proven a key. [`KnownSources::ended`] follows.
    pub(super) fn proven(&mut self, now: Mono, source: Source, key: PublicKey) {
        let is_new = !self.has(now, source);
        let row = self.row_for(source, Some(key));
        row.live += 1;
        row.until = now + SSH_KNOWN_SOURCE_AGE;
        self.changes += u64::from(is_new);
    }

    pub(super) fn ended(&mut self, now: Mono, source: Source) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.source == source) {
            row.live = row.live.saturating_sub(1);
            row.until = now + SSH_KNOWN_SOURCE_AGE;
        }
    }

    /// It was known before this listener was there, and is for so long.
    pub(super) fn remember(&mut self, now: Mono, source: Source, rest: Duration) {
        let until = now + rest.min(SSH_KNOWN_SOURCE_AGE);
        let row = self.row_for(source, None);
        row.until = row.until.max(until);
    }

    /// All that are known now, and for how long.
    pub(super) fn remembered(&self, now: Mono) -> impl Iterator<Item = (Source, Duration)> {
        self.rows.iter().filter(move |row| row.is_known(now)).map(move |row| {
            let is_live = row.live > 0;
            (row.source, if is_live { SSH_KNOWN_SOURCE_AGE } else { row.until.since(now) })
        })
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    fn row(&self, source: Source) -> Option<&Row> {
        self.rows.iter().find(|row| row.source == source)
    }

    /// The row of a source. Where there is no room, the one goes that proved a key longest ago: of
    /// the same key if that has as many as it may.
    fn row_for(&mut self, source: Source, key: Option<PublicKey>) -> &mut Row {
        let index = self.rows.iter().position(|row| row.source == source).unwrap_or_else(|| {
            let of_key = self.rows.iter().filter(|row| key.is_some() && row.key == key).count();
            let is_full = of_key >= SSH_KNOWN_SOURCES_OF_KEY_MAX;
            if is_full || self.rows.len() >= SSH_KNOWN_SOURCES_MAX {
                let rows = self.rows.iter().enumerate();
                let rows = rows.filter(|(_, row)| !is_full || row.key == key);
                let least = rows.min_by_key(|(_, row)| (row.live > 0, row.until));
                self.rows.swap_remove(least.map_or(0, |(index, _)| index));
            }
            self.rows.push(Row { source, key, live: 0, until: Mono::ZERO });
            self.rows.len() - 1
        });
        let row = &mut self.rows[index];
        row.key = key.or(row.key);
        row
    }
}

impl Row {
    fn is_known(&self, now: Mono) -> bool {
        self.live > 0 || now < self.until
    }
}
