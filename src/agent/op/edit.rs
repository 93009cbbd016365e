//! Edit: other metadata. A running session keeps its old settings until restart; its key and what
//! it reaches are other ones at once.

use super::{Flow, Stage, session_answer};
use crate::agent::record::Record;
use crate::agent::session::Body;
use crate::agent::session_key::{KeyChange, SessionKey};
use crate::agent::state::AgentState;
use crate::agent::work::{DiskWork, Outcome, Work};
use crate::base::time::Now;
use crate::base::uuid::Uuid;
use crate::rpc::call::{self, PromptChoice};
use crate::rpc::event::EventType;
use crate::rpc::field::{Caps, DnsName, PortChoice};

/// The new metadata is being saved. Its port and DNS name are reserved beside the old ones.
#[derive(Debug)]
pub(in crate::agent) struct Edit(Box<Record>);

pub(super) fn begin(state: &mut AgentState, id: Uuid, edit: &call::Edit) -> Flow {
    match edited(state, id, edit) {
        Ok((record, key)) => {
            let work = Work::Disk(DiskWork::Save { id, metadata: record.to_bytes(), key });
            Flow::Run(Stage::Edit(Edit(Box::new(record))), work)
        }
        Err(text) => Flow::Done(Err(text)),
    }
}

/// The metadata after the edit, with its port and DNS name reserved, and what becomes of its key.
fn edited(
    state: &mut AgentState,
    id: Uuid,
    edit: &call::Edit,
) -> Result<(Record, Option<KeyChange>), String> {
    let session = state.session(id).ok_or_else(|| super::not_found(id))?;
    let mut record = session.record()?.clone();
    replace(&mut record.name, edit.name.as_ref());
    replace(&mut record.protocol, edit.protocol.as_ref());
    replace(&mut record.docker, edit.docker.as_ref());
    replace(&mut record.claude_login, edit.claude_login.as_ref());
    replace(&mut record.egress, edit.egress.as_ref());
    let change = edit.allow.clone().unwrap_or_default();
    record.allow.change(&change).map_err(|error| error.0)?;
    state.check_egress(record.egress, &change.add).map_err(|error| error.0)?;
    replace(&mut record.publish, edit.publish.as_ref());
    let has_port = edit.port.map_or(record.port != 0, |choice| choice != PortChoice::None);
    record.egress.check_port(has_port, record.protocol).map_err(|error| error.0)?;
    record.command = edit.command.clone().or(record.command);
    record.cpus = edit.cpus.or(record.cpus);
    let memory = edit.memory.map(Caps::check_memory).transpose().map_err(|error| error.0)?;
    let pids = edit.pids.map(Caps::check_pids).transpose().map_err(|error| error.0)?;
    record.memory = memory.or(record.memory);
    record.pids = pids.or(record.pids);
    if let Some(change) = &edit.env {
        record.startup.env.change(change).map_err(|error| error.0)?;
    }
    if let Some(PromptChoice(prompt)) = &edit.prompt {
        record.startup.prompt.clone_from(prompt);
    }
    reserve(state, &mut record, edit)?;
    let chosen = edit.ssh_key.map(|choice| SessionKey::choose(choice, &mut state.rng, id));
    let (ssh_key, change) = chosen.unzip();
    replace(&mut record.ssh_key, ssh_key.as_ref());
    Ok((record, change))
}

/// Reserves what the edit changes, and nothing else: what a session has is never taken from it.
fn reserve(state: &mut AgentState, record: &mut Record, edit: &call::Edit) -> Result<(), String> {
    let kept = if record.port == 0 { PortChoice::None } else { PortChoice::Fixed(record.port) };
    let choice = match (edit.port, edit.protocol) {
        (Some(choice), _) => Some(choice),
        (None, Some(_)) => Some(kept),
        (None, None) => None,
    };
    let no_name = DnsName::default();
    let name = edit.dns_name.as_ref().unwrap_or(&no_name);
    // A session of an earlier version keeps what it has.
    if *name != record.dns_name {
        name.check_reserved(&state.config.host_names).map_err(|error| error.0)?;
    }
    let port = state
        .reservations
        .reserve(record.uuid, choice.unwrap_or_default(), record.protocol, name)
        .map_err(|error| state.reservation_refusal(&error))?;
    if choice.is_some() {
        record.port = port;
    }
    replace(&mut record.dns_name, edit.dns_name.as_ref());
    Ok(())
}

fn replace<T: Clone>(old: &mut T, new: Option<&T>) {
    if let Some(new) = new {
        old.clone_from(new);
    }
}

impl Edit {
    pub(super) fn step(self, state: &mut AgentState, now: Now, outcome: Outcome) -> Flow {
        let Edit(mut record) = self;
        let id = record.uuid;
        let Some(session) = state.sessions.get_mut(&id) else {
            return Flow::Done(Err(super::not_found(id)));
        };
        let Body::Good(old) = &mut session.body else {
            return Flow::Done(Err(super::not_found(id)));
        };
        if let Err(error) = outcome {
            state.reservations.keep_only(old);
            return Flow::Done(Err(error.to_string()));
        }
        session.stored_access = record.last_accessed;
        record.last_accessed = old.last_accessed.max(record.last_accessed);
        // What became of it meanwhile.
        (record.runs, record.ended) = (old.runs, old.ended.take());
        let has_other_key = old.ssh_key != record.ssh_key;
        *old = record;
        state.reservations.keep_only(old);
        if has_other_key {
            state.lend_key(id);
        }
        state.carry(id);
        let data = state.wire_value(id, None);
        state.emit(now, EventType::Edited, id, data);
        Flow::Done(session_answer(state, id))
    }
}
