//! One event to a thousand endpoints, and a hundred thousand endpoints at rest.
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::service::{Program, Service};
use crate::sinks::{good, nanos};
use crate::{data, key, ms};

/// The endpoints of one event.
const MANY: u64 = 1_000;
/// The events that are published to measure their size on the disk.
const SIZED: u64 = 100;
/// The tenants at rest, and the endpoints of each.
const TENANTS: u64 = 10_000;
const EACH: u64 = 10;

/// Prints how long an event to a thousand endpoints takes, and the bytes of one that waits.
pub(crate) async fn fanout() {
    let directory = tempfile::tempdir().unwrap();
    let (address, arrivals) = good().await;
    let service = Service::start(Program::Hookgate, directory.path(), &[address.port()]);
    let mut client = Client::new(service.address);
    service.tenant(&mut client, "a", 1000).await;
    let mut ids = Vec::new();
    for number in 0..MANY {
        let url = format!("http://{address}/{number}");
        ids.push(service.endpoint(&mut client, "a", &url).await);
    }
    let (mut published, mut last) = (Vec::new(), Vec::new());
    for round in 1..=5 {
        let (begun, began) = (Instant::now(), nanos());
        let status = service.publish(&mut client, "a", &key().1, &data()).await;
        assert_eq!(status, 202);
        published.push(begun.elapsed());
        while arrivals.count() < round * MANY {
            assert!(begun.elapsed() < Duration::from_secs(60), "not delivered");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let until = arrivals.last.load(Ordering::Relaxed) - began;
        last.push(Duration::from_nanos(until));
    }
    let memory = service.memory().0;
    for id in &ids {
        let path = format!("/v1/tenants/a/endpoints/{id}/pause");
        let status = service.call(&mut client, "POST", &path, "{}").await;
        assert_eq!(status, 200);
    }
    service.stop();
    let bytes = waiting_bytes(directory.path(), address).await;
    println!("| one event to {MANY} endpoints | median, lowest, highest of 5 |");
    println!("|---|---|");
    for (what, mut times) in [("publish ms", published), ("last delivery ms", last)] {
        times.sort_unstable();
        let [median, low, high] = [times[2], times[0], times[4]].map(ms);
        println!("| {what} | {median:.1}, {low:.1}, {high:.1} |");
    }
    println!("| bytes of disk of a waiting unit | {bytes:.0} |");
    println!("| RSS MiB | {memory:.0} |\n");
}

/// Returns the bytes of disk that an event takes for each endpoint that it waits for, with its body. The endpoints are paused.
async fn waiting_bytes(directory: &Path, address: SocketAddr) -> f64 {
    let before = Service::disk(directory);
    let service = Service::start(Program::Hookgate, directory, &[address.port()]);
    let mut client = Client::new(service.address);
    for _ in 0..SIZED {
        let status = service.publish(&mut client, "a", &key().1, &data()).await;
        assert_eq!(status, 202);
    }
    service.stop();
    (Service::disk(directory) - before) as f64 / (SIZED * MANY) as f64
}

/// Makes tenants and their endpoints by 64 callers.
async fn fill(service: &Arc<Service>, tenants: u64, to: SocketAddr) {
    let next = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (service, next) = (Arc::clone(service), Arc::clone(&next));
            tokio::spawn(async move {
                let mut client = Client::new(service.address);
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= tenants {
                        return;
                    }
                    let (tenant, url) =
                        (format!("tenant-{number}"), format!("http://{to}/{number}"));
                    service.tenant(&mut client, &tenant, 50).await;
                    for _ in 0..EACH {
                        service.endpoint(&mut client, &tenant, &url).await;
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Prints the cost of a hundred thousand endpoints while nothing happens.
pub(crate) async fn rest() {
    let tenants = std::env::var("HOOKGATE_BENCH_TENANTS");
    let tenants = tenants.map_or(TENANTS, |tenants| tenants.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let (address, arrivals) = good().await;
    let start = || Service::start(Program::Hookgate, directory.path(), &[address.port()]);
    let (service, begun) = (Arc::new(start()), Instant::now());
    let empty = service.memory().0;
    fill(&service, tenants, address).await;
    let made = begun.elapsed();
    Arc::into_inner(service).unwrap().stop();
    let begun = Instant::now();
    let service = start();
    let started = begun.elapsed();
    let mut client = Client::new(service.address);
    let begun = Instant::now();
    let status = service
        .publish(&mut client, "tenant-7", &key().1, &data())
        .await;
    assert_eq!(status, 202);
    while arrivals.count() < EACH {
        assert!(begun.elapsed() < Duration::from_secs(30), "not delivered");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (cpu, begun) = (service.cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(20)).await;
    let share = 100.0 * (service.cpu() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
    let (memory, endpoints) = (service.memory().0, tenants * EACH);
    let bytes = Service::disk(directory.path()) as f64 / endpoints as f64;
    println!("| {endpoints} endpoints of {tenants} tenants at rest | |");
    println!("|---|---|");
    println!("| made by 64 callers in s | {:.1} |", made.as_secs_f64());
    println!("| start until the API answers ms | {:.0} |", ms(started));
    println!(
        "| first event to {EACH} of them after it ms | {:.0} |",
        ms(first)
    );
    println!("| CPU, share of a core | {share:.2} % |");
    println!("| RSS MiB (of an empty gateway) | {memory:.0} ({empty:.0}) |");
    println!("| bytes of disk an endpoint | {bytes:.0} |\n");
}
