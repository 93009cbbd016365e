//! What one `init-agent` costs its host: connections, sessions and time, as that host's sshd and
//! the report have it.

use std::time::{Duration, Instant};

use super::support::testbed::Host;
use super::support::wait::wait_until;

const PATIENCE: Duration = Duration::from_secs(20);
/// Of one call.
const CONNECTIONS: usize = 1;
const SESSIONS_MAX: usize = 6;
/// Without the image. It is meant to take ten seconds at most, and this machine does much else.
const TIME_MAX: Duration = Duration::from_secs(40);

/// From here on a host's sshd tells of each session.
pub fn sessions_are_told(host: &Host) {
    host.done("echo 'LogLevel VERBOSE' >/etc/ssh/sshd_config.d/verbose.conf");
    host.done("systemctl reload ssh");
}

/// Runs a call and looks at what sshd of `host` told meanwhile. What the call said.
pub fn counted(host: &Host, what: &str, call: impl FnOnce() -> String) -> String {
    let cursor = host.done("journalctl --quiet --no-pager --lines 1 --show-cursor | tail -n 1");
    let cursor = cursor.strip_prefix("-- cursor: ").expect("journalctl shows it").to_owned();
    let begun = Instant::now();
    let said = call();
    let took = begun.elapsed();
    let log = || {
        host.done(&format!(
            "journalctl --quiet --no-pager --identifier sshd --output cat --after-cursor '{cursor}'"
        ))
    };
    let count = |start: &str| log().lines().filter(|line| line.starts_with(start)).count();
    // What was told last is in the journal by then.
    wait_until(PATIENCE, "the end of the connection", || count("Disconnected from user ann") > 0);
    let connections = count("Accepted publickey for ann");
    let sessions = count("Starting session: command for ann");
    let image = image_seconds(&said);
    let own = took.saturating_sub(Duration::from_secs_f64(image));
    eprintln!("{what}: {connections} connection, {sessions} sessions, {own:.1?}, image: {image} s");
    assert_eq!(connections, CONNECTIONS, "{}", log());
    assert!((1..=SESSIONS_MAX).contains(&sessions), "{sessions}: {}", log());
    assert!(own < TIME_MAX, "{own:?}: {said}");
    said
}

/// How long the image took, as the report says of steps that took a second: `changed (14.2 s)`.
fn image_seconds(report: &str) -> f64 {
    let mut lines = report.lines().filter(|line| line.contains("] session image "));
    let Some((_, text)) = lines.find_map(|line| line.split_once(" … changed (")) else {
        return 0.0;
    };
    text.strip_suffix(" s)").and_then(|text| text.parse().ok()).expect("a number of seconds")
}
