//! Create: a home from the skeleton. Nothing runs yet.

use serde_json::json;

use super::{Flow, Stage};
use crate::agent::config::RuntimeKind;
use crate::agent::record::Record;
use crate::agent::session_key::SessionKey;
use crate::agent::state::AgentState;
use crate::agent::work::{DiskWork, Done, Outcome, Work};
use crate::base::time::Now;
use crate::base::uuid::Uuid;
use crate::rpc::call;
use crate::rpc::event::EventType;
use crate::rpc::field::{Caps, PortChoice};
use crate::rpc::startup::Startup;

/// The home is being made.
#[derive(Debug)]
pub(in crate::agent) struct Create(Box<Record>);

/// Chooses an id, and reserves port and DNS name. They are the operation's until it ends.
pub(in crate::agent) fn begin(
    state: &mut AgentState,
    now: Now,
    create: call::Create,
) -> Result<(Uuid, Flow), String> {
    let check = || -> Result<(), crate::rpc::field::FieldError> {
        create.dns_name.check_reserved(&state.config.host_names)?;
        create.memory.map(Caps::check_memory).transpose()?;
        create.pids.map(Caps::check_pids).transpose()?;
        create
            .egress
            .unwrap_or_default()
            .check_port(create.port != PortChoice::None, create.protocol)?;
        state.check_egress(create.egress.unwrap_or_default(), &create.allow)
    };
    check().map_err(|error| error.0)?;
    let startup = Startup {
        profile: create.profile,
        image: create.image,
        env: create.env,
        repo: create.repo,
        branch: create.branch,
        setup: create.setup,
        prompt: create.prompt,
    };
    let has_containers = state.config.runtime == RuntimeKind::Docker;
    startup.check(has_containers).map_err(|error| error.0)?;
    let id = Uuid::random(&mut state.rng);
    let port = state
        .reservations
        .reserve(id, create.port, create.protocol, &create.dns_name)
        .map_err(|error| state.reservation_refusal(&error))?;
    let owner = state.reserve_uid(id).inspect_err(|_| state.reservations.release(id))?;
    let choice = create.ssh_key.unwrap_or_default();
    let (ssh_key, key) = SessionKey::choose(choice, &mut state.rng, id);
    let record = Record {
        uuid: id,
        name: create.name,
        created_at: now.wall,
        last_accessed: now.wall,
        port,
        protocol: create.protocol,
        dns_name: create.dns_name,
        command: create.command,
        docker: create.docker.unwrap_or(false),
        memory: create.memory,
        cpus: create.cpus,
        pids: create.pids,
        egress: create.egress.unwrap_or_default(),
        allow: create.allow,
        publish: create.publish.unwrap_or_default(),
        runs: false,
        ended: None,
        uid: owner,
        ssh_key,
        claude_login: create.claude_login.unwrap_or(true),
        startup: Box::new(startup),
        unknown: serde_json::Map::new(),
    };
    let work = Work::Disk(DiskWork::Create { id, metadata: record.to_bytes(), owner, key });
    Ok((id, Flow::Run(Stage::Create(Create(Box::new(record))), work)))
}

impl Create {
    pub(super) fn step(self, state: &mut AgentState, now: Now, outcome: Outcome) -> Flow {
        let Create(record) = self;
        arrive(state, now, *record, outcome)
    }
}

/// A new home is there, or it is not and its reservations are given back.
pub(super) fn arrive(state: &mut AgentState, now: Now, record: Record, outcome: Outcome) -> Flow {
    let id = record.uuid;
    let left_out = match outcome {
        Ok(Done::Made { left_out }) => left_out,
        Ok(_) => 0,
        Err(error) => {
            state.reservations.release(id);
            return Flow::Done(Err(error.to_string()));
        }
    };
    state.add(record);
    let mut data = state.wire_value(id, None);
    if left_out > 0 {
        let text = format!("session {id}: {left_out} unreadable files were not copied to its home");
        state.actions.warn(text);
        data["left_out"] = json!(left_out);
    }
    state.emit(now, EventType::Created, id, data.clone());
    state.tell_more(id, &mut data);
    Flow::Done(Ok(data))
}
