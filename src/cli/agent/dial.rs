//! `dial`: ssh's way out of a session that reaches names alone, as its `ProxyCommand`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::thread;

use crate::base::text::printable;
use crate::cli::command::{Command, Operand, Parsed};
use crate::cli::output::{Failure, Out};
use crate::exit::Exit;
use crate::limits::{EGRESS_CHUNK_BYTES, EGRESS_HEAD_BYTES_MAX, EGRESS_PORT};
use crate::rpc::egress::HostName;

pub(crate) const DIAL: Command = Command {
    name: "dial",
    summary: "",
    operands: &[
        Operand { name: "HOST", is_optional: false, is_many: false, choices: &[] },
        Operand { name: "PORT", is_optional: false, is_many: false, choices: &[] },
    ],
    flags: &[],
    help: "\
Not for people: ssh runs it in the containers of sessions with egress list, to get to HOST
through their proxy.
",
    run: dial,
};

fn dial(parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    let (host, port) = (parsed.required(0), parsed.required(1));
    let name = HostName::parse(host)
        .map_err(|why| Failure::Failed(format!("{} {why}", printable(host))))?;
    let port: u16 =
        port.parse().map_err(|_| Failure::Failed("the port must be a number".to_owned()))?;
    let failed = |error: io::Error| Failure::Failed(format!("the proxy of this session: {error}"));
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, EGRESS_PORT)).map_err(failed)?;
    let request = format!("CONNECT {}:{port} HTTP/1.1\r\n\r\n", name.as_str());
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let head = head_of(&mut stream).map_err(failed)?;
    if !head.starts_with("HTTP/1.1 200 ") {
        let mut why = String::new();
        let _cut = stream.take(EGRESS_HEAD_BYTES_MAX as u64).read_to_string(&mut why);
        return Err(Failure::Failed(printable(why.trim()).into_owned()));
    }
    let mut outward = stream.try_clone().map_err(failed)?;
    thread::spawn(move || {
        // That it ends is all there is to know: the other way tells of faults.
        let _ended = io::copy(&mut io::stdin().lock(), &mut outward);
        let _gone = outward.shutdown(Shutdown::Write);
    });
    copy_at_once(&mut stream, &mut io::stdout().lock()).map_err(failed)?;
    Ok(Exit::Done)
}

/// Standard output keeps what has no end of line, and ssh waits for it.
fn copy_at_once(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut bytes = vec![0; EGRESS_CHUNK_BYTES];
    loop {
        match from.read(&mut bytes)? {
            0 => return Ok(()),
            count => to.write_all(&bytes[..count])?,
        }
        to.flush()?;
    }
}

/// Byte by byte: what follows the head is not ours.
fn head_of(stream: &mut TcpStream) -> io::Result<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && head.len() < EGRESS_HEAD_BYTES_MAX {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
