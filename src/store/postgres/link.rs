//! The connections to the server. A call says which of them it is for, so that none waits behind another kind.
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::Row;

use super::call::Call;
use super::connector::Connector;
use super::figures::Figures;
use super::jobs::{Jobs, Kind, Sender, Single};
use super::options::Options;
use super::unanswered::Unanswered;
use super::worker::Worker;
use crate::store::{Answer, StoreError};

/// The connection that a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Claims and other calls that must not stand behind an fsync.
    Claims,
    /// Writes whose callers wait until they are on the server's disk.
    Writes,
    /// Searches, acts of people, maintenance.
    Looks,
}

/// The connections to the server. They live on the runtime on which this was made.
#[derive(Debug)]
pub(super) struct Link {
    connector: Arc<Connector>,
    claims: (Arc<Jobs>, Sender<Single>),
    writes: (Arc<Jobs>, Sender<Single>),
    looks: (Arc<Jobs>, Sender<Single>),
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Link {
    /// Starts the workers. Nothing is connected before the first call.
    pub(super) fn new(options: Options) -> Self {
        let writers = options.connections.saturating_sub(2).max(1);
        let lane = || {
            let jobs = Arc::<Jobs>::default();
            let singles = jobs.kind();
            (jobs, singles)
        };
        let link = Self {
            connector: Connector::new(options),
            claims: lane(),
            writes: lane(),
            looks: lane(),
            workers: Mutex::default(),
        };
        let mut workers = Vec::new();
        for (jobs, count) in [
            (&link.claims.0, 1),
            (&link.writes.0, writers),
            (&link.looks.0, 1),
        ] {
            // one more than the workers: a call that hangs must not end the service
            let unanswered = Unanswered::new(count + 1);
            for place in 0..count {
                let (jobs, unanswered) = (Arc::clone(jobs), Arc::clone(&unanswered));
                let worker = Worker::new(jobs, Arc::clone(&link.connector), unanswered);
                workers.push(link.connector.runtime.spawn(async move {
                    if place == 0 {
                        worker.work_always().await;
                    } else {
                        worker.help().await;
                    }
                }));
            }
        }
        *link.workers.lock() = workers;
        link
    }

    /// Connects for the first time. Returns the key with which ledger keys of the store are hashed.
    ///
    /// # Errors
    /// There is no server, or no schema that this program can use.
    pub(super) async fn open(&self) -> Result<[u8; 16], StoreError> {
        let connector = Arc::clone(&self.connector);
        // the connection belongs to the runtime on which it is made
        let opened = self
            .connector
            .runtime
            .spawn(async move { connector.open().await });
        let opened = opened.await.map_err(|error| error.to_string());
        let opened = opened.and_then(|opened| opened.map_err(|why| why.to_string()));
        let connection = opened.map_err(|why| StoreError::Unavailable(why.into()))?;
        *self.connector.spare.lock() = Some(connection);
        let key = *self.connector.hash_key.lock();
        Ok(key.unwrap_or_default())
    }

    /// Adds a kind of calls of which rows of many callers go out together.
    pub(super) fn kind<K: Kind>(&self, lane: Lane) -> Sender<K> {
        self.lane(lane).0.kind()
    }

    /// Makes a call, and reads its answer to the end: then what it wrote is committed.
    pub(super) async fn call(&self, lane: Lane, call: Call) -> Result<Vec<Row>, StoreError> {
        self.send(lane, call).await
    }

    /// Sends a call. It is made also if the answer is not waited for.
    pub(super) fn send(&self, lane: Lane, call: Call) -> Answer<'static, Vec<Row>> {
        self.lane(lane).1.send(call)
    }

    /// Runs a future on the runtime of the connections.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.connector.runtime.spawn(future));
    }

    /// Returns the reason for which calls fail, if they do.
    pub(super) fn trouble(&self) -> Option<StoreError> {
        let of_store = || self.connector.trouble.lock().clone();
        self.connector.reach.trouble().or_else(of_store)
    }

    /// Returns the time for which no server could be reached; `None` if one can be.
    pub(super) fn away(&self) -> Option<Duration> {
        self.connector.reach.away()
    }

    /// Returns the counts and times of the calls since the start.
    pub(super) fn figures(&self) -> Figures {
        self.connector.recorder.figures()
    }

    /// Makes what waits, then closes all connections.
    pub(super) async fn close(&self) {
        self.refuse();
        let workers = std::mem::take(&mut *self.workers.lock());
        for mut worker in workers {
            if timeout(self.connector.options.timeout * 2, &mut worker)
                .await
                .is_err()
            {
                worker.abort();
            }
        }
        self.connector.spare.lock().take();
    }

    fn refuse(&self) {
        for (jobs, _) in [&self.claims, &self.writes, &self.looks] {
            jobs.close();
        }
    }

    fn lane(&self, lane: Lane) -> &(Arc<Jobs>, Sender<Single>) {
        match lane {
            Lane::Claims => &self.claims,
            Lane::Writes => &self.writes,
            Lane::Looks => &self.looks,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.refuse();
    }
}
