//! The same attacks at OpenSSH's server, side by side with ours: what one dial comes to.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use convocate::ssh::keys::KeyPair;

use crate::HOME;
use crate::attack::{Act, DIALS, TWO_HUNDRED_SOURCES, TWO_SOURCES};
use crate::support::agent::{Agent, AgentFiles};
use crate::support::process::{Running, command, find, run};
use crate::support::wait::{PATIENCE, wait_until};
use crate::support::{self, Need};
use crate::visit::{Way, round};

/// Its settings are its own, but for where its files are.
struct Sshd {
    /// `sshd-9.2`
    name: String,
    address: SocketAddr,
    _process: Running,
}

/// The installed one, and those below the roots that `CONVOCATE_SSHD_ROOTS` names, as `dpkg -x`
/// leaves them.
fn programs() -> Vec<(PathBuf, Vec<String>)> {
    let installed = find("sshd").into_iter().map(|program| (program, Vec::new()));
    let roots = std::env::var_os("CONVOCATE_SSHD_ROOTS").unwrap_or_default();
    let unpacked = std::env::split_paths(&roots).filter(|root| root.is_dir()).map(|root| {
        let part = |option: &str, name: &str| {
            format!("{option}={}", root.join("usr/lib/openssh").join(name).display())
        };
        let parts = [part("SshdSessionPath", "sshd-session"), part("SshdAuthPath", "sshd-auth")];
        (root.join("usr/sbin/sshd"), parts.to_vec())
    });
    installed.chain(unpacked).collect()
}

impl Sshd {
    fn start(files: &AgentFiles, program: &Path, options: &[String]) -> Sshd {
        let told = run(command(&files.root, program).arg("-V"), b"", PATIENCE).err();
        let version = told.trim_start_matches("OpenSSH_");
        let end = version.find(|sign: char| sign != '.' && !sign.is_ascii_digit());
        let name = format!("sshd-{}", &version[..end.unwrap_or(version.len())]);
        fs::create_dir_all("/run/sshd").expect("this is root");
        let free = TcpListener::bind((HOME, 0)).expect("a port");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let mut call = command(&files.root, program);
        call.args(["-D", "-e", "-f", "/dev/null", "-p", &address.port().to_string(), "-h"])
            .arg(files.host_key.path())
            .arg(format!("-oAuthorizedKeysFile={}.pub", files.operator.path().display()))
            .args(["-oListenAddress=127.0.0.1", "-oStrictModes=no", "-oUsePAM=no"])
            .args(["-oPermitRootLogin=yes", "-oPidFile=none", "-oLogLevel=ERROR"])
            .args(options.iter().map(|option| format!("-o{option}")));
        let process = Running::start(&mut call);
        wait_until(PATIENCE, &name, || TcpStream::connect(address).is_ok());
        Sshd { name, address, _process: process }
    }
}

#[test]
fn openssh_under_the_same_attacks() {
    let test = "openssh_under_the_same_attacks";
    if !crate::can(test) || !support::has(test, &[Need::Program("sshd"), Need::Root]) {
        return;
    }
    let agent = Agent::start();
    let files = &agent.files;
    let bytes = fs::read(files.operator.path()).expect("a key file");
    let servers: Vec<Sshd> =
        programs().iter().map(|(program, options)| Sshd::start(files, program, options)).collect();
    for kind in [TWO_SOURCES, TWO_HUNDRED_SOURCES, DIALS] {
        let acts: Vec<Act> = (0..kind.threads)
            .map(|number| -> Act { Box::new(move |attack| (kind.act)(attack, number)) })
            .collect();
        let ours = Way::to_agent(&agent).without_calls();
        ours.must_let_in(HOME);
        round(&ours.once(), &["ours", kind.name], &acts, None);
        for sshd in &servers {
            let key = KeyPair::parse_openssh(&bytes).expect("a key");
            let way = Way::by(sshd.address, "root", key, &files.host_key).once();
            round(&way, &[&sshd.name, kind.name], &acts, None);
        }
    }
}
