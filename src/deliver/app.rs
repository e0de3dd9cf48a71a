//! The app of a webhook route, as a destination of stored deliveries.
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::report::{AttemptReport, SendResult};
use super::target::{AttemptSlot, Target};
use crate::clock::{Dates, Now};
use crate::config::snapshot::WebhookRoute;
use crate::delivery::{AttemptContext, Delivery};
use crate::queue::attempt::{delivery_id, lease_of};
use crate::queue::choose::Admission;
use crate::queue::pause::PauseChange;
use crate::queue::stored::{self, Unreadable};
use crate::store::Ownership;
use crate::store::queue::{Next, Stored, TargetId};
use crate::telemetry::{After, AttemptEvent, Telemetry};
use crate::upstream::client::RouteClient;

/// The app of a route whose deliveries are stored.
#[derive(Debug)]
pub(crate) struct App {
    webhook: Arc<WebhookRoute>,
    upstream: RouteClient,
    /// The target under which new deliveries are stored.
    target: Arc<Target>,
    /// All numbers of the store whose deliveries go to this app, that of `target` included.
    numbers: Vec<TargetId>,
}

impl App {
    /// Makes the app of a route, whose policy its target follows.
    pub(super) fn new(
        webhook: Arc<WebhookRoute>,
        upstream: RouteClient,
        target: Arc<Target>,
        numbers: Vec<TargetId>,
    ) -> Self {
        target.reach(&webhook.forward.upstream.address);
        Self {
            webhook,
            upstream,
            target,
            numbers,
        }
    }

    /// Returns the target under which new deliveries are stored.
    pub(crate) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Returns all numbers of the store whose deliveries go to this app.
    pub(crate) fn numbers(&self) -> &[TargetId] {
        &self.numbers
    }

    pub(super) fn webhook(&self) -> &WebhookRoute {
        &self.webhook
    }

    pub(super) fn upstream(&self) -> &RouteClient {
        &self.upstream
    }

    /// Returns how long a delivery is leased for an attempt.
    pub(crate) fn lease(&self) -> Duration {
        let forward = &self.webhook.forward;
        lease_of(forward.upstream.connect_timeout, forward.timeout)
    }

    /// Reserves a slot for a delivery of `bytes` that has just arrived, if it may be attempted at once.
    pub(crate) fn reserve(&self, bytes: usize, now: Instant) -> Option<AttemptSlot> {
        if self.upstream.admission(now) != Admission::All {
            return None;
        }
        self.target.begin(bytes, now)
    }

    /// Makes a delivery of a stored one.
    ///
    /// # Errors
    /// The part that cannot be read.
    pub(super) fn restore(&self, stored: &Stored, now: Now) -> Result<Delivery, Unreadable> {
        let route = Arc::clone(&self.webhook.name);
        stored::restore(route, &stored.record, stored.body.clone(), now)
    }

    /// Sends a delivery once.
    pub(super) async fn send(
        &self,
        delivery: &Delivery,
        number: u32,
        begun: Now,
        dates: Dates,
    ) -> SendResult {
        let attempt = AttemptContext {
            number,
            received_at: delivery.head().received.wall,
            budget: self.webhook.forward.timeout,
            at: begun.wall,
            dates,
            inline: false,
            id_unchecked: false,
        };
        self.upstream
            .deliver(delivery, &self.webhook, &attempt)
            .await
            .into()
    }

    /// Logs that the queue of the route pauses, or resumes.
    pub(super) fn report_pause(&self, change: PauseChange) {
        let route = &*self.webhook.name;
        match change {
            PauseChange::Paused(left) => tracing::warn!(
                route,
                pause_ms = left.as_millis(),
                "the queue of the route pauses: its app is unavailable or overloaded"
            ),
            PauseChange::Resumed => tracing::info!(
                route,
                "the queue of the route resumes: its app answers again"
            ),
        }
    }

    /// Counts an attempt and logs it.
    pub(super) fn report(
        &self,
        delivery: &Delivery,
        report: &AttemptReport,
        telemetry: &Telemetry,
    ) {
        telemetry.attempted(&AttemptEvent {
            route: &self.webhook.name,
            delivery: report.lease.unit.delivery.0,
            delivery_id: delivery_id(delivery).as_deref(),
            upstream: &self.webhook.forward.upstream.name,
            number: report.lease.attempt,
            outcome: report.outcome,
            error: report.error,
            took: report.took,
            after: match (report.ownership, report.next) {
                (Some(Ownership::Owned), Next::Delivered) => After::Delivered,
                (Some(Ownership::Owned), Next::RetryIn(delay) | Next::Later(delay)) => {
                    After::RetryIn(delay)
                }
                (Some(Ownership::Owned), Next::Dead(_) | Next::Cancelled | Next::GiveBack) => {
                    After::Dead
                }
                (Some(Ownership::Lost), _) => After::Late,
                (None, _) => After::Unsaved,
            },
        });
    }
}
