//! Many tenants and endpoints.
use std::collections::HashSet;

use super::*;
use crate::retry::Reason;
use crate::store::address_book::{AddressBook as _, Endpoint, EndpointState};
use crate::store::archive::{ActKind, Retention, Scope, Status, UnitsShown, Whose};
use crate::store::contract::address_book::{LIMIT, add_tenant, endpoint};
use crate::store::contract::events::{act_on, event, own};
use crate::store::contract::queue::{attempt, new, status, take};
use crate::store::queue::{
    Accept, Cause, DeliveryRef, FIRST_ENDPOINT, Lane, LeaseRequest, NewUnit, Next, Queue as _,
    Start, TargetId,
};

/// Every tenant gets its turn, though one step looks at some of them.
#[tokio::test]
async fn events_of_all_tenants_are_swept() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    for tenant in 1..=200 {
        let one = event(tenant, tenant, "only", Start::Mine(LEASE));
        let lease = new(store.accept(Arc::new(one), own(1)).await.unwrap())[0];
        let settled = store.settle(lease, Some(attempt(200)), Next::Delivered);
        assert_eq!(settled.await.unwrap(), Ownership::Owned);
    }
    let keep = [Retention {
        whose: Whose::Tenants,
        age: WINDOW,
        dead: WINDOW,
        bytes: None,
    }];
    assert_eq!(store.sweep(&keep, 50).await.unwrap().done, 0);
    clock.advance(WINDOW * 2);
    let mut steps = 0;
    while store.totals().await.unwrap().tenants.deliveries > 0 {
        assert!(store.sweep(&keep, 50).await.unwrap().done <= 50);
        steps += 1;
        assert!(steps < 20, "{steps}");
    }
    assert_eq!(store.sweep(&keep, 50).await.unwrap().done, 0);
}

/// Fills a store with one waiting unit for each of many endpoints, and with many units for one.
fn fill(path: &Path, endpoints: u32, units: u32) {
    let file = rusqlite::Connection::open(path.join("hookgate.db")).unwrap();
    let unit = "insert into due (id, target, run_at, lease, leased, attempt_count, cause, since, last_attempt)
        values (?1, ?2, ?3, 0, 0, ?4, 0, 0, 0)";
    file.execute_batch("begin").unwrap();
    let mut statement = file.prepare(unit).unwrap();
    let later = 1_i64 << 60;
    for number in 0..endpoints {
        let id = u128::from(number).to_be_bytes();
        let target = FIRST_ENDPOINT + number;
        statement
            .execute(rusqlite::params![id, target, later, number % 2])
            .unwrap();
    }
    for number in 0..units {
        let id = (u128::from(number) + (1 << 64)).to_be_bytes();
        let target = FIRST_ENDPOINT + endpoints;
        statement
            .execute(rusqlite::params![id, target, number, 0])
            .unwrap();
    }
    drop(statement);
    file.execute_batch("commit").unwrap();
}

/// A look costs what it returns, and a unit of any endpoint is found although all others wait.
#[tokio::test]
async fn endpoint_that_is_due_is_found_among_many_that_wait() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    drop(open(directory.path(), &clock));
    let (endpoints, units) = (5000, 20_000);
    fill(directory.path(), endpoints, units);
    let store = open(directory.path(), &clock);
    let none = Arc::default();
    let busy = TargetId(FIRST_ENDPOINT + endpoints);
    let ready = store.ready(None, &none).await.unwrap();
    assert_eq!((&*ready.targets, ready.more), (&[busy][..], false));
    for number in [0, 77, 4999, 6000] {
        let id = format!("event-{number}");
        let one = event(1, number, &id, Start::Anyone);
        new(store.accept(Arc::new(one), own(1)).await.unwrap());
        let target = TargetId(FIRST_ENDPOINT + number);
        let ready = store.ready(None, &none).await.unwrap();
        let found: HashSet<_> = ready.targets.into_iter().collect();
        assert_eq!(found, HashSet::from([busy, target]));
        assert_eq!(take(&store, target.0, 9).await.len(), 1);
    }
}

/// More endpoints are due than one look returns: all are served in turn.
#[tokio::test]
async fn many_due_endpoints_take_turns() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let count = 700;
    for number in 0..count {
        for event_number in 0..2 {
            let id = format!("event-{number}-{event_number}");
            let one = event(1, number, &id, Start::Anyone);
            new(store.accept(Arc::new(one), own(1)).await.unwrap());
        }
    }
    let (none, mut served) = (Arc::default(), vec![0_u32; 700]);
    for round in 0..10 {
        let ready = store.ready(None, &none).await.unwrap();
        assert!(ready.targets.len() <= 256);
        assert!(ready.more || round >= 5, "round {round}");
        let requests: Vec<_> = ready
            .targets
            .iter()
            .map(|target| LeaseRequest::of(*target, 1))
            .collect();
        let leased = store.lease(&requests, LEASE, 0).await.unwrap();
        for leased in leased {
            let number = leased.lease.unit.target.0 - FIRST_ENDPOINT;
            served[usize::try_from(number).unwrap()] += 1;
        }
        let (least, most) = (served.iter().min(), served.iter().max());
        assert!(most.unwrap() - least.unwrap() <= 1, "round {round}");
    }
    assert_eq!(served, vec![2; 700]);
}

/// A publish is in flight while its endpoint is removed: nothing would end the unit afterwards.
#[tokio::test]
async fn units_for_a_removed_endpoint_are_dead_from_the_beginning() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let tenant = add_tenant(&store, "acme").await;
    let [removed, other] = [
        store.reserve_endpoint().await.unwrap(),
        store.reserve_endpoint().await.unwrap(),
    ];
    let mut row = endpoint(removed, tenant.origin, None);
    let mut expected = None;
    for (number, state) in (0..).zip([
        EndpointState::Active,
        EndpointState::Paused,
        EndpointState::Removing,
        EndpointState::Removed,
    ]) {
        row = Endpoint { state, ..row };
        store
            .save_endpoint(row.clone(), expected, LIMIT, None)
            .await
            .unwrap();
        expected = Some(expected.unwrap_or(0) + 1);
        let is_over = number >= 2;
        for start in [Start::Anyone, Start::Mine(LEASE)] {
            let id = format!("{number}-{start:?}");
            let mut one = event(1, 0, &id, start);
            one.origin = tenant.origin;
            one.to[0].target = removed;
            one.to[0].lane = Some(Lane([1; 16]));
            let alone = one.id;
            new(store.accept(Arc::new(one.clone()), own(1)).await.unwrap());
            let mut to_both = Accept {
                id: DeliveryRef::draw(),
                delivery_id: Some(format!("both-{id}").into()),
                ..one
            };
            let second = NewUnit {
                target: other,
                ..to_both.to[0].clone()
            };
            to_both.to.push(second);
            let both = to_both.id;
            new(store.accept(Arc::new(to_both), own(1)).await.unwrap());
            let first = if is_over {
                Status::Dead
            } else {
                Status::Pending
            };
            assert_eq!(status(&store, alone).await, [first], "{state:?}");
            assert_eq!(status(&store, both).await, [first, Status::Pending]);
            let rows = store.rows(Scope::All, &[alone], UnitsShown::All).await;
            let reason = rows.unwrap()[0].units[0].reason;
            assert_eq!(reason, is_over.then_some(Reason::Removed));
            if is_over {
                let replay = ActKind::Replay {
                    delivered: false,
                    cause: Cause::Replay,
                };
                act_on(&store, replay, &[alone]).await;
                assert_eq!(status(&store, alone).await, [Status::Dead]);
            }
        }
    }
    assert_eq!(store.sums(tenant.origin).await.unwrap().dead, 8);
    // what is over is deleted in the end
    clock.advance(WINDOW * 2);
    let keep = [Retention {
        whose: Whose::Tenants,
        age: WINDOW,
        dead: WINDOW,
        bytes: None,
    }];
    assert_eq!(store.sweep(&keep, 50).await.unwrap().done, 4);
}

/// Accepts an event of an endpoint, in its lane or in none.
async fn accept_one(store: &Embedded, endpoint: u32, id: &str, ordered: bool) -> DeliveryRef {
    // IDs are ordered by the wall clock of the machine
    tokio::time::sleep(Duration::from_millis(2)).await;
    let mut one = event(1, endpoint, id, Start::Anyone);
    one.to[0].lane = ordered.then_some(Lane([0; 16]));
    let delivery = one.id;
    new(store.accept(Arc::new(one), own(1)).await.unwrap());
    delivery
}

/// Leases all due units of an endpoint, and settles them. Returns their deliveries.
async fn settle_all(store: &Embedded, endpoint: u32, next: Next) -> Vec<DeliveryRef> {
    let mut found = Vec::new();
    for leased in take(store, FIRST_ENDPOINT + endpoint, 99).await {
        let answer = if next == Next::Delivered { 200 } else { 500 };
        let settled = store.settle(leased.lease, Some(attempt(answer)), next);
        assert_eq!(settled.await.unwrap(), Ownership::Owned);
        found.push(leased.stored.id);
    }
    found
}

/// An endpoint becomes `ordered`: the first event in order waits until all older ones are over, however they end.
#[tokio::test]
async fn ordered_events_wait_for_older_ones_in_no_lane() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let mut older = Vec::new();
    for number in 0..3 {
        older.push(accept_one(&store, 1, &format!("older-{number}"), false).await);
    }
    assert_eq!(
        settle_all(&store, 1, Next::RetryIn(WINDOW)).await.len(),
        3,
        "they fail"
    );
    let mut ordered = Vec::new();
    for number in 0..3 {
        ordered.push(accept_one(&store, 1, &format!("ordered-{number}"), true).await);
    }
    assert_eq!(settle_all(&store, 1, Next::Delivered).await, []);
    assert_eq!(act_on(&store, ActKind::Cancel, &older[..1]).await, 1);
    let purge = ActKind::Purge { waiting: true };
    assert_eq!(act_on(&store, purge, &older[1..2]).await, 1);
    assert_eq!(settle_all(&store, 1, Next::Delivered).await, []);
    drop(store);
    let store = open(directory.path(), &clock);
    clock.advance(WINDOW);
    let work = store.work();
    assert_eq!(settle_all(&store, 1, Next::Delivered).await, older[2..]);
    // the worker may sleep: the slot of the older one was free before its result was saved
    tokio::time::timeout(WINDOW, work).await.unwrap();
    for id in &ordered {
        let ready = store.ready(None, &Arc::default()).await.unwrap();
        assert_eq!(ready.targets, [TargetId(FIRST_ENDPOINT + 1)]);
        assert_eq!(settle_all(&store, 1, Next::Delivered).await, [*id]);
    }
}

/// An endpoint is not `ordered` any more: new events do not wait, and those in order do not wait for new ones.
#[tokio::test]
async fn events_in_order_end_although_newer_ones_are_in_no_lane() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let mut ordered = Vec::new();
    for number in 0..3 {
        ordered.push(accept_one(&store, 1, &format!("ordered-{number}"), true).await);
    }
    let newer = accept_one(&store, 1, "newer", false).await;
    let again = accept_one(&store, 1, "again", true).await;
    let both = settle_all(&store, 1, Next::RetryIn(WINDOW)).await;
    assert_eq!(both, [ordered[0], newer]);
    clock.advance(WINDOW);
    let first = take(&store, FIRST_ENDPOINT + 1, 1).await.remove(0);
    assert_eq!(first.stored.id, ordered[0]);
    let settled = store.settle(first.lease, Some(attempt(200)), Next::Delivered);
    settled.await.unwrap();
    let second = take(&store, FIRST_ENDPOINT + 1, 9).await;
    let ids: HashSet<_> = second.iter().map(|leased| leased.stored.id).collect();
    assert_eq!(ids, HashSet::from([newer, ordered[1]]));
    for leased in second {
        let next = if leased.stored.id == newer {
            Next::RetryIn(WINDOW)
        } else {
            Next::Delivered
        };
        let settled = store.settle(leased.lease, Some(attempt(200)), next);
        settled.await.unwrap();
    }
    assert_eq!(
        settle_all(&store, 1, Next::Delivered).await,
        ordered[2..],
        "newer events in no lane do not hold up older ones"
    );
    assert_eq!(
        settle_all(&store, 1, Next::Delivered).await,
        [],
        "the newest waits for what is older"
    );
    clock.advance(WINDOW);
    assert_eq!(settle_all(&store, 1, Next::Delivered).await, [newer]);
    assert_eq!(settle_all(&store, 1, Next::Delivered).await, [again]);
}
