//! One open-addressing table: linear probing, removal by shifting back, so that it never fills with tombstones.

/// A table of IDs and when they expire, in seconds.
#[derive(Debug, Default)]
pub(super) struct Segment {
    keys: Box<[u128]>,
    /// Expiry of the ID in the same place; 0 is a free slot. Apart from the keys, so that looking for the soonest reads 4 bytes an ID.
    until: Box<[u32]>,
    len: usize,
    hand: usize,
}

impl Segment {
    /// Bytes of a slot.
    pub(super) const SLOT: usize = size_of::<u128>() + size_of::<u32>();

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn capacity(&self) -> usize {
        self.until.len()
    }

    pub(super) fn has(&self, key: u128) -> bool {
        self.until(key).is_some()
    }

    /// When `key` expires, if it is here.
    pub(super) fn until(&self, key: u128) -> Option<u32> {
        let slot = self.find(key).ok()?;
        self.until.get(slot).copied()
    }

    /// Adds `key`, or gives it a new expiry.
    pub(super) fn insert(&mut self, key: u128, until: u32, now: u32) {
        let mut place = self.find(key);
        if place.is_err() && (self.len + 1) * 8 > self.capacity() * 7 {
            self.make_room(now);
            place = self.find(key);
        }
        let (Ok(slot) | Err(Some(slot))) = place else { return };
        if place.is_err() {
            self.len += 1;
        }
        self.put(slot, key, until);
    }

    /// Looks at the next `steps` slots, once round at most, and frees what has expired. Gives memory back after a round if much is free.
    pub(super) fn sweep(&mut self, now: u32, steps: usize) {
        for _ in 0..steps.min(self.capacity()) {
            match self.until.get(self.hand) {
                Some(0) => self.hand += 1,
                Some(until) if *until <= now => self.remove(self.hand),
                Some(_) => self.hand += 1,
                None => {
                    self.hand = 0;
                    if self.len * 2 < self.capacity() && self.capacity() > 64 {
                        self.rebuild(self.len * 4 / 3 + 8, now);
                    }
                }
            }
        }
    }

    /// Takes out the ID that expires first.
    pub(super) fn remove_soonest(&mut self) -> Option<(u128, u32)> {
        let taken = self.until.iter().enumerate().filter(|(_, until)| **until > 0);
        let (slot, until) = taken.min_by_key(|(_, until)| **until).map(|(slot, until)| (slot, *until))?;
        let key = self.keys.get(slot).copied()?;
        self.remove(slot);
        Some((key, until))
    }

    /// The slot of `key`, or the free one where it would go; none in a table without slots.
    fn find(&self, key: u128) -> Result<usize, Option<usize>> {
        let home = self.home(key);
        for slot in (home..self.capacity()).chain(0..home) {
            match self.until.get(slot) {
                Some(0) => return Err(Some(slot)),
                Some(_) if self.keys.get(slot) == Some(&key) => return Ok(slot),
                Some(_) | None => {}
            }
        }
        Err(None)
    }

    /// Where probing for `key` begins: its low 64 bits, scaled to the table.
    fn home(&self, key: u128) -> usize {
        let low = key & u128::from(u64::MAX);
        usize::try_from((low * self.capacity() as u128) >> 64).unwrap_or(0)
    }

    fn put(&mut self, slot: usize, key: u128, until: u32) {
        if let (Some(place), Some(expiry)) = (self.keys.get_mut(slot), self.until.get_mut(slot)) {
            *place = key;
            *expiry = until;
        }
    }

    /// Frees `slot` and moves back what had to probe past it.
    fn remove(&mut self, slot: usize) {
        let capacity = self.capacity();
        let distance = |from: usize, to: usize| if to >= from { to - from } else { to + capacity - from };
        let (mut hole, mut next) = (slot, slot);
        loop {
            next = if next + 1 == capacity { 0 } else { next + 1 };
            let (Some(&key), Some(&until)) = (self.keys.get(next), self.until.get(next)) else { break };
            if until == 0 || next == slot {
                break;
            }
            if distance(self.home(key), next) >= distance(hole, next) {
                self.put(hole, key, until);
                hole = next;
            }
        }
        self.put(hole, 0, 0);
        self.len -= 1;
    }

    /// Drops what has expired; if that was little, grows by 15 %.
    fn make_room(&mut self, now: u32) {
        let live = self.until.iter().filter(|until| **until > now).count();
        let grown = if live * 4 > self.capacity() * 3 || self.capacity() == 0 { self.capacity() * 23 / 20 + 8 } else { self.capacity() };
        self.rebuild(grown, now);
    }

    fn rebuild(&mut self, capacity: usize, now: u32) {
        let next = Self { keys: vec![0; capacity].into(), until: vec![0; capacity].into(), len: 0, hand: 0 };
        let old = std::mem::replace(self, next);
        for (key, until) in old.keys.into_iter().zip(old.until).filter(|(_, until)| *until > now) {
            if let Err(Some(slot)) = self.find(key) {
                self.put(slot, key, until);
                self.len += 1;
            }
        }
    }
}
