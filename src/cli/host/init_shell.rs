//! `convocate-host init-shell`: a prepared host becomes the shell host, from here or over ssh.

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::flags::{BIN, HOST, USER, programs, target};
use crate::cli::host::output::{Detail, HostOutput};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{BASE, CHECK, JSON, NO_IMAGE};
use crate::cli::this_host::needs_root;
use crate::exit::Exit;
use crate::provision::enrol::messages::{RotationWanted, ShellWanted};
use crate::provision::workflow::init_shell;

const ROTATE_CA: Flag = Flag {
    name: "rotate-ca",
    value: None,
    summary: "make a new authority for logs, and trust the old one beside it",
    choices: &[],
};
const FINISH_ROTATION: Flag = Flag {
    name: "finish-rotation",
    value: None,
    summary: "trust only the new authority, once each agent has its certificate from it",
    choices: &[],
};
const FORCE: Flag = Flag {
    name: "force",
    value: None,
    summary: "with --finish-rotation: also if that shuts agents out",
    choices: &[],
};

pub(crate) const INIT_SHELL: Command = Command {
    name: "init-shell",
    summary: "make a prepared host the shell host, where the operator works",
    operands: &[],
    flags: &[HOST, USER, ROTATE_CA, FINISH_ROTATION, FORCE, CHECK, JSON, BASE, NO_IMAGE, BIN],
    help: "\
Run it once for the host where you sit and work; run it again at any time to mend
what is not as it should be, or to upgrade. What is valid is kept: keys, the
authority, certificates. The host was prepared with: convocate-host install.

What it makes sure of:

  1. the program convocate is in /usr/local/bin, verified by its hash, and is the
     login shell of the user claude; the directories below /etc/convocate and
     /var/lib/convocate, the session image (built there from the sources in the
     program or in /etc/convocate/image), and the names of sessions in dnsmasq
  2. the listener for status: its host key, convocate-status.service, running now
     and after a restart
  3. a private ECDSA P-256 authority for logs and the collector's certificate, in
     /etc/convocate/rsyslog-ca; a certificate that has lived two thirds of its year
     is made anew
  4. rsyslog collects the logs of agents over TLS on tcp/514, those of each agent in
     /var/log/convocate-agent/ID.log, and logrotate keeps them for 14 days
  5. ufw allows 223/tcp and 514/tcp

Without --host it works on this machine: sudo convocate-host init-shell. With --host
it uses your own ssh, as install does.

The authority of the logs lives for ten years. To change it before, when its key may
have been seen:

  convocate-host init-shell --rotate-ca        a new one; the old one is trusted, too
  convocate-host init-agent ...                for each agent: a certificate of the new
  convocate-host init-shell --finish-rotation  from now on only the new one is trusted

Logs go on meanwhile; a line that is under way while rsyslog starts again may come late
or be lost. The rotation may stay open for as long as it takes. It is not finished while
an agent would be shut out: those are named. Agents keep trusting the old authority for
the collector until init-agent is run for them once more.
",
    run: init_shell,
};

fn init_shell(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let target = target(parsed)?;
    if target.is_none() {
        needs_root()?;
    }
    let wanted = ShellWanted {
        check: parsed.has(&CHECK),
        base: parsed.value(&BASE).map(str::to_owned),
        no_image: parsed.has(&NO_IMAGE),
        names: Vec::new(),
        rotation: rotation(parsed)?,
    };
    let mut output = HostOutput::new(out, parsed.has(&JSON), Detail::Steps);
    let mut tell = |host: &str, event| output.tell(host, event);
    let (host, made) = init_shell::init_shell(target, &programs(parsed), wanted, &mut tell)?;
    if !parsed.has(&JSON) && !parsed.has(&CHECK) {
        out.text(&format!("{host}: status host key {}", made.status_host_key))?;
        if let Some(outstanding) = made.outstanding {
            out.text(&next_in_rotation(&host, &outstanding))?;
        }
    }
    Ok(Exit::Done)
}

fn rotation(parsed: &Parsed) -> Result<Option<RotationWanted>, Failure> {
    let refused = |text: &str| Err(Failure::Usage(text.to_owned()));
    match [&ROTATE_CA, &FINISH_ROTATION, &FORCE].map(|flag| parsed.has(flag)) {
        [false, false, false] => Ok(None),
        [true, false, false] => Ok(Some(RotationWanted::Begin)),
        [false, true, false] => Ok(Some(RotationWanted::Finish)),
        [false, true, true] => Ok(Some(RotationWanted::ForceFinish)),
        [true, true, _] => refused("--rotate-ca begins what --finish-rotation ends: give one"),
        [_, false, true] => refused("--force goes with --finish-rotation"),
    }
}

/// What is to be done next when two authorities are trusted.
fn next_in_rotation(host: &str, outstanding: &[String]) -> String {
    let finish = "convocate-host init-shell --finish-rotation";
    match outstanding {
        [] => format!("{host}: two log authorities are trusted; end that with: {finish}"),
        _ => format!(
            "{host}: two log authorities are trusted; run convocate-host init-agent for each of \
             these, and then {finish}: {}",
            outstanding.join(", ")
        ),
    }
}
