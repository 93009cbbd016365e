//! The sessions of one agent, sorted by id in one piece of memory.
//!
//! A tree's nodes are half empty where ids rise, and there is one for each agent. Here room for new
//! sessions is an eighth of what is there. A session that comes or goes moves those behind it: some
//! microseconds for the most that an agent may have.

use super::known::Entry;
use crate::base::uuid::Uuid;

#[derive(Debug, Default)]
pub(crate) struct Sessions {
    entries: Vec<(Uuid, Entry)>,
}

/// The least that the memory grows by, in entries.
const GROWTH_MIN: usize = 4;

impl Sessions {
    /// Adds a session or takes the place of one, which is returned.
    pub(crate) fn insert(&mut self, uuid: Uuid, entry: Entry) -> Option<Entry> {
        match self.find(uuid) {
            Ok(index) => Some(std::mem::replace(&mut self.entries[index].1, entry)),
            Err(index) => {
                if self.entries.len() == self.entries.capacity() {
                    self.entries.reserve_exact(GROWTH_MIN.max(self.entries.len() / 8));
                }
                self.entries.insert(index, (uuid, entry));
                None
            }
        }
    }

    /// Takes a session away.
    pub(crate) fn remove(&mut self, uuid: Uuid) -> Option<Entry> {
        let index = self.find(uuid).ok()?;
        let (_, entry) = self.entries.remove(index);
        if self.entries.len() < self.entries.capacity() / 2 {
            self.entries.shrink_to_fit();
        }
        Some(entry)
    }

    /// One session, to be changed.
    pub(crate) fn get_mut(&mut self, uuid: Uuid) -> Option<&mut Entry> {
        let index = self.find(uuid).ok()?;
        Some(&mut self.entries[index].1)
    }

    pub(crate) fn get(&self, uuid: Uuid) -> Option<&Entry> {
        Some(&self.entries[self.find(uuid).ok()?].1)
    }

    /// The first session behind `after`; the very first one if that is `None`.
    pub(crate) fn next_after(&self, after: Option<Uuid>) -> Option<(Uuid, &Entry)> {
        let index = match after.map(|uuid| self.find(uuid)) {
            None => 0,
            Some(Ok(index)) => index + 1,
            Some(Err(index)) => index,
        };
        self.entries.get(index).map(|(uuid, entry)| (*uuid, entry))
    }

    /// All of them, by rising id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Uuid, &Entry)> {
        self.entries.iter().map(|(uuid, entry)| (*uuid, entry))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn find(&self, uuid: Uuid) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&uuid, |(uuid, _)| *uuid)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::known::Shared;
    use super::*;
    use crate::base::rng::Rng;
    use crate::base::time::Wall;
    use crate::rpc::session::Session;

    fn uuid(number: u32) -> Uuid {
        Uuid::parse(&format!("{number:08x}-0000-4000-8000-000000000000")).unwrap()
    }

    fn entry(port: u16, shared: &mut Shared) -> Entry {
        let value = serde_json::json!({
            "uuid": uuid(0), "name": "n", "port": port,
            "created_at": Wall::default(), "last_accessed": Wall::default(),
        });
        let session: Session = serde_json::from_value(value).unwrap();
        Entry::new(session, shared)
    }

    fn port(entry: &Entry) -> u16 {
        entry.session(uuid(0)).port
    }

    #[test]
    fn it_does_what_a_tree_does() {
        let (mut rng, mut shared) = (Rng::from_seed([5; 32]), Shared::default());
        let (mut sessions, mut model) = (Sessions::default(), BTreeMap::new());
        for step in 0..20_000_u16 {
            let uuid = uuid(rng.below(if step < 10_000 { 300 } else { 30 }));
            if rng.below(3) > 0 {
                let had = sessions.insert(uuid, entry(step, &mut shared));
                assert_eq!(had.as_ref().map(port), model.insert(uuid, step));
            } else {
                assert_eq!(sessions.remove(uuid).as_ref().map(port), model.remove(&uuid));
            }
            let after = model.range((std::ops::Bound::Excluded(uuid), std::ops::Bound::Unbounded));
            let next = sessions.next_after(Some(uuid)).map(|(uuid, entry)| (uuid, port(entry)));
            assert_eq!(next, after.map(|(uuid, port)| (*uuid, *port)).next());
            assert_eq!(sessions.get(uuid).map(port), model.get(&uuid).copied());
        }
        let all: Vec<_> = sessions.iter().map(|(uuid, entry)| (uuid, port(entry))).collect();
        assert_eq!(all, model.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn little_memory_is_empty() {
        let (mut sessions, mut shared) = (Sessions::default(), Shared::default());
        for number in 0..1000 {
            sessions.insert(uuid(number), entry(1, &mut shared));
            let (len, held) = (sessions.len(), sessions.entries.capacity());
            assert!(held <= len + GROWTH_MIN.max(len / 8), "{held} for {len}");
        }
        for number in 0..1000 {
            sessions.remove(uuid(number));
            let (len, held) = (sessions.len(), sessions.entries.capacity());
            assert!(held <= 2 * len + 1, "{held} for {len}");
        }
    }
}
