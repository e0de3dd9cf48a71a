//! Calls of the ledger: claims, commits, notes.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::Row;
use uuid::Uuid;

use super::call::{Blob, Call, Text, column, millis};
use super::jobs::Kind;
use crate::store::{ClaimResult, Key, Ownership, Remembered, StoreError, Token};

/// A key, a token and a time, as most calls of the ledger have them.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyRow {
    pub(super) key: Key,
    pub(super) token: Token,
    pub(super) time: Duration,
}

/// Returns a key as a parameter.
pub(super) fn blob(key: Key) -> Blob {
    Blob(Bytes::copy_from_slice(&key.0))
}

/// Returns a hash of a key: it is one already.
fn hashed(key: Key) -> Vec<u64> {
    let [.., a, b, c, d, e, f, g, h] = key.0;
    vec![u64::from_be_bytes([a, b, c, d, e, f, g, h])]
}

fn keys(rows: &[Arc<KeyRow>]) -> Vec<Blob> {
    rows.iter().map(|row| blob(row.key)).collect()
}

fn tokens(rows: &[Arc<KeyRow>]) -> Vec<Uuid> {
    let tokens = rows.iter().map(|row| Uuid::from_u128(row.token.0));
    tokens.collect()
}

fn times(rows: &[Arc<KeyRow>]) -> Vec<i64> {
    rows.iter().map(|row| millis(row.time)).collect()
}

/// Sorts answers by the position of their rows, which is their first column.
pub(super) fn in_order<T>(
    count: usize,
    answer: &[Row],
    read: impl Fn(&Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut sorted: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    for row in answer {
        let ord: i32 = column(row, 0)?;
        let place = usize::try_from(ord).ok().and_then(|ord| ord.checked_sub(1));
        let slot = place.and_then(|place| sorted.get_mut(place));
        *slot.ok_or_else(form)? = Some(read(row)?);
    }
    sorted
        .into_iter()
        .map(|answer| answer.ok_or_else(form))
        .collect()
}

/// Returns the error of an answer of another form.
pub(super) fn form() -> StoreError {
    StoreError::Corrupted("a function of the schema answered in another form".into())
}

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimed {
    /// It is known.
    Is(ClaimResult),
    /// The key changed at this moment: it has to be claimed again.
    Again,
}

/// Claims.
pub(super) struct Claim;

impl Kind for Claim {
    type Row = KeyRow;
    type Answer = Claimed;
    const HURRY: u32 = 8;

    fn keys(row: &KeyRow) -> Vec<u64> {
        hashed(row.key)
    }

    fn call(rows: &[Arc<KeyRow>]) -> Call {
        Call::write("claim_1")
            .with(keys(rows))
            .with(tokens(rows))
            .with(times(rows))
    }

    fn answers(rows: &[Arc<KeyRow>], answer: Vec<Row>) -> Result<Vec<Claimed>, StoreError> {
        in_order(rows.len(), &answer, |row| {
            Ok(match column::<i32>(row, 1)? {
                0 => Claimed::Is(ClaimResult::Fresh),
                1 => Claimed::Is(ClaimResult::InFlight {
                    lapses_in: time_in(row, 2)?.unwrap_or_default(),
                }),
                2 => Claimed::Is(ClaimResult::Committed),
                _ => Claimed::Again,
            })
        })
    }
}

/// Reads a duration in milliseconds.
pub(super) fn time_in(row: &Row, index: usize) -> Result<Option<Duration>, StoreError> {
    let ms: Option<i64> = column(row, index)?;
    Ok(ms.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0))))
}

/// Commits.
pub(super) struct Commit;

impl Kind for Commit {
    type Row = KeyRow;
    type Answer = Ownership;
    const FINISHES: bool = true;

    fn keys(row: &KeyRow) -> Vec<u64> {
        hashed(row.key)
    }

    fn call(rows: &[Arc<KeyRow>]) -> Call {
        Call::write("commit_1")
            .with(keys(rows))
            .with(tokens(rows))
            .with(times(rows))
    }

    fn answers(rows: &[Arc<KeyRow>], answer: Vec<Row>) -> Result<Vec<Ownership>, StoreError> {
        in_order(rows.len(), &answer, |row| {
            Ok(if column::<i32>(row, 1)? == 0 {
                Ownership::Lost
            } else {
                Ownership::Owned
            })
        })
    }
}

/// Extensions of claims.
pub(super) struct Extend;

impl Kind for Extend {
    type Row = KeyRow;
    type Answer = Ownership;
    const FINISHES: bool = true;

    fn keys(row: &KeyRow) -> Vec<u64> {
        hashed(row.key)
    }

    fn call(rows: &[Arc<KeyRow>]) -> Call {
        Call::write("extend_1")
            .with(keys(rows))
            .with(tokens(rows))
            .with(times(rows))
    }

    fn answers(rows: &[Arc<KeyRow>], answer: Vec<Row>) -> Result<Vec<Ownership>, StoreError> {
        in_order(rows.len(), &answer, |row| {
            Ok(if column(row, 1)? {
                Ownership::Owned
            } else {
                Ownership::Lost
            })
        })
    }
}

/// Releases of claims. They say nothing.
pub(super) struct Release;

impl Kind for Release {
    type Row = KeyRow;
    type Answer = ();
    const FINISHES: bool = true;

    fn keys(row: &KeyRow) -> Vec<u64> {
        hashed(row.key)
    }

    fn call(rows: &[Arc<KeyRow>]) -> Call {
        Call::write("release_1").with(keys(rows)).with(tokens(rows))
    }

    fn answers(rows: &[Arc<KeyRow>], _: Vec<Row>) -> Result<Vec<()>, StoreError> {
        Ok(vec![(); rows.len()])
    }
}

/// Notes of keys that nobody claims. Their tokens are not used.
pub(super) struct Note;

impl Kind for Note {
    type Row = KeyRow;
    type Answer = ();
    const FINISHES: bool = true;

    fn keys(row: &KeyRow) -> Vec<u64> {
        hashed(row.key)
    }

    fn call(rows: &[Arc<KeyRow>]) -> Call {
        Call::write("note_1").with(keys(rows)).with(times(rows))
    }

    fn answers(rows: &[Arc<KeyRow>], _: Vec<Row>) -> Result<Vec<()>, StoreError> {
        Ok(vec![(); rows.len()])
    }
}

/// Questions whether a key was noted.
pub(super) struct Recall;

impl Kind for Recall {
    type Row = (Text, Key);
    type Answer = Remembered;
    const HURRY: u32 = 8;

    fn keys(_: &Self::Row) -> Vec<u64> {
        Vec::new()
    }

    fn call(rows: &[Arc<Self::Row>]) -> Call {
        let routes: Vec<_> = rows.iter().map(|row| row.0.clone()).collect();
        let keys: Vec<_> = rows.iter().map(|row| blob(row.1)).collect();
        Call::look("recall_1").with(routes).with(keys)
    }

    fn answers(rows: &[Arc<Self::Row>], answer: Vec<Row>) -> Result<Vec<Remembered>, StoreError> {
        in_order(rows.len(), &answer, |row| {
            Ok(Remembered {
                noted: column(row, 1)?,
                complete_for: time_in(row, 2)?,
            })
        })
    }
}
