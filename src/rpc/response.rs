//! A response of `convocate-agent-rpc`: `{"ok":true,"result":…}` or `{"ok":false,"error":"…"}`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a call came to: a result, or one clear sentence.
pub type Answer = Result<Value, String>;

#[derive(Serialize, Deserialize)]
struct Wire {
    ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The response line, with its newline.
pub fn to_line(answer: Answer) -> Vec<u8> {
    let wire = match answer {
        Ok(result) => Wire { ok: true, result: Some(result), error: None },
        Err(error) => Wire { ok: false, result: None, error: Some(error) },
    };
    let mut line = serde_json::to_vec(&wire).expect("values of JSON can be written as JSON");
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
            assert_eq!(parse(&to_line(answer.clone())), Ok(answer));
        }
        assert_eq!(parse(br#"{"ok":true}"#), Ok(Ok(Value::Null)));
        assert!(parse(b"{}").is_err());
    }
}
