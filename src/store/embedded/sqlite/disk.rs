//! An open store on disk: the thread that writes, those that read, the one that tidies up.
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::batch::{Maintenance, Remember, Write, WriteOptions, WriteQueue, Writer};
use super::checkpoint::Checkpointer;
use super::reader::Reader;
use super::room::Room;
use super::writing::Writing;
use super::{Database, Directory};
use crate::store::drift::Drift;
use crate::store::embedded::time::StoreTime;
use crate::store::{Answer, Key, StoreError};

/// An open store. Fields are dropped in order: what is being written is, before the directory is let go.
pub(crate) struct Disk {
    writes: Arc<WriteQueue>,
    writer: Writer,
    reader: Reader,
    archive_reader: Reader,
    room: Arc<Room>,
    remember: Remember,
    _checkpointer: Checkpointer,
    _directory: Directory,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk")
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

impl Disk {
    /// Starts the threads. `remember` is called when a key ends at another time than before: its delivery waits, or waits no more.
    pub(crate) fn start(
        directory: Directory,
        database: Database,
        writes: Arc<WriteQueue>,
        time: StoreTime,
        drift: Arc<Mutex<Drift>>,
        remember: Remember,
        room: Arc<Room>,
    ) -> Result<Self, StoreError> {
        let path = database.path().to_owned();
        database.bound_log(room.bounds().log)?;
        // before the first delivery is admitted: a disk that was full at the last stop is still full
        let pages = database.pages()?;
        room.measure(database.growth(pages), true);
        let reader = Reader::start(&path, "store-read", time.clone(), false)?;
        let archive_reader = Reader::start(&path, "store-archive", time.clone(), true)?;
        let checkpointer = Checkpointer::start(&path, room.bounds().checkpoint)?;
        let maintenance = Maintenance::new(drift, Arc::clone(&remember), checkpointer.shared());
        let writer = Writer::start(
            Arc::clone(&writes),
            database,
            time,
            maintenance,
            Arc::clone(&room),
        )?;
        Ok(Self {
            writes,
            writer,
            reader,
            archive_reader,
            room,
            remember,
            _checkpointer: checkpointer,
            _directory: directory,
        })
    }

    /// Returns the thread that reads for people.
    pub(crate) fn archive_reader(&self) -> &Reader {
        &self.archive_reader
    }

    /// Returns the thread that reads for the worker.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Returns the queue of the writer thread.
    pub(crate) fn writes(&self) -> &WriteQueue {
        &self.writes
    }

    /// Returns the room on its disk.
    pub(crate) fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Bytes of the files.
    pub(crate) fn bytes(&self) -> u64 {
        self._directory.bytes()
    }

    /// Writes what waits and stops writing.
    pub(crate) fn close(&self) {
        self.writer.close();
    }

    /// Writes with the next batch. `after` is run by the thread once the result is known, before the caller gets it, and also if the
    /// caller is gone.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        options: WriteOptions,
        apply: impl FnMut(&Writing<'_>) -> Result<T, StoreError> + Send + 'static,
        after: impl FnOnce(&Result<T, StoreError>) + Send + 'static,
    ) -> Answer<'static, T> {
        let (sender, receiver) = oneshot::channel();
        self.writes.write(
            options,
            Box::new(Task {
                apply,
                done: None,
                remembered: Vec::new(),
                remember: Arc::clone(&self.remember),
                after,
                sender,
            }),
        );
        Box::pin(async move {
            receiver.await.unwrap_or_else(|_| {
                Err(StoreError::Unknown("the store was closed meanwhile".into()))
            })
        })
    }
}

struct Task<T, A, F> {
    apply: A,
    done: Option<T>,
    remembered: Vec<(Key, i64)>,
    remember: Remember,
    after: F,
    sender: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, A, F> Write for Task<T, A, F>
where
    T: Send,
    A: FnMut(&Writing<'_>) -> Result<T, StoreError> + Send,
    F: FnOnce(&Result<T, StoreError>) + Send,
{
    fn apply(&mut self, writing: &Writing<'_>) -> Result<(), StoreError> {
        self.done = Some((self.apply)(writing)?);
        self.remembered = writing.take_remembered();
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self {
            done,
            remembered,
            remember,
            after,
            sender,
            ..
        } = *self;
        let outcome = outcome.and_then(|()| {
            done.ok_or_else(|| {
                StoreError::Unknown("the writer thread ended without an answer".into())
            })
        });
        after(&outcome);
        if outcome.is_ok() {
            remembered
                .into_iter()
                .for_each(|(key, until)| remember(key, until));
        }
        // the caller may be gone
        drop(sender.send(outcome));
    }
}
