//! The gate: what outlives a reload, and the files that turn a connection into a decision.
//!
//! `listener` accepts, `edge` speaks pingora, `pipeline` is the spine, `live` ties a snapshot to the state below, `pass` keeps what a
//! stream needs after the spine has let it through.
use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::clock::Clock;
use crate::config::snapshot::{Route, Snapshot};
use crate::dedupe::claim::Waiters;
use crate::store::Ledger;
use crate::telemetry::Telemetry;
use crate::upstream::client::{Client, Unusable};

mod admit;
mod answer;
pub mod body;
pub mod budget;
mod buffer;
mod client;
mod connections;
mod edge;
mod frames;
mod framing;
#[doc(hidden)]
pub mod fuzzing;
mod guarded;
mod head;
pub mod headers;
mod listener;
mod live;
pub mod operator;
mod pass;
pub mod pipeline;
mod proxy_protocol;
pub mod reload;
mod sender;
pub mod serve;
pub mod unix;

use admit::Limits;
use budget::Budget;
pub use connections::{Away, Connections};
use live::{Live, LiveHook, LivePass, LiveRoute};

/// What outlives a reload, keyed by name.
#[derive(Debug)]
pub struct Gate {
    /// Tells the time.
    pub(crate) clock: Arc<dyn Clock>,
    /// Logs and counts.
    pub(crate) telemetry: Arc<Telemetry>,
    /// What requests run on now.
    live: ArcSwap<Live>,
    /// Delivery IDs.
    ledger: Arc<dyn Ledger>,
    /// Duplicates that wait for the one in flight.
    waiters: Arc<Waiters>,
    /// Rate buckets.
    limits: Limits,
    /// Bytes in flight.
    budget: Arc<Budget>,
    /// Upstream clients with their pools and breakers.
    upstreams: Mutex<HashMap<Arc<str>, Arc<Client>>>,
    /// Whether it is ready, draining, and what is in flight.
    lifecycle: Lifecycle,
}

/// Where the gate is between start and exit.
#[derive(Debug, Default)]
struct Lifecycle {
    ready: AtomicBool,
    draining: AtomicBool,
    in_flight: AtomicUsize,
    connections: Arc<Connections>,
}

/// A request in flight; ends on drop. Borrowed where the request ends within a function, shared where it goes on as a stream.
#[derive(Debug)]
struct InFlight<G: Deref<Target = Gate>>(G);

impl<G: Deref<Target = Gate>> InFlight<G> {
    fn begin(gate: G) -> Self {
        gate.lifecycle.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(gate)
    }
}

impl<G: Deref<Target = Gate>> Drop for InFlight<G> {
    fn drop(&mut self) {
        self.0.lifecycle.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    /// A gate that runs on `snapshot`.
    ///
    /// # Errors
    /// If an upstream's client cannot be made.
    pub fn new(
        snapshot: Arc<Snapshot>,
        clock: Arc<dyn Clock>,
        telemetry: Arc<Telemetry>,
        ledger: Arc<dyn Ledger>,
    ) -> Result<Self, Unusable> {
        let limits = Limits::new(snapshot.limits.refused_per_client);
        let budget = Budget::new(snapshot.limits.in_flight_bytes);
        let mut upstreams = HashMap::new();
        let live = live_of(snapshot, &limits, &mut upstreams, &clock)?;
        telemetry.observe(&observing(&live.snapshot));
        Ok(Self {
            clock,
            telemetry,
            live: ArcSwap::from_pointee(live),
            ledger,
            waiters: Arc::default(),
            limits,
            budget,
            upstreams: Mutex::new(upstreams),
            lifecycle: Lifecycle::default(),
        })
    }

    /// Runs on `snapshot` from the next request on; requests in flight end on theirs.
    ///
    /// # Errors
    /// If an upstream's client cannot be made; then nothing has changed.
    pub fn swap(&self, snapshot: &Arc<Snapshot>) -> Result<(), Unusable> {
        let mut upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        let live = live_of(Arc::clone(snapshot), &self.limits, &mut upstreams, &self.clock)?;
        self.limits.set_refused(snapshot.limits.refused_per_client);
        self.budget.set_limit(snapshot.limits.in_flight_bytes);
        self.live.store(Arc::new(live));
        self.telemetry.observe(&observing(snapshot));
        Ok(())
    }

    /// The config that requests run on now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.live.load().snapshot)
    }

    /// Whether senders should be sent here.
    pub fn is_ready(&self) -> bool {
        self.lifecycle.ready.load(Ordering::Relaxed)
    }

    /// Whether the gate is on its way out: answers close their connections.
    fn is_draining(&self) -> bool {
        self.lifecycle.draining.load(Ordering::Relaxed)
    }

    /// The clients of the upstreams of the current config, by name.
    fn clients(&self) -> Vec<Arc<Client>> {
        let upstreams = self.upstreams.lock().unwrap_or_else(PoisonError::into_inner);
        self.snapshot().upstreams.keys().filter_map(|name| upstreams.get(name).cloned()).collect()
    }

    /// Writes the log lines that wait.
    pub fn flush(&self) {
        self.telemetry.flush();
    }

    /// Requests being served now.
    fn in_flight(&self) -> usize {
        self.lifecycle.in_flight.load(Ordering::Relaxed)
    }
}

/// The routes with `mode: observe`, over or not.
fn observing(snapshot: &Snapshot) -> Vec<&Arc<str>> {
    snapshot.hooks.iter().filter(|hook| hook.observe_until.is_some()).map(|hook| &hook.name).collect()
}

/// Ties `snapshot` to buckets and clients. Clients that were there keep their pools and breakers; new ones are made.
fn live_of(
    snapshot: Arc<Snapshot>,
    limits: &Limits,
    upstreams: &mut HashMap<Arc<str>, Arc<Client>>,
    clock: &Arc<dyn Clock>,
) -> Result<Live, Unusable> {
    let mut current = BTreeMap::new();
    for (name, policy) in &snapshot.upstreams {
        let client = match upstreams.get(name) {
            Some(client) => client.with_policy(Arc::clone(policy))?,
            None => Client::new(Arc::clone(policy), Arc::clone(clock))?,
        };
        current.insert(Arc::clone(name), Arc::new(client));
    }
    // nothing fails from here on
    current.values().for_each(|client| client.follow_policy());
    let routes = snapshot.routes.iter().filter_map(|route| match route {
        Route::Hook(hook) => {
            let upstream = Arc::clone(current.get(&hook.forward.upstream.name)?);
            Some(LiveRoute::Hook(LiveHook { hook: Arc::clone(hook), limits: limits.of(&hook.name, &hook.rate_limits), upstream }))
        }
        Route::Pass(pass) => {
            let upstream = Arc::clone(current.get(&pass.upstream.name)?);
            let limits = limits.of(&pass.name, &pass.rate_limits);
            let guards = snapshot.guards.of(&pass.upstream);
            Some(LiveRoute::Pass(Arc::new(LivePass { pass: Arc::clone(pass), limits, upstream, guards })))
        }
    });
    let routes = routes.collect();
    upstreams.extend(current);
    Ok(Live { snapshot, routes })
}
