//! The steps of jobs, and their end.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::worker::Worker;
use crate::limit::Meter;
use crate::store::StoreError;
use crate::store::address_book::{Endpoint, EndpointChange, EndpointState, Saved};
use crate::store::archive::{Act, ActKind, AuditRow, Scope, WaitingPosition, WaitingUnits, Which};
use crate::store::queue::Accept;
use crate::tenant::job::EndpointJob;

/// The units that a step changes at most.
const STEP: u16 = 200;

/// The result of a job's turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The job is over.
    Ended,
    /// The job goes on after a wait.
    Again(Duration),
}

/// The state of a job in memory.
#[derive(Debug)]
pub(super) struct RunningJob {
    /// The time at which it was started. Another job of the endpoint has another one.
    pub(super) started: SystemTime,
    /// The pace of its attempts.
    pub(super) meter: Meter,
    /// The audit entry of its steps.
    pub(super) audit: Option<AuditRow>,
}

impl RunningJob {
    /// Returns the state of a job that begins or goes on after a restart.
    pub(super) fn new(started: SystemTime) -> Self {
        Self {
            started,
            meter: Meter::default(),
            audit: None,
        }
    }
}

/// Makes one step over the units that wait for an endpoint, all or those that were accepted before a time. `audit` is the entry of the steps
/// before. Returns how many events it changed, and the position after it if there are more.
pub(super) async fn step(
    worker: &Worker,
    row: &Endpoint,
    (kind, until): (ActKind, Option<SystemTime>),
    after: Option<WaitingPosition>,
    audit: &mut Option<AuditRow>,
) -> Result<(u64, Option<WaitingPosition>), StoreError> {
    let act = Act {
        kind,
        which: Which::Waiting(WaitingUnits {
            target: row.target,
            until,
            after,
        }),
        targets: Arc::new([row.target]),
        who: "hookgate".into(),
        reason: "job of an endpoint".into(),
        description: Some(Arc::clone(&row.id)),
        goes_on: *audit,
    };
    let step = worker.store.act(Scope::of(row.tenant), &act, STEP).await?;
    *audit = step.audit.or(*audit);
    Ok((step.done, step.position.filter(|_| step.more)))
}

/// Ends a job.
pub(super) async fn end(
    worker: &Worker,
    row: &Endpoint,
    job: &EndpointJob,
    state: EndpointState,
    notice: Option<Arc<Accept>>,
) -> Result<Turn, StoreError> {
    save(worker, row, Some(job.to_json().into()), state, notice).await
}

/// Saves the row of an endpoint whose job is over.
pub(super) async fn save(
    worker: &Worker,
    row: &Endpoint,
    job: Option<Arc<str>>,
    state: EndpointState,
    notice: Option<Arc<Accept>>,
) -> Result<Turn, StoreError> {
    let since = if state == row.state {
        row.since
    } else {
        worker.clock.now().wall
    };
    let (target, before) = (row.target, row.state);
    let change = EndpointChange {
        failing_since: None,
        endpoint: Endpoint {
            state,
            since,
            job,
            cursor: None,
            ..row.clone()
        },
        expected: row.edition,
        acts: Vec::new(),
        notice,
        audit: None,
    };
    let saved = worker.store.change_endpoint(change).await?;
    let endpoints = worker.endpoints();
    match saved {
        Saved::Done { .. } => {
            if state != before {
                endpoints.close_breaker(target);
                endpoints.changed(target, state);
            }
            Ok(Turn::Ended)
        }
        // the row was changed meanwhile: the next turn reads it
        Saved::Conflict | Saved::Taken | Saved::Full => {
            endpoints.recheck(target);
            Ok(Turn::Again(Duration::ZERO))
        }
    }
}
