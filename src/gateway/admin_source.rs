//! What an operator is shown of a running gate.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::sys::resource::{Resource, getrlimit};

use crate::admin::live::Drain;
use crate::admin::{Desk, Draining, Reloading, Source};
use crate::api::report::{self, Report, RouteReport};
use crate::api::status::{
    ClockStatus, ConfigStatus, HourStatus, LastError, LedgerStatus, RouteStatus, SecretStatus,
    Status, StoreStatus, UpstreamStatus,
};
use crate::clock::{Dates, Now};
use crate::config::snapshot::{Action, CertificateUse, Route, Snapshot, WebhookRoute};
use crate::gateway::Gate;
use crate::gateway::desk::GateDesk;
use crate::gateway::reload::Reloader;
use crate::store::archive::TargetCounts;
use crate::store::embedded::room::Disk;
use crate::telemetry::{Gauges, RecentRefusal, Tailed, rfc3339};
use crate::upstream::breaker::Shown;
use crate::upstream::render;

/// The stored deliveries of some targets, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct StoredCounts {
    waiting: u64,
    dead: u64,
    cancelled: u64,
}

impl StoredCounts {
    /// Adds those of one target.
    fn add(&mut self, of: &TargetCounts) {
        self.waiting += of.waiting;
        self.dead += of.dead;
        self.cancelled += of.cancelled;
    }
}

/// Answers the health and admin listeners.
#[derive(Debug)]
pub struct Operator {
    gate: Arc<Gate>,
    reloader: Arc<Reloader>,
    /// What people ask of deliveries; none without a store on disk.
    desk: Option<Arc<GateDesk>>,
    /// What went wrong when the store was opened.
    alarm: Option<String>,
    started: Now,
}

impl Operator {
    /// For a gate that has just started.
    pub fn new(gate: Arc<Gate>, reloader: Arc<Reloader>, alarm: Option<String>) -> Self {
        let started = gate.clock.now();
        // a store comes and goes with a restart alone
        let desk = gate
            .snapshot()
            .store
            .path
            .is_some()
            .then(|| Arc::new(GateDesk(Arc::clone(&gate))));
        Self {
            desk,
            gate,
            reloader,
            alarm,
            started,
        }
    }

    /// What an operator must hear of the store.
    fn alarm(&self) -> Option<String> {
        self.gate
            .store
            .trouble()
            .map(|trouble| trouble.to_string())
            .or_else(|| self.alarm.clone())
    }

    fn route(&self, route: &Route) -> RouteStatus {
        let hour = self.gate.telemetry.hour(route.name());
        let hook = route.webhook();
        let stored = hook.and_then(|hook| self.stored(hook));
        let counted = |counts: BTreeMap<&'static str, u64>| {
            counts
                .into_iter()
                .map(|(code, count)| (code.to_owned(), count))
                .collect()
        };
        RouteStatus {
            name: route.name().to_string(),
            action: hook.map_or("pass", |hook| action(&hook.action)).to_owned(),
            waiting: stored.map(|stored| stored.waiting),
            dead: stored.map(|stored| stored.dead),
            cancelled: stored.map(|stored| stored.cancelled),
            pause_seconds: self
                .pause(route.name())
                .map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0)),
            mode: hook
                .map_or("none", |hook| {
                    mode(hook, &self.gate.dates(self.gate.clock.mono()))
                })
                .to_owned(),
            until: hook.and_then(|hook| hook.observe_until).map(rfc3339),
            provider: hook
                .and_then(|hook| hook.provider.as_deref())
                .map(str::to_owned),
            last_at: hour.last_at.map(rfc3339),
            late_retries: self.gate.telemetry.late_retries(route.name()),
            hour: HourStatus {
                received: hour.received,
                forwarded: hour.forwarded,
                accepted: hour.accepted,
                duplicates: hour.duplicates,
                refused: counted(hour.refused),
                other: counted(hour.other),
            },
            secrets: hook.map_or_else(Vec::new, |hook| self.secrets(hook)),
            breaker: self.handler(route.name()),
        }
    }

    /// Returns how long the queue of a route pauses still; `None` if it does not pause.
    fn pause(&self, name: &Arc<str>) -> Option<Duration> {
        let (live, now) = (self.gate.live.load(), self.gate.clock.mono());
        let route = live.hooks().find(|route| route.hook.name == *name)?;
        route.destination.as_ref()?.target().pause().remaining(now)
    }

    /// Returns the state of the breaker of a webhook route's handler.
    fn handler(&self, name: &Arc<str>) -> Option<String> {
        let (live, now) = (self.gate.live.load(), self.gate.clock.mono());
        let route = live.hooks().find(|route| route.hook.name == *name)?;
        Some(breaker(route.upstream.handler().state(now)).to_owned())
    }

    /// Counts the stored deliveries of a route. `None` if it has none and cannot have any.
    fn stored(&self, hook: &WebhookRoute) -> Option<StoredCounts> {
        let (counts, names) = self.gate.counts();
        let mut sum = StoredCounts::default();
        for of in &counts.targets {
            if names.get(&of.target) == Some(&hook.name) {
                sum.add(of);
            }
        }
        (hook.action.queues() || sum != StoredCounts::default()).then_some(sum)
    }

    fn store(&self, snapshot: &Snapshot) -> StoreStatus {
        let counts = self.gate.worker.counts();
        let path = snapshot.store.path.as_deref();
        let free = path.and_then(Disk::of).map(|disk| disk.free);
        StoreStatus {
            path: path.map(|path| path.display().to_string()),
            alarm: self.alarm(),
            bytes: counts.disk,
            free,
            last_fsync: counts.last_write.map(|took| took.as_secs_f64()),
            parked: self.gate.parked(),
        }
    }

    /// The secrets of the config with their last match, and after them those of a table that matched.
    fn secrets(&self, hook: &WebhookRoute) -> Vec<SecretStatus> {
        let mut matched = self.gate.telemetry.secrets(&hook.name);
        let mut shown: Vec<SecretStatus> = Vec::new();
        for candidate in hook
            .verifier
            .iter()
            .flat_map(|verifier| verifier.secrets().listed())
        {
            if shown.iter().any(|known| *known.name == **candidate.name()) {
                continue;
            }
            let at = matched
                .iter()
                .position(|(name, _)| name == candidate.name())
                .map(|place| matched.swap_remove(place).1);
            shown.push(secret(candidate.name(), at, candidate.expires()));
        }
        shown.extend(
            matched
                .into_iter()
                .map(|(name, at)| secret(&name, Some(at), None)),
        );
        shown
    }
}

fn action(action: &Action) -> &'static str {
    match action {
        Action::Forward(_) => "forward",
        Action::Queue => "queue",
    }
}

fn mode(hook: &WebhookRoute, dates: &Dates) -> &'static str {
    report::mode(hook.verifier.is_some(), hook.observes(dates))
}

fn secret(name: &str, at: Option<SystemTime>, expires: Option<SystemTime>) -> SecretStatus {
    SecretStatus {
        name: name.to_owned(),
        last_match_at: at.map(rfc3339),
        expires: expires.map(rfc3339),
    }
}

fn config(snapshot: &Snapshot, reloader: &Reloader, now: SystemTime) -> ConfigStatus {
    let state = reloader.state();
    ConfigStatus {
        generation: snapshot.generation,
        hash: snapshot.hash.clone(),
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

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

impl Source for Operator {
    fn ready(&self) -> bool {
        self.gate.is_ready()
    }

    fn metrics(&self) -> String {
        let (ledger, now, snapshot) = (
            self.gate.store.counts(),
            self.gate.clock.now(),
            self.gate.snapshot(),
        );
        let dates = self.gate.dates(now.mono);
        let (counts, names) = self.gate.counts();
        let live = self.gate.live.load();
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
        self.gate.telemetry.metrics_text(&Gauges {
            paused: snapshot
                .hooks
                .iter()
                .map(|hook| (Arc::clone(&hook.name), self.pause(&hook.name).is_some()))
                .collect(),
            waiting: of(|of| of.waiting),
            dead: of(|of| of.dead),
            cancelled: of(|of| of.cancelled),
            store_bytes: counts.disk,
            store_writes_waiting: count(counts.waiting),
            late_attempts: counts.late,
            hash: snapshot.hash.clone(),
            enforcing: snapshot
                .hooks
                .iter()
                .map(|hook| (Arc::clone(&hook.name), hook.enforces(&dates)))
                .collect(),
            ledger_entries: count(ledger.committed),
            ledger_bytes: count(ledger.bytes),
            forgotten_early: ledger.forgotten_early,
            ledger_unsaved: count(ledger.unsaved),
            in_flight_bytes: count(self.gate.budget.held()),
            connections: count(self.gate.lifecycle.connections.open()),
            breakers: self
                .gate
                .clients()
                .iter()
                .map(|c| {
                    (
                        Arc::clone(&c.policy().name),
                        is_open(c.breaker().state(now.mono)),
                    )
                })
                .collect(),
            handlers: live
                .hooks()
                .map(|r| {
                    (
                        Arc::clone(&r.hook.name),
                        is_open(r.upstream.handler().state(now.mono)),
                    )
                })
                .collect(),
            stale_secrets: count(self.reloader.state().stale_secrets.len()),
            accept_errors: self.gate.lifecycle.connections.accept_errors(),
            turned_away: self.gate.lifecycle.connections.turned_away(),
            stale_certificates: count(self.reloader.state().stale_certificates.len()),
            certificates: snapshot
                .certificates
                .iter()
                .flat_map(CertificateUse::ends)
                .collect(),
            store_alarm: self.alarm().is_some(),
        })
    }

    fn status(&self) -> Status {
        let (snapshot, now) = (self.gate.snapshot(), self.gate.clock.now());
        let config = config(&snapshot, &self.reloader, now.wall);
        let (ledger, skew) = (self.gate.store.counts(), self.gate.telemetry.skew());
        let upstream = |client: &Arc<crate::upstream::client::Client>| UpstreamStatus {
            name: client.policy().name.to_string(),
            url: render::url(client.policy()),
            breaker: breaker(client.breaker().state(now.mono)).to_owned(),
        };
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: now
                .mono
                .saturating_duration_since(self.started.mono)
                .as_secs(),
            ready: self.gate.is_ready(),
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
                jumped: ledger.clock_jump,
            },
            ledger: LedgerStatus {
                entries: count(ledger.committed),
                bytes: count(ledger.bytes),
                capacity: count(snapshot.store.ledger_entries),
                forgotten_early: ledger.forgotten_early,
                unsaved: count(ledger.unsaved),
            },
            store: self.store(&snapshot),
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

    fn refusals(&self, limit: usize) -> Vec<RecentRefusal> {
        self.gate.telemetry.recent(limit)
    }

    fn report(&self) -> Report {
        let now = self.gate.clock.now();
        let dates = self.gate.dates(now.mono);
        let route = |hook: &Arc<WebhookRoute>| {
            let seen = self.gate.telemetry.observation(&hook.name);
            RouteReport::new(
                &hook.name,
                mode(hook, &dates),
                hook.observe_until,
                seen.as_ref(),
            )
        };
        Report {
            now: rfc3339(now.wall),
            routes: self.gate.snapshot().hooks.iter().map(route).collect(),
        }
    }

    fn desk(&self) -> Option<Arc<dyn Desk>> {
        self.desk.clone().map(|desk| desk as _)
    }

    fn reload(&self) -> Reloading<'_> {
        Box::pin(self.reloader.reload())
    }

    fn tail(&self, after: Option<u64>, most: usize) -> Tailed {
        self.gate.telemetry.tail(after, most)
    }

    fn run(&self) -> u64 {
        self.gate.telemetry.run()
    }

    fn stop_accepting(&self) {
        self.gate.stop_accepting();
    }

    fn drain(&self) -> Draining<'_> {
        Box::pin(async {
            // before the store is asked: what ends meanwhile is in neither else
            let in_flight = count(self.gate.deliveries_in_flight());
            let counts = self
                .gate
                .store
                .totals()
                .await
                .map_err(|error| error.to_string())?;
            let mut sum = StoredCounts::default();
            counts.targets.iter().for_each(|of| sum.add(of));
            Ok(Drain {
                accepting: self.gate.accepts(),
                waiting: sum.waiting,
                in_flight,
                dead: sum.dead,
                cancelled: sum.cancelled,
            })
        })
    }
}

fn is_open(state: Shown) -> bool {
    matches!(state, Shown::Open { .. })
}

fn breaker(state: Shown) -> &'static str {
    match state {
        Shown::Closed { .. } => "closed",
        Shown::Open { .. } => "open",
        Shown::HalfOpen => "half_open",
    }
}
