//! Tests of the queue over restarts and set clocks.
use super::*;
use crate::store::archive::{Forgetting, Retention, Scope, UnitsShown, Whose};
use crate::store::contract::queue::{attempt, delivery, new, take};
use crate::store::queue::{
    CUT_OFF, Dedupe, LeaseRequest, Next, OnDead, OriginId, Queue as _, Start, TargetId,
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
        store.ready(None, &Arc::default()).await.unwrap_err(),
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
        .get(Scope::All, killer.id, UnitsShown::All)
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
        whose: Whose::One(OriginId(1)),
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
        assert!(
            store
                .get(Scope::All, done.id, UnitsShown::All)
                .await
                .unwrap()
                .is_some()
        );
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
        store
            .get(Scope::All, waits.id, UnitsShown::All)
            .await
            .unwrap()
            .is_some(),
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
    let reads: Vec<_> = (0..300)
        .map(|_| store.ready(None, &Arc::default()))
        .collect();
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
    let ready = store.ready(None, &Arc::default()).await.unwrap();
    assert!(
        ready.targets.is_empty() && ready.next_in.is_some_and(|next| next > LEASE),
        "{ready:?}"
    );
}
