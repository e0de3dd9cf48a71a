//! The job that recovers events of an endpoint: it begins their attempts at a limited rate, and stops when the endpoint fails.
//!
//! A step begins the attempts of some events, and moves the cursor in the same transaction: a step that was cut off was not made, and one that
//! was made is not made again.
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::job_steps::{RunningJob, Turn, end};
use super::notice;
use super::recovery::{RecoveredEvent, Recovery};
use super::worker::Worker;
use crate::limit::Quota;
use crate::store::StoreError;
use crate::store::address_book::{Endpoint, EndpointChange, EndpointState, Saved};
use crate::store::archive::WaitingCount;
use crate::tenant::job::{EndpointJob, JobCursor, MAX_RECOVERED, Recover, StopReason};
use crate::units::Rate;

/// The time between two steps.
const STEP_INTERVAL: Duration = Duration::from_millis(200);
/// The steps of a second.
const STEPS_PER_SECOND: u32 = 5;
/// The wait of a job that cannot go on: the config does not send.
const OFF: Duration = Duration::from_secs(5);
/// The most pages of the store that a step looks at: most events there may be of other types.
const PAGES_PER_STEP: u32 = 10;
/// The events of a page.
const PAGE: u16 = 500;
/// The most events of a step.
const MAX_STEP: u32 = 200;

/// Takes the right to begin at most `most` attempts.
fn take(running: &mut RunningJob, quota: Quota, most: u32, now: Instant) -> u32 {
    let taken = (0..most).take_while(|_| running.meter.take(quota, now).is_ok());
    u32::try_from(taken.count()).unwrap_or(most)
}

/// Returns the quota of a rate of attempts per second: as many at once as a step is to begin.
fn quota(rate: u32) -> Quota {
    let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Quota {
        rate: Rate {
            count: at_least_one(rate),
            per: Duration::from_secs(1),
        },
        burst: at_least_one(rate.div_ceil(STEPS_PER_SECOND)),
    }
}

/// Makes one step of a recovery.
pub(super) async fn turn(
    worker: &Worker,
    row: &Endpoint,
    job: &EndpointJob,
    recover: &Recover,
    running: &mut RunningJob,
) -> Result<Turn, StoreError> {
    if let Some(reason) = stop_reason(worker, row, job, recover) {
        return finish(worker, row, job, Some(reason)).await;
    }
    let store = &*worker.store;
    let Some(recovery) = Recovery::new(store, row, recover, job.started) else {
        return finish(worker, row, job, None).await;
    };
    if worker.endpoints().rules().is_none() {
        return Ok(Turn::Again(OFF));
    }
    let now = worker.clock.mono();
    let quota = quota(recover.rate);
    let free = room(worker, row, recover, quota).await?;
    let left = u32::try_from(MAX_RECOVERED.saturating_sub(job.done)).unwrap_or(MAX_STEP);
    let count = take(running, quota, free.min(left).min(MAX_STEP), now);
    if count == 0 && left > 0 {
        return Ok(Turn::Again(
            running.meter.wait(quota, now).max(STEP_INTERVAL),
        ));
    }
    let cursor = row.cursor.as_deref().and_then(JobCursor::from_bytes);
    let (events, next) = find(&recovery, cursor.unwrap_or_default(), count).await?;
    let begun = u32::try_from(events.len()).unwrap_or(count);
    (begun..count).for_each(|_| running.meter.refund(quota, now));
    let job = job.after_step(u64::from(begun));
    let acts = recovery.acts(&events);
    let is_over = next.is_none() || job.done >= MAX_RECOVERED;
    let ended = if is_over {
        job.ended(None, worker.clock.now().wall)
    } else {
        job
    };
    let change = EndpointChange {
        failing_since: None,
        notice: if is_over {
            notice::recovery_done(worker, row, &ended).await
        } else {
            None
        },
        endpoint: Endpoint {
            job: Some(ended.to_json().into()),
            cursor: next
                .filter(|_| !is_over)
                .map(|cursor| cursor.to_bytes().into()),
            ..row.clone()
        },
        expected: row.edition,
        acts,
        audit: None,
    };
    match store.change_endpoint(change).await? {
        Saved::Done { .. } if is_over => Ok(Turn::Ended),
        Saved::Done { .. } => Ok(Turn::Again(STEP_INTERVAL)),
        // the row was changed meanwhile: the next turn reads it
        Saved::Conflict | Saved::Taken | Saved::Full => Ok(Turn::Again(Duration::ZERO)),
    }
}

/// Returns the reason why a recovery stops now, if there is one.
fn stop_reason(
    worker: &Worker,
    row: &Endpoint,
    job: &EndpointJob,
    recover: &Recover,
) -> Option<StopReason> {
    if row.state != EndpointState::Active {
        return Some(StopReason::Paused);
    }
    if worker.endpoints().is_unavailable(row.target) {
        return Some(StopReason::Unavailable);
    }
    (job.failures(row.health.as_ref()) >= recover.stop_after).then_some(StopReason::Failures)
}

/// Returns how many attempts may begin. It is not known whether those that wait will fail, so there are never many more of them than may fail.
async fn room(
    worker: &Worker,
    row: &Endpoint,
    recover: &Recover,
    quota: Quota,
) -> Result<u32, StoreError> {
    let most = recover.stop_after.max(quota.burst.get());
    let waiting = worker.store.count_waiting(WaitingCount {
        target: row.target,
        since: None,
        until: None,
        only_new: true,
        most,
    });
    let waiting = u32::try_from(waiting.await?).unwrap_or(most);
    Ok(most.saturating_sub(waiting))
}

/// Finds the next events, at most `count`, and the position after them.
async fn find(
    recovery: &Recovery<'_>,
    mut cursor: JobCursor,
    count: u32,
) -> Result<(Vec<RecoveredEvent>, Option<JobCursor>), StoreError> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut events = Vec::new();
    for _ in 0..PAGES_PER_STEP {
        let left = count.saturating_sub(events.len());
        if left == 0 {
            break;
        }
        let step = recovery.step(&cursor, PAGE).await?;
        let is_cut = step.events.len() > left;
        events.extend(step.events.into_iter().take(left));
        if let Some(last) = events.last().filter(|_| is_cut) {
            // the next step begins after the last event that was taken
            let after = last.id.0.as_bytes().to_vec();
            return Ok((events, Some(JobCursor { after, ..cursor })));
        }
        match step.next {
            Some(next) => cursor = next,
            None => return Ok((events, None)),
        }
    }
    Ok((events, Some(cursor)))
}

/// Ends a recovery before or after its last event.
async fn finish(
    worker: &Worker,
    row: &Endpoint,
    job: &EndpointJob,
    stopped: Option<StopReason>,
) -> Result<Turn, StoreError> {
    let job = job.ended(stopped, worker.clock.now().wall);
    let notice = notice::recovery_done(worker, row, &job).await;
    end(worker, row, &job, row.state, notice).await
}
