//! The clients of others, all brought into one shape: a program that joins a subsystem to its own
//! standard input and output, and exits with what the subsystem exits with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use convocate::ssh::names::{AES256_GCM, CHACHA20_POLY1305};

use super::support::keys::KeyFile;
use super::support::openssh::OpenSsh;
use super::support::process::{command, find, run};
use super::support::root::Root;

/// Where a client goes, and as whom.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// What the client has for a home.
    pub root: &'a Root,
    /// The server.
    pub address: SocketAddr,
    /// The client's key.
    pub key: &'a KeyFile,
    /// The server's key.
    pub host_key: &'a KeyFile,
}

/// What a client is told beyond where to go.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The subsystem.
    pub subsystem: &'static str,
    /// The only cipher; its own choice if none.
    pub cipher: Option<&'static str>,
    /// After how many bytes it asks for new keys, if it can be told that.
    pub rekey_bytes: Option<u32>,
}

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// OpenSSH's `ssh`.
    OpenSsh,
    /// dropbear's `dbclient`.
    Dropbear,
    /// PuTTY's `plink`.
    Plink,
    /// A script of this directory and the library that it imports.
    Script(&'static str, &'static str),
}

/// <https://www.libssh.org>
pub const LIBSSH: Client = Client::Script("libssh_client.py", "ssh");
/// <https://libssh2.org>
pub const LIBSSH2: Client = Client::Script("libssh2_client.py", "ssh2");
/// <https://asyncssh.readthedocs.io>
pub const ASYNCSSH: Client = Client::Script("asyncssh_client.py", "asyncssh");
/// <https://www.paramiko.org>
pub const PARAMIKO: Client = Client::Script("paramiko_client.py", "paramiko");

impl Client {
    /// What is missing to run it here.
    pub fn missing(self) -> Option<String> {
        let programs: &[&str] = match self {
            Client::OpenSsh => &["ssh"],
            Client::Dropbear => &["dbclient", "dropbearconvert"],
            Client::Plink => &["plink", "puttygen"],
            Client::Script(..) => &[],
        };
        let missing = programs.iter().find(|name| find(name).is_none());
        match self {
            Client::Script(_, module) => missing_module(module),
            _ => missing.map(|name| format!("program: {name} is not installed")),
        }
    }

    /// The ciphers of ours that it has.
    pub fn ciphers(self) -> &'static [&'static str] {
        match self {
            Client::Dropbear => &[CHACHA20_POLY1305],
            PARAMIKO => &[AES256_GCM],
            _ => &[AES256_GCM, CHACHA20_POLY1305],
        }
    }

    /// Whether it can be told when to ask for new keys.
    pub fn rekeys(self) -> bool {
        matches!(self, Client::OpenSsh | Client::Plink | ASYNCSSH | PARAMIKO)
    }

    /// The call, not started yet.
    pub fn command(self, place: Place<'_>, choice: Choice) -> Command {
        match self {
            Client::OpenSsh => openssh(place, choice),
            Client::Dropbear => dropbear(place, choice),
            Client::Plink => plink(place, choice),
            Client::Script(name, _) => script(name, place, choice),
        }
    }
}

fn openssh(place: Place<'_>, choice: Choice) -> Command {
    let client = OpenSsh::to(place.root, place.address, place.key, place.host_key);
    let cipher = choice.cipher.map(|cipher| format!("Ciphers={cipher}"));
    let rekey = choice.rekey_bytes.map(|bytes| format!("RekeyLimit={bytes}"));
    let mut options = vec!["-s"];
    for option in cipher.iter().chain(&rekey) {
        options.extend(["-o", option]);
    }
    client.command(&options, &[choice.subsystem])
}

fn dropbear(place: Place<'_>, choice: Choice) -> Command {
    let key = converted(place, "dropbear");
    if !key.exists() {
        let mut call = command(place.root, "dropbearconvert");
        call.args(["openssh", "dropbear"]).arg(place.key.path()).arg(&key);
        run(&mut call, b"", Duration::from_secs(20)).expect_done();
    }
    // It reads known hosts below the home that the system knows, which is not the test's: it is
    // told not to look. That it verifies the server's signature all the same is what counts here.
    let mut call = command(place.root, "dbclient");
    call.args(["-y", "-y"]).arg("-i").arg(key).args(["-p", &place.address.port().to_string()]);
    if let Some(cipher) = choice.cipher {
        call.args(["-c", cipher]);
    }
    call.args(["-s", &format!("claude@{}", place.address.ip()), choice.subsystem]);
    call
}

fn plink(place: Place<'_>, choice: Choice) -> Command {
    let key = converted(place, "ppk");
    if !key.exists() {
        let mut call = command(place.root, "puttygen");
        call.arg(place.key.path()).args(["-O", "private", "-o"]).arg(&key);
        run(&mut call, b"", Duration::from_secs(20)).expect_done();
    }
    let cipher = match choice.cipher {
        Some(AES256_GCM) => "aesgcm,WARN",
        Some(_) => "chacha20,WARN",
        None => "aesgcm,chacha20,WARN",
    };
    let rekey_bytes = choice.rekey_bytes.map_or_else(String::new, |bytes| bytes.to_string());
    // What has no option of its own is settled by a saved session.
    let name = format!("test-{cipher}-{rekey_bytes}");
    let saved = format!("Protocol=ssh\nCipher={cipher}\nRekeyBytes={rekey_bytes}\n");
    let file = place.root.dir().join(".putty/sessions").join(name.replace(',', "%2C"));
    place.root.write(&file, &saved, 0o600);
    let mut call = command(place.root, "plink");
    call.args(["-load", &name, "-batch", "-ssh", "-no-antispoof", "-hostkey"]);
    call.arg(fingerprint(place.host_key)).arg("-i").arg(key);
    call.args(["-P", &place.address.port().to_string(), "-l", "claude", "-s"]);
    call.arg(place.address.ip().to_string()).arg(choice.subsystem);
    call
}

fn script(name: &str, place: Place<'_>, choice: Choice) -> Command {
    let address = place.address;
    let known_hosts = place.root.dir().join(format!("known_hosts-{}", address.port()));
    let known = format!("[{}]:{} {}\n", address.ip(), address.port(), place.host_key.public_line());
    place.root.write(&known_hosts, &known, 0o600);
    let mut call = python(place.root, name);
    call.args([&address.ip().to_string(), &address.port().to_string(), "claude"]);
    call.arg(place.key.path()).arg(known_hosts).arg(choice.subsystem);
    call.arg(choice.cipher.unwrap_or("-"));
    call.arg(choice.rekey_bytes.map_or("-".to_owned(), |bytes| bytes.to_string()));
    call
}

/// A script of this directory.
pub fn python(root: &Root, name: &str) -> Command {
    let mut call = command(root, venv().unwrap_or_default().join("bin/python"));
    call.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/").to_owned() + name);
    call
}

/// What is missing to import `module`.
pub fn missing_module(module: &str) -> Option<String> {
    let Some(venv) = venv() else {
        return Some("python: tests/peers/install.sh has made no environment".to_owned());
    };
    let mut import = Command::new(venv.join("bin/python"));
    let output = import.args(["-c", &format!("import {module}")]).output();
    let imported = output.is_ok_and(|output| output.status.success());
    (!imported).then(|| format!("python: {module} is not installed"))
}

/// What `install.sh` has made, next to the programs of the build.
pub fn venv() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    this.ancestors().map(|dir| dir.join("peers-venv")).find(|venv| venv.join("bin/python").exists())
}

/// The client's key in a format of its own.
fn converted(place: Place<'_>, extension: &str) -> PathBuf {
    place.root.dir().join(format!("client.{extension}"))
}

fn fingerprint(key: &KeyFile) -> String {
    let line = key.public_line();
    let (key, _) = convocate::ssh::keys::PublicKey::parse_line(&line).expect("ssh-keygen made it");
    key.fingerprint()
}
