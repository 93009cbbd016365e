//! A response of `convocate-agent-rpc`: `{"ok":true,"result":…}` or `{"ok":false,"error":"…"}`.
//!
//! An agent writes a result straight into its line: a list of 500 sessions that was made a tree of
//! values first took longer than all else that `list` does.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a call came to: a result, or one clear sentence.
pub type Answer = Result<Value, String>;

#[derive(Serialize)]
struct Success<'a, T> {
    ok: bool,
    result: &'a T,
}

#[derive(Serialize)]
struct Refusal<'a> {
    ok: bool,
    error: &'a str,
}

#[derive(Deserialize)]
struct Wire {
    ok: bool,
    #[serde(default)]
    result: Option<Value>,
    #[serde(default)]
    error: Option<String>,
}

/// The response line, with its newline.
pub fn to_line(answer: &Answer) -> Vec<u8> {
    match answer {
        Ok(result) => success(result),
        Err(error) => refusal(error),
    }
}

/// The line of a call that went well. The result has string keys and finite numbers only.
pub fn success<T: Serialize>(result: &T) -> Vec<u8> {
    line(&Success { ok: true, result })
}

/// The line of a call that did not.
pub(crate) fn refusal(error: &str) -> Vec<u8> {
    line(&Refusal { ok: false, error })
}

fn line<T: Serialize>(response: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(response).expect("string keys and finite numbers only");
    line.push(b'\n');
    line
}

/// Reads a response line, whose length the caller has bounded. Unknown fields are ignored.
///
/// # Errors
/// What is wrong with the line.
pub fn parse(line: &[u8]) -> Result<Answer, String> {
    let wire: Wire = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    Ok(if wire.ok {
        Ok(wire.result.unwrap_or(Value::Null))
    } else {
        Err(wire.error.unwrap_or_else(|| "the agent gave no reason".to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_there_and_back() {
        for answer in [Ok(Value::Null), Ok(serde_json::json!([1])), Err("no".to_owned())] {
            assert_eq!(parse(&to_line(&answer)), Ok(answer));
        }
        assert_eq!(parse(br#"{"ok":true}"#), Ok(Ok(Value::Null)));
        assert!(parse(b"{}").is_err());
    }
}
