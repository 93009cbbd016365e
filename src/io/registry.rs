//! Who owns which descriptor: one table of keys for everything that a reactor watches.
//!
//! The owners are the program's own: an event comes under a key, and the key says which part it is
//! for. A key that was released says nothing, so an event that comes too late is nobody's.

use std::io;
use std::os::fd::AsFd;

use super::reactor::{Interests, Reactor};
use crate::base::slots::{Key, Slots};

/// The reactor and the owners of its keys.
#[derive(Debug)]
pub(crate) struct Registry<O> {
    pub(crate) reactor: Reactor,
    owners: Slots<O>,
    descriptors_max: usize,
}

impl<O: Copy> Registry<O> {
    /// Watches nothing yet, and at most `descriptors_max` things at once.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub(crate) fn new(descriptors_max: usize) -> io::Result<Registry<O>> {
        Ok(Registry {
            reactor: Reactor::new()?,
            owners: Slots::new(descriptors_max),
            descriptors_max,
        })
    }

    /// A key under which something of `owner` will be watched.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn reserve(&mut self, owner: O) -> io::Result<Key> {
        let full = |_| io::Error::other(format!("{} descriptors are in use", self.descriptors_max));
        self.owners.insert(owner).map_err(full)
    }

    /// Watches a stream, both ways.
    ///
    /// # Errors
    /// As [`Registry::watch_for`].
    pub(crate) fn watch(&mut self, source: &impl AsFd, owner: O) -> io::Result<Key> {
        self.watch_for(source, owner, Interests::Both)
    }

    /// Watches anything.
    ///
    /// # Errors
    /// When there are too many, or what [`Reactor::watch`] says.
    pub(crate) fn watch_for(
        &mut self,
        source: &impl AsFd,
        owner: O,
        interests: Interests,
    ) -> io::Result<Key> {
        let key = self.reserve(owner)?;
        match self.reactor.watch(source, key, interests) {
            Ok(_) => Ok(key),
            Err(error) => {
                self.owners.remove(key);
                Err(error)
            }
        }
    }

    /// Forgets a key. Its descriptors are closed by whoever holds them, which ends the watching.
    pub(crate) fn release(&mut self, key: Key) {
        self.owners.remove(key);
    }

    /// Whose a key is; `None` if it was released.
    pub(crate) fn owner(&self, key: Key) -> Option<O> {
        self.owners.get(key).copied()
    }
}
