//! Walks over the units that wait for one target, in the order in which they are due: there is no other index of them.
use rusqlite::{Row, params};

use super::look::Reading;
use super::unsigned;
use crate::store::StoreError;
use crate::store::archive::{WaitingCount, WaitingPosition, WaitingUnits};
use crate::store::queue::DeliveryRef;

/// The units of a target after a position: first attempts, and retries.
const AFTER: [&str; 2] = [
    "select run_at, id, since from due where attempt_count = 0 and target = ?1 and (run_at, id) > (?2, ?3) order by run_at, id limit ?4",
    "select run_at, id, since from due where attempt_count > 0 and target = ?1 and (run_at, id) > (?2, ?3) order by run_at, id limit ?4",
];

/// The number of units of a target, bounded: first attempts, and retries.
pub(super) const COUNT: [&str; 2] = [
    "select count(*) from (select 1 from due where attempt_count = 0 and target = ?1 and id >= ?2 and id < ?4 limit ?3)",
    "select count(*) from (select 1 from due where attempt_count > 0 and target = ?1 and id >= ?2 and id < ?4 limit ?3)",
];

/// Counts the units that wait for a target.
pub(crate) fn count(reading: &Reading<'_>, count: WaitingCount) -> Result<u64, StoreError> {
    let WaitingCount {
        target,
        since,
        until,
        only_new,
        most,
    } = count;
    let first = since.map_or(DeliveryRef(uuid::Uuid::nil()), DeliveryRef::first_of);
    let end = until.map_or(DeliveryRef(uuid::Uuid::max()), DeliveryRef::first_of);
    let kinds = if only_new { 1 } else { COUNT.len() };
    let mut sum = 0;
    for sql in COUNT.into_iter().take(kinds) {
        let read = |row: &Row<'_>| unsigned(row, 0);
        sum += reading
            .row(sql, params![target, first, most, end], read)?
            .unwrap_or(0);
    }
    Ok(sum)
}

/// Returns the deliveries of one step, of `step` units at most, and where to go on.
pub(crate) fn waiting(
    reading: &Reading<'_>,
    units: &WaitingUnits,
    step: u16,
) -> Result<(Vec<DeliveryRef>, Option<WaitingPosition>), StoreError> {
    let begin = |at_retries, began| WaitingPosition {
        at_retries,
        run_at: i64::MIN,
        id: DeliveryRef(uuid::Uuid::nil()),
        began,
    };
    let from = units.after.unwrap_or_else(|| begin(false, reading.now));
    let [firsts, retries] = AFTER;
    let sql = if from.at_retries { retries } else { firsts };
    let read = |row: &Row<'_>| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, DeliveryRef>(1)?,
            row.get::<_, i64>(2)?,
        ))
    };
    let found = reading.rows(sql, params![units.target, from.run_at, from.id, step], read)?;
    let next = match found.last() {
        Some((run_at, id, _)) if found.len() >= usize::from(step) => Some(WaitingPosition {
            run_at: *run_at,
            id: *id,
            ..from
        }),
        _ if from.at_retries => None,
        _ => Some(begin(true, from.began)),
    };
    let until = units.until.map(DeliveryRef::first_of);
    // a unit that the act has changed, or that came since, waits since later
    let is_meant = |(_, id, since): &(i64, DeliveryRef, i64)| {
        *since < from.began && until.is_none_or(|until| *id < until)
    };
    let ids = found.into_iter().filter(is_meant).map(|(_, id, _)| id);
    Ok((ids.collect(), next))
}
