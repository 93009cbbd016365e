//! `open-network`: what runs in the container of a session that reaches names alone.
//!
//! As root, and before anything of the session's: it makes the socket that the session's clients
//! dial, hands it to the agent outside, and becomes the program behind it.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process;

use crate::cli::command::{Command, Operand, Parsed};
use crate::cli::output::{Failure, Out};
use crate::exit::Exit;
use crate::io::handover::{hand_over_pool, hand_over_proxy};

pub(crate) const OPEN_NETWORK: Command = Command {
    name: "open-network",
    summary: "",
    operands: &[
        Operand { name: "SOCKET", is_optional: false, is_many: false, choices: &[] },
        Operand { name: "WHAT", is_optional: false, is_many: false, choices: &[] },
        Operand { name: "PROGRAM", is_optional: true, is_many: true, choices: &[] },
    ],
    flags: &[],
    help: "\
Not for people: it runs in the containers of sessions with egress list, hands the socket of
their proxy, or so many as WHAT says for what is dialled there, to the agent on SOCKET, and
becomes PROGRAM.
",
    run: open_network,
};

fn open_network(parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    let socket = parsed.required(0);
    let handed = match parsed.required(1).parse() {
        Ok(count) => hand_over_pool(Path::new(socket), count),
        Err(_) => hand_over_proxy(Path::new(socket)),
    };
    let handed = handed.map_err(|error| Failure::Failed(format!("{socket}: {error}")));
    let Some((program, arguments)) = parsed.operands()[2..].split_first() else {
        return handed.map(|()| Exit::Done);
    };
    // The agent may be away. It asks for the socket again when it is back.
    let error = process::Command::new(program).args(arguments).exec();
    Err(Failure::Failed(format!("{program}: {error}")))
}
