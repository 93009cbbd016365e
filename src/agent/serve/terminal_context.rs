//! What the two kinds of terminals have in common.

use super::engine::DockerRuntime;
use super::registry::Registry;
use crate::base::slots::Key;
use crate::io::pty::Size;
use crate::rpc::attach::TerminalSize;

/// What a turn of a terminal came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing that anyone has to know.
    Quiet,
    /// It is open from now on.
    Opened,
    /// It could not be opened.
    Failed(String),
}

/// What a terminal may need of the rest of the server, and under which key it is watched.
pub(super) struct TerminalContext<'a> {
    pub(super) registry: &'a mut Registry,
    pub(super) docker: Option<&'a mut DockerRuntime>,
    pub(super) key: Key,
}

pub(super) fn cells(size: TerminalSize) -> Size {
    Size { columns: size.cols(), rows: size.rows() }
}
