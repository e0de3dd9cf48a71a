//! A new schedule applies to what waits already: no retry waits longer than the schedule lets it.
use std::time::Duration;

use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use super::accept::int;
use super::call::{Call, column, millis, text};
use super::claims::{form, time_in};
use super::link::Lane;
use crate::random;
use crate::retry::Schedule;
use crate::store::StoreError;
use crate::store::queue::TargetId;
use crate::store::record;

/// Retries that one step looks at.
const STEP: i32 = 500;

/// A retry that waits.
struct Retry {
    id: Uuid,
    run_at: i64,
    /// The time until it is due.
    wait: Duration,
    attempts: u32,
    age: Duration,
    /// Whether the upstream asked for a wait.
    was_asked_for: bool,
}

/// Lets no retry of a target wait longer than `schedule` lets it, unless that was done before.
pub(super) async fn reschedule(
    store: &Postgres,
    target: TargetId,
    schedule: &Schedule,
) -> Result<(), StoreError> {
    let name = text(&format!("{schedule:?}"));
    let known = Call::look("schedule_1").with(int(target.0));
    let known = store.link.call(Lane::Looks, known).await?;
    let known: Option<&str> = column(known.first().ok_or_else(form)?, 0)?;
    if known == Some(&*name.0) {
        return Ok(());
    }
    let mut after = None;
    loop {
        let found = step(store, target, after).await?;
        shorten(store, target, schedule, &found).await?;
        after = found.last().map(|last| (last.run_at, last.id));
        if found.len() < usize::try_from(STEP).unwrap_or(usize::MAX) {
            break;
        }
    }
    let done = Call::write("schedule_set_1").with(int(target.0)).with(name);
    store.link.call(Lane::Writes, done).await?;
    Ok(())
}

/// Reads the retries after a position.
async fn step(
    store: &Postgres,
    target: TargetId,
    after: Option<(i64, Uuid)>,
) -> Result<Vec<Retry>, StoreError> {
    let call = Call::look("retries_1")
        .with(int(target.0))
        .with(after.map(|after| after.0))
        .with(after.map(|after| after.1))
        .with(STEP);
    let answer = store.link.call(Lane::Looks, call).await?;
    answer.iter().map(retry).collect()
}

fn retry(row: &Row) -> Result<Retry, StoreError> {
    let head: Option<&[u8]> = column(row, 5)?;
    let headers = head
        .and_then(|head| record::parse_headers(bytes::Bytes::copy_from_slice(head)).ok())
        .unwrap_or_default();
    Ok(Retry {
        id: column(row, 0)?,
        run_at: column(row, 1)?,
        wait: time_in(row, 2)?.unwrap_or_default(),
        attempts: u32::try_from(column::<i32>(row, 3)?).map_err(|_| form())?,
        age: time_in(row, 4)?.unwrap_or_default(),
        was_asked_for: headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case(b"retry-after")),
    })
}

/// Shortens the waits that are longer than the schedule lets them be.
async fn shorten(
    store: &Postgres,
    target: TargetId,
    schedule: &Schedule,
    retries: &[Retry],
) -> Result<(), StoreError> {
    let shorter = retries.iter().filter_map(|retry| {
        let wait = longest(schedule, retry);
        (wait < retry.wait).then_some((retry.id, wait))
    });
    let (ids, waits): (Vec<_>, Vec<_>) = shorter.unzip();
    if ids.is_empty() {
        return Ok(());
    }
    let earliest = waits.iter().min().copied().unwrap_or_default();
    let waits: Vec<i64> = waits.into_iter().map(millis).collect();
    let call = Call::write("shorten_1")
        .with(int(target.0))
        .with(ids)
        .with(waits);
    store.link.call(Lane::Writes, call).await?;
    store.work.note(target, store.clock.mono(), earliest);
    store.work.wake_workers();
    Ok(())
}

/// Returns the longest wait that a retry may have from now on.
fn longest(schedule: &Schedule, retry: &Retry) -> Duration {
    // the last attempt comes at the end of the age
    let left = schedule.max_age().saturating_sub(retry.age);
    let in_time = |wait: Duration| wait.min(left);
    if retry.wait <= in_time(schedule.bound(retry.attempts)) {
        return retry.wait;
    }
    // an upstream that asked for a wait gets it
    if retry.was_asked_for {
        in_time(schedule.max_retry_after())
    } else {
        in_time(schedule.wait(retry.attempts, random::number()))
    }
}
