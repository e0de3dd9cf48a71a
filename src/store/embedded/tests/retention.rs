//! Tests of retention: deleting by age and size, and the space and IDs that it frees.
use super::*;
use crate::store::archive::{Act, ActKind, Retention, Scope, UnitsShown, Which, Whose};
use crate::store::contract::queue::{attempt, delivery, new, take};
use crate::store::queue::{
    Accept, Accepted, Dedupe, DeliveryRef, LeaseRequest, Next, OnDead, OriginId, Queue as _, Start,
    TargetId,
};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[tokio::test]
async fn retention_deletes_by_age_and_bytes_in_steps() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let (day, mut ids) = (Duration::from_secs(86_400), Vec::new());
    for number in 0..30 {
        let one = Accept {
            body: vec![1; 1000].into(),
            ..delivery(1, Start::Mine(LEASE))
        };
        let lease = new(store
            .accept(Arc::new(one.clone()), Dedupe::None)
            .await
            .unwrap())
        .remove(0);
        match number {
            0 => {}
            1 => drop(
                store
                    .settle(
                        lease,
                        Some(attempt(410)),
                        Next::Dead(crate::retry::Reason::Attempts),
                    )
                    .await
                    .unwrap(),
            ),
            _ => drop(
                store
                    .settle(lease, Some(attempt(200)), Next::Delivered)
                    .await
                    .unwrap(),
            ),
        }
        ids.push(one.id);
        clock.advance(Duration::from_secs(60));
    }
    let sweep = async |bytes, step| {
        let keep = [Retention {
            whose: Whose::One(OriginId(1)),
            age: day,
            dead: day * 7,
            bytes,
        }];
        store.sweep(&keep, step).await.unwrap()
    };
    assert_eq!(sweep(None, 100).await.done, 0, "young");
    // a delivery takes some 1,580 bytes, its rows in indexes included
    let (_, rows, bytes) = store.totals().await.unwrap().origins[0];
    let mut done = 0;
    loop {
        let step = sweep(Some(bytes + rows * 512 - 7_000), 2).await;
        assert!(step.done <= 2);
        done += step.done;
        if !step.more {
            break;
        }
    }
    assert_eq!(done, 5, "those that ended first, until it fits");
    let there = async |index: usize| {
        store
            .get(Scope::All, ids[index], UnitsShown::All)
            .await
            .unwrap()
            .is_some()
    };
    assert!(there(0).await, "it waits");
    assert!(there(1).await, "dead ones outlive delivered ones");
    assert!(!there(2).await && !there(6).await && there(7).await);
    clock.advance(day);
    let (mut done, mut steps) = (0, 0);
    while steps < 20 {
        done += sweep(None, 5).await.done;
        steps += 1;
    }
    assert_eq!(done, 23);
    assert_eq!(store.totals().await.unwrap().origins[0].1, 2);
    assert_eq!(
        sweep_at_once(&store, YEAR).await,
        1,
        "the dead one, once nothing else is left"
    );
}

/// Ages of what ended before this process began are told by the wall clock, which has to hold first. Bytes need no clock.
#[tokio::test]
async fn retention_by_bytes_starts_before_retention_by_age() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let day = Duration::from_secs(86_400);
    let deliver = async |store: &Embedded| {
        let lease = new(store
            .accept(Arc::new(delivery(1, Start::Mine(LEASE))), Dedupe::None)
            .await
            .unwrap())
        .remove(0);
        assert_eq!(
            store
                .settle(lease, Some(attempt(200)), Next::Delivered)
                .await
                .unwrap(),
            Ownership::Owned
        );
    };
    let sweep = async |store: &Embedded, age, bytes| {
        store
            .sweep(
                &[Retention {
                    whose: Whose::One(OriginId(1)),
                    age,
                    dead: day,
                    bytes,
                }],
                10,
            )
            .await
            .unwrap()
            .done
    };
    let store = open(directory.path(), &clock);
    for _ in 0..3 {
        deliver(&store).await;
    }
    drop(store);
    let store = open(directory.path(), &clock);
    clock.advance(Duration::from_secs(10));
    deliver(&store).await;
    clock.advance(Duration::from_secs(10));
    assert_eq!(
        sweep(&store, Duration::from_secs(5), None).await,
        1,
        "what this process saw the end of"
    );
    assert_eq!(
        sweep(&store, day, Some(2 * 512)).await,
        2,
        "two take more than two rows"
    );
    clock.advance(Duration::from_secs(601));
    assert_eq!(sweep(&store, Duration::from_secs(5), None).await, 1);
}

#[tokio::test]
async fn age_counts_from_the_end_of_a_delivery() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let (day, hour) = (Duration::from_secs(86_400), Duration::from_secs(3600));
    let keep = [Retention {
        whose: Whose::One(OriginId(1)),
        age: day,
        dead: day * 2,
        bytes: None,
    }];
    let (late, dead) = (
        delivery(1, Start::In(day * 3)),
        delivery(1, Start::In(day * 3)),
    );
    for one in [&late, &dead] {
        new(store
            .accept(Arc::new(one.clone()), Dedupe::None)
            .await
            .unwrap());
    }
    clock.advance(day * 3);
    for taken in take(&store, 1, 9).await {
        let next = if taken.stored.id == late.id {
            Next::Delivered
        } else {
            Next::Dead(crate::retry::Reason::Age)
        };
        assert_eq!(
            store
                .settle(taken.lease, Some(attempt(200)), next)
                .await
                .unwrap(),
            Ownership::Owned
        );
    }
    for (passed, done) in [(hour * 23, 0), (hour * 2, 1), (hour * 22, 0), (hour * 2, 1)] {
        clock.advance(passed);
        assert_eq!(
            store.sweep(&keep, 10).await.unwrap().done,
            done,
            "{passed:?}"
        );
    }
    // one that goes again is kept until it ends again
    let again = delivery(1, Start::Mine(LEASE));
    let lease = new(store
        .accept(Arc::new(again.clone()), Dedupe::None)
        .await
        .unwrap())
    .remove(0);
    assert_eq!(
        store
            .settle(
                lease,
                Some(attempt(410)),
                Next::Dead(crate::retry::Reason::Age)
            )
            .await
            .unwrap(),
        Ownership::Owned
    );
    clock.advance(day);
    let act = Act {
        kind: ActKind::Replay {
            delivered: false,
            cause: crate::store::queue::Cause::Replay,
        },
        which: Which::Ids(vec![again.id]),
        targets: Arc::default(),
        who: "t".into(),
        reason: "again".into(),
        description: None,
        goes_on: None,
    };
    assert_eq!(store.act(Scope::All, &act, 9).await.unwrap().done, 1);
    clock.advance(day * 2);
    assert_eq!(store.sweep(&keep, 10).await.unwrap().done, 0, "it waits");
    let taken = take(&store, 1, 9).await.remove(0);
    assert_eq!(
        store
            .settle(taken.lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    for (passed, done) in [(hour * 23, 0), (hour * 2, 1)] {
        clock.advance(passed);
        assert_eq!(
            store.sweep(&keep, 10).await.unwrap().done,
            done,
            "{passed:?}"
        );
    }
}

/// IDs are in the order of the wall clock. IDs drawn while it was ahead come after all later ones, which stay young for ever.
#[tokio::test]
async fn rows_dated_by_a_fast_clock_are_swept() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let keep = [Retention {
        whose: Whose::One(OriginId(1)),
        age: Duration::from_secs(60),
        dead: Duration::from_secs(60),
        bytes: None,
    }];
    let deliver = async |id| {
        let one = Accept {
            id,
            ..delivery(1, Start::Mine(LEASE))
        };
        let lease = new(store.accept(Arc::new(one), Dedupe::None).await.unwrap()).remove(0);
        assert_eq!(
            store
                .settle(lease, Some(attempt(200)), Next::Delivered)
                .await
                .unwrap(),
            Ownership::Owned
        );
    };
    clock.advance(Duration::from_secs(1));
    let ahead = DeliveryRef::first_of(DeliveryRef::draw().drawn_at() + YEAR);
    deliver(ahead).await;
    let mut done = 0;
    for _ in 0..5 {
        deliver(DeliveryRef::draw()).await;
        clock.advance(Duration::from_secs(30));
        done += store.sweep(&keep, 1).await.unwrap().done;
    }
    assert_eq!(
        done, 3,
        "the one from the future, and those after it that are old"
    );
    assert!(
        store
            .get(Scope::All, ahead, UnitsShown::All)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn freed_space_is_returned_to_the_disk() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let file = directory.path().join("hookgate.db");
    let store = open(directory.path(), &clock);
    for _ in 0..600 {
        let one = Accept {
            body: vec![1; 32 << 10].into(),
            ..delivery(1, Start::Mine(LEASE))
        };
        let lease = new(store.accept(Arc::new(one), Dedupe::None).await.unwrap()).remove(0);
        assert_eq!(
            store.settle(lease, None, Next::Delivered).await.unwrap(),
            Ownership::Owned
        );
    }
    until("counted", || store_used(&store) > 18 << 20).await;
    let keep = [Retention {
        whose: Whose::One(OriginId(1)),
        age: YEAR,
        dead: YEAR,
        bytes: Some(0),
    }];
    while store.sweep(&keep, 100).await.unwrap().more {}
    let size = || std::fs::metadata(&file).unwrap().len();
    until("given back", || size() < 6 << 20).await;
    until("counted", || store_used(&store) < 1 << 20).await;
    assert_eq!(store.totals().await.unwrap().origins[0].1, 0);
}

fn store_used(store: &Embedded) -> u64 {
    store.disk().map_or(0, |disk| disk.writes().used())
}

async fn sweep_at_once(store: &Embedded, age: Duration) -> u64 {
    store
        .sweep(
            &[Retention {
                whose: Whose::One(OriginId(1)),
                age,
                dead: age,
                bytes: Some(0),
            }],
            10,
        )
        .await
        .unwrap()
        .done
}

#[tokio::test]
async fn swept_undelivered_delivery_counts_as_new() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let mut store = open(directory.path(), &clock);
    let dedupe = |number| Dedupe::Key {
        key: key(number),
        window: YEAR,
        dead: OnDead::Keep,
    };
    let day = Duration::from_secs(86_400);
    for (age, bytes) in [(Duration::from_secs(60), None), (YEAR, Some(0))] {
        for (number, next) in [
            (1, Next::Dead(crate::retry::Reason::Attempts)),
            (2, Next::Cancelled),
            (3, Next::Delivered),
        ] {
            let lease = match store
                .accept(Arc::new(delivery(1, Start::Mine(LEASE))), dedupe(number))
                .await
                .unwrap()
            {
                Accepted::New(leases) => leases[0],
                // what was delivered in the round before
                duplicate @ (Accepted::Duplicate { .. }
                | Accepted::Other { .. }
                | Accepted::Revived { .. }
                | Accepted::InFlight { .. }) => {
                    assert_eq!((duplicate, number), (Accepted::Duplicate { of: None }, 3));
                    continue;
                }
            };
            assert_eq!(
                store.settle(lease, Some(attempt(410)), next).await.unwrap(),
                Ownership::Owned
            );
        }
        clock.advance(day);
        let keep = [Retention {
            whose: Whose::One(OriginId(1)),
            age,
            dead: age,
            bytes,
        }];
        while store.sweep(&keep, 100).await.unwrap().more {}
        assert_eq!(
            store.totals().await.unwrap().origins[0].1,
            0,
            "all are swept"
        );
        for restart in [false, true] {
            if restart {
                drop(store);
                store = open(directory.path(), &clock);
            }
            for (number, expected) in [
                (1, ClaimResult::Fresh),
                (2, ClaimResult::Fresh),
                (3, ClaimResult::Committed),
            ] {
                assert_eq!(
                    store.claim(key(number), Token(7), LEASE).await.unwrap(),
                    expected,
                    "{number}, restart: {restart}"
                );
                store.release_soon(key(number), Token(7));
            }
        }
        clock.advance(day);
    }
}

/// A duplicate of one that is purged before the duplicate reaches the disk is new.
#[tokio::test]
async fn purge_during_a_duplicate_loses_no_delivery() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = Arc::new(open(directory.path(), &clock));
    let dedupe = Dedupe::Key {
        key: key(1),
        window: WINDOW,
        dead: OnDead::Keep,
    };
    let first = delivery(1, Start::Anyone);
    new(store.accept(Arc::new(first.clone()), dedupe).await.unwrap());
    let other = rusqlite::Connection::open(directory.path().join("hookgate.db")).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let act = Act {
        kind: ActKind::Purge { waiting: true },
        which: Which::Ids(vec![first.id]),
        targets: Arc::default(),
        who: "anna".into(),
        reason: "purge".into(),
        description: None,
        goes_on: None,
    };
    let purging = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.act(Scope::All, &act, 9).await.unwrap().done })
    };
    tokio::task::yield_now().await;
    let second = delivery(1, Start::Anyone);
    let accepting = store.accept(Arc::new(second.clone()), dedupe);
    other.execute_batch("rollback").unwrap();
    assert_eq!(accepting.await.unwrap(), Accepted::New(Vec::new()));
    assert_eq!(purging.await.unwrap(), 1);
    assert_eq!(
        take(&*store, 1, 9)
            .await
            .iter()
            .map(|taken| taken.stored.id)
            .collect::<Vec<_>>(),
        [second.id]
    );
}

/// Cancelled units are counted apart from dead ones, and still are after a restart.
#[tokio::test]
async fn cancelled_units_are_counted_apart() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let one = delivery(1, Start::Anyone);
    let cancel = Act {
        kind: ActKind::Cancel,
        which: Which::Ids(vec![one.id]),
        targets: Arc::default(),
        who: "anna".into(),
        reason: "".into(),
        description: None,
        goes_on: None,
    };
    new(store.accept(Arc::new(one), Dedupe::None).await.unwrap());
    assert_eq!(store.act(Scope::All, &cancel, 9).await.unwrap().done, 1);
    let cancelled = [TargetCounts {
        cancelled: 1,
        ..counts_of(1, 0)
    }];
    assert_eq!(store.totals().await.unwrap().targets, cancelled);
    drop(store);
    let store = open(directory.path(), &clock);
    assert_eq!(store.totals().await.unwrap().targets, cancelled);
}

/// A target with many rows that are due does not hide one with a single row, nor make it slow.
#[tokio::test]
async fn a_dead_target_never_hides_a_live_one() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    drop(open(directory.path(), &clock));
    let other = rusqlite::Connection::open(directory.path().join("hookgate.db")).unwrap();
    let many = "begin;
        insert into delivery (id, origin, at, record, body)
            with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000)
            select cast(printf('%016d', i) as blob), 1, 0, x'0101000000000000', x'00' from n;
        insert into due (id, target, run_at, lease, leased, attempt_count, cause, since, last_attempt) select id, 1, row, 0, 0, 3, 0, 0, 3 from delivery;
        insert into tally values (1, 1, 200000, 0);
        commit;";
    other.execute_batch(many).unwrap();
    drop(other);
    let store = open(directory.path(), &clock);
    let mut slowest = Duration::ZERO;
    for turn in 0..50_u64 {
        new(store
            .accept(Arc::new(delivery(2, Start::Anyone)), Dedupe::None)
            .await
            .unwrap());
        let start = SystemClock.mono();
        let ready = store.ready(None, &Arc::default()).await.unwrap();
        assert_eq!(ready.targets, [TargetId(1), TargetId(2)]);
        let leased = store
            .lease(
                &[
                    LeaseRequest::of(TargetId(1), 1),
                    LeaseRequest::of(TargetId(2), 1),
                ],
                LEASE,
                0,
            )
            .await
            .unwrap();
        slowest = slowest.max(SystemClock.mono() - start);
        assert_eq!(leased.len(), 2, "turn {turn}");
        assert_eq!(
            leased[0].stored.id.0.as_bytes(),
            format!("{:016}", turn + 1).as_bytes(),
            "the longest due first"
        );
        for leased in leased {
            let next = if leased.lease.unit.target == TargetId(1) {
                Next::RetryIn(LEASE)
            } else {
                Next::Delivered
            };
            assert_eq!(
                store
                    .settle(leased.lease, Some(attempt(200)), next)
                    .await
                    .unwrap(),
                Ownership::Owned
            );
        }
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    assert_eq!(
        store.totals().await.unwrap().targets,
        [counts_of(1, 200_000), counts_of(2, 0)]
    );
}
