//! The queue over a server.
use std::collections::HashSet;

use super::*;
use crate::store::contract;
use crate::store::contract::queue::{attempt, delivery, new, status, take};
use crate::store::queue::{
    Accept, Accepted, Dedupe, LeaseRequest, Next, OnDead, Queue as _, Start, TargetId,
};
use crate::store::{Key, Ledger as _, Ownership, Store as _, StoreError, Token};

const LEASE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn queue_contract_holds() {
    for database in Database::both() {
        let store = database.open().await;
        contract::queue::holds(&store, &database.clock).await;
        store.close().await.unwrap();
    }
}

/// A gateway finds the work that another leaves undone.
#[tokio::test]
async fn work_of_one_gateway_is_found_by_another() {
    let database = Database::new();
    let (one, other) = (database.open().await, database.open().await);
    let ready = async |store: &Postgres| {
        let found = store.ready(None, &Arc::default()).await.unwrap();
        found
            .targets
            .iter()
            .map(|target| target.0)
            .collect::<Vec<_>>()
    };
    assert!(ready(&other).await.is_empty());
    let accept = async |target| {
        let one = one.accept(Arc::new(delivery(target, Start::Anyone)), Dedupe::None);
        new(one.await.unwrap());
    };
    accept(41).await;
    assert_eq!(ready(&one).await, [41], "its own, at once");
    assert!(ready(&other).await.is_empty(), "it looked a moment ago");
    database.clock.advance(Duration::from_secs(1));
    assert_eq!(ready(&other).await, [41]);
    // the second finds nothing that the first holds
    assert_eq!(take(&one, 41, 9).await.len(), 1);
    assert!(take(&other, 41, 9).await.is_empty());
    let next = other.ready(None, &Arc::default()).await.unwrap().next_in;
    assert_eq!(next, Some(LEASE), "the lease of the first may lapse");
    database.clock.advance(LEASE);
    assert_eq!(ready(&other).await, [41]);
    assert_eq!(take(&other, 41, 9).await[0].lease.number, 2);
}

#[tokio::test]
async fn names_of_gateways_that_start_at_once_have_one_number() {
    let database = Database::new();
    let mut starting = Vec::new();
    for _ in 0..4 {
        let store = database.open().await;
        starting.push(tokio::spawn(async move {
            let names: Vec<_> = ["a", "b", "c"]
                .map(|name| crate::store::names::Named {
                    kind: crate::store::names::Kind::Route,
                    name: name.into(),
                    previously: Vec::new(),
                })
                .to_vec();
            store.numbers(&names).await.unwrap()
        }));
    }
    let mut all = Vec::new();
    for one in starting {
        all.push(one.await.unwrap());
    }
    assert!(all.iter().all(|numbers| *numbers == all[0]), "{all:?}");
}

/// Of many callers at once each gets its own answer, whatever goes into one call.
#[tokio::test]
async fn callers_at_once_get_their_own_answers() {
    let database = Database::new();
    let store = Arc::new(database.open().await);
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..600_u32 {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            // each key comes twice
            let mut key = [0; 16];
            key[..4].copy_from_slice(&(number / 2).to_be_bytes());
            key[12..].copy_from_slice(&(number / 2).to_be_bytes());
            let dedupe = Dedupe::Key {
                key: Key(key),
                window: LEASE,
                dead: OnDead::Revive,
            };
            let offered = delivery(50 + number % 7, Start::Mine(LEASE));
            let id = offered.id;
            match store.accept(Arc::new(offered), dedupe).await.unwrap() {
                Accepted::New(leases) => {
                    assert_eq!((leases.len(), leases[0].unit.delivery), (1, id));
                    let next = match number % 3 {
                        0 => Next::Delivered,
                        1 => Next::RetryIn(LEASE),
                        _ => Next::Cancelled,
                    };
                    let settled = store.settle(leases[0], Some(attempt(500)), next).await;
                    assert_eq!(settled.unwrap(), Ownership::Owned);
                    true
                }
                Accepted::Duplicate { of } => {
                    assert!(of.is_some_and(|of| of != id));
                    false
                }
                // the first was cancelled meanwhile
                Accepted::Revived { .. } => false,
                other @ (Accepted::Other { .. } | Accepted::InFlight { .. }) => panic!("{other:?}"),
            }
        });
    }
    let mut new = 0;
    while let Some(is_new) = callers.join_next().await {
        new += usize::from(is_new.unwrap());
    }
    assert_eq!(new, 300);
}

/// A row that cannot be stored fails alone.
#[tokio::test]
async fn bad_row_fails_alone() {
    let database = Database::new();
    database.execute("alter table hookgate.delivery add check (origin <> 66) not valid");
    let store = database.open().await;
    let accepts = [61, 66, 62].map(|target| {
        let offered = Arc::new(delivery(target, Start::Anyone));
        store.accept(offered, Dedupe::None)
    });
    let mut outcomes = Vec::new();
    for accept in accepts {
        outcomes.push(accept.await.map(new).ok());
    }
    assert_eq!(outcomes, [Some(Vec::new()), None, Some(Vec::new())]);
}

/// The clocks of gateways may differ by days: the tables of a day are made when they are missing.
#[tokio::test]
async fn delivery_of_a_day_without_tables_is_accepted() {
    let database = Database::new();
    let store = database.open().await;
    let month = u128::from(30_u64 * 86_400_000);
    let mut offered = delivery(63, Start::Mine(LEASE));
    offered.id.0 = uuid::Uuid::from_u128(offered.id.0.as_u128() + (month << 80));
    let accepted = store.accept(Arc::new(offered.clone()), Dedupe::None).await;
    let lease = new(accepted.unwrap())[0];
    let settled = store
        .settle(lease, Some(attempt(200)), Next::Delivered)
        .await;
    assert_eq!(settled.unwrap(), Ownership::Owned);
    let status = status(&store, offered.id).await;
    assert_eq!(status, [crate::store::archive::Status::Delivered]);
}

#[tokio::test]
async fn text_with_a_null_character_is_stored() {
    let database = Database::new();
    let store = database.open().await;
    let offered = Accept {
        delivery_id: Some("a\0b".into()),
        event_type: Some("\0".into()),
        ..delivery(64, Start::Anyone)
    };
    new(store.accept(Arc::new(offered), Dedupe::None).await.unwrap());
    let leased = take(&store, 64, 1).await.remove(0);
    assert_eq!(leased.stored.delivery_id.as_deref(), Some("a\u{fffd}b"));
    assert_eq!(leased.stored.event_type.as_deref(), Some("\u{fffd}"));
}

/// Results that were settled before the store was closed are in it.
#[tokio::test]
async fn closing_makes_what_waits() {
    let database = Database::new();
    let store = database.open().await;
    let mut leases = Vec::new();
    for _ in 0..20 {
        let offered = Arc::new(delivery(65, Start::Mine(LEASE)));
        leases.extend(new(store.accept(offered, Dedupe::None).await.unwrap()));
    }
    for lease in leases {
        drop(store.settle(lease, Some(attempt(200)), Next::Delivered));
    }
    for _ in 0..2 {
        store.close().await.unwrap();
    }
    let refused = store.claim(Key([1; 16]), Token(1), LEASE).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    let other = database.open().await;
    database.clock.advance(LEASE * 2);
    let found = other.ready(None, &Arc::new(HashSet::new())).await.unwrap();
    assert_eq!((found.targets, found.next_in), (Vec::new(), None));
    let request = LeaseRequest::of(TargetId(65), 9);
    assert!(other.lease(&[request], LEASE, 0).await.unwrap().is_empty());
}

/// Gateways that are offered the same deliveries at once accept each once, and hand each on once, in the order of its lane.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_share_the_work() {
    const GATEWAYS: usize = 4;
    const DELIVERIES: u32 = 150;
    let database = Database::new();
    let mut stores = Vec::new();
    for _ in 0..GATEWAYS {
        stores.push(Arc::new(database.open().await));
    }
    let handed_on = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let mut tasks = tokio::task::JoinSet::new();
    for store in &stores {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            for number in 0..DELIVERIES {
                let dedupe = Dedupe::Key {
                    key: Key(u128::from(number).to_be_bytes()),
                    window: LEASE,
                    dead: OnDead::Revive,
                };
                let mut offered = delivery(70 + number % 3, Start::Anyone);
                let lane = u8::try_from(number % 5).unwrap();
                offered.to[0].lane = Some(crate::store::queue::Lane([lane; 16]));
                let offered = Arc::new(offered);
                let accept = || store.accept(Arc::clone(&offered), dedupe);
                // calls that change the same at once may have to be made again
                while crate::store::repeated(accept).await.is_err() {}
            }
        });
    }
    for store in &stores {
        let (store, handed_on) = (Arc::clone(store), Arc::clone(&handed_on));
        tasks.spawn(async move {
            while handed_on.lock().len() < usize::try_from(DELIVERIES).unwrap() {
                let requests = [70, 71, 72].map(|target| LeaseRequest::of(TargetId(target), 4));
                let Ok(leased) = store.lease(&requests, LEASE, 0).await else {
                    continue;
                };
                for one in leased {
                    let lane = (one.lease.unit.target, one.lane);
                    assert_eq!(one.lease.number, 1);
                    let number = u128::from_be_bytes(one.stored.key.unwrap().0);
                    handed_on.lock().push((lane, number));
                    let settle = || store.settle(one.lease, Some(attempt(200)), Next::Delivered);
                    let settled = loop {
                        if let Ok(settled) = crate::store::repeated(settle).await {
                            break settled;
                        }
                    };
                    assert_eq!(settled, Ownership::Owned);
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let handed_on = handed_on.lock().clone();
    let numbers: HashSet<_> = handed_on.iter().map(|(_, number)| *number).collect();
    assert_eq!((handed_on.len(), numbers.len()), (150, 150));
    let lanes: HashSet<_> = handed_on.iter().map(|(lane, _)| *lane).collect();
    for lane in lanes {
        let of_lane = handed_on.iter().filter(|(of, _)| *of == lane);
        let numbers: Vec<_> = of_lane.map(|(_, number)| *number).collect();
        assert!(numbers.len() == 10 && numbers.is_sorted(), "{numbers:?}");
    }
    let totals = crate::store::archive::Archive::totals(&*stores[0])
        .await
        .unwrap();
    assert!(totals.targets.iter().all(|target| target.waiting == 0));
}
