//! An image's archive as it passes: nothing but the layers that are wanted, each under the name
//! that [`ArchivedImage::archive_head`](super::archive::ArchivedImage::archive_head) gives it.
//!
//! Bytes go in as they come, and the wanted ones come out at once.

use super::archive::layer_head;
use super::entries::{EntryPiece, EntryReader};
use super::tar::TarFault;
use crate::base::sorted_map::SortedMap;
use crate::base::ustar;

#[derive(Debug)]
pub(crate) struct LayerFilter {
    entries: EntryReader,
    /// Files that are wanted and have not come yet, and the diff ID of each.
    wanted: SortedMap<String, String>,
    /// The size of the layer that passes, and what of it is still to come.
    passing: Option<(u64, u64)>,
}

impl LayerFilter {
    /// Lets through the layers in these files, each with its diff ID.
    pub(crate) fn new(wanted: SortedMap<String, String>) -> LayerFilter {
        LayerFilter { entries: EntryReader::default(), wanted, passing: None }
    }

    /// Takes the next bytes, and appends to `out` what passes.
    ///
    /// # Errors
    /// [`TarFault`], from then on always.
    pub(crate) fn push(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), TarFault> {
        while !input.is_empty() {
            let (taken, piece) = self.entries.push(input)?;
            match piece {
                EntryPiece::None => {}
                EntryPiece::File { name, size } => {
                    self.passing = None;
                    if let Some(digest) = self.wanted.remove(&name) {
                        let head = layer_head(&digest, size).ok_or(TarFault::Layer)?;
                        out.extend_from_slice(&head);
                        self.passing = Some((size, size));
                    }
                }
                EntryPiece::Data(data) => self.pass(data, out),
            }
            input = &input[taken..];
        }
        Ok(())
    }

    fn pass(&mut self, data: &[u8], out: &mut Vec<u8>) {
        let Some((size, left)) = &mut self.passing else { return };
        out.extend_from_slice(data);
        *left -= data.len() as u64;
        if *left == 0 {
            out.extend_from_slice(ustar::padding(*size));
        }
    }

    /// No more comes.
    ///
    /// # Errors
    /// [`TarFault`] if that is too early, or a layer did not come.
    pub(crate) fn finish(&self) -> Result<(), TarFault> {
        self.entries.finish()?;
        if self.wanted.is_empty() { Ok(()) } else { Err(TarFault::Layer) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::archive::tests::{Layout, archive, digests};
    use super::super::archive::{ArchiveScan, ArchivedImage, divide};
    use super::*;

    fn scan(bytes: &[u8]) -> ArchivedImage {
        let digests = digests();
        let mut scan = ArchiveScan::new(&digests);
        scan.push(bytes).unwrap();
        scan.finish().unwrap().unwrap()
    }

    /// What is sent of an image whose lowest `held` layers are there.
    fn sent(bytes: &[u8], step: usize, held: usize) -> Vec<u8> {
        let (image, digests) = (scan(bytes), digests());
        let (_, wanted) = divide(&digests, held);
        let mut out = image.archive_head(&digests);
        let mut filter = LayerFilter::new(image.files(&wanted));
        for piece in bytes.chunks(step) {
            filter.push(piece, &mut out).unwrap();
        }
        filter.finish().unwrap();
        out.extend_from_slice(&ustar::END);
        out
    }

    #[test]
    fn what_is_sent_and_what_the_receiver_has_are_the_image_again() {
        for layout in Layout::ALL {
            let bytes = archive(layout);
            let whole = sent(&bytes, 4096, 0);
            let image = scan(&whole);
            assert_eq!(image.configuration, scan(&bytes).configuration, "{layout:?}");
            for held in 0..=3 {
                for step in [1, 511, 512, 513, bytes.len()] {
                    let partial = sent(&bytes, step, held);
                    assert_eq!(partial, sent(&whole, 4096, held), "{layout:?} without {held}");
                    let digests = digests();
                    let (lower, _) = divide(&digests, held);
                    let mut filled = Vec::new();
                    let mut filter = LayerFilter::new(scan(&bytes).files(&lower));
                    filter.push(&bytes, &mut filled).unwrap();
                    filled.extend(partial);
                    let (both, image) = (scan(&filled), scan(&whole));
                    assert_eq!(both, image, "{layout:?} without {held}");
                }
            }
        }
    }

    #[test]
    fn a_layer_that_does_not_come_is_missed() {
        let bytes = archive(Layout::Oci);
        let wanted = SortedMap::from_iter([("blobs/sha256/none".to_owned(), digests().remove(0))]);
        let mut filter = LayerFilter::new(wanted);
        assert_eq!(filter.finish(), Err(TarFault::Cut));
        filter.push(&bytes, &mut Vec::new()).unwrap();
        assert_eq!(filter.finish(), Err(TarFault::Layer));
    }
}
