//! `convocate-host ship-image`, and the ends of a transfer, `send-image` and `receive-image`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::agent;
use crate::cli::command::{Command, Flag, Operand, Parsed};
use crate::cli::host::output::OutputLine;
use crate::cli::host::remote::{BIN, HOST, USER, operator, program_for};
use crate::cli::output::{Failure, Out};
use crate::cli::request::read_request;
use crate::cli::shared_flags::JSON;
use crate::cli::this_host::needs_root;
use crate::exit::Exit;
use crate::paths::DOCKER_SOCKET;
use crate::provision::openssh::Target;
use crate::provision::remote::Remote;
use crate::provision::run::receive::receive;
use crate::provision::run::send::{ImageSource, ShipError, Shipped};
use crate::provision::ship::messages::{Offer, Wanted};
use crate::provision::ship::progress::Progress;

const ENGINE: Flag = Flag {
    name: "docker-socket",
    value: Some("PATH"),
    summary: "where the Docker Engine here listens; /var/run/docker.sock if not given",
    choices: &[],
};

/// `ship-image`.
pub(crate) const SHIP_IMAGE: Command = Command {
    name: "ship-image",
    summary: "send an image to a host, without the layers that it has",
    operands: &[Operand { name: "IMAGE", is_optional: true, choices: &[] }],
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

/// `receive-image`.
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

/// `send-image`.
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

pub(crate) fn docker_socket(parsed: &Parsed) -> PathBuf {
    PathBuf::from(parsed.value(&ENGINE).unwrap_or(DOCKER_SOCKET))
}

fn ship(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let Some(host) = parsed.value(&HOST) else {
        return Err(Failure::Usage("to which host? give --host".to_owned()));
    };
    let target = Target::new(host, parsed.value(&USER)).map_err(Failure::Usage)?;
    let image = parsed.operand(0).map_or_else(agent::image::tag, str::to_owned);
    let failed = |error: &dyn std::fmt::Display| Failure::Failed(format!("{host}: {error}"));
    let connected = Remote::connect(target, operator());
    let (remote, probe) = connected.map_err(|error| failed(&error))?;
    let program = program_for(&probe.machine, "convocate-host", parsed.value(&BIN))?;
    let copy = remote.copy(&program).map_err(|error| failed(&error))?;
    let mut teller = Teller::new(host, &image, parsed.has(&JSON));
    let shipped = remote.ship(&copy, &image, docker_socket(parsed), |progress| {
        // A reader that has gone is noticed with the result.
        let _heard = teller.progress(progress).map(|said| said.write(out));
        true
    });
    // A host that is gone keeps a file that only root reads.
    let _removed = remote.clean(&copy);
    let shipped = shipped.map_err(|error| failed(&error))?;
    teller.done(&shipped).write(out)?;
    Ok(Exit::Done)
}

/// Tells how far an image is.
pub(crate) struct Teller<'a> {
    host: &'a str,
    image: &'a str,
    is_json: bool,
    told: Option<Duration>,
}

impl<'a> Teller<'a> {
    /// Of this image on its way to this host.
    pub(crate) fn new(host: &'a str, image: &'a str, is_json: bool) -> Teller<'a> {
        Teller { host, image, is_json, told: None }
    }

    /// Progress: a program hears of each, a person at growing intervals.
    pub(crate) fn progress(&mut self, progress: &Progress) -> Option<OutputLine> {
        const FIRST: Duration = Duration::from_secs(2);
        if self.is_json {
            return Some(OutputLine::Json(json!({
                "line": "image-progress", "host": self.host, "image": self.image,
                "plain_bytes": progress.plain_bytes, "wire_bytes": progress.wire_bytes,
                "expected_bytes": progress.expected_bytes, "rate": progress.rate(),
                "rest_seconds": progress.rest_seconds(),
            })));
        }
        let is_due = progress.took >= self.told.map_or(FIRST, |told| told * 3 / 2);
        is_due.then(|| {
            self.told = Some(progress.took);
            OutputLine::Note(format!("[{}] image {}: {}", self.host, self.image, progress.text()))
        })
    }

    pub(crate) fn done(&self, shipped: &Shipped) -> OutputLine {
        if !self.is_json {
            let text = shipped.text();
            return OutputLine::Text(format!("[{}] image {} … {text}", self.host, self.image));
        }
        OutputLine::Json(json!({
            "line": "image", "host": self.host, "image": self.image, "id": shipped.id,
            "layers": shipped.layers, "sent": shipped.sent,
            "plain_bytes": shipped.plain_bytes, "wire_bytes": shipped.wire_bytes,
            "sha256": shipped.sha256, "why_whole": shipped.why_whole,
            "seconds": shipped.took.as_secs_f64(),
        }))
    }
}

fn give(parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    let wanted: Wanted = read_request()?;
    let failed = |error: &ShipError| match error {
        // Whoever joins us with the receiver has heard its words, too.
        ShipError::There(_) | ShipError::Without(_) => Failure::Exit(Exit::Failed, String::new()),
        // The receiver cannot know it: whoever joins us tries once more, without the files.
        ShipError::Files(_) => Failure::Exit(Exit::FilesUnusable, error.to_string()),
        error => Failure::Failed(error.to_string()),
    };
    let cargo = ImageSource::new(&wanted.image, docker_socket(parsed)).map_err(|it| failed(&it))?;
    let mut output = std::io::stdout().lock();
    let ends = (std::io::stdin().lock(), &mut output);
    let shipped = cargo.ship(wanted.whole, ends, &mut |_| true).map_err(|it| failed(&it))?;
    writeln!(output, "{}", json!(shipped))?;
    Ok(Exit::Done)
}

fn take(parsed: &Parsed, _out: &mut Out<'_>) -> Result<Exit, Failure> {
    needs_root("convocate-host receive-image")?;
    let offer: Offer = read_request()?;
    let (input, output) = (std::io::stdin().lock(), std::io::stdout());
    match receive(&offer, docker_socket(parsed), input, output) {
        Ok(true) => Ok(Exit::Done),
        // It has been said in the report.
        Ok(false) => Err(Failure::Exit(Exit::Failed, String::new())),
        Err(error) => Err(error.into()),
    }
}
