//! The address book over a server.
use super::*;
use crate::store::address_book::{
    AddressBook as _, Endpoint, EndpointChange, EndpointState, Saved, Unhealthy,
};
use crate::store::archive::{ActKind, Archive as _, Scope, Status, UnitsShown};
use crate::store::contract::address_book::{LIMIT, add, add_tenant, audit, endpoint, holds, time};
use crate::store::contract::events::{event, own};
use crate::store::contract::queue::{attempt, new, take};
use crate::store::postgres::Postgres;
use crate::store::postgres::tests::seed::{Seed, Unit, sow};
use crate::store::queue::{Accept, Cause, FIRST_ENDPOINT, FIRST_TENANT, Next, Queue as _, Start};
use crate::tenant::health::Notified;

#[tokio::test]
async fn address_book_contract_holds() {
    for database in Database::both() {
        holds(&database.open().await).await;
    }
}

#[tokio::test]
async fn change_of_an_endpoint_is_done_with_its_acts() {
    let database = Database::new();
    let store = database.open().await;
    let tenant = add_tenant(&store, "acme").await.origin;
    let (one, other) = (
        add(&store, tenant, None).await,
        add(&store, tenant, None).await,
    );
    let event = Seed {
        targets: (one.target.0, 2),
        ..Seed::of(tenant.0, Unit::Waiting)
    };
    assert_eq!(other.target.0, one.target.0 + 1);
    sow(&database, std::slice::from_ref(&event));
    let mut changed = one.clone();
    changed.state = EndpointState::Paused;
    let change = EndpointChange {
        endpoint: changed.clone(),
        expected: 1,
        failing_since: None,
        acts: vec![
            (ActKind::Cancel, vec![event.id]),
            (ActKind::AttemptNow, Vec::new()),
        ],
        notice: None,
        audit: audit("endpoint.pause"),
    };
    let done = Saved::Done {
        number: one.target.0,
        edition: 2,
    };
    for _ in 0..2 {
        assert_eq!(store.change_endpoint(change.clone()).await.unwrap(), done);
        let shown = store
            .get(Scope::All, event.id, UnitsShown::All)
            .await
            .unwrap()
            .unwrap();
        let states: Vec<_> = shown.units.iter().map(|unit| unit.status).collect();
        assert_eq!(states, [Status::Cancelled, Status::Retrying]);
        let paused = store.audit(9).await.unwrap();
        let paused = paused.iter().filter(|row| &*row.what == "endpoint.pause");
        assert_eq!(paused.count(), 1, "once");
    }
    let failing = EndpointChange {
        endpoint: endpoint(other.target, tenant, None),
        failing_since: Some(time(1)),
        ..change.clone()
    };
    assert_eq!(
        store.change_endpoint(failing).await.unwrap(),
        Saved::Conflict
    );
    let stale = EndpointChange {
        expected: 7,
        ..change
    };
    assert_eq!(store.change_endpoint(stale).await.unwrap(), Saved::Conflict);
    let inactive = store.inactive(None, 9).await.unwrap();
    assert_eq!((inactive.len(), inactive[0].target), (1, one.target));
}

#[tokio::test]
async fn texts_that_the_server_refuses_are_stored_without_it() {
    let database = Database::new();
    let store = database.open().await;
    let tenant = add_tenant(&store, "nul").await;
    let target = store.reserve_endpoint().await.unwrap();
    let mut one = endpoint(target, tenant.origin, Some("a\0b"));
    one.settings = "{\"x\":\"\0\"}".into();
    let saved = store.save_endpoint(one, None, LIMIT, None).await.unwrap();
    assert!(matches!(saved, Saved::Done { edition: 1, .. }));
    let found = store.endpoints_of(&[target]).await.unwrap().remove(0);
    assert_eq!(found.uid.as_deref(), Some("a\u{fffd}b"));
}

/// Stores an event for an endpoint, and makes an attempt that is answered with a status.
async fn attempted(store: &Postgres, endpoint: &Endpoint, id: &str, status: u16) {
    let tenant = endpoint.tenant.0 - FIRST_TENANT;
    let lease = Start::Mine(Duration::from_secs(20));
    let one = event(tenant, endpoint.target.0 - FIRST_ENDPOINT, id, lease);
    let lease = new(store.accept(Arc::new(one), own(1)).await.unwrap())[0];
    let next = match status {
        200 => Next::Delivered,
        _ => Next::RetryIn(Duration::from_secs(3600)),
    };
    let settled = store.settle(lease, Some(attempt(status)), next).await;
    assert_eq!(settled.unwrap(), crate::store::Ownership::Owned);
}

#[tokio::test]
async fn app_is_notified_once_of_failures_and_of_their_end() {
    let database = Database::new();
    let store = database.open().await;
    let tenant = add_tenant(&store, "acme").await.origin;
    let one = add(&store, tenant, None).await;
    let unhealthy = async || -> Option<Unhealthy> {
        let mut all = store.unhealthy(None, 9).await.unwrap();
        assert!(all.len() < 2);
        all.pop()
    };
    assert_eq!(unhealthy().await, None);
    attempted(&store, &one, "a", 503).await;
    attempted(&store, &one, "b", 503).await;
    let health = unhealthy().await.unwrap().health;
    assert_eq!((health.failures, health.notified), (2, Notified::No));
    let found = store.endpoints_of(&[one.target]).await.unwrap().remove(0);
    assert_eq!(found.health, Some(health));
    let notice =
        |id: &str| -> Option<Arc<Accept>> { Some(Arc::new(event(9, 900, id, Start::Anyone))) };
    let note = async |since, notified, notice| {
        let noted = store.note_notified(one.target, since, notified, notice);
        noted.await.unwrap()
    };
    let warned = Some(Notified::Once);
    let earlier = health.since - Duration::from_secs(1);
    assert!(!note(earlier, warned, notice("earlier")).await);
    assert!(note(health.since, warned, notice("warned")).await);
    assert!(!note(health.since, warned, notice("again")).await);
    assert!(!note(health.since, None, notice("not over")).await);
    // a pause that depends on the failures, with all that belongs to it
    let mut paused = one.clone();
    paused.state = EndpointState::PausedByFailures;
    let change = EndpointChange {
        endpoint: paused,
        expected: 1,
        failing_since: Some(health.since),
        acts: Vec::new(),
        notice: notice("paused"),
        audit: None,
    };
    let other = EndpointChange {
        failing_since: Some(earlier),
        ..change.clone()
    };
    assert_eq!(store.change_endpoint(other).await.unwrap(), Saved::Conflict);
    for _ in 0..2 {
        let saved = store.change_endpoint(change.clone()).await.unwrap();
        assert!(matches!(saved, Saved::Done { edition: 2, .. }));
    }
    assert_eq!(store.waiting_for_inactive().await.unwrap(), 2);
    attempted(&store, &one, "c", 200).await;
    let health = unhealthy().await.unwrap().health;
    assert_eq!(health.notified, Notified::Over);
    assert!(note(health.since, None, notice("over")).await);
    assert!(!note(health.since, None, notice("over again")).await);
    assert_eq!(unhealthy().await, None);
    let ids: Vec<_> = take(&store, FIRST_ENDPOINT + 900, 9)
        .await
        .into_iter()
        .map(|leased| leased.stored.delivery_id.clone().unwrap().to_string())
        .collect();
    assert_eq!(ids, ["warned", "paused", "over"]);
}

#[tokio::test]
async fn change_can_replay_and_add_units() {
    let database = Database::new();
    let store = database.open().await;
    let tenant = add_tenant(&store, "acme").await.origin;
    let (one, other) = (
        add(&store, tenant, None).await,
        add(&store, tenant, None).await,
    );
    let of = |endpoint: &Endpoint, unit| Seed {
        targets: (endpoint.target.0, 1),
        ..Seed::of(tenant.0, unit)
    };
    let (dead, missing) = (of(&one, Unit::Dead), of(&other, Unit::Dead));
    sow(&database, &[dead.clone(), missing.clone()]);
    let cause = Cause::Replay;
    let change = EndpointChange {
        endpoint: Endpoint {
            job: Some("{}".into()),
            cursor: Some(vec![1].into()),
            ..one.clone()
        },
        expected: 1,
        failing_since: None,
        acts: vec![
            (
                ActKind::Replay {
                    delivered: true,
                    cause,
                },
                vec![dead.id],
            ),
            (ActKind::Add { cause, lane: None }, vec![missing.id]),
        ],
        notice: None,
        audit: None,
    };
    store.change_endpoint(change).await.unwrap();
    let rows = store.rows(
        Scope::All,
        &[dead.id, missing.id],
        UnitsShown::Of(one.target),
    );
    let states = rows
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.units[0].status);
    assert_eq!(states.collect::<Vec<_>>(), [Status::Pending; 2]);
    assert_eq!(store.with_jobs(None, 9).await.unwrap().len(), 1);
}
