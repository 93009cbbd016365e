//! An image's archive, as the Engine hands it out.

use super::docker::{DockerEngine, Download};
use crate::docker::{DockerError, DockerResponse, call};
use crate::limits::SHIP_FRAME_BYTES;
use crate::provision::ship::archive::{ArchiveScan, ArchivedImage};

/// Why an archive cannot be used: one sentence.
pub(super) type ArchiveError = String;

/// Asks for the archive of an image.
///
/// # Errors
/// One sentence.
pub(super) fn open(engine: &DockerEngine, id: &str) -> Result<Download, ArchiveError> {
    let archive = engine.open(&call::image_save(id)).map_err(from_engine)?;
    if archive.status() != 200 {
        let refused = archive.whole().and_then(DockerResponse::accepted);
        return Err(from_engine(refused.err().unwrap_or(DockerError::Closed)));
    }
    Ok(archive)
}

/// Reads an archive to its end. `take` gets each piece, and the empty one at the end.
///
/// # Errors
/// One sentence.
pub(super) fn each_piece<E: From<ArchiveError>>(
    mut archive: Download,
    mut take: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut space = vec![0; SHIP_FRAME_BYTES];
    loop {
        let length = archive.read(&mut space).map_err(from_engine)?;
        take(&space[..length])?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// Reads all of an image's archive to tell which of its files are the layers `digests`. `None` if
/// the archive does not say.
///
/// # Errors
/// One sentence.
pub(super) fn scan(
    engine: &DockerEngine,
    id: &str,
    digests: &[String],
) -> Result<Option<ArchivedImage>, ArchiveError> {
    let mut scan = ArchiveScan::new(digests);
    each_piece(open(engine, id)?, |piece| scan.push(piece).map_err(|fault| fault.to_string()))?;
    scan.finish().map_err(|fault| fault.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn from_engine(error: DockerError) -> ArchiveError {
    format!("docker: {error}")
}
