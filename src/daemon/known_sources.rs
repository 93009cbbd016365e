//! Keeps the sources that have proven a key in a file, so that the next listener knows them.
//!
//! One line a source: an address, and the second of the Unix time at which it is forgotten. A line
//! that cannot be read is passed over: then its source is a stranger until its next login.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::base::time::{Mono, Now, Wall};
use crate::io::disk::{DiskError, Links, read_bounded, write_atomic};
use crate::limits::{
    KNOWN_SOURCES_FILE_BYTES_MAX, SSH_KNOWN_SOURCES_KEPT_EVERY, SSH_KNOWN_SOURCES_KEPT_WITHIN,
    SSH_KNOWN_SOURCES_MAX,
};
use crate::ssh::limiter::{ConnectionLimiter, Source};

/// The file, and when it is written anew.
#[derive(Debug)]
pub(crate) struct KnownSourcesFile {
    path: PathBuf,
    /// Up to which change of the limiter's it is.
    changes: u64,
    written: Mono,
}

impl KnownSourcesFile {
    /// Tells a new limiter what the file knows. That there is none is no error.
    pub(crate) fn read(
        path: PathBuf,
        limiter: &mut ConnectionLimiter,
        now: Now,
    ) -> (KnownSourcesFile, Option<DiskError>) {
        let error = match read_bounded(&path, KNOWN_SOURCES_FILE_BYTES_MAX, Links::Refuse) {
            Ok(bytes) => {
                for (source, rest) in parse(&String::from_utf8_lossy(&bytes), now.wall) {
                    limiter.remember(now.mono, source, rest);
                }
                None
            }
            Err(error) => Some(error).filter(|error| !error.is_missing()),
        };
        let changes = limiter.known_changes();
        (KnownSourcesFile { path, changes, written: now.mono }, error)
    }

    /// When it is to be written: soon after a change, and else seldom, for the times in it.
    pub(crate) fn deadline(&self, limiter: &ConnectionLimiter) -> Mono {
        let is_same = limiter.known_changes() == self.changes;
        let wait =
            if is_same { SSH_KNOWN_SOURCES_KEPT_EVERY } else { SSH_KNOWN_SOURCES_KEPT_WITHIN };
        self.written + wait
    }

    /// Writes it now.
    ///
    /// # Errors
    /// [`DiskError`]; it is tried again when it is due again.
    pub(crate) fn write(&mut self, limiter: &ConnectionLimiter, now: Now) -> Result<(), DiskError> {
        self.written = now.mono;
        write_atomic(&self.path, text(limiter, now).as_bytes(), 0o600)?;
        self.changes = limiter.known_changes();
        Ok(())
    }
}

fn text(limiter: &ConnectionLimiter, now: Now) -> String {
    let line = |(source, rest): (Source, Duration)| {
        let rest = i64::try_from(rest.as_secs()).unwrap_or(i64::MAX);
        format!("{} {}\n", source.address(), now.wall.seconds().saturating_add(rest))
    };
    limiter.remembered(now.mono).map(line).collect()
}

fn parse(text: &str, now: Wall) -> impl Iterator<Item = (Source, Duration)> {
    let known = move |line: &str| {
        let (address, until) = line.split_once(' ')?;
        let address: IpAddr = address.parse().ok()?;
        let rest = until.parse::<i64>().ok()?.checked_sub(now.seconds())?;
        let rest = u64::try_from(rest).ok().filter(|rest| *rest > 0)?;
        Some((Source::of(address), Duration::from_secs(rest)))
    };
    text.lines().filter_map(known).take(SSH_KNOWN_SOURCES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::scratch::Scratch;
    use crate::ssh::keys::KeyPair;

    fn now(seconds: u64) -> Now {
        let mono = Mono::ZERO + Duration::from_secs(seconds);
        Now { mono, wall: Wall::new(1_800_000_000 + i64::try_from(seconds).unwrap(), 0) }
    }

    fn is_known(limiter: &ConnectionLimiter, now: Now, address: &str) -> bool {
        let source = Source::of(address.parse().unwrap());
        limiter.remembered(now.mono).any(|(known, _)| known == source)
    }

    #[test]
    fn the_next_listener_knows_them() {
        let scratch = Scratch::new();
        let path = scratch.join("known-sources");
        let mut first = ConnectionLimiter::new(9);
        let (mut file, error) = KnownSourcesFile::read(path.clone(), &mut first, now(0));
        assert_eq!(error.map(|it| it.to_string()), None);
        assert_eq!(file.deadline(&first), now(SSH_KNOWN_SOURCES_KEPT_EVERY.as_secs()).mono);
        for address in ["192.0.2.7", "2001:db8::7"] {
            let address = address.parse().unwrap();
            let place = first.admit(now(5).mono, address).unwrap().place;
            let key = *KeyPair::from_seed([1; 32]).public();
            assert!(first.authenticated(now(5).mono, place, key));
            first.ended(now(5).mono, address);
        }
        assert_eq!(file.deadline(&first), now(SSH_KNOWN_SOURCES_KEPT_WITHIN.as_secs()).mono);
        file.write(&first, now(10)).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);

        // The time since the start is another one in the next program; the calendar goes on.
        let later = Now { mono: Mono::ZERO, wall: now(3600).wall };
        let mut next = ConnectionLimiter::new(9);
        let (_, error) = KnownSourcesFile::read(path.clone(), &mut next, later);
        assert_eq!(error.map(|it| it.to_string()), None);
        assert!(is_known(&next, later, "192.0.2.7") && is_known(&next, later, "2001:db8::9"));
        let day = Now { mono: Mono::ZERO, wall: now(96 * 3600).wall };
        let mut late = ConnectionLimiter::new(9);
        KnownSourcesFile::read(path, &mut late, day);
        assert!(!is_known(&late, day, "192.0.2.7"));
    }

    #[test]
    fn what_is_no_source_is_passed_over() {
        let read = |text: &str| parse(text, now(0).wall).count();
        for text in [
            "",
            "\n\n",
            "192.0.2.7",
            "192.0.2.7 ",
            "192.0.2.7 1800000000",
            "192.0.2.7 -9223372036854775808",
            "192.0.2.7 99999999999999999999",
            "host 1800000009",
            "\u{0} \u{0}",
        ] {
            assert_eq!(read(text), 0, "{text:?}");
        }
        assert_eq!(read("x\n192.0.2.7 1800000009\r\n::1 9223372036854775807\n"), 2);
        assert_eq!(read(&"192.0.2.7 1800000009\n".repeat(100_000)), SSH_KNOWN_SOURCES_MAX);
    }
}
