//! Heartbeats, tasks and sweeps over a server.
use std::sync::Arc;

use super::seed::{DAY, Seed, Unit, sow};
use super::*;
use crate::store::Store as _;
use crate::store::archive::{Archive as _, Retention, Whose};
use crate::store::postgres::Postgres;
use crate::store::postgres::call::{Call, Day};
use crate::store::postgres::fleet::Standby;
use crate::store::postgres::link::Lane;
use crate::store::queue::{FIRST_ENDPOINT, FIRST_TENANT, OriginId};

const HOUR: Duration = Duration::from_secs(3600);

fn keep(whose: Whose, age: Duration, bytes: Option<u64>) -> Retention {
    Retention {
        whose,
        age,
        dead: age * 4,
        bytes,
    }
}

/// Lets time pass, in which the clock of the store is seen to hold.
async fn pass(database: &Database, store: &Postgres, by: Duration) {
    store.upkeep.serves(Vec::new());
    assert!(store.beat().await.unwrap().is_some());
    database.clock.advance(by);
    assert!(store.beat().await.unwrap().is_some());
}

/// Sweeps until there is no more to do. Returns how many deliveries were deleted, and in how many steps.
async fn sweep(store: &Postgres, keep: &[Retention], step: u16) -> (u64, u32) {
    let (mut done, mut steps) = (0, 0);
    loop {
        let swept = store.sweep(keep, step).await.unwrap();
        (done, steps) = (done + swept.done, steps + 1);
        if !swept.more {
            return (done, steps);
        }
    }
}

async fn deliveries(store: &Postgres) -> Vec<(u32, u64)> {
    let totals = store.totals().await.unwrap();
    let origins = totals.origins.iter().map(|(of, rows, _)| (of.0, *rows));
    let tenants = (FIRST_TENANT, totals.tenants.deliveries);
    origins.chain([tenants]).collect()
}

#[tokio::test]
async fn heartbeats_tell_of_the_fleet() {
    let database = Database::new();
    let (one, other) = (database.open().await, database.open().await);
    assert_eq!(one.beat().await.unwrap(), None, "its config is not known");
    assert!(one.fleet().is_none());
    for (store, hash) in [(&one, "a"), (&other, "b")] {
        store.configured(hash, 1);
        store.upkeep.serves(vec![1, 2]);
        store
            .upkeep
            .keeps(&[("github".into(), crate::store::Key([7; 16]))]);
        store.beat().await.unwrap();
    }
    let fleet = other.fleet().unwrap();
    assert_eq!((fleet.gates, fleet.hashes, fleet.versions), (2, 2, 1));
    assert_eq!((fleet.days_ahead, fleet.standby), (7, Standby::None));
    assert!(fleet.writable && fleet.skew < HOUR);
    one.leave().await.unwrap();
    assert_eq!(one.beat().await.unwrap(), None, "it has left");
    other.configured("a", 2);
    other.beat().await.unwrap();
    let fleet = other.fleet().unwrap();
    assert_eq!((fleet.gates, fleet.hashes), (1, 1));
}

#[tokio::test]
async fn each_task_is_done_by_one_gateway() {
    let database = Database::new();
    let (one, other) = (database.open().await, database.open().await);
    one.upkeep.serves(Vec::new());
    let due = one.beat().await.unwrap().unwrap();
    assert!(due.len() > 7, "{due:?}");
    for task in &due {
        one.run(task).await.unwrap();
    }
    assert_eq!(one.take("ledger", HOUR).await.unwrap(), None, "not due");
    database.clock.advance(HOUR);
    assert_eq!(other.take("ledger", HOUR).await.unwrap(), Some(0));
    assert_eq!(
        one.take("ledger", HOUR).await.unwrap(),
        None,
        "another has it"
    );
    other.put("ledger", 77, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(one.take("ledger", HOUR).await.unwrap(), Some(77));
}

#[tokio::test]
async fn gateway_that_is_dropped_sends_no_heartbeat() {
    let database = Database::new();
    let store = Arc::new(database.open().await);
    store.upkeep.serves(Vec::new());
    let beating = tokio::spawn(Postgres::maintain(Arc::downgrade(&store)));
    while store.fleet().is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(store);
    tokio::time::timeout(Duration::from_secs(30), beating)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn sweep_deletes_what_is_over_and_not_before() {
    let database = Database::new();
    let (store, other) = (database.open().await, database.open().await);
    let mut seeds = Vec::new();
    for origin in [1, 2, FIRST_TENANT + 1, FIRST_TENANT + 2] {
        let targets = if origin < FIRST_TENANT {
            (origin, 1)
        } else {
            (FIRST_ENDPOINT + origin, 2)
        };
        let states = [Unit::Delivered; 6].into_iter();
        for unit in states.chain([Unit::Waiting, Unit::Dead, Unit::Cancelled]) {
            seeds.push(Seed {
                targets,
                ..Seed::of(origin, unit)
            });
        }
    }
    sow(&database, &seeds);
    let route = |age| keep(Whose::One(OriginId(1)), age, None);
    let all = [route(HOUR), keep(Whose::Tenants, HOUR * 6, None)];
    database.clock.advance(HOUR * 2);
    assert_eq!(
        sweep(&store, &all, 99).await,
        (0, 1),
        "the clock is not trusted yet"
    );
    pass(&database, &store, Duration::from_secs(601)).await;
    pass(&database, &other, Duration::from_secs(601)).await;
    assert_eq!(
        sweep(&store, &all, 4).await,
        (6, 2),
        "those that were delivered"
    );
    assert_eq!(
        sweep(&other, &all, 4).await,
        (0, 1),
        "another gateway does it"
    );
    let left = [(1, 3), (2, 9), (FIRST_TENANT, 18)];
    assert_eq!(deliveries(&store).await, left);
    database.clock.advance(HOUR * 2);
    assert_eq!(
        sweep(&store, &all, 99).await.0,
        2,
        "dead and cancelled ones"
    );
    database.clock.advance(HOUR * 2);
    assert_eq!(sweep(&other, &all, 5).await.0, 12, "by tenants, too");
    let left = [(1, 1), (2, 9), (FIRST_TENANT, 6)];
    assert_eq!(deliveries(&store).await, left);
    database.clock.advance(DAY);
    assert_eq!(sweep(&other, &all, 99).await.0, 4);
    let left = [(1, 1), (2, 9), (FIRST_TENANT, 2)];
    assert_eq!(deliveries(&store).await, left);
}

#[tokio::test]
async fn oldest_deliveries_go_while_there_are_too_many_bytes() {
    let database = Database::new();
    let store = database.open().await;
    let seeds: Vec<_> = [Unit::Waiting, Unit::Dead]
        .into_iter()
        .chain([Unit::Delivered; 8])
        .map(|unit| Seed::of(3, unit))
        .collect();
    sow(&database, &seeds);
    let of = |bytes| [keep(Whose::One(OriginId(3)), DAY, Some(bytes))];
    assert_eq!(sweep(&store, &of(1 << 30), 99).await, (0, 1));
    let half = store.totals().await.unwrap().origins[0].2 / 2 + 5 * 512;
    database.clock.advance(HOUR);
    assert_eq!(sweep(&store, &of(half), 99).await.0, 5);
    database.clock.advance(HOUR);
    assert_eq!(
        sweep(&store, &of(0), 2).await.0,
        4,
        "with the dead one at last"
    );
    assert_eq!(deliveries(&store).await, [(3, 1), (FIRST_TENANT, 0)]);
}

#[tokio::test]
async fn day_goes_when_nothing_of_it_is_kept() {
    let database = Database::new();
    let store = database.open().await;
    let seeds: Vec<_> = [Unit::Dead]
        .into_iter()
        .chain([Unit::Delivered; 8])
        .map(|unit| Seed::of(3, unit))
        .collect();
    sow(&database, &seeds);
    let keep = Retention {
        whose: Whose::One(OriginId(3)),
        age: DAY * 5,
        dead: DAY * 30,
        bytes: None,
    };
    let rows = async || deliveries(&store).await[0].1;
    pass(&database, &store, DAY * 4).await;
    assert_eq!(sweep(&store, &[keep], 99).await.0, 0);
    store.run("days").await.unwrap();
    assert_eq!(rows().await, 9, "too young");
    pass(&database, &store, DAY * 2).await;
    assert_eq!(
        sweep(&store, &[keep], 99).await.0,
        0,
        "they go with their day"
    );
    store.run("days").await.unwrap();
    assert_eq!(rows().await, 1, "the dead one stays");
    pass(&database, &store, DAY * 30).await;
    assert_eq!(sweep(&store, &[keep], 99).await.0, 1);
    store.run("days").await.unwrap();
    assert_eq!(rows().await, 0);
    let days = store
        .link
        .call(Lane::Looks, Call::look("days_1"))
        .await
        .unwrap();
    let days: Vec<Day> = days.iter().map(|row| row.get(0)).collect();
    assert!(
        !days.contains(&Day::of(seeds[0].id.drawn_at())),
        "its tables are gone"
    );
}
