//! Tests of retention: clocks that are set, expiry, dead targets, damaged files.
use super::*;
use crate::store::archive::{Act, ActKind, Forgetting, Retention, Scope, Which};
use crate::store::contract::queue::{attempt, delivery, new, take};
use crate::store::queue::{
    Accept, Accepted, CUT_OFF, Dedupe, DeliveryRef, LeaseRequest, Next, OnDead, OriginId,
    Queue as _, Start, TargetId,
};

const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[tokio::test]
async fn queue_contract_holds() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    contract::queue::holds(&open(directory.path(), &clock), &clock).await;
}

#[tokio::test]
async fn store_without_a_disk_has_no_queue() {
    let store = Embedded::in_memory(10, HandClock::new()).unwrap();
    for error in [
        store
            .accept(Arc::new(delivery(1, Start::Anyone)), Dedupe::None)
            .await
            .unwrap_err(),
        store.ready(None).await.unwrap_err(),
        store
            .lease(&[LeaseRequest::of(TargetId(1), 1)], LEASE, 0)
            .await
            .unwrap_err(),
        store.totals().await.unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    }
}

#[tokio::test]
async fn accepted_delivery_survives_a_restart_with_its_commit() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let one = delivery(1, Start::Mine(LEASE));
    let dedupe = Dedupe::Key {
        key: key(1),
        window: WINDOW,
        dead: OnDead::Revive,
    };
    let lease = new(store.accept(Arc::new(one.clone()), dedupe).await.unwrap()).remove(0);
    drop(store);
    let store = open(directory.path(), &clock);
    assert_eq!(
        store.claim(key(1), Token(7), LEASE).await.unwrap(),
        ClaimResult::Committed
    );
    let taken = take(&store, 1, 1).await.remove(0);
    assert_eq!(
        (taken.stored.body.clone(), taken.lease.number),
        (one.body, 2),
        "its holder is gone, its lease with it"
    );
    assert_eq!(
        store
            .settle(lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Lost
    );
    assert_eq!(
        store.totals().await.unwrap().targets,
        [counts_of(1, 1)],
        "the sums too"
    );
}

/// A delivery that crashes the gateway at each attempt does so more and more seldom and holds up no other. One that was cut off once is
/// not held up.
#[tokio::test]
async fn repeatedly_interrupted_delivery_waits_longer_each_time() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let mut store = open(directory.path(), &clock);
    let killer = delivery(1, Start::Mine(LEASE));
    new(store
        .accept(Arc::new(killer.clone()), Dedupe::None)
        .await
        .unwrap());
    for (number, pause) in [(2, 0), (3, 1), (4, 2), (5, 4)] {
        drop(store);
        store = open(directory.path(), &clock);
        if pause > 0 {
            clock.advance(Duration::from_secs(pause) - Duration::from_millis(1));
            assert!(take(&store, 1, 1).await.is_empty(), "{number}");
            clock.advance(Duration::from_millis(1));
        }
        assert_eq!(take(&store, 1, 1).await.remove(0).lease.number, number);
    }
    let shown = store
        .get(Scope::All, killer.id)
        .await
        .unwrap()
        .unwrap()
        .attempts;
    let rows: Vec<_> = shown
        .iter()
        .map(|shown| (shown.number, shown.attempt.error.as_deref()))
        .collect();
    assert_eq!(
        rows,
        [1, 2, 3, 4].map(|number| (number, Some(CUT_OFF))),
        "each is on record"
    );
    assert_eq!(shown[0].attempt.started, killer.id.drawn_at());
    let bystander = delivery(1, Start::Mine(LEASE));
    new(store
        .accept(Arc::new(bystander.clone()), Dedupe::None)
        .await
        .unwrap());
    drop(store);
    store = open(directory.path(), &clock);
    let taken = take(&store, 1, 9).await;
    assert_eq!(
        taken
            .iter()
            .map(|taken| taken.stored.id)
            .collect::<Vec<_>>(),
        [bystander.id]
    );
    assert_eq!(
        store
            .settle(taken[0].lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    // a try whose outcome is known ends the row of those that are not
    clock.advance(Duration::from_secs(8));
    let known = take(&store, 1, 9).await.remove(0);
    assert_eq!((known.stored.id, known.attempts), (killer.id, 0));
    assert_eq!(
        store
            .settle(
                known.lease,
                Some(attempt(500)),
                Next::RetryIn(Duration::ZERO)
            )
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert_eq!(take(&store, 1, 9).await.len(), 1);
    drop(store);
    assert_eq!(take(&open(directory.path(), &clock), 1, 9).await.len(), 1);
}

/// A lease that was given back was no attempt: it leaves no row, and a delivery does not wait for it.
#[tokio::test]
async fn returned_lease_adds_no_wait_at_a_restart() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let mut store = open(directory.path(), &clock);
    let one = delivery(1, Start::Anyone);
    new(store
        .accept(Arc::new(one.clone()), Dedupe::None)
        .await
        .unwrap());
    for _ in 0..5 {
        let leased = take(&store, 1, 1).await.remove(0);
        assert_eq!(leased.lease.attempt, 1);
        assert_eq!(
            store
                .settle(leased.lease, None, Next::GiveBack)
                .await
                .unwrap(),
            Ownership::Owned
        );
    }
    assert_eq!(take(&store, 1, 1).await.len(), 1);
    drop(store);
    store = open(directory.path(), &clock);
    let leased = take(&store, 1, 1).await;
    assert_eq!(
        leased
            .iter()
            .map(|leased| leased.lease.attempt)
            .collect::<Vec<_>>(),
        [2],
        "it is due at once"
    );
}

/// A year ahead, then an hour back, with restarts between: attempts are made when they are due, nothing is purged.
#[tokio::test]
async fn set_clock_loses_and_delays_no_delivery() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let mut store = open(directory.path(), &clock);
    let keep = [Retention {
        origin: OriginId(1),
        age: YEAR / 12,
        dead: YEAR / 12,
        bytes: None,
    }];
    let done = delivery(1, Start::Mine(LEASE));
    let lease = new(store
        .accept(Arc::new(done.clone()), Dedupe::None)
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
    let waits = delivery(1, Start::In(Duration::from_secs(3600)));
    let dedupe = Dedupe::Key {
        key: key(1),
        window: WINDOW,
        dead: OnDead::Revive,
    };
    new(store.accept(Arc::new(waits.clone()), dedupe).await.unwrap());
    for (ahead, restart) in [(true, false), (false, false), (true, true), (false, true)] {
        let running = if restart {
            drop(store);
            None
        } else {
            Some(store)
        };
        if ahead {
            clock.jump(YEAR);
        } else {
            clock.jump_back(YEAR + Duration::from_secs(3600));
        }
        // set while nothing runs, it cannot be told from a pause, of which a day counts at most
        store = running.unwrap_or_else(|| open(directory.path(), &clock));
        clock.advance(Duration::from_secs(601));
        assert_eq!(store.sweep(&keep, 100).await.unwrap().done, 0);
        assert!(store.get(Scope::All, done.id).await.unwrap().is_some());
        assert_eq!(
            store.claim(key(1), Token(7), LEASE).await.unwrap(),
            ClaimResult::Committed
        );
    }
    clock.advance(Duration::from_secs(3600));
    assert_eq!(
        take(&store, 1, 9).await.len(),
        1,
        "it is due, whatever the wall clock says"
    );
    clock.advance(YEAR / 11);
    assert_eq!(
        store.sweep(&keep, 100).await.unwrap().done,
        1,
        "elapsed time does end it"
    );
    assert!(
        store.get(Scope::All, waits.id).await.unwrap().is_some(),
        "what waits is kept"
    );
}

#[tokio::test]
async fn clock_jump_moves_no_attempt() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    new(store
        .accept(Arc::new(delivery(1, Start::In(LEASE))), Dedupe::None)
        .await
        .unwrap());
    clock.jump(YEAR);
    assert!(take(&store, 1, 9).await.is_empty());
    clock.jump_back(YEAR + Duration::from_secs(3600));
    clock.advance(LEASE);
    assert_eq!(take(&store, 1, 9).await.remove(0).age, LEASE);
}

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
            origin: OriginId(1),
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
    let there = async |index: usize| store.get(Scope::All, ids[index]).await.unwrap().is_some();
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
                    origin: OriginId(1),
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
        origin: OriginId(1),
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
        origin: OriginId(1),
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
    assert!(store.get(Scope::All, ahead).await.unwrap().is_none());
}

/// The file is marked before anything is acknowledged. Only a clean end with nothing left removes the mark.
#[tokio::test]
async fn store_records_whether_it_holds_deliveries() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let says = || directory.path().join("has-deliveries").exists();
    let restarted = |store: Embedded| {
        drop(store);
        (says(), open(directory.path(), &clock))
    };
    let store = open(directory.path(), &clock);
    let mut recorded = delivery(1, Start::Over(None));
    recorded.to[0].attempts = vec![attempt(200)];
    new(store
        .accept(Arc::new(recorded), Dedupe::None)
        .await
        .unwrap());
    assert!(!says(), "what was delivered is no loss");
    let lease = new(store
        .accept(Arc::new(delivery(1, Start::Mine(LEASE))), Dedupe::None)
        .await
        .unwrap())
    .remove(0);
    assert!(says());
    let (was_restored, store) = restarted(store);
    assert!(was_restored, "it waits");
    let lease = take(&store, 1, 1)
        .await
        .pop()
        .map_or(lease, |taken| taken.lease);
    assert_eq!(
        store
            .settle(lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert!(says(), "not while it runs: a crash could take the end back");
    let (was_restored, store) = restarted(store);
    assert!(!was_restored && !says());
    let mut dead = delivery(1, Start::Over(Some(crate::retry::Reason::Age)));
    dead.to[0].attempts = vec![attempt(500)];
    new(store.accept(Arc::new(dead), Dedupe::None).await.unwrap());
    assert!(restarted(store).0, "it is dead, and can be replayed");
    // one that came without its file gets it
    std::fs::remove_file(directory.path().join("has-deliveries")).unwrap();
    drop(open(directory.path(), &clock));
    assert!(says());
}

/// A version before 3 left no such file, so it is unknown whether its damaged store is empty.
#[tokio::test]
async fn damaged_store_of_an_older_version_is_not_set_aside() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    drop(open(directory.path(), &clock));
    std::fs::write(directory.path().join("hookgate.lock"), "123\n").unwrap();
    let whole = std::fs::read(directory.path().join("hookgate.db")).unwrap();
    std::fs::write(
        directory.path().join("hookgate.db"),
        &whole[..whole.len() / 2],
    )
    .unwrap();
    for _ in 0..2 {
        let error = Embedded::open(directory.path(), 10, clock.clone()).unwrap_err();
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    }
    std::fs::write(directory.path().join("hookgate.db"), &whole).unwrap();
    drop(open(directory.path(), &clock));
    std::fs::write(
        directory.path().join("hookgate.db"),
        &whole[..whole.len() / 2],
    )
    .unwrap();
    assert!(
        Embedded::open(directory.path(), 10, clock)
            .unwrap()
            .alarm
            .is_some(),
        "this version knows that it held nothing"
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
        origin: OriginId(1),
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

#[test]
fn full_disk_keeps_its_room_for_outcomes() {
    use crate::store::embedded::queue::recorded;
    let of = |next, is_full| {
        recorded(Some(attempt(503)), next, is_full)
            .map(|attempt| (attempt.status, attempt.body.len()))
    };
    let (retry, probe) = (Next::RetryIn(LEASE), Next::Later(LEASE));
    assert_eq!(
        [of(retry, false), of(probe, false)],
        [Some((Some(503), 6)); 2]
    );
    assert_eq!(
        [of(retry, true), of(probe, true)],
        [Some((Some(503), 0)), None]
    );
}

/// A request that was sent has its number for good, whether or not there is room for its row.
#[tokio::test]
async fn full_disk_repeats_no_attempt_number() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let one = delivery(1, Start::Anyone);
    new(store
        .accept(Arc::new(one.clone()), Dedupe::None)
        .await
        .unwrap());
    let mut sent = Vec::new();
    for made in [true, true, false, true] {
        let lease = take(&store, 1, 1).await.remove(0).lease;
        store.disk().unwrap().room().fill();
        assert_eq!(
            store
                .settle(
                    lease,
                    made.then(|| attempt(503)),
                    Next::Later(Duration::ZERO)
                )
                .await
                .unwrap(),
            Ownership::Owned
        );
        sent.extend(made.then_some(lease.attempt));
    }
    assert_eq!(sent, [1, 2, 3]);
    assert_eq!(
        store
            .get(Scope::All, one.id)
            .await
            .unwrap()
            .unwrap()
            .attempts
            .len(),
        0,
        "their rows are left out"
    );
}

/// The time is saved every ten seconds, not in each round of the thread: 4 KiB a second are 350 MB a day.
#[tokio::test]
async fn an_idle_store_writes_nothing_until_the_time_is_due() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let _store = open(directory.path(), &clock);
    // a log that was copied is written from its beginning again, and does not grow
    let log = || {
        std::fs::metadata(directory.path().join("hookgate.db-wal"))
            .map(|file| (file.len(), file.modified().unwrap()))
            .ok()
    };
    let before = log();
    clock.advance(Duration::from_secs(11));
    until("the time is kept", || log() != before).await;
    let was_restored = log();
    // three rounds of the thread
    tokio::time::sleep(Duration::from_millis(3200)).await;
    assert_eq!(log(), was_restored);
    clock.advance(Duration::from_secs(11));
    until("the time is kept again", || log() != was_restored).await;
}

async fn sweep_at_once(store: &Embedded, age: Duration) -> u64 {
    store
        .sweep(
            &[Retention {
                origin: OriginId(1),
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
            origin: OriginId(1),
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
        let start = crate::clock::SystemClock.mono();
        let ready = store.ready(None).await.unwrap();
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
        slowest = slowest.max(crate::clock::SystemClock.mono() - start);
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

#[tokio::test]
async fn a_damaged_store_with_deliveries_is_not_opened() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    for _ in 0..100 {
        new(store
            .accept(Arc::new(delivery(1, Start::Anyone)), Dedupe::None)
            .await
            .unwrap());
    }
    drop(store);
    let file = directory.path().join("hookgate.db");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 5000]).unwrap();
    let opening = Opening::default();
    let error = Embedded::open_with(directory.path(), 10, clock.clone(), opening).unwrap_err();
    let description = error.to_string();
    assert!(matches!(error, OpenError::Damaged { .. }), "{description}");
    assert!(
        description.contains("hookgate.db")
            && description.contains("sqlite3")
            && description.contains(".recover"),
        "{description}"
    );
    assert_eq!(
        std::fs::read(&file).unwrap().len(),
        whole.len() - 5000,
        "it is left as it is"
    );
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(
        take(&open(directory.path(), &clock), 1, 1000).await.len(),
        100
    );
}

/// A window is taken as it is written: only a delivery that waits holds its key longer.
#[tokio::test]
async fn key_ends_with_its_window_once_delivered() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let mut store = open(directory.path(), &clock);
    let window = Duration::from_secs(10);
    let dedupe = Dedupe::Key {
        key: key(1),
        window,
        dead: OnDead::Revive,
    };
    for restart in [false, true] {
        let lease = new(store
            .accept(Arc::new(delivery(1, Start::Mine(LEASE))), dedupe)
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
        if restart {
            drop(store);
            store = open(directory.path(), &clock);
        }
        clock.advance(window - Duration::from_secs(1));
        assert_eq!(
            store.claim(key(1), Token(7), LEASE).await.unwrap(),
            ClaimResult::Committed,
            "restart: {restart}"
        );
        clock.advance(Duration::from_secs(2));
        assert_eq!(
            store.claim(key(1), Token(7), LEASE).await.unwrap(),
            ClaimResult::Fresh,
            "restart: {restart}"
        );
        store.release_soon(key(1), Token(7));
    }
}

/// However long it waits, no second one is accepted. Once it is over, its key does not outlive its window.
#[tokio::test]
async fn key_past_its_window_ends_with_its_delivery() {
    let (day, late) = (Duration::from_secs(86_400), Duration::from_secs(62));
    for (window, next, restart) in [
        (Duration::from_secs(10), Next::Delivered, false),
        (Duration::from_secs(10), Next::Delivered, true),
        (
            Duration::from_secs(10),
            Next::Dead(crate::retry::Reason::Age),
            false,
        ),
        (day, Next::Delivered, false),
        (day, Next::Delivered, true),
        (day, Next::Cancelled, true),
    ] {
        let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
        let mut store = open(directory.path(), &clock);
        let dedupe = Dedupe::Key {
            key: key(1),
            window,
            dead: OnDead::Keep,
        };
        let mut lease = new(store
            .accept(Arc::new(delivery(1, Start::Mine(LEASE))), dedupe)
            .await
            .unwrap())
        .remove(0);
        if window == day {
            clock.advance(window - Duration::from_secs(30));
            let other = rusqlite::Connection::open(directory.path().join("hookgate.db")).unwrap();
            // the thread looks at it before it ends
            let held = || {
                other
                    .query_row("select ends is not null from ledger", [], |row| {
                        row.get::<_, bool>(0)
                    })
                    .unwrap()
            };
            until("held", held).await;
            // the thread tells memory after the disk, and before its next write
            new(store
                .accept(Arc::new(delivery(2, Start::Anyone)), Dedupe::None)
                .await
                .unwrap());
            clock.advance(Duration::from_secs(30));
        } else {
            clock.advance(window);
        }
        clock.advance(late);
        if restart {
            drop(store);
            store = open(directory.path(), &clock);
            clock.advance(Duration::from_secs(3600));
            lease = take(&store, 1, 1).await.remove(0).lease;
        }
        assert_eq!(
            store.claim(key(1), Token(7), LEASE).await.unwrap(),
            ClaimResult::Committed,
            "past its window, {window:?}"
        );
        let second = store
            .accept(Arc::new(delivery(1, Start::Anyone)), dedupe)
            .await
            .unwrap();
        assert_eq!(
            second,
            Accepted::Duplicate {
                of: Some(lease.unit.delivery)
            }
        );
        assert_eq!(
            store.settle(lease, Some(attempt(200)), next).await.unwrap(),
            Ownership::Owned
        );
        new(store
            .accept(Arc::new(delivery(1, Start::Anyone)), dedupe)
            .await
            .unwrap());
        drop(store);
        let held: Vec<_> = take(&open(directory.path(), &clock), 1, 9)
            .await
            .into_iter()
            .map(|taken| taken.stored.id)
            .collect();
        assert_eq!(held.len(), 1, "{window:?} {next:?}");
    }
}

/// A replayed delivery waits again, and holds its key again.
#[tokio::test]
async fn replayed_delivery_holds_its_key_until_it_is_over() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let window = Duration::from_secs(60);
    let one = delivery(1, Start::Mine(LEASE));
    let dedupe = Dedupe::Key {
        key: key(1),
        window,
        dead: OnDead::Keep,
    };
    let lease = new(store.accept(Arc::new(one.clone()), dedupe).await.unwrap()).remove(0);
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
    let act = Act {
        kind: ActKind::Replay {
            delivered: false,
            cause: crate::store::queue::Cause::Replay,
        },
        which: Which::Ids(vec![one.id]),
        targets: Arc::default(),
        who: "t".into(),
        reason: "again".into(),
        description: None,
        goes_on: None,
    };
    assert_eq!(store.act(Scope::All, &act, 9).await.unwrap().done, 1);
    clock.advance(window * 2);
    assert_eq!(
        store.claim(key(1), Token(7), LEASE).await.unwrap(),
        ClaimResult::Committed
    );
    let lease = take(&store, 1, 1).await.remove(0).lease;
    assert_eq!(
        store
            .settle(lease, Some(attempt(200)), Next::Delivered)
            .await
            .unwrap(),
        Ownership::Owned
    );
    assert_eq!(
        store.claim(key(1), Token(7), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
}

/// The log is copied into the database while it is written to, and does not grow without bound.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_stays_short_under_load() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = Arc::new(open(directory.path(), &clock));
    for _ in 0..40 {
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let store = Arc::clone(&store);
                let one = Accept {
                    body: vec![1; 32 << 10].into(),
                    ..delivery(1, Start::Anyone)
                };
                tokio::spawn(
                    async move { store.accept(Arc::new(one), Dedupe::None).await.unwrap() },
                )
            })
            .collect();
        for task in tasks {
            new(task.await.unwrap());
        }
    }
    let log = std::fs::metadata(directory.path().join("hookgate.db-wal"))
        .unwrap()
        .len();
    assert!(log < 70 << 20, "{log} bytes of log for 80 MiB");
}

#[tokio::test]
async fn forgotten_id_stays_forgotten_after_a_restart() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let forget = |keys| Forgetting {
        keys,
        who: "anna".into(),
        which: "them".into(),
        reason: "test".into(),
    };
    for byte in 1..=3 {
        assert_eq!(
            store.claim(key(byte), Token(1), LEASE).await.unwrap(),
            ClaimResult::Fresh
        );
        assert_eq!(
            store.commit(key(byte), Token(1), WINDOW).await.unwrap(),
            Ownership::Owned
        );
    }
    // at once, while the journal has not written them
    assert_eq!(store.forget(forget(vec![key(1), key(2)])).await.unwrap(), 2);
    let again = Dedupe::Key {
        key: key(2),
        window: WINDOW,
        dead: OnDead::Revive,
    };
    new(store
        .accept(Arc::new(delivery(1, Start::Anyone)), again)
        .await
        .unwrap());
    drop(store);
    let store = open(directory.path(), &clock);
    for (byte, is) in [
        (1, ClaimResult::Fresh),
        (2, ClaimResult::Committed),
        (3, ClaimResult::Committed),
    ] {
        assert_eq!(
            store.claim(key(byte), Token(9), LEASE).await.unwrap(),
            is,
            "{byte}"
        );
    }
}

/// A restart between any two reloads changes nothing: the numbers and their names are in the store alone.
#[tokio::test]
async fn numbers_are_the_same_after_any_restart() {
    use crate::store::names::Kind;
    use crate::store::names::{Named, assign};
    let named = |name: &str, before: &[&str]| Named {
        kind: Kind::Route,
        name: name.into(),
        previously: before.iter().map(|name| (*name).into()).collect(),
    };
    let configs = [
        vec![named("a", &[]), named("b", &[])],
        vec![named("c", &["a"]), named("b", &[])],
        vec![named("c", &[]), named("a", &[]), named("b", &[])],
        vec![named("d", &["b", "c"])],
        vec![named("d", &[]), named("b", &[])],
        vec![named("c", &[]), named("a", &[])],
    ];
    for restarts in [0_u32, 0b11_1111, 0b10_1010, 0b01_0101] {
        let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
        let (mut store, mut rows) = (open(directory.path(), &clock), Vec::new());
        for (step, config) in configs.iter().enumerate() {
            if restarts & (1 << step) != 0 {
                drop(store);
                store = open(directory.path(), &clock);
            }
            assert_eq!(
                store.numbers(config).await.unwrap(),
                assign(&mut rows, config),
                "{restarts:b}, step {step}"
            );
        }
    }
}

/// Units that were leased and could not be read come back soon, not when their lease lapses.
#[tokio::test]
async fn lease_is_returned_if_its_read_fails() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    new(store
        .accept(Arc::new(delivery(1, Start::Anyone)), Dedupe::None)
        .await
        .unwrap());
    let ((go, wait), (begin, begun)) =
        (std::sync::mpsc::channel::<()>(), std::sync::mpsc::channel());
    let hold_up = move |_: &sqlite::look::Reading<'_>| {
        begin.send(()).unwrap();
        // until `go` is dropped
        wait.recv().ok();
        Ok(())
    };
    let reading = store.disk().unwrap().reader().read(hold_up);
    begun.recv().unwrap();
    // more than may wait
    let reads: Vec<_> = (0..300).map(|_| store.ready(None)).collect();
    assert!(
        store
            .lease(&[LeaseRequest::of(TargetId(1), 1)], LEASE, 0)
            .await
            .is_err()
    );
    drop(go);
    reading.await.unwrap();
    drop(reads);
    assert!(
        take(&store, 1, 1).await.is_empty(),
        "not at once: the disk may fail on"
    );
    clock.advance(Duration::from_secs(1));
    assert_eq!(take(&store, 1, 1).await.len(), 1);
}

/// A delivery whose record cannot be decoded is not leased again and again.
#[tokio::test]
async fn a_delivery_that_cannot_be_decoded_waits_for_an_hour() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let store = open(directory.path(), &clock);
    let one = delivery(1, Start::Anyone);
    new(store
        .accept(Arc::new(one.clone()), Dedupe::None)
        .await
        .unwrap());
    let other = rusqlite::Connection::open(directory.path().join("hookgate.db")).unwrap();
    other
        .execute("update delivery set record = x'ff'", [])
        .unwrap();
    assert!(take(&store, 1, 1).await.is_empty());
    clock.advance(LEASE * 2);
    assert!(take(&store, 1, 1).await.is_empty());
    let ready = store.ready(None).await.unwrap();
    assert!(
        ready.targets.is_empty() && ready.next_in.is_some_and(|next| next > LEASE),
        "{ready:?}"
    );
}
