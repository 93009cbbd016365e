//! Every way out that a client may try, by the bytes that it says.

use super::*;
use crate::agent::egress::hello::tests::{hello, hello_with_encrypted, hello_without_name};

const NOW: Mono = Mono::ZERO;

/// What came of a client's words.
#[derive(Debug, Default)]
struct Played {
    /// What it wanted to reach.
    asked: Option<String>,
    server: Vec<u8>,
    client: Vec<u8>,
    refusal: Option<Refusal>,
}

/// A client that says these words, one part after the other, to a server that is there for
/// everything that is asked for.
fn played(parts: &[&[u8]]) -> Played {
    let mut conn = Conn::new(NOW);
    let mut played = Played::default();
    for part in parts {
        match conn.client_flow() {
            Flow::Look(room) => conn.client_said(NOW, &part[..part.len().min(room)]),
            Flow::Pass => played.server.extend_from_slice(part),
            Flow::Drop => {}
        }
        if let Some(target) = conn.next_ask() {
            played.asked = Some(format!("{}:{}", target.name.as_str(), target.port));
            conn.connected(NOW);
        }
        played.server.extend(conn.take_to_server());
        played.client.extend(conn.take_to_client());
    }
    played.refusal = conn.next_refusal();
    played
}

fn connect(host: &str) -> Vec<u8> {
    format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

fn socks(kind: u8, address: &[u8], port: u16) -> Vec<u8> {
    [&[5, 1, 0, kind][..], address, &port.to_be_bytes()].concat()
}

fn socks_name(name: &str, port: u16) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    socks(3, &[&[length][..], name.as_bytes()].concat(), port)
}

#[test]
fn a_tunnel_carries_tls_for_its_name_and_every_byte_of_it() {
    for (first, granted, asked) in [
        (vec![connect("A.example:443")], http::granted(), "a.example:443"),
        (
            vec![vec![5, 1, 0], socks_name("a.example.", 443)],
            [&socks::WELCOME[..], &socks::granted()].concat(),
            "a.example:443",
        ),
    ] {
        let hello = hello("a.example");
        // In one piece, byte by byte, and with what follows.
        let bytes: Vec<&[u8]> = hello.chunks(1).collect();
        for hello_parts in [vec![&hello[..]], bytes] {
            let first = first.iter().map(Vec::as_slice);
            let parts: Vec<&[u8]> = first.chain(hello_parts).chain([&b"more"[..]]).collect();
            let Played { asked: wanted, server, client, refusal } = played(&parts);
            assert_eq!(refusal, None);
            assert_eq!(wanted.as_deref(), Some(asked));
            assert_eq!(server, [&hello[..], b"more"].concat());
            assert_eq!(client, granted);
        }
    }
    let ssh = played(&[&connect("a.example:22"), b"SS", b"H-2.0-x\r\n"]);
    assert_eq!((ssh.refusal, &ssh.server[..]), (None, &b"SSH-2.0-x\r\n"[..]));
}

#[test]
fn what_is_said_in_a_tunnel_fits_its_name_or_nothing_reaches_the_server() {
    let first = connect("a.example:443");
    let other_port = connect("a.example:8443");
    let port_80 = connect("a.example:80");
    let get = |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
    let quic = [0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    for (case, first, said) in [
        ("another server's name", &first, hello("b.example")),
        ("a longer name", &first, hello("a.example.b.example")),
        ("no server's name", &first, hello_without_name()),
        ("an encrypted ClientHello", &first, hello_with_encrypted("a.example")),
        ("plain HTTP on 443", &first, get("a.example")),
        ("ssh on 443", &first, b"SSH-2.0-x\r\n".to_vec()),
        ("QUIC's bytes", &first, quic.to_vec()),
        ("an old hello", &first, vec![0x80, 0x2e, 1, 3, 1, 0, 3]),
        ("another server's name", &other_port, hello("b.example")),
        ("something else on a port", &other_port, b"\x00\x00\x00\x08\x04\xd2\x16\x2f".to_vec()),
        ("another Host in a tunnel", &port_80, get("b.example")),
        ("another Host on a port", &other_port, get("b.example:8443")),
        ("no Host in a tunnel", &port_80, b"GET / HTTP/1.0\r\n\r\n".to_vec()),
        (
            "an address in a tunnel",
            &port_80,
            b"GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec(),
        ),
        ("ssh on 80", &port_80, b"SSH-2.0-x\r\n".to_vec()),
        ("another tunnel in a tunnel", &port_80, connect("b.example:443")),
    ] {
        let played = played(&[first, &said]);
        assert!(played.refusal.is_some(), "{case}: {played:?}");
        assert_eq!(played.server, b"", "{case}");
    }
}

#[test]
fn what_names_no_host_or_two_is_refused_before_anybody_is_asked_for() {
    let long = format!("{}.example:443", "a.".repeat(150));
    let with = |lines: &str| format!("GET http://a.example/ HTTP/1.1\r\n{lines}\r\n").into_bytes();
    let mut cases = vec![
        ("no proxy request", b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec()),
        (
            "https by a proxy request",
            b"GET https://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec(),
        ),
        ("another Host", with("Host: b.example\r\n")),
        ("another port in Host", with("Host: a.example:8080\r\n")),
        ("two Hosts", with("Host: a.example\r\nHost: b.example\r\n")),
        ("two equal Hosts", with("Host: a.example\r\nHost: a.example\r\n")),
        ("no Host", with("")),
        ("a user", b"GET http://a.example@b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec()),
        ("a folded line", with("Host: a.example\r\nX: 1\r\n Host: b.example\r\n")),
        ("a space before the colon", with("Host : a.example\r\n")),
        ("bare line feeds", b"GET http://a.example/ HTTP/1.1\nHost: a.example\n\n".to_vec()),
        ("a bare line feed", with("Host: a.example\r\nX: 1\nTransfer-Encoding: chunked\r\n")),
        ("a bare return", with("Host: a.example\r\nX: 1\rY: 2\r\n")),
        ("a NUL", with("Host: a.example\r\nX: \0\r\n")),
        ("two lengths", with("Host: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n")),
        ("lengths in a list", with("Host: a.example\r\nContent-Length: 1, 1\r\n")),
        ("a signed length", with("Host: a.example\r\nContent-Length: +1\r\n")),
        (
            "a length and chunks",
            with("Host: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
        ),
        ("two codings", with("Host: a.example\r\nTransfer-Encoding: gzip, chunked\r\n")),
        ("chunks that are hidden", with("Host: a.example\r\nTransfer-Encoding: xchunked\r\n")),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("HTTP/0.9", b"GET http://a.example/\r\n\r\n".to_vec()),
        (
            "a method in lower case",
            b"get http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n".to_vec(),
        ),
        (
            "a head without an end",
            [b"GET http://a.example/ HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 9000]].concat(),
        ),
        (
            "Host of another name for a tunnel",
            b"CONNECT a.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n".to_vec(),
        ),
        (
            "a tunnel with a body",
            b"CONNECT a.example:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc".to_vec(),
        ),
        ("TLS to the proxy", hello("a.example")),
        ("SOCKS4", vec![4, 1, 1, 0xbb, 0, 0, 0, 1, b'x', 0]),
        ("a name of 300 bytes", connect(&long)),
    ];
    for host in [
        "1.2.3.4:443",
        "[::1]:443",
        "[::ffff:127.0.0.1]:443",
        "127.1:443",
        "2130706433:443",
        "0x7f000001:443",
        "0177.0.0.1:443",
        "169.254.169.254:80",
        "2852039166:80",
        "0xA9FEA9FE:80",
        "0251.0376.0251.0376:80",
        "169.254.43518:80",
        "a%2eexample:443",
        "b\u{fc}cher.example:443",
        "a.example\u{3002}org:443",
        "a_b.example:443",
        "a.example",
        "a.example:",
        "a.example:0",
        "a.example:65536",
        "a.example:443:443",
        "a..example:443",
        "/run/x.sock:1",
        ":443",
    ] {
        cases.push(("a host that is none", connect(host)));
        let plain = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n");
        if !["a.example", "a.example:0"].contains(&host) {
            cases.push(("a host that is none, plainly", plain.into_bytes()));
        }
    }
    for (case, said) in cases {
        let played = played(&[&said]);
        let shown = String::from_utf8_lossy(&said);
        assert!(played.refusal.is_some(), "{case}: {shown}: {played:?}");
        assert_eq!((played.asked, played.server), (None, Vec::new()), "{case}: {shown}");
        let told = String::from_utf8_lossy(&played.client);
        assert!(!told.contains('\u{1b}') && !told.contains(" 200 "), "{case}: {told}");
    }
}

#[test]
fn socks_is_for_names_alone() {
    for (case, said) in [
        ("an address", socks(1, &[127, 0, 0, 1], 443)),
        ("an address of IPv6", socks(4, &[0; 16], 443)),
        ("an address as a name", socks_name("127.0.0.1", 443)),
        ("a number as a name", socks_name("2130706433", 443)),
        ("a name with a NUL", socks_name("a.example\0", 443)),
        ("no name", socks_name("", 443)),
        ("a listener", [&[5, 2, 0][..], &socks_name("a.example", 443)[3..]].concat()),
        ("datagrams", [&[5, 3, 0][..], &socks_name("a.example", 443)[3..]].concat()),
        ("another version", [&[4][..], &socks_name("a.example", 443)[1..]].concat()),
    ] {
        let played = played(&[&[5, 1, 0], &said]);
        assert!(played.refusal.is_some(), "{case}");
        assert_eq!((played.asked, played.server), (None, Vec::new()), "{case}");
        assert_eq!(played.client[..3], [5, 0, 5], "{case}");
        assert_ne!(played.client[3], 0, "{case}");
    }
    let with_password = played(&[&[5, 1, 2]]);
    assert_eq!(with_password.client, socks::NO_METHOD);
    let impatient = played(&[&[&[5, 1, 0][..], &socks_name("a.example", 443)].concat()]);
    assert!(impatient.refusal.is_some() && impatient.asked.is_none());
}

#[test]
fn a_plain_request_is_written_anew_and_nothing_behind_it_passes() {
    let head = "GET http://A.example/x?y HTTP/1.1\r\nHost: a.example:80\r\nUser-Agent: u\r\n\
                Proxy-Authorization: secret\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\n\
                Connection: keep-alive, Upgrade, HTTP2-Settings\r\nTE: trailers\r\n\r\n";
    let second = "GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n";
    let wanted = "GET /x?y HTTP/1.1\r\nHost: a.example\r\nuser-agent: u\r\n\
                  Connection: close\r\n\r\n";
    for parts in [vec![head, second], vec![&format!("{head}{second}")[..]]] {
        let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
        let played = played(&parts);
        assert_eq!(String::from_utf8_lossy(&played.server), wanted);
        assert_eq!((played.refusal, played.asked.as_deref()), (None, Some("a.example:80")));
    }
    for (head, body, behind) in [
        ("Content-Length: 3", "abc", "POST"),
        ("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", "POST"),
        ("Transfer-Encoding: chunked", "a\r\n0\r\n\r\nGET /\r\n0\r\n\r\n", "GET"),
    ] {
        let all = format!(
            "POST http://a.example HTTP/1.1\r\nHost: a.example\r\n{head}\r\n\r\n{body}{behind}"
        );
        let bytes: Vec<&[u8]> = all.as_bytes().chunks(1).collect();
        for parts in [vec![all.as_bytes()], bytes] {
            let played = played(&parts);
            let server = String::from_utf8(played.server).unwrap();
            assert!(server.starts_with("POST / HTTP/1.1\r\nHost: a.example\r\n"), "{server}");
            assert!(server.ends_with(&format!("\r\n\r\n{body}")), "{server}");
        }
    }
    for chunks in
        ["3;x=y\r\nabc", "3\nabc", "-3\r\n", "123456789\r\n", "\r\n", "3\r\nabcd", "0\r\nX: 1"]
    {
        let all = format!(
            "POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\
             \r\n{chunks}"
        );
        let played = played(&[all.as_bytes()]);
        assert!(matches!(played.refusal, Some(Refusal::Unfit(_))), "{chunks:?}: {played:?}");
    }
}

#[test]
fn a_websocket_opens_when_the_server_says_so_and_not_before() {
    let head = b"GET http://a.example/s HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\
                 Connection: Upgrade\r\nSec-WebSocket-Key: k\r\n\r\n";
    for (answer, opens) in [
        (&b"HTTP/1.1 101 Switching Protocols\r\n\r\n"[..], true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        (b"HTTP/1.1 1010 ", false),
    ] {
        let mut conn = Conn::new(NOW);
        conn.client_said(NOW, head);
        assert!(conn.next_ask().is_some());
        conn.connected(NOW);
        let sent = conn.take_to_server();
        assert!(sent.ends_with(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"));
        // Another request, or frames.
        conn.client_said(NOW, b"early");
        assert_eq!(conn.take_to_server(), b"");
        answer.chunks(1).for_each(|byte| conn.server_said(byte));
        assert_eq!(conn.take_to_server(), if opens { &b"early"[..] } else { b"" });
        let flow = if opens { Flow::Pass } else { Flow::Look(usize::MAX) };
        assert_eq!(conn.client_flow(), flow);
        // What comes then is another request, whose answer the server must not give.
        if !opens {
            conn.client_said(NOW, b"\r\n");
            assert!(!conn.is_over());
            conn.client_said(NOW, b"GET http://b.example/ HTTP/1.1\r\n");
            assert!(conn.is_over());
        }
    }
}

#[test]
fn each_wait_has_an_end_and_a_refusal_comes_in_the_clients_words() {
    let mut silent = Conn::new(NOW);
    assert!(!silent.tick(NOW));
    assert!(!silent.tick(NOW + EGRESS_HEAD_TIMEOUT));
    assert_eq!(silent.next_refusal(), Some(Refusal::Late));
    assert!(silent.is_over() && silent.tick(NOW + EGRESS_HEAD_TIMEOUT + EGRESS_LINGER));

    let mut asking = Conn::new(NOW);
    asking.client_said(NOW, &connect("a.example:443"));
    assert!(asking.next_ask().is_some() && !asking.is_carried());
    assert!(!asking.tick(NOW + EGRESS_DIAL_TIMEOUT));
    let told = String::from_utf8(asking.take_to_client()).unwrap();
    assert!(told.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{told}");
    // An answer that comes now is nobody's.
    asking.connected(NOW);
    assert!(asking.is_over() && asking.take_to_client().is_empty());

    let mut unlisted = Conn::new(NOW);
    unlisted.client_said(NOW, &connect("a.example:443"));
    unlisted.refuse(NOW, Refusal::Unlisted);
    let told = String::from_utf8(unlisted.take_to_client()).unwrap();
    assert!(told.contains("403 Forbidden") && told.contains("--allow NAME"), "{told}");

    let wrong = played(&[&connect("a.example:443"), &hello("b.example")]);
    assert!(wrong.client.ends_with(&TLS_DENIED));
}

#[test]
fn what_is_held_is_bounded() {
    let mut conn = Conn::new(NOW);
    conn.client_said(NOW, &connect("a.example:443"));
    assert!(conn.next_ask().is_some());
    let mut taken = 0;
    while let Flow::Look(room @ 1..) = conn.client_flow() {
        conn.client_said(NOW, &vec![22; room.min(1000)]);
        taken += room.min(1000);
    }
    assert_eq!(taken, EGRESS_HELD_BYTES_MAX);
}
