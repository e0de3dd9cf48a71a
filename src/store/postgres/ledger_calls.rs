//! The calls of the ledger, and what this gateway remembers beside them.
use std::sync::Arc;

use super::claims::{Claim, Commit, Extend, Note, Recall, Release};
use super::hints::{Hints, OnTheWay};
use super::jobs::Sender;
use super::link::{Lane, Link};
use crate::store::Key;

/// The queues of calls of one gateway's ledger.
#[derive(Debug)]
pub(super) struct LedgerCalls {
    pub(super) claims: Sender<Claim>,
    pub(super) commits: Sender<Commit>,
    pub(super) extensions: Sender<Extend>,
    pub(super) releases: Sender<Release>,
    pub(super) notes: Sender<Note>,
    pub(super) recalls: Sender<Recall>,
    pub(super) hints: Arc<Hints>,
    /// Keys with releases that are not made yet.
    pub(super) on_the_way: Arc<OnTheWay>,
}

impl LedgerCalls {
    pub(super) fn new(link: &Link) -> Self {
        Self {
            claims: link.kind(Lane::Claims),
            commits: link.kind(Lane::Writes),
            extensions: link.kind(Lane::Claims),
            releases: link.kind(Lane::Claims),
            notes: link.kind(Lane::Claims),
            recalls: link.kind(Lane::Claims),
            hints: Arc::default(),
            on_the_way: Arc::default(),
        }
    }

    /// Returns whether no release of a key is on its way.
    pub(super) fn is_released(&self, key: Key) -> bool {
        self.on_the_way.is_clear(key)
    }

    /// Waits until the releases of a key that were asked for before are made.
    pub(super) async fn released(&self, key: Key) {
        if !self.on_the_way.is_clear(key) {
            self.on_the_way.clear(key).await;
        }
    }

    /// Tells those that wait for a key that it may have changed.
    pub(super) fn wake(&self, key: Key) {
        self.hints.wake(key);
    }
}
