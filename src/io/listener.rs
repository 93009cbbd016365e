//! Who dials us: TCP and Unix listeners.
//!
//! When the process is out of descriptors, a connection that waits can be neither taken nor
//! refused, and an edge-triggered listener would never tell of it again. So one spare descriptor
//! is kept: it is given up to take the connection, which is closed at once, and got back. If even
//! that fails, accepting stops and the owner tries again after a while.
//!
//! It hardly comes to that: each connection is told how much [`Room`] is left, for the owner to
//! keep a reserve for what must work.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrAny, SocketFlags, SocketType, accept_with, acceptfrom_with, sockopt,
};

use super::machine;
use super::stream::{Stream, UnixAddress};
use crate::base::address::{Address, Host};
use crate::base::time::Mono;
use crate::limits::{
    ACCEPT_PAUSE, ACCEPTS_PER_TURN, DESCRIPTORS_COUNTED_MAX, DESCRIPTORS_RESERVED, LISTENER_BACKLOG,
};

/// A bound socket. Dropping closes it, and removes a Unix socket's path.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    name: Name,
    spare: Option<File>,
}

#[derive(Debug)]
enum Name {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A connection that was taken.
#[derive(Debug)]
pub struct Accepted {
    pub stream: Stream,
    pub(crate) peer: Peer,
    pub(crate) room: Room,
}

/// How many descriptors are left behind a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// The reserve and more.
    Free,
    /// Some of the reserve.
    Scarce,
    /// Half of the reserve, which is for files and no connection: this one is to be closed.
    None,
}

/// The other side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// At this address.
    Tcp(SocketAddr),
    /// A process on this machine.
    Local,
}

/// How it goes on with a listener.
#[must_use = "a listener that is to go again gets no event for it"]
#[derive(Debug)]
pub enum Next {
    /// After the next event.
    Wait,
    /// In the next turn: the budget is used up and more may wait.
    Again,
    /// After a pause of the owner's choice, without an event: out of descriptors or memory.
    Pause(io::Error),
}

/// A listener with the time at which accepting goes on without an event.
#[derive(Debug)]
pub(crate) struct Entrance {
    listener: Listener,
    again_at: Option<Mono>,
}

impl Entrance {
    /// Around a listener that the reactor watches.
    pub(crate) fn new(listener: Listener) -> Entrance {
        Entrance { listener, again_at: None }
    }

    pub(crate) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Takes up to [`ACCEPTS_PER_TURN`] connections that wait. To be called after an event, and
    /// when [`Entrance::is_due`].
    ///
    /// # Errors
    /// None can be taken now, for want of descriptors or memory; it is due again after
    /// [`ACCEPT_PAUSE`]. What was taken before stands in `accepted`.
    pub(crate) fn accept(&mut self, now: Mono, accepted: &mut Vec<Accepted>) -> io::Result<()> {
        let (again_at, outcome) = match self.listener.accept(ACCEPTS_PER_TURN, accepted) {
            Next::Wait => (None, Ok(())),
            Next::Again => (Some(now), Ok(())),
            Next::Pause(error) => (Some(now + ACCEPT_PAUSE), Err(error)),
        };
        self.again_at = again_at;
        outcome
    }

    /// When accepting goes on without an event.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.again_at
    }

    /// Whether that time has come; not in the turn that has just taken its share.
    pub(crate) fn is_due(&self, now: Mono) -> bool {
        self.again_at.is_some_and(|at| at < now)
    }
}

/// A listener that could not be had.
#[derive(Debug)]
pub struct BindError {
    address: String,
    error: io::Error,
}

impl Listener {
    /// Listens on a TCP address that is a number, or on every address of the machine: IPv6 and
    /// IPv4, or IPv4 alone where there is no IPv6.
    ///
    /// # Errors
    /// [`BindError`], which names the address; a host name is one, too.
    pub fn bind_tcp(address: &Address) -> Result<Listener, BindError> {
        let fail = |error| BindError { address: address.to_string(), error };
        let Some(number) = address.as_socket_addr() else {
            let text = "listening needs a numeric address";
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, text)));
        };
        let bound = match TcpListener::bind(number) {
            Err(error) if address.host == Host::Any && lacks_ipv6(&error) => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port))
            }
            other => other,
        };
        Listener::from_tcp(bound.map_err(fail)?).map_err(fail)
    }

    fn from_tcp(listener: TcpListener) -> io::Result<Listener> {
        listener.set_nonblocking(true)?;
        // The standard library asks for fewer that wait.
        rustix::net::listen(&listener, LISTENER_BACKLOG)?;
        let name = Name::Tcp(listener.local_addr()?);
        Ok(Listener { fd: listener.into(), name, spare: Some(open_spare()?) })
    }

    /// Listens on a Unix socket at `path`, whose file then has `mode`. A socket that a dead process
    /// left behind is replaced; one on which somebody listens is not, nor is anything else.
    ///
    /// # Errors
    /// [`BindError`], which names the path.
    pub(crate) fn bind_unix(path: &Path, mode: u32) -> Result<Listener, BindError> {
        let fail = |error| BindError { address: path.display().to_string(), error };
        remove_stale(path).map_err(fail)?;
        let fd = bind_unix_socket(path, mode).map_err(fail)?;
        let spare = Some(open_spare().map_err(fail)?);
        Ok(Listener { fd, name: Name::Unix(path.to_owned()), spare })
    }

    /// As [`Listener::bind_unix`], but the socket's file is user and group `owner`'s, if one is
    /// named, and nobody else's. There may be thousands of these, so no descriptor is kept for
    /// when there are no more.
    ///
    /// # Errors
    /// [`BindError`], which names the path.
    pub(crate) fn bind_unix_for(path: &Path, owner: Option<u32>) -> Result<Listener, BindError> {
        let fail = |error| BindError { address: path.display().to_string(), error };
        remove_stale(path).map_err(fail)?;
        let fd = bind_unix_socket(path, 0o600).map_err(fail)?;
        let listener = Listener { fd, name: Name::Unix(path.to_owned()), spare: None };
        if owner.is_some() {
            std::os::unix::fs::lchown(path, owner, owner).map_err(fail)?;
        }
        Ok(listener)
    }

    /// Around a socket that a container has handed over, and that listens at `address` in there.
    ///
    /// # Errors
    /// It cannot be made non-blocking.
    pub(super) fn of_container(fd: OwnedFd, address: SocketAddr) -> io::Result<Listener> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Listener { fd, name: Name::Tcp(address), spare: None })
    }

    /// Whether somebody waits. Of a socket that somebody else may have, too, no connection is taken
    /// before this says so: whether taking one blocks is for each of those who have it to choose.
    pub(crate) fn has_waiting(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0)
    }

    /// Takes up to `budget` connections that wait and appends them to `accepted`; none behind one
    /// for which there is no room.
    pub fn accept(&mut self, budget: usize, accepted: &mut Vec<Accepted>) -> Next {
        let limit = machine::descriptor_limit();
        // With the connections that were taken here.
        let mut open: Option<usize> = None;
        for _ in 0..budget {
            match self.accept_one() {
                Ok((fd, peer)) => {
                    let now_open = match open {
                        Some(before) => before.saturating_add(1),
                        None => open_descriptors(&fd, limit),
                    };
                    open = Some(now_open);
                    let room = Room::beside(now_open, limit);
                    accepted.push(Accepted { stream: Stream::from_socket(fd), peer, room });
                    if room == Room::None {
                        break;
                    }
                }
                Err(Errno::AGAIN) => return Next::Wait,
                Err(Errno::MFILE | Errno::NFILE) => match self.shed_one() {
                    Ok(()) => {}
                    Err(Errno::AGAIN) => return Next::Wait,
                    Err(error) => return Next::Pause(error.into()),
                },
                Err(error @ (Errno::NOBUFS | Errno::NOMEM)) => return Next::Pause(error.into()),
                // Whatever else accept(2) says is about the connection that it took out.
                Err(_) => {}
            }
        }
        Next::Again
    }

    /// The TCP address that is listened on, with the port that the system chose.
    pub fn tcp_address(&self) -> Option<SocketAddr> {
        match self.name {
            Name::Tcp(address) => Some(address),
            Name::Unix(_) => None,
        }
    }

    fn accept_one(&self) -> Result<(OwnedFd, Peer), Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (fd, address) = rustix::io::retry_on_intr(|| acceptfrom_with(&self.fd, flags))?;
        let peer = match self.name {
            Name::Unix(_) => Peer::Local,
            Name::Tcp(_) => {
                sockopt::set_tcp_nodelay(&fd, true)?;
                Peer::Tcp(tcp_peer(address)?)
            }
        };
        Ok((fd, peer))
    }

    /// Takes a connection with the spare descriptor and closes it. Fails if there is no spare, if
    /// somebody else took it faster, or if nobody waits (the kernel looks for a descriptor before
    /// it looks for a connection): in each case trying again at once would spin.
    fn shed_one(&mut self) -> Result<(), Errno> {
        if self.spare.is_none() {
            self.spare = open_spare().ok();
        }
        drop(self.spare.take().ok_or(Errno::MFILE)?);
        let shed = accept_with(&self.fd, SocketFlags::CLOEXEC).map(drop);
        self.spare = open_spare().ok();
        shed
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Name::Unix(path) = &self.name {
            // Gone already, or not ours to remove: the next one to bind deals with it.
            let _ = fs::remove_file(path);
        }
    }
}

impl Room {
    /// Where so many descriptors are open, and a process may have `limit`.
    fn beside(open: usize, limit: usize) -> Room {
        let reserve = DESCRIPTORS_RESERVED.min(limit / 4);
        match limit.saturating_sub(open) {
            left if left >= reserve => Room::Free,
            left if left >= reserve / 2 => Room::Scarce,
            _ => Room::None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(out),
            Peer::Local => out.write_str("a local process"),
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot listen on {}: ", self.address)?;
        match self.error.kind() {
            io::ErrorKind::AddrInUse => out.write_str("another program listens there"),
            io::ErrorKind::PermissionDenied => out.write_str(
                "permission denied (ports below 1024 need root or CAP_NET_BIND_SERVICE)",
            ),
            io::ErrorKind::AddrNotAvailable => out.write_str("this machine has no such address"),
            _ => self.error.fmt(out),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

fn open_spare() -> io::Result<File> {
    File::open("/dev/null")
}

/// How many are open, the newest included. Where a process may have many, its number stands for
/// that: the kernel gives the lowest that is free.
fn open_descriptors(newest: &OwnedFd, limit: usize) -> usize {
    match limit <= DESCRIPTORS_COUNTED_MAX {
        true => machine::open_descriptors().unwrap_or(usize::MAX),
        false => usize::try_from(newest.as_raw_fd()).map_or(usize::MAX, |number| number + 1),
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn tcp_peer(address: Option<SocketAddrAny>) -> Result<SocketAddr, Errno> {
    let address = address.ok_or(Errno::NOTCONN)?;
    let number = SocketAddr::try_from(address)?;
    // A v4 peer of a v6 listener is a v4 peer.
    Ok(SocketAddr::new(number.ip().to_canonical(), number.port()))
}

fn bind_unix_socket(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let address = UnixAddress::new(path)?;
    rustix::net::bind(&fd, &address.address)?;
    // Nobody can connect before listen(2), so the file never stands open with a wrong mode.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    rustix::net::listen(&fd, LISTENER_BACKLOG)?;
    Ok(fd)
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let dead = is_socket
        && Stream::connect_unix(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if dead { fs::remove_file(path) } else { Err(io::ErrorKind::AddrInUse.into()) }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::os::unix::fs::MetadataExt;

    use super::super::scratch::{CHILD_FILE, Scratch, child_arguments, child_file};
    use super::super::stream::Moved;
    use super::*;

    fn loopback() -> Listener {
        Listener::bind_tcp(&Address::parse("127.0.0.1:0").unwrap()).unwrap()
    }

    #[test]
    fn takes_what_waits_within_its_budget() {
        let mut listener = loopback();
        let address = listener.tcp_address().unwrap();
        let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        let mut accepted = Vec::new();
        assert!(matches!(listener.accept(2, &mut accepted), Next::Again));
        assert!(matches!(listener.accept(2, &mut accepted), Next::Wait));
        assert_eq!(accepted.len(), 3);
        assert_eq!(accepted[0].peer, Peer::Tcp(clients[0].local_addr().unwrap()));
        assert!(matches!(accepted[0].stream.read(&mut [0; 1]), Moved::Blocked));
    }

    #[test]
    fn the_reserve_is_a_quarter_of_few_and_a_number_of_many() {
        for (open, limit, room) in [
            (6, 1024, Room::Free),
            (768, 1024, Room::Free),
            (769, 1024, Room::Scarce),
            (896, 1024, Room::Scarce),
            (897, 1024, Room::None),
            (48, 64, Room::Free),
            (49, 64, Room::Scarce),
            (57, 64, Room::None),
            (16 * 1024 - 256, 16 * 1024, Room::Free),
            (16 * 1024 - 255, 16 * 1024, Room::Scarce),
            (usize::MAX, 64, Room::None),
            (6, usize::MAX, Room::Free),
        ] {
            assert_eq!(Room::beside(open, limit), room, "{open} of {limit}");
        }
    }

    #[test]
    fn any_address_takes_ipv4_and_calls_it_so() {
        let mut listener = Listener::bind_tcp(&Address::parse(":0").unwrap()).unwrap();
        let port = listener.tcp_address().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut accepted = Vec::new();
        assert!(matches!(listener.accept(9, &mut accepted), Next::Wait));
        assert_eq!(accepted[0].peer, Peer::Tcp(client.local_addr().unwrap()));
    }

    #[test]
    fn a_port_in_use_is_named() {
        let listener = loopback();
        let address = Address::from(listener.tcp_address().unwrap());
        let error = Listener::bind_tcp(&address).unwrap_err();
        let wanted = format!("cannot listen on {address}: another program listens there");
        assert_eq!(error.to_string(), wanted);
        let error = Listener::bind_tcp(&Address::parse("a.b:1").unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "cannot listen on a.b:1: listening needs a numeric address");
    }

    #[test]
    fn a_unix_socket_replaces_a_dead_one_only() {
        let scratch = Scratch::new();
        let path = scratch.join("status.sock");
        let listener = Listener::bind_unix(&path, 0o660).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert!(Listener::bind_unix(&path, 0o660).is_err(), "somebody listens");
        drop(listener);
        assert!(!path.exists());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a dead socket");
        let mut listener = Listener::bind_unix(&path, 0o600).unwrap();
        let _client = Stream::connect_unix(&path).unwrap();
        let mut accepted = Vec::new();
        assert!(matches!(listener.accept(9, &mut accepted), Next::Wait));
        assert_eq!(accepted[0].peer, Peer::Local);
        let file = scratch.join("file");
        fs::write(&file, "precious").unwrap();
        assert!(Listener::bind_unix(&file, 0o600).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"precious");
    }

    /// The other half of `out_of_descriptors_connections_are_shed`: descriptors are the whole
    /// process's.
    #[test]
    fn shedding_in_a_process_of_its_own() {
        let Some(proof) = child_file() else { return };
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let mut listener = loopback();
        let address = listener.tcp_address().unwrap();
        let clients: Vec<_> = (0..4).map(|_| TcpStream::connect(address).unwrap()).collect();
        let old = getrlimit(Resource::Nofile);
        let limit = Rlimit { current: Some(64), maximum: old.maximum };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut hoard = Vec::new();
        while let Ok(file) = open_spare() {
            hoard.push(file);
        }
        hoard.pop();
        let mut accepted = Vec::new();
        // One descriptor is free: one connection is taken, and the others are closed.
        assert!(matches!(listener.accept(100, &mut accepted), Next::Again));
        assert_eq!(accepted.len(), 1);
        assert_eq!(accepted[0].room, Room::None);
        assert!(matches!(listener.accept(100, &mut accepted), Next::Wait));
        assert_eq!(accepted.len(), 1);
        for mut client in &clients[1..] {
            assert!(matches!(io::Read::read(&mut client, &mut [0; 1]), Ok(0) | Err(_)));
        }
        // The spare is lost to somebody else: accepting pauses instead of spinning.
        drop(clients);
        listener.spare = None;
        hoard.extend(open_spare());
        accepted.clear();
        hoard.pop();
        let _waiting = TcpStream::connect(address).unwrap();
        while let Ok(file) = open_spare() {
            hoard.push(file);
        }
        assert!(matches!(listener.accept(100, &mut accepted), Next::Pause(_)));
        hoard.clear();
        assert!(matches!(listener.accept(100, &mut accepted), Next::Wait));
        assert_eq!(accepted.len(), 1);
        fs::write(proof, "done").unwrap();
    }

    #[test]
    fn out_of_descriptors_connections_are_shed() {
        let name = "io::listener::tests::shedding_in_a_process_of_its_own";
        let scratch = Scratch::new();
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(child_arguments(name))
            .env(CHILD_FILE, scratch.join("proof"))
            .stdout(std::process::Stdio::null())
            .status();
        assert!(status.unwrap().success());
        assert!(scratch.join("proof").exists(), "it ran");
    }
}
