//! The targets that have work, as far as this gateway knows.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::call::millis;
use crate::store::Changed;
use crate::store::agenda::Agenda;
use crate::store::queue::TargetId;

/// The agenda of this gateway.
#[derive(Debug)]
pub(super) struct Work {
    agenda: Mutex<Agenda>,
    /// The monotonic time that is 0 of the agenda.
    begun: Instant,
    /// The last target of the walk over all targets; none: it begins.
    pub(super) scanned: Mutex<Option<TargetId>>,
    /// Whether the walk begins anew with the next call, and goes on to its end.
    pub(super) look_again: AtomicBool,
    notify: Arc<Notify>,
}

impl Work {
    pub(super) fn new(begun: Instant) -> Self {
        Self {
            agenda: Mutex::default(),
            begun,
            scanned: Mutex::default(),
            // at first nothing is known
            look_again: AtomicBool::new(true),
            notify: Arc::default(),
        }
    }

    /// Returns the time of the agenda.
    pub(super) fn at(&self, now: Instant) -> i64 {
        millis(now.saturating_duration_since(self.begun))
    }

    /// Notes that a unit of a target is due after some time.
    pub(super) fn note(&self, target: TargetId, now: Instant, after: Duration) {
        let at = self.at(now).saturating_add(millis(after));
        self.agenda.lock().note(target, at);
    }

    /// Tells the workers that something is due by more than time.
    pub(super) fn wake_workers(&self) {
        self.notify.notify_one();
    }

    /// Looks for all targets with work at the next call: something was done whose targets are not known.
    pub(super) fn look_again(&self) {
        self.look_again.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Returns what resolves when something is due by more than time.
    pub(super) fn notified(&self) -> Changed {
        Box::pin(Arc::clone(&self.notify).notified_owned())
    }

    /// Returns the agenda.
    pub(super) fn agenda(&self) -> MutexGuard<'_, Agenda> {
        self.agenda.lock()
    }
}
