//! The queue of the writer thread: writes with a caller that waits, and changes of the journal without one.
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::trouble::{Trouble, Turn};
use crate::clock::{Clock as _, SystemClock};
use crate::store::embedded::sqlite::Change;
use crate::store::embedded::sqlite::writing::{Tally, Writing};
use crate::store::{Key, StoreError};

/// The most changes that are queued while the disk accepts none, some 50 MiB. Later ones stay in memory alone.
const MAX_QUEUED_CHANGES: usize = 1 << 20;
/// The most changes in one transaction.
pub(super) const MAX_BATCH_CHANGES: usize = 4096;
/// The most writes that are gathered before they are written.
const MAX_GATHERED_WRITES: usize = 256;
/// The most writes in one transaction.
const MAX_BATCH_WRITES: usize = 1024;
/// The most bytes of bodies in one transaction, without the last body.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// The most units in one transaction, without those of the last write.
const MAX_BATCH_UNITS: usize = 4000;
/// The most writes that wait; twice as many if they finish earlier work.
const MAX_QUEUED_WRITES: usize = 4096;
/// The most bytes of bodies that wait.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// A write, and its completion.
pub(crate) trait Write: Send {
    /// Writes it. Called again if its transaction failed.
    fn apply(&mut self, writing: &Writing<'_>) -> Result<(), StoreError>;
    /// Completes the write: it is on the disk, or it is not.
    fn finish(self: Box<Self>, outcome: Result<(), StoreError>);
}

/// The options of a write.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WriteOptions {
    /// No two writes of one key are in one batch.
    pub(crate) key: Option<Key>,
    /// Bytes it holds.
    pub(crate) bytes: usize,
    /// Units it inserts or changes, beside one.
    pub(crate) more_units: usize,
    /// Whether it finishes earlier work. It is then accepted when new deliveries are not.
    pub(crate) finishes: bool,
    /// Whether it may wait some milliseconds for others, because nothing waits for it.
    pub(crate) gathers: bool,
}

/// A queued write.
pub(super) struct Job {
    pub(super) options: WriteOptions,
    pub(super) write: Box<dyn Write>,
}

/// The writes and changes that wait for the thread.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) jobs: VecDeque<Job>,
    /// The writes among them that do not gather.
    urgent: usize,
    bytes: usize,
    pub(super) changes: Vec<Change>,
    pub(super) closing: bool,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.changes.is_empty()
    }

    /// Adds a write. Returns whether the thread must know: it is the first, or ends the gathering. The writes between need not wake the thread,
    /// which writes all that wait.
    fn push(&mut self, job: Job) -> bool {
        let gathered = self.gathers();
        self.bytes += job.options.bytes;
        self.urgent += usize::from(!job.options.gathers);
        self.jobs.push_back(job);
        self.jobs.len() == 1 || gathered && !self.gathers()
    }

    /// Returns whether what waits may wait for more.
    pub(super) fn gathers(&self) -> bool {
        !self.closing
            && !self.is_empty()
            && self.urgent == 0
            && self.jobs.len() < MAX_GATHERED_WRITES
            && self.changes.len() < MAX_BATCH_CHANGES
    }
}

/// The queue of the writer thread, which any thread may use.
#[derive(Default)]
pub(crate) struct WriteQueue {
    pub(super) waiting: Mutex<Waiting>,
    pub(super) wake: Condvar,
    /// Changes of the journal that are not on the disk yet.
    pub(super) queued: AtomicUsize,
    /// Changes that will never be on the disk.
    dropped: AtomicUsize,
    trouble: Mutex<Trouble>,
    /// The duration of the last transaction, its fsync included, in microseconds; 0: none yet.
    pub(super) last_write: AtomicU64,
    /// The sums that are on the disk.
    pub(super) tally: Mutex<Tally>,
    /// Bytes of the database that are in use.
    pub(super) used: AtomicU64,
}

impl std::fmt::Debug for WriteQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteQueue")
            .field("queued", &self.queued)
            .finish_non_exhaustive()
    }
}

impl WriteQueue {
    /// Queues a write for the thread. A write that does not fit is refused at once.
    pub(crate) fn write(&self, options: WriteOptions, write: Box<dyn Write>) {
        let mut waiting = self.waiting.lock();
        let most = if options.finishes {
            MAX_QUEUED_WRITES * 2
        } else {
            MAX_QUEUED_WRITES
        };
        let refused = if waiting.closing {
            Some("the store is closed")
        } else if waiting.jobs.len() >= most
            || (!options.finishes
                && waiting.bytes > 0
                && waiting.bytes + options.bytes > MAX_QUEUED_BYTES)
        {
            Some("too many writes wait for the disk")
        } else {
            None
        };
        if let Some(why) = refused {
            drop(waiting);
            return write.finish(Err(StoreError::Unavailable(why.into())));
        }
        let wakes = waiting.push(Job { options, write });
        drop(waiting);
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Queues changes of the journal for the thread. No caller waits for them.
    pub(crate) fn journal(&self, changes: impl IntoIterator<Item = Change>) {
        let mut waiting = self.waiting.lock();
        let before = waiting.changes.len();
        for change in changes {
            // a gap must be written once the disk accepts changes again: it records that others were not written
            if self.queued.load(Ordering::Relaxed) < MAX_QUEUED_CHANGES
                || matches!(change, Change::Continuity(_))
            {
                self.queued.fetch_add(1, Ordering::Relaxed);
                waiting.changes.push(change);
            } else {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        let after = waiting.changes.len();
        drop(waiting);
        // The first change begins the gathering, a full batch ends it; those between need not wake the thread.
        if before == 0 || (before < MAX_BATCH_CHANGES && after >= MAX_BATCH_CHANGES) {
            self.wake.notify_one();
        }
    }

    /// Returns the number of journal changes that should be on the disk and are not.
    pub(crate) fn unsaved(&self) -> usize {
        self.queued.load(Ordering::Relaxed) + self.dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of journal changes that will never be on the disk.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns the number of writes that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().jobs.len()
    }

    /// Returns the duration of the last transaction, its fsync included.
    pub(crate) fn last_write(&self) -> Option<Duration> {
        Some(self.last_write.load(Ordering::Relaxed))
            .filter(|took| *took > 0)
            .map(Duration::from_micros)
    }

    /// Returns the error of the last write, if it failed.
    pub(crate) fn trouble(&self) -> Option<StoreError> {
        self.trouble.lock().now().cloned()
    }

    /// Returns the bytes of the database that are in use.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Returns the sums that are on the disk.
    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }

    /// Stores the result of a write for the status, and logs when trouble begins and ends.
    pub(super) fn note(&self, trouble: Option<StoreError>) {
        let mut known = self.trouble.lock();
        match (known.note(trouble, SystemClock.mono()), known.now()) {
            (Some(Turn::Begins), Some(error)) => {
                tracing::error!(%error, "writes to the store fail; delivery IDs stay in memory");
            }
            (Some(Turn::Ends), _) => tracing::info!("writes to the store succeed again"),
            (Some(Turn::Begins) | None, _) => {}
        }
    }
}

/// Takes the writes that fit in one transaction. A second write of one key waits for the next.
pub(super) fn take(waiting: &mut Waiting) -> Vec<Job> {
    let (mut taken, mut later, mut keys, mut bytes, mut units) =
        (Vec::new(), VecDeque::new(), HashSet::new(), 0, 0);
    while taken.len() < MAX_BATCH_WRITES && bytes < MAX_BATCH_BYTES && units < MAX_BATCH_UNITS {
        let Some(job) = waiting.jobs.pop_front() else {
            break;
        };
        if job.options.key.is_some_and(|key| !keys.insert(key)) {
            later.push_back(job);
            continue;
        }
        bytes += job.options.bytes;
        units += job.options.more_units + 1;
        waiting.urgent -= usize::from(!job.options.gathers);
        waiting.bytes = waiting.bytes.saturating_sub(job.options.bytes);
        taken.push(job);
    }
    while let Some(job) = later.pop_back() {
        waiting.jobs.push_front(job);
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Write for Nothing {
        fn apply(&mut self, _: &Writing<'_>) -> Result<(), StoreError> {
            Ok(())
        }

        fn finish(self: Box<Self>, _: Result<(), StoreError>) {}
    }

    fn job(gathers: bool) -> Job {
        let options = WriteOptions {
            gathers,
            ..WriteOptions::default()
        };
        let write = Box::new(Nothing);
        Job { options, write }
    }

    /// Returns what waits after these writes, and which of them wake the thread.
    fn pushed(gathers: &[bool]) -> (Waiting, Vec<bool>) {
        let mut waiting = Waiting::default();
        let wakes = gathers.iter().map(|gathers| waiting.push(job(*gathers)));
        let wakes = wakes.collect();
        (waiting, wakes)
    }

    /// Results of attempts wait for each other, and are written with the next write that a caller waits for.
    #[test]
    fn writes_gather_until_one_is_urgent_or_they_are_many() {
        assert!(!Waiting::default().gathers(), "nothing waits");
        let (mut waiting, wakes) = pushed(&[true, true, false, true, false]);
        assert_eq!(wakes, [true, false, true, false, false]);
        assert!(!waiting.gathers());
        assert_eq!(take(&mut waiting).len(), 5);
        assert!(
            waiting.push(job(true)) && waiting.gathers(),
            "the urgent ones were taken"
        );
        waiting.closing = true;
        assert!(!waiting.gathers());
        let (waiting, mut wakes) = pushed(&[true; MAX_GATHERED_WRITES]);
        assert!(!waiting.gathers() && wakes.pop() == Some(true));
        assert_eq!(wakes.iter().filter(|wakes| **wakes).count(), 1);
    }
}
