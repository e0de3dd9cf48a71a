//! The rows of attempts.
use rusqlite::params;

use super::writing::{DELIVERIES, Writing};
use super::{int, ms};
use crate::clock::unix_ms;
use crate::store::StoreError;
use crate::store::queue::{Attempt, CUT_OFF, Cause, Lease, TargetId};

/// Records that the outcome of an attempt is not known, unless it is recorded. An outcome that arrives later replaces the row.
/// `leased_at` is in milliseconds of wall time.
pub(super) fn cut_off(
    writing: &Writing<'_>,
    lease: Lease,
    cause: Cause,
    leased_at: Option<i64>,
) -> Result<(), StoreError> {
    let Lease {
        unit,
        number,
        attempt,
        in_lane: _,
    } = lease;
    let insert = "insert or ignore into attempt (id, target, lease, number, cause, started, took, error, late, head, body, facts)
        values (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7, 0, x'', x'', ?8)";
    let row = params![
        unit.delivery,
        unit.target,
        number,
        attempt,
        cause,
        leased_at.unwrap_or(writing.now),
        CUT_OFF,
        facts_of(unit.target, &[])
    ];
    writing.execute(insert, row).map(drop)
}

/// Returns the facts of an attempt as they are stored. Each attempt to an endpoint has some, be they empty: an index lists its attempts.
fn facts_of(target: TargetId, facts: &[u8]) -> Option<&[u8]> {
    (target.is_endpoint() || !facts.is_empty()).then_some(facts)
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
        in_lane: _,
    } = lease;
    let origin = match origin {
        Some(origin) => Some(origin),
        None => writing.origin_of(unit.delivery)?,
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
        facts,
    } = attempt;
    let inserted = writing.execute(
        "insert into attempt (id, target, lease, cause, started, took, connect, first_byte, status, error, peer, late, head, body, number, facts)
            values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?17)
            on conflict (id, target, lease) do update set (cause, started, took, connect, first_byte, status, error, peer, late, head, body, facts)
                = (excluded.cause, excluded.started, excluded.took, excluded.connect, excluded.first_byte, excluded.status, excluded.error,
                excluded.peer, excluded.late, excluded.head, excluded.body, excluded.facts) where attempt.error = ?16",
        params![
            unit.delivery,
            unit.target,
            number,
            cause,
            int(unix_ms(*started)),
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
            CUT_OFF,
            facts_of(unit.target, facts)
        ],
    )?;
    if inserted > 0 {
        let bytes = head.len() + body.len() + facts.len();
        writing.count(DELIVERIES, origin, 0, int(bytes));
    }
    Ok(inserted > 0)
}
