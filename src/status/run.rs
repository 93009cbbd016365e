//! A program at the status socket: one snapshot, or all events as they come. Blocks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::snapshot::Snapshot;
use crate::io::clock::Clock;
use crate::io::reactor::Reactor;
use crate::io::reader_gone::wait_while_read;
use crate::limits::{EVENTS_REDIAL, HUB_LINE_BYTES_MAX, HUB_PATIENCE};
use crate::paths::Paths;

/// A connection to the hub.
#[derive(Debug)]
pub(crate) struct Feed {
    stream: BufReader<UnixStream>,
    line: Vec<u8>,
}

impl Feed {
    /// Connects. `None` if no hub runs here.
    ///
    /// # Errors
    /// A hub may run, and cannot be reached: one sentence.
    pub(crate) fn open(paths: &Paths) -> Result<Option<Feed>, String> {
        let path = paths.status_socket();
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Some(Feed {
                stream: BufReader::with_capacity(64 * 1024, stream),
                line: Vec::new(),
            })),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(format!("cannot reach the status hub at {}: {error}", path.display())),
            },
        }
    }

    /// Waits until a hub runs here, and connects.
    ///
    /// # Errors
    /// When this process cannot wait: one sentence.
    pub(crate) fn open_again(paths: &Paths) -> Result<Feed, String> {
        let cannot = |error: io::Error| format!("cannot wait for the status hub: {error}");
        let (clock, mut reactor) = (Clock::new(), Reactor::new().map_err(cannot)?);
        loop {
            let next = clock.mono() + EVENTS_REDIAL;
            while clock.mono() < next {
                reactor.wait(&clock, Some(next), &mut Vec::new()).map_err(cannot)?;
            }
            if let Ok(Some(feed)) = Feed::open(paths) {
                return Ok(feed);
            }
        }
    }

    /// Asks for all events behind this number again, as far as the hub has them.
    ///
    /// # Errors
    /// When the hub is gone.
    pub(crate) fn ask_since(&mut self, seq: u64) -> io::Result<()> {
        self.stream.get_mut().write_all(format!("{{\"since\":{seq}}}\n").as_bytes())
    }

    /// The next line without its newline; `None` when the hub is gone.
    ///
    /// # Errors
    /// When the hub is gone in another way, or a line is too long.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let most = u64::try_from(HUB_LINE_BYTES_MAX).unwrap_or(u64::MAX);
        let count = (&mut self.stream).take(most).read_until(b'\n', &mut self.line)?;
        match self.line.pop() {
            Some(b'\n') => Ok(Some(&self.line)),
            Some(_) if count == HUB_LINE_BYTES_MAX => {
                Err(io::Error::other(format!("line longer than {HUB_LINE_BYTES_MAX} bytes")))
            }
            // What a hub that was killed has begun will be told by the next one.
            Some(_) | None => Ok(None),
        }
    }

    /// Waits until something has come, or the hub is gone. Says no if nobody reads this program's
    /// output any more, which is noticed at once.
    ///
    /// # Errors
    /// When the system cannot wait.
    pub(crate) fn wait_while_read(&self) -> io::Result<bool> {
        if !self.stream.buffer().is_empty() {
            return Ok(true);
        }
        wait_while_read(self.stream.get_ref(), io::stdout())
    }

    /// Whether the next line has come already, so that nothing need be flushed before it.
    pub(crate) fn has_line(&self) -> bool {
        self.stream.buffer().contains(&b'\n')
    }

    /// A line that has not come after `span` is an error from now on.
    ///
    /// # Errors
    /// When the system does not take the span.
    pub(crate) fn wait_at_most(&self, span: Duration) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(span))
    }
}

/// All that the hub of this host knows; `None` if none runs here, or it does not answer at once.
/// Whoever asks can do without it.
pub(crate) fn snapshot(paths: &Paths) -> Option<Snapshot> {
    let mut feed = Feed::open(paths).ok().flatten()?;
    feed.wait_at_most(HUB_PATIENCE).ok()?;
    let line = feed.next_line().ok().flatten()?;
    Snapshot::parse(line).ok()
}
