//! `authorized_keys`: one key a line, with options before it (sshd(8), "AUTHORIZED_KEYS FILE
//! FORMAT").
//!
//! A line that cannot be read is a problem of that line and lets nobody in; the others count. What
//! an option means is not decided here. Every option of OpenSSH's restricts its key or, as
//! `cert-authority`, makes it something else than a login key, so whoever asks must refuse a key
//! whose options it does not know.

use super::{KeyError, PublicKey};
use crate::limits::{
    SSH_AUTHORIZED_KEYS_BYTES_MAX, SSH_KEY_FILE_BYTES_MAX, SSH_KEY_OPTIONS_MAX,
    SSH_KEY_PROBLEMS_MAX,
};

/// How the names of all key types begin, and those of no option.
const KEY_TYPES: [&str; 3] = ["ssh-", "ecdsa-", "sk-"];

/// Who may come in, as one file says.
#[derive(Clone, Debug, Default)]
pub struct AuthorizedKeys {
    /// The keys, in the order of the file.
    pub keys: Vec<AuthorizedKey>,
    /// The lines that could not be read, counted from 1, and why: the first
    /// [`SSH_KEY_PROBLEMS_MAX`]. Line 0 is the file itself.
    pub problems: Vec<(usize, KeyError)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKey {
    pub key: PublicKey,
    /// What stands before it: names in lower case, and their values without quotes.
    pub options: Vec<(String, Option<String>)>,
    /// What stands behind it, perhaps nothing.
    pub comment: String,
}

impl AuthorizedKeys {
    /// Reads a file of at most [`SSH_AUTHORIZED_KEYS_BYTES_MAX`]; from a longer one, nothing.
    pub fn parse(text: &str) -> AuthorizedKeys {
        let mut file = AuthorizedKeys::default();
        if text.len() > SSH_AUTHORIZED_KEYS_BYTES_MAX {
            let max = SSH_AUTHORIZED_KEYS_BYTES_MAX;
            file.problems.push((0, KeyError::Long { bytes: text.len(), max }));
            return file;
        }
        for (line, number) in text.lines().map(str::trim).zip(1..) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match AuthorizedKey::parse(line) {
                Ok(key) => file.keys.push(key),
                Err(_) if file.problems.len() == SSH_KEY_PROBLEMS_MAX => {}
                Err(problem) => file.problems.push((number, problem)),
            }
        }
        file
    }

    /// The first line with this key.
    pub fn find(&self, key: &PublicKey) -> Option<&AuthorizedKey> {
        self.keys.iter().find(|line| line.key == *key)
    }
}

impl AuthorizedKey {
    /// A line with something on it.
    fn parse(line: &str) -> Result<AuthorizedKey, KeyError> {
        if line.len() > SSH_KEY_FILE_BYTES_MAX {
            return Err(KeyError::Long { bytes: line.len(), max: SSH_KEY_FILE_BYTES_MAX });
        }
        let (options, rest) = if KEY_TYPES.iter().any(|start| line.starts_with(start)) {
            (Vec::new(), line)
        } else {
            let (field, rest) = line.split_at(options_end(line));
            (parse_options(field)?, rest)
        };
        let (key, comment) = PublicKey::parse_line(rest)?;
        Ok(AuthorizedKey { key, options, comment })
    }
}

/// Where the options end: at the first blank that is not in quotes. A quote that is never closed is
/// found when they are read.
fn options_end(line: &str) -> usize {
    let mut quoted = false;
    let mut escaped = false;
    for (index, char) in line.char_indices() {
        match char {
            ' ' | '\t' if !quoted => return index,
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        escaped = char == '\\';
    }
    line.len()
}

/// `name`, or `name="value"`, with commas between them.
fn parse_options(field: &str) -> Result<Vec<(String, Option<String>)>, KeyError> {
    let mut options = Vec::new();
    let mut rest = Some(field);
    while let Some(text) = rest {
        if options.len() == SSH_KEY_OPTIONS_MAX {
            return Err(KeyError::OptionsMany);
        }
        let (name, value, behind) = parse_option(text)?;
        options.push((name, value));
        rest = match behind.strip_prefix(',') {
            None if !behind.is_empty() => return Err(KeyError::OptionValue),
            more => more,
        };
    }
    Ok(options)
}

/// The first option of `text`, and what is behind it.
fn parse_option(text: &str) -> Result<(String, Option<String>, &str), KeyError> {
    let (name, behind) = text.split_at(text.find(['=', ',']).unwrap_or(text.len()));
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    if name.is_empty() || !name.bytes().all(known) {
        return Err(KeyError::OptionName);
    }
    let name = name.to_ascii_lowercase();
    match behind.strip_prefix('=') {
        None => Ok((name, None, behind)),
        Some(value) => {
            let (value, behind) = parse_value(value)?;
            Ok((name, Some(value), behind))
        }
    }
}

/// A value in double quotes, in which a quote is written `\"`, and what is behind it.
fn parse_value(text: &str) -> Result<(String, &str), KeyError> {
    let text = text.strip_prefix('"').ok_or(KeyError::OptionValue)?;
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next().ok_or(KeyError::OptionQuote)? {
            '"' => return Ok((value, chars.as_str())),
            '\\' if chars.as_str().starts_with('"') => value.extend(chars.next()),
            char => value.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::keys::KeyPair;

    fn key(number: u8) -> PublicKey {
        *KeyPair::from_seed([number; 32]).public()
    }

    fn line(number: u8) -> String {
        key(number).to_line("")
    }

    /// The options of the only key of a file.
    fn options(field: &str) -> Vec<(String, Option<String>)> {
        let mut file = AuthorizedKeys::parse(&format!("{field} {}", line(1)));
        assert_eq!(file.problems, []);
        let found = file.keys.pop().expect("one key");
        assert_eq!(found.key, key(1));
        found.options
    }

    fn option(name: &str, value: Option<&str>) -> (String, Option<String>) {
        (name.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn keys_are_found_between_comments_blanks_and_problems() {
        let text = format!(
            "# who may drive\n\n{} first\r\n   \t\n\tno-pty {} second one\nssh-rsa AAAA old\n\
             ecdsa-sha2-nistp256 AAAA\nssh-ed25519 AAAA\nword\n  # {}\n{}",
            line(1),
            line(2),
            line(3),
            line(4),
        );
        let file = AuthorizedKeys::parse(&text);
        assert_eq!(file.find(&key(1)).unwrap().comment, "first");
        let second = file.find(&key(2)).unwrap();
        assert_eq!(second.comment, "second one");
        assert_eq!(second.options, [option("no-pty", None)]);
        assert_eq!(file.find(&key(3)), None);
        assert!(file.find(&key(4)).unwrap().options.is_empty());
        let algorithm = |name: &str| KeyError::Algorithm(name.to_owned());
        let expected = [
            (6, algorithm("ssh-rsa")),
            (7, algorithm("ecdsa-sha2-nistp256")),
            (9, KeyError::Missing),
        ];
        assert_eq!([&file.problems[..2], &file.problems[3..]].concat(), expected);
        assert!(matches!(file.problems[2], (8, KeyError::Wire(_))));
    }

    #[test]
    fn options_keep_their_values_and_lose_their_quotes() {
        assert_eq!(
            options(r#"restrict,command="a \"b, c\" \d",From="10.0.0.0/8,!10.1.*",X11-forwarding"#),
            [
                option("restrict", None),
                option("command", Some(r#"a "b, c" \d"#)),
                option("from", Some("10.0.0.0/8,!10.1.*")),
                option("x11-forwarding", None),
            ]
        );
        assert_eq!(options(r#"environment="""#), [option("environment", Some(""))]);
        assert_eq!(options("cert-authority"), [option("cert-authority", None)]);
    }

    #[test]
    fn malformed_options_let_nobody_in() {
        let many = vec!["a"; SSH_KEY_OPTIONS_MAX + 1].join(",");
        for (field, error) in [
            ("a,", KeyError::OptionName),
            (",a", KeyError::OptionName),
            ("a,,b", KeyError::OptionName),
            ("=\"x\"", KeyError::OptionName),
            ("a;b", KeyError::OptionName),
            ("\"a\"", KeyError::OptionName),
            ("a=", KeyError::OptionValue),
            ("a=b", KeyError::OptionValue),
            ("a=\"b\"c", KeyError::OptionValue),
            ("a=\"b", KeyError::OptionQuote),
            ("a=\"b\\\"", KeyError::OptionQuote),
            (&many, KeyError::OptionsMany),
        ] {
            let file = AuthorizedKeys::parse(&format!("{field} {}", line(1)));
            assert!(file.keys.is_empty(), "{field}");
            assert_eq!(file.problems, [(1, error)], "{field}");
        }
        assert_eq!(options(&many[2..]).len(), SSH_KEY_OPTIONS_MAX);
    }

    #[test]
    fn the_first_line_of_a_key_counts() {
        let text = format!("restrict {}\n{}", line(1), line(1));
        let file = AuthorizedKeys::parse(&text);
        assert_eq!(file.find(&key(1)).unwrap().options, [option("restrict", None)]);
    }

    #[test]
    fn a_file_and_its_problems_are_bounded() {
        let long = "#".repeat(SSH_AUTHORIZED_KEYS_BYTES_MAX + 1);
        let max = SSH_AUTHORIZED_KEYS_BYTES_MAX;
        let file = AuthorizedKeys::parse(&long);
        assert_eq!(file.problems, [(0, KeyError::Long { bytes: long.len(), max })]);

        let file = AuthorizedKeys::parse(&format!("{}{}", "x\n".repeat(10_000), line(1)));
        assert_eq!(file.problems.len(), SSH_KEY_PROBLEMS_MAX);
        assert!(file.find(&key(1)).is_some());

        let long = format!("{} {}", line(1), "c".repeat(SSH_KEY_FILE_BYTES_MAX));
        assert!(matches!(AuthorizedKeys::parse(&long).problems[..], [(1, KeyError::Long { .. })]));
    }

    /// Whatever happens to a line with an option, it never becomes the same key without the option.
    #[test]
    fn a_line_cut_or_changed_never_panics_and_never_loses_its_option() {
        let good = format!(r#"restrict,from="a\"b" {} c"#, line(1));
        for cut in 0..good.len() {
            AuthorizedKeys::parse(&good[..cut]);
            AuthorizedKeys::parse(&good[cut..]);
        }
        for index in 0..good.len() {
            for value in 0..=0x7f {
                let mut bytes = good.clone().into_bytes();
                bytes[index] = value;
                let file = AuthorizedKeys::parse(std::str::from_utf8(&bytes).unwrap());
                for found in file.keys.iter().filter(|found| found.key == key(1)) {
                    assert!(value == b'\n' || !found.options.is_empty(), "{index} {value}");
                }
            }
        }
    }
}
