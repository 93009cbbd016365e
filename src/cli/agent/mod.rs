//! The `convocate-agent` program: its table of commands, and the options of `serve`.

pub mod certificate;
pub mod check;
pub mod enrol;
pub mod install;

use std::path::PathBuf;

use crate::agent;
use crate::agent::config::RuntimeKind;
use crate::agent::serve::{Options, ShellOptions};
use crate::base::address::{Address, Host};
use crate::cli::agent::certificate::INSTALL_CERTIFICATE;
use crate::cli::agent::check::CHECK_HOST;
use crate::cli::agent::enrol::ENROL;
use crate::cli::agent::install::{INSTALL, PRUNE_IMAGES};
use crate::cli::command::{Command, Flag, Parsed, Program, ROOT};
use crate::cli::convocate::{VERSION, run_with_streams};
use crate::cli::host::ship_image::RECEIVE_IMAGE;
use crate::cli::out::{Failure, Out, service_log};
use crate::exit::Exit;
use crate::limits::{AGENT_PORT, STATUS_PORT};
use crate::paths::Paths;

const LISTEN: Flag = Flag {
    name: "listen",
    value: Some("ADDR"),
    summary: "where to listen: :222, host:port or [v6]:port",
    choices: &[],
};
const HOST_KEY: Flag = Flag {
    name: "host-key",
    value: Some("PATH"),
    summary: "this agent's private host key",
    choices: &[],
};
const AUTH_KEYS: Flag = Flag {
    name: "auth-keys",
    value: Some("PATH"),
    summary: "the keys that may drive this agent",
    choices: &[],
};
const RUNTIME: Flag = Flag {
    name: "runtime",
    value: Some("KIND"),
    summary: "what runs sessions: docker, or host for trying out",
    choices: &["docker", "host"],
};
const DOCKER_SOCKET: Flag = Flag {
    name: "docker-socket",
    value: Some("PATH"),
    summary: "where the Docker Engine listens; /var/run/docker.sock if not given",
    choices: &[],
};

const SHELL_HOST: Flag = Flag {
    name: "shell-host",
    value: Some("HOST"),
    summary: "where events go; what stands in shell-host if not given, nowhere without both",
    choices: &[],
};
const SHELL_PORT: Flag = Flag {
    name: "shell-port",
    value: Some("N"),
    summary: "the port there; 223 if neither says so",
    choices: &[],
};
const SHELL_KEY: Flag = Flag {
    name: "shell-key",
    value: Some("PATH"),
    summary: "the private key that is proved to the shell host",
    choices: &[],
};
const SHELL_KNOWN_HOST: Flag = Flag {
    name: "shell-known-host",
    value: Some("PATH"),
    summary: "the shell host's public host key",
    choices: &[],
};
const UNTIL_STDIN_ENDS: Flag = Flag {
    name: "until-stdin-ends",
    value: None,
    summary: "end when standard input does, with the program that holds its other end",
    choices: &[],
};

/// `serve`.
pub(crate) const SERVE: Command = Command {
    name: "serve",
    summary: "own the sessions of this host and let the shell host drive them",
    operands: &[],
    flags: &[
        LISTEN,
        HOST_KEY,
        AUTH_KEYS,
        RUNTIME,
        DOCKER_SOCKET,
        SHELL_HOST,
        SHELL_PORT,
        SHELL_KEY,
        SHELL_KNOWN_HOST,
        UNTIL_STDIN_ENDS,
        ROOT,
    ],
    help: "\
What is not given has its installed place below /etc/convocate-agent, or below DIR
with --root. The runtime `host` runs sessions directly on this machine, without
containers and without caps: it is for trying out, development and tests.
Events are kept on disk until the shell host has them, also while it is away.
Runs until SIGTERM or SIGINT; sessions go on without it.
",
    run: serve,
};

pub(crate) static PROGRAM: Program = Program {
    name: "convocate-agent",
    summary: "own the sessions of one host",
    commands: &[
        SERVE,
        INSTALL,
        ENROL,
        INSTALL_CERTIFICATE,
        CHECK_HOST,
        PRUNE_IMAGES,
        RECEIVE_IMAGE,
        VERSION,
    ],
    fallback: None,
    epilogue: "",
};

/// Runs the program with the process's own words and streams.
pub fn main() -> Exit {
    run_with_streams(&PROGRAM, Ok(std::env::args_os().skip(1).collect()))
}

/// Reads what `serve` is told.
///
/// # Errors
/// One sentence that names the option and shows its value.
fn read_options(parsed: &Parsed) -> Result<Options, String> {
    let paths = match parsed.value(&ROOT) {
        None => Paths::default(),
        Some("") => return Err("--root needs a directory".to_owned()),
        Some(root) => Paths::below(root),
    };
    let path = |flag: &Flag, default: PathBuf| match parsed.value(flag) {
        None => Ok(default),
        Some("") => Err(format!("--{} needs a path", flag.name)),
        Some(path) => Ok(PathBuf::from(path)),
    };
    let port = |text: &str| {
        let number = text.parse().ok().filter(|port: &u16| *port > 0);
        number.ok_or_else(|| format!("--shell-port: {text:?} must be 1 to 65535"))
    };
    let shell = ShellOptions {
        host: match parsed.value(&SHELL_HOST) {
            None => None,
            Some(text) => {
                let host = Address::parse_or_port(text, STATUS_PORT);
                Some(host.map_err(|error| format!("--shell-host: {error}"))?)
            }
        },
        port: parsed.value(&SHELL_PORT).map(port).transpose()?,
        key: path(&SHELL_KEY, paths.agent_shell_key())?,
        known_host: path(&SHELL_KNOWN_HOST, paths.agent_shell_known_host())?,
    };
    Ok(Options {
        shell,
        listen: match parsed.value(&LISTEN) {
            None => Address { host: Host::Any, port: AGENT_PORT },
            Some(text) => Address::parse(text).map_err(|error| format!("--listen: {error}"))?,
        },
        host_key: path(&HOST_KEY, paths.agent_host_key())?,
        authorized_keys: path(&AUTH_KEYS, paths.agent_authorized_keys())?,
        runtime: match parsed.value(&RUNTIME) {
            None | Some("docker") => RuntimeKind::Docker,
            Some("host") => RuntimeKind::Host,
            Some(other) => return Err(format!("--runtime: {other:?} must be docker or host")),
        },
        docker_socket: path(&DOCKER_SOCKET, PathBuf::from("/var/run/docker.sock"))?,
        until_stdin_ends: parsed.has(&UNTIL_STDIN_ENDS),
        paths,
    })
}

fn serve(parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    let options = read_options(parsed).map_err(Failure::Usage)?;
    agent::serve::serve(&options, service_log())
        .map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Options, String> {
        let words = words.iter().map(std::ffi::OsString::from).collect();
        read_options(&SERVE.parse(words)?)
    }

    #[test]
    fn defaults_are_the_installed_places() {
        let options = read(&[]).expect("nothing is needed");
        assert_eq!(options.listen.to_string(), ":222");
        assert_eq!(options.runtime, RuntimeKind::Docker);
        assert_eq!(options.authorized_keys, PathBuf::from("/etc/convocate-agent/authorized_keys"));
        let moved = read(&["--root", "/r", "--auth-keys", "/k"]).expect("good");
        assert_eq!(moved.host_key, PathBuf::from("/r/etc/convocate-agent/host_ed25519_key"));
        assert_eq!(moved.authorized_keys, PathBuf::from("/k"));
    }

    #[test]
    fn every_option_is_checked() {
        for (words, sentence) in [
            (&["--listen", "222"][..], "--listen: \"222\" has no port"),
            (&["--host-key", ""], "--host-key needs a path"),
            (&["--runtime", "podman"], "--runtime: \"podman\" must be docker or host"),
            (&["--shell-host", "a b"], "--shell-host: \"a b\" names no host"),
            (&["--shell-port", "0"], "--shell-port: \"0\" must be 1 to 65535"),
            (&["--root="], "--root needs a directory"),
            (&["x"], "\"x\" is one word too many"),
        ] {
            let error = read(words).expect_err("wrong");
            assert!(error.contains(sentence), "{words:?}: {error}");
        }
    }
}
