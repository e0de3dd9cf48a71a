//! One snapshot tied to what outlives it: buckets, upstream clients and metrics, looked up by name once a generation instead of once a request.
use std::sync::Arc;

use http::Method;

use crate::config::snapshot::{Pass, RefusedAnswer, Route, Snapshot, WebhookRoute};
use crate::deliver::App;
use crate::gateway::admit::LiveLimit;
use crate::request::{Params, RequestHead};
use crate::route::guard::GuardedPaths;
use crate::store::queue::TargetId;
use crate::upstream::client::{Client, RouteClient};

/// What a pass route takes, as far as there are names for it.
const PASSED: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// The snapshot that requests run on now.
#[derive(Debug)]
pub struct Live {
    /// The config.
    pub snapshot: Arc<Snapshot>,
    /// Its routes, in the same order.
    pub(crate) routes: Vec<LiveRoute>,
    /// The numbers of alarms: deliveries that wait for one of them wait for no route.
    pub(crate) all_alarms: Vec<TargetId>,
}

/// A route tied to its state.
#[derive(Debug)]
pub(crate) enum LiveRoute {
    Hook(Arc<LiveHook>),
    Pass(Arc<LivePass>),
}

impl LiveRoute {
    /// Returns the destination of its stored deliveries.
    pub(crate) fn destination(&self) -> Option<&Arc<App>> {
        match self {
            Self::Hook(route) => route.destination.as_ref(),
            Self::Pass(_) => None,
        }
    }
}

/// A route with what it needs at run time. Shared: what it hands on later goes on after the snapshot is gone.
#[derive(Debug)]
pub(crate) struct LiveHook {
    /// Its policy.
    pub(crate) hook: Arc<WebhookRoute>,
    /// The name that its ledger entries are kept under.
    pub(crate) ledger: Arc<str>,
    /// Its rate limits.
    pub(crate) limits: Vec<LiveLimit>,
    /// The client of its upstream.
    pub(crate) upstream: RouteClient,
    /// The destination of its stored deliveries; `None` without a store on disk.
    pub(crate) destination: Option<Arc<App>>,
}

/// A route that passes traffic through, with what it needs at run time. Shared: a stream goes on after the snapshot is gone.
#[derive(Debug)]
pub struct LivePass {
    /// Its policy.
    pub(crate) pass: Arc<Pass>,
    /// Its rate limits.
    pub(crate) limits: Vec<LiveLimit>,
    /// The app.
    pub(crate) upstream: Arc<Client>,
    /// The paths of the app that only webhooks may ask for.
    pub(crate) guards: Arc<GuardedPaths>,
}

/// What a request is for.
pub(crate) enum Found<'a> {
    /// Webhooks, with the parameters of the path.
    Hook(&'a Arc<LiveHook>, Params),
    /// Other traffic of the app.
    Pass(&'a Arc<LivePass>),
}

impl Live {
    /// The route of a request.
    pub(crate) fn find(&self, head: &RequestHead) -> Option<Found<'_>> {
        let (index, params) = self.snapshot.router.find(&head.authority, head.path())?;
        match self.routes.get(index)? {
            LiveRoute::Hook(hook) => Some(Found::Hook(hook, params)),
            LiveRoute::Pass(pass) => Some(Found::Pass(pass)),
        }
    }

    /// The routes that take webhooks.
    pub(crate) fn hooks(&self) -> impl Iterator<Item = &Arc<LiveHook>> {
        self.routes.iter().filter_map(|route| match route {
            LiveRoute::Hook(hook) => Some(hook),
            LiveRoute::Pass(_) => None,
        })
    }

    /// The methods of a route, as `Allow` lists them.
    pub(crate) fn allow_of(&self, route: &str) -> Option<String> {
        let methods = match self
            .snapshot
            .routes
            .iter()
            .find(|known| **known.name() == *route)?
        {
            Route::Webhook(hook) => hook.methods.as_slice(),
            Route::Pass(pass) => pass.methods.as_deref().unwrap_or(&PASSED),
        };
        Some(
            methods
                .iter()
                .map(Method::as_str)
                .collect::<Vec<_>>()
                .join(", "),
        )
    }

    /// Returns how a route answers what is not authentic.
    pub(crate) fn refused_of(&self, route: &str) -> Option<RefusedAnswer> {
        self.snapshot
            .hooks
            .iter()
            .find(|hook| *hook.name == *route)
            .map(|hook| hook.refused)
    }
}
