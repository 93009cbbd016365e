//! Sends a session's directory to an agent's host, and asks that host about sessions.

use std::fmt;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use super::RemoteError;
use super::connection::spawn;
use super::event::Moved;
use super::session::HostSession;
use crate::base::lines::Lines;
use crate::base::uuid::Uuid;
use crate::io::disk::{Contents, DiskError, TreeRead, read_tree};
use crate::limits::{SHIP_FRAME_BYTES, SHIP_PROGRESS_INTERVAL, TREE_WORD_BYTES_MAX};
use crate::provision::migrate::archive::{Manifest, encode};
use crate::provision::migrate::messages::{
    HeldSession, MigrateDecision, MigrateReply, MigrateRequest,
};
use crate::provision::ship::frame::Packer;
use crate::provision::ship::progress::Progress;

/// The command of the copied program that takes a session.
const RECEIVER: &str = "receive-session";

/// Why a directory is not there under its name.
#[derive(Debug)]
pub(crate) enum MoveError {
    /// It cannot be read here.
    Here(DiskError),
    /// The host: its words.
    There(String),
    /// The way there.
    Remote(RemoteError),
    /// What lies there is not what lies here.
    Hash,
}

impl From<RemoteError> for MoveError {
    fn from(error: RemoteError) -> MoveError {
        MoveError::Remote(error)
    }
}

/// The hash of a directory here.
pub(crate) fn hash(home: &Path) -> Result<String, MoveError> {
    let mut manifest = Manifest::default();
    let read = read_tree(home, Contents::Read, |record| {
        manifest.add(record);
        ControlFlow::Continue(())
    });
    read.map_err(MoveError::Here)?;
    Ok(manifest.finish())
}

impl HostSession<'_> {
    /// What the host has of these sessions.
    pub(crate) fn sessions(&self, ids: Vec<Uuid>) -> Result<Vec<HeldSession>, MoveError> {
        let count = ids.len();
        match self.tell_sessions(&MigrateRequest::Look(ids))? {
            MigrateReply::There(all) if all.len() == count => Ok(all),
            _ => Err(MoveError::Remote(RemoteError::Report)),
        }
    }

    /// Has the host do something that needs nothing more.
    pub(crate) fn tell_sessions(&self, wanted: &MigrateRequest) -> Result<MigrateReply, MoveError> {
        let mut receiver = ReceiverProcess::start(&self.words(RECEIVER), wanted)?;
        let word = receiver.word()?;
        receiver.end().map(|()| word)
    }

    /// Sends the directory `home`, and has it get the session's name there when both hashes are
    /// the same. It stays here. `tell` says whether to go on; Ctrl-C ends it, too.
    pub(crate) fn send_session(
        &self,
        id: Uuid,
        (home, bytes): (&Path, u64),
        record: Option<String>,
        mut tell: impl FnMut(&Progress) -> bool,
    ) -> Result<Moved, MoveError> {
        let interrupts = self.interrupts();
        let wanted = MigrateRequest::Take { id, bytes, record };
        let receiver = ReceiverProcess::start(&self.words(RECEIVER), &wanted)?;
        let moved = receiver
            .take(home, bytes, |progress| !interrupts.has_come() && progress.is_none_or(&mut tell));
        // The terminal sends Ctrl-C to ssh as well, which may be seen first.
        moved.map_err(|error| match interrupts.has_come() {
            true => RemoteError::Interrupted.into(),
            false => error,
        })
    }
}

/// Sends all records: what was read, its hash, and how many bytes it took.
fn send(
    home: &Path,
    expected: u64,
    receiver: &mut ReceiverProcess,
    mut go_on: impl FnMut(Option<&Progress>) -> bool,
) -> Result<(TreeRead, String, u64), MoveError> {
    let begun = Instant::now();
    let (mut manifest, mut packer) = (Manifest::default(), Packer::default());
    let (mut plain, mut packed) = (Vec::new(), Vec::new());
    let (mut wire_bytes, mut reported) = (0, Duration::ZERO);
    let mut failed = None;
    let read = read_tree(home, Contents::Read, |record| {
        manifest.add(record);
        encode(record, &mut plain);
        if plain.len() < SHIP_FRAME_BYTES {
            return ControlFlow::Continue(());
        }
        packer.pack(&plain, &mut packed);
        plain.clear();
        wire_bytes += packed.len() as u64;
        if let Err(error) = receiver.send(&packed) {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        packed.clear();
        let took = begun.elapsed();
        let progress = (took - reported >= SHIP_PROGRESS_INTERVAL).then(|| {
            reported = took;
            let (plain_bytes, expected_bytes) = (packer.plain_bytes(), Some(expected));
            Progress { plain_bytes, wire_bytes, expected_bytes, took }
        });
        if !go_on(progress.as_ref()) {
            failed = Some(RemoteError::NobodyListens.into());
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let read = read.map_err(MoveError::Here)?;
    packer.pack(&plain, &mut packed);
    packer.finish(&mut packed);
    receiver.send(&packed)?;
    Ok((read, manifest.finish(), wire_bytes + packed.len() as u64))
}

/// The program at the other end: it reads frames and answers with words.
struct ReceiverProcess {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
    lines: Lines,
}

impl ReceiverProcess {
    fn start(words: &[String], wanted: &MigrateRequest) -> Result<ReceiverProcess, MoveError> {
        let mut child = spawn(words)?;
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        let lines = Lines::new(TREE_WORD_BYTES_MAX);
        let mut receiver = ReceiverProcess { child, input, output, lines };
        receiver.say(wanted)?;
        Ok(receiver)
    }

    /// Has it take a directory; `go_on` is asked with each frame.
    fn take(
        mut self,
        home: &Path,
        bytes: u64,
        go_on: impl FnMut(Option<&Progress>) -> bool,
    ) -> Result<Moved, MoveError> {
        let begun = Instant::now();
        let MigrateReply::Ready = self.word()? else { return Err(RemoteError::Report.into()) };
        let (read, sha256, wire_bytes) = send(home, bytes, &mut self, go_on)?;
        match self.word()? {
            MigrateReply::Whole { sha256: there } if there == sha256 => {}
            MigrateReply::Whole { .. } => return Err(MoveError::Hash),
            _ => return Err(RemoteError::Report.into()),
        }
        self.say(&MigrateDecision::Register)?;
        let MigrateReply::Registered = self.word()? else { return Err(RemoteError::Report.into()) };
        self.end()?;
        Ok(Moved { read, sha256, wire_bytes, took: begun.elapsed() })
    }

    fn say(&mut self, word: &impl serde::Serialize) -> Result<(), MoveError> {
        let mut line = serde_json::to_vec(word).expect("it is text and numbers");
        line.push(b'\n');
        self.send(&line)
    }

    /// Sends, or says why that was not taken.
    fn send(&mut self, bytes: &[u8]) -> Result<(), MoveError> {
        if self.input.write_all(bytes).is_ok() {
            return Ok(());
        }
        Err(self.word().err().unwrap_or(MoveError::Remote(RemoteError::Cut)))
    }

    /// The next word; a failure is an error.
    fn word(&mut self) -> Result<MigrateReply, MoveError> {
        let mut piece = [0];
        loop {
            // Byte by byte: there are few lines, and what is behind one stays for the next.
            if !self.output.read(&mut piece).is_ok_and(|length| length == 1) {
                return Err(RemoteError::Cut.into());
            }
            self.lines.push(&piece).map_err(|_| RemoteError::Report)?;
            let Some(line) = self.lines.next_line() else { continue };
            match serde_json::from_slice(&line) {
                Ok(MigrateReply::Failed(error)) => return Err(MoveError::There(error)),
                Ok(word) => return Ok(word),
                // What a login shell says of itself is no word.
                Err(_) if !line.starts_with(b"{") => {}
                Err(_) => return Err(RemoteError::Report.into()),
            }
        }
    }

    fn end(mut self) -> Result<(), MoveError> {
        drop(self.input);
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            _ => Err(RemoteError::Cut.into()),
        }
    }
}

impl fmt::Display for MoveError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MoveError::Here(error) => error.fmt(out),
            MoveError::There(text) => out.write_str(text),
            MoveError::Remote(error) => error.fmt(out),
            MoveError::Hash => out.write_str(
                "what arrived is not what lies here, by the SHA-256 of both; call again",
            ),
        }
    }
}

impl std::error::Error for MoveError {}
