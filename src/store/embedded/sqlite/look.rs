//! Queries that write nothing, on a connection of their own beside the writer.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, Params, Row, params};

use super::lane::WAITS_IN_LANE;
use super::{Database, row, rows};
use crate::store::agenda::Agenda;
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

impl Database {
    /// Notes in `agenda` which targets have waiting units, now and with each transaction.
    ///
    /// # Errors
    /// The database cannot be read.
    pub(crate) fn fill(&mut self, agenda: &Arc<Mutex<Agenda>>, now: i64) -> Result<(), StoreError> {
        self.agenda = Arc::clone(agenda);
        let reading = Reading {
            connection: &self.connection,
            now,
        };
        note_all(&reading, agenda)
    }
}

/// The earliest unit of each target after ?1, by kind: one index seek each, however many units it has.
const EARLIEST: [&str; 2] = [
    "select target, run_at from due where attempt_count = 0 and target > ?1 order by target, run_at limit 1",
    "select target, run_at from due where attempt_count > 0 and target > ?1 order by target, run_at limit 1",
];
/// The earliest unit of the target ?1, by kind.
const EARLIEST_OF: [&str; 2] = [
    "select run_at from due where attempt_count = 0 and target = ?1 order by run_at limit 1",
    "select run_at from due where attempt_count > 0 and target = ?1 order by run_at limit 1",
];
/// The most endpoints that [`ready`] returns.
const MAX_READY_ENDPOINTS: usize = 256;
/// Targets that one look at a part of the disk finds, at most.
const TARGETS_PER_SCAN: usize = 256;

/// A position in a walk over the targets with units: the kind of units, and the last target.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ScanPosition {
    kind: usize,
    after: Option<TargetId>,
}

/// Returns the targets that are due, but only some of many endpoints, without those in `skip`. Names begin after `after`. Each costs two index
/// seeks, whatever number of targets waits.
pub(crate) fn ready(
    reading: &Reading<'_>,
    agenda: &Mutex<Agenda>,
    after: Option<TargetId>,
    skip: &Arc<HashSet<TargetId>>,
) -> Result<Ready, StoreError> {
    let taken = agenda
        .lock()
        .take(reading.now, after, MAX_READY_ENDPOINTS, skip);
    let mut ready = Ready {
        more: taken.more,
        ..Ready::default()
    };
    let mut failed = Ok(());
    for target in taken.targets {
        // a target that cannot be read is due: it is looked at again
        let earliest = match earliest_of(reading, target) {
            Ok(earliest) => earliest,
            Err(error) => {
                failed = Err(error);
                Some(reading.now)
            }
        };
        if let Some(run_at) = earliest {
            agenda.lock().note(target, run_at);
        }
        if earliest.is_some_and(|run_at| run_at <= reading.now) {
            ready.targets.push(target);
        } else if target.is_endpoint() {
            ready.idle.push(target);
        }
    }
    failed?;
    let next = agenda.lock().next_after(reading.now);
    ready.next_in = next.and_then(|next| reading.until(next));
    Ok(ready)
}

fn earliest_of(reading: &Reading<'_>, target: TargetId) -> Result<Option<i64>, StoreError> {
    let mut earliest = None;
    for of_kind in EARLIEST_OF {
        let found: Option<i64> = reading.row(of_kind, params![target], |row| row.get(0))?;
        earliest = earliest.into_iter().chain(found).min();
    }
    Ok(earliest)
}

/// Notes some targets that have units, and where to go on. It should find none that is not noted.
pub(crate) fn scan(
    reading: &Reading<'_>,
    agenda: &Mutex<Agenda>,
    position: &mut ScanPosition,
) -> Result<(), StoreError> {
    for _ in 0..TARGETS_PER_SCAN {
        let Some(of_kind) = EARLIEST.get(position.kind) else {
            *position = ScanPosition::default();
            return Ok(());
        };
        let after = position.after.map_or(-1, |target| i64::from(target.0));
        let read = |row: &Row<'_>| Ok((row.get::<_, TargetId>(0)?, row.get::<_, i64>(1)?));
        match reading.row(of_kind, params![after], read)? {
            Some((target, run_at)) => {
                agenda.lock().note(target, run_at);
                position.after = Some(target);
            }
            None => {
                *position = ScanPosition {
                    kind: position.kind + 1,
                    after: None,
                }
            }
        }
    }
    Ok(())
}

/// Notes all targets that have units.
fn note_all(reading: &Reading<'_>, agenda: &Mutex<Agenda>) -> Result<(), StoreError> {
    let mut position = ScanPosition::default();
    loop {
        scan(reading, agenda, &mut position)?;
        if position.kind == 0 && position.after.is_none() {
            return Ok(());
        }
    }
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
