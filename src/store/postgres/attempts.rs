//! Reads recorded attempts.
use tokio_postgres::Row;

use super::Postgres;
use super::call::{Call, column};
use super::columns::{
    bytes, delivery, duration, int, number, optional_duration, optional_text, status,
};
use super::link::Lane;
use crate::store::StoreError;
use crate::store::archive::{
    AttemptOf, AttemptPage, AttemptPosition, AttemptShown, AttemptsOf, Scope,
};
use crate::store::codes::to_cause;
use crate::store::queue::{Attempt, DeliveryRef, OriginId, TargetId};

impl Postgres {
    /// Returns attempts, newest first, before a position.
    pub(super) async fn list_attempts(
        &self,
        scope: Scope,
        of: AttemptsOf,
        before: Option<AttemptPosition>,
        limit: u16,
    ) -> Result<AttemptPage, StoreError> {
        let (target, id) = match of {
            AttemptsOf::Endpoint(target) => (Some(int(target.0)), None),
            AttemptsOf::Delivery(id) => (None, Some(id.0)),
        };
        let call = Call::look("attempts_1")
            .with(target)
            .with(id)
            .with(before.map(|position| position.0))
            .with(i32::from(limit));
        let mut page = AttemptPage::default();
        for row in self.link.call(Lane::Looks, call).await? {
            if column::<Option<i32>>(&row, 0)?.is_none() {
                page.next = Some(AttemptPosition(column(&row, 14)?));
            } else if scope.contains(OriginId(number(&row, 16)?)) {
                page.rows.push(AttemptOf {
                    delivery: delivery(&row, 15)?,
                    event_type: optional_text(&row, 17)?,
                    shown: attempt(&row)?,
                });
            }
        }
        Ok(page)
    }

    /// Returns the attempts of a delivery to the targets from one number to another, in order.
    pub(super) async fn attempts_of(
        &self,
        id: DeliveryRef,
        (first, last): (TargetId, TargetId),
    ) -> Result<Vec<AttemptShown>, StoreError> {
        let call = Call::look("unit_attempts_1")
            .with(id.0)
            .with(int(first.0))
            .with(int(last.0));
        let rows = self.link.call(Lane::Looks, call).await?;
        rows.iter().map(attempt).collect()
    }
}

/// Reads an attempt from the first columns of a row.
fn attempt(row: &Row) -> Result<AttemptShown, StoreError> {
    let attempt = Attempt {
        cause: to_cause(i64::from(column::<i16>(row, 3)?)),
        started: column(row, 4)?,
        took: duration(row, 5)?,
        connect: optional_duration(row, 6)?,
        first_byte: optional_duration(row, 7)?,
        status: status(row, 8)?,
        error: optional_text(row, 9)?,
        peer: optional_text(row, 10)?,
        head: bytes(row, 11)?,
        body: bytes(row, 12)?,
        facts: bytes(row, 13)?,
    };
    Ok(AttemptShown {
        target: TargetId(number(row, 0)?),
        number: number(row, 1)?,
        late: column(row, 2)?,
        attempt,
    })
}
