//! Attackers that are not on this machine's loopback: an IPv6 network with an address for each
//! dial, and containers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::process::{self, Command, Stdio};
use std::time::Duration;

use crate::attack::{Attack, seconds};
use crate::support::agent::{Agent, AgentFiles};
use crate::support::hub::Hub;
use crate::support::process::{CONVOCATE, CONVOCATE_AGENT, Running, command};
use crate::support::wait::pause;
use crate::support::{self, Need};
use crate::visit::{Asked, Way, round};

/// An agent and a status listener that can be reached from everywhere.
struct House {
    agent: Agent,
    hub: Hub,
}

impl House {
    fn start() -> House {
        let files = AgentFiles::write();
        let root = files.root.dir().to_owned();
        let mut call = command(&files.root, CONVOCATE);
        call.args(["status-serve", "--listen", ":0", "--root"]).arg(&root);
        let hub = Hub::start_by(&files, &mut call);
        let mut call = command(&files.root, CONVOCATE_AGENT);
        call.args(["serve", "--listen", ":0", "--runtime", "host", "--root"]).arg(&root);
        House { agent: Agent::start_by(files, &mut call), hub }
    }

    /// `attack` is given the port, and goes on until what it gives is dropped.
    fn is_open_under<G>(&self, name: &str, attack: impl Fn(u16) -> G) {
        let mut ls = || _ = self.agent.client(&["ls"]).expect_done();
        let way = Way::to_agent(&self.agent);
        let guard = attack(way.to.port());
        round(&way, &["222", name], &[], Some(&mut Asked::seldom("convocate ls", &mut ls)));
        drop(guard);
        let mut listen = || _ = self.hub.listen();
        let way = Way::to_hub(&self.hub, &self.agent.files);
        let _guard = attack(way.to.port());
        let what = "a local subscriber's snapshot";
        round(&way, &["223", name], &[], Some(&mut Asked::often(what, &mut listen)));
    }

    /// What is refused is never the victim.
    fn check_logs(&self) {
        for log in [self.agent.log(), self.hub.log()] {
            let about = |line: &&str| line.contains("refused") || line.contains("connections from");
            let about: Vec<&str> = log.lines().filter(about).collect();
            assert!(about.iter().all(|line| !line.contains("127.")), "{about:#?}");
            let (lines, about) = (log.lines().count(), about.len());
            eprintln!("  {lines} lines in the log, {about} of them about strangers");
        }
    }
}

fn must_run(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program).args(arguments).output().expect(program);
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{program} {arguments:?}: {told}");
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

/// A network of its own behind a veth, from which this host is reached by IPv6: all addresses of
/// [`Namespace::STRANGERS`] are there.
struct Namespace {
    name: String,
}

impl Namespace {
    const HOST: &str = "fd63:6f6e:766f:1::1";
    const GATEWAY: &str = "fd63:6f6e:766f:1::2";
    const STRANGERS: &str = "fd63:6f6e:766f:2::";

    fn create() -> Namespace {
        let name = format!("cv{}", process::id());
        must_run("ip", &["netns", "add", &name]);
        let new = Namespace { name };
        let name = &new.name;
        let (ours, theirs) = (format!("{name}a"), format!("{name}b"));
        let strangers = format!("{}/64", Namespace::STRANGERS);
        let steps = [
            format!("link add {ours} type veth peer name {theirs} netns {name}"),
            format!("addr add {}/64 dev {ours} nodad", Namespace::HOST),
            format!("link set {ours} up"),
            format!("-n {name} addr add {}/64 dev {theirs} nodad", Namespace::GATEWAY),
            format!("-n {name} link set {theirs} up"),
            format!("-n {name} link set lo up"),
            format!("-6 route add {strangers} via {}", Namespace::GATEWAY),
            format!("-n {name} -6 route add local {strangers} dev lo"),
        ];
        for step in steps {
            must_run("ip", &step.split(' ').collect::<Vec<_>>());
        }
        let any = "echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind";
        must_run("ip", &["netns", "exec", name, "sh", "-c", any]);
        new
    }

    /// This very program, inside; see [`within_a_namespace`].
    fn attack(&self, port: u16) -> Running {
        let own = std::env::current_exe().expect("it runs");
        let mut call = Command::new("ip");
        call.args(["netns", "exec", &self.name]).arg(own);
        call.args(["--exact", "outside::within_a_namespace", "--nocapture"]);
        call.env(ATTACKED, format!("[{}]:{port}", Namespace::HOST));
        Running::start(&mut call)
    }
}

impl Drop for Namespace {
    /// With its end of the veth goes the other.
    fn drop(&mut self) {
        let mut call = Command::new("ip");
        let _gone = call.args(["netns", "del", &self.name]).status();
    }
}

/// Whom to attack, where this program was started for that.
const ATTACKED: &str = "CONVOCATE_ATTACKED";

/// The other half of `an_ipv6_network_keeps_nobody_out`. It is killed in the end.
#[test]
fn within_a_namespace() {
    let Ok(to) = std::env::var(ATTACKED) else { return };
    let to: SocketAddr = to.parse().expect("an address");
    let first: Ipv6Addr = Namespace::STRANGERS.parse().expect("an address");
    let stranger = move |number: u32| -> IpAddr {
        let hash = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15) & u128::from(u64::MAX);
        Ipv6Addr::from_bits(first.to_bits() | hash).into()
    };
    let attack = Attack::new(to);
    std::thread::scope(|scope| {
        scope.spawn(|| attack.hold(300, stranger));
        scope.spawn(|| attack.dial_on(|number| stranger(number + 1_000_000), |_| {}));
        pause(Duration::from_secs(seconds() + 60));
        attack.end();
    });
}

#[test]
fn an_ipv6_network_keeps_nobody_out() {
    let test = "an_ipv6_network_keeps_nobody_out";
    if !crate::can(test) || !support::has(test, &[Need::Program("ip"), Need::Root]) {
        return;
    }
    if std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6")
        .is_ok_and(|it| it != "0\n")
    {
        return support::skip(test, "program: this kernel has no IPv6");
    }
    let namespace = Namespace::create();
    let house = House::start();
    house.is_open_under("an IPv6 /64, a new address a dial", |port| namespace.attack(port));
    house.check_logs();
}

/// Two containers on a network of their own, which attack its gateway.
struct Containers {
    names: [String; 2],
}

const IMAGE: &str = "convocate-testbed/base:bookworm";

/// Holds eight sockets and renews them, and dials beside that.
const SCRIPT: &str = "\
while :; do : <>/dev/tcp/$0/$1; done 2>/dev/null &
while :; do
    for fd in 10 11 12 13 14 15 16 17; do eval \"exec $fd<>/dev/tcp/$0/$1\"; done 2>/dev/null
    sleep 0.3
done";

struct Network {
    name: String,
    gateway: String,
}

impl Network {
    fn create() -> Network {
        let name = format!("convocate-attack-{}", process::id());
        must_run("docker", &["network", "create", &name]);
        let format = "{{(index .IPAM.Config 0).Gateway}}";
        let gateway = must_run("docker", &["network", "inspect", "-f", format, &name]);
        Network { name, gateway }
    }

    fn attack(&self, port: u16) -> Containers {
        let start = |number: u8| {
            let name = format!("{}-{port}-{number}", self.name);
            let port = port.to_string();
            let call = ["run", "-d", "--rm", "--network", &self.name, "--name", &name, IMAGE];
            must_run(
                "docker",
                &[&call[..], &["bash", "-c", SCRIPT, &self.gateway, &port]].concat(),
            );
            name
        };
        Containers { names: [start(1), start(2)] }
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        let mut call = Command::new("docker");
        let _gone = call.args(["rm", "-f"]).args(&self.names).stdout(Stdio::null()).status();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let mut call = Command::new("docker");
        let _gone = call.args(["network", "rm", &self.name]).stdout(Stdio::null()).status();
    }
}

#[test]
fn two_containers_keep_nobody_out() {
    let test = "two_containers_keep_nobody_out";
    if !crate::can(test) || !support::has(test, &[Need::Docker, Need::Root]) {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/base-image.sh");
    assert!(Command::new(script).status().expect("it is there").success(), "{IMAGE} is made");
    let network = Network::create();
    let house = House::start();
    house.is_open_under("two containers with bash", |port| network.attack(port));
    house.check_logs();
}
