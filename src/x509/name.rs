//! Names that a certificate may carry, as types that cannot be wrong.

use std::fmt;
use std::net::IpAddr;

use crate::limits::{HOST_NAME_CHARS_MAX, X509_COMMON_NAME_CHARS_MAX};

/// Characters of one label of a host name (RFC 1035 §2.3.4).
const LABEL_CHARS_MAX: usize = 63;

/// A host name in lower case, of one or more labels (RFC 1123 §2.1), without a wildcard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(String);

/// A common name: 1 to [`X509_COMMON_NAME_CHARS_MAX`] printable characters of ASCII.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonName(String);

/// What a server is dialled by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AltName {
    Dns(DnsName),
    Address(IpAddr),
}

/// A text that is not the name it should be, cut so that it can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    text: String,
    expected: &'static str,
}

impl DnsName {
    /// Reads a name; upper case becomes lower, a final dot is dropped.
    ///
    /// # Errors
    /// [`NameError`] if it is no host name. One whose last label is a number would be taken for an
    /// address, and is refused too.
    pub fn parse(text: &str) -> Result<DnsName, NameError> {
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) && name.contains('.');
        let fits = name.len() <= HOST_NAME_CHARS_MAX && name.split('.').all(is_label);
        if !fits || is_number {
            return Err(NameError::new(text, "a host name"));
        }
        Ok(DnsName(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a common name: itself, or of a longer one its first label.
    pub fn common(&self) -> CommonName {
        let first = self.0.split('.').next().unwrap_or(&self.0);
        CommonName(if self.0.len() <= X509_COMMON_NAME_CHARS_MAX { &self.0 } else { first }.into())
    }
}

impl CommonName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`NameError`] if it is empty, too long, or not printable.
    pub(crate) fn parse(text: &str) -> Result<CommonName, NameError> {
        let printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if text.is_empty() || text.len() > X509_COMMON_NAME_CHARS_MAX || !printable {
            return Err(NameError::new(text, "a common name"));
        }
        Ok(CommonName(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl AltName {
    /// Reads an address, or else a host name.
    ///
    /// # Errors
    /// [`NameError`] if it is neither.
    pub fn parse(text: &str) -> Result<AltName, NameError> {
        match text.parse() {
            Ok(address) => Ok(AltName::Address(address)),
            Err(_) => DnsName::parse(text).map(AltName::Dns),
        }
    }
}

impl NameError {
    fn new(text: &str, expected: &'static str) -> NameError {
        NameError { text: text.chars().take(X509_COMMON_NAME_CHARS_MAX).collect(), expected }
    }
}

fn is_label(label: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty()
        && label.len() <= LABEL_CHARS_MAX
        && label.bytes().all(known)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl fmt::Display for DnsName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for CommonName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for AltName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AltName::Dns(name) => name.fmt(out),
            AltName::Address(address) => address.fmt(out),
        }
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} is not {}", self.text, self.expected)
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_lower_case_and_whole() {
        for (text, name) in [
            ("shell", "shell"),
            ("Shell-1.Example.ORG.", "shell-1.example.org"),
            ("22abcdefghjk", "22abcdefghjk"),
            ("222222222222", "222222222222"),
        ] {
            assert_eq!(DnsName::parse(text).expect(text).as_str(), name);
        }
        let long = format!("{}.de", "a".repeat(64));
        let many = "a.".repeat(127) + "a";
        for text in ["", ".", "a..b", "-a", "a-", "a_b", "*.a", "a b", "é", "10.0.0.1", "a/b"] {
            assert!(DnsName::parse(text).is_err(), "{text}");
        }
        assert!(DnsName::parse(&long).is_err() && DnsName::parse(&many).is_err());
    }

    #[test]
    fn a_name_or_an_address_is_told_apart() {
        assert!(matches!(AltName::parse("10.0.0.1"), Ok(AltName::Address(_))));
        assert!(matches!(AltName::parse("fd00::1"), Ok(AltName::Address(_))));
        assert!(matches!(AltName::parse("10.0.0.one"), Ok(AltName::Dns(_))));
        assert_eq!(AltName::parse("a b").unwrap_err().to_string(), "\"a b\" is not a host name");
    }

    #[test]
    fn a_long_name_has_a_short_common_name() {
        let long = format!("{}.{}.example", "a".repeat(40), "b".repeat(40));
        assert_eq!(DnsName::parse(&long).unwrap().common().as_str(), "a".repeat(40));
        assert_eq!(DnsName::parse("a.b").unwrap().common().as_str(), "a.b");
    }
}
