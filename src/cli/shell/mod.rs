//! Commands of `convocate` that set up the shell host, and take agents in there.

pub mod enrol;
pub mod install;
pub mod renew;
