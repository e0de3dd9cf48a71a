//! Connections that are cut in the midst of a call: it is done once, and a repeated call gets the first answer.
use super::proxy::{Proxy, Way};
use super::*;
use crate::store::Ownership;
use crate::store::contract::queue::{attempt, delivery, new};
use crate::store::queue::{Accepted, Dedupe, Next, OnDead, Queue as _, Start};
use crate::store::{Key, Store as _, repeated};

const LEASE: Duration = Duration::from_secs(20);

async fn count(database: &Database, sql: &str) -> i64 {
    let (client, connection) = database.config.connect(NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let rows = client.query_typed(sql, &[]).await.unwrap();
    driver.abort();
    rows[0].get(0)
}

async fn through(database: &Database, proxy: &Proxy) -> Postgres {
    let options = Options {
        connections: 3,
        ..options(&proxy.config(&database.config))
    };
    let clock = Arc::<HandClock>::clone(&database.clock);
    Postgres::connect(options, clock).await.unwrap()
}

/// Cuts after each number of bytes, until a call gets through. Returns how many calls were cut.
async fn cut_everywhere(way: Way, step: usize) -> i64 {
    let database = Database::new();
    let proxy = Proxy::before(server::server().directory());
    let store = through(&database, &proxy).await;
    let mut calls = 0_i64;
    for bytes in (1..100_000_usize).step_by(step) {
        let offered = Arc::new(delivery(7, Start::Mine(LEASE)));
        let mut key = [7; 16];
        key[..8].copy_from_slice(&bytes.to_be_bytes());
        let dedupe = Dedupe::Key {
            key: Key(key),
            window: LEASE,
            dead: OnDead::Revive,
        };
        proxy.cut_after(way, bytes);
        calls += 1;
        let leases = loop {
            // a call that was cut before it was whole was not made: it is made again, as one of which nobody knows
            match repeated(|| store.accept(Arc::clone(&offered), dedupe)).await {
                Ok(accepted) => break new(accepted),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!text.contains("form"), "cut after {bytes}: {text}");
                }
            }
        };
        assert_eq!(
            (leases.len(), leases[0].number),
            (1, 1),
            "cut after {bytes}"
        );
        // this one may be cut instead
        let again = repeated(|| store.accept(Arc::clone(&offered), dedupe)).await;
        if let Ok(again) = again {
            assert_eq!(again, Accepted::New(leases), "cut after {bytes}");
        }
        if !proxy.has_cut() {
            break;
        }
    }
    let rows = count(&database, "select count(*) from hookgate.delivery").await;
    assert_eq!(rows, calls, "each once");
    let sums = "select sum(rows)::bigint from hookgate.counter where kind = 1";
    assert_eq!(count(&database, sums).await, calls);
    store.close().await.unwrap();
    calls
}

#[tokio::test]
async fn accept_that_is_cut_is_done_once() {
    let (requests, answers) = (
        cut_everywhere(Way::ToServer, 23).await,
        cut_everywhere(Way::ToClient, 11).await,
    );
    assert!(requests > 50 && answers > 20, "{requests}, {answers}");
}

#[tokio::test]
async fn settle_that_is_cut_is_done_once() {
    let database = Database::new();
    let proxy = Proxy::before(server::server().directory());
    let store = through(&database, &proxy).await;
    let mut calls = 0;
    for (way, step) in [(Way::ToServer, 37), (Way::ToClient, 13)] {
        for bytes in (1..100_000_usize).step_by(step) {
            let offered = Arc::new(delivery(8, Start::Mine(LEASE)));
            let lease = new(store.accept(offered, Dedupe::None).await.unwrap())[0];
            proxy.cut_after(way, bytes);
            calls += 1;
            let settled = loop {
                let settle = || store.settle(lease, Some(attempt(200)), Next::Delivered);
                if let Ok(settled) = repeated(settle).await {
                    break settled;
                }
            };
            assert_eq!(settled, Ownership::Owned, "{way:?} cut after {bytes}");
            if !proxy.has_cut() {
                break;
            }
        }
    }
    assert_eq!(
        count(&database, "select count(*) from hookgate.due").await,
        0
    );
    assert_eq!(
        count(
            &database,
            "select count(*) from hookgate.attempt where not late"
        )
        .await,
        calls
    );
    let waiting = "select coalesce(sum(rows), 0)::bigint from hookgate.counter where kind = 1";
    assert_eq!(count(&database, waiting).await, 0);
}
