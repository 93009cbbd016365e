//! The listener as a process, its disk, and `convocate events`, which reads it all the time.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::support::agent::{AgentFiles, listening};
use crate::support::process::{CONVOCATE, Running, command};
use crate::support::pusher;
use crate::support::wait::{PATIENCE, wait_for};

/// The listener, alive or not, and its reader.
pub struct House {
    /// Goes before the directory that it is mounted on.
    disk: Option<Disk>,
    pub files: AgentFiles,
    pub address: SocketAddr,
    hub: Option<Running>,
    reader: Child,
    pub output: PathBuf,
}

/// The program: a static one if the caller has built it.
fn program() -> PathBuf {
    std::env::var_os("DELIVERY_PROGRAM").map_or_else(|| CONVOCATE.into(), PathBuf::from)
}

impl House {
    pub fn start(agents: u8) -> House {
        let files = AgentFiles::write();
        pusher::enrol(&files, agents);
        let disk = Disk::mount(&files.root.paths().shell_state(), "96m");
        let (hub, address) = serve(&files, "127.0.0.1:0");
        let output = files.root.dir().join("events");
        let mut call = command(&files.root, program());
        call.args(["events", "--json", "--since", "0", "--root"]).arg(files.root.dir());
        call.stdin(Stdio::null()).stderr(File::create(output.with_extension("err")).unwrap());
        let reader = call.stdout(File::create(&output).unwrap()).spawn().unwrap();
        House { disk, files, address, hub: Some(hub), reader, output }
    }

    /// Kills the listener, like the kernel would. Whether it lived.
    pub fn kill(&mut self) -> bool {
        let Some(mut hub) = self.hub.take() else { return false };
        hub.signal(Signal::KILL);
        hub.finish(PATIENCE);
        true
    }

    pub fn start_again(&mut self) {
        if self.hub.is_none() {
            self.hub = Some(serve(&self.files, &self.address.to_string()).0);
        }
    }

    pub fn state(&self) -> PathBuf {
        self.files.root.paths().shell_state()
    }

    pub fn has_own_disk(&self) -> bool {
        self.disk.is_some()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.kill();
        let _ended = self.reader.kill();
        let _ended = self.reader.wait();
    }
}

fn serve(files: &AgentFiles, listen: &str) -> (Running, SocketAddr) {
    let mut call = command(&files.root, program());
    call.args(["status-serve", "--listen", listen, "--root"]).arg(files.root.dir());
    let mut hub = Running::start(&mut call);
    let address = wait_for(PATIENCE, "the status listener to listen", || {
        let log = hub.stderr.text();
        assert!(hub.is_alive(), "the status listener ended: {log}");
        listening(&log)
    });
    (hub, address)
}

/// A small file system of its own, so that it can be full.
pub struct Disk {
    at: PathBuf,
}

impl Disk {
    /// `None` where it may not be mounted.
    pub fn mount(at: &Path, size: &str) -> Option<Disk> {
        fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=0700");
        let mut call = Command::new("mount");
        call.args(["-t", "tmpfs", "-o", &options, "convocate-test"]).arg(at);
        let done = call.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        done.then(|| Disk { at: at.to_owned() })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

/// Takes all the room that a disk has.
pub fn fill(directory: &Path) {
    use std::io::Write;
    let Ok(mut file) = File::create(directory.join("filler")) else { return };
    for piece in [64 * 1024, 4096, 512] {
        while file.write_all(&vec![b'f'; piece]).is_ok() {}
    }
}

/// Gives it back.
pub fn empty(directory: &Path) {
    let _gone = fs::remove_file(directory.join("filler"));
}
