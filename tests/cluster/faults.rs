//! `init-agent` is cut short all along its way, and the same call again goes on.
//!
//! The steps are those that the program itself tells of. On a fresh host a spread of them is cut,
//! each further on than the one before, so each is at work on something. With
//! `CONVOCATE_ALL_FAULTS=1` each step is then cut once more, each time on a host that has lost what
//! it had of its role.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::operator::Operator;
use super::support::wait::wait_until;
use super::{Cluster, IMAGE};

/// How long until a call has come to a step, or has ended: images are brought.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many steps are cut on a fresh host.
const CUTS: usize = 10;
/// The last step but one: the agent's log has arrived.
const PROOF: &str = "its log arrives on tcp/514";

/// How a call is cut short.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The operator presses Ctrl-C.
    Interrupt,
    /// The operator's program is killed.
    Kill,
    /// The connection to the host that is at work is lost.
    Connection,
    /// The host that becomes an agent restarts.
    Restart,
}

const WAYS: [Cut; 4] = [Cut::Interrupt, Cut::Kill, Cut::Connection, Cut::Restart];

/// A step of a report: on which host, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct At {
    host: String,
    step: String,
}

pub fn each_is_told_and_the_same_call_goes_on(
    operator: &Operator,
    cluster: &Cluster,
    call: &[&str],
) {
    packages_that_fail_are_told(operator, cluster, call);
    let case = Case { operator, cluster, call: [call, &["--json"]].concat() };
    let steps = case.steps_to_come();
    let mut id = None;
    for (number, cut) in (0..CUTS).zip(WAYS.into_iter().cycle()) {
        case.cut_short(&steps[number * (steps.len() - 1) / (CUTS - 1)], cut);
        let now = cluster.far.sh("cat /etc/convocate-agent/agent-id").out;
        assert!(id.as_ref().is_none_or(|id| *id == now), "the identity changed: {cut:?}");
        id = Some(now).filter(|id| !id.is_empty());
    }
    case.goes_on();
    assert_eq!(Some(cluster.far.sh("cat /etc/convocate-agent/agent-id").out), id);
    if std::env::var_os("CONVOCATE_ALL_FAULTS").is_some() {
        case.each_step_of_all();
    }
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
    fresh_again(cluster);
}

/// The call that is cut short, and where.
struct Case<'a> {
    operator: &'a Operator,
    cluster: &'a Cluster,
    call: Vec<&'a str>,
}

impl Case<'_> {
    /// What the call would do.
    fn steps_to_come(&self) -> Vec<At> {
        let check = [&self.call[..], &["--check"]].concat();
        let told = self.operator.call(&check).expect_done().out();
        let steps = lines_of(&told, "step");
        assert!(steps.len() > 30, "{told}");
        steps
    }

    /// Every step there is, the image and the proof among them, each on a host that is fresh.
    fn each_step_of_all(&self) {
        fresh_again(self.cluster);
        self.cluster.far.done(&format!("docker rmi {IMAGE}"));
        let told = self.operator.call(&self.call).expect_done().out();
        let steps = lines_of(&told, "begin");
        assert!(steps.iter().any(|at| at.step == PROOF), "{told}");
        eprintln!("{} steps, each cut short in one of {} ways", steps.len(), WAYS.len());
        for (at, cut) in steps.iter().zip(WAYS.into_iter().cycle()) {
            fresh_again(self.cluster);
            if at.step.starts_with("session image ") {
                self.cluster.far.done(&format!("docker rmi {IMAGE}"));
            }
            self.cut_short(at, cut);
            self.goes_on();
        }
    }

    /// The same call again comes to its end, and no key is without its other half.
    fn goes_on(&self) {
        let told = self.operator.call(&self.call).expect_done().out();
        assert!(lines_of(&told, "step").iter().any(|at| at.step == PROOF), "{told}");
        every_key_has_its_other_half(self.cluster);
    }

    /// Cuts the call when it tells that it begins the step.
    fn cut_short(&self, at: &At, cut: Cut) {
        let Cluster { shell, far, .. } = self.cluster;
        let mut running = self.operator.start(&self.call);
        wait_until(PATIENCE, &at.step, || {
            lines_of(&running.stdout.text(), "begin").contains(at) || !running.is_alive()
        });
        let told = running.stdout.text();
        assert!(lines_of(&told, "begin").contains(at), "it did not come to {at:?}: {told}");
        match cut {
            Cut::Interrupt => running.signal(Signal::INT),
            Cut::Kill => running.signal(Signal::KILL),
            Cut::Connection if at.host == "shell" => drop(shell.sh("pkill -u ann sshd")),
            Cut::Connection => drop(far.sh("pkill -u ann sshd")),
            Cut::Restart => {
                // It stands still where it is until its host goes down.
                far.sh("pkill -STOP -f -- ' --request$'");
                far.reboot();
                self.operator.finds(&self.cluster.named());
            }
        }
        let finished = running.finish(PATIENCE);
        let told = format!("{}{}", finished.out(), finished.err());
        // Whatever was at work there ends, too. The program is left there for a day by what could
        // not take it away any more.
        for host in [shell, far] {
            wait_until(PATIENCE, "the run there to end", || {
                host.sh("pgrep -f -- ' --request$'").out.is_empty()
            });
            let left = host.sh("ls -d /var/lib/convocate-host.*; rm -rf /var/lib/convocate-host.*");
            assert!(left.out.is_empty() || !matches!(cut, Cut::Interrupt), "{}", left.out);
        }
        eprintln!("{cut:?} at {}, {}: {:?}", at.host, at.step, finished.err().trim());
        if finished.status.success() {
            // It was through before it was cut.
            return;
        }
        let names_host =
            ["far", "shell"].iter().any(|host| told.contains(&format!("init-agent: {host}: ")));
        match cut {
            Cut::Kill => assert_eq!(finished.code(), -1, "{told}"),
            Cut::Interrupt => assert!(names_host && told.contains("interrupted"), "{told}"),
            Cut::Connection | Cut::Restart => assert!(names_host, "{told}"),
        }
        if !matches!(cut, Cut::Kill) {
            let is_told = told.contains("at the step \"") || told.contains("\"result\":\"failed\"");
            let where_to = is_told || !is_within_a_step(&finished.out());
            assert!(where_to, "at which step is not told: {told}");
        }
    }
}

/// Whether the last step that a report tells of has not ended there.
fn is_within_a_step(report: &str) -> bool {
    lines_of(report, "begin").len() > lines_of(report, "step").len()
}

/// The steps of which a report in JSON has a line of this kind.
fn lines_of(report: &str, kind: &str) -> Vec<At> {
    let at = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let is_meant = line["line"] == kind;
        let step = text("step").filter(|_| is_meant)?;
        Some(At { host: text("host")?, step: nameless(&step) })
    };
    report.lines().filter_map(at).collect()
}

/// A step's name without an agent's id, which is another one on a host that is fresh again.
fn nameless(step: &str) -> String {
    step.split_inclusive("/agent-keys/").next().unwrap_or_default().to_owned()
}

/// The far host loses what it has of its role, and the shell host what it knows of it. The image
/// stays, and so do packages.
fn fresh_again(cluster: &Cluster) {
    cluster.far.done(
        "systemctl disable --quiet --now convocate-agent.service convocate-certificate.path || true
         rm -rf /etc/convocate-agent /var/lib/convocate-agent /etc/systemd/system/convocate-* \
             /etc/rsyslog.d/10-convocate-client.conf /usr/local/bin/convocate-agent \
             /usr/local/bin/claude /etc/cron.daily/convocate-image-prune
         systemctl daemon-reload
         ufw delete allow 222/tcp",
    );
    cluster.shell.done(
        "rm -rf /etc/convocate/agent-keys/*
         sed -i '/^agent-id=/d' /etc/convocate/status_authorized_keys",
    );
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
