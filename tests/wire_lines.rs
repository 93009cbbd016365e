//! Programs of two versions speak with each other while hosts are updated one by one: the lines of
//! `wire_lines.txt`, which earlier programs say, are read today, and said in the same way.

#![allow(clippy::panic, reason = "helpers of tests fail like tests")]

use std::collections::BTreeSet;

use convocate::rpc::attach::AttachHeader;
use convocate::rpc::call::{Call, OP_NAMES};
use convocate::rpc::event::Event;
use convocate::rpc::response;
use convocate::rpc::session::{Pong, Session};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const LINES: &str = include_str!("wire_lines.txt");

/// A line of the file: what it is, and whether that is still said so.
struct Line {
    kind: &'static str,
    is_said: bool,
    text: &'static str,
}

fn lines() -> impl Iterator<Item = Line> {
    LINES.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (is_said, rest) = line.strip_prefix("old ").map_or((true, line), |rest| (false, rest));
        let (kind, text) = rest.split_once(' ').expect("a kind and a line");
        Line { kind, is_said, text }
    })
}

fn value(line: &[u8]) -> Value {
    serde_json::from_slice(line).expect("JSON")
}

/// What our own programs say after they have read it.
fn said_again(kind: &str, text: &str) -> Value {
    let line = text.as_bytes();
    match kind {
        "request" => value(&Call::parse(line).expect(text).to_line()),
        "header" => value(&AttachHeader::parse(line).expect(text).to_line()),
        "session" => answered::<Session>(line),
        "pong" => answered::<Pong>(line),
        "event" => json!(serde_json::from_slice::<Event>(line).expect(text)),
        other => panic!("{other:?} is no kind of line"),
    }
}

/// The same of a result, which comes in an answer.
fn answered<T: DeserializeOwned + Serialize>(result: &[u8]) -> Value {
    let answer = response::parse(&response::success(&value(result)));
    let read: T = serde_json::from_value(answer.expect("a line").expect("a result")).expect("read");
    json!(read)
}

#[test]
fn what_was_said_is_read_and_said_so_again() {
    for Line { kind, is_said, text } in lines() {
        let again = said_again(kind, text);
        assert!(!is_said || again == value(text.as_bytes()), "{kind} {text}\nnow {again}");
    }
}

#[test]
fn every_op_has_its_lines() {
    let requests = lines().filter(|line| line.kind == "request");
    let calls = requests.map(|line| Call::parse(line.text.as_bytes()).expect(line.text));
    let ops: BTreeSet<&str> = calls.map(|call| call.op()).collect();
    assert_eq!(ops, BTreeSet::from(OP_NAMES));
}

/// What a later program adds to what it tells is ignored.
#[test]
fn what_is_not_known_yet_is_ignored() {
    for Line { kind, text, .. } in lines().filter(|line| line.kind != "request") {
        let mut later = value(text.as_bytes());
        later["not_known_yet"] = json!({ "new": [1] });
        assert_eq!(said_again(kind, &later.to_string()), said_again(kind, text), "{kind} {text}");
    }
}
