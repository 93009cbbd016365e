//! An image on its way from one Docker Engine to another, without the layers that are there.
//!
//! ```text
//! Engine -> archive -> LayerFilter -> frames ~~ ssh ~~> frames -> archive -> Engine -> tag
//!                        ^ layers that the other side has           ^ where it must be whole:
//!                                                   LayerFilter <- archive <- the Engine's own
//! ```
//!
//! # Layers, and what names them
//!
//! An image is a configuration and a stack of layers, each a tar archive of what changed. A layer's
//! *diff ID* is the SHA-256 of that tar, uncompressed; the configuration lists the diff IDs, lowest
//! first, and the Engine API shows them as `RootFS.Layers`. A *chain ID* names a layer with all
//! that is below it: an Engine has a layer if it has that chain, so only the lowest layers that two
//! images have in common can be left out. A *blob* is a file named by its own SHA-256: the
//! configuration, or a layer as it was packed, which may be compressed and then has another name
//! than its diff ID. (OCI image specification: config.md, image-layout.md.)
//!
//! `docker save` writes a directory for each layer (before Engine 25) or OCI's layout,
//! `blobs/sha256/…` with an `index.json` (since then); either has a `manifest.json` that names the
//! files of configuration and layers. An Engine keeps layers with a graph driver, and finds one
//! that an archive lacks by its chain ID; or in containerd's store (the default of new
//! installations since Engine 29), which refuses such an archive. There the receiver puts the
//! Engine's own layers into the archive before what is sent, so they never cross the wire.
//!
//! # Proof
//!
//! Sans-IO. The receiver says how many of the image's lowest layers it has, and the sender's
//! [`layer_filter`] leaves them out. The layers of what the Engine makes of it are compared with
//! the offered ones before the image gets its name, so the name never means anything else: a
//! transfer that ends anywhere before leaves the name as it was, and the next one begins anew.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`tar`] | headers of an archive |
//! | [`entries`] | the files of an archive as it passes |
//! | [`archive`] | which of those are the image's layers |
//! | [`layer_filter`] | an archive of some of the layers |
//! | [`frame`] | compressed pieces with an end that proves the whole |
//! | [`messages`] | what both sides tell each other, and what Engines tell them |
//! | [`progress`] | how far it is, as a line for a person |

pub mod archive;
pub mod entries;
pub mod frame;
pub mod layer_filter;
pub mod messages;
pub mod progress;
pub mod tar;
