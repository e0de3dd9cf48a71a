//! Access to the stored deliveries of a gateway, and the names of their routes.
use std::collections::HashMap;
use std::sync::Arc;

use super::errors::{no_store, unavailable};
use crate::admin::AdminSource;
use crate::admin::answer::Denied;
use crate::api::deliveries::Origin;
use crate::clock::Now;
use crate::store::Store;
use crate::store::names::Kind;
use crate::store::queue::TargetId;

/// The store of a gateway, which is on disk, and what the config says about its deliveries.
#[derive(Clone)]
pub(in crate::admin) struct StoreAccess {
    pub(super) source: Arc<dyn AdminSource>,
    pub(super) store: Arc<dyn Store>,
}

impl StoreAccess {
    /// Returns the access, unless the gateway has no store on disk.
    pub(super) fn of(source: &Arc<dyn AdminSource>) -> Result<Self, Denied> {
        Ok(Self {
            source: Arc::clone(source),
            store: source.store().ok_or_else(no_store)?,
        })
    }

    /// Returns the current time.
    pub(super) fn now(&self) -> Now {
        self.source.now()
    }
}

/// The names of the numbers in the store, at one time.
#[derive(Debug, Default)]
pub(super) struct Names {
    named: HashMap<u32, (Kind, Arc<str>)>,
    /// The targets whose routes are gone from the config.
    pub(super) gone: Arc<[TargetId]>,
}

impl Names {
    /// Reads the names from the store.
    pub(super) async fn of(access: &StoreAccess) -> Result<Self, Denied> {
        let all = access
            .store
            .names()
            .await
            .map_err(|error| unavailable(&error))?;
        let is_gone = |kind: Kind, name: &str| match kind {
            Kind::Route => access.source.policy(name).is_none(),
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
            gone,
        })
    }

    /// Returns the route or alarm webhook that has a number.
    pub(super) fn origin(&self, number: u32) -> Origin {
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
    pub(super) fn numbers(&self, name: &str) -> Vec<u32> {
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
    pub(super) fn is_gone(&self, target: TargetId) -> bool {
        self.gone.contains(&target)
    }
}
