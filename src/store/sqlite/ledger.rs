//! Delivery IDs that were handed on: the journal of the ledger, and the row that an accepted delivery commits with.
use std::time::Duration;

use rusqlite::params;

use super::writing::Writing;
use super::{Database, int, ms, told};
use crate::store::{Key, StoreError};

/// `ledger.state` of an ID that was handed on.
pub(super) const COMMITTED: i64 = 1;
/// How long an entry lives on, each time that its delivery still waits when it would end.
const LONGER: Duration = Duration::from_secs(6 * 3600);

/// A change of the `ledger` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `key` was handed on and is remembered until then, in milliseconds of the store's time.
    Remember(Key, i64),
    /// `key` was forgotten.
    Forget(Key),
    /// A person wanted `key` forgotten: what the journal remembered of it before goes, what was accepted since stays.
    Erase(Key),
    /// Since when each route has been kept without a gap, as text.
    Kept(String),
}

impl Database {
    /// Gives every ID remembered past `now` (milliseconds of the store's time), or whose delivery waits, to `each`, with the time until it ends.
    ///
    /// # Errors
    /// The database is damaged or cannot be read.
    pub(crate) fn load(&self, now: i64, mut each: impl FnMut(Key, Duration)) -> Result<(), StoreError> {
        // whether its delivery waits matters only to one that ends soon: looked up for each of a million it would take seconds
        let all = "select key, until, until < ?2 and delivery is not null and exists (select 1 from due where due.id = ledger.delivery)
            from ledger where state = ?1";
        let mut rows = self.connection.prepare(all).map_err(told)?;
        let mut rows = rows.query(params![COMMITTED, now.saturating_add(ms(LONGER))]).map_err(told)?;
        while let Some(row) = rows.next().map_err(told)? {
            let (Ok(key), Ok(until), Ok(waits)) = (row.get::<_, [u8; 16]>(0), row.get::<_, i64>(1), row.get::<_, bool>(2)) else {
                continue;
            };
            let left = Duration::from_millis(u64::try_from(until.saturating_sub(now)).unwrap_or(0));
            let left = if waits { left.max(LONGER) } else { left };
            if !left.is_zero() {
                each(Key(key), left);
            }
        }
        Ok(())
    }
}

/// Writes changes of the journal. One that a delivery waits for is not forgotten, and keeps it.
pub(crate) fn save(writing: &Writing<'_>, changes: &[Change]) -> Result<(), StoreError> {
    for change in changes {
        match change {
            Change::Remember(key, until) => writing.execute(
                "insert into ledger (key, state, until) values (?1, ?2, ?3)
                on conflict (key) do update set state = excluded.state, until = max(until, excluded.until),
                delivery = case when exists (select 1 from due where due.id = ledger.delivery) then delivery end",
                params![key.0, COMMITTED, until],
            )?,
            Change::Forget(key) => writing.execute(
                "delete from ledger where key = ?1 and (delivery is null or not exists (select 1 from due where due.id = ledger.delivery))",
                params![key.0],
            )?,
            Change::Erase(key) => writing.execute("delete from ledger where key = ?1 and delivery is null", params![key.0])?,
            Change::Kept(text) => writing.execute("insert or replace into meta (name, value) values ('kept', ?1)", params![text])?,
        };
    }
    Ok(())
}

/// Deletes at most `step` rows that have expired and whose delivery does not wait; how many rows it looked at.
pub(crate) fn purge(writing: &Writing<'_>, step: usize) -> Result<usize, StoreError> {
    writing.execute(
        "delete from ledger where key in (select key from ledger where until <= ?1
            and (delivery is null or not exists (select 1 from due where due.id = ledger.delivery)) order by until limit ?2)",
        params![writing.now, int(step)],
    )
}

/// Where [`prolong`] is: the end and the key of the last entry it looked at.
pub(crate) type Place = (i64, [u8; 16]);

/// What [`prolong`] did.
#[derive(Debug, Default)]
pub(crate) struct Prolonged {
    /// IDs that live on, and how long from now.
    pub(crate) keys: Vec<(Key, Duration)>,
    /// Where to go on, if there is more to look at now.
    pub(crate) more: Option<Place>,
}

/// Lets entries after `after` that end until `before` live on, if their delivery waits: it looks at `step` rows.
pub(crate) fn prolong(writing: &Writing<'_>, after: Place, before: i64, step: usize) -> Result<Prolonged, StoreError> {
    let rows = writing.rows(
        "select key, until, delivery is not null and exists (select 1 from due where due.id = ledger.delivery) from ledger
            where (until, key) > (?1, ?2) and until <= ?3 order by until, key limit ?4",
        params![after.0, after.1, before, int(step)],
        |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?, row.get::<_, bool>(2)?)),
    )?;
    let last = rows.last().filter(|_| rows.len() == step);
    let mut prolonged = Prolonged { keys: Vec::new(), more: last.map(|(key, until, _)| (*until, *key)) };
    for (key, _, _) in rows.into_iter().filter(|(_, _, waits)| *waits) {
        writing.execute("update ledger set until = ?2 where key = ?1", params![key, writing.now + ms(LONGER)])?;
        prolonged.keys.push((Key(key), LONGER));
    }
    Ok(prolonged)
}

/// Keeps the store's time, so that it goes on after a restart.
pub(crate) fn keep_time(writing: &Writing<'_>, wall: i64) -> Result<(), StoreError> {
    let keep = "insert or replace into meta (name, value) values ('store_time', ?1), ('wall_time', ?2)";
    writing.execute(keep, params![writing.now, wall]).map(drop)
}
