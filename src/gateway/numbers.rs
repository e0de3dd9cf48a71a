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
    /// All numbers of alarms that the store knows, even if the config sends none.
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
    let alarms = snapshot.alarms.webhook.is_some();
    let alarms = alarms.then(|| Named {
        kind: Kind::Alarm,
        name: "alarms".into(),
        previously: Vec::new(),
    });
    let names: Vec<Named> = snapshot.routes.iter().map(route).chain(alarms).collect();
    let mut routes = store.numbers(&names).await?;
    let alarms = routes.split_off(snapshot.routes.len().min(routes.len()));
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
        alarms: alarms.first().map(|numbers| TargetId(numbers.number)),
    })
}
