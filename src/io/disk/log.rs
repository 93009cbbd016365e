//! The files of a log: appended to durably, off the loop.
//!
//! A [`LogDirectory`] does what a core asks for as [`DiskOp`]s, one after the other, and blocks. A
//! [`LogWorker`] does it on a thread of its own, in the order in which it was given, and wakes the
//! loop. A commit is done when its bytes are on the disk (fdatasync), and the file's name too.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags, fdatasync, fsync, open, openat, unlinkat};
use rustix::io::Errno;

use super::{DiskError, failed, make_directories};
use crate::base::disk::{self as base, DiskDone, DiskOp, FileNo};
use crate::io::reactor::Waker;
use crate::io::worker::{Crew, Worker};
use crate::limits::LOG_OPS_MAX;

/// The mode of a log's files: nobody else's.
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
/// Why a commit that would leave a hole in its file is refused.
const TOO_SHORT: &str = "is shorter than what was written to it";

/// A log's directory, for one process.
#[derive(Debug)]
pub struct LogDirectory {
    path: PathBuf,
    directory: OwnedFd,
    /// The file that is appended to, kept open.
    writing: Option<(FileNo, File)>,
    /// The file that is read, kept open.
    reading: Option<(FileNo, File)>,
}

impl LogDirectory {
    /// Opens the directory, which is made with this `mode` if it is not there.
    ///
    /// # Errors
    /// [`DiskError`]
    pub fn open(path: &Path, mode: u32) -> Result<LogDirectory, DiskError> {
        make_directories(path, mode)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty()).map_err(failed("open", path))?;
        Ok(LogDirectory { path: path.to_owned(), directory, writing: None, reading: None })
    }

    /// The log's files and their lengths in bytes. Other files are left alone.
    ///
    /// # Errors
    /// [`DiskError`]
    pub fn files(&self) -> Result<Vec<(FileNo, u64)>, DiskError> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed("read", &self.path))? {
            let entry = entry.map_err(failed("read", &self.path))?;
            let Some(file) = entry.file_name().to_str().and_then(FileNo::parse) else { continue };
            let found = entry.metadata().map_err(failed("read", &self.path))?;
            files.push((file, found.len()));
        }
        Ok(files)
    }

    /// Does one operation. Blocks.
    pub fn execute(&mut self, op: DiskOp) -> DiskDone {
        match op {
            DiskOp::Commit { file, offset, bytes } => {
                let result = self.commit(file, offset, &bytes);
                if result.is_err() {
                    self.writing = None;
                }
                DiskDone::Committed { result: self.tell("write", file, result), bytes }
            }
            DiskOp::Read { file, offset, len, mut buffer } => {
                let result = self.read(file, offset, len, &mut buffer);
                if result.is_err() {
                    self.reading = None;
                }
                DiskDone::Read { result: self.tell("read", file, result), buffer }
            }
            DiskOp::Remove { file } => {
                let result = self.remove(file);
                DiskDone::Removed { result: self.tell("remove", file, result) }
            }
        }
    }

    fn commit(&mut self, number: FileNo, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = opened(&mut self.writing, &self.directory, number, flags)?;
        let len = file.metadata()?.len();
        if len < offset {
            return Err(io::Error::other(TOO_SHORT));
        }
        if len > offset {
            file.set_len(offset)?;
        }
        file.write_all_at(bytes, offset)?;
        fdatasync(&*file)?;
        if offset == 0 {
            fsync(&self.directory)?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        number: FileNo,
        offset: u64,
        len: usize,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        buffer.clear();
        let file = opened(&mut self.reading, &self.directory, number, OFlags::RDONLY)?;
        buffer.resize(len, 0);
        let mut filled = 0;
        while filled < len {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    buffer.clear();
                    return Err(error);
                }
            }
        }
        buffer.truncate(filled);
        Ok(())
    }

    fn remove(&mut self, number: FileNo) -> io::Result<()> {
        for kept in [&mut self.writing, &mut self.reading] {
            kept.take_if(|(kept, _)| *kept == number);
        }
        match unlinkat(&self.directory, number.name(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The error in words, which is all that a core keeps of it.
    fn tell(
        &self,
        doing: &'static str,
        file: FileNo,
        result: io::Result<()>,
    ) -> Result<(), base::DiskError> {
        let path = self.path.join(file.name());
        result.map_err(failed(doing, &path)).map_err(|error| base::DiskError(error.to_string()))
    }
}

/// The file of this number: the one that is kept open, or a new one in its place.
fn opened<'a>(
    kept: &'a mut Option<(FileNo, File)>,
    directory: &OwnedFd,
    number: FileNo,
    flags: OFlags,
) -> io::Result<&'a mut File> {
    kept.take_if(|(kept, _)| *kept != number);
    let file = match kept.take() {
        Some((_, file)) => file,
        None => {
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            File::from(openat(directory, number.name(), flags, FILE_MODE)?)
        }
    };
    Ok(&mut kept.insert((number, file)).1)
}

/// A log's directory on a thread of its own.
#[derive(Debug)]
pub struct LogWorker {
    worker: Worker<DiskOp, DiskDone>,
}

impl LogWorker {
    /// Starts the thread. Each answer wakes the owner.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(directory: LogDirectory, waker: &Waker) -> io::Result<LogWorker> {
        let directory = Mutex::new(directory);
        let crew = Crew { name: "log", threads: 1, jobs_max: LOG_OPS_MAX };
        let work = move |op| directory.lock().unwrap_or_else(PoisonError::into_inner).execute(op);
        Ok(LogWorker { worker: Worker::start(crew, waker, work)? })
    }

    /// Takes operations from a core, as many as there is room for. To be called whenever the core
    /// may have one, and after each answer.
    pub(crate) fn feed(&mut self, mut next: impl FnMut() -> Option<DiskOp>) {
        while !self.worker.is_full() {
            let Some(op) = next() else { return };
            // There is room: it was just looked at. A thread that is gone has ended the process.
            let _ = self.worker.submit(op);
        }
    }

    /// The next answer that is there, in the order of the operations; to be called until there is
    /// none.
    pub(crate) fn next_done(&mut self) -> Option<DiskDone> {
        self.worker.next_result()
    }

    /// Waits for all that was given. Blocks; for the end of a program.
    #[cfg(test)]
    fn finish(self) -> Vec<DiskDone> {
        self.worker.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::scratch::Scratch;

    fn commit(log: &mut LogDirectory, file: u64, offset: u64, bytes: &[u8]) -> Result<(), String> {
        let op = DiskOp::Commit { file: FileNo(file), offset, bytes: bytes.to_vec() };
        let DiskDone::Committed { bytes: back, result } = log.execute(op) else { panic!() };
        assert_eq!(back, bytes);
        result.map_err(|error| error.to_string())
    }

    fn read(log: &mut LogDirectory, file: u64, offset: u64, len: usize) -> Result<Vec<u8>, String> {
        let op = DiskOp::Read { file: FileNo(file), offset, len, buffer: vec![1, 2, 3] };
        let DiskDone::Read { buffer, result } = log.execute(op) else { panic!() };
        result.map(|()| buffer).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_committed_is_found_by_the_next_process() {
        let scratch = Scratch::new();
        let path = scratch.join("a/spool");
        let mut log = LogDirectory::open(&path, 0o700).unwrap();
        assert_eq!(log.files().unwrap(), []);
        commit(&mut log, 1, 0, b"one").unwrap();
        commit(&mut log, 1, 3, b"two").unwrap();
        commit(&mut log, 2, 0, b"three").unwrap();
        std::fs::write(path.join("notes"), "not a log file").unwrap();
        let mut log = LogDirectory::open(&path, 0o700).unwrap();
        let mut files = log.files().unwrap();
        files.sort_unstable();
        assert_eq!(files, [(FileNo(1), 6), (FileNo(2), 5)]);
        assert_eq!(read(&mut log, 1, 1, 4).unwrap(), b"netw");
        assert_eq!(read(&mut log, 2, 3, 100).unwrap(), b"ee");
        assert_eq!(read(&mut log, 2, 9, 100).unwrap(), b"");
    }

    #[test]
    fn a_commit_cuts_off_what_a_failed_one_left() {
        let scratch = Scratch::new();
        let mut log = LogDirectory::open(scratch.path(), 0o700).unwrap();
        commit(&mut log, 1, 0, b"good, torn").unwrap();
        commit(&mut log, 1, 4, b"!").unwrap();
        assert_eq!(read(&mut log, 1, 0, 100).unwrap(), b"good!");
        let error = commit(&mut log, 1, 9, b"x").unwrap_err();
        assert!(error.contains("0000000000000001.log") && error.contains(TOO_SHORT), "{error}");
    }

    #[test]
    fn what_is_removed_is_gone_even_while_it_is_open() {
        let scratch = Scratch::new();
        let mut log = LogDirectory::open(scratch.path(), 0o700).unwrap();
        commit(&mut log, 1, 0, b"one").unwrap();
        read(&mut log, 1, 0, 3).unwrap();
        for _ in 0..2 {
            let done = log.execute(DiskOp::Remove { file: FileNo(1) });
            assert_eq!(done, DiskDone::Removed { result: Ok(()) });
        }
        assert!(read(&mut log, 1, 0, 3).unwrap_err().starts_with("cannot read "));
        assert_eq!(log.files().unwrap(), []);
        commit(&mut log, 1, 0, b"new").unwrap();
        assert_eq!(read(&mut log, 1, 0, 9).unwrap(), b"new");
    }

    #[test]
    fn the_worker_keeps_the_order_and_wakes_the_loop() {
        let scratch = Scratch::new();
        let mut reactor = crate::io::reactor::Reactor::new().unwrap();
        let waker = reactor.waker(crate::base::slots::Key::from_bits(1)).unwrap();
        let log = LogDirectory::open(scratch.path(), 0o700).unwrap();
        let mut worker = LogWorker::start(log, &waker).unwrap();
        let mut left = (0..4_u64).map(|at| DiskOp::Commit {
            file: FileNo(1),
            offset: at,
            bytes: vec![b'a' + u8::try_from(at).unwrap()],
        });
        worker.feed(|| left.next());
        let (clock, mut ready) = (crate::io::clock::Clock::new(), Vec::new());
        reactor.wait(&clock, None, &mut ready).unwrap();
        let done = worker.finish();
        assert!(done.len() <= 4);
        let mut log = LogDirectory::open(scratch.path(), 0o700).unwrap();
        assert_eq!(read(&mut log, 1, 0, 9).unwrap(), b"abcd");
    }
}
