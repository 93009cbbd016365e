//! Images sent from this machine's Docker engine to a host's, over the stock ssh: only what is
//! missing, always the same image, and never another one under the name.

mod support;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use convocate::provision::remote::ship::{self, RECEIVER, SENDER};
use convocate::provision::run::send::ShipReport;
use rustix::process::Signal;
use serde_json::Value;
use support::process::{self, CONVOCATE, CONVOCATE_HOST, Finished, Running};
use support::root::Root;
use support::testbed::{Host, Kind, NEEDS};
use support::wait::wait_until;
use support::{DOCKER_SOCKET, Need};

/// A few tens of MB go through two engines that have work.
const PATIENCE: Duration = Duration::from_secs(300);
/// Random bytes of the layers that stay, and of the one on top.
const BASE_KIB: usize = 24 * 1024;
const TOP_KIB: usize = 1024;

/// An image of this machine's engine, and the directory that it is made of.
struct Image {
    root: Root,
    name: String,
}

impl Image {
    fn new() -> Image {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("convocate-test-ship-{}-{count}:1", std::process::id());
        let image = Image { root: Root::new(), name };
        image.fill("base", BASE_KIB);
        image.write("image/Dockerfile", "FROM scratch\nCOPY base /\nCOPY top /\n", 0o644);
        image
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        self.root.write(&self.root.dir().join(name), text, mode);
    }

    /// A file of the image, of fresh random bytes.
    fn fill(&self, name: &str, kib: usize) {
        let path = self.root.dir().join("image").join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it is ours");
        let made = Command::new("head")
            .args(["-c", &format!("{kib}K"), "/dev/urandom"])
            .stdout(fs::File::create(path).expect("it is ours"))
            .status();
        assert!(made.expect("head runs").success());
    }

    /// Gives the image another top layer. Its id.
    fn build(&self) -> String {
        self.fill("top", TOP_KIB);
        let built = Command::new("docker")
            .args(["build", "--quiet", "--tag", &self.name, "--label", &self.label()])
            .arg(self.root.dir().join("image"))
            .env("DOCKER_BUILDKIT", "0")
            .output()
            .expect("docker runs");
        let said = String::from_utf8_lossy(&built.stdout).trim().to_owned();
        assert!(said.starts_with("sha256:"), "{}", String::from_utf8_lossy(&built.stderr));
        said
    }

    /// What all images of this test have.
    fn label(&self) -> String {
        format!("convocate.test.ship={}", self.name)
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let label = format!("label={}", self.label());
        let listed =
            Command::new("docker").args(["images", "--quiet", "--filter", &label]).output();
        let listed = listed.map(|output| output.stdout).unwrap_or_default();
        for id in String::from_utf8_lossy(&listed).split_whitespace() {
            let _removed = Command::new("docker").args(["rmi", "--force", id]).output();
        }
    }
}

/// An image, and an ssh that reaches one host as `web-1`.
struct Source {
    image: Image,
}

impl Source {
    fn new(host: &Host) -> Source {
        let source = Source { image: Image::new() };
        let dir = source.image.root.dir().display();
        let key = source.image.root.dir().join("id");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.expect("ssh-keygen runs").success());
        let public = fs::read_to_string(key.with_extension("pub")).expect("it was written");
        host.done(&format!(
            "mkdir -p -m 700 /root/.ssh && echo '{}' >/root/.ssh/authorized_keys",
            public.trim()
        ));
        let address = host.done("ip -4 -o addr show eth0 | sed 's,.*inet \\([0-9.]*\\)/.*,\\1,'");
        let host_key = host.done("cat /etc/ssh/ssh_host_ed25519_key.pub");
        source.image.write("known", &format!("testbed {host_key}\n"), 0o600);
        let settings = format!(
            "Host web-1\n  HostName {address}\n  User root\n  IdentityFile {dir}/id\n  \
             IdentitiesOnly yes\n  HostKeyAlias testbed\n  UserKnownHostsFile {dir}/known\n  \
             StrictHostKeyChecking yes\n  BatchMode yes\n"
        );
        source.image.write("config", &settings, 0o600);
        let ssh = process::find("ssh").expect("it was looked for");
        // What the receiver hears ends after `cut` bytes; what it says is bettered once by `lie`.
        let wrapper = format!(
            "#!/bin/sh\nset -- {} -F {dir}/config \"$@\"\ncase \"$*\" in *receive-image*)\n\
             if [ -e {dir}/cut ]; then stdbuf -o0 head -c \"$(cat {dir}/cut)\" | \"$@\"; exit; fi\n\
             if [ -e {dir}/lie ]; then rm {dir}/lie; \"$@\" | \
             sed -u 's/\"layers\":0/\"layers\":2/'; exit; fi;;\nesac\nexec \"$@\"\n",
            ssh.display()
        );
        source.image.write("bin/ssh", &wrapper, 0o755);
        source
    }

    /// Where programs are looked for: ours first.
    fn path(&self) -> OsString {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = self.image.root.dir().join("bin");
        let all = std::iter::once(own).chain(std::env::split_paths(&path));
        std::env::join_paths(all).expect("no colon is in a name")
    }

    /// Sends the image as if this machine were another shell host: a sender, a receiver, and us in
    /// the middle.
    fn relayed(&self) -> ShipReport {
        let path = format!("PATH={}", self.path().display());
        let sender = ["env", &path, CONVOCATE, SENDER].map(str::to_owned);
        let ssh = self.image.root.dir().join("bin/ssh").display().to_string();
        let receiver = [&ssh, "web-1", "/root/convocate-host", RECEIVER].map(str::to_owned);
        let sender = ship::Source::There(sender.to_vec());
        ship::ship(&sender, &receiver, &self.image.name, &mut |_| true).expect("it is sent")
    }

    fn ship(&self) -> Finished {
        let path = self.path();
        let mut command = process::command(&self.image.root, Path::new(CONVOCATE_HOST));
        command.env("PATH", path).env("TMPDIR", self.image.root.dir());
        command.args(["ship-image", "--host", "web-1", "--json", &self.image.name]);
        process::run(&mut command, b"", PATIENCE)
    }

    /// Sends the image: the report of how that went.
    fn shipped(&self) -> Value {
        let told = self.ship().expect_done().out();
        let last: Value = serde_json::from_str(told.lines().last().expect("a line")).expect("JSON");
        assert_eq!(last["line"], "image", "{told}");
        last
    }

    /// What the host has under the name.
    fn there(&self, host: &Host) -> String {
        host.sh(&format!("docker image inspect -f '{{{{.Id}}}}' {}", self.image.name))
            .out
            .trim()
            .into()
    }
}

#[test]
fn only_what_is_missing_is_sent_and_the_name_is_never_wrong() {
    let test = "only_what_is_missing_is_sent_and_the_name_is_never_wrong";
    let needs = [Need::Program("ssh"), Need::Program("ssh-keygen")];
    if !support::has(test, &NEEDS) || !support::has(test, &needs) {
        return;
    }
    let host = Host::start(Kind::Docker);
    if let Err(why) = host.bring_programs() {
        support::skip(test, &format!("program: ours do not run on Debian 12: {why}"));
        return;
    }
    let source = Source::new(&host);
    let base = u64::try_from(BASE_KIB * 1024).expect("small");
    let top = u64::try_from(TOP_KIB * 1024).expect("small");
    let wire = |report: &Value| report["wire_bytes"].as_u64().expect("a number");

    // All of it, then the top alone, then nothing.
    let first = source.image.build();
    let report = source.shipped();
    assert_eq!((&report["sent"], &report["id"]), (&2.into(), &first.as_str().into()), "{report}");
    assert!(wire(&report) > base && wire(&report) < (base + top) * 11 / 10, "{report}");
    assert_eq!(source.there(&host), first);
    let second = source.image.build();
    assert_ne!(second, first);
    let report = source.shipped();
    assert_eq!((&report["layers"], &report["sent"]), (&2.into(), &1.into()), "{report}");
    assert!(wire(&report) < top * 3 / 2, "{report}");
    assert_eq!(source.there(&host), second);
    let report = source.shipped();
    assert_eq!((&report["sent"], wire(&report)), (&0.into(), 0), "{report}");

    // Cut anywhere, the name means what it did before; the next call sends it.
    let third = source.image.build();
    for cut in [0, 100, 1000, top / 2, top, top + 500] {
        source.image.write("cut", &cut.to_string(), 0o644);
        let finished = source.ship();
        assert_eq!(finished.code(), 1, "cut at {cut}: {}{}", finished.out(), finished.err());
        assert_eq!(source.there(&host), second, "cut at {cut}");
    }
    fs::remove_file(source.image.root.dir().join("cut")).expect("it is there");
    assert_eq!(source.shipped()["sent"], 1);
    assert_eq!(source.there(&host), third);

    // Layers that are not there after all: all of them are sent, and the report says why.
    host.done(&format!(
        "docker rmi --force {} && docker image prune --all --force",
        source.image.name
    ));
    source.image.write("lie", "", 0o644);
    let report = source.shipped();
    assert_eq!(report["sent"], 2, "{report}");
    let why = report["why_whole"].as_str().expect("a reason");
    assert!(why.contains("a first try failed"), "{why}");
    assert_eq!(source.there(&host), third);
    assert_eq!(host.sh("ls -d /var/lib/convocate-host.*").out, "");

    // From another shell host: bytes go through here.
    host.put(Path::new(CONVOCATE_HOST), "/root/convocate-host");
    let fourth = source.image.build();
    let shipped = source.relayed();
    assert_eq!((shipped.sent, shipped.why_whole), (1, None));
    assert_eq!(source.there(&host), fourth);
}

/// A Docker engine of this test, which keeps images in containerd's store.
struct ContainerdEngine {
    root: Root,
    daemon: Running,
}

impl ContainerdEngine {
    /// The first version with this store.
    const SINCE: u32 = 24;

    /// Why there can be none here; `None` if there can.
    fn missing() -> Option<String> {
        let output = Command::new("dockerd").arg("--version").output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = said
            .split_whitespace()
            .find_map(|word| word.split_once('.').and_then(|(major, _)| major.parse::<u32>().ok()));
        let is_there = version.is_some_and(|version| version >= ContainerdEngine::SINCE);
        (!is_there).then(|| format!("containerd store: not in {}", said.trim()))
    }

    fn start() -> ContainerdEngine {
        let root = Root::new();
        let at = |name: &str| root.dir().join(name);
        // Whatever disk this is on, it can hold copies.
        let settings = r#"{"features":{"containerd-snapshotter":true},"storage-driver":"native"}"#;
        root.write(&at("daemon.json"), settings, 0o600);
        // In a network of its own: an engine without a bridge removes the one of the machine's.
        let mut command = process::command(&root, "unshare");
        command.args(["--net", "dockerd"]);
        for (flag, name) in [
            ("--config-file", "daemon.json"),
            ("--data-root", "data"),
            ("--exec-root", "exec"),
            ("--pidfile", "pid"),
        ] {
            command.arg(flag).arg(at(name));
        }
        command.arg("--host").arg(format!("unix://{}", at("sock").display()));
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        let daemon = Running::start(&mut command);
        let engine = ContainerdEngine { root, daemon };
        wait_until(PATIENCE, "the engine answers", || engine.docker(&["version"]).status.success());
        engine
    }

    fn socket(&self) -> PathBuf {
        self.root.dir().join("sock")
    }

    fn docker(&self, arguments: &[&str]) -> Output {
        let host = format!("unix://{}", self.socket().display());
        let output = Command::new("docker").args(["--host", &host]).args(arguments).output();
        output.expect("docker runs")
    }

    /// The words that run a receiver for this engine.
    fn receiver(&self) -> Vec<String> {
        let program = CONVOCATE_HOST.to_owned();
        vec![
            program,
            RECEIVER.into(),
            "--docker-socket".into(),
            self.socket().display().to_string(),
        ]
    }
}

impl Drop for ContainerdEngine {
    fn drop(&mut self) {
        // It ends its containerd, which a kill would leave behind.
        self.daemon.signal(Signal::TERM);
        self.daemon.finish(PATIENCE);
    }
}

#[test]
fn an_update_costs_its_top_layer_where_containerd_keeps_the_images() {
    let test = "an_update_costs_its_top_layer_where_containerd_keeps_the_images";
    if !support::has(
        test,
        &[Need::Docker, Need::Root, Need::Program("dockerd"), Need::Program("unshare")],
    ) {
        return;
    }
    if let Some(why) = ContainerdEngine::missing() {
        support::skip(test, &why);
        return;
    }
    let engine = ContainerdEngine::start();
    let image = Image::new();
    let here = ship::Source::Here(DOCKER_SOCKET.into());
    let send = |source: &ship::Source, receiver: &[String]| {
        ship::ship(source, receiver, &image.name, &mut |_| true).expect("it is sent")
    };
    let layers = |output: Output| String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let format = ["image", "inspect", "-f", "{{json .RootFS.Layers}}", &image.name];
    let there = || layers(engine.docker(&format));
    let own = || layers(Command::new("docker").args(format).output().expect("docker runs"));
    let top = u64::try_from(TOP_KIB * 1024).expect("small");

    image.build();
    let shipped = send(&here, &engine.receiver());
    assert_eq!((shipped.sent, shipped.why_whole), (2, None));
    assert_eq!(there(), own());
    let second = image.build();
    let shipped = send(&here, &engine.receiver());
    assert_eq!((shipped.sent, shipped.why_whole), (1, None));
    assert!(shipped.wire_bytes < top * 3 / 2, "{} bytes", shipped.wire_bytes);
    assert_eq!(there(), own());

    // And back, where the top layer is not there any more.
    let removed = Command::new("docker").args(["rmi", "--force", &image.name]).output();
    assert!(removed.expect("docker runs").status.success());
    let back = ship::Source::Here(engine.socket());
    let receiver = [CONVOCATE_HOST, RECEIVER].map(str::to_owned);
    let shipped = send(&back, &receiver);
    assert_eq!((shipped.sent, shipped.why_whole), (1, None));
    assert!(shipped.wire_bytes < top * 3 / 2, "{} bytes", shipped.wire_bytes);
    assert_eq!(there(), own());
    let id =
        Command::new("docker").args(["image", "inspect", "-f", "{{.Id}}", &image.name]).output();
    assert_eq!(layers(id.expect("docker runs")), second);
}
