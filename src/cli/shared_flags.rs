//! The flags that several commands have, each once, and how their values are read.

use std::path::PathBuf;

use crate::cli::command::{Flag, Parsed};
use crate::cli::output::Failure;
use crate::paths::Paths;

pub(crate) const ROOT: Flag = Flag {
    name: "root",
    value: Some("DIR"),
    summary: "use every path below DIR instead of /",
    choices: &[],
};
pub(crate) const JSON: Flag =
    Flag { name: "json", value: None, summary: "print JSON, for scripts", choices: &[] };
pub(crate) const CHECK: Flag = Flag {
    name: "check",
    value: None,
    summary: "only say what would change, and change nothing",
    choices: &[],
};
/// How a program runs for `convocate-host`: it reads what to do from standard input.
pub(crate) const REQUEST: Flag = Flag { name: "request", value: None, summary: "", choices: &[] };
pub(crate) const BASE: Flag = Flag {
    name: "base",
    value: Some("IMAGE"),
    summary: "base of the session image, for a host without a network",
    choices: &[],
};
pub(crate) const NO_IMAGE: Flag = Flag {
    name: "no-image",
    value: None,
    summary: "do not build the session image: it is shipped here later",
    choices: &[],
};
pub(crate) const UNTIL_STDIN_ENDS: Flag = Flag {
    name: "until-stdin-ends",
    value: None,
    summary: "end when standard input ends",
    choices: &[],
};

/// The paths below `--root`.
pub(crate) fn root_paths(parsed: &Parsed) -> Result<Paths, Failure> {
    match parsed.value(&ROOT) {
        None => Ok(Paths::default()),
        Some("") => Err(Failure::Usage("--root needs a directory".to_owned())),
        Some(root) => Ok(Paths::below(root)),
    }
}

/// A flag's path, or `default` where the flag is not given.
pub(crate) fn path_flag(
    parsed: &Parsed,
    flag: &Flag,
    default: PathBuf,
) -> Result<PathBuf, Failure> {
    match parsed.value(flag) {
        None => Ok(default),
        Some("") => Err(Failure::Usage(format!("--{} needs a path", flag.name))),
        Some(path) => Ok(PathBuf::from(path)),
    }
}

/// A flag's value, if it is given, as `read` understands it.
pub(crate) fn read_flag<T>(
    parsed: &Parsed,
    flag: &Flag,
    read: fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Failure> {
    let text = parsed.value(flag);
    text.map(read).transpose().map_err(|error| Failure::Usage(format!("--{}: {error}", flag.name)))
}
