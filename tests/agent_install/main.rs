//! `convocate-agent install` and `check` on whole hosts with systemd and Docker.

#![allow(clippy::panic, reason = "helpers of tests fail like tests")]

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod full;
mod network;
mod sessions;
mod shell;

use std::time::Duration;

use support::testbed::{Host, Kind, NEEDS};
use support::wait::wait_until;

/// The session image.
const IMAGE: &str = concat!("convocate:", env!("CARGO_PKG_VERSION"));
/// How long a service may take to be there again.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host with our programs; `None` if this machine cannot have one, which has been reported.
fn host(test: &str, kind: Kind) -> Option<Host> {
    if !support::has(test, &NEEDS) {
        return None;
    }
    let host = Host::start(kind);
    if let Err(why) = host.bring_programs() {
        support::skip(test, &format!("program: ours do not run on Debian 12: {why}"));
        return None;
    }
    Some(host)
}

/// A host with an engine, where there is the session image to bring to it.
fn host_with_image(test: &str) -> Option<Host> {
    if !support::has_image(IMAGE) {
        let reason = format!("program: no image {IMAGE}: run tests/testbed/base-image.sh");
        support::skip(test, &reason);
        return None;
    }
    host(test, Kind::Docker)
}

/// The summary in a report: steps, changed, ok, failed.
fn summary(report: &str) -> [usize; 4] {
    let line = report.lines().find(|line| line.contains(" steps, ")).expect("a summary");
    let numbers = line.split(", ").map(|part| part.split(' ').next().and_then(|n| n.parse().ok()));
    let numbers: Vec<usize> = numbers.collect::<Option<_>>().expect("numbers");
    numbers.try_into().expect("four of them")
}

#[test]
fn without_docker_nothing_is_begun() {
    let Some(host) = host("without_docker_nothing_is_begun", Kind::Plain) else { return };
    let told = host.sh("/root/convocate-agent install --no-image");
    assert_eq!(told.code, 1, "{}", told.text);
    assert!(told.text.contains("docker … FAILED: no Docker engine answers at"), "{}", told.text);
    assert!(told.text.contains("apt-get install docker.io"), "{}", told.text);
    assert!(!told.text.contains("user claude"), "{}", told.text);
    assert_eq!(host.sh("getent passwd claude; ls /etc/convocate-agent").out, "");
    let call =
        "cp /root/convocate-agent /tmp; su -s /bin/sh nobody -c '/tmp/convocate-agent install'";
    let told = host.sh(call);
    assert_eq!(told.code, 1, "{}", told.text);
    assert!(told.text.contains("this needs root; run: sudo"), "{}", told.text);
}

#[test]
fn a_host_is_installed_mended_and_upgraded() {
    let test = "a_host_is_installed_mended_and_upgraded";
    let Some(host) = host(test, Kind::Docker) else { return };
    let install = "/root/convocate-agent install --no-image";

    // A check changes nothing and tells all.
    let told = host.sh(&format!("{install} --check"));
    assert_eq!(told.code, 0, "{}", told.text);
    assert!(told.text.contains("+ProtectSystem=strict"), "{}", told.text);
    assert_eq!(host.sh("getent passwd claude; ls /etc/convocate-agent").out, "");

    // Once, and then nothing is left to do.
    let first = host.done(install);
    assert_eq!(summary(&first)[3], 0, "{first}");
    let [steps, changed, ok, failed] = summary(&host.done(install));
    assert_eq!((changed, ok, failed), (0, steps, 0));

    // What it is then.
    assert_eq!(host.done("systemctl is-active convocate-agent"), "active");
    assert_eq!(host.done("systemctl is-enabled convocate-agent"), "enabled");
    assert!(host.done("ss -ltn").contains(":222 "), "nobody listens");
    let pid = host.done("systemctl show -p MainPID --value convocate-agent");
    assert_eq!(host.done(&format!("ps -o user= -p {pid}")), "claude");
    assert_eq!(
        host.done("stat -c '%U:%G %a' /etc/convocate-agent /etc/convocate-agent/*key"),
        "root:claude 750\nroot:claude 640\nroot:claude 640"
    );
    let security = host.done("systemd-analyze security --no-pager convocate-agent | tail -1");
    let score: f64 = security
        .split(": ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .and_then(|score| score.parse().ok())
        .expect("a score");
    assert!(score < 2.5, "{security}");

    mends(&host, install);
    upgrades(&host, install);
}

/// What somebody has changed is made good; the identity stays, and other people's files are kept.
fn mends(host: &Host, install: &str) {
    let id = host.done("cat /etc/convocate-agent/agent-id");
    let key = host.done("sha256sum /etc/convocate-agent/host_ed25519_key");
    host.done(
        "chmod 644 /etc/convocate-agent/host_ed25519_key; rmdir /home/claude/.skel; \
         echo theirs >/etc/cron.daily/convocate-image-prune; gpasswd -d claude docker; \
         systemctl disable --now convocate-agent",
    );
    let report = host.done(install);
    assert_eq!(summary(&report)[1], 5, "{report}");
    assert!(report.contains("mode 0644 → 0640"), "{report}");
    assert!(report.contains("keep what was there, which is not ours, as"), "{report}");
    assert_eq!(host.done("cat /etc/cron.daily/convocate-image-prune.dpkg-old"), "theirs");
    assert_eq!(host.done("cat /etc/convocate-agent/agent-id"), id);
    assert_eq!(host.done("sha256sum /etc/convocate-agent/host_ed25519_key"), key);
    assert_eq!(summary(&host.done(install))[1], 0);
}

/// A new program is put in its place and started; one that cannot start is told with its words.
fn upgrades(host: &Host, install: &str) {
    let pid = || host.done("systemctl show -p MainPID --value convocate-agent");
    let before = pid();
    // An older program: it differs in a byte that nobody reads.
    host.done(
        "cp /usr/local/bin/convocate-agent /root/old; echo >>/root/old; \
         install /root/old /usr/local/bin/convocate-agent",
    );
    let report = host.done(install);
    assert!(report.contains("rewrite /usr/local/bin/convocate-agent"), "{report}");
    assert!(report.contains("restart it, for /usr/local/bin/convocate-agent is newer"), "{report}");
    assert!(pid() != before && pid() != "0");
    assert_eq!(summary(&host.done(install))[1], 0);

    // It dies, and comes back.
    let before = pid();
    host.done(&format!("kill -9 {before}"));
    wait_until(PATIENCE, "the agent to be back", || {
        let now = pid();
        now != "0" && now != before && host.sh("ss -ltn").out.contains(":222 ")
    });

    // What cannot start says why, and the call can be repeated.
    host.done(
        "systemctl stop convocate-agent; \
         dir=/etc/systemd/system/convocate-agent.service.d; mkdir $dir; \
         echo '[Service]' >$dir/broken.conf; echo ExecStart= >>$dir/broken.conf; \
         echo 'ExecStart=/bin/sh -c \"echo my last words; exit 3\"' >>$dir/broken.conf; \
         systemctl daemon-reload",
    );
    let told = host.sh(install);
    assert_eq!(told.code, 1, "{}", told.text);
    assert!(told.text.contains("convocate-agent.service … FAILED: "), "{}", told.text);
    assert!(told.text.contains("| my last words"), "{}", told.text);
    assert!(told.text.contains("run it again"), "{}", told.text);
    host.done("rm -r /etc/systemd/system/convocate-agent.service.d; systemctl daemon-reload");
    host.done(install);
    assert_eq!(host.done("systemctl is-active convocate-agent"), "active");
}
