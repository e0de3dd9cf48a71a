//! The levels that metrics are made from, next to the counters of telemetry.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::{GatewaySource, count, database};
use crate::config::snapshot::CertificateUse;
use crate::gateway::active_config::ActiveRoute;
use crate::store::archive::TargetCounts;
use crate::telemetry::{Gauges, QuarantineGauges};
use crate::upstream::breaker::Shown;
use crate::upstream::client::Client;

impl GatewaySource {
    /// Returns the levels of now.
    pub(super) fn gauges(&self) -> Gauges {
        let (ledger, now, snapshot) = (
            self.gate.ids.ledger.counts(),
            self.gate.clock.now(),
            self.gate.snapshot(),
        );
        let dates = self.gate.dates(now.mono);
        let (counts, names) = self.gate.counts();
        let of = |which: fn(&TargetCounts) -> u64| {
            let mut sums: BTreeMap<Arc<str>, u64> = BTreeMap::new();
            for (name, row) in counts
                .targets
                .iter()
                .filter_map(|row| Some((names.get(&row.target)?, row)))
            {
                *sums.entry(Arc::clone(name)).or_default() += which(row);
            }
            sums.into_iter().collect()
        };
        Gauges {
            secrets: self.secret_gauges(),
            paused: snapshot
                .webhooks
                .iter()
                .map(|webhook| {
                    (
                        Arc::clone(&webhook.name),
                        self.pause(&webhook.name).is_some(),
                    )
                })
                .collect(),
            waiting: of(|of| of.waiting),
            dead: of(|of| of.dead),
            cancelled: of(|of| of.cancelled),
            store_bytes: counts.disk,
            store_writes_waiting: count(counts.waiting),
            late_attempts: counts.late,
            hash: snapshot.hash.clone(),
            enforcing: snapshot
                .webhooks
                .iter()
                .map(|webhook| (Arc::clone(&webhook.name), webhook.enforces(&dates)))
                .collect(),
            ledger_entries: count(ledger.committed),
            ledger_bytes: count(ledger.bytes),
            forgotten_early: ledger.forgotten_early,
            ledger_unsaved: count(ledger.unsaved),
            spool_waiting: self.gate.spool.as_ref().map(|spool| spool.waiting()),
            rate_limit_local: self.gate.limits.shared.local_decisions(),
            in_flight_bytes: count(self.gate.budget.held()),
            connections: count(self.gate.lifecycle.connections.open()),
            breakers: self.upstream_breakers(now.mono),
            handlers: self.route_breakers(now.mono),
            stale_secrets: count(self.reloader.state().stale_secrets.len()),
            accept_errors: self.gate.lifecycle.connections.accept_errors(),
            refused_connections: self.gate.lifecycle.connections.refused(),
            stale_certificates: count(self.reloader.state().stale_certificates.len()),
            certificates: snapshot
                .certificates
                .iter()
                .flat_map(CertificateUse::ends)
                .collect(),
            store_alarm: self.alarm().is_some(),
            quarantine: self.quarantine_gauges(),
            sending: self.sending_gauges(),
            shared_store: database::gauges(&*self.gate.store),
        }
    }

    /// Returns what each route keeps of refused requests, and what was not kept.
    fn quarantine_gauges(&self) -> QuarantineGauges {
        let mut kept: BTreeMap<Arc<str>, (u64, u64)> = BTreeMap::new();
        let snapshot = self.gate.snapshot();
        let used = snapshot
            .webhooks
            .iter()
            .filter(|of| of.quarantine.is_some());
        kept.extend(used.map(|webhook| (Arc::clone(&webhook.name), (0, 0))));
        let sums = self.gate.quarantine.sums().into_iter();
        kept.extend(sums.map(|(route, sum)| (route, (sum.requests, sum.bytes))));
        QuarantineGauges {
            not_kept: self.gate.quarantine.not_kept(),
            kept: kept.into_iter().collect(),
        }
    }

    /// Returns every upstream, and whether its circuit breaker is open.
    fn upstream_breakers(&self, now: Instant) -> Vec<(Arc<str>, bool)> {
        let breaker = |client: &Arc<Client>| {
            let is_open = is_open(client.breaker().state(now));
            (Arc::clone(&client.policy().name), is_open)
        };
        self.gate.clients().iter().map(breaker).collect()
    }

    /// Returns every webhook route, and whether its circuit breaker is open.
    fn route_breakers(&self, now: Instant) -> Vec<(Arc<str>, bool)> {
        let breaker = |route: &Arc<ActiveRoute>| {
            let is_open = is_open(route.upstream.handler().state(now));
            (Arc::clone(&route.webhook.name), is_open)
        };
        self.gate
            .active
            .load()
            .webhook_routes()
            .map(breaker)
            .collect()
    }
}

fn is_open(state: Shown) -> bool {
    matches!(state, Shown::Open { .. })
}
