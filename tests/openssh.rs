//! The stock OpenSSH client at a running agent: the two subsystems, and everything that is refused.
//!
//! After each refusal the agent still answers.

mod support;

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use support::Need;
use support::agent::Agent;
use support::keys::KeyFile;
use support::openssh::OpenSsh;
use support::process::{Finished, Running, command, run};
use support::wait::{PATIENCE, poll, wait_until};

const RPC: &str = "convocate-agent-rpc";
const ATTACH: &str = "convocate-agent-attach";
const PING: &[u8] = br#"{"op":"ping"}"#;

/// An agent, if this machine can have one.
fn agent(test: &str) -> Option<Agent> {
    let needs = [Need::Program("ssh"), Need::Program("ssh-keygen"), Need::Program("tmux")];
    support::has(test, &needs).then(Agent::start)
}

/// The agent is alive and well, whatever was asked of it before.
#[track_caller]
fn expect_ping(agent: &Agent) {
    let answer = answer_to(OpenSsh::to_agent(agent).subsystem(RPC, PING));
    assert_eq!(answer["result"]["agent_id"], support::agent::AGENT_ID, "{answer}");
}

/// One line of JSON, and nothing else.
#[track_caller]
fn answer_to(call: Finished) -> serde_json::Value {
    let call = call.expect_done();
    let out = call.out();
    assert_eq!(out.matches('\n').count(), 1, "{out:?}");
    serde_json::from_str(&out).expect("one line of JSON")
}

/// It ended, not well, and said why in these words.
#[track_caller]
fn expect_refused(agent: &Agent, call: &Finished, words: &str) {
    assert_ne!(call.code(), 0, "{}", call.out());
    assert!(call.err().contains(words), "{:?}: {}", call.err(), agent.log());
    assert_eq!(call.out(), "");
    expect_ping(agent);
}

// --- what is there ---

#[test]
fn a_request_is_answered_with_and_without_a_newline() {
    let test = "a_request_is_answered_with_and_without_a_newline";
    let Some(agent) = agent(test) else { return };
    let ssh = OpenSsh::to_agent(&agent);
    for request in ["{\"op\":\"list\"}", "{\"op\":\"list\"}\n"] {
        let answer = answer_to(ssh.subsystem(RPC, request.as_bytes()));
        assert_eq!(answer, serde_json::json!({"ok": true, "result": []}), "{request:?}");
    }
}

#[test]
fn a_bad_request_gets_one_sentence() {
    let Some(agent) = agent("a_bad_request_gets_one_sentence") else { return };
    let ssh = OpenSsh::to_agent(&agent);
    for request in ["", "\n", "nonsense\n", "{\"op\":\"fly\"}\n", "{\"op\":\"delete\"}"] {
        let answer = answer_to(ssh.subsystem(RPC, request.as_bytes()));
        assert_eq!(answer["ok"], false, "{request:?}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    }
    expect_ping(&agent);
}

#[test]
fn a_terminal_is_attached_from_its_header_to_its_exit_status() {
    let test = "a_terminal_is_attached_from_its_header_to_its_exit_status";
    let Some(agent) = agent(test) else { return };
    let id = create(&agent);
    let mut attached = Running::start(&mut OpenSsh::to_agent(&agent).command(&["-s"], &[ATTACH]));
    let mut keys = attached.stdin().expect("it was not taken");
    let header = format!("{{\"id\":\"{id}\",\"cols\":100,\"rows\":30}}\n");
    keys.write_all(header.as_bytes()).expect("ssh reads");
    keys.write_all(b"echo to$((40+2))gether; stty size\n").expect("ssh reads");
    let shown = || attached.stdout.text();
    // The last of the rows is the status line's.
    let done = poll(PATIENCE, || {
        (shown().contains("to42gether") && shown().contains("29 100")).then_some(())
    });
    assert!(done.is_some(), "{:?} {}", shown(), agent.log());
    keys.write_all(b"exit\n").expect("ssh reads");
    wait_until(PATIENCE, "the end of the terminal", || attached.stdout.has_ended());
    drop(keys);
    let ended = attached.finish(PATIENCE);
    assert_eq!((ended.code(), ended.err().as_str()), (0, ""), "{}", agent.log());
    expect_ping(&agent);
}

#[test]
fn a_terminal_that_cannot_be_had_is_one_line() {
    let Some(agent) = agent("a_terminal_that_cannot_be_had_is_one_line") else { return };
    let ssh = OpenSsh::to_agent(&agent);
    let unknown = "{\"id\":\"0e8ab8a5-0000-4000-8000-000000000000\"}\n";
    for header in [unknown, "{\"id\":\"../x\"}\n", "\n", ""] {
        let call = ssh.subsystem(ATTACH, header.as_bytes());
        assert_eq!(call.code(), 255, "{header:?}: {}", call.err());
        let answer: serde_json::Value = serde_json::from_str(&call.out()).expect("one line");
        assert_eq!(answer["ok"], false, "{header:?}: {answer}");
    }
    expect_ping(&agent);
}

#[test]
fn many_calls_share_one_connection() {
    let Some(agent) = agent("many_calls_share_one_connection") else { return };
    let ssh = OpenSsh::to_agent(&agent);
    let socket = agent.files.root.dir().join("control");
    let path = format!("ControlPath={}", socket.display());
    let master = ["-o", "ControlMaster=yes", "-o", &path, "-N"];
    let mut master = Running::start(&mut ssh.command(&master, &[]));
    wait_until(PATIENCE, "the control socket", || socket.exists());
    let shared = ["-o", "ControlMaster=no", "-o", &path, "-s"];
    let mut calls: Vec<Running> =
        (0..8).map(|_| Running::start(&mut ssh.command(&shared, &[RPC]))).collect();
    for call in &mut calls {
        let mut input = call.stdin().expect("it was not taken");
        input.write_all(PING).expect("ssh reads");
    }
    for mut call in calls {
        assert_eq!(answer_to(call.finish(PATIENCE))["ok"], true);
    }
    assert!(master.is_alive());
    let connected = agent.log().matches("connected with key").count();
    assert_eq!(connected, 1, "{}", agent.log());
    // A session that is refused is none of the other sessions' concern.
    let shell = ssh.run(&["-o", "ControlMaster=no", "-o", &path], &[], b"");
    assert_ne!(shell.code(), 0);
    assert!(master.is_alive());
    run(&mut ssh.command(&["-O", "exit", "-o", &path], &[]), b"", PATIENCE).expect_done();
    master.finish(PATIENCE);
    expect_ping(&agent);
}

// --- what is not there ---

#[test]
fn shell_and_commands_are_refused() {
    let Some(agent) = agent("shell_and_commands_are_refused") else { return };
    let ssh = OpenSsh::to_agent(&agent);
    expect_refused(&agent, &ssh.run(&[], &[], b""), "shell request failed on channel 0");
    expect_refused(&agent, &ssh.run(&["-T"], &["id"], b""), "exec request failed on channel 0");
    expect_refused(&agent, &ssh.run(&["-tt"], &["id"], b""), "PTY allocation request failed");
}

#[test]
fn subsystems_that_are_not_there_are_refused() {
    let Some(agent) = agent("subsystems_that_are_not_there_are_refused") else { return };
    let ssh = OpenSsh::to_agent(&agent);
    for name in ["nothing", "sftp", "convocate-agent-rpc ", "convocate-status"] {
        let call = ssh.subsystem(name, b"");
        expect_refused(&agent, &call, "subsystem request failed on channel 0");
    }
    // The client's own: exec of the old protocol, subsystem of the new.
    let mut sftp = copier(&agent, "sftp");
    sftp.args(["-P", &agent.address.port().to_string(), "claude@127.0.0.1:/etc/passwd", "x"]);
    expect_refused(&agent, &run(&mut sftp, b"", PATIENCE), "subsystem request failed");
    for legacy in [&[][..], &["-O"]] {
        let mut scp = copier(&agent, "scp");
        scp.args(legacy).args(["-P", &agent.address.port().to_string()]);
        scp.args(["claude@127.0.0.1:/etc/passwd", "x"]);
        expect_refused(&agent, &run(&mut scp, b"", PATIENCE), "request failed");
    }
}

/// `sftp` or `scp` with the options of [`OpenSsh`].
fn copier(agent: &Agent, program: &str) -> std::process::Command {
    let root = &agent.files.root;
    let ssh = OpenSsh::to_agent(agent).command(&[], &[]);
    let mut call = command(root, program);
    // All that stands before the port is the same for all programs of OpenSSH.
    call.args(ssh.get_args().take_while(|argument| *argument != "-p"));
    call
}

#[test]
fn local_forwarding_is_refused() {
    let Some(agent) = agent("local_forwarding_is_refused") else { return };
    let ssh = OpenSsh::to_agent(&agent);
    let target = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target = target.local_addr().expect("it is bound");
    let call = ssh.run(&["-W", &target.to_string()], &[], b"");
    expect_refused(&agent, &call, "open failed: unknown channel type");

    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    let forward = format!("{free}:{target}");
    let mut tunnel = Running::start(&mut ssh.command(&["-N", "-L", &forward], &[]));
    let mut dialled = None;
    wait_until(PATIENCE, "the client to listen", || {
        dialled = TcpStream::connect(free).ok();
        dialled.is_some()
    });
    let said = || tunnel.stderr.text();
    wait_until(PATIENCE, "the refusal", || said().contains("open failed: unknown channel type"));
    assert!(tunnel.is_alive(), "a refused channel ends no connection");
    expect_ping(&agent);
}

#[test]
fn remote_forwarding_is_refused() {
    let Some(agent) = agent("remote_forwarding_is_refused") else { return };
    let ssh = OpenSsh::to_agent(&agent);
    let fatal = ["-o", "ExitOnForwardFailure=yes", "-N", "-R"];
    for forward in ["0:127.0.0.1:9", "9022:127.0.0.1:9", "/tmp/never:127.0.0.1:9"] {
        let call = ssh.run(&[&fatal[..], &[forward]].concat(), &[], b"");
        expect_refused(&agent, &call, "remote port forwarding failed");
    }
}

#[test]
fn forwarding_of_agent_and_display_does_nothing() {
    let Some(agent) = agent("forwarding_of_agent_and_display_does_nothing") else { return };
    let root = &agent.files.root;
    let mut keeper = command(root, "ssh-agent");
    let socket = root.dir().join("keeper");
    let keeper = Running::start(keeper.arg("-D").arg("-a").arg(&socket));
    wait_until(PATIENCE, "ssh-agent", || socket.exists());
    let ssh = OpenSsh::to_agent(&agent);
    let mut call = ssh.command(&["-A", "-v", "-s"], &[RPC]);
    let call = run(call.env("SSH_AUTH_SOCK", &socket), PING, PATIENCE);
    // The client wants no answer to this one, and so it is not told that it is refused.
    assert!(call.err().contains("Requesting authentication agent forwarding"), "{}", call.err());
    assert!(!call.err().contains("client_input_channel_open"), "{}", call.err());
    assert_eq!(answer_to(call)["ok"], true);
    let mut call = ssh.command(&["-Y", "-s"], &[RPC]);
    let call = run(call.env("DISPLAY", "127.0.0.1:77"), PING, PATIENCE);
    assert!(call.err().contains("X11 forwarding request failed on channel 0"), "{}", call.err());
    assert_eq!(answer_to(call)["ok"], true);
    drop(keeper);
    expect_ping(&agent);
}

#[test]
fn only_the_right_key_logs_in() {
    let Some(agent) = agent("only_the_right_key_logs_in") else { return };
    let root = &agent.files.root;
    let refused = "Permission denied (publickey)";
    let foreign = KeyFile::make(root, &root.dir().join("foreign"), "foreign");
    let call = OpenSsh::to_agent(&agent).with_key(&foreign).subsystem(RPC, PING);
    expect_refused(&agent, &call, refused);

    let ssh = OpenSsh::to_agent(&agent);
    let no_key = ["-o", "PubkeyAuthentication=no", "-s"];
    for method in ["password", "keyboard-interactive", "hostbased", "gssapi-with-mic"] {
        let preferred = format!("PreferredAuthentications={method}");
        // In batch mode the client would not even ask for a password.
        let options = [&no_key[..], &["-o", "BatchMode=no", "-o", &preferred]].concat();
        let call = ssh.run(&options, &[RPC], PING);
        expect_refused(&agent, &call, refused);
    }
    let other = ["-o", "PubkeyAcceptedAlgorithms=ecdsa-sha2-nistp256", "-s"];
    expect_refused(&agent, &ssh.run(&other, &[RPC], PING), refused);
}

#[test]
fn a_changed_host_key_is_refused_by_both_clients() {
    let Some(agent) = agent("a_changed_host_key_is_refused_by_both_clients") else { return };
    let files = &agent.files;
    let root = &files.root;
    let changed = KeyFile::make(root, &root.dir().join("changed"), "changed");
    let call = OpenSsh::to(root, agent.address, &files.operator, &changed).subsystem(RPC, PING);
    expect_refused(&agent, &call, "Host key verification failed");

    let pinned = files.entry().host_key();
    changed.copy_public_to(root, &pinned);
    let call = agent.client(&["ls"]);
    let (out, err) = (call.out(), call.err());
    let said = format!("{out}{err}");
    for part in [fingerprint(&files.host_key), fingerprint(&changed), shown(&pinned)] {
        assert!(said.contains(&part), "{part}: {said}");
    }
    files.host_key.copy_public_to(root, &pinned);
    agent.client(&["ls"]).expect_done();
    expect_ping(&agent);
}

fn fingerprint(key: &KeyFile) -> String {
    let (key, _) = convocate::ssh::keys::PublicKey::parse_line(&key.public_line()).expect("a key");
    key.fingerprint()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

// --- sessions ---

/// Creates a session that runs a shell, and gives its id.
fn create(agent: &Agent) -> String {
    let request = br#"{"op":"create","params":{"name":"one","command":"sh"}}"#;
    let answer = answer_to(OpenSsh::to_agent(agent).subsystem(RPC, request));
    answer["result"]["uuid"].as_str().expect("a session has an id").to_owned()
}
