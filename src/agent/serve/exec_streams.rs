//! What programs in containers say: a stream each, on a connection of its own, so that one that
//! runs long holds up no call.

use super::registry::{Owner, Registry};
use crate::agent::action::WorkId;
use crate::agent::docker::exec::Exec;
use crate::agent::docker::{Procedure, Step};
use crate::base::slots::Key;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Mono;
use crate::docker::conn::{DockerConn, DockerConnEvent, ResponseMode};
use crate::docker::{DockerError, DockerRequest};
use crate::io::link::{Link, Next};
use crate::io::reactor::Ready;
use crate::limits::LINK_TURN_BYTES;

/// The streams that are being read.
#[derive(Debug, Default)]
pub(super) struct ExecStreams(SortedMap<Key, ExecStream>);

#[derive(Debug)]
struct ExecStream {
    link: Link<DockerConn>,
    work: WorkId,
    exec: Exec,
    /// When its end is not waited for any longer.
    until: Mono,
}

/// A piece of work whose stream is over, and how it goes on.
pub(super) type Ended = (WorkId, Step<Procedure>);

impl ExecStreams {
    /// Makes the call that begins a stream, on a connection that was just opened for it.
    pub(super) fn begin(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        mut link: Link<DockerConn>,
        (work, exec): (WorkId, Exec),
        request: &DockerRequest,
    ) -> Result<(), DockerError> {
        let unusable = |what: &dyn std::fmt::Display| DockerError::Unexpected(what.to_string());
        let called = link.endpoint_mut().call(request, ResponseMode::Stream, now);
        called.map_err(|_| unusable(&"a new connection is busy"))?;
        let key = registry.watch(link.stream(), Owner::Runtime);
        let key = key.map_err(|error| unusable(&error))?;
        // A connection that breaks in this write is found by the event that follows.
        let _ = link.send(now, LINK_TURN_BYTES);
        let until = now + exec.patience();
        self.0.insert(key, ExecStream { link, work, exec, until });
        Ok(())
    }

    pub(super) fn has(&self, key: Key) -> bool {
        self.0.contains_key(&key)
    }

    /// Something happened on a stream. What is to be done when it has ended, and whether it is to
    /// have another turn.
    pub(super) fn ready(
        &mut self,
        registry: &mut Registry,
        now: Mono,
        key: Key,
        ready: Option<Ready>,
    ) -> (Option<Ended>, bool) {
        let Some(stream) = self.0.get_mut(&key) else { return (None, false) };
        if let Some(ready) = ready {
            stream.link.ready(now, ready);
        }
        stream.link.receive(now, LINK_TURN_BYTES);
        let end = stream.read();
        // Only what was read makes room for more.
        let next = stream.link.send(now, LINK_TURN_BYTES);
        let end = match (end, next) {
            (None, Next::Closed) => Some(End::Stream),
            (end, _) => end,
        };
        match end {
            None => (None, next == Next::Again),
            Some(end) => (self.end(registry, key, end), false),
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let deadline = |stream: &ExecStream| {
            stream.link.deadline().map_or(stream.until, |at| at.min(stream.until))
        };
        self.0.values().map(deadline).min()
    }

    /// What is to be done about streams that took too long.
    pub(super) fn tick(&mut self, registry: &mut Registry, now: Mono) -> Vec<Ended> {
        let keys: Vec<Key> = self.0.keys().copied().collect();
        let mut ended = Vec::new();
        for key in keys {
            let Some(stream) = self.0.get_mut(&key) else { continue };
            if stream.link.deadline().is_some_and(|at| at <= now) {
                stream.link.tick(now);
            }
            let end = match stream.read() {
                None if stream.until <= now => Some(End::Stream),
                end => end,
            };
            ended.extend(end.and_then(|end| self.end(registry, key, end)));
        }
        ended
    }

    fn end(&mut self, registry: &mut Registry, key: Key, end: End) -> Option<Ended> {
        let ExecStream { work, exec, .. } = self.0.remove(&key)?;
        registry.release(key);
        let step = match end {
            End::Stream => exec.look(),
            End::Reply(reply) => exec.step(reply),
        };
        Some((work, step.map(Procedure::Exec)))
    }
}

/// Why a stream is over.
#[derive(Debug)]
enum End {
    /// It has ended, or is not waited for.
    Stream,
    /// There was none, or it broke.
    Reply(crate::agent::docker::Reply),
}

impl ExecStream {
    /// Takes what has come.
    fn read(&mut self) -> Option<End> {
        while let Some(event) = self.link.endpoint_mut().poll_event() {
            match event {
                DockerConnEvent::Response(response) => return Some(End::Reply(Ok(response))),
                DockerConnEvent::Closed(Some(error)) => return Some(End::Reply(Err(error))),
                DockerConnEvent::Readable => {
                    if let Err(error) = self.take() {
                        return Some(End::Reply(Err(error)));
                    }
                }
                DockerConnEvent::End | DockerConnEvent::Closed(None) => {
                    return Some(match self.take() {
                        Ok(()) => End::Stream,
                        Err(error) => End::Reply(Err(error)),
                    });
                }
                DockerConnEvent::Streaming
                | DockerConnEvent::TakenOver
                | DockerConnEvent::Writable => {}
            }
        }
        None
    }

    fn take(&mut self) -> Result<(), DockerError> {
        let conn = self.link.endpoint_mut();
        while !conn.received().is_empty() {
            let len = conn.received().len();
            self.exec.read(conn.received())?;
            conn.consume(len);
        }
        Ok(())
    }
}
