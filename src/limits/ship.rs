//! Bounds of images on their way to another host.

use std::time::Duration;

use super::PROVISION_REQUEST_BYTES_MAX;

/// Plain bytes in one frame: large enough to compress well, small enough for four in memory.
pub(crate) const SHIP_FRAME_BYTES: usize = 256 * 1024;
/// Pieces that are read from the Engine before they are sent.
pub(crate) const SHIP_PIECES_AHEAD: usize = 4;
/// Layers of an image: the kernel mounts no more than some 125.
pub(crate) const SHIP_LAYERS_MAX: usize = 256;
/// Images of an Engine that are asked for their layers; at 1 ms each.
pub(crate) const SHIP_IMAGES_MAX: usize = 2048;
/// Silence of the Engine while it packs an image or unpacks one: minutes for many GB.
pub(crate) const SHIP_ENGINE_PATIENCE: Duration = Duration::from_secs(30 * 60);
/// The shortest time between two reports of progress.
pub(crate) const SHIP_PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// Entries of an image's archive: four for each layer in one layout, one in the other.
pub(crate) const SHIP_ENTRIES_MAX: usize = 16 * 1024;
/// A name in it: PATH_MAX.
pub(crate) const SHIP_NAME_BYTES_MAX: usize = 4096;
/// The data of an extended header (POSIX.1-2017, pax), which is held until its entry comes.
pub(crate) const SHIP_EXTENSION_BYTES_MAX: usize = 64 * 1024;
/// An image's configuration; the Engine's own bound is 8 MiB.
pub(crate) const SHIP_CONFIGURATION_BYTES_MAX: usize = 8 * 1024 * 1024;

const _: () = assert!(SHIP_LAYERS_MAX * 80 < PROVISION_REQUEST_BYTES_MAX);
const _: () = assert!(4 * SHIP_LAYERS_MAX < SHIP_ENTRIES_MAX);
