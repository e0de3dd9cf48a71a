//! Connections on which the server did not answer a call in time, and may still be at work.
//!
//! A server that waits for a standby does not notice that its client left. If such connections were dropped, each call that gives up would leave one
//! more of its processes behind, until the server takes no connection at all.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::connection::Connection;

/// The time after which the end of a call is not waited for any more. Behind a pooler whose server lost its power, it may never come.
const PATIENCE: Duration = Duration::from_secs(300);

/// The connections of some workers that wait for the end of a call that was given up.
#[derive(Debug)]
pub(super) struct Unanswered {
    count: AtomicUsize,
    most: usize,
}

impl Unanswered {
    /// Lets `most` connections wait beside those of the workers.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicUsize::new(0),
            most,
        })
    }

    /// Returns whether another connection may be opened beside those that wait.
    pub(super) fn has_room(&self) -> bool {
        self.count.load(Ordering::Relaxed) < self.most
    }

    /// Keeps a connection until the server has ended what it does on it, but not for longer than five minutes, then closes it. The server may also end
    /// it, or the network.
    pub(super) fn keep(self: &Arc<Self>, connection: Connection) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let all = Arc::clone(self);
        tokio::spawn(async move {
            timeout(PATIENCE, connection.end_of_call()).await.ok();
            drop(connection);
            all.count.fetch_sub(1, Ordering::Relaxed);
        });
    }
}
