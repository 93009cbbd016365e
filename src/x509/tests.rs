//! What the authority issues, read back, judged, and damaged in every byte.

use super::rotation::{AuthorityAction, RotationError, Trust};
use super::verify::CertificateRefusal;
use super::*;
use crate::base::rng::Rng;
use crate::base::time::Wall;
use crate::limits::{X509_DER_BYTES_MAX, X509_NAMES_MAX};

const DAY: i64 = 86_400;
/// 2026-06-01T12:00:00Z.
const NOW: Wall = Wall::new(1_780_315_200, 0);

fn rng(seed: u8) -> Rng {
    Rng::from_seed([seed; 32])
}

fn days(count: i64) -> Wall {
    Wall::new(NOW.seconds() + count * DAY, 0)
}

fn name(text: &str) -> AltName {
    AltName::parse(text).expect("a name")
}

fn id(text: &str) -> DnsName {
    DnsName::parse(text).expect("an agent id")
}

fn client(authority: &Authority, agent: &str, now: Wall, seed: u8) -> Certificate {
    let request = CertificateRequest::new(&id(agent).common(), &KeyPair::generate(&mut rng(seed)));
    authority.issue_client(&request, &id(agent), now, &mut rng(seed)).expect("it may")
}

fn server(authority: &Authority, names: &[AltName], seed: u8) -> Certificate {
    let key = KeyPair::generate(&mut rng(seed)).public();
    authority.issue_server(&key, names, NOW, &mut rng(seed)).expect("it may")
}

fn names() -> Vec<AltName> {
    ["shell.example.org", "shell", "10.1.2.3", "fd00::1"].map(name).to_vec()
}

#[test]
fn what_is_issued_reads_back() {
    let authority = Authority::mint(NOW, &mut rng(1));
    let server = server(&authority, &names(), 2);
    let client = client(&authority, "abcdefghjkmn", NOW, 3);
    for certificate in [authority.certificate(), &server, &client] {
        assert_eq!(Certificate::parse_der(certificate.der()).as_ref(), Ok(certificate));
        assert_eq!(Certificate::parse_pem(&certificate.to_pem()).as_ref(), Ok(certificate));
        assert_eq!(certificate.contents.serial[0] & 0xc0, 0x40);
        assert_eq!(certificate.validity().not_before, Wall::new(NOW.seconds() - 300, 0));
    }
    assert_eq!(authority.certificate().validity().not_after, days(3650));
    assert_eq!(server.validity().not_after, days(365));
    assert_eq!(server.subject().as_str(), "shell.example.org");
    assert_eq!(client.subject().as_str(), "abcdefghjkmn");
    assert_eq!(client.issuer(), authority.certificate().subject());
    let issuer_key = authority.key().public().id();
    assert_eq!(*server.role(), CertificateRole::Server { issuer_key, names: names() });
    assert_eq!(*client.role(), CertificateRole::Client { issuer_key, name: id("abcdefghjkmn") });
    let subject = authority.certificate().subject().as_str();
    assert!(subject.starts_with("convocate rsyslog CA ") && subject.len() == 29, "{subject}");
}

#[test]
fn keys_and_authorities_reload() {
    let authority = Authority::mint(NOW, &mut rng(1));
    let key = KeyPair::parse_pem(&authority.key().to_pem()).expect("ours");
    assert_eq!(key.public(), authority.key().public());
    let certificate = authority.certificate().clone();
    assert!(Authority::load(certificate.clone(), key).is_ok());

    let other = KeyPair::generate(&mut rng(9));
    assert_eq!(Authority::load(certificate, other).unwrap_err(), X509Error::Key);
    let leaf = client(&authority, "abcdefghjkmn", NOW, 3);
    let key = KeyPair::generate(&mut rng(3));
    assert_eq!(Authority::load(leaf, key).unwrap_err(), X509Error::Profile("role"));
    assert!(!format!("{authority:?}").contains(authority.key().to_pem().as_str()));
}

#[test]
fn a_request_proves_its_key_and_only_its_own_name_is_served() {
    let authority = Authority::mint(NOW, &mut rng(1));
    let key = KeyPair::generate(&mut rng(4));
    let request = CertificateRequest::new(&id("abcdefghjkmn").common(), &key);
    let read = CertificateRequest::parse_pem(&request.to_pem()).expect("ours");
    assert_eq!(read, request);
    assert_eq!(*read.key(), key.public());
    let foreign = authority.issue_client(&read, &id("mmmmmmmmmmmm"), NOW, &mut rng(5));
    assert!(matches!(foreign, Err(IssueError::Asker { .. })));
    for index in 0..request.der.len() {
        let mut changed = request.der.to_vec();
        changed[index] ^= 1;
        assert!(CertificateRequest::parse_der(&changed).is_err(), "byte {index}");
        assert!(CertificateRequest::parse_der(&request.der[..index]).is_err(), "cut at {index}");
    }
}

/// A changed byte is found by the profile or by the signature, wherever it is.
#[test]
fn every_byte_of_a_certificate_counts() {
    let authority = Authority::mint(NOW, &mut rng(1));
    let trusted = [authority.certificate().clone()];
    let (server_name, client_name) = (name("10.1.2.3"), name("abcdefghjkmn"));
    for (good, purpose) in [
        (server(&authority, &names(), 2), CertificatePurpose::Server(&server_name)),
        (client(&authority, "abcdefghjkmn", NOW, 3), CertificatePurpose::Client(&client_name)),
    ] {
        assert_eq!(verify(&good, &trusted, &purpose, NOW), Ok(()));
        for index in 0..good.der().len() {
            for bit in 0..8 {
                let mut der = good.der().to_vec();
                der[index] ^= 1 << bit;
                let is_good = Certificate::parse_der(&der)
                    .is_ok_and(|read| verify(&read, &trusted, &purpose, NOW).is_ok());
                assert!(!is_good, "byte {index}, bit {bit}");
            }
            assert!(Certificate::parse_der(&good.der()[..index]).is_err(), "cut at {index}");
        }
        let longer = [good.der(), &[0]].concat();
        assert_eq!(Certificate::parse_der(&longer), Err(X509Error::Der));
    }
    let long = vec![0x30; X509_DER_BYTES_MAX + 1];
    assert!(matches!(Certificate::parse_der(&long), Err(X509Error::Long { .. })));
}

#[test]
fn the_wrong_authority_time_purpose_and_name_are_refused() {
    let authority = Authority::mint(NOW, &mut rng(1));
    let stranger = Authority::mint(NOW, &mut rng(2));
    let certificate = client(&authority, "abcdefghjkmn", NOW, 3);
    let (own, other) = (name("abcdefghjkmn"), name("mmmmmmmmmmmm"));
    let ask = |authority: &Authority, purpose: CertificatePurpose<'_>, now| {
        verify(&certificate, &[authority.certificate().clone()], &purpose, now)
    };
    assert_eq!(ask(&authority, CertificatePurpose::Client(&own), NOW), Ok(()));
    assert_eq!(ask(&authority, CertificatePurpose::Client(&own), days(365)), Ok(()));
    let refused = |result| match result {
        Err(refusal) => refusal,
        Ok(()) => unreachable!("it was not refused"),
    };
    let refusal = refused(ask(&stranger, CertificatePurpose::Client(&own), NOW));
    assert!(matches!(refusal, CertificateRefusal::Issuer { .. }));
    for now in [days(366), days(-1)] {
        let refusal = refused(ask(&authority, CertificatePurpose::Client(&own), now));
        assert!(matches!(refusal, CertificateRefusal::Time { .. }));
    }
    assert_eq!(
        ask(&authority, CertificatePurpose::Server(&own), NOW),
        Err(CertificateRefusal::Purpose)
    );
    let refusal = refused(ask(&authority, CertificatePurpose::Client(&other), NOW));
    assert_eq!(refusal.to_string(), "the certificate is of abcdefghjkmn, and not of mmmmmmmmmmmm");
    // An authority's own certificate is no leaf, and a leaf is no authority.
    let authorities = [authority.certificate().clone()];
    let own_certificate =
        verify(&authorities[0], &authorities, &CertificatePurpose::Client(&own), NOW);
    assert!(matches!(own_certificate, Err(CertificateRefusal::Issuer { .. })));
    let own_issuer = std::slice::from_ref(&certificate);
    let by_leaf = verify(&certificate, own_issuer, &CertificatePurpose::Client(&own), NOW);
    assert!(matches!(by_leaf, Err(CertificateRefusal::Issuer { .. })));
}

#[test]
fn a_leaf_does_not_outlive_its_authority() {
    let authority = Authority::mint(NOW, &mut rng(1));
    let last = client(&authority, "abcdefghjkmn", days(3600), 3);
    assert_eq!(last.validity().not_after, days(3650));
    let request =
        CertificateRequest::new(&id("abcdefghjkmn").common(), &KeyPair::generate(&mut rng(4)));
    for now in [days(3651), days(-1)] {
        let issued = authority.issue_client(&request, &id("abcdefghjkmn"), now, &mut rng(5));
        assert!(matches!(issued, Err(IssueError::Ended(_))));
    }
}

#[test]
fn a_server_has_some_names_and_not_too_many() {
    let authority = Authority::mint(NOW, &mut rng(1));
    let key = KeyPair::generate(&mut rng(2)).public();
    for count in [0, X509_NAMES_MAX + 1] {
        let names = vec![name("shell"); count];
        let issued = authority.issue_server(&key, &names, NOW, &mut rng(3));
        assert_eq!(issued, Err(IssueError::Names(count)));
    }
    let by_number = server(&authority, &[name("fd00::1")], 4);
    assert_eq!(by_number.subject().as_str(), "fd00::1");
    assert_eq!(Certificate::parse_der(by_number.der()), Ok(by_number));
}

/// RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from 2050.
#[test]
fn times_change_their_form_in_2050() {
    let contains = |certificate: &Certificate, text: &[u8]| {
        certificate.der().windows(text.len()).any(|part| part == text)
    };
    let year_2039 = Wall::parse_rfc3339("2039-12-31T00:00:00Z").expect("a time");
    let early = Authority::mint(year_2039, &mut rng(1));
    assert!(contains(early.certificate(), b"\x17\x0d491228000000Z"));
    let year_2040 = Wall::parse_rfc3339("2040-06-01T00:00:00Z").expect("a time");
    let late = Authority::mint(year_2040, &mut rng(1));
    assert!(contains(late.certificate(), b"\x18\x0f20500530000000Z"));
    for certificate in [early.certificate(), late.certificate()] {
        assert_eq!(Certificate::parse_der(certificate.der()).as_ref(), Ok(certificate));
    }
    let never = Authority::mint(Wall::new(i64::MAX, 0), &mut rng(1));
    assert!(contains(never.certificate(), b"\x18\x0f99991231235959Z"));
}

#[test]
fn one_authority_follows_another() {
    let (old, new) = (Authority::mint(NOW, &mut rng(1)), Authority::mint(NOW, &mut rng(2)));
    let one = Trust::One(old.certificate().clone());
    let before = |agent: &str| (agent.to_owned(), Some(client(&old, agent, NOW, 3)));
    let after = |agent: &str| (agent.to_owned(), Some(client(&new, agent, NOW, 4)));

    assert_eq!(one.clone().finish(&[]), Err(RotationError::None));
    let overlap = one.rotate(new.certificate().clone()).expect("none is open");
    assert_eq!(Trust::parse_pem(&overlap.to_pem()).as_ref(), Ok(&overlap));
    assert_eq!(overlap.clone().rotate(old.certificate().clone()), Err(RotationError::Open));
    assert_eq!(overlap.agents_issuer(), new.certificate());
    assert_eq!(overlap.collector_issuer(NOW), old.certificate());
    assert_eq!(overlap.collector_issuer(days(4000)), new.certificate());

    // Whoever has been visited, and whoever has not, trusts the collector and is trusted.
    let trusted: Vec<Certificate> = overlap.authorities().into_iter().cloned().collect();
    for (agent, certificate) in [before("aaaaaaaaaaaa"), after("bbbbbbbbbbbb")] {
        let certificate = certificate.expect("it has one");
        assert_eq!(
            verify(&certificate, &trusted, &CertificatePurpose::Client(&name(&agent)), NOW),
            Ok(())
        );
    }
    let agents = [before("aaaaaaaaaaaa"), after("bbbbbbbbbbbb"), ("cccccccccccc".into(), None)];
    let outstanding = vec!["aaaaaaaaaaaa".to_owned(), "cccccccccccc".to_owned()];
    let early = overlap.clone().finish(&agents);
    assert_eq!(early, Err(RotationError::Outstanding(outstanding)));
    let done = overlap.finish(&["aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc"].map(after));
    assert_eq!(done, Ok(Trust::One(new.certificate().clone())));
}

#[test]
fn an_authority_is_kept_until_it_ends_or_is_rotated() {
    let old = Authority::mint(NOW, &mut rng(1)).certificate().clone();
    let new = Authority::mint(days(100), &mut rng(2)).certificate().clone();
    let one = Trust::One(old.clone());
    let both = Trust::Overlap { current: new, previous: Box::new(old) };
    assert_eq!(AuthorityAction::of(None, false, NOW), Ok(AuthorityAction::Mint));
    assert_eq!(AuthorityAction::of(None, true, NOW), Ok(AuthorityAction::Mint));
    assert_eq!(AuthorityAction::of(Some(&one), false, days(3650)), Ok(AuthorityAction::Keep));
    assert_eq!(AuthorityAction::of(Some(&one), true, NOW), Ok(AuthorityAction::Rotate));
    assert_eq!(AuthorityAction::of(Some(&one), false, days(3651)), Ok(AuthorityAction::Replace));
    assert_eq!(AuthorityAction::of(Some(&both), false, days(3700)), Ok(AuthorityAction::Keep));
    assert_eq!(AuthorityAction::of(Some(&both), true, days(3700)), Err(RotationError::Open));
    let leaf = client(&Authority::mint(NOW, &mut rng(1)), "abcdefghjkmn", NOW, 3);
    assert_eq!(Trust::parse_pem(&leaf.to_pem()), Err(X509Error::Profile("role")));
}
