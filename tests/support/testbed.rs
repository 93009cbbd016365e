//! A whole host for a test, with systemd, sshd and a Docker engine of its own: a container, or a
//! user-mode Linux where the kernel matters.
//!
//! `tests/testbed/host.sh` and `uml.sh` start, reboot and remove them; what they are like stands
//! there. A host outlives no guard, and tests only ever share the images.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::Need;
use super::process::{CONVOCATE, CONVOCATE_AGENT};

/// What a test needs that has a host.
pub const NEEDS: [Need; 3] = [Need::Docker, Need::Program("docker"), Need::Root];

/// What is on a host besides Debian, systemd and sshd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// A Docker engine.
    Docker,
    /// Nothing, and what virtual machines need of the kernel.
    Hypervisor,
    /// A Docker engine with the session image, and a kernel of its own with control groups of
    /// version 2.
    Kernel,
}

/// A host that has booted. Dropping it removes it with all that was on it.
#[derive(Debug)]
pub struct Host {
    name: String,
    script: Script,
}

/// What starts and removes hosts of one kind.
#[derive(Clone, Copy, Debug)]
struct Script(&'static str);

const CONTAINERS: Script = Script(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/host.sh"));
const KERNELS: Script = Script(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testbed/uml.sh"));

/// What a command on a host left.
#[derive(Debug)]
pub struct Told {
    /// Its exit status, -1 after a signal.
    pub code: i32,
    /// Its standard output and then its standard error.
    pub text: String,
    /// Its standard output.
    pub out: String,
}

impl Host {
    /// Starts a host.
    pub fn start(kind: Kind) -> Host {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{count}", std::process::id());
        let (script, image): (_, &[&str]) = match kind {
            Kind::Plain => (CONTAINERS, &["plain"]),
            Kind::Docker => (CONTAINERS, &["docker"]),
            Kind::Hypervisor => (CONTAINERS, &["hypervisor"]),
            Kind::Kernel => (KERNELS, &[]),
        };
        let host = Host { name, script };
        let started = script.run(&[&["start", host.name.as_str()], image].concat());
        assert_eq!(started.code, 0, "no host: {}", started.text);
        host
    }

    /// Runs a line of shell on it, as root.
    pub fn sh(&self, line: &str) -> Told {
        self.script.run(&["run", &self.name, "sh", "-c", line])
    }

    /// Runs a line of shell that is to go well, and gives its standard output without blanks at
    /// the ends.
    ///
    /// # Panics
    ///
    /// With all that it said, if it does not.
    #[track_caller]
    pub fn done(&self, line: &str) -> String {
        let told = self.sh(line);
        assert_eq!(told.code, 0, "{line}: {}", told.text);
        told.out.trim().to_owned()
    }

    /// Puts the programs that are tested into root's home on it. Says why, if they do not run: they
    /// are linked to the libraries of the machine that they were built on.
    pub fn bring_programs(&self) -> Result<(), String> {
        for program in [CONVOCATE, CONVOCATE_AGENT] {
            let name = Path::new(program).file_name().expect("a program has a name");
            self.put(Path::new(program), &format!("/root/{}", name.to_string_lossy()));
        }
        let told = self.sh("/root/convocate-agent version");
        if told.code == 0 { Ok(()) } else { Err(told.text) }
    }

    /// Copies a file to it.
    ///
    /// # Panics
    ///
    /// If that does not go well.
    #[track_caller]
    pub fn put(&self, file: &Path, target: &str) {
        let put = self.script.run(&["put", &self.name, &file.display().to_string(), target]);
        assert_eq!(put.code, 0, "{}", put.text);
    }

    /// The name of its container.
    pub fn container(&self) -> String {
        format!("convocate-testbed-{}", self.name)
    }

    /// Its address in the testbed's network.
    pub fn address(&self) -> String {
        let line = self.done("ip -4 -brief address show dev eth0");
        let address = line.split_whitespace().nth(2).and_then(|word| word.split('/').next());
        address.expect("it has an address").to_owned()
    }

    /// Gives its engine an image that this machine's engine has.
    pub fn bring_image(&self, tag: &str) {
        let mut save = Command::new("docker")
            .args(["save", tag])
            .stdout(Stdio::piped())
            .spawn()
            .expect("docker runs");
        let load = Command::new(self.script.0)
            .args(["run", &self.name, "docker", "load"])
            .stdin(save.stdout.take().expect("a pipe was asked for"))
            .output()
            .expect("the script runs");
        assert!(save.wait().expect("it was started").success());
        assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
    }

    /// Its boot id.
    pub fn boot_id(&self) -> String {
        self.script.run(&["boot-id", &self.name]).out.trim().to_owned()
    }

    /// Reboots it and waits until it is up again.
    pub fn reboot(&self) {
        self.change("reboot");
    }

    /// Takes its power away and gives it back. Only a host with a kernel of its own has one.
    pub fn lose_power(&self) {
        self.change("cut");
        self.change("start");
    }

    #[track_caller]
    fn change(&self, verb: &str) {
        let told = self.script.run(&[verb, &self.name]);
        assert_eq!(told.code, 0, "{verb}: {}", told.text);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::env::var_os("CONVOCATE_KEEP").is_some() {
            eprintln!("host {} is kept: {} remove {0}", self.name, self.script.0);
        } else {
            self.script.run(&["remove", &self.name]);
        }
    }
}

impl Script {
    fn run(self, arguments: &[&str]) -> Told {
        let mut call = Command::new(self.0);
        let told = call.args(arguments).stdin(Stdio::null()).output();
        let Output { status, stdout, stderr } = told.expect("a script");
        let out = String::from_utf8_lossy(&stdout).into_owned();
        let text = format!("{out}{}", String::from_utf8_lossy(&stderr));
        Told { code: status.code().unwrap_or(-1), text, out }
    }
}
