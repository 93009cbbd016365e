//! A session on each agent, as the operator has it from the shell host: made, attached, at work;
//! what its host logs of it, its name, its events.

use std::time::Duration;

use serde_json::Value;

use super::Cluster;
use super::operator::Operator;
use super::support::root::Root;
use super::support::terminal::Terminal;
use super::support::testbed::Host;
use super::support::wait::{poll, wait_for, wait_until};

/// How long until something has come about on three hosts that share this machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn each_agent_has_one(operator: &Operator, cluster: &Cluster) {
    let shell = &cluster.shell;
    let root = Root::new();
    for (name, host) in cluster.named() {
        let agent = host.done("cat /etc/convocate-agent/agent-id");
        let made =
            format!("convocate new at-{name} --agent {agent} --dns at-{name} --command bash");
        let made: Value = serde_json::from_str(&shell.done(&format!("{made} --json")))
            .expect("what was made, as JSON");
        let id = made["uuid"].as_str().unwrap_or_else(|| panic!("no id: {made}")).to_owned();
        let attach = operator.at_a_terminal("shell", &format!("convocate attach {id}"));
        let terminal = Terminal::start(&root, name, (100, 30), &attach);
        a_person_works_in_it(&terminal, host, name, &id);
        its_log_line_arrives(shell, &agent, &id);
        its_name_resolves(shell, name);
        its_events_arrive(shell, &id);
    }
}

/// Waits for the session's screen, and writes a file.
fn a_person_works_in_it(terminal: &Terminal, host: &Host, name: &str, id: &str) {
    // A person types when there is something to type at.
    if poll(PATIENCE, || terminal.screen().contains("detaches").then_some(())).is_none() {
        let there = host.sh("docker ps -a; journalctl -n 40 -u convocate-agent -u docker").text;
        panic!("at-{name} has no screen:\n{}{there}", terminal.screen());
    }
    // What is shown is not yet what is read: the words of the answer are not those of the line.
    terminal.type_text("echo written > note; echo it is $(cat note) here");
    terminal.press("Enter");
    let answered =
        poll(PATIENCE, || terminal.screen().contains("it is written here").then_some(()));
    assert!(answered.is_some(), "at-{name} does not answer:\n{}", terminal.screen());
    assert_eq!(host.done(&format!("cat /home/claude/{id}/note")), "written");
}

/// What its container says, and not what stands on its terminal, is logged by its host under the
/// session's tag, and collected.
fn its_log_line_arrives(shell: &Host, agent: &str, id: &str) {
    let log = format!("/var/log/convocate-agent/{agent}.log");
    let find = format!("grep -F convocate-session/{id} {log} | grep -F 'session started: bash'");
    wait_until(PATIENCE, "its log line", || shell.sh(&find).code == 0);
}

/// By the shell host's dnsmasq, which is asked alone: other names are nobody's business here.
fn its_name_resolves(shell: &Host, name: &str) {
    let written = format!("grep -E ' at-{name}$' /var/lib/convocate/dnsmasq-hosts");
    let line = wait_for(PATIENCE, "a line for the name", || {
        Some(shell.sh(&written)).filter(|told| told.code == 0)
    });
    let address = line.out.split_whitespace().next().expect("it has an address").to_owned();
    shell.done("echo nameserver 127.0.0.1 >/root/resolv.conf");
    let ask = "mount --bind /root/resolv.conf /etc/resolv.conf && getent ahosts";
    wait_until(PATIENCE, "dnsmasq's answer", || {
        shell.sh(&format!("unshare -m sh -c '{ask} at-{name}'")).out.starts_with(&address)
    });
}

fn its_events_arrive(shell: &Host, id: &str) {
    let ask = "timeout 1 convocate events --since 10m --json";
    let kinds = ["container.created", "container.started", "session.attached"];
    let told = wait_for(PATIENCE, "its events", || {
        let events = shell.sh(ask).out;
        let of_it: Vec<&str> = events.lines().filter(|line| line.contains(id)).collect();
        let has = |kind: &str| of_it.iter().any(|line| line.contains(kind));
        kinds.iter().all(|kind| has(kind)).then_some(of_it.len())
    });
    assert!(told >= kinds.len());
}
