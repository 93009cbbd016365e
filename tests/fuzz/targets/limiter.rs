//! The limiter in virtual time: arbitrary dials from arbitrary sources, 5,000 things a second, and
//! an operator who dials anew once a second and is let in within two seconds, always.
//!
//! The operator has an address of his own that nobody knows, or one that has proven a key, on which
//! others dial, too. A step of his login takes up to 40 ms. What is not promised: to let him in
//! from an address that has proven no key and from which others fail.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use convocate::base::time::Mono;
use convocate::limits;
use convocate::ssh::keys::{KeyPair, PublicKey};
use convocate::ssh::limiter::{ConnectionLimiter, Outcome, PlaceId, Source};

/// What one dial, one step and one end of an attacker take.
const STEP: Duration = Duration::from_micros(200);
const LET_IN_WITHIN: Duration = Duration::from_secs(2);
/// Steps of a login: identification, public value, NEWKEYS, service, signature.
const LOGIN_STEPS: u32 = 5;
const OPERATOR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

struct World {
    now: Mono,
    limiter: ConnectionLimiter,
    /// Of the attackers' connections, oldest first.
    places: Vec<PlaceId>,
    fresh_addresses: u32,
    operator: Operator,
    /// When each source had its last line in the log.
    lines: BTreeMap<Option<Source>, Mono>,
}

struct Operator {
    key: PublicKey,
    step: Duration,
    /// Since when he wants in; none while he rests.
    since: Option<Mono>,
    /// His place and how many steps he has done.
    login: Option<(PlaceId, u32)>,
    next: Mono,
}

pub fn run(input: &[u8]) {
    let [mode, step, script @ ..] = input else { return };
    let mut world = World::new(Duration::from_millis(u64::from(step % 40) + 1));
    let is_known = mode & 1 == 1;
    if is_known {
        world.operator_comes();
    }
    for op in script.chunks_exact(3) {
        world.play(op[0] & 7, op[1], op[2], is_known);
    }
    // Whatever has been: a quiet while later nothing is left of it.
    world.pass(2 * limits::SSH_TALLY_SPAN + limits::SSH_LOGIN_GRACE);
    assert!(world.limiter.places_taken() <= 1, "only the operator's");
}

impl World {
    fn new(step: Duration) -> World {
        World {
            now: Mono::from_nanos(1),
            limiter: ConnectionLimiter::new(limits::SSH_CONNECTIONS_MAX),
            places: Vec::new(),
            fresh_addresses: 0,
            operator: Operator {
                key: *KeyPair::from_seed([7; 32]).public(),
                step,
                since: None,
                login: None,
                next: Mono::from_nanos(1),
            },
            lines: BTreeMap::new(),
        }
    }

    /// Until he was in for the first time.
    fn operator_comes(&mut self) {
        while self.operator.since.is_some() || self.operator.next == Mono::from_nanos(1) {
            self.pass(STEP);
        }
    }

    fn play(&mut self, op: u8, which: u8, count: u8, is_known: bool) {
        let times = count % 64 + 1;
        match op {
            0 => (0..times).for_each(|_| self.dial(IpAddr::from([10, 0, 0, which]))),
            1 => (0..times).for_each(|_| self.dial_from_a_fresh_address()),
            2 => (0..times).for_each(|host| self.dial(in_network(which, host))),
            3 if is_known => (0..times).for_each(|_| self.dial(OPERATOR)),
            3 => (0..times).for_each(|host| self.dial(IpAddr::from([192, 0, 3, host]))),
            4 => self.each_of(which, times, |world, place| {
                world.limiter.progressed(world.now, place);
                world.places.push(place);
            }),
            5 => self.end(which, times, Outcome::Failed),
            6 => self.end(which, times, Outcome::Left),
            _ => self.pass(Duration::from_millis(u64::from(count) * u64::from(which % 16 + 1))),
        }
    }

    fn end(&mut self, which: u8, times: u8, outcome: Outcome) {
        self.each_of(which, times, |world, place| world.limiter.closed(world.now, place, outcome));
    }

    /// Takes attackers' connections and does something with each.
    fn each_of(&mut self, which: u8, times: u8, act: impl Fn(&mut World, PlaceId)) {
        for _ in 0..times {
            if self.places.is_empty() {
                return;
            }
            let place = self.places.remove(usize::from(which) % self.places.len());
            act(self, place);
            self.pass(STEP);
        }
    }

    fn dial_from_a_fresh_address(&mut self) {
        self.fresh_addresses += 1;
        self.dial(IpAddr::from((0x0b00_0000 + self.fresh_addresses).to_be_bytes()));
    }

    fn dial(&mut self, from: IpAddr) {
        if let Ok(admitted) = self.limiter.admit(self.now, from) {
            self.places.push(admitted.place);
            self.limiter.set_unread(admitted.place, false);
            self.displaced(admitted.displaced);
        } else {
            assert_ne!(from, OPERATOR, "a source that is known is refused");
        }
        let places = self.limiter.places_taken();
        let most = 2 * limits::SSH_PLACES_MAX + limits::SSH_PENALIZED_PLACES_MAX;
        assert!(places <= most, "{places} places");
        let theirs = self.places.len() + usize::from(self.operator.login.is_some());
        assert_eq!(places, theirs, "a place is lost, or kept");
        self.pass(STEP);
    }

    fn displaced(&mut self, place: Option<PlaceId>) {
        let Some(place) = place else { return };
        if self.operator.login.is_some_and(|(his, _)| his == place) {
            // As our client does.
            self.operator.login = None;
            self.operator.next = self.now + Duration::from_millis(200);
        } else {
            let before = self.places.len();
            self.places.retain(|other| *other != place);
            assert_eq!(self.places.len() + 1, before, "one that is there is displaced");
        }
    }

    /// Time passes, and what is due happens.
    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let due = self.limiter.deadline().into_iter().chain([self.operator.next]).min();
            let due = due.unwrap_or(end).max(self.now);
            if due > end {
                break;
            }
            self.now = due;
            self.housekeep();
            if self.operator.next <= self.now {
                self.operate();
            }
        }
        self.now = end;
        if let Some(since) = self.operator.since {
            assert!(end.since(since) <= LET_IN_WITHIN, "the operator is kept out");
        }
    }

    fn housekeep(&mut self) {
        for place in self.limiter.overdue(self.now) {
            self.displaced(Some(place));
            self.limiter.closed(self.now, place, Outcome::Silent);
        }
        while let Some(summary) = self.limiter.poll_summary(self.now) {
            let last = self.lines.insert(summary.source, self.now);
            let is_early = last.is_some_and(|at| self.now.since(at) < limits::SSH_TALLY_SPAN);
            assert!(!is_early, "a second line within a minute: {summary}");
            assert!(self.lines.len() <= 100_000);
        }
    }

    /// The operator's next step.
    fn operate(&mut self) {
        let now = self.now;
        self.operator.next = now + self.operator.step;
        match self.operator.login {
            None => {
                self.operator.since.get_or_insert(now);
                let admitted = self.limiter.admit(now, OPERATOR).expect("he is not refused");
                self.limiter.set_unread(admitted.place, false);
                self.operator.login = Some((admitted.place, 0));
                if let Some(displaced) = admitted.displaced {
                    self.displaced(Some(displaced));
                }
            }
            Some((place, steps)) if steps < LOGIN_STEPS => {
                self.limiter.progressed(now, place);
                self.operator.login = Some((place, steps + 1));
            }
            Some((place, _)) => {
                assert!(self.limiter.authenticated(now, place, self.operator.key), "there is room");
                self.limiter.ended(now, OPERATOR);
                (self.operator.login, self.operator.since) = (None, None);
                self.operator.next = now + Duration::from_secs(1);
            }
        }
    }
}

/// An address of one of 256 networks.
fn in_network(network: u8, host: u8) -> IpAddr {
    let (network, host) = (u16::from(network), u16::from(host));
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host))
}
