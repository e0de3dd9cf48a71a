//! The one thread that writes. Whoever waits goes into the next batch: one transaction, one fsync, and then all are told.
//!
//! Changes of the ledger's journal wait for company up to 25 ms, or ride with the next write that somebody waits for. Chores (what has expired,
//! what lives on, the time) are done between batches, a few milliseconds a second.
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::room::Room;
use super::sqlite::writing::{Tally, Writing};
use super::sqlite::{Change, Database, ledger};
use super::time::StoreTime;
use crate::clock::{Clock as _, SystemClock};
use crate::store::{Key, StoreError};

mod maintenance;
mod trouble;
mod writer;
pub(crate) use maintenance::Chores;
use trouble::{Trouble, Turn};
pub(crate) use writer::Writer;

/// How long changes of the journal gather before they are written.
const GATHER: Duration = Duration::from_millis(25);
/// Changes in one transaction.
const CHANGES: usize = 4096;
/// The pause after a write that failed, and between chores.
const PAUSE: Duration = Duration::from_secs(1);
/// Changes kept for a disk that takes none, some 50 MiB. Later ones stay in memory alone.
const KEPT: usize = 1 << 20;
/// Writes in one transaction.
const WRITES: usize = 1024;
/// Bytes of bodies in one transaction, but for the last.
const BYTES: usize = 4 << 20;
/// Writes that wait at most; of those that finish what is begun, twice as many.
const QUEUE: usize = 4096;
/// Bytes of bodies that wait at most.
const QUEUE_BYTES: usize = 64 << 20;

/// Something to write, and who is told.
pub(crate) trait Write: Send {
    /// Writes it; is called again, if the transaction it was in failed.
    fn apply(&mut self, writing: &Writing<'_>) -> Result<(), StoreError>;
    /// It is on the disk, or it is not.
    fn finish(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// How a write waits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct How {
    /// No two writes of one key are in one batch.
    pub(crate) key: Option<Key>,
    /// Bytes it holds.
    pub(crate) bytes: usize,
    /// Whether it finishes what was begun: it is let in when what is new is not.
    pub(crate) finishes: bool,
}

struct Job {
    how: How,
    write: Box<dyn Write>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    changes: Vec<Change>,
    closing: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.changes.is_empty()
    }
}

/// The way in, for any thread.
#[derive(Default)]
pub(crate) struct Line {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// Changes of the journal not on the disk yet.
    queued: AtomicUsize,
    /// Changes that will not get there.
    dropped: AtomicUsize,
    trouble: Mutex<Trouble>,
    /// How long the last transaction took, its fsync included, in microseconds; 0: none yet.
    last_write: AtomicU64,
    /// The sums that are on the disk.
    tally: Mutex<Tally>,
    /// Bytes of the database that are in use.
    used: AtomicU64,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("queued", &self.queued)
            .finish_non_exhaustive()
    }
}

impl Line {
    /// Gives a write to the thread. What does not fit is told so at once.
    pub(crate) fn write(&self, how: How, write: Box<dyn Write>) {
        let mut waiting = self.waiting.lock();
        let most = if how.finishes { QUEUE * 2 } else { QUEUE };
        let refused = if waiting.closing {
            Some("the store is closed")
        } else if waiting.jobs.len() >= most
            || (!how.finishes && waiting.bytes > 0 && waiting.bytes + how.bytes > QUEUE_BYTES)
        {
            Some("too many writes wait for the disk")
        } else {
            None
        };
        if let Some(why) = refused {
            drop(waiting);
            return write.finish(Err(StoreError::Unavailable(why.into())));
        }
        waiting.bytes += how.bytes;
        waiting.jobs.push_back(Job { how, write });
        let first = waiting.jobs.len() == 1;
        drop(waiting);
        // those between need not wake the thread: it takes all that wait
        if first {
            self.wake.notify_one();
        }
    }

    /// Gives changes of the journal to the thread; nobody waits for them.
    pub(crate) fn journal(&self, changes: impl IntoIterator<Item = Change>) {
        let mut waiting = self.waiting.lock();
        let before = waiting.changes.len();
        for change in changes {
            // a gap has to get there, when the disk takes changes again: it says that others did not
            if self.queued.load(Ordering::Relaxed) < KEPT || matches!(change, Change::Kept(_)) {
                self.queued.fetch_add(1, Ordering::Relaxed);
                waiting.changes.push(change);
            } else {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        let after = waiting.changes.len();
        drop(waiting);
        // The first change begins the gathering, a full batch ends it; those between need not wake the thread.
        if before == 0 || (before < CHANGES && after >= CHANGES) {
            self.wake.notify_one();
        }
    }

    /// Changes of the journal that should be on the disk and are not.
    pub(crate) fn unsaved(&self) -> usize {
        self.queued.load(Ordering::Relaxed) + self.dropped.load(Ordering::Relaxed)
    }

    /// Changes of the journal that will never be on the disk.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().jobs.len()
    }

    /// How long the last transaction took, its fsync included.
    pub(crate) fn last_write(&self) -> Option<Duration> {
        Some(self.last_write.load(Ordering::Relaxed))
            .filter(|took| *took > 0)
            .map(Duration::from_micros)
    }

    /// Why the last write failed, if it did.
    pub(crate) fn trouble(&self) -> Option<StoreError> {
        self.trouble.lock().now().cloned()
    }

    /// Bytes of the database that are in use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// The sums that are on the disk.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }

    /// Keeps the trouble for the status, and logs when it begins and when it ends.
    fn say(&self, trouble: Option<StoreError>) {
        let mut known = self.trouble.lock();
        match (known.note(trouble, SystemClock.mono()), known.now()) {
            (Some(Turn::Begins), Some(error)) => {
                tracing::error!(%error, "writes to the store fail; delivery IDs are kept in memory")
            }
            (Some(Turn::Ends), _) => tracing::info!("writes to the store succeed again"),
            (Some(Turn::Begins) | None, _) => {}
        }
    }
}

struct Thread {
    database: Database,
    time: StoreTime,
    line: Arc<Line>,
    backlog: VecDeque<Change>,
    /// The disk took no changes the last time: others are not held up by them until the next pause is over.
    refused: bool,
    chores: Chores,
    room: Arc<Room>,
}

impl Thread {
    fn run(&mut self) {
        let (mut rest, mut done) = (PAUSE, SystemClock.mono());
        loop {
            let (jobs, closing, idle) = self.gather(rest);
            let (wrote, paused) = (!jobs.is_empty(), idle || since(done) >= rest);
            self.refused &= !paused && !closing;
            let mut told = self.write(jobs).and(self.journal(closing));
            if told.is_err() && !self.backlog.is_empty() {
                self.database.commits_are_lost();
            }
            if !closing && paused {
                let chores =
                    self.with_room(|thread| thread.chores.run(&mut thread.database, &thread.time));
                self.measure(true);
                done = SystemClock.mono();
                // after a full step there is probably more: on with it soon, but what is waited for first
                rest = if matches!(chores, Ok(true)) {
                    GATHER
                } else {
                    PAUSE
                };
                told = told.and(chores.map(drop));
            }
            if wrote && self.room.is_full() {
                // a long log would leave the database no room to grow by the little that outcomes need
                self.database.empty_log();
            }
            // a store that is not written to is looked after, too
            let told = told.and_then(|()| {
                if wrote {
                    Ok(())
                } else {
                    self.database.in_place()
                }
            });
            // what the journal could not write is still unwritten, whatever else was
            if told.is_err() || !self.refused {
                self.line.say(told.err());
            }
            if closing && self.line.waiting.lock().is_empty() {
                Chores::end(&mut self.database, &self.time, self.backlog.is_empty());
                return;
            }
        }
    }

    /// Waits for something to write, `rest` at most; what it is, whether this is the end, and whether there is nothing.
    fn gather(&mut self, rest: Duration) -> (Vec<Job>, bool, bool) {
        let line = Arc::clone(&self.line);
        let mut waiting = line.waiting.lock();
        // A backlog is there because the disk took nothing: new changes do not cut the pause short.
        let nothing = |w: &mut Waiting| {
            !w.closing && w.jobs.is_empty() && (w.changes.is_empty() || !self.backlog.is_empty())
        };
        line.wake.wait_while_for(&mut waiting, nothing, rest);
        let idle = nothing(&mut waiting);
        let few = |w: &mut Waiting| {
            !w.closing && w.jobs.is_empty() && !w.changes.is_empty() && w.changes.len() < CHANGES
        };
        line.wake.wait_while_for(&mut waiting, few, GATHER);
        self.backlog.extend(waiting.changes.drain(..));
        let jobs = take(&mut waiting);
        (jobs, waiting.closing, idle)
    }

    /// Writes a batch, with some changes of the journal, and tells who waits. If it fails, each is tried alone.
    fn write(&mut self, mut jobs: Vec<Job>) -> Result<(), StoreError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let most = if self.refused { 0 } else { CHANGES };
        let changes: Vec<Change> = self.backlog.iter().take(most).cloned().collect();
        let (now, began) = (self.time.now(), SystemClock.mono());
        let whole = self.database.transaction(now, |writing| {
            ledger::save(writing, &changes)?;
            jobs.iter_mut().try_for_each(|job| job.write.apply(writing))
        });
        let bytes = jobs.iter().map(|job| job.how.bytes).sum();
        let (finishes, takes) = (
            jobs.iter().any(|job| job.how.finishes),
            jobs.iter().any(|job| !job.how.finishes),
        );
        match whole {
            Ok(((), tally)) => {
                let took = u64::try_from(since(began).as_micros()).unwrap_or(u64::MAX);
                self.line.last_write.store(took.max(1), Ordering::Relaxed);
                self.saved(changes.len());
                self.count(&tally);
                self.chores.wrote(&self.database, bytes);
                if takes {
                    // what was let in counts until the disk was looked at again
                    self.measure(false);
                }
                jobs.into_iter().for_each(|job| job.write.finish(Ok(())));
                Ok(())
            }
            // it was alone: there is nothing that another could have spoilt
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
            // what was begun is finished, whatever it takes; what is new waits for room
            let finishes = job.how.finishes;
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

    /// Runs a write that finishes what was begun. On a full disk it is run again once all of the log is in the database, so that the log begins anew,
    /// and then with the bytes of the reserve.
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

    /// Looks how much room there is.
    fn measure(&self, makes_reserve: bool) {
        let Ok(pages) = self.database.pages() else {
            return;
        };
        self.room
            .measure(self.database.growth(pages), makes_reserve);
        self.line.used.store(pages.used(), Ordering::Relaxed);
    }

    /// Writes changes of the journal; what the disk does not take stays in the backlog. While somebody waits, some only.
    fn journal(&mut self, all: bool) -> Result<(), StoreError> {
        while !self.backlog.is_empty()
            && !self.refused
            && (all || self.line.waiting.lock().jobs.is_empty())
        {
            let batch: Vec<Change> = self.backlog.iter().take(CHANGES).cloned().collect();
            let saved = self
                .database
                .transaction(self.time.now(), |writing| ledger::save(writing, &batch));
            self.refused = saved.is_err();
            saved?;
            self.chores.wrote(&self.database, batch.len() * 64);
            self.saved(batch.len());
        }
        Ok(())
    }

    fn saved(&mut self, changes: usize) {
        if changes > 0 {
            self.line.say(None);
        }
        self.backlog.drain(..changes.min(self.backlog.len()));
        self.line.queued.fetch_sub(changes, Ordering::Relaxed);
        if changes > 0 && self.backlog.is_empty() {
            self.database.commits_are_saved();
        }
    }

    fn count(&self, changed: &Tally) {
        let mut tally = self.line.tally.lock();
        for (what, (rows, bytes)) in changed {
            let sum = tally.entry(*what).or_default();
            *sum = (sum.0 + rows, sum.1 + bytes);
        }
    }
}

/// Takes what fits in one transaction; a second write of a key waits for the next.
fn take(waiting: &mut Waiting) -> Vec<Job> {
    let (mut taken, mut later, mut keys, mut bytes) =
        (Vec::new(), VecDeque::new(), HashSet::new(), 0);
    while taken.len() < WRITES && bytes < BYTES {
        let Some(job) = waiting.jobs.pop_front() else {
            break;
        };
        if job.how.key.is_some_and(|key| !keys.insert(key)) {
            later.push_back(job);
            continue;
        }
        bytes += job.how.bytes;
        waiting.bytes = waiting.bytes.saturating_sub(job.how.bytes);
        taken.push(job);
    }
    while let Some(job) = later.pop_back() {
        waiting.jobs.push_front(job);
    }
    taken
}

fn since(then: Instant) -> Duration {
    SystemClock.mono().saturating_duration_since(then)
}
