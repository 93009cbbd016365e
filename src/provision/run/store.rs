//! Reads what is to be sent of an image from its Engine's own files, which root may.
//!
//! ```text
//! looked (all parts are there, lengths are known) -> poured
//! ```
//!
//! Nothing is packed and nothing is read that is not sent. What is poured is proved layer by layer,
//! by the digests; where that fails, the transfer does, and the Engine is asked for the archive.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::SyncSender;

use sha2::{Digest, Sha256};

use super::docker::Engine;
use crate::base::ustar;
use crate::docker::call;
use crate::io::disk::{Beneath, Links, read_bounded};
use crate::limits::{
    SHIP_CONFIGURATION_BYTES_MAX, SHIP_FRAME_BYTES, SHIP_INDEX_LINE_BYTES_MAX, SHIP_NAME_BYTES_MAX,
};
use crate::provision::ship::messages::Offer;
use crate::provision::ship::split::Piece;
use crate::provision::ship::store::{
    Store, archive_head, chain_ids, digest_of, layer_head, text_of,
};

/// The parts of an image that are to be sent.
#[derive(Debug)]
pub(super) struct Stored {
    head: Vec<u8>,
    layers: Vec<Layer>,
    left_out: usize,
}

#[derive(Debug)]
struct Layer {
    digest: String,
    index: PathBuf,
    files: Beneath,
    /// Of its archive, in bytes.
    length: u64,
}

impl Stored {
    /// Looks for all parts but the lowest `held` layers. `None` if one is not where it would be, or
    /// not for us to read.
    pub(super) fn look(engine: &Engine, offer: &Offer, held: usize) -> Option<Stored> {
        let store = Store::of(engine.ask(&call::info()).ok()?)?;
        let path = store.configuration(&offer.id);
        let configuration =
            read_bounded(&path, SHIP_CONFIGURATION_BYTES_MAX, Links::Refuse).ok()?;
        if digest_of(&configuration) != offer.id {
            return None;
        }
        let held = held.min(offer.layers.len());
        let mut wanted: BTreeSet<&String> = offer.layers[held..].iter().collect();
        let left_out = offer.layers[..held].iter().filter(|it| !wanted.contains(it)).count();
        let mut layers = Vec::new();
        for (digest, chain) in offer.layers.iter().zip(chain_ids(&offer.layers)) {
            // One that is needed twice stands in the archive once.
            if wanted.remove(digest) {
                layers.push(Layer::look(&store, digest, &chain)?);
            }
        }
        let head = archive_head(&offer.id, &configuration, &offer.layers);
        Some(Stored { head, layers, left_out })
    }

    /// Bytes of the archive, about.
    pub(super) fn length(&self) -> u64 {
        self.layers.iter().map(|layer| layer.length).sum()
    }

    /// Hands out the archive in pieces; how many layers it does not have.
    ///
    /// # Errors
    /// One sentence. What was handed out is then of no use.
    pub(super) fn pour(self, pieces: &SyncSender<Vec<u8>>) -> Result<usize, String> {
        let mut outlet = Outlet { pieces, piece: Vec::with_capacity(2 * SHIP_FRAME_BYTES) };
        outlet.put(&self.head)?;
        for layer in &self.layers {
            layer.pour(&mut outlet)?;
        }
        outlet.put(&ustar::END)?;
        outlet.pass()?;
        Ok(self.left_out)
    }
}

impl Layer {
    fn look(store: &Store, digest: &str, chain: &str) -> Option<Layer> {
        let places = store.layer(chain);
        let cache_id = read_bounded(&places.cache_id, SHIP_NAME_BYTES_MAX, Links::Refuse).ok()?;
        let files = Beneath::open(&store.files(&cache_id)?).ok()?;
        let mut length = 0_u64;
        each_piece(&places.index, |piece| {
            length = length.saturating_add(piece.length());
            Ok(())
        })
        .ok()?;
        layer_head(digest, length)?;
        Some(Layer { digest: digest.to_owned(), index: places.index, files, length })
    }

    fn pour(&self, outlet: &mut Outlet<'_>) -> Result<(), String> {
        let head = layer_head(&self.digest, self.length).expect("it was looked at");
        outlet.put(&head)?;
        let (mut hash, mut length) = (Sha256::new(), 0);
        each_piece(&self.index, |piece| {
            length += piece.length();
            match piece {
                Piece::Bytes(bytes) => {
                    hash.update(&bytes);
                    outlet.put(&bytes)
                }
                Piece::File { name, length } => {
                    let file = self.files.file(&name).map_err(|error| error.to_string())?;
                    outlet
                        .copy(file, length, &mut hash)
                        .map_err(|why| format!("{}: {why}", name.display()))
                }
            }
        })?;
        if length != self.length || text_of(&hash.finalize()) != self.digest {
            return Err(format!("the Engine's files are not its layer {}", self.digest));
        }
        outlet.put(ustar::padding(length))
    }
}

/// Where pieces go: each of a frame or a little more.
struct Outlet<'a> {
    pieces: &'a SyncSender<Vec<u8>>,
    piece: Vec<u8>,
}

impl Outlet<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.piece.extend_from_slice(bytes);
        self.pass_if_full()
    }

    /// All of a file, which must be so long.
    fn copy(&mut self, mut file: File, length: u64, hash: &mut Sha256) -> Result<(), String> {
        let mut left = length;
        while left > 0 {
            let from = self.piece.len();
            let share = usize::try_from(left).unwrap_or(usize::MAX).min(SHIP_FRAME_BYTES);
            self.piece.resize(from + share, 0);
            let read = file.read(&mut self.piece[from..]);
            let read = read.map_err(|error| error.to_string())?;
            if read == 0 {
                return Err(format!("{left} bytes less than the {length} of its layer"));
            }
            self.piece.truncate(from + read);
            hash.update(&self.piece[from..]);
            left -= read as u64;
            self.pass_if_full()?;
        }
        Ok(())
    }

    fn pass_if_full(&mut self) -> Result<(), String> {
        if self.piece.len() < SHIP_FRAME_BYTES { Ok(()) } else { self.pass() }
    }

    fn pass(&mut self) -> Result<(), String> {
        let empty = Vec::with_capacity(2 * SHIP_FRAME_BYTES);
        let full = std::mem::replace(&mut self.piece, empty);
        self.pieces.send(full).map_err(|_| "nobody takes the archive any more".to_owned())
    }
}

/// Reads a layer's index, which gzip unpacks.
fn each_piece(index: &Path, take: impl FnMut(Piece) -> Result<(), String>) -> Result<(), String> {
    let file = File::open(index).map_err(|error| format!("{}: {error}", index.display()))?;
    let mut gzip = Command::new("gzip")
        .arg("-dc")
        .stdin(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("gzip: {error}"))?;
    let lines = BufReader::new(gzip.stdout.take().expect("it is piped"));
    let read = each_line(lines, take);
    // Behind a failure it may have more to say than a pipe holds.
    if read.is_err() {
        let _gone = gzip.kill();
    }
    let status = gzip.wait().map_err(|error| format!("gzip: {error}"))?;
    read?;
    if status.success() { Ok(()) } else { Err(format!("gzip of {}: {status}", index.display())) }
}

fn each_line(
    mut lines: BufReader<ChildStdout>,
    mut take: impl FnMut(Piece) -> Result<(), String>,
) -> Result<(), String> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut lines).take(SHIP_INDEX_LINE_BYTES_MAX as u64);
        let length = bounded.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        if length == 0 {
            return Ok(());
        }
        if length == SHIP_INDEX_LINE_BYTES_MAX {
            return Err("a layer's index has a line that is too long".to_owned());
        }
        if let Some(piece) = Piece::parse(&line)? {
            take(piece)?;
        }
    }
}
