//! Many tenants and endpoints.
use std::collections::HashSet;

use super::*;
use crate::store::archive::{Retention, Whose};
use crate::store::contract::events::{event, own};
use crate::store::contract::queue::{attempt, new, take};
use crate::store::queue::{FIRST_ENDPOINT, LeaseRequest, Next, Queue as _, Start, TargetId};

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
