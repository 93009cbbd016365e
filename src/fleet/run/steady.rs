//! The fleet for a driver with a loop of its own: questions now, answers as they come.
//!
//! The driver watches what is its own on the same reactor. A connection that was lost is dialled
//! again by the next question.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use serde_json::Value;

use super::{Runner, load};
use crate::base::slots::Key;
use crate::base::time::{Mono, Now};
use crate::fleet::fleet::FleetRequestId;
use crate::fleet::member::RequestError;
use crate::fleet::registry::AgentId;
use crate::io::reactor::{Interests, Reactor, Ready, Watch};
use crate::limits::{CLONE_ANSWER_TIMEOUT, RPC_ANSWER_TIMEOUT, SURVEY_TIMEOUT};
use crate::paths::Paths;
use crate::rpc::call::Call;

impl Runner {
    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// What waits, for what the caller watches with it.
    pub(crate) fn reactor(&self) -> &Reactor {
        &self.reactor
    }

    /// Watches something of the caller's. The key must be none that the fleet gives out: the
    /// highest numbers are not.
    ///
    /// # Errors
    /// As [`Reactor::watch`].
    pub(crate) fn watch(
        &self,
        source: &impl AsFd,
        key: Key,
        interests: Interests,
    ) -> io::Result<Watch> {
        self.reactor.watch(source, key, interests)
    }

    /// Reads the registry anew. Connections that stand are kept.
    ///
    /// # Errors
    /// One sentence; what was known is kept.
    pub(crate) fn reload(&mut self, paths: &Paths) -> Result<(), String> {
        self.registry = load(paths)?;
        Ok(())
    }

    /// Asks an agent; the answer comes from [`Runner::next_reply`].
    ///
    /// # Errors
    /// Why it cannot even be asked: one sentence.
    pub(crate) fn submit(
        &mut self,
        agent: &AgentId,
        call: &Call,
    ) -> Result<FleetRequestId, String> {
        let patience = match call {
            Call::List | Call::Ping | Call::Get(_) => SURVEY_TIMEOUT,
            Call::Clone(_) => CLONE_ANSWER_TIMEOUT,
            _ => RPC_ANSWER_TIMEOUT,
        };
        self.submit_within(agent, call, patience)
    }

    /// The same of a call whose answer may take so long.
    pub(crate) fn submit_within(
        &mut self,
        agent: &AgentId,
        call: &Call,
        patience: Duration,
    ) -> Result<FleetRequestId, String> {
        // A member that is replaced takes what it has not told along.
        self.gather();
        let deadline = self.clock.mono() + patience;
        let member = self.member(agent)?;
        self.driver.fleet.request(member, call, deadline).map_err(|error| error.to_string())
    }

    /// One turn of the loop, which waits until `deadline` at most. What became possible with the
    /// caller's own descriptors is put into `own`, which is emptied before.
    ///
    /// # Errors
    /// Only if waiting itself fails.
    pub(crate) fn step(&mut self, deadline: Option<Mono>, own: &mut Vec<Ready>) -> io::Result<()> {
        own.clear();
        self.gather();
        let deadline = if self.replies.is_empty() { deadline } else { Some(Mono::ZERO) };
        self.turn_until(deadline, own)?;
        self.gather();
        Ok(())
    }

    /// The next answer that has come.
    pub(crate) fn next_reply(&mut self) -> Option<(FleetRequestId, Result<Value, RequestError>)> {
        self.replies.pop_front()
    }

    fn gather(&mut self) {
        while let Some(reply) = self.poll_reply() {
            self.replies.push_back(reply);
        }
    }
}
