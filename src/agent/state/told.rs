//! What is told of a session: in answers, in events, to who asks for it alone.

use std::cmp::Reverse;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::AgentState;
use crate::agent::action::{Action, Caller};
use crate::agent::record::Record;
use crate::agent::session::{Body, RunState, Session};
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::rpc::network::Egress;
use crate::rpc::response;
use crate::rpc::session::Session as WireSession;
use crate::rpc::session::{Ended, Sentence};
use crate::rpc::startup::Startup;

impl AgentState {
    /// Answers a call with all sessions, the newest access first.
    pub(in crate::agent) fn reply_list(&mut self, caller: Caller, stale: Option<&str>) {
        let line = response::success(&SessionList { state: self, stale });
        self.actions.push(Action::Reply { caller, line });
    }

    /// A session as it stands in results and events. `stale` says why its state may be old.
    pub(in crate::agent) fn wire(&self, session: &Session, stale: Option<&str>) -> WireSession {
        let caps = session.caps(self.config.caps);
        let mut wire = WireSession {
            uuid: session.id,
            name: session.id.short(),
            created_at: Wall::default(),
            last_accessed: session.last_accessed(),
            port: 0,
            protocol: crate::rpc::field::Protocol::Tcp,
            dns_name: String::new(),
            running: false,
            attached: session.attached > 0,
            attached_count: session.attached,
            locked: session.lock.is_some(),
            image: self.config.image.clone(),
            started_at: None,
            command: String::new(),
            docker: false,
            claude_login: true,
            egress: Egress::Open,
            publish: None,
            ssh_key: None,
            startup: None,
            memory: caps.memory,
            cpus: f64::from(caps.cpus.as_millis()) / 1000.0,
            pids: caps.pids,
            ended: None,
            attention: session.attention.told().cloned().map(Box::new),
            repository: session.repository.told().cloned().map(Box::new),
            broken: None,
            stale: stale.map(|why| Box::new(Sentence(why.to_owned()))),
        };
        match &session.body {
            Body::Good(record) => describe(record, &mut wire),
            Body::Broken(why) | Body::Stray(why) => {
                wire.broken = Some(Box::new(Sentence(why.clone())));
            }
        }
        if session.is_running() || self.is_unexplained(session.id) {
            wire.ended = None;
        }
        if let RunState::Running { running, .. } = &session.run_state {
            wire.running = true;
            wire.started_at = Some(running.started_at);
            wire.image.clone_from(&running.image);
        }
        wire
    }

    /// Adds to a session as it is told what is for whoever asks for this one: the public half of
    /// its key, and what it starts with.
    pub(in crate::agent) fn tell_more(&self, id: Uuid, value: &mut Value) {
        let Some(record) = self.session(id).and_then(|session| session.record().ok()) else {
            return;
        };
        if let Some(line) = record.ssh_key.told(id) {
            value["ssh_key"] = json!(line);
        }
        if !record.allow.is_empty() {
            value["allow"] = json!(record.allow);
        }
        if *record.startup != Startup::default() {
            value["startup"] = json!(record.startup);
        }
    }

    /// [`AgentState::wire`] as JSON; null if there is no such session.
    pub(in crate::agent) fn wire_value(&self, id: Uuid, stale: Option<&str>) -> Value {
        self.session(id).map_or(Value::Null, |session| {
            serde_json::to_value(self.wire(session, stale))
                .expect("a session has only string keys and finite numbers")
        })
    }

    /// The answer to `get`: with the last screen, and the key.
    pub(in crate::agent) fn wire_whole(&self, id: Uuid, stale: Option<&str>) -> Value {
        let mut value = self.wire_value(id, stale);
        self.tell_more(id, &mut value);
        let record = self.session(id).and_then(|session| session.record().ok());
        if let (Some(told), Some(Ended { screen, .. })) =
            (value.get_mut("ended"), record.and_then(|record| record.ended.as_ref()))
        {
            told["screen"] = json!(screen);
        }
        value
    }
}

/// All sessions on their way into an answer, one at a time.
struct SessionList<'a> {
    state: &'a AgentState,
    stale: Option<&'a str>,
}

impl Serialize for SessionList<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sessions: Vec<_> = self.state.sessions.values().collect();
        sessions.sort_by_key(|session| (Reverse(session.last_accessed()), session.id));
        let wires = sessions.into_iter().map(|session| self.state.wire(session, self.stale));
        serializer.collect_seq(wires)
    }
}

fn describe(record: &Record, wire: &mut WireSession) {
    wire.name = record.name.as_str().to_owned();
    wire.created_at = record.created_at;
    wire.port = record.port;
    wire.protocol = record.protocol;
    wire.dns_name = record.dns_name.as_str().to_owned();
    wire.command = record.command().as_str().to_owned();
    wire.docker = record.docker;
    wire.claude_login = record.claude_login;
    wire.egress = record.egress;
    let Startup { profile, image, repo, branch, .. } = &*record.startup;
    if let Some(image) = image {
        image.as_str().clone_into(&mut wire.image);
    }
    let told = Startup {
        profile: profile.clone(),
        repo: repo.clone(),
        branch: branch.clone(),
        ..Startup::default()
    };
    wire.startup = (told != Startup::default()).then(|| Box::new(told));
    wire.publish = (!record.publish.is_default()).then(|| Box::new(record.publish));
    // Its screen is for whoever asks for this one.
    wire.ended = record
        .ended
        .as_ref()
        .map(|ended| Box::new(Ended { screen: String::new(), ..ended.clone() }));
}
