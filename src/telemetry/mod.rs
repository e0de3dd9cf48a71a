//! Logs, metrics and recent refusals of requests. Each request has one record, from which all of them are made.
mod alarms;
mod attempts;
pub mod counters;
mod event_line;
mod expose;
mod histograms;
mod json_line;
mod line;
pub mod log;
mod log_policy;
mod observed;
mod outcome;
mod recent;
mod record;
mod sending;
mod shown;
mod sink;
mod tail;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};
use prometheus::Histogram;

use crate::alarm::Alarm;
use crate::clock::{Clock, Now};
use crate::telemetry::counters::{EndedAt, NO_ROUTE, RouteCounters};
pub use crate::telemetry::counters::{Hour, LastRefusal, SecretCounters};
pub use alarms::RouteSums;
pub use attempts::{After, AttemptEvent};
pub use expose::{
    Distribution, FleetGauges, Gauges, QuarantineGauges, SecretGauge, SendingGauges,
    SharedStoreGauges,
};
use histograms::Histograms;
pub use log_policy::{LogFormat, LogPolicy, LogRequests};
pub use observed::{Observation, Verdict, WouldRefuse};
use outcome::Outcome;
use recent::Recent;
pub use recent::{REMEMBERED, RefusedRequest};
pub use record::{Acceptance, Cut, Ended, Facts};
pub use sending::{EndpointAttempt, PublishResult, Sending, SendingSums};
use tail::Tail;
pub use tail::{TailEntry, TailEvent, Tailed};
use writer::Lines;

/// Signed times that the skew is computed from.
const SKEW_SAMPLES: usize = 256;

/// The distance of recent signed times from the gateway's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Skew {
    /// The median, in seconds; negative: providers are ahead. 0 without samples.
    pub seconds: f64,
    /// Of how many requests.
    pub samples: usize,
}

/// All telemetry of the gateway. Shared by every request; survives reloads.
pub struct Telemetry {
    clock: Arc<dyn Clock>,
    began: Instant,
    lines: Lines,
    routes: RwLock<HashMap<Arc<str>, Arc<RouteCounters>>>,
    unrouted: RouteCounters,
    upstreams: RwLock<HashMap<Arc<str>, Histogram>>,
    histograms: Histograms,
    recent: Recent,
    skews: Mutex<Skews>,
    lost_claims: AtomicU64,
    attempts: attempts::Attempts,
    sending: Sending,
    /// Outcomes of deliveries that should have been recorded and were not.
    unrecorded: AtomicU64,
    config: ConfigState,
    tail: Tail,
    /// The alarms that are raised now.
    alarms: ArcSwap<Vec<Alarm>>,
}

#[derive(Debug, Default)]
struct Skews {
    milliseconds: Vec<i64>,
    next: usize,
}

#[derive(Debug, Default)]
struct ConfigState {
    generation: AtomicU64,
    loaded_ms: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    last_failed: AtomicBool,
}

impl Telemetry {
    /// Returns the counts of sending.
    pub fn sending(&self) -> &Sending {
        &self.sending
    }

    /// Creates telemetry that writes log lines to `out`, from a thread of its own.
    pub fn new(
        policy: LogPolicy,
        clock: Arc<dyn Clock>,
        out: impl Write + Send + 'static,
    ) -> Arc<Self> {
        let (histograms, tail) = (Histograms::new(), Tail::new(clock.now()));
        Arc::new(Self {
            tail,
            began: clock.mono(),
            lines: Lines::new(policy, Arc::clone(&clock), out),
            clock,
            routes: RwLock::default(),
            unrouted: histograms.of_route(NO_ROUTE),
            upstreams: RwLock::default(),
            histograms,
            recent: Recent::default(),
            skews: Mutex::default(),
            lost_claims: AtomicU64::new(0),
            attempts: attempts::Attempts::default(),
            sending: Sending::new(),
            unrecorded: AtomicU64::new(0),
            config: ConfigState::default(),
            alarms: ArcSwap::default(),
        })
    }

    /// Begins the record of a request.
    pub fn begin(self: &Arc<Self>, facts: Facts) -> Record {
        Record {
            telemetry: Arc::clone(self),
            facts,
            closed: false,
        }
    }

    /// Records that a config is in use: the first one, or a reload.
    pub fn reloaded(&self, generation: u64, loaded_at: SystemTime) {
        if self.config.generation.swap(generation, Ordering::Relaxed) > 0 {
            self.config.accepted.fetch_add(1, Ordering::Relaxed);
        }
        self.config
            .loaded_ms
            .store(crate::clock::unix_ms(loaded_at), Ordering::Relaxed);
        self.config.last_failed.store(false, Ordering::Relaxed);
    }

    /// Records that a reload was refused.
    pub fn reload_refused(&self) {
        self.config.refused.fetch_add(1, Ordering::Relaxed);
        self.config.last_failed.store(true, Ordering::Relaxed);
    }

    /// Follows a new log policy.
    pub fn set_policy(&self, policy: LogPolicy) {
        self.lines.set_policy(policy);
    }

    /// The last `limit` refusals, newest first; at most [`REMEMBERED`].
    pub fn recent(&self, limit: usize) -> Vec<RefusedRequest> {
        self.recent.last(limit)
    }

    /// Returns the counts of the last hour on a route.
    pub fn hour(&self, route: &str) -> Hour {
        let minute = self.minute(self.clock.now());
        self.find(route)
            .map(|counters| counters.hour(minute))
            .unwrap_or_default()
    }

    /// Returns the last refused request of a route that was not authentic.
    pub fn last_unauthentic(&self, route: &str) -> Option<LastRefusal> {
        self.find(route)
            .and_then(|counters| counters.last_unauthentic())
    }

    /// Retries of a route that were accepted since the start although they were older than the tolerance.
    pub fn late_retries(&self, route: &str) -> u64 {
        self.find(route)
            .map_or(0, |counters| counters.late_retries())
    }

    /// Returns the secrets that matched on a route since the start, by name.
    pub fn secrets(&self, route: &str) -> Vec<(Arc<str>, SecretCounters)> {
        self.find(route)
            .map(|counters| counters.secrets())
            .unwrap_or_default()
    }

    /// Routes that observe from now on, or go on to; all others enforce.
    pub fn observe(&self, routes: &[&Arc<str>]) {
        let at = self.clock.now().wall;
        for name in routes {
            self.route(name).observe(at);
        }
        let known = self.routes.read();
        known
            .iter()
            .filter(|(name, _)| !routes.contains(name))
            .for_each(|(_, counters)| counters.enforce());
    }

    /// Returns the observation of a route since it observes. `None`: it enforces.
    pub fn observation(&self, route: &str) -> Option<Observation> {
        self.find(route).and_then(|counters| counters.observation())
    }

    /// Returns the distance of recent signed times from the gateway's clock.
    pub fn skew(&self) -> Skew {
        let mut sorted = self.skews.lock().milliseconds.clone();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
        let size = Duration::from_millis(median.unsigned_abs()).as_secs_f64();
        Skew {
            seconds: if median < 0 { -size } else { size },
            samples: sorted.len(),
        }
    }

    /// Waits, for a few seconds at most, until all log lines so far are written.
    pub fn flush(&self) {
        self.lines.flush();
    }

    /// Records an attempt of a queued delivery.
    pub fn attempted(&self, event: &AttemptEvent<'_>) {
        self.attempts.count(event);
        self.upstream(event.upstream)
            .observe(event.took.as_secs_f64());
        let now = self.clock.now();
        self.lines.attempt(event, now);
        self.tail.attempt(event, now);
    }

    /// Returns at most `most` lines after the one of number `after`. Without `after`, starts watching from now on.
    pub fn tail(&self, after: Option<u64>, most: usize) -> Tailed {
        self.tail.look(after, most, self.clock.now())
    }

    /// Returns the number of this run. The numbers of [`Self::tail`] begin again with each run.
    pub fn run(&self) -> u64 {
        self.tail.run()
    }

    /// Counts an outcome that the route's `record` asks for and that could not be stored.
    pub fn not_recorded(&self) {
        self.unrecorded.fetch_add(1, Ordering::Relaxed);
    }

    fn settle(&self, facts: &Facts, ended: Ended) {
        let now = self.clock.now();
        let outcome = Outcome::of(ended);
        let took = now.mono.saturating_duration_since(facts.received_mono);
        let when = EndedAt {
            minute: self.minute(now),
            wall: now.wall,
            mono: now.mono,
            took,
        };
        match &facts.route {
            Some(route) => self.route(route).count(facts, outcome, when),
            None => self.unrouted.count(facts, outcome, when),
        }
        if let (Some(upstream), Some(took)) = (&facts.upstream, facts.upstream_time) {
            self.upstream(upstream).observe(took.as_secs_f64());
        }
        if let Some(skew) = facts.skew_ms {
            self.skews.lock().push(skew);
        }
        if facts.lost_claim {
            self.lost_claims.fetch_add(1, Ordering::Relaxed);
        }
        if let Ended::Refused { refusal, status } = ended {
            self.recent.push(facts, refusal.code(), status, now.wall);
        }
        self.lines.request(facts, ended, now);
        self.tail.request(facts, ended, took, now);
    }

    fn minute(&self, now: Now) -> u64 {
        now.mono.saturating_duration_since(self.began).as_secs() / 60
    }

    fn find(&self, name: &str) -> Option<Arc<RouteCounters>> {
        self.routes.read().get(name).cloned()
    }

    fn route(&self, name: &Arc<str>) -> Arc<RouteCounters> {
        if let Some(counters) = self.find(name) {
            return counters;
        }
        let mut routes = self.routes.write();
        let counters = routes
            .entry(Arc::clone(name))
            .or_insert_with(|| Arc::new(self.histograms.of_route(name)));
        Arc::clone(counters)
    }

    fn upstream(&self, name: &Arc<str>) -> Histogram {
        if let Some(seconds) = self.upstreams.read().get(name) {
            return seconds.clone();
        }
        let mut upstreams = self.upstreams.write();
        let make = || self.histograms.upstream_seconds.with_label_values(&[name]);
        upstreams
            .entry(Arc::clone(name))
            .or_insert_with(make)
            .clone()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Skews {
    fn push(&mut self, skew: i64) {
        match self.milliseconds.get_mut(self.next) {
            Some(oldest) => *oldest = skew,
            None => self.milliseconds.push(skew),
        }
        self.next = (self.next + 1) % SKEW_SAMPLES;
    }
}

/// The open record of one request. Dropped without [`Record::close`] it counts as abandoned.
#[derive(Debug)]
#[must_use = "a record that is dropped counts as abandoned"]
pub struct Record {
    telemetry: Arc<Telemetry>,
    facts: Facts,
    closed: bool,
}

impl Record {
    /// Returns the facts known so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Returns the facts known so far, to add to them.
    pub fn facts_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }

    /// Closes the record of a request that ended.
    pub fn close(mut self, ended: Ended) {
        self.closed = true;
        self.telemetry.settle(&self.facts, ended);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.closed {
            self.telemetry.settle(&self.facts, Ended::Abandoned);
        }
    }
}
