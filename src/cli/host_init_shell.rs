//! `convocate-host init-shell`: a prepared host becomes the shell host, from here or over ssh.

use super::command::{Command, JSON, Parsed};
use super::install::{BASE, NO_IMAGE};
use super::out::{Failure, Out};
use super::remote::{BIN, HOST, Report, USER, Worker, needs_root, talker};
use super::steps::CHECK;
use crate::exit::Exit;
use crate::provision::enrolment::{ShellMade, ShellWanted};
use crate::provision::openssh::{Target, Then};

/// `init-shell`.
pub const INIT_SHELL: Command = Command {
    name: "init-shell",
    summary: "make a prepared host the shell host, where the operator works",
    operands: &[],
    flags: &[HOST, USER, CHECK, JSON, BASE, NO_IMAGE, BIN],
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
",
    run: init_shell,
};

fn init_shell(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let bin = parsed.value(&BIN);
    let (mut worker, names) = match parsed.value(&HOST) {
        None if parsed.has(&USER) => {
            return Err(Failure::Usage("--user is for another host: give --host too".to_owned()));
        }
        None => {
            needs_root("convocate-host init-shell")?;
            (Worker::here("convocate", bin)?, Vec::new())
        }
        Some(host) => {
            let target = Target::new(host, parsed.value(&USER)).map_err(Failure::Usage)?;
            let (worker, _) = Worker::reach(target, "convocate", bin)?;
            let name = worker.remote().map(|remote| remote.host_name()).transpose();
            let name = name.map_err(|error| super::remote::failure(host, error))?;
            (worker, name.into_iter().collect())
        }
    };
    let wanted = ShellWanted {
        check: parsed.has(&CHECK),
        base: parsed.value(&BASE).map(str::to_owned),
        no_image: parsed.has(&NO_IMAGE),
        names,
    };
    let mut report = Report::new(&worker.name, parsed.has(&JSON));
    let command = ("install --request", Then::Remove);
    let made: ShellMade = worker.run(&mut talker()?, command, &wanted, &mut report, out)?;
    report.finish(out)?;
    if !parsed.has(&JSON) && !parsed.has(&CHECK) {
        out.text(&format!("{}: status host key {}", worker.name, made.status_host_key))?;
    }
    Ok(Exit::Done)
}
