//! The operator's profiles: what a new session is made with where no option says otherwise.
//!
//! They are files of the shell host. An agent gets plain fields, checks them again, and keeps the
//! profile's name for people.

use std::path::Path;

use crate::rpc::options::SessionOptions;
use crate::rpc::startup::ProfileName;

/// What stands for a profile where none is wanted.
pub(crate) const NONE: &str = "none";

/// The profile that is used where none is named.
pub(crate) fn default_name() -> ProfileName {
    ProfileName::parse("default").expect("letters are a name")
}

/// A profile of this host.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub(crate) name: ProfileName,
    /// What it says, or the sentence why it cannot be used.
    pub(crate) options: Result<SessionOptions, String>,
}

/// A profile that a session is to be made with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chosen {
    pub(crate) name: ProfileName,
    pub(crate) options: SessionOptions,
}

/// What was said, and of the profile what was not.
///
/// # Errors
/// One sentence.
pub(crate) fn merged(
    said: SessionOptions,
    profile: Option<&Chosen>,
) -> Result<SessionOptions, String> {
    match profile {
        Some(chosen) => said.or(&chosen.options).map_err(|error| error.0),
        None => Ok(said),
    }
}

/// The sentence for a profile that is not there.
pub(crate) fn missing(name: &ProfileName, path: &Path) -> String {
    format!("there is no profile {name}: {} is not there; see `convocate profiles`", path.display())
}
