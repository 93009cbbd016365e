//! `convocate install`: the shell host.

use super::support::testbed::{Host, Kind};
use super::{host, summary};

#[test]
fn a_shell_host_is_installed_once() {
    let Some(host) = host("a_shell_host_is_installed_once", Kind::Plain) else { return };
    let install = "/root/convocate install --no-image";
    assert_eq!(host.sh(&format!("{install} --check")).code, 0);
    assert_eq!(host.sh("getent passwd claude; ls /etc/convocate").out, "");
    let first = host.done(install);
    assert_eq!(summary(&first)[3], 0, "{first}");
    assert!(first.contains("status host key  ssh-ed25519 AAAA"), "{first}");
    let [steps, changed, ok, failed] = summary(&host.done(install));
    assert_eq!((changed, ok, failed), (0, steps, 0));

    assert_eq!(host.done("systemctl is-active convocate-status"), "active");
    assert_eq!(host.done("systemctl is-enabled convocate-status"), "enabled");
    assert!(host.done("ss -ltn").contains(":223 "), "nobody listens");
    let pid = host.done("systemctl show -p MainPID --value convocate-status");
    assert_eq!(host.done(&format!("ps -o user= -p {pid}")), "claude");
    assert_eq!(
        host.done("stat -c '%U:%G %a' /etc/convocate /etc/convocate/*_key /run/convocate"),
        "root:claude 750\nroot:claude 640\nclaude:claude 750"
    );
    let security = host.done("systemd-analyze security --no-pager convocate-status | tail -1");
    let score = security.split(": ").nth(1).and_then(|rest| rest.split(' ').next());
    let score: f64 = score.and_then(|score| score.parse().ok()).expect("a score");
    assert!(score < 2.5, "{security}");

    // Its login shell is the program and nothing else.
    assert!(host.done("getent passwd claude").ends_with(":/usr/local/bin/convocate"));
    assert!(host.done("su - claude -c version").contains("version v"));
    assert_ne!(host.sh("su - claude -c id").code, 0);
    over_ssh(&host);
}

/// What somebody gets who logs in as `claude` with the stock client.
fn over_ssh(host: &Host) {
    host.done(
        "set -e; ssh-keygen -q -t ed25519 -N '' -f /root/key; \
         install -d -o claude -g claude -m 0700 /home/claude/.ssh; \
         install -o claude -g claude -m 0600 /root/key.pub /home/claude/.ssh/authorized_keys",
    );
    let login = "ssh -i /root/key -o StrictHostKeyChecking=accept-new -o LogLevel=ERROR";
    let call = |flags: &str, line: &str| {
        host.sh(&format!("{login} {flags} claude@127.0.0.1 {line} </dev/null"))
    };
    let listed = call("", "ls --json");
    assert_eq!(listed.code, 0, "{}", listed.text);
    assert!(listed.out.starts_with("{\"incomplete\":[]"), "{}", listed.text);
    // The key that leaves is pressed when the screen is there.
    let screen = host.sh(&format!(
        "touch /root/shown; {{ \
             until grep -q 'No agent is known yet' /root/shown; do sleep 0.1; done; \
             printf q; }} | TERM=xterm timeout 30 {login} -tt claude@127.0.0.1 >/root/shown"
    ));
    assert_eq!(screen.code, 0, "{}", screen.text);
    for line in ["id", "'sh -c id'", "'ls; id'", "'ls $(id)'", "bash"] {
        let told = call("", line);
        assert!(told.code != 0 && !told.text.contains("uid="), "{line}: {}", told.text);
    }
    // Files are not to be had either.
    assert_ne!(call("-s", "sftp").code, 0);
}
