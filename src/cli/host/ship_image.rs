//! `convocate-host ship-image`, and the ends of a transfer, `send-image` and `receive-image`.

use std::io::Write;

use serde_json::json;

use crate::agent;
use crate::cli::command::{Command, Operand, Parsed};
use crate::cli::host::flags::{BIN, ENGINE, HOST, USER, docker_socket, programs, target};
use crate::cli::host::output::{Detail, HostOutput};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::JSON;
use crate::cli::this_host::needs_root;
use crate::exit::Exit;
use crate::provision::remote::ship::Source;
use crate::provision::run::receive::receive;
use crate::provision::run::send::{ImageSource, ShipError};
use crate::provision::ship::messages::{ImageOffer, ImageRequest};
use crate::provision::workflow::ship_image::ship_image;

pub(crate) const SHIP_IMAGE: Command = Command {
    name: "ship-image",
    summary: "send an image to a host, without the layers that it has",
    operands: &[Operand { name: "IMAGE", is_optional: true, is_many: false, choices: &[] }],
    flags: &[HOST, USER, BIN, JSON, ENGINE],
    help: "\
Streams an image from the Docker Engine here to the one of the host, over your own
ssh: the session image of this version if none is named. Layers that the host has
are left out, the rest is compressed, and nothing is written to a disk on the way.
SHA-256 at both ends proves the stream, and the image's id what was made of it; only
then does the image get its name there. Interrupted anywhere, the name means what it
did before, and the same call begins anew.

If the Engine over there cannot go without those layers, all of them are sent, and
the report says why.
",
    run: ship,
};

pub(crate) const RECEIVE_IMAGE: Command = Command {
    name: "receive-image",
    summary: "",
    operands: &[],
    flags: &[ENGINE],
    help: "\
How a call of ship-image, init-agent or update runs on the host. It is not for hands.
",
    run: take,
};

pub(crate) const SEND_IMAGE: Command = Command {
    name: "send-image",
    summary: "send an image to standard output: how init-agent fetches it from a shell host",
    operands: &[],
    flags: &[ENGINE],
    help: "\
How a call of init-agent from another machine runs on the shell host. It is not for
hands.
",
    run: give,
};

fn ship(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    if !parsed.has(&HOST) {
        return Err(Failure::Usage("to which host? give --host".to_owned()));
    }
    let target = target(parsed)?.expect("it was looked for");
    let image = parsed.operand(0).map_or_else(agent::image::tag, str::to_owned);
    let source = Source::Here(docker_socket(parsed));
    let mut output = HostOutput::new(out, parsed.has(&JSON), Detail::Changes);
    let mut tell = |host: &str, event| output.tell(host, event);
    ship_image(target, &programs(parsed), (&source, &image), &mut tell)?;
    Ok(Exit::Done)
}

fn give(parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    let wanted: ImageRequest = read_request()?;
    let failed = |error: &ShipError| match error {
        // The caller, which joins us with the receiver, has read the reason from it.
        ShipError::There(_) | ShipError::Without(_) => Failure::Exit(Exit::Failed, String::new()),
        // The receiver cannot know it: whoever joins us tries once more, without the files.
        ShipError::Files(_) => Failure::Exit(Exit::FilesUnusable, error.to_string()),
        error => Failure::Failed(error.to_string()),
    };
    let source =
        ImageSource::new(&wanted.image, docker_socket(parsed)).map_err(|it| failed(&it))?;
    let mut output = std::io::stdout().lock();
    let ends = (std::io::stdin().lock(), &mut output);
    let shipped = source.ship(wanted.whole, ends, &mut |_| true).map_err(|it| failed(&it))?;
    writeln!(output, "{}", json!(shipped))?;
    Ok(Exit::Done)
}

fn take(parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    needs_root()?;
    let offer: ImageOffer = read_request()?;
    let (input, output) = (std::io::stdin().lock(), std::io::stdout());
    match receive(&offer, docker_socket(parsed), input, output) {
        Ok(true) => Ok(Exit::Done),
        // The report has said why.
        Ok(false) => Err(Failure::Exit(Exit::Failed, String::new())),
        Err(error) => Err(error.into()),
    }
}
