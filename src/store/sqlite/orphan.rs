//! What a process had leased when it died comes back when the next one opens the store, instead of when its leases lapse.
use std::time::Duration;

use rusqlite::params;

use super::ms;
use super::writing::Writing;
use crate::store::StoreError;
use crate::store::queue::Unit;

/// How long a unit waits whose second try in a row was cut off; each further one doubles it. What kills the gate shall not do so in a tight loop.
const FIRST: Duration = Duration::from_secs(1);
/// The longest such wait.
const LONGEST: Duration = Duration::from_secs(600);

/// Gives back every unit that is leased: one process holds one store, so whoever leased it is gone. How many there were.
///
/// One whose lease has lapsed is due anyway.
pub(crate) fn give_back(writing: &Writing<'_>) -> Result<usize, StoreError> {
    let held =
        "select id, target, lease - coalesce((select max(n) from attempt where attempt.id = due.id and attempt.target = due.target), 0)
        from due where held = 1 and run_at > ?1";
    let orphans =
        writing.rows(held, params![writing.now], |row| Ok((Unit { delivery: row.get(0)?, target: row.get(1)? }, row.get::<_, i64>(2)?)))?;
    for (unit, cut_off) in &orphans {
        let run_at = writing.now.saturating_add(ms(pause(*cut_off)));
        writing
            .execute("update due set held = 0, run_at = ?3 where id = ?1 and target = ?2", params![unit.delivery, unit.target, run_at])?;
    }
    Ok(orphans.len())
}

/// How long a unit waits of which nobody knows what its last `cut_off` leases came to.
fn pause(cut_off: i64) -> Duration {
    // the first time is anybody's bad luck
    if cut_off < 2 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(cut_off - 2).unwrap_or(u32::MAX);
    FIRST.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_longer_each_time() {
        let waits: Vec<_> = [-1, 0, 1, 2, 3, 4, 11, 12, 34, i64::MAX].into_iter().map(|cut_off| pause(cut_off).as_secs()).collect();
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 512, 600, 600, 600]);
    }
}
