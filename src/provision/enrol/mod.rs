//! Making an agent belong to a shell host: the plan of each side, and what they say to each other.

pub mod agent;
pub mod leave;
pub mod messages;
pub mod shell;
