//! `convocate send`: types into a session without a terminal.

use std::io::Read;
use std::path::Path;

use serde_json::json;

use crate::cli::command::{Command, Flag, Operand, Parsed};
use crate::cli::convocate::session_flags::{AGENT, SESSION};
use crate::cli::convocate::sessions::{
    ask_newer, choose_session, names_json, open_fleet, print_session,
};
use crate::cli::output::{Failure, Out};
use crate::cli::shared_flags::{JSON, ROOT, read_flag};
use crate::exit::Exit;
use crate::fleet::select::Care;
use crate::io::disk::{Links, read_bounded};
use crate::limits::{RPC_ANSWER_TIMEOUT, SEND_TEXT_BYTES_MAX};
use crate::rpc::call::Call;
use crate::rpc::drive::{Keys, PastedText, Send};

const TEXT: Operand = Operand { name: "TEXT", is_optional: true, is_many: false, choices: &[] };
const FILE: Flag = Flag::value("file", "FILE", "the text of a file, or of standard input: -");
const NO_ENTER: Flag = Flag::switch("no-enter", "do not press Enter after the text");
const KEYS: Flag =
    Flag::value("keys", "KEYS", "press these instead of Enter: \"C-c\", \"Escape Up Enter\"");
const ANSWER: Flag = Flag::switch("answer", "send it also as the answer to a dialog that waits");

pub(crate) const SEND: Command = Command {
    name: "send",
    summary: "paste a text into a session and press Enter, or press keys",
    operands: &[SESSION, TEXT],
    flags: &[FILE, NO_ENTER, KEYS, ANSWER, AGENT, JSON, ROOT],
    help: "\
The text is pasted as one, however many lines it has, and then Enter is pressed. It may
have 120 KiB, and of the control characters only newline and tab. A text that begins
with a dash stands behind --. Of a file, the newline at its end is left out.

KEYS are keys by their names in tmux, with blanks between: Enter, Escape, Tab, Space,
BSpace, Up, Down, Left, Right, Home, End, PageUp, PageDown, F1 to F12, or a character;
C- before one is Ctrl, M- is Alt, S- is Shift.

Succeeds when the session's tmux has taken it. What the program makes of it is on its
screen: see `convocate screen`. A session that does not run takes nothing.

While a session waits for a person - a permission, a question, a menu - nothing is sent
to it, because the Enter behind a text would choose there. Look at it with
`convocate screen`, and send the keys that choose with --answer.
",
    run,
};

fn run(parsed: &Parsed, out: &mut Out<'_>) -> Result<Exit, Failure> {
    let usage = |error: crate::rpc::field::FieldError| Failure::Usage(error.to_string());
    let text = text(parsed)?.map(PastedText::new).transpose().map_err(usage)?;
    let keys =
        read_flag(parsed, &KEYS, |text| Keys::parse(text).map_err(|error| error.to_string()))?;
    let keys = match keys {
        Some(_) if parsed.has(&NO_ENTER) => {
            return Err(Failure::Usage("--keys and --no-enter contradict each other".to_owned()));
        }
        Some(keys) => keys,
        None if text.is_none() || parsed.has(&NO_ENTER) => Keys::default(),
        None => Keys::parse("Enter").map_err(usage)?,
    };
    if text.is_none() && keys.is_empty() {
        return Err(Failure::Usage("nothing to send: give TEXT, --file or --keys".to_owned()));
    }
    let mut runner = open_fleet(parsed, out)?;
    let found = choose_session(parsed, parsed.required(0), &mut runner, Care::Usual)?;
    let bytes = text.as_ref().map_or(0, |text| text.as_str().len());
    let told = json!({ "taken": true, "bytes": bytes, "keys": keys.names() });
    let answer = parsed.has(&ANSWER);
    let call = Call::Send(Send { id: found.session.uuid, text, keys, answer });
    ask_newer(&mut runner, &found, &call, RPC_ANSWER_TIMEOUT)?;
    if !parsed.has(&JSON) {
        print_session(&found, false, "sent to", out)?;
        return Ok(Exit::Done);
    }
    let mut value = names_json(&found);
    if let (Some(all), serde_json::Value::Object(told)) = (value.as_object_mut(), told) {
        all.extend(told);
    }
    out.json(&value)?;
    Ok(Exit::Done)
}

/// The text that is to be pasted, if any.
fn text(parsed: &Parsed) -> Result<Option<String>, Failure> {
    let bytes = match (parsed.operand(1), parsed.value(&FILE)) {
        (Some(text), None) => return Ok(Some(text.to_owned())),
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(Failure::Usage("TEXT or --file is given, not both".to_owned()));
        }
        (None, Some("-")) => {
            let mut bytes = Vec::new();
            // One more than it may have is too long.
            let input = std::io::stdin().lock().take(SEND_TEXT_BYTES_MAX as u64 + 2);
            let read = { input }.read_to_end(&mut bytes);
            read.map_err(|error| Failure::Failed(format!("cannot read standard input: {error}")))?;
            bytes
        }
        (None, Some(path)) => {
            let read = read_bounded(Path::new(path), SEND_TEXT_BYTES_MAX + 1, Links::Follow);
            read.map_err(|error| Failure::Failed(error.to_string()))?
        }
    };
    let mut text = String::from_utf8(bytes)
        .map_err(|_| Failure::Failed("the file is not UTF-8 text".to_owned()))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(Some(text))
}
