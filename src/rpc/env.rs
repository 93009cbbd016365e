//! The variables that an operator gives to a session. They are no secrets: whoever may see the
//! session sees them.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::field::{FieldError, shown};
use crate::limits::{ENV_NAME_CHARS_MAX, SESSION_ENV_BYTES_MAX, SESSION_ENV_MAX};

/// The variables that an operator gives to a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct SessionEnv(BTreeMap<String, String>);

/// Variables that are set, or with `None` removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct EnvChange(BTreeMap<String, Option<String>>);

impl SessionEnv {
    /// Adds a variable, or replaces it.
    ///
    /// # Errors
    /// A sentence that shows its name, or says that there is no room for it.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), FieldError> {
        check_variable(name, value)?;
        self.0.insert(name.to_owned(), value.to_owned());
        self.check_size()
    }

    /// # Errors
    /// There would be too many.
    pub(crate) fn change(&mut self, change: &EnvChange) -> Result<(), FieldError> {
        for (name, value) in &change.0 {
            match value {
                Some(value) => self.0.insert(name.clone(), value.clone()),
                None => self.0.remove(name),
            };
        }
        self.check_size()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// By name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn check_size(&self) -> Result<(), FieldError> {
        let bytes: usize = self.iter().map(|(name, value)| name.len() + value.len()).sum();
        match self.0.len() <= SESSION_ENV_MAX && bytes <= SESSION_ENV_BYTES_MAX {
            true => Ok(()),
            false => Err(FieldError(format!(
                "env has {} variables of {bytes} bytes, at most {SESSION_ENV_MAX} and \
                 {SESSION_ENV_BYTES_MAX} are allowed",
                self.0.len()
            ))),
        }
    }
}

impl EnvChange {
    /// Adds a change. A variable that stands there already is an error.
    ///
    /// # Errors
    /// A sentence that shows the name.
    pub(crate) fn add(&mut self, name: &str, value: Option<&str>) -> Result<(), FieldError> {
        check_variable(name, value.unwrap_or_default())?;
        match self.0.insert(name.to_owned(), value.map(str::to_owned)) {
            None => Ok(()),
            Some(_) => Err(FieldError(format!("env {name} is given twice"))),
        }
    }
}

impl<'de> Deserialize<'de> for SessionEnv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SessionEnv, D::Error> {
        let mut env = SessionEnv::default();
        for (name, value) in BTreeMap::<String, String>::deserialize(deserializer)? {
            env.set(&name, &value).map_err(D::Error::custom)?;
        }
        Ok(env)
    }
}

impl<'de> Deserialize<'de> for EnvChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EnvChange, D::Error> {
        let mut change = EnvChange::default();
        for (name, value) in BTreeMap::<String, Option<String>>::deserialize(deserializer)? {
            change.add(&name, value.as_deref()).map_err(D::Error::custom)?;
        }
        Ok(change)
    }
}

/// Names that a session has from its agent, its terminal or its shell.
const OWN_NAMES: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "PWD",
    "TERM",
    "COLORTERM",
    "SSH_AUTH_SOCK",
    "CLAUDE_UID",
    "CLAUDE_GID",
    "CLAUDE_CODE_TMUX_TRUECOLOR",
    "DISABLE_AUTOUPDATER",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL",
];

/// Names with which the programs that begin a session, in a container as its root, would load or
/// run what the session has written to its home.
const CODE_NAMES: &[&str] =
    &["PATH", "ENV", "SHELLOPTS", "PS4", "IFS", "GCONV_PATH", "LOCPATH", "GLIBC_TUNABLES"];

/// The same of all names that begin like this.
const OWN_PREFIXES: &[&str] = &["CONVOCATE_", "TMUX", "LD_", "BASH", "MALLOC_"];

fn check_variable(name: &str, value: &str) -> Result<(), FieldError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = (1..=ENV_NAME_CHARS_MAX).contains(&name.len())
        && !name.starts_with(|sign: char| sign.is_ascii_digit())
        && name.bytes().all(is_plain);
    if !is_name {
        return Err(FieldError(format!(
            "env {} must be NAME=VALUE, with a name of at most {ENV_NAME_CHARS_MAX} letters, \
             digits and '_'",
            shown(name)
        )));
    }
    let is_own = OWN_NAMES.contains(&name)
        || CODE_NAMES.contains(&name)
        || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if is_own {
        return Err(FieldError(format!(
            "env {name} is not for a profile: convocate or the session's shell sets it"
        )));
    }
    match value.contains(char::is_control) {
        false => Ok(()),
        true => Err(FieldError(format!("env {name} must not have control characters"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let mut env = SessionEnv::default();
        for (name, value) in [("A", ""), ("_b9", "x y=z \"'$(id)"), ("LANG", "C.UTF-8")] {
            assert_eq!(env.set(name, value), Ok(()));
        }
        let json = serde_json::to_value(&env).unwrap();
        assert_eq!(serde_json::from_value::<SessionEnv>(json).unwrap(), env);
        let hostile = [
            "PATH",
            "LD_PRELOAD",
            "BASH_ENV",
            "ENV",
            "CONVOCATE_X",
            "TMUX",
            "SSH_AUTH_SOCK",
            "HOME",
            "CLAUDE_UID",
            "GCONV_PATH",
        ];
        for name in hostile.into_iter().chain(["", "9a", "a-b", "a b", "é", "a=b", "a\n"]) {
            let error = env.set(name, "x").expect_err(name).to_string();
            assert!(error.contains(&format!("env {}", name.trim_end())) || error.contains('"'));
            let json = serde_json::json!({ name: "x" });
            assert!(serde_json::from_value::<SessionEnv>(json.clone()).is_err(), "{name}");
            assert!(serde_json::from_value::<EnvChange>(json).is_err(), "{name}");
        }
        assert!(env.set("A", "a\0b").is_err() && env.set("A", "a\nb").is_err());
        assert!(env.set("A", &"x".repeat(SESSION_ENV_BYTES_MAX)).is_err());
        let mut many = SessionEnv::default();
        let fits = (0..=SESSION_ENV_MAX).take_while(|it| many.set(&format!("A{it}"), "").is_ok());
        assert_eq!(fits.count(), SESSION_ENV_MAX);
    }

    #[test]
    fn a_change_sets_and_removes() {
        let mut env = SessionEnv::default();
        env.set("A", "1").unwrap();
        env.set("B", "2").unwrap();
        let change = serde_json::json!({ "A": null, "C": "3", "D": null });
        env.change(&serde_json::from_value(change).unwrap()).unwrap();
        assert_eq!(env.iter().collect::<Vec<_>>(), [("B", "2"), ("C", "3")]);
    }
}
