//! Notifications of the app about endpoints: stored with the change that they are about, and sent like alarms.
use std::sync::Arc;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::alarm_webhook::alarm;
use super::messages::{recovered_message, streak_message};
use super::worker::Worker;
use crate::clock::rfc3339;
use crate::store::address_book::{Endpoint, EndpointState};
use crate::store::archive::WaitingCount;
use crate::store::queue::{Accept, DeliveryRef, Lane};
use crate::tenant::event_id::event_id;
use crate::tenant::health::Streak;
use crate::tenant::job::{EndpointJob, StopReason};

/// The most waiting events that are counted for a notification.
const MAX_COUNTED: u32 = 100_000;

/// The kinds of notifications about the failures of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The endpoint has failed for some time.
    Failing,
    /// The endpoint is paused now, because it failed for too long, or because an event ran out of attempts.
    Paused,
    /// The endpoint is paused now, because it answered 410.
    Gone,
    /// The endpoint accepts events again, after the app was notified that it fails.
    Recovered,
}

impl Kind {
    fn event_type(self) -> &'static str {
        match self {
            Self::Failing => "hookgate.endpoint.failing",
            Self::Paused => "hookgate.endpoint.paused",
            Self::Gone => "hookgate.endpoint.gone",
            Self::Recovered => "hookgate.endpoint.recovered",
        }
    }

    /// Returns the kind for a pause by the gateway.
    pub(super) fn of_pause(state: EndpointState) -> Self {
        if state == EndpointState::PausedByGone {
            Self::Gone
        } else {
            Self::Paused
        }
    }
}

/// The type of the notification about the end of a recovery.
const RECOVERY_DONE: &str = "hookgate.recovery.done";

/// The body of a notification.
#[derive(Serialize)]
struct Body<D> {
    r#type: &'static str,
    timestamp: String,
    data: D,
}

/// The endpoint of a notification.
#[derive(Serialize)]
struct About {
    tenant: String,
    endpoint: String,
    uid: Option<String>,
}

/// The failures of an endpoint.
#[derive(Serialize)]
struct Failures {
    #[serde(flatten)]
    about: About,
    state: &'static str,
    /// The time of the first failure.
    since: Option<String>,
    failures: u32,
    status: Option<u16>,
    error: Option<&'static str>,
    message: String,
    /// The event that failed first.
    first: Option<String>,
    waiting: u64,
}

/// A recovery that is over.
#[derive(Serialize)]
struct RecoveryDone {
    #[serde(flatten)]
    about: About,
    state: &'static str,
    stop_reason: Option<&'static str>,
    planned: Option<u64>,
    done: u64,
    started_at: String,
    ended_at: Option<String>,
}

/// Makes the notification about the failures of an endpoint, as it is after the change; `None` if the config wants none.
pub(super) async fn failures(
    worker: &Worker,
    row: &Endpoint,
    streak: Option<&Streak>,
    kind: Kind,
) -> Option<Arc<Accept>> {
    worker.notice_target()?;
    let rules = worker.endpoints().rules()?;
    let counted = worker.store.count_waiting(WaitingCount {
        target: row.target,
        since: None,
        until: None,
        only_new: false,
        most: MAX_COUNTED,
    });
    let waiting = counted.await.unwrap_or(0).min(u64::from(MAX_COUNTED));
    let message = match (kind, streak) {
        (Kind::Recovered, Some(streak)) => recovered_message(row, streak),
        (_, Some(streak)) => streak_message(row, streak, &rules, waiting),
        (_, None) => String::new(),
    };
    let data = Failures {
        about: about(worker, row).await,
        state: row.state.word(),
        since: streak.map(|streak| rfc3339(streak.since)),
        failures: streak.map_or(0, |streak| streak.failures),
        status: streak.and_then(|streak| streak.cause.status()),
        error: streak.and_then(|streak| streak.cause.code()),
        message,
        first: streak.map(|streak| event_id(streak.first)),
        waiting,
    };
    notice(worker, row, kind.event_type(), data)
}

/// Makes the notification about a recovery that is over; `None` if the config wants none.
pub(super) async fn recovery_done(
    worker: &Worker,
    row: &Endpoint,
    job: &EndpointJob,
) -> Option<Arc<Accept>> {
    worker.notice_target()?;
    let data = RecoveryDone {
        about: about(worker, row).await,
        state: if job.stopped.is_some() {
            "stopped"
        } else {
            "done"
        },
        stop_reason: job.stopped.map(StopReason::word),
        planned: job.planned,
        done: job.done,
        started_at: rfc3339(job.started),
        ended_at: job.ended.map(rfc3339),
    };
    notice(worker, row, RECOVERY_DONE, data)
}

async fn about(worker: &Worker, row: &Endpoint) -> About {
    let called = worker.store.called(&[row.tenant.0]).await;
    let tenant = called.ok().and_then(|found| found.into_iter().next());
    About {
        tenant: tenant.map_or_else(String::new, |(_, uid)| uid.to_string()),
        endpoint: row.id.to_string(),
        uid: row.uid.as_deref().map(str::to_owned),
    }
}

fn notice<D: Serialize>(
    worker: &Worker,
    row: &Endpoint,
    event_type: &'static str,
    data: D,
) -> Option<Arc<Accept>> {
    let target = worker.notice_target()?;
    let at = worker.clock.now().wall;
    let body = Body {
        r#type: event_type,
        timestamp: rfc3339(at),
        data,
    };
    let body = serde_json::to_vec(&body).ok()?;
    let id = DeliveryRef::draw();
    let accept = alarm(id, target, event_type, at, body.into(), lane(row));
    Some(Arc::new(accept))
}

/// Returns the lane of an endpoint's notifications, so that they are sent in order.
fn lane(row: &Endpoint) -> Lane {
    let digest: [u8; 32] = Sha256::digest(&*row.id).into();
    let mut lane = [0; 16];
    lane.iter_mut()
        .zip(digest)
        .for_each(|(to, byte)| *to = byte);
    Lane(lane)
}
