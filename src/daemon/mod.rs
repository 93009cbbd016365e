//! What the two daemons, agent and status listener, have in common.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`event_loop`] | waits for descriptors and deadlines; signals and the parent's pipe |
//! | [`ssh_server`] | accepts, admits and authenticates connections, and moves their bytes |
//! | [`authorized_keys`] | which keys may log in, read again when the file has changed |
//! | [`exchange_budget`] | how many key exchanges with strangers one turn makes |
//! | [`farewell`] | the last words on connections that are not waited for |
//! | [`known_sources`] | who has proven a key, kept over a restart |
//! | [`scarcity`] | says once a minute that descriptors run out |
//! | [`error`] | why a daemon does not serve |

pub(crate) mod authorized_keys;
pub(crate) mod error;
pub(crate) mod event_loop;
pub(crate) mod exchange_budget;
pub(crate) mod farewell;
pub(crate) mod known_sources;
pub(crate) mod scarcity;
pub(crate) mod ssh_server;
