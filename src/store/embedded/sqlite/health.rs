//! The health of endpoints: a row for each one that fails, written with the outcome of the attempt. The rules are in `tenant::health`.
use std::time::SystemTime;

use rusqlite::types::FromSqlError;
use rusqlite::{Row, params};

use super::connection::at;
use super::int;
use super::query::Query;
use super::writing::Writing;
use crate::clock::unix_ms;
use crate::store::StoreError;
use crate::store::queue::{Attempt, DeliveryRef, Next, TargetId, Unit};
use crate::tenant::Cause;
use crate::tenant::health::{AfterSuccess, Failure, Notified, Streak};

pub(super) const HEALTH: &str = "select since, failures, hours, last, status, cause, first, notified from health where endpoint = ?1";

/// The outcome of an attempt, as far as health depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Success,
    Failure,
}

/// Returns the outcome that follows from the next step; `None` where no attempt was made.
fn outcome(was_made: bool, next: Next) -> Option<Outcome> {
    match next {
        Next::Delivered => Some(Outcome::Success),
        Next::RetryIn(_) | Next::Later(_) | Next::Dead(_) | Next::Cancelled if was_made => {
            Some(Outcome::Failure)
        }
        Next::RetryIn(_) | Next::Later(_) | Next::Dead(_) | Next::Cancelled | Next::GiveBack => {
            None
        }
    }
}

/// Reads a streak of failures from the first columns of a row.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Streak> {
    let error: Option<String> = row.get(5)?;
    let notified: u8 = row.get(7)?;
    let unknown = || FromSqlError::OutOfRange(i64::from(notified));
    Ok(Streak {
        since: at(row.get(0)?),
        failures: row.get(1)?,
        hours: row.get(2)?,
        last: at(row.get(3)?),
        cause: Cause::from_stored(row.get(4)?, error.as_deref()),
        first: row.get::<_, DeliveryRef>(6)?.0,
        notified: Notified::from_number(notified).ok_or_else(unknown)?,
    })
}

/// Returns the streak of failures of an endpoint, if it has one.
pub(super) fn of(query: &impl Query, endpoint: TargetId) -> Result<Option<Streak>, StoreError> {
    query.first(HEALTH, params![endpoint], read)
}

/// Writes the streak of failures of an endpoint.
fn write(writing: &Writing<'_>, endpoint: TargetId, streak: &Streak) -> Result<(), StoreError> {
    let put = "insert or replace into health (endpoint, since, failures, hours, last, status, cause, first, notified)
        values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let ms = |time: SystemTime| int(unix_ms(time));
    let row = params![
        endpoint,
        ms(streak.since),
        streak.failures,
        streak.hours,
        ms(streak.last),
        streak.cause.status(),
        streak.cause.stored(),
        DeliveryRef(streak.first),
        streak.notified.number()
    ];
    writing.execute(put, row).map(drop)
}

/// Returns whether the failures of an endpoint since `since` go on.
pub(super) fn goes_on(
    writing: &Writing<'_>,
    endpoint: TargetId,
    since: SystemTime,
) -> Result<bool, StoreError> {
    let streak = of(writing, endpoint)?;
    Ok(streak.is_some_and(|streak| streak.since == since && streak.notified != Notified::Over))
}

/// Forgets the failures of an endpoint.
pub(super) fn forget(writing: &Writing<'_>, endpoint: TargetId) -> Result<(), StoreError> {
    let delete = "delete from health where endpoint = ?1";
    writing.execute(delete, params![endpoint]).map(drop)
}

/// Writes the health of an endpoint after an attempt, at `wall` milliseconds of wall time. Writes nothing for any other target, and nothing for
/// a success of an endpoint that does not fail.
pub(super) fn note(
    writing: &Writing<'_>,
    unit: Unit,
    (attempt, was_made): (Option<&Attempt>, bool),
    next: Next,
    wall: i64,
) -> Result<(), StoreError> {
    let endpoint = unit.target;
    let Some(outcome) = outcome(was_made, next).filter(|_| endpoint.is_endpoint()) else {
        return Ok(());
    };
    let before = of(writing, endpoint)?;
    match (outcome, before) {
        (Outcome::Success, None) => Ok(()),
        (Outcome::Success, Some(streak)) => match streak.after_success() {
            AfterSuccess::Remove => forget(writing, endpoint),
            AfterSuccess::Keep(after) if after == streak => Ok(()),
            AfterSuccess::Keep(after) => write(writing, endpoint, &after),
        },
        (Outcome::Failure, before) => {
            if before.is_none() && !exists(writing, endpoint)? {
                return Ok(());
            }
            let failure = Failure {
                at: at(wall),
                cause: cause(attempt),
                event: unit.delivery.0,
            };
            write(writing, endpoint, &Streak::after_failure(before, &failure))
        }
    }
}

/// Returns the cause of a failed attempt; unknown if nothing of it is recorded.
fn cause(attempt: Option<&Attempt>) -> Cause {
    attempt.map_or(Cause::Unknown, |attempt| {
        Cause::from_stored(attempt.status, attempt.error.as_deref())
    })
}

/// Returns whether the endpoint is not removed.
fn exists(writing: &Writing<'_>, endpoint: TargetId) -> Result<bool, StoreError> {
    let find = "select 1 from endpoint where number = ?1 and state <> 6";
    Ok(writing.row(find, params![endpoint], |_| Ok(()))?.is_some())
}

/// Notes that a notification about the failures since `since` is stored; none: that about their end, and forgets them. Returns whether that is
/// new: not if it was noted before, or if other failures began meanwhile.
pub(crate) fn note_notified(
    writing: &Writing<'_>,
    endpoint: TargetId,
    since: SystemTime,
    notified: Option<Notified>,
) -> Result<bool, StoreError> {
    let Some(streak) = of(writing, endpoint)?.filter(|streak| streak.since == since) else {
        return Ok(false);
    };
    let is_over = streak.notified == Notified::Over;
    match notified {
        None if is_over => forget(writing, endpoint).map(|()| true),
        Some(notified) if streak.notified < notified && !is_over => {
            write(writing, endpoint, &streak.after_warning(notified)).map(|()| true)
        }
        None | Some(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::retry::Reason;

    #[test]
    fn each_next_step_is_a_success_a_failure_or_neither() {
        use Outcome::{Failure, Success};
        let soon = Duration::from_secs(1);
        for (next, made, given_back) in [
            (Next::Delivered, Some(Success), Some(Success)),
            (Next::RetryIn(soon), Some(Failure), None),
            (Next::Later(soon), Some(Failure), None),
            (Next::Dead(Reason::Age), Some(Failure), None),
            (Next::Cancelled, Some(Failure), None),
            (Next::GiveBack, None, None),
        ] {
            assert_eq!(outcome(true, next), made, "{next:?}");
            assert_eq!(outcome(false, next), given_back, "{next:?}");
        }
    }
}
