//! The maintenance of the writer thread between batches: expired entries, entries that must live on, the store's time, the growing log,
//! and free space.
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::checkpoint::Checkpoints;
use super::super::{Database, journal, ledger, saved};
use crate::store::drift::Drift;
use crate::store::embedded::time::StoreTime;
use crate::store::{Key, StoreError};

/// Rows of the ledger deleted at once: a few milliseconds.
const ROWS_PER_STEP: usize = 500;
/// Rows of the journal deleted at once, if they are small. Each has the entries of a batch.
const BATCHES_PER_STEP: usize = 500;
/// Entries are looked at this long before they end.
const PROLONG_BEFORE_END: i64 = 60_000;
/// Milliseconds between two writes of the time. After a crash the store's time continues from the last one by the wall clock.
const SAVE_TIME_INTERVAL: i64 = 10_000;

/// Makes the ledger in memory remember a key that is on the disk until another time, in the store's time.
pub(crate) type Remember = Arc<dyn Fn(Key, i64) + Send + Sync>;

/// The chores of a store.
pub(crate) struct Maintenance {
    drift: Arc<Mutex<Drift>>,
    remember: Remember,
    checkpoints: Arc<Checkpoints>,
    /// Entries that end until here were looked at.
    position: ledger::Position,
    /// The store's time at which the time was last saved.
    time_saved_at: Option<i64>,
}

impl Maintenance {
    pub(crate) fn new(
        drift: Arc<Mutex<Drift>>,
        remember: Remember,
        checkpoints: Arc<Checkpoints>,
    ) -> Self {
        Self {
            drift,
            remember,
            checkpoints,
            position: (i64::MIN, [0; 16]),
            time_saved_at: None,
        }
    }

    /// Records that some bytes were written to the log. Empties the log if that is asked for: only a little is left to do then.
    pub(super) fn wrote(&self, database: &Database, bytes: usize) {
        self.checkpoints.wrote(bytes);
        if self.checkpoints.wanted()
            && let Err(error) = database.checkpoint()
        {
            tracing::debug!(%error, "cannot make a checkpoint");
        }
    }

    /// Does a step of everything; whether there is more.
    pub(super) fn run(
        &mut self,
        database: &mut Database,
        time: &StoreTime,
    ) -> Result<bool, StoreError> {
        let (now, reading) = (time.now(), time.clock().now());
        let wall = i64::try_from(reading.unix_ms()).unwrap_or(i64::MAX);
        let trusted = {
            let mut drift = self.drift.lock();
            drift.observe(reading);
            !drift.jumped() && drift.holds(reading)
        };
        let (position, keep) = (
            self.position,
            self.time_saved_at.is_none_or(|time_saved_at| {
                now.saturating_sub(time_saved_at) >= SAVE_TIME_INTERVAL
            }),
        );
        let ((more, held, (rows, (batches, more_batches))), _) =
            database.transaction(now, |writing| {
                if keep {
                    ledger::keep_time(writing, wall)?;
                }
                let more =
                    ledger::prolong(writing, position, now + PROLONG_BEFORE_END, ROWS_PER_STEP)?;
                // rows that were not looked at may have a delivery that waits: the statement itself spares those
                let purged = if trusted {
                    (
                        ledger::purge(writing, ROWS_PER_STEP)?,
                        journal::purge(writing, BATCHES_PER_STEP)?,
                    )
                } else {
                    (0, (0, false))
                };
                Ok((more, writing.take_remembered(), purged))
            })?;
        if keep {
            self.time_saved_at = Some(now);
        }
        // these go into the log as all writes do
        if keep || rows + batches > 0 || !held.is_empty() {
            self.wrote(database, 0);
        }
        for (key, until) in held {
            (self.remember)(key, until);
        }
        self.position = more.unwrap_or((now + PROLONG_BEFORE_END, [0xff; 16]));
        // memory knows all by now: this may fail on its own
        let gives_back = self.give_back(database)?;
        let full = rows == ROWS_PER_STEP || more_batches;
        Ok(more.is_some() || full || gives_back)
    }

    /// Gives some of the free space back to the disk; whether there is more.
    fn give_back(&self, database: &Database) -> Result<bool, StoreError> {
        let step = self.checkpoints.every() / 4;
        let Some(more) = database.give_back(step)? else {
            return Ok(false);
        };
        self.wrote(database, step);
        if !more {
            // the file is cut when the log is copied into it
            database.checkpoint()?;
        }
        Ok(more)
    }

    /// Keeps the time a last time, and says if no delivery is left that could be lost. `is_saved` says whether all commits are on the disk.
    pub(super) fn end(database: &mut Database, time: &StoreTime, is_saved: bool) {
        if is_saved {
            database.commits_are_saved();
        }
        let wall = i64::try_from(time.clock().now().unix_ms()).unwrap_or(i64::MAX);
        let end = if is_saved {
            saved::end
        } else {
            ledger::keep_time
        };
        if let Err(error) = database.transaction(time.now(), |writing| end(writing, wall)) {
            tracing::debug!(%error, "cannot save the store's time");
            return;
        }
        if let Err(error) = database.unmark() {
            tracing::debug!(%error, "cannot remove the marker that the store has deliveries");
        }
    }
}
