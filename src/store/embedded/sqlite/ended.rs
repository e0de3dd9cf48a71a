//! Deliveries that are over, by the time that they ended: what retention goes by.
use rusqlite::params;

use super::ledger::let_go;
use super::writing::Writing;
use crate::store::StoreError;
use crate::store::queue::DeliveryRef;

/// Records the end of a delivery none of whose units waits; one that waits still stays as it is.
pub(super) fn close(writing: &Writing<'_>, id: DeliveryRef) -> Result<(), StoreError> {
    let end = "insert or replace into ended (id, origin, dead, at)
        select id, origin, exists (select 1 from dead where dead.id = ?1), ?2 from delivery
        where id = ?1 and not exists (select 1 from due where due.id = ?1)";
    if writing.execute(end, params![id, writing.now])? > 0 {
        let_go(writing, id)?;
    }
    Ok(())
}

/// Forgets the end of a delivery: it goes again, or is gone.
pub(super) fn reopen(writing: &Writing<'_>, id: DeliveryRef) -> Result<(), StoreError> {
    writing
        .execute("delete from ended where id = ?1", params![id])
        .map(drop)
}
