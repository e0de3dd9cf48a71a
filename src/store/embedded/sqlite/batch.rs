//! The writer thread. Groups all waiting writes into one transaction with one fsync, then completes their callers.
//!
//! Changes of the ledger's journal and results of attempts wait up to 25 ms for others, or are written with the next write that a caller waits
//! for. Maintenance (expiry, extension, the time) is done between batches, for a few milliseconds a second.
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::room::Room;
use super::writing::{ALL_TENANTS, Tally};
use super::{Change, Database, journal};
use crate::clock::{Clock as _, SystemClock};
use crate::store::StoreError;
use crate::store::embedded::time::StoreTime;
use crate::units::saturating;

mod maintenance;
mod trouble;
mod write_queue;
mod writer;
pub(crate) use maintenance::{Maintenance, Remember};
use write_queue::{Job, MAX_BATCH_CHANGES, Waiting, take};
pub(crate) use write_queue::{Write, WriteOptions, WriteQueue};
pub(crate) use writer::Writer;

/// The time for which writes that nothing waits for are gathered before they are written.
const GATHER_TIME: Duration = Duration::from_millis(25);
/// The pause after a write that failed, and between two steps of maintenance.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

struct Thread {
    database: Database,
    time: StoreTime,
    writes: Arc<WriteQueue>,
    backlog: VecDeque<Change>,
    /// Whether the disk accepted no changes the last time. They do not hold up other writes until the next pause is over.
    refused: bool,
    maintenance: Maintenance,
    room: Arc<Room>,
}

impl Thread {
    fn run(&mut self) {
        let (mut rest, mut done) = (RETRY_PAUSE, SystemClock.mono());
        loop {
            let (jobs, closing, idle) = self.gather(rest);
            let (wrote, paused) = (!jobs.is_empty(), idle || since(done) >= rest);
            self.refused &= !paused && !closing;
            let mut result = self.write(jobs).and(self.journal(closing));
            if result.is_err() && !self.backlog.is_empty() {
                self.database.commits_are_lost();
            }
            if !closing && paused {
                let maintenance = self
                    .with_room(|thread| thread.maintenance.run(&mut thread.database, &thread.time));
                self.measure(true);
                done = SystemClock.mono();
                // after a full step there is probably more: continue soon, but after the writes that callers wait for
                rest = if matches!(maintenance, Ok(true)) {
                    GATHER_TIME
                } else {
                    RETRY_PAUSE
                };
                result = result.and(maintenance.map(drop));
            }
            if wrote && self.room.is_full() {
                // a long log would leave the database no room to grow by the little that outcomes need
                self.database.empty_log();
            }
            // a store that is not written to is checked, too
            let result = result.and_then(|()| {
                if wrote {
                    Ok(())
                } else {
                    self.database.in_place()
                }
            });
            // the changes of the journal are still unwritten, whatever else was written
            if result.is_err() || !self.refused {
                self.writes.note(result.err());
            }
            if closing && self.writes.waiting.lock().is_empty() {
                Maintenance::end(&mut self.database, &self.time, self.backlog.is_empty());
                return;
            }
        }
    }

    /// Waits for something to write, at most `rest`. Returns the writes, whether the thread closes, and whether nothing came.
    fn gather(&mut self, rest: Duration) -> (Vec<Job>, bool, bool) {
        let writes = Arc::clone(&self.writes);
        let mut waiting = writes.waiting.lock();
        // A backlog exists because the disk accepted nothing: new changes do not cut the pause short.
        let nothing = |w: &mut Waiting| {
            !w.closing && w.jobs.is_empty() && (w.changes.is_empty() || !self.backlog.is_empty())
        };
        writes.wake.wait_while_for(&mut waiting, nothing, rest);
        let idle = nothing(&mut waiting);
        let gathers = |w: &mut Waiting| w.gathers();
        writes
            .wake
            .wait_while_for(&mut waiting, gathers, GATHER_TIME);
        self.backlog.extend(waiting.changes.drain(..));
        let jobs = take(&mut waiting);
        (jobs, waiting.closing, idle)
    }

    /// Writes a batch with some changes of the journal, and completes its callers. If it fails, each write is repeated alone.
    fn write(&mut self, mut jobs: Vec<Job>) -> Result<(), StoreError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let most = if self.refused { 0 } else { MAX_BATCH_CHANGES };
        let changes: Vec<Change> = self.backlog.iter().take(most).cloned().collect();
        let (now, began) = (self.time.now(), SystemClock.mono());
        let whole = self.database.transaction(now, |writing| {
            journal::save(writing, &changes)?;
            jobs.iter_mut().try_for_each(|job| job.write.apply(writing))
        });
        let bytes = jobs.iter().map(|job| job.options.bytes).sum();
        let (finishes, takes) = (
            jobs.iter().any(|job| job.options.finishes),
            jobs.iter().any(|job| !job.options.finishes),
        );
        match whole {
            Ok(((), tally)) => {
                let took = saturating(since(began).as_micros());
                self.writes.last_write.store(took.max(1), Ordering::Relaxed);
                self.saved(changes.len());
                self.count(&tally);
                self.maintenance.wrote(&self.database, bytes);
                if takes {
                    // accepted writes count until the disk was looked at again
                    self.measure(false);
                }
                jobs.into_iter().for_each(|job| job.write.finish(Ok(())));
                Ok(())
            }
            // it was alone: no other write can be the reason
            Err(error)
                if jobs.len() == 1
                    && changes.is_empty()
                    && !(matches!(error, StoreError::Full) && finishes) =>
            {
                jobs.into_iter()
                    .for_each(|job| job.write.finish(Err(error.clone())));
                Err(error)
            }
            Err(_) => self.one_by_one(jobs),
        }
    }

    fn one_by_one(&mut self, jobs: Vec<Job>) -> Result<(), StoreError> {
        let mut failed = Ok(());
        for mut job in jobs {
            // earlier work is finished at any cost; new deliveries wait for room
            let finishes = job.options.finishes;
            let mut write = |thread: &mut Self| {
                thread
                    .database
                    .transaction(thread.time.now(), |writing| job.write.apply(writing))
            };
            let alone = if finishes {
                self.with_room(write)
            } else {
                write(self)
            };
            let outcome = alone.map(|((), tally)| self.count(&tally));
            failed = failed.and(outcome.clone());
            job.write.finish(outcome);
        }
        failed
    }

    /// Runs a write that finishes earlier work. On a full disk it is run again once all of the log is in the database, so that the log
    /// begins again, and then with the bytes of the reserve.
    fn with_room<T>(
        &mut self,
        mut write: impl FnMut(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut done = write(self);
        for uses_reserve in [false, true] {
            if !matches!(done, Err(StoreError::Full)) || (uses_reserve && !self.room.release()) {
                return done;
            }
            let copied = self
                .database
                .checkpoint()
                .is_ok_and(|copied| copied.done == copied.log);
            if copied || uses_reserve {
                done = write(self);
            }
        }
        done
    }

    /// Measures the room on the disk.
    fn measure(&self, makes_reserve: bool) {
        let Ok(pages) = self.database.pages() else {
            return;
        };
        self.room
            .measure(self.database.growth(pages), makes_reserve);
        self.writes.used.store(pages.used(), Ordering::Relaxed);
    }

    /// Writes changes of the journal. Changes that the disk does not accept stay in the backlog. While a caller waits, writes only some.
    fn journal(&mut self, all: bool) -> Result<(), StoreError> {
        while !self.backlog.is_empty()
            && !self.refused
            && (all || self.writes.waiting.lock().jobs.is_empty())
        {
            let batch: Vec<Change> = self
                .backlog
                .iter()
                .take(MAX_BATCH_CHANGES)
                .cloned()
                .collect();
            let saved = self
                .database
                .transaction(self.time.now(), |writing| journal::save(writing, &batch));
            self.refused = saved.is_err();
            saved?;
            self.maintenance.wrote(&self.database, batch.len() * 64);
            self.saved(batch.len());
        }
        Ok(())
    }

    fn saved(&mut self, changes: usize) {
        if changes > 0 {
            self.writes.note(None);
        }
        self.backlog.drain(..changes.min(self.backlog.len()));
        self.writes.queued.fetch_sub(changes, Ordering::Relaxed);
        if changes > 0 && self.backlog.is_empty() {
            self.database.commits_are_saved();
        }
    }

    fn count(&self, changed: &Tally) {
        let mut tally = self.writes.tally.lock();
        for ((kind, number), (rows, bytes)) in changed {
            let sum = tally.entry((*kind, *number.min(&ALL_TENANTS))).or_default();
            *sum = (sum.0 + rows, sum.1 + bytes);
        }
    }
}

fn since(then: Instant) -> Duration {
    SystemClock.mono().saturating_duration_since(then)
}
