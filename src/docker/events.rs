//! The stream of `/events`, cut into its objects.
//!
//! The Engine writes JSON objects, each with a newline behind it or none. An object ends where its
//! braces do; nothing is parsed before it is whole, and one longer than
//! [`DOCKER_EVENT_BYTES_MAX`] fails the stream for good.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::base::time::Wall;
use crate::limits::DOCKER_EVENT_BYTES_MAX;

/// One event, as far as the agent looks at it. What an event does not have is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerEvent {
    /// What it is about: `container`, `image`, …
    pub(crate) kind: String,
    /// What happened: `start`, `die`, `oom`, …
    pub(crate) action: String,
    pub(crate) id: String,
    /// The container's labels, and particulars such as `exitCode`, in one table.
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) time: Wall,
}

/// Why no more events can be read from a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventStreamError {
    /// Something between two objects, or an object that is none.
    NotJson(String),
    /// An object that does not end.
    TooLong,
}

impl fmt::Display for EventStreamError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventStreamError::NotJson(text) => write!(out, "event stream: {text}"),
            EventStreamError::TooLong => {
                write!(out, "event stream: event longer than {DOCKER_EVENT_BYTES_MAX} bytes")
            }
        }
    }
}

impl std::error::Error for EventStreamError {}

/// Cuts the stream. Holds one unfinished object.
#[derive(Debug, Default)]
pub struct EventStream {
    object: Vec<u8>,
    state: ScanState,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum ScanState {
    #[default]
    Between,
    /// In an object, `depth` braces deep.
    Inside {
        depth: u32,
    },
    /// In a string of an object.
    InText {
        depth: u32,
    },
    /// In a string, behind a backslash.
    Escaped {
        depth: u32,
    },
    Failed(EventStreamError),
}

impl EventStream {
    /// At the start of a stream.
    pub fn new() -> EventStream {
        EventStream::default()
    }

    /// Reads on, up to the end of the first object: how much was read, and the event if there is
    /// one. Call it again with the rest until all is read.
    ///
    /// # Errors
    /// The first thing that was wrong, now and on every later call.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(usize, Option<DockerEvent>), EventStreamError> {
        let outcome = self.scan(bytes);
        if let Err(error) = &outcome {
            self.state = ScanState::Failed(error.clone());
            self.object = Vec::new();
        }
        outcome
    }

    fn scan(&mut self, bytes: &[u8]) -> Result<(usize, Option<DockerEvent>), EventStreamError> {
        for (at, &byte) in bytes.iter().enumerate() {
            let was_between = self.state == ScanState::Between;
            self.state = self.state.clone().after(byte)?;
            if was_between && self.state == ScanState::Between {
                continue;
            }
            if self.object.len() == DOCKER_EVENT_BYTES_MAX {
                return Err(EventStreamError::TooLong);
            }
            self.object.push(byte);
            if self.state == ScanState::Between {
                let event = parse(&self.object)?;
                self.object.clear();
                return Ok((at + 1, Some(event)));
            }
        }
        if let ScanState::Failed(error) = &self.state {
            return Err(error.clone());
        }
        Ok((bytes.len(), None))
    }
}

impl ScanState {
    fn after(self, byte: u8) -> Result<ScanState, EventStreamError> {
        match (self, byte) {
            (ScanState::Between, b'{') => Ok(ScanState::Inside { depth: 1 }),
            (ScanState::Between, b' ' | b'\t' | b'\r' | b'\n') => Ok(ScanState::Between),
            (ScanState::Between, _) => {
                Err(EventStreamError::NotJson(format!("byte {byte:#04x} between two events")))
            }
            (ScanState::Inside { depth: 1 }, b'}') => Ok(ScanState::Between),
            (ScanState::Inside { depth }, b'}') => Ok(ScanState::Inside { depth: depth - 1 }),
            (ScanState::Inside { depth }, b'{') => Ok(ScanState::Inside { depth: depth + 1 }),
            (ScanState::Inside { depth }, b'"') => Ok(ScanState::InText { depth }),
            (ScanState::InText { depth }, b'"') => Ok(ScanState::Inside { depth }),
            (ScanState::InText { depth }, b'\\') => Ok(ScanState::Escaped { depth }),
            (ScanState::Escaped { depth }, _) => Ok(ScanState::InText { depth }),
            (ScanState::Failed(error), _) => Err(error),
            (state @ (ScanState::Inside { .. } | ScanState::InText { .. }), _) => Ok(state),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct WireEvent {
    #[serde(rename = "Type")]
    kind: String,
    action: String,
    actor: WireActor,
    #[serde(rename = "timeNano")]
    time_nano: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireActor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<String, String>,
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;

fn parse(object: &[u8]) -> Result<DockerEvent, EventStreamError> {
    let wire: WireEvent = serde_json::from_slice(object)
        .map_err(|error| EventStreamError::NotJson(format!("event: {error}")))?;
    let nanos = u32::try_from(wire.time_nano.rem_euclid(NANOS_PER_SECOND)).unwrap_or(0);
    Ok(DockerEvent {
        kind: wire.kind,
        action: wire.action,
        id: wire.actor.id,
        attributes: wire.actor.attributes,
        time: Wall::new(wire.time_nano.div_euclid(NANOS_PER_SECOND), nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIE: &str = r#"{"status":"die","id":"c0","Type":"container","Action":"die","Actor":
        {"ID":"c0","Attributes":{"exitCode":"7","note":"a \"}\" \\"}},
        "time":5,"timeNano":5000000001}"#;
    const START: &str = r#"{"Type":"container","Action":"start"}"#;

    fn read_all(input: &[u8], step: usize) -> Result<Vec<DockerEvent>, EventStreamError> {
        let (mut events, mut found) = (EventStream::new(), Vec::new());
        for mut part in input.chunks(step) {
            while !part.is_empty() {
                let (taken, event) = events.read(part)?;
                found.extend(event);
                part = &part[taken..];
            }
        }
        Ok(found)
    }

    #[test]
    fn same_events_however_they_are_cut_and_joined() {
        for joint in ["", "\n", "\r\n \n"] {
            let input = format!("{joint}{DIE}{joint}{START}{joint}");
            for step in 1..=input.len() {
                let events = read_all(input.as_bytes(), step).unwrap();
                assert_eq!(events.len(), 2);
                assert_eq!(events[0].action, "die");
                assert_eq!(events[0].attributes["exitCode"], "7");
                assert_eq!(events[0].attributes["note"], "a \"}\" \\");
                assert_eq!(events[0].time, Wall::new(5, 1));
                assert_eq!((events[1].kind.as_str(), events[1].id.as_str()), ("container", ""));
            }
        }
    }

    #[test]
    fn a_cut_event_is_none() {
        for length in 0..DIE.len() {
            assert_eq!(read_all(&DIE.as_bytes()[..length], 9), Ok(Vec::new()), "cut at {length}");
        }
    }

    #[test]
    fn a_changed_byte_is_an_event_or_an_error_and_the_same_in_any_cut() {
        let input = format!("{DIE}\n{START}\n");
        for at in 0..input.len() {
            for byte in [0, b'{', b'}', b'"', b'\\', b'x', 0xff] {
                let mut changed = input.clone().into_bytes();
                changed[at] = byte;
                let whole = read_all(&changed, changed.len());
                assert_eq!(whole, read_all(&changed, 1), "byte {byte} at {at}");
            }
        }
    }

    #[test]
    fn an_endless_event_fails_the_stream_for_good() {
        let mut events = EventStream::new();
        let long = [b"{\"x\":\"".to_vec(), vec![b'x'; DOCKER_EVENT_BYTES_MAX]].concat();
        assert_eq!(events.read(&long), Err(EventStreamError::TooLong));
        assert_eq!(events.read(START.as_bytes()), Err(EventStreamError::TooLong));
        assert_eq!(read_all(b"[1]", 3).map_err(|error| error.to_string().is_empty()), Err(false));
    }
}
