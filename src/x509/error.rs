//! What is wrong with a certificate, a request or a key that was read.

use std::fmt;

use super::name::NameError;

/// Why what was read is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum X509Error {
    /// Longer than its bound, in bytes.
    Long { bytes: usize, max: usize },
    /// Text without the block that was looked for, which is named.
    NoBlock(&'static str),
    /// Text with more blocks of a kind than there may be.
    Blocks {
        /// How many there are, as far as it was counted.
        got: usize,
        /// How many there may be.
        max: usize,
    },
    /// A block that is cut off, or whose Base64 is none.
    Pem,
    /// Bytes that are no DER of this kind.
    Der,
    /// DER that the profile does not have; the part that is different.
    Profile(&'static str),
    /// A name that is none.
    Name(NameError),
    /// A key that is no point of the curve, or no number that makes one.
    Key,
    /// A request that was not signed with the key inside.
    Signature,
}

impl fmt::Display for X509Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            X509Error::Long { bytes, max } => {
                write!(out, "it has {bytes} bytes, and at most {max} are read")
            }
            X509Error::NoBlock(label) => write!(out, "there is no {label} in it"),
            X509Error::Blocks { got, max } => {
                write!(out, "there are {got} in one file, and at most {max} are read")
            }
            X509Error::Pem => out.write_str("its text is cut off or damaged"),
            X509Error::Der => out.write_str("its encoding is damaged, or it is of another kind"),
            X509Error::Profile(part) => {
                write!(out, "it was not made by convocate: its {part} is different")
            }
            X509Error::Name(error) => error.fmt(out),
            X509Error::Key => out.write_str("its key is none of the curve P-256"),
            X509Error::Signature => out.write_str("it was not signed with the key that it holds"),
        }
    }
}

impl std::error::Error for X509Error {}

impl From<NameError> for X509Error {
    fn from(error: NameError) -> X509Error {
        X509Error::Name(error)
    }
}
