//! The hub's socket, which may be there or not, and come and go.

use std::io;
use std::path::PathBuf;

use crate::base::lines::Lines;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::io::reactor::{Interests, Reactor};
use crate::io::stream::{Moved, Stream};
use crate::limits::{HUB_LINE_BYTES_MAX, HUB_READ_BYTES, LINK_TURN_BYTES};
use crate::tui::messages::Message;

/// A connection to the hub that is made again when it is lost.
pub(crate) struct HubLink {
    path: PathBuf,
    state: State,
}

enum State {
    /// It is dialled at this time; whether its absence was told.
    Away {
        at: Mono,
        is_told: bool,
    },
    Open {
        stream: Stream,
        lines: Lines,
        may_read: bool,
    },
}

impl HubLink {
    /// A link that dials at once.
    pub(crate) fn new(path: PathBuf) -> HubLink {
        HubLink { path, state: State::Away { at: Mono::ZERO, is_told: false } }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        match self.state {
            State::Away { at, .. } => Some(at),
            State::Open { .. } => None,
        }
    }

    /// Whether there may be more to read at once.
    pub(crate) fn has_more(&self) -> bool {
        matches!(self.state, State::Open { may_read: true, .. })
    }

    /// There is something to read.
    pub(crate) fn note(&mut self) {
        if let State::Open { may_read, .. } = &mut self.state {
            *may_read = true;
        }
    }

    /// Dials if it is time, and reads what is there, up to a turn's share. After a loss it dials
    /// again at `again`.
    ///
    /// # Errors
    /// When the kernel has no room to watch it.
    pub(crate) fn turn(
        &mut self,
        now: Mono,
        again: Mono,
        reactor: &Reactor,
        key: Key,
    ) -> io::Result<Vec<Message>> {
        let mut news = Vec::new();
        if let State::Away { at, is_told } = self.state
            && at <= now
        {
            match Stream::connect_unix(&self.path) {
                Ok(stream) => {
                    let _ = reactor.watch(&stream, key, Interests::Read)?;
                    let lines = Lines::new(HUB_LINE_BYTES_MAX);
                    self.state = State::Open { stream, lines, may_read: true };
                    news.push(Message::HubFound);
                }
                Err(error) => {
                    self.state = State::Away { at: again, is_told: true };
                    if !is_told {
                        let path = self.path.display();
                        news.push(Message::HubGone(format!("no hub answers on {path}: {error}")));
                    }
                }
            }
        }
        if let Some(why) = self.read(&mut news) {
            self.state = State::Away { at: again, is_told: true };
            news.push(Message::HubGone(why));
        }
        Ok(news)
    }

    /// Reads lines; gives the reason if the connection is gone.
    fn read(&mut self, news: &mut Vec<Message>) -> Option<String> {
        let State::Open { stream, lines, may_read } = &mut self.state else { return None };
        let mut left = LINK_TURN_BYTES;
        let mut space = [0; HUB_READ_BYTES];
        while *may_read && left > 0 {
            let count = match stream.read(&mut space) {
                Moved::Bytes(count) => count,
                Moved::Blocked => {
                    *may_read = false;
                    return None;
                }
                Moved::Closed => return Some("the hub has closed the connection".to_owned()),
                Moved::Failed(error) => return Some(format!("the hub: {error}")),
            };
            left = left.saturating_sub(count);
            let mut rest = &space[..count];
            while !rest.is_empty() {
                match lines.push(rest) {
                    Ok(taken) => rest = &rest[taken..],
                    Err(error) => return Some(format!("the hub: {error}")),
                }
                news.extend(lines.next_line().map(Message::HubLine));
            }
        }
        None
    }
}
