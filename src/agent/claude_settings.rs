//! What the Claude CLI of a session finds in `/etc/claude-code`: settings by which an empty home
//! goes straight to the prompt, and the login.
//!
//! The CLI takes `managed-settings.json` without a question, and before everything else; its `env`
//! is set early enough to skip the first-run screens. An OAuth token stands in that `env`. An API
//! key there would have to be approved by a person, so it comes from a helper that prints a file.

use std::fmt;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::base::time::Wall;
use crate::limits::{CLAUDE_LOGIN_BYTES_MAX, CLAUDE_LOGIN_BYTES_MIN};

/// The directory of the files, inside.
pub(crate) const SETTINGS_DIR: &str = "/etc/claude-code";
const SETTINGS: &str = "managed-settings.json";
const API_KEY: &str = "api-key";

/// How the CLI proves who pays: what the operator has put on this host.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum ClaudeLogin {
    /// A long-lived OAuth token, of `claude setup-token`.
    Token(Zeroizing<String>),
    ApiKey(Zeroizing<String>),
}

/// What a session's settings depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaudeSettings {
    /// Whether the session gets the host's login, if there is one.
    pub has_login: bool,
    /// Where the model is, if not where the CLI looks by itself.
    pub base_url: Option<String>,
}

/// What a host has of Claude.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaudeOnHost {
    /// Whether the CLI is there.
    pub(crate) is_there: bool,
    /// What kind of login is there, and since when.
    pub(crate) login: Option<(&'static str, Wall)>,
}

impl ClaudeLogin {
    /// Reads the file of a login: one line.
    ///
    /// # Errors
    /// What is wrong with it, to stand behind the file's name. It never has anything of the file.
    pub(crate) fn parse(bytes: &[u8]) -> Result<ClaudeLogin, &'static str> {
        const NEITHER: &str = "is neither an OAuth token (sk-ant-oat…, of: claude setup-token) nor \
                               an API key (sk-ant-api…)";
        let text = bytes.trim_ascii();
        let is_sign = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let length = CLAUDE_LOGIN_BYTES_MIN..=CLAUDE_LOGIN_BYTES_MAX;
        if !text.iter().all(is_sign) || !length.contains(&text.len()) {
            return Err(NEITHER);
        }
        let secret = || Zeroizing::new(String::from_utf8_lossy(text).into_owned());
        match text {
            _ if text.starts_with(b"sk-ant-oat") => Ok(ClaudeLogin::Token(secret())),
            _ if text.starts_with(b"sk-ant-api") => Ok(ClaudeLogin::ApiKey(secret())),
            _ => Err(NEITHER),
        }
    }

    /// What it is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            ClaudeLogin::Token(_) => "OAuth token",
            ClaudeLogin::ApiKey(_) => "API key",
        }
    }

    /// The same on the wire.
    pub(crate) fn wire_kind(&self) -> &'static str {
        match self {
            ClaudeLogin::Token(_) => "token",
            ClaudeLogin::ApiKey(_) => "key",
        }
    }

    /// The file of it.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let (ClaudeLogin::Token(text) | ClaudeLogin::ApiKey(text)) = self;
        Zeroizing::new([text.as_bytes(), b"\n"].concat())
    }
}

/// It is a secret.
impl fmt::Debug for ClaudeLogin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ClaudeLogin({})", self.kind())
    }
}

impl ClaudeSettings {
    /// The files of [`SETTINGS_DIR`], by their names. `hooks` become the CLI's own, as they are.
    pub(crate) fn files(
        &self,
        login: Option<&ClaudeLogin>,
        hooks: Option<Value>,
    ) -> Vec<(&'static str, Zeroizing<Vec<u8>>)> {
        let login = login.filter(|_| self.has_login);
        let settings = Zeroizing::new(self.managed(login, hooks).to_string().into_bytes());
        let mut files = vec![(SETTINGS, settings)];
        if let Some(login @ ClaudeLogin::ApiKey(_)) = login {
            files.push((API_KEY, login.to_bytes()));
        }
        files
    }

    /// The names of all files that [`ClaudeSettings::files`] may give.
    pub(crate) const NAMES: [&str; 2] = [SETTINGS, API_KEY];

    fn managed(&self, login: Option<&ClaudeLogin>, hooks: Option<Value>) -> Value {
        let mut settings = json!({
            // Sessions are what its warning asks for: containers.
            "skipDangerousModePermissionPrompt": true,
            "env": {
                // No theme, no wizard.
                "IS_DEMO": "1",
                // No question whether the directory is trusted.
                "CLAUDE_CODE_SANDBOXED": "1",
            },
        });
        match login {
            Some(ClaudeLogin::Token(token)) => {
                settings["env"]["CLAUDE_CODE_OAUTH_TOKEN"] = json!(token.as_str());
            }
            Some(ClaudeLogin::ApiKey(_)) => {
                settings["apiKeyHelper"] = json!(format!("cat {SETTINGS_DIR}/{API_KEY}"));
            }
            None => {}
        }
        if let Some(url) = &self.base_url {
            settings["env"]["ANTHROPIC_BASE_URL"] = json!(url);
        }
        if let Some(hooks) = hooks {
            settings["hooks"] = hooks;
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "sk-ant-oat01-abcdefghijklmnop_QRS-tuv";
    const KEY: &str = "sk-ant-api03-abcdefghijklmnop_QRS-tuv";

    fn login(text: &str) -> ClaudeLogin {
        ClaudeLogin::parse(text.as_bytes()).unwrap()
    }

    fn settings(files: &[(&str, Zeroizing<Vec<u8>>)]) -> Value {
        assert_eq!(files[0].0, "managed-settings.json");
        serde_json::from_slice(&files[0].1).unwrap()
    }

    #[test]
    fn the_kind_is_told_by_its_beginning() {
        assert_eq!(login(&format!("  {TOKEN}\r\n")), login(TOKEN));
        assert_eq!((login(TOKEN).kind(), login(KEY).kind()), ("OAuth token", "API key"));
        assert_eq!(login(KEY).to_bytes().as_slice(), format!("{KEY}\n").as_bytes());
        let long = format!("{TOKEN}{}", "x".repeat(CLAUDE_LOGIN_BYTES_MAX));
        let others = [
            "",
            "sk-ant-oat",
            "sk-ant-sid01-abcdefghijklmnopqrstuvwxyz",
            "ssh-ed25519 AAAA",
            &format!("{TOKEN}\n{TOKEN}"),
            &format!("{TOKEN}\"x"),
            &long,
        ];
        for other in others {
            let why = ClaudeLogin::parse(other.as_bytes()).unwrap_err();
            assert!(why.starts_with("is neither"), "{why}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        for text in [TOKEN, KEY] {
            let shown = format!("{:?}", login(text));
            assert!(!shown.contains("abc") && shown.contains(login(text).kind()), "{shown}");
        }
    }

    #[test]
    fn a_token_is_in_the_environment_and_a_key_in_a_file() {
        let granted = ClaudeSettings { has_login: true, base_url: None };
        let files = granted.files(Some(&login(TOKEN)), None);
        assert_eq!(files.len(), 1);
        assert_eq!(
            settings(&files),
            json!({
                "skipDangerousModePermissionPrompt": true,
                "env": {
                    "IS_DEMO": "1", "CLAUDE_CODE_SANDBOXED": "1", "CLAUDE_CODE_OAUTH_TOKEN": TOKEN,
                },
            })
        );
        let files = granted.files(Some(&login(KEY)), None);
        let found = settings(&files);
        assert_eq!(found["apiKeyHelper"], "cat /etc/claude-code/api-key");
        assert!(!found.to_string().contains(KEY), "{found}");
        assert_eq!(
            (files[1].0, files[1].1.as_slice()),
            ("api-key", login(KEY).to_bytes().as_slice())
        );
        assert!(files.iter().all(|(name, _)| ClaudeSettings::NAMES.contains(name)));
    }

    #[test]
    fn a_session_without_the_right_gets_no_login() {
        let refused = ClaudeSettings { has_login: false, base_url: None };
        for text in [TOKEN, KEY] {
            let files = refused.files(Some(&login(text)), None);
            assert_eq!(files, refused.files(None, None));
        }
        assert_eq!(settings(&refused.files(None, None))["env"]["IS_DEMO"], "1");
    }

    #[test]
    fn gateways_and_hooks_are_added() {
        let url = "https://gateway.example/v1";
        let given = ClaudeSettings { has_login: true, base_url: Some(url.to_owned()) };
        let found = settings(&given.files(None, Some(json!({ "Stop": [] }))));
        assert_eq!(found["env"]["ANTHROPIC_BASE_URL"], url);
        assert_eq!(found["hooks"], json!({ "Stop": [] }));
    }
}
