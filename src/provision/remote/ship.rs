//! An image on its way to a host: starts the two ends, and joins them.
//!
//! ```text
//! this machine's Engine ~ here ~~ ssh ~~> receiver
//! a host's Engine ~ sender ~~ ssh ~~> here ~~ ssh ~~> receiver       (relayed)
//! ```
//!
//! Both ends are programs of ours. When the image is of another host, bytes pass through here as
//! they are, and words go back; nothing of them is kept.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use super::connection::spawn;
use super::session::HostSession;
use super::talk::SSH_FAILED;
use crate::exit::Exit;
use crate::limits::{PROVISION_REQUEST_BYTES_MAX, SHIP_FRAME_BYTES};
use crate::provision::run::send::{ImageSource, ReceiverMessages, ShipError, ShipReport};
use crate::provision::ship::messages::{ImageRequest, ReceiverMessage};
use crate::provision::ship::progress::Progress;

/// The command of our programs that takes an image.
pub const RECEIVER: &str = "receive-image";
/// The one that sends it.
pub const SENDER: &str = "send-image";

/// Where an image comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// The Engine here, by its socket.
    Here(PathBuf),
    /// Another host's: the words that run [`SENDER`] there.
    There(Vec<String>),
}

impl HostSession<'_> {
    /// Sends `image`, a name with a tag, from `source` to the host's Engine: [`ship`]. `tell` gets
    /// each progress as far as it is known, and says whether to go on; Ctrl-C ends it, too.
    pub(crate) fn ship(
        &self,
        source: &Source,
        image: &str,
        tell: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<ShipReport, ShipError> {
        let interrupts = self.interrupts();
        ship(source, &self.words(RECEIVER), image, &mut |progress| {
            !interrupts.has_come() && progress.is_none_or(&mut *tell)
        })
        .map_err(|error| match error {
            // The terminal sends Ctrl-C to ssh as well, which may be seen first.
            ShipError::Cut if interrupts.has_come() => ShipError::Interrupted,
            error => error,
        })
    }
}

/// Sends `image`, a name with a tag, to where the words `receiver` run [`RECEIVER`]. `tell` hears
/// of each progress, as far as it can be told, and says whether to go on.
pub fn ship(
    source: &Source,
    receiver: &[String],
    image: &str,
    tell: &mut impl FnMut(Option<&Progress>) -> bool,
) -> Result<ShipReport, ShipError> {
    let begun = Instant::now();
    let mut once = |whole| match source {
        Source::Here(socket) => {
            let image_source = ImageSource::new(image, socket.clone())?;
            let (child, words, frames) = start(receiver)?;
            let shipped =
                image_source.ship(whole, (words, frames), &mut |progress| tell(Some(progress)));
            end(child, shipped)
        }
        Source::There(sender) => {
            let wanted = ImageRequest { image: image.to_owned(), whole };
            relay(sender, receiver, &wanted, &mut || tell(None))
        }
    };
    let mut shipped = match once(false) {
        Err(ShipError::Without(why) | ShipError::Files(why)) => {
            let mut shipped = once(true)?;
            shipped.why_whole = Some(format!("a first try failed: {why}"));
            shipped
        }
        other => other?,
    };
    shipped.took = begun.elapsed();
    Ok(shipped)
}

fn start(words: &[String]) -> Result<(Child, ChildStdout, ChildStdin), ShipError> {
    let mut child = spawn(words).map_err(|error| ShipError::Start(error.to_string()))?;
    let input = child.stdin.take().expect("it is piped");
    let output = child.stdout.take().expect("it is piped");
    Ok((child, output, input))
}

/// Waits for an end that has said its last word, and had its pipes closed.
fn end(mut child: Child, shipped: Result<ShipReport, ShipError>) -> Result<ShipReport, ShipError> {
    let status = child.wait();
    match shipped {
        Ok(_) if !status.is_ok_and(|status| status.success()) => Err(ShipError::Cut),
        other => other,
    }
}

// --- another host's image ---

/// Joins two programs: what the sender says behind the receiver's last word is its report.
fn relay(
    sender: &[String],
    receiver: &[String],
    wanted: &ImageRequest,
    go_on: &mut impl FnMut() -> bool,
) -> Result<ShipReport, ShipError> {
    let (mut sending, frames, mut back) = start(sender)?;
    let (receiving, words, forth) = start(receiver)?;
    let mut line = serde_json::to_vec(wanted).expect("it is text");
    line.push(b'\n');
    // A sender that has ended already is seen by the end of its output.
    let _seen = back.write_all(&line);
    let is_loaded = AtomicBool::new(false);
    let (report, heard) = thread::scope(|scope| {
        let hearing = scope.spawn(|| pass_words(words, back, &is_loaded));
        let report = pass_frames(frames, forth, &is_loaded, go_on);
        (report, hearing.join().expect("it does not panic"))
    });
    let shipped = match (report, heard) {
        (Err(error), _) | (_, Err(error)) => Err(error),
        (Ok(report), Ok(())) => serde_json::from_slice(&report).map_err(|_| ShipError::Cut),
    };
    let sent = sending.wait().ok().and_then(|status| status.code());
    end(receiving, shipped.map_err(|error| blame(sent, error)))
}

/// Why it failed, by how the sender ended.
fn blame(sent: Option<i32>, error: ShipError) -> ShipError {
    const FILES_UNUSABLE: i32 = Exit::FilesUnusable.code() as i32;
    match (sent, error) {
        (_, ShipError::Interrupted) => ShipError::Interrupted,
        // What the receiver says of it is only that nothing came any more.
        (Some(FILES_UNUSABLE), _) => {
            ShipError::Files("the files of the Engine that sends are not the image".to_owned())
        }
        (None | Some(SSH_FAILED), _) => ShipError::Cut,
        (Some(1..), ShipError::Cut) => ShipError::Here("why not, stands above".to_owned()),
        (_, error) => error,
    }
}

/// From the sender to the receiver, until either ends; what the sender says when the image is
/// there.
fn pass_frames(
    mut frames: ChildStdout,
    mut forth: ChildStdin,
    is_loaded: &AtomicBool,
    go_on: &mut impl FnMut() -> bool,
) -> Result<Vec<u8>, ShipError> {
    let mut space = vec![0; SHIP_FRAME_BYTES];
    let mut report = Vec::new();
    loop {
        let length = match frames.read(&mut space) {
            Ok(0) => return Ok(report),
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(_) => return Err(ShipError::Cut),
        };
        if !go_on() {
            return Err(ShipError::Interrupted);
        }
        if is_loaded.load(Ordering::Acquire) {
            if report.len() + length > PROVISION_REQUEST_BYTES_MAX {
                return Err(ShipError::Unexpected);
            }
            report.extend_from_slice(&space[..length]);
        } else if forth.write_all(&space[..length]).is_err() {
            // Why it takes no more is its last word.
            return Ok(report);
        }
    }
}

/// From the receiver to the sender: whether the image is there.
fn pass_words(
    words: ChildStdout,
    mut back: ChildStdin,
    is_loaded: &AtomicBool,
) -> Result<(), ShipError> {
    let mut words = ReceiverMessages::new(words);
    let mut held = 0;
    loop {
        let word = words.next_message().map_err(|error| error.without(held))?;
        if let ReceiverMessage::Have { layers, .. } = &word {
            held = *layers;
        }
        let is_last = matches!(word, ReceiverMessage::Loaded { .. });
        // Before the sender hears it: all that it sends from then on is its report.
        is_loaded.store(is_last, Ordering::Release);
        let mut line = serde_json::to_vec(&word).expect("a word is text and numbers");
        line.push(b'\n');
        if back.write_all(&line).is_err() {
            return Err(ShipError::Cut);
        }
        if is_last {
            return Ok(());
        }
    }
}
