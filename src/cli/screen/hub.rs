//! The connection to the hub's socket, which is made again when it is lost.

use std::io;
use std::path::PathBuf;

use crate::base::lines::Lines;
use crate::base::slots::Key;
use crate::base::time::Mono;
use crate::io::reactor::{Interests, Reactor};
use crate::io::stream::{Moved, Stream};
use crate::limits::{HUB_LINE_BYTES_MAX, HUB_READ_BYTES, LINK_TURN_BYTES};
use crate::tui::messages::Message;

pub(crate) struct HubLink {
    path: PathBuf,
    state: HubState,
}

enum HubState {
    /// Dials at this time; `is_reported`: the screen knows that there is no hub.
    Away {
        at: Mono,
        is_reported: bool,
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
        HubLink { path, state: HubState::Away { at: Mono::ZERO, is_reported: false } }
    }

    pub(crate) fn deadline(&self) -> Option<Mono> {
        match self.state {
            HubState::Away { at, .. } => Some(at),
            HubState::Open { .. } => None,
        }
    }

    /// Whether there may be more to read at once.
    pub(crate) fn has_more(&self) -> bool {
        matches!(self.state, HubState::Open { may_read: true, .. })
    }

    pub(crate) fn note(&mut self) {
        if let HubState::Open { may_read, .. } = &mut self.state {
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
        if let HubState::Away { at, is_reported } = self.state
            && at <= now
        {
            match Stream::connect_unix(&self.path) {
                Ok(stream) => {
                    let _ = reactor.watch(&stream, key, Interests::Read)?;
                    let lines = Lines::new(HUB_LINE_BYTES_MAX);
                    self.state = HubState::Open { stream, lines, may_read: true };
                    news.push(Message::HubFound);
                }
                Err(error) => {
                    self.state = HubState::Away { at: again, is_reported: true };
                    if !is_reported {
                        let path = self.path.display();
                        news.push(Message::HubGone(format!("no hub answers on {path}: {error}")));
                    }
                }
            }
        }
        if let Some(why) = self.read(&mut news) {
            self.state = HubState::Away { at: again, is_reported: true };
            news.push(Message::HubGone(why));
        }
        Ok(news)
    }

    /// Reads lines; gives the reason if the connection is gone.
    fn read(&mut self, news: &mut Vec<Message>) -> Option<String> {
        let HubState::Open { stream, lines, may_read } = &mut self.state else { return None };
        let mut left = LINK_TURN_BYTES;
        let mut space = [0; HUB_READ_BYTES];
        while *may_read && left > 0 {
            let count = match stream.read(&mut space) {
                Moved::Bytes(count) => count,
                Moved::Blocked => {
                    *may_read = false;
                    return None;
                }
                Moved::Closed => return Some("the hub closed the connection".to_owned()),
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
