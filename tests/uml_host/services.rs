//! The services: installed, locked up, and no concern of the sessions when they come and go.

use super::support::testbed::Host;
use super::wait_until_all_is_there;

/// A host that is agent host and shell host at once.
pub fn are_installed(host: &Host) {
    let shell = host.done("/root/convocate install --no-image");
    let agent = host.done("/root/convocate-agent install");
    assert!(agent.contains(", 0 failed"), "{agent}");
    let [status_key, agent_key, telling_key] = [
        (&shell, "status host key  "),
        (&agent, "host key            "),
        (&agent, "agent to shell key  "),
    ]
    .map(|(report, name)| {
        let line = report.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name}: {report}"))
    });
    host.done(&format!(
        "set -e; id=$(cat /etc/convocate-agent/agent-id); cd /etc/convocate/agent-keys; \
         mkdir $id; echo 127.0.0.1 >$id/agent-host; echo '{agent_key}' >$id/host_key.pub; \
         ssh-keygen -q -t ed25519 -N '' -f $id/shell_to_agent_ed25519_key; \
         cat $id/shell_to_agent_ed25519_key.pub >>/etc/convocate-agent/authorized_keys; \
         echo agent-id=\\\"$id\\\" '{telling_key}' >>/etc/convocate/status_authorized_keys; \
         echo '{status_key}' >/etc/convocate-agent/shell_host_key.pub; \
         echo 127.0.0.1 >/etc/convocate-agent/shell-host; systemctl restart convocate-agent"
    ));
    let listens = host.done("ss -Hltn | awk '{ print $4 }'");
    assert!([":222", ":223"].iter().all(|it| listens.contains(it)), "{listens}");
}

/// What systemd says of its sandboxes, and what this kernel makes of them.
pub fn are_locked_up(host: &Host) {
    const NET_BIND_SERVICE: u64 = 1 << 10;
    // CHOWN, DAC_OVERRIDE, FOWNER and SYS_PTRACE: for what belongs to the users of sessions.
    const OF_SESSIONS: u64 = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 19;
    for (service, capabilities) in [
        ("convocate-agent", NET_BIND_SERVICE | OF_SESSIONS),
        ("convocate-status", NET_BIND_SERVICE),
    ] {
        let security = format!("systemd-analyze security --no-pager {service} | tail -n 1");
        let security = host.done(&security);
        let score = security.split(": ").nth(1).and_then(|rest| rest.split(' ').next());
        let score: f64 = score.and_then(|score| score.parse().ok()).expect("a score");
        assert!(score < 2.5, "{security}");

        let pid = host.done(&format!("systemctl show -p MainPID --value {service}"));
        assert_eq!(host.done(&format!("ps -o user= -p {pid}")), "claude");
        let fields = "^(CapEff|CapBnd|NoNewPrivs|Seccomp):";
        let status = host.done(&format!("grep -E '{fields}' /proc/{pid}/status | tr -d '\\t '"));
        let capability = format!("{capabilities:016x}");
        assert_eq!(
            status,
            format!("CapEff:{capability}\nCapBnd:{capability}\nNoNewPrivs:1\nSeccomp:2")
        );

        // Not even root gets further with the service's eyes.
        let inside = |line: &str| host.sh(&format!("nsenter -t {pid} -m {line}"));
        for place in ["/usr", "/etc", "/etc/convocate-agent", "/var/lib", "/sys/fs/cgroup"] {
            let told = inside(&format!("touch {place}/probe"));
            assert!(told.text.contains("Read-only file system"), "{place}: {}", told.text);
        }
        host.done("touch /tmp/probe; test -e /dev/ubda");
        for hidden in ["/tmp/probe", "/dev/ubda", "/home/claude/../other"] {
            assert_ne!(inside(&format!("test -e {hidden}")).code, 0, "{hidden} is to be seen");
        }
        let mounts = host.done(&format!("grep ' /proc proc ' /proc/{pid}/mounts"));
        assert!(mounts.contains("hidepid=invisible"), "{mounts}");
    }
}

/// Stopped, started, upgraded, killed: containers run on.
pub fn come_and_go_without_sessions(host: &Host) {
    let started = || host.done("docker inspect -f '{{.State.StartedAt}}' $(docker ps -q) | sort");
    let before = started();
    host.done("systemctl stop convocate-agent");
    assert_eq!(started(), before);
    host.done("systemctl start convocate-agent; echo >>/root/convocate-agent");
    let report = host.done("/root/convocate-agent install");
    assert!(report.contains("restart it, for /usr/local/bin/convocate-agent is newer"), "{report}");
    host.done("kill -9 $(systemctl show -p MainPID --value convocate-agent)");
    wait_until_all_is_there(host, "the agent to be back");
    assert_eq!(started(), before, "a container was started again");
}
