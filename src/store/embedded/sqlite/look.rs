//! Queries that write nothing, on a connection of their own beside the writer.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, Params, Row, params};

use super::unit::WAITS_IN_LANE;
use super::{row, rows};
use crate::store::queue::{DeliveryRef, OriginId, Ready, Stored, TargetId};
use crate::store::record::Record;
use crate::store::{Key, StoreError};

/// A connection that reads, and the store's time in milliseconds.
pub(crate) struct Reading<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) now: i64,
}

impl Reading<'_> {
    /// Returns the first row of a query.
    pub(super) fn row<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        row(self.connection, sql, params, read)
    }

    /// Returns all rows of a query.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        rows(self.connection, sql, params, read)
    }

    /// Returns the time until `run_at`; none for a unit that waits behind others.
    pub(super) fn until(&self, run_at: i64) -> Option<Duration> {
        (run_at != WAITS_IN_LANE).then(|| {
            Duration::from_millis(u64::try_from(run_at.saturating_sub(self.now)).unwrap_or(0))
        })
    }
}

/// The earliest unit of each target after ?1, by kind: one index seek each, however many units it has.
const EARLIEST: [&str; 2] = [
    "select target, run_at from due where attempt_count = 0 and target > ?1 order by target, run_at limit 1",
    "select target, run_at from due where attempt_count > 0 and target > ?1 order by target, run_at limit 1",
];

/// Goes round the targets that have units, from the one after `after` on.
pub(crate) fn ready(reading: &Reading<'_>, after: Option<TargetId>) -> Result<Ready, StoreError> {
    let mut earliest = BTreeMap::<TargetId, i64>::new();
    for of_kind in EARLIEST {
        let mut last = -1;
        while let Some((target, run_at)) = reading.row(of_kind, params![last], |row| {
            Ok((row.get::<_, TargetId>(0)?, row.get::<_, i64>(1)?))
        })? {
            earliest
                .entry(target)
                .and_modify(|known| *known = run_at.min(*known))
                .or_insert(run_at);
            last = i64::from(target.0);
        }
    }
    let (before, behind): (Vec<_>, Vec<_>) = earliest
        .into_iter()
        .partition(|(target, _)| after.is_some_and(|after| *target <= after));
    let mut ready = Ready::default();
    for (target, run_at) in behind.into_iter().chain(before) {
        match reading.until(run_at) {
            Some(left) if left.is_zero() => ready.targets.push(target),
            Some(left) => ready.next_in = Some(ready.next_in.map_or(left, |next| next.min(left))),
            None => {}
        }
    }
    Ok(ready)
}

/// Returns complete deliveries, each once.
pub(crate) fn stored(
    reading: &Reading<'_>,
    ids: impl IntoIterator<Item = DeliveryRef>,
) -> Result<HashMap<DeliveryRef, Arc<Stored>>, StoreError> {
    let mut all = HashMap::new();
    for id in ids {
        if !all.contains_key(&id)
            && let Some(stored) = one(reading, id)?
        {
            all.insert(id, Arc::new(stored));
        }
    }
    Ok(all)
}

/// Returns the body of a delivery in this version of its type.
pub(crate) fn version(
    reading: &Reading<'_>,
    id: DeliveryRef,
    version: u16,
) -> Result<Option<Bytes>, StoreError> {
    let body = "select body from version where id = ?1 and version = ?2";
    reading.row(body, params![id, version], |row| {
        Ok(Bytes::from(row.get::<_, Vec<u8>>(0)?))
    })
}

/// Returns one complete delivery. Also returns none for one whose record cannot be read, and logs it.
pub(super) fn one(reading: &Reading<'_>, id: DeliveryRef) -> Result<Option<Stored>, StoreError> {
    let all =
        "select origin, key, delivery_id, event_type, record, body from delivery where id = ?1";
    let found = reading.row(all, params![id], |row| {
        let record = Bytes::from(row.get::<_, Vec<u8>>(4)?);
        let (origin, key) = (
            OriginId(row.get(0)?),
            row.get::<_, Option<[u8; 16]>>(1)?.map(Key),
        );
        let (given, event_type) = (
            row.get::<_, Option<Arc<str>>>(2)?,
            row.get::<_, Option<Arc<str>>>(3)?,
        );
        Ok((
            origin,
            key,
            given,
            event_type,
            record,
            Bytes::from(row.get::<_, Vec<u8>>(5)?),
        ))
    })?;
    let Some((origin, key, delivery_id, event_type, record, body)) = found else {
        return Ok(None);
    };
    match Record::decode(record) {
        Ok(record) => Ok(Some(Stored {
            id,
            origin,
            key,
            delivery_id,
            event_type,
            record,
            body,
        })),
        Err(error) => {
            tracing::error!(delivery = %id, %error, "a stored delivery cannot be read");
            Ok(None)
        }
    }
}
