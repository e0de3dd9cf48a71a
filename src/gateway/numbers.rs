//! The numbers that the store gives to the routes of one config generation. They belong to that generation alone, so that a name that moves
//! from one route to another takes no deliveries, ledger entries or rate buckets with it.
use crate::config::snapshot::{Route, Snapshot};
use crate::store::names::{Kind, Named, Numbers};
use crate::store::queue::TargetId;
use crate::store::{Store, StoreError};

/// The numbers of one config generation.
#[derive(Debug)]
pub(super) struct Generation {
    /// The numbers of the routes, in the order of the config.
    pub(super) routes: Vec<Numbers>,
    /// The number of the gateway's own alarms, if the config sends any.
    pub(super) alarms: Option<TargetId>,
    /// The number of the notifications about endpoints, if the config sends any.
    pub(super) notices: Option<TargetId>,
    /// All numbers of alarms and notifications that the store knows, even if the config sends none.
    pub(super) all_alarms: Vec<TargetId>,
}

/// Returns the numbers of a config from the store. The store records them, so this comes after everything else that can fail.
///
/// # Errors
/// The store cannot read or write its names.
pub(super) async fn numbers_of(
    store: &dyn Store,
    snapshot: &Snapshot,
) -> Result<Generation, StoreError> {
    let kind = |route: &Route| match route {
        Route::Webhook(_) => Kind::Route,
        Route::Pass(_) => Kind::Pass,
    };
    let route = |route: &Route| Named {
        kind: kind(route),
        name: route.name().clone(),
        previously: route.previously().to_vec(),
    };
    let own = |name: &str| Named {
        kind: Kind::Alarm,
        name: name.into(),
        previously: Vec::new(),
    };
    let has_alarms = snapshot.alarms.webhook.is_some();
    let outbound = snapshot.outbound.as_ref();
    let has_notices = outbound.is_some_and(|outbound| outbound.notices.is_some());
    // alarms first: the store lets those in when it is full
    let alarms = has_alarms.then(|| own("alarms"));
    let notices = has_notices.then(|| own("notices"));
    let names: Vec<Named> = snapshot
        .routes
        .iter()
        .map(route)
        .chain(alarms)
        .chain(notices)
        .collect();
    let mut routes = store.numbers(&names).await?;
    let own = routes.split_off(snapshot.routes.len().min(routes.len()));
    let mut own = own.iter().map(|numbers| TargetId(numbers.number));
    let alarms = has_alarms.then(|| own.next()).flatten();
    let notices = has_notices.then(|| own.next()).flatten();
    // a store without a disk knows none
    let known = store.names().await.unwrap_or_default();
    let all_alarms = known
        .iter()
        .filter(|(kind, ..)| *kind == Kind::Alarm)
        .map(|(_, number, _)| TargetId(*number))
        .collect();
    Ok(Generation {
        routes,
        all_alarms,
        alarms,
        notices,
    })
}
