//! The two servers, ours and OpenSSH's, as processes with the same keys and the same subsystems.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use convocate::limits::LOG_LINE_BYTES_MAX;

use crate::server::BULK_BYTES;
use crate::support::keys::KeyFile;
use crate::support::openssh::OpenSsh;
use crate::support::process::{Running, command, find};
use crate::support::root::Root;
use crate::support::wait::wait_for;

/// How long a server may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keys of both sides in a directory of their own.
pub struct Keys {
    /// Where they are.
    pub root: Root,
    /// Who comes.
    pub client: KeyFile,
    /// Who is come to.
    pub host: KeyFile,
}

/// A server that runs.
pub struct Server {
    process: Running,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Keys {
    /// Makes them.
    pub fn make() -> Keys {
        let root = Root::new();
        let client = KeyFile::make(&root, &root.dir().join("key"), "bench");
        let host = KeyFile::make(&root, &root.dir().join("host_key"), "bench");
        let known = root.dir().join("authorized_keys");
        root.write(&known, &format!("{}\n", client.public_line()), 0o600);
        Keys { root, client, host }
    }

    /// OpenSSH's client to one of the servers.
    pub fn ssh(&self, server: &Server) -> OpenSsh<'_> {
        OpenSsh::to(&self.root, server.address, &self.client, &self.host)
    }

    /// The library's own transport.
    pub fn serve(&self) -> Server {
        let mut call = command(&self.root, std::env::current_exe().unwrap());
        let mut process = Running::start(call.arg("serve").arg(self.root.dir()));
        let address = wait_for(PATIENCE, "our server", || {
            let said = process.stderr.text();
            assert!(process.is_alive() && said.len() < LOG_LINE_BYTES_MAX, "{said}");
            said.trim_end().strip_prefix("listening on ")?.parse().ok()
        });
        Server { process, address }
    }

    /// OpenSSH's server; `None` where it is not installed or may not run.
    pub fn sshd(&self) -> Option<Server> {
        let program = find("sshd")?;
        let path = self.configure_sshd();
        let address = free_address();
        let mut call = command(&self.root, program);
        call.args(["-D", "-e", "-f"]).arg(path).args(["-p", &address.port().to_string()]);
        let process = Running::start(&mut call);
        wait_for(PATIENCE, "sshd", || std::net::TcpStream::connect(address).ok());
        Some(Server { process, address })
    }

    fn configure_sshd(&self) -> PathBuf {
        let dir = self.root.dir().display();
        let path = self.root.dir().join("sshd_config");
        let text = format!(
            "ListenAddress 127.0.0.1\nHostKey {dir}/host_key\nPidFile none\nStrictModes no\n\
             AuthorizedKeysFile {dir}/authorized_keys\nUsePAM no\nPasswordAuthentication no\n\
             MaxStartups 100\nLogLevel ERROR\nSubsystem sftp internal-sftp\n\
             Subsystem source exec head -c {BULK_BYTES} /dev/zero\n\
             Subsystem sink exec cat >/dev/null\n"
        );
        self.root.write(&path, &text, 0o600);
        path
    }
}

impl Server {
    /// Its process, for its times and its memory.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
