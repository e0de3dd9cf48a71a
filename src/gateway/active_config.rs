//! One config tied to the state that outlives it: buckets, upstream clients and targets, looked up by name once per config generation
//! instead of once per request.
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::snapshot::{Pass, Route, Snapshot, WebhookRoute};
use crate::dedupe::key::policy_key;
use crate::deliver::{App, Worker};
use crate::gateway::limits::{Limits, RouteLimit};
use crate::gateway::numbers::Generation;
use crate::request::{Params, RequestHead};
use crate::route::guard::GuardedPaths;
use crate::store::Key;
use crate::store::names::Numbers;
use crate::store::queue::TargetId;
use crate::upstream::client::{Client, RouteClient, Unusable};

/// The config that requests run on now.
#[derive(Debug)]
pub struct ActiveConfig {
    /// The config.
    pub snapshot: Arc<Snapshot>,
    /// Its routes, in the same order.
    pub(crate) routes: Vec<AnyRoute>,
    /// The store's numbers of alarms. Deliveries with one of these numbers belong to no route.
    pub(crate) all_alarms: Vec<TargetId>,
}

/// A route tied to its state.
#[derive(Debug)]
pub(crate) enum AnyRoute {
    /// A webhook route.
    Webhook(Arc<ActiveRoute>),
    /// A pass route.
    Pass(Arc<ActivePass>),
}

/// A webhook route tied to its state. It is shared, because deliveries and duplicates outlive the config.
#[derive(Debug)]
pub(crate) struct ActiveRoute {
    /// The route's policy.
    pub(crate) webhook: Arc<WebhookRoute>,
    /// The name under which the ledger has its entries.
    pub(crate) ledger: Arc<str>,
    /// The route's rate limits.
    pub(crate) limits: Vec<RouteLimit>,
    /// The client of its upstream.
    pub(crate) upstream: RouteClient,
    /// The destination of its stored deliveries; `None` without a store on disk.
    pub(crate) destination: Option<Arc<App>>,
}

/// A pass route tied to its state. It is shared, because a stream outlives the config.
#[derive(Debug)]
pub struct ActivePass {
    /// The route's policy.
    pub(crate) pass: Arc<Pass>,
    /// The route's rate limits.
    pub(crate) limits: Vec<RouteLimit>,
    /// The client of its upstream.
    pub(crate) upstream: Arc<Client>,
    /// The paths of the upstream that only webhook routes may request.
    pub(crate) guards: Arc<GuardedPaths>,
}

/// The route of a request.
pub(crate) enum Found<'a> {
    /// A webhook route, with the parameters of the path.
    Webhook(&'a Arc<ActiveRoute>, Params),
    /// A pass route.
    Pass(&'a Arc<ActivePass>),
}

impl ActiveConfig {
    /// Finds the route of a request.
    pub(crate) fn find(&self, head: &RequestHead) -> Option<Found<'_>> {
        let (index, params) = self.snapshot.router.find(&head.authority, head.path())?;
        match self.routes.get(index)? {
            AnyRoute::Webhook(route) => Some(Found::Webhook(route, params)),
            AnyRoute::Pass(route) => Some(Found::Pass(route)),
        }
    }

    /// Returns the webhook routes.
    pub(crate) fn webhook_routes(&self) -> impl Iterator<Item = &Arc<ActiveRoute>> {
        self.routes.iter().filter_map(|route| match route {
            AnyRoute::Webhook(route) => Some(route),
            AnyRoute::Pass(_) => None,
        })
    }

    /// Returns the webhook route of this name.
    pub(crate) fn webhook_route(&self, name: &str) -> Option<&Arc<ActiveRoute>> {
        self.webhook_routes()
            .find(|route| *route.webhook.name == *name)
    }

    /// Lets the worker deliver by this config, once requests are served by it.
    pub(super) fn deliver(&self, worker: &Worker, numbers: &Generation) {
        let apps = self
            .webhook_routes()
            .filter_map(|route| route.destination.clone())
            .collect();
        worker.follow(&self.snapshot, apps, numbers.alarms, numbers.notices);
    }

    /// Returns the routes with late retries, each with the key of the policy that decides how the ledger remembers its requests.
    pub(super) fn remembered(&self, hash_key: &[u8; 16]) -> Vec<(Arc<str>, Key)> {
        self.webhook_routes()
            .filter_map(|route| {
                let policy = policy_key(hash_key, &route.webhook.ledger_policy()?);
                Some((Arc::clone(&route.ledger), policy))
            })
            .collect()
    }
}

/// The clients of the upstreams of a config, by name.
pub(super) type Clients = BTreeMap<Arc<str>, Arc<Client>>;

/// Makes the clients of a config. A client whose address is unchanged shares the pool and the breaker of its predecessor, and follows its
/// new policy only once the config is active.
///
/// # Errors
/// The first client that cannot be made.
pub(super) fn clients_of(
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
pub(super) fn activate(
    snapshot: Arc<Snapshot>,
    clients: Clients,
    numbers: &Generation,
    limits: &Limits,
    upstreams: &mut HashMap<Arc<str>, Arc<Client>>,
    worker: &Worker,
) -> ActiveConfig {
    clients.values().for_each(|client| client.follow_policy());
    let routes = snapshot
        .routes
        .iter()
        .zip(&numbers.routes)
        .filter_map(|(route, numbers)| match route {
            Route::Webhook(webhook) => webhook_route(webhook, &clients, numbers, limits, worker)
                .map(|route| AnyRoute::Webhook(Arc::new(route))),
            Route::Pass(pass) => pass_route(&snapshot, pass, &clients, numbers, limits)
                .map(|route| AnyRoute::Pass(Arc::new(route))),
        })
        .collect();
    upstreams.extend(clients);
    ActiveConfig {
        snapshot,
        routes,
        all_alarms: numbers.all_alarms.clone(),
    }
}

fn webhook_route(
    webhook: &Arc<WebhookRoute>,
    clients: &Clients,
    numbers: &Numbers,
    limits: &Limits,
    worker: &Worker,
) -> Option<ActiveRoute> {
    let upstream = clients
        .get(&webhook.forward.upstream.name)?
        .for_route(&webhook.name);
    let rate = limits.of_attempts(numbers.number, &webhook.deliver);
    let destination = worker.app_of(webhook, &upstream, numbers, rate);
    Some(ActiveRoute {
        webhook: Arc::clone(webhook),
        ledger: Arc::clone(&numbers.ledger),
        limits: limits.of(numbers.number, &webhook.rate_limits),
        upstream,
        destination,
    })
}

fn pass_route(
    snapshot: &Snapshot,
    pass: &Arc<Pass>,
    clients: &Clients,
    numbers: &Numbers,
    limits: &Limits,
) -> Option<ActivePass> {
    Some(ActivePass {
        pass: Arc::clone(pass),
        limits: limits.of(numbers.number, &pass.rate_limits),
        upstream: Arc::clone(clients.get(&pass.upstream.name)?),
        guards: snapshot.guards.of(&pass.upstream.address.app()),
    })
}
