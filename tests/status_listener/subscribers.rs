//! Many who listen, one of whom never reads.

use convocate::rpc::STATUS_SUBSYSTEM;
use serde_json::json;

use crate::house::{Shell, can};
use crate::support::agent::AGENT_ID;

const EVENTS: usize = 20_000;

#[test]
fn a_hundred_listen_and_one_that_never_reads_costs_the_others_nothing() {
    if !can("a_hundred_listen_and_one_that_never_reads_costs_the_others_nothing") {
        return;
    }
    let house = Shell::start();
    let (mut deaf, _) = house.hub.listen();
    let mut readers: Vec<_> = (0..99).map(|_| house.hub.listen().0).collect();
    let line = |number: usize| {
        let event = json!({
            "type": "x.many", "agent_id": AGENT_ID, "timestamp": "2026-01-02T03:04:05Z",
            "data": { "number": number, "filler": "f".repeat(200) },
        });
        format!("{event}\n")
    };
    let all: String = (0..EVENTS).map(line).collect();
    std::thread::scope(|scope| {
        let feeds: Vec<_> = readers
            .iter_mut()
            .map(|feed| {
                scope.spawn(move || {
                    let mut newest = None;
                    while newest != Some(EVENTS as u64 - 1) {
                        let line = feed.line();
                        // On a busy machine a reader, too, may fall behind the history.
                        if line.get("snapshot").is_some() {
                            break;
                        }
                        newest = line["event"]["data"]["number"].as_u64().or(newest);
                    }
                })
            })
            .collect();
        let told = house.ssh().subsystem(STATUS_SUBSYSTEM, all.as_bytes());
        let deaf = feeds.into_iter().map(|feed| feed.join()).filter(Result::is_err).count();
        assert_eq!(deaf, 0, "{}\n{}", told.err(), house.hub.log());
    });
    // What the deaf one gets when it reads at last: whole lines, a new snapshot among them, and the
    // newest event at the end.
    let mut snapshots = 0;
    loop {
        let line = deaf.line();
        snapshots += usize::from(line.get("snapshot").is_some());
        if line["event"]["data"]["number"] == EVENTS - 1 || snapshots > 0 {
            break;
        }
    }
    assert_eq!(snapshots, 1, "its place in the history was lost");
}
