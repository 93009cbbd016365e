//! How an Engine remembers a layer's archive: what stands between the files, and which files.
//!
//! The format is tar-split's: a line of JSON for each piece, in the order of the archive. A piece
//! is bytes as they are, or the content of a file of the layer, which lies unpacked in the Engine's
//! own store. Put together they are the archive again, byte for byte; its digest proves it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use base64ct::{Base64, Encoding};
use serde::Deserialize;

/// A piece of a layer's archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// These bytes: headers, and what fills blocks.
    Bytes(Vec<u8>),
    /// So many bytes, which are the content of this file of the layer.
    File {
        /// Its name in the archive.
        name: PathBuf,
        length: u64,
    },
}

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default)]
    name: String,
    /// Instead of the name, where that is no text; in base64.
    #[serde(default)]
    name_raw: String,
    #[serde(default)]
    size: u64,
    /// Bytes, or a file's checksum; in base64.
    #[serde(default)]
    payload: Option<String>,
}

const FILE: u8 = 1;
const SEGMENT: u8 = 2;

impl Piece {
    /// Reads a line. A line that names a file without content is no piece.
    ///
    /// # Errors
    /// One sentence, if it is no line of this format.
    pub(crate) fn parse(line: &[u8]) -> Result<Option<Piece>, String> {
        let line: Line =
            serde_json::from_slice(line).map_err(|error| format!("a layer's index: {error}"))?;
        let bytes = |text: &str| {
            Base64::decode_vec(text).map_err(|error| format!("a layer's index: {error}"))
        };
        match line.kind {
            SEGMENT => bytes(&line.payload.unwrap_or_default()).map(Piece::Bytes).map(Some),
            FILE if line.size == 0 => Ok(None),
            FILE => {
                let name = match line.name_raw.is_empty() {
                    true => line.name.into_bytes(),
                    false => bytes(&line.name_raw)?,
                };
                let name = PathBuf::from(OsString::from_vec(name));
                Ok(Some(Piece::File { name, length: line.size }))
            }
            other => Err(format!("a layer's index has a piece of kind {other}")),
        }
    }

    /// What it has of the archive, in bytes.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File { length, .. } => *length,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn pieces_are_read() {
        let parse = |text: &str| Piece::parse(text.as_bytes());
        let segment = r#"{"type":2,"payload":"AAEC","position":0}"#;
        assert_eq!(parse(segment), Ok(Some(Piece::Bytes(vec![0, 1, 2]))));
        let file =
            r#"{"type":1,"name":"usr/bin/a","size":7,"payload":"AAAAAAAAAAA=","position":1}"#;
        let wanted = Piece::File { name: "usr/bin/a".into(), length: 7 };
        assert_eq!(wanted.length(), 7);
        assert_eq!(parse(file), Ok(Some(wanted)));
        let empty = r#"{"type":1,"name":"usr/","payload":"AAAAAAAAAAA=","position":1}"#;
        assert_eq!(parse(empty), Ok(None));
        let raw = parse(r#"{"type":1,"name_raw":"/2E=","size":1}"#).unwrap().unwrap();
        let Piece::File { name, .. } = raw else { panic!("a file: {raw:?}") };
        assert_eq!(name.as_os_str().as_bytes(), b"\xffa");
        for wrong in ["", "{}", r#"{"type":3}"#, r#"{"type":2,"payload":"!"}"#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
