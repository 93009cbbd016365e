//! What the operator's words for a session's fields mean, in options and in forms, and back.
//!
//! Every reader takes the operator's text and gives a type that cannot be wrong, or one sentence
//! that shows the text.

use super::egress::EgressRule;
use super::field::{
    Caps, Cpus, DnsName, KeyChoice, PortChoice, Protocol, SessionCommand, SessionName, shown,
};
use super::network::{Egress, Publish};
use super::startup::{Branch, ImageName, ProfileName, Prompt, RepoUrl, SetupCommand};

/// A size in bytes: a number with `k`, `m`, `g` or `t` (of 1024) behind it, or nothing.
///
/// # Errors
/// One sentence.
pub(crate) fn memory(text: &str) -> Result<u64, String> {
    let bad = || format!("memory {} must be a size like 512m or 4g", shown(text));
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        Some((at, 't' | 'T')) => (&text[..at], 1_u64 << 40),
        _ => (text, 1),
    };
    let number = whole_number(digits).ok_or_else(bad)?;
    let bytes = number.checked_mul(factor).ok_or_else(bad)?;
    Caps::check_memory(bytes).map_err(|error| error.to_string())
}

/// A size as `512m` or `4g`, which [`memory`] takes back; empty for 0. Whole mebibytes: what is
/// below one tells nobody anything.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "t"), (30, "g"), (20, "m"), (10, "k")];
    let bytes = if bytes >> 20 > 0 { bytes >> 20 << 20 } else { bytes };
    if bytes == 0 {
        return String::new();
    }
    let unit = UNITS.iter().find(|(shift, _)| bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// A number of cores, as `1.5`.
///
/// # Errors
/// One sentence.
pub(crate) fn cpus(text: &str) -> Result<Cpus, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number = text.parse().ok().filter(|_| plain);
    let number = number.ok_or_else(|| format!("cpus {} must be a number like 1.5", shown(text)))?;
    Cpus::from_cores(number).map_err(|error| error.to_string())
}

/// A number of processes.
///
/// # Errors
/// One sentence.
pub(crate) fn pids(text: &str) -> Result<u32, String> {
    let number = whole_number(text).and_then(|number| u32::try_from(number).ok());
    let number = number.ok_or_else(|| format!("pids {} must be a number", shown(text)))?;
    Caps::check_pids(number).map_err(|error| error.to_string())
}

/// A port: `none`, `auto` or a number. What the wire says is understood, too: 0 and -1.
///
/// # Errors
/// One sentence.
pub(crate) fn port(text: &str) -> Result<PortChoice, String> {
    match text {
        "auto" | "-1" => return Ok(PortChoice::Auto),
        "none" | "0" => return Ok(PortChoice::None),
        _ => {}
    }
    let number = whole_number(text).and_then(|number| u16::try_from(number).ok());
    let choice = number.filter(|&number| number > 0).map(PortChoice::Fixed);
    choice.ok_or_else(|| format!("port {} must be 1 to 65535, auto or none", shown(text)))
}

/// `tcp` or `udp`.
///
/// # Errors
/// One sentence.
pub(crate) fn protocol(text: &str) -> Result<Protocol, String> {
    Protocol::parse(text).map_err(|error| error.to_string())
}

/// A rule of what a session reaches.
///
/// # Errors
/// One sentence.
pub(crate) fn egress_rule(text: &str) -> Result<EgressRule, String> {
    EgressRule::parse(text).map_err(|error| error.to_string())
}

/// `open`, `list` or `none`.
///
/// # Errors
/// One sentence.
pub(crate) fn egress(text: &str) -> Result<Egress, String> {
    Egress::parse(text).map_err(|error| error.to_string())
}

/// `new` or `none`.
///
/// # Errors
/// One sentence.
pub(crate) fn ssh_key(text: &str) -> Result<KeyChoice, String> {
    KeyChoice::parse(text).map_err(|error| error.to_string())
}

/// `default`, `all` or an address.
///
/// # Errors
/// One sentence.
pub(crate) fn publish(text: &str) -> Result<Publish, String> {
    Publish::parse(text).map_err(|error| error.to_string())
}

/// `yes` or `no`.
///
/// # Errors
/// One sentence.
pub(crate) fn yes_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("{} must be yes or no", shown(text))),
    }
}

/// A session's name.
///
/// # Errors
/// One sentence.
pub(crate) fn name(text: &str) -> Result<SessionName, String> {
    SessionName::parse(text).map_err(|error| error.to_string())
}

/// A DNS name; the empty text means none.
///
/// # Errors
/// One sentence.
pub(crate) fn dns_name(text: &str) -> Result<DnsName, String> {
    DnsName::parse(text).map_err(|error| error.to_string())
}

/// A session's command.
///
/// # Errors
/// One sentence.
pub(crate) fn command(text: &str) -> Result<SessionCommand, String> {
    SessionCommand::parse(text).map_err(|error| error.to_string())
}

/// A profile's name.
///
/// # Errors
/// One sentence.
pub(crate) fn profile(text: &str) -> Result<ProfileName, String> {
    ProfileName::parse(text).map_err(|error| error.to_string())
}

/// An image's name.
///
/// # Errors
/// One sentence.
pub(crate) fn image(text: &str) -> Result<ImageName, String> {
    ImageName::parse(text).map_err(|error| error.to_string())
}

/// A repository's address.
///
/// # Errors
/// One sentence.
pub(crate) fn repo(text: &str) -> Result<RepoUrl, String> {
    RepoUrl::parse(text).map_err(|error| error.to_string())
}

/// A branch or a tag.
///
/// # Errors
/// One sentence.
pub(crate) fn branch(text: &str) -> Result<Branch, String> {
    Branch::parse(text).map_err(|error| error.to_string())
}

/// A setup command.
///
/// # Errors
/// One sentence.
pub(crate) fn setup(text: &str) -> Result<SetupCommand, String> {
    SetupCommand::parse(text).map_err(|error| error.to_string())
}

/// The first words to a command.
///
/// # Errors
/// One sentence.
pub(crate) fn prompt(text: &str) -> Result<Prompt, String> {
    Prompt::parse(text).map_err(|error| error.to_string())
}

/// The name and the value of `NAME=VALUE`.
///
/// # Errors
/// One sentence.
pub(crate) fn env(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=').ok_or_else(|| format!("env {} must be NAME=VALUE", shown(text)))
}

/// A span in seconds: a number with `s`, `m`, `h` or `d` behind it, or nothing.
///
/// # Errors
/// One sentence.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    let bad = || format!("{} must be a time like 90, 90s, 10m or 2h", shown(text));
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let number = whole_number(digits).and_then(|number| number.checked_mul(factor));
    number.and_then(|number| u32::try_from(number).ok()).ok_or_else(bad)
}

/// Digits only: the standard parser takes a plus sign, too.
fn whole_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("16777216", 1 << 24),
            ("512m", 512 << 20),
            ("512M", 512 << 20),
            ("4g", 4 << 30),
            ("1t", 1 << 40),
            ("20480k", 20 << 20),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for bad in
            ["", "g", "1.5g", "-1g", "+1g", "4gb", "1m", "0", "4 g", "é", "99999999999t", "1ё"]
        {
            assert!(memory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_as_they_are_typed() {
        for text in ["512m", "4g", "1t", "20480k"] {
            let bytes = memory(text).expect("a size");
            assert_eq!(memory(&size(bytes)), Ok(bytes));
        }
        assert_eq!((size(0), size(3_085_512 << 10)), (String::new(), "3013m".to_owned()));
    }

    #[test]
    fn spans() {
        for (text, span) in [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86_400)] {
            assert_eq!(seconds(text), Ok(span), "{text}");
        }
        for bad in ["", "s", "-1", "1.5h", "10w", "99999999999d", "+1"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ports() {
        assert_eq!(port("auto"), Ok(PortChoice::Auto));
        assert_eq!(port("none"), Ok(PortChoice::None));
        assert_eq!(port("53"), Ok(PortChoice::Fixed(53)));
        for bad in ["", "65536", "-2", "+1", "00", "x", "1 "] {
            assert!(port(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_of_cores_and_processes() {
        assert_eq!(cpus("1.5").map(Cpus::as_millis), Ok(1500));
        assert_eq!(cpus("2").map(Cpus::as_millis), Ok(2000));
        for bad in ["", "x", "-1", "inf", "NaN", "1e3", "0", "1.2.3"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }
        assert_eq!(pids("100"), Ok(100));
        for bad in ["", "1", "x", "99999999999"] {
            assert!(pids(bad).is_err(), "{bad}");
        }
    }
}
