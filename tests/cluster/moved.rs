//! The cluster at a later date, in the middle of a rotation: leaves are renewed at two thirds of
//! their life by whom each agent knows, also when it is over, and expired ones are refused.
//!
//! The clocks of whole processes are moved, by libfaketime: of each rsyslogd, of the shell host's
//! `convocate` and `convocate-host`, and of what puts a renewed certificate in its place. All else
//! has today's. Only calendars are moved: programs that wait for a while wait for a while.

use super::Cluster;
use super::renewal::{CA, PATIENCE, TLS, days_at, logs_arrive, read};
use super::support::testbed::{Host, Told};
use super::support::wait::wait_until;

/// Two thirds of a year are over, and the year is not.
const DUE: i64 = 250;
/// The year of what was renewed then is over, too.
const OVER: i64 = 620;
/// What is run with the day put in.
const MOVED: &str =
    "LD_PRELOAD=/usr/local/lib/libfaketime.so FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME";

/// A call on the shell host on a later day, by root for the operator.
pub fn on_day(shell: &Host, day: i64, call: &str) -> Told {
    let operator = "SUDO_USER=ann SUDO_UID=$(id -u ann) SUDO_GID=$(id -g ann)";
    shell.sh(&format!("env {operator} {MOVED}=+{day}d {call}"))
}

/// Two years go by. The day on which all is good again.
pub fn leaves_are_renewed_in_the_middle_of_a_rotation(cluster: &Cluster) -> i64 {
    for (_, host) in cluster.named() {
        host.done("apt-get install --yes --quiet --no-install-recommends libfaketime");
        host.done("cp /usr/lib/*/faketime/libfaketimeMT.so.1 /usr/local/lib/libfaketime.so");
    }
    let before = issuers(cluster);
    assert!(before[0] != before[2] && before[0] == before[1], "a rotation is open");
    it_is_day(cluster, DUE);
    logs_arrive(cluster, "late in the first year");
    all_are_renewed(cluster, DUE);
    logs_arrive(cluster, "with leaves of the second year");

    it_is_day(cluster, OVER);
    for (name, host) in cluster.named() {
        host.done("logger --tag convocate-agent in between");
        wait_until(PATIENCE, "an expired certificate to be refused", || {
            let log = host.sh("journalctl --unit rsyslog --since -1min").out;
            log.contains("certificate invalid: certificate expired")
        });
        assert!(days_at(&read(host, &format!("{TLS}/client.crt")), OVER) < 0, "{name}");
    }
    all_are_renewed(cluster, OVER);
    logs_arrive(cluster, "after all had expired");
    for (_, host) in cluster.named() {
        logs_arrived(cluster, host, "in between");
    }
    assert_eq!(issuers(cluster), before, "each is renewed by whom it knows");
    OVER
}

/// By whom the certificates of the agents are: shell, near, far.
fn issuers(cluster: &Cluster) -> [String; 3] {
    cluster
        .named()
        .map(|(_, host)| host.done(&format!("openssl x509 -noout -issuer -in {TLS}/client.crt")))
}

/// What looks at certificates is started anew on that day.
fn it_is_day(cluster: &Cluster, day: i64) {
    for (_, host) in cluster.named() {
        for unit in ["rsyslog", "convocate-certificate"] {
            let place = format!("/run/systemd/system/{unit}.service.d");
            let moved = format!("{MOVED}=+{day}d");
            host.done(&format!(
                "mkdir -p {place} && printf '[Service]\\nEnvironment={moved}\\n' >{place}/day.conf"
            ));
        }
        host.done("systemctl daemon-reload && systemctl restart rsyslog");
    }
}

fn all_are_renewed(cluster: &Cluster, day: i64) {
    let told = on_day(&cluster.shell, day, "convocate renew-certificates --json");
    assert_eq!(told.code, 0, "{}", told.text);
    assert_eq!(told.out.matches("\"renewed\":true").count(), 3, "{}", told.text);
    assert!(days_at(&read(&cluster.shell, &format!("{CA}/server.crt")), day) > 360);
    for (name, host) in cluster.named() {
        let renewed = read(host, &format!("{TLS}/client.crt"));
        assert!(days_at(&renewed, day) > 360, "{name}");
    }
}

fn logs_arrived(cluster: &Cluster, host: &Host, text: &str) {
    let id = host.done("cat /etc/convocate-agent/agent-id");
    let find = format!("grep -qF '{text}' /var/log/convocate-agent/{id}.log");
    wait_until(PATIENCE, text, || cluster.shell.sh(&find).code == 0);
}
