//! The other end: what it says, and how far it has been written to.

use serde::Deserialize;

/// What a listener says: fields that it does not know are ignored.
#[derive(Deserialize)]
pub(super) struct ListenerLine {
    #[serde(default)]
    pub(super) hello: Option<Hello>,
    #[serde(default)]
    pub(super) ack: Option<Ack>,
}

/// `epoch` and `seq` are an addition: what the listener already has.
#[derive(Deserialize)]
pub(super) struct Hello {
    #[serde(default)]
    pub(super) ack: bool,
    #[serde(default)]
    pub(super) epoch: String,
    #[serde(default)]
    pub(super) seq: u64,
}

#[derive(Deserialize)]
pub(super) struct Ack {
    pub(super) epoch: String,
    pub(super) seq: u64,
}

/// How far the bytes of a connection have left. One mark at a time: when the bytes up to it have
/// left, the events up to it are delivered, and the next mark is the newest event.
#[derive(Debug, Default)]
pub(super) struct Written {
    pushed: u64,
    sent: u64,
    /// Where an event ends, and its number.
    mark: Option<(u64, u64)>,
    newest: Option<(u64, u64)>,
    /// Everything up to this number has left.
    pub(super) delivered: u64,
}

impl Written {
    pub(super) fn pushed(&mut self, bytes: usize, seq: Option<u64>) {
        self.pushed += bytes as u64;
        if let Some(seq) = seq {
            self.newest = Some((self.pushed, seq));
            self.mark = self.mark.or(self.newest);
        }
    }

    pub(super) fn left(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        for (end, seq) in [self.mark, self.newest].into_iter().flatten() {
            if end <= self.sent {
                self.delivered = seq;
            }
        }
        if self.mark.is_some_and(|(end, _)| end <= self.sent) {
            self.mark = self.newest.filter(|(end, _)| *end > self.sent);
        }
    }
}
