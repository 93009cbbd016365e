//! The client's side: ask for the service, sign, wait.

use super::super::ClientConfig;
use super::super::error::{Error, shown};
use super::super::names::{
    SSH_MSG_SERVICE_ACCEPT, SSH_MSG_SERVICE_REQUEST, SSH_MSG_USERAUTH_SUCCESS, SSH_USERAUTH,
};
use super::super::sender::Sender;
use super::super::wire::{Reader, put_string};
use super::{put_signed_request, service_name};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// Nothing is asked yet, or the service is.
    Service {
        /// The key was shown together with asking for the service.
        eager: bool,
    },
    /// The key was shown.
    Shown,
    /// It was accepted.
    Done,
}

impl ClientAuth {
    /// Nothing is asked yet.
    pub(crate) const fn new() -> ClientAuth {
        ClientAuth::Service { eager: false }
    }

    /// Asks for the service; an `eager` client shows its key in the same breath, which saves a
    /// round trip with a server that takes one message after the other, as ours does.
    pub(crate) fn start(
        &mut self,
        eager: bool,
        config: &ClientConfig,
        session_id: &[u8; 32],
        sender: &mut Sender,
    ) {
        sender.post(|out| {
            out.push(SSH_MSG_SERVICE_REQUEST);
            put_string(out, SSH_USERAUTH.as_bytes());
        });
        if eager {
            show_key(config, session_id, sender);
        }
        *self = ClientAuth::Service { eager };
    }

    pub(crate) fn accepted(
        &mut self,
        payload: &[u8],
        config: &ClientConfig,
        session_id: &[u8; 32],
        sender: &mut Sender,
    ) -> Result<(), Error> {
        let name = service_name(payload).map_err(Error::message(SSH_MSG_SERVICE_ACCEPT))?;
        if name != SSH_USERAUTH.as_bytes() {
            return Err(Error::Service(shown(name)));
        }
        if let ClientAuth::Service { eager: false } = self {
            show_key(config, session_id, sender);
        }
        *self = ClientAuth::Shown;
        Ok(())
    }

    pub(crate) fn succeeded(&mut self, payload: &[u8]) -> Result<(), Error> {
        Reader::new(&payload[1..]).finish().map_err(Error::message(SSH_MSG_USERAUTH_SUCCESS))?;
        *self = ClientAuth::Done;
        Ok(())
    }

    /// USERAUTH_FAILURE: there is no other key to try.
    pub(crate) fn failed(&self, payload: &[u8]) -> Error {
        let methods = Reader::new(&payload[1..]).string().map(shown).unwrap_or_default();
        Error::AuthRefused { methods }
    }
}

fn show_key(config: &ClientConfig, session_id: &[u8; 32], sender: &mut Sender) {
    let mut request = Vec::with_capacity(256);
    put_string(&mut request, session_id);
    let start = request.len();
    put_signed_request(&mut request, &config.user, &config.key.public().blob());
    let signature = config.key.sign(&request);
    sender.post(|out| {
        out.extend_from_slice(&request[start..]);
        put_string(out, &signature);
    });
}
