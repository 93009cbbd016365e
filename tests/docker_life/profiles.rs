//! What a profile gives to a container: variables, and a repository that the session clones with
//! its own key at its first start, or at a later one.

use std::fs;

use serde_json::json;

use crate::house::{House, NEEDS};
use crate::support::git_host::GitHost;
use crate::support::wait::{PATIENCE, poll};
use crate::support::{self, Need};

#[track_caller]
fn shows(house: &House, session: &str, text: &str) -> String {
    let mut last = String::new();
    let found = poll(PATIENCE, || {
        last = house.done(&["screen", session]).out();
        last.contains(text).then_some(())
    });
    assert!(found.is_some(), "{text:?} is not on the screen:\n{last}");
    last
}

#[test]
fn a_container_has_its_variables_and_its_repository() {
    let test = "a_container_has_its_variables_and_its_repository";
    let more = ["sshd", "git"].map(Need::Program);
    if !support::has(test, &NEEDS) || !support::has(test, &more) {
        return;
    }
    let Some(house) = House::open(test) else { return };
    let host = GitHost::start(&house.agent.files.root, crate::keys::gateway(&house));
    let profiles = house.agent.files.root.paths().profiles();
    fs::create_dir_all(&profiles).unwrap();
    let text = format!(
        "repo {}\nenv GIT_SSH_COMMAND=ssh -o StrictHostKeyChecking=accept-new -o BatchMode=yes\n\
         env COLOUR=deep $(id) blue\nsetup git config user.name s\nprompt it's #1\ncpus 0.2\n\
         command bash -c 'pwd; echo \"<$COLOUR> [$1]\"; git config user.name; exec cat' reader\n",
        host.url()
    );
    fs::write(profiles.join("default"), text).unwrap();
    let made = house.done(&["new", "work", "--json"]).out();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    house.done(&["start", "work"]);
    let shown = shows(&house, "work", "this is a shell");
    assert!(shown.contains("Permission denied"), "{shown}");
    house.done(&["send", "work", "echo a-$((1 + 1))"]);
    shows(&house, "work", "\na-2\n");

    host.admit(&[made["ssh_key"].as_str().unwrap()]);
    house.done(&["restart", "work"]);
    let shown = shows(&house, "work", "\ns\n");
    assert!(shown.contains("/home/claude/repository\n"), "{shown}");
    assert!(shown.contains("<deep $(id) blue> [it's #1]"), "{shown}");
    house.done(&["restart", "work"]);
    let shown = shows(&house, "work", "\ns\n");
    assert!(shown.contains(" []") && !shown.contains("cloning"), "{shown}");
    let said = house.done(&["exec", "work", "printenv", "COLOUR", "HOME"]).out();
    assert_eq!(said, "deep $(id) blue\n/home/claude\n");
    assert_eq!(house.show("work")["profile"], json!("default"));

    // The container's own git says what its repository is like.
    house.done(&["exec", "work", "touch", "repository/new"]);
    let seen = poll(PATIENCE, || {
        let seen = house.show("work")["repository"].clone();
        (seen["dirty"] == 1).then_some(seen)
    });
    let is_named =
        |seen: serde_json::Value| seen["branch"].as_str().is_some_and(|it| !it.is_empty());
    assert!(seen.is_some_and(is_named), "{}", house.show("work"));

    let local = house.call(&["new", "x", "--repo", "/srv/x"]);
    assert!(local.err().contains("is on the host, which a session in a container"), "{local:?}");
}
