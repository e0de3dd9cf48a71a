//! Lanes: units of a target that are attempted one after the other.
//!
//! The lane of an endpoint waits for units that are older and in no lane, too: the endpoint was not `ordered` when they were accepted. Newer ones
//! do not hold it up, so a lane of events that were accepted in order ends although the endpoint is not `ordered` any more.
use rusqlite::params;

use super::writing::Writing;
use crate::store::StoreError;
use crate::store::queue::{Lane, TargetId, Unit};

/// The due time of a unit that waits behind others of its lane.
pub(super) const WAITS_IN_LANE: i64 = i64::MAX;

/// The position of a unit in its lane.
#[derive(Clone, Copy)]
pub(super) struct LanePosition {
    /// Whether no unit is before it.
    pub(super) is_first: bool,
    /// Its number within the lane.
    pub(super) seq: i64,
}

/// Lets a unit enter a lane, at its end.
pub(super) fn enter(
    writing: &Writing<'_>,
    unit: Unit,
    lane: Lane,
) -> Result<LanePosition, StoreError> {
    let enter = "insert into lane (target, lane, waiting, seq) values (?1, ?2, 1, 1)
        on conflict (target, lane) do update set waiting = waiting + 1, seq = seq + 1 returning waiting, seq";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let (waiting, seq) = writing
        .row(enter, params![unit.target, lane.0], read)?
        .unwrap_or((1, 1));
    let is_first = waiting == 1 && !waits_for_older(writing, unit)?;
    Ok(LanePosition { is_first, seq })
}

/// Lets a unit that no longer waits leave its lane, if it has one. The next one is due then.
pub(super) fn leave(
    writing: &Writing<'_>,
    target: TargetId,
    lane: Option<Lane>,
) -> Result<(), StoreError> {
    let Some(lane) = lane else {
        return go_on(writing, target);
    };
    let left =
        "update lane set waiting = waiting - 1 where target = ?1 and lane = ?2 returning waiting";
    let waiting = writing.row(left, params![target, lane.0], |row| row.get::<_, i64>(0))?;
    if waiting.is_none_or(|waiting| waiting <= 0) {
        let end = "delete from lane where target = ?1 and lane = ?2";
        return writing.execute(end, params![target, lane.0]).map(drop);
    }
    wake(writing, target, lane)
}

/// Lets the lanes of an endpoint go on after a unit in no lane has ended.
fn go_on(writing: &Writing<'_>, target: TargetId) -> Result<(), StoreError> {
    if !target.is_endpoint() {
        return Ok(());
    }
    let lanes = "select lane from lane where target = ?1";
    for lane in writing.rows(lanes, params![target], |row| row.get(0).map(Lane))? {
        wake(writing, target, lane)?;
    }
    Ok(())
}

/// Lets the first unit of a lane be due, unless it waits for units that are in no lane.
fn wake(writing: &Writing<'_>, target: TargetId, lane: Lane) -> Result<(), StoreError> {
    let first = "select id, run_at from due where target = ?1 and lane = ?2 order by seq limit 1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, i64>(1)?));
    let Some((delivery, WAITS_IN_LANE)) = writing.row(first, params![target, lane.0], read)? else {
        return Ok(());
    };
    let unit = Unit { delivery, target };
    if waits_for_older(writing, unit)? {
        return Ok(());
    }
    writing.note_due(target, writing.now);
    let wake = "update due set run_at = ?3 where id = ?1 and target = ?2";
    writing
        .execute(wake, params![delivery, target, writing.now])
        .map(drop)
}

/// The units of an endpoint that are in no lane and older than one, by kind. Only the first hundred are looked at: where all in no lane are
/// older, one is enough, and where most are newer, the endpoint is not `ordered` any more.
const OLDER: [&str; 2] = [
    "select 1 from (select id, lane from due where attempt_count = 0 and target = ?1 and run_at < ?3 order by run_at limit 100)
        where lane is null and id < ?2 limit 1",
    "select 1 from (select id, lane from due where attempt_count > 0 and target = ?1 and run_at < ?3 order by run_at limit 100)
        where lane is null and id < ?2 limit 1",
];

/// Returns whether the first unit of an endpoint's lane has to wait for units that are in no lane.
fn waits_for_older(writing: &Writing<'_>, unit: Unit) -> Result<bool, StoreError> {
    let Unit { delivery, target } = unit;
    if !target.is_endpoint() {
        return Ok(false);
    }
    for of_kind in OLDER {
        let older = params![target, delivery, WAITS_IN_LANE];
        if writing.row(of_kind, older, |_| Ok(()))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
