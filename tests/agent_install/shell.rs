//! `convocate install`: the shell host.

use super::support::testbed::Kind;
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
    assert!(score < 3.0, "{security}");

    // Its login shell is the program and nothing else.
    assert!(host.done("getent passwd claude").ends_with(":/usr/local/bin/convocate"));
    assert!(host.done("su - claude -c version").contains("version v"));
    assert_ne!(host.sh("su - claude -c id").code, 0);
}
