//! The forms: a new session, a copy, other settings.
//!
//! One table says what fields there are, what each is called and how it is checked; a field is
//! checked with every key. While the agent is asked the form waits, and if the agent refuses, its
//! whole sentence stands in the form and all that was typed is still there.

use super::input::Input;
use super::keys::Key;
use super::messages::{Enrolled, Ticket};
use super::ops::Target;
use crate::fleet::registry::AgentId;
use crate::rpc::call::{Call, CloneSession, Create, Edit};
use crate::rpc::session::Session;
use crate::rpc::values;

#[derive(Debug)]
pub struct Form {
    pub(crate) kind: Kind,
    /// Its fields, at least one.
    pub(crate) fields: Vec<Field>,
    /// The field that is typed in.
    pub(crate) at: usize,
    pub(crate) stage: Stage,
}

/// What a form makes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// A session on the agent that its first field, or the only one, names.
    New(Vec<Enrolled>),
    /// Other settings of a session.
    Edit(Target),
    /// A copy of a session.
    Clone(Target),
}

/// Where a form stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is typed in. What the agent said the last time, if it was asked already.
    Typing(Option<String>),
    /// The agent is asked.
    Asking(Ticket),
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// On which agent.
    Agent,
    Name,
    /// What runs in it.
    Command,
    /// The published port.
    Port,
    Protocol,
    /// The name in the cluster's DNS.
    Dns,
    /// The memory cap.
    Memory,
    /// The processor cap.
    Cpus,
    /// The cap of processes.
    Pids,
    /// The host's Docker socket.
    Docker,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) what: What,
    /// What stands in it.
    pub(crate) value: Value,
    /// What stood in it when the form opened.
    before: String,
}

/// What stands in a field.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(Input),
    /// One of several.
    Choice {
        options: Vec<String>,
        at: usize,
    },
}

/// What a form wants after a key.
#[derive(Debug, PartialEq)]
pub(crate) enum Wish {
    Nothing,
    /// To be closed.
    Close,
    /// To ask this agent this.
    Ask(AgentId, Box<Call>),
}

impl What {
    /// What stands before the field.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            What::Agent => "agent",
            What::Name => "name",
            What::Command => "command",
            What::Port => "port",
            What::Protocol => "protocol",
            What::Dns => "dns name",
            What::Memory => "memory",
            What::Cpus => "cpus",
            What::Pids => "processes",
            What::Docker => "docker",
        }
    }

    /// What stands behind it while nothing is wrong.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            What::Agent | What::Protocol => "← → or its first letter",
            What::Name => "letters, digits, blanks, _ - .",
            What::Command => "empty: the agent's default",
            What::Port => "a number, auto or none",
            What::Dns => "one host label; empty: none",
            What::Memory => "as 512m or 4g; empty: the default",
            What::Cpus => "as 1.5; empty: the default",
            What::Pids => "a number; empty: the default",
            What::Docker => "yes: the host's socket, root there",
        }
    }

    fn check(self, text: &str) -> Result<(), String> {
        match self {
            What::Agent => Ok(()),
            What::Name => values::name(text).map(drop),
            What::Command => values::command(text).map(drop),
            What::Port => values::port(text).map(drop),
            What::Protocol => values::protocol(text).map(drop),
            What::Dns => values::dns_name(text).map(drop),
            What::Memory => values::memory(text).map(drop),
            What::Cpus => values::cpus(text).map(drop),
            What::Pids => values::pids(text).map(drop),
            What::Docker => values::yes_no(text).map(drop),
        }
    }

    /// Whether the agent has a default for it.
    const fn has_default(self) -> bool {
        matches!(self, What::Command | What::Memory | What::Cpus | What::Pids)
    }
}

impl Field {
    fn text(what: What, text: &str) -> Field {
        Field { what, value: Value::Text(Input::new(text)), before: text.to_owned() }
    }

    fn choice(what: What, options: Vec<String>, at: usize) -> Field {
        let before = options.get(at).cloned().unwrap_or_default();
        Field { what, value: Value::Choice { options, at }, before }
    }

    /// What stands in it.
    pub(crate) fn shown(&self) -> String {
        match &self.value {
            Value::Text(input) => input.text(),
            Value::Choice { options, at } => options.get(*at).cloned().unwrap_or_default(),
        }
    }

    fn key(&mut self, key: &Key) {
        match &mut self.value {
            Value::Text(input) => {
                input.key(key);
            }
            Value::Choice { options, at } => {
                let count = options.len().max(1);
                match key {
                    Key::Right | Key::Char(' ') => *at = (*at + 1) % count,
                    Key::Left => *at = (*at + count - 1) % count,
                    Key::Char(sign) => {
                        let starts = |place: &usize| {
                            let first = options[*place].chars().next();
                            first.is_some_and(|first| first.eq_ignore_ascii_case(sign))
                        };
                        let next = (*at + 1..options.len()).chain(0..=*at).find(starts);
                        *at = next.unwrap_or(*at);
                    }
                    _ => {}
                }
            }
        }
    }
}

impl Form {
    /// A new session on one of these agents; `on` is the one that is meant until somebody says
    /// otherwise.
    pub(crate) fn new_session(agents: Vec<Enrolled>, on: Option<&AgentId>) -> Form {
        let mut fields = Vec::new();
        if agents.len() > 1 {
            let options =
                agents.iter().map(|agent| format!("{} ({})", agent.host, agent.id)).collect();
            let at = agents.iter().position(|agent| Some(&agent.id) == on).unwrap_or(0);
            fields.push(Field::choice(What::Agent, options, at));
        }
        for (what, text) in [(What::Name, ""), (What::Command, ""), (What::Port, "none")] {
            fields.push(Field::text(what, text));
        }
        fields.push(Field::choice(What::Protocol, protocols(), 0));
        for what in [What::Dns, What::Memory, What::Cpus, What::Pids] {
            fields.push(Field::text(what, ""));
        }
        fields.push(Field::choice(What::Docker, no_yes(), 0));
        let at = usize::from(agents.len() > 1);
        Form { kind: Kind::New(agents), fields, at, stage: Stage::Typing(None) }
    }

    /// Other settings of a session.
    pub(crate) fn edit(target: Target, session: &Session) -> Form {
        let port = if session.port == 0 { "none".to_owned() } else { session.port.to_string() };
        let number = |value: f64| if value > 0.0 { value.to_string() } else { String::new() };
        let protocol = protocols().iter().position(|name| name == session.protocol.as_str());
        let fields = vec![
            Field::text(What::Name, &session.name),
            Field::text(What::Command, &session.command),
            Field::text(What::Port, &port),
            Field::choice(What::Protocol, protocols(), protocol.unwrap_or(0)),
            Field::text(What::Dns, &session.dns_name),
            Field::text(What::Memory, &values::size(session.memory)),
            Field::text(What::Cpus, &number(session.cpus)),
            Field::text(What::Pids, &number(f64::from(session.pids))),
            Field::choice(What::Docker, no_yes(), usize::from(session.docker)),
        ];
        Form { kind: Kind::Edit(target), fields, at: 0, stage: Stage::Typing(None) }
    }

    /// A copy of a session.
    pub(crate) fn clone_of(target: Target) -> Form {
        let name = format!("{} copy", target.name);
        let fields = vec![Field::text(What::Name, &name)];
        Form { kind: Kind::Clone(target), fields, at: 0, stage: Stage::Typing(None) }
    }

    /// What it is, for its border.
    pub(crate) fn title(&self) -> String {
        match &self.kind {
            Kind::New(agents) => match &agents[..] {
                [only] => format!("new session on {} ({})", only.host, only.id),
                _ => "new session".to_owned(),
            },
            Kind::Edit(Target { id, host, agent, .. }) => {
                format!("settings of {} on {host} ({agent})", id.short())
            }
            Kind::Clone(Target { id, name, host, .. }) => {
                format!("copy of {name:?} ({}) on {host}", id.short())
            }
        }
    }

    /// What is wrong with a field.
    pub(crate) fn error(&self, field: &Field) -> Option<String> {
        let text = field.shown();
        let is_default = text.is_empty() && field.what.has_default();
        match &self.kind {
            Kind::New(_) if is_default => None,
            // What an older agent did not tell stays as it is.
            Kind::Edit(_) if text == field.before => None,
            _ => field.what.check(&text).err(),
        }
    }

    pub(crate) fn key(&mut self, key: &Key) -> Wish {
        if matches!(key, Key::Esc | Key::Ctrl('c')) {
            return Wish::Close;
        }
        if !matches!(self.stage, Stage::Typing(_)) {
            return Wish::Nothing;
        }
        let count = self.fields.len();
        match key {
            Key::Tab | Key::Down => self.at = (self.at + 1) % count,
            Key::BackTab | Key::Up => self.at = (self.at + count - 1) % count,
            Key::Enter => return self.submit(),
            _ => self.fields[self.at].key(key),
        }
        Wish::Nothing
    }

    fn submit(&mut self) -> Wish {
        let wrong = (0..self.fields.len()).find(|at| self.error(&self.fields[*at]).is_some());
        if let Some(at) = wrong {
            self.at = at;
            return Wish::Nothing;
        }
        match self.call() {
            Ok((agent, call)) => Wish::Ask(agent, Box::new(call)),
            Err(text) => {
                self.stage = Stage::Typing(Some(text));
                Wish::Nothing
            }
        }
    }

    fn call(&self) -> Result<(AgentId, Call), String> {
        match &self.kind {
            Kind::New(agents) => {
                let at = match self.fields.first().map(|field| (&field.value, field.what)) {
                    Some((Value::Choice { at, .. }, What::Agent)) => *at,
                    _ => 0,
                };
                let agent = agents.get(at).ok_or("there is no agent to make a session on")?;
                Ok((agent.id.clone(), Call::Create(self.create()?)))
            }
            Kind::Clone(target) => {
                let name = values::name(&self.text_of(What::Name))?;
                let clone = CloneSession { source_id: target.id, name };
                Ok((target.agent.clone(), Call::Clone(clone)))
            }
            Kind::Edit(target) => {
                if self.fields.iter().all(|field| field.shown() == field.before) {
                    return Err("nothing is changed; Esc leaves".to_owned());
                }
                Ok((target.agent.clone(), Call::Edit(self.edited(target)?)))
            }
        }
    }

    fn create(&self) -> Result<Create, String> {
        let given = |what| Some(self.text_of(what)).filter(|text| !text.is_empty());
        Ok(Create {
            name: values::name(&self.text_of(What::Name))?,
            port: values::port(&self.text_of(What::Port))?,
            protocol: values::protocol(&self.text_of(What::Protocol))?,
            dns_name: values::dns_name(&self.text_of(What::Dns))?,
            command: given(What::Command).map(|text| values::command(&text)).transpose()?,
            docker: Some(values::yes_no(&self.text_of(What::Docker))?).filter(|yes| *yes),
            memory: given(What::Memory).map(|text| values::memory(&text)).transpose()?,
            cpus: given(What::Cpus).map(|text| values::cpus(&text)).transpose()?,
            pids: given(What::Pids).map(|text| values::pids(&text)).transpose()?,
        })
    }

    fn edited(&self, target: &Target) -> Result<Edit, String> {
        Ok(Edit {
            id: target.id,
            name: self.changed(What::Name, values::name)?,
            port: self.changed(What::Port, values::port)?,
            protocol: self.changed(What::Protocol, values::protocol)?,
            dns_name: self.changed(What::Dns, values::dns_name)?,
            command: self.changed(What::Command, values::command)?,
            docker: self.changed(What::Docker, values::yes_no)?,
            memory: self.changed(What::Memory, values::memory)?,
            cpus: self.changed(What::Cpus, values::cpus)?,
            pids: self.changed(What::Pids, values::pids)?,
        })
    }

    fn changed<T>(
        &self,
        what: What,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let field = self.fields.iter().find(|field| field.what == what);
        let changed = field.filter(|field| field.shown() != field.before);
        changed.map(|field| read(&field.shown())).transpose()
    }

    fn text_of(&self, what: What) -> String {
        let field = self.fields.iter().find(|field| field.what == what);
        field.map_or_else(String::new, Field::shown)
    }

    /// The name that stands in it.
    pub(crate) fn name(&self) -> String {
        self.text_of(What::Name)
    }
}

fn protocols() -> Vec<String> {
    vec!["tcp".to_owned(), "udp".to_owned()]
}

fn no_yes() -> Vec<String> {
    vec!["no".to_owned(), "yes".to_owned()]
}
