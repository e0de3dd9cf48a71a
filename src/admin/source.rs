//! The gateway, as the health and admin listeners need it.
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::api::actions::Drain;
use crate::api::explain::Explanation;
use crate::api::quarantine::{Quarantined, Reverified, ReverifyPlan};
use crate::api::refusals::RecentRefusal;
use crate::api::report::Report;
use crate::api::secrets::Secrets;
use crate::api::status::Status;
use crate::replay::ActiveRoutes;
use crate::request::RequestId;
use crate::store::{Key, Store, StoreError};
use crate::telemetry::Tailed;

/// The source of everything that the health and admin listeners return.
pub trait AdminSource: ActiveRoutes {
    /// Returns whether the gateway is ready for traffic.
    fn is_ready(&self) -> bool;

    /// Returns all metrics as text.
    fn metrics(&self) -> String;

    /// Returns the status of the gateway.
    fn status(&self) -> Status;

    /// Returns the last `limit` refusals, newest first.
    fn refusals(&self, limit: usize) -> Awaited<'_, Vec<RecentRefusal>>;

    /// Returns at most `limit` refused requests that are kept, newest first: those of one route, or of all.
    fn quarantined(
        &self,
        route: Option<String>,
        limit: u16,
    ) -> Awaited<'_, Result<Quarantined, QuarantineError>>;

    /// Judges the kept requests of a route by the current config.
    fn plan_reverify(&self, route: String) -> Awaited<'_, Result<ReverifyPlan, QuarantineError>>;

    /// Releases kept requests of a route that are authentic by the current config, oldest first, after the one with the ID `after`.
    fn reverify(
        &self,
        route: String,
        after: Option<RequestId>,
    ) -> Awaited<'_, Result<Reverified, QuarantineError>>;

    /// Explains why a request that is kept was refused; `None` if it is not kept.
    fn explained(&self, id: RequestId)
    -> Awaited<'_, Result<Option<Explanation>, QuarantineError>>;

    /// Returns the report of what observing routes would have refused.
    fn report(&self) -> Report;

    /// Returns the use of the secrets of all routes.
    fn secrets(&self) -> Secrets;

    /// Reloads the config. Returns the number of the new config generation.
    fn reload(&self) -> Reloading<'_>;

    /// Returns at most `limit` requests and attempts after the one with the number `after`; without it, only the number of the last one.
    fn tail(&self, after: Option<u64>, limit: usize) -> Tailed;

    /// Returns the ID of this run of the gateway. The numbers of [`Self::tail`] start over with each run.
    fn run(&self) -> u64;

    /// Stops accepting deliveries until the gateway is restarted.
    fn stop_accepting(&self);

    /// Returns what is left to deliver.
    fn drain(&self) -> Draining<'_>;

    /// Forgets delivery IDs in the memory of this gateway alone, which decides while a shared store is away.
    fn forget_here(&self, keys: &[Key]);

    /// Returns the store of the deliveries. `None` without a store on disk.
    fn store(&self) -> Option<Arc<dyn Store>>;
}

/// An answer that is not there at once.
pub type Awaited<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The reason why kept requests cannot be listed or judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuarantineError {
    /// No route of the config has this name, and none is kept under it.
    #[error("there is no such route")]
    NoRoute,
    /// The route accepts requests without a proof, so none can be proved.
    #[error("the route forwards requests that are not authentic, so it cannot judge any again")]
    NotEnforcing,
    /// The gateway accepts no deliveries.
    #[error("the gateway accepts no deliveries, because of `hookgate drain`")]
    Draining,
    /// The file cannot be read or written.
    #[error("{0}")]
    Unreadable(String),
}

/// A reload in progress.
pub type Reloading<'a> = Pin<Box<dyn Future<Output = Result<u64, ReloadError>> + Send + 'a>>;

/// A query of what is left to deliver.
pub type Draining<'a> = Pin<Box<dyn Future<Output = Result<Drain, StoreError>> + Send + 'a>>;

/// The errors of a config that was not loaded, with their lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadError(pub String);

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReloadError {}
