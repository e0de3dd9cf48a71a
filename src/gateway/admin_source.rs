//! The gateway, as the admin and health listeners see it.
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::admin::{AdminSource, Awaited, Draining, QuarantineError, ReloadError, Reloading};
use crate::api::actions::Drain;
use crate::api::explain::Explanation;
use crate::api::quarantine::{Quarantined, Reverified, ReverifyPlan};
use crate::api::refusals::RecentRefusal;
use crate::api::report::{self, Report, RouteReport};
use crate::api::secrets::Secrets;
use crate::api::status::Status;
use crate::clock::{Dates, Now, rfc3339};
use crate::config::snapshot::WebhookRoute;
use crate::gateway::Gate;
use crate::gateway::active_config::ActiveRoute;
use crate::gateway::reload::Reloader;
use crate::replay::{ActiveRoutes, DeliveryName, LedgerKeys, Policy};
use crate::request::RequestId;
use crate::store::archive::TargetCounts;
use crate::store::queue::TargetId;
use crate::store::{Key, Store};
use crate::telemetry::Tailed;

mod database;
mod explain;
mod ledger_keys;
mod metrics;
mod quarantine;
mod secrets;
mod sending;
mod status;

/// The source of everything that the health and admin listeners return.
#[derive(Debug)]
pub struct GatewaySource {
    gate: Arc<Gate>,
    reloader: Arc<Reloader>,
    /// The problem that was found when the store was opened.
    alarm: Option<String>,
    started: Now,
    /// The turn to explain a request.
    explaining: Arc<Semaphore>,
}

impl GatewaySource {
    /// Makes the source of a gateway that has just started.
    pub fn new(gate: Arc<Gate>, reloader: Arc<Reloader>, alarm: Option<String>) -> Self {
        Self {
            started: gate.clock.now(),
            gate,
            reloader,
            alarm,
            explaining: Arc::new(Semaphore::new(1)),
        }
    }

    /// Returns the problem of the store that needs attention.
    fn alarm(&self) -> Option<String> {
        self.gate
            .store
            .health()
            .trouble
            .map(|trouble| trouble.to_string())
            .or_else(|| self.alarm.clone())
    }

    /// Finds a webhook route of the current config.
    fn webhook(&self, name: &str) -> Option<Arc<ActiveRoute>> {
        self.gate.active.load().webhook_route(name).cloned()
    }
}

/// The stored deliveries of some targets, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StoredCounts {
    pub(super) waiting: u64,
    pub(super) dead: u64,
    pub(super) cancelled: u64,
}

impl StoredCounts {
    /// Adds the deliveries of one target.
    pub(super) fn add(&mut self, of: &TargetCounts) {
        self.waiting += of.waiting;
        self.dead += of.dead;
        self.cancelled += of.cancelled;
    }
}

/// Returns the name of a route's verification mode.
fn mode(webhook: &WebhookRoute, dates: &Dates) -> &'static str {
    report::mode(webhook.verifier.is_some(), webhook.observes(dates))
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl AdminSource for GatewaySource {
    fn is_ready(&self) -> bool {
        self.gate.is_ready()
    }

    fn metrics(&self) -> String {
        self.gate.telemetry.metrics_text(&self.gauges())
    }

    fn status(&self) -> Status {
        self.status_now()
    }

    fn refusals(&self, limit: usize) -> Awaited<'_, Vec<RecentRefusal>> {
        Box::pin(self.recent_refusals(limit))
    }

    fn quarantined(
        &self,
        route: Option<String>,
        limit: u16,
    ) -> Awaited<'_, Result<Quarantined, QuarantineError>> {
        Box::pin(self.listed(route, limit))
    }

    fn explained(
        &self,
        id: RequestId,
    ) -> Awaited<'_, Result<Option<Explanation>, QuarantineError>> {
        Box::pin(self.explain_kept(id))
    }

    fn plan_reverify(&self, route: String) -> Awaited<'_, Result<ReverifyPlan, QuarantineError>> {
        Box::pin(async move { self.planned(&route).await })
    }

    fn reverify(
        &self,
        route: String,
        after: Option<RequestId>,
    ) -> Awaited<'_, Result<Reverified, QuarantineError>> {
        Box::pin(async move { self.released(&route, after).await })
    }

    fn report(&self) -> Report {
        let now = self.gate.clock.now();
        let dates = self.gate.dates(now.mono);
        let route = |webhook: &Arc<WebhookRoute>| {
            let observed = self.gate.telemetry.observation(&webhook.name);
            RouteReport::new(
                &webhook.name,
                mode(webhook, &dates),
                webhook.observe_until,
                observed.as_ref(),
            )
        };
        Report {
            now: rfc3339(now.wall),
            routes: self.gate.snapshot().webhooks.iter().map(route).collect(),
        }
    }

    fn secrets(&self) -> Secrets {
        self.all_secrets()
    }

    fn reload(&self) -> Reloading<'_> {
        Box::pin(async {
            let reloaded = self.reloader.reload().await;
            reloaded.map_err(|error| ReloadError(error.to_string()))
        })
    }

    fn tail(&self, after: Option<u64>, limit: usize) -> Tailed {
        self.gate.telemetry.tail(after, limit)
    }

    fn run(&self) -> u64 {
        self.gate.telemetry.run()
    }

    fn stop_accepting(&self) {
        self.gate.stop_accepting();
    }

    fn drain(&self) -> Draining<'_> {
        Box::pin(async {
            // counted before the store is read: a request that ends in between would be in neither
            let in_flight = count(self.gate.lifecycle.deliveries_in_flight());
            let counts = self.gate.store.totals().await?;
            let mut sum = StoredCounts::default();
            counts.targets.iter().for_each(|of| sum.add(of));
            Ok(Drain {
                accepting: self.gate.accepts(),
                waiting: sum.waiting,
                in_flight,
                dead: sum.dead,
                cancelled: sum.cancelled,
                outbound: self.left_to_send(&counts).await?,
            })
        })
    }

    fn forget_here(&self, keys: &[Key]) {
        self.gate.ids.ledger.forget_here(keys);
    }

    fn store(&self) -> Option<Arc<dyn Store>> {
        let store = &self.gate.store;
        store.nature().durable.then(|| Arc::clone(store))
    }
}

impl ActiveRoutes for GatewaySource {
    fn now(&self) -> Now {
        self.gate.clock.now()
    }

    fn policy(&self, route: &str) -> Option<Policy> {
        self.webhook(route).map(|route| Policy {
            max_attempts: route.webhook.deliver.schedule.max_attempts(),
        })
    }

    fn policy_of_endpoints(&self) -> Option<Policy> {
        let rules = self.gate.worker.endpoints().rules()?;
        Some(Policy {
            max_attempts: rules.outbound.schedule.max_attempts(),
        })
    }

    fn is_paused(&self, endpoint: TargetId) -> bool {
        self.gate.worker.endpoints().is_inactive(endpoint)
    }

    fn ledger_keys(&self, route: &str, named: DeliveryName<'_>) -> LedgerKeys {
        self.webhook(route).map_or(LedgerKeys::NoRoute, |route| {
            ledger_keys::of(&self.gate, &route, named)
        })
    }
}
