//! The agent: it owns the sessions of one host.
//!
//! `core` decides, `work` is what it wants done outside, `serve` does it. The core takes calls,
//! outcomes, events of the runtime and the time; it gives actions and its next deadline. Only
//! `serve` knows sockets, files and processes.
//!
//! | file | what it is |
//! | --- | --- |
//! | `core`, `action`, `config` | the core, what it asks for, what it is told at its start |
//! | `defaults` | what a session may use that was not asked for otherwise, and `agent.conf` |
//! | `state`, `session`, `reservations`, `capacity` | what it knows and the transitions of it |
//! | `queue`, `op`, `listing` | whose turn it is, the operations, asking what runs |
//! | `deleted_homes` | homes of deleted sessions that are being erased |
//! | `home_growth` | who fills the disk, told before anybody is refused for it |
//! | `record`, `lock` | what is believed of a session, and the lock file |
//! | `session_key`, `signer` | the git key of each session, and who signs with it for the session |
//! | `attention` | what the program in a session wants of a person |
//! | `drive`, `drives` | screens, texts, keys and commands: what runs in a session for them |
//! | `recovery` | a session that ended with the engine or the host, and is started again |
//! | `repository` | what the repository of a session is like, and when git is asked |
//! | `last_words` | what a session leaves at its end |
//! | `exchange`, `relay`, `peer` | one channel of each subsystem, and the connection they are on |
//! | `spool`, `emitter` | events on disk until the shell host has them, and their way there |
//! | `uplink` | the connection to the shell host |
//! | `host` | the command lines of the `host` runtime |
//! | `environment` | what stands in the environment of every session |
//! | `claude_settings` | settings and login of the Claude CLI in a session |
//! | `engine_words` | what to do about what the Engine refuses |
//! | `docker`, `image` | sessions as containers, and the image that they are made from |
//! | `serve` | the driver |

pub mod action;
pub(crate) mod attention;
mod capacity;
pub mod claude_settings;
pub mod config;
pub mod core;
pub(crate) mod defaults;
mod deleted_homes;
pub mod docker;
mod drive;
mod drives;
pub(crate) mod egress;
pub mod emitter;
mod engine_words;
pub(crate) mod environment;
pub mod exchange;
mod home_growth;
pub mod host;
pub mod image;
pub mod last_words;
mod listing;
pub mod load;
pub mod lock;
mod op;
pub mod peer;
mod ports_in_use;
mod queue;
pub mod record;
mod recovery;
pub mod relay;
mod repository;
mod reservations;
pub mod serve;
mod session;
pub(crate) mod session_key;
pub(crate) mod signer;
pub mod spool;
mod startup;
mod state;
pub mod uplink;
pub mod work;

pub use capacity::Totals;
