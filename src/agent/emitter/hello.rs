//! What a listener's hello tells, or that there is none.

use super::{Emitter, EmitterLink, ListenerKind};
use crate::agent::spool::Epoch;
use crate::base::time::Now;

impl Emitter {
    /// The listener has answered something that was asked of it behind the channel, so a hello
    /// would have come by now.
    pub(crate) fn has_no_hello(&mut self, now: Now) {
        match &mut self.link {
            EmitterLink::AwaitingHello { is_mute, .. } => *is_mute = true,
            EmitterLink::Live { listener: ListenerKind::Unknown { proven_at, .. }, .. } => {
                *proven_at = now.mono;
                self.tick_live(now.mono);
            }
            _ => {}
        }
    }

    /// A listener has numbers that this process has not sent and did not find either: the spool's
    /// disk was put back to an earlier time, and what it had is there; or a copy of this host has
    /// sent them. Numbers of the same epoch would be dropped there as known, so another begins;
    /// what was not sent yet is lost, which is told.
    pub(super) fn compare(&mut self, epoch: &str, seq: u64) {
        let is_ours = epoch == self.spool.epoch().as_str();
        if !is_ours || seq <= self.shown {
            return;
        }
        let lost = self.spool.last_seq() - self.shown;
        self.numbers_before += self.shown;
        self.spool.begin_epoch(Epoch::random(&mut self.rng), lost);
        self.shown = 0;
        self.went_back = Some(lost);
    }

    /// How many events were lost because the spool was older than what the listener has, if that
    /// has just been found.
    pub(crate) fn take_went_back(&mut self) -> Option<u64> {
        self.went_back.take()
    }
}
