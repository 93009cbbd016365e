//! Images sent from this machine's Docker engine to a host's, over the stock ssh: only what is
//! missing, always the same image, and never another one under the name.

mod support;

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use convocate::provision::remote::ship::{self, RECEIVER, SENDER};
use convocate::provision::run::send::Shipped;
use serde_json::Value;
use support::Need;
use support::process::{self, CONVOCATE, CONVOCATE_HOST, Finished};
use support::root::Root;
use support::testbed::{Host, Kind, NEEDS};

/// A few tens of MB go through two engines that have work.
const PATIENCE: Duration = Duration::from_secs(300);
/// Random bytes of the layers that stay, and of the one on top.
const BASE_KIB: usize = 24 * 1024;
const TOP_KIB: usize = 1024;

/// An image of this machine's engine, and an ssh that reaches one host as `web-1`.
struct Source {
    root: Root,
    name: String,
}

impl Source {
    fn new(host: &Host) -> Source {
        let name = format!("convocate-test-ship-{}:1", std::process::id());
        let source = Source { root: Root::new(), name };
        let dir = source.root.dir().display();
        let key = source.root.dir().join("id");
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
        source.write("known", &format!("testbed {host_key}\n"), 0o600);
        let settings = format!(
            "Host web-1\n  HostName {address}\n  User root\n  IdentityFile {dir}/id\n  \
             IdentitiesOnly yes\n  HostKeyAlias testbed\n  UserKnownHostsFile {dir}/known\n  \
             StrictHostKeyChecking yes\n  BatchMode yes\n"
        );
        source.write("config", &settings, 0o600);
        let ssh = process::find("ssh").expect("it was looked for");
        // What the receiver hears ends after `cut` bytes; what it says is bettered once by `lie`.
        let wrapper = format!(
            "#!/bin/sh\nset -- {} -F {dir}/config \"$@\"\ncase \"$*\" in *receive-image*)\n\
             if [ -e {dir}/cut ]; then stdbuf -o0 head -c \"$(cat {dir}/cut)\" | \"$@\"; exit; fi\n\
             if [ -e {dir}/lie ]; then rm {dir}/lie; \"$@\" | \
             sed -u 's/\"layers\":0/\"layers\":2/'; exit; fi;;\nesac\nexec \"$@\"\n",
            ssh.display()
        );
        source.write("bin/ssh", &wrapper, 0o755);
        // Indexes of layers are unpacked by it: it tells that they were, unless `packed` is there.
        // With `damaged` the first byte of every part is another.
        let gzip = process::find("gzip").expect("every system has it");
        let wrapper = format!(
            "#!/bin/sh\n[ ! -e {dir}/packed ] || exit 1\ntouch {dir}/unpacked\n\
             if [ -e {dir}/damaged ]; then {0} \"$@\" | \
             sed 's/\"payload\":\"[^\"]/\"payload\":\"Z/'; exit; fi\nexec {0} \"$@\"\n",
            gzip.display()
        );
        source.write("bin/gzip", &wrapper, 0o755);
        source.fill("base", BASE_KIB);
        source.write("image/Dockerfile", "FROM scratch\nCOPY base /\nCOPY top /\n", 0o644);
        source
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
        format!("convocate.test.ship={}", std::process::id())
    }

    /// Where programs are looked for: ours first.
    fn path(&self) -> OsString {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = self.root.dir().join("bin");
        let all = std::iter::once(own).chain(std::env::split_paths(&path));
        std::env::join_paths(all).expect("no colon is in a name")
    }

    /// Sends the image as if this machine were another shell host: a sender, a receiver, and us in
    /// the middle.
    fn relayed(&self) -> Shipped {
        let path = format!("PATH={}", self.path().display());
        let sender = ["env", &path, CONVOCATE, SENDER].map(str::to_owned);
        let ssh = self.root.dir().join("bin/ssh").display().to_string();
        let receiver = [&ssh, "web-1", "/root/convocate-host", RECEIVER].map(str::to_owned);
        let sender = ship::Source::There(sender.to_vec());
        ship::ship(&sender, &receiver, &self.name, &mut |_| true).expect("it is sent")
    }

    fn ship(&self) -> Finished {
        let path = self.path();
        let mut command = process::command(&self.root, Path::new(CONVOCATE_HOST));
        command.env("PATH", path).env("TMPDIR", self.root.dir());
        command.args(["ship-image", "--host", "web-1", "--json", &self.name]);
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
        host.sh(&format!("docker image inspect -f '{{{{.Id}}}}' {}", self.name)).out.trim().into()
    }
}

impl Drop for Source {
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
    let first = source.build();
    let report = source.shipped();
    assert_eq!((&report["sent"], &report["id"]), (&2.into(), &first.as_str().into()), "{report}");
    assert!(wire(&report) > base && wire(&report) < (base + top) * 11 / 10, "{report}");
    assert_eq!(source.there(&host), first);
    let by_files = || source.root.dir().join("unpacked").exists();
    assert!(by_files(), "the Engine was asked to pack what lies there for root to read");
    let second = source.build();
    assert_ne!(second, first);
    let report = source.shipped();
    assert_eq!((&report["layers"], &report["sent"]), (&2.into(), &1.into()), "{report}");
    assert!(wire(&report) < top * 3 / 2, "{report}");
    assert_eq!(source.there(&host), second);
    let report = source.shipped();
    assert_eq!((&report["sent"], wire(&report)), (&0.into(), 0), "{report}");

    // Cut anywhere, the name means what it did before; the next call sends it.
    let third = source.build();
    for cut in [0, 100, 1000, top / 2, top, top + 500] {
        source.write("cut", &cut.to_string(), 0o644);
        let finished = source.ship();
        assert_eq!(finished.code(), 1, "cut at {cut}: {}{}", finished.out(), finished.err());
        assert_eq!(source.there(&host), second, "cut at {cut}");
    }
    fs::remove_file(source.root.dir().join("cut")).expect("it is there");
    // Without its files, the Engine here packs all, and what is not needed is left out.
    fs::remove_file(source.root.dir().join("unpacked")).expect("it is there");
    source.write("packed", "", 0o644);
    assert_eq!(source.shipped()["sent"], 1);
    assert_eq!(source.there(&host), third);
    assert!(!by_files());

    // Layers that are not there after all: all of them are sent, and the report says why.
    host.done(&format!("docker rmi --force {} && docker image prune --all --force", source.name));
    source.write("lie", "", 0o644);
    let report = source.shipped();
    assert_eq!(report["sent"], 2, "{report}");
    let why = report["why_whole"].as_str().expect("a reason");
    assert!(why.contains("a first try failed"), "{why}");
    assert_eq!(source.there(&host), third);
    assert_eq!(host.sh("ls -d /var/lib/convocate-host.*").out, "");
    falls_back_from_damaged_files(&host, &source, &third);
}

/// Files of the Engine that are not its layers: the Engine is asked, wherever the sender is, and
/// also where the receiver has no layer that could be left out.
fn falls_back_from_damaged_files(host: &Host, source: &Source, id: &str) {
    let forget = format!("docker rmi --force {} && docker image prune --all --force", source.name);
    fs::remove_file(source.root.dir().join("packed")).expect("it is there");
    source.write("damaged", "", 0o644);
    host.done(&forget);
    let report = source.shipped();
    let why = report["why_whole"].as_str().expect("a reason");
    assert!(why.contains("a first try failed: the Engine's files are not its layer"), "{why}");
    assert_eq!(source.there(host), id);

    host.put(Path::new(CONVOCATE_HOST), "/root/convocate-host");
    host.done(&forget);
    let shipped = source.relayed();
    let why = shipped.why_whole.expect("a reason");
    assert!(why.contains("a first try failed: the files of the Engine that sends"), "{why}");
    assert_eq!((source.there(host), shipped.sent), (id.to_owned(), 2));
}
