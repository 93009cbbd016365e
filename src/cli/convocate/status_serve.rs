//! `convocate status-serve`: its options.

use crate::base::address::{Address, Host};
use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::output::{Failure, Out, service_log};
use crate::cli::shared_flags::{ROOT, UNTIL_STDIN_ENDS, path_flag, read_flag, root_paths};
use crate::exit::Exit;
use crate::fleet::run::load;
use crate::limits::STATUS_PORT;
use crate::status::serve::{self, Options};

const LISTEN: Flag =
    Flag::value("listen", "ADDR", "where agents dial: :223, host:port or [v6]:port");
const HOST_KEY: Flag = Flag::value("host-key", "PATH", "this listener's private host key");
const AUTH_KEYS: Flag =
    Flag::value("auth-keys", "PATH", "the agents' keys, each behind agent-id=\"ID\"");
pub(crate) const STATUS_SERVE: Command = Command {
    name: "status-serve",
    summary: "receive the agents' events and serve them to programs on this host",
    operands: &[],
    flags: &[LISTEN, HOST_KEY, AUTH_KEYS, UNTIL_STDIN_ENDS, ROOT],
    help: "\
The hub of the shell host: it keeps the state of every agent and session, across
restarts, serves it at /run/convocate/status.sock, and writes the names of sessions
for dnsmasq. Files that are not given are in their installed places below
/etc/convocate, or below DIR with --root. Added and removed keys take effect at once;
SIGHUP reads them again. Runs until SIGTERM or SIGINT; agents keep their events while
no listener runs.

A program at /etc/convocate/on-attention is run for each change of what a session wants
of a person (see `convocate help ls`), as the listener's user and in its sandbox, with
the event as a line of JSON on its standard input: one after the other, ten seconds each
at most; what it prints is dropped. It must belong to root or to that user, and nobody
else may be able to write to it.
",
    run: status_serve,
};

fn status_serve(parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    let options = read_options(parsed)?;
    serve::serve(&options, service_log()?).map_err(|error| Failure::Failed(error.to_string()))?;
    Ok(Exit::Done)
}

fn read_options(parsed: &Parsed) -> Result<Options, Failure> {
    let paths = root_paths(parsed)?;
    let listen =
        read_flag(parsed, &LISTEN, |text| Address::parse(text).map_err(|error| error.to_string()))?;
    Ok(Options {
        known: load,
        listen: listen.unwrap_or(Address { host: Host::Any, port: STATUS_PORT }),
        host_key: path_flag(parsed, &HOST_KEY, paths.status_host_key())?,
        authorized_keys: path_flag(parsed, &AUTH_KEYS, paths.status_authorized_keys())?,
        until_stdin_ends: parsed.has(&UNTIL_STDIN_ENDS),
        paths,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn read(words: &[&str]) -> Result<Options, Failure> {
        let words = words.iter().map(std::ffi::OsString::from).collect();
        read_options(&STATUS_SERVE.parse(words).map_err(Failure::Usage)?)
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
            assert!(matches!(&error, Failure::Usage(text) if text.contains(sentence)), "{error:?}");
        }
    }
}
