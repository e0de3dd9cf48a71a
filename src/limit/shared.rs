//! A rate limit that several gateways share. Each reserves tokens ahead from the store, so that no request waits for it.
//!
//! A token is spent from the reserve of its key. If that is empty, it is spent from this gateway's share of the limit, a local bucket with its
//! part of the rate and burst, unless the store has just said that it has none. The next call charges it. So a gateway that has not asked
//! yet, or gets no answer, goes by its share, and all gateways together pass at most one burst more than the limit.
//!
//! Pure: callers pass `now`, and make the calls that [`SharedLimit::due`] returns.
use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use super::reserve::{ANSWER, Pace, Reserve};
use super::{Buckets, Quota};
use crate::units::Rate;

/// The most keys with a reserve. Others go by this gateway's share.
const MAX_KEYS: usize = 10_000;
/// The part of a burst, and of the rate of all gateways, that a client address may spend uncounted.
const UNCOUNTED: u32 = 10;

/// The limit of a whole fleet, and the number of gateways that share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The limit of all gateways together.
    pub quota: Quota,
    /// The number of gateways.
    pub gateways: NonZeroU32,
}

impl Share {
    fn pace(self) -> Pace {
        let burst = self.quota.burst.get();
        Pace {
            each: self.quota.rate.per / self.quota.rate.count.get(),
            burst,
            share: burst.div_ceil(self.gateways.get()),
        }
    }

    /// Returns the part of the limit by which this gateway goes without an answer of the store.
    fn own(self) -> Quota {
        part(self.quota, self.gateways.get(), self.pace().share)
    }

    /// Returns the tokens of a client address that are not counted: the addresses that send a request now and then take no place in the store.
    fn uncounted(self) -> Quota {
        let gateways = self.gateways.get().saturating_mul(UNCOUNTED);
        let burst = (self.quota.burst.get() / UNCOUNTED).min(self.pace().share);
        part(self.quota, gateways, burst)
    }
}

/// Returns a quota with a part of the rate, and this burst.
fn part(quota: Quota, parts: u32, burst: u32) -> Quota {
    Quota {
        rate: Rate {
            per: quota.rate.per.saturating_mul(parts),
            ..quota.rate
        },
        burst: NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN),
    }
}

/// A call to the store for one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The key, of this limit alone.
    pub key: u64,
    /// The time in which a token comes back.
    pub each: Duration,
    /// The tokens that may be spent at once.
    pub burst: u32,
    /// Tokens to reserve.
    pub want: u32,
    /// Tokens that are spent already, and are charged in any case.
    pub spent: u32,
}

/// A rate limit that several gateways share.
#[derive(Debug)]
pub struct SharedLimit {
    settings: RwLock<Share>,
    /// The tokens that this gateway passed, by its share.
    share: Buckets,
    /// The tokens of client addresses that are not counted. None for keys that only authentic requests use.
    uncounted: Option<Buckets>,
    keys: Mutex<Keys>,
    /// Whether the last call had no answer.
    is_away: AtomicBool,
    /// The decisions that were made by the share because the store did not answer.
    local: AtomicU64,
    /// Tells the caller of [`Self::due`] that a call is due sooner.
    sooner: Arc<Notify>,
}

/// The time after which a token may be there, and the bucket that says so.
enum Refused {
    ByStore(Duration),
    ByShare(Duration),
}

#[derive(Debug, Default)]
struct Keys {
    reserves: HashMap<u64, Reserve>,
    /// The keys in the order in which they have to be looked at. A key with a call under way is not in it.
    due: BTreeSet<(Instant, u64)>,
}

impl Keys {
    /// Begins the reserve of a key.
    fn add(&mut self, key: u64, now: Instant) {
        let reserve = Reserve::new(now);
        self.due.extend(reserve.due.map(|at| (at, key)));
        self.reserves.insert(key, reserve);
    }

    /// Lets a key be looked at, at this time and no other. Returns whether that is the first of all.
    fn schedule(&mut self, key: u64, at: Instant) -> bool {
        let Some(reserve) = self.reserves.get_mut(&key) else {
            return false;
        };
        if let Some(before) = reserve.due.replace(at) {
            if before == at {
                return false;
            }
            self.due.remove(&(before, key));
        }
        self.due.insert((at, key));
        self.due.first() == Some(&(at, key))
    }
}

impl SharedLimit {
    /// Creates a limit. `counts_strangers` says whether requests that are not authentic are counted: then each key has some tokens for which
    /// the store is not asked. `sooner` tells the caller of [`Self::due`] to call it.
    pub fn new(share: Share, counts_strangers: bool, sooner: Arc<Notify>) -> Self {
        Self {
            share: Buckets::new(share.own()),
            uncounted: counts_strangers.then(|| Buckets::new(share.uncounted())),
            settings: RwLock::new(share),
            keys: Mutex::default(),
            is_away: AtomicBool::new(false),
            local: AtomicU64::new(0),
            sooner,
        }
    }

    /// Follows another quota.
    pub fn set_quota(&self, quota: Quota) {
        let gateways = self.settings.read().gateways;
        self.set(Share { quota, gateways });
    }

    /// Follows another number of gateways.
    pub fn set_gateways(&self, gateways: NonZeroU32) {
        let quota = self.settings.read().quota;
        self.set(Share { quota, gateways });
    }

    fn set(&self, share: Share) {
        let before = *self.settings.read();
        if before == share {
            return;
        }
        *self.settings.write() = share;
        if before.quota != share.quota {
            // what the store said of the former limit does not hold for this one; tokens that were reserved come back by time
            *self.keys.lock() = Keys::default();
        }
        self.share.set_quota(share.own());
        if let Some(uncounted) = &self.uncounted {
            uncounted.set_quota(share.uncounted());
        }
    }

    fn pace(&self) -> Pace {
        self.settings.read().pace()
    }

    /// Takes one token of `key`: a hash that is the same at all gateways, and that no sender can choose.
    ///
    /// # Errors
    /// A time after which there may be one. A call that fails takes nothing.
    pub fn take(&self, key: u64, now: Instant) -> Result<(), Duration> {
        let mut keys = self.keys.lock();
        if !keys.reserves.contains_key(&key) {
            let uncounted = self.uncounted.as_ref();
            if uncounted.is_some_and(|uncounted| uncounted.take(key, now).is_ok()) {
                self.share.spend(key, now);
                return Ok(());
            }
            if keys.reserves.len() >= MAX_KEYS {
                drop(keys);
                return self.share.take(key, now);
            }
            keys.add(key, now);
        }
        let Some(reserve) = keys.reserves.get_mut(&key) else {
            return self.share.take(key, now);
        };
        reserve.note_use(now);
        let taken = self.take_from(reserve, key, now);
        self.reschedule(&mut keys, key, now);
        taken.map_err(|refused| match (refused, keys.reserves.get(&key)) {
            (Refused::ByShare(wait), Some(reserve)) => self.wait_of(reserve, wait, now),
            (Refused::ByStore(wait) | Refused::ByShare(wait), _) => wait,
        })
    }

    fn take_from(&self, reserve: &mut Reserve, key: u64, now: Instant) -> Result<(), Refused> {
        if reserve.spend(now) {
            self.share.spend(key, now);
            return Ok(());
        }
        if self.is_away.load(Ordering::Relaxed) {
            self.local.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(wait) = reserve.empty_for(now) {
            return Err(Refused::ByStore(wait));
        }
        self.share.take(key, now).map_err(Refused::ByShare)?;
        reserve.owe();
        Ok(())
    }

    /// Gives one token back, which was taken just now.
    pub fn refund(&self, key: u64, now: Instant) {
        self.share.refund(key, now);
        let mut keys = self.keys.lock();
        if let Some(reserve) = keys.reserves.get_mut(&key) {
            reserve.refund(self.pace());
        } else if let Some(uncounted) = &self.uncounted {
            uncounted.refund(key, now);
        }
    }

    /// Returns whether `take` may succeed, without taking.
    ///
    /// # Errors
    /// A time after which it may.
    pub fn peek(&self, key: u64, now: Instant) -> Result<(), Duration> {
        let keys = self.keys.lock();
        let Some(reserve) = keys.reserves.get(&key) else {
            return self.share.peek(key, now);
        };
        if reserve.held(now) > 0 {
            return Ok(());
        }
        if let Some(wait) = reserve.empty_for(now) {
            return Err(wait);
        }
        let by_share = self.share.peek(key, now);
        by_share.map_err(|wait| self.wait_of(reserve, wait, now))
    }

    /// Returns the time after which there may be a token if the share has one after `wait`: perhaps the next answer of the store brings one.
    fn wait_of(&self, reserve: &Reserve, wait: Duration, now: Instant) -> Duration {
        if self.is_away.load(Ordering::Relaxed) {
            return wait;
        }
        let until_call = reserve
            .due
            .map_or(Duration::ZERO, |due| due.saturating_duration_since(now));
        wait.min(until_call.saturating_add(ANSWER))
    }

    /// Returns the calls to make now, `most` at most. The answer of each is given to [`Self::answer`] or [`Self::fail`].
    pub fn due(&self, now: Instant, most: usize) -> Vec<Ask> {
        let (pace, is_away) = (self.pace(), self.is_away.load(Ordering::Relaxed));
        let mut asks = Vec::new();
        let mut keys = self.keys.lock();
        let Keys { reserves, due } = &mut *keys;
        while asks.len() < most
            && let Some((at, key)) = due.pop_first()
        {
            if at > now {
                due.insert((at, key));
                break;
            }
            let Some(reserve) = reserves.get_mut(&key) else {
                continue;
            };
            if reserve.is_over(is_away, now) {
                reserves.remove(&key);
                continue;
            }
            let may_spend = self.share.peek(key, now).is_ok();
            let next = reserve.next_due(pace, may_spend, now);
            match reserve.wanted(pace, may_spend, now) {
                Some(wanted) if next <= now => {
                    reserve.begin_call();
                    asks.push(Ask {
                        key,
                        each: pace.each,
                        burst: pace.burst,
                        want: wanted.tokens,
                        spent: wanted.spent,
                    });
                }
                _ => {
                    reserve.due = Some(next);
                    due.insert((next, key));
                }
            }
        }
        asks
    }

    /// Returns the time at which [`Self::due`] has something to do next.
    pub fn next_due(&self) -> Option<Instant> {
        self.keys.lock().due.first().map(|(at, _)| *at)
    }

    /// Takes the answer to a call: the tokens that are reserved, and the time until there is one more.
    pub fn answer(&self, ask: &Ask, granted: u32, wait: Duration, now: Instant) {
        self.is_away.store(false, Ordering::Relaxed);
        self.end_call(ask, now, |reserve, pace| {
            reserve.answer(ask.want, granted, wait, pace, now);
        });
    }

    /// Takes the failure of a call. `is_charged` says whether the store may have charged what was spent.
    pub fn fail(&self, ask: &Ask, is_charged: bool, now: Instant) {
        self.is_away.store(true, Ordering::Relaxed);
        self.end_call(ask, now, |reserve, pace| {
            reserve.fail(is_charged, pace, now);
        });
    }

    fn end_call(&self, ask: &Ask, now: Instant, end: impl FnOnce(&mut Reserve, Pace)) {
        let pace = self.pace();
        let mut keys = self.keys.lock();
        let Some(reserve) = keys.reserves.get_mut(&ask.key) else {
            return;
        };
        end(reserve, pace);
        let may_spend = self.share.peek(ask.key, now).is_ok();
        let next = reserve.next_due(pace, may_spend, now);
        keys.schedule(ask.key, next);
    }

    /// Lets a key be looked at in time, after one of its tokens was spent. During a call, the answer does it.
    fn reschedule(&self, keys: &mut Keys, key: u64, now: Instant) {
        let Some(reserve) = keys.reserves.get_mut(&key) else {
            return;
        };
        let Some(before) = reserve.due else { return };
        let may_spend = self.share.peek(key, now).is_ok();
        let next = reserve.next_due(self.pace(), may_spend, now);
        if next < before && keys.schedule(key, next) {
            self.sooner.notify_one();
        }
    }

    /// Returns the number of decisions that were made by this gateway's share because the store did not answer.
    pub fn local_decisions(&self) -> u64 {
        self.local.load(Ordering::Relaxed)
    }
}

/// A key of a shared limit.
#[derive(Clone, Debug)]
pub struct SharedKey {
    /// The limit.
    pub limit: Arc<SharedLimit>,
    /// The key.
    pub key: u64,
}

impl SharedKey {
    /// Takes one token. Returns whether there was one.
    pub fn take(&self, now: Instant) -> bool {
        self.limit.take(self.key, now).is_ok()
    }

    /// Gives one token back, which was taken just now.
    pub fn refund(&self, now: Instant) {
        self.limit.refund(self.key, now);
    }

    /// Returns the time after which [`Self::take`] may succeed; zero if it may at `now`.
    pub fn wait(&self, now: Instant) -> Duration {
        self.limit.peek(self.key, now).err().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
