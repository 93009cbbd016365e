//! The Claude CLI and its login, as `init-agent` brings them to a host.

use crate::operator::Operator;
use crate::support::testbed::Host;

const TOKEN: &str = "sk-ant-oat01-the-token-of-a-cluster-0123456789";
/// What it says of its version.
const PROGRAM: &str = "#!/bin/sh\necho 9.8.7 '(a stand-in)'\n";

/// The operator's files: the program and the token.
pub fn files(operator: &Operator) -> [String; 2] {
    operator.write("claude-program", PROGRAM, 0o755);
    operator.write("claude-token", &format!("{TOKEN}\n"), 0o600);
    ["claude-program", "claude-token"].map(|name| operator.path(name))
}

/// The last call has changed nothing: both are there, and the token is nowhere else.
pub fn it_is_there_and_its_login_is_the_agents(operator: &Operator, host: &Host) {
    let access = "stat -c '%U:%G %a' /usr/local/bin/claude /etc/convocate-agent/claude-token";
    assert_eq!(host.done(access), "root:root 755\nclaude:claude 600");
    assert!(host.done("/usr/local/bin/claude --version").contains("9.8.7"));
    assert_eq!(host.done("cat /etc/convocate-agent/claude-token"), TOKEN);
    let places = "/etc /var /run /tmp /root";
    let found = host.sh(&format!("grep -rslF {TOKEN} {places} | grep -v ^/run/.*/cmdline")).out;
    assert_eq!(found.trim(), "/etc/convocate-agent/claude-token");
    let journal = host.sh(&format!("journalctl --no-pager | grep -cF {TOKEN}")).out;
    assert_eq!(journal.trim(), "0");
    let told = host.sh("convocate-agent check | grep '^login for claude'").out;
    assert!(told.starts_with("login for claude: OAuth token, put there "), "{told}");
    assert!(!operator.calls().contains(TOKEN));
}
