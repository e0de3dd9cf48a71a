//! The calls of the queue.
use std::sync::Arc;

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
    pub(super) late: Arc<Sender<LateSettles>>,
}

impl QueueCalls {
    pub(super) fn new(link: &Link) -> Self {
        Self {
            accepts: link.kind(Lane::Writes),
            revives: link.kind(Lane::Writes),
            settles: link.kind(Lane::Writes),
            late: Arc::new(link.kind(Lane::Writes)),
        }
    }
}
