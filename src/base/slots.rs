//! A table whose keys stop working when their entry is gone.
//!
//! An entry's index is used again, but with a new generation, so a key that was kept too long finds
//! nothing instead of somebody else's entry. Poll tokens, channel and request ids are such keys. An
//! empty table holds no memory: when the last entry goes, what a crowd has taken is given back.

/// Names one entry of a [`Slots`] for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The key as one number, for places that carry only a number (poll tokens).
    pub const fn to_bits(self) -> u64 {
        ((self.generation as u64) << 32) | self.index as u64
    }

    /// The key that [`Key::to_bits`] was called on.
    #[expect(clippy::cast_possible_truncation, reason = "each half is cut out on purpose")]
    pub const fn from_bits(bits: u64) -> Key {
        Key { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// Up to `limit` entries, found by [`Key`] in constant time.
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    limit: usize,
    /// Of the next entry that is put in.
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    /// An empty table for at most `limit` entries.
    pub const fn new(limit: usize) -> Slots<T> {
        Slots { entries: Vec::new(), free: Vec::new(), limit, generation: 0 }
    }

    /// Puts `value` in, or gives it back if the table is full.
    ///
    /// # Errors
    /// The value itself, when `limit` entries are there.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        if self.is_full() {
            return Err(value);
        }
        let generation = self.generation;
        let index = match self.free.pop() {
            Some(index) => index,
            None => match u32::try_from(self.entries.len()) {
                Ok(next) => {
                    self.entries.push(Entry { generation, value: None });
                    next
                }
                Err(_) => return Err(value),
            },
        };
        self.entries[index as usize] = Entry { generation, value: Some(value) };
        self.generation = generation.wrapping_add(1);
        Ok(Key { index, generation })
    }

    /// Takes the entry out; its key finds nothing from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entry_mut(key)?;
        let value = entry.value.take()?;
        self.free.push(key.index);
        if self.is_empty() {
            self.entries = Vec::new();
            self.free = Vec::new();
        }
        Some(value)
    }

    /// The entry, if it is still there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entry_mut(key)?.value.as_mut()
    }

    /// The entry, if it is still there.
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.index as usize)?;
        entry.value.as_ref().filter(|_| entry.generation == key.generation)
    }

    /// Every entry with its key, by index.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        (0_u32..).zip(&self.entries).filter_map(|(index, entry)| {
            Some((Key { index, generation: entry.generation }, entry.value.as_ref()?))
        })
    }

    /// Every entry with its key, by index, for changing.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        (0_u32..).zip(&mut self.entries).filter_map(|(index, entry)| {
            Some((Key { index, generation: entry.generation }, entry.value.as_mut()?))
        })
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no further entry would be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    fn entry_mut(&mut self, key: Key) -> Option<&mut Entry<T>> {
        let entry = self.entries.get_mut(key.index as usize)?;
        (entry.generation == key.generation).then_some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_finds_nothing() {
        let mut slots = Slots::new(4);
        let old = slots.insert("old").expect("there is room");
        assert_eq!(slots.remove(old), Some("old"));
        let new = slots.insert("new").expect("there is room");
        assert_ne!(old, new);
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(new), Some(&"new"));
    }

    #[test]
    fn a_full_table_gives_the_value_back() {
        let mut slots = Slots::new(2);
        let first = slots.insert(1).expect("there is room");
        slots.insert(2).expect("there is room");
        assert_eq!(slots.insert(3), Err(3));
        slots.remove(first);
        assert!(slots.insert(3).is_ok());
        assert_eq!(slots.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(slots.len(), 2);
    }

    #[test]
    fn an_empty_table_holds_no_memory_and_knows_no_old_key() {
        let mut slots = Slots::new(1000);
        let keys: Vec<Key> = (0..1000).map(|n| slots.insert(n).expect("there is room")).collect();
        for &key in &keys {
            assert!(slots.remove(key).is_some());
        }
        assert_eq!((slots.entries.capacity(), slots.free.capacity()), (0, 0));
        let new = slots.insert(1).expect("there is room");
        assert!(!keys.contains(&new));
        assert_eq!(slots.get(keys[0]), None);
    }

    #[test]
    fn a_key_survives_as_a_number() {
        let key = Key { index: 7, generation: u32::MAX };
        assert_eq!(Key::from_bits(key.to_bits()), key);
    }
}
