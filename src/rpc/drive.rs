//! What drives a session without a terminal: `screen`, `send`, `exec` and `wait`, as parameters and
//! results.

use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::field::{FieldError, shown};
use super::session::Ended;
use crate::base::uuid::Uuid;
use crate::limits::{
    EXEC_ARGUMENTS_MAX, EXEC_COMMAND_BYTES_MAX, EXEC_SECONDS, EXEC_SECONDS_MAX,
    SCREEN_HISTORY_LINES_MAX, SEND_KEYS_MAX, SEND_TEXT_BYTES_MAX, WAIT_SECONDS_MAX,
    WAIT_SESSIONS_MAX,
};

/// Parameters of `screen`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Screen {
    pub(crate) id: Uuid,
    #[serde(default)]
    pub(crate) lines: HistoryLines,
}

/// How many lines above the screen are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct HistoryLines(u32);

/// What `screen` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScreenText {
    /// Whether the session runs.
    pub(crate) running: bool,
    /// What stands there, or stood there at its end; lines without control characters.
    pub(crate) screen: String,
    /// How it ended, if it does not run and that is known; without its screen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Ended>,
}

/// Parameters of `send`: what is pasted, if anything, and the keys that are pressed after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    pub(crate) id: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<PastedText>,
    #[serde(default, skip_serializing_if = "Keys::is_empty")]
    pub(crate) keys: Keys,
    /// Whether it may answer what the session waits for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) answer: bool,
}

/// A text without control characters other than newline and tab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PastedText(String);

/// Keys by their names in tmux.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Keys(Vec<String>);

/// Parameters of `exec`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    pub(crate) id: Uuid,
    pub(crate) command: ExecCommand,
    /// When it is ended.
    #[serde(default)]
    pub(crate) seconds: ExecSeconds,
}

/// A program and its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct ExecCommand(Vec<String>);

/// How long a command may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct ExecSeconds(u32);

/// What `exec` answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Executed {
    pub(crate) exit_status: i32,
    /// In Base64, as is the next: they are bytes.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Whether there was more, which is lost.
    #[serde(default)]
    pub(crate) stdout_cut: bool,
    #[serde(default)]
    pub(crate) stderr_cut: bool,
    /// Whether it was ended because its time was over.
    #[serde(default)]
    pub(crate) timed_out: bool,
}

/// Parameters of `wait`: it is answered when the first of these has ended or is what is waited
/// for, or after the time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wait {
    pub(crate) ids: WaitIds,
    pub(crate) seconds: u32,
    #[serde(default, rename = "for", skip_serializing_if = "WaitFor::is_end")]
    pub(crate) what: WaitFor,
}

/// What is waited for beside the end of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitFor {
    /// That it waits for a person.
    #[serde(default)]
    pub(crate) waiting: bool,
    /// That its turn is over.
    #[serde(default)]
    pub(crate) done: bool,
}

/// The sessions of one agent that one call waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Uuid>", into = "Vec<Uuid>")]
pub struct WaitIds(Vec<Uuid>);

/// What `wait` answers: those that are what was waited for or have ended, none if the time was
/// over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waited {
    /// Those that are.
    #[serde(default)]
    pub(crate) sessions: Vec<Value>,
    /// Those that are not there (any more).
    #[serde(default)]
    pub(crate) missing: Vec<Uuid>,
}

/// Gives a checked type its conversions for serde.
macro_rules! checked {
    ($name:ident, $plain:ty) => {
        impl TryFrom<$plain> for $name {
            type Error = FieldError;

            fn try_from(plain: $plain) -> Result<$name, FieldError> {
                $name::new(plain)
            }
        }

        impl From<$name> for $plain {
            fn from(checked: $name) -> $plain {
                checked.0
            }
        }
    };
}

checked!(HistoryLines, u32);
checked!(PastedText, String);
checked!(Keys, Vec<String>);
checked!(ExecCommand, Vec<String>);
checked!(ExecSeconds, u32);
checked!(WaitIds, Vec<Uuid>);

impl HistoryLines {
    pub(crate) fn new(lines: u32) -> Result<HistoryLines, FieldError> {
        match lines <= SCREEN_HISTORY_LINES_MAX {
            true => Ok(HistoryLines(lines)),
            false => {
                Err(FieldError(format!("lines {lines} must be 0 to {SCREEN_HISTORY_LINES_MAX}")))
            }
        }
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

impl PastedText {
    /// # Errors
    /// A sentence that names the character, and where it stands.
    pub(crate) fn new(text: String) -> Result<PastedText, FieldError> {
        if text.is_empty() {
            return Err(FieldError("the text is empty".to_owned()));
        }
        if text.len() > SEND_TEXT_BYTES_MAX {
            let (len, max) = (text.len(), SEND_TEXT_BYTES_MAX);
            return Err(FieldError(format!("the text is {len} bytes, more than {max}")));
        }
        for (number, line) in text.split('\n').enumerate() {
            if let Some(sign) = line.chars().find(|sign| sign.is_control() && *sign != '\t') {
                return Err(FieldError(format!(
                    "line {} of the text has the control character {} (U+{:04X}); only newline \
                     and tab are sent as text, keys are named with --keys",
                    number + 1,
                    name_of(sign),
                    u32::from(sign)
                )));
            }
        }
        Ok(PastedText(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What people call a control character.
fn name_of(sign: char) -> &'static str {
    match sign {
        '\0' => "NUL",
        '\u{3}' => "Ctrl-C",
        '\u{4}' => "Ctrl-D",
        '\u{7}' => "bell",
        '\u{8}' => "backspace",
        '\r' => "carriage return",
        '\u{1a}' => "Ctrl-Z",
        '\u{1b}' => "escape",
        '\u{7f}' => "delete",
        '\u{80}'.. => "of C1",
        _ => "of C0",
    }
}

/// The named keys of tmux(1), KEY BINDINGS, that terminals have.
const KEY_NAMES: [&str; 31] = [
    "Enter", "Escape", "Tab", "BTab", "Space", "BSpace", "Up", "Down", "Left", "Right", "Home",
    "End", "PageUp", "PageDown", "PPage", "NPage", "Insert", "Delete", "IC", "F1", "F2", "F3",
    "F4", "F5", "F6", "F7", "F8", "F9", "F10", "F11", "F12",
];

impl Keys {
    /// # Errors
    /// A sentence that shows the key and says which there are.
    pub(crate) fn new(keys: Vec<String>) -> Result<Keys, FieldError> {
        if keys.len() > SEND_KEYS_MAX {
            let count = keys.len();
            return Err(FieldError(format!("{count} keys are more than {SEND_KEYS_MAX}")));
        }
        match keys.iter().find(|key| !is_key(key)) {
            None => Ok(Keys(keys)),
            Some(key) => Err(FieldError(format!(
                "key {} is none of {}, a character, or one of these behind C-, M- or S-",
                shown(key),
                KEY_NAMES.join(", ")
            ))),
        }
    }

    /// The keys of a text that names them, with blanks between.
    pub(crate) fn parse(text: &str) -> Result<Keys, FieldError> {
        Keys::new(text.split_whitespace().map(str::to_owned).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.0
    }
}

/// Whether tmux knows the key; what it does not know it would type as text. A semicolon ends a
/// command of tmux.
fn is_key(text: &str) -> bool {
    let (mut name, mut has_control, mut has_shift) = (text, false, false);
    while let Some((modifier @ ("C" | "M" | "S"), rest)) = name.split_once('-')
        && !rest.is_empty()
    {
        has_control |= modifier == "C";
        has_shift |= modifier == "S";
        name = rest;
    }
    let is_character = match name.as_bytes() {
        [b';'] => false,
        [byte] if has_control => byte.is_ascii_lowercase(),
        [byte] => byte.is_ascii_graphic(),
        _ => false,
    };
    text.len() <= "C-M-S-PageDown".len() && KEY_NAMES.contains(&name) || is_character && !has_shift
}

impl ExecCommand {
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub(crate) fn new(words: Vec<String>) -> Result<ExecCommand, FieldError> {
        let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
        let problem = match words.first() {
            None => "no command is given".to_owned(),
            Some(first) if first.is_empty() => "the command's name is empty".to_owned(),
            Some(_) if words.len() > EXEC_ARGUMENTS_MAX => {
                format!("the command has {} words, more than {EXEC_ARGUMENTS_MAX}", words.len())
            }
            Some(_) if bytes > EXEC_COMMAND_BYTES_MAX => {
                format!("the command is {bytes} bytes, more than {EXEC_COMMAND_BYTES_MAX}")
            }
            Some(_) if words.iter().any(|word| word.contains('\0')) => {
                "the command has a NUL character".to_owned()
            }
            Some(_) => return Ok(ExecCommand(words)),
        };
        Err(FieldError(problem))
    }

    pub(crate) fn words(&self) -> &[String] {
        &self.0
    }
}

impl Default for ExecSeconds {
    fn default() -> ExecSeconds {
        ExecSeconds(EXEC_SECONDS)
    }
}

impl ExecSeconds {
    pub(crate) fn new(seconds: u32) -> Result<ExecSeconds, FieldError> {
        match (1..=EXEC_SECONDS_MAX).contains(&seconds) {
            true => Ok(ExecSeconds(seconds)),
            false => Err(FieldError(format!("seconds {seconds} must be 1 to {EXEC_SECONDS_MAX}"))),
        }
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

impl Executed {
    /// # Errors
    /// One of the two is no Base64.
    pub(crate) fn outputs(&self) -> Result<(Vec<u8>, Vec<u8>), String> {
        let decoded = |text: &str| {
            Base64::decode_vec(text).map_err(|error| format!("unexpected output: {error}"))
        };
        Ok((decoded(&self.stdout)?, decoded(&self.stderr)?))
    }
}

/// An output as it stands in an answer.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

impl Wait {
    /// A wait of at most so many seconds, or of as many as an agent lets a call wait.
    pub(crate) fn new(ids: Vec<Uuid>, seconds: u64, what: WaitFor) -> Result<Wait, FieldError> {
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX).min(WAIT_SECONDS_MAX);
        Ok(Wait { ids: WaitIds::new(ids)?, seconds, what })
    }
}

impl WaitFor {
    /// The words of a text with commas between: `ended`, `waiting`, `done`.
    pub(crate) fn parse(text: &str) -> Result<WaitFor, FieldError> {
        let mut what = WaitFor::default();
        for word in text.split(',') {
            match word {
                "ended" => {}
                "waiting" => what.waiting = true,
                "done" => what.done = true,
                _ => {
                    let shown = shown(word);
                    return Err(FieldError(format!("{shown} is none of ended, waiting, done")));
                }
            }
        }
        Ok(what)
    }

    /// Whether nothing but the end is waited for.
    pub(crate) fn is_end(&self) -> bool {
        *self == WaitFor::default()
    }
}

impl WaitIds {
    fn new(ids: Vec<Uuid>) -> Result<WaitIds, FieldError> {
        match (1..=WAIT_SESSIONS_MAX).contains(&ids.len()) {
            true => Ok(WaitIds(ids)),
            false => {
                Err(FieldError(format!("{} sessions must be 1 to {WAIT_SESSIONS_MAX}", ids.len())))
            }
        }
    }

    pub(crate) fn ids(&self) -> &[Uuid] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_no_control_characters_but_newline_and_tab() {
        for good in ["x", "a\n\tb\n", "日本語 \u{200b}", &"x\n".repeat(SEND_TEXT_BYTES_MAX / 2)]
        {
            assert_eq!(PastedText::new(good.to_owned()).expect(good).as_str(), good);
        }
        for (bad, words) in [
            ("", "empty"),
            ("a\nb\u{3}", "line 2 of the text has the control character Ctrl-C (U+0003)"),
            ("\u{1b}[201~", "escape (U+001B)"),
            ("a\r\n", "line 1 of the text has the control character carriage return (U+000D)"),
            ("\0", "NUL"),
            ("\u{7f}", "delete"),
            ("\u{9b}2J", "of C1 (U+009B)"),
            (&"x".repeat(SEND_TEXT_BYTES_MAX + 1), "122881 bytes, more than 122880"),
        ] {
            let error = PastedText::new(bad.to_owned()).expect_err(bad).to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn keys_are_those_that_tmux_knows() {
        for good in [
            "Enter",
            "C-c",
            "M-x",
            "M-X",
            "C-M-a",
            "Up",
            "C-Up",
            "C-M-S-PageDown",
            "F12",
            "S-F1",
            "q",
            "?",
            "-",
            "M--",
            "C-Space",
            "S-Tab",
        ] {
            assert!(is_key(good), "{good}");
        }
        for bad in [
            "",
            "enter",
            "Return",
            "C-",
            "C-C",
            "C-;",
            ";",
            "M-;",
            "S-a",
            "ab",
            "é",
            "\u{1b}",
            "F13",
            "-l",
            "C-c;",
            "C-C-C-C-C-C-C-C-Up",
            "=claude:",
        ] {
            assert!(!is_key(bad), "{bad}");
        }
        assert_eq!(Keys::parse(" C-c  Up ").map(|keys| keys.names().len()), Ok(2));
        let error = Keys::parse("C-c Retrun").expect_err("a slip").to_string();
        assert!(error.starts_with("key \"Retrun\" is none of Enter, "), "{error}");
        assert!(Keys::new(vec!["a".to_owned(); SEND_KEYS_MAX + 1]).is_err());
    }

    #[test]
    fn commands_are_bounded() {
        let words = |count: usize, len: usize| vec!["x".repeat(len); count];
        for (bad, sentence) in [
            (vec![], "no command is given"),
            (words(1, 0), "name is empty"),
            (words(EXEC_ARGUMENTS_MAX + 1, 1), "words, more than"),
            (words(2, EXEC_COMMAND_BYTES_MAX / 2), "bytes, more than"),
            (vec!["a".to_owned(), "b\0".to_owned()], "NUL"),
        ] {
            let error = ExecCommand::new(bad).expect_err(sentence).to_string();
            assert!(error.contains(sentence), "{error}");
        }
        assert!(ExecCommand::new(words(2, 0)).is_err());
        assert!(ExecCommand::new(vec!["ls".to_owned(), String::new()]).is_ok());
        assert!(ExecSeconds::new(0).is_err() && ExecSeconds::new(EXEC_SECONDS_MAX + 1).is_err());
        assert!(HistoryLines::new(SCREEN_HISTORY_LINES_MAX + 1).is_err());
        assert!(Wait::new(Vec::new(), 1, WaitFor::default()).is_err());
        let both = WaitFor { waiting: true, done: true };
        assert_eq!(WaitFor::parse("waiting,done"), Ok(both));
        assert_eq!(WaitFor::parse("ended"), Ok(WaitFor::default()));
        assert!(WaitFor::parse("waiting, done").is_err() && WaitFor::parse("").is_err());
    }

    #[test]
    fn outputs_are_bytes() {
        let bytes: Vec<u8> = (0..=255).collect();
        let (stdout, stderr) = (encoded(&bytes), encoded(b""));
        let flags = (false, false, false);
        let (stdout_cut, stderr_cut, timed_out) = flags;
        let executed =
            Executed { exit_status: 0, stdout, stderr, stdout_cut, stderr_cut, timed_out };
        assert_eq!(executed.outputs(), Ok((bytes, Vec::new())));
        assert!(Executed { stdout: "!".to_owned(), ..executed }.outputs().is_err());
    }
}
