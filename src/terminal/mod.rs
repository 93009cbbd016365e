//! The byte stream between a session and the operator's terminal, sans-IO.
//!
//! A session is a stranger, and its terminal's bytes are a stranger's. [`filter`] lets through what
//! draws and drops what asks the terminal for an answer, which would come in as keys, and what it
//! cannot set back; [`leave`] sets back all the rest and tells when everything before has come in.
//! [`escape`] is the operator's way out, whatever the session and the network do. [`parser`] is the
//! state machine below these, and below the screen's decoder of keys.

pub mod escape;
pub mod filter;
pub mod leave;
pub mod parser;
