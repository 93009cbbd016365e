//! What a session starts with: its image, its environment, its repository, its first words. Each is
//! a type that admits only what may stand in a command line, in a container's description and on a
//! screen.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::env::SessionEnv;
use super::field::{FieldError, shown, text_field};
use crate::limits::{
    BRANCH_BYTES_MAX, IMAGE_NAME_BYTES_MAX, PROFILE_NAME_CHARS_MAX, PROMPT_BYTES_MAX,
    REPO_BYTES_MAX, SETUP_BYTES_MAX,
};

/// The name of a profile, which is a file's: letters and digits of ASCII, `-`, `_` and `.`, the
/// first a letter or a digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ProfileName(String);

text_field!(ProfileName);

impl ProfileName {
    /// Checks a name. `none` is none: it says that no profile is wanted.
    ///
    /// # Errors
    /// A sentence that shows the name and the rule.
    pub(crate) fn parse(text: &str) -> Result<ProfileName, FieldError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = text.len() <= PROFILE_NAME_CHARS_MAX
            && text.starts_with(|sign: char| sign.is_ascii_alphanumeric())
            && text.bytes().all(is_plain);
        match is_name && text != "none" {
            true => Ok(ProfileName(text.to_owned())),
            false => Err(FieldError(format!(
                "profile {} must be 1 to {PROFILE_NAME_CHARS_MAX} letters, digits, '-', '_' or \
                 '.', the first a letter or a digit, and not none",
                shown(text)
            ))),
        }
    }
}

/// The name of an image on its agent's host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageName(String);

text_field!(ImageName);

impl ImageName {
    /// Checks a name: with a registry, a tag or a digest, as Docker takes it.
    ///
    /// # Errors
    /// A sentence that shows the name and the rule.
    pub(crate) fn parse(text: &str) -> Result<ImageName, FieldError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@".contains(&byte);
        let is_name = text.len() <= IMAGE_NAME_BYTES_MAX
            && text.starts_with(|sign: char| sign.is_ascii_alphanumeric())
            && text.bytes().all(is_plain);
        match is_name {
            true => Ok(ImageName(text.to_owned())),
            false => Err(FieldError(format!(
                "image {} must be the name of an image, like convocate:1.2",
                shown(text)
            ))),
        }
    }
}

/// Where a session's repository is cloned from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RepoUrl(String);

text_field!(RepoUrl);

impl RepoUrl {
    /// Checks an address: `https://HOST/PATH`, `ssh://[USER@]HOST/PATH`, `[USER@]HOST:PATH`,
    /// `file:///PATH` or `/PATH`. It never begins with `-`, and names no helper of git's that would
    /// run a command.
    ///
    /// # Errors
    /// A sentence that shows the address and says what may be there. A secret in it is not shown.
    pub(crate) fn parse(text: &str) -> Result<RepoUrl, FieldError> {
        if text.len() > REPO_BYTES_MAX {
            return Err(FieldError(format!(
                "repo is {} bytes, at most {REPO_BYTES_MAX} are allowed",
                text.len()
            )));
        }
        let (is_address, has_login) = match text.split_once("://") {
            Some(("https", rest)) => (has_host_and_path(rest), before_path(rest).contains('@')),
            Some(("ssh", rest)) => {
                let user = before_path(rest).split_once('@').map_or("", |(user, _)| user);
                (has_host_and_path(rest), user.contains(':'))
            }
            Some(("file", rest)) => (rest.starts_with('/'), false),
            Some(_) => (false, false),
            None => (text.starts_with('/') || is_scp_like(text), false),
        };
        if has_login {
            return Err(FieldError(
                "repo must have no password and no token in it: everybody would see it".to_owned(),
            ));
        }
        let repo = RepoUrl(text.to_owned());
        let is_hostile = |sign: char| sign.is_control() || sign.is_whitespace();
        match is_address && !text.contains(is_hostile) && repo.has_directory() {
            true => Ok(repo),
            false => Err(FieldError(format!(
                "repo {} must be like https://host/path, ssh://user@host/path, user@host:path, or, \
                 with the host runtime, /path",
                shown(text)
            ))),
        }
    }

    /// The directory below the home that it is cloned to: the last part of its path, without
    /// `.git`.
    pub(crate) fn directory(&self) -> &str {
        let path = self.0.trim_end_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/');
        path.rsplit(['/', ':']).next().unwrap_or_default()
    }

    fn has_directory(&self) -> bool {
        !matches!(self.directory(), "" | "." | "..") && !self.directory().starts_with('-')
    }

    /// Whether it is on the machine of the session itself.
    pub(crate) fn is_local(&self) -> bool {
        self.0.starts_with('/') || self.0.starts_with("file:")
    }
}

fn before_path(rest: &str) -> &str {
    rest.split('/').next().unwrap_or_default()
}

/// What follows a scheme: `[USER@]HOST[:PORT]/PATH`. A host that begins with `-` would be an option
/// of ssh.
fn has_host_and_path(rest: &str) -> bool {
    let host = before_path(rest);
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    !before_path(rest).starts_with('-')
        && host.starts_with(|sign: char| sign.is_ascii_alphanumeric() || sign == '[')
        && host.bytes().all(is_host)
        && rest.contains('/')
}

/// `[USER@]HOST:PATH`.
fn is_scp_like(text: &str) -> bool {
    let Some((host, path)) = text.split_once(':') else { return false };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    host.starts_with(|sign: char| sign.is_ascii_alphanumeric())
        && host.bytes().all(is_plain)
        && !host.contains("@-")
        && host.matches('@').count() <= 1
        && !host.ends_with('@')
        && !path.starts_with(['-', ':'])
}

/// A branch or a tag of a repository (git-check-ref-format(1)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Branch(String);

text_field!(Branch);

impl Branch {
    /// Checks a name.
    ///
    /// # Errors
    /// A sentence that shows the name.
    pub(crate) fn parse(text: &str) -> Result<Branch, FieldError> {
        let is_bad =
            |sign: char| sign.is_control() || sign.is_whitespace() || "~^:?*[\\".contains(sign);
        let is_part =
            |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
        let is_branch = (1..=BRANCH_BYTES_MAX).contains(&text.len())
            && !text.starts_with('-')
            && !text.ends_with('.')
            && !text.contains("..")
            && !text.contains("@{")
            && text != "@"
            && !text.contains(is_bad)
            && text.split('/').all(is_part);
        match is_branch {
            true => Ok(Branch(text.to_owned())),
            false => Err(FieldError(format!("branch {} must be a branch of git", shown(text)))),
        }
    }
}

/// What makes a fresh home ready, in the session's shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetupCommand(String);

text_field!(SetupCommand);

impl SetupCommand {
    /// Checks a command, as a session's command is checked.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<SetupCommand, FieldError> {
        check_text("setup", text, SETUP_BYTES_MAX, char::is_control)?;
        Ok(SetupCommand(text.to_owned()))
    }
}

/// The first words to a session's command, its last argument. It is no option, whoever reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prompt(String);

text_field!(Prompt);

impl Prompt {
    /// Checks a prompt, which may have several lines.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Prompt, FieldError> {
        let is_bad = |sign: char| sign.is_control() && !matches!(sign, '\n' | '\t');
        check_text("prompt", text, PROMPT_BYTES_MAX, is_bad)?;
        match text.starts_with('-') {
            false => Ok(Prompt(text.to_owned())),
            true => Err(FieldError("prompt must not begin with '-'".to_owned())),
        }
    }
}

fn check_text(
    what: &str,
    text: &str,
    bytes_max: usize,
    is_bad: fn(char) -> bool,
) -> Result<(), FieldError> {
    if text.trim().is_empty() {
        return Err(FieldError(format!("{what} must not be empty")));
    }
    if text.len() > bytes_max {
        let bytes = text.len();
        return Err(FieldError(format!(
            "{what} is {bytes} bytes, at most {bytes_max} are allowed"
        )));
    }
    match text.contains(is_bad) {
        false => Ok(()),
        true => Err(FieldError(format!("{what} must not have control characters"))),
    }
}

/// What of a session stands there for its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Startup {
    /// The profile that it was made with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) profile: Option<ProfileName>,
    /// The image; the agent's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) image: Option<ImageName>,
    #[serde(default, skip_serializing_if = "SessionEnv::is_empty")]
    pub(crate) env: SessionEnv,
    /// What is cloned before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) repo: Option<RepoUrl>,
    /// The repository's own choice if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) branch: Option<Branch>,
    /// What is run once, before the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) setup: Option<SetupCommand>,
    /// What the command gets once, as its last argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt: Option<Prompt>,
}

impl Startup {
    /// What its texts take, in bytes.
    pub(crate) fn text_bytes(&self) -> usize {
        let Startup { profile, image, env, repo, branch, setup, prompt } = self;
        let texts = [
            profile.as_ref().map(ProfileName::as_str),
            image.as_ref().map(ImageName::as_str),
            repo.as_ref().map(RepoUrl::as_str),
            branch.as_ref().map(Branch::as_str),
            setup.as_ref().map(SetupCommand::as_str),
            prompt.as_ref().map(Prompt::as_str),
        ];
        let variables = env.iter().map(|(name, value)| name.len() + value.len());
        texts.into_iter().flatten().map(str::len).chain(variables).sum()
    }

    /// Whether its fields go together, on an agent whose sessions are containers or are not.
    ///
    /// # Errors
    /// Which do not.
    pub(crate) fn check(&self, has_containers: bool) -> Result<(), FieldError> {
        let fault = |text: String| Err(FieldError(text));
        match (&self.repo, &self.branch, &self.image) {
            (None, Some(branch), _) => fault(format!("branch {branch} needs a repo")),
            (Some(repo), _, _) if has_containers && repo.is_local() => fault(format!(
                "repo {repo} is on the host, which a session in a container does not see"
            )),
            (_, _, Some(image)) if !has_containers => {
                fault(format!("image {image} needs Docker; this agent has the host runtime"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_profiles_and_images() {
        for good in ["default", "a", "9-b_c.d", &"x".repeat(64)] {
            assert!(ProfileName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "none", ".x", "..", "-x", "a/b", "a b", "ä", "a\n", &"x".repeat(65)] {
            assert!(ProfileName::parse(bad).is_err(), "{bad}");
        }
        for good in ["convocate:1.2", "host:5000/a/b@sha256:00", "x"] {
            assert!(ImageName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "a b", "a\u{1b}", "/x", &"x".repeat(257)] {
            assert!(ImageName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_of_repositories() {
        for (good, directory) in [
            ("https://github.com/a/web.git", "web"),
            ("https://git.example:8443/web/", "web"),
            ("ssh://git@host.example:2222/srv/a.b.git/", "a.b"),
            ("ssh://[2001:db8::1]/x", "x"),
            ("git@github.com:a/b.git", "b"),
            ("host:web", "web"),
            ("host:.dotfiles", ".dotfiles"),
            ("file:///srv/git/web", "web"),
            ("/srv/git/web.git", "web"),
        ] {
            let repo = RepoUrl::parse(good).expect(good);
            assert_eq!(repo.directory(), directory, "{good}");
            assert_eq!(repo.is_local(), good.starts_with('/') || good.starts_with("file"));
        }
        for bad in [
            "",
            "-u",
            "--upload-pack=x",
            "web",
            "./web",
            "http://host/x",
            "git://host/x",
            "ext::sh -c id",
            "ext::id",
            "https://",
            "https://host",
            "https://-x/y",
            "https:///x",
            "ssh://-oProxyCommand=id/x",
            "ssh://git@-oProxyCommand=id/x",
            "-oProxyCommand=id:x",
            "git@-oProxyCommand=id:x",
            "host:-x",
            "host:",
            "host::x",
            "a@b@c:x",
            "https://host/a b",
            "https://host/a\u{1b}b",
            "/srv/..",
            "/",
            "file://host/x",
            "https://host/-x",
            &format!("https://host/{}", "x".repeat(REPO_BYTES_MAX)),
        ] {
            let error = RepoUrl::parse(bad).expect_err(bad).to_string();
            assert!(!error.chars().any(char::is_control), "{error}");
        }
        for secret in ["https://secret@host/x", "https://a:secret@host/x", "ssh://a:secret@h/x"] {
            let error = RepoUrl::parse(secret).expect_err(secret).to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn branches() {
        for good in ["main", "feature/a-b", "v1.2", "été", "a@b"] {
            assert!(Branch::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-x",
            "a b",
            "a..b",
            "a@{b",
            "a/",
            "/a",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.",
            "@",
            "a~1",
            "a^",
            "a:b",
            "a\\b",
            "a\u{7f}",
            &"x".repeat(245),
        ] {
            assert!(Branch::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts() {
        assert!(SetupCommand::parse("npm ci && make # all").is_ok());
        assert!(Prompt::parse("fix #12\n\tthen rest").is_ok());
        for bad in ["", " \n", "a\u{1b}b", "a\0b", &"x".repeat(PROMPT_BYTES_MAX + 1)] {
            assert!(SetupCommand::parse(bad).is_err(), "{bad:?}");
            assert!(Prompt::parse(bad).is_err(), "{bad:?}");
        }
        assert!(SetupCommand::parse("a\nb").is_err() && Prompt::parse("-p").is_err());
    }

    #[test]
    fn what_does_not_go_together() {
        let branch = Some(Branch::parse("main").unwrap());
        let local = RepoUrl::parse("/srv/x").ok();
        let image = ImageName::parse("x:1").ok();
        let alone = Startup { branch: branch.clone(), ..Startup::default() };
        assert!(alone.check(true).is_err());
        let cloned = Startup { branch, repo: local, ..Startup::default() };
        assert_eq!((cloned.check(false), cloned.check(true).is_err()), (Ok(()), true));
        let imaged = Startup { image, ..Startup::default() };
        assert_eq!((imaged.check(true), imaged.check(false).is_err()), (Ok(()), true));
    }
}
