//! TCP between one agent and the listener. The listener sees each agent come from an address of
//! its own, as it does in a network. Connections can be reset, or swallowed: both ends keep theirs,
//! and nothing arrives any more.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket, sockopt};

/// A relay, which lives as long as the process.
pub struct Relay {
    pub address: SocketAddr,
    pairs: Arc<Mutex<Vec<Pair>>>,
}

struct Pair {
    ends: [TcpStream; 2],
    is_swallowed: Arc<AtomicBool>,
}

impl Relay {
    /// In front of `target`, which sees it come from 127.0.1.`number`.
    pub fn start(number: u8, target: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pairs: Arc<Mutex<Vec<Pair>>> = Arc::default();
        let all = Arc::clone(&pairs);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                // Nobody there: the agent sees its connection end.
                let Some(far) = dial(number, target) else { continue };
                let is_swallowed = Arc::new(AtomicBool::new(false));
                pump(&near, &far, &is_swallowed);
                pump(&far, &near, &is_swallowed);
                all.lock().unwrap().push(Pair { ends: [near, far], is_swallowed });
            }
        });
        Relay { address, pairs }
    }

    /// Resets all connections.
    pub fn reset(&self) {
        for pair in self.pairs.lock().unwrap().drain(..) {
            for end in pair.ends {
                let _gone = sockopt::set_socket_linger(&end, Some(Duration::ZERO));
                let _gone = end.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// From now on nothing that is sent on these connections arrives.
    pub fn swallow(&self) {
        for pair in &*self.pairs.lock().unwrap() {
            pair.is_swallowed.store(true, Ordering::Release);
        }
    }
}

fn dial(number: u8, target: SocketAddr) -> Option<TcpStream> {
    let SocketAddr::V4(target) = target else { return None };
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    let from = SocketAddrV4::new(Ipv4Addr::new(127, 0, 1, number), 0);
    bind(&fd, &from).ok()?;
    connect(&fd, &target).ok()?;
    Some(TcpStream::from(fd))
}

fn pump(from: &TcpStream, to: &TcpStream, is_swallowed: &Arc<AtomicBool>) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    let is_swallowed = Arc::clone(is_swallowed);
    std::thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if !is_swallowed.load(Ordering::Acquire) && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        if !is_swallowed.load(Ordering::Acquire) {
            let _gone = to.shutdown(std::net::Shutdown::Both);
        }
    });
}
