//! What the durable queue takes in and gives out, beside a bare loop that writes the same rows of the same tables by group commit.
//!
//!     cargo bench --bench store
#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench may panic, and prints its table"
)]
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookgate::clock::{Clock, SystemClock};
use hookgate::dedupe::embedded::Embedded;
use hookgate::store::archive::Archive as _;
use hookgate::store::queue::{
    Accept, Accepted, Attempt, Cause, Dedupe, DeliveryRef, Next, OnDead, OriginId, Queue as _, Start, TargetId, To,
};
use hookgate::store::record::Record;
use hookgate::store::{Held, Key};
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long each row of the table is measured.
const FOR: Duration = Duration::from_secs(4);
const LEASE: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(86_400);
/// Deliveries that are drained.
const DRAINED: usize = 50_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!(
        "{:<34} {:>10} {:>9} {:>9} {:>11} {:>9}",
        "1 KiB bodies, 200 B of headers", "a second", "p50 ms", "p99 ms", "CPU µs each", "bytes"
    );
    for callers in [1, 64, 512] {
        let bare = runtime.block_on(bare(callers));
        let ours = runtime.block_on(accepts(callers));
        bare.row(&format!("bare loop, {callers} callers"));
        ours.row(&format!("accept, {callers} callers"));
        println!("{:<34} {:>9.0}%", "  of the bare loop", 100.0 * ours.rate / bare.rate);
    }
    runtime.block_on(drain());
}

/// One row of the table.
struct Measured {
    rate: f64,
    p50: Duration,
    p99: Duration,
    cpu: Duration,
    bytes: u64,
}

impl Measured {
    fn row(&self, what: &str) {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let Self { rate, p50, p99, cpu, bytes } = self;
        println!("{what:<34} {rate:>10.0} {:>9.2} {:>9.2} {:>11.1} {bytes:>9}", ms(*p50), ms(*p99), cpu.as_secs_f64() * 1e6);
    }
}

/// Runs `callers` loops of `call` for a while.
async fn load<F>(directory: &Path, callers: usize, call: impl Fn() -> F + Clone + Send + 'static) -> Measured
where
    F: Future<Output = ()> + Send + 'static,
{
    let (start, cpu) = (now(), cpu());
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while now() - start < FOR {
                    let begin = now();
                    call().await;
                    took.push(now() - begin);
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let (elapsed, used) = (now() - start, self::cpu() - cpu);
    took.sort_unstable();
    let count = u32::try_from(took.len()).unwrap();
    let size = |name: &str| std::fs::metadata(directory.join(name)).map_or(0, |file| file.len());
    Measured {
        rate: f64::from(count) / elapsed.as_secs_f64(),
        p50: took[took.len() / 2],
        p99: took[took.len() * 99 / 100],
        cpu: used / count,
        bytes: size("hookgate.db") / u64::from(count),
    }
}

async fn accepts(callers: usize) -> Measured {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(directory.path(), 10_000_000, Arc::new(SystemClock)).unwrap().ledger);
    let inner = Arc::clone(&store);
    load(directory.path(), callers, move || {
        let store = Arc::clone(&inner);
        async move {
            let one = delivery(Start::Mine(LEASE));
            let dedupe = Dedupe::Key { key: Key(*one.id.0.as_bytes()), window: WINDOW, dead: OnDead::Revive };
            assert!(matches!(store.accept(one, dedupe).await.unwrap(), Accepted::New(leases) if leases.len() == 1));
        }
    })
    .await
}

type Row = (DeliveryRef, Bytes, Bytes, oneshot::Sender<()>);

/// The same rows, written by a loop that does nothing else.
async fn bare(callers: usize) -> Measured {
    let directory = tempfile::tempdir().unwrap();
    drop(Embedded::open(directory.path(), 10, Arc::new(SystemClock)).unwrap());
    let connection = Connection::open(directory.path().join("hookgate.db")).unwrap();
    connection.pragma_update(None, "synchronous", "full").unwrap();
    let (rows, waiting) = mpsc::channel::<Row>();
    let writer = std::thread::spawn(move || {
        while let Ok(first) = waiting.recv() {
            let mut batch = vec![first];
            while batch.len() < 1024
                && let Ok(next) = waiting.try_recv()
            {
                batch.push(next);
            }
            write(&connection, &batch);
            for (.., tell) in batch {
                tell.send(()).unwrap();
            }
        }
    });
    let measured = load(directory.path(), callers, move || {
        let rows = rows.clone();
        async move {
            let one = delivery(Start::Anyone);
            let (tell, told) = oneshot::channel();
            rows.send((one.id, one.record.encode(), one.body, tell)).unwrap();
            told.await.unwrap();
        }
    })
    .await;
    writer.join().unwrap();
    measured
}

fn write(connection: &Connection, batch: &[Row]) {
    connection.execute_batch("begin immediate").unwrap();
    let prepare = |sql: &str| connection.prepare_cached(sql).unwrap();
    let mut ledger = prepare("insert into ledger (key, state, delivery, until) values (?1, 1, ?1, 9)");
    let mut delivery = prepare("insert into delivery (id, origin, at, key, record, body) values (?1, 1, 9, ?1, ?2, ?3)");
    let mut due = prepare("insert into due (id, target, run_at, lease, held, tries, cause, since) values (?1, 1, 9, 1, 1, 0, 0, 9)");
    for (id, record, body, _) in batch {
        let id = id.0.as_bytes();
        ledger.execute(params![id]).unwrap();
        delivery.execute(params![id, &record[..], &body[..]]).unwrap();
        due.execute(params![id]).unwrap();
    }
    connection.execute_batch("commit").unwrap();
}

/// Leases and settles what waits, 64 settlements at a time.
async fn drain() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Embedded::open(directory.path(), 10_000_000, Arc::new(SystemClock)).unwrap().ledger);
    let filling: Vec<_> = (0..DRAINED / 100)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                for _ in 0..100 {
                    store.accept(delivery(Start::Anyone), Dedupe::None).await.unwrap();
                }
            })
        })
        .collect();
    for task in filling {
        task.await.unwrap();
    }
    println!("{:<34} {:>7} MiB", "memory with that many waiting", resident() >> 20);
    let start = now();
    let mut done = 0;
    while done < DRAINED {
        let leased = store.lease(&[(TargetId(1), 256)], LEASE, 16 << 20).await.unwrap();
        assert!(!leased.is_empty());
        let settling: Vec<_> = leased.iter().map(|leased| store.settle(leased.lease, Some(attempt()), Next::Delivered)).collect();
        for settled in settling {
            assert_eq!(settled.await.unwrap(), Held::Yes);
            done += 1;
        }
    }
    println!("{:<34} {:>10.0}", "leased and settled", DRAINED as f64 / (now() - start).as_secs_f64());
    assert_eq!(store.totals().await.unwrap().targets, [(TargetId(1), 0, 0)]);
}

fn delivery(start: Start) -> Accept {
    let mut body = [0; 1024];
    for part in body.chunks_mut(16) {
        part.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    let header = (Bytes::from_static(b"X-Some-Header-Of-A-Webhook"), Bytes::from_static(b"some value of it, 24 byte"));
    let record = Record {
        method: Bytes::from_static(b"POST"),
        target: Bytes::from_static(b"/webhooks/github"),
        headers: vec![header; 4],
        ..Record::default()
    };
    let to = vec![To { target: TargetId(1), lane: None, start, tried: None }];
    Accept {
        id: DeliveryRef::draw(),
        origin: OriginId(1),
        delivery_id: None,
        event_type: None,
        to,
        record,
        body: Bytes::copy_from_slice(&body),
    }
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
    }
}

fn now() -> Instant {
    SystemClock.mono()
}

/// CPU time of this process, callers included; nothing where the system does not say.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: u64 =
        stat.rsplit(')').next().unwrap_or_default().split(' ').skip(12).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// Bytes of resident memory of this process; 0 where the system does not say.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}
