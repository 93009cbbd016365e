//! The server's side.
//!
//! A request stands alone: nothing is kept from one to the next but their numbers, so a change of
//! user, service or key starts over by itself. A signature is verified before the owner is asked,
//! so the key that is authorised can only be the one that signed this very request.

use super::super::error::{Error, shown};
use super::super::keys::PublicKey;
use super::super::names::{
    PUBLICKEY, SSH_CONNECTION, SSH_ED25519, SSH_MSG_SERVICE_ACCEPT, SSH_MSG_SERVICE_REQUEST,
    SSH_MSG_USERAUTH_FAILURE, SSH_MSG_USERAUTH_PK_OK, SSH_MSG_USERAUTH_REQUEST,
    SSH_MSG_USERAUTH_SUCCESS, SSH_USERAUTH,
};
use super::super::sender::Sender;
use super::super::wire::{Reader, WireError, put_boolean, put_name_list, put_string};
use super::service_name;
use crate::limits;

#[derive(Debug)]
pub(crate) enum ServerAuth {
    /// The service is not asked for yet.
    Service,
    /// A request is waited for.
    Waiting(Attempts),
    /// The owner is asked about an offer, which is among the attempts already.
    Deciding(Attempts, Offer),
    /// Somebody is authenticated.
    Done,
}

/// Requests so far. A client asks once for each key of its agent whether that would be of use; that
/// is no try to get in, and has a bound of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempts {
    probes: u32,
    /// All others: signed requests, and other methods.
    tries: u32,
}

/// What a request counts as.
#[derive(Clone, Copy)]
enum Kind {
    Probe,
    Try,
}

impl Attempts {
    /// Whether there was a request.
    pub(crate) fn is_any(self) -> bool {
        self.probes + self.tries > 0
    }

    fn count(&mut self, kind: Kind) -> Result<(), Error> {
        match kind {
            Kind::Probe => self.probes += 1,
            Kind::Try => self.tries += 1,
        }
        let is_over =
            self.probes > limits::SSH_AUTH_PROBES_MAX || self.tries > limits::SSH_AUTH_ATTEMPTS_MAX;
        if is_over { Err(Error::AuthAttempts) } else { Ok(()) }
    }
}

/// A key that a client wants to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Who it wants to be.
    pub(crate) user: String,
    pub(crate) key: PublicKey,
    proof: Proof,
}

/// How far a client has shown that the key is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// It asks whether a signature would be of use (RFC 4252 §7).
    Probe,
    /// It has signed this request, and the signature verified.
    Signed,
}

impl ServerAuth {
    pub(crate) fn service(&mut self, payload: &[u8], sender: &mut Sender) -> Result<(), Error> {
        let name = service_name(payload).map_err(Error::message(SSH_MSG_SERVICE_REQUEST))?;
        if name != SSH_USERAUTH.as_bytes() {
            return Err(Error::Service(shown(name)));
        }
        sender.post(|out| {
            out.push(SSH_MSG_SERVICE_ACCEPT);
            put_string(out, SSH_USERAUTH.as_bytes());
        });
        if let ServerAuth::Service = self {
            *self = ServerAuth::Waiting(Attempts::default());
        }
        Ok(())
    }

    /// USERAUTH_REQUEST. Returns the offer that the owner is to decide about.
    pub(crate) fn request(
        &mut self,
        payload: &[u8],
        session_id: &[u8; 32],
        sender: &mut Sender,
    ) -> Result<Option<&Offer>, Error> {
        let ServerAuth::Waiting(mut attempts) = *self else { return Ok(None) };
        let request = parse_request(payload, session_id);
        let (kind, offer) = request.map_err(Error::message(SSH_MSG_USERAUTH_REQUEST))?;
        attempts.count(kind)?;
        let Some(offer) = offer else {
            *self = ServerAuth::Waiting(attempts);
            refuse(attempts, sender)?;
            return Ok(None);
        };
        *self = ServerAuth::Deciding(attempts, offer);
        match self {
            ServerAuth::Deciding(_, offer) => Ok(Some(offer)),
            _ => Ok(None),
        }
    }

    /// The owner's answer. Returns the key that is authenticated now, if that is what happened.
    pub(crate) fn decide(
        &mut self,
        accepted: bool,
        sender: &mut Sender,
    ) -> Result<Option<PublicKey>, Error> {
        let ServerAuth::Deciding(attempts, offer) = std::mem::replace(self, ServerAuth::Done)
        else {
            unreachable!("the caller has seen that an offer is undecided")
        };
        *self = ServerAuth::Waiting(attempts);
        match (accepted, offer.proof) {
            (false, _) => {
                refuse(attempts, sender)?;
                Ok(None)
            }
            (true, Proof::Probe) => {
                sender.post(|out| {
                    out.push(SSH_MSG_USERAUTH_PK_OK);
                    put_string(out, SSH_ED25519.as_bytes());
                    put_string(out, &offer.key.blob());
                });
                Ok(None)
            }
            (true, Proof::Signed) => {
                *self = ServerAuth::Done;
                sender.post(|out| out.push(SSH_MSG_USERAUTH_SUCCESS));
                Ok(Some(offer.key))
            }
        }
    }
}

/// USERAUTH_FAILURE, or the end after the last attempt.
fn refuse(attempts: Attempts, sender: &mut Sender) -> Result<(), Error> {
    if attempts.tries >= limits::SSH_AUTH_ATTEMPTS_MAX {
        return Err(Error::AuthAttempts);
    }
    sender.post(|out| {
        out.push(SSH_MSG_USERAUTH_FAILURE);
        put_name_list(out, &[PUBLICKEY]);
        put_boolean(out, false);
    });
    Ok(())
}

/// Reads a request. Without an offer it is an attempt that fails; an error is a message that cannot
/// be read.
fn parse_request(
    payload: &[u8],
    session_id: &[u8; 32],
) -> Result<(Kind, Option<Offer>), WireError> {
    let mut reader = Reader::new(&payload[1..]);
    let (user, service, method) = (reader.text()?, reader.string()?, reader.string()?);
    if service != SSH_CONNECTION.as_bytes()
        || method != PUBLICKEY.as_bytes()
        || user.len() > limits::SSH_USER_BYTES_MAX
    {
        return Ok((Kind::Try, None)); // what another method puts behind its name is its own
    }
    let (signed, algorithm, blob) = (reader.boolean()?, reader.string()?, reader.string()?);
    let key = PublicKey::from_blob(blob).ok().filter(|_| algorithm == SSH_ED25519.as_bytes());
    if !signed {
        reader.finish()?;
        let offer = key.map(|key| Offer { user: user.to_owned(), key, proof: Proof::Probe });
        return Ok((Kind::Probe, offer));
    }
    let request = &payload[..payload.len() - reader.clone().rest().len()];
    let signature = reader.string()?;
    reader.finish()?;
    let Some(key) = key else { return Ok((Kind::Try, None)) };
    let mut message = Vec::with_capacity(session_id.len() + 4 + request.len());
    put_string(&mut message, session_id);
    message.extend_from_slice(request);
    let is_proved = key.verify(&message, signature).is_ok();
    let offer = is_proved.then(|| Offer { user: user.to_owned(), key, proof: Proof::Signed });
    Ok((Kind::Try, offer))
}
