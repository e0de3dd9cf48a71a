//! The ledger in memory, and the waiters by key, shared by the writer thread and its callers.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::continuity::{Continuity, GAP_AHEAD};
use crate::store::agenda::Agenda;
use crate::store::embedded::memory::Memory;
use crate::store::embedded::sqlite::Change;
use crate::store::embedded::sqlite::batch::WriteQueue;
use crate::store::embedded::sqlite::look::ScanPosition;
use crate::store::embedded::time::StoreTime;
use crate::store::{Changed, ClaimResult, Key, KeyMap, Ownership, Token};
use crate::units::saturating;

/// Locks, in a ledger that is not small.
const SHARDS: usize = 64;
/// Keys that are waited for at most; further hints never come.
pub(super) const MAX_HINTED_KEYS: usize = 1024;

/// The ledger in memory. It decides claims; the rows on the disk are its journal.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) time: StoreTime,
    pub(super) shards: Box<[Mutex<Memory>]>,
    pub(super) hints: Arc<Hints>,
    /// The way to the disk, if there is one.
    pub(super) writes: Option<Arc<WriteQueue>>,
    /// Told when units became due.
    pub(super) work: Arc<Notify>,
    /// The targets with waiting units.
    pub(super) agenda: Arc<Mutex<Agenda>>,
    /// The position of the walk over the targets on the disk.
    pub(super) scanned: Mutex<ScanPosition>,
    continuity: Mutex<Continuity>,
    /// Changes that the journal had dropped when a gap was noted last.
    dropped: AtomicUsize,
}

impl Shared {
    pub(super) fn new(time: StoreTime, capacity: usize, writes: Option<Arc<WriteQueue>>) -> Self {
        let shards = if capacity < SHARDS * 1024 { 1 } else { SHARDS };
        let shards = std::iter::repeat_with(|| Mutex::new(Memory::new(capacity.div_ceil(shards))))
            .take(shards)
            .collect();
        Self {
            time,
            shards,
            hints: Arc::default(),
            writes,
            work: Arc::default(),
            agenda: Arc::default(),
            scanned: Mutex::default(),
            continuity: Mutex::default(),
            dropped: AtomicUsize::new(0),
        }
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "the index is taken modulo the length, and there is one shard at least"
    )]
    pub(super) fn shard(&self, key: Key) -> MutexGuard<'_, Memory> {
        let index =
            usize::try_from(u128::from_be_bytes(key.0) >> 120).unwrap_or(0) % self.shards.len();
        self.shards[index].lock()
    }

    pub(super) fn claim(&self, key: Key, token: Token, lease: Duration) -> ClaimResult {
        let now = self.time.elapsed();
        self.shard(key).claim(key, token, lease, now)
    }

    /// Commits; its row goes to the disk with the journal, or is there already.
    pub(super) fn commit(
        &self,
        key: Key,
        token: Token,
        window: Duration,
        on_disk: bool,
    ) -> Ownership {
        let now = self.time.elapsed();
        let mut shard = self.shard(key);
        let commit = shard.commit(key, token, window, now);
        if let (Ownership::Owned, Some(writes)) = (commit.ownership, &self.writes) {
            let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
            let remember =
                (!on_disk).then(|| Change::Remember(key, self.time.now().saturating_add(window)));
            // Within the lock, so that changes of one key reach the disk in the order they were made.
            writes.journal(
                commit
                    .forgot
                    .map(Change::Forget)
                    .into_iter()
                    .chain(remember),
            );
        }
        drop(shard);
        self.hints.wake(key);
        self.note_loss(commit.forgot.is_some());
        commit.ownership
    }

    /// Notes a key for `window`, unclaimed. A key that is remembered as long already is left alone: each further note of a request would be
    /// another row of the journal.
    pub(super) fn note(&self, key: Key, window: Duration) {
        let now = self.time.elapsed();
        let window_ms = saturating(window.as_millis());
        let until = now.saturating_add(window_ms);
        let mut shard = self.shard(key);
        if shard.remembers_until(key, until) {
            return;
        }
        let forgot = shard.remember(key, until, now);
        if let Some(writes) = &self.writes {
            let until = self
                .time
                .now()
                .saturating_add(i64::try_from(window_ms).unwrap_or(i64::MAX));
            writes.journal(
                forgot
                    .map(Change::Forget)
                    .into_iter()
                    .chain([Change::Remember(key, until)]),
            );
        }
        drop(shard);
        self.note_loss(forgot.is_some());
    }

    /// Goes on from what the store on disk says. `lost` says whether it lacks what was committed before.
    pub(super) fn resume(&self, saved: Option<&str>, lost: bool) {
        let mut continuity = self.continuity();
        *continuity = Continuity::parse(saved.unwrap_or_default());
        if lost && continuity.gap(self.time.now(), 0) {
            tracing::warn!(
                "delivery IDs of the last process are missing: late retries of requests that were signed before this start are refused"
            );
            self.write(&continuity);
        }
    }

    /// Keeps exactly these routes from now on.
    pub(super) fn keep(&self, routes: &[(Arc<str>, Key)]) {
        let mut continuity = self.continuity();
        if continuity.keep(routes, self.time.now()) {
            self.write(&continuity);
        }
    }

    /// Returns the time for which the ledger of a route has been complete.
    pub(super) fn complete_for(&self, route: &str) -> Option<Duration> {
        self.continuity().complete_for(route, self.time.now())
    }

    /// Notes a gap, if an ID was lost before its time, or will be with a restart.
    fn note_loss(&self, lost: bool) {
        let dropped = self.writes.as_ref().map_or(0, |writes| writes.dropped());
        if lost || self.dropped.swap(dropped, Ordering::Relaxed) != dropped {
            let mut continuity = self.continuity();
            if continuity.gap(self.time.now(), GAP_AHEAD) {
                self.write(&continuity);
            }
        }
    }

    fn write(&self, continuity: &Continuity) {
        if let Some(writes) = &self.writes {
            writes.journal([Change::Continuity(continuity.text())]);
        }
    }

    fn continuity(&self) -> MutexGuard<'_, Continuity> {
        self.continuity.lock()
    }

    /// Remembers until `until`, in the store's time, what is on the disk already.
    pub(super) fn remember(&self, key: Key, until: i64) {
        let (now, left) = (
            self.time.elapsed(),
            u64::try_from(until.saturating_sub(self.time.now())).unwrap_or(0),
        );
        let mut shard = self.shard(key);
        if left == 0 {
            return shard.forget(key);
        }
        let forgot = shard.remember(key, now.saturating_add(left), now);
        if let (Some(forgot), Some(writes)) = (forgot, &self.writes) {
            writes.journal([Change::Forget(forgot)]);
        }
        drop(shard);
        self.note_loss(forgot.is_some());
    }

    /// Returns the number of `keys` that are remembered.
    pub(super) fn remembered(&self, keys: &[Key]) -> u64 {
        let now = self.time.elapsed();
        keys.iter()
            .map(|key| u64::from(self.shard(*key).remembers(*key, now)))
            .sum()
    }

    /// Forgets what a person wants forgotten, and what was erased without having been delivered.
    pub(super) fn forget(&self, keys: &[Key]) {
        for key in keys {
            let mut shard = self.shard(*key);
            shard.forget(*key);
            if let Some(writes) = &self.writes {
                // after what the journal says of it still
                writes.journal([Change::Erase(*key)]);
            }
        }
    }

    pub(super) fn release(&self, key: Key, token: Token) {
        let released = self.shard(key).release(key, token);
        if released {
            self.hints.wake(key);
        }
    }
}

/// The waiters by key.
#[derive(Debug, Default)]
pub(super) struct Hints {
    pub(super) by_key: Mutex<KeyMap<(Arc<Notify>, usize)>>,
}

impl Hints {
    /// Wakes all waiters of `key`: one of them gets the claim, the others wait on.
    fn wake(&self, key: Key) {
        let by_key = self.by_key.lock();
        if let Some((notify, _)) = by_key.get(&key) {
            notify.notify_waiters();
        }
    }

    /// Waits from this call on, not from the first poll.
    pub(super) fn wait(hints: &Arc<Self>, key: Key) -> Changed {
        let mut by_key = hints.by_key.lock();
        if by_key.len() >= MAX_HINTED_KEYS && !by_key.contains_key(&key) {
            return Box::pin(std::future::pending());
        }
        let (notify, waiters) = by_key.entry(key).or_default();
        *waiters += 1;
        let (notified, slot) = (
            Arc::clone(notify).notified_owned(),
            WaiterSlot {
                hints: Arc::clone(hints),
                key,
            },
        );
        Box::pin(async move {
            notified.await;
            drop(slot);
        })
    }
}

/// A waiter's place; given back on drop.
struct WaiterSlot {
    hints: Arc<Hints>,
    key: Key,
}

impl Drop for WaiterSlot {
    fn drop(&mut self) {
        let mut by_key = self.hints.by_key.lock();
        if let Some((_, waiters)) = by_key.get_mut(&self.key) {
            *waiters -= 1;
            if *waiters == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}
