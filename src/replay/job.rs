//! One replay job: its order, its progress, and its end.
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::api::actions::{Replay, ReplayState};
use crate::api::deliveries::Filter;
use crate::clock::rfc3339;
use crate::random;
use crate::replay::selection::Selection;
use crate::store::StoreError;
use crate::store::archive::{self, AuditRow};
use crate::store::queue::{DeliveryRef, TargetId};

/// The request for a replay.
#[derive(Debug)]
pub struct ReplayOrder {
    /// The deliveries.
    pub selection: Selection,
    /// The order in which they are restarted.
    pub order: archive::Order,
    /// The filter that selected them, as it is shown.
    pub filter: Filter,
    /// Whether deliveries that were delivered are sent again.
    pub delivered: bool,
    /// Whether a delivery is restarted although another delivery has the same ID.
    pub bypass_dedupe: bool,
    /// The number of failures in a row after which it stops; 0 for none.
    pub stop_after: u32,
    /// The reason, for the audit log.
    pub reason: Arc<str>,
    /// The person who asked for it.
    pub who: Arc<str>,
}

/// The progress of a replay.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) state: ReplayState,
    pub(super) why: Option<String>,
    pub(super) planned: u64,
    pub(super) counted: bool,
    pub(super) done: u64,
    pub(super) delivered: u64,
    pub(super) failed: u64,
    pub(super) skipped: u64,
    pub(super) rate: f64,
    pub(super) ended: Option<SystemTime>,
    /// The last delivery that was restarted or skipped.
    pub(super) after: Option<DeliveryRef>,
    pub(super) audit: Option<AuditRow>,
    /// The person who stopped it.
    pub(super) stopped_by: Option<Arc<str>>,
    /// The restarted deliveries whose attempt has not ended. A resumed replay goes on following them.
    pub(super) pending: Vec<PendingDelivery>,
}

/// A restarted delivery whose attempt has not ended.
#[derive(Clone, Debug)]
pub(super) struct PendingDelivery {
    pub(super) id: DeliveryRef,
    /// The number of the last lease before the restart, by target.
    pub(super) before: Vec<(TargetId, u32)>,
}

/// A replay job.
#[derive(Debug)]
pub struct Job {
    id: String,
    pub(super) order: ReplayOrder,
    /// The description of the selection, for the audit log.
    pub(super) description: Arc<str>,
    started: SystemTime,
    progress: Mutex<Progress>,
    pub(super) stopping: Notify,
}

/// The end of a replay.
pub(super) enum End {
    Done,
    Stopped(String),
    Cancelled(Arc<str>),
}

impl From<StoreError> for End {
    fn from(error: StoreError) -> Self {
        Self::Stopped(error.to_string())
    }
}

impl Job {
    pub(super) fn new(order: ReplayOrder, rate: f64, started: SystemTime) -> Self {
        let progress = Mutex::new(Progress {
            rate,
            state: ReplayState::Done,
            ..Progress::default()
        });
        let description = serde_json::to_string(&order.filter)
            .unwrap_or_default()
            .into();
        Self {
            id: draw_id(),
            order,
            description,
            started,
            progress,
            stopping: Notify::new(),
        }
    }

    /// Returns its ID.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn is_running(&self) -> bool {
        self.progress().state == ReplayState::Running
    }

    /// Marks it as running, from where it stopped.
    pub(super) fn begin(&self) {
        let mut progress = self.progress();
        (
            progress.state,
            progress.why,
            progress.ended,
            progress.stopped_by,
        ) = (ReplayState::Running, None, None, None);
    }

    pub(super) fn set_rate(&self, rate: f64) {
        self.progress().rate = rate;
    }

    /// Stops it. Returns whether it was running.
    pub fn stop(&self, who: &Arc<str>) -> bool {
        let mut progress = self.progress();
        let is_running = progress.state == ReplayState::Running;
        if is_running {
            progress.stopped_by = Some(Arc::clone(who));
            self.stopping.notify_one();
        }
        is_running
    }

    /// Returns its state as the API shows it.
    pub fn shown(&self) -> Replay {
        let progress = self.progress();
        let ReplayOrder {
            filter,
            stop_after,
            reason,
            who,
            ..
        } = &self.order;
        let attempted = progress.delivered + progress.failed + progress.skipped;
        Replay {
            id: self.id.clone(),
            state: progress.state,
            stop_reason: progress.why.clone(),
            planned: progress.planned,
            counting: !progress.counted && progress.state == ReplayState::Running,
            done: progress.done,
            delivered: progress.delivered,
            failed: progress.failed,
            skipped: progress.skipped,
            not_attempted: progress.planned.saturating_sub(attempted),
            rate: progress.rate,
            stop_after: *stop_after,
            filter: filter.clone(),
            reason: reason.to_string(),
            who: who.to_string(),
            started_at: rfc3339(self.started),
            ended_at: progress.ended.map(rfc3339),
        }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock()
    }

    /// Returns the end of the replay if somebody has stopped it.
    pub(super) fn check_stopped(&self) -> Result<(), End> {
        self.progress()
            .stopped_by
            .clone()
            .map_or(Ok(()), |who| Err(End::Cancelled(who)))
    }
}

/// The characters of an ID: none is mistaken for another.
const ID_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Draws an ID.
fn draw_id() -> String {
    let mut random = random::number();
    let mut id = "r_".to_owned();
    for _ in 0..10 {
        let index = usize::try_from(random & 31).unwrap_or(0);
        id.push(ID_ALPHABET.get(index).copied().map_or('0', char::from));
        random >>= 5;
    }
    id
}
