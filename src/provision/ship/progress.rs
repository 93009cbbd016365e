//! How far a transfer is: bytes, rate and rest, as a line for a person.

use std::time::Duration;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the archive that have been sent, before they were packed.
    pub(crate) plain_bytes: u64,
    /// Bytes on the wire.
    pub(crate) wire_bytes: u64,
    /// What the archive will have, about; `None` if that is not known.
    pub(crate) expected_bytes: Option<u64>,
    /// Since the first byte.
    pub(crate) took: Duration,
}

impl Progress {
    /// Bytes of the archive a second; 0 before there is anything to tell.
    pub(crate) fn rate(&self) -> u64 {
        let seconds = self.took.as_secs_f64();
        // A rate is a rough figure, and no line moves 2^63 bytes a second.
        #[expect(clippy::cast_possible_truncation, reason = "a rate is far below 2^52")]
        #[expect(clippy::cast_sign_loss, reason = "a time is never negative")]
        #[expect(clippy::cast_precision_loss, reason = "a rate is a rough figure")]
        let rate = if seconds > 0.0 { (self.plain_bytes as f64 / seconds) as u64 } else { 0 };
        rate
    }

    /// Seconds that are left at this rate, if that can be told.
    pub(crate) fn rest_seconds(&self) -> Option<u64> {
        let left = self.expected_bytes?.saturating_sub(self.plain_bytes);
        left.checked_div(self.rate())
    }

    /// `120 of 303 MiB, 95 MiB/s, 2 s left`
    pub(crate) fn text(&self) -> String {
        let mut text = match self.expected_bytes {
            Some(expected) => format!("{} of {} MiB", mib(self.plain_bytes), mib(expected)),
            None => format!("{} MiB", mib(self.plain_bytes)),
        };
        text.push_str(&format!(", {} MiB/s", mib(self.rate())));
        if let Some(rest) = self.rest_seconds() {
            text.push_str(&format!(", {rest} s left"));
        }
        text
    }
}

/// Whole MiB, rounded up.
pub(crate) fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1024 * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_rest_are_told_as_far_as_they_are_known() {
        let mut progress = Progress {
            plain_bytes: 100 << 20,
            wire_bytes: 50 << 20,
            expected_bytes: Some(300 << 20),
            took: Duration::from_secs(4),
        };
        assert_eq!(progress.text(), "100 of 300 MiB, 25 MiB/s, 8 s left");
        progress.expected_bytes = None;
        assert_eq!(progress.text(), "100 MiB, 25 MiB/s");
        progress.expected_bytes = Some(1);
        assert_eq!(progress.rest_seconds(), Some(0));
        progress.took = Duration::ZERO;
        assert_eq!((progress.rate(), progress.rest_seconds()), (0, None));
    }
}
