//! A leased unit comes back.
use std::time::Duration;

use rusqlite::params;

use super::ended::close;
use super::ledger::let_go;
use super::ms;
use super::unit::{bury, end, take_dead};
use super::writing::{DELIVERIES, Writing};
use crate::clock::unix_ms;
use crate::store::queue::{Attempt, CUT_OFF, Cause, Lease, Next, Unit};
use crate::store::{Held, StoreError};

/// The result of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) held: Held,
    /// A late attempt was recorded.
    pub(crate) late: bool,
    /// A unit is due at another time than before.
    pub(crate) wakes: bool,
}

/// Settles a leased unit. A late settlement is recorded and changes nothing; a repeated one gets its first answer again.
/// `was_made` says whether there was an attempt: one that was made has its number even if nothing of it is recorded.
pub(crate) fn settle(
    writing: &Writing<'_>,
    lease: Lease,
    attempt: Option<&Attempt>,
    was_made: bool,
    next: Next,
) -> Result<Settled, StoreError> {
    let unit = lease.unit;
    let find = "select lease, held, lane is not null from due where id = ?1 and target = ?2";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((
            row.get::<_, u32>(0)?,
            row.get::<_, bool>(1)?,
            row.get::<_, bool>(2)?,
        ))
    };
    let held = |held| Settled {
        held,
        late: false,
        wakes: false,
    };
    match writing.row(find, params![unit.delivery, unit.target], read)? {
        Some((number, true, laned)) if number == lease.number => {
            match attempt {
                Some(attempt) => drop(insert_attempt(writing, lease, attempt, false, None)?),
                None if was_made => {}
                None => give_back_number(writing, unit)?,
            }
            apply(writing, lease, was_made, next)?;
            // one that is over and has no lane leaves nothing behind that could become due
            let wakes = laned || matches!(next, Next::GiveBack | Next::RetryIn(_) | Next::Later(_));
            Ok(Settled {
                wakes,
                ..held(Held::Yes)
            })
        }
        Some((number, false, _)) if number == lease.number => Ok(held(Held::Yes)),
        _ if settled_before(writing, lease)? => {
            // memory does not know the result of a commit whose outcome was unknown
            let_go(writing, unit.delivery)?;
            Ok(held(Held::Yes))
        }
        found => {
            let Some(attempt) = attempt else {
                return Ok(held(Held::Lost));
            };
            let is_leased = found.is_some_and(|(_, held, _)| held);
            if next == Next::Delivered && !is_leased && take_out(writing, unit)? {
                insert_attempt(writing, lease, attempt, false, None)?;
                return Ok(Settled {
                    wakes: true,
                    ..held(Held::Yes)
                });
            }
            Ok(Settled {
                late: insert_attempt(writing, lease, attempt, true, None)?,
                ..held(Held::Lost)
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
    let free = "update due set attempt = attempt - 1 where id = ?1 and target = ?2";
    writing
        .execute(free, params![unit.delivery, unit.target])
        .map(drop)
}

/// Returns whether this very lease settled the unit.
fn settled_before(writing: &Writing<'_>, lease: Lease) -> Result<bool, StoreError> {
    let found = "select 1 where exists (select 1 from attempt where id = ?1 and target = ?2 and n = ?3 and late = 0 and error is not ?4)
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

fn apply(writing: &Writing<'_>, lease: Lease, tried: bool, next: Next) -> Result<(), StoreError> {
    let unit = lease.unit;
    match next {
        Next::Delivered => {
            end(writing, unit)?;
            close(writing, unit.delivery)
        }
        Next::Dead(reason) => bury(writing, unit, Some(reason), tried).map(drop),
        Next::Cancelled => bury(writing, unit, None, tried).map(drop),
        Next::GiveBack => writing
            .execute(
                "update due set held = 0, run_at = ?3 where id = ?1 and target = ?2",
                params![unit.delivery, unit.target, writing.now],
            )
            .map(drop),
        Next::RetryIn(delay) => again(writing, unit, delay, tried),
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
    let later = "update due set held = 0, run_at = ?3, tries = tries + ?4, cause = 0 where id = ?1 and target = ?2";
    writing
        .execute(
            later,
            params![unit.delivery, unit.target, run_at, u32::from(counted)],
        )
        .map(drop)
}

/// Records that the outcome of an attempt is not known, unless it is recorded. An outcome that arrives later replaces the row.
/// `begun` is in milliseconds of wall time.
pub(super) fn cut_off(
    writing: &Writing<'_>,
    lease: Lease,
    cause: Cause,
    begun: Option<i64>,
) -> Result<(), StoreError> {
    let Lease {
        unit,
        number,
        attempt,
    } = lease;
    let insert = "insert or ignore into attempt (id, target, n, number, cause, started, took, error, late, head, body)
        values (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, 0, x'', x'')";
    let row = params![
        unit.delivery,
        unit.target,
        number,
        attempt,
        cause,
        begun.unwrap_or(writing.now),
        CUT_OFF
    ];
    writing.execute(insert, row).map(drop)
}

/// Records an attempt of a delivery that still exists. Returns whether it is new. `origin` is the delivery's, if it is known.
pub(super) fn insert_attempt(
    writing: &Writing<'_>,
    lease: Lease,
    attempt: &Attempt,
    late: bool,
    origin: Option<u32>,
) -> Result<bool, StoreError> {
    let Lease {
        unit,
        number,
        attempt: nth,
    } = lease;
    let origin = match origin {
        Some(origin) => Some(origin),
        None => writing.row(
            "select origin from delivery where id = ?1",
            params![unit.delivery],
            |row| row.get(0),
        )?,
    };
    let Some(origin) = origin else {
        return Ok(false);
    };
    let Attempt {
        cause,
        started,
        took,
        connect,
        first_byte,
        status,
        error,
        peer,
        head,
        body,
    } = attempt;
    let inserted = writing.execute(
        "insert into attempt (id, target, n, cause, started, took, connect, first_byte, status, error, peer, late, head, body, number)
            values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
            on conflict (id, target, n) do update set (cause, started, took, connect, first_byte, status, error, peer, late, head, body)
                = (excluded.cause, excluded.started, excluded.took, excluded.connect, excluded.first_byte, excluded.status, excluded.error,
                excluded.peer, excluded.late, excluded.head, excluded.body) where attempt.error = ?16",
        params![
            unit.delivery,
            unit.target,
            number,
            cause,
            super::int(unix_ms(*started)),
            ms(*took),
            connect.map(ms),
            first_byte.map(ms),
            status,
            error.as_deref(),
            peer.as_deref(),
            late,
            &head[..],
            &body[..],
            nth,
            CUT_OFF
        ],
    )?;
    if inserted > 0 {
        writing.count(DELIVERIES, origin, 0, super::int(head.len() + body.len()));
    }
    Ok(inserted > 0)
}
