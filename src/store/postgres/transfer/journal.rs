//! The IDs in the journal of the directory, as entries of the database's ledger.
use bytes::Bytes;
use rusqlite::{Connection, params};
use tokio_postgres::types::{ToSql, Type};

use super::error::TransferError;
use super::target::Target;
use super::values::Times;
use crate::store::embedded::sqlite::journal::entries_of;
use crate::store::postgres::call::Blob;
use crate::store::{Key, KeyMap};

/// The bytes of entries after which those that were read are written.
const STEP_BYTES: usize = 256 << 10;

/// The last entries of the journal about a key.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    /// Whether a mark cancels what was said before.
    is_cancelled: bool,
    /// The last of its ends after that.
    until: Option<i64>,
}

/// Writes the entries that have not ended at `now`, in the order of the journal.
pub(super) async fn write(
    reader: &Connection,
    target: &Target,
    times: Times,
    now: i64,
    progress: &mut dyn FnMut(&str, u64),
) -> Result<(), TransferError> {
    let (mut after, mut entries) = (i64::MIN, 0);
    loop {
        let mut said = KeyMap::<Said>::default();
        let last = read(reader, after, now, &mut said)?;
        entries += u64::try_from(said.len()).unwrap_or(u64::MAX);
        put(target, times, said).await?;
        let Some(last) = last else {
            return Ok(());
        };
        progress("delivery IDs", entries);
        after = last;
    }
}

/// Reads some rows after one. Returns the last; none at the end.
fn read(
    reader: &Connection,
    after: i64,
    now: i64,
    said: &mut KeyMap<Said>,
) -> Result<Option<i64>, TransferError> {
    let next = "select row, entries from journal where row > ?1 order by row";
    let mut statement = reader.prepare_cached(next)?;
    let mut rows = statement.query(params![after])?;
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let entries: Vec<u8> = row.get(1)?;
        bytes += entries.len();
        for (key, end) in entries_of(&entries) {
            note(said.entry(key).or_default(), end, now);
        }
        if bytes >= STEP_BYTES {
            return Ok(Some(row.get(0)?));
        }
    }
    Ok(None)
}

fn note(said: &mut Said, end: Option<i64>, now: i64) {
    match end {
        None => {
            *said = Said {
                is_cancelled: true,
                until: None,
            };
        }
        Some(end) if end > now => said.until = said.until.max(Some(end)),
        Some(_) => {}
    }
}

/// Writes what a part of the journal says.
async fn put(target: &Target, times: Times, said: KeyMap<Said>) -> Result<(), TransferError> {
    let blob = |key: &Key| Blob(Bytes::copy_from_slice(&key.0));
    let cancelled: Vec<_> = said
        .iter()
        .filter(|(_, said)| said.is_cancelled)
        .map(|(key, _)| blob(key))
        .collect();
    if !cancelled.is_empty() {
        let delete = "delete from hookgate.ledger where key = any($1)";
        let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&cancelled, Type::BYTEA_ARRAY)];
        target.execute(delete, &parameters).await?;
    }
    let (keys, ends): (Vec<_>, Vec<_>) = said
        .iter()
        .filter_map(|(key, said)| Some((blob(key), times.store(said.until?))))
        .unzip();
    if keys.is_empty() {
        return Ok(());
    }
    let insert = "insert into hookgate.ledger as y (key, state, until) select x.key, 2, hookgate.from_us(x.until) from unnest($1, $2) x(key, until)
        on conflict (key) do update set until = greatest(y.until, excluded.until)";
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&keys, Type::BYTEA_ARRAY), (&ends, Type::INT8_ARRAY)];
    target.execute(insert, &parameters).await
}
