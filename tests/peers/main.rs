//! Real peers: the clients of others against our server, and our client against the servers of
//! others.
//!
//! Each client calls and attaches to a running agent, carries 100 MiB through an echo with our
//! transport below it while keys are renewed, and tries every pair of key exchange and cipher that
//! it has. Each server is called by our client in the same way. What ran is printed as a table,
//! which `tests/README.md` keeps.

#[path = "../support/mod.rs"]
mod support;

mod client;
mod clients;
mod observed;
mod server;
mod servers;
mod table;

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::Called;
use clients::{ASYNCSSH, Choice, Client, LIBSSH, LIBSSH2, PARAMIKO, Place};
use convocate::ssh::kex::KexName;
use convocate::ssh::kexinit::NegotiationError;
use convocate::ssh::keys::{KeyPair, PublicKey};
use convocate::ssh::names::{AES256_GCM, CHACHA20_POLY1305};
use convocate::ssh::{ClientConfig, Error, ServerConfig, Tuning};
use server::{ECHO, ECHO_STATUS, Seen, Server};
use servers::Foreign;
use support::Need;
use support::agent::Agent;
use support::keys::KeyFile;
use support::process::{Running, run};
use support::root::Root;
use support::wait::{PATIENCE, poll, wait_for, wait_until};
use table::Row;

/// What goes through each peer once.
const BULK_MIB: usize = 100;
/// Bytes under one key meanwhile, as our side has it.
const BULK_REKEY_BYTES: u64 = 8 << 20;
/// How long that may take on a machine that does much else.
const BULK_PATIENCE: Duration = Duration::from_secs(180);
/// What goes through each pair of key exchange and cipher.
const PAIR_MIB: usize = 1;
/// Bytes under one key meanwhile.
const PAIR_REKEY_BYTES: u32 = 256 * 1024;

/// What is sent: the same bytes each time, and no part of them like another (xorshift64).
static DATA: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut data = vec![0; BULK_MIB << 20];
    for chunk in data.as_chunks_mut::<8>().0 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *chunk = state.to_le_bytes();
    }
    data
});

/// The first so many MiB of what is sent.
fn data(mib: usize) -> &'static [u8] {
    &DATA[..mib << 20]
}

/// Peers come one after the other: each wants the machine for itself, and its memory.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn openssh_is_a_client() {
    try_client("openssh_is_a_client", Client::OpenSsh, &CLASSICAL);
}

#[test]
fn dropbear_is_a_client() {
    try_client("dropbear_is_a_client", Client::Dropbear, &CLASSICAL);
}

#[test]
fn plink_is_a_client() {
    try_client("plink_is_a_client", Client::Plink, &CLASSICAL);
}

#[test]
fn libssh_is_a_client() {
    try_client("libssh_is_a_client", LIBSSH, &CLASSICAL);
}

#[test]
fn libssh2_is_a_client() {
    try_client("libssh2_is_a_client", LIBSSH2, &CLASSICAL);
}

#[test]
fn asyncssh_is_a_client() {
    try_client("asyncssh_is_a_client", ASYNCSSH, &KexName::ALL);
}

#[test]
fn paramiko_is_a_client() {
    let sure = [KexName::MlKem768X25519, KexName::Curve25519LibSsh];
    try_client("paramiko_is_a_client", PARAMIKO, &sure);
}

/// What all but the newest have.
const CLASSICAL: [KexName; 2] = [KexName::Curve25519, KexName::Curve25519LibSsh];

/// All that one client is to show. It has at least the key exchanges in `sure`; a later version
/// may have more.
fn try_client(test: &str, client: Client, sure: &[KexName]) {
    let missing = client.missing().or_else(|| {
        let needs = [Need::Program("ssh-keygen"), Need::Program("tmux")];
        (!support::has(test, &needs)).then(String::new)
    });
    if let Some(reason) = missing {
        if !reason.is_empty() {
            support::skip(test, &reason);
        }
        return;
    }
    let _turn = alone();
    let mut rows = vec![bulk(client)];
    (rows[0].rpc, rows[0].attach) = call_and_attach(client);
    for kex in KexName::ALL {
        let known: Vec<Row> =
            client.ciphers().iter().filter_map(|cipher| pair(client, kex, cipher)).collect();
        assert!(!known.is_empty() || !sure.contains(&kex), "{client:?} has no {}", kex.name());
        rows.extend(known);
    }
    table::print(&rows);
}

/// A server of our transport for one client, and the keys of both.
struct Stage {
    root: Root,
    key: KeyFile,
    host_key: KeyFile,
    server: Server,
}

impl Stage {
    fn new(tuning: Tuning) -> Stage {
        let root = Root::new();
        let key = KeyFile::make(&root, &root.dir().join("client"), "client");
        let host_key = KeyFile::make(&root, &root.dir().join("host"), "host");
        let subsystems = server::SUBSYSTEMS;
        let config = ServerConfig { host_key: private(&host_key), subsystems, tuning };
        let server = Server::start(config, public(&key));
        Stage { root, key, host_key, server }
    }

    fn place(&self) -> Place<'_> {
        let (root, address) = (&self.root, self.server.address);
        Place { root, address, key: &self.key, host_key: &self.host_key }
    }

    fn seen(&self) -> Seen {
        wait_for(PATIENCE, "the end of the connection", || self.server.next_seen())
    }
}

/// The halves of a key that `ssh-keygen` has made.
pub fn private(key: &KeyFile) -> KeyPair {
    let file = std::fs::read(key.path()).expect("it was made");
    KeyPair::parse_openssh(&file).expect("ssh-keygen made it")
}

/// The public half.
pub fn public(key: &KeyFile) -> PublicKey {
    PublicKey::parse_line(&key.public_line()).expect("ssh-keygen made it").0
}

/// Much, with what both sides like best, our side renewing the keys.
fn bulk(client: Client) -> Row {
    let stage = Stage::new(Tuning { rekey_bytes: BULK_REKEY_BYTES, ..Tuning::default() });
    let choice = Choice { subsystem: ECHO, cipher: None, rekey_bytes: None };
    let seen = echo(client, &stage, choice, BULK_MIB).expect("it goes with its own choice");
    let least = (BULK_MIB << 20) as u64 / BULK_REKEY_BYTES / 2;
    assert!(seen.rekeys > least && seen.strict, "{seen:?}");
    row("client", &seen, BULK_MIB, "us")
}

/// Little, with one key exchange and one cipher; `None` if the client does not have the former.
/// The client renews the keys where it can be told so.
fn pair(client: Client, kex: KexName, cipher: &'static str) -> Option<Row> {
    let kex_only: &'static [KexName] = match kex {
        KexName::MlKem768X25519 => &[KexName::MlKem768X25519],
        KexName::Curve25519 => &[KexName::Curve25519],
        KexName::Curve25519LibSsh => &[KexName::Curve25519LibSsh],
    };
    let mut tuning = Tuning { kex: kex_only, ..Tuning::default() };
    let mut choice = Choice { subsystem: ECHO, cipher: Some(cipher), rekey_bytes: None };
    let by = match client.rekeys() {
        true => {
            choice.rekey_bytes = Some(PAIR_REKEY_BYTES);
            "it"
        }
        false => {
            tuning.rekey_bytes = u64::from(PAIR_REKEY_BYTES);
            "us"
        }
    };
    let stage = Stage::new(tuning);
    let seen = echo(client, &stage, choice, PAIR_MIB).ok()?;
    assert_eq!(seen.agreed, Some((kex.name(), cipher)), "{seen:?}");
    assert!(seen.rekeys > 0, "{seen:?}");
    Some(row("client", &seen, PAIR_MIB, by))
}

#[test]
fn sshd_is_a_server() {
    let modern = "aes256-gcm@openssh.com,chacha20-poly1305@openssh.com";
    try_server("sshd_is_a_server", &[true, false], "it", |place| servers::sshd(place, modern));
}

#[test]
fn dropbear_is_a_server() {
    try_server("dropbear_is_a_server", &[false], "us", servers::dropbear);
}

#[test]
fn asyncssh_is_a_server() {
    try_server("asyncssh_is_a_server", &[true, false], "it", |place| {
        servers::script("asyncssh_server.py", "asyncssh", place)
    });
}

#[test]
fn paramiko_is_a_server() {
    try_server("paramiko_is_a_server", &[true], "it", |place| {
        servers::script("paramiko_server.py", "paramiko", place)
    });
}

/// Debian's TinySSH has ChaCha20-Poly1305 alone, and no strict exchange: a prefix of such a stream
/// can be cut away unseen (CVE-2023-48795).
#[test]
fn tinyssh_is_refused_for_its_lack_of_strict_exchange() {
    let test = "tinyssh_is_refused_for_its_lack_of_strict_exchange";
    let _turn = alone();
    let Some((called, _)) = call_server(test, Caller::default(), servers::tinyssh) else { return };
    let seen = called.seen;
    if seen.strict {
        support::skip(test, &format!("peer: {} has the strict exchange", seen.peer));
        return;
    }
    let Some(error @ Error::CipherNeedsStrict(CHACHA20_POLY1305)) = &seen.error else {
        panic!("{seen:?}");
    };
    assert!(error.to_string().contains("strict"), "{error}");
}

#[test]
fn a_server_with_another_key_is_refused() {
    let test = "a_server_with_another_key_is_refused";
    let _turn = alone();
    let caller = Caller { pins_another: true, ..Caller::default() };
    let start = |place: servers::Place<'_>| servers::sshd(place, AES256_GCM);
    let Some((called, _)) = call_server(test, caller, start) else { return };
    assert!(matches!(called.seen.error, Some(Error::HostKeyMismatch { .. })), "{called:?}");
    assert_eq!((called.output.len(), called.status), (0, None));
}

/// All that one server is to show, with each cipher that it has (whether that is AES). `by` says
/// who renews the keys of each pair.
fn try_server(
    test: &str,
    ciphers: &[bool],
    by: &'static str,
    start: impl Fn(servers::Place<'_>) -> Result<Foreign, String>,
) {
    let _turn = alone();
    let mut rows = Vec::new();
    let kexes: [&[KexName]; 3] =
        [&[KexName::MlKem768X25519], &[KexName::Curve25519], &[KexName::Curve25519LibSsh]];
    let bulk = Caller { rekey_bytes: BULK_REKEY_BYTES, mib: BULK_MIB, ..Caller::default() };
    let rekey_bytes = if by == "us" { u64::from(PAIR_REKEY_BYTES) } else { u64::MAX };
    let pairs = kexes.into_iter().flat_map(|kex| {
        ciphers.iter().map(move |aes| Caller {
            kex,
            prefer_aes: *aes,
            rekey_bytes,
            ..Caller::default()
        })
    });
    for caller in [bulk].into_iter().chain(pairs) {
        let Some((called, status)) = call_server(test, caller, &start) else { return };
        if lacks_kex(&called.seen) && caller.kex.len() == 1 {
            continue;
        }
        let (len, same) = (called.output.len(), called.output == data(caller.mib));
        assert!(same, "{caller:?} got {len} bytes: {:?}", called.seen);
        assert_eq!(called.status, Some(status), "{caller:?} {:?}", called.seen);
        assert!(called.seen.rekeys > 0, "{caller:?} {:?}", called.seen);
        let by = if caller.mib == BULK_MIB { "us" } else { by };
        rows.push(row("server", &called.seen, caller.mib, by));
    }
    table::print(&rows);
    assert!(rows.len() > 2, "{rows:?}");
}

/// Our client, for one call.
#[derive(Clone, Copy, Debug)]
struct Caller {
    kex: &'static [KexName],
    prefer_aes: bool,
    /// After how many bytes we ask for new keys.
    rekey_bytes: u64,
    mib: usize,
    pins_another: bool,
}

impl Default for Caller {
    fn default() -> Caller {
        let Tuning { kex, prefer_aes, .. } = Tuning::default();
        let rekey_bytes = u64::from(PAIR_REKEY_BYTES);
        Caller { kex, prefer_aes, rekey_bytes, mib: PAIR_MIB, pins_another: false }
    }
}

/// Starts a server, sends so much through its echo, and gives what came of it and what a good echo
/// exits with. `None` if the server cannot be had, which has been reported.
fn call_server(
    test: &str,
    caller: Caller,
    start: impl Fn(servers::Place<'_>) -> Result<Foreign, String>,
) -> Option<(Called, u32)> {
    if !support::has(test, &[Need::Program("ssh-keygen")]) {
        return None;
    }
    let root = Root::new();
    let key = KeyFile::make(&root, &root.dir().join("client"), "client");
    let host_key = KeyFile::make(&root, &root.dir().join("host"), "host");
    // Where much goes, our side alone asks for new keys.
    let (root, much) = (&root, caller.mib == BULK_MIB);
    let rekey_bytes = if much { 1 << 30 } else { PAIR_REKEY_BYTES };
    let place = servers::Place { root, key: &key, host_key: &host_key, rekey_bytes };
    let foreign = match start(place) {
        Ok(foreign) => foreign,
        Err(missing) => {
            support::skip(test, &missing);
            return None;
        }
    };
    let pinned = if caller.pins_another { &key } else { &host_key };
    let config = ClientConfig {
        user: user(),
        key: private(&key),
        host_key: public(pinned),
        tuning: Tuning {
            kex: caller.kex,
            prefer_aes: caller.prefer_aes,
            rekey_bytes: caller.rekey_bytes,
            ..Tuning::default()
        },
    };
    let input = data(caller.mib);
    let called = client::call(
        foreign.address,
        &Arc::new(config),
        (foreign.echo, usize::MAX),
        input,
        BULK_PATIENCE,
    );
    Some((called, foreign.status))
}

/// Whoever runs the tests: a server that is not root's lets in nobody else.
fn user() -> String {
    let id = run(std::process::Command::new("id").arg("-un"), b"", PATIENCE);
    id.expect_done().out().trim().to_owned()
}

/// Whether the peer has none of the key exchanges that it was offered. It says so, or we do, or it
/// goes without a word when it has seen our offer.
fn lacks_kex(seen: &Seen) -> bool {
    let nothing = |error: &NegotiationError| {
        let what = "key exchange method";
        matches!(error, NegotiationError::NothingInCommon { what: of, .. } if *of == what)
    };
    match &seen.error {
        Some(Error::Negotiation(error)) => nothing(error),
        Some(Error::StreamEnd | Error::ByPeer { .. }) => seen.agreed.is_none(),
        _ => false,
    }
}

/// What is known of a connection, as a row.
pub fn row(role: &'static str, seen: &Seen, echo_mib: usize, by: &'static str) -> Row {
    let (kex, cipher) = seen.agreed.expect("both have proposed");
    let (peer, rekeys) = (seen.peer.clone(), (seen.rekeys, by));
    Row { peer, role, kex, cipher, rpc: false, attach: false, echo_mib, rekeys }
}

/// Sends so much through the echo. The error is the client's lack of every key exchange offered.
fn echo(client: Client, stage: &Stage, choice: Choice, mib: usize) -> Result<Seen, Seen> {
    let call = run(&mut client.command(stage.place(), choice), data(mib), BULK_PATIENCE);
    let seen = stage.seen();
    if lacks_kex(&seen) {
        return Err(seen);
    }
    let (len, same) = (call.stdout.len(), call.stdout == data(mib));
    assert!(same, "{client:?} {choice:?} got {len} bytes: {seen:?}: {}", call.err());
    assert_eq!(call.code().unsigned_abs(), ECHO_STATUS, "{client:?}: {}", call.err());
    Ok(seen)
}

#[test]
fn ssh_audit_warns_of_the_classical_exchanges_alone() {
    let test = "ssh_audit_warns_of_the_classical_exchanges_alone";
    if !support::has(test, &[Need::Program("ssh-keygen"), Need::Program("tmux")]) {
        return;
    }
    if let Some(missing) = clients::missing_module("ssh_audit") {
        support::skip(test, &missing);
        return;
    }
    let _turn = alone();
    let agent = Agent::start();
    let audit = clients::venv().expect("its module is there").join("bin/ssh-audit");
    let mut call = support::process::command(&agent.files.root, audit);
    call.args(["--no-colors", "--port", &agent.address.port().to_string(), "127.0.0.1"]);
    let call = run(&mut call, b"", BULK_PATIENCE);
    let told = call.out();
    // It warns of every key exchange that a quantum computer could undo. Most peers of the table
    // have no other, so they stay, behind the one that it does not warn of.
    let classical = CLASSICAL.map(KexName::name);
    for line in told.lines().filter(|line| line.contains("[fail]") || line.contains("[warn]")) {
        let known = line
            .ends_with("[warn] does not provide protection against post-quantum attacks")
            && line.split(' ').nth(1).is_some_and(|name| classical.contains(&name));
        assert!(known, "{line}\n{told}");
    }
    for name in ["mlkem768x25519-sha256", AES256_GCM, CHACHA20_POLY1305, "ssh-ed25519"] {
        assert!(told.contains(name), "{told}");
    }
}

/// A call and a terminal at a running agent.
fn call_and_attach(client: Client) -> (bool, bool) {
    let agent = Agent::start();
    let files = &agent.files;
    let (root, address) = (&files.root, agent.address);
    let place = Place { root, address, key: &files.operator, host_key: &files.host_key };
    let id = create_session(client, place);
    let (cipher, rekey_bytes) = (None, None);
    let choice = Choice { subsystem: "convocate-agent-attach", cipher, rekey_bytes };
    let mut terminal = Running::start(&mut client.command(place, choice));
    let mut keys = terminal.stdin().expect("it was not taken");
    let mut type_text = |text: &str| {
        std::io::Write::write_all(&mut keys, text.as_bytes()).expect("the client reads");
    };
    type_text(&format!("{{\"id\":\"{id}\",\"cols\":100,\"rows\":30}}\n"));
    // The last of the 30 rows is the status line.
    type_text("echo to$((40+2))gether; stty size\n");
    let answered = poll(PATIENCE, || {
        let shown = terminal.stdout.text();
        (shown.contains("to42gether") && shown.contains("29 100")).then_some(())
    });
    let (shown, complaint) = (terminal.stdout.text(), terminal.stderr.text());
    assert!(answered.is_some(), "{client:?}: {shown:?} {complaint} {}", agent.log());
    type_text("exit\n");
    wait_until(PATIENCE, "the end of the terminal", || terminal.stdout.has_ended());
    let ended = terminal.finish(PATIENCE);
    assert_eq!(ended.code(), 0, "{client:?}: {} {}", ended.err(), agent.log());
    (true, true)
}

/// Creates a session that runs a shell, and gives its id.
fn create_session(client: Client, place: Place<'_>) -> String {
    let (cipher, rekey_bytes) = (None, None);
    let choice = Choice { subsystem: "convocate-agent-rpc", cipher, rekey_bytes };
    let request = br#"{"op":"create","params":{"name":"one","command":"sh"}}"#;
    let call = run(&mut client.command(place, choice), &[request, &b"\n"[..]].concat(), PATIENCE);
    assert_eq!(call.code(), 0, "{client:?}: {}", call.err());
    let answer: serde_json::Value = serde_json::from_slice(&call.stdout).expect("an answer");
    assert_eq!(answer["ok"], true, "{answer}");
    answer["result"]["uuid"].as_str().expect("a session has an id").to_owned()
}
