//! The collector of logs is out of reach: the network to it swallows everything, and then it is
//! stopped. Nothing on an agent's host waits for it, and what was said meanwhile arrives.
//!
//! It is gone for some seconds each time; `CONVOCATE_OUTAGE_SECONDS=600` makes it ten minutes.

use std::thread;
use std::time::{Duration, Instant};

use super::Cluster;
use super::support::testbed::Host;
use super::support::wait::wait_until;

/// Calls of each kind while it is gone.
const CALLS: u64 = 40;
const SECONDS: u64 = 8;
/// A call that takes less has not waited for anything. They are meant to take 50 ms at most, and
/// this machine does much else.
const WAITS: Duration = Duration::from_secs(1);
/// How long after the end of an outage all has arrived: half as long as that, for so the kernel
/// falls back in sending again, and what rsyslog waits between two attempts.
const PATIENCE: Duration = Duration::from_secs(180);

pub fn it_holds_up_nobody(cluster: &Cluster) {
    let Cluster { shell, far, .. } = cluster;
    let drop_all = "OUTPUT --protocol tcp --dport 514 --jump DROP";
    let outages = [
        ("none", "true".to_owned(), "true"),
        ("swallowed", format!("iptables --insert {drop_all}"), "true"),
        ("stopped", "true".to_owned(), "systemctl stop syslog.socket rsyslog.service"),
    ];
    for (name, on_far, on_shell) in outages {
        far.done(&on_far);
        shell.done(on_shell);
        nobody_waits(shell, far, name);
        far.done(&on_far.replace("--insert", "--delete"));
        shell.done("systemctl start syslog.socket rsyslog.service");
        all_has_arrived(shell, far, name);
    }
}

/// Somebody logs on the agent's host, and the operator asks the agent, all the time.
fn nobody_waits(shell: &Host, far: &Host, name: &str) {
    let id = far.done("cat /etc/convocate-agent/agent-id");
    let seconds = std::env::var("CONVOCATE_OUTAGE_SECONDS").ok();
    let seconds = seconds.map_or(SECONDS, |text| text.parse().expect("a number of seconds"));
    // There is nothing to learn from what is not out of reach for long.
    let seconds = if name == "none" { 1 } else { seconds };
    let pause = Duration::from_secs(seconds) / u32::try_from(CALLS).expect("it is small");
    let logger = format!("logger --tag convocate-agent \"{name} $number;\"");
    let ask = format!("convocate ls --agent {id} >/dev/null");
    thread::scope(|scope| {
        let logs = scope.spawn(|| timed(far, &logger, pause));
        let asks = timed(shell, &ask, pause);
        for (what, mut all) in [("logger", logs.join().expect("it runs")), ("convocate ls", asks)] {
            all.sort_unstable();
            let (median, worst) = (all[all.len() / 2], all[all.len() - 1]);
            eprintln!("{what} while {name} for {seconds} s: median {median:?}, worst {worst:?}");
            assert!(worst < WAITS, "{what} while {name}: {all:?}");
        }
    });
}

/// How long each call of a line of shell takes on a host, one after the other.
fn timed(host: &Host, line: &str, pause: Duration) -> Vec<Duration> {
    let told = host.done(&format!(
        "for number in $(seq {CALLS}); do \
           begun=$(date +%s%N); {line} || exit 1; ended=$(date +%s%N); \
           echo $((ended - begun)); sleep {}; \
         done",
        pause.as_secs_f64()
    ));
    told.lines().map(|line| Duration::from_nanos(line.parse().expect("a number"))).collect()
}

fn all_has_arrived(shell: &Host, far: &Host, name: &str) {
    let id = far.done("cat /etc/convocate-agent/agent-id");
    let begun = Instant::now();
    // After a connection that failed rsyslog sends its last message again.
    let count =
        format!("grep -o '{name} [0-9]*;' /var/log/convocate-agent/{id}.log | sort -u | wc -l");
    let mut arrived = String::new();
    wait_until(PATIENCE, "what was said meanwhile", || {
        let before = std::mem::replace(&mut arrived, shell.done(&count));
        if before != arrived {
            eprintln!("{arrived} of {CALLS} are there {:.1?} after: {name}", begun.elapsed());
        }
        arrived == CALLS.to_string()
    });
}
