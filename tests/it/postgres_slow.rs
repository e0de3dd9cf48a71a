//! A server that is far away, slow or silent: forwarding does not wait for it, and several connections hide the way to it.
//!
//! `HOOKGATE_TORTURE=1` runs the long form.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hookgate::clock::SystemClock;
use hookgate::store::Store as _;
use hookgate::store::postgres::Postgres;
use hookgate::store::queue::{Dedupe, Queue as _};

use super::support::fault::{Fault, FaultServer};
use super::support::fleet::{self, DATABASE, size};
use super::support::gate::{Gate, metric, wait_for};
use super::support::postgres_server::Server;
use super::support::queue::send_to;
use super::support::slow_proxy::SlowProxy;
use super::support::stored;

/// The longest wait for the store's answer to a claim, and what a test adds to it.
const DEADLINE: Duration = Duration::from_millis(500 + 50);

/// Returns the times that forwarded deliveries took, sorted. Each must be forwarded.
fn forward(gate: &Gate, prefix: &str, count: usize) -> Vec<Duration> {
    let next = AtomicUsize::new(0);
    let mut times: Vec<_> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut times = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= count {
                            return times;
                        }
                        let begun = Instant::now();
                        let answer = send_to(gate, "forwarded", &format!("{prefix}-{number}"));
                        times.push(begun.elapsed());
                        assert_eq!(answer.status, 200, "{}", answer.text());
                    }
                })
            })
            .collect();
        senders
            .into_iter()
            .flat_map(|sender| sender.join().unwrap())
            .collect()
    });
    times.sort();
    times
}

#[test]
fn forwarding_does_not_wait_for_a_server_that_is_slow_or_silent() {
    let server = Server::start("-c fsync=off");
    server.execute("postgres", &format!("create database {DATABASE}"));
    let proxy = SlowProxy::before(server.directory());
    let app = FaultServer::start(|_, _| Fault::Keep(200));
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let url = dir.path().join("url");
    let through = fleet::url(&[&server]).replace(
        &server.directory().display().to_string(),
        &proxy.directory().display().to_string(),
    );
    std::fs::write(&url, through).unwrap();
    let gate = Gate::start_in(dir, &fleet::config(&url, &app.url(), ""));
    let passed = || metric(&gate, "hookgate_dedupe_passed_total{route=\"forwarded\"}");
    let mut all = 0;
    for (name, trip, hangs, count) in [
        ("near", 0, false, size(60, 1000)),
        ("5 ms away", 5, false, size(60, 1000)),
        ("500 ms away", 500, false, size(16, 400)),
        ("silent", 0, true, size(16, 400)),
    ] {
        all += count;
        proxy.round_trip(Duration::from_millis(trip));
        proxy.hang(hangs);
        let before = passed();
        let times = forward(&gate, name, count);
        let p99 = times[times.len() * 99 / 100];
        let passed = passed() - before;
        eprintln!(
            "a server that is {name}: {count} forwarded, p50 {:?}, p99 {p99:?}, longest {:?}, {passed} without the store",
            times[count / 2],
            times[count - 1]
        );
        // a machine that is busy adds its own
        assert!(p99 <= DEADLINE + size(DEADLINE, Duration::ZERO), "{p99:?}");
        if trip == 500 || hangs {
            assert!(passed > 0.0, "the store was waited for");
        }
    }
    assert_eq!(app.count(), all);
    proxy.hang(false);
    wait_for("the store to get the IDs", || {
        let ids = "select count(*) from hookgate.ledger where state = 2";
        fleet::number(&server.database(DATABASE), ids) == i64::try_from(all).unwrap()
    });
    assert_eq!(
        send_to(&gate, "forwarded", "silent-0").header("Hookgate-Status"),
        Some("duplicate")
    );
}

/// The rounds in which rates are measured.
const ROUNDS: u32 = 3;

/// Returns how many deliveries a second a store accepts from 64 callers.
async fn accepts(store: &Arc<Postgres>, time: Duration) -> f64 {
    let begun = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let store = Arc::clone(store);
        callers.spawn(async move {
            let mut count = 0_u32;
            while begun.elapsed() < time {
                let offered = Arc::new(stored::delivery(7));
                store.accept(offered, Dedupe::None).await.unwrap();
                count += 1;
            }
            count
        });
    }
    let mut count = 0;
    while let Some(accepted) = callers.join_next().await {
        count += accepted.unwrap();
    }
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// Far from the server several connections take turns, so that the way is used while an answer is on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_connections_hide_a_long_way() {
    let server = Server::start("-c fsync=off");
    server.execute("postgres", &format!("create database {DATABASE}"));
    let proxy = SlowProxy::before(server.directory());
    let mut config = server.database(DATABASE);
    stored::migrate(&config).await;
    config = stored::at(&proxy.directory(), &config);
    let mut stores = Vec::new();
    for connections in [3, 6] {
        let options = stored::options(&config, connections);
        let store = Postgres::open(options, Arc::new(SystemClock));
        stores.push(store.await.unwrap());
    }
    // the shorter the way, the more the processors of this machine decide
    let mut ratio = 0.0;
    for trip in size(vec![20], vec![5, 20]) {
        proxy.round_trip(Duration::from_millis(trip));
        let mut rates = [0.0, 0.0];
        // in turn, since others use the machine too
        for _ in 0..ROUNDS {
            for (store, rate) in stores.iter().zip(&mut rates) {
                *rate += accepts(store, Duration::from_millis(size(500, 3000))).await;
            }
        }
        let [one, four] = rates.map(|rate| rate / f64::from(ROUNDS));
        ratio = four / one;
        eprintln!(
            "{trip} ms away, 64 callers: {one:.0} accepts/s by one connection, {four:.0} by four: {ratio:.2}"
        );
    }
    // others may use the machine too
    assert!(ratio > size(1.0, 1.2), "{ratio:.2}");
    for store in stores {
        store.close().await.unwrap();
    }
}
