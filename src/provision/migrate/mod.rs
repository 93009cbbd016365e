//! A session's directory on its way to an agent.
//!
//! ```text
//! shell host                                         agent host
//! tree -> records -> frames ~~~~~~ ssh ~~~~~~> frames -> records -> staging directory
//!            \-> SHA-256  <-- compared -->  SHA-256 <- records <------/
//!                             register -------------------------------> receipt, name
//! ```
//!
//! Sans-IO. The sequence of records is the same for the same tree, so its hash is the tree's: the
//! receiver makes it anew from what lies on its disk. Staged under a name that no list shows, the
//! directory gets its own only when both hashes are the same; only then, and when the agent lists
//! it, the source goes.
//!
//! Records and not tar: the hash needs them at both ends anyway, whoever carries the bytes, and a
//! record names one step in the open directory, so nothing that is sent can reach outside.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`archive`] | records as bytes, and the hash of a tree |
//! | [`messages`] | what both ends tell each other |

pub mod archive;
pub mod messages;
