//! Copies the log into the database, so that no commit waits for it.
//!
//! A thread of its own does most of it while the writer continues. Under steady load it never reaches the end of the log, which could then
//! never begin again and would grow without bound. Past some size the writer is asked to do the small rest, between two batches.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use super::connection::{checkpoint, connect};
use crate::store::StoreError;

/// The bytes that a transaction needs in the log beside its bodies: at least one page.
const OVERHEAD: usize = 4 << 10;
/// Bytes of a frame in the log.
const FRAME: usize = 4 << 10;
/// The writer helps once the log is so many times as long as it should be.
const LONG_LOG_FACTOR: usize = 4;

#[derive(Debug, Default)]
struct State {
    bytes: usize,
    closing: bool,
}

/// Between the writer and the thread.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// Bytes written after which a checkpoint is made.
    every: usize,
    state: Mutex<State>,
    wake: Condvar,
    wanted: AtomicBool,
}

impl Checkpoints {
    /// Bytes written after which a checkpoint is made.
    pub(super) fn every(&self) -> usize {
        self.every
    }

    /// Records that some bytes were written to the log.
    pub(super) fn wrote(&self, bytes: usize) {
        let mut state = self.state.lock();
        state.bytes = state.bytes.saturating_add(bytes).saturating_add(OVERHEAD);
        if state.bytes >= self.every {
            self.wake.notify_one();
        }
    }

    /// Returns whether the writer must do the rest, and resets the request.
    pub(super) fn wanted(&self) -> bool {
        self.wanted.swap(false, Ordering::Relaxed)
    }
}

/// The thread, until it is dropped.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    shared: Arc<Checkpoints>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread, which copies the log after `every` bytes.
    pub(crate) fn start(path: &Path, every: usize) -> Result<Self, StoreError> {
        let shared = Arc::new(Checkpoints {
            every,
            state: Mutex::default(),
            wake: Condvar::new(),
            wanted: AtomicBool::new(false),
        });
        let (connection, long) = (
            connect(path)?,
            i64::try_from(every / FRAME * LONG_LOG_FACTOR).unwrap_or(i64::MAX),
        );
        let in_thread = Arc::clone(&shared);
        let run = move || {
            while in_thread.wait() {
                match checkpoint(&connection) {
                    Ok(done) if done.log > long => in_thread.wanted.store(true, Ordering::Relaxed),
                    Ok(_) => {}
                    Err(error) => tracing::debug!(%error, "cannot make a checkpoint"),
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("checkpoint".to_owned())
            .spawn(run);
        let thread = thread.map_err(|error| {
            StoreError::Unavailable(format!("cannot start a thread: {error}").into())
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Returns the part that the writer shares.
    pub(crate) fn shared(&self) -> Arc<Checkpoints> {
        Arc::clone(&self.shared)
    }
}

impl Checkpoints {
    /// Waits until enough was written; `false` at the end.
    fn wait(&self) -> bool {
        let mut state = self.state.lock();
        let few = |state: &mut State| !state.closing && state.bytes < self.every;
        self.wake.wait_while(&mut state, few);
        state.bytes = 0;
        !state.closing
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.state.lock().closing = true;
        self.shared.wake.notify_one();
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the checkpoint thread of the store ended early");
        }
    }
}
