//! The tokens of rate limits that gateways share.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_postgres::Row;

use super::call::{Blob, Call, column};
use super::claims::in_order;
use super::columns::number;
use super::jobs::Kind;
use crate::store::StoreError;
use crate::store::quota::{TokenGrant, TokenRequest};

/// The largest count of tokens that the functions can calculate with.
const MAX_TOKENS: u32 = 1_000_000_000;

/// Reservations.
pub(super) struct Reserve;

impl Kind for Reserve {
    type Row = TokenRequest;
    type Answer = TokenGrant;
    const HURRY: u32 = 8;

    fn keys(row: &TokenRequest) -> Vec<u64> {
        vec![row.key]
    }

    fn call(rows: &[Arc<TokenRequest>]) -> Call {
        let key = |row: &Arc<TokenRequest>| Blob(Bytes::copy_from_slice(&row.key.to_be_bytes()));
        let counts = |of: fn(&TokenRequest) -> u32| -> Vec<i32> {
            rows.iter().map(|row| tokens(of(row))).collect()
        };
        Call::write("reserve_1")
            .with(rows.iter().map(key).collect::<Vec<_>>())
            .with(rows.iter().map(|row| micros(row.each)).collect::<Vec<_>>())
            .with(counts(|row| row.burst))
            .with(counts(|row| row.tokens))
            .with(counts(|row| row.spent))
    }

    fn answers(
        rows: &[Arc<TokenRequest>],
        answer: Vec<Row>,
    ) -> Result<Vec<TokenGrant>, StoreError> {
        in_order(rows.len(), &answer, |row| {
            let wait: i64 = column(row, 2)?;
            Ok(TokenGrant {
                tokens: number(row, 1)?,
                wait: Duration::from_micros(u64::try_from(wait).unwrap_or(0)),
            })
        })
    }
}

/// Returns a count of tokens as a parameter.
fn tokens(count: u32) -> i32 {
    i32::try_from(count.min(MAX_TOKENS)).unwrap_or(i32::MAX)
}

/// Returns the time in which a token comes back as a parameter: the nearest microsecond, but not zero.
fn micros(each: Duration) -> i64 {
    let micros = each
        .saturating_add(Duration::from_nanos(500))
        .as_micros()
        .max(1);
    i64::try_from(micros).unwrap_or(i64::MAX)
}
