//! Takes an image that is sent here, and gives it its name when it is what was offered.
//!
//! ```text
//! look what is there -> say so -> frames into the Engine -> compare -> name
//! ```
//!
//! The Engine gets the end of the archive only after its SHA-256 was right; one that is cut short
//! is dropped by it. The name is given last.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use super::archive;
use super::docker::{DockerEngine, Upload};
use crate::docker::{DockerError, call};
use crate::limits::{DOCKER_STREAM_BYTES, SHIP_IMAGES_MAX};
use crate::provision::ship::archive::divide;
use crate::provision::ship::frame::{Unpacked, Unpacker};
use crate::provision::ship::layer_filter::LayerFilter;
use crate::provision::ship::messages::{
    ImageOffer, InspectedImage, ReceiverMessage, inspected, is_containerd_store, loaded_id,
};
use crate::provision::ship::tar::TarFault;

/// Takes an offered image from `input`, and says what comes of it on `output`: whether that is the
/// image under its name.
///
/// # Errors
/// When nobody reads what is said. Everything else is said.
pub(crate) fn receive(
    offer: &ImageOffer,
    docker_socket: PathBuf,
    mut input: impl Read,
    mut output: impl Write,
) -> io::Result<bool> {
    let engine = DockerEngine { socket: docker_socket };
    let last = match take(&engine, offer, &mut input, &mut output) {
        Ok(word) => word,
        Err(ReceiveError::Output(error)) => return Err(error),
        Err(ReceiveError::Failed(error)) => ReceiverMessage::Failed { error },
    };
    send_message(&mut output, &last)?;
    Ok(matches!(last, ReceiverMessage::Loaded { .. }))
}

enum ReceiveError {
    /// Nobody reads.
    Output(io::Error),
    Failed(String),
}

impl From<DockerError> for ReceiveError {
    fn from(error: DockerError) -> ReceiveError {
        ReceiveError::Failed(format!("docker: {error}"))
    }
}

impl From<String> for ReceiveError {
    fn from(text: String) -> ReceiveError {
        ReceiveError::Failed(text)
    }
}

fn take(
    engine: &DockerEngine,
    offer: &ImageOffer,
    input: &mut impl Read,
    output: &mut impl Write,
) -> Result<ReceiverMessage, ReceiveError> {
    let (name, tag) = offer.check()?;
    let is_there = inspect(engine, &offer.id)?.is_some();
    let mut have = ReceiverMessage::Have { layers: 0, is_there, why_whole: None };
    let mut own = None;
    if !offer.whole
        && !is_there
        && let Some((image, held)) = nearest_image(engine, offer)?
    {
        let (mut layers, mut why_whole) = (held, None);
        if is_containerd_store(engine.ask(&call::info())?)? {
            match OwnLayers::look(engine, offer, &image, held) {
                Ok(found) => own = Some(found),
                Err(why) => (layers, why_whole) = (0, Some(why)),
            }
        }
        have = ReceiverMessage::Have { layers, is_there, why_whole };
    }
    send_message(output, &have).map_err(ReceiveError::Output)?;
    let (id, sha256, bytes) = match is_there {
        true => (offer.id.clone(), String::new(), 0),
        false => load(engine, offer, own, input)?,
    };
    engine.ask(&call::image_tag(&id, name, tag))?.accepted()?;
    Ok(ReceiverMessage::Loaded { sha256, bytes })
}

/// The image that has most of the offered image's lowest layers, and how many those are.
fn nearest_image(
    engine: &DockerEngine,
    offer: &ImageOffer,
) -> Result<Option<(InspectedImage, usize)>, DockerError> {
    let mut nearest: Option<(InspectedImage, usize)> = None;
    for image in engine.ask(&call::all_images())?.images()?.iter().take(SHIP_IMAGES_MAX) {
        // One that is removed meanwhile has none.
        if let Some(image) = inspect(engine, &image.id)? {
            let held = offer.common(&image.layers);
            if held > nearest.as_ref().map_or(0, |(_, most)| *most) {
                nearest = Some((image, held));
            }
        }
    }
    Ok(nearest)
}

fn inspect(engine: &DockerEngine, id: &str) -> Result<Option<InspectedImage>, DockerError> {
    inspected(engine.ask(&call::image_inspect(id))?)
}

/// Layers that the Engine has, and that an archive must have all the same: containerd's store takes
/// none that lacks one. So they come from an archive of an image that is there.
struct OwnLayers {
    /// The image that has them.
    id: String,
    filter: LayerFilter,
}

impl OwnLayers {
    /// The lowest `held` layers of the offered image, as `image` has them.
    ///
    /// # Errors
    /// One sentence, if the Engine cannot hand them out.
    fn look(
        engine: &DockerEngine,
        offer: &ImageOffer,
        image: &InspectedImage,
        held: usize,
    ) -> Result<OwnLayers, String> {
        let why = |error: &str| format!("the Engine there cannot hand out its own layers: {error}");
        let found = archive::scan(engine, &image.id, &image.layers).map_err(|error| why(&error))?;
        let found = found.ok_or_else(|| why("its archive does not tell them"))?;
        let (lower, _) = divide(&offer.layers, held);
        Ok(OwnLayers { id: image.id.clone(), filter: LayerFilter::new(found.files(&lower)) })
    }

    /// Puts the layers into an archive that the Engine is taking.
    fn copy(mut self, engine: &DockerEngine, upload: &mut Upload) -> Result<(), ReceiveError> {
        let mut piece = Vec::new();
        let fault = |fault: TarFault| ReceiveError::Failed(fault.to_string());
        archive::each_piece(archive::open(engine, &self.id)?, |bytes| {
            piece.clear();
            self.filter.push(bytes, &mut piece).map_err(fault)?;
            Ok::<_, ReceiveError>(upload.write(&piece)?)
        })?;
        self.filter.finish().map_err(fault)
    }
}

/// Brings what is sent into the Engine, behind its own layers where they are needed: the image's id
/// there, and hash and length of what was sent.
fn load(
    engine: &DockerEngine,
    offer: &ImageOffer,
    own: Option<OwnLayers>,
    input: &mut impl Read,
) -> Result<(String, String, u64), ReceiveError> {
    let mut upload = engine.send(&call::image_load(), "application/x-tar")?;
    if let Some(own) = own {
        own.copy(engine, &mut upload)?;
    }
    let mut unpacker = Unpacker::default();
    pour(input, &mut unpacker, &mut upload)?;
    let answer = upload.finish()?;
    let said = loaded_id(&answer.body);
    answer.built()?;
    // The other kind of store gives an image another id; its layers are what they are.
    let id = said.unwrap_or_else(|| offer.id.clone());
    let there = match inspect(engine, &offer.id)? {
        Some(image) => Some(image),
        None => inspect(engine, &id)?,
    };
    match there.filter(|image| image.layers == offer.layers) {
        Some(image) => Ok((image.id, unpacker.hash(), unpacker.plain_bytes())),
        None => Err(ReceiveError::Failed(format!(
            "the Engine took the archive and has no image {} of these layers",
            offer.id
        ))),
    }
}

/// From the frames into the Engine, up to their end.
fn pour(
    input: &mut impl Read,
    unpacker: &mut Unpacker,
    upload: &mut Upload,
) -> Result<(), ReceiveError> {
    let mut space = vec![0; DOCKER_STREAM_BYTES];
    loop {
        let length = match input.read(&mut space) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ReceiveError::Failed(format!("standard input: {error}"))),
        };
        if length == 0 {
            return Err(ReceiveError::Failed(
                "the connection ended in the middle of the image".into(),
            ));
        }
        let mut rest = &space[..length];
        while !rest.is_empty() {
            let (taken, unpacked) =
                unpacker.push(rest).map_err(|fault| ReceiveError::Failed(fault.to_string()))?;
            rest = &rest[taken..];
            match unpacked {
                Unpacked::More => {}
                Unpacked::Plain(bytes) => upload.write(bytes)?,
                Unpacked::End => return Ok(()),
            }
        }
    }
}

fn send_message(output: &mut impl Write, word: &ReceiverMessage) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    output.write_all(&line)?;
    output.flush()
}
