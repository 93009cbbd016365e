//! An address that stands for the internet, with web servers on it, and an agent on whose host
//! names lead there.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::engine::Engine;
use crate::house::House;
use crate::support::agent::AgentFiles;
use crate::support::process::{CONVOCATE_AGENT, Running, command, run};
use crate::support::root::Root;
use crate::support::wait::{PATIENCE, wait_for};

/// Names of the world: those of the servers, and those of which the owner says that they are
/// somewhere else.
const NAMES: [&str; 6] = [
    "good.example",
    "www.good.example",
    "other.example",
    "evil.example",
    "static.example",
    "half.example",
];
const ELSEWHERE: [(&str, &str); 7] = [
    ("loopback.example", "127.0.0.1"),
    ("loopback6.example", "::1"),
    ("mapped.example", "::ffff:127.0.0.1"),
    ("metadata.example", "169.254.169.254"),
    ("private.example", "192.168.77.77"),
    ("multicast.example", "224.0.0.1"),
    ("half.example", "10.99.99.99"),
];

/// The servers, and the files that agents and clients need for them.
pub struct World {
    pub address: Ipv4Addr,
    server: Running,
    log: PathBuf,
    /// What the servers on it give to everybody.
    pub directory: PathBuf,
    /// The certificate that clients are to trust.
    pub certificate: PathBuf,
    hosts: PathBuf,
}

impl World {
    /// Starts it, and has an agent's files name it.
    pub fn start(files: &AgentFiles) -> World {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let root = &files.root;
        let [.., high, low] = std::process::id().to_be_bytes();
        let third = high ^ (NEXT.fetch_add(1, Ordering::Relaxed) << 4);
        let address = Ipv4Addr::new(10, 213, third, low.max(1));
        own_address(root, "add", address);
        let dir = root.dir().join("world");
        fs::create_dir(&dir).unwrap();
        let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
        let names: Vec<String> = NAMES.iter().map(|name| format!("DNS:{name}")).collect();
        let mut make = command(root, "openssl");
        make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        make.args(["-nodes", "-days", "2", "-subj", "/CN=world", "-addext"]);
        make.arg(format!("subjectAltName={}", names.join(","))).arg("-out").arg(&certificate);
        run(make.arg("-keyout").arg(&key), b"", PATIENCE).expect_done();
        let (directory, log) = (dir.join("files"), dir.join("log"));
        let hosts = dir.join("hosts");
        let here = NAMES.iter().map(|name| format!("{address} {name}\n"));
        let elsewhere = ELSEWHERE.iter().map(|(name, address)| format!("{address} {name}\n"));
        let lines: String = here.chain(elsewhere).collect();
        root.write(&hosts, &format!("127.0.0.1 localhost\n{lines}"), 0o644);
        let conf = format!("egress-private {address}/32\n");
        root.write(&root.paths().agent_id().with_file_name("agent.conf"), &conf, 0o644);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docker_life/world.py");
        let mut serve = command(root, "python3");
        serve.arg(script).arg(address.to_string()).arg(&certificate).arg(&key);
        let server = Running::start(serve.arg(&directory).arg(&log));
        let serves = || server.stdout.text().contains("serving").then_some(());
        wait_for(PATIENCE, "the world to serve", serves);
        World { address, server, log, directory, certificate, hosts }
    }

    /// The call that starts an agent for which names lead into the world.
    pub fn agent_call(&self, files: &AgentFiles, engine: &Engine, listen: &str) -> Command {
        let root = &files.root;
        let mut call = command(root, "unshare");
        call.args(["--mount", "sh", "-c"]);
        call.arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"").arg(&self.hosts);
        call.arg(CONVOCATE_AGENT).args(["serve", "--listen", listen, "--root"]).arg(root.dir());
        call.args(["--runtime", "docker", "--docker-socket"]).arg(engine.socket());
        call
    }

    /// Requests that have come, one a line: port, request, host.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Lets a session's clients trust it.
    pub fn trusted_by(&self, house: &House, session: &str) {
        let copy = house.home(session).join("world.pem");
        fs::copy(&self.certificate, copy).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.signal(rustix::process::Signal::KILL);
        let address = format!("{}/32", self.address);
        let _gone = Command::new("ip").args(["address", "del", &address, "dev", "lo"]).status();
    }
}

fn own_address(root: &Root, verb: &str, address: Ipv4Addr) {
    let mut call = command(root, "ip");
    call.args(["address", verb, &format!("{address}/32"), "dev", "lo"]);
    run(&mut call, b"", PATIENCE).expect_done();
}
