//! The row that the key of an accepted delivery has in the ledger. All other committed IDs are in the journal (`journal.rs`).
use std::time::Duration;

use rusqlite::params;

use super::writing::Writing;
use super::{Database, int, store_error};
use crate::store::queue::DeliveryRef;
use crate::store::{Key, StoreError};

/// `ledger.state` of a committed ID.
pub(super) const COMMITTED: i64 = 1;
/// The time in milliseconds by which an entry is extended while its delivery waits, each time that it would end sooner.
const HOLD: i64 = 6 * 3_600_000;

impl Database {
    /// Calls `each` with every ID that is remembered past `now` (milliseconds of the store's time), or whose delivery waits, and the time
    /// until it ends: the last of its ends holds. `None` cancels what was said of an ID before.
    ///
    /// # Errors
    /// The database is damaged or cannot be read.
    pub(crate) fn load(
        &self,
        now: i64,
        mut each: impl FnMut(Key, Option<Duration>),
    ) -> Result<(), StoreError> {
        // before the ledger, whose rows no mark of the journal cancels
        self.load_journal(now, &mut each)?;
        // whether its delivery waits matters only to one that ends soon: looked up for each of a million it would take seconds
        let all = "select key, coalesce(ends, until), (ends is not null or until <= ?2) and delivery is not null
            and exists (select 1 from due where due.id = ledger.delivery) from ledger where state = ?1";
        let mut rows = self.connection.prepare(all).map_err(store_error)?;
        let mut rows = rows
            .query(params![COMMITTED, now.saturating_add(HOLD)])
            .map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let (Ok(key), Ok(until), Ok(waits)) = (
                row.get::<_, [u8; 16]>(0),
                row.get::<_, i64>(1),
                row.get::<_, bool>(2),
            ) else {
                continue;
            };
            let left = until.saturating_sub(now).max(if waits { HOLD } else { 0 });
            if left > 0 {
                each(Key(key), Some(Duration::from_millis(left.unsigned_abs())));
            }
        }
        Ok(())
    }
}

/// Deletes at most `step` expired rows whose delivery does not wait. Returns the number of rows it looked at.
pub(crate) fn purge(writing: &Writing<'_>, step: usize) -> Result<usize, StoreError> {
    writing.execute(
        "delete from ledger where key in (select key from ledger where until <= ?1
            and (delivery is null or not exists (select 1 from due where due.id = ledger.delivery)) order by until limit ?2)",
        params![writing.now, int(step)],
    )
}

/// The position of [`prolong`]: the end and the key of the last entry that it looked at.
pub(crate) type Position = (i64, [u8; 16]);

/// Holds entries after `after` that end until `before`, if their delivery waits. Looks at `step` rows, and returns where to go on, if there is more to
/// look at now.
pub(crate) fn prolong(
    writing: &Writing<'_>,
    after: Position,
    before: i64,
    step: usize,
) -> Result<Option<Position>, StoreError> {
    let rows = writing.rows(
        "select key, until, delivery is not null and exists (select 1 from due where due.id = ledger.delivery) from ledger
            where (until, key) > (?1, ?2) and until <= ?3 order by until, key limit ?4",
        params![after.0, after.1, before, int(step)],
        |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?)),
    )?;
    let more = rows
        .last()
        .filter(|_| rows.len() == step)
        .map(|(key, until, _)| (*until, *key));
    for (key, _, _) in rows.into_iter().filter(|(_, _, waits)| *waits) {
        let held = writing.now.saturating_add(HOLD);
        writing.execute(
            "update ledger set until = ?2, ends = coalesce(ends, until) where key = ?1",
            params![key, held],
        )?;
        writing.remember(Key(key), held);
    }
    Ok(more)
}

/// Returns until when the entry of a delivery that waits from now on is held, and its end, if that comes before.
pub(super) fn held(now: i64, window: i64) -> (i64, Option<i64>) {
    let (end, held) = (now.saturating_add(window), now.saturating_add(HOLD));
    if end < held {
        (held, Some(end))
    } else {
        (end, None)
    }
}

/// Holds the entry of a delivery that waits again, if there is one.
pub(super) fn hold(writing: &Writing<'_>, id: DeliveryRef) -> Result<(), StoreError> {
    let hold = "update ledger set until = max(until, ?2), ends = coalesce(ends, until)
        where key = (select key from delivery where id = ?1) and delivery = ?1 returning key, until";
    let held = writing.row(hold, params![id, writing.now.saturating_add(HOLD)], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    if let Some((key, until)) = held {
        writing.remember(Key(key), until);
    }
    Ok(())
}

/// Ends the hold on the entry of a delivery that waits no more: it ends with its window, or now if that has passed.
pub(super) fn let_go(writing: &Writing<'_>, id: DeliveryRef) -> Result<(), StoreError> {
    let find = "select ledger.key, coalesce(ledger.ends, ledger.until), ledger.ends is not null
        from delivery cross join ledger on ledger.key = delivery.key
        where delivery.id = ?1 and ledger.delivery = ?1 and not exists (select 1 from due where due.id = ?1)";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get::<_, bool>(2)?));
    let Some((key, end, is_held)) = writing.row(find, params![id], read)? else {
        return Ok(());
    };
    if is_held {
        writing.execute(
            "update ledger set until = ?2, ends = null where key = ?1",
            params![key, end],
        )?;
    }
    writing.remember(Key(key), end);
    Ok(())
}

/// Saves the store's time, so that it continues after a restart.
pub(crate) fn keep_time(writing: &Writing<'_>, wall: i64) -> Result<(), StoreError> {
    let keep =
        "insert or replace into meta (name, value) values ('store_time', ?1), ('wall_time', ?2)";
    writing.execute(keep, params![writing.now, wall]).map(drop)
}
