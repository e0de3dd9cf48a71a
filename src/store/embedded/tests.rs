use std::os::unix::fs::PermissionsExt as _;

use super::shared::MAX_HINTED_KEYS;
use super::*;
use crate::clock::SystemClock;
use crate::store::archive::{Archive as _, TargetCounts};
use crate::store::contract::{self, HandClock};
use crate::store::secret_use::SecretMatches;

mod address_book;
mod crash;
mod disk_trouble;
mod endpoint_change;
mod endpoints;
mod faults;
mod health;
mod held_keys;
mod model;
mod restart;
mod retention;
mod saved;

const LEASE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(3600);

fn key(number: u32) -> Key {
    let mut bytes = [0; 16];
    for (slot, byte) in bytes.chunks_mut(4).zip([
        number.wrapping_mul(0x9e37_79b9),
        number,
        !number,
        number.wrapping_mul(0x85eb_ca6b),
    ]) {
        slot.copy_from_slice(&byte.to_be_bytes());
    }
    Key(bytes)
}

/// The counts of a target of which `waiting` units wait, and none is dead or cancelled.
fn counts_of(target: u32, waiting: u64) -> TargetCounts {
    TargetCounts {
        target: crate::store::queue::TargetId(target),
        waiting,
        dead: 0,
        cancelled: 0,
    }
}

fn open(path: &Path, clock: &Arc<HandClock>) -> Embedded {
    // a process that another test starts holds the lock of the store, too, until it runs its program
    let until = SystemClock.mono() + Duration::from_secs(10);
    loop {
        match Embedded::open(path, 100_000, Arc::<HandClock>::clone(clock)) {
            Err(OpenError::InUse { .. }) if SystemClock.mono() < until => {
                std::thread::sleep(Duration::from_millis(10));
            }
            opened => {
                let opened = opened.unwrap();
                assert_eq!(opened.alarm, None);
                return opened.ledger;
            }
        }
    }
}

async fn commit(ledger: &Embedded, numbers: std::ops::Range<u32>) {
    for number in numbers {
        assert_eq!(
            ledger.claim(key(number), Token(1), LEASE).await.unwrap(),
            ClaimResult::Fresh
        );
        assert_eq!(
            ledger.commit(key(number), Token(1), WINDOW).await.unwrap(),
            Ownership::Owned
        );
    }
}

async fn remembered(ledger: &Embedded, numbers: std::ops::Range<u32>) -> usize {
    let mut count = 0;
    for number in numbers {
        match ledger.claim(key(number), Token(2), LEASE).await.unwrap() {
            ClaimResult::Committed => count += 1,
            ClaimResult::Fresh => ledger.release_soon(key(number), Token(2)),
            ClaimResult::InFlight { .. } => panic!("{number} is in flight"),
        }
    }
    count
}

/// Waits until `done`, at most 10 s.
async fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}");
}

fn rows(path: &Path) -> i64 {
    let connection = rusqlite::Connection::open(path.join("hookgate.db")).unwrap();
    connection
        .query_row(
            "select coalesce(sum(length(entries)), 0) / 24 from journal",
            [],
            |row| row.get(0),
        )
        .unwrap()
}

#[tokio::test]
async fn ledger_contract_holds_in_memory() {
    let clock = HandClock::new();
    contract::holds(&Embedded::in_memory(1000, clock.clone()).unwrap(), &clock).await;
}

#[tokio::test]
async fn ledger_contract_holds_with_a_file() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    contract::holds(&open(directory.path(), &clock), &clock).await;
}

#[tokio::test]
async fn matches_of_secrets_survive_a_restart() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    contract::secret_use::holds(&open(directory.path(), &clock), &clock).await;
    let store = open(directory.path(), &clock);
    let (key, count, last) = (Key([2; 16]), 0, None);
    let known = store
        .count_matches(vec![SecretMatches { key, count, last }])
        .await
        .unwrap();
    assert_eq!(known[0].count, 1);
    let memory = Embedded::in_memory(10, clock.clone()).unwrap();
    assert!(memory.count_matches(Vec::new()).await.is_err());
}

#[tokio::test]
async fn store_with_a_file_is_durable_and_can_be_closed_twice() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let in_memory = Embedded::in_memory(10, clock.clone()).unwrap();
    assert!(!in_memory.nature().durable);
    let store: Arc<dyn Store> = Arc::new(open(directory.path(), &clock));
    assert!(store.nature().durable && !store.nature().shared);
    store.note_soon(key(1), WINDOW);
    for _ in 0..2 {
        store.close().await.unwrap();
        assert_eq!(rows(directory.path()), 1);
    }
}

#[tokio::test]
async fn commit_survives_a_restart_until_its_window_ends() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let path = directory.path().join("store");
    let ledger = open(&path, &clock);
    let hash_key = ledger.hash_key();
    commit(&ledger, 0..500).await;
    assert_eq!(
        ledger.claim(key(900), Token(1), LEASE).await.unwrap(),
        ClaimResult::Fresh
    );
    drop(ledger);
    clock.advance(WINDOW / 2);
    let ledger = open(&path, &clock);
    assert_eq!(ledger.hash_key(), hash_key);
    assert_eq!(ledger.counts().committed, 500);
    assert_eq!(remembered(&ledger, 0..500).await, 500);
    assert_eq!(
        remembered(&ledger, 900..901).await,
        0,
        "a claim in flight is not a commit"
    );
    clock.advance(WINDOW / 2 + Duration::from_secs(2));
    assert_eq!(remembered(&ledger, 0..500).await, 0);
    drop(ledger);
    assert_eq!(open(&path, &clock).counts().committed, 0);
    for file in ["hookgate.db", "hookgate.lock"] {
        assert_eq!(
            std::fs::metadata(path.join(file))
                .unwrap()
                .permissions()
                .mode()
                & 0o777,
            0o600,
            "{file}"
        );
    }
}

#[tokio::test]
async fn saved_commits_survive_a_crash() {
    let (directory, crashed, clock) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        HandClock::new(),
    );
    let ledger = open(directory.path(), &clock);
    commit(&ledger, 0..300).await;
    until("saved", || ledger.counts().unsaved == 0).await;
    // a killed process leaves the files as they are now
    for file in ["hookgate.db", "hookgate.db-wal"] {
        let (from, to) = (directory.path().join(file), crashed.path().join(file));
        assert_eq!(
            std::fs::metadata(&from).unwrap().permissions().mode() & 0o777,
            0o600,
            "{file}"
        );
        std::fs::copy(from, to).unwrap();
    }
    let ledger = open(crashed.path(), &clock);
    assert_eq!(remembered(&ledger, 0..300).await, 300);
}

#[tokio::test]
async fn torn_log_loses_only_the_last_commits() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let ledger = open(directory.path(), &clock);
    commit(&ledger, 0..100).await;
    until("saved", || ledger.counts().unsaved == 0).await;
    let whole = std::fs::metadata(directory.path().join("hookgate.db-wal"))
        .unwrap()
        .len();
    commit(&ledger, 100..200).await;
    until("saved", || ledger.counts().unsaved == 0).await;
    let full = std::fs::metadata(directory.path().join("hookgate.db-wal"))
        .unwrap()
        .len();
    assert!(full > whole);
    for cut in [full - 1, full - 5000, whole + 100, whole] {
        let torn = tempfile::tempdir().unwrap();
        for file in ["hookgate.db", "hookgate.db-wal"] {
            std::fs::copy(directory.path().join(file), torn.path().join(file)).unwrap();
        }
        std::fs::File::options()
            .write(true)
            .open(torn.path().join("hookgate.db-wal"))
            .unwrap()
            .set_len(cut)
            .unwrap();
        let ledger = open(torn.path(), &clock);
        assert_eq!(
            remembered(&ledger, 0..100).await,
            100,
            "cut at {cut} of {full}"
        );
    }
}

#[tokio::test]
async fn second_process_cannot_open_the_store() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let first = open(directory.path(), &clock);
    let error = Embedded::open(directory.path(), 10, clock.clone()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("is held by process {}", std::process::id())),
        "{error}"
    );
    drop(first);
    drop(open(directory.path(), &clock));
}

#[tokio::test]
async fn a_damaged_database_is_set_aside() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let ledger = open(directory.path(), &clock);
    commit(&ledger, 0..2000).await;
    drop(ledger);
    let file = directory.path().join("hookgate.db");
    let whole = std::fs::read(&file).unwrap();
    let middle: Vec<u8> = whole
        .iter()
        .enumerate()
        .map(|(at, byte)| if at > 8192 { !byte } else { *byte })
        .collect();
    for damaged in [
        b"not a database at all, but text long enough to be looked at".repeat(100),
        middle,
    ] {
        clock.advance(Duration::from_secs(1));
        std::fs::write(&file, &damaged).unwrap();
        let opened = Embedded::open(directory.path(), 1000, clock.clone()).unwrap();
        let aside = directory.path().join(format!(
            "hookgate.db.damaged-{}",
            clock.now().unix_ms() / 1000
        ));
        assert!(opened.alarm.unwrap().contains(&*aside.to_string_lossy()));
        assert_eq!(std::fs::read(aside).unwrap(), damaged, "never deleted");
        assert_eq!(opened.ledger.counts().committed, 0);
        commit(&opened.ledger, 0..10).await;
        drop(opened.ledger);
        assert_eq!(rows(directory.path()), 10);
    }
}

/// A wall clock that is set purges nothing early: expiry depends on elapsed time, and only while the wall clock has held.
#[tokio::test]
async fn expired_rows_are_deleted_by_elapsed_time() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let ledger = open(directory.path(), &clock);
    commit(&ledger, 0..1200).await;
    until("saved", || ledger.counts().unsaved == 0).await;
    clock.jump(WINDOW * 2);
    assert!(ledger.health().clock_jump);
    assert_eq!(
        remembered(&ledger, 0..1200).await,
        1200,
        "memory goes by elapsed time"
    );
    clock.advance(Duration::from_secs(601));
    assert!(!ledger.health().clock_jump);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(rows(directory.path()), 1200, "so does the disk");
    clock.advance(WINDOW);
    until("purged", || rows(directory.path()) == 0).await;
}

#[tokio::test]
async fn id_forgotten_early_is_deleted_from_the_disk() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let ledger = Embedded::open(directory.path(), 50, clock.clone())
        .unwrap()
        .ledger;
    commit(&ledger, 0..80).await;
    assert_eq!(
        (ledger.counts().committed, ledger.counts().forgotten_early),
        (50, 30)
    );
    drop(ledger);
    assert_eq!(rows(directory.path()), 50);
}

/// A request that fails again and again is one row of the journal, which has no index by key.
#[tokio::test]
async fn repeated_notes_of_a_request_take_one_row() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let ledger = open(directory.path(), &clock);
    for age in 0..100 {
        ledger.note_soon(key(1), WINDOW - Duration::from_secs(age));
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(ledger.shared.remembered(&[key(1)]), 1);
    drop(ledger);
    assert_eq!(rows(directory.path()), 1);
}

#[tokio::test]
async fn failing_disk_loses_no_commit() {
    let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
    let ledger = open(directory.path(), &clock);
    let other = rusqlite::Connection::open(directory.path().join("hookgate.db")).unwrap();
    // A trigger stands for the full disk: each write fails, nothing is written.
    other.execute_batch("create trigger refuse before insert on journal begin select raise(abort, 'no room'); end").unwrap();
    commit(&ledger, 0..10).await;
    until("trouble", || ledger.health().trouble.is_some()).await;
    assert_eq!(ledger.counts().unsaved, 10);
    assert_eq!(remembered(&ledger, 0..10).await, 10);
    other.execute_batch("drop trigger refuse").unwrap();
    until("saved", || ledger.counts().unsaved == 0).await;
    assert!(ledger.health().trouble.is_none());
    assert_eq!(rows(directory.path()), 10);
}

#[tokio::test]
async fn dropped_hint_leaves_nothing_behind() {
    let ledger = Embedded::in_memory(10, HandClock::new()).unwrap();
    let hints: Vec<_> = (0..5000)
        .map(|number| ledger.changed(key(number)))
        .collect();
    assert_eq!(ledger.shared.hints.by_key.lock().len(), MAX_HINTED_KEYS);
    drop(hints);
    assert!(ledger.shared.hints.by_key.lock().is_empty());
}

/// SQLite would go on writing to the deleted file, and nobody would know until the restart.
#[tokio::test]
async fn removed_database_is_reported() {
    let (clock, directory) = (HandClock::new(), tempfile::tempdir().unwrap());
    let ledger = open(&directory.path().join("state"), &clock);
    commit(&ledger, 0..10).await;
    until("all is written", || ledger.counts().unsaved == 0).await;
    assert!(ledger.health().trouble.is_none());
    std::fs::remove_dir_all(directory.path().join("state")).unwrap();
    until("trouble is told", || {
        ledger
            .health()
            .trouble
            .is_some_and(|trouble| trouble.to_string().contains("removed"))
    })
    .await;
    assert_eq!(remembered(&ledger, 0..10).await, 10);
}
