//! New sessions from profiles on a running agent: what a profile gives, what beats it, what is
//! refused; the repository, the setup command, the prompt and the variables of a first start.

#![allow(clippy::panic, reason = "a harness has no other way to fail a test")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::Need;
use support::agent::Agent;
use support::process::{CONVOCATE, Finished, command, run};
use support::wait::{PATIENCE, poll};

fn start(test: &str) -> Option<Agent> {
    let needs = [Need::Program("ssh-keygen"), Need::Program("tmux"), Need::Program("git")];
    support::has(test, &needs).then(Agent::start)
}

fn client(agent: &Agent, arguments: &[&str]) -> Finished {
    let mut call = command(&agent.files.root, CONVOCATE);
    call.args(arguments).env("CONVOCATE_ROOT", agent.files.root.dir());
    run(&mut call, b"", PATIENCE)
}

#[track_caller]
fn json(finished: &Finished) -> Value {
    serde_json::from_slice(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"))
}

#[track_caller]
fn fails(finished: &Finished, status: i32, words: &str) {
    assert_eq!(finished.code(), status, "{finished:?}");
    assert!(finished.err().contains(words), "{}", finished.err());
}

#[track_caller]
fn shows(agent: &Agent, session: &str, text: &str) -> String {
    let mut last = String::new();
    let found = poll(PATIENCE, || {
        last = client(agent, &["screen", session]).expect_done().out();
        last.contains(text).then_some(())
    });
    assert!(found.is_some(), "{text:?} is not on the screen:\n{last}");
    last
}

fn profile(agent: &Agent, name: &str, text: &str) -> PathBuf {
    let path = agent.files.root.paths().profiles().join(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("the root is ours");
    fs::write(&path, text).expect("the root is ours");
    path
}

/// Makes a session, and tells it as it is shown.
#[track_caller]
fn made(agent: &Agent, arguments: &[&str]) -> Value {
    let made = client(agent, &[&["new"], arguments, &["--json"]].concat()).expect_done();
    let id = json(&made)["uuid"].as_str().expect("a session has an id").to_owned();
    json(&client(agent, &["show", &id, "--json"]).expect_done())
}

fn git(directory: &Path, arguments: &[&str]) {
    let mut call = Command::new("git");
    call.current_dir(directory).args(["-c", "user.name=a", "-c", "user.email=a@example"]);
    call.env("HOME", directory).env("GIT_CONFIG_NOSYSTEM", "1");
    let done = call.args(arguments).output().expect("git runs");
    assert!(done.status.success(), "{done:?}");
}

/// A bare repository with branches `main` and `side`, whose file `which` names them.
fn repository(path: &Path) {
    let work = path.with_extension("work");
    fs::create_dir_all(&work).expect("the root is ours");
    git(&work, &["init", "-q", "-b", "main"]);
    for branch in ["main", "side"] {
        fs::write(work.join("which"), format!("{branch}-files\n")).expect("the root is ours");
        git(&work, &["add", "which"]);
        git(&work, &["commit", "-q", "-m", branch]);
        if branch == "main" {
            git(&work, &["checkout", "-q", "-b", "side"]);
        }
    }
    git(&work, &["checkout", "-q", "main"]);
    git(&work, &["clone", "-q", "--bare", ".", path.to_str().expect("text")]);
}

#[test]
fn a_profile_is_used_and_options_beat_it() {
    let Some(agent) = start("a_profile_is_used_and_options_beat_it") else { return };
    profile(&agent, "team", "# ours\nmemory = 1g\ncpus 0.5\npids 99\ncommand cat # x\nenv A=1\n");
    let web = made(&agent, &["web", "--profile", "team", "--memory", "2g", "--env", "B=2"]);
    assert_eq!((&web["profile"], &web["memory"]), (&json!("team"), &json!(2_u64 << 30)));
    assert_eq!((&web["cpus"], &web["pids"]), (&json!(0.5), &json!(99)));
    assert_eq!((&web["command"], &web["env"]), (&json!("cat # x"), &json!({"A": "1", "B": "2"})));

    let without = made(&agent, &["plain"]);
    assert_eq!((&without["profile"], &without["env"]), (&Value::Null, &Value::Null));
    profile(&agent, "default", "pids 77\n");
    let usual = made(&agent, &["usual"]);
    assert_eq!((&usual["profile"], &usual["pids"]), (&json!("default"), &json!(77)));
    let none = made(&agent, &["none", "--profile", "none"]);
    assert_eq!((&none["profile"], &none["pids"]), (&Value::Null, &without["pids"]));

    let list = json(&client(&agent, &["ls", "--json"]).expect_done());
    let rows = list["sessions"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["name"] == "web").expect("it is listed");
    assert_eq!((&row["profile"], &row["env"]), (&json!("team"), &Value::Null));
    let shown = client(&agent, &["show", "web"]).expect_done().out();
    for line in ["profile       team\n", "env           A=1\n", "env           B=2\n"] {
        assert!(shown.contains(line), "{shown}");
    }

    client(&agent, &["edit", "web", "--env", "A", "--env", "C=3 4"]).expect_done();
    let edited = json(&client(&agent, &["show", "web", "--json"]).expect_done());
    assert_eq!(edited["env"], json!({"B": "2", "C": "3 4"}));
    client(&agent, &["clone", "web", "copy"]).expect_done();
    let copy = json(&client(&agent, &["show", "copy", "--json"]).expect_done());
    assert_eq!((&copy["env"], &copy["profile"]), (&edited["env"], &json!("team")));
}

#[test]
fn profiles_are_listed_and_checked() {
    let Some(agent) = start("profiles_are_listed_and_checked") else { return };
    let empty = client(&agent, &["profiles"]).expect_done();
    assert!(empty.err().contains("there are no profiles in "), "{empty:?}");
    profile(&agent, "team", "memory 1g\nprompt fix #12\nenv A=1\n");
    let listed = client(&agent, &["profiles"]).expect_done().out();
    assert!(listed.contains("team     prompt fix #12, env A=1, memory 1g\n"), "{listed}");
    let told = json(&client(&agent, &["profiles", "--json"]).expect_done());
    let settings = json!({"memory": "1g", "prompt": "fix #12", "env": {"A": "1"}});
    assert_eq!(told["profiles"], json!([{"profile": "team", "settings": settings, "error": null}]));
    let check = ["profiles", "--check", "team", "--pids", "9", "--memory", "2g", "--json"];
    let checked = json(&client(&agent, &check).expect_done());
    let setting = |name: &str| checked["settings"][name].clone();
    assert_eq!(setting("memory"), json!({"value": "2g", "from": "option"}));
    assert_eq!(setting("prompt"), json!({"value": "fix #12", "from": "profile"}));
    assert_eq!(setting("cpus"), json!({"value": null, "from": "default"}));
    let text = client(&agent, &check[..3]).expect_done().out();
    assert!(text.contains("prompt        profile  fix #12\n"), "{text}");
    assert!(
        text.contains("command       default  claude --dangerously-skip-permissions\n"),
        "{text}"
    );
}

#[test]
fn what_is_wrong_is_refused_with_file_and_line() {
    let Some(agent) = start("what_is_wrong_is_refused_with_file_and_line") else { return };
    let path = profile(&agent, "bad", "memory 1g\n\nsecret /x\n");
    let words = format!("profile bad: {}: line 3: \"secret\" is no setting", path.display());
    fails(&client(&agent, &["new", "x", "--profile", "bad"]), 1, &words);
    fails(&client(&agent, &["profiles", "--check", "bad"]), 1, &words);
    fails(&client(&agent, &["profiles"]), 1, &words);
    fails(&client(&agent, &["new", "x", "--profile", "gone"]), 1, "there is no profile gone: ");
    fails(&client(&agent, &["new", "x", "--profile", "../x"]), 2, "profile \"../x\" must be");
    let link = agent.files.root.paths().profiles().join("link");
    std::os::unix::fs::symlink(&path, &link).expect("the root is ours");
    fails(&client(&agent, &["new", "x", "--profile", "link"]), 1, &link.display().to_string());
    // A default that is wrong is not passed over.
    fs::rename(&path, path.with_file_name("default")).expect("the root is ours");
    fails(&client(&agent, &["new", "x"]), 1, "line 3");
    for (arguments, words) in [
        (&["--env", "PATH=/x"][..], "env PATH is not for a profile"),
        (&["--env", "A"], "env \"A\" must be NAME=VALUE"),
        (&["--env", "A=1", "--env", "A=2"], "env A stands here a second time"),
        (&["--repo", "--upload-pack=id"], "must be like https://"),
        (&["--repo", "ext::sh -c id"], "must be like https://"),
    ] {
        let call = [&["new", "x", "--profile", "none"], arguments].concat();
        fails(&client(&agent, &call), 2, words);
    }
    let alone = ["new", "x", "--profile", "none", "--branch", "main"];
    fails(&client(&agent, &alone), 1, "branch main needs a repo");
    let image = ["new", "x", "--profile", "none", "--image", "a:1"];
    fails(&client(&agent, &image), 1, "image a:1 needs Docker");
    made(&agent, &["x", "--profile", "none"]);
    fails(&client(&agent, &["diff", "x"]), 1, "session \"x\" was made without a --repo");
    let list = json(&client(&agent, &["ls", "--json"]).expect_done());
    assert_eq!(list["sessions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn variables_reach_the_command_and_exec() {
    let Some(agent) = start("variables_reach_the_command_and_exec") else { return };
    let value = "it's \"x\" $(id) #";
    profile(&agent, "default", &format!("env COLOUR={value}\ncommand echo \"<$COLOUR>\"; cat\n"));
    made(&agent, &["web", "--env", "LANG=C"]);
    client(&agent, &["start", "web"]).expect_done();
    shows(&agent, "web", &format!("<{value}>"));
    let said = client(&agent, &["exec", "web", "--", "env"]).expect_done().out();
    assert!(said.contains(&format!("\nCOLOUR={value}\n")), "{said}");
    assert!(!said.contains("CONVOCATE_"), "{said}");
}

#[test]
fn a_repository_is_cloned_and_the_prompt_given_once() {
    let Some(agent) = start("a_repository_is_cloned_and_the_prompt_given_once") else { return };
    let address = agent.files.root.dir().join("web.git");
    repository(&address);
    let reader = "sh -c 'echo \"[$1]\"; pwd; cat which; exec cat' reader";
    let text = format!(
        "repo {}\nbranch side\nsetup echo set >>log\nprompt don't $(stop) #1\ncommand {reader}\n",
        address.display()
    );
    profile(&agent, "default", &text);
    let web = made(&agent, &["web"]);
    assert_eq!((&web["branch"], &web["prompt"]), (&json!("side"), &json!("don't $(stop) #1")));
    let home = agent.files.root.paths().sessions().join(web["uuid"].as_str().expect("an id"));
    client(&agent, &["start", "web"]).expect_done();
    let shown = shows(&agent, "web", "side-files");
    assert!(shown.contains("[don't $(stop) #1]") && shown.contains("/web\n"), "{shown}");
    for again in 1..=2 {
        client(&agent, &["kill", "web"]).expect_done();
        client(&agent, &["start", "web"]).expect_done();
        let shown = shows(&agent, "web", "side-files");
        assert!(shown.contains("[]") && !shown.contains("cloning"), "{again}: {shown}");
    }
    assert_eq!(fs::read_to_string(home.join("web/log")).expect("it ran"), "set\n");
    client(&agent, &["exec", "web", "--", "sh", "-c", "echo new >>web/which"]).expect_done();
    let diff = client(&agent, &["diff", "web"]).expect_done();
    assert!(diff.out().contains("\n+new\n"), "{diff:?}");
    assert_eq!(diff.err(), "not followed: log\n");
    client(&agent, &["edit", "web", "--prompt", "go on"]).expect_done();
    client(&agent, &["kill", "web"]).expect_done();
    client(&agent, &["start", "web"]).expect_done();
    shows(&agent, "web", "[go on]");

    // The repository's own choice, and an option without the profile's branch.
    client(&agent, &["clone", "web", "copy"]).expect_done();
    client(&agent, &["start", "copy"]).expect_done();
    let shown = shows(&agent, "copy", "side-files");
    assert!(shown.contains("[]"), "{shown}");
    let address = address.to_str().expect("text");
    made(&agent, &["main", "--repo", address, "--prompt", "", "--setup", ""]);
    client(&agent, &["start", "main"]).expect_done();
    shows(&agent, "main", "main-files");
}

#[test]
fn a_repository_is_told_with_its_branch_and_what_is_not_pushed() {
    let Some(agent) = start("a_repository_is_told_with_its_branch_and_what_is_not_pushed") else {
        return;
    };
    let address = agent.files.root.dir().join("web.git");
    repository(&address);
    let address = address.to_str().expect("text");
    made(&agent, &["web", "--repo", address, "--branch", "side", "--command", "cat"]);
    made(&agent, &["plain", "--command", "cat"]);
    client(&agent, &["start", "web", "plain"]).expect_done();
    let told = |branch: &str, ahead: u64, dirty: u64| {
        let mut last = Value::Null;
        let found = poll(PATIENCE, || {
            let list = json(&client(&agent, &["ls", "--json"]).expect_done());
            let rows = list["sessions"].as_array().expect("a list").clone();
            assert!(rows.iter().all(|row| row["name"] == "web" || row["repository"].is_null()));
            last = rows.into_iter().find(|row| row["name"] == "web").expect("it is listed");
            let seen = &last["repository"];
            let is_it = seen["branch"] == branch && seen["ahead"] == ahead;
            (is_it && seen["dirty"] == dirty).then_some(())
        });
        assert!(found.is_some(), "{branch} {ahead} {dirty}: {last}");
    };
    told("side", 0, 0);
    let work = "cd web && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m one \
                && echo more >>which && touch new";
    client(&agent, &["exec", "web", "--", "sh", "-c", work]).expect_done();
    told("side", 1, 2);
    let shown = client(&agent, &["show", "web"]).expect_done().out();
    assert!(
        shown.contains("repository    side, 1 commit ahead, 2 files changed, seen "),
        "{shown}"
    );
    let listed = client(&agent, &["ls"]).expect_done().out();
    assert!(listed.contains("BRANCH") && listed.contains("side +1 *2"), "{listed}");
    // A branch without an upstream, and what runs no more.
    client(&agent, &["exec", "web", "--", "sh", "-c", "cd web && git checkout -qb 'my/fix'"])
        .expect_done();
    told("my/fix", 1, 2);
    client(&agent, &["kill", "web"]).expect_done();
    told("my/fix", 1, 2);
}

#[test]
fn a_clone_that_fails_leaves_a_shell_and_a_restart_tries_again() {
    let name = "a_clone_that_fails_leaves_a_shell_and_a_restart_tries_again";
    let Some(agent) = start(name) else { return };
    let address = agent.files.root.dir().join("late.git");
    let text = address.to_str().expect("text");
    made(&agent, &["web", "--repo", text, "--command", "cat which -", "--prompt", "./which"]);
    client(&agent, &["start", "web"]).expect_done();
    let shown = shows(&agent, "web", "this is a shell");
    assert!(shown.contains("git clone ended with status 128"), "{shown}");
    client(&agent, &["send", "web", "echo a-$((1 + 1))"]).expect_done();
    shows(&agent, "web", "\na-2\n");

    repository(&address);
    client(&agent, &["kill", "web"]).expect_done();
    client(&agent, &["start", "web"]).expect_done();
    // Nobody had read the prompt.
    let shown = shows(&agent, "web", "main-files");
    assert!(shown.contains("cloning"), "{shown}");
}
