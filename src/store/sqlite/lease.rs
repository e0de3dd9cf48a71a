//! Due units are taken.
use std::time::Duration;

use rusqlite::params;

use super::writing::Writing;
use super::{ms, unsigned};
use crate::store::StoreError;
use crate::store::queue::{Cause, Lease, TargetId, Unit};

/// A unit that was taken; what it carries is read afterwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) lease: Lease,
    pub(crate) tries: u32,
    pub(crate) cause: Cause,
    pub(crate) age: Duration,
}

struct Due {
    taken: Taken,
    bytes: usize,
}

/// Takes due units, as many a target as wanted and at most `bytes` in all, but one if there is any.
pub(crate) fn lease(writing: &Writing<'_>, wanted: &[(TargetId, u32)], lease: Duration, bytes: usize) -> Result<Vec<Taken>, StoreError> {
    let (mut taken, mut room) = (Vec::new(), bytes);
    for (target, count) in wanted {
        for due in longest_due(writing, *target, *count)? {
            if due.bytes > room && !taken.is_empty() {
                return Ok(taken);
            }
            room = room.saturating_sub(due.bytes);
            let Lease { unit, number } = due.taken.lease;
            writing.execute(
                "update due set run_at = ?3, lease = ?4, held = 1 where id = ?1 and target = ?2",
                params![unit.delivery, unit.target, writing.now.saturating_add(ms(lease)), number],
            )?;
            taken.push(due.taken);
        }
    }
    Ok(taken)
}

fn longest_due(writing: &Writing<'_>, target: TargetId, count: u32) -> Result<Vec<Due>, StoreError> {
    // SQLite takes the tables of a cross join in the order they are written
    let due = "select due.id, due.lease, due.tries, due.cause, due.since, length(delivery.record) + length(delivery.body)
        from due cross join delivery on delivery.id = due.id where due.target = ?1 and due.run_at <= ?2 order by due.run_at limit ?3";
    writing.rows(due, params![target, writing.now, count], |row| {
        let unit = Unit { delivery: row.get(0)?, target };
        let since: i64 = row.get(4)?;
        let taken = Taken {
            lease: Lease { unit, number: row.get::<_, u32>(1)?.saturating_add(1) },
            tries: row.get(2)?,
            cause: row.get(3)?,
            age: Duration::from_millis(u64::try_from(writing.now.saturating_sub(since)).unwrap_or(0)),
        };
        Ok(Due { taken, bytes: usize::try_from(unsigned(row, 5)?).unwrap_or(usize::MAX) })
    })
}
