//! Access to the stored deliveries of a gateway, and to what its config says about them.
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::api::deliveries::Origin;
use crate::clock::Now;
use crate::request::Params;
use crate::store::archive::UnitShown;
use crate::store::names::Kind;
use crate::store::queue::{FIRST_TENANT, OriginId, TargetId};
use crate::store::{Key, Store, StoreError};

/// The routes of the active config, and the time of the gateway.
pub trait ActiveRoutes: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Now;

    /// Returns the delivery policy of a route. `None` if the config has no such route.
    fn policy(&self, route: &str) -> Option<Policy>;

    /// Returns the delivery policy of endpoints. `None` if the config does not send.
    fn policy_of_endpoints(&self) -> Option<Policy> {
        None
    }

    /// Returns whether nothing is sent to an endpoint now, so that its events wait until it is resumed.
    fn is_paused(&self, _endpoint: TargetId) -> bool {
        false
    }

    /// Returns the keys under which the ledger remembers a delivery ID of a route.
    fn ledger_keys(&self, route: &str, named: DeliveryName<'_>) -> LedgerKeys;
}

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

/// The store of a gateway, which is on disk, and what the config says about its deliveries.
#[derive(Clone)]
pub struct StoreAccess {
    /// The routes of the active config.
    pub routes: Arc<dyn ActiveRoutes>,
    /// The store.
    pub store: Arc<dyn Store>,
}

impl fmt::Debug for StoreAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreAccess")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

impl StoreAccess {
    /// Returns the current time.
    pub fn now(&self) -> Now {
        self.routes.now()
    }
}

/// The names of the numbers in the store, at one time.
#[derive(Debug, Default)]
pub struct Names {
    named: HashMap<u32, (Kind, Arc<str>)>,
    /// The names of the tenants and endpoints that were asked for.
    called: HashMap<u32, Arc<str>>,
    /// The targets whose routes are gone from the config.
    pub gone: Arc<[TargetId]>,
}

impl Names {
    /// Reads the names from the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn of(access: &StoreAccess) -> Result<Self, StoreError> {
        let all = access.store.names().await?;
        let is_gone = |kind: Kind, name: &str| match kind {
            Kind::Route => access.routes.policy(name).is_none(),
            Kind::Alarm => false,
            Kind::Pass => true,
        };
        let gone = all
            .iter()
            .filter(|(kind, _, name)| is_gone(*kind, name))
            .map(|(_, number, _)| TargetId(*number))
            .collect();
        Ok(Self {
            named: all
                .into_iter()
                .map(|(kind, number, name)| (number, (kind, name)))
                .collect(),
            called: HashMap::new(),
            gone,
        })
    }

    /// Adds what the tenants and endpoints of these rows are called. There may be too many of them to read all.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn with_called(
        mut self,
        access: &StoreAccess,
        rows: impl Iterator<Item = (OriginId, &[UnitShown])>,
    ) -> Result<Self, StoreError> {
        let mut numbers: Vec<u32> = rows
            .flat_map(|(origin, units)| {
                let targets = units.iter().map(|unit| unit.target.0);
                targets.chain([origin.0])
            })
            .filter(|number| *number >= FIRST_TENANT)
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        if !numbers.is_empty() {
            self.called = access.store.called(&numbers).await?.into_iter().collect();
        }
        Ok(self)
    }

    /// Returns the route, alarm webhook, tenant or endpoint that has a number.
    pub fn origin(&self, number: u32) -> Origin {
        if number >= FIRST_TENANT {
            let is_endpoint = TargetId(number).is_endpoint();
            return Origin {
                kind: if is_endpoint { "endpoint" } else { "tenant" }.to_owned(),
                name: self.called.get(&number).map_or("", |name| name).to_owned(),
            };
        }
        let (kind, name) = self
            .named
            .get(&number)
            .map_or((Kind::Route, ""), |(kind, name)| (*kind, name));
        let kind = match kind {
            Kind::Route | Kind::Pass => "route",
            Kind::Alarm => "alarm",
        };
        Origin {
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Returns the numbers of a name in order: a route's, if a route and another kind share the name.
    pub fn numbers(&self, name: &str) -> Vec<u32> {
        let of = |kind: Kind| {
            let named = self
                .named
                .iter()
                .filter(|(_, known)| known.0 == kind && *known.1 == *name);
            let mut numbers: Vec<u32> = named.map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            numbers
        };
        Some(of(Kind::Route))
            .filter(|numbers| !numbers.is_empty())
            .unwrap_or_else(|| of(Kind::Alarm))
    }

    /// Returns whether the route of a target is gone from the config.
    pub fn is_gone(&self, target: TargetId) -> bool {
        self.gone.contains(&target)
    }
}
