//! Names to values, in parts that are shared: a copy that differs in a few names costs a few parts, not all of them.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Values by name. Cloning clones a pointer for each part.
#[derive(Clone, Debug)]
pub(crate) struct Names<V> {
    hasher: RandomState,
    /// A power of two of them.
    parts: Box<[Part<V>]>,
}

type Part<V> = Arc<HashTable<(Box<str>, V)>>;

/// How many names a part has, about, when a map is made.
const PER_PART: usize = 32;
/// More parts than this cost as much to copy as they save.
const MOST_PARTS: usize = 1024;

impl<V> Names<V> {
    /// An empty map that expects so many names.
    pub(crate) fn expecting(count: usize) -> Self {
        let parts = (count / PER_PART).next_power_of_two().min(MOST_PARTS);
        Self { hasher: RandomState::new(), parts: (0..parts).map(|_| Arc::default()).collect() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.iter().all(|part| part.is_empty())
    }

    /// The table takes its place from the lowest bits and its tags from the highest: parts are told apart by those between.
    fn part(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.parts.len() - 1)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        let hash = self.hasher.hash_one(name);
        self.parts[self.part(hash)].find(hash, |(other, _)| **other == *name).map(|(_, value)| value)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(|part| part.iter()).map(|(_, value)| value)
    }
}

impl<V: Clone> Names<V> {
    /// The value of a name; made by `new` when there is none.
    pub(crate) fn entry(&mut self, name: &str, new: impl FnOnce() -> V) -> &mut V {
        let hash = self.hasher.hash_one(name);
        let (part, hasher) = (self.part(hash), &self.hasher);
        let table = Arc::make_mut(&mut self.parts[part]);
        let found = table.entry(hash, |(other, _)| **other == *name, |(other, _)| hasher.hash_one(&**other));
        let occupied = match found {
            Entry::Occupied(there) => there,
            Entry::Vacant(free) => free.insert((name.into(), new())),
        };
        &mut occupied.into_mut().1
    }

    pub(crate) fn remove(&mut self, name: &str) {
        let hash = self.hasher.hash_one(name);
        let part = self.part(hash);
        if let Ok(there) = Arc::make_mut(&mut self.parts[part]).find_entry(hash, |(other, _)| **other == *name) {
            there.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_its_own_names_and_shares_the_rest() {
        let mut first = Names::expecting(1000);
        for n in 0..1000 {
            first.entry(&n.to_string(), || n);
        }
        let mut second = first.clone();
        second.remove("7");
        *second.entry("8", || 0) = 800;
        second.entry("new", || 5);
        assert_eq!((first.get("7"), first.get("8"), first.get("new")), (Some(&7), Some(&8), None));
        assert_eq!((second.get("7"), second.get("8"), second.get("new")), (None, Some(&800), Some(&5)));
        assert!((0..1000).filter(|n| *n != 7 && *n != 8).all(|n| second.get(&n.to_string()) == Some(&n)));
        let shared = first.parts.iter().zip(&second.parts).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(first.parts.len(), 32);
        assert!(shared >= 29, "{shared} of 32 parts are shared");
        assert_eq!(second.values().count(), 1000);
    }
}
