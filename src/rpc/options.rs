//! What an operator says of a new session, in the words of options and of profiles: one table of
//! settings, and from it what an agent is asked.
//!
//! A profile is a small file of settings, one a line ([`settings`]). What an option says comes
//! before what the profile says, and that before the agent's default.

use super::call::Create;
use super::egress::EgressRules;
use super::env::SessionEnv;
use super::field::{FieldError, PortChoice, SessionName, shown};
use super::network::Egress;
use super::startup::ProfileName;
use super::values;
use crate::base::settings::{self, Rule};
use crate::base::sorted_map::SortedMap;

/// Something that can be said of a new session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// As an option and in a profile.
    pub(crate) name: &'static str,
    /// What stands there where nothing is said.
    pub(crate) default: &'static str,
    /// Whether it takes a line as it is.
    is_text: bool,
    /// Whether the empty text says that there is none.
    is_nullable: bool,
    check: fn(&str) -> Result<(), String>,
}

/// The names of those that may be said more than once.
pub(crate) const ENV: &str = "env";
pub(crate) const ALLOW: &str = "allow";
pub(crate) const DENY: &str = "deny";
const AGENTS: &str = "the agent's";

/// In the order in which they are shown.
pub(crate) const SETTINGS: [Setting; 21] = [
    word("agent", "the only one", |text| match text.trim() {
        "" => Err("agent must not be empty".to_owned()),
        _ => Ok(()),
    }),
    nullable("image", AGENTS, |text| values::image(text).map(drop)),
    text("command", AGENTS, |text| values::command(text).map(drop)),
    nullable("repo", "none", |text| values::repo(text).map(drop)),
    nullable("branch", "the repository's", |text| values::branch(text).map(drop)),
    Setting { is_text: true, ..nullable("setup", "none", |text| values::setup(text).map(drop)) },
    Setting { is_text: true, ..nullable("prompt", "none", |text| values::prompt(text).map(drop)) },
    text(ENV, "none", |text| values::env(text).map(drop)),
    word("port", "none", |text| values::port(text).map(drop)),
    word("proto", "tcp", |text| values::protocol(text).map(drop)),
    word("publish", "default", |text| values::publish(text).map(drop)),
    nullable("dns", "none", |text| values::dns_name(text).map(drop)),
    word("egress", "open", |text| values::egress(text).map(drop)),
    word(ALLOW, "none", |text| values::egress_rule(text).map(drop)),
    word(DENY, "none", |text| values::egress_rule(text).map(drop)),
    word("ssh-key", "new", |text| values::ssh_key(text).map(drop)),
    word("claude-login", "yes", |text| values::yes_no(text).map(drop)),
    word("docker", "no", |text| values::yes_no(text).map(drop)),
    word("memory", AGENTS, |text| values::memory(text).map(drop)),
    word("cpus", AGENTS, |text| values::cpus(text).map(drop)),
    word("pids", AGENTS, |text| values::pids(text).map(drop)),
];

type Check = fn(&str) -> Result<(), String>;

const fn word(name: &'static str, default: &'static str, check: Check) -> Setting {
    Setting { name, default, is_text: false, is_nullable: false, check }
}

const fn text(name: &'static str, default: &'static str, check: Check) -> Setting {
    Setting { is_text: true, ..word(name, default, check) }
}

const fn nullable(name: &'static str, default: &'static str, check: Check) -> Setting {
    Setting { is_nullable: true, ..word(name, default, check) }
}

/// Whether a sentence tells already which setting it is about.
fn is_named(name: &str, error: &str) -> bool {
    error.starts_with(name) || setting(name).is_none()
}

fn is_many(name: &str) -> bool {
    [ENV, ALLOW, DENY].contains(&name)
}

fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// What was said. Every text in it has been checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SessionOptions {
    texts: SortedMap<&'static str, String>,
    pub(crate) env: SessionEnv,
    rules: EgressRules,
}

impl SessionOptions {
    /// Reads a profile.
    ///
    /// # Errors
    /// One sentence that begins with the number of the line.
    pub(crate) fn of_profile(text: &str) -> Result<SessionOptions, String> {
        let mut options = SessionOptions::default();
        let rule = |name: &str| Rule {
            is_text: setting(name).is_some_and(|it| it.is_text),
            is_many: is_many(name),
        };
        settings::read(text, rule, |name, value| match value {
            "" if setting(name).is_some() => Err(format!("{name} has no value")),
            _ => options.set(name, value).map_err(|error| match is_named(name, &error) {
                true => error,
                false => format!("{name}: {error}"),
            }),
        })?;
        Ok(options)
    }

    /// Takes a setting over.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let Some(setting) = setting(name) else {
            let known = SETTINGS.map(|setting| setting.name).join(", ");
            return Err(format!("{} is no setting; there are {known}", shown(name)));
        };
        if !(setting.is_nullable && value.is_empty()) {
            (setting.check)(value)?;
        }
        if name == ALLOW || name == DENY {
            let rule = values::egress_rule(value)?;
            let rule = if name == DENY { rule.denial() } else { rule };
            return self.rules.add(rule).map_err(|error| error.0);
        }
        if name != ENV {
            self.texts.insert(setting.name, value.to_owned());
            return Ok(());
        }
        let (variable, value) = values::env(value)?;
        if self.env.contains(variable) {
            return Err(format!("env {variable} stands here a second time"));
        }
        self.env.set(variable, value).map_err(|error| error.0)
    }

    /// What was said of a setting; of `env`, all variables, and all rules of `allow` and `deny`.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        if name == ALLOW || name == DENY {
            let said = self.rules.iter().filter(|rule| rule.is_denial() == (name == DENY));
            let said: Vec<String> =
                said.map(|rule| rule.to_string().trim_start_matches('!').to_owned()).collect();
            return (!said.is_empty()).then(|| said.join(" "));
        }
        match name == ENV {
            false => self.texts.get(&name).cloned(),
            true if self.env.is_empty() => None,
            true => {
                let pairs: Vec<_> =
                    self.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
                Some(pairs.join(" "))
            }
        }
    }

    /// These, and of `others` what was not said here. A branch belongs to its repository.
    ///
    /// # Errors
    /// There are too many variables, or rules.
    pub(crate) fn or(mut self, others: &SessionOptions) -> Result<SessionOptions, FieldError> {
        let has_repo = self.texts.contains_key(&"repo");
        for (name, value) in others.texts.iter() {
            if !(self.texts.contains_key(name) || has_repo && *name == "branch") {
                self.texts.insert(name, value.clone());
            }
        }
        let mut env = others.env.clone();
        for (name, value) in self.env.iter() {
            env.set(name, value)?;
        }
        let mut rules = others.rules.clone();
        self.rules.iter().try_for_each(|rule| rules.add(rule.clone()))?;
        Ok(SessionOptions { env, rules, ..self })
    }

    /// What an agent is asked for.
    ///
    /// # Errors
    /// One sentence.
    pub(crate) fn create(
        &self,
        name: SessionName,
        profile: Option<ProfileName>,
    ) -> Result<Create, String> {
        let egress = self.read("egress", values::egress)?;
        // An option that opens or closes all leaves nothing to the rules of a profile.
        let allow = match egress {
            None | Some(Egress::List) => self.rules.clone(),
            Some(Egress::Open | Egress::None) => EgressRules::default(),
        };
        let port = self.read("port", values::port)?.unwrap_or_default();
        let publish = self.read("publish", values::publish)?;
        if let Some(publish) =
            publish.filter(|it| !it.is_default() && port == PortChoice::default())
        {
            return Err(format!("publish {publish} is for a port, and no port is given"));
        }
        Ok(Create {
            port,
            protocol: self.read("proto", values::protocol)?.unwrap_or_default(),
            dns_name: self.read("dns", values::dns_name)?.unwrap_or_default(),
            command: self.read("command", values::command)?,
            docker: self.read("docker", values::yes_no)?,
            memory: self.read("memory", values::memory)?,
            cpus: self.read("cpus", values::cpus)?,
            pids: self.read("pids", values::pids)?,
            egress,
            allow,
            publish,
            ssh_key: self.read("ssh-key", values::ssh_key)?,
            claude_login: self.read("claude-login", values::yes_no)?,
            profile,
            image: self.read("image", values::image)?,
            env: self.env.clone(),
            repo: self.read("repo", values::repo)?,
            branch: self.read("branch", values::branch)?,
            setup: self.read("setup", values::setup)?,
            prompt: self.read("prompt", values::prompt)?,
            ..Create::new(name)
        })
    }

    fn read<T>(
        &self,
        name: &'static str,
        read: fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let said = self.texts.get(&name).filter(|text| !text.is_empty());
        said.map(|text| read(text)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "\
# What the team uses.
agent host-1
image = convocate:1.2   # pinned
command claude --model x # not a comment
repo git@host.example:team/web.git
branch=main
setup npm ci && echo '#'
prompt fix issue #12
env A=1
env B=x y
egress list
allow github
allow = a.org:22 # ssh
deny gist.github.com
publish 127.0.0.1
memory 4g
cpus 1.5
pids 99
docker no
ssh-key none
claude-login no
port auto
proto udp
dns web
";

    fn read(text: &str) -> Result<SessionOptions, String> {
        SessionOptions::of_profile(text)
    }

    #[test]
    fn every_setting_goes_into_the_request() {
        let options = read(WHOLE).unwrap();
        let said = |name: &str| options.get(name);
        assert!(SETTINGS.iter().all(|setting| said(setting.name).is_some()));
        let name = SessionName::parse("x").unwrap();
        let create = options.create(name, ProfileName::parse("team").ok()).unwrap();
        assert_eq!(
            serde_json::to_value(create).unwrap(),
            serde_json::json!({
                "name": "x", "port": -1, "protocol": "udp", "dns_name": "web",
                "command": "claude --model x # not a comment", "docker": false,
                "memory": 4_u64 << 30, "cpus": 1.5, "pids": 99, "egress": "list",
                "allow": ["github", "a.org:22", "!gist.github.com"],
                "publish": "127.0.0.1", "ssh_key": "none", "claude_login": false,
                "profile": "team",
                "image": "convocate:1.2", "env": { "A": "1", "B": "x y" },
                "repo": "git@host.example:team/web.git", "branch": "main",
                "setup": "npm ci && echo '#'", "prompt": "fix issue #12",
            })
        );
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, why) in [
            ("secret x", "line 1: \"secret\" is no setting; there are agent, image"),
            ("# x\n\ncolour red", "line 3: \"colour\" is no setting"),
            ("a\u{1b}b 1", "line 1: \"a\\u{1b}b\" is no setting"),
            ("= 1", "line 1: \"\" is no setting"),
            ("memory 4g\nmemory = 4g", "line 2: memory stands here a second time"),
            ("env A=1\nenv A=2", "line 2: env A stands here a second time"),
            ("env A", "line 1: env \"A\" must be NAME=VALUE"),
            ("env PATH=/x", "line 1: env PATH is not for a profile"),
            ("env a-b=1", "line 1: env \"a-b\" must be NAME=VALUE"),
            ("memory", "line 1: memory has no value"),
            ("memory 1x", "line 1: memory \"1x\" must be a size"),
            ("docker maybe", "line 1: docker: \"maybe\" must be yes or no"),
            ("egress lst", "line 1: egress \"lst\" must be open, list or none"),
            ("allow npm\nallow nmp", "line 2: allow \"nmp\" is neither a host name"),
            ("deny 1.2.3.4", "line 1: deny: allow \"1.2.3.4\" is an address"),
            ("repo -u", "line 1: repo \"-u\" must be like https://"),
            ("branch a..b", "line 1: branch \"a..b\" must be"),
            ("image -x", "line 1: image \"-x\" must be"),
            ("prompt -p", "line 1: prompt must not begin"),
            ("setup a\u{1b}b", "line 1: setup must not have control"),
            ("port 0x1", "line 1: port \"0x1\" must be"),
            ("dns A.B", "line 1: dns name \"A.B\""),
            ("proto sctp", "line 1: protocol \"sctp\" must be"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.starts_with(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn what_is_said_comes_first_and_a_branch_belongs_to_its_repo() {
        let profile = read("memory 4g\nrepo https://h/x\nbranch dev\nenv A=1\nenv B=2").unwrap();
        let mut flags = SessionOptions::default();
        for (name, value) in [("memory", "1g"), ("env", "B=3"), ("cpus", "2")] {
            flags.set(name, value).unwrap();
        }
        let both = flags.clone().or(&profile).unwrap();
        let said = |name| both.get(name).unwrap_or_default();
        assert_eq!((said("memory"), said("cpus")), ("1g".to_owned(), "2".to_owned()));
        assert_eq!((said("env"), said("branch")), ("A=1 B=3".to_owned(), "dev".to_owned()));
        let mut open = SessionOptions::default();
        open.set("publish", "all").unwrap();
        let refused = open.create(SessionName::parse("x").unwrap(), None).unwrap_err();
        assert_eq!(refused, "publish all is for a port, and no port is given");
        flags.set("repo", "").unwrap();
        let both = flags.or(&profile).unwrap();
        let create = both.create(SessionName::parse("x").unwrap(), None).unwrap();
        assert_eq!((create.repo, create.branch), (None, None));
        assert!(SessionOptions::default().set("memory", "").is_err());
    }

    #[test]
    fn no_bytes_of_a_profile_panic() {
        for cut in 0..WHOLE.len() {
            let _ = read(&WHOLE[..cut]);
            for sign in ['\u{1b}', '=', '#', '\n', '\u{fffd}'] {
                let _ = read(&format!("{}{sign}{}", &WHOLE[..cut], &WHOLE[cut + 1..]));
            }
        }
    }
}
