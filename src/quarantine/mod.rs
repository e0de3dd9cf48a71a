//! Refused requests that are kept for a while: each gateway's own, in a file of its own, within bounds, and never in the way of a request.
//!
//! A request is offered after its refusal is decided. Counts in memory decide whether it fits; a thread of its own writes it. A full channel, a
//! full disk or a damaged file only means that it is not kept.
mod bounds;
mod kept;
mod table;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::SystemTime;

use crate::clock::Clock;
use crate::config::snapshot::WebhookRoute;
use crate::request::{Params, RequestId};
use crate::verify::{NotAuthentic, Refused};

use bounds::NotKept;
pub use bounds::Sum;
use kept::Offered;
pub use kept::{Entry, Kept};
pub use table::TableError;
use writer::{Rule, Shared, Work};

/// The requests that may wait to be written.
const MAX_QUEUED: usize = 256;

/// The kept requests of a gateway.
pub struct Quarantine {
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    /// The channel to the thread, once a route has a quarantine or there is a file.
    work: OnceLock<SyncSender<Work>>,
    thread: OnceLock<JoinHandle<()>>,
}

impl Drop for Quarantine {
    /// Waits until what was offered is written.
    fn drop(&mut self) {
        drop(self.work.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the quarantine ended early");
        }
    }
}

impl fmt::Debug for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantine").finish_non_exhaustive()
    }
}

impl Quarantine {
    /// Makes a quarantine in this file; in memory without one. Nothing is opened before [`Self::follow`].
    pub fn new(file: Option<PathBuf>, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            shared: Arc::new(Shared::new(file)),
            work: OnceLock::new(),
            thread: OnceLock::new(),
        }
    }

    /// Follows a new config: renames the requests of renamed routes, and applies the ages. The first call with a route that has a quarantine, or
    /// with a file from an earlier run, opens the file.
    pub fn follow<'r>(&self, routes: impl Iterator<Item = &'r Arc<WebhookRoute>>) {
        let rules: Arc<[Rule]> = routes
            .map(|route| Rule {
                route: Arc::clone(&route.name),
                previously: route.previously.clone(),
                max_age: route.quarantine.map(|of| of.max_age),
            })
            .collect();
        let is_used = rules.iter().any(|rule| rule.max_age.is_some()) || self.shared.has_file();
        if self.work.get().is_none() && !is_used {
            return;
        }
        self.shared.follow(rules);
        if self.work.get().is_none() {
            self.start();
        }
        self.wake();
    }

    /// Opens the file and starts the thread.
    fn start(&self) {
        if let Err(error) = self.shared.with_table(|_| Ok(())) {
            tracing::error!(%error, "refused requests are not kept until the file can be opened");
        }
        let (sender, receiver) = sync_channel(MAX_QUEUED);
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name("quarantine".to_owned())
            .spawn(move || shared.run(&receiver));
        match thread {
            Ok(thread) => {
                self.thread.get_or_init(|| thread);
                self.work.get_or_init(|| sender);
            }
            Err(error) => tracing::error!(%error, "refused requests are not kept: no thread"),
        }
    }

    /// Lets the thread look at what is due. A full channel needs no message: the thread looks before it writes.
    fn wake(&self) {
        if let Some(work) = self.work.get() {
            work.try_send(Work::Look).ok();
        }
    }

    /// Removes requests whose time is over at `now`, soon.
    pub fn sweep(&self, now: SystemTime) {
        if self.work.get().is_some() {
            self.shared.sweep(now);
            self.wake();
        }
    }

    /// Keeps a refused request if its route has a quarantine and it fits. Never waits. Returns the reason for which it was refused.
    pub fn offer(
        &self,
        webhook: &Arc<WebhookRoute>,
        params: &Params,
        refused: Refused,
    ) -> NotAuthentic {
        let why = refused.why;
        if let Some(policy) = webhook.quarantine {
            let offered = Offered::new(webhook, params, refused);
            if let Err(not_kept) = self.keep(offered, policy.max_bytes) {
                self.shared.count(not_kept);
            }
        }
        why
    }

    fn keep(&self, mut offered: Offered, max_bytes: u64) -> Result<(), NotKept> {
        let work = self.work.get().ok_or(NotKept::Disk)?;
        self.shared.reserve(&mut offered, max_bytes)?;
        let (owner, bytes, epoch) = (offered.owner.clone(), offered.bytes, offered.epoch);
        work.try_send(Work::Keep(Box::new(offered))).map_err(|_| {
            self.shared.release(&owner, bytes, epoch);
            NotKept::Busy
        })
    }

    /// Returns what each route holds, as requests and bytes.
    pub fn sums(&self) -> Vec<(Arc<str>, Sum)> {
        self.shared.sums()
    }

    /// Returns the number of requests that were not kept since the start, by reason.
    pub fn not_kept(&self) -> Vec<(&'static str, u64)> {
        self.shared.not_kept()
    }
}

/// Reading and removing, for people. Each call runs on a thread for blocking work.
impl Quarantine {
    /// Returns a kept request; `None` if it is not kept, or cannot be decoded.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn get(&self, id: RequestId) -> Result<Option<Kept>, TableError> {
        let now = self.clock.now();
        let read =
            move |shared: &Shared| shared.with_table(|table| table.get(id.as_str(), now.wall));
        let stored = self.blocking(None, read).await?;
        Ok(stored.and_then(|(entry, record, body)| Kept::read(entry, record, body, now)))
    }

    /// Returns the newest requests, of one route or of all.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn newest(
        &self,
        route: Option<String>,
        limit: u16,
    ) -> Result<Vec<Entry>, TableError> {
        self.blocking(Vec::new(), move |shared| {
            shared.with_table(|table| table.newest(route.as_deref(), limit))
        })
        .await
    }

    /// Returns the IDs of the requests of a route after one of them, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn ids_after(
        &self,
        route: Arc<str>,
        after: Option<RequestId>,
        limit: u16,
    ) -> Result<Vec<RequestId>, TableError> {
        let read = move |shared: &Shared| {
            let after = after.as_ref().map_or("", RequestId::as_str);
            shared.with_table(|table| table.ids_after(&route, after, limit))
        };
        let ids = self.blocking(Vec::new(), read).await?;
        let parsed = ids.iter().filter_map(|id| RequestId::parse(id));
        Ok(parsed.collect())
    }

    /// Returns the times at which those of these requests that are kept are removed, by ID.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn kept_until(
        &self,
        ids: Vec<String>,
    ) -> Result<HashMap<String, SystemTime>, TableError> {
        self.blocking(HashMap::new(), move |shared| {
            shared.with_table(|table| {
                let mut found = HashMap::new();
                for id in ids {
                    if let Some(until) = table.until(&id)? {
                        found.insert(id, until);
                    }
                }
                Ok(found)
            })
        })
        .await
    }

    /// Removes a request. Returns whether it was there.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn remove(&self, id: RequestId) -> Result<bool, TableError> {
        self.blocking(false, move |shared| shared.remove(id.as_str()))
            .await
    }

    /// Runs `act` on a thread for blocking work. Returns `nothing` if the quarantine is not in use, so that no file is made for a question.
    async fn blocking<T: Send + 'static>(
        &self,
        nothing: T,
        act: impl FnOnce(&Shared) -> Result<T, TableError> + Send + 'static,
    ) -> Result<T, TableError> {
        if self.work.get().is_none() {
            return Ok(nothing);
        }
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || act(&shared))
            .await
            .unwrap_or_else(|error| Err(TableError::Failed(error.to_string())))
    }
}
