//! One open-addressing table: linear probing, removal by shifting back, so that it never fills with tombstones.
//!
//! Its slots lie in chunks of one size. Tables that grow a little and often would leave an allocator holes of every size that fit no other;
//! chunks leave none, so that resident memory is what is counted.

/// Slots of a chunk.
const CHUNK: usize = 32;
/// Chunks among whose IDs the one to forget is searched.
const SAMPLE: usize = 16;

/// Some slots. Expiry 0 is a free one; apart from the keys, so that a search reads 4 bytes an ID.
#[derive(Debug)]
struct Chunk {
    keys: [u128; CHUNK],
    until: [u32; CHUNK],
}

/// A table of IDs and when they expire, in seconds.
#[derive(Debug, Default)]
pub(super) struct Segment {
    #[expect(
        clippy::vec_box,
        reason = "the chunks stay where they are when one is added"
    )]
    chunks: Vec<Box<Chunk>>,
    len: usize,
    hand: usize,
}

impl Segment {
    /// Bytes of memory that `slots` slots take.
    pub(super) fn bytes(slots: usize) -> usize {
        slots / CHUNK * (size_of::<Chunk>() + size_of::<Box<Chunk>>())
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn capacity(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    pub(super) fn has(&self, key: u128) -> bool {
        self.until(key).is_some()
    }

    /// Returns the expiry of `key`, if it is here.
    pub(super) fn until(&self, key: u128) -> Option<u32> {
        let slot = self.find(key).ok()?;
        self.expiry(slot)
    }

    /// Adds `key`, or gives it a new expiry.
    pub(super) fn insert(&mut self, key: u128, until: u32, now: u32) {
        let mut index = self.find(key);
        if index.is_err() && (self.len + 1) * 8 > self.capacity() * 7 {
            self.make_room(now);
            index = self.find(key);
        }
        let (Ok(slot) | Err(Some(slot))) = index else {
            return;
        };
        if index.is_err() {
            self.len += 1;
        }
        self.put(slot, key, until);
    }

    /// Looks at the next `steps` slots, once round at most, and frees what has expired. Gives memory back after a round if much is free.
    pub(super) fn sweep(&mut self, now: u32, steps: usize) {
        for _ in 0..steps.min(self.capacity()) {
            match self.expiry(self.hand) {
                Some(until) if until > 0 && until <= now => self.remove(self.hand),
                Some(_) => self.hand += 1,
                None => {
                    self.hand = 0;
                    if self.len * 2 < self.capacity() && self.capacity() > CHUNK {
                        self.rebuild(self.len * 4 / 3, now);
                    }
                }
            }
        }
    }

    /// Takes `key` out, if it is there.
    pub(super) fn forget(&mut self, key: u128) {
        if let Ok(slot) = self.find(key) {
            self.remove(slot);
        }
    }

    /// Takes out the ID that expires first of those in the next few chunks, or of the first chunk after them that has any.
    pub(super) fn remove_soonest(&mut self) -> Option<(u128, u32)> {
        let (all, first) = (self.chunks.len(), self.hand / CHUNK);
        let soonest = |index: &usize| {
            // One less, so that a free slot comes last.
            let until = self
                .chunks
                .get(*index)?
                .until
                .iter()
                .map(|until| until.wrapping_sub(1))
                .min()?;
            (until != u32::MAX).then_some((until.wrapping_add(1), *index))
        };
        let order: Vec<usize> = (first..all).chain(0..first.min(all)).collect();
        let (sample, rest) = order.split_at(SAMPLE.min(all));
        let (until, index) = sample
            .iter()
            .filter_map(soonest)
            .min()
            .or_else(|| rest.iter().find_map(soonest))?;
        let chunk = self.chunks.get(index)?;
        let position = chunk.until.iter().position(|other| *other == until)?;
        let key = chunk.keys.get(position).copied()?;
        self.remove(index * CHUNK + position);
        Some((key, until))
    }

    /// Finds the slot of `key`, or else the free slot where it would go; none in a table without slots.
    fn find(&self, key: u128) -> Result<usize, Option<usize>> {
        let home = self.home(key);
        for slot in (home..self.capacity()).chain(0..home) {
            match self.expiry(slot) {
                Some(0) => return Err(Some(slot)),
                Some(_) if self.key(slot) == Some(key) => return Ok(slot),
                Some(_) | None => {}
            }
        }
        Err(None)
    }

    /// Returns the slot at which probing for `key` begins: its low 64 bits, scaled to the table.
    fn home(&self, key: u128) -> usize {
        let low = key & u128::from(u64::MAX);
        usize::try_from((low * self.capacity() as u128) >> 64).unwrap_or(0)
    }

    fn key(&self, slot: usize) -> Option<u128> {
        self.chunks
            .get(slot / CHUNK)?
            .keys
            .get(slot % CHUNK)
            .copied()
    }

    /// Returns the expiry in a slot: 0 if it is free, none past the last.
    fn expiry(&self, slot: usize) -> Option<u32> {
        self.chunks
            .get(slot / CHUNK)?
            .until
            .get(slot % CHUNK)
            .copied()
    }

    fn put(&mut self, slot: usize, key: u128, until: u32) {
        let Some(chunk) = self.chunks.get_mut(slot / CHUNK) else {
            return;
        };
        if let (Some(slot), Some(expiry)) = (
            chunk.keys.get_mut(slot % CHUNK),
            chunk.until.get_mut(slot % CHUNK),
        ) {
            *slot = key;
            *expiry = until;
        }
    }

    /// Frees `slot` and moves back what had to probe past it.
    fn remove(&mut self, slot: usize) {
        let capacity = self.capacity();
        let distance = |from: usize, to: usize| {
            if to >= from {
                to - from
            } else {
                to + capacity - from
            }
        };
        let (mut hole, mut next) = (slot, slot);
        loop {
            next = if next + 1 == capacity { 0 } else { next + 1 };
            let (Some(key), Some(until)) = (self.key(next), self.expiry(next)) else {
                break;
            };
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

    /// Drops what has expired; if that was little, grows by 8 %.
    fn make_room(&mut self, now: u32) {
        let live = self
            .chunks
            .iter()
            .flat_map(|chunk| &chunk.until)
            .filter(|until| **until > now)
            .count();
        let capacity = self.capacity();
        self.rebuild(
            if live * 5 >= capacity * 4 {
                capacity * 27 / 25 + 1
            } else {
                capacity
            },
            now,
        );
    }

    /// Moves all entries that have not expired into a table of `slots` slots, rounded up to chunks.
    fn rebuild(&mut self, slots: usize, now: u32) {
        let mut live = Vec::with_capacity(self.len);
        for chunk in &mut self.chunks {
            live.extend(
                chunk
                    .keys
                    .into_iter()
                    .zip(chunk.until)
                    .filter(|(_, until)| *until > now),
            );
            chunk.until = [0; CHUNK];
        }
        self.chunks.resize_with(slots.div_ceil(CHUNK).max(1), || {
            Box::new(Chunk {
                keys: [0; CHUNK],
                until: [0; CHUNK],
            })
        });
        (self.len, self.hand) = (0, 0);
        for (key, until) in live {
            if let Err(Some(slot)) = self.find(key) {
                self.put(slot, key, until);
                self.len += 1;
            }
        }
    }
}
