//! What ran when the engine went, and what runs when it is back.

use std::net::{Ipv4Addr, TcpListener};

use crate::house::{House, container};
use crate::support::wait::{PATIENCE, poll, wait_until};

/// A port that nobody has now, held.
fn hold_port(port: u16) -> TcpListener {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("the port is free")
}

#[test]
fn what_ran_runs_again_after_the_engine_and_after_the_agent() {
    let test = "what_ran_runs_again_after_the_engine_and_after_the_agent";
    let Some(mut house) = House::open(test) else { return };
    let [up, rests] = ["up", "rests"].map(|name| house.create(name, &[]));
    house.done(&["restart", "up"]);
    house.done(&["restart", "rests"]);
    house.done(&["kill", "rests"]);

    house.engine.go_down();
    house.docker(&["rm", "-f", &container(&up)]).expect_done();
    house.engine.come_back();
    house.wait_for_log(r#""cause":"engine""#);
    house.wait_for_state(&up, "R");
    assert_eq!(house.show(&up)["ended"], serde_json::Value::Null);

    // The agent dies, and the container while there is none.
    house.agent.kill();
    house.docker(&["kill", &container(&up)]).expect_done();
    house.restart_agent();
    house.wait_for_state(&up, "R");
    assert_eq!(house.state(&rests), "-");

    // A command that ends by itself meanwhile has ended.
    wait_until(PATIENCE, "the container's tmux", || {
        house.inside(&up, "tmux has-session").code() == 0
    });
    house.engine.go_down();
    house.docker(&["update", "--restart", "no", &container(&up)]).expect_done();
    house.inside(&up, "tmux send-keys 'exit 7' Enter").expect_done();
    let status = ["inspect", "-f", "{{.State.Status}}", &container(&up)];
    wait_until(PATIENCE, "its end", || house.docker(&status).out().trim() == "exited");
    house.engine.come_back();
    house.wait_for_log(r#""exit_code":7"#);
    assert_eq!(house.state(&up), "-");
}

#[test]
fn a_port_that_is_taken_is_told_and_given_back_it_starts_the_session() {
    let test = "a_port_that_is_taken_is_told_and_given_back_it_starts_the_session";
    let Some(house) = House::open(test) else { return };
    let port = hold_port(0).local_addr().expect("it listens").port();
    let id = house.create("web", &["--port", &port.to_string()]);
    house.done(&["restart", "web"]);
    house.engine.go_down();
    house.docker(&["rm", "-f", &container(&id)]).expect_done();
    let held = hold_port(port);
    house.engine.come_back();
    let reason = poll(PATIENCE, || {
        house.show(&id)["ended"]["reason"].as_str().map(str::to_owned).filter(|it| !it.is_empty())
    });
    let reason = reason.expect("why it does not run");
    assert!(reason.contains(&port.to_string()) && reason.contains("--port auto"), "{reason}");
    let told = house.done(&["ls"]).err();
    assert!(told.contains("session \"web\"") && told.contains("ss -lntup"), "{told}");
    assert!(house.done(&["show", "web"]).out().contains("could not be started again"));
    house.wait_for_log(r#""reason":"docker: "#);
    drop(held);
    house.wait_for_state(&id, "R");
}
