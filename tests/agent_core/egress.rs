//! A session that reaches names alone: its connections are carried while it runs, by the rules that
//! it has now.

use convocate::agent::config::{Config, RuntimeKind};
use convocate::agent::work::RuntimeEvent;
use convocate::base::uuid::Uuid;
use serde_json::{Value, json};

use crate::host::{Host, config};

fn carried(host: &Host, id: Uuid) -> Option<Value> {
    host.carried.get(&id).map(|rules| json!(rules))
}

fn edit(host: &mut Host, id: Uuid, mut params: Value) -> Result<Value, String> {
    params["id"] = json!(id.to_string());
    let caller = host.line(&json!({ "op": "edit", "params": params }).to_string());
    host.settle();
    host.answer(caller)
}

#[test]
fn it_is_carried_while_it_runs_and_other_rules_hold_at_once() {
    let mut host = Host::new();
    let id = host.create_with(r#"{"name":"a","egress":"list","allow":["npm","!x.org"]}"#);
    assert_eq!(carried(&host, id), None);
    let start = host.op("restart", id);
    host.settled(start);
    assert_eq!(carried(&host, id), Some(json!(["npm", "!x.org"])));
    let change = json!({ "allow": { "add": ["x.org"], "remove": ["npm"] } });
    edit(&mut host, id, change).unwrap();
    assert_eq!(carried(&host, id), Some(json!(["x.org"])));
    let get = host.op("get", id);
    assert_eq!(host.settled(get)["allow"], json!(["x.org"]));
    // What it is to be at its next start changes nothing now.
    edit(&mut host, id, json!({ "egress": "none" })).unwrap();
    assert_eq!(carried(&host, id), Some(json!(["x.org"])));
    let asked = host.op("egress", id);
    assert_eq!(host.settled(asked), json!({ "egress": "none", "allow": ["x.org"], "now": null }));
    let kill = host.op("kill", id);
    host.settled(kill);
    assert_eq!(carried(&host, id), None);
    let start = host.op("restart", id);
    host.settled(start);
    assert_eq!(carried(&host, id), None);
}

#[test]
fn a_new_agent_and_a_new_run_carry_it_again() {
    let mut host = Host::new();
    let id = host.create_with(r#"{"name":"a","egress":"list","allow":["a.org"]}"#);
    let start = host.op("restart", id);
    host.settled(start);
    host.carried.clear();
    host.crash();
    host.settle();
    assert_eq!(carried(&host, id), Some(json!(["a.org"])));
    host.carried.clear();
    let mut again = host.running[&id].clone();
    again.started_at = host.now.wall;
    host.wait(std::time::Duration::from_secs(60));
    again.started_at = host.now.wall;
    host.running.insert(id, again.clone());
    host.news(RuntimeEvent::Started(again));
    host.settle();
    assert_eq!(carried(&host, id), Some(json!(["a.org"])));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let mut host = Host::new();
    for (params, why) in [
        (r#"{"name":"a","allow":["npm"]}"#, "is chosen with egress list"),
        (r#"{"name":"a","egress":"none","allow":["npm"]}"#, "is chosen with egress list"),
        (r#"{"name":"a","egress":"list","port":-1,"protocol":"udp"}"#, "a tcp port only"),
    ] {
        let caller = host.line(&format!(r#"{{"op":"create","params":{params}}}"#));
        host.settle();
        assert!(host.error(caller).contains(why), "{params}: {}", host.error(caller));
    }
    let id = host.create("open");
    let error = edit(&mut host, id, json!({ "allow": { "add": ["npm"] } })).unwrap_err();
    assert!(error.contains("is chosen with egress list"), "{error}");
    edit(&mut host, id, json!({ "egress": "list", "allow": { "add": ["npm"] } })).unwrap();
    let mut host = Host::with(Config { runtime: RuntimeKind::Host, ..config() });
    let caller = host.line(r#"{"op":"create","params":{"name":"a","egress":"list"}}"#);
    host.settle();
    assert!(host.error(caller).contains("needs a container"), "{}", host.error(caller));
}
