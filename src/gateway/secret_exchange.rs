//! Gives the matches of secrets to the store, once a minute and after each reload.
use std::sync::Arc;
use std::time::Duration;

use super::Gate;
use crate::clock::tick;

/// The time between two calls of the store.
const INTERVAL: Duration = Duration::from_secs(60);
/// The longest time for which the gateway waits for the last call when it exits.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Gives matches to the store until the gateway exits.
pub async fn watch(gate: Arc<Gate>) {
    let mut leaving = gate.lifecycle.activity.leaving();
    while !*leaving.borrow_and_update() {
        exchange(&gate).await;
        tokio::select! {
            () = tick(INTERVAL) => {}
            () = gate.secrets.reloaded.notified() => {}
            _ = leaving.changed() => {}
        }
    }
}

/// Gives the matches of the last minute to the store, before it is closed. Waits for a second at most.
pub async fn last(gate: &Gate) {
    tokio::time::timeout(LAST_CALL, exchange(gate)).await.ok();
}

async fn exchange(gate: &Gate) {
    gate.secrets
        .exchange(&gate.snapshot(), gate.of_secrets())
        .await;
}
