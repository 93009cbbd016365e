//! From the Engine's events to events of sessions.
//!
//! Sessions are created to be started again after the Engine or the host was restarted, and the
//! Engine does so after any end that nobody asked for. So an end that nobody asked for has a
//! follow-up that cancels the restart: a session whose command ended has ended. It was asked for if
//! the Engine has told of a SIGTERM before: a command's own exit status may be 143, too. The
//! follow-up names the container by its id, so that it never meets a newer container of the same
//! session.
//!
//! The Engine tells an end before its own list knows it, and holds the container's lock between the
//! two. So an end is told after a call on that container was answered: then a listing sees it too.

use std::time::Duration;

use super::description::{LABEL_SESSION, running, session_id};
use crate::agent::work::RuntimeEvent;
use crate::base::sorted_map::SortedMap;
use crate::base::time::Wall;
use crate::base::uuid::Uuid;
use crate::docker::events::DockerEvent;
use crate::docker::{DockerRequest, call};
use crate::limits::{DOCKER_OOM_ENDS_WITHIN, SESSIONS_MAX};

/// The entrypoint's exit status after SIGTERM, and that of a container that had to be killed after
/// it: by an operator, or by an Engine that shuts down and will start the session again.
const EXITS_ASKED: [i32; 2] = [EXIT_ASKED, 137];
/// The entrypoint's after SIGTERM.
pub(crate) const EXIT_ASKED: i32 = 143;
/// SIGTERM, as the Engine tells it.
const SIGNAL_ASKED: &str = "15";

/// Remembers kills for memory until the container's end tells whether they were its end, and
/// containers that ended by themselves: an Engine that is slow to clean up after them starts them
/// again before it hears the cancellation, and ends them then. Nobody of ours starts the same
/// container twice, so nothing is reported then.
#[derive(Debug, Default)]
pub struct RuntimeEvents {
    /// At most [`SESSIONS_MAX`].
    killed_for_memory: SortedMap<Uuid, Wall>,
    /// The containers that were asked to end, at most [`SESSIONS_MAX`].
    asked: SortedMap<Uuid, String>,
    /// The containers whose restart is being cancelled, at most [`SESSIONS_MAX`].
    ended: SortedMap<Uuid, String>,
}

/// What an event means.
#[derive(Clone, Debug, PartialEq)]
pub struct PendingEvent {
    pub event: RuntimeEvent,
    /// A call to make first, if there is one. What comes of it does not matter.
    pub call_first: Option<DockerRequest>,
}

impl RuntimeEvents {
    pub fn new() -> RuntimeEvents {
        RuntimeEvents::default()
    }

    /// Follows the events that [`RuntimeEvents::translate`] understands. What was before the first
    /// of them is a listing's to tell, made after the stream is open.
    pub fn request() -> DockerRequest {
        call::events(LABEL_SESSION, &["start", "kill", "die", "oom"])
    }

    /// Takes one event. `None` if it says nothing new of a session.
    pub fn translate(&mut self, event: &DockerEvent) -> Option<PendingEvent> {
        if event.kind != "container" {
            return None;
        }
        let id = session_id(&event.attributes)?;
        if self.ended.get(&id) == Some(&event.id) {
            return None;
        }
        match event.action.as_str() {
            "start" => self.started(id, event),
            "die" => Some(self.ended(id, event)),
            "kill" => {
                let signal = event.attributes.get("signal").map(String::as_str);
                if signal == Some(SIGNAL_ASKED) && self.asked.len() < SESSIONS_MAX {
                    self.asked.insert(id, event.id.clone());
                }
                None
            }
            "oom" => {
                self.remember(id, event.time);
                None
            }
            _ => None,
        }
    }

    fn started(&mut self, id: Uuid, event: &DockerEvent) -> Option<PendingEvent> {
        self.killed_for_memory.remove(&id);
        self.asked.remove(&id);
        self.ended.remove(&id);
        let running = running(&event.id, &event.attributes, event.time)?;
        Some(PendingEvent { event: RuntimeEvent::Started(running), call_first: None })
    }

    fn ended(&mut self, id: Uuid, event: &DockerEvent) -> PendingEvent {
        let exit_code = event.attributes.get("exitCode").and_then(|code| code.parse().ok());
        let killed = self.killed_for_memory.remove(&id);
        let out_of_memory = killed.is_some_and(|at| event.time.since(at) <= DOCKER_OOM_ENDS_WITHIN);
        let was_asked = self.asked.remove(&id).as_ref() == Some(&event.id)
            && exit_code.is_some_and(|code| EXITS_ASKED.contains(&code));
        let first = if was_asked {
            call::container_inspect(&event.id)
        } else {
            self.cancel(id, event);
            call::container_stop(&event.id, Duration::ZERO)
        };
        let event = RuntimeEvent::Ended { id, exit_code, out_of_memory, was_asked };
        PendingEvent { event, call_first: Some(first) }
    }

    fn cancel(&mut self, id: Uuid, event: &DockerEvent) {
        if self.ended.len() < SESSIONS_MAX {
            self.ended.insert(id, event.id.clone());
        }
    }

    fn remember(&mut self, id: Uuid, at: Wall) {
        if self.killed_for_memory.len() < SESSIONS_MAX {
            self.killed_for_memory.insert(id, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::description::tests::{host, id, plan};
    use super::super::description::{container, label_table};
    use super::*;

    fn event(action: &str, second: i64, exit_code: Option<&str>) -> DockerEvent {
        let description = container(&plan(), &host());
        let mut attributes = label_table(description["Labels"].as_object().unwrap());
        attributes.extend(exit_code.map(|code| ("exitCode".to_owned(), code.to_owned())));
        DockerEvent {
            kind: "container".to_owned(),
            action: action.to_owned(),
            id: "c0".to_owned(),
            attributes,
            time: Wall::new(second, 0),
        }
    }

    fn kill(signal: &str) -> DockerEvent {
        let mut event = event("kill", 9, None);
        event.attributes.insert("signal".to_owned(), signal.to_owned());
        event
    }

    fn ended(exit_code: Option<i32>, out_of_memory: bool) -> RuntimeEvent {
        RuntimeEvent::Ended { id: id(), exit_code, out_of_memory, was_asked: false }
    }

    #[test]
    fn a_start_is_told_with_its_caps() {
        let notice = RuntimeEvents::new().translate(&event("start", 9, None)).unwrap();
        let RuntimeEvent::Started(running) = notice.event else { panic!("{notice:?}") };
        assert_eq!((running.id, running.caps), (id(), Some(plan().caps)));
        assert_eq!(running.started_at.seconds(), 9);
    }

    #[test]
    fn an_end_by_itself_stays_the_end_and_one_that_was_asked_for_may_restart() {
        let notice = RuntimeEvents::new().translate(&event("die", 9, Some("7"))).unwrap();
        assert_eq!(notice.event, ended(Some(7), false));
        assert_eq!(notice.call_first.unwrap().target, "/containers/c0/stop?t=0");
        for status in ["143", "137"] {
            let mut events = RuntimeEvents::new();
            assert_eq!(events.translate(&kill("15")), None);
            let notice = events.translate(&event("die", 9, Some(status))).unwrap();
            let (exit_code, was_asked) = (status.parse().ok(), true);
            let event =
                RuntimeEvent::Ended { id: id(), exit_code, out_of_memory: false, was_asked };
            assert_eq!(notice.event, event);
            assert_eq!(notice.call_first.unwrap().target, "/containers/c0/json");
        }
        let notice = RuntimeEvents::new().translate(&event("die", 9, None)).unwrap();
        assert_eq!(notice.event, ended(None, false));
    }

    #[test]
    fn a_command_with_the_status_of_one_that_was_asked_has_ended_by_itself() {
        let stop = "/containers/c0/stop?t=0";
        let ends = |events: &mut RuntimeEvents, status| {
            let notice = events.translate(&event("die", 9, Some(status))).unwrap();
            notice.call_first.unwrap().target
        };
        assert_eq!(ends(&mut RuntimeEvents::new(), "143"), stop);
        // Another signal, another container, and one of an earlier run ask for nothing.
        let other = DockerEvent { id: "c1".to_owned(), ..kill("15") };
        for earlier in [vec![kill("28")], vec![other], vec![kill("15"), event("start", 8, None)]] {
            let mut events = RuntimeEvents::new();
            earlier.iter().for_each(|event| drop(events.translate(event)));
            assert_eq!(ends(&mut events, "143"), stop);
        }
        // A command that ended while it was asked to.
        let mut events = RuntimeEvents::new();
        events.translate(&kill("15"));
        assert_eq!(ends(&mut events, "7"), stop);
    }

    #[test]
    fn a_restart_that_comes_before_its_cancellation_is_no_news() {
        let mut events = RuntimeEvents::new();
        assert!(events.translate(&event("die", 9, Some("7"))).is_some());
        assert_eq!(events.translate(&event("start", 10, None)), None);
        assert_eq!(events.translate(&event("die", 10, Some("137"))), None);
        let next = DockerEvent { id: "c1".to_owned(), ..event("start", 11, None) };
        assert!(events.translate(&next).is_some());
        let next = DockerEvent { id: "c1".to_owned(), ..event("die", 12, Some("143")) };
        assert!(events.translate(&next).is_some());
    }

    #[test]
    fn only_a_kill_shortly_before_the_end_was_its_cause() {
        for (end, out_of_memory) in [(10, true), (60, false)] {
            let mut events = RuntimeEvents::new();
            assert_eq!(events.translate(&event("oom", 9, None)), None);
            let notice = events.translate(&event("die", end, Some("137"))).unwrap();
            assert_eq!(notice.event, ended(Some(137), out_of_memory));
            let next = DockerEvent { id: "c1".to_owned(), ..event("die", end, Some("137")) };
            let again = events.translate(&next).unwrap();
            assert_eq!(again.event, ended(Some(137), false));
        }
    }

    #[test]
    fn what_is_no_sessions_is_no_news() {
        let mut foreign = event("die", 9, Some("0"));
        foreign.attributes.remove(LABEL_SESSION);
        let image = DockerEvent { kind: "image".to_owned(), ..event("die", 9, None) };
        for event in [foreign, image, event("exec_die", 9, None), DockerEvent::default()] {
            assert_eq!(RuntimeEvents::new().translate(&event), None);
        }
    }
}
