//! What a session reaches from inside its container, and who reaches its port, on an installed host
//! with networks around it.

use super::sessions::{CLIENT, ROOT, enrol};
use super::support::testbed::Host;
use super::support::wait::wait_until;
use super::{IMAGE, PATIENCE, host_with_image};

/// Says `open` if the TCP port of its arguments can be reached.
const CONNECT: &str = "use IO::Socket::IP; print IO::Socket::IP->new(PeerHost => $ARGV[0], \
                       PeerPort => $ARGV[1], Timeout => 2) ? \"open\\n\" : \"closed\\n\";";
/// Answers on the TCP ports of its arguments, those of IPv6 too where there is any.
const LISTEN: &str = "use IO::Socket::IP; for my $port (@ARGV) { next if fork; \
                      my @at = (Listen => 9, LocalPort => $port, ReuseAddr => 1); \
                      my $at = IO::Socket::IP->new(@at, LocalHost => \"::\", V6Only => 0) \
                      || IO::Socket::IP->new(@at, LocalHost => \"0.0.0.0\") or die \"$port: $@\"; \
                      while (my $one = $at->accept) { close $one } }";
/// Notes in a file what comes in on the UDP ports of its arguments.
const TAKE: &str = "use IO::Socket::IP; for my $port (@ARGV) { next if fork; \
                    my $at = IO::Socket::IP->new(Proto => \"udp\", LocalHost => \"0.0.0.0\", \
                    LocalPort => $port) or die \"$port: $@\"; \
                    while ($at->recv(my $text, 99)) { open my $log, \">>\", \"/root/taken\"; \
                    print $log \"$port $text\\n\"; close $log } }";
/// Sends a datagram: address, port, text.
const SEND: &str = "use IO::Socket::IP; IO::Socket::IP->new(Proto => \"udp\", \
                    PeerHost => $ARGV[0], PeerPort => $ARGV[1])->send($ARGV[2]);";

/// The stand-in for the internet: an address of a documentation network.
const INTERNET: &str = "203.0.113.9";
/// The host's own address on the way there.
const OWN: &str = "203.0.113.1";
/// What stands behind that way, too, and is no internet.
const PRIVATE: [&str; 5] =
    ["10.9.9.9", "172.16.9.9", "192.168.99.9", "100.64.9.9", "169.254.169.254"];

struct Place {
    host: Host,
}

impl Place {
    /// Writes the scripts, and makes the networks around the host.
    fn new(host: Host) -> Place {
        for (name, text) in
            [("connect", CONNECT), ("listen", LISTEN), ("take", TAKE), ("send", SEND)]
        {
            host.done(&format!("cat >/root/{name}.pl <<'END'\n{text}\nEND"));
        }
        let routes: Vec<String> = PRIVATE
            .iter()
            .map(|address| {
                format!(
                    "ip -n world address add {address}/32 dev lo; \
                     ip route add {address}/32 via {INTERNET}; "
                )
            })
            .collect();
        // Whoever calls a published port from there has a private address.
        let client = PRIVATE[0];
        host.done(&format!(
            "set -e; ip netns add world; ip link add w0 type veth peer name w1 netns world; \
             ip address add {OWN}/24 dev w0; ip link set w0 up; \
             ip -n world address add {INTERNET}/24 dev w1; ip -n world link set w1 up; \
             ip -n world link set lo up; ip -n world route add default via {OWN}; {} \
             ip -n world route add {OWN}/32 dev w1 src {client}",
            routes.concat()
        ));
        // SSH and the agent have 22 and 222 already.
        host.done(
            "nohup perl /root/listen.pl 53 223 514 >/root/listen.log 2>&1 </dev/null & \
             nohup perl /root/take.pl 53 514 >/root/take.log 2>&1 </dev/null & \
             nohup ip netns exec world perl /root/listen.pl 80 >/root/world.log 2>&1 </dev/null &",
        );
        Place { host }
    }

    fn client(&self, words: &str) -> String {
        self.host.done(&format!("{CLIENT} {words} {ROOT}"))
    }

    fn refused(&self, words: &str) -> String {
        let told = self.host.sh(&format!("{CLIENT} {words} {ROOT}"));
        assert_ne!(told.code, 0, "{words}: {}", told.text);
        told.text
    }

    /// A session that runs, and its container.
    fn session(&self, name: &str, options: &str) -> String {
        self.client(&format!("new {name} --command bash {options}"));
        self.client(&format!("restart {name}"));
        let show = format!("show {name} --json");
        let id = self.client(&show);
        let id = id.split("\"uuid\":\"").nth(1).and_then(|rest| rest.split('"').next());
        format!("convocate-session-{}", id.expect("a session has an id"))
    }

    /// Whether it is `open` or `closed`, as seen by what runs this command.
    fn connect(&self, by: &str, address: &str, port: u16) -> String {
        self.host.done(&format!("{by} perl - {address} {port} </root/connect.pl"))
    }

    fn session_connects(&self, container: &str, address: &str, port: u16) -> String {
        self.connect(&format!("docker exec -i -u claude {container}"), address, port)
    }

    fn address_of(&self, container: &str) -> String {
        let format = "'{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}'";
        self.host.done(&format!("docker inspect -f {format} {container}"))
    }

    /// The host's address on the network of sessions.
    fn gateway(&self) -> String {
        self.host.done("ip -4 -o address show dev convocate0 | sed 's/.*inet //; s,/.*,,'")
    }

    fn listen_in(&self, container: &str, port: u16) {
        self.host.done(&format!(
            "docker cp /root/listen.pl {container}:/tmp/; \
             docker exec -d {container} perl /tmp/listen.pl {port}"
        ));
        wait_until(PATIENCE, "the session to listen", || {
            self.session_connects(container, "127.0.0.1", port) == "open"
        });
    }
}

#[test]
fn a_session_reaches_the_internet_and_nothing_else() {
    let test = "a_session_reaches_the_internet_and_nothing_else";
    let Some(host) = host_with_image(test) else { return };
    if host.sh("nft list tables").code != 0 {
        super::support::skip(test, "kernel: it has no nftables");
        return;
    }
    host.bring_image(IMAGE);
    host.done("nft add table inet theirs");
    host.done("/root/convocate-agent install");
    enrol(&host);
    let place = Place::new(host);
    let [one, two] = ["one", "two"].map(|name| place.session(name, ""));
    place.listen_in(&two, 8080);

    reaches(&place, &one, &two);
    takes_no_datagram(&place, &one);
    asks_names(&place, &one);
    is_published(&place);
    is_closed_towards_the_shell_host(&place, &one);
    has_none(&place);
    needs_its_rules(&place);
    picks_a_free_port(&place);
    outlives_a_reboot(&place, &one);
}

/// Each address answers the host itself, so that silence is the rules' doing.
fn reaches(place: &Place, one: &str, two: &str) {
    let gateway = place.gateway();
    let eth0 = place.host.address();
    let neighbour = place.address_of(two);
    let own_ports = [22, 222, 223, 514, 53];
    let of_host = [gateway.as_str(), &eth0, OWN].into_iter();
    let closed = of_host.flat_map(|address| own_ports.map(|port| (address, port)));
    let closed = closed.chain(PRIVATE.map(|address| (address, 80)));
    for (address, port) in closed.chain([(neighbour.as_str(), 8080)]) {
        wait_until(PATIENCE, "the host to reach it", || place.connect("", address, port) == "open");
        assert_eq!(place.session_connects(one, address, port), "closed", "{address} {port}");
    }
    assert_eq!(place.session_connects(one, INTERNET, 80), "open");
    // The network has no IPv6; the bridge has an address of its link.
    let link =
        place.host.done("ip -6 -o address show dev convocate0 | sed 's/.*inet6 //; s,/.*,,'");
    for address in link.lines().filter(|address| address.starts_with("fe80")) {
        for port in own_ports {
            let address = format!("{address}%eth0");
            assert_eq!(place.session_connects(one, &address, port), "closed", "{address} {port}");
        }
    }
    let tables = place.host.done("nft list tables");
    assert!(tables.contains("table inet theirs"), "{tables}");
}

fn takes_no_datagram(place: &Place, one: &str) {
    let gateway = place.gateway();
    for port in [53, 514] {
        for address in [gateway.as_str(), OWN] {
            place.host.done(&format!(
                "docker exec -i {one} perl - {address} {port} session </root/send.pl; \
                 perl /root/send.pl {address} {port} host"
            ));
        }
    }
    wait_until(PATIENCE, "the host's own datagrams", || {
        place.host.sh("grep -c host /root/taken").out.trim() == "4"
    });
    assert_eq!(place.host.sh("grep session /root/taken").out, "");
}

/// A resolver of the host's that is a private address is asked from inside the session.
fn asks_names(place: &Place, one: &str) {
    let resolver = PRIVATE[0];
    place.host.done(&format!(
        "nohup ip netns exec world perl /root/listen.pl 53 >/dev/null 2>&1 </dev/null & \
         mkdir -p /run/systemd/resolve; \
         echo nameserver {resolver} >/run/systemd/resolve/resolv.conf"
    ));
    wait_until(PATIENCE, "the rules to follow resolv.conf", || {
        place.session_connects(one, resolver, 53) == "open"
    });
    assert_eq!(place.session_connects(one, resolver, 80), "closed");
}

/// By silence a port is on loopback and on the address towards the shell host.
fn is_published(place: &Place) {
    let three = place.session("three", "--port 8081");
    place.listen_in(&three, 8081);
    let world = "ip netns exec world";
    assert_eq!(place.connect("", "127.0.0.1", 8081), "open");
    assert_eq!(place.connect(world, OWN, 8081), "closed");
    for named in [OWN, "all"] {
        place.client(&format!("edit three --publish {named}"));
        place.client("kill three");
        place.client("restart three");
        place.listen_in(&three, 8081);
        assert_eq!(place.connect(world, OWN, 8081), "open", "{named}");
    }
    place.host.done(&format!(
        "set -e; cd /etc/convocate-agent; echo {INTERNET} >shell-host; \
         cp /root/shell/etc/convocate/agent-keys/*/host_key.pub shell_host_key.pub; \
         systemctl restart convocate-agent"
    ));
    place.client("edit three --publish default");
    place.client("kill three");
    place.client("restart three");
    let published = place.host.done(&format!("docker port {three} | sort"));
    let expected = format!("8081/tcp -> 127.0.0.1:8081\n8081/tcp -> {OWN}:8081");
    assert_eq!(published, expected);
    assert!(place.refused("new bad --publish everywhere").contains("must be an address"));
}

/// Whose address is public: the rules have followed the file that names it.
fn is_closed_towards_the_shell_host(place: &Place, one: &str) {
    wait_until(PATIENCE, "the rules to follow shell-host", || {
        place.session_connects(one, INTERNET, 80) == "closed"
    });
    assert_eq!(place.connect("", INTERNET, 80), "open");
    let set = |name: &str| place.host.done(&format!("nft list set inet convocate {name}"));
    assert!(set("shell").contains(INTERNET));
    for (line, address) in [("[2001:db8::9]:223", "2001:db8::9"), ("2001:db8::8", "2001:db8::8")] {
        place.host.done(&format!("echo '{line}' >/etc/convocate-agent/shell-host"));
        wait_until(PATIENCE, "the address of IPv6", || set("shell6").contains(address));
    }
    place.host.done(&format!("echo {INTERNET} >/etc/convocate-agent/shell-host"));
}

/// Somebody has flushed the rules.
fn needs_its_rules(place: &Place) {
    place.host.done("nft delete table inet convocate");
    place.client("kill one");
    let told = place.refused("restart one");
    assert!(told.contains("sudo systemctl restart convocate-network"), "{told}");
    place.client("kill four");
    place.client("restart four");
    place.host.done("systemctl restart convocate-network");
    place.client("restart one");
}

fn has_none(place: &Place) {
    let four = place.session("four", "--egress none");
    assert_eq!(place.session_connects(&four, INTERNET, 80), "closed");
    assert!(place.client("show four").contains("egress        none"));
    let told = place.refused("edit four --port 9999");
    assert!(told.contains("a session with egress none cannot have a port"), "{told}");
    assert!(place.refused("new bad --egress none --port auto").contains("cannot have a port"));
    assert!(place.refused("new bad --egress some").contains("egress"));
}

fn picks_a_free_port(place: &Place) {
    place.host.done("nohup perl /root/listen.pl 1001 1002 >/dev/null 2>&1 </dev/null & sleep 1");
    place.client("new five --port auto");
    let shown = place.client("show five");
    assert!(shown.contains("1003/tcp"), "{shown}");
}

/// The rules are there before the containers, which Docker starts by itself.
fn outlives_a_reboot(place: &Place, one: &str) {
    place.host.reboot();
    wait_until(PATIENCE, "the session to be back", || {
        place.host.sh(&format!("docker inspect -f '{{{{.State.Running}}}}' {one}")).out.trim()
            == "true"
    });
    place.host.done("nft list table inet convocate");
    let since = |unit: &str| {
        let show = format!("systemctl show -P ActiveEnterTimestampMonotonic {unit}");
        place.host.done(&show).parse::<u64>().expect("microseconds")
    };
    assert!(since("convocate-network") < since("docker"));
    let gateway = place.gateway();
    assert_eq!(place.connect("", &gateway, 222), "open");
    assert_eq!(place.session_connects(one, &gateway, 222), "closed");
}
