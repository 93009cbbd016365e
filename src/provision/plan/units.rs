//! The files that an installation writes into the system: systemd's units and others' drop-ins.

use crate::limits::CAPACITY_PERCENT;

/// How each file of ours begins that belongs to somebody else's directory.
pub(crate) const MARK: &str = "# Written by convocate";
/// How a script of ours begins.
pub(crate) const SCRIPT_MARK: &str = "#!/bin/sh\n# Written by convocate";

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
         Description=All sessions of convocate, at most {percent} % of this host\n\n\
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
        let others = [AGENT_SERVICE, STATUS_SERVICE, DNSMASQ, &sessions_slice(2, 1 << 34)];
        for text in others.into_iter().chain(triggered) {
            assert!(text.starts_with(MARK), "{text}");
        }
        assert!(IMAGE_PRUNE.starts_with(SCRIPT_MARK));
        let waits = Paths::default().agent_renewed_certificate().display().to_string();
        assert!(CERTIFICATE_PATH.contains(&format!("\nPathExists={waits}\n")));
    }

    #[test]
    fn the_slice_is_nine_tenths_of_the_machine() {
        let text = sessions_slice(8, 16 << 30);
        assert!(text.contains("\nCPUQuota=720%\n"), "{text}");
        assert!(text.contains(&format!("\nMemoryMax={}\n", (16_u64 << 30) / 100 * 90)));
    }
}
