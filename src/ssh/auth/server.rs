//! The server's side.
//!
//! A request stands alone: nothing is kept from one to the next but their number, so a change of
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
    Waiting {
        /// Requests so far, of whatever kind.
        attempts: u32,
    },
    /// The owner is asked about an offer.
    Deciding {
        /// Requests so far, this one included.
        attempts: u32,
        offer: Offer,
    },
    /// Somebody is authenticated.
    Done,
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
            *self = ServerAuth::Waiting { attempts: 0 };
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
        let ServerAuth::Waiting { attempts } = self else { return Ok(None) };
        *attempts += 1;
        if *attempts > limits::SSH_AUTH_ATTEMPTS_MAX {
            return Err(Error::AuthAttempts);
        }
        let attempts = *attempts;
        let offer = parse_request(payload, session_id);
        let Some(offer) = offer.map_err(Error::message(SSH_MSG_USERAUTH_REQUEST))? else {
            refuse(attempts, sender)?;
            return Ok(None);
        };
        *self = ServerAuth::Deciding { attempts, offer };
        match self {
            ServerAuth::Deciding { offer, .. } => Ok(Some(offer)),
            _ => Ok(None),
        }
    }

    /// The owner's answer. Returns the key that is authenticated now, if that is what happened.
    pub(crate) fn decide(
        &mut self,
        accepted: bool,
        sender: &mut Sender,
    ) -> Result<Option<PublicKey>, Error> {
        let ServerAuth::Deciding { attempts, offer } = std::mem::replace(self, ServerAuth::Done)
        else {
            unreachable!("the caller has seen that an offer is undecided")
        };
        *self = ServerAuth::Waiting { attempts };
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
fn refuse(attempts: u32, sender: &mut Sender) -> Result<(), Error> {
    if attempts >= limits::SSH_AUTH_ATTEMPTS_MAX {
        return Err(Error::AuthAttempts);
    }
    sender.post(|out| {
        out.push(SSH_MSG_USERAUTH_FAILURE);
        put_name_list(out, &[PUBLICKEY]);
        put_boolean(out, false);
    });
    Ok(())
}

/// Reads a request. `None` is an attempt that fails; an error is a message that cannot be read.
fn parse_request(payload: &[u8], session_id: &[u8; 32]) -> Result<Option<Offer>, WireError> {
    let mut reader = Reader::new(&payload[1..]);
    let (user, service, method) = (reader.text()?, reader.string()?, reader.string()?);
    if service != SSH_CONNECTION.as_bytes()
        || method != PUBLICKEY.as_bytes()
        || user.len() > limits::SSH_USER_BYTES_MAX
    {
        return Ok(None); // what another method puts behind its name is its own
    }
    let (signed, algorithm, blob) = (reader.boolean()?, reader.string()?, reader.string()?);
    let key = PublicKey::from_blob(blob).ok().filter(|_| algorithm == SSH_ED25519.as_bytes());
    if !signed {
        reader.finish()?;
        let user = user.to_owned();
        return Ok(key.map(|key| Offer { user, key, proof: Proof::Probe }));
    }
    let request = &payload[..payload.len() - reader.clone().rest().len()];
    let signature = reader.string()?;
    reader.finish()?;
    let Some(key) = key else { return Ok(None) };
    let mut message = Vec::with_capacity(session_id.len() + 4 + request.len());
    put_string(&mut message, session_id);
    message.extend_from_slice(request);
    if key.verify(&message, signature).is_err() {
        return Ok(None);
    }
    Ok(Some(Offer { user: user.to_owned(), key, proof: Proof::Signed }))
}
