//! The seals of customers' secrets: the database gets them as they are, so the key of the config has to open them.
use rusqlite::{Connection, OptionalExtension as _};

use super::error::TransferError;
use crate::tenant::seal::{SealKeys, SealedRow};

const HEADERS: &str = "select number, 0, sealed from endpoint where sealed is not null";
const SECRETS: &str = "select endpoint, n, sealed from secret";

/// Checks that `keys` open all seals in a store.
///
/// # Errors
/// They do not, or there are seals and no keys.
pub(super) fn check(reader: &Connection, keys: Option<&SealKeys>) -> Result<(), TransferError> {
    let find = "select value from meta where name = 'seal_check'";
    let known: Option<Vec<u8>> = reader.query_row(find, [], |row| row.get(0)).optional()?;
    let any = "select exists (select 1 from secret) or exists (select 1 from endpoint where sealed is not null)";
    if known.is_none() && !reader.query_row(any, [], |row| row.get::<_, bool>(0))? {
        return Ok(());
    }
    let Some(keys) = keys else {
        return refused(
            "the store has secrets of customers, and the config has no `store.key` to open them: write the `key` of the directory's config beside `postgres`",
        );
    };
    if known.is_some_and(|sealed| keys.check(&sealed).is_err()) {
        return refused(
            "`store.key` is not the key that sealed the secrets in the store: write the `key` of the directory's config, and its `old_keys`",
        );
    }
    let row = |endpoint, _| SealedRow::headers(endpoint);
    let closed =
        closed(reader, HEADERS, keys, row)? + closed(reader, SECRETS, keys, SealedRow::secret)?;
    if closed > 0 {
        return refused(&format!(
            "{closed} sealed texts of endpoints cannot be opened with `store.key` and `store.old_keys`: write the key that sealed them into `old_keys`, or rotate these secrets before the move"
        ));
    }
    Ok(())
}

/// Counts the sealed texts that no key opens.
fn closed(
    reader: &Connection,
    sql: &str,
    keys: &SealKeys,
    row_of: impl Fn(u32, u32) -> SealedRow,
) -> Result<u64, TransferError> {
    let mut statement = reader.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let sealed: Vec<u8> = row.get(2)?;
        let of = row_of(row.get(0)?, row.get(1)?);
        count += u64::from(keys.open(of, &sealed).is_err());
    }
    Ok(count)
}

fn refused(why: &str) -> Result<(), TransferError> {
    Err(TransferError::Refused(why.to_owned()))
}
