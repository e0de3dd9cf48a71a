//! The handle of the thread that writes.
use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::{Chores, Line, Thread};
use crate::store::StoreError;
use crate::store::embedded::room::Room;
use crate::store::embedded::sqlite::Database;
use crate::store::embedded::time::StoreTime;

/// The thread, until it is closed or dropped.
#[derive(Debug)]
pub(crate) struct Writer {
    line: Arc<Line>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(
        line: Arc<Line>,
        database: Database,
        time: StoreTime,
        chores: Chores,
        room: Arc<Room>,
    ) -> Result<Self, StoreError> {
        *line.tally.lock() = database.tally()?;
        let mut writing = Thread {
            database,
            time,
            line: Arc::clone(&line),
            backlog: VecDeque::new(),
            refused: false,
            chores,
            room,
        };
        writing.measure(true);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writing.run());
        let thread = thread
            .map_err(|error| StoreError::Unavailable(format!("no thread: {error}").into()))?;
        Ok(Self {
            line,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Writes what waits, once, and ends the thread. What comes later is refused.
    pub(crate) fn close(&self) {
        self.line.waiting.lock().closing = true;
        self.line.wake.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the store ended early");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}
