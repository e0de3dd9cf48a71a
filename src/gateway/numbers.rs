//! The numbers that the store gives to the routes of one config generation. They live in that generation and nowhere else, so that a name that moves
//! from one route to another takes no deliveries, ledger entries or rate buckets with it.
use crate::config::snapshot::{Route, Snapshot};
use crate::store::names::{Named, Numbers};
use crate::store::queue::{Kind, TargetId};
use crate::store::{Store, StoreError};

/// The numbers of one config generation.
#[derive(Debug)]
pub(super) struct Generation {
    /// Those of its routes, in the order of the config.
    pub(super) routes: Vec<Numbers>,
    /// That of the gate's own alarms, if they go anywhere.
    pub(super) alarms: Option<TargetId>,
    /// All numbers of alarms that the store knows, also where the config sends none.
    pub(super) all_alarms: Vec<TargetId>,
}

/// Asks the store for the numbers of a config. The store records them, so this comes after everything else that can fail.
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
    // without a disk none are known, and nothing waits
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
