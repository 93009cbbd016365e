//! What is said of a host by whoever works on it, for whoever has the output.

use serde_json::Value;

use super::out::{Failure, Out};

/// Something to be written.
#[derive(Debug)]
pub(super) enum Said {
    /// A result for a person.
    Text(String),
    /// What a person is told besides.
    Note(String),
    /// A line for a program.
    Json(Value),
}

impl Said {
    /// Writes it.
    pub(super) fn write(&self, out: &mut Out<'_>) -> Result<(), Failure> {
        match self {
            Said::Text(text) => out.text(text)?,
            Said::Json(value) => out.json(value)?,
            Said::Note(text) => out.note(text),
        }
        out.flush()
    }
}
