//! A map that forgets what was not used for long, so that its bytes are bounded.
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// The bytes that an entry costs beside its own.
const ENTRY: usize = 128;

/// A bounded map. It has two halves: what is used is in the young one, and once that is full it becomes the old one, whose entries are forgotten.
#[derive(Debug)]
pub struct Cache<K, V> {
    young: HashMap<K, (V, usize)>,
    old: HashMap<K, (V, usize)>,
    /// The bytes of the young half.
    bytes: usize,
    most: usize,
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// Makes an empty map of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self {
            young: HashMap::new(),
            old: HashMap::new(),
            bytes: 0,
            most,
        }
    }

    /// Returns a value.
    pub fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        if let Some((value, _)) = self.young.get(key) {
            return Some(value.clone());
        }
        let (key, (value, size)) = self.old.remove_entry(key)?;
        self.put(key, value.clone(), size);
        Some(value)
    }

    /// Puts a value of `size` bytes in, unless it is larger than a half.
    pub fn insert(&mut self, key: K, value: V, size: usize) {
        self.remove(&key);
        self.put(key, value, size.saturating_add(ENTRY));
    }

    /// Removes a value.
    pub fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        if let Some((_, size)) = self.young.remove(key) {
            self.bytes -= size;
        }
        self.old.remove(key);
    }

    /// Removes all values.
    pub fn clear(&mut self) {
        (self.young, self.old, self.bytes) = (HashMap::new(), HashMap::new(), 0);
    }

    fn put(&mut self, key: K, value: V, size: usize) {
        let half = self.most / 2;
        if size > half {
            return;
        }
        if self.bytes + size > half {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes += size;
        self.young.insert(key, (value, size));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A step: get, insert with a size, or remove.
    fn steps() -> impl Strategy<Value = Vec<(u8, u8, usize)>> {
        prop::collection::vec((0..4_u8, 0..20_u8, 0..600_usize), 0..200)
    }

    proptest! {
        #[test]
        fn bytes_are_bounded_and_values_are_those_put_in(steps in steps()) {
            let mut cache = Cache::new(2_000);
            let mut known = HashMap::new();
            for (number, (act, key, size)) in steps.into_iter().enumerate() {
                match act {
                    0 | 1 => {
                        cache.insert(key, number, size);
                        known.insert(key, number);
                        prop_assert_eq!(cache.get(&key), Some(number), "the newest is there");
                    }
                    2 => {
                        let found = cache.get(&key);
                        prop_assert!(found.is_none() || found == known.get(&key).copied());
                    }
                    _ => {
                        cache.remove(&key);
                        known.remove(&key);
                        prop_assert_eq!(cache.get(&key), None);
                    }
                }
                let sum = |half: &HashMap<u8, (usize, usize)>| half.values().map(|(_, size)| size).sum::<usize>();
                prop_assert_eq!(sum(&cache.young), cache.bytes);
                prop_assert!(sum(&cache.young) + sum(&cache.old) <= 2_000);
                prop_assert!(cache.young.keys().all(|key| !cache.old.contains_key(key)));
            }
        }
    }

    #[test]
    fn used_entries_stay_and_large_ones_are_not_kept() {
        let mut cache = Cache::new(10 * (100 + ENTRY));
        for number in 0..100 {
            cache.insert(number, number, 100);
            assert_eq!(cache.get(&0), Some(0), "it is used again and again");
        }
        assert_eq!(cache.get(&1), None);
        cache.insert(0, 7, 11 * 100);
        assert_eq!(cache.get(&0), None, "an old value does not stay either");
        cache.insert(0, 7, 0);
        cache.clear();
        assert_eq!(cache.get(&0), None);
    }
}
