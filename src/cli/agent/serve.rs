//! `convocate-agent serve`: its options.

use std::path::PathBuf;

use crate::agent::config::RuntimeKind;
use crate::agent::serve::{Options, ShellOptions};
use crate::base::address::{Address, Host};
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::output::{Failure, Out, service_log};
use crate::cli::shared_flags::{ROOT, UNTIL_STDIN_ENDS, path_flag, read_flag, root_paths};
use crate::exit::Exit;
use crate::limits::{AGENT_PORT, STATUS_PORT};
use crate::{agent, paths};

const LISTEN: Flag = Flag::value("listen", "ADDR", "where to listen: :222, host:port or [v6]:port");
const HOST_KEY: Flag = Flag::value("host-key", "PATH", "this agent's private host key");
const AUTH_KEYS: Flag = Flag::value("auth-keys", "PATH", "the keys that may drive this agent");
const RUNTIME: Flag = Flag::choice(
    "runtime",
    "KIND",
    "what runs sessions: docker, or host for trying out",
    &["docker", "host"],
);
const DOCKER_SOCKET: Flag = Flag::value(
    "docker-socket",
    "PATH",
    "where the Docker Engine listens; /var/run/docker.sock by default",
);

const SHELL_HOST: Flag = Flag::value(
    "shell-host",
    "HOST",
    "where events go; by default the content of the file shell-host, if there is one",
);
const SHELL_PORT: Flag = Flag::value("shell-port", "N", "the port there; 223 if neither gives one");
const SHELL_KEY: Flag =
    Flag::value("shell-key", "PATH", "the private key that proves this agent to the shell host");
const SHELL_KNOWN_HOST: Flag =
    Flag::value("shell-known-host", "PATH", "the shell host's public host key");
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
Files that are not given are in their installed places below /etc/convocate-agent, or
below DIR with --root. The runtime `host` runs sessions directly on this machine,
without containers and without limits: it is for trying out, development and tests.
The agent keeps events on disk until the shell host has them, also while it is down.
Runs until SIGTERM or SIGINT; sessions run on without it.
",
    run: serve,
};

fn serve(parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    let options = read_options(parsed)?;
    agent::serve::serve(&options, service_log()?)
        .map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(Exit::Done)
}

fn read_options(parsed: &Parsed) -> Result<Options, Failure> {
    let paths = root_paths(parsed)?;
    let path = |flag: &Flag, default: PathBuf| path_flag(parsed, flag, default);
    let listen =
        read_flag(parsed, &LISTEN, |text| Address::parse(text).map_err(|error| error.to_string()));
    let runtime = read_flag(parsed, &RUNTIME, |text| match text {
        "docker" => Ok(RuntimeKind::Docker),
        "host" => Ok(RuntimeKind::Host),
        other => Err(format!("{other:?} must be docker or host")),
    });
    Ok(Options {
        shell: ShellOptions {
            host: read_flag(parsed, &SHELL_HOST, |text| {
                Address::parse_or_port(text, STATUS_PORT).map_err(|error| error.to_string())
            })?,
            port: read_flag(parsed, &SHELL_PORT, |text| {
                let port = text.parse().ok().filter(|port: &u16| *port > 0);
                port.ok_or_else(|| format!("{text:?} must be 1 to 65535"))
            })?,
            key: path(&SHELL_KEY, paths.agent_shell_key())?,
            known_host: path(&SHELL_KNOWN_HOST, paths.agent_shell_known_host())?,
        },
        listen: listen?.unwrap_or(Address { host: Host::Any, port: AGENT_PORT }),
        host_key: path(&HOST_KEY, paths.agent_host_key())?,
        authorized_keys: path(&AUTH_KEYS, paths.agent_authorized_keys())?,
        runtime: runtime?.unwrap_or(RuntimeKind::Docker),
        docker_socket: path(&DOCKER_SOCKET, PathBuf::from(paths::DOCKER_SOCKET))?,
        until_stdin_ends: parsed.has(&UNTIL_STDIN_ENDS),
        paths,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Options, Failure> {
        let words = words.iter().map(std::ffi::OsString::from).collect();
        read_options(&SERVE.parse(words).map_err(Failure::Usage)?)
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
            (&["x"], "unexpected argument \"x\""),
        ] {
            let error = read(words).expect_err("wrong");
            assert!(matches!(&error, Failure::Usage(text) if text.contains(sentence)), "{error:?}");
        }
    }
}
