//! The rows of matches of secrets.
use rusqlite::params;

use super::connection::{int, ms, unsigned};
use super::writing::Writing;
use crate::store::StoreError;
use crate::store::secret_use::{FORGOTTEN_AFTER, MAX_GAP, SecretMatches, SecretTotals};

/// Adds matches to the row of a secret, which begins to be watched anew after a gap.
const ADD: &str =
    "insert into secret_match (key, since, last, count, seen) values (?1, ?2, ?3, ?4, ?2)
    on conflict (key) do update set count = count + excluded.count,
        last = max(coalesce(last, excluded.last), coalesce(excluded.last, last)),
        since = case when seen < excluded.seen - ?5 then excluded.seen else since end, seen = excluded.seen
    returning count, last, since";
/// Forgets the secrets that no config has had for long.
const FORGET: &str = "delete from secret_match where seen < ?1";

/// Adds matches of secrets, and returns what is known of each.
pub(crate) fn add(
    writing: &Writing<'_>,
    matches: &[SecretMatches],
) -> Result<Vec<SecretTotals>, StoreError> {
    let now = writing.now;
    let ago = |at: i64| std::time::Duration::from_millis(now.abs_diff(at.min(now)));
    let mut totals = Vec::with_capacity(matches.len());
    for one in matches {
        let last = one.last.map(|last| now.saturating_sub(ms(last)));
        let row = params![one.key.0, now, last, int(one.count), ms(MAX_GAP)];
        let read = writing.row(ADD, row, |row| {
            Ok(SecretTotals {
                count: unsigned(row, 0)?,
                last: row.get::<_, Option<i64>>(1)?.map(ago),
                watched: ago(row.get(2)?),
            })
        })?;
        totals.push(read.unwrap_or_default());
    }
    writing.execute(FORGET, params![now.saturating_sub(ms(FORGOTTEN_AFTER))])?;
    Ok(totals)
}
