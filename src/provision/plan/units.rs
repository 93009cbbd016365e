//! The files that an installation writes into the system: systemd's units and others' drop-ins.

use crate::limits::CAPACITY_PERCENT;

/// How each file of ours begins that belongs to somebody else's directory.
pub(crate) const MARK: &str = "# Written by convocate";
/// How a script of ours begins.
pub(crate) const SCRIPT_MARK: &str = "#!/bin/sh\n# Written by convocate";

/// What sessions may reach, for nft(8): a table of our own.
pub(crate) const SESSION_RULES: &str = include_str!("units/sessions.nft");
/// The units of [`crate::paths::NETWORK_UNITS`].
pub(crate) const NETWORK_FILES: [&str; 3] = [
    include_str!("units/convocate-network.service"),
    include_str!("units/convocate-resolvers.service"),
    include_str!("units/convocate-resolvers.path"),
];
pub(crate) const AGENT_SERVICE: &str = include_str!("units/convocate-agent.service");
/// The status listener's service.
pub(crate) const STATUS_SERVICE: &str = include_str!("units/convocate-status.service");
/// Triggers [`CERTIFICATE_SERVICE`].
pub(crate) const CERTIFICATE_PATH: &str = include_str!("units/convocate-certificate.path");
/// Puts a renewed certificate in its place on an agent's host.
pub(crate) const CERTIFICATE_SERVICE: &str = include_str!("units/convocate-certificate.service");
/// Triggers [`RENEWAL_SERVICE`].
pub(crate) const RENEWAL_TIMER: &str = include_str!("units/convocate-renewal.timer");
/// Renews certificates from the shell host.
pub(crate) const RENEWAL_SERVICE: &str = include_str!("units/convocate-renewal.service");
/// Lets dnsmasq know the names of sessions.
pub(crate) const DNSMASQ: &str = include_str!("units/10-convocate.conf");
/// Removes old images, once a day.
pub(crate) const IMAGE_PRUNE: &str = include_str!("units/convocate-image-prune");

/// The slice above [`sessions_slice`]. When the host goes down, systemd leaves both to the Engine,
/// which would start again what ends before it says so.
pub(crate) const CONVOCATE_SLICE: &str = include_str!("units/convocate.slice");

/// The slice of all sessions on a machine like this: what admission lets them take at most, held by
/// the kernel.
pub(crate) fn sessions_slice(cores: usize, memory_bytes: u64) -> String {
    let percent = CAPACITY_PERCENT;
    let quota = cores as u64 * percent;
    let memory = memory_bytes / 100 * percent;
    format!(
        "{MARK}-agent install. Changes belong into a drop-in: systemctl edit \
         convocate-sessions.slice\n\n\
         [Unit]\n\
         Description=All sessions of convocate, at most {percent} % of this host\n\
         DefaultDependencies=no\n\n\
         [Slice]\n\
         # {cores} cores, each of which is 100 %.\n\
         CPUAccounting=yes\n\
         CPUQuota={quota}%\n\
         # {memory_bytes} bytes are in this machine.\n\
         MemoryAccounting=yes\n\
         MemoryMax={memory}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;

    #[test]
    fn each_file_says_whose_it_is() {
        let triggered = [CERTIFICATE_PATH, CERTIFICATE_SERVICE, RENEWAL_TIMER, RENEWAL_SERVICE];
        let others =
            [CONVOCATE_SLICE, AGENT_SERVICE, STATUS_SERVICE, DNSMASQ, &sessions_slice(2, 1 << 34)];
        let network = NETWORK_FILES.into_iter().chain([SESSION_RULES]);
        for text in others.into_iter().chain(triggered).chain(network) {
            assert!(text.starts_with(MARK), "{text}");
        }
        assert!(IMAGE_PRUNE.starts_with(SCRIPT_MARK));
        let waits = Paths::default().agent_renewed_certificate().display().to_string();
        assert!(CERTIFICATE_PATH.contains(&format!("\nPathExists={waits}\n")));
    }

    #[test]
    fn the_rules_are_of_our_table_and_our_bridge() {
        use crate::paths::{SESSION_BRIDGE, SESSION_NETWORK};
        let tables = SESSION_RULES.lines().filter(|line| line.contains("table inet"));
        assert!(tables.clone().count() == 3 && !SESSION_RULES.contains("flush"));
        for line in tables {
            assert!(line.contains(&format!("table inet {SESSION_NETWORK}")), "{line}");
        }
        let foreign = format!("iifname != \"{SESSION_BRIDGE}\" accept");
        assert_eq!(SESSION_RULES.matches(&foreign).count(), 2);
        let sign = crate::paths::SESSION_RULES_SIGN;
        let sign = format!("ip daddr {} udp dport {} drop", sign.ip(), sign.port());
        assert_eq!(SESSION_RULES.matches(&sign).count(), 1);
        let shell_host = Paths::default().agent_shell_host().display().to_string();
        assert!(NETWORK_FILES[1].contains(&shell_host) && NETWORK_FILES[2].contains(&shell_host));
        let file = Paths::default().session_rules().display().to_string();
        assert!(NETWORK_FILES[0].contains(&format!("\nExecStart=/usr/sbin/nft -f {file}\n")));
    }

    #[test]
    fn the_slice_is_nine_tenths_of_the_machine() {
        let text = sessions_slice(8, 16 << 30);
        assert!(text.contains("\nCPUQuota=720%\n"), "{text}");
        for slice in [text.as_str(), CONVOCATE_SLICE] {
            assert!(slice.contains("\nDefaultDependencies=no\n"), "{slice}");
        }
        assert!(text.contains(&format!("\nMemoryMax={}\n", (16_u64 << 30) / 100 * 90)));
    }
}
