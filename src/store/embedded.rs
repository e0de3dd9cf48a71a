//! The store of one process: the ledger in memory; where the store has a path, its journal and the queue in one file.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{Clock, Now};
use crate::store::drift::Drift;
use crate::store::embedded::sqlite::batch::WriteQueue;
use crate::store::embedded::sqlite::disk::Disk;
use crate::store::embedded::sqlite::room::Room;
use crate::store::embedded::sqlite::writing::FaultHook;
use crate::store::embedded::sqlite::{Database, Directory, OpenError, orphan};
use crate::store::embedded::time::StoreTime;
use crate::store::names::NumberRow;
use crate::store::secret_use::{SecretMatches, SecretTotals};
use crate::store::{
    Answer, Changed, ClaimResult, Health, Key, Ledger, LedgerCounts, Nature, Ownership, Remembered,
    Store, StoreError, Token,
};
use crate::units::saturating;

mod address_book;
mod archive;
mod continuity;
pub mod memory;
mod queue;
mod secret_use;
mod shared;
pub mod sqlite;
pub(crate) mod stopped;
mod time;
mod writes;
use shared::{Hints, Shared};

/// The store of one process.
#[derive(Debug)]
pub struct Embedded {
    hash_key: [u8; 16],
    shared: Arc<Shared>,
    drift: Arc<Mutex<Drift>>,
    disk: Option<Disk>,
    /// The numbers of names, where there is no disk.
    names: Mutex<Vec<NumberRow>>,
    /// The number of the gateway's own alarms; 0: none.
    alarms: Arc<AtomicU32>,
    /// The last tenant whose deliveries were swept.
    swept_tenant: Arc<AtomicU32>,
    /// Late attempts recorded since the start.
    late: Arc<std::sync::atomic::AtomicU64>,
}

/// A store that was opened, and what went wrong on the way.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub ledger: Embedded,
    /// A message for the operator if the database was damaged and set aside.
    pub alarm: Option<String>,
}

/// The options of opening a store.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// For tests of what fails when.
    pub fault_hook: FaultHook,
}

impl Embedded {
    /// Creates a ledger in memory alone, for `capacity` IDs, without a queue. A large one is split in 64 shards, the first of which is
    /// full at some 99 % of it.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn in_memory(capacity: usize, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let now = clock.now();
        let shared = Shared::new(StoreTime::resume(clock, now, None), capacity, None);
        Ok(Self::new(draw()?, Arc::new(shared), now))
    }

    /// Opens a store that remembers `capacity` IDs over restarts, in a directory that it locks while it lives. Blocks: reads all IDs
    /// first.
    /// A damaged database is set aside and a new one created, unless it may hold deliveries that wait or are dead.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, capacity: usize, clock: Arc<dyn Clock>) -> Result<Opened, OpenError> {
        Self::open_with(path, capacity, clock, Opening::default())
    }

    /// Opens a store like [`Self::open`], with options.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers hand over the clock, as in `in_memory`"
    )]
    pub fn open_with(
        path: &Path,
        capacity: usize,
        clock: Arc<dyn Clock>,
        opening: Opening,
    ) -> Result<Opened, OpenError> {
        let opened = Self::open_at(path, capacity, &clock, opening);
        if matches!(opened, Err(OpenError::Store(StoreError::Full))) {
            let path = path.to_owned();
            return Err(OpenError::Full { path });
        }
        opened
    }

    fn open_at(
        path: &Path,
        capacity: usize,
        clock: &Arc<dyn Clock>,
        opening: Opening,
    ) -> Result<Opened, OpenError> {
        let Opening { fault_hook } = opening;
        let mut directory = Directory::hold(path)?;
        directory.refuse_moved()?;
        let (now, room) = (clock.now(), Room::of(path));
        let (opened, alarm) = match Self::load(&directory, capacity, clock, now) {
            Err(OpenError::Store(StoreError::Full)) if room.release() => {
                (Self::load(&directory, capacity, clock, now)?, None)
            }
            // the present config says nothing about the deliveries in the store
            Err(OpenError::Store(StoreError::Corrupted(cause)))
                if directory.may_hold_deliveries() =>
            {
                return Err(OpenError::Damaged {
                    path: directory.file(),
                    cause: cause.to_string(),
                });
            }
            Err(OpenError::Store(StoreError::Corrupted(cause))) => {
                let aside = directory.set_aside(now.unix_ms() / 1000)?;
                let alarm = format!(
                    "the database was damaged ({cause}). It was renamed to {}, and a new one was created. Duplicates of earlier deliveries will pass",
                    aside.display()
                );
                (Self::load(&directory, capacity, clock, now)?, Some(alarm))
            }
            other => (other?, None),
        };
        directory.trust_marker();
        let (mut ledger, mut database, writes) = opened;
        let orphans = database.transaction(ledger.shared.time.now(), orphan::give_back);
        match orphans {
            Ok((0, _)) => {}
            Ok((count, _)) => tracing::info!(
                deliveries = count,
                "released attempts that the last process left unfinished"
            ),
            // their leases lapse
            Err(error) => {
                tracing::warn!(%error, "cannot release attempts that the last process left unfinished: they wait until their leases end");
            }
        }
        if let Err(error) = database.fill(&ledger.shared.agenda, ledger.shared.time.now()) {
            tracing::warn!(%error, "cannot read which targets have waiting deliveries: they are found one after the other");
        }
        database.set_fault_hook(fault_hook);
        let (drift, shared) = (Arc::clone(&ledger.drift), Arc::clone(&ledger.shared));
        let remember = Arc::new(move |key, until| shared.remember(key, until));
        ledger.disk = Some(Disk::start(
            directory,
            database,
            writes,
            ledger.shared.time.clone(),
            drift,
            remember,
            room,
        )?);
        Ok(Opened { ledger, alarm })
    }

    fn new(hash_key: [u8; 16], shared: Arc<Shared>, now: Now) -> Self {
        let drift = Arc::new(Mutex::new(Drift::new(now)));
        Self {
            hash_key,
            shared,
            drift,
            disk: None,
            names: Mutex::default(),
            alarms: Arc::default(),
            swept_tenant: Arc::default(),
            late: Arc::default(),
        }
    }

    fn load(
        directory: &Directory,
        capacity: usize,
        clock: &Arc<dyn Clock>,
        now: Now,
    ) -> Result<(Self, Database, Arc<WriteQueue>), OpenError> {
        let mut database = Database::open(directory, draw()?)?;
        let (time, writes) = (
            StoreTime::resume(Arc::clone(clock), now, database.last_open()?),
            Arc::<WriteQueue>::default(),
        );
        let shared = Shared::new(time, capacity, Some(Arc::clone(&writes)));
        let mut lost = false;
        database.load(shared.time.now(), |key, left| {
            let mut shard = shared.shard(key);
            let Some(left) = left else {
                return shard.forget(key);
            };
            let until = saturating(left.as_millis());
            if !shard.remembers_until(key, until) {
                // An entry that does not fit is the nearest to its expiry. It is counted, and leaves the disk when it expires.
                lost |= shard.remember(key, until, 0).is_some();
            }
        })?;
        let wall = i64::try_from(now.unix_ms()).unwrap_or(i64::MAX);
        lost |= !database.begin(shared.time.now(), wall)?;
        shared.resume(database.saved_continuity()?.as_deref(), lost);
        Ok((
            Self::new(database.hash_key(), Arc::new(shared), now),
            database,
            writes,
        ))
    }

    /// Writes what is not on disk yet and stops writing. Blocks for one fsync. Dropping does it, too.
    pub fn close(&self) {
        if let Some(disk) = &self.disk {
            disk.close();
        }
    }

    /// Returns whether expired rows may be deleted: the wall clock has held for ten minutes.
    fn may_delete(&self) -> bool {
        let now = self.shared.time.clock().now();
        let mut drift = self.drift.lock();
        drift.observe(now);
        !drift.jumped() && drift.holds(now)
    }
}

impl Ledger for Embedded {
    fn hash_key(&self) -> [u8; 16] {
        self.hash_key
    }

    fn claim(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, ClaimResult> {
        let claimed = self.shared.claim(key, token, lease);
        Box::pin(std::future::ready(Ok(claimed)))
    }

    fn commit(&self, key: Key, token: Token, window: Duration) -> Answer<'_, Ownership> {
        let ownership = self.shared.commit(key, token, window, false);
        Box::pin(std::future::ready(Ok(ownership)))
    }

    fn extend(&self, key: Key, token: Token, lease: Duration) -> Answer<'_, Ownership> {
        let now = self.shared.time.elapsed();
        let ownership = self.shared.shard(key).extend(key, token, lease, now);
        Box::pin(std::future::ready(Ok(ownership)))
    }

    fn release_soon(&self, key: Key, token: Token) {
        self.shared.release(key, token);
    }

    fn note_soon(&self, key: Key, window: Duration) {
        self.shared.note(key, window);
    }

    fn keep(&self, routes: &[(Arc<str>, Key)]) {
        self.shared.keep(routes);
    }

    fn recall(&self, route: &str, key: Key) -> Answer<'_, Remembered> {
        let noted = self.shared.remembered(&[key]) > 0;
        let remembered = Remembered {
            noted,
            complete_for: self.shared.complete_for(route),
        };
        Box::pin(std::future::ready(Ok(remembered)))
    }

    fn changed(&self, key: Key) -> Changed {
        Hints::wait(&self.shared.hints, key)
    }

    fn forget_here(&self, keys: &[Key]) {
        // what is on a disk is forgotten there first: see `Archive::forget`
        if self.disk.is_none() {
            self.shared.forget(keys);
        }
    }

    fn counts(&self) -> LedgerCounts {
        let now = self.shared.time.elapsed();
        let unsaved = self.disk.as_ref().map_or(0, |disk| disk.writes().unsaved());
        let mut counts = LedgerCounts {
            unsaved,
            ..LedgerCounts::default()
        };
        for shard in &self.shared.shards {
            let mut shard = shard.lock();
            shard.tidy(now);
            counts.committed += shard.committed();
            counts.in_flight += shard.in_flight();
            counts.forgotten_early += shard.forgotten_early();
            counts.bytes += shard.bytes();
        }
        counts
    }
}

impl Store for Embedded {
    fn nature(&self) -> Nature {
        Nature {
            durable: self.disk.is_some(),
            shared: false,
        }
    }

    fn health(&self) -> Health {
        let clock_jump = {
            let mut drift = self.drift.lock();
            drift.observe(self.shared.time.clock().now());
            drift.jumped()
        };
        let trouble = self.disk.as_ref().and_then(|disk| {
            let full = || disk.room().is_full().then_some(StoreError::Full);
            disk.writes().trouble().or_else(full)
        });
        Health {
            trouble,
            clock_jump,
            fleet: None,
            away: None,
        }
    }

    fn count_matches(&self, matches: Vec<SecretMatches>) -> Answer<'_, Vec<SecretTotals>> {
        self.add_matches(matches)
    }

    fn close(&self) -> Answer<'_, ()> {
        Self::close(self);
        Box::pin(std::future::ready(Ok(())))
    }
}

fn draw() -> Result<[u8; 16], OpenError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        StoreError::Unavailable(format!("the system gives no random numbers: {error}").into())
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
