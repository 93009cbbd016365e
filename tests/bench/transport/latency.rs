//! One operation on an open connection, and a connection from nothing: the real agent and OpenSSH's
//! server, by our client; and OpenSSH's client as a whole program.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use convocate::rpc::RPC_SUBSYSTEM;
use convocate::ssh::{ClientConfig, Tuning};

use crate::client::{Client, config, user};
use crate::peers::Keys;
use crate::support::agent::Agent;
use crate::{cpu, median, report};

/// Operations of one sample.
const PINGS: usize = 500;
/// Connections of one sample.
const CONNECTS: usize = 100;
/// OpenSSH takes its time.
const PEER_CONNECTS: usize = 15;

/// SSH_FXP_INIT of version 3 (draft-ietf-secsh-filexfer-02 §4), which is answered at once: what is
/// nearest to a ping among OpenSSH's own subsystems.
const SFTP_INIT: &[u8] = &[0, 0, 0, 5, 1, 0, 0, 0, 3];

pub fn sample() {
    let keys = Keys::make();
    let agent = Agent::start();
    let ours = config(&agent.files.operator, &agent.files.host_key, Tuning::default());
    let sshd = keys.sshd();
    let theirs = config(&keys.client, &keys.host, Tuning::default());

    let pid = agent.process().pid();
    pings("ours", agent.address, &ours, RPC_SUBSYSTEM, b"{\"op\":\"ping\"}\n", Some(pid));
    connects("ours", agent.address, &ours, CONNECTS, Some(pid));
    let Some(sshd) = sshd else { return };
    pings("openssh-server", sshd.address, &theirs, "sftp", SFTP_INIT, None);
    connects("openssh-server", sshd.address, &theirs, PEER_CONNECTS, None);
    let walls = (0..PEER_CONNECTS).map(|_| {
        let mut call = keys.ssh(&sshd).command(&["-l", &user(), "-s"], &["sftp"]);
        call.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let start = Instant::now();
        call.status().unwrap();
        start.elapsed().as_secs_f64() * 1e3
    });
    report("connect,wall", "openssh", median(walls.collect()), "ms");
}

/// Channel, request, answer, close: again and again on one connection.
fn pings(
    side: &str,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    subsystem: &'static str,
    request: &[u8],
    server: Option<u32>,
) {
    let mut client = Client::connect(address, config);
    let before = spent(server);
    let walls = (0..PINGS).map(|_| {
        let start = Instant::now();
        assert!(client.exchange(subsystem, request) > 0);
        start.elapsed().as_secs_f64() * 1e3
    });
    report("ping,wall", side, median(walls.collect()), "ms");
    report_cpu("ping,cpu", side, before, server, PINGS);
}

/// From the first packet of TCP to being let in.
fn connects(
    side: &str,
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    count: usize,
    server: Option<u32>,
) {
    let before = spent(server);
    let walls = (0..count).map(|_| {
        let start = Instant::now();
        let client = Client::connect(address, config);
        let wall = start.elapsed().as_secs_f64() * 1e3;
        drop(client);
        wall
    });
    report("connect,wall", side, median(walls.collect()), "ms");
    report_cpu("connect,cpu", side, before, server, count);
}

/// Seconds of both ends, where the server is one thread of ours.
fn spent(server: Option<u32>) -> f64 {
    server.map_or(0.0, |pid| cpu::of_thread(pid) + cpu::of_thread(std::process::id()))
}

fn report_cpu(metric: &str, side: &str, before: f64, server: Option<u32>, count: usize) {
    if server.is_some() {
        report(metric, side, (spent(server) - before) * 1e3 / count as f64, "cpu-ms");
    }
}
