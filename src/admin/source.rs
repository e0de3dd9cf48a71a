//! The gateway, as the health and admin listeners need it.
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::api::actions::Drain;
use crate::api::refusals::RecentRefusal;
use crate::api::report::Report;
use crate::api::status::Status;
use crate::replay::ActiveRoutes;
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
    fn refusals(&self, limit: usize) -> Vec<RecentRefusal>;

    /// Returns the report of what observing routes would have refused.
    fn report(&self) -> Report;

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
