//! A session that reaches names and nothing else: what works by its proxy, and every way out that
//! must not.

use serde_json::Value;

use crate::house::{House, NEEDS, json};
use crate::support::{self, Need};
use crate::world::World;

const MORE_NEEDS: [Need; 4] = [
    Need::Program("python3"),
    Need::Program("openssl"),
    Need::Program("ip"),
    Need::Program("unshare"),
];

fn open(test: &str) -> Option<(House, World)> {
    if !support::has(test, &MORE_NEEDS) || !support::has(test, &NEEDS) {
        return None;
    }
    House::open_by(test, World::start, World::agent_call)
}

/// A session with these rules that runs.
fn session(house: &House, world: &World, name: &str, rules: &[&str]) -> String {
    let rules = rules.iter().flat_map(|rule| ["--allow", rule]);
    let more: Vec<&str> = ["--egress", "list"].into_iter().chain(rules).collect();
    let id = house.create(name, &more);
    world.trusted_by(house, &id);
    house.done(&["restart", &id]);
    id
}

/// What a command in it prints, which must succeed.
#[track_caller]
fn done(house: &House, id: &str, script: &str) -> String {
    let call = house.inside(id, script);
    assert_eq!(call.code(), 0, "{script}: {}{}\n{}", call.out(), call.err(), house.agent.log());
    call.out()
}

fn told(house: &House, id: &str) -> Value {
    json(&house.done(&["egress", id, "--json"]).out())
}

const CURL: &str = "curl -sS -m 20 --cacert ~/world.pem";

#[test]
fn names_that_are_allowed_are_reached_and_nothing_else_is() {
    let Some((house, world)) = open("names_that_are_allowed_are_reached_and_nothing_else_is")
    else {
        return;
    };
    let id = &session(&house, &world, "work", &["good.example", "*.good.example"]);
    for url in
        ["https://good.example/who", "http://good.example/who", "https://www.good.example/who"]
    {
        let host = url.split('/').nth(2).unwrap();
        assert_eq!(done(&house, id, &format!("{CURL} {url}")), format!("you asked {host}\n"));
    }
    let by_socks = format!("{CURL} -x socks5h://127.0.0.1:3128 https://good.example/who");
    assert_eq!(done(&house, id, &by_socks), "you asked good.example\n");
    for url in ["https://other.example/who", "http://other.example/who"] {
        let call = house.inside(id, &format!("{CURL} -f {url}"));
        assert_ne!(call.code(), 0, "{url}: {}", call.out());
        assert!(call.err().contains("403"), "{url}: {}", call.err());
    }
    assert!(!world.log().contains("other.example"), "{}", world.log());
    let told = told(&house, id);
    let refused = told["now"]["refused"].as_array().unwrap();
    let of = |what: &str| refused.iter().find(|it| it["what"] == what).cloned().unwrap();
    assert_eq!(of("other.example:443")["allow"], "other.example", "{told}");
    // Allowed while it runs, at once, and forbidden again.
    house.done(&["edit", id, "--allow", "other.example"]);
    assert_eq!(
        done(&house, id, &format!("{CURL} https://other.example/who")),
        "you asked other.example\n"
    );
    house.done(&["edit", id, "--deny", "other.example"]);
    assert_ne!(house.inside(id, &format!("{CURL} https://other.example/who")).code(), 0);
}
