//! The state of sending, for status, metrics, alarms and a drain.
use std::collections::BTreeMap;

use super::GatewaySource;
use crate::api::actions::OutboundDrain;
use crate::api::status::{FailingEndpoint, OutboundStatus};
use crate::clock::rfc3339;
use crate::gateway::Gate;
use crate::store::StoreError;
use crate::store::address_book::EndpointState;
use crate::store::archive::{Counts, TenantCounts};
use crate::telemetry::SendingGauges;

/// The most jobs that are counted.
const MAX_JOBS: u16 = 500;

/// Returns the state of an endpoint with the reason of a pause, as metrics and status name it.
fn state_label(state: EndpointState) -> &'static str {
    match state {
        EndpointState::Paused => "paused_by_hand",
        EndpointState::PausedByFailures => "paused_failing",
        EndpointState::PausedByGone => "paused_gone",
        EndpointState::Active
        | EndpointState::Resuming
        | EndpointState::Removing
        | EndpointState::Removed => state.word(),
    }
}

/// Returns whether the config sends, or the store has events of tenants.
fn has_sending(gate: &Gate, events: TenantCounts) -> bool {
    gate.worker.endpoints().rules().is_some() || events != TenantCounts::default()
}

impl GatewaySource {
    /// Returns the values of the metrics of sending.
    pub(super) fn sending_gauges(&self) -> Option<SendingGauges> {
        let (worker, events) = (&self.gate.worker, self.gate.worker.counts().tenants);
        has_sending(&self.gate, events).then(|| {
            let (suspects, others) = worker.endpoints().slots();
            let sending = worker.sending().unwrap_or_default();
            let endpoints = sending.addresses.endpoints.iter();
            SendingGauges {
                waiting: events.waiting,
                dead: events.dead,
                endpoints: endpoints
                    .map(|(state, count)| (state_label(*state), *count))
                    .collect(),
                slots: vec![
                    ("suspects", u64::from(suspects)),
                    ("others", u64::from(others)),
                ],
            }
        })
    }

    /// Returns the status of sending.
    pub(super) fn outbound_status(&self) -> Option<OutboundStatus> {
        let (worker, events) = (&self.gate.worker, self.gate.worker.counts().tenants);
        has_sending(&self.gate, events).then(|| {
            let sending = worker.sending().unwrap_or_default();
            let sums = self.gate.telemetry.sending().sums();
            let endpoints = sending.addresses.endpoints.iter();
            let failing = sending.failing.iter().map(|one| FailingEndpoint {
                id: one.id.to_string(),
                uid: one.uid.as_deref().map(str::to_owned),
                tenant: one.tenant.to_string(),
                state: one.state.to_owned(),
                since: rfc3339(one.since),
                failures: one.failures,
                message: one.message.clone(),
            });
            OutboundStatus {
                sends: worker.endpoints().rules().is_some(),
                tenants: sending.addresses.tenants,
                endpoints: endpoints
                    .map(|(state, count)| (state_label(*state).to_owned(), *count))
                    .collect::<BTreeMap<_, _>>(),
                waiting: events.waiting,
                oldest_due_seconds: sending.oldest_due.map(|delay| delay.as_secs_f64()),
                dead: events.dead,
                published: sums.published,
                attempts: sums.attempts,
                failed_attempts: sums.failed,
                failing: failing.collect(),
                more_failing: u64::try_from(sending.more_failing).unwrap_or(u64::MAX),
            }
        })
    }

    /// Returns what is left to send. Events that wait for a paused endpoint stay stored, so a drain does not wait for them.
    pub(super) async fn left_to_send(
        &self,
        counts: &Counts,
    ) -> Result<Option<OutboundDrain>, StoreError> {
        let events = counts.tenants;
        if !has_sending(&self.gate, events) {
            return Ok(None);
        }
        let paused = if events.waiting == 0 {
            0
        } else if self.gate.worker.endpoints().rules().is_some() {
            let paused = self.gate.store.waiting_for_inactive().await?;
            paused.min(events.waiting)
        } else {
            // nothing is sent without the block `outbound`
            events.waiting
        };
        let jobs = self.gate.store.with_jobs(None, MAX_JOBS).await?;
        Ok(Some(OutboundDrain {
            waiting: events.waiting - paused,
            paused,
            jobs: u64::try_from(jobs.len()).unwrap_or(u64::MAX),
            dead: events.dead,
        }))
    }
}
