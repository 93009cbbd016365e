//! Certificates in a cluster that is old: they are renewed, and one authority follows another.
//!
//! At first no clock is moved. The authority is older than the test instead, and issues what would
//! have been issued then. In the middle of a rotation the clock is moved: `moved`.

use std::time::{Duration, SystemTime};

use convocate::base::rng::Rng;
use convocate::base::time::Wall;
use convocate::x509::life::days_left;
use convocate::x509::{Authority, Certificate, CertificateRole};

use super::operator::{Operator, summaries};
use super::support::testbed::Host;
use super::support::wait::wait_until;
use super::{Cluster, moved};

pub const PATIENCE: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400;
/// The age of the authority.
const OLD_DAYS: i64 = 300;
/// The age of the certificates, whose year is two thirds over by then.
const DUE_DAYS: i64 = 250;
pub const CA: &str = "/etc/convocate/rsyslog-ca";
pub const TLS: &str = "/etc/convocate-agent/rsyslog-tls";

fn days_ago(days: i64) -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Wall::new(i64::try_from(since.as_secs()).expect("this century") - days * DAY, 0)
}

fn write(host: &Host, path: &str, text: &str) {
    host.done(&format!("cat >{path} <<'END'\n{text}END"));
}

pub fn read(host: &Host, path: &str) -> Certificate {
    Certificate::parse_pem(&format!("{}\n", host.done(&format!("cat {path}")))).expect(path)
}

fn days_of(certificate: &Certificate) -> i64 {
    days_at(certificate, 0)
}

/// How many days are left when so many have gone by.
pub fn days_at(certificate: &Certificate, day: i64) -> i64 {
    days_left(certificate.validity(), days_ago(-day))
}

/// An authority that has been there for long.
pub fn an_old_authority_is_there(shell: &Host) -> Authority {
    let authority = Authority::mint(days_ago(OLD_DAYS), &mut Rng::from_seed([51; 32]));
    shell.done(&format!("mkdir -p {CA} && umask 077 && touch {CA}/ca.key"));
    write(shell, &format!("{CA}/ca.key"), &authority.key().to_pem());
    write(shell, &format!("{CA}/ca.crt"), &authority.certificate().to_pem());
    authority
}

/// All certificates are as old as that, and what runs once a day runs now.
pub fn old_certificates_are_renewed(authority: &Authority, cluster: &Cluster) {
    let (shell, mut rng) = (&cluster.shell, Rng::from_seed([52; 32]));
    // An hour more: within the second in which it is issued, a certificate has a day more.
    let then = Wall::new(days_ago(DUE_DAYS).seconds() - 3600, 0);
    let server = format!("{CA}/server.crt");
    let present = read(shell, &server);
    let CertificateRole::Server { names, .. } = present.role() else {
        panic!("it is the collector's")
    };
    let old = authority.issue_server(present.key(), names, then, &mut rng).expect("it may");
    write(shell, &server, &old.to_pem());
    for (_, host) in cluster.named() {
        let old = authority.renew(&read(host, &format!("{TLS}/client.crt")), then, &mut rng);
        let old = old.expect("it may").to_pem();
        let id = host.done("cat /etc/convocate-agent/agent-id");
        write(host, &format!("{TLS}/client.crt"), &old);
        write(shell, &format!("/etc/convocate/agent-keys/{id}/client.crt"), &old);
        let told = host.sh("/usr/local/bin/convocate-agent check --json");
        assert!(told.out.contains("certificate of its logs, 114 days left"), "{}", told.text);
    }
    foreign_ones_are_not_taken(cluster);

    shell.done("systemctl is-active convocate-renewal.timer");
    are_confined(cluster);
    shell.done("systemctl start convocate-renewal.service");
    assert!(days_of(&read(shell, &server)) > 360);
    for (_, host) in cluster.named() {
        let id = host.done("cat /etc/convocate-agent/agent-id");
        let renewed = read(host, &format!("{TLS}/client.crt"));
        assert!(days_of(&renewed) > 360, "{}", days_of(&renewed));
        assert_eq!(renewed, read(shell, &format!("/etc/convocate/agent-keys/{id}/client.crt")));
    }
    let told = shell.done("convocate renew-certificates --json");
    assert_eq!(told.matches("\"renewed\":false").count(), 3, "{told}");
    logs_arrive(cluster, "with renewed certificates");
}

/// Whoever can write where the agent does cannot change the certificate to another agent's.
fn foreign_ones_are_not_taken(cluster: &Cluster) {
    let Cluster { near, far, .. } = cluster;
    let before = read(near, &format!("{TLS}/client.crt"));
    let foreign = read(far, &format!("{TLS}/client.crt")).to_pem();
    let place = "/var/lib/convocate-agent/renewed.crt";
    write(near, "/root/foreign", &foreign);
    near.done(&format!("install -o claude -g claude -m 0600 /root/foreign {place}.new"));
    near.done(&format!("mv {place}.new {place}"));
    wait_until(PATIENCE, "root to have looked at it", || {
        near.sh("journalctl -u convocate-certificate").out.contains("is not taken: ")
    });
    wait_until(PATIENCE, "it to be gone", || near.sh(&format!("test -e {place}")).code != 0);
    assert_eq!(read(near, &format!("{TLS}/client.crt")), before);
}

pub fn logs_arrive(cluster: &Cluster, text: &str) {
    for (_, host) in cluster.named() {
        let id = host.done("cat /etc/convocate-agent/agent-id");
        let find = format!("grep -qF '{text}' /var/log/convocate-agent/{id}.log");
        // Again and again: what is under way while a collector restarts can be lost with it.
        wait_until(PATIENCE, text, || {
            host.done(&format!("logger --tag convocate-agent {text}"));
            cluster.shell.sh(&find).code == 0
        });
    }
}

/// `far` is the call that enrols the far agent, from elsewhere.
pub fn one_authority_follows_another(operator: &Operator, cluster: &Cluster, far: &[&str]) {
    let shell = &cluster.shell;
    systemd_has_units_of_before(cluster);
    let rotate = ["init-shell", "--host", "shell", "--rotate-ca"];
    let told = operator.call(&rotate).expect_done().out();
    assert!(told.contains("run convocate-host init-agent for each of these"), "{told}");
    logs_arrive(cluster, "by the authority before");
    let told = operator.call(&rotate);
    assert!(told.code() == 1 && told.err().contains("a rotation has begun already"));

    operator.fetch_authority(shell);
    who_was_cut_short_has_not_followed(operator, cluster, far);
    operator.call(far).expect_done();
    systemd_has_read_all(cluster);
    let finish = ["init-shell", "--host", "shell", "--finish-rotation"];
    let told = operator.call(&finish);
    let id = |host: &Host| host.done("cat /etc/convocate-agent/agent-id");
    assert_eq!(told.code(), 1, "{}", told.out());
    for (name, host) in cluster.named() {
        assert_eq!(told.err().contains(&id(host)), name != "far", "{name}: {}", told.err());
    }

    let day = moved::leaves_are_renewed_in_the_middle_of_a_rotation(cluster);
    shell.bring_programs().expect("they ran here before");
    let call = |call: &str| {
        let told = moved::on_day(shell, day, &format!("/root/convocate-host {call}"));
        assert_eq!(told.code, 0, "{}", told.text);
        told.out
    };
    let address = shell.address();
    for whom in ["--host near", ""] {
        call(&format!("init-agent {whom} --shell-host {address}"));
    }
    call("init-shell --finish-rotation");
    let told = call("init-shell --finish-rotation");
    assert!(summaries(&told).iter().all(|counts| counts[1] == 0), "{told}");
    assert_eq!(shell.done(&format!("grep -c BEGIN {CA}/ca.crt")), "1");
    assert_ne!(shell.sh(&format!("test -e {CA}/previous.key")).code, 0);
    logs_arrive(cluster, "by the new authority");
}

/// An agent that has not got its certificate of the new authority is not taken for one that has,
/// also when the shell host has been told of it.
fn who_was_cut_short_has_not_followed(operator: &Operator, cluster: &Cluster, far: &[&str]) {
    let pinned = "/etc/convocate-agent/shell_host_key.pub";
    cluster.far.done(&format!("mv {pinned} /root/pinned && mkdir {pinned}"));
    let told = operator.call(far);
    assert_eq!(told.code(), 1, "{}", told.out());
    assert!(told.out().contains("[shell] rsyslog.service … "), "{}", told.out());
    assert!(told.out().contains("[far] shell host's key … FAILED: "), "{}", told.out());
    let told = operator.call(&["init-shell", "--host", "shell", "--finish-rotation"]);
    let id = cluster.far.done("cat /etc/convocate-agent/agent-id");
    assert!(told.code() == 1 && told.err().contains(&id), "{}{}", told.out(), told.err());
    cluster.far.done(&format!("rmdir {pinned} && mv /root/pinned {pinned}"));
}

/// What is started by a timer and by a path, and what starts it is as it is now.
fn triggered(cluster: &Cluster) -> [(&Host, &'static str); 2] {
    [(&cluster.shell, "convocate-renewal.service"), (&cluster.far, "convocate-certificate.service")]
}

/// They are root's, and may do little else.
fn are_confined(cluster: &Cluster) {
    for (host, unit) in triggered(cluster) {
        let told = host.done(&format!("systemd-analyze security --no-pager {unit} | tail -n 1"));
        let score = told.split(": ").nth(1).and_then(|rest| rest.split(' ').next());
        let score: f64 = score.and_then(|score| score.parse().ok()).expect("a score");
        assert!(score < 2.5, "{unit}: {told}");
    }
}

fn systemd_has_units_of_before(cluster: &Cluster) {
    for (host, unit) in triggered(cluster) {
        host.done(&format!("echo '# of before' >>/etc/systemd/system/{unit}"));
        host.done("systemctl daemon-reload");
    }
}

fn systemd_has_read_all(cluster: &Cluster) {
    for (host, unit) in triggered(cluster) {
        assert_ne!(host.sh(&format!("grep before /etc/systemd/system/{unit}")).code, 0, "{unit}");
        let stale = format!("systemctl show --property NeedDaemonReload --value {unit}");
        assert_eq!(host.done(&stale), "no", "{unit}");
    }
}
