//! A session with default caps does its worst, one thing after the other, beside a neighbour.
//!
//! `cargo test --test docker_life does_its_worst -- --nocapture` prints what a ping of the agent
//! and a key in the neighbour's terminal took meanwhile; with `CONVOCATE_HOSTILE_SECONDS=60` it
//! watches each for that long, and not for two seconds.

use std::fs;
use std::os::unix::fs::chown;
use std::time::{Duration, Instant};

use convocate::ssh::ChannelId;
use serde_json::json;

use crate::house::{House, container, timed};
use crate::support::wait::{PATIENCE, pause, poll, wait_until};
use crate::support::wire::Wire;

/// What a user may use up, in perl as a session has it, with Linux's numbers on x86-64. Each goes
/// on until it is killed.
const ATTACKS: [(&str, &str); 14] = [
    ("nothing", "sleep 600"),
    (
        "epoll watches",
        "fork for 1 .. 3; while (1) { my $epoll = syscall(291, 0); rest() if $epoll < 0;
         for (1 .. 15000) { my $one = syscall(290, 0, 0); last if $one < 0;
         last if syscall(233, $epoll, 1, $one, pack('LQ', 1, $one)) < 0 } }",
    ),
    (
        "inotify",
        "fork for 1 .. 3; mkdir 'watched'; while (1) { my $all = syscall(294, 0);
         rest() if $all < 0; for my $one (1 .. 5000) { mkdir \"watched/$one\";
         last if syscall(254, $all, my $path = \"watched/$one\", 0xfff) < 0 } }",
    ),
    ("fork bomb", "while (1) { fork }"),
    ("threads", "require threads; while (1) { rest() if !threads->create(sub { sleep 600 }) }"),
    (
        "files",
        "mkdir 'files'; my $at = 0; while (1) { rest() if !open $held[$at % 20000], '>',
         'files/' . $at++ % 50000 }",
    ),
    (
        "eventfd, pipes",
        "fork for 1 .. 3; my $much = 'x' x 1048576; while (1) { syscall(290, 0, 0);
         my ($out, $in); if (!pipe $out, $in) { rest(); next } push @held, $out, $in;
         fcntl $in, 4, 2048;
         fcntl $in, 1031, 1048576; syswrite $in, $much }",
    ),
    (
        "POSIX queues",
        "my ($at, $size, $text) = (0, pack('q8', 0, 10, 8192, 0, 0, 0, 0, 0), 'x' x 8192);
         while (1) { my $name = 'queue' . $at++; my $one = syscall(240, $name, 0102, 0600, $size);
         if ($one < 0) { rest(); next } syscall(242, $one, $text, 8192, 0, 0) for 1 .. 10 }",
    ),
    (
        "System V IPC",
        "while (1) { my $queue = msgget 0, 01600;
         if (defined $queue) { 1 while msgsnd $queue, pack('q a8000', 1, 'x'), 04000 }
         semget 0, 250, 01600; my $shared = shmget 0, 1 << 24, 01600;
         defined $shared ? shmwrite $shared, 'x' x (1 << 24), 0, 1 << 24 : rest() }",
    ),
    (
        "keys",
        "my ($at, $kind, $text) = (0, 'user', 'x' x 1000); while (1) { my $name = 'key' . $at++;
         rest() if syscall(248, $kind, $name, $text, 1000, -3) < 0 }",
    ),
    (
        "/run, shm, /tmp",
        "while (1) { system \"for at in run run/convocate run/lock dev/shm dev/mqueue tmp; do
         { head -c 300m /dev/zero >/\\$at/full; for one in \\$(seq 9999); do : >/\\$at/\\$one ||
         break; done; } 2>/dev/null & done; wait\" }",
    ),
    ("the home's disk", "while (1) { system 'head -c 512m /dev/zero >big; sync big; rm big' }"),
    (
        "its log",
        "fork; while (1) { if (open my $log, '>', '/proc/1/fd/1') { print $log 'x' x 9999 }
         print 'x' x 999 . \"\\n\" }",
    ),
    (
        "scrollback",
        "system 'tmux resize-window -x 500 -y 50'; for (1 .. 20) { push @held, map {
         sprintf \"\\e[38;2;%d;%d;%dm%c\", $_ % 256, rand 256, rand 256, 33 + rand 90 } 1 .. 499;
         push @held, \"\\n\" } print @held while 1",
    ),
];

/// Before each: it says that it has begun, and waits where it gets no more.
const PRELUDE: &str = "sub rest { select undef, undef, undef, 0.01 }
    $SIG{CHLD} = 'IGNORE'; open my $begun, '>', 'begun'; close $begun; ";

/// The scrollback is to fit a cap as small as this.
const SMALL: [&str; 2] = ["--memory", "256m"];

/// How long each is watched.
fn watched_for() -> Duration {
    let seconds = std::env::var("CONVOCATE_HOSTILE_SECONDS").ok();
    Duration::from_secs(seconds.and_then(|text| text.parse().ok()).unwrap_or(2))
}

#[test]
fn a_session_that_does_its_worst_slows_nobody_and_leaves_nothing() {
    let test = "a_session_that_does_its_worst_slows_nobody_and_leaves_nothing";
    let Some(house) = House::open(test) else { return };
    let quiet = house.create("quiet", &[]);
    house.done(&["edit", "quiet", "--command", "exec cat >/dev/null"]);
    let mut wire = Wire::to(&house.agent);
    let typist = wire.attach(&quiet, 80, 24);
    wire.sees(typist, "detaches");
    eprintln!("{:16} {:>9} {:>9} {:>9}", "p99 of", "ping", "key", "kill");
    for (at, (name, attack)) in ATTACKS.into_iter().enumerate() {
        let hog = format!("hog-{at}");
        let more: &[&str] = if name == "scrollback" { &SMALL } else { &[] };
        let new = ["new", &hog, "--command", "bash --norc", "--json"];
        let made = house.done(&[&new, more].concat()).out();
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        let id = made["uuid"].as_str().unwrap();
        let (uid, home) = (house.user(id), house.home(id));
        fs::write(home.join("attack"), format!("{PRELUDE}{attack}")).unwrap();
        chown(home.join("attack"), Some(uid), Some(uid)).unwrap();
        house.done(&["restart", &hog]);
        wait_until(PATIENCE, "its shell", || {
            house.inside(id, "tmux send-keys 'exec perl attack' Enter").code() == 0
        });
        wait_until(PATIENCE, name, || home.join("begun").exists());

        let (ping, key) = watch(&mut wire, typist);
        if house.state(id) == "R" {
            bounded(&house, id, name);
        } else {
            // In a minute some have all the memory that their session may have.
            let end = format!("container.stopped {id} {{\"cause\":\"oom\"");
            assert!(house.agent.log().contains(&end), "{name} has ended: {}", house.agent.log());
        }
        let ((), took) = timed(|| drop(house.done(&["kill", &hog])));
        eprintln!("{name:16} {:>9.1?} {:>9.1?} {:>9.1?}", ping, key, took);
        assert_eq!(house.state(id), "-", "{name}");
        assert_eq!(house.state(&quiet), "C", "{name}");
        house.done(&["rm", &hog]);
        let left = poll(PATIENCE, || (processes_of(uid) == 0 && !home.exists()).then_some(()));
        assert!(left.is_some(), "{name}: {} processes", processes_of(uid));
        assert!(!house.containers().contains(&container(id)), "{name}");
    }
    // Whatever there was, it has gone with its container.
    assert_eq!(house.names(), ["quiet"]);
}

/// What a ping and a key take, each at the 99th percentile.
fn watch(wire: &mut Wire, typist: ChannelId) -> (Duration, Duration) {
    let (mut pings, mut keys) = (Vec::new(), Vec::new());
    let end = Instant::now() + watched_for();
    while Instant::now() < end || pings.is_empty() {
        pings.push(timed(|| wire.call("ping", &json!(null)).expect("a pong")).1);
        wire.take(typist);
        wire.seen(typist).bytes.clear();
        let letter = ["a", "b", "c"][keys.len() % 3];
        let start = Instant::now();
        wire.send(typist, letter.as_bytes());
        wire.sees(typist, letter);
        keys.push(start.elapsed());
        if keys.len() % 60 == 0 {
            // The line ends, and what that draws is not what comes next.
            wire.send(typist, b"\r");
            pause(Duration::from_millis(20));
            wire.turn();
        }
    }
    let p99 = |mut took: Vec<Duration>| {
        took.sort();
        took[took.len() * 99 / 100]
    };
    (p99(pings), p99(keys))
}

/// What has a bound of its own stays below it.
fn bounded(house: &House, id: &str, name: &str) {
    match name {
        "/run, shm, /tmp" => {
            let script = "cat /proc/mounts; du -sk /run/convocate; ls /run/full /run/lock/full";
            let told = house.inside(id, script);
            let out = told.out();
            let run = out.lines().find(|line| line.ends_with("\t/run/convocate"));
            let kib = run.and_then(|line| line.split('\t').next()?.parse::<u64>().ok());
            // With its directories, which some kernels count.
            assert!(kib.is_some_and(|kib| kib <= (16 << 10) + 64), "{out}");
            let missing = "No such file";
            assert_eq!(told.err().matches(missing).count(), 2, "{}", told.err());
        }
        "scrollback" => {
            wait_until(2 * PATIENCE, "a full scrollback", || {
                let told = house.inside(id, "tmux list-panes -F '#{history_size}'").out();
                told.trim().parse::<u32>().is_ok_and(|lines| lines > 4900)
            });
            assert_eq!(house.state(id), "R", "{}", house.agent.log());
        }
        "its log" => {
            let format = ["inspect", "-f", "{{.LogPath}}", &container(id)];
            let log = house.docker(&format).expect_done().out();
            let bytes = fs::metadata(log.trim()).map_or(0, |log| log.len());
            assert!(bytes < 64 << 10, "{bytes} bytes");
        }
        _ => {}
    }
}

/// How many processes of this machine are of a user.
fn processes_of(uid: u32) -> usize {
    let entries = fs::read_dir("/proc").expect("it is mounted").flatten();
    let statuses = entries.filter_map(|it| fs::read_to_string(it.path().join("status")).ok());
    let is_of = |status: &String| {
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        line.and_then(|line| line.split_whitespace().next()) == Some(uid.to_string().as_str())
    };
    statuses.filter(is_of).count()
}
