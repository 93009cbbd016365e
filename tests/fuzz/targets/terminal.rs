//! What a session writes, on its way to the operator's terminal: the same however it is cut, and
//! nothing in it asks, carries a program, or cannot be set back.

use convocate::limits;
use convocate::terminal::filter::{Clipboard, Filter};

pub fn run(input: &[u8]) {
    let Some((&head, stream)) = input.split_first() else { return };
    let clipboard = if head & 1 == 0 { Clipboard::Closed } else { Clipboard::Writable };
    let whole = filtered(stream, stream.len().max(1), clipboard);
    let step = usize::from(head >> 1) % 40 + 1;
    assert_eq!(filtered(stream, step, clipboard), whole, "cut every {step} bytes");
    let held = limits::TERMINAL_COMMAND_BYTES_MAX + limits::TERMINAL_SEQUENCE_BYTES_MAX;
    assert!(whole.len() <= 3 * stream.len() + held, "{} bytes of {}", whole.len(), stream.len());
    check(&whole, clipboard);
}

fn filtered(stream: &[u8], step: usize, clipboard: Clipboard) -> Vec<u8> {
    let (mut filter, mut output) = (Filter::new(clipboard), Vec::new());
    stream.chunks(step).for_each(|piece| filter.feed(piece, &mut output));
    output
}

/// Reads the output as the simplest of terminals does.
fn check(output: &[u8], clipboard: Clipboard) {
    let text = std::str::from_utf8(output).expect("text");
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        plain(&rest[..at]);
        let sequence = &rest[at + 1..];
        let len = match sequence.chars().next() {
            Some('[') => 1 + control_sequence(&sequence[1..]),
            Some(']') => 1 + command(&sequence[1..], clipboard),
            Some('(' | ')') => {
                assert!(matches!(sequence.as_bytes()[1], b'0' | b'A' | b'B'), "{sequence:.10?}");
                2
            }
            Some('7' | '8' | '=' | '>' | 'D' | 'E' | 'M') => 1,
            other => unreachable!("ESC {other:?}"),
        };
        rest = &sequence[len..];
    }
    plain(rest);
}

fn plain(text: &str) {
    for sign in text.chars().filter(|sign| sign.is_control()) {
        assert!(matches!(sign, '\u{7}'..='\u{f}'), "{sign:?} in {text:.80?}");
    }
}

/// How long it is.
fn control_sequence(text: &str) -> usize {
    let end = text.find(|sign: char| ('@'..='~').contains(&sign)).expect("it has an end");
    let (inner, last) = (&text[..end], text.as_bytes()[end]);
    assert!(inner.bytes().all(|byte| (0x20..0x40).contains(&byte)), "{inner:?}");
    assert!(inner.len() <= limits::TERMINAL_SEQUENCE_BYTES_MAX);
    let prefix = inner.chars().next().filter(|sign| "<=>?".contains(*sign));
    let is_allowed = match (prefix, last) {
        // Reports, window operations, resets, tab stops.
        (_, b'c' | b'n' | b'p' | b't' | b'x' | b'y' | b'w' | b'g' | b'i') => false,
        (Some('?'), b'h' | b'l') => {
            let fatal = ["3", "6", "1001", "2031", "2048"];
            inner[1..].split(';').all(|mode| !fatal.contains(&mode.trim_start_matches('0')))
        }
        (None, b'h' | b'l') => inner.split(';').all(|mode| mode.trim_start_matches('0') == "4"),
        (Some('?'), last) => b"JK".contains(&last),
        (Some('>'), b'm') => inner.trim_start_matches(">0").starts_with(['>', '4']),
        (Some(_), last) => last == b'u',
        (None, b'q') => inner.ends_with(' '),
        (None, b'J') => inner.split(';').all(|part| part.trim_start_matches('0') != "3"),
        (None, b'T') => !inner.contains(';'),
        (None, b'u') => inner.is_empty(),
        (None, _) => !inner.contains(['$', '*', '&', '"', '\'', '!', '#', '%', ' ']),
    };
    assert!(is_allowed, "CSI {inner}{}", char::from(last));
    end + 1
}

/// How long it is.
fn command(text: &str, clipboard: Clipboard) -> usize {
    let end = text.find(['\u{7}', '\u{1b}']).expect("it has an end");
    let inner = &text[..end];
    let (number, value) = inner.split_once(';').unwrap_or((inner, ""));
    assert!(!inner.chars().any(char::is_control), "{inner:?}");
    match number {
        "0" | "1" | "2" | "7" | "8" | "104" | "110" | "111" | "112" => {}
        "4" | "10" | "11" | "12" => assert!(!value.contains('?'), "OSC {inner}"),
        "52" => {
            assert_eq!(clipboard, Clipboard::Writable);
            assert!(!value.contains('?'), "OSC {inner}");
        }
        _ => unreachable!("OSC {inner}"),
    }
    end + if text[end..].starts_with("\u{1b}\\") { 2 } else { 1 }
}
