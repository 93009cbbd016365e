//! What is to become of the files of the log authority and of the collector's certificate: kept
//! while they are good, made where they are not.
//!
//! A key is written before the certificate that goes with it. A certificate that is found without
//! its key is never used for anything new, so a run that was cut short between the two leaves
//! nothing that the next one does not mend.
//!
//! In a rotation there are two authorities, and the key of each has a file. Which key is whose is
//! found by trying, so a rotation that was cut short between the two files is only not begun yet.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::base::rng::Rng;
use crate::base::time::Wall;
use crate::paths::LogAuthority;
use crate::provision::step::StepFailure;
use crate::x509::life::LifeStage;
use crate::x509::rotation::{AuthorityAction, RotationError, Trust};
use crate::x509::{
    AltName, Authority, Certificate, CertificatePurpose, CertificateRequest, DnsName, IssueError,
    KeyPair, X509Error, verify,
};

/// The files as they are found; none where there is no file.
#[derive(Default)]
pub struct AuthorityFiles {
    pub authorities: Option<String>,
    pub key: Option<Zeroizing<String>>,
    /// The key of the authority before.
    pub previous_key: Option<Zeroizing<String>>,
    pub server_certificate: Option<String>,
    pub server_key: Option<Zeroizing<String>>,
}

/// The files as they are to be.
pub struct WantedAuthority {
    pub trust: Trust,
    /// The authority's key; none where it is kept elsewhere.
    pub key: Option<Zeroizing<String>>,
    /// The key of the authority before, in a rotation; none where it is kept elsewhere.
    pub previous_key: Option<Zeroizing<String>>,
    pub server_certificate: Certificate,
    pub server_key: Zeroizing<String>,
}

/// What the operator wants of the authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthorityRequest {
    /// What is good stays.
    Mend,
    /// Another one follows it.
    Rotate,
    /// The one before goes.
    Finish {
        /// Each agent, with the certificate that was issued to it last.
        agents: Vec<(String, Option<Certificate>)>,
        /// Whether agents may be shut out by that.
        is_forced: bool,
    },
}

/// Says what the files are to be, for a collector of these names.
///
/// # Errors
/// A file that nobody can use, or an authority that is wanted and whose key is elsewhere.
pub fn wanted(
    found: &AuthorityFiles,
    files: &LogAuthority,
    names: &[AltName],
    ask: AuthorityRequest,
    now: Wall,
    rng: &mut Rng,
) -> Result<WantedAuthority, StepFailure> {
    let there = found.authorities.as_deref().map(Trust::parse_pem).transpose();
    let there = there.map_err(|error| unfit(files.authorities(), &error))?;
    let (trust, minted) =
        trust(there, ask, now, rng).map_err(|it| StepFailure::of(it.to_string()))?;
    let keys = Keys { minted, ..Keys::found(found) };
    let issuer = keys.authority(trust.agents_issuer());
    if let (None, Some(_)) = (&issuer, &found.key) {
        return Err(unfit(files.key(), &X509Error::Key));
    }
    let previous = match &trust {
        Trust::One(_) => None,
        Trust::Overlap { previous, .. } => keys.authority(previous),
    };
    let server_key = found.server_key.as_deref().map(|text| KeyPair::parse_pem(text)).transpose();
    let server_key = server_key.map_err(|error| unfit(files.server_key(), &error))?;
    let server_key = server_key.unwrap_or_else(|| KeyPair::generate(rng));
    let server_certificate = found.server_certificate.as_deref();
    let kept = server_certificate.and_then(|text| Certificate::parse_pem(text).ok());
    let kept = kept.filter(|it| is_good(it, &trust, &server_key, names, now));
    let server_certificate = match (kept, keys.authority(trust.collector_issuer(now))) {
        (Some(certificate), _) => certificate,
        (None, Some(authority)) => authority
            .issue_server(&server_key.public(), names, now, rng)
            .map_err(|error| StepFailure::of(error.to_string()))?,
        (None, None) => {
            let path = files.key();
            let what =
                format!("the collector needs a certificate, and {} is not here", path.display());
            return Err(
                StepFailure::of(what).advise("bring the authority's key back for this call")
            );
        }
    };
    let pem = |authority: Option<Authority>| authority.map(|it| it.key().to_pem());
    Ok(WantedAuthority {
        key: pem(issuer),
        previous_key: pem(previous),
        trust,
        server_certificate,
        server_key: server_key.to_pem(),
    })
}

fn unfit(path: PathBuf, error: &dyn fmt::Display) -> StepFailure {
    let path = path.display();
    StepFailure::of(format!("{path} is unfit: {error}"))
        .advise(format!("move {path} away if it is not needed"))
}

/// Who is to be trusted, and the key of whom is new among them.
fn trust(
    there: Option<Trust>,
    ask: AuthorityRequest,
    now: Wall,
    rng: &mut Rng,
) -> Result<(Trust, Option<Authority>), RotationError> {
    let need = AuthorityAction::of(there.as_ref(), ask == AuthorityRequest::Rotate, now)?;
    match (need, there, ask) {
        // Nothing is left to finish, so that the same call can be made again.
        (AuthorityAction::Keep, Some(trust @ Trust::One(_)), AuthorityRequest::Finish { .. }) => {
            Ok((trust, None))
        }
        (AuthorityAction::Keep, Some(trust), AuthorityRequest::Finish { agents, is_forced }) => {
            let agents = if is_forced { Vec::new() } else { agents };
            Ok((trust.finish(&agents)?, None))
        }
        (AuthorityAction::Keep, Some(trust), _) => Ok((trust, None)),
        (AuthorityAction::Rotate, Some(trust), _) => {
            let next = Authority::mint(now, rng);
            Ok((trust.rotate(next.certificate().clone())?, Some(next)))
        }
        (_, None, AuthorityRequest::Finish { .. }) => Err(RotationError::None),
        _ => {
            let first = Authority::mint(now, rng);
            Ok((Trust::One(first.certificate().clone()), Some(first)))
        }
    }
}

/// The keys that are at hand.
pub(super) struct Keys<'a> {
    minted: Option<Authority>,
    found: [&'a Option<Zeroizing<String>>; 2],
}

impl<'a> Keys<'a> {
    pub(super) fn found(found: &'a AuthorityFiles) -> Keys<'a> {
        Keys { minted: None, found: [&found.key, &found.previous_key] }
    }

    /// The authority of a certificate, if its key is among them.
    pub(super) fn authority(&self, certificate: &Certificate) -> Option<Authority> {
        let minted = self.minted.iter().map(|authority| authority.key().to_pem());
        let mut texts = minted.chain(self.found.into_iter().flatten().cloned());
        texts.find_map(|text| {
            Authority::load(certificate.clone(), KeyPair::parse_pem(&text).ok()?).ok()
        })
    }
}

/// The authority that issues now.
///
/// # Errors
/// What is wrong with its key.
pub fn load(trust: &Trust, key: &str) -> Result<Authority, X509Error> {
    Authority::load(trust.agents_issuer().clone(), KeyPair::parse_pem(key)?)
}

/// An agent that wants a certificate for its logs.
pub struct LogClient {
    id: DnsName,
    request: CertificateRequest,
}

impl LogClient {
    /// Reads what the agent said.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse(id: &str, request: &str) -> Result<LogClient, String> {
        let wrong = |error: &dyn fmt::Display| format!("the agent's request: {error}");
        Ok(LogClient {
            id: DnsName::parse(id).map_err(|error| wrong(&error))?,
            request: CertificateRequest::parse_pem(request).map_err(|error| wrong(&error))?,
        })
    }

    /// The certificate that the agent has, if it can stay: for its key, from the authority that
    /// issues now, and not old.
    pub(crate) fn kept(&self, pem: &str, trust: &Trust, now: Wall) -> Option<Certificate> {
        let certificate = Certificate::parse_pem(pem).ok()?;
        let issuers = [trust.agents_issuer().clone()];
        let name = AltName::Dns(self.id.clone());
        verify(&certificate, &issuers, &CertificatePurpose::Client(&name), now).ok()?;
        let is_good = certificate.key() == self.request.key()
            && !LifeStage::at(certificate.validity(), now).wants_renewal();
        is_good.then_some(certificate)
    }

    /// A new one.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issued(
        &self,
        authority: &Authority,
        now: Wall,
        rng: &mut Rng,
    ) -> Result<Certificate, IssueError> {
        authority.issue_client(&self.request, &self.id, now, rng)
    }
}

/// Whether the collector's certificate can stay.
fn is_good(
    certificate: &Certificate,
    trust: &Trust,
    key: &KeyPair,
    names: &[AltName],
    now: Wall,
) -> bool {
    let issuers = [trust.collector_issuer(now).clone()];
    let has_names = names.first().is_some_and(|name| {
        verify(certificate, &issuers, &CertificatePurpose::Server(name), now).is_ok()
    });
    has_names
        && *certificate.key() == key.public()
        && !LifeStage::at(certificate.validity(), now).wants_renewal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;

    const YEAR: i64 = 365 * 86_400;

    fn at(years: i64) -> Wall {
        Wall::new(1_700_000_000 + years * YEAR, 0)
    }

    fn made(
        found: &AuthorityFiles,
        name: &str,
        now: Wall,
        seed: u8,
    ) -> Result<WantedAuthority, StepFailure> {
        let names = [AltName::parse(name).expect("a name")];
        let files = Paths::default().log_authority();
        wanted(found, &files, &names, AuthorityRequest::Mend, now, &mut Rng::from_seed([seed; 32]))
    }

    fn asked(
        found: &AuthorityFiles,
        ask: AuthorityRequest,
        now: Wall,
        seed: u8,
    ) -> Result<WantedAuthority, StepFailure> {
        let names = [AltName::parse("shell").expect("a name")];
        let files = Paths::default().log_authority();
        wanted(found, &files, &names, ask, now, &mut Rng::from_seed([seed; 32]))
    }

    fn written(wanted: &WantedAuthority) -> AuthorityFiles {
        AuthorityFiles {
            authorities: Some(wanted.trust.to_pem()),
            key: wanted.key.clone(),
            previous_key: wanted.previous_key.clone(),
            server_certificate: Some(wanted.server_certificate.to_pem()),
            server_key: Some(wanted.server_key.clone()),
        }
    }

    fn same(one: &WantedAuthority, other: &WantedAuthority) -> [bool; 4] {
        [
            one.trust == other.trust,
            one.key == other.key,
            one.server_certificate == other.server_certificate,
            one.server_key == other.server_key,
        ]
    }

    #[test]
    fn what_is_good_is_kept() {
        let first = made(&AuthorityFiles::default(), "shell", at(0), 1).expect("all is made");
        let again = made(&written(&first), "shell", at(0), 2).expect("all is kept");
        assert_eq!(same(&first, &again), [true; 4]);
        // Another name, and two thirds of a year, want another certificate and nothing else.
        for (name, now) in [("other", at(0)), ("shell", Wall::new(at(1).seconds() - YEAR / 4, 0))] {
            let again = made(&written(&first), name, now, 3).expect("it can be made");
            assert_eq!(same(&first, &again), [true, true, false, true], "{name}");
        }
        let again = made(&written(&first), "shell", at(11), 4).expect("a life is over");
        assert_eq!(same(&first, &again), [false, false, false, true]);
    }

    /// A run that was cut short anywhere leaves the first so many files in the order of writing.
    #[test]
    fn what_was_begun_is_finished() {
        let first = made(&AuthorityFiles::default(), "shell", at(0), 1).expect("all is made");
        for count in 0..4 {
            let mut found = written(&first);
            if count < 4 {
                found.server_certificate = None;
            }
            if count < 3 {
                found.server_key = None;
            }
            if count < 2 {
                found.authorities = None;
            }
            if count < 1 {
                found.key = None;
            }
            let second = made(&found, "shell", at(0), 5).expect("it goes on");
            assert_eq!(same(&first, &second)[0], count >= 2, "{count}");
            let third = made(&written(&second), "shell", at(0), 6).expect("all is kept");
            assert_eq!(same(&second, &third), [true; 4], "{count}");
        }
    }

    fn finish(agents: &[(&str, Option<&Certificate>)], is_forced: bool) -> AuthorityRequest {
        let agents = agents.iter().map(|(id, it)| ((*id).to_owned(), it.cloned())).collect();
        AuthorityRequest::Finish { agents, is_forced }
    }

    fn client(wanted: &WantedAuthority, seed: u8) -> Certificate {
        let mut rng = Rng::from_seed([seed; 32]);
        let authority = load(&wanted.trust, wanted.key.as_ref().expect("a key")).expect("they fit");
        let id = DnsName::parse("abcdefghjkmn").expect("a name");
        let request = CertificateRequest::new(&id.common(), &KeyPair::generate(&mut rng));
        authority.issue_client(&request, &id, at(0), &mut rng).expect("it may")
    }

    #[test]
    fn a_rotation_goes_from_one_authority_to_the_next() {
        let first = made(&AuthorityFiles::default(), "shell", at(0), 1).expect("all is made");
        let old = client(&first, 9);
        let both = asked(&written(&first), AuthorityRequest::Rotate, at(0), 2).expect("it begins");
        assert_eq!(same(&first, &both), [false, false, true, true], "the collector stays known");
        assert_eq!(both.previous_key, first.key);
        let mended = made(&written(&both), "shell", at(0), 3).expect("all is kept");
        assert_eq!(same(&both, &mended), [true; 4]);
        assert_eq!(mended.previous_key, both.previous_key);
        let again =
            asked(&written(&both), AuthorityRequest::Rotate, at(0), 4).err().expect("one is open");
        assert!(again.what.contains("a rotation has begun already"), "{again:?}");
        // The collector's certificate is renewed by the authority that every agent knows.
        let late = Wall::new(at(1).seconds() - YEAR / 4, 0);
        let renewed = made(&written(&both), "shell", late, 5).expect("both keys are here");
        let by = |wanted: &WantedAuthority| wanted.server_certificate.issuer().clone();
        assert_ne!(renewed.server_certificate, first.server_certificate);
        assert_eq!(by(&renewed), by(&first));

        let new = client(&both, 8);
        for agents in [[("a", Some(&new)), ("b", Some(&old))], [("a", Some(&new)), ("b", None)]] {
            let early = asked(&written(&both), finish(&agents, false), at(0), 6).err();
            let what = early.expect("b would be shut out").what;
            assert!(what.ends_with("run init-agent for each: b"), "{what}");
            assert!(asked(&written(&both), finish(&agents, true), at(0), 6).is_ok());
        }
        let ask = finish(&[("a", Some(&new))], false);
        let end = asked(&written(&both), ask.clone(), at(0), 7).expect("nobody is shut out");
        assert_eq!(same(&both, &end), [false, true, false, true]);
        assert_eq!(end.trust, Trust::One(both.trust.agents_issuer().clone()));
        assert!(end.previous_key.is_none());
        assert_ne!(by(&end), by(&first));
        let again = asked(&written(&end), ask, at(0), 8).expect("nothing is left to do");
        assert_eq!(same(&end, &again), [true; 4]);
        let none =
            asked(&AuthorityFiles::default(), finish(&[], false), at(0), 9).err().expect("no file");
        assert!(none.what.contains("no rotation has begun"), "{none:?}");
    }

    /// The files of a rotation are written in the order: key of before, key, authorities.
    #[test]
    fn a_rotation_that_was_cut_short_is_begun_again_or_forgotten() {
        let first = made(&AuthorityFiles::default(), "shell", at(0), 1).expect("all is made");
        let both = asked(&written(&first), AuthorityRequest::Rotate, at(0), 2).expect("it begins");
        for count in 1..=2 {
            let mut found = written(&first);
            found.previous_key = both.previous_key.clone();
            if count > 1 {
                found.key = both.key.clone();
            }
            let mended = made(&found, "shell", at(0), 3).expect("the old one goes on");
            assert_eq!(same(&first, &mended), [true; 4], "{count}");
            assert!(mended.previous_key.is_none());
            let again = asked(&found, AuthorityRequest::Rotate, at(0), 4).expect("it begins");
            assert_eq!(again.previous_key, first.key, "{count}");
            assert_eq!(same(&first, &again), [false, false, true, true], "{count}");
        }
    }

    #[test]
    fn an_agents_certificate_is_kept_while_it_is_its_own_and_young() {
        let mut rng = Rng::from_seed([7; 32]);
        let made = made(&AuthorityFiles::default(), "shell", at(0), 1).expect("all is made");
        let authority = load(&made.trust, made.key.as_ref().expect("a key")).expect("they fit");
        let id = DnsName::parse("abcdefghjkmn").expect("a name");
        let request =
            |rng: &mut Rng| CertificateRequest::new(&id.common(), &KeyPair::generate(rng)).to_pem();
        let client = LogClient::parse(id.as_str(), &request(&mut rng)).expect("a request");
        let pem = client.issued(&authority, at(0), &mut rng).expect("it may").to_pem();
        assert!(client.kept(&pem, &made.trust, at(0)).is_some());
        let late = Wall::new(at(0).seconds() + YEAR * 3 / 4, 0);
        assert!(client.kept(&pem, &made.trust, late).is_none(), "it is old");
        let other = LogClient::parse(id.as_str(), &request(&mut rng)).expect("a request");
        assert!(other.kept(&pem, &made.trust, at(0)).is_none(), "it is for another key");
        let next = Authority::mint(at(0), &mut rng).certificate().clone();
        let rotated = made.trust.rotate(next).expect("none is open");
        assert!(client.kept(&pem, &rotated, at(0)).is_none(), "another issues now");
        assert!(LogClient::parse("mmmmmmmmmmmm", "x").is_err());
    }

    #[test]
    fn a_key_that_is_elsewhere_is_only_missed_when_it_is_needed() {
        let first = made(&AuthorityFiles::default(), "shell", at(0), 1).expect("all is made");
        let found = AuthorityFiles { key: None, ..written(&first) };
        let again = made(&found, "shell", at(0), 2).expect("nothing is to issue");
        assert_eq!(same(&first, &again), [true, false, true, true]);
        let error = made(&found, "other", at(0), 2).err().expect("somebody must issue");
        assert!(error.what.contains("ca.key is not here"), "{error:?}");
        let found = AuthorityFiles { key: Some(Zeroizing::new("x".to_owned())), ..written(&first) };
        let error = made(&found, "shell", at(0), 2).err().expect("no key");
        assert!(error.what.contains("ca.key is unfit"), "{error:?}");
    }
}
