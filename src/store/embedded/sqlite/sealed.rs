//! Sealed texts: what recognises their key, and how they are sealed again with another.
use bytes::Bytes;
use rusqlite::params;

use super::endpoint::number_before;
use super::look::Reading;
use super::writing::Writing;
use super::{int, unsigned};
use crate::store::StoreError;
use crate::store::address_book::{Resealed, SealedPart, SealedRows};
use crate::store::queue::TargetId;

pub(super) const HEADERS: &str = "select number, sealed from endpoint where number > ?1 and state <> 6
    and (sealed is not null or exists (select 1 from secret where secret.endpoint = endpoint.number)) order by number limit ?2";
pub(super) const SECRETS: &str = "select n, sealed from secret where endpoint = ?1 order by n";

fn bytes(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Bytes> {
    row.get::<_, Vec<u8>>(at).map(Bytes::from)
}

/// Returns the text by which the key is recognised.
pub(crate) fn check(reading: &Reading<'_>) -> Result<Option<Bytes>, StoreError> {
    let find = "select value from meta where name = 'seal_check'";
    reading.row(find, [], |row| bytes(row, 0))
}

/// Replaces the text by which the key is recognised.
pub(crate) fn set_check(writing: &Writing<'_>, sealed: &[u8]) -> Result<(), StoreError> {
    let put = "insert or replace into meta (name, value) values ('seal_check', ?1)";
    writing.execute(put, params![sealed]).map(drop)
}

/// Returns how many sealed texts do not begin with `prefix`.
pub(crate) fn count_without(reading: &Reading<'_>, prefix: &[u8]) -> Result<u64, StoreError> {
    let count = "select (select count(*) from secret where substr(sealed, 1, ?2) <> ?1)
        + (select count(*) from endpoint where sealed is not null and substr(sealed, 1, ?2) <> ?1)";
    let found = reading.row(count, params![prefix, int(prefix.len())], |row| {
        unsigned(row, 0)
    })?;
    Ok(found.unwrap_or(0))
}

/// Returns the sealed texts of endpoints after a number.
pub(crate) fn sealed(
    reading: &Reading<'_>,
    after: Option<TargetId>,
    limit: u16,
) -> Result<Vec<SealedRows>, StoreError> {
    let mut found = reading.rows(HEADERS, params![number_before(after), limit], |row| {
        let headers = row.get::<_, Option<Vec<u8>>>(1)?;
        let headers = headers.map(|headers| (SealedPart::Headers, Bytes::from(headers)));
        Ok(SealedRows {
            target: row.get(0)?,
            parts: headers.into_iter().collect(),
        })
    })?;
    for rows in &mut found {
        rows.parts
            .extend(reading.rows(SECRETS, params![rows.target], |row| {
                Ok((SealedPart::Secret(row.get(0)?), bytes(row, 1)?))
            })?);
    }
    Ok(found)
}

/// Replaces sealed texts that are as they were read. Returns how many were.
pub(crate) fn reseal(
    writing: &Writing<'_>,
    target: TargetId,
    resealed: &[Resealed],
) -> Result<u32, StoreError> {
    let headers = "update endpoint set sealed = ?2 where number = ?1 and sealed = ?3";
    let secret = "update secret set sealed = ?2 where endpoint = ?1 and sealed = ?3 and n = ?4";
    let mut count = 0;
    for Resealed {
        part,
        before,
        after,
    } in resealed
    {
        let (after, before) = (&after[..], &before[..]);
        let changed = match part {
            SealedPart::Headers => writing.execute(headers, params![target, after, before])?,
            SealedPart::Secret(n) => writing.execute(secret, params![target, after, before, n])?,
        };
        count += u32::from(changed > 0);
    }
    if count > 0 {
        writing.execute(
            "update endpoint set edition = edition + 1 where number = ?1",
            params![target],
        )?;
    }
    Ok(count)
}
