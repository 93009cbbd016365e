//! The line with which a listener of ours refuses a connection (RFC 4253 §4.2 admits lines before
//! an identification).

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::limits::SSH_REFUSAL_SECONDS_MAX;

/// Too many connections came from an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub from: IpAddr,
    /// When another one may be let in: 1 to [`SSH_REFUSAL_SECONDS_MAX`].
    seconds: u8,
}

const BEFORE_ADDRESS: &str = "convocate: too many connections from ";
const BEFORE_SECONDS: &str = ", try again in ";

impl Refusal {
    /// `wait` is rounded up to what can be said.
    pub fn new(from: IpAddr, wait: Duration) -> Refusal {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let seconds = seconds.clamp(1, u64::from(SSH_REFUSAL_SECONDS_MAX));
        let seconds = u8::try_from(seconds).unwrap_or(SSH_REFUSAL_SECONDS_MAX);
        Refusal { from: from.to_canonical(), seconds }
    }

    pub fn wait(self) -> Duration {
        Duration::from_secs(u64::from(self.seconds))
    }

    /// With its end.
    pub fn to_line(self) -> String {
        format!("convocate: {self}\r\n")
    }

    /// Of a line with its end: the very one that [`Refusal::to_line`] gives.
    pub fn parse(line: &[u8]) -> Option<Refusal> {
        let text = std::str::from_utf8(line).ok()?;
        let (from, rest) = text.strip_prefix(BEFORE_ADDRESS)?.split_once(BEFORE_SECONDS)?;
        let seconds: u64 = rest.strip_suffix(" s\r\n")?.parse().ok()?;
        let refusal = Refusal::new(from.parse().ok()?, Duration::from_secs(seconds));
        (refusal.to_line() == text).then_some(refusal)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal { from, seconds } = self;
        write!(out, "too many connections from {from}, try again in {seconds} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_read_as_it_was_written() {
        for from in ["192.0.2.7", "2001:db8::7", "::1"] {
            for millis in [1, 999, 1000, 3001, 60_000, 3_600_000] {
                let refusal = Refusal::new(from.parse().unwrap(), Duration::from_millis(millis));
                assert_eq!(Refusal::parse(refusal.to_line().as_bytes()), Some(refusal));
            }
        }
        let mapped = Refusal::new("::ffff:192.0.2.7".parse().unwrap(), Duration::from_millis(3200));
        let told = "convocate: too many connections from 192.0.2.7, try again in 4 s\r\n";
        assert_eq!(mapped.to_line(), told);
        assert_eq!(mapped.wait(), Duration::from_secs(4));
    }

    #[test]
    fn no_other_line_is_one() {
        for line in [
            &b"convocate: too many connections from 192.0.2.7, try again in 4 s\n"[..],
            b"convocate: too many connections from 192.0.2.7, try again in 4 s",
            b"convocate: too many connections from 192.0.2.7, try again in 0 s\r\n",
            b"convocate: too many connections from 192.0.2.7, try again in 61 s\r\n",
            b"convocate: too many connections from 192.0.2.7, try again in 04 s\r\n",
            b"convocate: too many connections from 192.0.2.7, try again in +4 s\r\n",
            b"convocate: too many connections from 192.0.2.7, try again in 4294967296 s\r\n",
            b"convocate: too many connections from ::ffff:192.0.2.7, try again in 4 s\r\n",
            b"convocate: too many connections from 2001:DB8::7, try again in 4 s\r\n",
            b"convocate: too many connections from \x1b[2J, try again in 4 s\r\n",
            b"convocate: too many connections from 192.0.2.7, try again in 4 s\r\n\r\n",
            b"Too many connections from 192.0.2.7, try again in 4 s\r\n",
            b"\xff\xfe\r\n",
            b"\r\n",
        ] {
            assert_eq!(Refusal::parse(line), None, "{:?}", String::from_utf8_lossy(line));
        }
    }
}
