//! Calls that settle leased units.
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::Row;

use super::accept::{attempt_bytes, hash, int, with_attempts};
use super::call::{Call, column, millis};
use super::claims::in_order;
use super::jobs::Kind;
use crate::store::StoreError;
use crate::store::codes::of_reason;
use crate::store::queue::{Attempt, Lease, Next, Unit};

/// A unit that is settled, with the attempt that was made.
#[derive(Debug)]
pub(super) struct SettleRow {
    pub(super) lease: Lease,
    pub(super) attempt: Option<Attempt>,
    pub(super) next: Next,
}

/// The answer for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It was not the caller's any more.
    Lost,
    /// It was the caller's. Whether a unit of its target may be due at another time than before.
    Owned(bool),
    /// It was not, and the attempt was recorded as late.
    Late,
    /// It was delivered after a person had cancelled or replayed it.
    DeliveredLate,
}

fn keys_of(row: &SettleRow) -> Vec<u64> {
    vec![hash(&row.lease.unit)]
}

fn bytes_of(row: &SettleRow) -> usize {
    row.attempt.as_ref().map_or(0, attempt_bytes)
}

/// Adds the leases.
fn with_leases(call: Call, rows: &[Arc<SettleRow>]) -> Call {
    let units = rows.iter().map(|row| row.lease.unit);
    let id = |unit: Unit| unit.delivery.0;
    call.with(units.clone().map(id).collect::<Vec<_>>())
        .with(units.map(|unit| int(unit.target.0)).collect::<Vec<_>>())
        .with(
            rows.iter()
                .map(|row| int(row.lease.number))
                .collect::<Vec<_>>(),
        )
        .with(
            rows.iter()
                .map(|row| int(row.lease.attempt))
                .collect::<Vec<_>>(),
        )
}

fn made(rows: &[Arc<SettleRow>]) -> Vec<Option<&Attempt>> {
    rows.iter().map(|row| row.attempt.as_ref()).collect()
}

/// Returns the number of a step, its delay and its reason.
fn act(next: Next) -> (i16, i64, Option<i32>) {
    match next {
        Next::Delivered => (0, 0, None),
        Next::RetryIn(delay) => (1, millis(delay), None),
        Next::Later(delay) => (2, millis(delay), None),
        Next::Dead(reason) => (3, 0, i32::try_from(of_reason(reason)).ok()),
        Next::Cancelled => (4, 0, None),
        Next::GiveBack => (5, 0, None),
    }
}

/// Returns the time after which a unit is due again.
pub(super) fn due_in(next: Next) -> Option<Duration> {
    match next {
        Next::RetryIn(delay) | Next::Later(delay) => Some(delay),
        Next::GiveBack => Some(Duration::ZERO),
        Next::Delivered | Next::Dead(_) | Next::Cancelled => None,
    }
}

/// Units that are settled.
pub(super) struct Settles;

impl Kind for Settles {
    type Row = SettleRow;
    type Answer = Settled;
    const FINISHES: bool = true;

    fn keys(row: &SettleRow) -> Vec<u64> {
        keys_of(row)
    }

    fn bytes(row: &SettleRow) -> usize {
        bytes_of(row)
    }

    fn call(rows: &[Arc<SettleRow>]) -> Call {
        let acts: Vec<_> = rows.iter().map(|row| act(row.next)).collect();
        let call = with_leases(Call::write("settle_1"), rows)
            .with(acts.iter().map(|act| act.0).collect::<Vec<_>>())
            .with(acts.iter().map(|act| act.1).collect::<Vec<_>>())
            .with(acts.iter().map(|act| act.2).collect::<Vec<_>>())
            .with(
                rows.iter()
                    .map(|row| row.attempt.is_some())
                    .collect::<Vec<_>>(),
            );
        with_attempts(call, &made(rows))
    }

    fn answers(rows: &[Arc<SettleRow>], answer: Vec<Row>) -> Result<Vec<Settled>, StoreError> {
        in_order(rows.len(), &answer, |row| {
            Ok(match column::<i32>(row, 1)? {
                1 => Settled::Owned(column(row, 2)?),
                2 => Settled::Late,
                3 => Settled::DeliveredLate,
                _ => Settled::Lost,
            })
        })
    }
}

/// Units that were delivered after a person had cancelled or replayed them.
pub(super) struct LateSettles;

impl Kind for LateSettles {
    type Row = SettleRow;
    type Answer = Settled;
    const FINISHES: bool = true;

    fn keys(row: &SettleRow) -> Vec<u64> {
        keys_of(row)
    }

    fn bytes(row: &SettleRow) -> usize {
        bytes_of(row)
    }

    fn call(rows: &[Arc<SettleRow>]) -> Call {
        with_attempts(with_leases(Call::write("settle_late_1"), rows), &made(rows))
    }

    fn answers(rows: &[Arc<SettleRow>], answer: Vec<Row>) -> Result<Vec<Settled>, StoreError> {
        in_order(rows.len(), &answer, |row| {
            Ok(match column::<i32>(row, 1)? {
                1 => Settled::Owned(true),
                2 => Settled::Late,
                _ => Settled::Lost,
            })
        })
    }
}
