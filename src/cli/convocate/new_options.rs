//! What is said of a new session: by options, by a profile, or by neither.

use crate::cli::command::{Flag, Parsed};
use crate::cli::convocate::session_flags::{
    AGENT, ALLOW, BRANCH, CLAUDE_LOGIN, COMMAND, CPUS, DENY, DNS, DOCKER, EGRESS, ENV, IMAGE,
    MEMORY, PIDS, PORT, PROMPT, PROTO, PUBLISH, REPO, SETUP, SSH_KEY,
};
use crate::cli::output::Failure;
use crate::fleet::profiles::{self, Chosen};
use crate::fleet::run::profiles::read_profile;
use crate::paths::Paths;
use crate::rpc::options::SessionOptions;
use crate::rpc::values;

/// The options that are settings, too.
pub(super) const SETTING_FLAGS: [Flag; 21] = [
    AGENT,
    IMAGE,
    COMMAND,
    REPO,
    BRANCH,
    SETUP,
    PROMPT,
    ENV,
    PORT,
    PROTO,
    PUBLISH,
    DNS,
    EGRESS,
    ALLOW,
    DENY,
    SSH_KEY,
    CLAUDE_LOGIN,
    DOCKER,
    MEMORY,
    CPUS,
    PIDS,
];

/// What the options say.
pub(super) fn said(parsed: &Parsed) -> Result<SessionOptions, Failure> {
    let mut options = SessionOptions::default();
    for flag in SETTING_FLAGS {
        for value in parsed.values(&flag) {
            options
                .set(flag.name, value)
                .map_err(|error| Failure::Usage(format!("--{}: {error}", flag.name)))?;
        }
    }
    Ok(options)
}

/// The profile of this name, or the one that is used where none is named.
pub(super) fn chosen_profile(name: Option<&str>, paths: &Paths) -> Result<Option<Chosen>, Failure> {
    match name {
        Some(profiles::NONE) => Ok(None),
        Some(text) => {
            let name = values::profile(text).map_err(Failure::Usage)?;
            let missing =
                || Failure::Failed(profiles::missing(&name, &paths.profiles().join(name.as_str())));
            let found = read_profile(paths, &name).map_err(Failure::Failed)?.ok_or_else(missing)?;
            Ok(Some(Chosen { name, options: found }))
        }
        None => {
            let name = profiles::default_name();
            let found = read_profile(paths, &name).map_err(Failure::Failed)?;
            Ok(found.map(|options| Chosen { name, options }))
        }
    }
}
