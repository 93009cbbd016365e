//! Sessions on an installed host: what they outlive, and what bounds them.

use super::support::testbed::Host;
use super::support::wait::{poll, wait_until};
use super::{IMAGE, PATIENCE, host_with_image, summary};

/// The client on the host itself, with the files of a shell host below a root of its own.
pub const CLIENT: &str = "/root/convocate";
pub const ROOT: &str = "--root /root/shell";

/// Writes what a shell host knows of the agent, and lets it in.
pub fn enrol(host: &Host) {
    host.done(
        "set -e; id=$(cat /etc/convocate-agent/agent-id); \
         entry=/root/shell/etc/convocate/agent-keys/$id; mkdir -p $entry; \
         echo 127.0.0.1 >$entry/agent-host; \
         convocate-agent install --no-image --json | \
             sed -n 's/.*\"host_key\":\"\\([^\"]*\\)\".*/\\1/p' >$entry/host_key.pub; \
         ssh-keygen -q -t ed25519 -N '' -f $entry/shell_to_agent_ed25519_key; \
         cat $entry/shell_to_agent_ed25519_key.pub >>/etc/convocate-agent/authorized_keys",
    );
}

pub fn listing(host: &Host) -> String {
    host.sh(&format!("{CLIENT} ls {ROOT}")).out
}

fn wait_until_running(host: &Host, what: &str) {
    wait_until(PATIENCE, what, || listing(host).lines().any(|line| line.starts_with("R  one ")));
}

#[test]
fn sessions_outlive_all_that_is_below_them() {
    let test = "sessions_outlive_all_that_is_below_them";
    let Some(host) = host_with_image(test) else { return };
    host.bring_image(IMAGE);
    // The image is there, so nothing is built.
    let report = host.done("/root/convocate-agent install");
    assert!(report.contains(&format!("session image {IMAGE} … ok")), "{report}");
    enrol(&host);
    host.done(&format!("{CLIENT} new one --command bash {ROOT}"));
    host.done(&format!("{CLIENT} restart one {ROOT}"));
    assert!(listing(&host).contains("R  one "), "{}", listing(&host));

    is_bounded(&host);
    lends_terminals(&host);
    erases_what_is_roots(&host);
    outlives(&host);
    old_images_go(&host);
    builds_the_operators_own(&host);
}

/// The container is below the slice, whose limits the kernel knows.
fn is_bounded(host: &Host) {
    let tree = host.done("systemd-cgls --no-pager -u convocate-sessions.slice");
    assert!(tree.contains("docker-") && tree.contains("entrypoint bash"), "{tree}");
    let unit = |name: &str| {
        let file = "/etc/systemd/system/convocate-sessions.slice";
        host.done(&format!("sed -n 's/^{name}=//p' {file}"))
    };
    let of_kernel = |one: &str, two: &str| {
        let below = "convocate.slice/convocate-sessions.slice";
        let [one, two] = [one, two].map(|file| file.replace("SLICE", below));
        host.done(&format!("cat /sys/fs/cgroup/{one} 2>/dev/null || cat /sys/fs/cgroup/{two}"))
    };
    let memory: u64 = unit("MemoryMax").parse().expect("bytes");
    let limit = of_kernel("memory/SLICE/memory.limit_in_bytes", "SLICE/memory.max");
    let limit: u64 = limit.parse().expect("bytes");
    // The kernel rounds down to pages.
    assert!(limit <= memory && memory - limit < 4096, "{limit} for {memory}");
    let percent: u64 = unit("CPUQuota").trim_end_matches('%').parse().expect("percent");
    let quota = of_kernel("cpu/SLICE/cpu.cfs_quota_us", "SLICE/cpu.max");
    let quota = quota.split(' ').next().unwrap_or_default().to_owned();
    assert_eq!(quota, (percent * 1000).to_string());
}

/// In its sandbox, too, the agent opens terminals among those of a container, so that what is shown
/// does not come through Docker.
fn lends_terminals(host: &Host) {
    // It reads from a FIFO that it holds open itself: an end would be typed as Ctrl-D.
    host.done(&format!(
        "mkfifo /root/keys; systemd-run --quiet --unit=looks -E TERM=xterm \
         sh -c 'script -qfc \"{CLIENT} attach one {ROOT}\" /root/shown <>/root/keys'"
    ));
    let lent = "ls -l /proc/$(systemctl show -p MainPID --value convocate-agent)/fd | grep -c ptmx";
    if poll(PATIENCE, || (host.sh(lent).out.trim() == "1").then_some(())).is_none() {
        let there = "cat -v /root/shown; ps axf -o pid,stat,wchan:20,args; docker ps -a; \
                     journalctl -n 40 -u convocate-agent -u looks -u docker";
        panic!("no terminal is lent; there are:\n{}", host.sh(there).text);
    }
    host.done("printf 'echo $((7 * 61))\\r' >/root/keys");
    wait_until(PATIENCE, "what is shown", || host.sh("grep -q 427 /root/shown").code == 0);
    host.done("systemctl stop looks");
    wait_until(PATIENCE, "it to be given back", || host.sh(lent).out.trim() == "0");
    wait_until_running(host, "nobody to be attached");
}

/// The agent is no root. What root has left in a home is gone with it all the same, and nothing
/// that a link in there points to.
fn erases_what_is_roots(host: &Host) {
    host.done(&format!("{CLIENT} new rooted --command bash {ROOT}"));
    host.done(
        "set -e; record=$(grep -l rooted /var/lib/convocate-agent/sessions/*); \
         cd /home/claude/$(basename $record .json); \
         install -d -m 0700 deep/er; touch deep/er/file; chmod 0555 deep/er deep; \
         install -d -m 0755 -o 1234 sticky; chmod +t sticky; touch sticky/file; mkfifo deep/fifo; \
         ln -s /home/claude/.skel deep/skeleton; ln -s loop deep/loop; \
         touch /home/claude/.skel/kept",
    );
    host.done(&format!("{CLIENT} rm rooted {ROOT}"));
    let left = || host.sh("find /home/claude -name '.deleted-*'; docker ps -aq -f name=emptying");
    wait_until(PATIENCE, "nothing to be left", || left().text.trim().is_empty());
    assert_eq!(host.done("ls /home/claude/.skel"), "kept");
    host.done("rm /home/claude/.skel/kept");
    assert!(!listing(host).contains("rooted"), "{}", listing(host));
}

/// Its agent, a new version of that, Docker, the host.
fn outlives(host: &Host) {
    let started = || host.done("docker inspect -f '{{.State.StartedAt}}' $(docker ps -q)");
    let before = started();
    host.done("systemctl restart convocate-agent");
    host.done("systemctl stop convocate-agent; systemctl start convocate-agent");
    host.done("touch /usr/local/bin/convocate-agent; /root/convocate-agent install");
    host.done("kill -9 $(systemctl show -p MainPID --value convocate-agent)");
    wait_until_running(host, "the agent to be back");
    assert_eq!(started(), before, "the container was restarted");

    host.done("systemctl restart docker");
    wait_until_running(host, "the session to run behind a restart of Docker");

    let boot = host.boot_id();
    host.reboot();
    assert_ne!(host.boot_id(), boot);
    wait_until_running(host, "the session to run behind a reboot");
    // The operator is told, although Docker started it and not the agent.
    let told = "journalctl -b -u convocate-agent -o cat | grep container.started";
    wait_until(PATIENCE, "the start to be told", || host.sh(told).code == 0);
}

/// Only images that nothing names are removed, by what cron calls every day.
fn old_images_go(host: &Host) {
    host.done(&format!("docker tag {IMAGE} convocate:old; docker tag {IMAGE} other:old"));
    // The same image under another name is needed: a container was made from it.
    host.done("/etc/cron.daily/convocate-image-prune");
    let images = || host.done("docker images --format '{{.Repository}}:{{.Tag}}' | sort");
    assert_eq!(images(), format!("{IMAGE}\nconvocate:old\nother:old"));
    host.done(
        "docker rmi other:old convocate:old; cd /root; mkdir empty; \
         tar -c -C empty . | docker import - convocate:older",
    );
    assert!(images().contains("convocate:older"));
    host.done("/etc/cron.daily/convocate-image-prune");
    assert_eq!(images(), IMAGE);
}

/// The image of sources in `/etc/convocate/image`, on a base that the host's engine has.
fn builds_the_operators_own(host: &Host) {
    let install = "/root/convocate-agent install";
    let id = |name: &str| host.done(&format!("docker image inspect -f '{{{{.Id}}}}' {name}"));
    let said = |what: &str| {
        host.done(&format!("{CLIENT} kill one {ROOT}; {CLIENT} restart one {ROOT}"));
        assert_eq!(host.done("docker exec $(docker ps -q) cat /etc/own"), what);
    };
    host.done(&format!(
        "set -e; docker tag {IMAGE} base:1; docker rmi {IMAGE}; mkdir -p /etc/convocate/image; \
         cd /etc/convocate/image; echo first >own; \
         printf 'ARG BASE=none\\nFROM $BASE\\nCOPY own /etc/\\nRUN grep . /etc/own\\n' >Dockerfile"
    ));
    // Its own choice of a base is not there, and no registry either.
    let told = host.sh(install);
    assert!(told.code == 1 && told.text.contains("FAILED: docker: "), "{}", told.text);
    let install = &format!("{install} --base base:1");
    let report = host.done(install);
    assert!(report.contains(&format!("build {IMAGE} on base:1")), "{report}");
    assert_eq!((summary(&report)[1], summary(&host.done(install))[1]), (1, 0), "{report}");
    assert_eq!(host.done("cat /etc/convocate-agent/current-image"), IMAGE);
    said("first");

    // What cannot be built is told with its last words, and leaves all as it was.
    let (first, containers) = (id(IMAGE), host.done("docker ps -aq"));
    host.done(
        "cd /etc/convocate/image; cp Dockerfile /root; \
         echo 'RUN seq 100; echo its last words; exit 7' >>Dockerfile",
    );
    let told = host.sh(install);
    assert_eq!(told.code, 1, "{}", told.text);
    let words = ["exit 7' returned a non-zero code: 7", "| 100\n", "| its last words\n"];
    assert!(words.iter().all(|words| told.text.contains(words)), "{}", told.text);
    assert!(!told.text.contains("| 50\n"), "{}", told.text);
    assert_eq!((id(IMAGE), host.done("docker ps -aq")), (first.clone(), containers));
    said("first");

    // Other sources make another image; the one before goes when no session is left of it.
    host.done("cd /etc/convocate/image; cp /root/Dockerfile .; echo second >own");
    let report = host.done(install);
    assert!(report.contains("build it again, for its sources have changed"), "{report}");
    assert_eq!(summary(&host.done(install))[1], 0);
    let prune = "/etc/cron.daily/convocate-image-prune; docker images -qf dangling=true --no-trunc";
    assert_eq!(host.done(prune), first);
    said("second");
    assert_eq!(host.done(prune), "");
}
