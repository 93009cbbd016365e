//! A session that reaches names and nothing else: what works by its proxy, and every way out that
//! must not.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::house::{House, NEEDS, json, timed};
use crate::support::git_host::GitHost;
use crate::support::process::{command, run};
use crate::support::wait::{PATIENCE, wait_for};
use crate::support::{self, Need};
use crate::world::World;

const MORE_NEEDS: [Need; 4] = [
    Need::Program("python3"),
    Need::Program("openssl"),
    Need::Program("ip"),
    Need::Program("unshare"),
];

fn open(test: &str) -> Option<(House, World)> {
    if !support::has(test, &MORE_NEEDS) || !support::has(test, &NEEDS) {
        return None;
    }
    House::open_by(test, World::start, World::agent_call)
}

/// A session with these rules that runs.
fn session(house: &House, world: &World, name: &str, rules: &[&str]) -> String {
    let rules = rules.iter().flat_map(|rule| ["--allow", rule]);
    let more: Vec<&str> = ["--egress", "list"].into_iter().chain(rules).collect();
    let id = house.create(name, &more);
    world.trusted_by(house, &id);
    house.done(&["restart", &id]);
    id
}

/// What a command in it prints, which must succeed.
#[track_caller]
fn done(house: &House, id: &str, script: &str) -> String {
    let call = house.inside(id, script);
    assert_eq!(call.code(), 0, "{script}: {}{}\n{}", call.out(), call.err(), house.agent.log());
    call.out()
}

fn told(house: &House, id: &str) -> Value {
    json(&house.done(&["egress", id, "--json"]).out())
}

/// Says how many bytes came.
const BULK: &str = "curl -sS -m 60 -o /dev/null -w '%{size_download}'";
const CURL: &str = "curl -sS -m 20 --cacert ~/world.pem";

#[test]
fn names_that_are_allowed_are_reached_and_nothing_else_is() {
    let Some((house, world)) = open("names_that_are_allowed_are_reached_and_nothing_else_is")
    else {
        return;
    };
    let id = &session(&house, &world, "work", &["good.example", "*.good.example"]);
    for url in
        ["https://good.example/who", "http://good.example/who", "https://www.good.example/who"]
    {
        let host = url.split('/').nth(2).unwrap();
        assert_eq!(done(&house, id, &format!("{CURL} {url}")), format!("you asked {host}\n"));
    }
    let by_socks = format!("{CURL} -x socks5h://127.0.0.1:3128 https://good.example/who");
    assert_eq!(done(&house, id, &by_socks), "you asked good.example\n");
    for url in ["https://other.example/who", "http://other.example/who"] {
        let call = house.inside(id, &format!("{CURL} -f {url}"));
        assert_ne!(call.code(), 0, "{url}: {}", call.out());
        assert!(call.err().contains("403"), "{url}: {}", call.err());
    }
    assert!(!world.log().contains("other.example"), "{}", world.log());
    let told = told(&house, id);
    let refused = told["now"]["refused"].as_array().unwrap();
    let of = |what: &str| refused.iter().find(|it| it["what"] == what).cloned().unwrap();
    assert_eq!(of("other.example:443")["allow"], "other.example", "{told}");
    // Allowed while it runs, at once, and forbidden again.
    house.done(&["edit", id, "--allow", "other.example"]);
    assert_eq!(
        done(&house, id, &format!("{CURL} https://other.example/who")),
        "you asked other.example\n"
    );
    house.done(&["edit", id, "--deny", "other.example"]);
    assert_ne!(house.inside(id, &format!("{CURL} https://other.example/who")).code(), 0);
}

/// What the attempts have in common: where the world and the agent are, and what is said to the
/// proxy as it is.
const PRELUDE: &str = r#"
C='curl -sS -k -m 6 -f' P=http://127.0.0.1:3128
raw() {
    exec 3<>/dev/tcp/127.0.0.1/3128 && printf "$1" >&3 &&
        timeout 4 cat <&3 | grep -q 'HTTP/1.1 200\|you asked'
}
connect() { raw "CONNECT $1 HTTP/1.1\r\n\r\n"; }
get() { raw "GET http://$1/who HTTP/1.1\r\nHost: $1\r\n\r\n"; }
"#;

/// What a session tries: a name for it, and a script that succeeds if it went through.
const ATTEMPTS: [(&str, &str); 29] = [
    ("an address past the proxy", "$C --noproxy '*' http://$A/who"),
    ("a raw connection", "exec 3<>/dev/tcp/$A/80"),
    ("a raw connection of IPv6", "exec 3<>/dev/tcp/2606:4700::1111/80"),
    ("a datagram", "echo x >/dev/udp/$A/53"),
    ("a look-up", "getent hosts good.example"),
    ("a route", "awk 'NR > 1' /proc/net/route | grep ."),
    ("a device but loopback", "ls /sys/class/net | grep -vx lo"),
    ("a tunnel to an address", "$C -x $P https://$A/who"),
    ("a plain request to an address", "$C -x $P http://$A/who"),
    ("SOCKS with an address", "$C -x socks5://127.0.0.1:3128 http://$A/who"),
    (
        "the tunnel of one name, the server name of another",
        "$C -x $P --connect-to other.example:443:good.example:443 https://other.example/who",
    ),
    (
        "the same by SOCKS",
        "$C -x socks5h://127.0.0.1:3128 --connect-to other.example:443:good.example:443 \
         https://other.example/who",
    ),
    ("no server name", "$C -x $P --connect-to $A:443:good.example:443 https://$A/who"),
    ("another Host", "$C -x $P -H 'Host: other.example' http://good.example/who"),
    ("another Host in a tunnel", "$C -p -x $P -H 'Host: other.example' http://good.example:80/who"),
    ("plain HTTP in a tunnel to 443", "$C -p -x $P http://good.example:443/who"),
    ("a port that no rule names", "$C -x $P https://good.example:8443/who"),
    ("port 22", "connect good.example:22"),
    ("port 25", "connect good.example:25"),
    ("the agent's own port", "connect localhost:$PORT"),
    ("the agent's own port by an allowed name", "connect loopback.example:$PORT"),
    ("its own proxy by an allowed name", "connect loopback.example:3128"),
    (
        "two lengths",
        r#"raw "POST http://good.example/ HTTP/1.1\r\nHost: good.example\r\nContent-Length: 3\r\n\
Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n""#,
    ),
    (
        "a folded Host",
        r#"raw "GET http://good.example/who HTTP/1.1\r\nX: y\r\n Host: other.example\r\n\r\n""#,
    ),
    ("bare line feeds", r#"raw "GET http://good.example/who HTTP/1.1\nHost: good.example\n\n""#),
    (
        "another request behind the first",
        r#"exec 3<>/dev/tcp/127.0.0.1/3128 &&
        printf "GET http://%s/who HTTP/1.1\r\nHost: %s\r\n\r\n" good.example good.example \
            other.example other.example >&3 && timeout 6 cat <&3 | grep -q other.example"#,
    ),
    ("the socket for handing over", "$C --unix-socket /run/convocate/agent/network.sock http://x/"),
    (
        "handing something over",
        "/run/convocate/convocate-agent open-network /run/convocate/agent/network.sock 3",
    ),
    (
        "the socket of a neighbour",
        "ls /run/convocate/agent | grep -vx -e session.sock -e network.sock -e ssh_config",
    ),
];

/// Hosts that are none, or are the one that is not allowed, in every spelling.
const SPELLINGS: [&str; 16] = [
    "169.254.169.254",
    "2852039166",
    "0xA9FEA9FE",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[::ffff:169.254.169.254]",
    "127.1",
    "0",
    "good%%2eexample",
    "good.example%%00",
    "$(printf a.%.0s $(seq 150))example",
    "g\u{f6}\u{f6}d.example",
    "other.example.",
    "OTHER.example",
    "localhost",
    "good.example@other.example",
];

fn attempts() -> Vec<(&'static str, String)> {
    let plain = ATTEMPTS.iter().map(|(what, script)| (*what, (*script).to_owned()));
    let spellings = SPELLINGS.iter().flat_map(|host| {
        [("a spelling", format!("connect {host}:443")), ("a spelling", format!("get {host}"))]
    });
    let elsewhere = ELSEWHERE.iter().flat_map(|name| {
        let what = "an allowed name that leads elsewhere";
        [(what, format!("connect {name}:443")), (what, format!("get {name}"))]
    });
    plain.chain(spellings).chain(elsewhere).collect()
}

/// Allowed, and the names' owner says that they are there.
const ELSEWHERE: [&str; 7] = [
    "loopback.example",
    "loopback6.example",
    "mapped.example",
    "metadata.example",
    "private.example",
    "multicast.example",
    "half.example",
];

#[test]
fn every_attempt_to_get_out_is_refused() {
    let Some((house, world)) = open("every_attempt_to_get_out_is_refused") else { return };
    let rules: Vec<&str> = [&["good.example"], &ELSEWHERE[..]].concat();
    let id = &session(&house, &world, "work", &rules);
    let _neighbour = session(&house, &world, "neighbour", &["other.example"]);
    let agent_port = house.agent.address.port();
    house.done(&["edit", id, "--allow", &format!("loopback.example:{agent_port}")]);
    house.done(&["edit", id, "--allow", "loopback.example:3128"]);
    for (what, attempt) in attempts() {
        let (address, quoted) = (world.address, "'\\''");
        let all = format!("A={address} PORT={agent_port}{PRELUDE}\n{attempt} && echo REACHED");
        let call = house.inside(id, &format!("bash -c '{}'", all.replace('\'', quoted)));
        assert!(!call.out().contains("REACHED"), "{what}: {attempt}: {}", call.out());
        assert!(!call.err().contains("syntax error"), "{what}: {}", call.err());
    }
    // The scripts do say so where something goes through.
    let right = "A=x PORT=y".to_owned() + PRELUDE + "connect good.example:443 && echo REACHED";
    let call = house.inside(id, &format!("bash -c '{}'", right.replace('\'', "'\\''")));
    assert!(call.out().contains("REACHED"), "{}", call.err());
    for line in world.log().lines() {
        let fits = line.ends_with(" good.example") || line.ends_with(" good.example:80");
        assert!(fits, "{line}");
    }
    // And what is the same name in another spelling works.
    for url in ["https://GOOD.example/who", "http://good.example./who"] {
        assert!(done(&house, id, &format!("{CURL} -k {url}")).contains("you asked"), "{url}");
    }
    let told = told(&house, id);
    let refused = told["now"]["refused"].as_array().unwrap();
    let is_there = |what: &str, why: &str| {
        refused.iter().any(|it| it["what"] == what && it["why"].as_str().unwrap().contains(why))
    };
    assert!(
        is_there("good.example:443", "names another server") || is_there("good.example:443", "TLS"),
        "{told}"
    );
    assert!(is_there("metadata.example:443", "metadata"), "{told}");
    assert!(is_there("private.example:443", "egress-private"), "{told}");
}

#[test]
fn tools_work_through_it_and_a_port_works_into_it_and_both_outlive_the_agent() {
    let test = "tools_work_through_it_and_a_port_works_into_it_and_both_outlive_the_agent";
    let Some((mut house, world)) = open(test) else { return };
    let rules = ["--allow", "good.example", "--deny", "www.good.example"];
    let id = &house.create("work", &[&["--egress", "list", "--port", "auto"], &rules[..]].concat());
    world.trusted_by(&house, id);
    house.done(&["restart", id]);
    let root = &house.agent.files.root;
    let git = |arguments: &[&str]| {
        let mut call = command(root, "git");
        call.args(["-c", "user.name=w", "-c", "user.email=w@x", "-C"]).arg(&world.directory);
        run(call.args(arguments), b"", PATIENCE).expect_done();
    };
    git(&["init", "-q", "-b", "main", "work"]);
    git(&["-C", "work", "commit", "-q", "--allow-empty", "-m", "first"]);
    git(&["clone", "-q", "--bare", "work", "repository.git"]);
    git(&["-C", "repository.git", "update-server-info"]);
    let clone = "cd && GIT_SSL_CAINFO=~/world.pem git clone -q \
                 https://good.example/repository.git && \
                 git -C repository log --format=%s";
    assert_eq!(done(&house, id, clone), "first\n");
    // By ssh too, with the session's key, where a rule names the port.
    let host = GitHost::start(root, world.address.into());
    host.admit(&[house.show(id)["ssh_key"].as_str().unwrap()]);
    let by_name = |text: String| text.replace(&world.address.to_string(), "good.example");
    let login = format!("{} echo in", by_name(host.login()));
    assert_ne!(house.inside(id, &login).code(), 0);
    house.done(&["edit", id, "--allow", &format!("good.example:{}", host.port())]);
    assert_eq!(done(&house, id, &login), "in\n");
    let post = |more: &str| {
        format!("head -c 300000 /dev/zero | {CURL} {more} --data-binary @- http://good.example/")
    };
    assert_eq!(done(&house, id, &post("")), "300000 bytes\n");
    assert_eq!(done(&house, id, &post("-H 'Transfer-Encoding: chunked'")), "300000 bytes\n");
    let events = done(&house, id, &format!("{CURL} https://good.example/events"));
    assert_eq!(events, "data: 0\n\ndata: 1\n\ndata: 2\n\n");
    let socket = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128; printf \"GET \
                  http://good.example/socket HTTP/1.1\\r\\nHost: good.example\\r\\n\
                  Upgrade: websocket\\r\\nConnection: Upgrade\\r\\n\
                  Sec-WebSocket-Key: a\\r\\n\\r\\nFRAMES\" >&3; timeout 3 cat <&3; :'";
    let answer = done(&house, id, socket);
    assert!(answer.contains("101 Switching") && answer.ends_with("FRAMES"), "{answer}");

    // Into it, more often than there are sockets ready.
    let port = u16::try_from(house.show(id)["port"].as_u64().unwrap()).unwrap();
    let serve = format!(
        "setsid perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(Listen => 9, \
         LocalPort => {port}, ReuseAddr => 1) or die; while (my $c = $s->accept) {{ my $l = <$c>; \
         print $c \"got $l\"; close $c }}' >/dev/null 2>&1 </dev/null &"
    );
    done(&house, id, &serve);
    let ask = |text: &str| -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(text.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer).filter(|answer| !answer.is_empty())
    };
    assert_eq!(wait_for(PATIENCE, "the port", || ask("x\n")), "got x\n");
    for number in 0..120 {
        assert_eq!(ask(&format!("{number}\n")), Some(format!("got {number}\n")));
    }

    // The agent dies, and another one carries on.
    house.agent.kill();
    assert_ne!(house.inside(id, &format!("{CURL} https://good.example/who")).code(), 0);
    assert!(ask("x\n").is_none());
    house.restart_by(|files, engine, listen| world.agent_call(files, engine, listen));
    let back = format!("{CURL} https://good.example/who");
    wait_for(PATIENCE, "the way out", || (house.inside(id, &back).code() == 0).then_some(()));
    assert_eq!(wait_for(PATIENCE, "the port", || ask("x\n")), "got x\n");
    assert_ne!(house.inside(id, &format!("{CURL} https://www.good.example/who")).code(), 0);
    // It starts again, in another network.
    house.done(&["kill", id]);
    assert!(ask("x\n").is_none());
    house.done(&["restart", id]);
    assert_eq!(done(&house, id, &back), "you asked good.example\n");
}

#[test]
fn a_thousand_connections_that_stand_still_cost_little_and_stop_nobody() {
    let test = "a_thousand_connections_that_stand_still_cost_little_and_stop_nobody";
    let Some((house, world)) = open(test) else { return };
    let id = &session(&house, &world, "work", &["good.example"]);
    let other = &session(&house, &world, "other", &["good.example"]);
    let fetch = |session: &str| {
        let script = format!("{BULK} http://good.example/bytes/100000000");
        let (out, took) = timed(|| done(&house, session, &script));
        assert_eq!(out.trim(), "100000000");
        took
    };
    let open = &house.create("open", &[]);
    house.done(&["restart", open]);
    let past = format!("{BULK} http://{}/bytes/100000000", world.address);
    let (_, by_bridge) = timed(|| done(&house, open, &past));
    let alone = fetch(other);
    let before = house.resident_kib();
    let hold = "setsid bash -c 'for n in $(seq 1000); do \
                exec {fd}<>/dev/tcp/127.0.0.1/3128 || exit; \
                printf \"GET http://good.example/bytes/9000000 HTTP/1.1\\r\\nHost: \
                good.example\\r\\n\\r\\n\" >&$fd; done; touch ~/held; sleep 600' >/dev/null 2>&1 \
                </dev/null &";
    done(&house, id, hold);
    wait_for(PATIENCE, "a thousand connections", || {
        let told = told(&house, id);
        (told["now"]["count"].as_u64() >= Some(1000)).then_some(())
    });
    let crowded = fetch(other);
    let grown = house.resident_kib().saturating_sub(before);
    let (_, ping) = timed(|| house.done(&["ls"]));
    eprintln!(
        "100 MB took {by_bridge:?} by the bridge, {alone:?} by the agent, {crowded:?} beside 1,000 \
         that stand still; these cost {grown} KiB; ls took {ping:?}"
    );
    assert!(grown <= 40 * 1024, "{grown} KiB");
}
