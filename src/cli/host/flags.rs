//! The flags that say which host a command works on, and with which programs.

use std::path::PathBuf;

use crate::cli::command::{Flag, Parsed};
use crate::cli::output::Failure;
use crate::paths::DOCKER_SOCKET;
use crate::provision::openssh::Target;
use crate::provision::remote::claude::ClaudeChoice;
use crate::provision::remote::programs::Programs;

pub(crate) const HOST: Flag = Flag {
    name: "host",
    value: Some("H"),
    summary: "the host, as ssh knows it; this machine if not given",
    choices: &[],
};
pub(crate) const USER: Flag = Flag {
    name: "user",
    value: Some("U"),
    summary: "who logs in there; what ~/.ssh/config says, or $USER, if not given",
    choices: &[],
};
pub(crate) const BIN: Flag = Flag {
    name: "bin",
    value: Some("DIR"),
    summary: "where the programs are that are brought there; beside this one if not given",
    choices: &[],
};
pub(crate) const CLAUDE: Flag = Flag {
    name: "claude",
    value: Some("FILE"),
    summary: "the Claude CLI for sessions there; the one on your PATH if not given",
    choices: &[],
};
pub(crate) const CLAUDE_VERSION: Flag = Flag {
    name: "claude-version",
    value: Some("V"),
    summary: "the released Claude CLI that the host fetches by itself, as 2.1.332",
    choices: &[],
};
pub(crate) const CLAUDE_FROM: Flag = Flag {
    name: "claude-from",
    value: Some("URL"),
    summary: "where it is fetched from, if not from its publisher",
    choices: &[],
};
pub(crate) const CLAUDE_TOKEN: Flag = Flag {
    name: "claude-token",
    value: Some("FILE"),
    summary: "what sessions there log in to Claude with: a file with a token or an API key",
    choices: &[],
};
pub(crate) const ENGINE: Flag = Flag {
    name: "docker-socket",
    value: Some("PATH"),
    summary: "where the Docker Engine here listens; /var/run/docker.sock if not given",
    choices: &[],
};

/// The other host that is meant; this machine if none.
pub(crate) fn target(parsed: &Parsed) -> Result<Option<Target>, Failure> {
    match parsed.value(&HOST) {
        Some(host) => {
            let target = Target::new(host, parsed.value(&USER)).map_err(Failure::Usage)?;
            Ok(Some(target))
        }
        None if parsed.has(&USER) => {
            Err(Failure::Usage("--user is for another host: give --host too".to_owned()))
        }
        None => Ok(None),
    }
}

/// Which Claude CLI is wanted on hosts.
pub(crate) fn claude_choice(parsed: &Parsed) -> Result<ClaudeChoice, Failure> {
    match (parsed.value(&CLAUDE), parsed.value(&CLAUDE_VERSION), parsed.value(&CLAUDE_FROM)) {
        (Some(_), Some(_), _) => {
            Err(Failure::Usage("give either --claude or --claude-version".to_owned()))
        }
        (_, None, Some(_)) => {
            Err(Failure::Usage("--claude-from is for --claude-version".to_owned()))
        }
        (None, Some(version), from) => {
            ClaudeChoice::released(version, from).map_err(Failure::Usage)
        }
        (path, None, None) => ClaudeChoice::of(path).map_err(Failure::Failed),
    }
}

/// Where the programs are that are brought to hosts.
pub(crate) fn programs(parsed: &Parsed) -> Programs {
    Programs::of(parsed.value(&BIN))
}

pub(crate) fn docker_socket(parsed: &Parsed) -> PathBuf {
    PathBuf::from(parsed.value(&ENGINE).unwrap_or(DOCKER_SOCKET))
}
