//! A leased unit comes back.
use std::time::Duration;

use rusqlite::params;

use super::attempt::insert_attempt;
use super::ended::close;
use super::health;
use super::ledger::let_go;
use super::ms;
use super::unit::{bury, end, take_dead};
use super::writing::Writing;
use crate::store::queue::{Attempt, CUT_OFF, Lease, Next, Unit};
use crate::store::{Ownership, StoreError};

/// The result of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) ownership: Ownership,
    /// A late attempt was recorded.
    pub(crate) late: bool,
    /// A unit is due at another time than before.
    pub(crate) wakes: bool,
}

/// Settles a leased unit. A late settlement is recorded and changes nothing; a repeated one gets its first answer again.
/// `was_made` says whether there was an attempt: one that was made has its number even if nothing of it is recorded. `wall` is the time as it is
/// shown.
pub(crate) fn settle(
    writing: &Writing<'_>,
    lease: Lease,
    attempt: Option<&Attempt>,
    was_made: bool,
    next: Next,
    wall: i64,
) -> Result<Settled, StoreError> {
    let unit = lease.unit;
    let find = "select lease, leased from due where id = ?1 and target = ?2";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, bool>(1)?));
    let answer = |ownership| Settled {
        ownership,
        late: false,
        wakes: false,
    };
    match writing.row(find, params![unit.delivery, unit.target], read)? {
        Some((number, true)) if number == lease.number => {
            match attempt {
                Some(attempt) => drop(insert_attempt(writing, lease, attempt, false, None)?),
                None if was_made => {}
                None => give_back_number(writing, unit)?,
            }
            let notes = writing.notes();
            apply(writing, lease, was_made, next)?;
            health::note(writing, unit, (attempt, was_made), next, wall)?;
            Ok(Settled {
                // it itself, the next of its lane, or one in order that waited for those in no lane
                wakes: writing.notes() > notes,
                ..answer(Ownership::Owned)
            })
        }
        Some((number, false)) if number == lease.number => Ok(answer(Ownership::Owned)),
        _ if settled_before(writing, lease)? => {
            // memory does not know the result of a commit whose outcome was unknown
            let_go(writing, unit.delivery)?;
            Ok(answer(Ownership::Owned))
        }
        found => {
            let Some(attempt) = attempt else {
                return Ok(answer(Ownership::Lost));
            };
            let is_leased = found.is_some_and(|(_, leased)| leased);
            if next == Next::Delivered && !is_leased && take_out(writing, unit)? {
                insert_attempt(writing, lease, attempt, false, None)?;
                health::note(writing, unit, (Some(attempt), true), next, wall)?;
                return Ok(Settled {
                    wakes: true,
                    ..answer(Ownership::Owned)
                });
            }
            Ok(Settled {
                late: insert_attempt(writing, lease, attempt, true, None)?,
                ..answer(Ownership::Lost)
            })
        }
    }
}

/// Removes a unit that an attempt has delivered after all, although it was cancelled or replayed during the attempt.
/// Returns whether it was there.
fn take_out(writing: &Writing<'_>, unit: Unit) -> Result<bool, StoreError> {
    let was_there = end(writing, unit)?.is_some() || take_dead(writing, unit)?.is_some();
    if was_there {
        close(writing, unit.delivery)?;
    }
    Ok(was_there)
}

/// Frees the number of an attempt that was not made.
fn give_back_number(writing: &Writing<'_>, unit: Unit) -> Result<(), StoreError> {
    let free = "update due set last_attempt = last_attempt - 1 where id = ?1 and target = ?2";
    writing
        .execute(free, params![unit.delivery, unit.target])
        .map(drop)
}

/// Returns whether this very lease settled the unit.
fn settled_before(writing: &Writing<'_>, lease: Lease) -> Result<bool, StoreError> {
    let found = "select 1 where exists (select 1 from attempt where id = ?1 and target = ?2 and lease = ?3 and late = 0 and error is not ?4)
        or exists (select 1 from dead where id = ?1 and target = ?2 and lease = ?3)";
    Ok(writing
        .row(
            found,
            params![
                lease.unit.delivery,
                lease.unit.target,
                lease.number,
                CUT_OFF
            ],
            |_| Ok(()),
        )?
        .is_some())
}

fn apply(
    writing: &Writing<'_>,
    lease: Lease,
    counts_attempt: bool,
    next: Next,
) -> Result<(), StoreError> {
    let unit = lease.unit;
    match next {
        Next::Delivered => {
            end(writing, unit)?;
            close(writing, unit.delivery)
        }
        Next::Dead(reason) => bury(writing, unit, Some(reason), counts_attempt).map(drop),
        Next::Cancelled => bury(writing, unit, None, counts_attempt).map(drop),
        Next::GiveBack => {
            writing.note_due(unit.target, writing.now);
            let back = "update due set leased = 0, run_at = ?3 where id = ?1 and target = ?2";
            writing
                .execute(back, params![unit.delivery, unit.target, writing.now])
                .map(drop)
        }
        Next::RetryIn(delay) => again(writing, unit, delay, counts_attempt),
        Next::Later(delay) => again(writing, unit, delay, false),
    }
}

/// Makes the unit due after `delay`. `counted` says whether the attempt counts.
fn again(
    writing: &Writing<'_>,
    unit: Unit,
    delay: Duration,
    counted: bool,
) -> Result<(), StoreError> {
    let run_at = writing.now.saturating_add(ms(delay));
    writing.note_due(unit.target, run_at);
    let later = "update due set leased = 0, run_at = ?3, attempt_count = attempt_count + ?4, cause = 0 where id = ?1 and target = ?2";
    writing
        .execute(
            later,
            params![unit.delivery, unit.target, run_at, u32::from(counted)],
        )
        .map(drop)
}
