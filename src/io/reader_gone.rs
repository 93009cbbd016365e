//! Waiting for input while whoever reads the output may go.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};

/// Waits until `input` has something to read. Says no if nobody reads `output` any more.
///
/// # Errors
/// When the system cannot wait.
pub(crate) fn wait_while_read(input: impl AsFd, output: impl AsFd) -> io::Result<bool> {
    loop {
        // Of the output its end is told without being asked for.
        let mut both =
            [PollFd::new(&input, PollFlags::IN), PollFd::new(&output, PollFlags::empty())];
        match poll(&mut both, None) {
            Ok(_) if !both[1].revents().is_empty() => return Ok(false),
            Ok(_) if !both[0].revents().is_empty() => return Ok(true),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn input_or_the_readers_end_whichever_is_first() {
        let (input, mut other) = UnixStream::pair().unwrap();
        let (reader, output) = io::pipe().unwrap();
        other.write_all(b"x").unwrap();
        assert!(wait_while_read(&input, &output).unwrap());
        drop(reader);
        assert!(!wait_while_read(&input, &output).unwrap(), "before what there is to read");
    }

    #[test]
    fn a_file_always_has_its_reader() {
        let (input, other) = UnixStream::pair().unwrap();
        let scratch = crate::io::scratch::Scratch::new();
        let file = std::fs::File::create(scratch.path().join("out")).unwrap();
        drop(other);
        assert!(wait_while_read(&input, &file).unwrap(), "an end is something to read");
    }
}
