//! The deliveries that a gateway with a `queue` route accepts and delivers, beside a bare loop that writes the same rows of the same tables by group commit.
//!
//!     cargo bench --bench queue
//!
//! Gate, app and senders are processes of their own, so that the CPU of each is measured separately.
#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a bench may panic, and prints its table"
)]
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bare::{FOR, bare, cpu, key, now};
use hmac::{Hmac, KeyInit as _, Mac as _};
use hookgate::clock::SystemClock;
use hookgate::store::archive::{Archive as _, Filter, Order, Scope, UnitsShown};
use hookgate::store::embedded::Embedded;
use hookgate::store::queue::{
    Accept, Dedupe, DeliveryRef, NewUnit, OnDead, OriginId, Queue as _, Start, Stored, TargetId,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

mod bare;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SECRET: &str = "a-secret-of-more-than-sixteen-bytes";
/// Deliveries that lie in the store when memory is looked at; `HOOKGATE_WAITING` says another number.
const WAITING: usize = 1_000_000;
/// Connections that send.
const SENDERS: [usize; 3] = [1, 64, 512];
/// Callers that fill the store.
const CALLERS: usize = 256;
/// The variable that makes a process the app.
const APP: &str = "HOOKGATE_BENCH_APP";

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if std::env::var_os(APP).is_some() {
        return runtime.block_on(app());
    }
    println!(
        "{:<44} {:>9} {:>8} {:>8} {:>9} {:>9} {:>8}",
        "1 KiB bodies", "a second", "p50 ms", "p99 ms", "gate µs", "sender µs", "app µs"
    );
    let app = Process::app();
    let url = format!("http://{}", app.address);
    let sample = sample(&runtime);
    for senders in SENDERS {
        let copied = Arc::clone(&sample);
        let bare = runtime.block_on(bare(senders, move || copy(&copied)));
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        let own = bare.cpu.as_secs_f64() * 1e6;
        println!(
            "{:<44} {:>9.0} {:>8.2} {:>8.2} {own:>9.1}",
            format!("bare loop, {senders} callers"),
            bare.rate,
            ms(bare.p50),
            ms(bare.p99)
        );
        // nothing is handed on meanwhile, and everything is
        for (what, more) in [
            ("accepts", "rate: 1/h, burst: 1"),
            ("accepts and hands on", "concurrency: 64"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let gate = Process::gate(directory.path(), &url, more);
            let row = runtime.block_on(load(&gate, &app, senders));
            row.print(&format!("{what}, {senders} connections"));
            println!(
                "{:<44} {:>8.0}%",
                "  of the bare loop",
                100.0 * row.rate / bare.rate
            );
        }
    }
    waiting(&runtime, &app, &sample);
}

/// One row of the table.
struct Row {
    rate: f64,
    took: Vec<Duration>,
    cpu: [Duration; 3],
}

impl Row {
    fn print(&self, what: &str) {
        let at = |percent: usize| {
            self.took[(self.took.len() * percent / 100).min(self.took.len() - 1)].as_secs_f64()
                * 1000.0
        };
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / self.took.len() as f64;
        let [gate, sender, app] = self.cpu.map(each);
        println!(
            "{what:<44} {:>9.0} {:>8.2} {:>8.2} {gate:>9.1} {sender:>9.1} {app:>8.1}",
            self.rate,
            at(50),
            at(99)
        );
    }
}

/// A process that ends when dropped.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn app() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(APP, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            child,
            address: line.trim().parse().unwrap(),
        }
    }

    fn gate(directory: &Path, app: &str, more: &str) -> Self {
        let config = directory.join("config.yaml");
        std::fs::write(&config, yaml(directory, app, more)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookgate"));
        let mut child = command
            .args(["run", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = None;
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("\"ready\"") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the gate left");
            let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
            if fields["for"] == "senders" {
                address = fields["address"]
                    .as_str()
                    .map(|address| address.parse().unwrap());
            }
        }
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            child,
            address: address.unwrap(),
        }
    }

    /// CPU time so far; nothing where the system does not say.
    fn cpu(&self) -> Duration {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split(' ')
            .skip(12)
            .take(2);
        Duration::from_millis(
            10 * fields
                .filter_map(|ticks| ticks.parse::<u64>().ok())
                .sum::<u64>(),
        )
    }

    /// Bytes of resident memory; 0 where the system does not say.
    fn resident(&self) -> usize {
        let pages =
            std::fs::read_to_string(format!("/proc/{}/statm", self.child.id())).unwrap_or_default();
        pages
            .split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<usize>().ok())
            .unwrap_or(0)
            * 4096
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn yaml(directory: &Path, app: &str, more: &str) -> String {
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
log: {{ requests: none }}
store: {{ path: '{}' }}
upstreams: {{ app: {{ url: '{app}' }} }}
routes:
  - name: github
    path: /webhooks/github
    verify: {{ provider: github, secrets: [{{ insecure_inline: {SECRET} }}] }}
    dedupe: {{ window: 72h }}
    queue: {{ upstream: app, {more} }}
",
        directory.join("store").display()
    )
}

/// A signed delivery of 1 KiB like no other.
fn request(number: u64) -> Vec<u8> {
    let id = uuid::Uuid::new_v4();
    let mut body = format!("{{\"number\":{number},\"id\":\"{id}\",\"text\":\"").into_bytes();
    body.resize(1022, b'x');
    body.extend_from_slice(b"\"}");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(&body);
    let signature = hex::encode(mac.finalize().into_bytes());
    let mut request = format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: hooks.example.com\r\nContent-Length: {}\r\nContent-Type: application/json\r\n\
        User-Agent: GitHub-Hookshot/044aadd\r\nX-GitHub-Delivery: {id}\r\nX-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={signature}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(&body);
    request
}

/// Posts over so many connections for a while.
async fn load(gate: &Process, app: &Process, senders: usize) -> Row {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let (begun, before) = (now(), [gate.cpu(), cpu(), app.cpu()]);
    let tasks: Vec<_> = (0..senders)
        .map(|_| {
            let address = gate.address;
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut took, mut answer) = (Vec::new(), vec![0; 4096]);
                while now() - begun < FOR {
                    let request = request(NUMBER.fetch_add(1, Ordering::Relaxed));
                    let sent = now();
                    stream.write_all(&request).await.unwrap();
                    let mut read = 0;
                    // the answer has no body
                    while !answer[..read].ends_with(b"\r\n\r\n") {
                        let more = stream.read(&mut answer[read..]).await.unwrap();
                        assert!(
                            more > 0,
                            "closed: {}",
                            String::from_utf8_lossy(&answer[..read])
                        );
                        read += more;
                    }
                    took.push(now() - sent);
                    let status = &answer[9..12];
                    assert_eq!(
                        status,
                        b"200",
                        "{}",
                        String::from_utf8_lossy(&answer[..read])
                    );
                    if answer[..read]
                        .windows(17)
                        .any(|part| part.eq_ignore_ascii_case(b"connection: close"))
                    {
                        stream = TcpStream::connect(address).await.unwrap();
                        stream.set_nodelay(true).unwrap();
                    }
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    let (elapsed, after) = (now() - begun, [gate.cpu(), cpu(), app.cpu()]);
    took.sort_unstable();
    let rate = took.len() as f64 / elapsed.as_secs_f64();
    Row {
        rate,
        took,
        cpu: std::array::from_fn(|at| after[at] - before[at]),
    }
}

/// An app that says yes to everything, as cheaply as it can.
async fn app() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let (mut buffer, mut filled) = (vec![0; 64 << 10], 0);
            loop {
                match stream.read(&mut buffer[filled..]).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => filled += read,
                }
                // bodies of the bench end so, and nothing else does
                while let Some(end) = buffer[..filled].windows(3).position(|part| part == b"x\"}") {
                    buffer.copy_within(end + 3..filled, 0);
                    filled -= end + 3;
                    if stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            }
        });
    }
}

/// A store in which a million wait: what it takes on the disk, what a gate on it takes in memory, how fast it hands them on.
fn waiting(runtime: &tokio::runtime::Runtime, app: &Process, sample: &Arc<Stored>) {
    let count = std::env::var("HOOKGATE_WAITING").map_or(WAITING, |count| count.parse().unwrap());
    let (directory, away) = (tempfile::tempdir().unwrap(), "http://127.0.0.1:9");
    // it learns the number of its route
    drop(Process::gate(directory.path(), away, ""));
    let begun = now();
    runtime.block_on(fill(&directory.path().join("store"), count, sample));
    println!(
        "\n{:<44} {:>9.1} s",
        format!("{count} put into the store"),
        (now() - begun).as_secs_f64()
    );
    let size = |name: &str| {
        std::fs::metadata(directory.path().join("store").join(name)).map_or(0, |file| file.len())
    };
    println!(
        "{:<44} {:>9}",
        "bytes of disk a delivery",
        (size("hookgate.db") + size("hookgate.db-wal")) / count as u64
    );
    let begun = now();
    let gate = Process::gate(directory.path(), away, "rate: 1/h, burst: 1");
    println!(
        "{:<44} {:>9.2} s",
        "until a gate on it is ready",
        (now() - begun).as_secs_f64()
    );
    std::thread::sleep(Duration::from_secs(5));
    println!(
        "{:<44} {:>7} MiB",
        "memory of a gate in which they wait",
        gate.resident() >> 20
    );
    runtime
        .block_on(load(&gate, app, 64))
        .print("accepts beside them, 64 connections");
    println!(
        "{:<44} {:>7} MiB",
        "memory after that",
        gate.resident() >> 20
    );
    drop(gate);
    for concurrency in [8, 64] {
        let gate = Process::gate(
            directory.path(),
            &format!("http://{}", app.address),
            &format!("concurrency: {concurrency}"),
        );
        let (before, cpus, begun) = (left(directory.path()), [gate.cpu(), app.cpu()], now());
        std::thread::sleep(Duration::from_secs(10));
        let (done, elapsed) = (
            before - left(directory.path()),
            (now() - begun).as_secs_f64(),
        );
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / done as f64;
        println!(
            "{:<44} {:>9.0} {:>8} {:>8} {:>9.1} {:>9} {:>8.1}",
            format!("hands on what waits, concurrency {concurrency}"),
            done as f64 / elapsed,
            "",
            "",
            each(gate.cpu() - cpus[0]),
            "",
            each(app.cpu() - cpus[1])
        );
        println!(
            "{:<44} {:>7} MiB",
            "memory meanwhile",
            gate.resident() >> 20
        );
    }
}

/// Deliveries that wait.
fn left(directory: &Path) -> i64 {
    let database = rusqlite::Connection::open(directory.join("store/hookgate.db")).unwrap();
    database
        .query_row("select sum(rows) from tally where kind = 1", [], |row| {
            row.get(0)
        })
        .unwrap()
}

/// A delivery as the gate writes it.
fn sample(runtime: &tokio::runtime::Runtime) -> Arc<Stored> {
    let directory = tempfile::tempdir().unwrap();
    let gate = Process::gate(
        directory.path(),
        "http://127.0.0.1:9",
        "rate: 1/h, burst: 1",
    );
    runtime.block_on(async {
        let mut stream = TcpStream::connect(gate.address).await.unwrap();
        stream.write_all(&request(0)).await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        drop(gate);
        let store = Embedded::open(&directory.path().join("store"), 10, Arc::new(SystemClock))
            .unwrap()
            .ledger;
        let page = store
            .page(
                Scope::All,
                &Filter::default(),
                Order::Oldest,
                None,
                1,
                UnitsShown::All,
            )
            .await
            .unwrap();
        Arc::new(
            store
                .get(Scope::All, page.rows[0].id, UnitsShown::All)
                .await
                .unwrap()
                .unwrap()
                .stored,
        )
    })
}

/// One like it, with IDs of its own.
fn copy(sample: &Stored) -> Accept {
    Accept {
        id: DeliveryRef::draw(),
        origin: OriginId(1),
        delivery_id: Some(uuid::Uuid::new_v4().to_string().into()),
        key: None,
        event_type: sample.event_type.clone(),
        to: vec![NewUnit {
            target: TargetId(1),
            lane: None,
            start: Start::Anyone,
            attempts: Vec::new(),
        }],
        record: sample.record.clone(),
        body: sample.body.clone(),
        versions: Vec::new(),
    }
}

/// Puts copies of a delivery into a store.
async fn fill(path: &Path, count: usize, sample: &Arc<Stored>) {
    let store = Arc::new(
        Embedded::open(path, count + 1, Arc::new(SystemClock))
            .unwrap()
            .ledger,
    );
    let tasks: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (store, sample) = (Arc::clone(&store), Arc::clone(sample));
            tokio::spawn(async move {
                for _ in (caller..count).step_by(CALLERS) {
                    let dedupe = Dedupe::Key {
                        key: key(),
                        window: Duration::from_secs(72 * 3600),
                        dead: OnDead::Revive,
                    };
                    store.accept(Arc::new(copy(&sample)), dedupe).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}
