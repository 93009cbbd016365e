//! Who owns which descriptor of the agent.

/// The part of the server that an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// tcp/222
    Listener,
    /// SIGTERM and its like.
    Signals,
    /// Results of the threads.
    Disk,
    /// Standard input, whose end ends an embedded agent.
    ParentPipe,
    /// A connection of the shell host.
    Peer,
    /// A terminal's stream or process.
    Terminal,
    /// A socket on which a session is lent its key, or a connection to it.
    KeySocket,
    /// What belongs to a session that reaches names alone.
    Egress,
    /// What tells of changes in status files, or a program that one of them names.
    Attention,
    /// Docker's socket, or tmux.
    Runtime,
    /// Our connection to the shell host.
    Uplink,
}

/// The reactor and the owners of its keys.
pub(super) type Registry = crate::io::registry::Registry<Owner>;
