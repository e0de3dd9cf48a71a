//! Many deliveries that wait, and a transaction that keeps the server from cleaning up: neither slows the work down.
//!
//! `HOOKGATE_TORTURE=1` runs the long form; `HOOKGATE_WAITING` says how many deliveries wait in it (1,000,000).
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hookgate::clock::SystemClock;
use hookgate::store::postgres::Postgres;
use hookgate::store::queue::{Dedupe, LeaseRequest, Next, Queue as _, TargetId};
use hookgate::store::{Ownership, Store as _};
use tokio_postgres::{Config, NoTls};

use super::support::fleet::{self, is_long, size};
use super::support::postgres_server;
use super::support::stored;

const TARGETS: u32 = 20;
const LEASE: Duration = Duration::from_secs(60);

/// Opens a store in a database of its own.
async fn open() -> (Config, Arc<Postgres>) {
    let config = postgres_server::server().empty();
    stored::migrate(&config).await;
    let store = Postgres::open(stored::options(&config, 6), Arc::new(SystemClock));
    let store = store.await.unwrap();
    (config, store)
}

/// Lets so many deliveries wait, spread over all targets, without a call for each.
async fn fill(config: &Config, store: &Postgres, count: u32) {
    let first = Arc::new(stored::delivery(TARGETS + 1));
    store.accept(first, Dedupe::None).await.unwrap();
    let day = "(now() at time zone 'UTC')::date";
    let sql = format!(
        "with g as (select (substr(hookgate.first_id({day})::text, 1, 24) || lpad(to_hex(i), 12, '0'))::uuid as id, 1 + i % {TARGETS} as target
                from generate_series(1, {count}) i),
            d as (insert into hookgate.delivery (id, origin, at, record, body)
                select g.id, g.target, now(), f.record, f.body from g, (select record, substr(body, 1, 300) as body from hookgate.delivery limit 1) f)
        insert into hookgate.due (id, target, origin, run_at, lease, leased, attempt_count, cause, since, last_attempt)
            select id, target, target, now(), 0, false, 0, 0, now(), 0 from g"
    );
    let name = config.get_dbname().unwrap();
    postgres_server::server().execute(name, &sql);
    postgres_server::server().execute(name, "vacuum analyze");
}

/// Leases, settles and accepts for so long, so that as many wait as before. Returns how many were settled in a second.
async fn rate(store: &Arc<Postgres>, time: Duration) -> f64 {
    let (over, settled) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU32::new(0)),
    );
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..4 {
        let (store, over, settled) = (Arc::clone(store), Arc::clone(&over), Arc::clone(&settled));
        workers.spawn(async move {
            let own = (1..=TARGETS).filter(|target| target % 4 == worker);
            let requests: Vec<_> = own
                .map(|target| LeaseRequest::of(TargetId(target), 8))
                .collect();
            while !over.load(Ordering::Relaxed) {
                store.ready(None, &Arc::default()).await.unwrap();
                let mut calls = tokio::task::JoinSet::new();
                for one in store.lease(&requests, LEASE, 0).await.unwrap() {
                    let (store, settled) = (Arc::clone(&store), Arc::clone(&settled));
                    calls.spawn(async move {
                        let target = one.lease.unit.target.0;
                        let done =
                            store.settle(one.lease, Some(stored::attempt()), Next::Delivered);
                        assert_eq!(done.await.unwrap(), Ownership::Owned);
                        settled.fetch_add(1, Ordering::Relaxed);
                        let next = Arc::new(stored::delivery(target));
                        store.accept(next, Dedupe::None).await.unwrap();
                    });
                }
                while let Some(done) = calls.join_next().await {
                    done.unwrap();
                }
            }
        });
    }
    let begun = Instant::now();
    tokio::time::sleep(time).await;
    let (count, took) = (settled.load(Ordering::Relaxed), begun.elapsed());
    over.store(true, Ordering::Relaxed);
    while let Some(done) = workers.join_next().await {
        done.unwrap();
    }
    f64::from(count) / took.as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_is_as_fast_however_much_waits() {
    let many = std::env::var("HOOKGATE_WAITING").map_or(1_000_000, |many| many.parse().unwrap());
    let (few, many) = size((1_000, 30_000), (10_000, many));
    let time = Duration::from_secs(size(1, 10));
    let mut rates = Vec::new();
    for count in [few, many] {
        let (config, store) = open().await;
        fill(&config, &store, count).await;
        rate(&store, time / 4).await;
        rates.push(rate(&store, time).await);
        let left = fleet::number(&config, "select count(*) from hookgate.due");
        assert_eq!(left, i64::from(count) + 1);
        store.close().await.unwrap();
    }
    let ratio = rates[1] / rates[0];
    eprintln!(
        "{:.0} settled a second while {few} wait, {:.0} while {many} wait: {ratio:.2}",
        rates[0], rates[1]
    );
    // a short run says little, on processors that others use too
    assert!(ratio >= if is_long() { 0.8 } else { 0.25 }, "{ratio:.2}");
}

/// Rows that were settled cannot be cleaned up while an older transaction is open, and must not be read again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_beside_a_transaction_that_stays_open() {
    let time = Duration::from_secs(size(1, 10));
    let (config, store) = open().await;
    fill(&config, &store, size(2_000, 100_000)).await;
    rate(&store, time / 2).await;
    let before = rate(&store, time).await;
    let (client, connection) = config.connect(NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let begin = "begin isolation level repeatable read; select count(*) from hookgate.meta";
    client.batch_execute(begin).await.unwrap();
    // as many rows as this leaves are behind the ones that are wanted
    rate(&store, time * 2).await;
    let beside = rate(&store, time).await;
    drop(client);
    driver.await.unwrap().ok();
    let ratio = beside / before;
    eprintln!(
        "{before:.0} settled a second, {beside:.0} beside a transaction that is open for {:?}: {ratio:.2}",
        time * 3
    );
    assert!(ratio >= if is_long() { 0.7 } else { 0.2 }, "{ratio:.2}");
    store.close().await.unwrap();
}
