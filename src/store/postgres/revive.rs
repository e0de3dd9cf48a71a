//! Calls that send dead deliveries again, of which duplicates came.
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;

use super::accept::hash;
use super::call::{Call, column, millis};
use super::claims::{blob, in_order};
use super::jobs::Kind;
use crate::store::queue::DeliveryRef;
use crate::store::{Key, StoreError};

/// A dead delivery of which a duplicate came.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReviveRow {
    pub(super) key: Key,
    pub(super) of: DeliveryRef,
    pub(super) window: Duration,
}

/// Revivals of dead deliveries. Whether it did.
pub(super) struct Revives;

impl Kind for Revives {
    type Row = ReviveRow;
    type Answer = bool;

    fn keys(row: &ReviveRow) -> Vec<u64> {
        vec![hash(&row.key), hash(&row.of)]
    }

    fn call(rows: &[Arc<ReviveRow>]) -> Call {
        Call::write("revive_1")
            .with(rows.iter().map(|row| blob(row.key)).collect::<Vec<_>>())
            .with(rows.iter().map(|row| row.of.0).collect::<Vec<_>>())
            .with(
                rows.iter()
                    .map(|row| millis(row.window))
                    .collect::<Vec<_>>(),
            )
    }

    fn answers(rows: &[Arc<ReviveRow>], answer: Vec<Row>) -> Result<Vec<bool>, StoreError> {
        in_order(rows.len(), &answer, |row| column(row, 1))
    }
}
