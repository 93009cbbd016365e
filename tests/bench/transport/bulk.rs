//! Bulk through a subsystem, both ways, with each cipher: OpenSSH with itself, our server with the
//! stock client, and both ends ours.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use convocate::ssh::{Event, Tuning};

use crate::client::{Client, config, take, user};
use crate::peers::{Keys, Server};
use crate::server::{BULK_BYTES, send_zeros};
use crate::support::wait::wait_until;
use crate::{cpu, report};

/// How long one transfer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
enum Way {
    Down,
    Up,
}

/// What one transfer took.
struct Cost {
    wall: f64,
    cpu: f64,
}

pub fn sample() {
    let keys = Keys::make();
    let ours = keys.serve();
    let theirs = keys.sshd();
    for cipher in ["aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"] {
        for (way, name) in [(Way::Down, "down"), (Way::Up, "up")] {
            let short = cipher.split('-').next().unwrap_or(cipher);
            let metric = |what: &str| format!("{what},{name},{short}");
            let stock = stock(&keys, &ours, cipher, way);
            tell(&metric("our-server"), "ours", &stock);
            if let Some(theirs) = &theirs {
                let alone = self::stock(&keys, theirs, cipher, way);
                tell(&metric("our-server"), "openssh", &alone);
                tell(&metric("both-ends"), "openssh", &alone);
            }
            let both = both(&keys, &ours, cipher, way);
            tell(&metric("both-ends"), "ours", &both);
        }
    }
}

fn tell(metric: &str, side: &str, cost: &Cost) {
    let megabytes = BULK_BYTES as f64 / 1e6;
    report(&format!("{metric},wall"), side, megabytes / cost.wall, "MB/s");
    report(&format!("{metric},cpu"), side, megabytes / cost.cpu, "MB/cpu-s");
}

/// The stock client to one of the servers.
fn stock(keys: &Keys, server: &Server, cipher: &str, way: Way) -> Cost {
    let subsystem = if let Way::Down = way { "source" } else { "sink" };
    let mut call = keys.ssh(server).command(&["-l", &user(), "-c", cipher, "-s"], &[subsystem]);
    let before = cpu::of_process(server.pid()) + cpu::of_process(std::process::id());
    let start = Instant::now();
    let mut feeder = match way {
        Way::Down => None,
        Way::Up => Some(zeros()),
    };
    call.stdin(feeder.as_mut().map_or_else(Stdio::null, |head| head.stdout.take().unwrap().into()));
    let status = call.stdout(Stdio::null()).stderr(Stdio::inherit()).status().unwrap();
    let wall = start.elapsed().as_secs_f64();
    assert!(status.success(), "{subsystem}: {status:?}");
    if let Some(mut head) = feeder {
        head.wait().unwrap();
    }
    wait_until(PATIENCE, "the session to end", || !cpu::has_children(server.pid()));
    let after = cpu::of_process(server.pid()) + cpu::of_process(std::process::id());
    Cost { wall, cpu: after - before }
}

/// What the stock client sends.
fn zeros() -> Child {
    let mut head = Command::new("head");
    head.args(["-c", &BULK_BYTES.to_string(), "/dev/zero"]).stdout(Stdio::piped()).spawn().unwrap()
}

/// Our client to our server.
fn both(keys: &Keys, server: &Server, cipher: &str, way: Way) -> Cost {
    let tuning = Tuning { prefer_aes: cipher.starts_with("aes"), ..Tuning::default() };
    let config = config(&keys.client, &keys.host, tuning);
    let before = cpu::of_process(server.pid()) + cpu::of_thread(std::process::id());
    let start = Instant::now();
    let mut client = Client::connect(server.address, &config);
    match way {
        Way::Down => assert_eq!(client.exchange("source", b""), BULK_BYTES),
        Way::Up => upload(&mut client),
    }
    let wall = start.elapsed().as_secs_f64();
    let after = cpu::of_process(server.pid()) + cpu::of_thread(std::process::id());
    Cost { wall, cpu: after - before }
}

fn upload(client: &mut Client) {
    let id = client.conn().open_subsystem("sink").unwrap();
    let mut left = Some(BULK_BYTES);
    client.until(|conn, event| {
        if let Some(Event::Closed { .. }) = event {
            return Some(());
        }
        if let Some(bytes) = &mut left {
            send_zeros(conn, id, bytes);
            if *bytes == 0 {
                conn.send_eof(id);
                left = None;
            }
        }
        take(conn, id);
        None
    });
}
