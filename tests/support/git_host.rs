//! A host of git repositories: the real `sshd`, one bare repository, and the keys that may in.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;

use super::keys::KeyFile;
use super::process::{Running, command, find, run};
use super::root::Root;
use super::wait::{PATIENCE, wait_for};

/// One that listens.
#[derive(Debug)]
pub struct GitHost {
    process: Running,
    address: SocketAddr,
    user: String,
    repository: PathBuf,
    authorized_keys: PathBuf,
}

impl GitHost {
    /// Starts it at `address`. Nobody may in yet.
    pub fn start(root: &Root, address: IpAddr) -> GitHost {
        let dir = root.dir().join("git-host");
        fs::create_dir(&dir).expect("the root is ours");
        let (repository, authorized_keys) = (dir.join("repository.git"), dir.join("keys"));
        let user = run(command(root, "id").arg("-un"), b"", PATIENCE).out().trim().to_owned();
        if user == "root" {
            // Where sshd puts itself before anybody has logged in.
            fs::create_dir_all("/run/sshd").expect("root may");
        }
        let mut init = command(root, "git");
        init.args(["init", "-q", "--bare", "-b", "main"]).arg(&repository);
        run(&mut init, b"", PATIENCE).expect_done();
        root.write(&authorized_keys, "", 0o600);
        let host_key = KeyFile::make(root, &dir.join("host"), "git host");
        let port = TcpListener::bind((address, 0)).expect("an address").local_addr();
        let port = port.expect("it is bound").port();
        let config = format!(
            "Port {port}\nListenAddress {address}\nHostKey {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin prohibit-password\nAuthorizedKeysFile {}\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             SetEnv HOME={} PATH={}\n",
            host_key.path().display(),
            authorized_keys.display(),
            dir.display(),
            std::env::var("PATH").expect("there is one"),
        );
        let file = dir.join("sshd.conf");
        root.write(&file, &config, 0o600);
        let sshd = find("sshd").expect("the test asked for it");
        let process = Running::start(command(root, sshd).args(["-D", "-e", "-f"]).arg(file));
        let listens = || process.stderr.text().contains("Server listening").then_some(());
        wait_for(PATIENCE, "sshd to listen", listens);
        let address = SocketAddr::new(address, port);
        GitHost { process, address, user, repository, authorized_keys }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Lets in whoever has one of these keys, and nobody else.
    pub fn admit(&self, lines: &[&str]) {
        fs::write(&self.authorized_keys, format!("{}\n", lines.join("\n"))).expect("it is ours");
    }

    /// Where its repository is.
    pub fn url(&self) -> String {
        format!("ssh://{}@{}{}", self.user, self.address, self.repository.display())
    }

    /// The words of an `ssh` that logs in, without a command.
    pub fn login(&self) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        format!(
            "ssh -o StrictHostKeyChecking=accept-new -o BatchMode=yes -p {port} {}@{ip}",
            self.user
        )
    }

    pub fn repository(&self) -> &PathBuf {
        &self.repository
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.process.stderr.text()
    }
}
