//! Each session has a git key that its agent keeps: git over ssh works in the container, with the
//! real sshd as the git host, and the key is not there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use serde_json::Value;

use crate::house::{House, NEEDS, container};
use crate::support::git_host::GitHost;
use crate::support::hub::Hub;
use crate::support::process::{CONVOCATE, Running, command, run};
use crate::support::wait::{PATIENCE, poll};
use crate::support::{self, Need};

fn can(test: &str) -> bool {
    let more = ["sshd", "git", "ssh-keygen"].map(Need::Program);
    support::has(test, &NEEDS) && support::has(test, &more)
}

/// The address of this machine for containers.
pub fn gateway(house: &House) -> std::net::IpAddr {
    let found =
        house.docker(&["network", "inspect", "bridge", "-f", "{{json .IPAM.Config}}"]).out();
    let config: Value = serde_json::from_str(&found).unwrap();
    let subnet = config[0]["Subnet"].as_str().unwrap().split_once(".0/").unwrap().0.to_owned();
    let found = config[0]["Gateway"].as_str().map_or(format!("{subnet}.1"), str::to_owned);
    found.parse().unwrap_or_else(|error| panic!("{found:?}: {error}"))
}

fn events(house: &House) -> Running {
    let root = &house.agent.files.root;
    let mut call = command(root, CONVOCATE);
    call.args(["events", "--since", "1h", "--root"]).arg(root.dir());
    Running::start(&mut call)
}

#[track_caller]
fn refused(house: &House, session: &str, script: &str) -> String {
    let call = house.inside(session, script);
    assert_ne!(call.code(), 0, "{script}: {}", call.out());
    format!("{}{}", call.out(), call.err())
}

#[test]
fn git_works_with_a_key_that_is_not_in_the_container() {
    let test = "git_works_with_a_key_that_is_not_in_the_container";
    if !can(test) {
        return;
    }
    let Some((house, _hub)) = House::open_on(test, Hub::start) else { return };
    let told = events(&house);
    let host = GitHost::start(&house.agent.files.root, gateway(&house));
    let made = house.done(&["new", "work", "--command", "bash --norc", "--cpus", "0.5", "--json"]);
    let made: Value = serde_json::from_str(&made.out()).unwrap();
    let (id, key) = (made["uuid"].as_str().unwrap(), made["ssh_key"].as_str().unwrap());
    assert_eq!(house.show(id)["ssh_key"], key);
    assert!(house.done(&["show", id]).out().contains(key));
    house.done(&["restart", id]);
    // Nobody has given it to the git host yet.
    let login = format!("{} true", host.login());
    assert!(refused(&house, id, &login).contains("Permission denied"), "{}", host.log());
    host.admit(&[key]);
    let terminal = house.attach(id, "git", &[]);
    let clone = format!(
        "export GIT_SSH_COMMAND='ssh -o StrictHostKeyChecking=accept-new'; \
         git clone -q {} repository; echo clo''ned $?",
        host.url()
    );
    terminal.type_text(&clone);
    terminal.press("Enter");
    terminal.wait_for("cloned 0");
    let commit = format!(
        "cd repository && git checkout -q -b main && git -c user.name=s -c user.email=s@x \
         -c gpg.format=ssh -c user.signingkey='key::{key}' commit -q -S --allow-empty -m signed \
         && git push -q origin main; echo pu''shed $?"
    );
    terminal.type_text(&commit);
    terminal.press("Enter");
    terminal.wait_for("pushed 0");
    drop(terminal);
    let root = &house.agent.files.root;
    let signers = root.dir().join("signers");
    root.write(&signers, &format!("s@x {key}\n"), 0o600);
    let mut verify = command(root, "git");
    verify.arg("-C").arg(host.repository()).arg("-c");
    verify.arg(format!("gpg.ssh.allowedSignersFile={}", signers.display()));
    let verified = run(verify.args(["verify-commit", "main"]), b"", PATIENCE).expect_done();
    assert!(verified.err().contains("Good \"git\" signature for s@x"), "{}", verified.err());
    let seen = poll(PATIENCE, || {
        let text = told.stdout.text();
        let has_all = ["  git\n", "  login, host key SHA256:", "user root"]
            .iter()
            .all(|part| text.contains(part));
        (has_all && text.matches("session.signed").count() >= 3).then_some(())
    });
    assert!(seen.is_some(), "{}", told.stdout.text());
    nothing_of_it_is_elsewhere(&house, id, &told.stdout.text());
}

/// The private half is in its file, and in no other place.
fn nothing_of_it_is_elsewhere(house: &House, id: &str, events: &str) {
    let state = house.agent.files.root.paths().agent_state();
    let file = state.join("sessions").join(format!("{id}.key"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let text = fs::read_to_string(&file).unwrap();
    // The lines with the seed; those before are the public half's.
    let secret: Vec<&str> = text.lines().filter(|line| !line.starts_with("---")).skip(2).collect();
    assert!(secret.len() >= 2, "{} lines", secret.len());
    let record = fs::read_to_string(state.join("sessions").join(format!("{id}.json"))).unwrap();
    let inspected = house.docker(&["inspect", &container(id)]).out();
    assert!(inspected.contains("/run/convocate/agent"), "{inspected}");
    let log = house.agent.log();
    for line in &secret {
        for (place, text) in [
            ("record", &record),
            ("inspect", &inspected),
            ("log", &log),
            ("events", &events.to_owned()),
        ] {
            assert!(!text.contains(line), "it is in the {place}");
        }
        let look = format!(
            "grep -rlsF '{line}' /home /run /etc /tmp /var /root; cat /proc/[0-9]*/environ \
             /proc/self/mountinfo 2>/dev/null | tr '\\0' '\\n' | grep -F -e '{line}' -e '{id}.key'"
        );
        let call = house.docker(&["exec", "-u", "0", &container(id), "sh", "-c", &look]);
        assert_eq!(call.out(), "", "{}", call.err());
    }
    let all = ["exec", "-u", "0", &container(id), "ls", "-A", "/run/convocate/agent"];
    assert_eq!(house.docker(&all).out().trim(), "session.sock");
}

#[test]
fn the_socket_lists_and_signs_and_nothing_else() {
    let test = "the_socket_lists_and_signs_and_nothing_else";
    if !can(test) {
        return;
    }
    let Some(mut house) = House::open(test) else { return };
    let id = &house.create("work", &[]);
    house.done(&["restart", id]);
    let key = house.show(id)["ssh_key"].as_str().unwrap().to_owned();
    let listed = house.inside(id, "ssh-add -L").expect_done().out();
    assert_eq!(listed.trim(), key);
    assert!(house.inside(id, "ssh-add -l").expect_done().out().contains("convocate-"));
    house.inside(id, "ssh-keygen -q -t ed25519 -N '' -f ~/own; echo text >~/text").expect_done();
    let ask = "printf '#!/bin/sh\necho word\n' >~/ask && chmod +x ~/ask && \
               SSH_ASKPASS=~/ask SSH_ASKPASS_REQUIRE=force";
    for (script, words) in [
        ("ssh-add ~/own".to_owned(), "agent refused operation"),
        ("ssh-add -D".to_owned(), "Failed to remove all identities"),
        ("ssh-add -L >~/k.pub && ssh-add -d ~/k.pub".to_owned(), "agent refused operation"),
        (format!("{ask} ssh-add -x </dev/null"), "Failed to lock agent"),
        ("ssh-add -s /usr/lib/x.so </dev/null".to_owned(), "Could not add card"),
        ("ssh-keygen -Y sign -n file -f ~/k.pub ~/text".to_owned(), "agent refused operation"),
        ("ssh-add -T ~/k.pub".to_owned(), "agent refused operation"),
    ] {
        let told = refused(&house, id, &script);
        assert!(told.contains(words), "{script}: {told}");
    }
    assert_eq!(house.inside(id, "ssh-add -L").expect_done().out().trim(), key);
    // The mount cannot be written to, and somebody else's process is hung up on even where the
    // file lets it in.
    refused(&house, id, "rm /run/convocate/agent/session.sock");
    let socket = house.agent.files.root.paths().agent_state().join("sockets").join(id);
    let socket = socket.join("session.sock");
    let stranger = ["exec", "-u", "12345", &container(id), "ssh-add", "-l"];
    assert!(house.docker(&stranger).err().contains("Permission denied"));
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let hung_up = house.docker(&stranger);
    assert!(hung_up.code() != 0 && hung_up.out().is_empty(), "{}", hung_up.out());

    // An agent that dies takes the socket with it, and the next one gives it back.
    house.agent.process().signal(Signal::KILL);
    let dead = poll(PATIENCE, || (house.inside(id, "ssh-add -l").code() == 2).then_some(()));
    assert!(dead.is_some());
    house.restart_agent();
    let back = poll(PATIENCE, || (house.inside(id, "ssh-add -l").code() == 0).then_some(()));
    assert!(back.is_some(), "{}", house.agent.log());
    assert_eq!(house.inside(id, "ssh-add -L").expect_done().out().trim(), key);

    // A clone has another one.
    house.done(&["clone", id, "copy"]);
    let copy = house.show("copy")["ssh_key"].as_str().unwrap().to_owned();
    assert!(copy.starts_with("ssh-ed25519 ") && copy != key, "{copy}");

    // Another one, and none, at once.
    let other = house.done(&["edit", id, "--ssh-key", "new", "--json"]).out();
    let other: Value = serde_json::from_str(&other).unwrap();
    assert_ne!(other["ssh_key"], key.as_str());
    assert_eq!(house.inside(id, "ssh-add -L").expect_done().out().trim(), other["ssh_key"]);
    house.done(&["edit", id, "--ssh-key", "none"]);
    assert_eq!(house.inside(id, "ssh-add -l").code(), 2);
    assert_eq!(house.show(id)["ssh_key"], "none");
    let files = house.agent.files.root.paths().agent_state();
    assert!(!files.join("sessions").join(format!("{id}.key")).exists());
    house.done(&["kill", id]);
    house.done(&["restart", id]);
    refused(&house, id, "env | grep SSH_AUTH_SOCK");
    assert!(!socket.exists());
    house.done(&["rm", "copy"]);
    house.done(&["rm", id]);
    let left = |name: &str| fs::read_dir(files.join(name)).unwrap().count();
    assert_eq!((left("sockets"), left("sessions")), (0, 0));
}
