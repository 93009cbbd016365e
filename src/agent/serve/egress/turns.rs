//! Whose turn it is: sessions one after the other, and of each its connections one after the other,
//! so that one session's thousand connections take no more than another's single one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::base::slots::Key;
use crate::base::uuid::Uuid;

/// Connections that may go on.
#[derive(Debug, Default)]
pub(super) struct Turns {
    sessions: VecDeque<Uuid>,
    waiting: BTreeMap<Uuid, VecDeque<Key>>,
    members: BTreeSet<(Uuid, Key)>,
}

impl Turns {
    /// It may go on; a second time is the same.
    pub(super) fn insert(&mut self, (session, connection): (Uuid, Key)) {
        if !self.members.insert((session, connection)) {
            return;
        }
        let waiting = self.waiting.entry(session).or_default();
        if waiting.is_empty() {
            self.sessions.push_back(session);
        }
        waiting.push_back(connection);
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<(Uuid, Key)> {
        let session = self.sessions.pop_front()?;
        let waiting = self.waiting.get_mut(&session)?;
        let connection = waiting.pop_front()?;
        match waiting.is_empty() {
            true => drop(self.waiting.remove(&session)),
            false => self.sessions.push_back(session),
        }
        self.members.remove(&(session, connection));
        Some((session, connection))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_take_turns_however_many_connections_they_have() {
        let id =
            |number| Uuid::parse(&format!("0123456{number}-89ab-4def-8123-456789abcdef")).unwrap();
        let mut turns = Turns::default();
        (0..9).for_each(|key| turns.insert((id(1), Key::from_bits(key))));
        turns.insert((id(2), Key::from_bits(100)));
        turns.insert((id(2), Key::from_bits(100)));
        let order: Vec<u64> =
            std::iter::from_fn(|| turns.pop()).map(|(_, it)| it.to_bits()).collect();
        assert_eq!(order, [0, 100, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(turns.is_empty() && turns.members.is_empty() && turns.waiting.is_empty());
    }
}
