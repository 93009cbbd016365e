//! What is to become of the files of the log authority and of the collector's certificate: kept
//! while they are good, made where they are not.
//!
//! A key is written before the certificate that goes with it. A certificate that is found without
//! its key is never used for anything new, so a run that was cut short between the two leaves
//! nothing that the next one does not mend.

use std::fmt;

use zeroize::Zeroizing;

use super::step::Failure;
use crate::base::rng::Rng;
use crate::base::time::Wall;
use crate::paths::LogAuthority;
use crate::x509::life::Stage;
use crate::x509::rotation::{Need, Trust};
use crate::x509::{
    AltName, Authority, Certificate, DnsName, IssueError, KeyPair, Purpose, Request, verify,
};

/// The files as they are found; none where there is no file.
#[derive(Default)]
pub struct Found {
    /// The authorities.
    pub authorities: Option<String>,
    /// The authority's key.
    pub key: Option<Zeroizing<String>>,
    /// The collector's certificate.
    pub server_certificate: Option<String>,
    /// The collector's key.
    pub server_key: Option<Zeroizing<String>>,
}

/// The files as they are to be.
pub struct Wanted {
    /// Who is trusted.
    pub trust: Trust,
    /// The authority's key; none where it is kept elsewhere.
    pub key: Option<Zeroizing<String>>,
    /// The collector's certificate.
    pub server_certificate: Certificate,
    /// The collector's key.
    pub server_key: Zeroizing<String>,
}

/// Says what the files are to be, for a collector of these names.
///
/// # Errors
/// A file that nobody can use, or an authority that is wanted and whose key is elsewhere.
pub fn wanted(
    found: &Found,
    files: &LogAuthority,
    names: &[AltName],
    now: Wall,
    rng: &mut Rng,
) -> Result<Wanted, Failure> {
    let unfit = |path: std::path::PathBuf, error: &dyn fmt::Display| {
        let path = path.display();
        Failure::of(format!("{path} is unfit: {error}"))
            .advise(format!("move {path} away if it is not needed"))
    };
    let there = found.authorities.as_deref().map(Trust::parse_pem).transpose();
    let there = there.map_err(|error| unfit(files.authorities(), &error))?;
    let need = Need::of(there.as_ref(), false, now);
    let need = need.map_err(|error| Failure::of(error.to_string()))?;
    let (trust, authority) = match (need, there) {
        (Need::Keep, Some(trust)) => {
            let authority = found.key.as_deref().map(|text| load(&trust, text)).transpose();
            (trust, authority.map_err(|error| unfit(files.key(), &error))?)
        }
        _ => {
            let authority = Authority::mint(now, rng);
            (Trust::One(authority.certificate().clone()), Some(authority))
        }
    };
    let key = authority.as_ref().map(|authority| authority.key().to_pem());
    let server_key = found.server_key.as_deref().map(|text| KeyPair::parse_pem(text)).transpose();
    let server_key = server_key.map_err(|error| unfit(files.server_key(), &error))?;
    let server_key = server_key.unwrap_or_else(|| KeyPair::generate(rng));
    let server_certificate = found.server_certificate.as_deref();
    let kept = server_certificate.and_then(|text| Certificate::parse_pem(text).ok());
    let kept = kept.filter(|it| is_good(it, &trust, &server_key, names, now));
    let server_certificate = match (kept, authority) {
        (Some(certificate), _) => certificate,
        (None, Some(authority)) => authority
            .issue_server(&server_key.public(), names, now, rng)
            .map_err(|error| Failure::of(error.to_string()))?,
        (None, None) => {
            let path = files.key();
            let what =
                format!("the collector needs a certificate, and {} is not here", path.display());
            return Err(Failure::of(what).advise("bring the authority's key back for this call"));
        }
    };
    Ok(Wanted { trust, key, server_certificate, server_key: server_key.to_pem() })
}

/// The authority that issues now.
///
/// # Errors
/// What is wrong with its key.
pub fn load(trust: &Trust, key: &str) -> Result<Authority, crate::x509::X509Error> {
    Authority::load(trust.agents_issuer().clone(), KeyPair::parse_pem(key)?)
}

/// An agent that wants a certificate for its logs.
pub struct Client {
    id: DnsName,
    request: Request,
}

impl Client {
    /// Reads what the agent said.
    ///
    /// # Errors
    /// One sentence.
    pub fn parse(id: &str, request: &str) -> Result<Client, String> {
        let wrong = |error: &dyn fmt::Display| format!("the agent's request: {error}");
        Ok(Client {
            id: DnsName::parse(id).map_err(|error| wrong(&error))?,
            request: Request::parse_pem(request).map_err(|error| wrong(&error))?,
        })
    }

    /// The certificate that the agent has, if it can stay: for its key, from the authority that
    /// issues now, and not old.
    pub fn kept(&self, pem: &str, trust: &Trust, now: Wall) -> Option<Certificate> {
        let certificate = Certificate::parse_pem(pem).ok()?;
        let issuers = [trust.agents_issuer().clone()];
        let name = AltName::Dns(self.id.clone());
        verify(&certificate, &issuers, &Purpose::Client(&name), now).ok()?;
        let is_good = certificate.key() == self.request.key()
            && !Stage::at(certificate.validity(), now).wants_renewal();
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
    let issuers: Vec<Certificate> = trust.authorities().into_iter().cloned().collect();
    let has_names = names
        .first()
        .is_some_and(|name| verify(certificate, &issuers, &Purpose::Server(name), now).is_ok());
    has_names
        && *certificate.key() == key.public()
        && !Stage::at(certificate.validity(), now).wants_renewal()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Paths;

    const YEAR: i64 = 365 * 86_400;

    fn at(years: i64) -> Wall {
        Wall::new(1_700_000_000 + years * YEAR, 0)
    }

    fn made(found: &Found, name: &str, now: Wall, seed: u8) -> Result<Wanted, Failure> {
        let names = [AltName::parse(name).expect("a name")];
        let files = Paths::default().log_authority();
        wanted(found, &files, &names, now, &mut Rng::from_seed([seed; 32]))
    }

    fn written(wanted: &Wanted) -> Found {
        Found {
            authorities: Some(wanted.trust.to_pem()),
            key: wanted.key.clone(),
            server_certificate: Some(wanted.server_certificate.to_pem()),
            server_key: Some(wanted.server_key.clone()),
        }
    }

    fn same(one: &Wanted, other: &Wanted) -> [bool; 4] {
        [
            one.trust == other.trust,
            one.key == other.key,
            one.server_certificate == other.server_certificate,
            one.server_key == other.server_key,
        ]
    }

    #[test]
    fn what_is_good_is_kept() {
        let first = made(&Found::default(), "shell", at(0), 1).expect("all is made");
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
        let first = made(&Found::default(), "shell", at(0), 1).expect("all is made");
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

    #[test]
    fn an_agents_certificate_is_kept_while_it_is_its_own_and_young() {
        let mut rng = Rng::from_seed([7; 32]);
        let made = made(&Found::default(), "shell", at(0), 1).expect("all is made");
        let authority = load(&made.trust, made.key.as_ref().expect("a key")).expect("they fit");
        let id = DnsName::parse("abcdefghjkmn").expect("a name");
        let request = |rng: &mut Rng| Request::new(&id.common(), &KeyPair::generate(rng)).to_pem();
        let client = Client::parse(id.as_str(), &request(&mut rng)).expect("a request");
        let pem = client.issued(&authority, at(0), &mut rng).expect("it may").to_pem();
        assert!(client.kept(&pem, &made.trust, at(0)).is_some());
        let late = Wall::new(at(0).seconds() + YEAR * 3 / 4, 0);
        assert!(client.kept(&pem, &made.trust, late).is_none(), "it is old");
        let other = Client::parse(id.as_str(), &request(&mut rng)).expect("a request");
        assert!(other.kept(&pem, &made.trust, at(0)).is_none(), "it is for another key");
        let next = Authority::mint(at(0), &mut rng).certificate().clone();
        let rotated = made.trust.rotate(next).expect("none is open");
        assert!(client.kept(&pem, &rotated, at(0)).is_none(), "another issues now");
        assert!(Client::parse("mmmmmmmmmmmm", "x").is_err());
    }

    #[test]
    fn a_key_that_is_elsewhere_is_only_missed_when_it_is_needed() {
        let first = made(&Found::default(), "shell", at(0), 1).expect("all is made");
        let found = Found { key: None, ..written(&first) };
        let again = made(&found, "shell", at(0), 2).expect("nothing is to issue");
        assert_eq!(same(&first, &again), [true, false, true, true]);
        let error = made(&found, "other", at(0), 2).err().expect("somebody must issue");
        assert!(error.what.contains("ca.key is not here"), "{error:?}");
        let found = Found { key: Some(Zeroizing::new("x".to_owned())), ..written(&first) };
        let error = made(&found, "shell", at(0), 2).err().expect("no key");
        assert!(error.what.contains("ca.key is unfit"), "{error:?}");
    }
}
