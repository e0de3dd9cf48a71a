//! The gateway, as the health and admin listeners need it.
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::api::actions::Drain;
use crate::api::refusals::RecentRefusal;
use crate::api::report::Report;
use crate::api::status::Status;
use crate::clock::Now;
use crate::request::Params;
use crate::store::{Key, Store, StoreError};
use crate::telemetry::Tailed;

/// The source of everything that the health and admin listeners return.
pub trait AdminSource: Send + Sync {
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

    /// Returns the store of the deliveries. `None` without a store on disk.
    fn store(&self) -> Option<Arc<dyn Store>>;

    /// Returns the current time.
    fn now(&self) -> Now;

    /// Returns the delivery policy of a route. `None` if the config has no such route.
    fn policy(&self, route: &str) -> Option<Policy>;

    /// Returns the keys under which the ledger remembers a delivery ID of a route.
    fn ledger_keys(&self, route: &str, named: DeliveryName<'_>) -> LedgerKeys;
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

/// The delivery policy of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The maximum number of attempts. `None` if only the age limits them.
    pub max_attempts: Option<u32>,
}

/// A delivery as an operator names it. The ledger knows deliveries by their keys only.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryName<'a> {
    /// The provider's ID.
    pub id: &'a str,
    /// The path parameters.
    pub params: &'a Params,
    /// The account.
    pub account: Option<&'a str>,
    /// The name of the secret that matched, if known.
    pub secret: Option<&'a str>,
    /// The body, if known.
    pub body: Option<&'a [u8]>,
}

/// The ledger keys of a named delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerKeys {
    /// The possible keys. There are several if the secret is part of the key and is not named.
    Known(Vec<Key>),
    /// The key depends on the body, which is not given.
    NeedsBody,
    /// The key depends on more than is given.
    Needs {
        /// The path parameters to give, all of them.
        params: Vec<String>,
        /// Whether the account must be given.
        account: bool,
    },
    /// None: the route does not deduplicate.
    NoDedupe,
    /// None: there is no such route.
    NoRoute,
}
