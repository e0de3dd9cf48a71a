//! The bare loop that others are measured beside: the same rows of the same tables, written by group commit, and nothing else.
#![allow(dead_code, reason = "not each bench uses all of it")]
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookgate::clock::{Clock as _, SystemClock};
use hookgate::store::Key;
use hookgate::store::embedded::Embedded;
use hookgate::store::queue::{Accept, DeliveryRef, NewUnit, OriginId, Start, TargetId};
use hookgate::store::record::Record;
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

/// How long each row of the table is measured.
pub(crate) const FOR: Duration = Duration::from_secs(4);

/// One row of the table.
pub(crate) struct Measured {
    pub(crate) rate: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    pub(crate) cpu: Duration,
    pub(crate) bytes: u64,
}

impl Measured {
    pub(crate) fn row(&self, what: &str) {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let Self {
            rate,
            p50,
            p99,
            cpu,
            bytes,
        } = self;
        println!(
            "{what:<34} {rate:>10.0} {:>9.2} {:>9.2} {:>11.1} {bytes:>9}",
            ms(*p50),
            ms(*p99),
            cpu.as_secs_f64() * 1e6
        );
    }
}

/// Runs `callers` loops of `call` for a while.
pub(crate) async fn load<F>(
    directory: &Path,
    callers: usize,
    call: impl Fn() -> F + Clone + Send + 'static,
) -> Measured
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

/// A delivery, and who waits for it.
type Row = (Accept, Key, Bytes, oneshot::Sender<()>);

/// A key of the ledger: a hash, and so in no order at all.
pub(crate) fn key() -> Key {
    Key(*uuid::Uuid::new_v4().as_bytes())
}

/// The same rows, written by a loop that does nothing else.
pub(crate) async fn bare(
    callers: usize,
    delivery: impl Fn() -> Accept + Clone + Send + 'static,
) -> Measured {
    let directory = tempfile::tempdir().unwrap();
    drop(Embedded::open(directory.path(), 10, Arc::new(SystemClock)).unwrap());
    let connection = Connection::open(directory.path().join("hookgate.db")).unwrap();
    connection
        .pragma_update(None, "synchronous", "full")
        .unwrap();
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
            for (.., ready) in batch {
                ready.send(()).unwrap();
            }
        }
    });
    let measured = load(directory.path(), callers, move || {
        let (rows, one) = (rows.clone(), delivery());
        async move {
            let (ready, is_ready) = oneshot::channel();
            let record = one.record.encode();
            rows.send((one, key(), record, ready)).unwrap();
            is_ready.await.unwrap();
        }
    })
    .await;
    writer.join().unwrap();
    measured
}

fn write(connection: &Connection, batch: &[Row]) {
    connection.execute_batch("begin immediate").unwrap();
    let prepare = |sql: &str| connection.prepare_cached(sql).unwrap();
    let mut ledger =
        prepare("insert into ledger (key, state, delivery, until) values (?1, 1, ?2, ?3)");
    let mut delivery = prepare(
        "insert into delivery (id, origin, at, key, delivery_id, event_type, record, body) values (?1, 1, ?2, ?3, ?4, ?5, ?6, ?7)",
    );
    let mut due = prepare(
        "insert into due (id, target, run_at, lease, leased, attempt_count, cause, since, last_attempt) values (?1, 1, ?2, 1, 1, 0, 0, ?2, 1)",
    );
    let time = i64::try_from(SystemClock.now().unix_ms()).unwrap();
    for (one, key, record, _) in batch {
        let id = one.id.0.as_bytes();
        ledger.execute(params![key.0, id, time]).unwrap();
        delivery
            .execute(params![
                id,
                time,
                key.0,
                one.delivery_id.as_deref(),
                one.event_type.as_deref(),
                &record[..],
                &one.body[..]
            ])
            .unwrap();
        due.execute(params![id, time]).unwrap();
    }
    connection.execute_batch("commit").unwrap();
}

/// A delivery with a body of 1 KiB and 200 bytes of headers.
pub(crate) fn delivery(start: Start) -> Accept {
    let mut body = [0; 1024];
    for part in body.chunks_mut(16) {
        part.copy_from_slice(uuid::Uuid::new_v4().as_bytes());
    }
    let header = (
        Bytes::from_static(b"X-Some-Header-Of-A-Webhook"),
        Bytes::from_static(b"some value of it, 24 byte"),
    );
    let record = Record {
        method: Bytes::from_static(b"POST"),
        target: Bytes::from_static(b"/webhooks/github"),
        headers: vec![header; 4],
        ..Record::default()
    };
    let to = vec![NewUnit {
        target: TargetId(1),
        lane: None,
        start,
        attempts: Vec::new(),
    }];
    Accept {
        id: DeliveryRef::draw(),
        origin: OriginId(1),
        delivery_id: None,
        key: None,
        event_type: None,
        to,
        record,
        body: Bytes::copy_from_slice(&body),
        versions: Vec::new(),
    }
}

pub(crate) fn now() -> Instant {
    SystemClock.mono()
}

/// CPU time of this process, callers included; nothing where the system does not say.
pub(crate) fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(12)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}
