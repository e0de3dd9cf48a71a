//! The embedded ledger: pure, and given the time as milliseconds since its beginning.
//!
//! **Size.** A remembered ID is 16 bytes of key and 4 bytes of expiry (seconds). They lie in open-addressing tables, the segments, of some 2,000 IDs each.
//! A segment grows by 8 % when it is 7/8 full, so it is between 80 % and 88 % full: 23 to 26 bytes an ID, beside one half-empty chunk a segment. Only one small segment is ever copied at
//! a time, so growing needs some 100 KiB more for a moment, never twice the whole, and holds the caller for microseconds.
//!
//! **Expiry.** Windows differ by route, so the order of commits says nothing about the order of expiry. Nothing keeps that order: a lookup knows by
//! itself whether what it found has expired, and every commit also looks at the next `STEPS` slots of its segment and frees what has expired
//! there. In a steady state a segment is thus gone through once in 1/16 of a window, and expired IDs take at most some 6 % more room.
//! A time wheel would free them at once, for 4 to 8 more bytes an ID.
//!
//! **Bound.** When it is full, it forgets the ID nearest to its expiry among some 400 in the same segment as the new one, and counts it.
use std::collections::VecDeque;
use std::time::Duration;

use crate::store::{ClaimResult, Key, KeyMap, Ownership, Token};
use crate::units::saturating;

mod segment;
use segment::Segment;

/// IDs in a segment when the ledger is full.
const SEGMENT: usize = 2048;
/// Slots that each commit looks at for expired IDs.
const STEPS: usize = 16;
/// Tokens of the last commits, to answer a repeated commit.
const RECENT: usize = 32;
/// The shortest time for which an expired claim that no other token took over can still be extended.
const LAPSED_CLAIM_KEPT: u64 = 3_600_000;

/// A claim that is neither committed nor released.
#[derive(Clone, Copy, Debug)]
struct Flight {
    token: Token,
    lapses: u64,
}

/// The result of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Whether the ID is committed by the caller.
    pub ownership: Ownership,
    /// The ID that was forgotten before its time, to make room.
    pub forgot: Option<Key>,
}

/// A ledger in memory. Times are milliseconds since its beginning, and never go back.
#[derive(Debug)]
pub struct Memory {
    segments: Box<[Segment]>,
    capacity: usize,
    committed: usize,
    slots: usize,
    forgotten_early: u64,
    in_flight: KeyMap<Flight>,
    prune_at: usize,
    recent: VecDeque<(Key, Token)>,
    tidied: usize,
}

impl Memory {
    /// Creates an empty ledger for `capacity` IDs, at least one.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        let segments = (capacity / SEGMENT).max(1).next_power_of_two();
        Self {
            segments: std::iter::repeat_with(Segment::default)
                .take(segments)
                .collect(),
            capacity,
            committed: 0,
            slots: 0,
            forgotten_early: 0,
            in_flight: KeyMap::default(),
            prune_at: 1024,
            recent: VecDeque::with_capacity(RECENT),
            tidied: 0,
        }
    }

    /// Claims `key` until `lease` has passed, if no other token has it. The holder itself gets it again.
    pub fn claim(&mut self, key: Key, token: Token, lease: Duration, now: u64) -> ClaimResult {
        if self.remembers(key, now) {
            return ClaimResult::Committed;
        }
        if let Some(flight) = self.in_flight.get(&key)
            && flight.token != token
            && flight.lapses > now
        {
            return ClaimResult::InFlight {
                lapses_in: Duration::from_millis(flight.lapses - now),
            };
        }
        self.prune(now);
        self.in_flight.insert(
            key,
            Flight {
                token,
                lapses: now.saturating_add(millis(lease)),
            },
        );
        ClaimResult::Fresh
    }

    /// Remembers `key` for `window`, unless another token has the claim, or committed it.
    pub fn commit(&mut self, key: Key, token: Token, window: Duration, now: u64) -> Commit {
        let holds = |flight: &&Flight| flight.token == token || flight.lapses > now;
        let holder = self.in_flight.get(&key).filter(holds);
        let holder = holder.map(|flight| flight.token);
        if holder != Some(token) {
            let remembered = self.remembers(key, now);
            if holder.is_some() || remembered {
                let repeated = remembered && self.recent.contains(&(key, token));
                return Commit {
                    ownership: if repeated {
                        Ownership::Owned
                    } else {
                        Ownership::Lost
                    },
                    forgot: None,
                };
            }
        }
        self.in_flight.remove(&key);
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((key, token));
        Commit {
            ownership: Ownership::Owned,
            forgot: self.remember(key, now.saturating_add(millis(window)), now),
        }
    }

    /// Holds a claim longer: `lease` from now.
    pub fn extend(&mut self, key: Key, token: Token, lease: Duration, now: u64) -> Ownership {
        match self.in_flight.get_mut(&key) {
            Some(flight) if flight.token == token => {
                flight.lapses = flight.lapses.max(now.saturating_add(millis(lease)));
                Ownership::Owned
            }
            _ => Ownership::Lost,
        }
    }

    /// Gives a claim back; `false` if it is not `token`'s.
    pub fn release(&mut self, key: Key, token: Token) -> bool {
        let is_held = self
            .in_flight
            .get(&key)
            .is_some_and(|flight| flight.token == token);
        if is_held {
            self.in_flight.remove(&key);
        }
        is_held
    }

    /// Remembers `key` until `until`; says what was forgotten early for it.
    pub fn remember(&mut self, key: Key, until: u64, now: u64) -> Option<Key> {
        let (number, now) = (u128::from_be_bytes(key.0), seconds_begun(now));
        let index = self.index(number);
        self.adjust(index, |segment| segment.sweep(now, STEPS));
        let mut forgot = None;
        if self.committed >= self.capacity
            && !self
                .segments
                .get(index)
                .is_some_and(|segment| segment.has(number))
        {
            forgot = self.forget_one(index, now);
        }
        self.adjust(index, |segment| segment.insert(number, seconds(until), now));
        forgot
    }

    /// Forgets `key`, if it was committed.
    pub fn forget(&mut self, key: Key) {
        let number = u128::from_be_bytes(key.0);
        self.adjust(self.index(number), |segment| segment.forget(number));
        self.recent.retain(|(known, _)| *known != key);
    }

    /// Returns whether `key` was committed and its window has not passed.
    pub fn remembers(&self, key: Key, now: u64) -> bool {
        let number = u128::from_be_bytes(key.0);
        self.segments
            .get(self.index(number))
            .is_some_and(|segment| {
                segment
                    .until(number)
                    .is_some_and(|until| until > seconds_begun(now))
            })
    }

    /// Returns whether `key` is remembered until `until` at least, to the second.
    pub fn remembers_until(&self, key: Key, until: u64) -> bool {
        let number = u128::from_be_bytes(key.0);
        self.segments
            .get(self.index(number))
            .and_then(|segment| segment.until(number))
            .is_some_and(|known| known >= seconds(until))
    }

    /// Frees the expired IDs of one segment, another at each call: for a ledger at rest, which no commit tidies.
    pub fn tidy(&mut self, now: u64) {
        self.tidied = (self.tidied + 1) % self.segments.len();
        self.adjust(self.tidied, |segment| {
            segment.sweep(seconds_begun(now), usize::MAX);
        });
    }

    /// Returns the number of IDs remembered. Some of them may have expired.
    pub fn committed(&self) -> usize {
        self.committed
    }

    /// Claims neither committed nor released.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns the number of IDs forgotten before their window ended, because the ledger was full.
    pub fn forgotten_early(&self) -> u64 {
        self.forgotten_early
    }

    /// Bytes of memory held for remembered IDs.
    pub fn bytes(&self) -> usize {
        Segment::bytes(self.slots) + self.segments.len() * size_of::<Segment>()
    }

    fn index(&self, number: u128) -> usize {
        usize::try_from((number >> 64) & 0xffff_ffff).unwrap_or(0) & (self.segments.len() - 1)
    }

    /// Changes one segment and updates the sums.
    fn adjust(&mut self, index: usize, change: impl FnOnce(&mut Segment)) {
        let Some(segment) = self.segments.get_mut(index) else {
            return;
        };
        let (before, slots) = (segment.len(), segment.capacity());
        change(segment);
        self.committed = self.committed + segment.len() - before;
        self.slots = self.slots + segment.capacity() - slots;
    }

    /// Forgets the ID nearest to its expiry of the first segment from `index` on that has any; its key, if its time had not come.
    fn forget_one(&mut self, index: usize, now: u32) -> Option<Key> {
        let all = self.segments.len();
        let index = (index..all).chain(0..index).find(|index| {
            self.segments
                .get(*index)
                .is_some_and(|segment| segment.len() > 0)
        })?;
        let mut soonest = None;
        self.adjust(index, |segment| soonest = segment.remove_soonest());
        let (number, until) = soonest?;
        if until <= now {
            return None;
        }
        self.forgotten_early += 1;
        Some(Key(number.to_be_bytes()))
    }

    /// Drops claims that lapsed long ago, when there are twice as many claims as after the last time.
    fn prune(&mut self, now: u64) {
        if self.in_flight.len() >= self.prune_at {
            self.in_flight
                .retain(|_, flight| flight.lapses.saturating_add(LAPSED_CLAIM_KEPT) > now);
            self.prune_at = (self.in_flight.len() * 2).max(1024);
        }
    }
}

fn millis(duration: Duration) -> u64 {
    saturating(duration.as_millis())
}

/// Returns the end of the second that `ms` is in, so that nothing is forgotten too early. 0 marks a free slot.
fn seconds(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

/// Returns the beginning of the second that `ms` is in.
fn seconds_begun(ms: u64) -> u32 {
    u32::try_from(ms / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
