//! Values of SQLite as parameters for PostgreSQL.
use bytes::Bytes;
use rusqlite::types::ValueRef;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::error::TransferError;
use crate::store::archive::WaitingPosition;
use crate::store::postgres::call::{Blob, Text, text};
use crate::store::record::{DIGEST, Record};
use crate::tenant::job::JobCursor;

/// The last time that is carried over, 9999-12-31, in microseconds since 1970. The server's calendar has no place for all times.
const LAST_TIME: i64 = 253_402_214_400_000_000;

/// The kind of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A position in the table, which is not written.
    Position,
    /// A number of 32 bits.
    Int,
    /// A number of 16 bits.
    Small,
    /// A number of 64 bits.
    Big,
    /// Milliseconds of the store's own time.
    StoreTime,
    /// Milliseconds of wall time.
    WallTime,
    Text,
    Bytes,
    /// The ID of a delivery.
    Id,
    /// A record, of which the digest is wanted that says what an event means.
    Digest,
    /// The position of a job.
    Cursor,
}

/// The difference between the times of the two stores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Microseconds to add to a time of the directory.
    pub(super) offset: i64,
}

impl Times {
    /// Returns a time of the directory, in microseconds of the database's time. The time that never comes stays as it is.
    pub(super) fn store(self, ms: i64) -> i64 {
        if ms == i64::MAX {
            return ms;
        }
        let us = ms.saturating_mul(1000).saturating_add(self.offset);
        us.clamp(0, LAST_TIME)
    }

    fn number(self, number: i64, kind: Kind) -> i64 {
        if kind == Kind::StoreTime {
            self.store(number)
        } else if kind == Kind::WallTime {
            number.saturating_mul(1000).clamp(0, LAST_TIME)
        } else {
            number
        }
    }

    fn bytes(self, bytes: &[u8], kind: Kind) -> Option<Bytes> {
        if kind == Kind::Digest {
            digest(bytes)
        } else if kind == Kind::Cursor {
            Some(self.cursor(bytes).into())
        } else {
            Some(Bytes::copy_from_slice(bytes))
        }
    }

    /// Returns the position of a job with its times in microseconds of the database.
    fn cursor(self, bytes: &[u8]) -> Vec<u8> {
        let Some(mut cursor) = JobCursor::from_bytes(bytes) else {
            return bytes.to_vec();
        };
        if let Some(position) = WaitingPosition::from_bytes(&cursor.after) {
            let run_at = if position.run_at == i64::MIN {
                i64::MIN
            } else {
                self.store(position.run_at)
            };
            let position = WaitingPosition {
                run_at,
                began: self.store(position.began),
                ..position
            };
            cursor.after = position.to_bytes().to_vec();
        }
        cursor.to_bytes()
    }
}

/// The values of a column in some rows.
#[derive(Debug)]
pub(super) enum Column {
    Int(Vec<Option<i32>>),
    Small(Vec<Option<i16>>),
    Big(Vec<Option<i64>>),
    Text(Vec<Option<Text>>),
    Bytes(Vec<Option<Blob>>),
    Id(Vec<Option<Uuid>>),
}

impl Column {
    /// Returns an empty column; none of a kind that is not written.
    pub(super) fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Position => None,
            Kind::Int => Some(Self::Int(Vec::new())),
            Kind::Small => Some(Self::Small(Vec::new())),
            Kind::Big | Kind::StoreTime | Kind::WallTime => Some(Self::Big(Vec::new())),
            Kind::Text => Some(Self::Text(Vec::new())),
            Kind::Bytes | Kind::Digest | Kind::Cursor => Some(Self::Bytes(Vec::new())),
            Kind::Id => Some(Self::Id(Vec::new())),
        }
    }

    /// Adds the value of a row. Returns its bytes.
    ///
    /// # Errors
    /// It is not of this kind.
    pub(super) fn push(
        &mut self,
        value: ValueRef<'_>,
        kind: Kind,
        times: Times,
    ) -> Result<usize, TransferError> {
        let is_known = match self {
            Self::Int(values) => add(values, value, |value| narrow(value).map(Some)),
            Self::Small(values) => add(values, value, |value| narrow(value).map(Some)),
            Self::Big(values) => add(values, value, |value| {
                let number = value.as_i64().ok()?;
                Some(Some(times.number(number, kind)))
            }),
            Self::Text(values) => add(values, value, |value| {
                let value = value.as_str().ok()?;
                Some(Some(text(value)))
            }),
            Self::Bytes(values) => add(values, value, |value| {
                let value = value.as_blob().ok()?;
                Some(times.bytes(value, kind).map(Blob))
            }),
            Self::Id(values) => add(values, value, |value| {
                Uuid::from_slice(value.as_blob().ok()?).ok().map(Some)
            }),
        };
        if !is_known {
            let found = value.data_type();
            return Err(TransferError::Refused(format!(
                "the store is damaged: it has {found} where {kind:?} belongs"
            )));
        }
        let (ValueRef::Blob(bytes) | ValueRef::Text(bytes)) = value else {
            return Ok(8);
        };
        Ok(bytes.len())
    }

    /// Returns the values as a parameter.
    pub(super) fn parameter(&self) -> (&(dyn ToSql + Sync), Type) {
        match self {
            Self::Int(values) => (values, Type::INT4_ARRAY),
            Self::Small(values) => (values, Type::INT2_ARRAY),
            Self::Big(values) => (values, Type::INT8_ARRAY),
            Self::Text(values) => (values, Type::TEXT_ARRAY),
            Self::Bytes(values) => (values, Type::BYTEA_ARRAY),
            Self::Id(values) => (values, Type::UUID_ARRAY),
        }
    }
}

/// Adds a value, or null. Returns whether it could be read.
fn add<T>(
    values: &mut Vec<Option<T>>,
    value: ValueRef<'_>,
    read: impl FnOnce(ValueRef<'_>) -> Option<Option<T>>,
) -> bool {
    let read = if value == ValueRef::Null {
        Some(None)
    } else {
        read(value)
    };
    let is_known = read.is_some();
    values.push(read.flatten());
    is_known
}

fn narrow<T: TryFrom<i64>>(value: ValueRef<'_>) -> Option<T> {
    T::try_from(value.as_i64().ok()?).ok()
}

/// Returns the digest that a record has, if it has one. A record that cannot be read is one of another version of the program: its meaning is
/// not known to be that of any other.
fn digest(record: &[u8]) -> Option<Bytes> {
    match Record::decode(Bytes::copy_from_slice(record)) {
        Ok(record) => record.fact(DIGEST).cloned(),
        Err(_) => Some(Bytes::from_static(&[0; 32])),
    }
}
