//! The commands of each program.
//!
//! A command is one file, named as its verb, in the directory of its program. It holds a
//! [`command::Command`]: flags, help, and the function that runs it. The program's table in
//! `mod.rs` lists it; help, parsing and completions come from the table. No command imports
//! another: what several need stands in the files beside them.
//!
//! | place | what it is |
//! | --- | --- |
//! | [`convocate`], [`agent`], [`host`] | the programs: each a table and its commands |
//! | [`command`] | what a table is: parsing, help, dispatch |
//! | [`shared_flags`] | flags of several commands, `--root` among them |
//! | [`start`] | how each program starts |
//! | [`output`], [`table`] | standard output and error; text tables |
//! | [`request`] | a request of `convocate-host` on standard input |
//! | [`steps`] | runs steps on this machine and reports them |
//! | [`this_host`] | name, program, keys and image of this machine |
//! | [`turn`] | one call at a time changes this machine |
//! | [`screen`] | the driver of the operator's screen |
//! | [`shell_words`] | the words of `-c "…"`, for the login shell |

pub mod agent;
pub mod command;
pub mod convocate;
pub mod host;
pub mod output;
pub mod request;
pub mod screen;
pub mod shared_flags;
pub mod shell_words;
pub mod start;
pub mod steps;
pub mod table;
pub mod this_host;
pub(crate) mod turn;
