//! Jobs of endpoints: work on their waiting events that is done in steps and survives a restart. A step that is made twice changes nothing the
//! second time, so a job that was cut off begins anew.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};

use super::worker::Worker;
use crate::retry::Reason;
use crate::store::StoreError;
use crate::store::address_book::{Endpoint, EndpointState, Saved};
use crate::store::archive::{Act, ActKind, Scope, WaitingUnits, Which};
use crate::tenant::job::{EndpointJob, Resume, Waiting, Work};

/// The longest wait between two looks for jobs. A new one ends it.
const INTERVAL: Duration = Duration::from_secs(60);
/// The wait after a job that could not go on.
const AGAIN: Duration = Duration::from_secs(2);
/// The wait between two steps, in which other writes get the disk.
const STEP_INTERVAL: Duration = Duration::from_millis(5);
/// The units that a step changes at most.
const STEP: u16 = 200;
/// The jobs that are read at a time.
const PAGE: u16 = 50;

/// Does the jobs of endpoints until the process leaves.
pub async fn run_jobs(worker: Arc<Worker>) {
    let mut leaving = worker.activity.leaving();
    while !*leaving.borrow_and_update() {
        let wait = match do_all(&worker).await {
            Ok(true) => INTERVAL,
            Ok(false) => AGAIN,
            Err(error) => {
                tracing::debug!(%error, "the jobs of endpoints cannot go on; they are tried again");
                AGAIN
            }
        };
        tokio::select! {
            // an error says that the time is over, too
            _ = timeout(wait, worker.endpoints().new_job()) => {}
            _ = leaving.changed() => {}
        }
    }
}

/// Does all jobs that there are. Returns whether none is left.
async fn do_all(worker: &Worker) -> Result<bool, StoreError> {
    let (mut after, mut is_done) = (None, true);
    loop {
        let page = worker.store.with_jobs(after, PAGE).await?;
        for row in &page {
            is_done &= do_one(worker, row).await.unwrap_or_else(|error| {
                tracing::debug!(%error, endpoint = &*row.id, "the job of an endpoint cannot go on; it is tried again");
                false
            });
        }
        after = page.last().map(|row| row.target);
        if page.len() < usize::from(PAGE) {
            return Ok(is_done);
        }
    }
}

/// Does the job of an endpoint. Returns whether it ended.
async fn do_one(worker: &Worker, row: &Endpoint) -> Result<bool, StoreError> {
    let text = row.job.as_deref().unwrap_or_default();
    let job = EndpointJob::from_json(text).ok();
    // a job that begins anew does not cancel what was accepted after it was asked for
    let started = job.as_ref().map(|job| job.started);
    let ended = match job.map(|job| job.work) {
        Some(Work::Remove) => {
            let reason = Reason::Removed;
            walk(worker, row, ActKind::MakeDead { reason }, None).await?;
            EndpointState::Removed
        }
        Some(Work::Resume(Resume { waiting, since })) => {
            match (waiting, since) {
                (Waiting::All, _) | (Waiting::Since, None) => {
                    walk(worker, row, ActKind::Renew, None).await?;
                }
                (Waiting::Since, Some(since)) => {
                    walk(worker, row, ActKind::Cancel, Some(since)).await?;
                    walk(worker, row, ActKind::Renew, None).await?;
                }
                (Waiting::None, _) => walk(worker, row, ActKind::Cancel, started).await?,
            }
            EndpointState::Active
        }
        Some(Work::Recover(_)) | None => {
            tracing::error!(
                endpoint = &*row.id,
                "the job of an endpoint cannot be read; it is paused"
            );
            EndpointState::Paused
        }
    };
    let expected = Some(row.edition);
    let row = Endpoint {
        state: ended,
        since: worker.clock.now().wall,
        job: None,
        cursor: None,
        ..row.clone()
    };
    let saved = worker
        .store
        .save_endpoint(row.clone(), expected, u32::MAX, None)
        .await?;
    let is_done = matches!(saved, Saved::Done { .. });
    if is_done {
        worker.endpoints().changed(row.target, row.state);
    } else {
        worker.endpoints().recheck(row.target);
    }
    Ok(is_done)
}

/// Applies an act to all units that wait for an endpoint, or to those that were accepted before a time.
async fn walk(
    worker: &Worker,
    row: &Endpoint,
    kind: ActKind,
    until: Option<SystemTime>,
) -> Result<(), StoreError> {
    let (mut after, mut audit) = (None, None);
    loop {
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
            goes_on: audit,
        };
        let step = worker.store.act(Scope::of(row.tenant), &act, STEP).await?;
        audit = step.audit;
        let Some(position) = step.position.filter(|_| step.more) else {
            return Ok(());
        };
        after = Some(position);
        sleep(STEP_INTERVAL).await;
    }
}
