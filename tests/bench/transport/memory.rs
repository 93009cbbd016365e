//! Resident memory of our server: per connection, what is left when they are gone, and the most
//! that one connection can make it hold.
//!
//! The connections are held by a process of their own (`transport hold DIR KIND COUNT`), which says
//! `holding` and ends with its standard input.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use convocate::limits::SSH_CHANNELS_MAX;
use convocate::ssh::keys::{KeyPair, PublicKey};
use convocate::ssh::{ClientConfig, Conn, Event, Tuning};

use crate::client::{Client, user};
use crate::peers::{Keys, Server};
use crate::server::{UNDECIDED, send_zeros};
use crate::support::process::{Running, command};
use crate::support::wait::wait_until;
use crate::{cpu, report};

/// Connections of each kind.
const CONNECTIONS: usize = 1000;
/// How long they may take, and may stay without being authenticated.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// How long memory must be the same to be taken for settled: idle buffers are given back after a
/// second.
const SETTLED: Duration = Duration::from_millis(2500);

pub fn sample() {
    for (kind, undecided) in
        [("silent", false), ("stalled", false), ("undecided", true), ("idle", false)]
    {
        let keys = Keys::make();
        if undecided {
            keys.root.write(&keys.root.dir().join(UNDECIDED), "", 0o600);
        }
        let server = keys.serve();
        // What the first connections leave is the server's own, not theirs.
        let _warm = held(&keys, &server, kind, 10);
        let before = settled(&server);
        let (with, after) = held(&keys, &server, kind, CONNECTIONS);
        let each = |bytes: f64| (bytes - before) / 1024.0 / CONNECTIONS as f64;
        report(&format!("memory,{kind}"), "ours", each(with), "KiB");
        report(&format!("memory,{kind},left"), "ours", each(after), "KiB");
        // What stays is capacity that the next ones use again, or it is a leak.
        let (_, again) = held(&keys, &server, kind, CONNECTIONS);
        report(&format!("memory,{kind},left-again"), "ours", each(again), "KiB");
    }
    let keys = Keys::make();
    let server = keys.serve();
    let before = settled(&server);
    let (with, after) = held(&keys, &server, "channels", 1);
    report("memory,channels", "ours", (with - before) / 1024.0 / 1024.0, "MiB");
    report("memory,channels,left", "ours", (after - before) / 1024.0 / 1024.0, "MiB");
}

/// Resident bytes of the server while so many connections are held, and when they are gone.
fn held(keys: &Keys, server: &Server, kind: &str, count: usize) -> (f64, f64) {
    keys.root.write(&keys.root.dir().join("address"), &server.address.to_string(), 0o600);
    let mut call = command(&keys.root, std::env::current_exe().unwrap());
    call.arg("hold").arg(keys.root.dir()).args([kind, &count.to_string()]);
    let mut holder = Running::start(&mut call);
    wait_until(PATIENCE, "the connections", || {
        assert!(holder.is_alive(), "{}", holder.stderr.text());
        holder.stdout.text().contains("holding")
    });
    let with = settled(server);
    drop(holder.stdin());
    holder.finish(PATIENCE).expect_done();
    (with, settled(server))
}

/// Resident bytes once they do not change any more.
fn settled(server: &Server) -> f64 {
    let (mut since, mut bytes) = (Instant::now(), -1.0);
    wait_until(PATIENCE, "memory to settle", || {
        let now = cpu::resident(server.pid());
        if now != bytes {
            (since, bytes) = (Instant::now(), now);
        }
        since.elapsed() >= SETTLED
    });
    bytes
}

// --- the other process ---

/// Holds connections until standard input ends.
pub fn hold(dir: &Path, kind: &str, count: usize) {
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let address: SocketAddr = text("address").parse().unwrap();
    let key = KeyPair::parse_openssh(text("key").as_bytes()).unwrap();
    let (host_key, _) = PublicKey::parse_line(text("host_key.pub").trim_end()).unwrap();
    let tuning = Tuning { login_grace: PATIENCE, ..Tuning::default() };
    let config = Arc::new(ClientConfig { user: user(), key, host_key, tuning });
    let (mut streams, mut clients) = (Vec::new(), Vec::new());
    for _ in 0..count {
        match kind {
            "silent" => streams.push(TcpStream::connect(address).unwrap()),
            "stalled" => streams.push(stalled(address)),
            "undecided" => clients.push(undecided(address, &config)),
            "idle" => clients.push(Client::connect(address, &config)),
            "channels" => clients.push(full(address, &config)),
            _ => unreachable!("unknown kind of connection: {kind}"),
        }
    }
    println!("holding");
    let _end = std::io::stdin().read(&mut [0]);
}

/// The most that may wait in the receive buffer of somebody who never finishes a packet.
fn stalled(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    let mut text = b"SSH-2.0-bench\r\n".to_vec();
    text.extend_from_slice(&8188_u32.to_be_bytes());
    text.resize(text.len() + 8180, 0);
    stream.write_all(&text).unwrap();
    stream
}

/// The keys are exchanged, the signature is sent, and nobody decides.
fn undecided(address: SocketAddr, config: &Arc<ClientConfig>) -> Client {
    let mut client = Client::dial(address, config);
    client.until(|conn, _| format!("{conn:?}").ends_with("Auth)").then_some(()));
    client
}

/// All channels, and in each as much as the server lets one send.
fn full(address: SocketAddr, config: &Arc<ClientConfig>) -> Client {
    let mut client = Client::connect(address, config);
    for _ in 0..SSH_CHANNELS_MAX {
        let id = client.conn().open_subsystem("hoard").unwrap();
        let is_opened = |event| matches!(event, Some(Event::Opened { .. }));
        client.until(|_, event| is_opened(event).then_some(()));
        let mut left = u64::MAX;
        // The window is used up when nothing waits and still there is no room.
        client.until(|conn: &mut Conn, _| {
            send_zeros(conn, id, &mut left);
            let is_idle = convocate::base::endpoint::Endpoint::output(conn).is_empty();
            (is_idle && conn.send_space(id) == 0).then_some(())
        });
    }
    client
}
