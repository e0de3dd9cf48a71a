//! The columns of our own types: how they are written and read.
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::retry::Reason;
use crate::store::queue::{Cause, DeliveryRef, TargetId};

/// Encodes a reason for a row: a status is its number.
pub(super) fn from_reason(reason: Reason) -> i64 {
    match reason {
        Reason::Attempts => 1,
        Reason::Age => 2,
        Reason::Paused => 3,
        Reason::Removed => 4,
        Reason::Status(status) => i64::from(status.as_u16()),
    }
}

/// Reads a reason; one that a newer version wrote is shown as the end of the attempts.
pub(super) fn to_reason(number: i64) -> Reason {
    let status = u16::try_from(number)
        .ok()
        .and_then(|status| http::StatusCode::from_u16(status).ok());
    match (number, status) {
        (2, _) => Reason::Age,
        (3, _) => Reason::Paused,
        (4, _) => Reason::Removed,
        (_, Some(status)) => Reason::Status(status),
        (_, None) => Reason::Attempts,
    }
}

impl ToSql for DeliveryRef {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
    }
}

impl FromSql for DeliveryRef {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes: [u8; 16] = value
            .as_blob()?
            .try_into()
            .map_err(|_| FromSqlError::InvalidType)?;
        Ok(Self(uuid::Uuid::from_bytes(bytes)))
    }
}

impl ToSql for TargetId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

impl FromSql for TargetId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        u32::column_result(value).map(Self)
    }
}

impl ToSql for Cause {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Schedule => 0_i64,
            Self::Replay => 1,
            Self::Test => 2,
            Self::Probe => 3,
        }
        .into())
    }
}

impl FromSql for Cause {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(match value.as_i64()? {
            1 => Self::Replay,
            2 => Self::Test,
            3 => Self::Probe,
            _ => Self::Schedule,
        })
    }
}
