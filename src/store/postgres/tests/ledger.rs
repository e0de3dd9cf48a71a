//! The ledger over a server.
use super::*;
use crate::store::{Store as _, contract};

#[tokio::test]
async fn ledger_contract_holds() {
    for database in Database::both() {
        let store = database.open().await;
        contract::holds(&store, &database.clock).await;
        contract::secret_use::holds(&store, &database.clock).await;
        store.close().await.unwrap();
    }
}
