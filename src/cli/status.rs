//! `convocate status-serve`: its options.

use std::path::PathBuf;

use crate::base::address::{Address, Host};
use crate::cli::command::{Command, Flag, Parsed, ROOT};
use crate::cli::out::{Failure, Out, service_log};
use crate::exit::Exit;
use crate::fleet::run::load;
use crate::limits::STATUS_PORT;
use crate::paths::Paths;
use crate::status::serve::{self, Options};

const LISTEN: Flag = Flag {
    name: "listen",
    value: Some("ADDR"),
    summary: "where agents dial: :223, host:port or [v6]:port",
    choices: &[],
};
const HOST_KEY: Flag = Flag {
    name: "host-key",
    value: Some("PATH"),
    summary: "this listener's private host key",
    choices: &[],
};
const AUTH_KEYS: Flag = Flag {
    name: "auth-keys",
    value: Some("PATH"),
    summary: "the agents' keys, each behind agent-id=\"ID\"",
    choices: &[],
};
const UNTIL_STDIN_ENDS: Flag = Flag {
    name: "until-stdin-ends",
    value: None,
    summary: "end when standard input does, with the program that holds its other end",
    choices: &[],
};

/// `status-serve`.
pub(crate) const STATUS_SERVE: Command = Command {
    name: "status-serve",
    summary: "listen for the agents' events and tell them to whoever asks on this host",
    operands: &[],
    flags: &[LISTEN, HOST_KEY, AUTH_KEYS, UNTIL_STDIN_ENDS, ROOT],
    help: "\
The hub of the shell host: it keeps what is known of every agent and session, across
restarts, serves it at /run/convocate/status.sock, and writes the names of sessions
for dnsmasq. What is not given has its installed place below /etc/convocate, or below
DIR with --root. Keys that are added or removed count at once; SIGHUP looks at once.
Runs until SIGTERM or SIGINT; agents keep their events until a listener is back.
",
    run: status_serve,
};

/// Reads what `status-serve` is told.
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
    Ok(Options {
        known: load,
        listen: match parsed.value(&LISTEN) {
            None => Address { host: Host::Any, port: STATUS_PORT },
            Some(text) => Address::parse(text).map_err(|error| format!("--listen: {error}"))?,
        },
        host_key: path(&HOST_KEY, paths.status_host_key())?,
        authorized_keys: path(&AUTH_KEYS, paths.status_authorized_keys())?,
        until_stdin_ends: parsed.has(&UNTIL_STDIN_ENDS),
        paths,
    })
}

fn status_serve(parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    let options = read_options(parsed).map_err(Failure::Usage)?;
    serve::serve(&options, service_log()).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Options, String> {
        let words = words.iter().map(std::ffi::OsString::from).collect();
        read_options(&STATUS_SERVE.parse(words)?)
    }

    #[test]
    fn defaults_are_the_installed_places_and_every_option_is_checked() {
        let options = read(&[]).expect("nothing is needed");
        assert_eq!(options.listen.to_string(), ":223");
        let keys = PathBuf::from("/etc/convocate/status_authorized_keys");
        assert_eq!(options.authorized_keys, keys);
        let moved = read(&["--root", "/r", "--listen", "127.0.0.1:0"]).expect("good");
        let key = PathBuf::from("/r/etc/convocate/status_host_ed25519_key");
        assert_eq!((moved.listen.port, moved.host_key), (0, key));
        for (words, sentence) in [
            (&["--listen", "223"][..], "--listen: \"223\" has no port"),
            (&["--auth-keys", ""], "--auth-keys needs a path"),
            (&["--root="], "--root needs a directory"),
        ] {
            let error = read(words).expect_err("wrong");
            assert!(error.contains(sentence), "{words:?}: {error}");
        }
    }
}
