//! What an event says beyond its type, for people.

use serde::Deserialize;
use serde_json::Value;

use crate::rpc::attention::Attention;
use crate::rpc::repository::Repository;

/// An event's data in words: `exit, status 137`. A session's own data and what is nested are left
/// out: rows and pages show them.
pub(crate) fn detail(kind: &str, data: &Value) -> String {
    if kind == "session.attention" {
        return match Attention::deserialize(data) {
            Ok(attention) => attention.in_words(),
            Err(_) => "no program tells its state any more".to_owned(),
        };
    }
    if kind == "session.repository" {
        return Repository::deserialize(data).map_or_else(|_| String::new(), |it| it.in_words());
    }
    let Some(fields) = data.as_object().filter(|fields| !fields.contains_key("uuid")) else {
        return String::new();
    };
    // Why comes first, however the fields stand.
    let rank = |name: &str| match name {
        "cause" | "error" | "kind" | "what" => 0,
        "exit_code" | "why" => 1,
        _ => 2,
    };
    let mut known: Vec<_> = fields.iter().collect();
    known.sort_by_key(|(name, _)| rank(name));
    let words: Vec<_> = known.iter().filter_map(|(name, value)| part(name, value)).collect();
    words.join(", ")
}

fn part(name: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::Null | Value::Object(_) | Value::Array(_) => return None,
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Some(match name {
        "cause" | "error" | "kind" | "what" | "why" => text,
        "exit_code" => format!("status {text}"),
        _ => format!("{} {text}", name.replace('_', " ")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_is_words_and_no_json() {
        for (data, words) in [
            (json!({ "exit_code": 137, "cause": "exit", "oom": null }), "exit, status 137"),
            (json!({ "attached_count": 2 }), "attached count 2"),
            (json!({ "host_key": "SHA256:x", "kind": "login" }), "login, host key SHA256:x"),
            (json!({ "usage": { "a": [1, 2] }, "sessions": 3 }), "sessions 3"),
            (json!({ "uuid": "x", "name": "web" }), ""),
            (json!(null), ""),
        ] {
            assert_eq!(detail("x", &data), words);
        }
    }

    #[test]
    fn an_attention_is_its_word_and_its_reason() {
        let since = "2026-11-28T05:00:00Z";
        for (data, words) in [
            (
                json!({ "state": "waiting", "reason": "input needed", "since": since }),
                "waiting: input needed",
            ),
            (json!({ "state": "idle", "source": "status file", "since": since }), "idle"),
            (json!(null), "no program tells its state any more"),
        ] {
            assert_eq!(detail("session.attention", &data), words);
        }
        let data = json!({ "branch": "main", "ahead": 1, "dirty": 2, "seen_at": since });
        let words = "main, 1 commit ahead, 2 files changed";
        assert_eq!(detail("session.repository", &data), words);
    }
}
