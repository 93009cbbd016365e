//! `authorized_keys` files: lines do not touch each other, and nothing comes in that no line names.

use convocate::limits;
use convocate::ssh::keys::{AuthorizedKey, AuthorizedKeys, PublicKey};

pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let file = AuthorizedKeys::parse(&text);
    let lines: Vec<&str> = text.lines().collect();
    assert!(file.keys.len() + file.problems.len() <= lines.len());
    assert!(file.problems.len() <= limits::SSH_KEY_PROBLEMS_MAX);
    assert!(file.problems.is_sorted_by(|one, next| one.0 < next.0));
    for key in &file.keys {
        check(&text, key);
        let first = file.find(&key.key).expect("a key of the file is found");
        assert_eq!(first.key, key.key);
    }
    check_lines_stand_alone(&file, &lines);
}

/// What is true of every key that a file lets in.
fn check(text: &str, line: &AuthorizedKey) {
    assert!(line.options.len() <= limits::SSH_KEY_OPTIONS_MAX);
    for (name, _) in &line.options {
        assert!(!name.is_empty() && !name.bytes().any(|byte| byte.is_ascii_uppercase()));
    }
    let written = line.key.to_line(&line.comment);
    let (again, comment) = PublicKey::parse_line(&written).expect("what we write we read");
    assert_eq!(again, line.key);
    assert_eq!(again.to_line(&comment), written);
    let plain = line.key.to_line("");
    let base64 = plain.strip_prefix("ssh-ed25519 ").expect("the one algorithm");
    assert!(text.contains(base64), "a key that the file does not name");
}

fn check_lines_stand_alone(file: &AuthorizedKeys, lines: &[&str]) {
    let mut keys = file.keys.iter();
    for (line, number) in lines.iter().zip(1..) {
        let alone = AuthorizedKeys::parse(line);
        assert!(alone.keys.len() + alone.problems.len() <= 1);
        if let Some(key) = alone.keys.first() {
            assert_eq!(keys.next(), Some(key), "line {number}");
        }
        if let Some((_, problem)) = alone.problems.first()
            && let Some((_, listed)) = file.problems.iter().find(|(at, _)| *at == number)
        {
            assert_eq!(listed, problem, "line {number}");
        }
    }
    assert_eq!(keys.next(), None, "a key of no line");
}
