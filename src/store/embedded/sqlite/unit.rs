//! Changes of a unit's state: the rows of `due`, `dead` and `lane`.
use rusqlite::params;

use super::attempt::cut_off;
use super::ended::{close, reopen};
use super::lane::{self, WAITS_IN_LANE};
use super::ledger::hold;
use super::park::target_time;
use super::writing::{CANCELLED, DEAD, WAITING, Writing};
use crate::retry::Reason;
use crate::store::StoreError;
use crate::store::address_book::EndpointState;
use crate::store::codes::of_reason;
use crate::store::queue::{Cause, DeliveryRef, Lane, Lease, TargetId, Unit};

/// A new row of `due`.
pub(super) struct Waiting {
    pub(super) unit: Unit,
    pub(super) run_at: i64,
    pub(super) lane: Option<Lane>,
    /// The number of its last lease, or of the one it gets with this.
    pub(super) lease: u32,
    /// Whether it is leased.
    pub(super) leased: bool,
    pub(super) attempts: u32,
    /// The number of its last attempt, without the one that it is leased for.
    pub(super) attempt: u32,
    pub(super) cause: Cause,
    /// The time of its lease, in milliseconds of wall time.
    pub(super) leased_at: Option<i64>,
}

/// The position of a unit that was to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    /// It is the first of its lane, as one without a lane is.
    First,
    /// It waits behind others.
    Behind,
    /// It is dead: its endpoint was removed, or is being removed, and nothing would end it.
    Dead,
}

/// Lets a unit wait.
pub(super) fn wait(writing: &Writing<'_>, waiting: &Waiting) -> Result<Position, StoreError> {
    let Waiting {
        unit,
        run_at,
        lane,
        lease,
        leased,
        attempts,
        attempt,
        cause,
        leased_at,
    } = waiting;
    if is_removed(writing, unit.target)? {
        let dead = Dead {
            lane: *lane,
            lease: *lease,
            attempts: *attempts,
            attempt: *attempt,
        };
        insert_dead(writing, *unit, Some(Reason::Removed), dead)?;
        return Ok(Position::Dead);
    }
    writing.ensure_marker()?;
    let position = match lane {
        None => None,
        Some(lane) => Some(lane::enter(writing, *unit, *lane)?),
    };
    let first = position.is_none_or(|position| position.is_first);
    writing.execute(
        "insert into due (id, target, run_at, lease, leased, attempt_count, cause, since, lane, seq, last_attempt, leased_at)
            values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            unit.delivery,
            unit.target,
            if first { *run_at } else { WAITS_IN_LANE },
            lease,
            *leased && first,
            attempts,
            cause,
            target_time(writing, unit.target)?,
            lane.map(|lane| lane.0),
            position.map(|position| position.seq),
            attempt.saturating_add(u32::from(*leased && first)),
            leased_at
        ],
    )?;
    writing.count_unit(WAITING, *unit, 1)?;
    if !first {
        return Ok(Position::Behind);
    }
    writing.note_due(unit.target, *run_at);
    Ok(Position::First)
}

/// Returns whether a target is an endpoint that was removed, or is being removed: the job that ends its units may have passed.
fn is_removed(writing: &Writing<'_>, target: TargetId) -> Result<bool, StoreError> {
    if !target.is_endpoint() {
        return Ok(false);
    }
    let find = "select state from endpoint where number = ?1";
    let state = writing.row(find, params![target], |row| row.get(0))?;
    Ok(matches!(
        state,
        Some(EndpointState::Removing | EndpointState::Removed)
    ))
}

/// The former state of a unit that no longer waits.
#[derive(Clone, Copy)]
pub(super) struct RemovedUnit {
    lane: Option<Lane>,
    lease: u32,
    attempts: u32,
    /// The number of its last attempt.
    attempt: u32,
    /// The cause and the time of an attempt that began and is not settled.
    leased: Option<(Cause, Option<i64>)>,
}

/// Takes a unit out of the queue; the next of its lane is due then.
pub(super) fn end(writing: &Writing<'_>, unit: Unit) -> Result<Option<RemovedUnit>, StoreError> {
    let out = "delete from due where id = ?1 and target = ?2 returning lane, lease, attempt_count, last_attempt, leased, cause, leased_at";
    let read = |row: &rusqlite::Row<'_>| {
        let (lane, leased) = (
            row.get::<_, Option<[u8; 16]>>(0)?.map(Lane),
            (row.get(5)?, row.get(6)?),
        );
        let leased = row.get::<_, bool>(4)?.then_some(leased);
        Ok(RemovedUnit {
            lane,
            lease: row.get(1)?,
            attempts: row.get(2)?,
            attempt: row.get(3)?,
            leased,
        })
    };
    let Some(removed) = writing.row(out, params![unit.delivery, unit.target], read)? else {
        return Ok(None);
    };
    writing.count_unit(WAITING, unit, -1)?;
    lane::leave(writing, unit.target, removed.lane)?;
    Ok(Some(removed))
}

/// Removes a unit from the queue as dead, or as cancelled if there is no reason. The holder of its lease settled it.
pub(super) fn bury(
    writing: &Writing<'_>,
    unit: Unit,
    reason: Option<Reason>,
    counts_attempt: bool,
) -> Result<(), StoreError> {
    let Some(removed) = end(writing, unit)? else {
        return Ok(());
    };
    insert_dead(
        writing,
        unit,
        reason,
        Dead {
            attempts: removed.attempts.saturating_add(u32::from(counts_attempt)),
            ..removed.into()
        },
    )?;
    close(writing, unit.delivery)
}

/// Ends a unit although it may be leased: as dead, or cancelled if there is no reason. The outcome of that lease is late, unless it is a success.
pub(super) fn end_early(
    writing: &Writing<'_>,
    unit: Unit,
    reason: Option<Reason>,
) -> Result<bool, StoreError> {
    let Some(removed) = end(writing, unit)? else {
        return Ok(false);
    };
    if let Some((cause, leased_at)) = removed.leased {
        cut_off(
            writing,
            Lease {
                unit,
                number: removed.lease,
                attempt: removed.attempt,
                in_lane: removed.lane.is_some(),
            },
            cause,
            leased_at,
        )?;
    }
    insert_dead(
        writing,
        unit,
        reason,
        Dead {
            lease: removed.lease.saturating_add(1),
            ..removed.into()
        },
    )?;
    close(writing, unit.delivery)?;
    Ok(true)
}

/// The row of a dead or cancelled unit.
#[derive(Clone, Copy)]
pub(super) struct Dead {
    pub(super) lane: Option<Lane>,
    /// The number of its last lease.
    pub(super) lease: u32,
    pub(super) attempts: u32,
    /// The number of its last attempt.
    pub(super) attempt: u32,
}

impl From<RemovedUnit> for Dead {
    fn from(removed: RemovedUnit) -> Self {
        let RemovedUnit {
            lane,
            lease,
            attempts,
            attempt,
            leased: _,
        } = removed;
        Self {
            lane,
            lease,
            attempts,
            attempt,
        }
    }
}

pub(super) fn insert_dead(
    writing: &Writing<'_>,
    unit: Unit,
    reason: Option<Reason>,
    dead: Dead,
) -> Result<(), StoreError> {
    let Dead {
        lane,
        lease,
        attempts,
        attempt,
    } = dead;
    writing.ensure_marker()?;
    writing.execute(
        "insert into dead (id, target, at, reason, lease, attempt_count, lane, last_attempt) values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![unit.delivery, unit.target, writing.now, reason.map(of_reason), lease, attempts, lane.map(|lane| lane.0), attempt],
    )?;
    writing.count_unit(DEAD, unit, 1)?;
    if reason.is_none() {
        writing.count_unit(CANCELLED, unit, 1)?;
    }
    Ok(())
}

/// Removes a unit from the dead and cancelled ones. Returns its row, if it was there.
pub(super) fn take_dead(writing: &Writing<'_>, unit: Unit) -> Result<Option<Dead>, StoreError> {
    let out = "delete from dead where id = ?1 and target = ?2
        returning lane, lease, attempt_count, last_attempt, reason is null";
    let read = |row: &rusqlite::Row<'_>| {
        let dead = Dead {
            lane: row.get::<_, Option<[u8; 16]>>(0)?.map(Lane),
            lease: row.get(1)?,
            attempts: row.get(2)?,
            attempt: row.get(3)?,
        };
        Ok((dead, row.get::<_, bool>(4)?))
    };
    let Some((dead, is_cancelled)) = writing.row(out, params![unit.delivery, unit.target], read)?
    else {
        return Ok(None);
    };
    writing.count_unit(DEAD, unit, -1)?;
    if is_cancelled {
        writing.count_unit(CANCELLED, unit, -1)?;
    }
    Ok(Some(dead))
}

/// Sets a dead or cancelled unit going again, with a fresh budget; whether it was there.
pub(super) fn raise(writing: &Writing<'_>, unit: Unit, cause: Cause) -> Result<bool, StoreError> {
    let Some(Dead {
        lane,
        lease,
        attempt,
        attempts: _,
    }) = take_dead(writing, unit)?
    else {
        return Ok(false);
    };
    reopen(writing, unit.delivery)?;
    again(
        writing,
        unit,
        Raised {
            lane,
            lease,
            attempt,
            cause,
        },
    )?;
    Ok(true)
}

/// Makes a dead, cancelled or delivered unit wait again, for a person or a duplicate.
#[derive(Clone, Copy)]
pub(super) struct Raised {
    pub(super) lane: Option<Lane>,
    pub(super) lease: u32,
    pub(super) attempt: u32,
    pub(super) cause: Cause,
}

/// Lets a unit that is over wait again, due now and with a fresh budget, behind the others of its lane.
pub(super) fn again(writing: &Writing<'_>, unit: Unit, again: Raised) -> Result<(), StoreError> {
    let Raised {
        lane,
        lease,
        attempt,
        cause,
    } = again;
    let waiting = Waiting {
        unit,
        run_at: writing.now,
        lane,
        lease,
        leased: false,
        attempts: 0,
        attempt,
        cause,
        leased_at: None,
    };
    match wait(writing, &waiting)? {
        Position::First | Position::Behind => hold(writing, unit.delivery),
        Position::Dead => close(writing, unit.delivery),
    }
}

/// Returns the units of a delivery that a query finds, for these targets if any are given. The query ends in a condition.
pub(super) fn units(
    writing: &Writing<'_>,
    sql: &str,
    id: DeliveryRef,
    only: &[TargetId],
) -> Result<Vec<Unit>, StoreError> {
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Unit {
            delivery: id,
            target: row.get(0)?,
        })
    };
    // an event can have a thousand units
    let units = match only {
        [target] => writing.rows(&format!("{sql} and target = ?2"), params![id, target], read)?,
        _ => writing.rows(sql, params![id], read)?,
    };
    Ok(units
        .into_iter()
        .filter(|unit| only.is_empty() || only.contains(&unit.target))
        .collect())
}
