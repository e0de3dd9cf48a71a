//! The state of this gateway for what it does beside the calls of others: heartbeats, tasks, sweeps.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::fleet::{Fleet, Serving, StoreClock};
use crate::store::Key;
use crate::store::archive::Retention;

/// A place within the deliveries of an origin. By default it is before all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Resumed {
    /// The last delivery that was looked at.
    pub(super) after: Uuid,
    /// Whether dead ones go too while there are too many bytes.
    pub(super) with_dead: bool,
}

/// The state of this gateway for what it does beside the calls of others.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// The ID of this gateway, drawn anew by each process.
    pub(super) me: Uuid,
    /// Late attempts recorded since the start.
    pub(super) late: AtomicU64,
    /// Bytes of the tables and indexes.
    pub(super) disk: AtomicU64,
    pub(super) clock: StoreClock,
    /// How long deliveries are kept, as the last sweep was told.
    pub(super) keep: Mutex<Arc<[Retention]>>,
    /// The places at which sweeps stopped, by origin.
    pub(super) resumed: Mutex<HashMap<u32, Resumed>>,
    /// Whether this gateway leaves the store: it sends no heartbeat any more.
    pub(super) leaving: watch::Sender<bool>,
    /// Whether deliveries were forwarded of which the store may not know, and it was not told yet.
    pub(super) gap: AtomicBool,
    /// Held while a heartbeat is sent, so that none comes after the farewell.
    pub(super) sending: tokio::sync::Mutex<()>,
    serving: Mutex<Serving>,
    fleet: Mutex<Option<Fleet>>,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            me: Uuid::new_v4(),
            late: AtomicU64::default(),
            disk: AtomicU64::default(),
            clock: StoreClock::default(),
            keep: Mutex::new(Arc::from([])),
            resumed: Mutex::default(),
            leaving: watch::Sender::default(),
            gap: AtomicBool::default(),
            sending: tokio::sync::Mutex::default(),
            serving: Mutex::default(),
            fleet: Mutex::default(),
        }
    }
}

impl Upkeep {
    /// Notes the config of this gateway, for the others.
    pub(super) fn configured(&self, hash: Arc<str>, generation: u64) {
        let mut serving = self.serving.lock();
        (serving.hash, serving.generation) = (hash, generation);
    }

    /// Notes the numbers of this gateway's config. Heartbeats begin with the first ones.
    pub(super) fn serves(&self, numbers: Vec<u32>) {
        self.serving.lock().numbers = Some(numbers);
    }

    /// Notes the routes whose ledgers this gateway keeps complete.
    pub(super) fn keeps(&self, routes: &[(Arc<str>, Key)]) {
        self.serving.lock().kept = routes.to_vec();
    }

    /// Returns what the next heartbeat tells.
    pub(super) fn serving(&self) -> Serving {
        self.serving.lock().clone()
    }

    /// Returns the condition of the fleet at the last heartbeat.
    pub(super) fn fleet(&self) -> Option<Fleet> {
        self.fleet.lock().clone()
    }

    /// Notes the condition of the fleet.
    pub(super) fn saw(&self, fleet: Fleet) {
        *self.fleet.lock() = Some(fleet);
    }
}
