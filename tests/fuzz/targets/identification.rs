//! The first lines of a connection: the same outcome however they are cut, and what is taken for an
//! identification is one.

use convocate::limits;
use convocate::ssh::Role;
use convocate::ssh::identification::{Awaiting, FirstLine, Identification, IdentificationError};

type Outcome = Result<Option<(usize, Identification)>, IdentificationError>;

pub fn run(input: &[u8]) {
    let Some((&head, stream)) = input.split_first() else { return };
    let role = if head & 1 == 0 { Role::Server } else { Role::Client };
    let whole = look(role, stream, stream.len().max(1));
    let step = usize::from(head >> 1) + 1;
    assert_eq!(look(role, stream, step), whole, "cut every {step} bytes");
    if let Ok(Some((bytes, found))) = whole {
        check(role, &stream[..bytes], &found);
    }
}

/// Hands over `step` bytes at a time, until there is an answer or no more.
fn look(role: Role, stream: &[u8], step: usize) -> Outcome {
    let mut awaiting = Awaiting::default();
    let (mut taken, mut held) = (0, 0);
    loop {
        match awaiting.look(role, &stream[taken..held])? {
            FirstLine::Nothing if held == stream.len() => return Ok(None),
            FirstLine::Nothing => {
                let waiting = held - taken;
                assert!(waiting < limits::SSH_IDENTIFICATION_BYTES_MAX, "{waiting} bytes wait");
                held = (held + step).min(stream.len());
            }
            FirstLine::Line(bytes) => {
                assert!(bytes > 0 && bytes <= held - taken, "a line of {bytes} bytes");
                assert_eq!(role, Role::Client, "a server takes no lines before");
                taken += bytes;
            }
            FirstLine::Identification(bytes, found) => {
                assert!(bytes <= held - taken, "an identification of {bytes} bytes");
                return Ok(Some((taken + bytes, found)));
            }
        }
    }
}

fn check(role: Role, taken: &[u8], found: &Identification) {
    let text = found.as_str();
    assert!(text.len() > "SSH-2.0-".len() && text.starts_with("SSH-2.0-"), "{text:?}");
    assert!(text.len() + 2 <= limits::SSH_IDENTIFICATION_BYTES_MAX, "{text:?}");
    assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
    let line = taken.strip_suffix(b"\r\n").expect("an identification ends its line");
    assert!(line.ends_with(text.as_bytes()), "{text:?}");
    let lines = taken.split(|byte| *byte == b'\n').count() - 2;
    assert!(lines <= limits::SSH_PRELINES_MAX, "{lines} lines before");
    assert!(role == Role::Client || lines == 0, "lines before a client's identification");
}
