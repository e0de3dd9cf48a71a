//! The gate: the state that outlives a reload, and what swaps the config that requests run on.
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};

use crate::activity::Activity;
use crate::clock::{Clock, ConfigTime, Dates, Now};
use crate::config::snapshot::Snapshot;
use crate::dedupe::claim::Waiters;
use crate::dedupe::fallback::Fallback;
use crate::dedupe::key::BodyKey;
use crate::deliver::{Rules, Spool, Worker};
use crate::gateway::active_config::{self, ActiveConfig};
use crate::gateway::budget::Budget;
use crate::gateway::lifecycle::Lifecycle;
use crate::gateway::limits::Limits;
use crate::gateway::numbers::numbers_of;
use crate::gateway::secret_watch::{SecretWatch, Sources};
use crate::quarantine::Quarantine;
use crate::request::RequestId;
use crate::store::archive::Counts;
use crate::store::drift::Drift;
use crate::store::queue::TargetId;
use crate::store::{Ledger, Store, StoreError};
use crate::telemetry::Telemetry;
use crate::upstream::client::{Client, Unusable};
use crate::upstream::outside::Outside;

/// The file of the quarantine in the directory of this gateway.
const QUARANTINE_FILE: &str = "quarantine.db";

/// The reason why a config cannot be run on.
#[derive(Debug, thiserror::Error)]
pub enum CannotRun {
    /// An upstream's client cannot be made.
    #[error(transparent)]
    Upstream(#[from] Unusable),
    /// The store does not give the numbers of its routes.
    #[error("the store cannot record the names of the routes: {0}")]
    Store(#[from] StoreError),
}

/// The state that outlives a reload, keyed by name.
#[derive(Debug)]
pub struct Gate {
    /// The clock of the gateway.
    pub(crate) clock: Arc<dyn Clock>,
    /// The time by which dates of the config are judged.
    pub(crate) config_time: Arc<ArcSwap<ConfigTime>>,
    /// The log, the metrics and the recent refusals.
    pub(crate) telemetry: Arc<Telemetry>,
    /// The config that requests run on now.
    pub(crate) active: ArcSwap<ActiveConfig>,
    /// The ledger of delivery IDs, and the queue.
    pub(crate) store: Arc<dyn Store>,
    /// The local disk that takes deliveries while the store is away.
    pub(crate) spool: Option<Arc<Spool>>,
    /// The state by which duplicates are found.
    pub(crate) ids: Ids,
    /// The worker of the queue.
    pub(crate) worker: Arc<Worker>,
    /// The rate buckets.
    pub(super) limits: Limits,
    /// The memory of bodies in flight.
    pub(super) budget: Arc<Budget>,
    /// The memory of streamed responses that their clients do not read.
    pub(super) answers: Arc<Budget>,
    /// The upstream clients with their pools and breakers.
    pub(super) upstreams: Mutex<HashMap<Arc<str>, Arc<Client>>>,
    /// The refused requests that are kept.
    pub(crate) quarantine: Quarantine,
    /// Held while one request is released from quarantine, so that two calls never release the same one. Holds those that were released and could
    /// not be removed.
    pub(super) releasing: tokio::sync::Mutex<HashSet<RequestId>>,
    /// The state between start and exit, and the counts of what is in flight.
    pub(crate) lifecycle: Lifecycle,
    /// The matches of secrets.
    pub(super) secrets: SecretWatch,
}

/// The state by which duplicates are found.
#[derive(Debug)]
pub(crate) struct Ids {
    /// The key that bodies are hashed with.
    pub(crate) bodies: BodyKey,
    /// The duplicates that wait for the one in flight.
    pub(crate) waiters: Waiters,
    /// The ledger that decides.
    pub(crate) ledger: Arc<dyn Ledger>,
    /// The same ledger, if it may be away.
    pub(crate) fallback: Option<Arc<Fallback>>,
}

impl Ids {
    fn of(store: &Arc<dyn Store>, clock: &Arc<dyn Clock>) -> Self {
        let ledger = Arc::clone(store) as Arc<dyn Ledger>;
        let fallback = store.memory().map(|memory| {
            Arc::new(Fallback::new(
                Arc::clone(&ledger),
                memory,
                Arc::clone(clock),
            ))
        });
        Self {
            bodies: BodyKey::of(&store.hash_key()),
            waiters: Waiters::default(),
            ledger: match &fallback {
                Some(fallback) => Arc::clone(fallback) as Arc<dyn Ledger>,
                None => ledger,
            },
            fallback,
        }
    }
}

impl Gate {
    /// Returns a gate that runs on `snapshot`, with the numbers that the store has for its routes.
    ///
    /// # Errors
    /// If an upstream's client cannot be made, or the store does not give the numbers.
    pub async fn new(
        snapshot: Arc<Snapshot>,
        clock: Arc<dyn Clock>,
        telemetry: Arc<Telemetry>,
        store: Arc<dyn Store>,
        spool: Option<Arc<Spool>>,
    ) -> Result<Self, CannotRun> {
        let config_time = Arc::new(ArcSwap::from_pointee(ConfigTime::new(clock.now())));
        let lifecycle = Lifecycle::default();
        let worker = Worker::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            Arc::clone(&config_time),
            Arc::clone(&telemetry),
            Arc::clone(&lifecycle.activity),
            Arc::new(Outside::new(Arc::clone(&clock))?),
        );
        let clients = active_config::clients_of(&snapshot, &HashMap::new(), &clock)?;
        let numbers = numbers_of(&*store, &snapshot).await?;
        let limits = Limits::new(snapshot.limits.refused_per_client, Arc::clone(&store));
        let budget = Budget::new(snapshot.limits.in_flight_bytes);
        let answers = Budget::new(snapshot.limits.in_flight_bytes / 2);
        let mut upstreams = HashMap::new();
        let active = active_config::activate(
            snapshot,
            clients,
            &numbers,
            &limits,
            &mut upstreams,
            &worker,
        );
        active.deliver(&worker, &numbers);
        worker.endpoints().follow(rules(&active.snapshot));
        telemetry.observe(&observing(&active.snapshot));
        store.keep(&active.remembered(&store.hash_key()));
        let ids = Ids::of(&store, &clock);
        let own = active.snapshot.store.own_directory();
        let file = own.map(|directory| directory.join(QUARANTINE_FILE));
        let quarantine = Quarantine::new(file, Arc::clone(&clock));
        quarantine.follow(active.snapshot.webhooks.iter());
        Ok(Self {
            config_time,
            clock,
            telemetry,
            active: ArcSwap::from_pointee(active),
            ids,
            spool,
            store,
            worker: Arc::new(worker),
            limits,
            budget,
            answers,
            upstreams: Mutex::new(upstreams),
            quarantine,
            releasing: tokio::sync::Mutex::default(),
            lifecycle,
            secrets: SecretWatch::default(),
        })
    }

    /// Runs on `snapshot` from the next request on. Requests in flight end on the config that they began with.
    ///
    /// # Errors
    /// If an upstream's client cannot be made, or the store does not give the numbers of its routes; then nothing has changed.
    pub async fn swap(&self, snapshot: &Arc<Snapshot>) -> Result<(), CannotRun> {
        let clients = active_config::clients_of(snapshot, &self.upstreams(), &self.clock)?;
        let numbers = numbers_of(&*self.store, snapshot).await?;
        let active = active_config::activate(
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
        self.store.keep(&active.remembered(&self.store.hash_key()));
        let active = Arc::new(active);
        self.active.store(Arc::clone(&active));
        active.deliver(&self.worker, &numbers);
        self.worker.endpoints().follow(rules(snapshot));
        self.telemetry.observe(&observing(snapshot));
        self.quarantine.follow(snapshot.webhooks.iter());
        self.secrets.reloaded.notify_one();
        Ok(())
    }

    /// Returns the time by which dates of the config are judged.
    pub(crate) fn dates(&self, now: Instant) -> Dates {
        self.config_time.load().read(now)
    }

    /// Lets the dates of the config follow the wall clock once it has been steady. A date that has passed stays passed.
    pub(super) fn follow_wall_clock(&self, drift: &mut Drift, now: Now) {
        if let Some(followed) =
            drift.lead(&self.config_time.load(), now, self.snapshot().end_dates())
        {
            self.config_time.store(Arc::new(followed));
        }
    }

    /// Returns the parts that know of matches of secrets.
    pub(super) fn of_secrets(&self) -> Sources<'_> {
        Sources {
            telemetry: &self.telemetry,
            store: &*self.store,
            clock: &*self.clock,
        }
    }

    /// Returns the local disk that takes deliveries while the store is away, if there is one.
    pub fn spool(&self) -> Option<Arc<Spool>> {
        self.spool.clone()
    }

    /// Gives a shared store the commits that it did not take while it was away, as long as the gateway runs.
    pub fn pay_commits(&self) -> impl Future<Output = ()> + Send + use<> {
        let fallback = self.ids.fallback.clone();
        async move {
            if let Some(fallback) = fallback {
                fallback.pay().await;
            }
        }
    }

    /// Reserves tokens of the limits that gateways share, as long as the gateway runs.
    pub async fn reserve_tokens(self: Arc<Self>) {
        self.limits.shared.reserve(&*self.clock).await;
    }

    /// Gives a shared store the commits that it has not taken yet, if it is there now.
    pub async fn pay_commits_once(&self) {
        if let Some(fallback) = &self.ids.fallback {
            fallback.pay_once().await;
        }
    }

    /// Returns the worker of the queue, to be run beside the gate.
    pub fn worker(&self) -> Arc<Worker> {
        Arc::clone(&self.worker)
    }

    /// Returns the store.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    /// Returns the clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Returns the count of what is in flight.
    pub fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.lifecycle.activity)
    }

    /// Gives back the memory of large bodies that was not used for the next ones. Called every few seconds.
    pub fn give_back_spares(&self) {
        self.budget.spare().tick();
    }

    /// Returns the config that requests run on now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.active.load().snapshot)
    }

    /// Returns whether senders should be sent here.
    pub fn is_ready(&self) -> bool {
        self.lifecycle.ready.load(Ordering::Relaxed)
    }

    /// Refuses webhooks and events from now on, and is not ready any more, so that the queue empties. Only a restart undoes it.
    pub fn stop_accepting(&self) {
        self.lifecycle.ready.store(false, Ordering::Relaxed);
        self.lifecycle.activity.close();
        self.lifecycle
            .closed_at
            .get_or_init(|| self.clock.now().wall);
    }

    /// Returns the time from which webhooks are refused, so that the queue empties.
    pub(super) fn draining_since(&self) -> Option<SystemTime> {
        self.lifecycle.closed_at.get().copied()
    }

    /// Returns whether webhooks are accepted.
    pub fn accepts(&self) -> bool {
        !self.lifecycle.activity.is_closed()
    }

    fn upstreams(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Client>>> {
        self.upstreams.lock()
    }

    /// Returns the counts of the store, up to a second old, and the routes whose deliveries have these numbers.
    pub(super) fn counts(&self) -> (Arc<Counts>, HashMap<TargetId, Arc<str>>) {
        let active = self.active.load();
        let names = active
            .webhook_routes()
            .filter_map(|route| route.destination.as_ref().zip(Some(&route.webhook.name)))
            .flat_map(|(app, name)| app.numbers().iter().map(|id| (*id, Arc::clone(name))))
            .collect();
        (self.worker.counts(), names)
    }

    /// Returns the number of pending deliveries of routes that the config does not have any more. Pending alarms do not count.
    pub(super) fn parked(&self) -> u64 {
        let (counts, names) = self.counts();
        let active = self.active.load();
        let parked = counts.targets.iter().filter(|of| {
            !names.contains_key(&of.target) && !active.all_alarms.contains(&of.target)
        });
        parked.map(|of| of.waiting).sum()
    }

    /// Returns the clients of the upstreams of the current config, ordered by name.
    pub(super) fn clients(&self) -> Vec<Arc<Client>> {
        let upstreams = self.upstreams();
        self.snapshot()
            .upstreams
            .keys()
            .filter_map(|name| upstreams.get(name).cloned())
            .collect()
    }
}

/// Returns the rules for endpoints, if the config sends.
fn rules(snapshot: &Snapshot) -> Option<Rules> {
    Some(Rules {
        outbound: Arc::clone(snapshot.outbound.as_ref()?),
        keys: Arc::clone(snapshot.store.keys.as_ref()?),
    })
}

/// Returns the routes that have an end of `mode: observe`, past or to come.
fn observing(snapshot: &Snapshot) -> Vec<&Arc<str>> {
    snapshot
        .webhooks
        .iter()
        .filter(|webhook| webhook.observe_until.is_some())
        .map(|webhook| &webhook.name)
        .collect()
}
