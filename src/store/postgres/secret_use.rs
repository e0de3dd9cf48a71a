//! Matches of secrets, which all gateways count together.
use std::time::Duration;

use bytes::Bytes;

use super::Postgres;
use super::call::{Blob, Call, millis};
use super::claims::in_order;
use super::columns::{count, duration, optional_duration};
use super::link::Lane;
use crate::store::StoreError;
use crate::store::secret_use::{FORGOTTEN_AFTER, MAX_GAP, SecretMatches, SecretTotals};

impl Postgres {
    /// Adds matches of secrets, and returns what all gateways know of each.
    pub(super) async fn add_matches(
        &self,
        matches: Vec<SecretMatches>,
    ) -> Result<Vec<SecretTotals>, StoreError> {
        let key = |one: &SecretMatches| Blob(Bytes::copy_from_slice(&one.key.0));
        let added = |one: &SecretMatches| i64::try_from(one.count).unwrap_or(i64::MAX);
        let last =
            |one: &SecretMatches| -> Option<i64> { one.last.map(|last: Duration| millis(last)) };
        let call = Call::write("secret_matches_1")
            .with(matches.iter().map(key).collect::<Vec<_>>())
            .with(matches.iter().map(added).collect::<Vec<_>>())
            .with(matches.iter().map(last).collect::<Vec<_>>())
            .with(millis(MAX_GAP))
            .with(millis(FORGOTTEN_AFTER));
        let rows = self.link.call(Lane::Looks, call).await?;
        in_order(matches.len(), &rows, |row| {
            Ok(SecretTotals {
                count: count(row, 1)?,
                last: optional_duration(row, 2)?,
                watched: duration(row, 3)?,
            })
        })
    }
}
