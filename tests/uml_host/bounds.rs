//! What the kernel holds sessions to, by what stands in its control groups and by trying.

use super::support::testbed::Host;
use super::support::wait::{poll, wait_until};
use super::{PATIENCE, listing};

const SLICE: &str = "/sys/fs/cgroup/convocate.slice/convocate-sessions.slice";
const MEBIBYTE: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// The limits of all sessions, of processor and memory, by the kernel's own files.
pub fn of_the_slice(host: &Host) -> (String, u64) {
    let quota = host.done(&format!("cat {SLICE}/cpu.max"));
    (quota, number(host, &format!("cat {SLICE}/memory.max")))
}

/// They are 90 % of what the host had when it was set up: how much memory such a kernel finds is
/// another number at each boot.
pub fn are_of_this_host(host: &Host) {
    let (quota, limit) = of_the_slice(host);
    assert_eq!(quota, format!("{} 100000", number(host, "nproc") * 90_000));
    let all = 1024 * number(host, "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo");
    // The kernel rounds down to pages.
    let due = all / 100 * 90;
    assert!(limit <= due && due - limit < PAGE, "{limit} for {due}");
}

/// A container is below the slice, with its own caps.
pub fn of_a_session(host: &Host, id: &str) {
    let group = group(host, id);
    let caps = host.done(&format!(
        "cd {group}; cat memory.max memory.swap.max cpu.max pids.max; cut -d: -f3 \
         /proc/$(head -n 1 cgroup.procs)/cgroup"
    ));
    let path = group.trim_start_matches("/sys/fs/cgroup");
    assert_eq!(caps, format!("67108864\n0\n50000 100000\n40\n{path}"));
}

/// Who takes more memory than is his is killed, and nobody else.
pub fn end_a_hog(host: &Host, id: &str) {
    let group = group(host, id);
    let kills = || number(host, &format!("sed -n 's/^oom_kill //p' {group}/memory.events"));
    let agent = || host.done("systemctl show -p MainPID --value convocate-agent");
    let (before, pid) = (kills(), agent());
    let hog = format!("docker exec {} sh -c 'head -c 200m /dev/zero | tail -c 200m'", name(id));
    assert_ne!(host.sh(&format!("{hog} >/dev/null")).code, 0);
    assert!(kills() > before, "nobody was killed");
    assert_eq!(agent(), pid);
    for alive in ["busy", "small"] {
        assert!(listing(host).contains(&["R", alive].map(str::to_owned)), "{:?}", listing(host));
    }
}

/// Who starts more processes than are his gets no more; and can be ended all the same.
pub fn stop_a_fork_bomb(host: &Host, id: &str) {
    let group = group(host, id);
    let bomb = "i=0; while [ $i -lt 100 ]; do sleep 600 & i=$((i+1)); done";
    let told = host.sh(&format!("docker exec {} sh -c '{bomb}'", name(id)));
    assert_ne!(told.code, 0, "{}", told.text);
    assert!(number(host, &format!("sed -n 's/^max //p' {group}/pids.events")) > 0);
    assert!(number(host, &format!("cat {group}/pids.current")) <= 40);
    host.done("convocate kill small");
    assert!(listing(host).contains(&["-", "small"].map(str::to_owned)), "{:?}", listing(host));
    host.done("convocate restart small");
}

/// Lets a session use all of the processor and some of the memory that it may.
pub fn burn(host: &Host, id: &str) {
    host.done("setsid convocate events --json >/root/events 2>&1 </dev/null &");
    host.done(&format!(
        "docker exec -d {} sh -c 'head -c 33554432 /dev/zero >/dev/shm/held; while :; do :; done'",
        name(id)
    ));
}

/// What an agent tells of a session's use is what its control group has counted.
pub fn are_told_as_used(host: &Host, id: &str) {
    let told = poll(PATIENCE, || {
        let lines = host.done("grep -h agent.heartbeat /root/events; true");
        let mut all = lines.lines().filter_map(|line| used(line, id));
        all.find_map(|(cpu, memory)| Some((cpu?, memory)).filter(|_| memory > 32 * MEBIBYTE))
    });
    let (cpu, memory) = told.expect("a heartbeat that says what the session holds and does");
    // It may use a fifth of a processor, that is 200 thousandths, and takes them.
    assert!((50..=240).contains(&cpu), "{cpu} thousandths of a processor");
    assert!(memory < 64 * MEBIBYTE, "{memory} bytes");
}

/// Thousandths of a processor and bytes of memory, as a heartbeat tells them.
fn used(line: &str, id: &str) -> Option<(Option<u64>, u64)> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    let used = &line["event"]["data"]["usage"][id];
    Some((used[0].as_u64(), used[1].as_u64()?))
}

/// The control group of a session's container, which is there as soon as it runs.
fn group(host: &Host, id: &str) -> String {
    let container = host.done(&format!("docker inspect -f '{{{{.Id}}}}' {}", name(id)));
    let group = format!("{SLICE}/docker-{container}.scope");
    wait_until(PATIENCE, "a container's group", || host.sh(&format!("test -d {group}")).code == 0);
    group
}

fn name(id: &str) -> String {
    format!("convocate-session-{id}")
}

#[track_caller]
fn number(host: &Host, line: &str) -> u64 {
    let text = host.done(line);
    text.parse().unwrap_or_else(|error| panic!("{line}: {text}: {error}"))
}
