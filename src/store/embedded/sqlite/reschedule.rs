//! A new schedule applies to what waits already: no retry waits longer than the schedule lets it.
use rusqlite::params;

use super::park::target_time;
use super::writing::Writing;
use super::{int, lane::WAITS_IN_LANE, ms};
use crate::random;
use crate::retry::Schedule;
use crate::store::StoreError;
use crate::store::queue::{DeliveryRef, TargetId};
use crate::store::record;

/// Retries that one step looks at.
const STEP: usize = 500;

/// The last retry of a step; the next step continues after it.
pub(crate) type Cursor = (i64, DeliveryRef);

/// Returns whether the waits of a target follow this schedule already.
pub(crate) fn is_followed(
    writing: &Writing<'_>,
    target: TargetId,
    schedule: &Schedule,
) -> Result<bool, StoreError> {
    let known: Option<String> = writing.row(
        "select value from meta where name = ?1",
        params![name(target)],
        |row| row.get(0),
    )?;
    Ok(known.is_some_and(|known| known == text(schedule)))
}

/// Shortens the waits of some retries. Returns where to go on; `None` after the last, when all waits are by the schedule.
pub(crate) fn step(
    writing: &Writing<'_>,
    target: TargetId,
    schedule: &Schedule,
    after: Option<Cursor>,
) -> Result<Option<Cursor>, StoreError> {
    let (run_at, id) = after.unwrap_or((writing.now, DeliveryRef(uuid::Uuid::nil())));
    let waiting = "select run_at, id, attempt_count, since from due
        where attempt_count > 0 and target = ?1 and leased = 0 and (run_at, id) > (?2, ?3) and run_at < ?4 order by run_at, id limit ?5";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((
            (row.get(0)?, row.get(1)?),
            row.get::<_, u32>(2)?,
            row.get::<_, i64>(3)?,
        ))
    };
    let found: Vec<(Cursor, u32, i64)> = writing.rows(
        waiting,
        params![target, run_at, id, WAITS_IN_LANE, int(STEP)],
        read,
    )?;
    for ((run_at, id), attempts, since) in &found {
        let latest = latest(writing, target, *id, schedule, (*attempts, *since), *run_at)?;
        if latest < *run_at {
            writing.note_due(target, latest);
            writing.execute(
                "update due set run_at = ?3 where id = ?1 and target = ?2",
                params![id, target, latest],
            )?;
        }
    }
    if let Some((last, ..)) = found.last().filter(|_| found.len() == STEP) {
        return Ok(Some(*last));
    }
    writing.execute(
        "insert or replace into meta (name, value) values (?1, ?2)",
        params![name(target), text(schedule)],
    )?;
    Ok(None)
}

/// Returns the latest time at which a retry is due that waits until `run_at` now.
fn latest(
    writing: &Writing<'_>,
    target: TargetId,
    id: DeliveryRef,
    schedule: &Schedule,
    (attempts, since): (u32, i64),
    run_at: i64,
) -> Result<i64, StoreError> {
    // the last attempt comes at the end of the age
    let left = since
        .saturating_add(ms(schedule.max_age()))
        .saturating_sub(target_time(writing, target)?);
    let end = writing.now.saturating_add(left.max(0));
    let in_time = |wait| writing.now.saturating_add(ms(wait)).min(end);
    if run_at <= in_time(schedule.bound(attempts)) {
        return Ok(run_at);
    }
    // an upstream that asked for a wait gets it
    Ok(if was_asked_for(writing, target, id)? {
        in_time(schedule.max_retry_after())
    } else {
        in_time(schedule.wait(attempts, random::number()))
    })
}

/// Returns whether the last attempt was answered with a `Retry-After` that counts.
fn was_asked_for(
    writing: &Writing<'_>,
    target: TargetId,
    id: DeliveryRef,
) -> Result<bool, StoreError> {
    let last = "select head from attempt where id = ?1 and target = ?2 and status in (429, 503) and late = 0
        and lease = (select max(lease) from attempt where id = ?1 and target = ?2 and late = 0)";
    let head: Option<Vec<u8>> = writing.row(last, params![id, target], |row| row.get(0))?;
    let headers = head
        .and_then(|head| record::parse_headers(head.into()).ok())
        .unwrap_or_default();
    Ok(headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case(b"retry-after")))
}

fn name(target: TargetId) -> String {
    format!("retry:{}", target.0)
}

/// Returns a text that distinguishes one schedule from another.
fn text(schedule: &Schedule) -> String {
    format!("{schedule:?}")
}
