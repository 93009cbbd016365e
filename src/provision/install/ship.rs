//! Sends an image of an Engine here to the Engine of another host.
//!
//! One thread reads the archive and leaves out what the other side has, this one packs and sends.
//! Between the two are [`SHIP_PIECES_AHEAD`] pieces. Nothing is written to a disk here.

use std::fmt;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Copied, Remote, RemoteError, spawn};
use crate::base::lines::Lines;
use crate::docker::{Error, call};
use crate::limits::{
    PROVISION_REQUEST_BYTES_MAX, SHIP_FRAME_BYTES, SHIP_PIECES_AHEAD, SHIP_PROGRESS_INTERVAL,
};
use crate::provision::run::docker::{Download, Engine};
use crate::provision::ship::frame::Packer;
use crate::provision::ship::layers::Layers;
use crate::provision::ship::progress::{Progress, mib};
use crate::provision::ship::sieve::Sieve;
use crate::provision::ship::words::{Offer, Word, known, layer_sizes};

/// The command of the copied program that takes an image.
const RECEIVER: &str = "receive-image";

/// An image that is on the host under its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipped {
    /// Its id here.
    pub id: String,
    /// Its layers.
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
    /// The Engine here: its words.
    Here(String),
    /// The host: its words.
    There(String),
    /// The way there.
    Remote(RemoteError),
    /// What arrived is not what was sent, by their SHA-256.
    Hash,
}

/// What is to be sent.
struct Cargo {
    engine: Engine,
    offer: Offer,
    /// Bytes of each layer, where that is known.
    sizes: Option<Vec<u64>>,
    size: u64,
}

/// The receiver, which hears us and says words.
struct Receiving {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    lines: Lines,
}

impl Remote {
    /// Sends `image`, a name with a tag, from the Engine here to the host's, and hands each
    /// progress to `tell`. The copy stays.
    ///
    /// # Errors
    /// [`ShipError`]; the same call again begins anew.
    pub fn ship(
        &self,
        copy: &Copied,
        image: &str,
        docker_socket: &Path,
        mut tell: impl FnMut(&Progress),
    ) -> Result<Shipped, ShipError> {
        let begun = Instant::now();
        let mut cargo = Cargo::new(image, docker_socket.to_owned())?;
        let (mut shipped, had) = match self.try_ship(copy, &cargo, &mut tell) {
            Err((ShipError::There(error), held)) if held > 0 => {
                cargo.offer.whole = true;
                let (mut shipped, had) =
                    self.try_ship(copy, &cargo, &mut tell).map_err(|(error, _)| error)?;
                shipped.why_whole = Some(format!("a try without the layers there failed: {error}"));
                (shipped, had)
            }
            other => other.map_err(|(error, _)| error)?,
        };
        if shipped.why_whole.is_none() && shipped.sent + had > shipped.layers {
            shipped.why_whole = Some("the archive of the Engine here does not tell them".into());
        }
        shipped.took = begun.elapsed();
        Ok(shipped)
    }

    /// One try. With the image comes, and with a failure, how many layers are there.
    fn try_ship(
        &self,
        copy: &Copied,
        cargo: &Cargo,
        tell: &mut impl FnMut(&Progress),
    ) -> Result<(Shipped, usize), (ShipError, usize)> {
        let none = |error: ShipError| (error, 0);
        let words = self.ssh.run_on(copy, RECEIVER);
        let mut receiving = Receiving::start(&words, &cargo.offer).map_err(none)?;
        let Word::Have { layers: held, is_there, why_whole } = receiving.word().map_err(none)?
        else {
            return Err(none(ShipError::Remote(RemoteError::Report)));
        };
        let layers = cargo.offer.layers.len();
        let mut shipped = Shipped {
            id: cargo.offer.id.clone(),
            layers,
            sent: 0,
            plain_bytes: 0,
            wire_bytes: 0,
            sha256: String::new(),
            why_whole,
            took: Duration::ZERO,
        };
        if !is_there {
            cargo.send(held, &mut receiving, &mut shipped, tell).map_err(|error| (error, held))?;
        }
        let result = receiving.result(&shipped.sha256).map_err(|error| (error, held));
        result.map(|()| (shipped, if is_there { layers } else { held }))
    }
}

impl Cargo {
    fn new(image: &str, socket: PathBuf) -> Result<Cargo, ShipError> {
        let here = |error: Error| ShipError::Here(format!("docker: {error}"));
        let engine = Engine { socket };
        let found = engine.ask(&call::image_inspect(image)).and_then(known).map_err(here)?;
        let Some(found) = found else {
            let text = format!("there is no image {image} here; convocate install builds it");
            return Err(ShipError::Here(text));
        };
        let history = engine.ask(&call::image_history(&found.id)).map_err(here)?;
        let sizes = layer_sizes(history, found.layers.len());
        let (id, layers) = (found.id, found.layers);
        let offer = Offer { id, name: image.to_owned(), layers, whole: false };
        offer.check().map_err(ShipError::Here)?;
        Ok(Cargo { engine, offer, sizes, size: found.size })
    }

    /// Bytes that an archive without the lowest `held` layers has, about.
    fn expected_bytes(&self, held: usize) -> Option<u64> {
        match (&self.sizes, held) {
            (Some(sizes), held) => Some(sizes[held.min(sizes.len())..].iter().sum()),
            (None, 0) => Some(self.size),
            (None, _) => None,
        }
    }

    /// Sends the archive without the lowest `held` layers.
    fn send(
        &self,
        held: usize,
        receiving: &mut Receiving,
        shipped: &mut Shipped,
        tell: &mut impl FnMut(&Progress),
    ) -> Result<(), ShipError> {
        let here = |error: Error| ShipError::Here(format!("docker: {error}"));
        let archive = self.engine.open(&call::image_save(&self.offer.id)).map_err(here)?;
        if archive.status() != 200 {
            let refused = archive.whole().and_then(crate::docker::Response::accepted);
            return Err(here(refused.err().unwrap_or(Error::Closed)));
        }
        let sieve = Sieve::new(Layers::new(self.offer.layers.clone(), held));
        let expected_bytes = self.expected_bytes(held);
        let (sender, pieces) = sync_channel(SHIP_PIECES_AHEAD);
        thread::scope(|scope| {
            let reader = scope.spawn(move || read_archive(archive, sieve, &sender));
            // A failure drops the pieces, which ends the thread with its next one.
            let packer = send_pieces(pieces, expected_bytes, receiving, shipped, tell);
            let left_out = reader.join().expect("it does not panic");
            let packer = packer?;
            shipped.sent = shipped.layers.saturating_sub(left_out.map_err(ShipError::Here)?);
            shipped.plain_bytes = packer.plain_bytes();
            let mut end = Vec::new();
            shipped.sha256 = packer.finish(&mut end);
            shipped.wire_bytes += end.len() as u64;
            receiving.send(&end)
        })
    }
}

/// Reads the archive to its end, without the layers that are there; how many those were.
fn read_archive(
    mut archive: Download,
    mut sieve: Sieve,
    pieces: &SyncSender<Vec<u8>>,
) -> Result<usize, String> {
    let mut space = vec![0; SHIP_FRAME_BYTES];
    let mut piece = Vec::new();
    loop {
        let length = archive.read(&mut space).map_err(|error| format!("docker: {error}"))?;
        sieve.push(&space[..length], &mut piece).map_err(|fault| fault.to_string())?;
        if piece.len() >= SHIP_FRAME_BYTES || length == 0 {
            let full = std::mem::replace(&mut piece, Vec::with_capacity(2 * SHIP_FRAME_BYTES));
            if pieces.send(full).is_err() {
                return Err("nobody takes the archive any more".to_owned());
            }
        }
        if length == 0 {
            sieve.finish().map_err(|fault| fault.to_string())?;
            return Ok(sieve.left_out());
        }
    }
}

/// Packs and sends pieces until there are no more.
fn send_pieces(
    pieces: Receiver<Vec<u8>>,
    expected_bytes: Option<u64>,
    receiving: &mut Receiving,
    shipped: &mut Shipped,
    tell: &mut impl FnMut(&Progress),
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
            tell(&Progress { plain_bytes, wire_bytes, expected_bytes, took });
        }
    }
    Ok(packer)
}

impl Receiving {
    fn start(words: &[String], offer: &Offer) -> Result<Receiving, ShipError> {
        let mut child = spawn(words).map_err(ShipError::Remote)?;
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        let lines = Lines::new(PROVISION_REQUEST_BYTES_MAX);
        let mut receiving = Receiving { child, input, output, lines };
        let mut line = serde_json::to_vec(offer).expect("an offer is text and numbers");
        line.push(b'\n');
        receiving.send(&line)?;
        Ok(receiving)
    }

    /// Sends, or says why that was not taken.
    fn send(&mut self, bytes: &[u8]) -> Result<(), ShipError> {
        if self.input.write_all(bytes).is_ok() {
            return Ok(());
        }
        Err(self.word().err().unwrap_or(ShipError::Remote(RemoteError::Cut)))
    }

    /// The next word; a failure is an error.
    fn word(&mut self) -> Result<Word, ShipError> {
        let cut = |_| ShipError::Remote(RemoteError::Cut);
        let wrong = || ShipError::Remote(RemoteError::Report);
        let mut piece = [0];
        loop {
            // Byte by byte: there are three lines, and what is behind one stays for the next.
            if self.output.read(&mut piece).map_err(cut)? == 0 {
                return Err(ShipError::Remote(RemoteError::Cut));
            }
            self.lines.push(&piece).map_err(|_| wrong())?;
            let Some(line) = self.lines.next_line() else { continue };
            match serde_json::from_slice(&line) {
                Ok(Word::Failed { error }) => return Err(ShipError::There(error)),
                Ok(word) => return Ok(word),
                // What a login shell says of itself is no word.
                Err(_) if !line.starts_with(b"{") => {}
                Err(_) => return Err(wrong()),
            }
        }
    }

    /// The end: whether the image is there, and arrived as it was sent.
    fn result(mut self, sent: &str) -> Result<(), ShipError> {
        let word = self.word()?;
        drop(self.input);
        let status = self.child.wait();
        match word {
            Word::Loaded { sha256, .. } if sha256 != sent => Err(ShipError::Hash),
            Word::Loaded { .. } if status.is_ok_and(|status| status.success()) => Ok(()),
            _ => Err(ShipError::Remote(RemoteError::Cut)),
        }
    }
}

impl Shipped {
    /// What happened, in a line.
    pub fn text(&self) -> String {
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
            ShipError::Here(text) => write!(out, "cannot send the image: {text}"),
            ShipError::There(text) => write!(out, "the image was not taken: {text}"),
            ShipError::Remote(error) => error.fmt(out),
            ShipError::Hash => out.write_str(
                "the image that arrived is not the one that was sent, by its SHA-256; call again",
            ),
        }
    }
}

impl std::error::Error for ShipError {}
