//! A server whose disk is full: nothing that was acknowledged is lost, nothing is half written, and it goes on when there is room.
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hookgate::clock::SystemClock;
use hookgate::store::postgres::Postgres;
use hookgate::store::queue::{Accept, Dedupe, LeaseRequest, Next, Queue as _, TargetId};
use hookgate::store::{Ownership, Store as _, StoreError};
use tokio_postgres::Config;

use super::support::fleet;
use super::support::postgres_server::{self, Server, give};
use super::support::small_disk::SmallDisk;
use super::support::stored;

/// A target of these tests.
const TARGET: u32 = 7;

/// Returns a delivery with a body that cannot be compressed.
fn delivery(number: u64) -> Accept {
    let mut dice = super::support::dice::Dice::new(number);
    let body: Vec<u8> = (0..2500).flat_map(|_| dice.next().to_le_bytes()).collect();
    Accept {
        body: body.into(),
        ..stored::delivery(TARGET)
    }
}

/// Accepts until a call fails. Returns what was accepted, and the failure.
async fn fill_up(store: &Postgres) -> (HashSet<String>, StoreError) {
    let mut accepted = HashSet::new();
    let mut number = 0;
    loop {
        let offered = Arc::new(delivery(number));
        match store.accept(Arc::clone(&offered), Dedupe::None).await {
            Ok(_) => accepted.insert(offered.id.0.to_string()),
            Err(error) => return (accepted, error),
        };
        number += 1;
    }
}

/// Accepts until it succeeds. Returns what was accepted.
async fn accept(store: &Postgres) -> String {
    let (begun, offered) = (Instant::now(), Arc::new(delivery(0)));
    while let Err(error) = store.accept(Arc::clone(&offered), Dedupe::None).await {
        assert!(begun.elapsed() < Duration::from_secs(60), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    offered.id.0.to_string()
}

/// Checks that the store has what was accepted, whole, and that each of it can be settled.
async fn is_whole(config: &Config, store: &Postgres, accepted: &HashSet<String>) {
    let units = "select d.id from hookgate.delivery d join hookgate.due u on u.id = d.id";
    let stored: HashSet<_> = fleet::column(config, units).into_iter().collect();
    assert!(accepted.is_subset(&stored), "lost");
    let others = "select count(*) from hookgate.delivery d full join hookgate.due u on u.id = d.id where d.id is null or u.id is null";
    assert_eq!(fleet::number(config, others), 0, "half written");
    let mut settled = 0;
    loop {
        let request = LeaseRequest::of(TargetId(TARGET), 50);
        let leased = store.lease(&[request], Duration::from_secs(60), 0).await;
        let leased = leased.unwrap();
        if leased.is_empty() {
            break;
        }
        for one in leased {
            let done = store.settle(one.lease, Some(stored::attempt()), Next::Delivered);
            assert_eq!(done.await.unwrap(), Ownership::Owned);
            settled += 1;
        }
    }
    assert_eq!(settled, stored.len());
}

async fn open(config: &Config) -> Arc<Postgres> {
    stored::migrate(config).await;
    let options = stored::options(config, 6);
    Postgres::open(options, Arc::new(SystemClock))
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_of_the_server_refuses_and_loses_nothing() {
    let server = postgres_server::server();
    let disk = SmallDisk::of(&server.directory().join("small"), "40m");
    give(disk.path());
    let space = disk.path().join("space");
    std::fs::create_dir(&space).unwrap();
    give(&space);
    let sql = format!("create tablespace small location '{}'", space.display());
    server.execute("postgres", &sql);
    server.execute(
        "postgres",
        "create database on_a_small_disk tablespace small",
    );
    let config = server.database("on_a_small_disk");
    let store = open(&config).await;
    disk.fill_but(4 << 20);
    let (mut accepted, error) = fill_up(&store).await;
    assert!(matches!(error, StoreError::Full), "{error}");
    assert!(accepted.len() > 20, "{}", accepted.len());
    assert!(matches!(store.health().trouble, Some(StoreError::Full)));
    disk.make_room();
    accepted.insert(accept(&store).await);
    assert!(store.health().trouble.is_none());
    is_whole(&config, &store, &accepted).await;
    eprintln!(
        "disk of tables full after {} accepted, 0 lost",
        accepted.len()
    );
    store.close().await.unwrap();
    server.execute("postgres", "drop database on_a_small_disk");
    server.execute("postgres", "drop tablespace small");
}

/// A server without room for its log ends itself, and cannot start before there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_of_the_log_stops_the_server_and_loses_nothing() {
    let root = tempfile::tempdir().unwrap().keep();
    let disk = SmallDisk::of(&root, "200m");
    let server = Server::start_in(
        root.clone(),
        "-c max_wal_size=32MB -c min_wal_size=32MB",
        None,
    );
    server.execute("postgres", "create database gate");
    // a server that recovers from a crash empties it
    server.execute("postgres", "create unlogged table mark as select 1 as one");
    let config = server.database("gate");
    let store = open(&config).await;
    let mut accepted = HashSet::new();
    for _ in 0..20 {
        accepted.insert(accept(&store).await);
    }
    disk.fill_but(0);
    let begun = Instant::now();
    // each switch takes a new file of the log, until there is no room for one
    while server
        .try_execute(
            "postgres",
            "select pg_switch_wal(), pg_logical_emit_message(false, 'x', 'x')",
        )
        .is_ok()
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "it goes on");
        let offered = Arc::new(delivery(1));
        if store
            .accept(Arc::clone(&offered), Dedupe::None)
            .await
            .is_ok()
        {
            accepted.insert(offered.id.0.to_string());
        }
    }
    let refused = store.accept(Arc::new(delivery(2)), Dedupe::None).await;
    assert!(refused.is_err());
    disk.make_room();
    accepted.insert(accept(&store).await);
    let marks = fleet::number(&server.database("postgres"), "select count(*) from mark");
    assert_eq!(marks, 0, "it did not crash");
    is_whole(&config, &store, &accepted).await;
    eprintln!(
        "disk of the log full: the server ended itself; {} accepted, 0 lost",
        accepted.len()
    );
    store.close().await.unwrap();
    remove(&server, &root);
}

/// Ends a server whose directory is a disk of its own.
fn remove(server: &Server, root: &Path) {
    server.end();
    let begun = Instant::now();
    while root.join("data/postmaster.pid").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(20));
    }
}
