//! The flags that several commands have, each once, and how their values are read.

use std::path::PathBuf;

use crate::cli::command::{Flag, Parsed};
use crate::cli::output::Failure;
use crate::paths::Paths;

pub(crate) const ROOT: Flag = Flag::value("root", "DIR", "use every path below DIR instead of /");
pub(crate) const JSON: Flag = Flag::switch("json", "print JSON, for scripts");
pub(crate) const CHECK: Flag =
    Flag::switch("check", "only say what would change, and change nothing");
/// How a program runs for `convocate-host`: it reads what to do from standard input.
pub(crate) const REQUEST: Flag = Flag::switch("request", "");
pub(crate) const BASE: Flag =
    Flag::value("base", "IMAGE", "base of the session image, for a host without a network");
pub(crate) const NO_IMAGE: Flag =
    Flag::switch("no-image", "do not build the session image: it is shipped here later");
pub(crate) const UNTIL_STDIN_ENDS: Flag =
    Flag::switch("until-stdin-ends", "end when standard input ends");

/// The variable of the environment that stands for `--root` where that is not given.
const ROOT_VARIABLE: &str = "CONVOCATE_ROOT";

/// The paths below `--root`, or else of the environment.
pub(crate) fn root_paths(parsed: &Parsed) -> Result<Paths, Failure> {
    let variable = std::env::var(ROOT_VARIABLE).ok().filter(|root| !root.is_empty());
    match parsed.value(&ROOT).or(variable.as_deref()) {
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
