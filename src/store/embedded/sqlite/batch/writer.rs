//! The handle of the thread that writes.
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::{Maintenance, Thread, WriteQueue};
use crate::store::StoreError;
use crate::store::embedded::sqlite::Database;
use crate::store::embedded::sqlite::room::Room;
use crate::store::embedded::time::StoreTime;

/// The thread, until it is closed or dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    writes: Arc<WriteQueue>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        writes: Arc<WriteQueue>,
        database: Database,
        time: StoreTime,
        maintenance: Maintenance,
        room: Arc<Room>,
    ) -> Result<Self, StoreError> {
        *writes.tally.lock() = database.tally()?;
        let mut writing = Thread {
            database,
            time,
            writes: Arc::clone(&writes),
            backlog: VecDeque::new(),
            refused: false,
            maintenance,
            room,
        };
        writing.measure(true);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writing.run());
        let thread = thread.map_err(|error| {
            StoreError::Unavailable(format!("cannot start a thread: {error}").into())
        })?;
        Ok(Self {
            writes,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Writes the waiting jobs once, and ends the thread. Later jobs are refused.
    pub(crate) fn close(&self) {
        self.writes.waiting.lock().closing = true;
        self.writes.wake.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the writer thread of the store ended early");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}
