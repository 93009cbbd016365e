//! Calls there and back, and what is refused.

use super::*;
use crate::rpc::drive::{ExecCommand, ExecSeconds, HistoryLines, Keys, PastedText, WaitFor};

fn parse(line: &str) -> Result<Call, String> {
    Call::parse(line.as_bytes()).map_err(|error| error.to_string())
}

#[test]
fn a_field_that_an_agent_does_not_know_is_found_in_its_refusal() {
    let line = r#"{"op":"create","params":{"name":"a","later":1}}"#;
    let told = refused_by_older(&parse(line).unwrap_err(), "host-1").unwrap();
    assert!(told.starts_with("the agent on host-1 is too old for later, and"), "{told}");
    assert_eq!(refused_by_older("decode params: missing field `name`", "host-1"), None);
}

#[test]
fn every_op_goes_there_and_back() {
    let id = Id { id: Uuid::parse("01234567-89ab-4def-8123-456789abcdef").unwrap() };
    let name = SessionName::parse("web").unwrap();
    let calls = [
        Call::Ping,
        Call::List,
        Call::Get(id),
        Call::Create(Box::new(Create {
            name: name.clone(),
            port: PortChoice::Auto,
            protocol: Protocol::Udp,
            dns_name: DnsName::parse("web").unwrap(),
            command: Some(SessionCommand::default()),
            docker: Some(true),
            memory: Some(1 << 30),
            cpus: Cpus::from_millis(1500),
            pids: Some(100),
            egress: Some(Egress::List),
            allow: serde_json::from_str(r#"["npm","a.org:22","!b.a.org"]"#).unwrap(),
            publish: Some(Publish::All),
            ssh_key: Some(KeyChoice::None),
            claude_login: Some(false),
            profile: ProfileName::parse("team").ok(),
            image: ImageName::parse("convocate:1.2").ok(),
            env: serde_json::from_str(r#"{"A":"1"}"#).unwrap(),
            repo: RepoUrl::parse("https://host.example/web.git").ok(),
            branch: Branch::parse("main").ok(),
            setup: SetupCommand::parse("make").ok(),
            prompt: Prompt::parse("fix it").ok(),
        })),
        Call::Edit(Edit {
            id: id.id,
            name: None,
            port: Some(PortChoice::Fixed(53)),
            protocol: None,
            dns_name: Some(DnsName::default()),
            command: None,
            docker: None,
            memory: None,
            cpus: None,
            pids: None,
            egress: Some(Egress::None),
            allow: serde_json::from_str(r#"{"add":["!a.org"],"remove":["npm"]}"#).unwrap(),
            publish: None,
            ssh_key: Some(KeyChoice::New),
            claude_login: Some(true),
            env: serde_json::from_str(r#"{"A":"1","B":null}"#).unwrap(),
            prompt: Some(PromptChoice(None)),
        }),
        Call::Clone(CloneSession { source_id: id.id, name }),
        Call::Delete(id),
        Call::Kill(id),
        Call::Background(id),
        Call::Restart(id),
        Call::Override(id),
        Call::Screen(Screen { id: id.id, lines: HistoryLines::new(7).unwrap() }),
        Call::Send(Send {
            id: id.id,
            text: Some(PastedText::new("a\n\tb".to_owned()).unwrap()),
            keys: Keys::parse("Enter").unwrap(),
            answer: true,
        }),
        Call::Exec(Exec {
            id: id.id,
            command: ExecCommand::new(vec!["ls".to_owned(), "-l".to_owned()]).unwrap(),
            seconds: ExecSeconds::default(),
        }),
        Call::Egress(id),
        Call::Wait(Wait::new(vec![id.id], 60, WaitFor { waiting: true, done: false }).unwrap()),
        Call::Certificate,
        Call::RenewCertificate(RenewCertificate { certificate: "PEM\n".to_owned() }),
        Call::SettingsGet,
        Call::SettingsSet,
    ];
    let mut names: Vec<_> = calls.iter().map(Call::op).collect();
    names.sort_unstable();
    assert_eq!(names, OP_NAMES);
    for call in calls {
        assert_eq!(Call::parse(&call.to_line()), Ok(call));
    }
}

#[test]
fn bad_requests_get_one_clear_sentence() {
    for (line, sentence) in [
        (r#"{"op":"delete"}"#, "decode params: an object is expected"),
        (r#"{"op":"explode","params":null}"#, r#"unknown op "explode""#),
        (r#"{"op":"get","params":{"id":"../x"}}"#, r#"id "../x" is not a session UUID"#),
        (r#"{"op":"get","params":{"id":"abc"}}"#, r#"id "abc" is not a session UUID"#),
        (r#"{"op":"create","params":{"nam":"x"}}"#, "unknown field `nam`"),
        (r#"{"op":"create","params":{"name":"x","port":70000}}"#, "port 70000 must be"),
        (r#"{"op":"ping","extra":1}"#, "unknown field `extra`"),
        ("{\"op\":\"pi\\u001b[2Jng\"}", "unknown op \"pi\\u{1b}[2Jng\""),
        (
            r#"{"op":"send","params":{"id":"01234567-89ab-4def-8123-456789abcdef",
                "text":"\u0003"}}"#,
            "has the control character Ctrl-C (U+0003)",
        ),
        ("[\"ping\",null]", "decode request: an object is expected"),
        ("not json", "decode request: "),
        ("", "decode request: "),
    ] {
        let error = parse(line).expect_err(line);
        assert!(error.contains(sentence), "{line}: {error}");
        assert!(!error.chars().any(char::is_control), "{error:?}");
    }
}

#[test]
fn an_empty_name_keeps_the_old_one() {
    let line = r#"{"op":"edit","params":{"id":"01234567-89ab-4def-8123-456789abcdef","name":""}}"#;
    assert!(matches!(parse(line), Ok(Call::Edit(Edit { name: None, .. }))));
}

#[test]
fn deep_nesting_is_an_error_not_a_crash() {
    let line = format!(r#"{{"op":"get","params":{}"#, "[".repeat(60_000));
    assert!(parse(&line).is_err());
}
