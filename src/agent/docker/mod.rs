//! Sessions as containers: what the agent asks of the Docker Engine, and in which order.
//!
//! A [`Procedure`] turns one piece of [`RuntimeWork`] into calls, one at a time, and at last into
//! one outcome. [`attach`] does the same for a terminal, [`runtime_events`] turns the Engine's
//! events into news. Nothing here holds a connection: the driver makes each call on any idle one
//! and hands the answer back.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`description`] | a session's container, from plan to JSON and back from its labels |
//! | [`list`], [`start`], [`end`], [`detach`] | the procedures |
//! | [`look`] | what became of a container |
//! | [`exec`] | a program beside the session's command |
//! | [`erase_as_root`] | the home of a deleted session, erased as root |
//! | [`attach`] | a terminal inside a container |
//! | [`runtime_events`] | events to news |

pub mod attach;
pub mod description;
pub mod detach;
pub mod end;
pub mod erase_as_root;
pub mod exec;
pub mod list;
pub mod look;
pub mod runtime_events;
pub mod start;

use crate::agent::work::{Outcome, RuntimeWork, WorkError};
use crate::docker::{DockerError, DockerRequest, DockerResponse};

use description::Host;
use detach::Detach;
use end::{Remove, Stop};
use erase_as_root::EraseAsRoot;
use exec::Exec;
use list::List;
use look::Look;
use start::Start;

/// What a call came to: the Engine's answer, or why there is none.
pub type Reply = Result<DockerResponse, DockerError>;

/// One piece of work that is being done. Each variant waits for the answer to its last call.
#[derive(Debug)]
pub enum Procedure {
    /// [`RuntimeWork::List`]
    List(List),
    /// [`RuntimeWork::Start`]
    Start(Start),
    /// [`RuntimeWork::Stop`]
    Stop(Stop),
    /// [`RuntimeWork::Remove`]
    Remove(Remove),
    /// [`RuntimeWork::EraseAsRoot`]
    EraseAsRoot(EraseAsRoot),
    /// [`RuntimeWork::Detach`], and the end of one terminal
    Detach(Detach),
    /// [`RuntimeWork::Look`]
    Look(Look),
    /// [`RuntimeWork::Exec`]
    Exec(Exec),
}

#[derive(Debug)]
pub enum Step<P = Procedure> {
    /// Make this call ([`crate::docker::conn::ResponseMode::Whole`]), and hand the answer to
    /// [`Procedure::step`].
    Call(P, DockerRequest),
    /// Make this call on a connection of its own ([`crate::docker::conn::ResponseMode::Stream`]),
    /// hand what comes to [`Exec::read`], and go on with [`Exec::look`] after its end.
    Stream(P, DockerRequest),
    /// The work is done.
    Done(Outcome),
}

impl Procedure {
    /// The first call of a piece of work.
    pub fn begin(work: RuntimeWork, host: &Host) -> (Procedure, DockerRequest) {
        match work {
            RuntimeWork::List => wrap(List::begin(host), Procedure::List),
            RuntimeWork::Start(plan) => wrap(Start::begin(&plan, host), Procedure::Start),
            RuntimeWork::Stop { id, grace } => wrap(Stop::begin(id, grace), Procedure::Stop),
            RuntimeWork::Remove { id } => wrap(Remove::begin(id), Procedure::Remove),
            RuntimeWork::EraseAsRoot { id, image } => {
                wrap(EraseAsRoot::begin(id, image, host), Procedure::EraseAsRoot)
            }
            RuntimeWork::Look { id } => wrap(Look::begin(id), Procedure::Look),
            RuntimeWork::Exec(plan) => wrap(Exec::begin(&plan, host), Procedure::Exec),
            RuntimeWork::Detach { id, uid } => {
                wrap(Detach::all_of(id, &host.user(uid)), Procedure::Detach)
            }
        }
    }

    /// Takes the answer to the last call. No answer ([`DockerError`]) fails the work at once.
    #[must_use = "the next call, or the outcome"]
    pub fn step(self, reply: Reply) -> Step {
        match self {
            Procedure::List(list) => list.step(reply).map(Procedure::List),
            Procedure::Start(start) => start.step(reply).map(Procedure::Start),
            Procedure::Stop(stop) => stop.step(reply).map(Procedure::Stop),
            Procedure::Remove(remove) => remove.step(reply).map(Procedure::Remove),
            Procedure::EraseAsRoot(erase) => erase.step(reply).map(Procedure::EraseAsRoot),
            Procedure::Detach(detach) => detach.step(reply).map(Procedure::Detach),
            Procedure::Look(look) => look.step(reply).map(Procedure::Look),
            Procedure::Exec(exec) => exec.step(reply).map(Procedure::Exec),
        }
    }
}

fn wrap<P>(
    (procedure, request): (P, DockerRequest),
    kind: fn(P) -> Procedure,
) -> (Procedure, DockerRequest) {
    (kind(procedure), request)
}

impl<P> Step<P> {
    pub(crate) fn map<Q>(self, kind: fn(P) -> Q) -> Step<Q> {
        match self {
            Step::Call(procedure, request) => Step::Call(kind(procedure), request),
            Step::Stream(procedure, request) => Step::Stream(kind(procedure), request),
            Step::Done(outcome) => Step::Done(outcome),
        }
    }

    fn failed(error: DockerError) -> Step<P> {
        Step::Done(Err(error.into()))
    }
}

/// What the Engine refused is told in its words; anything else means that it is not there.
impl From<DockerError> for WorkError {
    fn from(error: DockerError) -> WorkError {
        match error {
            DockerError::Refused { message, .. } => WorkError::Docker(message),
            DockerError::Unexpected(text) => WorkError::Docker(text),
            DockerError::Protocol(error) => WorkError::DockerGone(error.to_string()),
            DockerError::Closed | DockerError::Timeout => WorkError::DockerGone(error.to_string()),
        }
    }
}

#[cfg(test)]
pub mod script {
    //! A scripted Engine for tests of procedures.

    use super::*;

    /// An answer with this status and body.
    pub(crate) fn reply(status: u16, body: &str) -> Reply {
        Ok(DockerResponse { status, body: body.as_bytes().to_vec() })
    }

    /// Runs work against answers, and gives back what was called (method and target) and the
    /// outcome. Asserts that exactly the answers given were needed.
    pub(crate) fn run(
        (mut procedure, mut request): (Procedure, DockerRequest),
        replies: Vec<Reply>,
    ) -> (Vec<String>, Outcome) {
        let mut calls = Vec::new();
        let mut replies = replies.into_iter();
        loop {
            calls.push(format!("{:?} {}", request.method, request.target));
            let reply = replies.next().unwrap_or_else(|| panic!("no answer left for {calls:?}"));
            match procedure.step(reply) {
                Step::Call(next, call) => (procedure, request) = (next, call),
                Step::Stream(..) => panic!("no stream is scripted"),
                Step::Done(outcome) => {
                    assert_eq!(replies.next(), None, "answers left after {calls:?}");
                    return (calls, outcome);
                }
            }
        }
    }
}
