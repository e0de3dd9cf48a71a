//! The state of the worker, which outlives reloads.
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;

use super::alarm_webhook::AlarmReceiver;
use super::app::App;
use super::destination::Destinations;
use super::endpoints::Endpoints;
use super::memory::Memory;
use super::sending_state::SendingState;
use super::target::Target;
use crate::activity::Activity;
use crate::clock::{Clock, ConfigTime, Dates};
use crate::config::snapshot::{Snapshot, WebhookRoute};
use crate::limit::SharedKey;
use crate::store::Store;
use crate::store::archive::Counts;
use crate::store::names::Numbers;
use crate::store::queue::TargetId;
use crate::telemetry::Telemetry;
use crate::upstream::client::RouteClient;
use crate::upstream::outside::Outside;

/// The worker of one gateway.
#[derive(Debug)]
pub struct Worker {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    /// The time by which dates of the config are judged.
    config_time: Arc<ArcSwap<ConfigTime>>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) activity: Arc<Activity>,
    /// The client for places that no `upstreams` names.
    pub(super) outside: Arc<Outside>,
    /// The destinations of the present config generation.
    destinations: ArcSwap<Destinations>,
    targets: Mutex<HashMap<TargetId, Arc<Target>>>,
    pub(super) memory: Arc<Memory>,
    /// The endpoints of customers.
    endpoints: Endpoints,
    /// The contents of the store, as they were counted last.
    counts: ArcSwap<Counts>,
    /// The state of sending, as of the last sweep; none before the first.
    sending: ArcSwapOption<SendingState>,
}

impl Worker {
    /// Makes a worker without destinations. It delivers nothing unless the store is durable.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        config_time: Arc<ArcSwap<ConfigTime>>,
        telemetry: Arc<Telemetry>,
        activity: Arc<Activity>,
        outside: Arc<Outside>,
    ) -> Self {
        Self {
            endpoints: Endpoints::new(
                Arc::clone(&store),
                Arc::clone(&clock),
                Arc::clone(&outside),
                Arc::default(),
            ),
            store,
            clock,
            config_time,
            telemetry,
            activity,
            outside,
            destinations: ArcSwap::default(),
            targets: Mutex::default(),
            memory: Arc::default(),
            counts: ArcSwap::default(),
            sending: ArcSwapOption::empty(),
        }
    }

    /// Returns the app of a route as a destination, whose target follows the route's policy from now on; `None` if the store is not durable. `rate`
    /// is the limit of its attempts, if gateways share it.
    pub(crate) fn app_of(
        &self,
        webhook: &Arc<WebhookRoute>,
        upstream: &RouteClient,
        numbers: &Numbers,
        rate: Option<SharedKey>,
    ) -> Option<Arc<App>> {
        let is_durable = self.store.nature().durable;
        let target = is_durable.then(|| self.target(TargetId(numbers.number)))?;
        target.follow(&webhook.deliver, rate);
        let numbers = numbers.all().map(TargetId).collect();
        Some(Arc::new(App::new(
            Arc::clone(webhook),
            upstream.clone(),
            target,
            numbers,
        )))
    }

    /// Delivers to these apps, and to the receivers of alarms and of notifications of this config, from now on. `alarms` and `notices` are their
    /// numbers. The system's certificates are read again.
    pub(crate) fn follow(
        &self,
        snapshot: &Snapshot,
        apps: Vec<Arc<App>>,
        alarms: Option<TargetId>,
        notices: Option<TargetId>,
    ) {
        self.outside.reload();
        let is_durable = self.store.nature().durable;
        let alarms = alarms
            .filter(|_| is_durable)
            .and_then(|number| AlarmReceiver::of(snapshot, &self.target(number), &self.outside))
            .map(Arc::new);
        let notices = notices
            .filter(|_| is_durable)
            .and_then(|number| {
                AlarmReceiver::of_notices(snapshot, &self.target(number), &self.outside)
            })
            .map(Arc::new);
        self.destinations.store(Arc::new(Destinations::new(
            snapshot.generation,
            apps,
            alarms,
            notices,
        )));
    }

    /// Returns the number under which alarms are stored; `None` if they are sent nowhere.
    pub(crate) fn alarm_target(&self) -> Option<TargetId> {
        let destinations = self.destinations.load();
        let alarms = destinations.alarms.as_ref()?;
        Some(alarms.target().id())
    }

    /// Returns the number under which notifications about endpoints are stored; `None` if they are sent nowhere.
    pub(crate) fn notice_target(&self) -> Option<TargetId> {
        let destinations = self.destinations.load();
        let notices = destinations.notices.as_ref()?;
        Some(notices.target().id())
    }

    /// Returns the endpoints of customers.
    pub(crate) fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Returns the contents of the store, counted about a second ago; five if gateways share it.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        self.counts.load_full()
    }

    /// Returns the state of sending, observed about a second ago; none if it was not observed yet.
    pub(crate) fn sending(&self) -> Option<Arc<SendingState>> {
        self.sending.load_full()
    }

    pub(super) fn set_sending(&self, sending: SendingState) {
        self.sending.store(Some(Arc::new(sending)));
    }

    /// Returns the counters.
    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    pub(super) fn set_counts(&self, counts: Counts) {
        self.counts.store(Arc::new(counts));
    }

    pub(super) fn destinations(&self) -> Arc<Destinations> {
        self.destinations.load_full()
    }

    /// Returns the time by which dates of the config are judged.
    pub(super) fn dates(&self, now: Instant) -> Dates {
        self.config_time.load().read(now)
    }

    fn target(&self, id: TargetId) -> Arc<Target> {
        let new = || Arc::new(Target::new(id, Arc::clone(&self.memory)));
        let mut targets = self.targets.lock();
        Arc::clone(targets.entry(id).or_insert_with(new))
    }
}
