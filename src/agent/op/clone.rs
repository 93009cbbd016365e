//! Clone: a copy of a home under a new id.
//!
//! It occupies the new session, not the source, which may start, stop and be edited meanwhile: a
//! large home takes minutes. The source only cannot be deleted until the copy is done.

use super::{Flow, SessionOp, Stage, create, gate, not_found};
use crate::agent::record::Record;
use crate::agent::session_key::SessionKey;
use crate::agent::state::AgentState;
use crate::agent::work::{DiskWork, Outcome, Work};
use crate::base::time::Now;
use crate::base::uuid::Uuid;
use crate::rpc::call::CloneSession;
use crate::rpc::field::{DnsName, KeyChoice};
use crate::rpc::network::Publish;

/// The home is being copied.
#[derive(Debug)]
pub(in crate::agent) struct Clone {
    source: Uuid,
    record: Box<Record>,
}

/// Begins a copy of a session that is there and not being deleted.
pub(in crate::agent) fn begin(
    state: &mut AgentState,
    now: Now,
    clone: CloneSession,
) -> Result<(Uuid, Flow), String> {
    let (source, target) = (clone.source_id, Uuid::random(&mut state.rng));
    let session = state.session(source).ok_or_else(|| not_found(source))?;
    // What admits a restart admits a copy: the metadata is good and nothing is half done.
    gate(session, &SessionOp::Restart)?;
    let from = session.record()?.clone();
    let owner = state.reserve_uid(target).inspect_err(|_| state.reservations.release(target))?;
    let choice = match from.ssh_key {
        SessionKey::None => KeyChoice::None,
        SessionKey::NotMade | SessionKey::Made(_) => KeyChoice::New,
    };
    let (ssh_key, key) = SessionKey::choose(choice, &mut state.rng, target);
    let record = Record {
        uuid: target,
        name: clone.name,
        created_at: now.wall,
        last_accessed: now.wall,
        port: 0,
        dns_name: DnsName::default(),
        docker: false,
        publish: Publish::Default,
        runs: false,
        ended: None,
        uid: owner,
        ssh_key,
        ..from
    };
    if let Some(session) = state.session_mut(source) {
        session.copies += 1;
    }
    let metadata = record.to_bytes();
    let work = Work::Disk(DiskWork::Clone { source, target, metadata, owner, key });
    Ok((target, Flow::Run(Stage::Clone(Clone { source, record: Box::new(record) }), work)))
}

impl Clone {
    pub(super) fn step(self, state: &mut AgentState, now: Now, outcome: Outcome) -> Flow {
        if let Some(session) = state.session_mut(self.source) {
            session.copies -= 1;
        }
        create::arrive(state, now, *self.record, outcome)
    }
}
