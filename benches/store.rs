//! The deliveries that the durable queue stores and leases, beside a bare loop that writes the same rows of the same tables by group commit.
//!
//!     cargo bench --bench store
#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench may panic, and prints its table"
)]
use std::sync::Arc;
use std::time::Duration;

use bare::{Measured, bare, delivery, key, load, now};

use bytes::Bytes;
use hookgate::clock::{Clock, SystemClock};
use hookgate::store::Ownership;
use hookgate::store::archive::Archive as _;
use hookgate::store::embedded::Embedded;
use hookgate::store::queue::{
    Accepted, Attempt, Cause, Dedupe, LeaseRequest, Next, OnDead, Queue as _, Start, TargetId,
};

mod bare;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LEASE: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(86_400);
/// Deliveries that are drained.
const DRAINED: usize = 50_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    println!(
        "{:<34} {:>10} {:>9} {:>9} {:>11} {:>9}",
        "1 KiB bodies, 200 B of headers", "a second", "p50 ms", "p99 ms", "CPU µs each", "bytes"
    );
    for callers in [1, 64, 512] {
        let bare = runtime.block_on(bare(callers, || delivery(Start::Anyone)));
        let ours = runtime.block_on(accepts(callers));
        bare.row(&format!("bare loop, {callers} callers"));
        ours.row(&format!("accept, {callers} callers"));
        println!(
            "{:<34} {:>9.0}%",
            "  of the bare loop",
            100.0 * ours.rate / bare.rate
        );
    }
    runtime.block_on(drain());
}

async fn accepts(callers: usize) -> Measured {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(
        Embedded::open(directory.path(), 10_000_000, Arc::new(SystemClock))
            .unwrap()
            .ledger,
    );
    let inner = Arc::clone(&store);
    load(directory.path(), callers, move || {
        let store = Arc::clone(&inner);
        async move {
            let one = delivery(Start::Mine(LEASE));
            let dedupe = Dedupe::Key { key: key(), window: WINDOW, dead: OnDead::Revive };
            assert!(matches!(store.accept(Arc::new(one), dedupe).await.unwrap(), Accepted::New(leases) if leases.len() == 1));
        }
    })
    .await
}

/// Leases and settles what waits, 64 settlements at a time.
async fn drain() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(
        Embedded::open(directory.path(), 10_000_000, Arc::new(SystemClock))
            .unwrap()
            .ledger,
    );
    let filling: Vec<_> = (0..DRAINED / 100)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..100 {
                    store
                        .accept(Arc::new(delivery(Start::Anyone)), Dedupe::None)
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for task in filling {
        task.await.unwrap();
    }
    println!(
        "{:<34} {:>7} MiB",
        "memory with that many waiting",
        resident() >> 20
    );
    let start = now();
    let mut done = 0;
    while done < DRAINED {
        let leased = store
            .lease(&[LeaseRequest::of(TargetId(1), 256)], LEASE, 0)
            .await
            .unwrap();
        assert!(!leased.is_empty());
        let settling: Vec<_> = leased
            .iter()
            .map(|leased| store.settle(leased.lease, Some(attempt()), Next::Delivered))
            .collect();
        for settled in settling {
            assert_eq!(settled.await.unwrap(), Ownership::Owned);
            done += 1;
        }
    }
    println!(
        "{:<34} {:>10.0}",
        "leased and settled",
        DRAINED as f64 / (now() - start).as_secs_f64()
    );
    assert_eq!(store.totals().await.unwrap().targets[0].waiting, 0);
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

/// Bytes of resident memory of this process; 0 where the system does not say.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok())
        .unwrap_or(0)
        * 4096
}
