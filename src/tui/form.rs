//! The forms: a new session, a copy, other settings.
//!
//! One table says what fields there are, what each is called and how it is checked; a field is
//! checked with every key. While the agent is asked the form waits, and if the agent refuses, its
//! whole sentence stands in the form and all that was typed is still there.

use super::input::Input;
use super::keys::Key;
use super::messages::{Enrolled, ScreenRequestId};
use super::ops::Target;
use crate::fleet::profiles::{Chosen, NONE, Profile, default_name, merged};
use crate::fleet::registry::AgentId;
use crate::rpc::call::{Call, CloneSession, Create, Edit};
use crate::rpc::field::PortChoice;
use crate::rpc::options::SessionOptions;
use crate::rpc::session::Session;
use crate::rpc::values;

#[derive(Debug)]
pub struct Form {
    pub(crate) kind: FormKind,
    /// The profiles that there are for a new session.
    profiles: Vec<Profile>,
    /// Its fields, at least one.
    pub(crate) fields: Vec<Field>,
    /// The field that is typed in.
    pub(crate) at: usize,
    pub(crate) stage: FormStage,
}

/// What a form makes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FormKind {
    /// A session on the agent that its first field, or the only one, names.
    New(Vec<Enrolled>),
    /// Other settings of a session.
    Edit(Target),
    /// A copy of a session.
    Clone(Target),
}

/// Where a form stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FormStage {
    /// It is typed in. What the agent said the last time, if it was asked already.
    Typing(Option<String>),
    /// The agent is asked.
    Asking(ScreenRequestId),
}

/// What a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldName {
    /// On which agent.
    Agent,
    /// What it is made with.
    Profile,
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
    pub(crate) what: FieldName,
    /// What stands in it.
    pub(crate) value: FieldValue,
    /// What stood in it when the form opened.
    before: String,
    /// Whether somebody was in it already: before that nothing in it is wrong.
    pub(crate) is_touched: bool,
}

/// What stands in a field.
#[derive(Clone, Debug)]
pub(crate) enum FieldValue {
    Text(Input),
    /// One of several.
    Choice {
        options: Vec<String>,
        at: usize,
    },
}

/// What a form wants after a key.
#[derive(Debug, PartialEq)]
pub(crate) enum FormResult {
    Nothing,
    /// To be closed.
    Close,
    /// To ask this agent this.
    Ask(AgentId, Box<Call>),
}

impl FieldName {
    /// What stands before the field.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            FieldName::Agent => "agent",
            FieldName::Profile => "profile",
            FieldName::Name => "name",
            FieldName::Command => "command",
            FieldName::Port => "port",
            FieldName::Protocol => "protocol",
            FieldName::Dns => "dns name",
            FieldName::Memory => "memory",
            FieldName::Cpus => "cpus",
            FieldName::Pids => "processes",
            FieldName::Docker => "docker",
        }
    }

    /// What stands behind it while nothing is wrong.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            FieldName::Agent | FieldName::Profile | FieldName::Protocol => {
                "← → or its first letter"
            }
            FieldName::Name => "letters, digits, spaces, _ - .",
            FieldName::Command => "empty: the agent's default",
            FieldName::Port => "a number or auto; empty: none",
            FieldName::Dns => "one host label; empty: none",
            FieldName::Memory => "as 512m or 4g; empty: the default",
            FieldName::Cpus => "as 1.5; empty: the default",
            FieldName::Pids => "a number; empty: the default",
            FieldName::Docker => "yes: the host's socket, root there",
        }
    }

    fn check(self, text: &str) -> Result<(), String> {
        match self {
            FieldName::Agent | FieldName::Profile => Ok(()),
            FieldName::Name => values::name(text).map(drop),
            FieldName::Command => values::command(text).map(drop),
            FieldName::Port => port(text).map(drop),
            FieldName::Protocol => values::protocol(text).map(drop),
            FieldName::Dns => values::dns_name(text).map(drop),
            FieldName::Memory => values::memory(text).map(drop),
            FieldName::Cpus => values::cpus(text).map(drop),
            FieldName::Pids => values::pids(text).map(drop),
            FieldName::Docker => values::yes_no(text).map(drop),
        }
    }

    /// What it is called as an option and in a profile.
    const fn setting(self) -> Option<&'static str> {
        match self {
            FieldName::Agent | FieldName::Profile | FieldName::Name => None,
            FieldName::Command => Some("command"),
            FieldName::Port => Some("port"),
            FieldName::Protocol => Some("proto"),
            FieldName::Dns => Some("dns"),
            FieldName::Memory => Some("memory"),
            FieldName::Cpus => Some("cpus"),
            FieldName::Pids => Some("pids"),
            FieldName::Docker => Some("docker"),
        }
    }

    /// Whether the agent has a default for it.
    const fn has_default(self) -> bool {
        matches!(self, FieldName::Command | FieldName::Memory | FieldName::Cpus | FieldName::Pids)
    }
}

impl Field {
    fn text(what: FieldName, text: &str) -> Field {
        Field {
            what,
            value: FieldValue::Text(Input::new(text)),
            before: text.to_owned(),
            is_touched: false,
        }
    }

    fn choice(what: FieldName, options: Vec<String>, at: usize) -> Field {
        let before = options.get(at).cloned().unwrap_or_default();
        Field { what, value: FieldValue::Choice { options, at }, before, is_touched: false }
    }

    /// What stands in it.
    pub(crate) fn shown(&self) -> String {
        match &self.value {
            FieldValue::Text(input) => input.text(),
            FieldValue::Choice { options, at } => options.get(*at).cloned().unwrap_or_default(),
        }
    }

    fn key(&mut self, key: &Key) {
        match &mut self.value {
            FieldValue::Text(input) => {
                input.key(key);
            }
            FieldValue::Choice { options, at } => {
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
    /// otherwise. So is the profile that is called default.
    pub(crate) fn new_session(
        agents: Vec<Enrolled>,
        on: Option<&AgentId>,
        profiles: Vec<Profile>,
    ) -> Form {
        let mut fields = Vec::new();
        if agents.len() > 1 {
            let options =
                agents.iter().map(|agent| format!("{} ({})", agent.host, agent.id)).collect();
            let at = agents.iter().position(|agent| Some(&agent.id) == on).unwrap_or(0);
            fields.push(Field::choice(FieldName::Agent, options, at));
        }
        if !profiles.is_empty() {
            let names = profiles.iter().map(|profile| profile.name.to_string());
            let options: Vec<_> = [NONE.to_owned()].into_iter().chain(names).collect();
            let usual = default_name();
            let at = options.iter().position(|name| name == usual.as_str()).unwrap_or(0);
            fields.push(Field::choice(FieldName::Profile, options, at));
        }
        for (what, text) in [(FieldName::Name, ""), (FieldName::Command, ""), (FieldName::Port, "")]
        {
            fields.push(Field::text(what, text));
        }
        fields.push(Field::choice(FieldName::Protocol, protocols(), 0));
        for what in [FieldName::Dns, FieldName::Memory, FieldName::Cpus, FieldName::Pids] {
            fields.push(Field::text(what, ""));
        }
        fields.push(Field::choice(FieldName::Docker, no_yes(), 0));
        let at = fields.iter().position(|field| field.what == FieldName::Name).unwrap_or(0);
        let (kind, stage) = (FormKind::New(agents), FormStage::Typing(None));
        let mut form = Form { kind, profiles, fields, at, stage };
        form.follow_profile();
        form
    }

    /// Other settings of a session.
    pub(crate) fn edit(target: Target, session: &Session) -> Form {
        let port = if session.port == 0 { String::new() } else { session.port.to_string() };
        let number = |value: f64| if value > 0.0 { value.to_string() } else { String::new() };
        let protocol = protocols().iter().position(|name| name == session.protocol.as_str());
        let fields = vec![
            Field::text(FieldName::Name, &session.name),
            Field::text(FieldName::Command, &session.command),
            Field::text(FieldName::Port, &port),
            Field::choice(FieldName::Protocol, protocols(), protocol.unwrap_or(0)),
            Field::text(FieldName::Dns, &session.dns_name),
            Field::text(FieldName::Memory, &values::size(session.memory)),
            Field::text(FieldName::Cpus, &number(session.cpus)),
            Field::text(FieldName::Pids, &number(f64::from(session.pids))),
            Field::choice(FieldName::Docker, no_yes(), usize::from(session.docker)),
        ];
        Form::about(FormKind::Edit(target), fields)
    }

    /// A copy of a session.
    pub(crate) fn clone_of(target: Target) -> Form {
        let name = format!("{} copy", target.name);
        let fields = vec![Field::text(FieldName::Name, &name)];
        Form::about(FormKind::Clone(target), fields)
    }

    fn about(kind: FormKind, fields: Vec<Field>) -> Form {
        let (profiles, stage) = (Vec::new(), FormStage::Typing(None));
        Form { kind, profiles, fields, at: 0, stage }
    }

    /// What it is, for its border.
    pub(crate) fn title(&self) -> String {
        match &self.kind {
            FormKind::New(agents) => match &agents[..] {
                [only] => format!("new session on {} ({})", only.host, only.id),
                _ => "new session".to_owned(),
            },
            FormKind::Edit(Target { id, host, agent, .. }) => {
                format!("settings of {} on {host} ({agent})", id.short())
            }
            FormKind::Clone(Target { id, name, host, .. }) => {
                format!("copy of {name:?} ({}) on {host}", id.short())
            }
        }
    }

    /// What is wrong with a field, once somebody was in it.
    pub(crate) fn shown_error(&self, field: &Field) -> Option<String> {
        if field.is_touched { self.error(field) } else { None }
    }

    /// What is wrong with a field.
    fn error(&self, field: &Field) -> Option<String> {
        let text = field.shown();
        let is_default = text.is_empty() && field.what.has_default();
        if field.what == FieldName::Profile {
            return self.profile().and_then(|profile| profile.options.clone().err());
        }
        match &self.kind {
            FormKind::New(_) if is_default => None,
            // What an older agent did not tell stays as it is.
            FormKind::Edit(_) if text == field.before => None,
            _ => field.what.check(&text).err(),
        }
    }

    pub(crate) fn key(&mut self, key: &Key) -> FormResult {
        if matches!(key, Key::Esc | Key::Ctrl('c')) {
            return FormResult::Close;
        }
        if !matches!(self.stage, FormStage::Typing(_)) {
            return FormResult::Nothing;
        }
        let count = self.fields.len();
        self.fields[self.at].is_touched = true;
        match key {
            Key::Tab | Key::Down => self.at = (self.at + 1) % count,
            Key::BackTab | Key::Up => self.at = (self.at + count - 1) % count,
            Key::Enter => return self.submit(),
            _ => {
                self.fields[self.at].key(key);
                if self.fields[self.at].what == FieldName::Profile {
                    self.follow_profile();
                }
            }
        }
        FormResult::Nothing
    }

    fn submit(&mut self) -> FormResult {
        let wrong = (0..self.fields.len()).find(|at| self.error(&self.fields[*at]).is_some());
        if let Some(at) = wrong {
            (self.at, self.fields[at].is_touched) = (at, true);
            return FormResult::Nothing;
        }
        match self.call() {
            Ok((agent, call)) => FormResult::Ask(agent, Box::new(call)),
            Err(text) => {
                self.stage = FormStage::Typing(Some(text));
                FormResult::Nothing
            }
        }
    }

    /// On which agent a new session is to be.
    pub(crate) fn new_on(&self) -> Option<&Enrolled> {
        let FormKind::New(agents) = &self.kind else { return None };
        let at = match self.fields.first().map(|field| (&field.value, field.what)) {
            Some((FieldValue::Choice { at, .. }, FieldName::Agent)) => *at,
            _ => 0,
        };
        agents.get(at)
    }

    fn call(&self) -> Result<(AgentId, Call), String> {
        match &self.kind {
            FormKind::New(_) => {
                let agent = self.new_on().ok_or("there is no agent to make a session on")?;
                Ok((agent.id.clone(), Call::Create(Box::new(self.create()?))))
            }
            FormKind::Clone(target) => {
                let name = values::name(&self.text_of(FieldName::Name))?;
                let clone = CloneSession { source_id: target.id, name };
                Ok((target.agent.clone(), Call::Clone(clone)))
            }
            FormKind::Edit(target) => {
                if self.fields.iter().all(|field| field.shown() == field.before) {
                    return Err("nothing is changed; Esc leaves".to_owned());
                }
                Ok((target.agent.clone(), Call::Edit(self.edited(target)?)))
            }
        }
    }

    fn create(&self) -> Result<Create, String> {
        let name = values::name(&self.text_of(FieldName::Name))?;
        let profile = self.profile().map(|profile| {
            let options = profile.options.clone()?;
            Ok::<_, String>(Chosen { name: profile.name.clone(), options })
        });
        let profile = profile.transpose()?;
        let mut said = SessionOptions::default();
        for field in &self.fields {
            let text = field.shown();
            if let Some(setting) = field.what.setting().filter(|_| !text.is_empty()) {
                said.set(setting, &text)?;
            }
        }
        let options = merged(said, profile.as_ref())?;
        options.create(name, profile.map(|profile| profile.name))
    }

    /// The profile that is chosen, if one is.
    fn profile(&self) -> Option<&Profile> {
        let name = self.text_of(FieldName::Profile);
        self.profiles.iter().find(|profile| profile.name.as_str() == name)
    }

    /// What the chosen profile says of a field.
    fn of_profile(&self, what: FieldName) -> Option<String> {
        self.profile()?.options.as_ref().ok()?.get(what.setting()?)
    }

    /// Choices that nobody has changed follow the profile.
    fn follow_profile(&mut self) {
        for (what, default) in [(FieldName::Protocol, "tcp"), (FieldName::Docker, "no")] {
            let wanted = self.of_profile(what).unwrap_or_else(|| default.to_owned());
            let Some(field) = self.fields.iter_mut().find(|field| field.what == what) else {
                continue;
            };
            if field.shown() == field.before
                && let FieldValue::Choice { options, at } = &mut field.value
            {
                *at = options.iter().position(|option| *option == wanted).unwrap_or(*at);
                field.before = wanted;
            }
        }
    }

    /// What stands behind a field while nothing is wrong: of a blank one, what it stands for.
    pub(crate) fn hint(&self, field: &Field) -> String {
        match self.of_profile(field.what).filter(|_| field.shown().is_empty()) {
            Some(value) => format!("empty: {value}, as in the profile"),
            None => field.what.hint().to_owned(),
        }
    }

    fn edited(&self, target: &Target) -> Result<Edit, String> {
        Ok(Edit {
            id: target.id,
            name: self.changed(FieldName::Name, values::name)?,
            port: self.changed(FieldName::Port, port)?,
            protocol: self.changed(FieldName::Protocol, values::protocol)?,
            dns_name: self.changed(FieldName::Dns, values::dns_name)?,
            command: self.changed(FieldName::Command, values::command)?,
            docker: self.changed(FieldName::Docker, values::yes_no)?,
            memory: self.changed(FieldName::Memory, values::memory)?,
            cpus: self.changed(FieldName::Cpus, values::cpus)?,
            pids: self.changed(FieldName::Pids, values::pids)?,
            egress: None,
            allow: None,
            publish: None,
            ssh_key: None,
            claude_login: None,
            env: None,
            prompt: None,
        })
    }

    fn changed<T>(
        &self,
        what: FieldName,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let field = self.fields.iter().find(|field| field.what == what);
        // An agent of the system before convocate, which tells no command, takes an absent field
        // for an empty one.
        let command = self.fields.iter().find(|field| field.what == FieldName::Command);
        let is_predecessors = command.is_some_and(|command| command.before.is_empty());
        let is_told = is_predecessors
            && [FieldName::Name, FieldName::Port, FieldName::Protocol, FieldName::Dns]
                .contains(&what);
        let changed = field.filter(|field| is_told || field.shown() != field.before);
        changed.map(|field| read(&field.shown())).transpose()
    }

    fn text_of(&self, what: FieldName) -> String {
        let field = self.fields.iter().find(|field| field.what == what);
        field.map_or_else(String::new, Field::shown)
    }

    /// The name that stands in it.
    pub(crate) fn name(&self) -> String {
        self.text_of(FieldName::Name)
    }
}

/// A port as it is typed; none where nothing is.
fn port(text: &str) -> Result<PortChoice, String> {
    if text.is_empty() { Ok(PortChoice::None) } else { values::port(text) }
}

fn protocols() -> Vec<String> {
    vec!["tcp".to_owned(), "udp".to_owned()]
}

fn no_yes() -> Vec<String> {
    vec!["no".to_owned(), "yes".to_owned()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn profile(name: &str, text: &str) -> Profile {
        let name = values::profile(name).expect("a name");
        Profile { name, options: SessionOptions::of_profile(text) }
    }

    fn form() -> Form {
        let agent = Enrolled {
            id: AgentId::parse("wxyzwxyzwxyz").expect("an id"),
            host: "host-1".to_owned(),
            address: String::new(),
            repair: String::new(),
        };
        let profiles = vec![
            profile("bad", "secret x"),
            profile("default", "memory 4g\nproto udp\ndocker yes\nrepo https://h/web"),
        ];
        Form::new_session(vec![agent], None, profiles)
    }

    fn types(form: &mut Form, keys: &[Key]) -> FormResult {
        keys.iter().map(|key| form.key(key)).last().expect("a key")
    }

    fn asked(result: FormResult) -> serde_json::Value {
        match result {
            FormResult::Ask(_, call) => match *call {
                Call::Create(create) => json!(create),
                call => json!(call.op()),
            },
            other => json!(format!("{other:?}")),
        }
    }

    #[test]
    fn the_default_profile_fills_what_is_blank_and_a_field_beats_it() {
        let mut form = form();
        let memory = form.fields.iter().find(|field| field.what == FieldName::Memory);
        let hint = form.hint(memory.expect("a field"));
        assert_eq!(hint, "empty: 4g, as in the profile");
        let asked_for = asked(types(&mut form, &[Key::Char('a'), Key::Enter]));
        assert_eq!(
            asked_for,
            json!({
                "name": "a", "port": 0, "protocol": "udp", "dns_name": "", "docker": true,
                "memory": 4_u64 << 30, "profile": "default", "repo": "https://h/web",
            })
        );
        form.stage = FormStage::Typing(None);
        let docker = form.fields.iter().position(|field| field.what == FieldName::Docker);
        form.at = docker.expect("a field");
        assert_eq!(asked(types(&mut form, &[Key::Right, Key::Enter]))["docker"], json!(false));
    }

    #[test]
    fn no_profile_gives_nothing_and_a_bad_one_is_refused() {
        let mut form = form();
        let keys = [Key::Char('a'), Key::BackTab, Key::Char('n'), Key::Enter];
        let asked_for = asked(types(&mut form, &keys));
        assert_eq!((&asked_for["profile"], &asked_for["repo"]), (&json!(null), &json!(null)));
        assert_eq!((&asked_for["protocol"], &asked_for["docker"]), (&json!("tcp"), &json!(false)));
        assert_eq!(types(&mut form, &[Key::Char('b'), Key::Enter]), FormResult::Nothing);
        let error = form.shown_error(&form.fields[form.at]).expect("it is wrong");
        assert!(error.starts_with("line 1: \"secret\" is no setting"), "{error}");
    }
}
