//! The deliveries that the store on PostgreSQL accepts and settles, with rows of many callers in one call, and with a call for each row.
//!
//!     cargo bench --bench fleet
//!
//! It starts a server of its own, with fsync, and prints the capacity table of docs/postgres.md at its end.
#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench may panic, and prints its table"
)]
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bare::{Measured, delivery, key, load};
use bytes::Bytes;
use hookgate::clock::{Clock as _, SystemClock};
use hookgate::store::postgres::Postgres;
use hookgate::store::postgres::migrate::{Migration, migrate};
use hookgate::store::postgres::options::{Options, Tls};
use hookgate::store::queue::{Accepted, Attempt, Cause, Dedupe, Next, OnDead, Queue as _, Start};
use hookgate::store::{ClaimResult, Ledger as _, Ownership, Store as _, Token};
use server::Server;

mod bare;
#[path = "../src/store/postgres/tests/server.rs"]
mod server;

const LEASE: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(86_400);
/// Connections that send a call for each row.
const SINGLE: usize = 32;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let server = Server::start("");
    println!(
        "{:<34} {:>10} {:>9} {:>9} {:>11} {:>9}",
        "1 KiB bodies, 200 B of headers", "a second", "p50 ms", "p99 ms", "CPU µs each", "bytes"
    );
    let single = runtime.block_on(accepts(&server, SINGLE, SINGLE));
    single.row(&format!("a call for each, {SINGLE} connections"));
    for callers in [1, 64, 512] {
        let ours = runtime.block_on(accepts(&server, 1, callers));
        ours.row(&format!("accept, {callers} callers"));
        let ratio = ours.rate / single.rate;
        println!("{:<34} {ratio:>10.1}", "  of a call for each");
    }
    for callers in [1, 64] {
        let settled = runtime.block_on(settles(&server, 1, callers));
        settled.row(&format!("accept and settle, {callers} callers"));
        let pairs = runtime.block_on(pairs(&server, 1, callers));
        pairs.row(&format!("claim and commit, {callers} callers"));
    }
    runtime.block_on(capacity(&server));
}

/// Prints the table of docs/postgres.md: gateways with 64 requests in flight each, and what a delivery costs.
async fn capacity(server: &Server) {
    println!("\n| work | gateways | a second | p50 | p99 | gateway | server | stored |");
    println!("|---|---|---|---|---|---|---|---|");
    for gateways in [1, 4] {
        let callers = 64 * gateways;
        let before = Spent::of(server);
        let measured = accepts(server, gateways, callers).await;
        before.row("queue: accept", gateways, &measured, server);
        let before = Spent::of(server);
        let measured = settles(server, gateways, callers).await;
        before.row("queue: accept and deliver", gateways, &measured, server);
        let before = Spent::of(server);
        let measured = pairs(server, gateways, callers).await;
        before.row("forward: claim and commit", gateways, &measured, server);
    }
}

/// The CPU time that a server used, and the bytes of its databases.
struct Spent {
    cpu: Duration,
    bytes: u64,
}

impl Spent {
    fn of(server: &Server) -> Self {
        Self {
            cpu: server_cpu(server.pid()),
            bytes: size(&server.directory().join("data/base")),
        }
    }

    /// Prints a row about what was measured since.
    fn row(&self, work: &str, gateways: usize, measured: &Measured, server: &Server) {
        let after = Self::of(server);
        let count = measured.rate * bare::FOR.as_secs_f64();
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        println!(
            "| {work} | {gateways} | {:.0} | {:.1} ms | {:.1} ms | {:.0} µs | {:.0} µs | {:.1} KiB |",
            measured.rate,
            ms(measured.p50),
            ms(measured.p99),
            us(measured.cpu),
            us(after.cpu.saturating_sub(self.cpu)) / count,
            after.bytes.saturating_sub(self.bytes) as f64 / count / 1024.0,
        );
    }
}

/// Returns the CPU time of a server: its processes, and those that have ended.
fn server_cpu(postmaster: i32) -> Duration {
    let mut ticks = 0;
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let Some((_, rest)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let is_postmaster = entry.file_name().to_str() == Some(postmaster.to_string().as_str());
        // of the postmaster also the processes that have ended
        let times = if is_postmaster {
            11..15
        } else if fields[1] == postmaster.to_string() {
            11..13
        } else {
            continue;
        };
        ticks += fields[times]
            .iter()
            .map(|ticks| ticks.parse::<u64>().unwrap())
            .sum::<u64>();
    }
    Duration::from_millis(ticks * 10)
}

/// Returns the bytes of the files in a directory.
fn size(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return 0;
    };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

/// Opens some gateways on a database of their own.
async fn open(server: &Server, count: usize) -> Vec<Arc<Postgres>> {
    let config = server.empty();
    let options = Options {
        servers: Arc::new(move || Ok(config.clone())),
        schema: "hookgate".into(),
        connections: 6,
        timeout: Duration::from_secs(10),
        tls: Tls::default(),
        remembered: 1000,
    };
    migrate(&options, &Migration::default()).await.unwrap();
    let mut stores = Vec::new();
    for _ in 0..count {
        let store = Postgres::open(options.clone(), Arc::new(SystemClock)).await;
        stores.push(store.unwrap());
    }
    stores
}

/// Chooses the gateways in turn.
fn in_turn(stores: &[Arc<Postgres>]) -> impl Fn() -> Arc<Postgres> + Clone + Send + use<> {
    let (stores, next) = (
        stores.to_vec(),
        Arc::new(std::sync::atomic::AtomicUsize::new(0)),
    );
    move || {
        let next = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::clone(&stores[next % stores.len()])
    }
}

async fn close(stores: Vec<Arc<Postgres>>) {
    for store in stores {
        store.close().await.unwrap();
    }
}

fn keyed() -> Dedupe {
    Dedupe::Key {
        key: key(),
        window: WINDOW,
        dead: OnDead::Revive,
    }
}

async fn accepts(server: &Server, gateways: usize, callers: usize) -> Measured {
    let stores = open(server, gateways).await;
    let next = in_turn(&stores);
    let measured = load(server.directory(), callers, move || {
        let store = next();
        async move {
            let one = Arc::new(delivery(Start::Mine(LEASE)));
            let accepted = store.accept(one, keyed()).await.unwrap();
            assert!(matches!(accepted, Accepted::New(leases) if leases.len() == 1));
        }
    })
    .await;
    close(stores).await;
    measured
}

async fn settles(server: &Server, gateways: usize, callers: usize) -> Measured {
    let stores = open(server, gateways).await;
    let next = in_turn(&stores);
    let measured = load(server.directory(), callers, move || {
        let store = next();
        async move {
            let one = Arc::new(delivery(Start::Mine(LEASE)));
            let Accepted::New(leases) = store.accept(one, keyed()).await.unwrap() else {
                panic!("it is new");
            };
            let settled = store.settle(leases[0], Some(attempt()), Next::Delivered);
            assert_eq!(settled.await.unwrap(), Ownership::Owned);
        }
    })
    .await;
    close(stores).await;
    measured
}

async fn pairs(server: &Server, gateways: usize, callers: usize) -> Measured {
    let stores = open(server, gateways).await;
    let next = in_turn(&stores);
    let measured = load(server.directory(), callers, move || {
        let store = next();
        async move {
            let (key, token) = (key(), Token(1));
            let claimed = store.claim(key, token, LEASE).await.unwrap();
            assert_eq!(claimed, ClaimResult::Fresh);
            let committed = store.commit(key, token, WINDOW).await.unwrap();
            assert_eq!(committed, Ownership::Owned);
        }
    })
    .await;
    close(stores).await;
    measured
}

fn attempt() -> Attempt {
    Attempt {
        cause: Cause::Schedule,
        started: SystemClock.now().wall,
        took: Duration::from_millis(9),
        connect: None,
        first_byte: None,
        status: Some(200),
        error: None,
        peer: None,
        head: Bytes::new(),
        body: Bytes::from_static(b"ok"),
        facts: Bytes::new(),
    }
}
