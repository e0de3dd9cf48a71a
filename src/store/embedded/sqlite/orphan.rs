//! The units that a process had leased when it died. They are released when the next process opens the store, instead of when their leases
//! end.
use std::time::Duration;

use rusqlite::params;

use super::attempt::cut_off;
use super::ms;
use super::writing::Writing;
use crate::store::StoreError;
use crate::store::queue::{CUT_OFF, Cause, Lease, Unit};

/// The wait of a unit whose second attempt in a row was cut off. Each further one doubles it, so that a delivery that crashes the gateway
/// does not do so in a tight loop.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest such wait.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// Releases every leased unit and records its attempt as cut off: one process holds one store, so the holder of the lease is gone.
/// Returns how many there were.
pub(crate) fn give_back(writing: &Writing<'_>) -> Result<usize, StoreError> {
    let find = "select id, target, lease, last_attempt, cause, leased_at, lane is not null from due where leased = 1";
    let orphans = writing.rows(find, [], |row| {
        let unit = Unit {
            delivery: row.get(0)?,
            target: row.get(1)?,
        };
        Ok((
            Lease {
                unit,
                number: row.get(2)?,
                attempt: row.get(3)?,
                in_lane: row.get(6)?,
            },
            row.get::<_, Cause>(4)?,
            row.get(5)?,
        ))
    })?;
    for (lease, cause, leased_at) in &orphans {
        cut_off(writing, *lease, *cause, *leased_at)?;
        let unit = lease.unit;
        let run_at = writing
            .now
            .saturating_add(ms(pause(cut_offs(writing, unit)?)));
        writing.execute(
            "update due set leased = 0, run_at = ?3 where id = ?1 and target = ?2",
            params![unit.delivery, unit.target, run_at],
        )?;
    }
    Ok(orphans.len())
}

/// Counts the attempts that were cut off since the last one whose outcome is known.
fn cut_offs(writing: &Writing<'_>, unit: Unit) -> Result<i64, StoreError> {
    let count = "select count(*) from attempt where id = ?1 and target = ?2 and error = ?3
        and lease > coalesce((select max(lease) from attempt where id = ?1 and target = ?2 and error is not ?3), 0)";
    Ok(writing
        .row(count, params![unit.delivery, unit.target, CUT_OFF], |row| {
            row.get(0)
        })?
        .unwrap_or(0))
}

/// Returns the wait of a unit whose last `cut_off` attempts were cut off.
fn pause(cut_off: i64) -> Duration {
    // the first time is anybody's bad luck
    if cut_off < 2 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(cut_off - 2).unwrap_or(u32::MAX);
    FIRST_WAIT
        .saturating_mul(2_u32.saturating_pow(doublings))
        .min(MAX_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interrupted_attempt_waits_longer() {
        let waits: Vec<_> = [-1, 0, 1, 2, 3, 4, 11, 12, 34, i64::MAX]
            .into_iter()
            .map(|cut_off| pause(cut_off).as_secs())
            .collect();
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 512, 600, 600, 600]);
    }
}
