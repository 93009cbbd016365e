//! One question to the Engine, before there is an agent: has it the image?

use std::io::ErrorKind;
use std::path::Path;

use crate::base::slots::Key;
use crate::docker::conn::{DockerConn, DockerConnEvent, ResponseMode};
use crate::docker::{DockerError, call};
use crate::io::clock::Clock;
use crate::io::link::{Link, Next};
use crate::io::reactor::{Interests, Reactor};
use crate::io::stream::Stream;
use crate::limits::{LINK_LINGER, LINK_TURN_BYTES};

const ENGINE: Key = Key::from_bits(1);

/// Whether the Engine at `socket` answers and has `image`. Waits for the answer.
///
/// # Errors
/// Why it cannot be used: one sentence.
pub(crate) fn has_image(socket: &Path, image: &str) -> Result<(), String> {
    match ask(socket, image) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.is_not_found() => {
            Err(format!("the Docker engine has no image {image}"))
        }
        Ok(Err(error)) => Err(format!("docker: {error}")),
        Err(error) => {
            let repair = match error.kind() {
                ErrorKind::PermissionDenied => "; is this user in the group docker?",
                _ => "",
            };
            Err(format!("no Docker engine at {}: {error}{repair}", socket.display()))
        }
    }
}

fn ask(socket: &Path, image: &str) -> std::io::Result<Result<(), DockerError>> {
    let (clock, mut reactor, mut ready) = (Clock::new(), Reactor::new()?, Vec::new());
    let mut link = Link::open(Stream::connect_unix(socket)?, DockerConn::new(), LINK_LINGER);
    let _ = reactor.watch(link.stream(), ENGINE, Interests::Both)?;
    let request = call::image_inspect(image);
    if link.endpoint_mut().call(&request, ResponseMode::Whole, clock.mono()).is_err() {
        return Ok(Err(DockerError::Closed));
    }
    loop {
        let now = clock.mono();
        ready.iter().for_each(|ready| link.ready(now, *ready));
        link.tick(now);
        link.receive(now, LINK_TURN_BYTES);
        while let Some(event) = link.endpoint_mut().poll_event() {
            match event {
                DockerConnEvent::Response(response) => {
                    return Ok(response.accepted().map(drop));
                }
                DockerConnEvent::Closed(error) => {
                    return Ok(Err(error.unwrap_or(DockerError::Closed)));
                }
                _ => {}
            }
        }
        match link.send(now, LINK_TURN_BYTES) {
            Next::Wait => reactor.wait(&clock, link.deadline(), &mut ready)?,
            Next::Again => reactor.look(&mut ready)?,
            Next::Closed => return Ok(Err(DockerError::Closed)),
        }
    }
}
