//! Values that every layer above may use: time, buffers, tables, identifiers.
//!
//! Nothing here opens, reads, sleeps, logs or asks for time or randomness. Each file is one idea
//! and can be read alone.

pub mod address;
pub mod backoff;
pub mod buffer;
pub mod collected;
pub mod deadlines;
pub mod disk;
pub mod endpoint;
pub mod hex;
pub mod lines;
pub mod pace;
pub mod pipe;
pub mod record;
pub mod rng;
pub(crate) mod settings;
pub mod slots;
pub mod sorted_map;
pub mod text;
pub mod time;
pub mod timers;
pub mod tree;
pub mod unreached;
pub mod ustar;
pub mod uuid;
