//! The renewal of an agent's certificate at two thirds of its life, without TLS.
//!
//! ```text
//! shell host, root, once a day          agent, as claude        agent's host, root
//! which one is there? (tcp/222)     ->  tells it
//! the same name and key, a new year ->  puts it aside       ->  looks at it, puts it in place,
//! is it there now?                  ->  tells it                restarts rsyslog
//! writes down what it issued
//! ```
//!
//! Neither key moves: the authority's is read by root on the shell host alone, the agent's never
//! leaves its host, and the same key is certified again, so no request is needed. Whom an agent
//! trusts is never changed this way: only `init-agent` does that. Who gets hold of the key that
//! drives an agent can so send it a certificate, and root there takes only one by the authority
//! that it knows, of this agent, for the key that it has, and that does not end before the one that
//! is there.

use crate::base::rng::Rng;
use crate::base::time::Wall;
use crate::provision::logs::authority::{AuthorityFiles, Keys};
use crate::x509::life::{LifeStage, days_left};
use crate::x509::rotation::Trust;
use crate::x509::{AltName, Certificate, CertificatePurpose, CertificateRole, KeyPair, verify};

/// What the shell host does about one agent's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing: so many days are left.
    Keep(i64),
    /// Send it this one.
    Renew(Box<Certificate>),
}

/// Decides about the certificate that an agent says it has. `issued` is what this shell host has
/// issued to it last.
///
/// # Errors
/// One sentence; a new enrolment mends each of these.
pub(crate) fn due(
    present: &Certificate,
    issued: &Certificate,
    trust: &Trust,
    found: &AuthorityFiles,
    now: Wall,
    rng: &mut Rng,
) -> Result<Due, String> {
    let name = |of: &Certificate| match of.role() {
        CertificateRole::Client { name, .. } => Some(name.clone()),
        _ => None,
    };
    // Who signed what the agent shows is not looked at, so nothing of it goes into a new one.
    let is_same = (present.key(), present.subject(), name(present))
        == (issued.key(), issued.subject(), name(issued));
    if !is_same {
        return Err("its certificate is not one that was issued here".to_owned());
    }
    if !LifeStage::at(present.validity(), now).wants_renewal() {
        return Ok(Due::Keep(days_left(present.validity(), now)));
    }
    // In a rotation: by the authority that this agent is known to trust.
    let named = present.role().issuer_key();
    let authorities = trust.authorities();
    let issuer = authorities.into_iter().find(|it| Some(it.key().id()) == named);
    let issuer = issuer.ok_or("its certificate is by an authority that is not trusted any more")?;
    let authority = Keys::found(found).authority(issuer);
    let authority = authority.ok_or("the authority's key is not here")?;
    let renewed = authority.renew(issued, now, rng).map_err(|error| error.to_string())?;
    Ok(Due::Renew(Box::new(renewed)))
}

/// What stands on an agent's host.
pub(crate) struct Present<'a> {
    pub(crate) id: &'a str,
    /// Whom it trusts, as PEM.
    pub(crate) authorities: &'a str,
    /// Its key, as PEM.
    pub(crate) key: &'a str,
    /// Its certificate, as PEM; none if there is none.
    pub(crate) certificate: Option<&'a str>,
}

impl Present<'_> {
    /// Whether `renewed` may take the certificate's place.
    ///
    /// # Errors
    /// Why not: one sentence.
    pub(crate) fn takes(&self, renewed: &str, now: Wall) -> Result<Certificate, String> {
        let renewed = Certificate::parse_pem(renewed).map_err(|error| error.to_string())?;
        let trust = Trust::parse_pem(self.authorities)
            .map_err(|error| format!("the authorities that are trusted here: {error}"))?;
        let authorities: Vec<Certificate> = trust.authorities().into_iter().cloned().collect();
        let name = AltName::parse(self.id).map_err(|error| error.to_string())?;
        verify(&renewed, &authorities, &CertificatePurpose::Client(&name), now)
            .map_err(|refusal| refusal.to_string())?;
        let key = KeyPair::parse_pem(self.key).map_err(|error| format!("the key here: {error}"))?;
        if *renewed.key() != key.public() {
            return Err("it is for another key than the one here".to_owned());
        }
        let present = self.certificate.and_then(|pem| Certificate::parse_pem(pem).ok());
        let end = |certificate: &Certificate| certificate.validity().not_after;
        if present.is_some_and(|present| end(&present) > end(&renewed)) {
            return Err("it ends before the one that is here".to_owned());
        }
        Ok(renewed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::{Authority, CertificateRequest, DnsName};

    const DAY: i64 = 86_400;
    const ID: &str = "abcdefghjkmn";

    fn at(days: i64) -> Wall {
        Wall::new(1_700_000_000 + days * DAY, 0)
    }

    struct Both {
        old: Authority,
        new: Authority,
        key: KeyPair,
        rng: Rng,
    }

    impl Both {
        fn new() -> Both {
            let mut rng = Rng::from_seed([21; 32]);
            let [old, new] = [(); 2].map(|()| Authority::mint(at(0), &mut rng));
            Both { old, new, key: KeyPair::generate(&mut rng), rng }
        }

        fn certificate(&mut self, by_new: bool, id: &str, day: i64) -> Certificate {
            let name = DnsName::parse(id).expect("a name");
            let request = CertificateRequest::new(&name.common(), &self.key);
            let by = if by_new { &self.new } else { &self.old };
            by.issue_client(&request, &name, at(day), &mut self.rng).expect("it may")
        }

        fn found(&self, has_previous: bool) -> AuthorityFiles {
            AuthorityFiles {
                key: Some(self.new.key().to_pem()),
                previous_key: has_previous.then(|| self.old.key().to_pem()),
                ..AuthorityFiles::default()
            }
        }

        fn trust(&self) -> Trust {
            let old = Trust::One(self.old.certificate().clone());
            old.rotate(self.new.certificate().clone()).expect("none is open")
        }

        fn due(&mut self, present: &Certificate, day: i64) -> Result<Due, String> {
            let (found, trust) = (self.found(true), self.trust());
            due(present, present, &trust, &found, at(day), &mut self.rng)
        }
    }

    #[test]
    fn two_thirds_of_a_life_is_when_it_is_renewed_also_when_it_is_over() {
        let mut both = Both::new();
        let present = both.certificate(true, ID, 0);
        assert_eq!(both.due(&present, 243), Ok(Due::Keep(122)));
        for day in [244, 360, 400] {
            let Ok(Due::Renew(renewed)) = both.due(&present, day) else { panic!("day {day}") };
            assert_eq!(days_left(renewed.validity(), at(day)), 365, "{day}");
            assert_eq!((renewed.key(), renewed.subject()), (present.key(), present.subject()));
        }
    }

    #[test]
    fn in_a_rotation_each_is_renewed_by_whom_it_knows() {
        let mut both = Both::new();
        for by_new in [false, true] {
            let present = both.certificate(by_new, ID, 0);
            let Ok(Due::Renew(renewed)) = both.due(&present, 250) else { panic!("it is due") };
            assert_eq!(renewed.role().issuer_key(), present.role().issuer_key());
        }
        let present = both.certificate(false, ID, 0);
        let (found, trust) = (both.found(false), both.trust());
        let mut rng = Rng::from_seed([1; 32]);
        let why = due(&present, &present, &trust, &found, at(250), &mut rng);
        assert_eq!(why, Err("the authority's key is not here".to_owned()));
        let trust = Trust::One(both.new.certificate().clone());
        let why = due(&present, &present, &trust, &found, at(250), &mut rng).expect_err("dropped");
        assert!(why.contains("not trusted any more"), "{why}");
        let other = both.certificate(true, "mmmmmmmmmmmm", 0);
        let why = due(&other, &present, &trust, &found, at(250), &mut rng).expect_err("foreign");
        assert!(why.contains("not one that was issued here"), "{why}");
    }

    #[test]
    fn root_takes_only_its_own_and_only_what_lasts_longer() {
        let mut both = Both::new();
        let present = both.certificate(false, ID, 0);
        let renewed = both.certificate(false, ID, 250);
        let (ca, key) = (both.old.certificate().to_pem(), both.key.to_pem());
        let pem = present.to_pem();
        let here = Present { id: ID, authorities: &ca, key: &key, certificate: Some(&pem) };
        assert_eq!(here.takes(&renewed.to_pem(), at(250)), Ok(renewed.clone()));
        assert_eq!(here.takes(&renewed.to_pem(), at(400)), Ok(renewed.clone()), "after its end");
        let stranger = KeyPair::generate(&mut both.rng);
        let other_key = std::mem::replace(&mut both.key, stranger);
        let for_another_key = both.certificate(false, ID, 250);
        both.key = other_key;
        let by_another = both.certificate(true, ID, 250);
        let of_another = both.certificate(false, "mmmmmmmmmmmm", 250);
        for (what, certificate, why) in [
            ("another authority's", by_another, "is not trusted"),
            ("another agent's", of_another, "and not of abcdefghjkmn"),
            ("another key's", for_another_key, "another key"),
        ] {
            let said = here.takes(&certificate.to_pem(), at(250)).expect_err(what);
            assert!(said.contains(why), "{what}: {said}");
        }
        let newer = renewed.to_pem();
        let later = Present { certificate: Some(&newer), ..here };
        let said = later.takes(&pem, at(250)).expect_err("an old one");
        assert!(said.contains("ends before"), "{said}");
        assert!(later.takes("x", at(250)).is_err());
        assert!(later.takes(&newer, at(700)).expect_err("over").contains("and not now"));
    }
}
