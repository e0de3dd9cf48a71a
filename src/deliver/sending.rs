//! Observes the state of sending.
use std::sync::Arc;

use super::messages::streak_message;
use super::sending_state::{FailingEndpoint, SendingState};
use super::worker::Worker;
use crate::store::StoreError;
use crate::store::address_book::Unhealthy;
use crate::store::queue::{OriginId, TargetId};
use crate::tenant::health::Notified;

/// The most failing endpoints that are shown.
const MAX_FAILING: usize = 5;
/// The rows that are read to find and to count them.
const FAILING_ROWS: u16 = 200;

impl Worker {
    /// Observes the state of sending.
    pub(super) async fn observe_sending(&self) -> Result<SendingState, StoreError> {
        // before the endpoints are counted: a pause that is counted here is in their states, too
        let pauses = self.endpoints().pauses();
        let addresses = self.store.address_counts().await?;
        let sends = self.endpoints().rules().is_some() && addresses.tenants > 0;
        let (oldest_due, (failing, more_failing)) = if sends {
            (self.endpoints().oldest_due(), self.failing().await?)
        } else {
            (None, (Vec::new(), 0))
        };
        Ok(SendingState {
            addresses,
            pauses,
            oldest_due,
            failing,
            more_failing,
        })
    }

    /// Returns some endpoints that fail, and the number of others.
    async fn failing(&self) -> Result<(Vec<FailingEndpoint>, usize), StoreError> {
        let mut rows = self.store.unhealthy(None, FAILING_ROWS).await?;
        rows.retain(|row| row.health.notified != Notified::Over);
        rows.sort_by_key(|row| row.health.since);
        let others = rows.len().saturating_sub(MAX_FAILING);
        rows.truncate(MAX_FAILING);
        if rows.is_empty() {
            return Ok((Vec::new(), 0));
        }
        let targets: Vec<TargetId> = rows.iter().map(|row| row.target).collect();
        let endpoints = self.store.endpoints_of(&targets).await?;
        let tenants: Vec<u32> = rows.iter().map(|row| row.tenant.0).collect();
        let called = self.store.called(&tenants).await?;
        let name = |tenant: OriginId| {
            let found = called.iter().find(|(number, _)| *number == tenant.0);
            found.map_or_else(|| Arc::from(""), |(_, name)| Arc::clone(name))
        };
        let rules = self.endpoints().rules();
        let shown = |row: &Unhealthy| {
            let endpoint = endpoints.iter().find(|one| one.target == row.target)?;
            Some(FailingEndpoint {
                id: Arc::clone(&endpoint.id),
                uid: endpoint.uid.clone(),
                tenant: name(row.tenant),
                state: row.state.word(),
                since: row.health.since,
                failures: row.health.failures,
                message: rules.as_deref().map_or_else(String::new, |rules| {
                    streak_message(endpoint, &row.health, rules, 0)
                }),
            })
        };
        Ok((rows.iter().filter_map(shown).collect(), others))
    }
}
