//! The ledger of one process: in memory, with a journal on disk where the store has a path.
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::journal::Journal;
use super::memory::Memory;
use crate::clock::{Clock, Now, unix_ms};
use crate::store::drift::Drift;
use crate::store::sqlite::{Change, Database, Directory, OpenError};
use crate::store::{Answer, Changed, Claimed, Held, Key, Ledger, LedgerCounts, StoreError, Token};

/// Locks, in a ledger that is not small.
const SHARDS: usize = 64;
/// Keys that are waited for at most; further hints never come.
const WAITED_FOR: usize = 1024;

/// The ledger of one process.
#[derive(Debug)]
pub struct Embedded {
    hash_key: [u8; 16],
    clock: Arc<dyn Clock>,
    began: Instant,
    shards: Box<[Mutex<Memory>]>,
    hints: Arc<Hints>,
    drift: Arc<Mutex<Drift>>,
    journal: Option<Journal>,
    /// Dropped last: the journal still writes while it is dropped.
    _directory: Option<Directory>,
}

/// A ledger that was opened, and what went wrong on the way.
#[derive(Debug)]
pub struct Opened {
    /// The ledger.
    pub ledger: Embedded,
    /// What an operator must hear: the database was damaged and is set aside.
    pub alarm: Option<String>,
}

impl Embedded {
    /// A ledger in memory alone, for `capacity` IDs. A large one is split in 64, whose first is full at some 99 % of it.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn in_memory(capacity: usize, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Ok(Self::new(draw()?, capacity, clock))
    }

    /// A ledger for `capacity` IDs that remembers them over restarts, in a directory that it holds while it lives. Blocks: reads all IDs first.
    /// A damaged database is set aside and a new one begun.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, capacity: usize, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
        let directory = Directory::hold(path)?;
        let now = clock.now();
        let (opened, alarm) = match Self::load(&directory, capacity, &clock, now) {
            Err(OpenError::Store(StoreError::Corrupted(cause))) => {
                let aside = directory.set_aside(now.unix_ms() / 1000)?;
                let alarm = format!(
                    "the database was damaged ({cause}); it is kept as {}, and a new one is begun: duplicates of earlier deliveries pass",
                    aside.display()
                );
                (Self::load(&directory, capacity, &clock, now)?, Some(alarm))
            }
            other => (other?, None),
        };
        let (mut ledger, database) = opened;
        let journal = Journal::start(database, clock, Arc::clone(&ledger.drift));
        ledger.journal = Some(journal.map_err(|error| OpenError::Io { path: path.to_owned(), cause: error.to_string() })?);
        ledger._directory = Some(directory);
        Ok(Opened { ledger, alarm })
    }

    fn new(hash_key: [u8; 16], capacity: usize, clock: Arc<dyn Clock>) -> Self {
        let now = clock.now();
        let shards = if capacity < SHARDS * 1024 { 1 } else { SHARDS };
        Self {
            hash_key,
            clock,
            began: now.mono,
            shards: std::iter::repeat_with(|| Mutex::new(Memory::new(capacity.div_ceil(shards)))).take(shards).collect(),
            hints: Arc::default(),
            drift: Arc::new(Mutex::new(Drift::new(now))),
            journal: None,
            _directory: None,
        }
    }

    fn load(directory: &Directory, capacity: usize, clock: &Arc<dyn Clock>, now: Now) -> Result<(Self, Database), OpenError> {
        let database = Database::open(directory, draw()?)?;
        let ledger = Self::new(database.hash_key(), capacity, Arc::clone(clock));
        database.load(unix_ms(now.wall), |key, left| {
            let until = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            // What does not fit is nearest to its expiry, counted, and goes from the disk when that comes.
            ledger.shard(key).remember(key, until, 0);
        })?;
        Ok((ledger, database))
    }

    /// Why commits do not reach the disk, if they do not; they are kept in memory and tried again.
    pub fn trouble(&self) -> Option<StoreError> {
        self.journal.as_ref()?.trouble()
    }

    /// Writes what is not on disk yet and stops writing. Blocks for one fsync. Dropping does it, too.
    pub fn close(&self) {
        if let Some(journal) = &self.journal {
            journal.close();
        }
    }

    /// Milliseconds since this ledger began.
    fn now(&self) -> u64 {
        u64::try_from(self.clock.mono().saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    #[expect(clippy::indexing_slicing, reason = "the index is taken modulo the length, and there is one shard at least")]
    fn shard(&self, key: Key) -> MutexGuard<'_, Memory> {
        let index = usize::try_from(u128::from_be_bytes(key.0) >> 120).unwrap_or(0) % self.shards.len();
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn commit_now(&self, key: Key, token: Token, window: Duration) -> Held {
        let now = self.now();
        let mut shard = self.shard(key);
        let commit = shard.commit(key, token, window, now);
        if let (Held::Yes, Some(journal)) = (commit.held, &self.journal) {
            let window = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
            let until = self.clock.now().unix_ms().saturating_add(window);
            // Within the lock, so that changes of one key reach the disk in the order they were made.
            journal.write(commit.forgot.map(Change::Forget).into_iter().chain([Change::Remember(key, until)]));
        }
        drop(shard);
        self.hints.wake(key);
        commit.held
    }
}

impl Ledger for Embedded {
    fn hash_key(&self) -> [u8; 16] {
        self.hash_key
    }

    fn claim(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, Claimed> {
        let now = self.now();
        let claimed = self.shard(key).claim(key, token, lease, now);
        Box::pin(std::future::ready(Ok(claimed)))
    }

    fn commit(&self, key: Key, token: Token, window: Duration) -> Answer<'_, Held> {
        let held = self.commit_now(key, token, window);
        Box::pin(std::future::ready(Ok(held)))
    }

    fn extend(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, Held> {
        let now = self.now();
        let held = self.shard(key).extend(key, token, lease, now);
        Box::pin(std::future::ready(Ok(held)))
    }

    fn release_soon(&self, key: Key, token: Token) {
        let released = self.shard(key).release(key, token);
        if released {
            self.hints.wake(key);
        }
    }

    fn changed(&self, key: Key) -> Changed {
        Hints::wait(&self.hints, key)
    }

    fn counts(&self) -> LedgerCounts {
        let now = self.now();
        let clock_jump = {
            let mut drift = self.drift.lock().unwrap_or_else(PoisonError::into_inner);
            drift.observe(self.clock.now());
            drift.jumped()
        };
        let unsaved = self.journal.as_ref().map_or(0, Journal::unsaved);
        let mut counts = LedgerCounts { unsaved, clock_jump, ..LedgerCounts::default() };
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.tidy(now);
            counts.committed += shard.committed();
            counts.in_flight += shard.in_flight();
            counts.forgotten_early += shard.forgotten_early();
            counts.bytes += shard.bytes();
        }
        counts
    }
}

/// Who waits for which key.
#[derive(Debug, Default)]
struct Hints {
    by_key: Mutex<HashMap<Key, (Arc<Notify>, usize)>>,
}

impl Hints {
    /// Wakes all who wait for `key`: one of them gets the claim, the others wait on.
    fn wake(&self, key: Key) {
        let by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((notify, _)) = by_key.get(&key) {
            notify.notify_waiters();
        }
    }

    /// Waits from this call on, not from the first poll.
    fn wait(hints: &Arc<Self>, key: Key) -> Changed {
        let mut by_key = hints.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if by_key.len() >= WAITED_FOR && !by_key.contains_key(&key) {
            return Box::pin(std::future::pending());
        }
        let (notify, waiters) = by_key.entry(key).or_default();
        *waiters += 1;
        let (notified, place) = (Arc::clone(notify).notified_owned(), Place { hints: Arc::clone(hints), key });
        Box::pin(async move {
            notified.await;
            drop(place);
        })
    }
}

/// A waiter's place; given back on drop.
struct Place {
    hints: Arc<Hints>,
    key: Key,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_key = self.hints.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, waiters)) = by_key.get_mut(&self.key) {
            *waiters -= 1;
            if *waiters == 0 {
                by_key.remove(&self.key);
            }
        }
    }
}

fn draw() -> Result<[u8; 16], OpenError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Unavailable(format!("no random numbers: {error}").into()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
