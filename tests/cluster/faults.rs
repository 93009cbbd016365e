//! `init-agent` is cut short all along its way, and the same call again goes on.

use std::time::Duration;

use rustix::process::Signal;

use super::Cluster;
use super::operator::Operator;
use super::support::wait::wait_until;

/// How long until a call has come to a line of its report, or has ended: images are brought.
const PATIENCE: Duration = Duration::from_secs(300);
/// Lines of the report after which a call is cut short: a few steps further each time.
const CUTS: [usize; 10] = [2, 16, 24, 33, 36, 41, 48, 55, 62, 70];

/// How a call is cut short.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The operator presses Ctrl-C.
    Interrupt,
    /// The operator's program is killed.
    Kill,
    /// The connection to the agent's host is lost.
    Connection,
}

pub fn each_is_told_and_the_same_call_goes_on(
    operator: &Operator,
    cluster: &Cluster,
    call: &[&str],
) {
    packages_that_fail_are_told(operator, cluster, call);
    let ways = [Cut::Interrupt, Cut::Kill, Cut::Connection].into_iter().cycle();
    let mut id = None;
    for (lines, cut) in CUTS.into_iter().zip(ways) {
        cut_short(operator, cluster, call, lines, cut);
        let now = cluster.far.sh("cat /etc/convocate-agent/agent-id").out;
        assert!(id.as_ref().is_none_or(|id| *id == now), "the identity changed: {cut:?}");
        id = Some(now).filter(|id| !id.is_empty());
    }
    let told = operator.call(call).expect_done().out();
    assert!(told.contains("[shell] its log arrives on tcp/514 … ok"), "{told}");
    assert_eq!(Some(cluster.far.sh("cat /etc/convocate-agent/agent-id").out), id);
    every_key_has_its_other_half(cluster);
}

fn packages_that_fail_are_told(operator: &Operator, cluster: &Cluster, call: &[&str]) {
    let far = &cluster.far;
    far.done("dpkg --remove rsyslog-gnutls && mv /usr/bin/apt-get /root/apt-get");
    far.done("printf '#!/bin/sh\\necho E: no such luck >&2; exit 100\\n' >/usr/bin/apt-get");
    far.done("chmod 0755 /usr/bin/apt-get");
    let told = operator.call(call);
    assert_eq!(told.code(), 1, "{}", told.out());
    assert!(told.out().contains("[far] packages for logs … FAILED: `apt-get"), "{}", told.out());
    assert!(told.out().contains("| E: no such luck"), "{}", told.out());
    assert!(told.err().contains("run it again: what is done stays done"), "{}", told.err());
    far.done("mv /root/apt-get /usr/bin/apt-get");
}

fn cut_short(operator: &Operator, cluster: &Cluster, call: &[&str], lines: usize, cut: Cut) {
    let mut running = operator.start(call);
    wait_until(PATIENCE, "a part of the report", || {
        running.stdout.text().lines().count() >= lines || !running.is_alive()
    });
    match cut {
        Cut::Interrupt => running.signal(Signal::INT),
        Cut::Kill => running.signal(Signal::KILL),
        Cut::Connection => {
            cluster.far.sh("pkill -u ann sshd");
        }
    }
    let finished = running.finish(PATIENCE);
    let told = format!("{}{}", finished.out(), finished.err());
    if finished.status.success() {
        // It was through before it could be cut.
        return;
    }
    match cut {
        Cut::Interrupt => assert!(told.contains("interrupted"), "{told}"),
        Cut::Connection => {
            assert!(told.contains("convocate-host: init-agent: far: "), "{told}");
        }
        Cut::Kill => assert_eq!(finished.code(), -1, "{told}"),
    }
}

/// A private key and the public one beside it, or on the other host, belong together.
fn every_key_has_its_other_half(cluster: &Cluster) {
    let id = cluster.far.done("cat /etc/convocate-agent/agent-id");
    let entry = format!("/etc/convocate/agent-keys/{id}");
    let public = |host: &super::Host, key: &str| {
        // ssh-keygen wants its owner alone to read it, and the services' group may, too.
        let own = "install -m 0600 -T";
        host.done(&format!("{own} {key} /root/key && ssh-keygen -y -f /root/key >/root/half"));
        host.done("cut -d ' ' -f 1,2 /root/half")
    };
    let half = |host: &super::Host, file: &str| host.done(&format!("cut -d ' ' -f 1,2 {file}"));
    let (shell, far) = (&cluster.shell, &cluster.far);
    let driving = public(shell, &format!("{entry}/shell_to_agent_ed25519_key"));
    assert_eq!(driving, half(shell, &format!("{entry}/shell_to_agent_ed25519_key.pub")));
    assert_eq!(driving, half(far, "/etc/convocate-agent/authorized_keys"));
    let telling = public(far, "/etc/convocate-agent/agent_to_shell_ed25519_key");
    assert_eq!(telling, half(shell, &format!("{entry}/agent_to_shell_ed25519_key.pub")));
    assert!(shell.done("cat /etc/convocate/status_authorized_keys").contains(&telling));
    let host_key = public(far, "/etc/convocate-agent/host_ed25519_key");
    assert_eq!(host_key, half(shell, &format!("{entry}/host_key.pub")));
    assert_eq!(shell.done("ls /etc/convocate/agent-keys"), id, "one agent and one entry");
}
