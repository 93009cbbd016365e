//! An agent's name to machines: 12 characters of an alphabet without look-alikes.

use std::fmt;

use crate::base::rng::Rng;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(String);

/// Characters of an agent id.
pub(crate) const AGENT_ID_CHARS: usize = 12;
/// What an agent id is made of.
const ALPHABET: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";

/// The text is not an agent id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnAgentId(String);

impl fmt::Display for NotAnAgentId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, alphabet) = (&self.0, String::from_utf8_lossy(ALPHABET));
        write!(out, "{text:?} is not an agent id: {AGENT_ID_CHARS} characters of {alphabet}")
    }
}

impl std::error::Error for NotAnAgentId {}

impl AgentId {
    /// A fresh one, made once per agent host.
    pub(crate) fn random(rng: &mut Rng) -> AgentId {
        let count = u32::try_from(ALPHABET.len()).expect("an alphabet is short");
        let pick = |_| char::from(ALPHABET[rng.below(count) as usize]);
        AgentId((0..AGENT_ID_CHARS).map(pick).collect())
    }

    /// Checks an id, before any path is built from it.
    ///
    /// # Errors
    /// [`NotAnAgentId`], which shows at most the first 40 characters of the text.
    pub fn parse(text: &str) -> Result<AgentId, NotAnAgentId> {
        let fits = text.len() == AGENT_ID_CHARS && text.bytes().all(|it| ALPHABET.contains(&it));
        if !fits {
            return Err(NotAnAgentId(text.chars().take(40).collect()));
        }
        Ok(AgentId(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ones_are_ids_and_nothing_else_is() {
        let mut rng = Rng::from_seed([5; 32]);
        for _ in 0..100 {
            let id = AgentId::random(&mut rng);
            assert_eq!(AgentId::parse(id.as_str()), Ok(id));
        }
        for text in
            ["", "abcdefghjkm", "abcdefghjkmnp", "abcdefghjkm1", "../../../etc", "ABCDEFGHJKMN"]
        {
            assert!(AgentId::parse(text).is_err(), "{text}");
        }
    }
}
