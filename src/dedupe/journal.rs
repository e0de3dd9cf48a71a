//! Brings commits to the disk: one thread that writes whatever has come together, so that many commits share one fsync.
//! A request never waits for it. After a crash the commits of the last 100 ms are forgotten, and their duplicates pass.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::drift::Drift;
use crate::store::sqlite::{Change, Database};

/// How long changes gather before they are written.
const GATHER: Duration = Duration::from_millis(25);
/// Changes in one transaction.
const BATCH: usize = 4096;
/// The pause after a write that failed, and between looks for expired rows.
const PAUSE: Duration = Duration::from_secs(1);
/// Expired rows deleted at once: a few milliseconds.
const STEP: usize = 500;
/// Changes kept for a disk that takes none, some 50 MiB. Later ones stay in memory alone.
const KEPT: usize = 1 << 20;

/// The way to the disk.
#[derive(Debug)]
pub(super) struct Journal {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
    /// Changes not on the disk yet.
    queued: AtomicUsize,
    /// Changes that will not get there.
    dropped: AtomicUsize,
    trouble: Mutex<Option<StoreError>>,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: Vec<Change>,
    closing: bool,
}

impl Journal {
    /// Starts the writing thread.
    pub(super) fn start(database: Database, clock: Arc<dyn Clock>, drift: Arc<Mutex<Drift>>) -> Result<Self, std::io::Error> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            wake: Condvar::new(),
            queued: AtomicUsize::new(0),
            dropped: AtomicUsize::new(0),
            trouble: Mutex::default(),
        });
        let mut writer = Writer { database, clock, drift, shared: Arc::clone(&shared), backlog: VecDeque::new() };
        let thread = std::thread::Builder::new().name("ledger".to_owned()).spawn(move || writer.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Gives changes to the writer; does not wait for it.
    pub(super) fn write(&self, changes: impl IntoIterator<Item = Change>) {
        let mut waiting = locked(&self.shared.waiting);
        let before = waiting.changes.len();
        for change in changes {
            if self.shared.queued.load(Ordering::Relaxed) < KEPT {
                self.shared.queued.fetch_add(1, Ordering::Relaxed);
                waiting.changes.push(change);
            } else {
                self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        let after = waiting.changes.len();
        drop(waiting);
        // The first change begins the gathering, a full batch ends it; those between need not wake the writer.
        if before == 0 || (before < BATCH && after >= BATCH) {
            self.shared.wake.notify_one();
        }
    }

    /// Changes that should be on the disk and are not.
    pub(super) fn unsaved(&self) -> usize {
        self.shared.queued.load(Ordering::Relaxed) + self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Why the last write failed, if it did.
    pub(super) fn trouble(&self) -> Option<StoreError> {
        locked(&self.shared.trouble).clone()
    }

    /// Writes what waits, once, and ends the thread. What comes later stays in memory.
    pub(super) fn close(&self) {
        locked(&self.shared.waiting).closing = true;
        self.shared.wake.notify_one();
        if let Some(thread) = locked(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the ledger ended early");
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.close();
    }
}

struct Writer {
    database: Database,
    clock: Arc<dyn Clock>,
    drift: Arc<Mutex<Drift>>,
    shared: Arc<Shared>,
    backlog: VecDeque<Change>,
}

impl Writer {
    fn run(&mut self) {
        let mut rest = PAUSE;
        loop {
            let closing = self.gather(rest);
            let done = self.save().and_then(|()| if closing { Ok(0) } else { self.purge() });
            // After a full step more has probably expired: on with it soon, but commits first.
            rest = if matches!(done, Ok(STEP)) { GATHER } else { PAUSE };
            self.say(done.and_then(|_| self.database.in_place()).err());
            if closing {
                return;
            }
        }
    }

    /// Waits for changes, `rest` at most, then until some have come together; whether this is the end.
    fn gather(&mut self, rest: Duration) -> bool {
        let shared = Arc::clone(&self.shared);
        let waiting = locked(&shared.waiting);
        // A backlog is there because the disk took nothing: new changes do not cut the pause short.
        let idle = |waiting: &mut Waiting| !waiting.closing && (waiting.changes.is_empty() || !self.backlog.is_empty());
        let (waiting, _) = shared.wake.wait_timeout_while(waiting, rest, idle).unwrap_or_else(PoisonError::into_inner);
        let few = |waiting: &mut Waiting| !waiting.closing && !waiting.changes.is_empty() && waiting.changes.len() < BATCH;
        let (mut waiting, _) = shared.wake.wait_timeout_while(waiting, GATHER, few).unwrap_or_else(PoisonError::into_inner);
        self.backlog.extend(waiting.changes.drain(..));
        waiting.closing
    }

    /// Writes the backlog; what the disk does not take stays in it.
    fn save(&mut self) -> Result<(), StoreError> {
        while !self.backlog.is_empty() {
            let batch: Vec<Change> = self.backlog.iter().take(BATCH).copied().collect();
            self.database.save(&batch)?;
            self.backlog.drain(..batch.len());
            self.shared.queued.fetch_sub(batch.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// Deletes some expired rows, if the wall clock can be trusted; how many.
    fn purge(&mut self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        {
            let mut drift = locked(&self.drift);
            drift.observe(now);
            if drift.jumped() || !drift.holds(now) {
                return Ok(0);
            }
        }
        self.database.purge(now.unix_ms(), STEP)
    }

    /// Keeps the trouble for the status, and logs when it begins and when it ends.
    fn say(&self, trouble: Option<StoreError>) {
        let mut known = locked(&self.shared.trouble);
        match (&trouble, &*known) {
            (Some(error), None) => tracing::error!(%error, "delivery IDs are not written to disk; they are kept in memory"),
            (None, Some(_)) => tracing::info!("delivery IDs are written to disk again"),
            (Some(_), Some(_)) | (None, None) => {}
        }
        *known = trouble;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
