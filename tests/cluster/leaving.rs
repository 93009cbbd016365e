//! The way back: `status` sees the shell host, too; agents leave the cluster, one whose host cannot
//! be reached among them; and what the programs have put on a host goes with them.

use std::time::Duration;

use serde_json::Value;

use super::Cluster;
use super::support::testbed::Host;
use super::support::wait::wait_until;

/// The listener sees within seconds that an entry is gone.
const PATIENCE: Duration = Duration::from_secs(20);

/// What others put on a host or change there, besides what packages list as theirs: packages stay.
const OTHERS: &[&str] = &[
    // What the scripts of packages make: links to start services, settings, compiled Python.
    "/etc/(alternatives|inputrc|python3|rc.\\.d|runit|ssl|ufw)",
    "/etc/systemd/system/(syslog.service|[a-z-]*.target.wants/(dnsmasq|logrotate|rsyslog|ufw))",
    "/usr/(lib|local/lib/python|share)",
    "/var/lib/(apt|dpkg|pam|python|ucf|systemd/deb-systemd)",
    "/var/lib/systemd/timers/stamp-(apt|dpkg|e2scrub|fstrim|logrotate)",
    // What useradd and userdel leave: the tables as they were before.
    "/etc/(passwd|group|shadow|gshadow|subuid|subgid)-",
    // What services write while they run.
    "/var/(cache|log|tmp|lib/(containerd|docker|logrotate))",
    // The operator's own, and what moves the days.
    "/home/ann",
    "/usr/local/lib/libfaketime.so",
];

/// Keeps a list of all paths of the hosts, with types, modes and owners.
pub fn hosts_are_looked_at(cluster: &Cluster) {
    for (_, host) in cluster.named() {
        host.done(&format!("{} >/root/before", list()));
    }
}

fn list() -> &'static str {
    "find / -xdev \\( -path /root -o -path /proc -o -path /sys \\) -prune \
     -o -printf '%p %y %m %u:%g\\n' | LC_ALL=C sort"
}

/// What is there and was not before, or is not as it was, and nobody else's.
fn differences(host: &Host) -> String {
    let others = OTHERS.join("|");
    host.done(&format!("{} >/root/after", list()));
    host.done("sort -u /var/lib/dpkg/info/*.list >/root/owned");
    host.done(&format!(
        "cd /root && LC_ALL=C comm -3 before after | sed 's/^\\t//' | \
         awk 'NR == FNR {{ owned[$0] = 1; next }} !($1 in owned)' owned - | \
         grep -vE '^({others})' || true"
    ))
}

/// To be called when [`hosts_are_looked_at`] was, before anything was installed.
pub fn everyone_leaves(cluster: &Cluster) {
    one_leaves_that_can_be_reached(cluster);
    one_leaves_that_cannot(cluster);
    nothing_of_ours_is_left(cluster);
}

/// Calls `convocate-host` on the shell host as the operator does.
fn call(shell: &Host, words: &str) -> (i32, String) {
    let told = shell.sh(&format!("su ann -c 'sudo /root/convocate-host {words}'"));
    (told.code, told.text)
}

/// What status says of the shell host, which is an agent, too.
fn own_row(shell: &Host) -> (i32, Value) {
    let (code, said) = call(shell, "status --json");
    let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut rows = lines.filter(|line| line["line"] == "host");
    let own = rows.next().unwrap_or_else(|| panic!("no row: {said}"));
    assert!(rows.any(|row| row["role"] == "agent" && row["agent"] == own["agent"]), "{said}");
    (code, own)
}

/// As long as it is today for all certificates.
pub fn the_shell_host_is_looked_at(shell: &Host) {
    let (_, row) = own_row(shell);
    assert_eq!((&row["role"], &row["ok"]), (&"shell".into(), &true.into()), "{row}");
    assert_eq!(row["version"], env!("CARGO_PKG_VERSION"), "{row}");
    assert_eq!(row["drift"], Value::Array(Vec::new()), "{row}");
    assert!(
        row["certificate_days"].as_i64().is_some_and(|days| (300..=366).contains(&days)),
        "{row}"
    );

    let file = "/etc/logrotate.d/convocate-agent-logs";
    shell.done(&format!("mv {file} /root/rotation"));
    let (code, row) = own_row(shell);
    assert_eq!((code, &row["ok"]), (1, &false.into()), "{row}");
    assert!(row["drift"].to_string().contains("rotation of collected logs"), "{row}");
    shell.done(&format!("mv /root/rotation {file}"));
}

fn id_of(host: &Host) -> String {
    host.done("cat /etc/convocate-agent/agent-id")
}

fn one_leaves_that_can_be_reached(cluster: &Cluster) {
    let Cluster { shell, near, .. } = cluster;
    let id = id_of(near);
    let (code, said) = call(shell, &format!("remove-agent --agent {id} --host near"));
    assert_eq!(code, 0, "{said}");
    is_forgotten(shell, &id, "near");
    assert_ne!(near.sh("systemctl is-active convocate-agent").code, 0);
    assert_ne!(near.sh("ufw show added | grep 222/tcp").code, 0);
    assert_eq!(near.sh("ls /etc/rsyslog.d | grep convocate").out, "");
}

/// Its host lives, and still has all that let it in: it is the shell host that lets it in no more.
fn one_leaves_that_cannot(cluster: &Cluster) {
    let Cluster { shell, far, .. } = cluster;
    let id = id_of(far);
    let arrived = |text: &str| format!("grep -rqs '{text}' /var/log/convocate-agent");
    far.done("logger --tag convocate-agent known still");
    wait_until(PATIENCE, "a line before", || shell.sh(&arrived("known still")).code == 0);
    let (code, said) = call(shell, &format!("remove-agent --agent {id} --host far.invalid"));
    assert!(code == 0 && said.contains("left there: convocate-agent"), "{said}");
    is_forgotten(shell, &id, "far");
    far.done("logger --tag convocate-agent known no more");
    // What comes later from another has arrived, and that has not.
    let mark = "from the shell host";
    shell.done(&format!("logger --tag convocate-agent {mark}"));
    wait_until(PATIENCE, "a line of another", || shell.sh(&arrived(mark)).code == 0);
    assert_ne!(shell.sh(&arrived("known no more")).code, 0);
    assert_eq!(far.done("systemctl is-active convocate-agent"), "active");
}

/// Keys, its place among those who may tell and whose logs are collected, and its names in DNS.
fn is_forgotten(shell: &Host, id: &str, name: &str) {
    let config = "/etc/convocate /etc/rsyslog.d";
    assert_eq!(shell.sh(&format!("grep -rl {id} {config}")).out, "");
    assert_ne!(shell.sh(&format!("test -e /etc/convocate/agent-keys/{id}")).code, 0);
    let ask = "mount --bind /root/resolv.conf /etc/resolv.conf && getent ahosts";
    let ask = format!("timeout 5 unshare -m sh -c '{ask} at-{name}'");
    wait_until(PATIENCE, "its name to be gone", || shell.sh(&ask).code == 2);
    let agents = shell.done("convocate agents --json");
    assert!(!agents.contains(id), "{agents}");
}

/// One host of each kind: an agent, and the shell host, which is an agent, too. What is kept of a
/// session goes with the homes.
fn nothing_of_ours_is_left(cluster: &Cluster) {
    let hosts = [&cluster.far, &cluster.shell];
    for host in hosts {
        let sessions = "docker ps --quiet --filter label=convocate.session";
        host.done(&format!("systemctl stop convocate-agent; docker rm --force $({sessions})"));
        host.put(std::path::Path::new(super::support::process::CONVOCATE_HOST), "/root/leave");
        host.done("chmod 0755 /root/leave && /root/leave uninstall --yes --homes");
        // The operator's own programs and notes are in /root and in /home/ann.
        let named = "find / -xdev -name '*convocate*' -not -path '/root/*' -not -path '/proc/*' \
                     -not -path '/usr/local/sbin/*'";
        assert_eq!(host.sh(named).out, "");
        let told = host.sh("grep -rlsi convocate /etc /var/lib/systemd /var/spool /usr/local/bin");
        assert_eq!(told.out, "");
        assert_ne!(host.sh("getent passwd claude || getent group claude").code, 0);
        let rules = host.done("ufw show added");
        assert!(![222, 223, 514].iter().any(|it| rules.contains(&format!("{it}/tcp"))), "{rules}");
    }
    assert_eq!(hosts.map(differences), ["", ""], "others are left as they were");
}
