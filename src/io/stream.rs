//! A byte stream that never blocks: a socket, a terminal, or what we were started with.
//!
//! One type for all of them, because the loop treats them alike. What differs is how an end looks
//! (a terminal whose other side is gone says EIO) and whether the descriptor may be made
//! non-blocking: inherited standard input and output may not, since other processes share them.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, connect,
    getpeername, getsockname, send, shutdown, socket_with, sockopt,
};

/// What a pipe takes at once without blocking when it says that it takes anything (PIPE_BUF).
const PIPE_WRITE_BYTES: usize = 4096;

/// An open byte stream. Dropping closes it.
#[derive(Debug)]
pub struct Stream {
    fd: OwnedFd,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Non-blocking, TCP or Unix.
    Socket,
    /// Non-blocking: the master of a pty, or a terminal that was opened for us alone.
    Terminal,
    /// Perhaps blocking: asked before each step.
    Inherited,
}

/// What came of one read or write.
#[must_use = "a stream that ended stays ended"]
#[derive(Debug)]
pub enum Moved {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Not now. The reactor tells when.
    Blocked,
    /// The other side is gone in good order.
    Closed,
    /// The stream is broken and stays so.
    Failed(io::Error),
}

impl Stream {
    /// Starts to connect to `address`. The socket becomes writable when that is decided; then
    /// [`Stream::finish_connect`] tells how.
    ///
    /// # Errors
    /// What is known at once: no route, no descriptors.
    pub fn connect_tcp(address: SocketAddr) -> io::Result<Stream> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let fd = new_socket(family)?;
        sockopt::set_tcp_nodelay(&fd, true)?;
        match connect(&fd, &address) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(Stream { fd, kind: Kind::Socket }),
            Err(error) => Err(error.into()),
        }
    }

    /// Connects to the Unix socket at `path`, of any length. Done when this returns.
    ///
    /// # Errors
    /// Nobody listens there, or so many wait already that there is no more room (`WouldBlock`).
    pub(crate) fn connect_unix(path: &Path) -> io::Result<Stream> {
        let fd = new_socket(AddressFamily::UNIX)?;
        let address = UnixAddress::new(path)?;
        connect(&fd, &address.address)?;
        Ok(Stream { fd, kind: Kind::Socket })
    }

    /// Two Unix sockets that are connected with each other.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    #[cfg(test)]
    pub(crate) fn pair() -> io::Result<(Stream, Stream)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (one, other) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok((Stream { fd: one, kind: Kind::Socket }, Stream { fd: other, kind: Kind::Socket }))
    }

    /// A copy of standard input. It stays as blocking as it is, and is never made to wait.
    ///
    /// # Errors
    /// When it is closed.
    pub(crate) fn stdin() -> io::Result<Stream> {
        Stream::inherited(io::stdin().as_fd())
    }

    /// A copy of standard error. It stays as blocking as it is, and is never made to wait: a write
    /// finds room for a whole pipe page or fails as [`io::ErrorKind::WouldBlock`].
    ///
    /// # Errors
    /// When it is closed.
    pub(crate) fn stderr() -> io::Result<Stream> {
        Stream::inherited(io::stderr().as_fd())
    }

    fn inherited(fd: BorrowedFd<'_>) -> io::Result<Stream> {
        Ok(Stream { fd: fd.try_clone_to_owned()?, kind: Kind::Inherited })
    }

    /// A connected socket that does not block.
    pub(super) fn from_socket(fd: OwnedFd) -> Stream {
        Stream { fd, kind: Kind::Socket }
    }

    /// A terminal that does not block and is shared with nobody.
    pub(super) fn from_terminal(fd: OwnedFd) -> Stream {
        Stream { fd, kind: Kind::Terminal }
    }

    /// Whether the connection of [`Stream::connect_tcp`] stands by now.
    ///
    /// # Errors
    /// Why it will not.
    pub(crate) fn finish_connect(&self) -> io::Result<bool> {
        sockopt::socket_error(&self.fd)??;
        match getpeername(&self.fd) {
            Ok(_) => Ok(true),
            Err(Errno::NOTCONN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what is there, at most `space`, which must not be empty.
    pub fn read(&self, space: &mut [u8]) -> Moved {
        debug_assert!(!space.is_empty(), "an empty read looks like an end");
        if self.kind == Kind::Inherited && !self.is_ready(PollFlags::IN) {
            return Moved::Blocked;
        }
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.fd, &mut *space)) {
            Ok(0) => Moved::Closed,
            Err(Errno::IO) if self.kind == Kind::Terminal => Moved::Closed,
            other => moved(other),
        }
    }

    /// Writes as much of `bytes` as fits; `bytes` must not be empty.
    pub fn write(&self, bytes: &[u8]) -> Moved {
        debug_assert!(!bytes.is_empty(), "an empty write moves nothing");
        moved(rustix::io::retry_on_intr(|| match self.kind {
            Kind::Socket => send(&self.fd, bytes, SendFlags::NOSIGNAL),
            Kind::Terminal => rustix::io::write(&self.fd, bytes),
            Kind::Inherited if self.is_ready(PollFlags::OUT) => {
                rustix::io::write(&self.fd, &bytes[..bytes.len().min(PIPE_WRITE_BYTES)])
            }
            Kind::Inherited => Err(Errno::AGAIN),
        }))
    }

    /// Whether a socket's peer has closed both directions: it hears nothing more.
    pub(crate) fn is_hung_up(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::empty())];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut fds, Some(&now)), Ok(1)) && fds[0].revents().contains(PollFlags::HUP)
    }

    /// Bounds what the kernel keeps for a peer that does not read. Where that is not possible, the
    /// kernel's own bound stands.
    pub(crate) fn bound_send_buffer(&self, bytes: usize) {
        let _ = sockopt::set_socket_send_buffer_size(&self.fd, bytes);
    }

    /// Where the other end is, if that is an address.
    pub(crate) fn peer_address(&self) -> Option<SocketAddr> {
        SocketAddr::try_from(getpeername(&self.fd).ok().flatten()?).ok()
    }

    /// Whether the other end is on this machine, by its own address.
    pub(crate) fn is_to_this_machine(&self) -> bool {
        let own = getsockname(&self.fd).ok().and_then(|own| SocketAddr::try_from(own).ok());
        own.zip(self.peer_address()).is_none_or(|(own, peer)| own.ip() == peer.ip())
    }

    /// As which user the process ran that connected a Unix socket, as its kernel says.
    ///
    /// # Errors
    /// When it is no such socket.
    pub(crate) fn peer_user(&self) -> io::Result<u32> {
        Ok(sockopt::socket_peercred(&self.fd)?.uid.as_raw())
    }

    /// Tells a socket's peer that nothing more comes. Others have no half of an end.
    pub(crate) fn end_output(&self) {
        if self.kind == Kind::Socket {
            // The peer may be gone already, and reading will tell.
            let _ = shutdown(&self.fd, Shutdown::Write);
        }
    }

    /// Whether a read or write that moved less than it could have means that the next one would
    /// block (epoll(7), question 9). A terminal reads line by line, so there it means nothing.
    pub(super) fn short_means_blocked(&self) -> bool {
        self.kind == Kind::Socket
    }

    /// Whether the peer may still be sending after we have closed, and would see a reset.
    pub(super) fn has_two_halves(&self) -> bool {
        self.kind == Kind::Socket
    }

    fn is_ready(&self, wanted: PollFlags) -> bool {
        let mut fds = [PollFd::new(&self.fd, wanted)];
        // An error here is out of memory or a signal; both mean "not now".
        poll(&mut fds, Some(&rustix::time::Timespec::default())).is_ok_and(|count| count > 0)
    }
}

impl io::Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match Stream::write(self, bytes) {
            Moved::Bytes(count) => Ok(count),
            Moved::Blocked => Err(io::ErrorKind::WouldBlock.into()),
            Moved::Closed => Err(io::ErrorKind::BrokenPipe.into()),
            Moved::Failed(error) => Err(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The address of a Unix socket. A path that is too long for one is reached through its directory.
pub(super) struct UnixAddress {
    pub(super) address: SocketAddrUnix,
    /// Kept open while the address is in use: the address names its descriptor.
    _directory: Option<OwnedFd>,
}

impl UnixAddress {
    pub(super) fn new(path: &Path) -> io::Result<UnixAddress> {
        match SocketAddrUnix::new(path) {
            Ok(address) => Ok(UnixAddress { address, _directory: None }),
            Err(Errno::NAMETOOLONG) => UnixAddress::through_directory(path),
            Err(error) => Err(error.into()),
        }
    }

    fn through_directory(path: &Path) -> io::Result<UnixAddress> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(parent, flags, Mode::empty())?;
        let name = path.file_name().unwrap_or(OsStr::new(""));
        let short = descriptor_path(&directory).join(name);
        Ok(UnixAddress { address: SocketAddrUnix::new(&short)?, _directory: Some(directory) })
    }
}

/// A path that names what `fd` is open on.
pub(super) fn descriptor_path(fd: &impl AsFd) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()).into()
}

fn new_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, None)?)
}

fn moved(result: Result<usize, Errno>) -> Moved {
    match result {
        Ok(count) => Moved::Bytes(count),
        Err(Errno::AGAIN) => Moved::Blocked,
        Err(error) => Moved::Failed(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::super::scratch::Scratch;
    use super::*;

    fn wait(stream: &Stream, wanted: PollFlags) {
        let mut fds = [PollFd::new(&stream.fd, wanted)];
        assert_eq!(poll(&mut fds, None), Ok(1));
    }

    #[test]
    fn tcp_connects_without_blocking() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = Stream::connect_tcp(listener.local_addr().unwrap()).unwrap();
        let (_far, _) = listener.accept().unwrap();
        wait(&stream, PollFlags::OUT);
        assert!(stream.finish_connect().unwrap());
        assert_eq!(sockopt::tcp_nodelay(&stream.fd), Ok(true));
        assert!(matches!(stream.read(&mut [0; 8]), Moved::Blocked));
        assert!(matches!(stream.write(b"hi"), Moved::Bytes(2)));
    }

    #[test]
    fn a_refused_connection_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let refused = match Stream::connect_tcp(address) {
            Ok(stream) => {
                wait(&stream, PollFlags::OUT);
                stream.finish_connect().unwrap_err()
            }
            Err(error) => error,
        };
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_half_is_closed_and_the_other_goes_on() {
        let (near, far) = Stream::pair().unwrap();
        near.end_output();
        assert!(matches!(far.read(&mut [0; 8]), Moved::Closed));
        assert!(matches!(far.write(b"still"), Moved::Bytes(5)));
        let mut space = [0; 8];
        assert!(matches!(near.read(&mut space), Moved::Bytes(5)));
        drop(near);
        assert!(matches!(far.write(b"x"), Moved::Failed(_)));
    }

    #[test]
    fn a_unix_path_may_be_long() {
        let scratch = Scratch::new();
        let deep = scratch.join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("s.sock");
        assert!(std::os::unix::net::UnixListener::bind(&path).is_err());
        let address = UnixAddress::new(&path).unwrap();
        let listener = new_socket(AddressFamily::UNIX).unwrap();
        rustix::net::bind(&listener, &address.address).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        assert!(Stream::connect_unix(&path).unwrap().finish_connect().unwrap());
    }

    #[test]
    fn an_inherited_pipe_is_asked_first() {
        let (reader, writer) = io::pipe().unwrap();
        let reader = Stream { fd: reader.into(), kind: Kind::Inherited };
        let writer = Stream { fd: writer.into(), kind: Kind::Inherited };
        assert!(matches!(reader.read(&mut [0; 8]), Moved::Blocked));
        let chunk = vec![7; 1 << 20];
        let mut written = 0;
        while let Moved::Bytes(count) = writer.write(&chunk) {
            written += count;
        }
        assert_eq!(written, 64 * 1024);
        assert!(matches!(reader.read(&mut [0; 8]), Moved::Bytes(8)));
    }
}
