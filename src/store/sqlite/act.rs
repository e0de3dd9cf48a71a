//! What people do to deliveries, with the row that says who did it and why.
use rusqlite::params;

use super::int;
use super::unit::{BEHIND, Waiting, cancel, end, raise, wait};
use super::writing::{DEAD, DELIVERIES, Writing};
use crate::store::archive::{AuditRow, Deed, Scope};
use crate::store::queue::{Cause, DeliveryRef, TargetId, Unit};
use crate::store::{Key, StoreError};

/// Acts that are remembered.
const AUDITED: i64 = 10_000;

/// What is written about an act.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// In milliseconds of wall time.
    pub(crate) at: i64,
    pub(crate) who: String,
    pub(crate) which: String,
    pub(crate) reason: String,
    /// The row that it adds to.
    pub(crate) goes_on: Option<AuditRow>,
}

/// Does `deed` to deliveries (of one target, if it says so), and writes it down; how many it changed, and the row that says so.
pub(crate) fn act(
    writing: &Writing<'_>,
    scope: Scope,
    deed: Deed,
    ids: &[DeliveryRef],
    target: Option<TargetId>,
    entry: &Entry,
) -> Result<(u64, AuditRow), StoreError> {
    let mut done = 0;
    for id in ids {
        let origin: Option<u32> = writing.row("select origin from delivery where id = ?1", params![id], |row| row.get(0))?;
        let visible = origin.is_some_and(|origin| match scope {
            Scope::All => true,
            Scope::Origin(scope) => scope.0 == origin,
        });
        let changed = visible
            && match deed {
                Deed::Replay { delivered, cause } => replay(writing, *id, target, delivered, cause)?,
                Deed::Cancel => cancel_all(writing, *id, target)?,
                Deed::Purge { waiting } => (waiting || !waits(writing, *id)?) && erase(writing, *id)?.is_some(),
            };
        done += u64::from(changed);
    }
    let what = match deed {
        Deed::Replay { .. } => "replay",
        Deed::Cancel => "cancel",
        Deed::Purge { .. } => "purge",
    };
    Ok((done, note(writing, what, entry, done)?))
}

/// Forgets keys, `known` of which memory has, and writes it down; how many there were.
pub(crate) fn forget(writing: &Writing<'_>, keys: &[Key], known: u64, entry: &Entry) -> Result<u64, StoreError> {
    let mut done = 0;
    for key in keys {
        done += writing.execute("delete from ledger where key = ?1", params![key.0])?;
    }
    let done = known.max(u64::try_from(done).unwrap_or(u64::MAX));
    note(writing, "forget", entry, done)?;
    Ok(done)
}

/// Writes down what was done: in a row of its own, or in that of the step before.
fn note(writing: &Writing<'_>, what: &str, entry: &Entry, done: u64) -> Result<AuditRow, StoreError> {
    let Entry { at, who, which, reason, goes_on } = entry;
    if let Some(AuditRow(row)) = goes_on
        && writing.execute("update audit set done = done + ?2 where row = ?1", params![row, int(done)])? > 0
    {
        return Ok(AuditRow(*row));
    }
    let insert = "insert into audit (at, who, what, which, reason, done) values (?1, ?2, ?3, ?4, ?5, ?6)";
    writing.execute(insert, params![at, who, what, which, reason, int(done)])?;
    let row = writing.last_row();
    writing.execute("delete from audit where row <= ?1", params![row - AUDITED])?;
    Ok(AuditRow(row))
}

fn waits(writing: &Writing<'_>, id: DeliveryRef) -> Result<bool, StoreError> {
    Ok(writing.row("select 1 from due where id = ?1 limit 1", params![id], |_| Ok(()))?.is_some())
}

fn targets(writing: &Writing<'_>, sql: &str, id: DeliveryRef, only: Option<TargetId>) -> Result<Vec<Unit>, StoreError> {
    let units = writing.rows(sql, params![id], |row| Ok(Unit { delivery: id, target: row.get(0)? }))?;
    Ok(units.into_iter().filter(|unit| only.is_none_or(|only| unit.target == only)).collect())
}

fn replay(writing: &Writing<'_>, id: DeliveryRef, only: Option<TargetId>, delivered: bool, cause: Cause) -> Result<bool, StoreError> {
    let mut changed = false;
    for unit in targets(writing, "select target from due where id = ?1", id, only)? {
        // who waits behind others of its lane, or is being tried, is left where it is
        let now = "update due set run_at = ?3, tries = 0, since = ?3, cause = ?4 where id = ?1 and target = ?2 and run_at <> ?5
            and (held = 0 or run_at <= ?3)";
        changed |= writing.execute(now, params![id, unit.target, writing.now, cause, BEHIND])? > 0;
    }
    for unit in targets(writing, "select target from dead where id = ?1", id, only)? {
        changed |= raise(writing, unit, cause)?;
    }
    if delivered {
        let over = "select distinct target from attempt where id = ?1
            and not exists (select 1 from due where due.id = attempt.id and due.target = attempt.target)";
        for unit in targets(writing, over, id, only)? {
            let last = "select max(n) from attempt where id = ?1 and target = ?2";
            let lease = writing.row(last, params![id, unit.target], |row| row.get(0))?.unwrap_or(0);
            wait(writing, &Waiting { unit, run_at: writing.now, lane: None, lease, held: false, tries: 0, cause })?;
            changed = true;
        }
    }
    Ok(changed)
}

fn cancel_all(writing: &Writing<'_>, id: DeliveryRef, only: Option<TargetId>) -> Result<bool, StoreError> {
    let mut changed = false;
    for unit in targets(writing, "select target from due where id = ?1", id, only)? {
        changed |= cancel(writing, unit)?;
    }
    Ok(changed)
}

/// Deletes all of a delivery but its ledger entry; its bytes, if it was there.
pub(super) fn erase(writing: &Writing<'_>, id: DeliveryRef) -> Result<Option<i64>, StoreError> {
    let gone = "delete from delivery where id = ?1 returning origin, length(record) + length(body), key";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, u32>(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<[u8; 16]>>(2)?));
    let Some((origin, mut bytes, key)) = writing.row(gone, params![id], read)? else { return Ok(None) };
    for unit in targets(writing, "select target from due where id = ?1", id, None)? {
        end(writing, unit)?;
    }
    for target in writing.rows("select target from dead where id = ?1", params![id], |row| row.get::<_, TargetId>(0))? {
        writing.execute("delete from dead where id = ?1 and target = ?2", params![id, target])?;
        writing.count(DEAD, target.0, -1, 0);
    }
    let tries = "select sum(length(head) + length(body)) from attempt where id = ?1";
    if let Some(of_tries) = writing.row(tries, params![id], |row| row.get::<_, Option<i64>>(0))?.flatten() {
        writing.execute("delete from attempt where id = ?1", params![id])?;
        bytes += of_tries;
    }
    if let Some(key) = key {
        writing.execute("update ledger set delivery = null where key = ?1 and delivery = ?2", params![key, id])?;
    }
    writing.count(DELIVERIES, origin, -1, -bytes);
    Ok(Some(bytes))
}
