//! Parked numbers, which no name of the config has: the time of their waiting units stops.
use rusqlite::params;

use super::writing::Writing;
use crate::store::StoreError;
use crate::store::queue::TargetId;

/// Parks a number that is not parked.
const PARK: &str = "update name set parked_at = ?2 where number = ?1 and parked_at is null";
/// Ends the parking of a number, and adds its length to the time that the number was parked before.
const UNPARK: &str = "update name set parked = coalesce(parked, 0) + ?2 - parked_at, parked_at = null where number = ?1 and parked_at is not null";

/// Parks a number that the config does not serve, or ends its parking.
pub(super) fn park(writing: &Writing<'_>, number: u32, is_served: bool) -> Result<(), StoreError> {
    let change = if is_served { UNPARK } else { PARK };
    writing
        .execute(change, params![number, writing.now])
        .map(drop)
}

/// Returns the time of a target: the store's, without the time in which the target was parked. Ages of what waits are counted in it.
pub(super) fn target_time(writing: &Writing<'_>, target: TargetId) -> Result<i64, StoreError> {
    let time = "select coalesce(parked_at, ?2) - coalesce(parked, 0) from name where number = ?1";
    Ok(writing
        .row(time, params![target, writing.now], |row| row.get(0))?
        .unwrap_or(writing.now))
}
