//! A standby that the server waits for and that does not answer.
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::clock::SystemClock;
use crate::store::contract::queue::{delivery, new};
use crate::store::queue::{Accepted, Dedupe, OnDead, Queue as _, Start};
use crate::store::{ClaimResult, Key, Ledger as _, Store as _, StoreError, Token, repeated};

const TIME: Duration = Duration::from_millis(600);
const WINDOW: Duration = Duration::from_secs(600);

async fn number(config: &Config, sql: &str) -> i64 {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let rows = client.query_typed(sql, &[]).await.unwrap();
    driver.abort();
    rows[0].get(0)
}

/// Commits hang, so nothing is acknowledged; claims go on, and the server is not left with ever more processes that wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_wait_for_a_standby_do_not_add_up() {
    let server = server::Server::start("-c fsync=off");
    server.execute("postgres", "create database gate");
    let config = server.database("gate");
    let options = Options {
        timeout: TIME,
        ..options(&config)
    };
    migrate(&options, &Migration::default()).await.unwrap();
    let store = Postgres::open(options.clone(), Arc::new(SystemClock))
        .await
        .unwrap();
    let waits_for = |names: &str| server.set("synchronous_standby_names", names);
    waits_for("nobody");
    // each of the server's processes learns of it in its own time
    loop {
        let probe = Arc::new(delivery(8, Start::Anyone));
        if store.accept(probe, Dedupe::None).await.is_err() {
            break;
        }
    }
    let taken = Arc::new(AtomicUsize::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..16_u128 {
        let (store, taken) = (Arc::clone(&store), Arc::clone(&taken));
        callers.spawn(async move {
            let offered = Arc::new(delivery(7, Start::Anyone));
            let dedupe = Dedupe::Key {
                key: Key(caller.to_be_bytes()),
                window: WINDOW,
                dead: OnDead::Revive,
            };
            loop {
                let accept = || store.accept(Arc::clone(&offered), dedupe);
                match repeated(accept).await {
                    Ok(accepted) => {
                        taken.fetch_add(1, Ordering::SeqCst);
                        return accepted;
                    }
                    Err(StoreError::Unknown(_) | StoreError::Unavailable(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                // a sender comes again a while later
                tokio::time::sleep(TIME / 8).await;
            }
        });
    }
    let processes =
        "select count(*) from pg_stat_activity where application_name like 'hookgate/%'";
    let mut most = 0;
    let begun = SystemClock.mono();
    let (mut claims, mut late) = (0_u128, 0);
    while begun.elapsed() < TIME * 8 {
        claims += 1;
        let key = Key((claims << 64).to_be_bytes());
        match store.claim(key, Token(1), WINDOW).await {
            Ok(claimed) => assert_eq!(claimed, ClaimResult::Fresh),
            Err(_) => late += 1,
        }
        most = most.max(number(&server.database("postgres"), processes).await);
    }
    let all_taken = taken;
    let taken = all_taken.load(Ordering::SeqCst);
    assert_eq!(taken, 0, "acknowledged without the standby");
    // on a machine that is busy, one may miss its time
    assert!(
        claims > 20 && late * 10 < claims,
        "{late} of {claims} claims failed"
    );
    assert!(most > 4 && most <= 15, "{most} processes for 6 connections");
    // a wait that is ended from outside leaves what it wrote on this server alone: it is there, and still not acknowledged
    let ended = "select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'SyncRep') x";
    assert!(number(&server.database("postgres"), ended).await > 0);
    let there = "select count(*) from hookgate.delivery where origin = 7";
    let begun = SystemClock.mono();
    while number(&config, there).await == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "nothing is there"
        );
        tokio::time::sleep(TIME / 8).await;
    }
    tokio::time::sleep(TIME * 3).await;
    let taken = all_taken.load(Ordering::SeqCst);
    assert_eq!(taken, 0, "acknowledged by a repeated call");
    waits_for("");
    while let Some(accepted) = callers.join_next().await {
        assert!(
            matches!(accepted.unwrap(), Accepted::New(_)),
            "its own call"
        );
    }
    assert_eq!(number(&config, there).await, 16, "each once");
    let after = Arc::new(delivery(7, Start::Anyone));
    new(store.accept(after, Dedupe::None).await.unwrap());
    store.close().await.unwrap();
}
