//! What stands in the environment of every session, with both runtimes.

use crate::limits::EGRESS_PORT;

/// For the Claude CLI: all colours of the terminal, no update of itself (the host's file is the one
/// that is pinned), and no calls but those to its model. It reads them before its settings.
pub(crate) const SESSION_ENV: [(&str, &str); 5] = [
    ("COLORTERM", "truecolor"),
    ("CLAUDE_CODE_TMUX_TRUECOLOR", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL", "1"),
];

/// For whatever speaks HTTP in a session that reaches names alone: the way out. Programs know these
/// names in one case or the other; `NODE_USE_ENV_PROXY` has Node.js look at them.
pub(crate) fn proxy_env() -> [(&'static str, String); 9] {
    let proxy = format!("http://127.0.0.1:{EGRESS_PORT}");
    let none = "localhost,127.0.0.1,::1".to_owned();
    [
        ("http_proxy", proxy.clone()),
        ("https_proxy", proxy.clone()),
        ("all_proxy", proxy.clone()),
        ("no_proxy", none.clone()),
        ("HTTP_PROXY", proxy.clone()),
        ("HTTPS_PROXY", proxy.clone()),
        ("ALL_PROXY", proxy),
        ("NO_PROXY", none),
        ("NODE_USE_ENV_PROXY", "1".to_owned()),
    ]
}

/// The name of the socket on which a container hands over the socket of its network.
pub(crate) const HANDOVER_SOCKET: &str = "network.sock";

/// The file beside it that tells ssh its way out.
pub(crate) const SSH_CONFIG: &str = "ssh_config";

/// The name of the socket on which a session's key is lent to it.
pub(crate) const SESSION_SOCKET: &str = "session.sock";

/// Makes a terminal that this system has no description of, or that has no screen, the one that
/// nearly all understand; then becomes the program behind it.
pub(crate) const WITH_KNOWN_TERM: &str =
    r#"tput clear >/dev/null 2>&1 || export TERM=xterm-256color; exec "$@""#;
