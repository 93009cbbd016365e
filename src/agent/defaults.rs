//! What a session of this host may use if it was not asked for otherwise: computed from the host,
//! and changed by the operator in `agent.conf`.
//!
//! The file has one setting a line ([`settings`]). What is not understood is an error with its
//! line, and never passed over.

use super::capacity::Totals;
use super::egress::address::Network;
use crate::base::settings::{self, Rule};
use crate::limits::{
    CLAUDE_BASE_URL_BYTES_MAX, DEFAULT_MEMORY_CAP_MAX, DEFAULT_MEMORY_CAP_MIN,
    DEFAULT_MEMORY_RESERVATION, DEFAULT_PIDS, EGRESS_NETWORKS_MAX,
};
use crate::rpc::field::{Caps, Cpus, shown};
use crate::rpc::values;

/// Of which there may be several.
const EGRESS_PRIVATE: &str = "egress-private";

/// The settings of `agent.conf`, as far as they are about sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Defaults {
    pub(crate) caps: Caps,
    /// Memory that admission counts for a session that uses less, in bytes.
    pub(crate) reservation: u64,
    /// Where the model of the Claude CLI is, if not where the CLI looks by itself.
    pub(crate) claude_base_url: Option<String>,
    /// Private networks that sessions of `egress list` may reach, where a name leads there.
    pub(crate) egress_private: Vec<Network>,
}

impl Defaults {
    /// Where the operator has chosen nothing: half of the memory and all processors of a host that
    /// has `totals`.
    pub(crate) fn of_host(totals: Totals) -> Defaults {
        let memory =
            (totals.memory_bytes / 2).clamp(DEFAULT_MEMORY_CAP_MIN, DEFAULT_MEMORY_CAP_MAX);
        let millis = u32::try_from(totals.cpu_millis).unwrap_or(u32::MAX).clamp(1000, 1_024_000);
        let cpus = Cpus::from_millis(millis).expect("1 to 1024 cores are in range");
        let caps = Caps { memory, cpus, pids: DEFAULT_PIDS };
        let (reservation, egress_private) = (DEFAULT_MEMORY_RESERVATION, Vec::new());
        Defaults { caps, reservation, claude_base_url: None, egress_private }
    }

    /// Takes the settings of a file over.
    ///
    /// # Errors
    /// One sentence that begins with the number of the line.
    pub(crate) fn read(mut self, text: &str) -> Result<Defaults, String> {
        let rule = |name: &str| Rule { is_text: false, is_many: name == EGRESS_PRIVATE };
        settings::read(text, rule, |name, value| self.set(name, value))?;
        Ok(self)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "memory" => self.caps.memory = values::memory(value)?,
            "memory-reservation" => self.reservation = values::memory(value)?,
            "cpus" => self.caps.cpus = values::cpus(value)?,
            "pids" => self.caps.pids = values::pids(value)?,
            "claude-base-url" => self.claude_base_url = Some(base_url(value)?),
            EGRESS_PRIVATE if self.egress_private.len() >= EGRESS_NETWORKS_MAX => {
                return Err(format!("there are more than {EGRESS_NETWORKS_MAX} {EGRESS_PRIVATE}"));
            }
            EGRESS_PRIVATE => self.egress_private.push(Network::parse(value)?),
            _ => {
                let known = "memory, memory-reservation, cpus, pids, claude-base-url or \
                             egress-private";
                return Err(format!("{} is no setting; there are {known}", shown(name)));
            }
        }
        Ok(())
    }

    /// All of them, as the file would have them.
    pub(crate) fn summary(&self) -> String {
        let Defaults { caps, reservation, claude_base_url, egress_private } = self;
        let (memory, reservation) = (values::size(caps.memory), values::size(*reservation));
        let url = claude_base_url.as_ref();
        let url = url.map_or_else(String::new, |url| format!(", claude-base-url {url}"));
        let private: String =
            egress_private.iter().map(|it| format!(", {EGRESS_PRIVATE} {it}")).collect();
        format!(
            "memory {memory}, memory-reservation {reservation}, cpus {}, pids {}{url}{private}",
            caps.cpus, caps.pids
        )
    }
}

/// An address of a gateway. What is wrong with it is found by whoever dials it.
fn base_url(text: &str) -> Result<String, String> {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    match is_web && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true if text.len() <= CLAUDE_BASE_URL_BYTES_MAX => Ok(text.to_owned()),
        _ => Err(format!("claude-base-url {} must be an address like https://host", shown(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTALS: Totals = Totals { cpu_millis: 2000, memory_bytes: 24 << 30 };

    fn read(text: &str) -> Result<String, String> {
        Defaults::of_host(TOTALS).read(text).map(|defaults| defaults.summary())
    }

    #[test]
    fn a_host_gives_half_its_memory_and_all_its_processors() {
        let all = "memory 8g, memory-reservation 512m, cpus 2, pids 1024";
        assert_eq!(read(""), Ok(all.to_owned()));
        assert_eq!(read("# nothing\n\n  \n"), Ok(all.to_owned()));
        let small = Totals { cpu_millis: 0, memory_bytes: 0 };
        assert_eq!(Defaults::of_host(small).caps.memory, DEFAULT_MEMORY_CAP_MIN);
    }

    #[test]
    fn both_ways_to_write_a_setting() {
        let text = "memory 4g # each\nmemory-reservation = 1g\ncpus=1.5\r\n\tpids\t99\n";
        let expected = "memory 4g, memory-reservation 1g, cpus 1.5, pids 99";
        assert_eq!(read(text), Ok(expected.to_owned()));
    }

    #[test]
    fn private_networks_are_named_one_by_one() {
        let summary =
            read("egress-private 10.1.0.0/16\negress-private = fd12::/48 # lab\n").unwrap();
        let wanted = ", egress-private 10.1.0.0/16, egress-private fd12::/48";
        assert!(summary.ends_with(wanted), "{summary}");
        let error = read("\negress-private 0.0.0.0/0").unwrap_err();
        assert!(error.starts_with("line 2: egress-private \"0.0.0.0/0\" must lie in"), "{error}");
    }

    #[test]
    fn a_gateway_is_shown() {
        let summary = read("claude-base-url = https://gateway:8443/a\n").unwrap();
        assert!(
            summary.ends_with(", pids 1024, claude-base-url https://gateway:8443/a"),
            "{summary}"
        );
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, why) in [
            ("\nmemory 0", "line 2: memory 0 must be at least 16777216 bytes"),
            ("memory", "line 1: memory \"\" must be a size like 512m or 4g"),
            ("cpus 1e3", "line 1: cpus \"1e3\" must be a number like 1.5"),
            (
                "claude-base-url ftp://x",
                "line 1: claude-base-url \"ftp://x\" must be an address like https://host",
            ),
            ("pids 9\npids 9", "line 2: pids stands here a second time"),
            (
                "a\u{1b}b 1",
                "line 1: \"a\\u{1b}b\" is no setting; there are memory, memory-reservation, cpus, \
                 pids, claude-base-url or egress-private",
            ),
        ] {
            assert_eq!(read(text), Err(why.to_owned()), "{text:?}");
        }
    }
}
