//! Puts summaries of deliveries together from the rows in which the server gives them.
use std::collections::HashMap;

use super::call::column;
use super::columns::{count, delivery, duration, number, optional_duration, optional_text, status};
use crate::store::archive::search::{dead_status, show, waiting_status};
use crate::store::archive::{AttemptSummary, Row, Status, UnitShown, UnitsShown};
use crate::store::codes::to_reason;
use crate::store::queue::{DeliveryRef, OriginId, TargetId};
use crate::store::record::Record;
use crate::store::{Key, StoreError};

/// The units that a call reads of each delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitsRead {
    /// The one of this target alone.
    pub(super) only_target: Option<i32>,
    /// So many of each state, by the numbers of their targets.
    pub(super) most: Option<i32>,
}

impl UnitsRead {
    /// Returns the units to read, so that `shown` are among them.
    pub(super) fn of(shown: UnitsShown) -> Self {
        let (only_target, most) = match shown {
            UnitsShown::All => (None, None),
            UnitsShown::Of(target) => (Some(super::columns::int(target.0)), None),
            UnitsShown::First(most) => (None, Some(i32::from(most))),
        };
        Self { only_target, most }
    }
}

/// Returns the deliveries of some rows, without their records. Units without their delivery are left out: it is gone.
pub(super) fn deliveries(
    rows: &[tokio_postgres::Row],
    shown: UnitsShown,
) -> Result<HashMap<DeliveryRef, Row>, StoreError> {
    let (mut found, mut units) = (HashMap::new(), HashMap::<_, Vec<_>>::new());
    let mut attempted = Vec::new();
    for row in rows {
        let id = delivery(row, 0)?;
        match column::<i32>(row, 1)? {
            0 => drop(found.insert(id, head(row, id)?)),
            1 => units.entry(id).or_default().push(waiting(row)?),
            2 => units.entry(id).or_default().push(dead(row)?),
            _ => attempted.push((id, attempted_unit(row)?)),
        }
    }
    // last: what is in no other state was delivered
    for (id, unit) in attempted {
        let known = units.entry(id).or_default();
        match known.iter_mut().find(|known| known.target == unit.target) {
            Some(known) => known.last = unit.last,
            None => known.push(unit),
        }
    }
    for (id, mut units) in units {
        if let Some(row) = found.get_mut(&id) {
            units.sort_unstable_by_key(|unit| unit.target);
            // each state gave its first ones
            show(&mut units, shown);
            row.units = units;
        }
    }
    Ok(found)
}

fn head(row: &tokio_postgres::Row, id: DeliveryRef) -> Result<Row, StoreError> {
    let key = column::<Option<&[u8]>>(row, 11)?;
    Ok(Row {
        id,
        origin: OriginId(number(row, 2)?),
        key: key.and_then(|key| key.try_into().ok()).map(Key),
        owns_key: column(row, 5)?,
        delivery_id: optional_text(row, 12)?,
        event_type: optional_text(row, 13)?,
        size: count(row, 10)?,
        record: Record::default(),
        units: Vec::new(),
    })
}

fn waiting(row: &tokio_postgres::Row) -> Result<UnitShown, StoreError> {
    let next_in = optional_duration(row, 6)?;
    let attempts = attempts(row)?;
    let is_leased: bool = column(row, 5)?;
    Ok(UnitShown {
        target: TargetId(number(row, 2)?),
        status: waiting_status(attempts),
        // a lease that has ended is none
        leased: is_leased && next_in.is_some_and(|left| !left.is_zero()),
        attempts,
        leases: number(row, 3)?,
        next_in,
        reason: None,
        last: None,
    })
}

fn dead(row: &tokio_postgres::Row) -> Result<UnitShown, StoreError> {
    let reason = column::<Option<i32>>(row, 7)?.map(|reason| to_reason(i64::from(reason)));
    Ok(UnitShown {
        target: TargetId(number(row, 2)?),
        status: dead_status(reason),
        leased: false,
        attempts: attempts(row)?,
        leases: number(row, 3)?,
        next_in: None,
        reason,
        last: None,
    })
}

/// Returns a unit with its last attempt, as if it were delivered.
fn attempted_unit(row: &tokio_postgres::Row) -> Result<UnitShown, StoreError> {
    let leases = number(row, 3)?;
    Ok(UnitShown {
        target: TargetId(number(row, 2)?),
        status: Status::Delivered,
        leased: false,
        attempts: attempts(row)?,
        leases,
        next_in: None,
        reason: None,
        last: Some(AttemptSummary {
            number: leases,
            started: column(row, 9)?,
            took: duration(row, 6)?,
            status: status(row, 7)?,
            error: optional_text(row, 8)?,
        }),
    })
}

fn attempts(row: &tokio_postgres::Row) -> Result<u32, StoreError> {
    Ok(u32::try_from(column::<i64>(row, 4)?).unwrap_or(u32::MAX))
}
