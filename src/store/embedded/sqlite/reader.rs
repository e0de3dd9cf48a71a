//! A thread that reads, on a connection of its own: one for the worker, another for people.
use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::connect_reader;
use super::look::Reading;
use crate::store::embedded::time::StoreTime;
use crate::store::{Answer, StoreError};

/// Reads that wait at most.
const MAX_QUEUED_READS: usize = 256;

type Read = Box<dyn FnOnce(Result<&Reading<'_>, StoreError>) + Send>;

#[derive(Default)]
struct Waiting {
    reads: VecDeque<Read>,
    closing: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

/// The thread, until it is dropped.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// Starts the thread. With `one_state`, all queries of a read see the store as it was at the first of them.
    pub(crate) fn start(
        path: &Path,
        name: &str,
        time: StoreTime,
        one_state: bool,
    ) -> Result<Self, StoreError> {
        let (connection, shared) = (connect_reader(path)?, Arc::new(Shared::default()));
        let in_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || run(&in_thread, &connection, &time, one_state));
        let thread = thread.map_err(|error| {
            StoreError::Unavailable(format!("cannot start a thread: {error}").into())
        })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Queues a query. One that does not fit is refused at once.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Reading<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'static, T> {
        let (sender, receiver) = oneshot::channel();
        let read: Read = Box::new(move |reading| {
            // the caller may be gone
            drop(sender.send(reading.and_then(read)));
        });
        let mut waiting = self.shared.waiting.lock();
        if waiting.closing || waiting.reads.len() >= MAX_QUEUED_READS {
            drop(waiting);
            read(Err(StoreError::Unavailable(
                "too many reads wait for the disk".into(),
            )));
        } else {
            waiting.reads.push_back(read);
            drop(waiting);
            self.shared.wake.notify_one();
        }
        Box::pin(async move {
            receiver
                .await
                .unwrap_or_else(|_| Err(StoreError::Unavailable("the store is closed".into())))
        })
    }
}

fn run(shared: &Shared, connection: &Connection, time: &StoreTime, one_state: bool) {
    loop {
        let mut waiting = shared.waiting.lock();
        let nothing = |waiting: &mut Waiting| !waiting.closing && waiting.reads.is_empty();
        shared.wake.wait_while(&mut waiting, nothing);
        let Some(read) = waiting.reads.pop_front() else {
            return;
        };
        drop(waiting);
        // an attempt that is settled between two queries would show with the state from before it; without a transaction a read still works
        let state = one_state.then(|| connection.unchecked_transaction());
        read(Ok(&Reading {
            connection,
            now: time.now(),
        }));
        drop(state);
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.shared.waiting.lock().closing = true;
        self.shared.wake.notify_one();
        if self
            .thread
            .take()
            .is_some_and(|thread| thread.join().is_err())
        {
            tracing::error!("the reader thread of the store ended early");
        }
    }
}
