//! The gate: what outlives a reload, and the files that turn a connection into a decision.
//!
//! `listener` accepts, `edge` speaks pingora, `pipeline` is the spine, `live` ties a snapshot to the state below, `pass` keeps what a
//! stream needs after the spine has let it through.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};

use crate::clock::{Clock, ConfigTime, Dates, Now};
use crate::config::snapshot::{Route, Snapshot};
use crate::dedupe::claim::Waiters;
use crate::dedupe::key::{BodyKey, policy_key};
use crate::store::archive::Counts;
use crate::store::embedded::drift::Drift;
use crate::store::queue::TargetId;
use crate::store::{Key, Store, StoreError};
use crate::telemetry::Telemetry;
use crate::upstream::client::{Client, Unusable};

pub mod active_config;
pub mod admin_source;
pub(crate) mod admit;
pub mod alarm_watch;
mod answer;
pub mod body;
pub mod budget;
mod buffer;
mod edge;
mod enqueue;
mod forward;
#[doc(hidden)]
pub mod fuzzing;
mod head;
pub(crate) mod late;
pub(crate) mod numbers;
mod pass;
pub mod pipeline;
pub mod reload;
pub mod serve;

use crate::activity::Activity;
use crate::deliver::Worker;
use crate::gateway::active_config::{Live, LiveHook, LivePass, LiveRoute};
pub use crate::listener::connection_limits::{Away, Connections};
use admit::Limits;
use budget::Budget;
use numbers::{Generation, numbers_of};

/// Why a config cannot be run on.
#[derive(Debug, thiserror::Error)]
pub enum CannotRun {
    /// An upstream's client cannot be made.
    #[error(transparent)]
    Upstream(#[from] Unusable),
    /// The store does not give the numbers of its routes.
    #[error("the store does not take the names of the routes: {0}")]
    Store(#[from] StoreError),
}

/// What outlives a reload, keyed by name.
#[derive(Debug)]
pub struct Gate {
    /// Tells the time.
    pub(crate) clock: Arc<dyn Clock>,
    /// The time by which dates of the config are judged.
    pub(crate) config_time: Arc<ArcSwap<ConfigTime>>,
    /// Logs and counts.
    pub(crate) telemetry: Arc<Telemetry>,
    /// What requests run on now.
    pub(crate) live: ArcSwap<Live>,
    /// The ledger of delivery IDs, and the queue.
    pub(crate) store: Arc<dyn Store>,
    /// The state that tells duplicates apart.
    pub(crate) ids: Ids,
    /// The worker of the queue.
    pub(crate) worker: Arc<Worker>,
    /// Rate buckets.
    pub(crate) limits: Limits,
    /// Bytes in flight.
    pub(crate) budget: Arc<Budget>,
    /// Bytes of streamed answers whose senders do not read.
    pub(crate) answers: Arc<Budget>,
    /// Upstream clients with their pools and breakers.
    pub(crate) upstreams: Mutex<HashMap<Arc<str>, Arc<Client>>>,
    /// Whether it is ready, draining, and what is in flight.
    pub(crate) lifecycle: Lifecycle,
}

/// The hash of bodies, and the duplicates that wait.
#[derive(Debug)]
pub(crate) struct Ids {
    /// What bodies are hashed with.
    pub(crate) bodies: BodyKey,
    /// Duplicates that wait for the one in flight.
    pub(crate) waiters: Waiters,
}

/// Where the gate is between start and exit.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    pub(crate) ready: AtomicBool,
    /// Answers close their connections.
    pub(crate) draining: AtomicBool,
    /// Webhooks are refused: what is queued goes out, and nothing comes in.
    pub(crate) closed: AtomicBool,
    /// Requests and attempts in flight, and whether anything new may begin.
    pub(crate) activity: Arc<Activity>,
    /// Of the requests in flight, streams of other traffic.
    pub(crate) streams: AtomicUsize,
    pub(crate) connections: Arc<Connections>,
}

/// A stream of other traffic in flight; ends on drop.
#[derive(Debug)]
struct InStream(Arc<Gate>);

impl InStream {
    fn begin(gate: Arc<Gate>) -> Self {
        gate.lifecycle.streams.fetch_add(1, Ordering::Relaxed);
        Self(gate)
    }
}

impl Drop for InStream {
    fn drop(&mut self) {
        self.0.lifecycle.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    /// A gate that runs on `snapshot`, with the numbers that the store has for its routes.
    ///
    /// # Errors
    /// If an upstream's client cannot be made, or the store does not give the numbers.
    pub async fn new(
        snapshot: Arc<Snapshot>,
        clock: Arc<dyn Clock>,
        telemetry: Arc<Telemetry>,
        store: Arc<dyn Store>,
    ) -> Result<Self, CannotRun> {
        let config_time = Arc::new(ArcSwap::from_pointee(ConfigTime::new(clock.now())));
        let lifecycle = Lifecycle::default();
        let worker = Worker::new(
            Arc::clone(&store),
            snapshot.store.path.is_some(),
            Arc::clone(&clock),
            Arc::clone(&config_time),
            Arc::clone(&telemetry),
            Arc::clone(&lifecycle.activity),
        );
        let clients = clients_of(&snapshot, &HashMap::new(), &clock)?;
        let numbers = numbers_of(&*store, &snapshot).await?;
        let limits = Limits::new(snapshot.limits.refused_per_client);
        let budget = Budget::new(snapshot.limits.in_flight_bytes);
        let answers = Budget::new(snapshot.limits.in_flight_bytes / 2);
        let mut upstreams = HashMap::new();
        let live = live_of(
            snapshot,
            clients,
            &numbers,
            &limits,
            &mut upstreams,
            &worker,
        );
        telemetry.observe(&observing(&live.snapshot));
        store.keep(&kept(&live, &store.hash_key()));
        Ok(Self {
            config_time,
            clock,
            telemetry,
            live: ArcSwap::from_pointee(live),
            ids: Ids {
                bodies: BodyKey::of(&store.hash_key()),
                waiters: Waiters::default(),
            },
            store,
            worker: Arc::new(worker),
            limits,
            budget,
            answers,
            upstreams: Mutex::new(upstreams),
            lifecycle,
        })
    }

    /// Runs on `snapshot` from the next request on; requests in flight end on theirs.
    ///
    /// # Errors
    /// If an upstream's client cannot be made, or the store does not give the numbers of its routes; then nothing has changed.
    pub async fn swap(&self, snapshot: &Arc<Snapshot>) -> Result<(), CannotRun> {
        let clients = clients_of(snapshot, &self.upstreams(), &self.clock)?;
        let numbers = numbers_of(&*self.store, snapshot).await?;
        let live = live_of(
            Arc::clone(snapshot),
            clients,
            &numbers,
            &self.limits,
            &mut self.upstreams(),
            &self.worker,
        );
        self.limits.set_refused(snapshot.limits.refused_per_client);
        self.budget.set_limit(snapshot.limits.in_flight_bytes);
        self.answers.set_limit(snapshot.limits.in_flight_bytes / 2);
        self.store.keep(&kept(&live, &self.store.hash_key()));
        self.live.store(Arc::new(live));
        self.telemetry.observe(&observing(snapshot));
        Ok(())
    }

    /// Returns the time by which dates of the config are judged.
    pub(crate) fn dates(&self, now: Instant) -> Dates {
        self.config_time.load().read(now)
    }

    /// Lets the dates of the config follow the wall clock, if that has held. What has ended stays ended.
    fn follow_wall_clock(&self, drift: &mut Drift, now: Now) {
        if let Some(followed) =
            drift.lead(&self.config_time.load(), now, self.snapshot().end_dates())
        {
            self.config_time.store(Arc::new(followed));
        }
    }

    /// Returns the worker of the queue, to be run beside the gate.
    pub fn worker(&self) -> Arc<Worker> {
        Arc::clone(&self.worker)
    }

    /// The config that requests run on now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.live.load().snapshot)
    }

    /// Whether senders should be sent here.
    pub fn is_ready(&self) -> bool {
        self.lifecycle.ready.load(Ordering::Relaxed)
    }

    /// Takes no more deliveries, and is not ready: what is queued goes out. For good: a gate that was told so is about to be stopped.
    pub fn stop_accepting(&self) {
        self.lifecycle.ready.store(false, Ordering::Relaxed);
        self.lifecycle.closed.store(true, Ordering::Relaxed);
    }

    /// Whether it takes deliveries.
    pub fn accepts(&self) -> bool {
        !self.lifecycle.closed.load(Ordering::Relaxed)
    }

    /// Whether nothing more is begun.
    fn is_leaving(&self) -> bool {
        self.lifecycle.activity.is_leaving()
    }

    /// Whether the gate is on its way out: answers close their connections.
    fn is_draining(&self) -> bool {
        self.lifecycle.draining.load(Ordering::Relaxed)
    }

    fn upstreams(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Client>>> {
        self.upstreams.lock()
    }

    /// Returns what lies in the store, a second ago, with the names of the routes whose deliveries have these numbers.
    fn counts(&self) -> (Arc<Counts>, HashMap<TargetId, Arc<str>>) {
        let live = self.live.load();
        let names = live
            .hooks()
            .filter_map(|route| route.destination.as_ref().zip(Some(&route.hook.name)))
            .flat_map(|(app, name)| app.numbers().iter().map(|id| (*id, Arc::clone(name))))
            .collect();
        (self.worker.counts(), names)
    }

    /// Returns how many deliveries wait for a route that the config has no more. Alarms that wait for a webhook to go to are none.
    fn parked(&self) -> u64 {
        let (counts, names) = self.counts();
        let live = self.live.load();
        let parked = counts
            .targets
            .iter()
            .filter(|of| !names.contains_key(&of.target) && !live.all_alarms.contains(&of.target));
        parked.map(|of| of.waiting).sum()
    }

    /// The clients of the upstreams of the current config, by name.
    fn clients(&self) -> Vec<Arc<Client>> {
        let upstreams = self.upstreams();
        self.snapshot()
            .upstreams
            .keys()
            .filter_map(|name| upstreams.get(name).cloned())
            .collect()
    }

    /// Requests and tries under way but for streams of other traffic, of which no delivery comes. Rather too many than too few.
    fn deliveries_in_flight(&self) -> usize {
        let streams = || self.lifecycle.streams.load(Ordering::SeqCst);
        let before = streams();
        let all = self.lifecycle.activity.in_flight();
        all.saturating_sub(before.min(streams()))
    }

    /// Requests being served now.
    fn in_flight(&self) -> usize {
        self.lifecycle.activity.in_flight()
    }
}

/// The routes with late retries, each with the key of what decides how it is remembered.
fn kept(live: &Live, hash_key: &[u8; 16]) -> Vec<(Arc<str>, Key)> {
    let policy = |route: &LiveRoute| match route {
        LiveRoute::Hook(route) => Some((
            Arc::clone(&route.ledger),
            policy_key(hash_key, &route.hook.ledger_policy()?),
        )),
        LiveRoute::Pass(_) => None,
    };
    live.routes.iter().filter_map(policy).collect()
}

/// The routes with `mode: observe`, over or not.
fn observing(snapshot: &Snapshot) -> Vec<&Arc<str>> {
    snapshot
        .hooks
        .iter()
        .filter(|hook| hook.observe_until.is_some())
        .map(|hook| &hook.name)
        .collect()
}

/// The clients of the upstreams of a config, by name.
type Clients = BTreeMap<Arc<str>, Arc<Client>>;

/// Makes the clients of a config. Those whose address is unchanged keep their pools and breakers, and follow their new policy only once it runs.
fn clients_of(
    snapshot: &Snapshot,
    known: &HashMap<Arc<str>, Arc<Client>>,
    clock: &Arc<dyn Clock>,
) -> Result<Clients, Unusable> {
    let mut current = Clients::new();
    for (name, policy) in &snapshot.upstreams {
        let client = match known.get(name) {
            Some(client) => client.with_policy(Arc::clone(policy))?,
            None => Client::new(Arc::clone(policy), Arc::clone(clock))?,
        };
        current.insert(Arc::clone(name), Arc::new(client));
    }
    Ok(current)
}

/// Ties `snapshot` to its clients, its numbers and its buckets. Nothing fails here.
fn live_of(
    snapshot: Arc<Snapshot>,
    clients: Clients,
    numbers: &Generation,
    limits: &Limits,
    upstreams: &mut HashMap<Arc<str>, Arc<Client>>,
    worker: &Worker,
) -> Live {
    clients.values().for_each(|client| client.follow_policy());
    let routes = snapshot
        .routes
        .iter()
        .zip(&numbers.routes)
        .filter_map(|(route, numbers)| match route {
            Route::Webhook(hook) => {
                let upstream = clients
                    .get(&hook.forward.upstream.name)?
                    .for_route(&hook.name);
                let limits = limits.of(numbers.number, &hook.rate_limits);
                let destination = worker.app_of(hook, &upstream, numbers);
                Some(LiveRoute::Hook(Arc::new(LiveHook {
                    hook: Arc::clone(hook),
                    ledger: Arc::clone(&numbers.ledger),
                    limits,
                    upstream,
                    destination,
                })))
            }
            Route::Pass(pass) => {
                let upstream = Arc::clone(clients.get(&pass.upstream.name)?);
                let limits = limits.of(numbers.number, &pass.rate_limits);
                let guards = snapshot.guards.of(&pass.upstream.address.app());
                Some(LiveRoute::Pass(Arc::new(LivePass {
                    pass: Arc::clone(pass),
                    limits,
                    upstream,
                    guards,
                })))
            }
        });
    let routes: Vec<LiveRoute> = routes.collect();
    upstreams.extend(clients);
    let apps = routes.iter().filter_map(LiveRoute::destination).cloned();
    worker.follow(&snapshot, apps.collect(), numbers.alarms);
    Live {
        snapshot,
        routes,
        all_alarms: numbers.all_alarms.clone(),
    }
}
