//! Calls that only read: they never wait for an operation, and not for ever for the runtime.

use serde_json::json;

use super::Agent;
use crate::agent::action::{Action, Caller};
use crate::agent::capacity::{self, Disk};
use crate::agent::config::{Config, RuntimeKind};
use crate::agent::listing::ListingReader;
use crate::agent::op::not_found;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Now;
use crate::base::uuid::Uuid;
use crate::rpc::call::OP_NAMES;
use crate::rpc::capacity::Capacity;
use crate::rpc::response::{self, Answer};
use crate::rpc::session::Pong;

impl Agent {
    pub(super) fn answer(&mut self, caller: Caller, answer: Answer) {
        self.state.reply(Some(caller), &answer);
    }

    pub(super) fn read(&mut self, now: Now, reader: ListingReader) {
        match self.gone_text() {
            Some(text) => self.answer_readers(&[reader], Some(&text)),
            None => self.listing.want(&mut self.state.actions, now.mono, Some(reader)),
        }
    }

    pub(super) fn gone_text(&self) -> Option<String> {
        let runtime = self.state.config.runtime.as_str();
        self.gone.as_ref().map(|text| format!("{runtime}: not reachable: {text}"))
    }

    /// Answers callers with what is known. `reason` says why that is not what is, if it is not.
    pub(super) fn answer_readers(&mut self, readers: &[ListingReader], reason: Option<&str>) {
        let stale = reason.map(|reason| match self.state.listed_at {
            Some(at) => format!("{reason}; what runs is told as of {at}"),
            None => format!("{reason}; what runs is not known since the agent started"),
        });
        for reader in readers {
            match *reader {
                ListingReader::List(caller) => self.state.reply_list(caller, stale.as_deref()),
                ListingReader::Get(caller, id) if self.state.session(id).is_none() => {
                    self.answer(caller, Err(not_found(id)));
                }
                ListingReader::Get(caller, id) => {
                    let session = self.state.wire_whole(id, stale.as_deref());
                    self.answer(caller, Ok(session));
                }
                ListingReader::Job(_) => {}
            }
        }
    }

    /// The rules of a session, and what the driver has told of it.
    pub(super) fn tell_egress(&mut self, caller: Caller, id: Uuid) {
        let found = self.egress_now.take().filter(|(of, _)| *of == id).map(|(_, found)| found);
        let answer = match self.state.session(id) {
            None => Err(not_found(id)),
            Some(session) => session.record().map(
                |record| json!({ "egress": record.egress, "allow": record.allow, "now": found }),
            ),
        };
        self.answer(caller, answer);
    }

    /// What room there is beside sessions that use so much memory, each at least its reservation.
    pub(in crate::agent) fn capacity(&self, disk: Disk, used: &SortedMap<Uuid, u64>) -> Capacity {
        let Config { totals, caps, .. } = self.state.config;
        let taken = self.state.memory_taken(used);
        let (memory_left, disk_left) = capacity::left(totals, disk, taken);
        Capacity {
            memory_left,
            memory: totals.memory_bytes,
            disk_left,
            disk: disk.total_bytes,
            cpu_millis: totals.cpu_millis,
            default_memory: caps.memory,
            default_cpu_millis: caps.cpus.as_millis().into(),
            default_pids: caps.pids,
        }
    }

    /// Clients ask this again and again to see whether the agent lives.
    pub(super) fn pong(&mut self, now: Now, caller: Caller) {
        let config = &self.state.config;
        // Sessions of the host runtime have the host's own programs.
        let claude = self.state.claude.filter(|_| config.runtime == RuntimeKind::Docker);
        let login = claude.and_then(|claude| claude.login);
        let line = response::success(&Pong {
            agent_id: config.agent_id.as_str(),
            version: &config.version,
            server_time: now.wall,
            ops: OP_NAMES.to_vec(),
            runtime: config.runtime.as_str(),
            has_claude: claude.map(|claude| claude.is_there),
            claude_login: login.map(|(kind, _)| kind),
            claude_token_since: login.map(|(_, since)| since),
            capacity: self.capacity,
        });
        self.state.actions.push(Action::Reply { caller, line });
    }
}
