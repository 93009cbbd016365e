//! Each rule of the limiter.

use super::*;
use crate::limits::{
    SSH_CONNECTIONS_MAX, SSH_KNOWN_SOURCE_AGE, SSH_KNOWN_SOURCES_MAX, SSH_KNOWN_SOURCES_OF_KEY_MAX,
    SSH_LOGIN_GRACE, SSH_LOGIN_SILENCE, SSH_PENALIZED_SOURCES_MAX, SSH_TALLIED_SOURCES_MAX,
    SSH_TALLY_SPAN,
};
use crate::ssh::keys::KeyPair;

fn address(number: u32) -> IpAddr {
    IpAddr::from((0x0a00_0000 + number).to_be_bytes())
}

fn at(seconds: u64) -> Mono {
    Mono::ZERO + Duration::from_secs(seconds)
}

fn millis(millis: u64) -> Mono {
    Mono::ZERO + Duration::from_millis(millis)
}

/// One that sends nothing at first.
fn admit(limiter: &mut ConnectionLimiter, now: Mono, from: u32) -> Admitted {
    let admitted = limiter.admit(now, address(from)).expect("it is let in");
    limiter.set_unread(admitted.place, false);
    admitted
}

fn key(seed: u8) -> PublicKey {
    *KeyPair::from_seed([seed; 32]).public()
}

/// A source that has proven a key and gone.
fn prove(limiter: &mut ConnectionLimiter, now: Mono, from: u32) {
    prove_with(limiter, now, from, key(1));
}

fn prove_with(limiter: &mut ConnectionLimiter, now: Mono, from: u32, key: PublicKey) {
    let place = admit(limiter, now, from).place;
    assert!(limiter.authenticated(now, place, key));
    limiter.ended(now, address(from));
}

fn class(limiter: &ConnectionLimiter, now: Mono, from: u32) -> Class {
    limiter.class(now, Source::of(address(from)))
}

fn fail(limiter: &mut ConnectionLimiter, now: Mono, from: u32) {
    let place = admit(limiter, now, from).place;
    limiter.closed(now, place, Outcome::Failed);
}

fn summaries(limiter: &mut ConnectionLimiter, now: Mono) -> Vec<String> {
    std::iter::from_fn(|| limiter.poll_summary(now)).map(|it| it.to_string()).collect()
}

const MAX: u32 = 256;
const _: () = assert!(MAX as usize == SSH_PLACES_MAX);

#[test]
fn a_newcomer_takes_the_place_of_the_most_crowded_sources_oldest() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let single = admit(&mut limiter, millis(0), 1).place;
    let crowd: Vec<PlaceId> =
        (1..u64::from(MAX)).map(|time| admit(&mut limiter, millis(time), 2).place).collect();
    assert_eq!(limiter.places_taken(), SSH_PLACES_MAX);
    for oldest in &crowd[..10] {
        assert_eq!(admit(&mut limiter, millis(300), 3).displaced, Some(*oldest));
    }
    assert_eq!(limiter.places_taken(), SSH_PLACES_MAX);
    limiter.closed(millis(301), single, Outcome::Left);
    assert_eq!(admit(&mut limiter, millis(301), 4).displaced, None);
}

#[test]
fn fewer_sources_than_places_displace_none_that_has_one() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let operator = admit(&mut limiter, millis(0), 0).place;
    for dial in 0..100_000 {
        let from = 1 + dial % (MAX - 1);
        let displaced = admit(&mut limiter, millis(1), from).displaced;
        assert_ne!(displaced, Some(operator), "dial {dial}");
    }
}

#[test]
fn of_single_connections_the_one_silent_for_longest_goes_and_of_those_the_older() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let places: Vec<PlaceId> =
        (0..MAX).map(|from| admit(&mut limiter, at(0), from).place).collect();
    limiter.progressed(millis(1), places[0]);
    assert_eq!(admit(&mut limiter, millis(2), MAX).displaced, Some(places[1]));
    assert_eq!(admit(&mut limiter, millis(2), MAX + 1).displaced, Some(places[2]));
}

#[test]
fn an_ipv6_network_is_one_source() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let operator = limiter.admit(at(0), "2001:db8:0:2::1".parse().unwrap()).unwrap().place;
    for host in 0..10 * MAX {
        let from = format!("2001:db8:0:1::{host:x}").parse().unwrap();
        assert_ne!(limiter.admit(at(0), from).unwrap().displaced, Some(operator));
    }
}

#[test]
fn where_descriptors_are_scarce_places_change_hands_and_do_not_become_more() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    prove(&mut limiter, at(0), 1);
    let crowd: Vec<PlaceId> =
        (0..10).map(|time| admit(&mut limiter, millis(time), 2).place).collect();
    limiter.set_scarce(true);
    assert_eq!(admit(&mut limiter, millis(10), 3).displaced, Some(crowd[0]));
    assert_eq!(limiter.places_taken(), 10);
    let known = admit(&mut limiter, millis(10), 1);
    assert_eq!(known.displaced, None, "strangers' places are not the last ones");
    for from in 100..200 {
        let displaced = admit(&mut limiter, millis(11), from).displaced;
        assert!(displaced.is_some_and(|it| it != known.place));
    }
    limiter.set_scarce(false);
    assert_eq!(admit(&mut limiter, millis(12), 4).displaced, None);
}

#[test]
fn silence_and_age_end_a_place() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let silent = admit(&mut limiter, at(0), 1).place;
    let slow = admit(&mut limiter, at(0), 2).place;
    assert_eq!(limiter.deadline(), Some(Mono::ZERO + SSH_LOGIN_SILENCE));
    limiter.progressed(at(1), slow);
    assert_eq!(limiter.overdue(millis(1999)), []);
    assert_eq!(limiter.overdue(at(2)), [silent]);
    limiter.closed(at(2), silent, Outcome::Silent);
    for second in 2..SSH_LOGIN_GRACE.as_secs() {
        assert_eq!(limiter.overdue(at(second)), []);
        limiter.progressed(at(second), slow);
    }
    assert_eq!(limiter.overdue(at(SSH_LOGIN_GRACE.as_secs())), [slow]);
    assert_eq!(limiter.penalties.of(at(2), Source::of(address(1))), Duration::ZERO, "no fault");
}

#[test]
fn who_has_proven_a_key_has_places_that_strangers_do_not_take() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    prove(&mut limiter, at(0), 1);
    let known = admit(&mut limiter, at(1), 1);
    assert_eq!(known.class, Class::Known);
    for from in 0..10 * MAX {
        assert_ne!(admit(&mut limiter, at(1), 100 + from).displaced, Some(known.place));
    }
    // The same rule among the known: a neighbour on the same host loses its oldest.
    for _ in 1..MAX {
        assert_eq!(admit(&mut limiter, at(1), 1).displaced, None);
    }
    limiter.progressed(millis(1001), known.place);
    let newcomer = admit(&mut limiter, at(2), 1);
    assert!(newcomer.displaced.is_some_and(|it| it != known.place));
    assert_eq!(limiter.places_taken(), 2 * SSH_PLACES_MAX);
}

#[test]
fn a_source_stays_known_for_hours_and_while_it_is_connected() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    prove(&mut limiter, at(0), 1);
    let place = admit(&mut limiter, at(0), 2).place;
    assert!(limiter.authenticated(at(0), place, key(1)));
    let late = SSH_KNOWN_SOURCE_AGE.as_secs();
    assert_eq!(admit(&mut limiter, at(late - 1), 1).class, Class::Known);
    assert_ne!(admit(&mut limiter, at(late), 1).class, Class::Known);
    assert_eq!(admit(&mut limiter, at(10 * late), 2).class, Class::Known);
    limiter.ended(at(10 * late), address(2));
    assert_eq!(admit(&mut limiter, at(11 * late - 1), 2).class, Class::Known);
    assert_ne!(admit(&mut limiter, at(11 * late), 2).class, Class::Known);
}

#[test]
fn the_table_of_the_known_is_bounded_and_the_least_recent_goes() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let live = admit(&mut limiter, at(0), 0).place;
    assert!(limiter.authenticated(at(0), live, key(99)));
    let max = u32::try_from(SSH_KNOWN_SOURCES_MAX).unwrap();
    let per_key = u32::try_from(SSH_KNOWN_SOURCES_OF_KEY_MAX).unwrap();
    for from in 1..=max {
        let owner = key(u8::try_from(1 + from / per_key).unwrap());
        prove_with(&mut limiter, at(u64::from(from)), from, owner);
    }
    let now = at(u64::from(max) + 1);
    assert_eq!(limiter.known.len(), SSH_KNOWN_SOURCES_MAX);
    let is_known = |from| class(&limiter, now, from) == Class::Known;
    assert_eq!([is_known(0), is_known(1), is_known(2)], [true, false, true]);
}

/// Whoever has one key and many addresses has the others' forgotten by none of them.
#[test]
fn a_key_makes_few_sources_known() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    prove_with(&mut limiter, at(0), 1, key(1));
    let per_key = u32::try_from(SSH_KNOWN_SOURCES_OF_KEY_MAX).unwrap();
    for from in 0..10 * per_key {
        prove_with(&mut limiter, at(u64::from(from)), 100 + from, key(2));
    }
    let now = at(10 * u64::from(per_key));
    assert_eq!(limiter.known.len(), 1 + SSH_KNOWN_SOURCES_OF_KEY_MAX);
    assert_eq!(class(&limiter, now, 1), Class::Known);
    assert_eq!(class(&limiter, now, 100 + 9 * per_key), Class::Known, "the latest are");
    assert_eq!(class(&limiter, now, 100 + 9 * per_key - 1), Class::Stranger);
}

#[test]
fn what_was_known_is_remembered_for_as_long() {
    let mut before = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    prove(&mut before, at(0), 1);
    let changes = before.known_changes();
    prove(&mut before, at(60), 1);
    assert_eq!(before.known_changes(), changes, "nothing new");
    let place = admit(&mut before, at(100), 2).place;
    assert!(before.authenticated(at(100), place, key(1)));
    assert_ne!(before.known_changes(), changes);
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let now = Mono::ZERO + hours(4);
    let kept: Vec<(Source, Duration)> = before.remembered(now).collect();
    let (first, second) = (Source::of(address(1)), Source::of(address(2)));
    let age = SSH_KNOWN_SOURCE_AGE;
    assert_eq!(kept, [(first, age - (hours(4) - Duration::from_secs(60))), (second, age)]);
    let mut after = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    kept.iter().for_each(|(source, rest)| after.remember(at(0), *source, *rest));
    after.remember(at(0), Source::of(address(3)), 10 * age);
    assert_eq!([1, 2, 3].map(|from| class(&after, at(60), from)), [Class::Known; 3]);
    let late = Mono::ZERO + (age - hours(1));
    assert_eq!(class(&after, late, 1), Class::Stranger);
    assert_eq!(class(&after, late, 2), Class::Known);
    assert_eq!(class(&after, Mono::ZERO + age, 3), Class::Stranger, "no longer than any");
    assert_eq!(before.remembered(now + 2 * age).count(), 1, "the one that is connected");
}

/// Where nobody waits for a peer but all for the listener, those who have begun go on.
#[test]
fn a_newcomer_is_displaced_where_all_others_wait_for_us() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let places: Vec<PlaceId> =
        (0..MAX).map(|from| admit(&mut limiter, at(0), from).place).collect();
    places.iter().for_each(|place| limiter.set_unread(*place, true));
    let newcomer = admit(&mut limiter, at(1), MAX);
    assert_eq!(newcomer.displaced, Some(newcomer.place));
    limiter.set_unread(places[7], false);
    assert_eq!(admit(&mut limiter, at(1), MAX).displaced, Some(places[7]));
    assert_eq!(limiter.places_taken(), SSH_PLACES_MAX);
}

fn penalize(limiter: &mut ConnectionLimiter, now: Mono, from: u32) -> u32 {
    let mut failures = 0;
    while class(limiter, now, from) == Class::Stranger {
        fail(limiter, now, from);
        failures += 1;
        assert!(failures < 100);
    }
    failures
}

#[test]
fn a_few_failures_are_forgiven_and_many_are_not() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let failures = penalize(&mut limiter, at(0), 1);
    assert!((5..=20).contains(&failures), "{failures}");
    assert_eq!(admit(&mut limiter, at(0), 1).class, Class::Penalized);
    assert_eq!(admit(&mut limiter, at(0), 2).class, Class::Stranger, "others are not punished");
    assert_eq!(admit(&mut limiter, at(1), 1).class, Class::Stranger, "it decays");
}

/// An operator behind one address with somebody who fails 20 times a second: his login takes
/// 200 ms, the other's until its failure 10 ms.
#[test]
fn a_neighbour_that_fails_locks_nobody_out() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let mut login: Option<(PlaceId, u64)> = None;
    let mut logins = 0;
    for time in (0..120_000).step_by(10) {
        let now = millis(time);
        if time % 50 == 0 {
            let admitted = admit(&mut limiter, now, 1);
            assert!(login.is_none_or(|(place, _)| admitted.displaced != Some(place)), "{time}");
            limiter.closed(millis(time + 9), admitted.place, Outcome::Failed);
        }
        match login {
            None if time % 1000 == 0 => {
                login = Some((admit(&mut limiter, now, 1).place, time + 200));
            }
            Some((place, end)) if time >= end => {
                logins += 1;
                limiter.closed(now, place, Outcome::Left);
                login = None;
            }
            _ => {}
        }
    }
    assert_eq!(class(&limiter, millis(120_000), 1), Class::Penalized);
    assert_eq!(logins, 120);
}

#[test]
fn strangers_and_those_with_a_penalty_do_not_compete() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    penalize(&mut limiter, at(0), 1);
    let stranger = admit(&mut limiter, at(0), 2).place;
    let penalized = admit(&mut limiter, at(0), 1).place;
    for from in 100..100 + 2 * MAX {
        assert_ne!(admit(&mut limiter, at(0), from).displaced, Some(penalized));
    }
    let others: Vec<u32> = (1000..1200).collect();
    for from in &others {
        penalize(&mut limiter, at(0), *from);
    }
    let places: Vec<PlaceId> =
        others.iter().map(|from| admit(&mut limiter, at(0), *from).place).collect();
    let taken = limiter.places[Class::Penalized as usize].len();
    assert_eq!(taken, SSH_PENALIZED_PLACES_MAX);
    assert!(!places.contains(&stranger));
}

#[test]
fn penalties_are_bounded() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let places: Vec<PlaceId> = (0..99).map(|_| admit(&mut limiter, at(0), 1).place).collect();
    places.iter().for_each(|place| limiter.closed(at(0), *place, Outcome::Failed));
    let source = Source::of(address(1));
    assert_eq!(limiter.penalties.of(at(0), source), crate::limits::SSH_PENALTY_MAX);
    for from in 0..u32::try_from(SSH_PENALIZED_SOURCES_MAX).unwrap() + 10 {
        fail(&mut limiter, at(1), 100 + from);
    }
    assert_eq!(limiter.penalties.len(), SSH_PENALIZED_SOURCES_MAX);
    assert_eq!(class(&limiter, at(1), 1), Class::Penalized, "the least penalty was forgiven");
}

#[test]
fn the_known_have_no_penalty_and_a_proof_ends_one() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    prove(&mut limiter, at(0), 1);
    for _ in 0..1000 {
        fail(&mut limiter, at(0), 1);
    }
    assert_eq!(admit(&mut limiter, at(0), 1).class, Class::Known);
    let early = admit(&mut limiter, at(0), 2).place;
    (0..7).for_each(|_| fail(&mut limiter, at(0), 2));
    assert!(limiter.penalties.of(at(0), Source::of(address(2))) > Duration::ZERO);
    assert!(limiter.authenticated(at(0), early, key(1)));
    assert_eq!(limiter.penalties.of(at(0), Source::of(address(2))), Duration::ZERO);
}

#[test]
fn who_leaves_or_is_displaced_has_no_penalty() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    for _ in 0..1000 {
        let place = admit(&mut limiter, at(0), 1).place;
        limiter.closed(at(0), place, Outcome::Left);
    }
    (0..10 * MAX).for_each(|_| _ = admit(&mut limiter, at(0), 1));
    assert_eq!(limiter.penalties.len(), 0);
}

#[test]
fn connections_with_a_key_are_bounded() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let waiting = admit(&mut limiter, at(0), 9).place;
    for _ in 0..SSH_CONNECTIONS_MAX {
        let place = admit(&mut limiter, at(0), 1).place;
        assert!(limiter.authenticated(at(0), place, key(1)));
    }
    assert_eq!(limiter.admit(at(0), address(1)).unwrap_err().refusal.wait(), SSH_FULL_WAIT);
    assert!(!limiter.authenticated(at(0), waiting, key(1)), "no room");
    assert_eq!(limiter.places_taken(), 0);
    limiter.ended(at(0), address(1));
    let place = admit(&mut limiter, at(0), 2).place;
    assert!(limiter.authenticated(at(0), place, key(1)));
}

#[test]
fn the_log_has_one_line_a_source_and_minute() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    assert!(limiter.key_refused(at(0), address(1)), "the first is told at once");
    for second in 1..60 {
        assert!(!limiter.key_refused(at(second), address(1)));
        assert_eq!(summaries(&mut limiter, at(second)), [""; 0]);
    }
    assert!(limiter.is_news(address(2)) && !limiter.is_news(address(1)));
    fail(&mut limiter, at(59), 1);
    let told = "connections from 10.0.0.1: 1 failed, 59 with an unknown key within 60 s";
    assert_eq!(summaries(&mut limiter, at(60)), [told]);
    assert!(!limiter.key_refused(at(61), address(1)));
    assert_eq!(summaries(&mut limiter, at(119)), [""; 0]);
    let told = "connections from 10.0.0.1: 1 with an unknown key within 60 s";
    assert_eq!(summaries(&mut limiter, at(120)), [told]);
    assert_eq!(summaries(&mut limiter, at(180)), [""; 0]);
    assert_eq!(limiter.deadline(), None, "the source is forgotten");
    assert!(limiter.key_refused(at(181), address(1)));
}

#[test]
fn the_log_has_one_line_for_all_the_others() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let told = (0..10_000).filter(|from| limiter.key_refused(at(0), address(*from))).count();
    assert_eq!(told, SSH_TALLIED_SOURCES_MAX);
    let others = 10_000 - told;
    let line = format!(
        "connections from other addresses: {others} with an unknown key within {} s",
        SSH_TALLY_SPAN.as_secs()
    );
    assert_eq!(summaries(&mut limiter, at(60)), [line]);
}

#[test]
fn what_is_refused_displaced_and_silent_is_counted() {
    let mut limiter = ConnectionLimiter::new(SSH_CONNECTIONS_MAX);
    let places: Vec<PlaceId> = (0..99).map(|_| admit(&mut limiter, at(0), 1).place).collect();
    places.iter().for_each(|place| limiter.closed(at(0), *place, Outcome::Failed));
    let refused = (0..5).map(|_| limiter.refuse(at(0), address(1), SSH_FULL_WAIT));
    let news = refused.filter(|refused| refused.is_news).count();
    assert_eq!(news, 0, "failures are counted already");
    let first = admit(&mut limiter, at(0), 2).place;
    limiter.closed(at(2), first, Outcome::Silent);
    (0..=MAX).for_each(|_| _ = admit(&mut limiter, at(2), 3));
    let lines = summaries(&mut limiter, at(99));
    let wanted = [
        "connections from 10.0.0.1: 5 refused, 99 failed within 60 s",
        "connections from 10.0.0.2: 1 silent within 60 s",
        "connections from 10.0.0.3: 1 displaced within 60 s",
    ];
    assert_eq!(lines, wanted);
}
