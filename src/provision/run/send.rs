//! Sends an image of the Engine here to a receiver, wherever that is.
//!
//! ```text
//! offer -> what is there -> frames without that -> the image has its name there
//! ```
//!
//! One thread reads the Engine's archive and leaves out what the other side has, this one packs and
//! sends; between the two are [`SHIP_PIECES_AHEAD`] pieces. An Engine names the layers of an
//! archive behind them, so an archive of which something is left out is read twice. Nothing is
//! written to a disk here.

use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::archive;
use super::docker::{DockerEngine, Download};
use crate::base::lines::Lines;
use crate::base::ustar;
use crate::docker::{DockerError, call};
use crate::limits::{
    PROVISION_REQUEST_BYTES_MAX, SHIP_FRAME_BYTES, SHIP_PIECES_AHEAD, SHIP_PROGRESS_INTERVAL,
};
use crate::provision::ship::archive::divide;
use crate::provision::ship::frame::Packer;
use crate::provision::ship::layer_filter::LayerFilter;
use crate::provision::ship::messages::{ImageOffer, ReceiverMessage, inspected};
use crate::provision::ship::progress::{Progress, mib};

/// An image that is on the host under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShipReport {
    pub id: String,
    pub layers: usize,
    /// Those that were sent.
    pub sent: usize,
    /// Bytes of the archive that was sent.
    pub plain_bytes: u64,
    /// Bytes that went to the host.
    pub wire_bytes: u64,
    /// SHA-256 of the archive at both ends; empty if none was sent.
    pub sha256: String,
    /// Why layers that are there were sent all the same, if they were.
    pub why_whole: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// Why an image is not on the host under its name, which means what it did before.
#[derive(Debug)]
pub enum ShipError {
    /// A program at one of the ends could not be started.
    Start(String),
    /// The Engine here: its words.
    Here(String),
    /// The host: its words.
    There(String),
    /// The same, of an archive without the layers that are there: a whole one may be taken.
    Without(String),
    /// A sender of an older version cannot use the files of its Engine: it can send all.
    Files(String),
    /// The connection was lost.
    Cut,
    /// It says something that is no word of these.
    Unexpected,
    /// The operator wants it to end.
    Interrupted,
    /// What arrived is not what was sent, by their SHA-256.
    Hash,
}

/// An image that is to be sent.
pub(crate) struct ImageSource {
    engine: DockerEngine,
    offer: ImageOffer,
    /// Bytes of all layers, by the Engine's count.
    size: u64,
}

/// What is sent of the Engine's archive.
struct Content {
    /// Stands before all else.
    head: Vec<u8>,
    /// What passes behind that; all if there is none.
    filter: Option<LayerFilter>,
    /// Layers that are not sent.
    left_out: usize,
    /// Bytes of it, about.
    bytes: u64,
}

/// The receiver, which hears us and says words.
struct ReceiverLink<R, W> {
    output: W,
    words: ReceiverMessages<R>,
}

/// What a receiver says.
pub(crate) struct ReceiverMessages<R> {
    input: R,
    lines: Lines,
}

impl ImageSource {
    /// Looks for an image of the Engine that listens at `socket`.
    ///
    /// # Errors
    /// [`ShipError::Here`].
    pub(crate) fn new(image: &str, socket: PathBuf) -> Result<ImageSource, ShipError> {
        let here = |error: DockerError| ShipError::Here(format!("docker: {error}"));
        let engine = DockerEngine { socket };
        let found = engine.ask(&call::image_inspect(image)).and_then(inspected).map_err(here)?;
        let Some(found) = found else {
            let text = format!("there is no image {image} here; convocate install builds it");
            return Err(ShipError::Here(text));
        };
        let (id, layers) = (found.id, found.layers);
        let offer = ImageOffer { id, name: image.to_owned(), layers, whole: false };
        offer.check().map_err(ShipError::Here)?;
        Ok(ImageSource { engine, offer, size: found.size })
    }

    /// Offers the image to a receiver, all of it if `whole`, sends what that lacks, and hands each
    /// progress to `tell`, which says whether to go on.
    ///
    /// # Errors
    /// [`ShipError`]; the same call with another receiver begins anew.
    pub(crate) fn ship(
        &self,
        whole: bool,
        (input, output): (impl Read, impl Write),
        tell: &mut impl FnMut(&Progress) -> bool,
    ) -> Result<ShipReport, ShipError> {
        let offer = ImageOffer { whole, ..self.offer.clone() };
        let mut receiving = ReceiverLink { output, words: ReceiverMessages::new(input) };
        let mut line = serde_json::to_vec(&offer).expect("an offer is text and numbers");
        line.push(b'\n');
        receiving.send(&line)?;
        let ReceiverMessage::Have { layers: held, is_there, why_whole } =
            receiving.words.next_message()?
        else {
            return Err(ShipError::Unexpected);
        };
        let layers = offer.layers.len();
        let mut shipped = ShipReport {
            id: offer.id,
            layers,
            sent: 0,
            plain_bytes: 0,
            wire_bytes: 0,
            sha256: String::new(),
            why_whole,
            took: Duration::ZERO,
        };
        let done = match is_there {
            true => Ok(()),
            false => self.send(held, &mut receiving, &mut shipped, tell),
        };
        let done = done.and_then(|()| match receiving.words.next_message()? {
            ReceiverMessage::Loaded { sha256, .. } if sha256 != shipped.sha256 => {
                Err(ShipError::Hash)
            }
            ReceiverMessage::Loaded { .. } => Ok(()),
            _ => Err(ShipError::Unexpected),
        });
        done.map_err(|error| error.without(held))?;
        if !is_there && shipped.why_whole.is_none() && shipped.sent + held > layers {
            shipped.why_whole = Some("the archive of the Engine here does not tell them".into());
        }
        Ok(shipped)
    }

    /// What is to be sent to a receiver that has the lowest `held` layers. Without any, and where
    /// the Engine's archive does not tell the layers, that is the archive as it is.
    fn content(&self, held: usize) -> Result<Content, ShipError> {
        let layers = &self.offer.layers;
        if held > 0
            && let Some(image) =
                archive::scan(&self.engine, &self.offer.id, layers).map_err(ShipError::Here)?
        {
            let (left_out, sent) = divide(layers, held);
            return Ok(Content {
                head: image.archive_head(layers),
                filter: Some(LayerFilter::new(image.files(&sent))),
                left_out: layers.iter().filter(|layer| left_out.contains(*layer)).count(),
                bytes: image.size(&sent),
            });
        }
        Ok(Content { head: Vec::new(), filter: None, left_out: 0, bytes: self.size })
    }

    /// Sends the archive without the lowest `held` layers.
    fn send(
        &self,
        held: usize,
        receiving: &mut ReceiverLink<impl Read, impl Write>,
        shipped: &mut ShipReport,
        tell: &mut impl FnMut(&Progress) -> bool,
    ) -> Result<(), ShipError> {
        let content = self.content(held)?;
        let (left_out, expected_bytes) = (content.left_out, Some(content.bytes));
        let archive = archive::open(&self.engine, &self.offer.id).map_err(ShipError::Here)?;
        let (sender, pieces) = sync_channel(SHIP_PIECES_AHEAD);
        thread::scope(|scope| {
            let reader = scope.spawn(move || content.read(archive, &sender));
            // A failure drops the pieces, which ends the thread with its next one.
            let packer = send_pieces(pieces, expected_bytes, receiving, shipped, tell);
            let read = reader.join().expect("it does not panic");
            let packer = packer?;
            read.map_err(ShipError::Here)?;
            shipped.sent = shipped.layers.saturating_sub(left_out);
            shipped.plain_bytes = packer.plain_bytes();
            let mut end = Vec::new();
            shipped.sha256 = packer.finish(&mut end);
            shipped.wire_bytes += end.len() as u64;
            receiving.send(&end)
        })
    }
}

impl Content {
    /// Reads the Engine's archive to its end, and hands out what is to be sent.
    fn read(mut self, archive: Download, pieces: &SyncSender<Vec<u8>>) -> Result<(), String> {
        let mut piece = std::mem::take(&mut self.head);
        archive::each_piece(archive, |bytes| {
            let is_end = bytes.is_empty();
            match &mut self.filter {
                None => piece.extend_from_slice(bytes),
                Some(filter) => {
                    let pushed = filter.push(bytes, &mut piece);
                    pushed.map_err(|fault| fault.to_string())?;
                    if is_end {
                        filter.finish().map_err(|fault| fault.to_string())?;
                        piece.extend_from_slice(&ustar::END);
                    }
                }
            }
            if piece.len() < SHIP_FRAME_BYTES && !is_end {
                return Ok(());
            }
            let full = std::mem::replace(&mut piece, Vec::with_capacity(2 * SHIP_FRAME_BYTES));
            pieces.send(full).map_err(|_| "nobody takes the archive any more".to_owned())
        })
    }
}

/// Packs and sends pieces until there are no more.
fn send_pieces(
    pieces: Receiver<Vec<u8>>,
    expected_bytes: Option<u64>,
    receiving: &mut ReceiverLink<impl Read, impl Write>,
    shipped: &mut ShipReport,
    tell: &mut impl FnMut(&Progress) -> bool,
) -> Result<Packer, ShipError> {
    let (mut packer, mut packed) = (Packer::default(), Vec::new());
    let mut begun: Option<Instant> = None;
    let mut told = Duration::ZERO;
    for piece in pieces {
        // The Engine is silent while it packs; a rate counts from its first byte.
        let begun = *begun.get_or_insert_with(Instant::now);
        packed.clear();
        packer.pack(&piece, &mut packed);
        receiving.send(&packed)?;
        shipped.wire_bytes += packed.len() as u64;
        let took = begun.elapsed();
        if took - told >= SHIP_PROGRESS_INTERVAL {
            told = took;
            let (plain_bytes, wire_bytes) = (packer.plain_bytes(), shipped.wire_bytes);
            if !tell(&Progress { plain_bytes, wire_bytes, expected_bytes, took }) {
                return Err(ShipError::Interrupted);
            }
        }
    }
    Ok(packer)
}

impl<R: Read, W: Write> ReceiverLink<R, W> {
    /// Sends, or says why that was not taken.
    fn send(&mut self, bytes: &[u8]) -> Result<(), ShipError> {
        if self.output.write_all(bytes).and_then(|()| self.output.flush()).is_ok() {
            return Ok(());
        }
        Err(self.words.next_message().err().unwrap_or(ShipError::Cut))
    }
}

impl<R: Read> ReceiverMessages<R> {
    /// None has been heard yet.
    pub(crate) fn new(input: R) -> ReceiverMessages<R> {
        ReceiverMessages { input, lines: Lines::new(PROVISION_REQUEST_BYTES_MAX) }
    }

    /// The next word; a failure is an error.
    ///
    /// # Errors
    /// [`ShipError`].
    pub(crate) fn next_message(&mut self) -> Result<ReceiverMessage, ShipError> {
        loop {
            let line = self.line()?;
            match serde_json::from_slice(&line) {
                Ok(ReceiverMessage::Failed { error }) => return Err(ShipError::There(error)),
                Ok(word) => return Ok(word),
                // What a login shell says of itself is no word.
                Err(_) if !line.starts_with(b"{") => {}
                Err(_) => return Err(ShipError::Unexpected),
            }
        }
    }

    /// Byte by byte: there are three lines, and what is behind one stays for the next.
    fn line(&mut self) -> Result<Vec<u8>, ShipError> {
        let mut piece = [0];
        loop {
            match self.input.read(&mut piece) {
                Ok(1..) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Ok(0) | Err(_) => return Err(ShipError::Cut),
            }
            self.lines.push(&piece).map_err(|_| ShipError::Unexpected)?;
            if let Some(line) = self.lines.next_line() {
                return Ok(line);
            }
        }
    }
}

impl ShipError {
    /// The same, when that many layers were left out.
    pub(crate) fn without(self, held: usize) -> ShipError {
        match self {
            ShipError::There(text) if held > 0 => ShipError::Without(text),
            other => other,
        }
    }
}

impl ShipReport {
    /// What happened, in a line.
    pub(crate) fn text(&self) -> String {
        let seconds = self.took.as_secs_f64();
        let mut text = match self.sent {
            0 if self.sha256.is_empty() => format!("is there ({seconds:.1} s)"),
            sent => format!(
                "{sent} of {} layers sent, {} MiB as {} MiB in {seconds:.1} s",
                self.layers,
                mib(self.plain_bytes),
                mib(self.wire_bytes),
            ),
        };
        if let Some(why) = &self.why_whole {
            text.push_str(&format!("; all layers, for {why}"));
        }
        text
    }
}

impl fmt::Display for ShipError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShipError::Here(text) | ShipError::Files(text) => {
                write!(out, "cannot send the image: {text}")
            }
            ShipError::There(text) | ShipError::Without(text) => {
                write!(out, "the image was not taken: {text}")
            }
            ShipError::Start(text) => out.write_str(text),
            ShipError::Cut => out.write_str(
                "the connection was lost; the image's name means there what it did before, and \
                 the same call sends it anew",
            ),
            ShipError::Unexpected => {
                out.write_str("it says something of the image that is no word")
            }
            ShipError::Interrupted => out.write_str(
                "interrupted; the image's name means there what it did before, and the same call \
                 sends it anew",
            ),
            ShipError::Hash => out.write_str(
                "the image that arrived is not the one that was sent, by its SHA-256; call again",
            ),
        }
    }
}

impl std::error::Error for ShipError {}
