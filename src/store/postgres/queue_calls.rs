//! The calls of the queue.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::accept::Accepts;
use super::jobs::Sender;
use super::link::{Lane, Link};
use super::revive::Revives;
use super::settle::{LateSettles, Settles};

/// The calls of the queue.
#[derive(Debug)]
pub(super) struct QueueCalls {
    pub(super) accepts: Sender<Accepts>,
    pub(super) revives: Sender<Revives>,
    pub(super) settles: Sender<Settles>,
    pub(super) late: Sender<LateSettles>,
    /// Late attempts that this gateway recorded.
    pub(super) late_count: AtomicU64,
}

impl QueueCalls {
    pub(super) fn new(link: &Link) -> Arc<Self> {
        Arc::new(Self {
            accepts: link.kind(Lane::Writes),
            revives: link.kind(Lane::Writes),
            settles: link.kind(Lane::Writes),
            late: link.kind(Lane::Writes),
            late_count: AtomicU64::new(0),
        })
    }

    /// Returns the number of late attempts that this gateway recorded.
    pub(super) fn late(&self) -> u64 {
        self.late_count.load(Ordering::Relaxed)
    }
}
