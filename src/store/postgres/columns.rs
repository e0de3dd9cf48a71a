//! Reads columns of answers, and makes parameters of the types of the program.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::Row;
use uuid::Uuid;

pub(super) use super::call::text as to_text;
use super::call::{Blob, Text, column};
use crate::store::StoreError;
use crate::store::queue::{DeliveryRef, TargetId};

/// Returns a number of an origin, a target or a lease, an edition, or a count of attempts.
pub(super) fn number(row: &Row, index: usize) -> Result<u32, StoreError> {
    Ok(u32::try_from(column::<i32>(row, index)?).unwrap_or(0))
}

/// Returns a count, or a number of bytes.
pub(super) fn count(row: &Row, index: usize) -> Result<u64, StoreError> {
    Ok(u64::try_from(column::<i64>(row, index)?).unwrap_or(0))
}

/// Returns the status of an answer, if there was one.
pub(super) fn status(row: &Row, index: usize) -> Result<Option<u16>, StoreError> {
    let status = column::<Option<i32>>(row, index)?;
    Ok(status.and_then(|status| u16::try_from(status).ok()))
}

/// Returns a text.
pub(super) fn text(row: &Row, index: usize) -> Result<Arc<str>, StoreError> {
    column::<&str>(row, index).map(Arc::from)
}

/// Returns a text, if there is one.
pub(super) fn optional_text(row: &Row, index: usize) -> Result<Option<Arc<str>>, StoreError> {
    Ok(column::<Option<&str>>(row, index)?.map(Arc::from))
}

/// Returns bytes; none are empty.
pub(super) fn bytes(row: &Row, index: usize) -> Result<Bytes, StoreError> {
    Ok(optional_bytes(row, index)?.unwrap_or_default())
}

/// Returns bytes, if there are some.
pub(super) fn optional_bytes(row: &Row, index: usize) -> Result<Option<Bytes>, StoreError> {
    Ok(column::<Option<&[u8]>>(row, index)?.map(Bytes::copy_from_slice))
}

/// Returns a duration.
pub(super) fn duration(row: &Row, index: usize) -> Result<Duration, StoreError> {
    column(row, index).map(of_millis)
}

/// Returns a duration, if there is one.
pub(super) fn optional_duration(row: &Row, index: usize) -> Result<Option<Duration>, StoreError> {
    Ok(column::<Option<i64>>(row, index)?.map(of_millis))
}

/// Returns the ID of a delivery.
pub(super) fn delivery(row: &Row, index: usize) -> Result<DeliveryRef, StoreError> {
    column(row, index).map(DeliveryRef)
}

/// Returns the first row of an answer that has one always.
///
/// # Errors
/// It has none: the server has another function of that name.
pub(super) fn first(rows: &[Row]) -> Result<&Row, StoreError> {
    rows.first()
        .ok_or_else(|| StoreError::Corrupted("a function of the schema answered nothing".into()))
}

/// Returns a number as the server has it. None of the program is larger than it can be there.
pub(super) fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The longest age that is told from a longer one. The server's calendar has no place for all ages.
const LONGEST_AGE: Duration = Duration::from_secs(50 * 365 * 86_400);

/// Returns an age of deliveries in milliseconds.
pub(super) fn age_ms(age: Duration) -> i64 {
    super::call::millis(age.min(LONGEST_AGE))
}

/// Returns the number that a cursor begins after.
pub(super) fn after(target: Option<TargetId>) -> i32 {
    target.map_or(0, |target| int(target.0))
}

/// Returns the numbers of targets.
pub(super) fn numbers(targets: &[TargetId]) -> Vec<i32> {
    targets.iter().map(|target| int(target.0)).collect()
}

/// Returns the IDs of deliveries.
pub(super) fn ids(deliveries: &[DeliveryRef]) -> Vec<Uuid> {
    deliveries.iter().map(|delivery| delivery.0).collect()
}

/// Returns a text that came from outside as a parameter, if there is one.
pub(super) fn to_optional_text(text: Option<&str>) -> Option<Text> {
    text.map(to_text)
}

/// Returns bytes as a parameter, if there are some.
pub(super) fn to_blob(bytes: Option<&Bytes>) -> Option<Blob> {
    bytes.map(|bytes| Blob(bytes.clone()))
}

fn of_millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
