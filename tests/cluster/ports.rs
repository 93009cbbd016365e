//! What another host reaches of hosts that have their roles: the ports of the roles, ssh, what the
//! operator has allowed, and nothing else.

use std::time::Duration;

use super::Cluster;
use super::support::testbed::Host;
use super::support::wait::wait_until;

const PATIENCE: Duration = Duration::from_secs(20);
/// Where the operator's own service listens, and where one does that nobody has allowed.
const OWN: u16 = 9090;
const STRANGE: u16 = 8080;

/// The operator allows something, before hosts have their roles.
pub fn the_operator_has_a_rule(host: &Host) {
    host.done(&format!("ufw allow {OWN}/tcp comment 'of the operator'"));
}

pub fn only_those_of_the_roles_are_open(cluster: &Cluster) {
    let Cluster { shell, near, far } = cluster;
    // What no service listens at would look closed without a firewall.
    listen(near, &[223, 514, OWN, STRANGE]);
    listen(shell, &[OWN, STRANGE]);
    let asked = [22, 53, 222, 223, 514, STRANGE, OWN];
    for (host, open) in [(near, &[22, 222, OWN][..]), (shell, &[22, 222, 223, 514, OWN])] {
        let heard = open_ports(host, "127.0.0.1", &asked);
        assert_eq!(heard, asked, "something listens at each");
        assert_eq!(open_ports(far, &host.address(), &asked), open);
        let rules = host.done("ufw show added");
        let own = format!("ufw allow {OWN}/tcp comment 'of the operator'");
        assert!(rules.contains(&own), "{rules}");
    }
}

/// Those of `ports` that let `from` in at an address.
fn open_ports(from: &Host, address: &str, ports: &[u16]) -> Vec<u16> {
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    let told = from.done(&format!(
        "for port in {}; do \
           timeout 3 bash -c \"</dev/tcp/{address}/$port\" 2>/dev/null && echo $port & \
         done; wait; true",
        list.join(" ")
    ));
    let mut open: Vec<u16> = told.lines().map(|line| line.parse().expect("a port")).collect();
    open.sort_unstable();
    open
}

fn listen(host: &Host, ports: &[u16]) {
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    let lines = format!(
        "use IO::Socket::INET; my @all = map {{ IO::Socket::INET->new(LocalPort => $_, \
         Listen => 5, ReuseAddr => 1) or die }} {}; \
         open my $up, \">\", \"/root/listening\"; sleep 3600",
        list.join(", ")
    );
    host.done(&format!("printf '%s' '{lines}' >/root/listen"));
    host.done("systemd-run --quiet perl /root/listen");
    wait_until(PATIENCE, "the listeners", || host.sh("test -e /root/listening").code == 0);
}
