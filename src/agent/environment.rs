//! What stands in the environment of every session, with both runtimes.

/// For the Claude CLI: all colours of the terminal, no update of itself (the host's file is the one
/// that is pinned), and no calls but those to its model. It reads them before its settings.
pub(crate) const SESSION_ENV: [(&str, &str); 5] = [
    ("COLORTERM", "truecolor"),
    ("CLAUDE_CODE_TMUX_TRUECOLOR", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL", "1"),
];

/// The name of the socket on which a session's key is lent to it.
pub(crate) const SESSION_SOCKET: &str = "session.sock";

/// Makes a terminal that this system has no description of, or that has no screen, the one that
/// nearly all understand; then becomes the program behind it.
pub(crate) const WITH_KNOWN_TERM: &str =
    r#"tput clear >/dev/null 2>&1 || export TERM=xterm-256color; exec "$@""#;
