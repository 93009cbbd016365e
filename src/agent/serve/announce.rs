//! What an agent says when it begins to serve.

use std::io;

use super::Options;
use super::peers::Peers;
use super::registry::Owner;
use crate::agent::config::RuntimeKind;
use crate::daemon::event_loop::{self, EventLoop};

/// Says where it listens. On a full disk, too, the agent has to serve: how else would sessions be
/// deleted?
pub(super) fn announce<W: io::Write>(
    event_loop: &mut EventLoop<Owner, W>,
    peers: &Peers,
    agent_id: &str,
    options: &Options,
) {
    let Some(address) = peers.listener().tcp_address() else { return };
    let runtime = match options.runtime {
        RuntimeKind::Docker => "docker",
        RuntimeKind::Host => "host (sessions without containers, for trying out)",
    };
    let log = &mut event_loop.log;
    log.info(format_args!("agent {agent_id} listening on {address}, runtime {runtime}"));
    if let Err(error) = event_loop::write_address(&options.paths.agent_address(), address) {
        event_loop.log.warning(format_args!("the address cannot be written to a file: {error}"));
    }
    event_loop.tell_ready();
}
