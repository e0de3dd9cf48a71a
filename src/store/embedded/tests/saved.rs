//! A ledger counts as kept without a gap only over commits that have reached the disk.
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// A disk that can refuse every write.
#[derive(Clone, Default)]
struct Disk(Arc<AtomicBool>);

impl Disk {
    fn refuses(&self, refuses: bool) {
        self.0.store(refuses, Ordering::SeqCst);
    }

    fn open(&self, path: &Path, clock: &Arc<HandClock>) -> Embedded {
        let refuses = Arc::clone(&self.0);
        let fault_hook = FaultHook::new(move || {
            if refuses.load(Ordering::SeqCst) {
                Err(StoreError::Unavailable("io".into()))
            } else {
                Ok(())
            }
        });
        Embedded::open_with(
            path,
            1000,
            Arc::<HandClock>::clone(clock),
            Opening { fault_hook },
        )
        .unwrap()
        .ledger
    }
}

/// Starts to keep a route, and lets an hour pass, with the last write at its end.
async fn kept_for_an_hour(path: &Path, disk: &Disk, clock: &Arc<HandClock>) -> Embedded {
    let store = disk.open(path, clock);
    store.keep(&[(Arc::from("linear"), Key([1; 16]))]);
    commit(&store, 0..10).await;
    until("saved", || store.counts().unsaved == 0).await;
    clock.advance(HOUR);
    let other = rusqlite::Connection::open(path.join("hookgate.db")).unwrap();
    let time = || {
        other
            .query_row(
                "select value from meta where name = 'store_time'",
                [],
                |row| row.get::<_, i64>(0),
            )
            .unwrap()
    };
    let now = store.shared.time.now();
    until("the time is kept", || time() == now).await;
    store
}

/// Returns what a killed process leaves: the files as they are now.
fn killed(path: &Path) -> tempfile::TempDir {
    let left = tempfile::tempdir().unwrap();
    for file in [
        "hookgate.db",
        "hookgate.db-wal",
        "hookgate.lock",
        "ledger-saved",
    ] {
        if path.join(file).exists() {
            std::fs::copy(path.join(file), left.path().join(file)).unwrap();
        }
    }
    left
}

fn complete_for(store: &Embedded) -> Option<Duration> {
    store.shared.complete_for("linear")
}

#[tokio::test]
async fn ledger_stays_complete_over_a_clean_quick_restart() {
    let (directory, clock, disk) = (
        tempfile::tempdir().unwrap(),
        HandClock::new(),
        Disk::default(),
    );
    let store = kept_for_an_hour(directory.path(), &disk, &clock).await;
    assert_eq!(complete_for(&store), Some(HOUR));
    let left = killed(directory.path());
    clock.advance(MINUTE / 2);
    let again = disk.open(left.path(), &clock);
    assert_eq!(
        complete_for(&again),
        Some(HOUR + MINUTE / 2),
        "a kill loses the last moment alone"
    );
    drop(again);
    clock.advance(10 * HOUR);
    let again = disk.open(left.path(), &clock);
    assert_eq!(
        complete_for(&again),
        Some(11 * HOUR + MINUTE / 2),
        "nothing ran meanwhile"
    );
    // it was clean once, and is not now
    let left = killed(left.path());
    clock.advance(2 * MINUTE);
    let again = disk.open(left.path(), &clock);
    assert_eq!(
        complete_for(&again),
        Some(Duration::ZERO),
        "nobody knows whether its disk took commits"
    );
    clock.advance(MINUTE);
    assert_eq!(
        complete_for(&again),
        Some(MINUTE),
        "it counts from the start on"
    );
    drop(again);
    assert_eq!(
        complete_for(&disk.open(left.path(), &clock)),
        Some(MINUTE),
        "a gap is noted once"
    );
}

#[tokio::test]
async fn ledger_with_lost_commits_is_not_complete() {
    for (ends, is_well) in [
        ("killed", false),
        ("closed", false),
        ("killed", true),
        ("closed", true),
    ] {
        let (directory, clock, disk) = (
            tempfile::tempdir().unwrap(),
            HandClock::new(),
            Disk::default(),
        );
        let store = kept_for_an_hour(directory.path(), &disk, &clock).await;
        disk.refuses(true);
        commit(&store, 10..20).await;
        until("trouble is told", || store.health().trouble.is_some()).await;
        clock.advance(MINUTE / 2);
        assert_eq!(
            complete_for(&store),
            Some(HOUR + MINUTE / 2),
            "memory has them"
        );
        if is_well {
            disk.refuses(false);
            until("saved", || {
                store.counts().unsaved == 0 && directory.path().join("ledger-saved").exists()
            })
            .await;
        }
        let left = if ends == "killed" {
            Some(killed(directory.path()))
        } else {
            None
        };
        drop(store);
        disk.refuses(false);
        let again = disk.open(
            left.as_ref().map_or(directory.path(), |left| left.path()),
            &clock,
        );
        let (expected, known) = if is_well {
            (HOUR + MINUTE / 2, 10)
        } else {
            (Duration::ZERO, 0)
        };
        assert_eq!(
            complete_for(&again),
            Some(expected),
            "{ends}, well again: {is_well}"
        );
        assert_eq!(
            remembered(&again, 10..20).await,
            known,
            "{ends}, well again: {is_well}"
        );
    }
}
