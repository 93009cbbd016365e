//! The flags and operands of commands on sessions.

use crate::cli::command::{Flag, Operand};

pub(crate) const AGENT: Flag =
    Flag::value("agent", "A", "only this agent: its id, the start of its id, or its host");
pub(crate) const NAME: Flag = Flag::value("name", "NAME", "another name");
pub(crate) const PORT: Flag =
    Flag::choice("port", "N", "published port: a number, auto or none", &["auto", "none"]);
pub(crate) const PROTO: Flag =
    Flag::choice("proto", "P", "protocol of the port: tcp or udp", &["tcp", "udp"]);
pub(crate) const PUBLISH: Flag = Flag::choice(
    "publish",
    "ADDRESS",
    "where its port is: an address, all, or default: loopback and the agent's own",
    &["default", "all"],
);
pub(crate) const EGRESS: Flag =
    Flag::choice("egress", "E", "what it reaches: open, list or none", &["open", "list", "none"]);
pub(crate) const ALLOW: Flag =
    Flag::value("allow", "NAME…", "a name that it reaches with egress list, or a set of names");
pub(crate) const DENY: Flag =
    Flag::value("deny", "NAME…", "a name that it does not reach, whatever allows it");
pub(crate) const DROP_RULE: Flag =
    Flag::value("drop-rule", "NAME…", "a name of --allow or --deny of which nothing is said more");
pub(crate) const SSH_KEY: Flag =
    Flag::choice("ssh-key", "WHICH", "its git key: new or none", &["new", "none"]);
pub(crate) const CLAUDE_LOGIN: Flag = Flag::choice(
    "claude-login",
    "WHETHER",
    "no keeps its host's Claude login from it; yes if not given",
    &["yes", "no"],
);
pub(crate) const DNS: Flag =
    Flag::value("dns", "LABEL", "name in the DNS of the cluster, one host label");
pub(crate) const COMMAND: Flag = Flag::value("command", "TEXT", "command that runs in it");
pub(crate) const PROFILE: Flag = Flag::choice(
    "profile",
    "P",
    "the profile that it is made with, or none; default where there is one",
    &["none"],
);
pub(crate) const IMAGE: Flag = Flag::value("image", "IMAGE", "image of its container");
pub(crate) const REPO: Flag =
    Flag::value("repo", "URL", "git repository that it clones at its first start");
pub(crate) const BRANCH: Flag = Flag::value("branch", "B", "branch or tag of the repository");
pub(crate) const SETUP: Flag =
    Flag::value("setup", "TEXT", "command that runs once, after the clone");
pub(crate) const PROMPT: Flag =
    Flag::value("prompt", "TEXT", "what its command gets as last argument, once");
pub(crate) const ENV: Flag = Flag::value("env", "NAME=VALUE…", "variable of its environment");
pub(crate) const CHANGED_ENV: Flag = Flag::value("env", "NAME[=VALUE]…", ENV.summary);
pub(crate) const DOCKER: Flag = Flag::choice(
    "docker",
    "WHETHER",
    "yes mounts the host's Docker socket, which makes it root on the host",
    &["yes", "no"],
);
pub(crate) const MEMORY: Flag =
    Flag::value("memory", "SIZE", "most memory that it may use, as 512m or 4g");
pub(crate) const CPUS: Flag = Flag::value("cpus", "N", "most processors that it may use, as 1.5");
pub(crate) const PIDS: Flag = Flag::value("pids", "N", "most processes that it may have");
pub(crate) const SESSION: Operand =
    Operand { name: "SESSION", is_optional: false, is_many: false, choices: &[] };
/// One session or several.
pub(crate) const SESSIONS: Operand =
    Operand { name: "SESSION", is_optional: false, is_many: true, choices: &[] };
pub(crate) const TIMEOUT: Flag =
    Flag::value("timeout", "TIME", "how long at most, as 90, 90s, 10m or 2h");
pub(crate) const NEW_NAME: Operand =
    Operand { name: "NAME", is_optional: false, is_many: false, choices: &[] };
pub(crate) const SESSION_HELP: &str = "\
SESSION is the session's id, the start of its id, or its name. If several sessions
match, convocate lists them and does nothing. A whole name comes before the start of an id.
";
pub(crate) const SESSIONS_HELP: &str = "\
SESSION is the session's id, the start of its id, or its name; several may be given. If
several sessions match one of them, convocate lists them and does nothing to those.
";
