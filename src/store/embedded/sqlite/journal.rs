//! The journal of the ledger in memory: delivery IDs that were committed without a delivery in the store.
//!
//! A batch of changes is appended as a row, or a few, that holds their entries: a key and its end each. Memory finds keys, so nothing on the
//! disk has an index by key: with one, each of the random keys of a batch would change a page of its own. An ID that is forgotten is appended
//! as well, as a mark that cancels the entries of its key before it.
//!
//! **Deletion.** Rows are only ever deleted in the order of (`until`, `row`), where `until` is the last end of a row's entries. A mark takes the
//! last `until` of the whole table, so it follows all that it cancels in that order, and never goes before it.
//!
//! **Bound.** Memory holds at most `ledger_entries` keys, and for each one that it forgets to make room, an entry of a row that ends first is
//! deleted here, be it of another key: the ledger has a gap then in any case, and says so. A key has more than one entry only if it was committed
//! again after it had ended or been forgotten, or noted for longer. While the clock is trusted, an entry stays for at most a quarter longer than
//! it holds, as the entries of a row end within that. A mark prolongs nothing: its `until` is that of a row.
use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::params;

use super::writing::Writing;
use super::{Database, int, store_error};
use crate::store::{Key, StoreError};

/// Bytes of an entry: a key, and its end or [`FORGOTTEN`].
const ENTRY: usize = 24;
/// The bytes of rows after which a step of the purge ends.
const PURGED_BYTES: i64 = 1 << 20;
/// The end of a mark.
const FORGOTTEN: i64 = i64::MIN;

/// A change of the ledger in memory that is written to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// `key` was committed and is remembered until then, in milliseconds of the store's time.
    Remember(Key, i64),
    /// `key` was forgotten early, to make room for another.
    Forget(Key),
    /// A person wanted `key` forgotten: its entries before this one go, and a delivery that was accepted since stays.
    Erase(Key),
    /// The time since which the ledger of each route is complete, as text.
    Continuity(String),
}

impl Database {
    /// Calls `each` for the entries of the journal, in their order: with the time until a key ends, or with `None` for a mark that cancels the
    /// entries of its key before it. The last of the ends of a key holds.
    pub(super) fn load_journal(
        &self,
        now: i64,
        mut each: impl FnMut(Key, Option<Duration>),
    ) -> Result<(), StoreError> {
        let all = "select entries from journal order by row";
        let mut rows = self.connection.prepare(all).map_err(store_error)?;
        let mut rows = rows.query([]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let Ok(entries) = row.get_ref(0).map_err(store_error)?.as_blob() else {
                continue;
            };
            for (key, end) in entries_of(entries) {
                match end.map(|end| end.saturating_sub(now)) {
                    None => each(key, None),
                    Some(left) if left > 0 => {
                        each(key, Some(Duration::from_millis(left.unsigned_abs())));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }
}

/// Returns the entries of a row: a key with its end, or with `None` for a mark.
pub(crate) fn entries_of(entries: &[u8]) -> impl Iterator<Item = (Key, Option<i64>)> {
    let decoded = entries.chunks_exact(ENTRY).filter_map(decode);
    decoded.map(|(key, end)| (key, (end != FORGOTTEN).then_some(end)))
}

fn encode(key: Key, end: i64) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let (of_key, of_end) = entry.split_at_mut(key.0.len());
    of_key.copy_from_slice(&key.0);
    of_end.copy_from_slice(&end.to_be_bytes());
    entry
}

fn decode(entry: &[u8]) -> Option<(Key, i64)> {
    let (key, end) = entry.split_first_chunk()?;
    Some((Key(*key), i64::from_be_bytes(end.try_into().ok()?)))
}

/// The entries of a batch, by the time until they end, in quarters of a power of two: a row goes when its last entry has ended.
#[derive(Default)]
struct Batch(BTreeMap<Quarter, (i64, Vec<u8>)>);

/// A length of time: the power of two, and which quarter of it; `None` if it is over.
type Quarter = Option<(u32, i64)>;

impl Batch {
    fn add(&mut self, key: Key, end: i64, now: i64) {
        let left = end.saturating_sub(now);
        let power = left.checked_ilog2();
        let quarter: Quarter = power.map(|power| (power, left >> power.saturating_sub(2)));
        let (until, entries) = self.0.entry(quarter).or_insert((end, Vec::new()));
        *until = end.max(*until);
        entries.extend_from_slice(&encode(key, end));
    }

    fn append(&mut self, writing: &Writing<'_>) -> Result<(), StoreError> {
        for (until, entries) in std::mem::take(&mut self.0).into_values() {
            writing.execute(
                "insert into journal (until, entries) values (?1, ?2)",
                params![until, entries],
            )?;
        }
        Ok(())
    }
}

/// Writes changes of the ledger in memory. The key of an accepted delivery has its row in `ledger`; an ID whose delivery waits is not forgotten.
pub(crate) fn save(writing: &Writing<'_>, changes: &[Change]) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    // a gateway without queues looks up no key
    let any_accepted = writing
        .row("select 1 from ledger limit 1", [], |_| Ok(()))?
        .is_some();
    let (mut batch, mut surplus) = (Batch::default(), 0);
    for change in changes {
        match change {
            Change::Remember(key, until) => {
                if !any_accepted || !remember(writing, *key, *until)? {
                    batch.add(*key, *until, writing.now);
                }
            }
            Change::Forget(key) => {
                if !any_accepted || !forget(writing, *key)? {
                    surplus += 1;
                }
            }
            Change::Erase(key) => {
                writing.execute(
                    "delete from ledger where key = ?1 and delivery is null",
                    params![key.0],
                )?;
                batch.append(writing)?;
                mark(writing, *key)?;
            }
            Change::Continuity(text) => {
                writing.execute(
                    "insert or replace into meta (name, value) values ('continuity', ?1)",
                    params![text],
                )?;
            }
        }
    }
    batch.append(writing)?;
    delete_first(writing, surplus)
}

/// Remembers a key in its row of `ledger`, and takes it from a delivery that is over. Returns whether there is such a row.
fn remember(writing: &Writing<'_>, key: Key, until: i64) -> Result<bool, StoreError> {
    if !is_accepted(writing, key)? {
        return Ok(false);
    }
    let longer = "update ledger set until = max(until, ?2), ends = max(ends, ?2),
        delivery = case when exists (select 1 from due where due.id = ledger.delivery) then delivery end where key = ?1";
    writing.execute(longer, params![key.0, until])?;
    Ok(true)
}

/// Deletes the row of a key in `ledger`, unless its delivery waits. Returns whether there was such a row.
fn forget(writing: &Writing<'_>, key: Key) -> Result<bool, StoreError> {
    if !is_accepted(writing, key)? {
        return Ok(false);
    }
    let gone = "delete from ledger where key = ?1 and (delivery is null or not exists (select 1 from due where due.id = ledger.delivery))";
    writing.execute(gone, params![key.0])?;
    Ok(true)
}

fn is_accepted(writing: &Writing<'_>, key: Key) -> Result<bool, StoreError> {
    let find = "select 1 from ledger where key = ?1";
    let found = writing.row(find, params![key.0], |_| Ok(()))?;
    Ok(found.is_some())
}

/// Cancels what the journal has remembered of a key so far.
pub(super) fn mark(writing: &Writing<'_>, key: Key) -> Result<(), StoreError> {
    // an empty journal has nothing to cancel
    let append = "insert into journal (until, entries) select until, ?1 from journal order by until desc limit 1";
    let entry = encode(key, FORGOTTEN);
    writing.execute(append, params![entry]).map(drop)
}

/// Deletes `count` entries for as many keys that memory forgot to make room. It does not look for these keys: those of the rows that end first go.
fn delete_first(writing: &Writing<'_>, mut count: usize) -> Result<(), StoreError> {
    while count > 0 {
        let first = "select row, entries from journal order by until, row limit 1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?));
        let Some((row, entries)) = writing.row(first, [], read)? else {
            return Ok(());
        };
        match entries.get(count.saturating_mul(ENTRY)..) {
            Some(rest) if !rest.is_empty() => {
                let cut = "update journal set entries = ?2 where row = ?1";
                return writing.execute(cut, params![row, rest]).map(drop);
            }
            _ => writing.execute("delete from journal where row = ?1", params![row])?,
        };
        count = count.saturating_sub(entries.len() / ENTRY);
    }
    Ok(())
}

/// Deletes at most `step` rows whose entries have all ended, or fewer if they are large. Returns their number, and whether there may be more.
pub(crate) fn purge(writing: &Writing<'_>, step: usize) -> Result<(usize, bool), StoreError> {
    let ended = writing.rows(
        "select row, length(entries) from journal where until <= ?1 order by until, row limit ?2",
        params![writing.now, int(step)],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let (mut deleted, mut bytes) = (0, 0);
    for (row, size) in &ended {
        writing.execute("delete from journal where row = ?1", params![row])?;
        deleted += 1;
        bytes += size;
        if bytes >= PURGED_BYTES {
            break;
        }
    }
    Ok((deleted, deleted < ended.len() || deleted == step))
}

#[cfg(test)]
mod tests;
