//! Takes an agent out of the cluster: first its host, if that can be reached, then this shell host.
//!
//! ```text
//! agent's host: nobody drives it -> shell host: nobody knows it
//! ```

use serde::{Deserialize, Serialize};

use super::{WorkflowError, block_signals, connect};
use crate::fleet::run::load;
use crate::paths::Paths;
use crate::provision::openssh::Target;
use crate::provision::remote::RemoteError;
use crate::provision::remote::event::{HostEvent, Tell};
use crate::provision::remote::programs::Programs;
use crate::rpc::agent_id::AgentId;

/// To `convocate-host remove-agent --request` on the agent's host.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RemoveRequest {
    pub(crate) check: bool,
}

/// An agent that leaves.
#[derive(Debug)]
pub(crate) struct LeavingAgent {
    pub(crate) id: AgentId,
    /// Where it is dialled, if that is known.
    host: Option<String>,
    /// Another agent of that host: it was installed anew, and what is there is that one's.
    other: Option<AgentId>,
}

impl LeavingAgent {
    /// Who is meant: also an agent whose entry is broken, or gone by a call before.
    pub(crate) fn find(paths: &Paths, text: &str) -> Result<LeavingAgent, WorkflowError> {
        let registry = load(paths).map_err(WorkflowError::Failed)?;
        match (registry.find(text), AgentId::parse(text)) {
            (Ok(known), _) => {
                let host = known.host();
                let mut others = registry.agents.iter().filter(|it| it.id != known.id);
                let other = others.find(|it| it.host() == host).map(|it| it.id.clone());
                Ok(LeavingAgent { id: known.id.clone(), host: Some(host), other })
            }
            (Err(_), Ok(id)) => Ok(LeavingAgent { id, host: None, other: None }),
            (Err(why), Err(_)) => Err(WorkflowError::Failed(why)),
        }
    }

    /// Has its host leave, reached as `host` if that is given. What cannot be done is reported and
    /// no error: nothing of it is let in any more.
    ///
    /// # Errors
    /// [`WorkflowError::NobodyListens`], or when the operator ends it.
    pub(crate) fn leave_there(
        &self,
        (host, user): (Option<&str>, Option<&str>),
        programs: &Programs,
        check: bool,
        tell: &mut Tell<'_>,
    ) -> Result<(), WorkflowError> {
        let Some(host) = host.or(self.host.as_deref()) else {
            let text = "nothing is known of its host: it is left as it is";
            let _heard = tell(self.id.as_str(), HostEvent::Note(text.to_owned()));
            return Ok(());
        };
        if let Some(other) = &self.other {
            let text = format!("agent {other} is known there, too: the host is left as it is");
            let _heard = tell(host, HostEvent::Note(text));
            return Ok(());
        }
        let target = match Target::new(host, user) {
            Ok(target) => target,
            Err(why) => {
                let _heard = tell(host, HostEvent::Note(left_there(&why)));
                return Ok(());
            }
        };
        let interrupts = block_signals()?;
        let request = RemoveRequest { check };
        let done = connect(target, programs, &interrupts)
            .and_then(|mut there| there.run("remove-agent --request", &request, &[], tell));
        let why = match done {
            Ok(report) => report.check().err(),
            Err(error) => match error.error {
                RemoteError::Interrupted | RemoteError::NobodyListens => return Err(error.into()),
                _ => Some(error.text()),
            },
        };
        if let Some(why) = why {
            let _heard = tell(host, HostEvent::Note(left_there(&why)));
        }
        Ok(())
    }
}

fn left_there(why: &str) -> String {
    format!(
        "{why}; left there: convocate-agent with its shell host's key, the certificate and \
         forwarding of its logs, the rule for 222/tcp. Nothing of it is let in here any more; \
         once the host is back, on it: convocate-host uninstall"
    )
}
