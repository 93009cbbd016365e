//! The flags and operands of commands on sessions.

use crate::cli::command::{Flag, Operand};

pub(crate) const AGENT: Flag = Flag {
    name: "agent",
    value: Some("A"),
    summary: "only this agent: its id, the start of its id, or its host",
    choices: &[],
};
pub(crate) const NAME: Flag =
    Flag { name: "name", value: Some("NAME"), summary: "another name", choices: &[] };
pub(crate) const PORT: Flag = Flag {
    name: "port",
    value: Some("N"),
    summary: "published port: a number, auto or none",
    choices: &["auto", "none"],
};
pub(crate) const PROTO: Flag = Flag {
    name: "proto",
    value: Some("P"),
    summary: "protocol of the port: tcp or udp",
    choices: &["tcp", "udp"],
};
pub(crate) const DNS: Flag = Flag {
    name: "dns",
    value: Some("LABEL"),
    summary: "name in the DNS of the cluster, one host label",
    choices: &[],
};
pub(crate) const COMMAND: Flag =
    Flag { name: "command", value: Some("TEXT"), summary: "command that runs in it", choices: &[] };
pub(crate) const DOCKER: Flag = Flag {
    name: "docker",
    value: Some("WHETHER"),
    summary: "yes mounts the host's Docker socket, which makes it root on the host",
    choices: &["yes", "no"],
};
pub(crate) const MEMORY: Flag = Flag {
    name: "memory",
    value: Some("SIZE"),
    summary: "most memory that it may use, as 512m or 4g",
    choices: &[],
};
pub(crate) const CPUS: Flag = Flag {
    name: "cpus",
    value: Some("N"),
    summary: "most processors that it may use, as 1.5",
    choices: &[],
};
pub(crate) const PIDS: Flag = Flag {
    name: "pids",
    value: Some("N"),
    summary: "most processes that it may have",
    choices: &[],
};
pub(crate) const SESSION: Operand = Operand { name: "SESSION", is_optional: false, choices: &[] };
pub(crate) const NEW_NAME: Operand = Operand { name: "NAME", is_optional: false, choices: &[] };
pub(crate) const SESSION_HELP: &str = "\
SESSION is the session's id, the start of its id, or its name. If several sessions
match, convocate lists them and does nothing.
";
