//! An image on its way from one Docker Engine to another, without the layers that are there.
//!
//! ```text
//! Engine -> archive -> LayerFilter -> frames ~~ ssh ~~> frames -> archive -> Engine -> tag
//!                        ^ layers that the other side has
//! ```
//!
//! Sans-IO. The receiver says how many of the image's lowest layers it has; the [`layer_filter`] leaves
//! those out of the archive as it passes; the Engine over there takes such an archive and finds
//! the rest in its store. What it makes of it is checked against the image's id before the image
//! gets its name, so the name never means anything else: a transfer that ends anywhere before
//! leaves the name as it was, and the next one begins anew.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`tar`] | headers of an archive |
//! | [`layer_filter`] | the archive as it passes |
//! | [`layers`] | which files of the archive are layers that are there |
//! | [`store`] | where an Engine keeps the parts, and the archive that they make |
//! | [`split`] | what a layer's archive was, out of its files |
//! | [`frame`] | compressed pieces with an end that proves the whole |
//! | [`messages`] | what both sides tell each other, and what Engines tell them |
//! | [`progress`] | how far it is, as a line for a person |

pub mod frame;
pub mod layer_filter;
pub mod layers;
pub mod messages;
pub mod progress;
pub mod split;
pub mod store;
pub mod tar;
