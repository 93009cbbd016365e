//! `convocate-host init-agent`: a prepared host becomes an agent of a shell host.

use crate::cli::command::{Command, Flag, Parsed};
use crate::cli::host::flags::{
    BIN, CLAUDE, CLAUDE_FROM, CLAUDE_TOKEN, CLAUDE_VERSION, HOST, USER, claude_choice, programs,
    target,
};
use crate::cli::host::output::{Detail, HostOutput};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{CHECK, JSON};
use crate::cli::this_host::needs_root;
use crate::exit::Exit;
use crate::provision::openssh::Target;
use crate::provision::remote::claude::read_login;
use crate::provision::workflow::init_agent::{InitAgent, ShellHost};

const SHELL_HOST: Flag = Flag {
    name: "shell-host",
    value: Some("H"),
    summary: "where the agent tells events and sends logs; this machine if not given",
    choices: &[],
};
const ADDRESS: Flag = Flag {
    name: "address",
    value: Some("A"),
    summary: "where the shell host dials the agent, if it is not what --host stands for",
    choices: &[],
};
const CA_CERT: Flag = Flag {
    name: "ca-cert",
    value: Some("PATH"),
    summary: "a copy of the shell host's rsyslog-ca/ca.crt, to work from elsewhere",
    choices: &[],
};
const CA_KEY: Flag = Flag {
    name: "ca-key",
    value: Some("PATH"),
    summary: "a copy of the shell host's rsyslog-ca/ca.key, to work from elsewhere",
    choices: &[],
};

pub(crate) const INIT_AGENT: Command = Command {
    name: "init-agent",
    summary: "make a prepared host an agent of a shell host, or mend one",
    operands: &[],
    flags: &[
        HOST,
        USER,
        CLAUDE,
        CLAUDE_VERSION,
        CLAUDE_FROM,
        CLAUDE_TOKEN,
        SHELL_HOST,
        ADDRESS,
        CA_CERT,
        CA_KEY,
        CHECK,
        JSON,
        BIN,
    ],
    help: "\
Run it once for each host that is to have sessions, on the shell host as root; run it
again at any time to mend what is not as it should be, or after it was cut short. The
agent keeps its id and its keys. The host was prepared with: convocate-host install.

What it does:

  1. brings convocate-agent there, verified by its hash, and has it make what is the
     host's own: user, directories, id, keys, unit, slice, daily removal of old images;
     puts the Claude CLI there as /usr/local/bin/claude, and the login of --claude-token
  2. issues the certificate with which the agent sends its logs
  3. on the shell host: makes the key that drives the agent, writes all that is known
     of it to /etc/convocate/agent-keys/ID, and lets it tell events and send logs
  4. brings the session image, without the layers that the agent's Docker has
  5. on the agent: lets the shell host drive it and nobody else, pins the shell host's
     key, forwards logs over TLS, allows 222/tcp, and starts convocate-agent.service
  6. proves it: a call on tcp/222 from the shell host, its events on tcp/223, and a
     line of its log through tcp/514. What is not proven has failed.

The Claude CLI is the file of --claude, or else the claude on your PATH, if it is a program
for that host's processor. With --claude-version that host fetches it from its publisher and
compares it with the published checksum; a transfer that breaks goes on where it was.

--claude-token FILE has one line: a token of `claude setup-token` or an API key. It goes to
/etc/convocate-agent/claude-token, which the agent alone reads, and is in no command line
and no log. Another file renews it; sessions have it from their next start on.

Without --host this machine becomes the agent: a shell host can be one itself.

From another machine than the shell host: give copies of its authority with --ca-cert
and --ca-key, and its name with --shell-host. It is then reached by your own ssh, too,
and must know its convocate already. Agents dial what ~/.ssh/config says that the name
of --shell-host stands for.
",
    run: init_agent,
};

fn init_agent(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let shell = shell_host(parsed)?;
    let agent = target(parsed)?;
    if agent.is_none() || matches!(shell, ShellHost::Here(_)) {
        needs_root()?;
    }
    let address = parsed.value(&ADDRESS).map(str::to_owned);
    let claude = claude_choice(parsed)?;
    let claude_login = parsed.value(&CLAUDE_TOKEN).map(read_login).transpose();
    let claude_login = claude_login.map_err(Failure::Failed)?;
    let (programs, check) = (programs(parsed), parsed.has(&CHECK));
    let mut output = HostOutput::new(out, parsed.has(&JSON), Detail::Steps);
    InitAgent { agent, shell, address, programs, claude, claude_login, check }
        .carry_out(&mut |host, event| output.tell(host, event))?;
    Ok(Exit::Done)
}

fn shell_host(parsed: &Parsed) -> Result<ShellHost, Failure> {
    let host = parsed.value(&SHELL_HOST);
    match (parsed.value(&CA_CERT), parsed.value(&CA_KEY), host) {
        (Some(certificate), Some(key), Some(host)) => {
            let target = Target::new(host, None).map_err(Failure::Usage)?;
            Ok(ShellHost::There { target, certificate: certificate.into(), key: key.into() })
        }
        (Some(_), Some(_), None) => {
            let text = "--ca-cert is for another machine than the shell host: give --shell-host";
            Err(Failure::Usage(text.to_owned()))
        }
        (None, None, host) => Ok(ShellHost::Here(host.map(str::to_owned))),
        _ => Err(Failure::Usage("--ca-cert and --ca-key go together".to_owned())),
    }
}
