//! `convocate-host ship-image`, and its other end, `receive-image`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::command::{Command, Flag, JSON, Operand, Parsed};
use super::out::{Failure, Out};
use super::remote::{BIN, HOST, USER, needs_root, operator, program_for, read_request};
use super::said::Said;
use crate::agent;
use crate::exit::Exit;
use crate::provision::install::{Remote, Shipped};
use crate::provision::openssh::Target;
use crate::provision::run::receive::receive;
use crate::provision::ship::progress::Progress;
use crate::provision::ship::words::Offer;

const DOCKER_SOCKET: Flag = Flag {
    name: "docker-socket",
    value: Some("PATH"),
    summary: "where the Docker Engine here listens; /var/run/docker.sock if not given",
    choices: &[],
};

/// `ship-image`.
pub const SHIP_IMAGE: Command = Command {
    name: "ship-image",
    summary: "send an image to a host, without the layers that it has",
    operands: &[Operand { name: "IMAGE", is_optional: true, choices: &[] }],
    flags: &[HOST, USER, BIN, JSON, DOCKER_SOCKET],
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
pub const RECEIVE_IMAGE: Command = Command {
    name: "receive-image",
    summary: "take an image from standard input: the other end of ship-image",
    operands: &[],
    flags: &[DOCKER_SOCKET],
    help: "\
How a call of ship-image, init-agent or update runs on the host. It is not for hands.
",
    run: take,
};

pub(super) fn docker_socket(parsed: &Parsed) -> PathBuf {
    PathBuf::from(parsed.value(&DOCKER_SOCKET).unwrap_or("/var/run/docker.sock"))
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
    let shipped = remote.ship(&copy, &image, &docker_socket(parsed), |progress| {
        // A reader that has gone is noticed with the result.
        let _heard = teller.progress(progress).map(|said| said.write(out));
    });
    // A host that is gone keeps a file that only root reads.
    let _removed = remote.clean(&copy);
    let shipped = shipped.map_err(|error| failed(&error))?;
    teller.done(&shipped).write(out)?;
    Ok(Exit::Done)
}

/// Tells how far an image is.
pub(super) struct Teller<'a> {
    host: &'a str,
    image: &'a str,
    is_json: bool,
    told: Option<Duration>,
}

impl<'a> Teller<'a> {
    /// Of this image on its way to this host.
    pub(super) fn new(host: &'a str, image: &'a str, is_json: bool) -> Teller<'a> {
        Teller { host, image, is_json, told: None }
    }

    /// Progress: a program hears of each, a person at growing intervals.
    pub(super) fn progress(&mut self, progress: &Progress) -> Option<Said> {
        const FIRST: Duration = Duration::from_secs(2);
        if self.is_json {
            return Some(Said::Json(json!({
                "line": "image-progress", "host": self.host, "image": self.image,
                "plain_bytes": progress.plain_bytes, "wire_bytes": progress.wire_bytes,
                "expected_bytes": progress.expected_bytes, "rate": progress.rate(),
                "rest_seconds": progress.rest_seconds(),
            })));
        }
        let is_due = progress.took >= self.told.map_or(FIRST, |told| told * 3 / 2);
        is_due.then(|| {
            self.told = Some(progress.took);
            Said::Note(format!("[{}] image {}: {}", self.host, self.image, progress.text()))
        })
    }

    /// The end.
    pub(super) fn done(&self, shipped: &Shipped) -> Said {
        if !self.is_json {
            let text = shipped.text();
            return Said::Text(format!("[{}] image {} … {text}", self.host, self.image));
        }
        Said::Json(json!({
            "line": "image", "host": self.host, "image": self.image, "id": shipped.id,
            "layers": shipped.layers, "sent": shipped.sent,
            "plain_bytes": shipped.plain_bytes, "wire_bytes": shipped.wire_bytes,
            "sha256": shipped.sha256, "why_whole": shipped.why_whole,
            "seconds": shipped.took.as_secs_f64(),
        }))
    }
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
