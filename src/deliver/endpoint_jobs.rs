//! Jobs of endpoints: work on their events that is done in steps and survives a restart. The row of the endpoint has the job and its position.
//! A step on waiting events that is made twice changes nothing the second time.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{sleep, timeout};

use super::job_steps::{RunningJob, Turn, end, save, step};
use super::recovery_job;
use super::worker::Worker;
use crate::retry::Reason;
use crate::store::StoreError;
use crate::store::address_book::{Endpoint, EndpointState};
use crate::store::archive::{ActKind, WaitingPosition};
use crate::store::queue::TargetId;
use crate::tenant::job::{EndpointJob, JobCursor, Resume, Waiting, Work};

/// The longest wait between two looks for jobs. A new one ends it.
const INTERVAL: Duration = Duration::from_secs(60);
/// The wait after a job that could not go on.
const AGAIN: Duration = Duration::from_secs(2);
/// The wait between two steps, in which other writes get the disk.
const STEP_INTERVAL: Duration = Duration::from_millis(5);
/// The steps that one job makes before the others get their turn, and its position is stored.
const STEPS_PER_TURN: u32 = 10;
/// The jobs that are read at a time.
const PAGE: u16 = 50;

/// Does the jobs of endpoints until the process leaves.
pub async fn run_jobs(worker: Arc<Worker>) {
    let mut leaving = worker.activity.leaving();
    let mut known = HashMap::new();
    while !*leaving.borrow_and_update() {
        let wait = match take_turns(&worker, &mut known).await {
            Ok(wait) => wait,
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

/// Gives each job a turn. Returns the time until the next turn of one.
async fn take_turns(
    worker: &Worker,
    known: &mut HashMap<TargetId, RunningJob>,
) -> Result<Duration, StoreError> {
    let (mut after, mut wait) = (None, INTERVAL);
    let mut running = Vec::new();
    loop {
        let page = worker.store.with_jobs(after, PAGE).await?;
        for row in &page {
            let turn = take_turn(worker, row, known).await.unwrap_or_else(|error| {
                tracing::debug!(%error, endpoint = &*row.id, "the job of an endpoint cannot go on; it is tried again");
                Turn::Again(AGAIN)
            });
            if let Turn::Again(again) = turn {
                wait = wait.min(again);
                running.push(row.target);
            }
        }
        after = page.last().map(|row| row.target);
        if page.len() < usize::from(PAGE) {
            known.retain(|target, _| running.contains(target));
            return Ok(wait);
        }
    }
}

/// Gives a job a turn.
async fn take_turn(
    worker: &Worker,
    row: &Endpoint,
    known: &mut HashMap<TargetId, RunningJob>,
) -> Result<Turn, StoreError> {
    let text = row.job.as_deref().unwrap_or_default();
    let job = match EndpointJob::from_json(text) {
        Ok(job) => job,
        // the state says what is left to do
        Err(_) if row.state == EndpointState::Removing => {
            EndpointJob::new(Work::Remove, "hookgate", None, row.since)
        }
        Err(_) => {
            tracing::error!(
                endpoint = &*row.id,
                "the job of an endpoint cannot be read; it is paused"
            );
            return save(worker, row, row.job.clone(), EndpointState::Paused, None).await;
        }
    };
    let is_new = known
        .get(&row.target)
        .is_none_or(|running| running.started != job.started);
    if is_new {
        known.insert(row.target, RunningJob::new(job.started));
    }
    let Some(running) = known.get_mut(&row.target) else {
        return Ok(Turn::Again(AGAIN));
    };
    match &job.work {
        Work::Remove | Work::Resume(_) => walk(worker, row, &job, running).await,
        Work::Recover(recover) => {
            if is_new {
                // a recovery is started because the endpoint is expected to work again
                worker.endpoints().close_breaker(row.target);
            }
            recovery_job::turn(worker, row, &job, recover, running).await
        }
    }
}

/// An act on all units that wait for an endpoint, or on those that were accepted before a time.
type Walk = (ActKind, Option<SystemTime>);

/// Returns the acts of a job on waiting units, one after the other, and the state of the endpoint after them.
fn walks(job: &EndpointJob) -> (Vec<Walk>, EndpointState) {
    match &job.work {
        Work::Remove => {
            let reason = Reason::Removed;
            let all = vec![(ActKind::MakeDead { reason }, None)];
            (all, EndpointState::Removed)
        }
        Work::Resume(Resume { waiting, since }) => {
            let walks = match (waiting, since) {
                (Waiting::All, _) | (Waiting::Since, None) => vec![(ActKind::Renew, None)],
                (Waiting::Since, Some(since)) => {
                    vec![(ActKind::Cancel, Some(*since)), (ActKind::Renew, None)]
                }
                // what was accepted after the job was asked for is not cancelled
                (Waiting::None, _) => vec![(ActKind::Cancel, Some(job.started))],
            };
            (walks, EndpointState::Active)
        }
        Work::Recover(_) => (Vec::new(), EndpointState::Active),
    }
}

/// Makes some steps of a job on waiting units, and stores its position.
async fn walk(
    worker: &Worker,
    row: &Endpoint,
    job: &EndpointJob,
    running: &mut RunningJob,
) -> Result<Turn, StoreError> {
    let (walks, state) = walks(job);
    let mut job = job.clone();
    let cursor = row.cursor.as_deref().and_then(JobCursor::from_bytes);
    let mut cursor = cursor.unwrap_or_default();
    for _ in 0..STEPS_PER_TURN {
        let Some(walk) = walks.get(usize::from(cursor.phase)) else {
            let ended = job.ended(None, worker.clock.now().wall);
            return end(worker, row, &ended, state, None).await;
        };
        let after = WaitingPosition::from_bytes(&cursor.after);
        let (done, next) = step(worker, row, *walk, after, &mut running.audit).await?;
        job = job.after_step(done);
        cursor = match next {
            Some(position) => JobCursor {
                phase: cursor.phase,
                after: position.to_bytes().to_vec(),
            },
            None => JobCursor {
                phase: cursor.phase.saturating_add(1),
                after: Vec::new(),
            },
        };
        sleep(STEP_INTERVAL).await;
    }
    let row = Endpoint {
        job: Some(job.to_json().into()),
        cursor: Some(cursor.to_bytes().into()),
        ..row.clone()
    };
    // if the row was changed meanwhile, the next turn reads it and repeats the steps
    let expected = Some(row.edition);
    worker
        .store
        .save_endpoint(row, expected, u32::MAX, None)
        .await?;
    Ok(Turn::Again(Duration::ZERO))
}
