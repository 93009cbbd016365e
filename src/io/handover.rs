//! Sockets that a container hands to the agent.
//!
//! A socket keeps the network in which it was made. So a program of ours, run as root in a
//! container without a network, opens the socket that the session's clients dial, hands it over on
//! a Unix socket, and ends: from then on the agent alone has it, and takes the connections that
//! come in in there.
//!
//! Whoever hands over is looked at by the owner ([`Stream::peer_user`]); what is handed over is
//! looked at here, and is closed if it is not exactly what is wanted.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketType, connect, getpeername,
    getsockname, recvmsg, sendmsg, sockopt,
};

use super::listener::Listener;
use super::stream::Stream;
use crate::limits::{EGRESS_BACKLOG, EGRESS_PORT, HAND_OVER_TIMEOUT, HANDED_MAX};

const PROXY: u8 = b'L';
const POOL: u8 = b'P';
const ANCILLARY_BYTES: usize = rustix::cmsg_space!(ScmRights(HANDED_MAX));

/// Where clients in a container dial.
const PROXY_ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, EGRESS_PORT);

/// What was handed over.
#[derive(Debug)]
pub(crate) enum Handed {
    /// Where the clients of a session dial.
    Proxy(Listener),
    /// Sockets with which something in its network can be dialled.
    Pool(Vec<OwnedFd>),
}

/// Opens the socket that clients in this network dial, and hands it over on the Unix socket at
/// `path`.
///
/// # Errors
/// The system's.
pub(crate) fn hand_over_proxy(path: &Path) -> io::Result<()> {
    let listener = TcpListener::bind(PROXY_ADDRESS)?;
    rustix::net::listen(&listener, EGRESS_BACKLOG)?;
    listener.set_nonblocking(true)?;
    hand_over(path, PROXY, &[listener.as_fd()])
}

/// Makes `count` sockets of this network, and hands them over on the Unix socket at `path`.
///
/// # Errors
/// The system's.
pub(crate) fn hand_over_pool(path: &Path, count: usize) -> io::Result<()> {
    let make = |_| rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
    let sockets = (0..count.min(HANDED_MAX)).map(make).collect::<Result<Vec<_>, _>>()?;
    let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    hand_over(path, POOL, &borrowed)
}

fn hand_over(path: &Path, kind: u8, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
    let stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(HAND_OVER_TIMEOUT))?;
    stream.set_read_timeout(Some(HAND_OVER_TIMEOUT))?;
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(sockets)) {
        return Err(io::Error::other("too many sockets for one message"));
    }
    sendmsg(&stream, &[io::IoSlice::new(&[kind])], &mut control, SendFlags::NOSIGNAL)?;
    // The end says that it was taken: a client that comes then is served.
    let mut end = [0; 1];
    match io::Read::read(&mut &stream, &mut end)? {
        1 => Ok(()),
        _ => Err(io::Error::other("the agent did not take it")),
    }
}

/// Takes what is handed over on a connection; `None` if it has not come yet.
///
/// # Errors
/// It is not what it should be, or the connection has ended.
pub(crate) fn receive(stream: &Stream) -> io::Result<Option<Handed>> {
    let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut kind = [0; 1];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = match recvmsg(stream, &mut [io::IoSliceMut::new(&mut kind)], &mut control, flags)
    {
        Ok(message) => message,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(handed) = message {
            sockets.extend(handed);
        }
    }
    let unfit = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    if message.bytes != 1 || message.flags.contains(ReturnFlags::CTRUNC) {
        return Err(unfit("it was not whole"));
    }
    let handed = match (kind[0], sockets.len()) {
        (PROXY, 1) => proxy(sockets.remove(0))?.map(Handed::Proxy),
        (POOL, 1..) if sockets.iter().all(is_unused) => Some(Handed::Pool(sockets)),
        _ => None,
    };
    let handed = handed.ok_or_else(|| unfit("it is not what is wanted of it"))?;
    // Who handed it over waits for that.
    let _told = stream.write(&[PROXY]);
    Ok(Some(handed))
}

/// Opens a connection to a port of the network in which a socket of a pool was made.
///
/// # Errors
/// The system's; that nobody listens there may come later.
pub(crate) fn dial_inside(socket: OwnedFd, port: u16) -> io::Result<Stream> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    match connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(Stream::from_socket(socket)),
        Err(error) => Err(error.into()),
    }
}

/// The socket as a listener, if it listens where a proxy is to listen.
fn proxy(socket: OwnedFd) -> io::Result<Option<Listener>> {
    let at = getsockname(&socket).ok().and_then(|at| SocketAddr::try_from(at).ok());
    let is_it = is_tcp(&socket)
        && sockopt::socket_acceptconn(&socket) == Ok(true)
        && at == Some(SocketAddr::V4(PROXY_ADDRESS));
    if !is_it {
        return Ok(None);
    }
    Listener::of_container(socket, PROXY_ADDRESS.into()).map(Some)
}

fn is_unused(socket: &OwnedFd) -> bool {
    is_tcp(socket)
        && sockopt::socket_acceptconn(socket) == Ok(false)
        && getpeername(socket) == Err(rustix::io::Errno::NOTCONN)
}

fn is_tcp(socket: &OwnedFd) -> bool {
    sockopt::socket_domain(socket) == Ok(AddressFamily::INET)
        && sockopt::socket_type(socket) == Ok(SocketType::STREAM)
        && sockopt::socket_protocol(socket) == Ok(Some(rustix::net::ipproto::TCP))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(kind: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<Option<Handed>> {
        let (near, far) = Stream::pair().unwrap();
        let mut space = [MaybeUninit::uninit(); ANCILLARY_BYTES];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(sockets.is_empty() || control.push(SendAncillaryMessage::ScmRights(sockets)));
        sendmsg(&far, &[io::IoSlice::new(kind)], &mut control, SendFlags::NOSIGNAL).unwrap();
        receive(&near)
    }

    #[test]
    fn nothing_but_what_is_wanted_is_taken() {
        let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
        let unused = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        let connected = std::net::TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
        let v6 = rustix::net::socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        for (kind, sockets) in [
            (PROXY, &[][..]),
            (PROXY, &[elsewhere.as_fd()]),
            (PROXY, &[unused.as_fd()]),
            (PROXY, &[file.as_fd()]),
            (PROXY, &[elsewhere.as_fd(), elsewhere.as_fd()]),
            (POOL, &[]),
            (POOL, &[elsewhere.as_fd()]),
            (POOL, &[datagrams.as_fd()]),
            (POOL, &[connected.as_fd()]),
            (POOL, &[v6.as_fd()]),
            (POOL, &[unused.as_fd(), file.as_fd()]),
            (b'x', &[unused.as_fd()]),
        ] {
            assert!(sent(&[kind], sockets).is_err(), "{kind} {sockets:?}");
        }
        let pool = sent(&[POOL], &[unused.as_fd(), unused.as_fd()]).unwrap();
        assert!(matches!(pool, Some(Handed::Pool(sockets)) if sockets.len() == 2));
        let (near, far) = Stream::pair().unwrap();
        assert!(receive(&near).unwrap().is_none());
        drop(far);
        assert!(receive(&near).is_err());
    }
}
