//! Pauses of endpoints by the gateway. The notification of the app is stored with the pause.
use std::sync::Arc;
use std::time::SystemTime;

use super::notice::{self, Kind};
use super::worker::Worker;
use crate::store::StoreError;
use crate::store::address_book::{AuditEntry, Endpoint, EndpointChange, EndpointState, Saved};
use crate::store::queue::TargetId;

/// The times that a pause is tried again after another change of the row.
const SAVES: u32 = 5;

/// Pauses an endpoint because of what it answered to a request to `url`, unless it was changed meanwhile.
pub(super) async fn pause_after_answer(
    worker: &Worker,
    target: TargetId,
    url: &str,
    state: EndpointState,
) {
    let is_same = |row: &Endpoint| *row.url == *url;
    if let Err(error) = pause(worker, target, state, None, is_same).await {
        tracing::debug!(%error, target = target.0, "an endpoint could not be paused; the next attempt does it");
        worker.endpoints().recheck(target);
    }
}

/// Pauses an active endpoint if its row, as it is now, is to be paused. Where `failing_since` is given, its failures since then must go on.
pub(super) async fn pause(
    worker: &Worker,
    target: TargetId,
    state: EndpointState,
    failing_since: Option<SystemTime>,
    is_due: impl Fn(&Endpoint) -> bool,
) -> Result<(), StoreError> {
    let endpoints = worker.endpoints();
    for _ in 0..SAVES {
        let rows = worker.store.endpoints_of(&[target]).await?;
        let found = rows.into_iter().next();
        let Some(row) = found.filter(|row| row.state == EndpointState::Active && is_due(row))
        else {
            endpoints.recheck(target);
            return Ok(());
        };
        let expected = row.edition;
        let row = Endpoint {
            state,
            since: worker.clock.now().wall,
            ..row
        };
        let why = state.pause_reason().unwrap_or_default();
        let streak = row.health;
        let kind = Kind::of_pause(state);
        let change = EndpointChange {
            notice: notice::failures(worker, &row, streak.as_ref(), kind).await,
            endpoint: row.clone(),
            expected,
            failing_since,
            acts: Vec::new(),
            audit: Some(AuditEntry {
                who: "hookgate".into(),
                what: "pause endpoint".into(),
                which: Arc::clone(&row.id),
                reason: why.into(),
            }),
        };
        if let Saved::Done { .. } = worker.store.change_endpoint(change).await? {
            tracing::warn!(
                endpoint = &*row.id,
                why,
                "an endpoint is paused; its events wait"
            );
            endpoints.changed(target, state);
            endpoints.count_pause();
            return Ok(());
        }
    }
    endpoints.recheck(target);
    Ok(())
}
