//! How one authority follows another without a log line lost.
//!
//! `One` ─ rotate → `Overlap` ─ finish → `One`. In the overlap both are trusted. Agents get their
//! certificates from the new authority, one by one; the collector keeps the old authority's, which
//! is what an agent that has not been visited yet knows. When the last agent has been visited, the
//! collector gets one from the new authority, and the old one is dropped.

use std::fmt;

use super::certificate::{Certificate, CertificateRole};
use super::error::X509Error;
use crate::base::time::Wall;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    One(Certificate),
    /// Two, for as long as a rotation lasts.
    Overlap {
        current: Certificate,
        /// The one that goes.
        previous: Box<Certificate>,
    },
}

/// What a shell host is to do about its authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthorityAction {
    /// There is none: make one.
    Mint,
    /// It is good.
    Keep,
    /// Make one, and trust both.
    Rotate,
    /// Make one; the life of what is there is over, so nobody takes its certificates anyway.
    Replace,
}

/// Why a rotation does not begin or end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RotationError {
    /// The one before has not been finished.
    Open,
    /// None has begun.
    None,
    /// These agents still have a certificate of the old authority, or none.
    Outstanding(Vec<String>),
}

impl Trust {
    /// Reads the file of the authorities, the current one first.
    ///
    /// # Errors
    /// [`X509Error`] if it has none, more than two, or something else than an authority.
    pub(crate) fn parse_pem(text: &str) -> Result<Trust, X509Error> {
        let mut found = Certificate::parse_all_pem(text)?;
        if found.iter().any(|certificate| *certificate.role() != CertificateRole::Authority) {
            return Err(X509Error::Profile("role"));
        }
        let current = found.remove(0);
        Ok(match found.pop() {
            Some(previous) if previous != current => {
                Trust::Overlap { current, previous: Box::new(previous) }
            }
            _ => Trust::One(current),
        })
    }

    /// The file of the authorities.
    pub fn to_pem(&self) -> String {
        self.authorities().iter().map(|certificate| certificate.to_pem()).collect()
    }

    /// Begins a rotation to `next`.
    ///
    /// # Errors
    /// [`RotationError::Open`] in the middle of another.
    pub(crate) fn rotate(self, next: Certificate) -> Result<Trust, RotationError> {
        match self {
            Trust::One(previous) => {
                Ok(Trust::Overlap { current: next, previous: Box::new(previous) })
            }
            Trust::Overlap { .. } => Err(RotationError::Open),
        }
    }

    /// Ends a rotation, when each of `agents` has a certificate of the new authority: its id, and
    /// the certificate that was issued to it last.
    ///
    /// # Errors
    /// [`RotationError::None`] outside of one, [`RotationError::Outstanding`] too early.
    pub(crate) fn finish(
        self,
        agents: &[(String, Option<Certificate>)],
    ) -> Result<Trust, RotationError> {
        let outstanding = self.outstanding(agents);
        match self {
            Trust::One(_) => Err(RotationError::None),
            Trust::Overlap { .. } if !outstanding.is_empty() => {
                Err(RotationError::Outstanding(outstanding))
            }
            Trust::Overlap { current, .. } => Ok(Trust::One(current)),
        }
    }

    /// The ids of the agents whose certificate is not by the current authority.
    pub(crate) fn outstanding(&self, agents: &[(String, Option<Certificate>)]) -> Vec<String> {
        let by_current = |certificate: &Certificate| {
            certificate.role().issuer_key() == Some(self.agents_issuer().key().id())
        };
        let waiting = agents.iter().filter(|(_, it)| !it.as_ref().is_some_and(by_current));
        waiting.map(|(id, _)| id.clone()).collect()
    }

    /// All that is trusted, the current one first.
    pub(crate) fn authorities(&self) -> Vec<&Certificate> {
        match self {
            Trust::One(current) => vec![current],
            Trust::Overlap { current, previous } => vec![current, previous.as_ref()],
        }
    }

    /// Who issues to agents.
    pub(crate) fn agents_issuer(&self) -> &Certificate {
        match self {
            Trust::One(current) | Trust::Overlap { current, .. } => current,
        }
    }

    /// Who issues to the collector: of two, the one that every agent knows, while it lives.
    pub(crate) fn collector_issuer(&self, now: Wall) -> &Certificate {
        match self {
            Trust::Overlap { previous, .. } if previous.validity().contains(now) => {
                previous.as_ref()
            }
            Trust::One(current) | Trust::Overlap { current, .. } => current,
        }
    }
}

impl AuthorityAction {
    /// What is to be done with what is there, when a rotation is or is not asked for.
    ///
    /// # Errors
    /// [`RotationError::Open`] if one is asked for in the middle of another.
    pub(crate) fn of(
        there: Option<&Trust>,
        asked: bool,
        now: Wall,
    ) -> Result<AuthorityAction, RotationError> {
        match there {
            None => Ok(AuthorityAction::Mint),
            Some(trust) if now > trust.agents_issuer().validity().not_after => {
                Ok(AuthorityAction::Replace)
            }
            Some(Trust::Overlap { .. }) if asked => Err(RotationError::Open),
            Some(Trust::One(_)) if asked => Ok(AuthorityAction::Rotate),
            Some(_) => Ok(AuthorityAction::Keep),
        }
    }
}

impl fmt::Display for RotationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RotationError::Open => out.write_str(
                "a rotation has begun already; run init-agent for each agent, and end it with: \
                 convocate-host init-shell --finish-rotation (or mend what is not done yet with \
                 init-shell alone)",
            ),
            RotationError::None => out.write_str(
                "no rotation has begun; begin one with: convocate-host init-shell --rotate-ca",
            ),
            RotationError::Outstanding(agents) => write!(
                out,
                "these agents would be shut out, as they have no certificate of the new \
                 authority (--force does it all the same); run init-agent for each: {}",
                agents.join(", ")
            ),
        }
    }
}

impl std::error::Error for RotationError {}
