//! The Docker Engine for images: streams of any length in either direction, one call at a time.
//!
//! Blocking, a connection for each call. What is held of a stream is one read.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use crate::docker::body::BodyFraming;
use crate::docker::http::{LAST_CHUNK, chunk_head, parse_head};
use crate::docker::{DockerError, DockerRequest, DockerResponse};
use crate::limits::{DOCKER_BODY_BYTES_MAX, DOCKER_STREAM_BYTES};

/// Where an Engine listens.
#[derive(Clone, Debug)]
pub(crate) struct DockerEngine {
    pub(crate) socket: PathBuf,
}

/// A response as it comes.
#[derive(Debug)]
pub(crate) struct Download {
    stream: UnixStream,
    status: u16,
    body: BodyFraming,
    held: Vec<u8>,
    at: usize,
}

/// A request whose body is being sent. Dropped before its end, it was none.
#[derive(Debug)]
pub(crate) struct Upload {
    stream: UnixStream,
}

impl DockerEngine {
    /// Makes a call, and reads all of its answer.
    ///
    /// # Errors
    /// [`DockerError`]; a refusal is an answer.
    pub(crate) fn ask(&self, request: &DockerRequest) -> Result<DockerResponse, DockerError> {
        self.open(request)?.whole()
    }

    /// Makes a call, and reads the head of its answer.
    ///
    /// # Errors
    /// [`DockerError`]; a refusal is an answer.
    pub(crate) fn open(&self, request: &DockerRequest) -> Result<Download, DockerError> {
        let mut stream = self.connect(request)?;
        write(&mut stream, &request.to_bytes(false))?;
        Download::begin(stream)
    }

    /// Makes a call whose body is then sent.
    ///
    /// # Errors
    /// [`DockerError`].
    pub(crate) fn send(
        &self,
        request: &DockerRequest,
        content_type: &str,
    ) -> Result<Upload, DockerError> {
        let mut stream = self.connect(request)?;
        write(&mut stream, &request.streamed_head(content_type))?;
        Ok(Upload { stream })
    }

    fn connect(&self, request: &DockerRequest) -> Result<UnixStream, DockerError> {
        let stream = UnixStream::connect(&self.socket);
        let stream = stream.map_err(|error| {
            let socket = self.socket.display();
            DockerError::Unexpected(format!("no Docker engine answers at {socket}: {error}"))
        })?;
        stream.set_read_timeout(Some(request.timeout)).map_err(broken)?;
        stream.set_write_timeout(Some(request.timeout)).map_err(broken)?;
        Ok(stream)
    }
}

impl Download {
    fn begin(stream: UnixStream) -> Result<Download, DockerError> {
        let (held, body) = (Vec::new(), BodyFraming::Ended);
        let mut download = Download { stream, status: 0, body, held, at: 0 };
        loop {
            if download.fill()? == 0 {
                return Err(DockerError::Closed);
            }
            while let Some((head, length)) = parse_head(&download.held[download.at..])? {
                download.at += length;
                // Interim answers (RFC 9110 §15.2) stand before the real one.
                if head.status >= 200 {
                    download.status = head.status;
                    download.body = head.body;
                    return Ok(download);
                }
            }
        }
    }

    pub(crate) fn status(&self) -> u16 {
        self.status
    }

    /// Reads on; 0 at the end.
    ///
    /// # Errors
    /// [`DockerError`].
    pub(crate) fn read(&mut self, space: &mut [u8]) -> Result<usize, DockerError> {
        loop {
            let piece = self.body.decode(&self.held[self.at..], space.len())?;
            let length = piece.data.len();
            space[..length].copy_from_slice(&self.held[self.at..][piece.data]);
            self.at += piece.taken;
            if length > 0 || self.body == BodyFraming::Ended {
                return Ok(length);
            }
            if self.at == self.held.len() && self.fill()? == 0 {
                return if self.body.may_end() { Ok(0) } else { Err(DockerError::Closed) };
            }
        }
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// [`DockerError`], also for a body that is too long to be kept.
    pub(crate) fn whole(mut self) -> Result<DockerResponse, DockerError> {
        let mut body = Vec::new();
        let mut space = [0; 8 * 1024];
        loop {
            let length = self.read(&mut space)?;
            if length == 0 {
                return Ok(DockerResponse { status: self.status, body });
            }
            if body.len() + length > DOCKER_BODY_BYTES_MAX {
                return Err(DockerError::Unexpected("the answer is too long".to_owned()));
            }
            body.extend_from_slice(&space[..length]);
        }
    }

    /// Reads from the socket behind what is held; 0 at its end.
    fn fill(&mut self) -> Result<usize, DockerError> {
        self.held.drain(..self.at);
        self.at = 0;
        let from = self.held.len();
        self.held.resize(from + DOCKER_STREAM_BYTES, 0);
        let read = loop {
            match self.stream.read(&mut self.held[from..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.held.truncate(from + *read.as_ref().unwrap_or(&0));
        read.map_err(broken)
    }
}

impl Upload {
    /// Sends the next bytes of the body.
    ///
    /// # Errors
    /// The Engine's own words if it has refused already, or [`DockerError`].
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), DockerError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let stream = &mut self.stream;
        let sent = write(stream, chunk_head(bytes.len()).as_bytes())
            .and_then(|()| write(stream, bytes))
            .and_then(|()| write(stream, b"\r\n"));
        sent.map_err(|error| self.refusal().unwrap_or(error))
    }

    /// Ends the body, and reads the answer.
    ///
    /// # Errors
    /// [`DockerError`]; a refusal is an answer.
    pub(crate) fn finish(mut self) -> Result<DockerResponse, DockerError> {
        write(&mut self.stream, LAST_CHUNK)?;
        Download::begin(self.stream)?.whole()
    }

    /// What the Engine said before it closed.
    fn refusal(&self) -> Option<DockerError> {
        let answer = Download::begin(self.stream.try_clone().ok()?).ok()?.whole().ok()?;
        answer.built().err()
    }
}

fn write(stream: &mut UnixStream, bytes: &[u8]) -> Result<(), DockerError> {
    stream.write_all(bytes).map_err(broken)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn broken(error: std::io::Error) -> DockerError {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => DockerError::Timeout,
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => DockerError::Closed,
        _ => DockerError::Unexpected(error.to_string()),
    }
}
