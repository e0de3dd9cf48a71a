//! Sending: events published and delivered, the delay of one tenant beside another whose endpoints fail, one event to a thousand endpoints, and a
//! hundred thousand endpoints at rest. qhook is measured in the same run, if `benches/outbound/install-peer` has installed it.
//!
//!     cargo bench --bench outbound                # all of it, as Markdown tables; about a quarter of an hour
//!     cargo bench --bench outbound -- rate        # or `isolation`, `fanout`, `rest`, several of them
//!
//! The bench puts itself into a network namespace in which there is loopback alone: qhook listens on all addresses, and the DNS server of the
//! bench needs port 53. Without the right to do so it leaves out both. Generator, endpoints and gateway share the machine's cores.
#![allow(
    clippy::print_stdout,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_precision_loss,
    reason = "a bench may panic, reads the clock, and prints its tables"
)]
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use client::Client;
use service::{CONCURRENCY, Program, Service, cpu_of, qhook};
use sinks::{Arrivals, Fault, bad, dns, good, nanos};

mod client;
mod scale;
mod service;
mod sinks;

/// The variable that says that this process is in its namespace.
const INSIDE: &str = "HOOKGATE_BENCH_INSIDE";
/// The tenants of a load. Each has one endpoint.
const TENANTS: [&str; 16] = [
    "t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10", "t11", "t12", "t13", "t14",
    "t15",
];
/// The time for which a load is published.
const LOAD: Duration = Duration::from_secs(5);
/// The time for which the events of an innocent tenant are measured.
const MEASURED: Duration = Duration::from_secs(8);
/// The events a second of an innocent tenant.
const INNOCENT: u32 = 40;
/// The longest time that the backlog of the other tenant is published for: qhook would take a quarter of an hour.
const BACKLOG: Duration = Duration::from_secs(60);
/// The time that a DNS server takes for each answer.
const SLOW: Duration = Duration::from_secs(4);

fn main() {
    let inside = std::env::var_os(INSIDE).is_some();
    if !inside && can_unshare() {
        let script =
            "ip link set lo up && mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
        let resolv = std::env::temp_dir().join("hookgate-bench-resolv.conf");
        std::fs::write(&resolv, "nameserver 127.0.0.1\n").unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "sh", "-c", script, "sh"]);
        command.arg(&resolv).arg(std::env::current_exe().unwrap());
        let error = command
            .args(std::env::args().skip(1))
            .env(INSIDE, "1")
            .exec();
        panic!("unshare: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(inside));
}

fn can_unshare() -> bool {
    let tried = Command::new("unshare")
        .args(["--mount", "--net", "ip", "link", "set", "lo", "up"])
        .output();
    tried.is_ok_and(|tried| tried.status.success())
}

async fn run(inside: bool) {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|name| !name.starts_with('-'))
        .collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|one| one == name);
    let mut programs = vec![Program::Hookgate];
    match (inside, qhook()) {
        (true, Some(_)) => programs.push(Program::Qhook),
        (true, None) => {
            println!(
                "qhook is not here: `benches/outbound/install-peer` installs it.
"
            );
        }
        (false, _) => println!("no namespace of its own, so neither qhook nor slow DNS.\n"),
    }
    if inside {
        dns(SLOW).await;
    }
    if wanted("rate") {
        println!(
            "| 1 KiB, published for {} s | published/s | delivered/s | publish mean, p50, p99 ms | arrival p50, p99 ms | gateway, all CPU µs an event | RSS MiB, highest |",
            LOAD.as_secs()
        );
        println!("|---|---|---|---|---|---|---|");
        for program in &programs {
            for (callers, tenants) in [(1, 1), (64, 1), (64, TENANTS.len())] {
                rate(*program, callers, &TENANTS[..tenants], CONCURRENCY).await;
            }
            if *program == Program::Hookgate {
                rate(*program, 64, &TENANTS[..1], 64).await;
            }
        }
        println!();
    }
    if wanted("isolation") {
        println!(
            "| endpoint of tenant A | endpoints | waiting when B is measured | B quiet p50, p99 ms | B beside p50, p99, highest ms | B's events not delivered | p99 beside / quiet |"
        );
        println!("|---|---|---|---|---|---|---|");
        for fault in Fault::ALL {
            for endpoints in [1, 100] {
                if inside || fault != Fault::SlowDns {
                    isolation(Program::Hookgate, fault, endpoints).await;
                }
            }
        }
        if programs.contains(&Program::Qhook) {
            isolation(Program::Qhook, Fault::HangsBeforeHead, 1).await;
        }
        println!();
    }
    if wanted("fanout") {
        scale::fanout().await;
    }
    if wanted("rest") {
        scale::rest().await;
    }
}

/// Returns the data of an event, with the time.
pub(crate) fn data() -> String {
    let mut data = format!("{{\"sent\":{},\"text\":\"", nanos());
    while data.len() < 1022 {
        data.push('x');
    }
    data.push_str("\"}");
    data
}

/// Returns a number and a key like no other.
pub(crate) fn key() -> (usize, String) {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    (number, format!("key-{number}"))
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Returns a value of a sorted list, by its share in thousandths.
pub(crate) fn at(sorted: &[Duration], thousandths: usize) -> Duration {
    let index = (sorted.len() * thousandths / 1000).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

/// Publishes by `callers` at once for a while, and prints the row. Each tenant has an endpoint that gets `concurrency` attempts at the same time.
async fn rate(
    program: Program,
    callers: usize,
    tenants: &'static [&'static str],
    concurrency: u32,
) {
    let directory = tempfile::tempdir().unwrap();
    let (address, arrivals) = good().await;
    let service = Service::start_with(program, directory.path(), &[address.port()], concurrency);
    let service = Arc::new(service);
    let mut client = Client::new(service.address);
    for tenant in tenants {
        service.tenant(&mut client, tenant, 1).await;
        let url = format!("http://{address}/{tenant}");
        service.endpoint(&mut client, tenant, &url).await;
    }
    // each side is warm
    publish_until(
        &service,
        tenants,
        callers,
        Instant::now() + Duration::from_millis(500),
        u64::MAX,
    )
    .await;
    settle(&arrivals, Duration::from_secs(60)).await;
    arrivals.take();
    let (cpu, own) = (service.cpu(), cpu_of("self"));
    let (begun, before) = (Instant::now(), arrivals.count());
    let began = nanos();
    let took = publish_until(&service, tenants, callers, begun + LOAD, u64::MAX).await;
    let published = begun.elapsed();
    settle(&arrivals, Duration::from_secs(120)).await;
    let delivered = arrivals.count() - before;
    let until = Duration::from_nanos(arrivals.last.load(Ordering::Relaxed).saturating_sub(began));
    let (gateway, own) = (service.cpu() - cpu, cpu_of("self") - own);
    let events = took.len() as f64;
    let mean = took.iter().sum::<Duration>() / u32::try_from(took.len().max(1)).unwrap();
    let arrived = arrivals.take();
    let micros = |cpu: Duration| cpu.as_secs_f64() * 1e6 / events;
    println!(
        "| {program:?}, {callers} callers, {} endpoints of {concurrency} | {:.0} | {:.0}{} | {:.2}, {:.2}, {:.2} | {:.1}, {:.1} | {:.0}, {:.0} | {:.0}, {:.0} |",
        tenants.len(),
        events / published.as_secs_f64(),
        delivered as f64 / until.as_secs_f64(),
        if delivered < took.len() as u64 {
            format!(" ({} missing)", took.len() as u64 - delivered)
        } else {
            String::new()
        },
        ms(mean),
        ms(at(&took, 500)),
        ms(at(&took, 990)),
        ms(at(&arrived, 500)),
        ms(at(&arrived, 990)),
        micros(gateway),
        micros(gateway + own),
        service.memory().0,
        service.memory().1,
    );
}

/// Waits until nothing has arrived for two seconds, at most for `limit`.
async fn settle(arrivals: &Arrivals, limit: Duration) {
    let begun = Instant::now();
    loop {
        let before = arrivals.count();
        tokio::time::sleep(Duration::from_secs(2)).await;
        if arrivals.count() == before || begun.elapsed() > limit {
            return;
        }
    }
}

/// Publishes by `callers` at once until a time or a number of events. Returns how long each accepted publish took, sorted.
pub(crate) async fn publish_until(
    service: &Arc<Service>,
    tenants: &'static [&'static str],
    callers: usize,
    end: Instant,
    most: u64,
) -> Vec<Duration> {
    let left = Arc::new(AtomicU64::new(most));
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (service, left) = (Arc::clone(service), Arc::clone(&left));
            tokio::spawn(async move {
                let (mut client, mut took) = (Client::new(service.address), Vec::new());
                while Instant::now() < end
                    && left
                        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                            left.checked_sub(1)
                        })
                        .is_ok()
                {
                    let (number, key) = key();
                    let tenant = tenants[number % tenants.len()];
                    let begun = Instant::now();
                    match service.publish(&mut client, tenant, &key, &data()).await {
                        202 => took.push(begun.elapsed()),
                        // it asks to repeat; qhook says 500 when its database is locked
                        500 | 503 => tokio::time::sleep(Duration::from_millis(50)).await,
                        status => panic!("{status}"),
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
    took.sort_unstable();
    took
}

/// Publishes the events of an innocent tenant for a while, and returns how long each took to arrive, and how many did not.
async fn innocent(service: &Arc<Service>, arrivals: &Arrivals) -> (Vec<Duration>, u64) {
    arrivals.take();
    let before = arrivals.count();
    let mut client = Client::new(service.address);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / INNOCENT);
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < MEASURED {
        ticks.tick().await;
        let status = service.publish(&mut client, "b", &key().1, &data()).await;
        assert_eq!(status, 202);
        count += 1;
    }
    // one that waits for a timeout of 15 s counts as late, and not as lost
    let patience = Instant::now();
    while arrivals.count() < before + count && patience.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let arrived = arrivals.count() - before;
    (arrivals.take(), count.saturating_sub(arrived))
}

/// Measures an innocent tenant alone, and beside one whose endpoints fail, and prints the row.
async fn isolation(program: Program, fault: Fault, endpoints: u64) {
    let events =
        std::env::var("HOOKGATE_BENCH_EVENTS").map_or(100_000, |events| events.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let (quick, arrivals) = good().await;
    let failing = bad(fault).await;
    let service = Service::start(program, directory.path(), &[quick.port(), failing.port()]);
    let service = Arc::new(service);
    let mut client = Client::new(service.address);
    for tenant in ["a", "b"] {
        service.tenant(&mut client, tenant, 1000).await;
    }
    service
        .endpoint(&mut client, "b", &format!("http://{quick}/"))
        .await;
    for number in 0..endpoints {
        let url = if fault == Fault::SlowDns {
            format!("http://slow-{number}.example.com:{}/", failing.port())
        } else {
            format!("http://{failing}/{number}")
        };
        service.endpoint(&mut client, "a", &url).await;
    }
    let (quiet, _) = innocent(&service, &arrivals).await;
    let took = publish_until(
        &service,
        &["a"],
        32,
        Instant::now() + BACKLOG,
        events / endpoints,
    )
    .await;
    let (beside, lost) = innocent(&service, &arrivals).await;
    let name = if program == Program::Hookgate {
        String::new()
    } else {
        format!("{program:?}: ")
    };
    println!(
        "| {name}{} | {endpoints} | {} | {:.1}, {:.1} | {:.1}, {:.1}, {:.1} | {lost} | {:.1} |",
        fault.words(),
        took.len() as u64 * endpoints,
        ms(at(&quiet, 500)),
        ms(at(&quiet, 990)),
        ms(at(&beside, 500)),
        ms(at(&beside, 990)),
        ms(beside.last().copied().unwrap_or_default()),
        ms(at(&beside, 990)) / ms(at(&quiet, 990)),
    );
}
