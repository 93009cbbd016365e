//! Sends an image to a host's Engine and reports how far it is.

use super::{WorkflowError, block_signals, connect};
use crate::provision::openssh::Target;
use crate::provision::remote::event::{HostEvent, Tell};
use crate::provision::remote::programs::Programs;
use crate::provision::remote::session::HostSession;
use crate::provision::remote::ship::Source;
use crate::provision::run::send::ShipError;

/// Sends `image`, a name with a tag, from an Engine here.
pub(crate) fn ship_image(
    target: Target,
    programs: &Programs,
    (source, image): (&Source, &str),
    tell: &mut Tell<'_>,
) -> Result<(), WorkflowError> {
    let interrupts = block_signals()?;
    let session = connect(target, programs, &interrupts)?;
    send_image(&session, source, image, tell)
        .map_err(|error| WorkflowError::Failed(format!("{}: {error}", session.name)))
}

/// The same with a host that is reached already.
pub(super) fn send_image(
    session: &HostSession<'_>,
    source: &Source,
    image: &str,
    tell: &mut Tell<'_>,
) -> Result<(), ShipError> {
    let host = &session.name;
    let shipped = session.ship(source, image, &mut |&progress| {
        // That nobody listens any more is noticed with the next step.
        let _heard = tell(host, HostEvent::ImageProgress { image: image.to_owned(), progress });
        true
    })?;
    let _heard = tell(host, HostEvent::ImageShipped { image: image.to_owned(), shipped });
    Ok(())
}
