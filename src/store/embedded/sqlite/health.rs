//! The health of endpoints: a row for each one that fails, written with the outcome of the attempt.
use rusqlite::params;

use super::writing::Writing;
use crate::store::StoreError;
use crate::store::address_book::HealthRow;
use crate::store::queue::{Attempt, Next, Unit};

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

/// Adds a failure. A row whose failures are over begins again. The hours are those of the wall clock, and each counts once.
const FAILED: &str =
    "insert into health (endpoint, since, failures, hours, last, status, cause, first, notified)
    select number, ?2, 1, 1, ?2, ?3, ?4, ?5, 0 from endpoint where number = ?1 and state <> 6
    on conflict (endpoint) do update set
        since = iif(notified = ?6, excluded.since, since),
        failures = iif(notified = ?6, 1, failures + 1),
        hours = iif(notified = ?6, 1, hours + (last / 3600000 <> excluded.last / 3600000)),
        first = iif(notified = ?6, excluded.first, first),
        notified = iif(notified = ?6, 0, notified),
        last = excluded.last, status = excluded.status, cause = excluded.cause";

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
    if !endpoint.is_endpoint() {
        return Ok(());
    }
    match outcome(was_made, next) {
        None => Ok(()),
        Some(Outcome::Failure) => {
            let status = attempt.and_then(|attempt| attempt.status);
            let error = attempt.and_then(|attempt| attempt.error.as_deref());
            let failed = params![
                endpoint,
                wall,
                status,
                error,
                unit.delivery,
                HealthRow::RECOVERED
            ];
            writing.execute(FAILED, failed).map(drop)
        }
        Some(Outcome::Success) => {
            let find = "select notified from health where endpoint = ?1";
            let notified: Option<u8> = writing.row(find, params![endpoint], |row| row.get(0))?;
            match notified {
                None | Some(HealthRow::RECOVERED) => Ok(()),
                Some(0) => writing
                    .execute("delete from health where endpoint = ?1", params![endpoint])
                    .map(drop),
                // the app was notified of the failures, and has yet to be notified of their end
                Some(_) => {
                    let over = "update health set notified = ?2 where endpoint = ?1";
                    writing
                        .execute(over, params![endpoint, HealthRow::RECOVERED])
                        .map(drop)
                }
            }
        }
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
