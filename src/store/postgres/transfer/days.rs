//! The tables of the days that deliveries are of. They are made before the transaction of the move: each is a few locks, and an empty one does no
//! harm.
use rusqlite::{OptionalExtension as _, params};
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::error::TransferError;
use super::target::Target;
use crate::store::embedded::stopped::StoppedStore;
use crate::store::postgres::call::Day;
use crate::store::postgres::migrate::DAYS_AHEAD;
use crate::store::queue::DeliveryRef;

const MS_PER_DAY: u128 = 86_400_000;

/// Makes the tables of all days that deliveries are of.
pub(super) async fn make(source: &StoppedStore, target: &Target) -> Result<(), TransferError> {
    let mut from = Uuid::nil();
    while let Some(id) = next(source, from)? {
        let make = "select hookgate.days_make_1($1, $2)";
        let day = Day::of_id(id);
        let parameters: [(&(dyn ToSql + Sync), Type); 2] =
            [(&DAYS_AHEAD, Type::INT4), (&day, Type::DATE)];
        target.execute(make, &parameters).await?;
        let next_day = (id.as_u128() >> 80) / MS_PER_DAY + 1;
        let Some(first) = (next_day * MS_PER_DAY).checked_shl(80) else {
            break;
        };
        from = Uuid::from_u128(first);
    }
    Ok(())
}

/// Returns the first ID from one on.
fn next(source: &StoppedStore, from: Uuid) -> Result<Option<Uuid>, TransferError> {
    let first = "select id from delivery where id >= ?1 order by id limit 1";
    let mut statement = source.reader().prepare_cached(first)?;
    let id = statement.query_row(params![DeliveryRef(from)], |row| {
        row.get::<_, DeliveryRef>(0)
    });
    Ok(id.optional()?.map(|id| id.0))
}
