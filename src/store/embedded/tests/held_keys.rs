//! Tests of how long a delivery holds its key.
use super::*;
use crate::store::archive::{Act, ActKind, Scope, Which};
use crate::store::contract::queue::{attempt, delivery, new, take};
use crate::store::queue::{Accepted, Dedupe, Next, OnDead, Queue as _, Start};

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
