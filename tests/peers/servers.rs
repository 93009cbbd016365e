//! The servers of others, each with an echo for our client.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::thread;

use super::clients::{missing_module, python};
use super::support::keys::KeyFile;
use super::support::process::{Running, command, find};
use super::support::root::Root;
use super::support::wait::{PATIENCE, wait_for};

/// A server, and what it must be told.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Where its files are.
    pub root: &'a Root,
    /// The key that may log in.
    pub key: &'a KeyFile,
    /// Its own key.
    pub host_key: &'a KeyFile,
    /// After how many bytes it asks for new keys, if it can be told that.
    pub rekey_bytes: u32,
}

impl Place<'_> {
    fn authorized_keys(&self) -> std::path::PathBuf {
        let path = self.root.dir().join("authorized_keys");
        self.root.write(&path, &format!("{}\n", self.key.public_line()), 0o600);
        path
    }
}

/// A server of others that runs.
#[derive(Debug)]
pub struct Foreign {
    /// Where it listens.
    pub address: SocketAddr,
    /// The subsystem that echoes.
    pub echo: &'static str,
    /// What the echo exits with.
    pub status: u32,
    _process: Process,
}

#[derive(Debug)]
#[expect(dead_code, reason = "held for the end that dropping brings")]
enum Process {
    Own(Running),
    /// One child for each connection, by a thread of ours.
    PerConnection(TcpListener),
}

/// OpenSSH's `sshd`, as whoever runs the tests.
pub fn sshd(place: Place<'_>, ciphers: &str) -> Result<Foreign, String> {
    let Some(sshd) = find("sshd") else {
        return Err("program: sshd is not installed".to_owned());
    };
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        // Where it puts itself before anybody has logged in; the system's own start makes it.
        std::fs::create_dir_all("/run/sshd")
            .map_err(|error| format!("root: /run/sshd: {error}"))?;
    }
    let address = free_address();
    let dir = place.root.dir().display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nPidFile none\nUsePAM no\n\
         StrictModes no\nPermitRootLogin prohibit-password\nAuthorizedKeysFile {keys}\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nCiphers {ciphers}\n\
         RekeyLimit {rekey}\nSetEnv HOME={dir}\nSubsystem test-echo /bin/cat\n",
        port = address.port(),
        host = place.host_key.path().display(),
        keys = place.authorized_keys().display(),
        rekey = place.rekey_bytes,
    );
    let file = place.root.dir().join(format!("sshd-{}.conf", address.port()));
    place.root.write(&file, &config, 0o600);
    // It starts itself again for each connection and wants to be called by its whole path.
    let mut call = command(place.root, sshd);
    let process = Running::start(call.args(["-D", "-e", "-f"]).arg(file));
    let listens = || process.stderr.text().contains("Server listening").then_some(());
    wait_for(PATIENCE, "sshd to listen", listens);
    Ok(Foreign { address, echo: "test-echo", status: 0, _process: Process::Own(process) })
}

/// dropbear, which knows no subsystem but `sftp`: its forced command stands in for that. Its
/// `authorized_keys` are below the user's home, so a home of the test's own is put there in a
/// namespace of mounts.
pub fn dropbear(place: Place<'_>) -> Result<Foreign, String> {
    for program in ["dropbear", "dropbearconvert", "unshare"] {
        if find(program).is_none() {
            return Err(format!("program: {program} is not installed"));
        }
    }
    let mut trial = Command::new("unshare");
    let trial = trial.args(["--mount", "true"]).stderr(Stdio::null());
    if !trial.status().is_ok_and(|status| status.success()) {
        return Err("root: dropbear reads keys below the home, which only root can move".to_owned());
    }
    let host_key = place.root.dir().join("host.dropbear");
    let mut convert = command(place.root, "dropbearconvert");
    convert.args(["openssh", "dropbear"]).arg(place.host_key.path()).arg(&host_key);
    super::run(&mut convert, b"", PATIENCE).expect_done();
    let home = place.root.dir().join("home");
    let keys = format!("{}\n", place.key.public_line());
    place.root.write(&home.join(".ssh/authorized_keys"), &keys, 0o600);
    let address = free_address();
    let mut call = command(place.root, "unshare");
    call.args(["--mount", "sh", "-c", "mount --bind \"$1\" ~root && shift && exec \"$@\"", "sh"])
        .arg(&home)
        .args(["dropbear", "-F", "-E", "-m", "-s", "-j", "-k", "-c", "cat", "-P", "/dev/null"])
        .args(["-p", &address.to_string(), "-r"])
        .arg(host_key);
    let process = Running::start(&mut call);
    let listens = || process.stderr.text().contains("Not backgrounding").then_some(());
    wait_for(PATIENCE, "dropbear to listen", listens);
    Ok(Foreign { address, echo: "sftp", status: 0, _process: Process::Own(process) })
}

/// A script of this directory that serves `test-echo` by `module`.
pub fn script(name: &str, module: &str, place: Place<'_>) -> Result<Foreign, String> {
    if let Some(missing) = missing_module(module) {
        return Err(missing);
    }
    let mut call = python(place.root, name);
    call.arg(place.host_key.path()).arg(place.authorized_keys());
    let process = Running::start(call.arg(place.rekey_bytes.to_string()));
    let address = wait_for(PATIENCE, "the script to listen", || {
        let said = process.stdout.text();
        let line = said.strip_suffix('\n')?;
        line.strip_prefix("listening on ")?.parse().ok()
    });
    Ok(Foreign { address, echo: "test-echo", status: 7, _process: Process::Own(process) })
}

/// TinySSH, which is started for each connection with the connection as its standard streams.
pub fn tinyssh(place: Place<'_>) -> Result<Foreign, String> {
    let Some(tinysshd) = find("tinysshd") else {
        return Err("program: tinysshd is not installed".to_owned());
    };
    let key_dir = place.root.dir().join("tinyssh");
    let mut make = command(place.root, "tinysshd-makekey");
    super::run(make.arg("-q").arg(&key_dir), b"", PATIENCE).expect_done();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let accepting = listener.try_clone().expect("descriptors");
    let mut call = command(place.root, tinysshd);
    call.args(["-x", "test-echo=/bin/cat"]).arg(key_dir);
    thread::spawn(move || serve_each(&accepting, &mut call));
    let process = Process::PerConnection(listener);
    Ok(Foreign { address, echo: "test-echo", status: 0, _process: process })
}

/// Serves two connections, each by a child of its own: no test makes more.
fn serve_each(listener: &TcpListener, call: &mut Command) {
    for connection in listener.incoming().take(2).flatten() {
        let Ok(copy) = connection.try_clone() else { return };
        let streams = [OwnedFd::from(connection), OwnedFd::from(copy)];
        let [input, output] = streams.map(|fd| Stdio::from(File::from(fd)));
        let served = call.stdin(input).stdout(output).stderr(Stdio::null()).spawn();
        let _status = served.and_then(|mut child: Child| child.wait());
    }
}

/// A port that nobody has now. Who is told it takes it at once.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound")
}
