//! `convocate-agent check`: each fault that is put into a sound host is found, with its repair.

use super::host;
use super::support::testbed::{Host, Kind};

/// Something that goes wrong with a host.
struct Fault {
    /// The step under which it is told.
    step: &'static str,
    /// Part of what is told.
    words: &'static str,
    /// Part of what is advised.
    repair: &'static str,
    /// Brings it about.
    breaks: &'static str,
    /// Takes it back; empty where `install` is to do that.
    mends: &'static str,
}

const INSTALL: &str = "convocate-agent install";
const CONFIG: &str = "/etc/convocate-agent";

const fn fault(
    step: &'static str,
    words: &'static str,
    repair: &'static str,
    breaks: &'static str,
    mends: &'static str,
) -> Fault {
    Fault { step, words, repair, breaks, mends }
}

const FAULTS: [Fault; 19] = [
    fault(
        "docker",
        "no Docker engine answers",
        "systemctl start docker",
        "systemctl stop docker.socket docker",
        "systemctl start docker",
    ),
    fault(
        "docker leaves control groups to systemd",
        "cgroup driver is cgroupfs",
        "exec-opts",
        "echo '{}' >/etc/docker/daemon.json; systemctl restart docker",
        "echo '{\"exec-opts\":[\"native.cgroupdriver=systemd\"]}' >/etc/docker/daemon.json; \
         systemctl restart docker",
    ),
    fault("user claude (1337)", "member of docker", INSTALL, "gpasswd -d claude docker", ""),
    fault("host key", "mode 0644 → 0640", INSTALL, "chmod 644 KEY", ""),
    fault(
        "host key",
        "is unfit",
        "move",
        "cp -p KEY /root/key; echo x >KEY",
        "cp -p /root/key KEY",
    ),
    fault("agent id", "is unfit", "move", "cp -p ID /root/id; echo lost >ID", "cp -p /root/id ID"),
    fault(
        "directory /var/lib/convocate-agent",
        "owner root:root → claude:claude",
        INSTALL,
        "chown root:root /var/lib/convocate-agent",
        "",
    ),
    fault(
        "who may drive this agent",
        "nobody",
        "convocate-host init-agent",
        "cp -p KEYS /root/keys; : >KEYS",
        "cp -p /root/keys KEYS",
    ),
    fault(
        "pinned key of the shell host",
        "",
        "convocate-host init-agent",
        "echo ssh-ed25519 AAAA >PIN",
        "rm PIN",
    ),
    fault(
        "session image convocate:none",
        "does not have it",
        INSTALL,
        "cp -p IMAGE /root/image; echo convocate:none >IMAGE",
        "cp -p /root/image IMAGE",
    ),
    fault(
        "slice of the sessions",
        "rewrite",
        INSTALL,
        "sed -i s/MemoryMax=.*/MemoryMax=1G/ SLICE",
        "",
    ),
    fault(
        "limits of the slice",
        "has no MemoryMax",
        "systemctl cat",
        "systemctl set-property --runtime convocate-sessions.slice MemoryMax=infinity",
        "rm -r /run/systemd/system.control/convocate-sessions.slice.d; systemctl daemon-reload",
    ),
    fault("unit of the agent", "rewrite", INSTALL, "echo >>UNIT", ""),
    fault("convocate-agent.service", "start it", INSTALL, "systemctl stop convocate-agent", ""),
    fault(
        "clock",
        "not synchronised",
        "time service",
        "echo 'echo no' >/usr/local/bin/timedatectl",
        "echo 'echo yes' >/usr/local/bin/timedatectl",
    ),
    fault(
        "disk of the homes",
        "are in use",
        "convocate rm",
        "mount -t tmpfs -o size=1m,mode=750,uid=1337,gid=1337 tmpfs /home/claude; \
         mkdir -m 700 /home/claude/.skel; chown 1337:1337 /home/claude/.skel; \
         head -c 1000000 /dev/zero >/home/claude/full",
        "umount /home/claude",
    ),
    fault(
        "claude",
        "/usr/local/bin/claude is not there",
        "claude is not installed on ",
        "rm /usr/local/bin/claude",
        "ln -s /bin/true /usr/local/bin/claude",
    ),
    fault(
        "what sessions may reach",
        "its rules are not loaded",
        "systemctl restart convocate-network",
        "nft delete table inet convocate",
        "systemctl restart convocate-network",
    ),
    fault(
        "firewall",
        "does not let tcp/222 in",
        "ufw allow 222/tcp",
        "printf '#!/bin/sh\\necho Status: active\\n' >/usr/local/sbin/ufw; \
         chmod +x /usr/local/sbin/ufw",
        "rm /usr/local/sbin/ufw",
    ),
];

/// A line of shell with the names of files in it.
fn line(text: &str) -> String {
    let units = "/etc/systemd/system";
    text.replace("KEYS", &format!("{CONFIG}/authorized_keys"))
        .replace("KEY", &format!("{CONFIG}/host_ed25519_key"))
        .replace("ID", &format!("{CONFIG}/agent-id"))
        .replace("PIN", &format!("{CONFIG}/shell_host_key.pub"))
        .replace("IMAGE", &format!("{CONFIG}/current-image"))
        .replace("SLICE", &format!("{units}/convocate-sessions.slice"))
        .replace("UNIT", &format!("{units}/convocate-agent.service"))
}

/// What is told as wrong: step, error, advice.
fn faults(host: &Host) -> Vec<[String; 3]> {
    let told = host.sh("convocate-agent check --json");
    let lines = told.out.lines().map(serde_json::from_str);
    let lines: Vec<serde_json::Value> = lines.collect::<Result<_, _>>().expect("lines of JSON");
    let text =
        |line: &serde_json::Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let wrong: Vec<[String; 3]> = lines
        .iter()
        .filter(|line| line["result"] == "failed")
        .map(|line| ["step", "error", "advice"].map(|name| text(line, name)))
        .collect();
    assert_eq!(told.code, i32::from(!wrong.is_empty()), "{}", told.text);
    wrong
}

#[test]
fn each_fault_is_found_with_its_repair() {
    let Some(host) = host("each_fault_is_found_with_its_repair", Kind::Docker) else { return };
    let install = "/root/convocate-agent install --no-image";
    host.done(install);
    // A sound host: an image, a key that may drive it, a clock that says it is right.
    host.done(&line(
        "cd /root; mkdir empty; tar -c -C empty . | docker import - convocate:test; \
         echo convocate:test >IMAGE; ssh-keygen -q -t ed25519 -N '' -f /root/operator; \
         cat /root/operator.pub >KEYS; \
         ln -s /bin/true /usr/local/bin/claude; \
         printf '#!/bin/sh\\necho yes\\n' >/usr/local/bin/timedatectl; \
         chmod +x /usr/local/bin/timedatectl",
    ));
    host.done(install);
    assert_eq!(faults(&host), Vec::<[String; 3]>::new());
    for fault in &FAULTS {
        host.sh(&line(fault.breaks));
        let found = faults(&host);
        let is_it = |[step, error, advice]: &&[String; 3]| {
            step == fault.step && error.contains(fault.words) && advice.contains(fault.repair)
        };
        assert!(found.iter().any(|it| is_it(&it)), "{}: {found:?}", fault.step);
        let mends = if fault.mends.is_empty() { install } else { fault.mends };
        host.done(&line(mends));
        // What stood still meanwhile is put right by the same call.
        host.done(install);
        assert_eq!(faults(&host), Vec::<[String; 3]>::new(), "behind {}", fault.step);
    }
}
