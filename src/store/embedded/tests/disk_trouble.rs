//! Tests of damaged files and full disks.
use super::*;
use crate::store::archive::{Scope, UnitsShown};
use crate::store::contract::queue::{attempt, delivery, new, take};
use crate::store::queue::{Accept, Dedupe, Next, Queue as _, Start};

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

#[test]
fn full_disk_keeps_its_room_for_outcomes() {
    use crate::store::embedded::writes::recorded;
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
            .get(Scope::All, one.id, UnitsShown::All)
            .await
            .unwrap()
            .unwrap()
            .attempts
            .len(),
        0,
        "their rows are left out"
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
