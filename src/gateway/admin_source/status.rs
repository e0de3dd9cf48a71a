//! The status of the gateway.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::sys::resource::{Resource, getrlimit};

use super::{GatewaySource, StoredCounts, count, database, mode};
use crate::api::status::{
    ClockStatus, ConfigStatus, LastError, LedgerStatus, RouteStatus, SecretStatus, SpoolStatus,
    Status, StoreStatus, UpstreamStatus,
};
use crate::clock::rfc3339;
use crate::config::snapshot::{Action, Route, Snapshot, WebhookRoute};
use crate::gateway::reload::Reloader;
use crate::mount::Space;
use crate::upstream::breaker::Shown;
use crate::upstream::render;

impl GatewaySource {
    /// Returns the status of the gateway.
    pub(super) fn status_now(&self) -> Status {
        let (snapshot, now) = (self.gate.snapshot(), self.gate.clock.now());
        let config = config(&snapshot, &self.reloader, now.wall);
        let (ledger, skew) = (self.gate.ids.ledger.counts(), self.gate.telemetry.skew());
        let upstream = |client: &Arc<crate::upstream::client::Client>| UpstreamStatus {
            name: client.policy().name.to_string(),
            url: render::url(client.policy()),
            breaker: breaker(client.breaker().state(now.mono)).to_owned(),
            message: client
                .breaker()
                .fault()
                .map(|fault| fault.message("the upstream")),
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: now
                .mono
                .saturating_duration_since(self.started.mono)
                .as_secs(),
            ready: self.gate.is_ready(),
            draining_since: self.gate.draining_since().map(rfc3339),
            generation: config.generation,
            hash: config.hash.clone(),
            loaded_at: config.loaded_at.clone(),
            last_error: config.last_error.clone(),
            config,
            routes: snapshot
                .routes
                .iter()
                .map(|route| self.route(route))
                .collect(),
            upstreams: self.gate.clients().iter().map(upstream).collect(),
            clock: ClockStatus {
                skew_seconds: skew.seconds,
                samples: count(skew.samples),
                jumped: self.gate.store.health().clock_jump,
            },
            ledger: LedgerStatus {
                entries: count(ledger.committed),
                bytes: count(ledger.bytes),
                capacity: count(snapshot.store.ledger_entries),
                forgotten_early: ledger.forgotten_early,
                unsaved: count(ledger.unsaved),
            },
            store: self.store_status(&snapshot),
            outbound: self.outbound_status(),
            alarms: self
                .gate
                .telemetry
                .alarms()
                .iter()
                .map(Into::into)
                .collect(),
            in_flight_bytes: count(self.gate.budget.held()),
            connections: count(self.gate.lifecycle.connections.open()),
            open_files: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(most, _)| most),
        }
    }

    fn route(&self, route: &Route) -> RouteStatus {
        let hour = self.gate.telemetry.hour(route.name());
        let webhook = route.webhook();
        let stored = webhook.and_then(|webhook| self.stored(webhook));
        RouteStatus {
            name: route.name().to_string(),
            action: webhook
                .map_or("pass", |webhook| action(&webhook.action))
                .to_owned(),
            waiting: stored.map(|stored| stored.waiting),
            dead: stored.map(|stored| stored.dead),
            cancelled: stored.map(|stored| stored.cancelled),
            pause_seconds: self
                .pause(route.name())
                .map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0)),
            mode: webhook
                .map_or("none", |webhook| {
                    mode(webhook, &self.gate.dates(self.gate.clock.mono()))
                })
                .to_owned(),
            until: webhook
                .and_then(|webhook| webhook.observe_until)
                .map(rfc3339),
            provider: webhook
                .and_then(|webhook| webhook.provider.as_deref())
                .map(str::to_owned),
            late_retries: self.gate.telemetry.late_retries(route.name()),
            last_at: hour.last_at.map(rfc3339),
            last_unauthentic: self
                .gate
                .telemetry
                .last_unauthentic(route.name())
                .map(Into::into),
            hour: hour.into(),
            secrets: webhook.map_or_else(Vec::new, |webhook| self.secrets(webhook)),
            breaker: self.handler(route.name()),
        }
    }

    /// Returns how much longer the queue of a route pauses. `None` if it is not paused.
    pub(super) fn pause(&self, name: &Arc<str>) -> Option<Duration> {
        let route = self.webhook(name)?;
        let target = route.destination.as_ref()?.target();
        target.pause().remaining(self.gate.clock.mono())
    }

    /// Returns the state of the circuit breaker of a webhook route.
    fn handler(&self, name: &Arc<str>) -> Option<String> {
        let state = self
            .webhook(name)?
            .upstream
            .handler()
            .state(self.gate.clock.mono());
        Some(breaker(state).to_owned())
    }

    /// Counts the stored deliveries of a route. `None` if it has none and cannot have any.
    fn stored(&self, webhook: &WebhookRoute) -> Option<StoredCounts> {
        let (counts, names) = self.gate.counts();
        let mut sum = StoredCounts::default();
        for of in &counts.targets {
            if names.get(&of.target) == Some(&webhook.name) {
                sum.add(of);
            }
        }
        (webhook.action.queues() || sum != StoredCounts::default()).then_some(sum)
    }

    fn store_status(&self, snapshot: &Snapshot) -> StoreStatus {
        let counts = self.gate.worker.counts();
        let path = snapshot.store.engine.directory();
        let free = path.and_then(Space::of).map(|space| space.free);
        StoreStatus {
            path: path.map(|path| path.display().to_string()),
            alarm: self.alarm(),
            bytes: counts.disk,
            free,
            last_fsync: counts.last_write.map(|took| took.as_secs_f64()),
            parked: self.gate.parked(),
            sealed_by_old_keys: self.gate.worker.endpoints().sealed_by_old_keys(),
            postgres: snapshot.store.engine.postgres().map(|engine| {
                let health = self.gate.store.health();
                database::status(engine, &health, self.gate.clock.mono())
            }),
            spool: self.spool_status(snapshot),
        }
    }

    fn spool_status(&self, snapshot: &Snapshot) -> Option<SpoolStatus> {
        let (spool, directory) = (self.gate.spool()?, snapshot.store.spool.as_ref()?);
        let now = self.gate.clock.now().wall;
        let age = |at| now.duration_since(at).unwrap_or_default().as_secs_f64();
        Some(SpoolStatus {
            path: directory.path.display().to_string(),
            waiting: spool.waiting(),
            bytes: spool.bytes(),
            capacity: directory.bytes,
            oldest_seconds: spool.oldest().map(age),
        })
    }

    /// Returns the secrets of the config with their last match, then those of a table that matched since the start.
    fn secrets(&self, webhook: &WebhookRoute) -> Vec<SecretStatus> {
        let listed = self.secrets_of(webhook).into_iter();
        let mut shown: Vec<SecretStatus> = listed
            .map(|secret| SecretStatus {
                name: secret.name,
                last_match_at: secret.last_match_at,
                expires: secret.expires,
                state: secret.state,
                verdict: secret.verdict,
                needs_attention: secret.needs_attention,
            })
            .collect();
        let verifier = webhook.verifier.as_ref();
        if verifier.is_some_and(|verifier| verifier.secrets().keyed_by().is_some()) {
            let matched = self.gate.telemetry.secrets(&webhook.name).into_iter();
            shown.extend(matched.map(|(name, counters)| SecretStatus {
                name: name.to_string(),
                last_match_at: Some(rfc3339(counters.last_at)),
                ..SecretStatus::default()
            }));
        }
        shown
    }
}

fn action(action: &Action) -> &'static str {
    match action {
        Action::Forward(_) => "forward",
        Action::Queue => "queue",
    }
}

fn config(snapshot: &Snapshot, reloader: &Reloader, now: SystemTime) -> ConfigStatus {
    let state = reloader.state();
    ConfigStatus {
        generation: snapshot.generation,
        hash: snapshot.hash.clone(),
        common_hash: snapshot.common_hash.clone(),
        loaded_at: rfc3339(snapshot.loaded_at),
        age_seconds: now
            .duration_since(snapshot.loaded_at)
            .unwrap_or(Duration::ZERO)
            .as_secs(),
        last_error: state.error.as_ref().map(|error| LastError {
            at: rfc3339(error.at),
            message: error.text.clone(),
        }),
        needs_restart: state.needs_restart.clone(),
        stale_secrets: state.stale_secrets.clone(),
        stale_certificates: state.stale_certificates.clone(),
    }
}

fn breaker(state: Shown) -> &'static str {
    match state {
        Shown::Closed { .. } => "closed",
        Shown::Open { .. } => "open",
        Shown::HalfOpen => "half_open",
    }
}
