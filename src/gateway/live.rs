//! One snapshot tied to what outlives it: buckets, upstream clients and metrics, looked up by name once a generation instead of once a request.
use std::sync::Arc;

use crate::config::snapshot::{Hook, Snapshot};
use crate::gateway::admit::LiveLimit;
use crate::request::{Params, RequestHead};
use crate::upstream::client::Client;

/// The snapshot that requests run on now.
#[derive(Debug)]
pub struct Live {
    /// The config.
    pub snapshot: Arc<Snapshot>,
    /// Its routes, in the same order.
    pub(super) hooks: Vec<LiveHook>,
}

/// A route with what it needs at run time.
#[derive(Debug)]
pub(super) struct LiveHook {
    /// Its policy.
    pub(super) hook: Arc<Hook>,
    /// Its rate limits.
    pub(super) limits: Vec<LiveLimit>,
    /// Where its deliveries go.
    pub(super) upstream: Arc<Client>,
}

impl Live {
    /// The route of a request, and its path parameters.
    pub(super) fn find(&self, head: &RequestHead) -> Option<(&LiveHook, Params)> {
        let (index, params) = self.snapshot.router.find(&head.authority, head.path())?;
        Some((self.hooks.get(index)?, params))
    }

    /// The methods of a route, as `Allow` lists them.
    pub(super) fn allow_of(&self, route: &str) -> Option<String> {
        let live = self.hooks.iter().find(|live| *live.hook.name == *route)?;
        Some(live.hook.methods.iter().map(http::Method::as_str).collect::<Vec<_>>().join(", "))
    }
}
