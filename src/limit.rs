//! Rate limits by key, in bounded memory.
//!
//! A bucket is GCRA in its other form, the leaky bucket as a meter: the level now, and the time at which it was written. `governor` is not
//! used: it cannot give a token back, cannot look without taking, cannot change its quota while it runs, and holds every key it ever had.
//!
//! Keys are in sets of `SLOTS_PER_SET` slots, [`CAPACITY`] slots in all, allocated shard by shard on first use. A bucket that has drained is
//! worth nothing, and its slot is free. When a set has no free slot, the bucket with the lowest level is dropped: a million keys that come
//! once push out one another, while the bucket of a client that is being slowed, the fullest of its set, stays. To push that one out, 16
//! other keys of its set must have spent more.
use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::units::{Rate, saturating};

mod reserve;
mod shared;

pub use shared::{Ask, Share, SharedKey, SharedLimit};

/// Slots in a set: a key can be in any slot of its set.
const SLOTS_PER_SET: usize = 16;
/// Sets behind one lock.
const SETS_PER_SHARD: usize = 128;
/// Locks.
const SHARDS: usize = 64;
/// Keys held at most by one [`Buckets`]: 3 MiB.
pub const CAPACITY: usize = SLOTS_PER_SET * SETS_PER_SHARD * SHARDS;
/// One token, in the unit of levels.
const ONE_TOKEN: u64 = 1 << 32;

/// A rate, and the number that may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The steady rate.
    pub rate: Rate,
    /// The number that may come at once.
    pub burst: NonZeroU32,
}

/// A quota in the units of the hot path.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// 2⁻⁶⁴ tokens that drain in a nanosecond; rounded down, never 0.
    drain: u128,
    /// Level that may not be passed.
    brim: u64,
}

impl Pace {
    fn new(quota: Quota) -> Self {
        let per = quota.rate.per.as_nanos().max(1);
        let drain = (u128::from(quota.rate.count.get()) << 64) / per;
        Self {
            drain: drain.max(1),
            brim: u64::from(quota.burst.get()) * ONE_TOKEN,
        }
    }

    /// Returns the level of `slot` at `now`.
    fn level(self, slot: &Slot, now: u64) -> u64 {
        self.drained(slot.spent, now.saturating_sub(slot.at))
    }

    /// Returns what is left of the level `spent` after so many nanoseconds.
    fn drained(self, spent: u64, nanos: u64) -> u64 {
        let drained = u128::from(nanos).saturating_mul(self.drain) >> 32;
        spent.saturating_sub(saturating(drained))
    }

    /// Returns the time until one more fits on `level`; zero if it fits now.
    fn wait(self, level: u64) -> Duration {
        let over = u128::from(level) + u128::from(ONE_TOKEN);
        let over = over.saturating_sub(u128::from(self.brim));
        let nanos = (over << 32).div_ceil(self.drain);
        Duration::from_nanos(saturating(nanos))
    }
}

/// A rate limit without keys, in 24 bytes. It behaves as one bucket of [`Buckets`] does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meter {
    spent: u64,
    /// The time at which `spent` was written.
    at: Option<Instant>,
}

impl Meter {
    /// Takes one token.
    ///
    /// # Errors
    /// The time after which the next call can succeed. A call that fails takes nothing.
    pub fn take(&mut self, quota: Quota, now: Instant) -> Result<(), Duration> {
        let pace = Pace::new(quota);
        let level = self.level(pace, now);
        let wait = pace.wait(level);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.set(level.saturating_add(ONE_TOKEN), now);
        Ok(())
    }

    /// Gives one token back, if one was taken.
    pub fn refund(&mut self, quota: Quota, now: Instant) {
        if self.spent > 0 {
            let level = self.level(Pace::new(quota), now);
            self.set(level.saturating_sub(ONE_TOKEN), now);
        }
    }

    /// Returns the time after which [`Self::take`] can succeed; zero if it can at `now`.
    pub fn wait(&self, quota: Quota, now: Instant) -> Duration {
        let pace = Pace::new(quota);
        pace.wait(self.level(pace, now))
    }

    /// Returns whether nothing is spent any more: it is worth as much as a new one.
    pub fn is_drained(&self, quota: Quota, now: Instant) -> bool {
        self.level(Pace::new(quota), now) == 0
    }

    fn level(&self, pace: Pace, now: Instant) -> u64 {
        let since = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        pace.drained(self.spent, saturating(since.as_nanos()))
    }

    fn set(&mut self, spent: u64, now: Instant) {
        self.spent = spent;
        self.at = Some(self.at.map_or(now, |at| at.max(now)));
    }
}

/// The bucket of one key. Nothing spent is the same as no bucket.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    key: u64,
    spent: u64,
    /// Nanoseconds since the first call.
    at: u64,
}

/// Whether a token can be taken from a bucket only if it has room.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    Needed,
    Ignored,
}

#[derive(Debug, Default)]
struct Shard {
    slots: Vec<Slot>,
    used: usize,
}

/// The buckets of one limit, by key. They live in `Gate` by route name and index, so that they survive a reload.
#[derive(Debug)]
pub struct Buckets {
    pace: RwLock<Pace>,
    began: OnceLock<Instant>,
    shards: Box<[Mutex<Shard>]>,
}

impl Buckets {
    /// Creates the buckets, all of them unused.
    pub fn new(quota: Quota) -> Self {
        let shards = std::iter::repeat_with(|| Mutex::new(Shard::default()))
            .take(SHARDS)
            .collect();
        Self {
            pace: RwLock::new(Pace::new(quota)),
            began: OnceLock::new(),
            shards,
        }
    }

    /// Sets the quota. The levels of the buckets stay: a reload changes the quota only.
    pub fn set_quota(&self, quota: Quota) {
        *self.pace.write() = Pace::new(quota);
    }

    /// Takes one token from the bucket of `key`: a hash that the caller made with a key of this process, so that no sender can choose keys
    /// that collide.
    ///
    /// # Errors
    /// The time after which the next call can succeed. A call that fails takes nothing.
    pub fn take(&self, key: u64, now: Instant) -> Result<(), Duration> {
        self.put(key, now, Room::Needed)
    }

    /// Spends one token of the bucket of `key`, whether or not there is one. The bucket gets no fuller than a burst.
    pub fn spend(&self, key: u64, now: Instant) {
        // nothing is refused
        self.put(key, now, Room::Ignored).ok();
    }

    fn put(&self, key: u64, now: Instant, room: Room) -> Result<(), Duration> {
        let (pace, now) = (self.pace(), self.since(now));
        let mut shard = self.shard(key);
        let Shard { slots, used } = &mut *shard;
        if slots.is_empty() {
            slots.resize(SLOTS_PER_SET * SETS_PER_SHARD, Slot::default());
        }
        let Some(slot) = insert(slots, key, pace, now) else {
            return Ok(());
        };
        let level = if slot.key == key {
            pace.level(slot, now)
        } else {
            0
        };
        let wait = pace.wait(level);
        if room == Room::Needed && !wait.is_zero() {
            return Err(wait);
        }
        if slot.spent == 0 {
            *used += 1;
        }
        *slot = Slot {
            key,
            spent: level.saturating_add(ONE_TOKEN).min(pace.brim.max(level)),
            at: now.max(if slot.key == key { slot.at } else { 0 }),
        };
        Ok(())
    }

    /// Gives one token back, if one was taken.
    pub fn refund(&self, key: u64, now: Instant) {
        let (pace, now) = (self.pace(), self.since(now));
        let mut shard = self.shard(key);
        let Shard { slots, used } = &mut *shard;
        let Some(slot) = find(slots, key) else { return };
        slot.spent = pace.level(slot, now).saturating_sub(ONE_TOKEN);
        slot.at = slot.at.max(now);
        if slot.spent == 0 {
            *used = used.saturating_sub(1);
        }
    }

    /// Returns whether `take` would succeed, without taking.
    ///
    /// # Errors
    /// The time after which the next call can succeed.
    pub fn peek(&self, key: u64, now: Instant) -> Result<(), Duration> {
        let (pace, now) = (self.pace(), self.since(now));
        let mut shard = self.shard(key);
        let wait = find(&mut shard.slots, key)
            .map_or(Duration::ZERO, |slot| pace.wait(pace.level(slot, now)));
        if wait.is_zero() { Ok(()) } else { Err(wait) }
    }

    /// Keys held now, [`CAPACITY`] at most; a bucket that has drained since its last use still counts.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().used).sum()
    }

    /// Returns whether no key is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn pace(&self) -> Pace {
        *self.pace.read()
    }

    fn since(&self, now: Instant) -> u64 {
        let began = *self.began.get_or_init(|| now);
        saturating(now.saturating_duration_since(began).as_nanos())
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the index is taken modulo the length, which is a constant"
    )]
    fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(key >> 32).unwrap_or(0) % SHARDS;
        self.shards[index].lock()
    }
}

/// Returns the set of `key`; it is empty if the shard was never used.
fn set(slots: &mut [Slot], key: u64) -> &mut [Slot] {
    let first = usize::try_from(key & 0xffff_ffff).unwrap_or(0) % SETS_PER_SHARD * SLOTS_PER_SET;
    slots
        .get_mut(first..first + SLOTS_PER_SET)
        .unwrap_or_default()
}

fn find(slots: &mut [Slot], key: u64) -> Option<&mut Slot> {
    set(slots, key)
        .iter_mut()
        .find(|slot| slot.key == key && slot.spent > 0)
}

/// Returns the slot of `key`, or else the slot of its set with the lowest level.
fn insert(slots: &mut [Slot], key: u64, pace: Pace, now: u64) -> Option<&mut Slot> {
    let set = set(slots, key);
    let own = set
        .iter()
        .position(|slot| slot.key == key && slot.spent > 0);
    let index = own.or_else(|| {
        let levels = set.iter().map(|slot| pace.level(slot, now)).enumerate();
        levels
            .min_by_key(|(_, level)| *level)
            .map(|(index, _)| index)
    });
    set.get_mut(index?)
}

#[cfg(test)]
mod tests;
