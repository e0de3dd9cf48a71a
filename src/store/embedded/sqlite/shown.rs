//! Single deliveries, their units and their attempts, for people.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rusqlite::{Row, params};

use super::look::{Reading, one};
use crate::store::StoreError;
use crate::store::archive::search::{dead_status, waiting_status};
use crate::store::archive::{
    AttemptOf, AttemptPage, AttemptPosition, AttemptShown, AttemptSummary, AttemptsOf, Scope,
    Shown, Status, UnitShown, UnitsShown,
};
use crate::store::codes::to_reason;
use crate::store::queue::{Attempt, DeliveryRef, OriginId, Stored, TargetId};

/// The rows of units that a query reads, besides the delivery's ID: all if both are null.
#[derive(Clone, Copy)]
struct Part {
    target: Option<TargetId>,
    limit: i64,
}

impl Part {
    fn of(shown: UnitsShown) -> Self {
        match shown {
            UnitsShown::All => Self {
                target: None,
                limit: -1,
            },
            UnitsShown::Of(target) => Self {
                target: Some(target),
                limit: -1,
            },
            UnitsShown::First(most) => Self {
                target: None,
                limit: i64::from(most),
            },
        }
    }
}

/// Returns units of a delivery, each with its last attempt.
pub(super) fn units(
    reading: &Reading<'_>,
    id: DeliveryRef,
    shown: UnitsShown,
) -> Result<Vec<UnitShown>, StoreError> {
    let part = Part::of(shown);
    let mut units = waiting_units(reading, id, part)?;
    units.extend(dead_units(reading, id, part)?);
    for unit in attempted_units(reading, id, part)? {
        match units.iter_mut().find(|known| known.target == unit.target) {
            Some(known) => known.last = unit.last,
            None => units.push(unit),
        }
    }
    units.sort_unstable_by_key(|unit| unit.target);
    if let UnitsShown::First(most) = shown {
        // each table gave its first ones
        units.truncate(usize::from(most));
    }
    Ok(units)
}

fn waiting_units(
    reading: &Reading<'_>,
    id: DeliveryRef,
    part: Part,
) -> Result<Vec<UnitShown>, StoreError> {
    let waiting = "select target, run_at, lease, leased, attempt_count from due where id = ?1
        and (?2 is null or target = ?2) order by target limit ?3";
    reading.rows(waiting, params![id, part.target, part.limit], |row| {
        let (attempts, next_in) = (row.get(4)?, reading.until(row.get(1)?));
        let leased: bool = row.get(3)?;
        Ok(UnitShown {
            target: row.get(0)?,
            status: waiting_status(attempts),
            leased: leased && next_in.is_some_and(|left| !left.is_zero()),
            attempts,
            leases: row.get(2)?,
            next_in,
            reason: None,
            last: None,
        })
    })
}

fn dead_units(
    reading: &Reading<'_>,
    id: DeliveryRef,
    part: Part,
) -> Result<Vec<UnitShown>, StoreError> {
    let dead = "select target, reason, lease, attempt_count from dead where id = ?1
        and (?2 is null or target = ?2) order by target limit ?3";
    reading.rows(dead, params![id, part.target, part.limit], |row| {
        let reason = row.get::<_, Option<i64>>(1)?.map(to_reason);
        Ok(UnitShown {
            target: row.get(0)?,
            status: dead_status(reason),
            leased: false,
            attempts: row.get(3)?,
            leases: row.get(2)?,
            next_in: None,
            reason,
            last: None,
        })
    })
}

/// Returns a unit for each target with an attempt, as if it were delivered.
fn attempted_units(
    reading: &Reading<'_>,
    id: DeliveryRef,
    part: Part,
) -> Result<Vec<UnitShown>, StoreError> {
    // with max(), the other columns are those of the row that has it
    let attempted = "select target, count(*), max(lease), started, took, status, error from attempt
        where id = ?1 and (?2 is null or target = ?2) group by target order by target limit ?3";
    reading.rows(attempted, params![id, part.target, part.limit], |row| {
        let leases = row.get(2)?;
        Ok(UnitShown {
            target: row.get(0)?,
            status: Status::Delivered,
            leased: false,
            attempts: row.get(1)?,
            leases,
            next_in: None,
            reason: None,
            last: Some(AttemptSummary {
                number: leases,
                started: SystemTime::UNIX_EPOCH + duration(row.get(3)?),
                took: duration(row.get(4)?),
                status: row.get(5)?,
                error: row.get(6)?,
            }),
        })
    })
}

pub(super) fn duration(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// Returns one delivery without its units.
pub(crate) fn stored(
    reading: &Reading<'_>,
    scope: &Scope,
    id: DeliveryRef,
) -> Result<Option<Stored>, StoreError> {
    Ok(one(reading, id)?.filter(|stored| scope.contains(stored.origin)))
}

/// Returns one delivery with the attempts of the units that are shown.
pub(crate) fn get(
    reading: &Reading<'_>,
    scope: &Scope,
    id: DeliveryRef,
    shown: UnitsShown,
) -> Result<Option<Shown>, StoreError> {
    let Some(stored) = stored(reading, scope, id)? else {
        return Ok(None);
    };
    let units = units(reading, id, shown)?;
    let all = "select target, number, late, cause, started, took, connect, first_byte, status, error, peer, head, body, facts
        from attempt where id = ?1 and target between ?2 and ?3 order by target, lease";
    let (first, last) = match shown {
        UnitsShown::All => (0, u32::MAX),
        UnitsShown::Of(target) => (target.0, target.0),
        UnitsShown::First(_) => (0, units.last().map_or(0, |unit| unit.target.0)),
    };
    let attempts = reading.rows(all, params![id, first, last], attempt)?;
    Ok(Some(Shown {
        stored,
        units,
        attempts,
    }))
}

/// Reads an attempt from the first columns of a row.
fn attempt(row: &Row<'_>) -> rusqlite::Result<AttemptShown> {
    let attempt = Attempt {
        cause: row.get(3)?,
        started: SystemTime::UNIX_EPOCH + duration(row.get(4)?),
        took: duration(row.get(5)?),
        connect: row.get::<_, Option<i64>>(6)?.map(duration),
        first_byte: row.get::<_, Option<i64>>(7)?.map(duration),
        status: row.get(8)?,
        error: row.get(9)?,
        peer: row.get(10)?,
        head: Bytes::from(row.get::<_, Vec<u8>>(11)?),
        body: Bytes::from(row.get::<_, Vec<u8>>(12)?),
        facts: Bytes::from(row.get::<_, Option<Vec<u8>>>(13)?.unwrap_or_default()),
    };
    Ok(AttemptShown {
        target: row.get::<_, TargetId>(0)?,
        number: row.get(1)?,
        late: row.get(2)?,
        attempt,
    })
}

/// The attempts of an endpoint. The condition of the partial index stands in the query, or it would not be used.
const OF_ENDPOINT: &str = "select target, number, late, cause, started, took, connect, first_byte, status, error, peer, head, body, facts, row, id
    from attempt where target = ?1 and facts is not null and row < ?2 order by row desc limit ?3";
/// The attempts of a delivery. Only the shown ones are read whole.
const OF_DELIVERY: &str = "select target, number, late, cause, started, took, connect, first_byte, status, error, peer, head, body, facts, row, id
    from attempt where row in (select row from attempt where id = ?1 and row < ?2 order by row desc limit ?3) order by row desc";

/// Returns attempts of an endpoint or of a delivery, newest first.
pub(crate) fn attempts(
    reading: &Reading<'_>,
    scope: &Scope,
    of: AttemptsOf,
    before: Option<AttemptPosition>,
    limit: u16,
) -> Result<AttemptPage, StoreError> {
    let before = before.map_or(i64::MAX, |position| position.0);
    let read = |row: &Row<'_>| {
        let position = AttemptPosition(row.get(14)?);
        Ok((position, row.get::<_, DeliveryRef>(15)?, attempt(row)?))
    };
    let found = match of {
        AttemptsOf::Endpoint(target) => {
            reading.rows(OF_ENDPOINT, params![target, before, limit], read)
        }
        AttemptsOf::Delivery(id) => reading.rows(OF_DELIVERY, params![id, before, limit], read),
    }?;
    let mut page = AttemptPage::default();
    if found.len() == usize::from(limit) {
        page.next = found.last().map(|(position, ..)| *position);
    }
    let of = "select origin, event_type from delivery where id = ?1";
    for (_, delivery, shown) in found {
        let read = |row: &Row<'_>| Ok((OriginId(row.get(0)?), row.get::<_, Option<Arc<str>>>(1)?));
        let Some((origin, event_type)) = reading.row(of, params![delivery], read)? else {
            continue;
        };
        if scope.contains(origin) {
            page.rows.push(AttemptOf {
                delivery,
                event_type,
                shown,
            });
        }
    }
    Ok(page)
}
