//! A leased unit comes back.
use std::time::Duration;

use rusqlite::params;

use super::ended::close;
use super::ms;
use super::unit::{bury, end};
use super::writing::{DELIVERIES, Writing};
use crate::clock::unix_ms;
use crate::store::queue::{Attempt, Lease, Next, Unit};
use crate::store::{Held, StoreError};

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) held: Held,
    /// A try was recorded that came back late.
    pub(crate) late: bool,
    /// A unit is due at another time than before.
    pub(crate) wakes: bool,
}

/// Settles a leased unit. What is late changes nothing, and is recorded; what is repeated gets its first answer again.
pub(crate) fn settle(writing: &Writing<'_>, lease: Lease, attempt: Option<&Attempt>, next: Next) -> Result<Settled, StoreError> {
    let unit = lease.unit;
    let find = "select lease, held, lane is not null from due where id = ?1 and target = ?2";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, bool>(1)?, row.get::<_, bool>(2)?));
    let held = |held| Settled { held, late: false, wakes: false };
    match writing.row(find, params![unit.delivery, unit.target], read)? {
        Some((number, true, laned)) if number == lease.number => {
            if let Some(attempt) = attempt {
                insert_attempt(writing, lease, attempt, false, None)?;
            }
            apply(writing, lease, attempt.is_some(), next)?;
            // one that is over and has no lane leaves nothing behind that could become due
            let wakes = laned || matches!(next, Next::GiveBack | Next::RetryIn(_) | Next::Later(_));
            Ok(Settled { wakes, ..held(Held::Yes) })
        }
        Some((number, false, _)) if number == lease.number => Ok(held(Held::Yes)),
        _ if settled_before(writing, lease)? => Ok(held(Held::Yes)),
        _ => {
            let late = match attempt {
                Some(attempt) => insert_attempt(writing, lease, attempt, true, None)?,
                None => false,
            };
            Ok(Settled { late, ..held(Held::Lost) })
        }
    }
}

/// Whether this very lease settled the unit.
fn settled_before(writing: &Writing<'_>, lease: Lease) -> Result<bool, StoreError> {
    let found = "select 1 where exists (select 1 from attempt where id = ?1 and target = ?2 and n = ?3 and late = 0)
        or exists (select 1 from dead where id = ?1 and target = ?2 and lease = ?3)";
    Ok(writing.row(found, params![lease.unit.delivery, lease.unit.target, lease.number], |_| Ok(()))?.is_some())
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
            .execute("update due set held = 0, run_at = ?3 where id = ?1 and target = ?2", params![unit.delivery, unit.target, writing.now])
            .map(drop),
        Next::RetryIn(delay) => again(writing, unit, delay, tried),
        Next::Later(delay) => again(writing, unit, delay, false),
    }
}

/// The unit is due after `delay`; `counted` says whether the try counts.
fn again(writing: &Writing<'_>, unit: Unit, delay: Duration, counted: bool) -> Result<(), StoreError> {
    let run_at = writing.now.saturating_add(ms(delay));
    let later = "update due set held = 0, run_at = ?3, tries = tries + ?4, cause = 0 where id = ?1 and target = ?2";
    writing.execute(later, params![unit.delivery, unit.target, run_at, u32::from(counted)]).map(drop)
}

/// Records a try of a delivery that is there still; whether it is new. `origin` is the delivery's, if it is known.
pub(super) fn insert_attempt(
    writing: &Writing<'_>,
    lease: Lease,
    attempt: &Attempt,
    late: bool,
    origin: Option<u32>,
) -> Result<bool, StoreError> {
    let Lease { unit, number } = lease;
    let origin = match origin {
        Some(origin) => Some(origin),
        None => writing.row("select origin from delivery where id = ?1", params![unit.delivery], |row| row.get(0))?,
    };
    let Some(origin) = origin else { return Ok(false) };
    let Attempt { cause, started, took, connect, first_byte, status, error, peer, head, body } = attempt;
    let inserted = writing.execute(
        "insert or ignore into attempt (id, target, n, cause, started, took, connect, first_byte, status, error, peer, late, head, body)
            values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
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
            &body[..]
        ],
    )?;
    if inserted > 0 {
        writing.count(DELIVERIES, origin, 0, super::int(head.len() + body.len()));
    }
    Ok(inserted > 0)
}
