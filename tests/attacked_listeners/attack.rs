//! What strangers do to a listener.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use convocate::base::endpoint::Endpoint;
use convocate::base::time::Mono;
use convocate::ssh::keys::KeyPair;
use convocate::ssh::{ClientConfig, Conn, ServerConfig, Tuning};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::HOME;
use crate::support::wait::pause;

/// Dials of all attackers together.
const DIALS_PER_SECOND: u32 = 5000;

/// How long each attack lasts, in seconds.
pub fn seconds() -> u64 {
    let otherwise = if std::env::var_os("CONVOCATE_QUICK").is_some() { 1 } else { 3 };
    let told = std::env::var("CONVOCATE_ATTACK_SECONDS").ok();
    told.map_or(otherwise, |it| it.parse().expect("CONVOCATE_ATTACK_SECONDS is a number"))
}

/// What attackers share.
pub struct Attack {
    to: SocketAddr,
    start: Instant,
    is_over: AtomicBool,
    dials: AtomicU32,
}

/// Ends an attack, also where a test fails.
pub struct Ends<'a>(pub &'a Attack);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What one attacker does until the attack is over.
pub type Act<'a> = Box<dyn Fn(&Attack) + Sync + 'a>;

/// An attack by threads of this process, which take their numbers from 0.
pub struct Kind {
    pub name: &'static str,
    pub threads: u32,
    pub act: fn(&Attack, u32),
    /// Whether operators from addresses that have proven no key must be let in, too: not where as
    /// many strangers as the processor can bear do just what such an operator does.
    pub spares_fresh: bool,
}

pub const KINDS: &[Kind] = &[
    Kind { name: "nothing", threads: 0, act: |_, _| {}, spares_fresh: true },
    TWO_SOURCES,
    TWO_HUNDRED_SOURCES,
    DIALS,
    Kind { name: "garbage from 200 sources", threads: 2, act: garbage, spares_fresh: true },
    Kind {
        name: "dials from the operator's own address",
        threads: 2,
        act: neighbours,
        spares_fresh: true,
    },
    Kind {
        name: "8 sources pour into closing connections",
        threads: 8,
        act: pour,
        spares_fresh: true,
    },
    Kind {
        name: "dials from 16 sources that have failed",
        threads: 2,
        act: penalized,
        spares_fresh: true,
    },
    Kind {
        name: "key exchanges that are left, 200 sources",
        threads: 2,
        act: few_exchanges,
        spares_fresh: true,
    },
    Kind {
        name: "key exchanges that are left, 60,000 sources",
        threads: 2,
        act: exchanges,
        spares_fresh: false,
    },
];

pub const TWO_SOURCES: Kind = Kind {
    name: "2 sources hold 8 sockets each, renewed",
    threads: 1,
    act: two_sources,
    spares_fresh: true,
};
pub const TWO_HUNDRED_SOURCES: Kind = Kind {
    name: "200 sources hold 1,000 sockets, renewed",
    threads: 1,
    act: two_hundred_sources,
    spares_fresh: true,
};
pub const DIALS: Kind =
    Kind { name: "dials from 60,000 sources", threads: 2, act: dials, spares_fresh: true };

/// Of a number that is one.
pub fn byte(number: u32) -> u8 {
    u8::try_from(number).expect("below 256")
}

pub fn dial(from: IpAddr, to: SocketAddr, flags: SocketFlags) -> rustix::io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC | flags;
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd: OwnedFd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A port of a connection that has ended is free.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    rustix::net::bind(&fd, &SocketAddr::new(from, 0))?;
    match rustix::net::connect(&fd, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(fd)),
        Err(error) => Err(error),
    }
}

impl Attack {
    pub fn new(to: SocketAddr) -> Attack {
        Attack { to, start: Instant::now(), is_over: false.into(), dials: 0.into() }
    }

    pub fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub fn lasts(&self) -> Duration {
        self.start.elapsed()
    }

    pub fn dials_per_second(&self) -> f64 {
        f64::from(self.dials.load(Ordering::Relaxed)) / self.lasts().as_secs_f64()
    }

    /// Does not wait for an answer.
    fn dial(&self, from: impl Into<IpAddr>) -> Option<TcpStream> {
        let number = self.dials.fetch_add(1, Ordering::Relaxed);
        let due = Duration::from_secs(1) * number / DIALS_PER_SECOND;
        let early = due.saturating_sub(self.lasts());
        if early > Duration::from_millis(1) {
            pause(early);
        }
        dial(from.into(), self.to, SocketFlags::NONBLOCK).ok()
    }

    /// Holds `count` sockets and dials anew for each that is closed.
    pub fn hold<A: Into<IpAddr>>(&self, count: u32, from: impl Fn(u32) -> A) {
        let mut held: Vec<Option<TcpStream>> = (0..count).map(|_| None).collect();
        while self.goes_on() {
            for (number, slot) in (0..).zip(&mut held) {
                if slot.as_mut().is_none_or(is_closed) {
                    *slot = self.dial(from(number));
                }
                if !self.goes_on() {
                    return;
                }
            }
            pause(Duration::from_millis(5));
        }
    }

    /// Dials again and again and keeps the last of the connections.
    pub fn dial_on<A: Into<IpAddr>>(
        &self,
        from: impl Fn(u32) -> A,
        begin: impl Fn(&mut TcpStream),
    ) {
        let mut held = VecDeque::new();
        for number in 0_u32.. {
            if !self.goes_on() {
                return;
            }
            held.extend(self.dial(from(number)).map(|mut stream| {
                begin(&mut stream);
                stream
            }));
            if held.len() > 300 {
                held.pop_front();
            }
        }
    }
}

/// What was sent is read, and whether that is the end.
pub fn is_closed(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

fn two_sources(attack: &Attack, _: u32) {
    attack.hold(16, |number| Ipv4Addr::new(127, 1, 0, byte(1 + number % 2)));
}

fn two_hundred_sources(attack: &Attack, _: u32) {
    attack.hold(1000, |number| Ipv4Addr::new(127, 2, 0, byte(1 + number % 200)));
}

fn dials(attack: &Attack, thread: u32) {
    attack.dial_on(|number| fresh(10 + thread, number), |_| {});
}

/// One of 30,000 addresses.
fn fresh(network: u32, number: u32) -> Ipv4Addr {
    let [.., high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, byte(network), high % 120, low.max(1))
}

fn garbage(attack: &Attack, thread: u32) {
    for number in 0_u32.. {
        if !attack.goes_on() {
            return;
        }
        let from = Ipv4Addr::new(127, byte(20 + thread), 0, byte(1 + number % 100));
        if let Some(mut stream) = attack.dial(from) {
            let _ = stream.write(b"GET / HTTP/1.0\r\n\r\n");
        }
    }
}

fn neighbours(attack: &Attack, _: u32) {
    attack.dial_on(|_| HOME, |_| {});
}

fn pour(attack: &Attack, thread: u32) {
    let bytes = vec![b'x'; 64 * 1024];
    while attack.goes_on() {
        let Some(mut stream) = attack.dial(Ipv4Addr::new(127, 30, 0, byte(1 + thread))) else {
            continue;
        };
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
        while attack.goes_on() && stream.write(&bytes).is_ok() {}
    }
}

/// What a client says up to a whole key exchange, whoever answers: it is made once, and costs those
/// who send it nothing.
fn whole_exchange() -> &'static [u8] {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let host_key = KeyPair::from_seed([1; 32]);
        let (user, key) = ("claude".to_owned(), KeyPair::from_seed([2; 32]));
        let (host, tuning) = (*host_key.public(), Tuning::default());
        let client = ClientConfig { user, key, host_key: host, tuning: tuning.clone() };
        let server = ServerConfig { host_key, subsystems: &[], tuning };
        let mut client = Conn::client(Arc::new(client), [3; 32], Mono::ZERO);
        let mut server = Conn::server(Arc::new(server), [4; 32], Mono::ZERO);
        let mut said = Vec::new();
        // It begins with the answer to the server's own beginning.
        while server.exchanges() == 0 {
            carry(&mut server, &mut client);
            said.extend_from_slice(client.output());
            carry(&mut client, &mut server);
        }
        said
    });
    &BYTES
}

fn carry(from: &mut Conn, to: &mut Conn) {
    while !from.output().is_empty() {
        let count = from.output().len().min(to.input_space().len());
        to.input_space()[..count].copy_from_slice(&from.output()[..count]);
        from.output_sent(count);
        to.input(Mono::ZERO, count);
        while to.poll_event().is_some() {}
    }
}

fn exchange_on(attack: &Attack, from: impl Fn(u32) -> Ipv4Addr) {
    attack.dial_on(from, |stream| _ = stream.write(whole_exchange()));
}

fn few_exchanges(attack: &Attack, thread: u32) {
    exchange_on(attack, |number| Ipv4Addr::new(127, byte(50 + thread), 0, byte(1 + number % 100)));
}

fn exchanges(attack: &Attack, thread: u32) {
    exchange_on(attack, |number| fresh(60 + thread, number));
}

/// Each of them fails first, until the listener has had enough of it.
fn penalized(attack: &Attack, thread: u32) {
    let from = |number: u32| Ipv4Addr::new(127, byte(40 + thread), 0, byte(1 + number % 8));
    for number in 0..8 * 20 {
        if let Some(mut stream) = attack.dial(from(number)) {
            let _ = stream.write(b"GET / HTTP/1.0\r\n\r\n");
            pause(Duration::from_millis(2));
        }
    }
    attack.dial_on(from, |_| {});
}
