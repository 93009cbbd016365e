//! What the targets share. It takes bytes from a fuzzer and nothing else: no clock, no randomness,
//! so that an input that found something finds it again.

pub mod ends;
pub mod ledger;
pub mod peer;
pub mod play;
pub mod script;
pub mod subject;
