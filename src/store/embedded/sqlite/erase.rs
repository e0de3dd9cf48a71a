//! Deletes deliveries.
use rusqlite::params;

use super::ended::reopen;
use super::journal::mark;
use super::unit::{end, take_dead, units};
use super::writing::{DELIVERIES, Writing};
use crate::store::queue::DeliveryRef;
use crate::store::{Key, StoreError};

/// A delivery that was deleted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Erased {
    pub(super) bytes: i64,
    /// Its units that were not delivered, and its attempts.
    pub(super) rows: usize,
    /// The key of its ledger entry, if that was deleted too.
    pub(super) forgotten: Option<Key>,
}

/// Deletes a delivery, if it is there. The ledger entry of one that is not delivered goes with it: nothing would ever be delivered under its key.
/// An entry that belongs to another delivery by now stays.
pub(super) fn erase(writing: &Writing<'_>, id: DeliveryRef) -> Result<Option<Erased>, StoreError> {
    let gone =
        "delete from delivery where id = ?1 returning origin, length(record) + length(body), key";
    let read = |row: &rusqlite::Row<'_>| {
        Ok((
            row.get::<_, u32>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, Option<[u8; 16]>>(2)?,
        ))
    };
    let Some((origin, mut bytes, key)) = writing.row(gone, params![id], read)? else {
        return Ok(None);
    };
    writing.set_origin(id, Some(origin));
    reopen(writing, id)?;
    let waiting = units(writing, "select target from due where id = ?1", id, &[])?;
    for unit in &waiting {
        end(writing, *unit)?;
    }
    let dead = units(writing, "select target from dead where id = ?1", id, &[])?;
    for unit in &dead {
        take_dead(writing, *unit)?;
    }
    let mut rows = 0;
    let attempts = "select sum(length(head) + length(body) + coalesce(length(facts), 0)) from attempt where id = ?1";
    if let Some(of_attempts) = writing
        .row(attempts, params![id], |row| row.get::<_, Option<i64>>(0))?
        .flatten()
    {
        rows = writing.execute("delete from attempt where id = ?1", params![id])?;
        bytes += of_attempts;
    }
    let versions = "delete from version where id = ?1 returning length(body)";
    let of_versions = writing.rows(versions, params![id], |row| row.get::<_, i64>(0))?;
    bytes += of_versions.into_iter().sum::<i64>();
    let mut forgotten = None;
    if let Some(key) = key {
        let is_delivered = waiting.is_empty() && dead.is_empty();
        if is_delivered {
            writing.execute(
                "update ledger set delivery = null where key = ?1 and delivery = ?2",
                params![key, id],
            )?;
        } else if writing.execute(
            "delete from ledger where key = ?1 and delivery = ?2",
            params![key, id],
        )? > 0
        {
            mark(writing, Key(key))?;
            forgotten = Some(Key(key));
        }
    }
    writing.count(DELIVERIES, origin, -1, -bytes);
    writing.set_origin(id, None);
    Ok(Some(Erased {
        bytes,
        rows: rows + waiting.len() + dead.len(),
        forgotten,
    }))
}
