//! Senders to gateways that are killed, an app that fails now and then, and the account of what arrived where.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::config::SECRET;
use super::dice::Dice;
use super::fault::{Fault, FaultServer, digest};
use super::http::Connection;
use super::sign;

/// The routes of the gateways: a queue, and one that forwards and spills.
pub const ROUTES: [&str; 2] = ["queued", "spilled"];

/// A sender's knowledge of a delivery.
#[derive(Clone, Debug)]
pub struct Sent {
    pub route: &'static str,
    pub digest: [u8; 32],
    /// Requests that left, whole or in part.
    pub requests: usize,
    pub acknowledged: bool,
}

/// The knowledge of all senders, and the addresses of the gateways.
pub struct Senders {
    /// The gateways that run.
    pub addresses: Mutex<Vec<SocketAddr>>,
    pub sent: Mutex<BTreeMap<String, Sent>>,
    /// One of so many deliveries goes to the second route.
    pub spilled: u64,
    pub over: AtomicBool,
}

impl Senders {
    /// Returns senders that do not send yet, of which one of `spilled` deliveries goes to the second route.
    pub fn new(spilled: u64) -> Self {
        Self {
            addresses: Mutex::default(),
            sent: Mutex::default(),
            spilled,
            over: AtomicBool::new(false),
        }
    }

    /// Returns how many deliveries the gate has acknowledged.
    pub fn acknowledged(&self) -> usize {
        let sent = self.sent.lock().unwrap();
        sent.values().filter(|sent| sent.acknowledged).count()
    }

    pub fn run(&self, number: u64, mut dice: Dice) {
        let mut kept: Option<(SocketAddr, Connection)> = None;
        for delivery in 0..u64::MAX {
            let (id, body) = (format!("{number}-{delivery}"), dice.body());
            let route = ROUTES[usize::from(dice.below(self.spilled) == 0)];
            let (headers, target) = (
                sign::github(SECRET, &id, &body),
                format!("/webhooks/{route}"),
            );
            // a provider that got no answer, or none that it likes, sends it again; some give up
            for request in 1..=1 + dice.below(6) {
                if self.over.load(Ordering::SeqCst) {
                    return;
                }
                let running = self.addresses.lock().unwrap().clone();
                if running.is_empty() {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                let place = dice.below(running.len() as u64);
                let address = running[usize::try_from(place).unwrap()];
                let connection = match kept.take() {
                    Some((known, connection)) if known == address => Ok(connection),
                    _ => Connection::try_open(address),
                };
                let Ok(mut connection) = connection else {
                    continue;
                };
                let first = Sent {
                    route,
                    digest: digest(&body),
                    requests: 0,
                    acknowledged: false,
                };
                self.sent
                    .lock()
                    .unwrap()
                    .entry(id.clone())
                    .or_insert(first)
                    .requests += 1;
                let Ok(answer) =
                    connection.try_request("POST", &target, &sign::borrowed(&headers), &body)
                else {
                    continue;
                };
                assert!(
                    [200, 202, 502, 503, 504, 500].contains(&answer.status),
                    "{id}, request {request}: {} {}",
                    answer.status,
                    answer.text()
                );
                if answer.header("Connection") != Some("close") {
                    kept = Some((address, connection));
                }
                if answer.status < 300 {
                    self.sent.lock().unwrap().get_mut(&id).unwrap().acknowledged = true;
                    break;
                }
            }
        }
    }
}

/// Returns a config with these routes. `store` is its store.
pub fn config(app: &FaultServer, flaky: &FaultServer, store: &str) -> String {
    let verify = format!(
        "{{ provider: github, secrets: [{{ insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}"
    );
    let retry = "retry: { initial: 20ms, factor: 1.5, max: 200ms, max_attempts: 1000 }";
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
log: {{ requests: none }}
shutdown: {{ delay: 0s, grace: 5s }}
store: {store}
upstreams:
  app: {{ url: {}, timeout: 2s, connect_timeout: 500ms }}
  flaky: {{ url: {}, timeout: 2s, connect_timeout: 500ms, breaker: {{ failures: 3, open: 100ms }} }}
routes:
  - {{ name: queued, path: /webhooks/queued, verify: {verify}, dedupe: {{ window: 24h }}, queue: {{ upstream: app, {retry} }} }}
  - name: spilled
    path: /webhooks/spilled
    verify: {verify}
    dedupe: {{ window: 24h }}
    forward: {{ upstream: flaky, on_failure: queue, {retry}, rate: 500/s, concurrency: 8 }}
",
        app.url(),
        flaky.url()
    )
}

/// An app that takes its time, and fails now and then.
pub fn app(mut dice: Dice, fails: u64) -> FaultServer {
    let salt = dice.next();
    FaultServer::start(move |number, _| {
        let mut dice = Dice::new(salt ^ number as u64);
        std::thread::sleep(Duration::from_millis(dice.below(15)));
        match dice.below(100) {
            n if n < fails => Fault::Answer(503),
            n if n < 2 * fails => Fault::Answer(500),
            n if n < 3 * fails => Fault::Close,
            n if n < 50 => Fault::Answer(200),
            _ => Fault::Keep(200),
        }
    })
}

/// Milliseconds since the Unix epoch, as the store has them.
pub fn unix_ms() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// The attempts of a delivery at an app: their numbers, each with the app's reaction.
pub type Arrivals = Vec<(u32, [u8; 32], bool)>;

pub fn arrivals(apps: [&FaultServer; 2]) -> BTreeMap<String, Arrivals> {
    let mut all = BTreeMap::<String, Arrivals>::new();
    for request in apps.into_iter().flat_map(FaultServer::seen) {
        let taken = matches!(request.fault, Fault::Answer(200) | Fault::Keep(200));
        all.entry(request.id)
            .or_default()
            .push((request.attempt, request.digest, taken));
    }
    all
}

/// An attempt as the store has it.
#[derive(Debug)]
pub struct Row {
    pub number: u32,
    /// In milliseconds since the Unix epoch.
    pub started: i64,
    pub status: u16,
    pub error: String,
}

impl Row {
    pub fn delivered(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the app may have seen it twice, or have taken it although no 2xx is on record.
    pub fn unclear(&self) -> bool {
        self.error == "cut_off" || self.error == "resent" || self.error.starts_with("ambiguous")
    }
}

/// Each attempt on record must have a reason: the one before it failed, or a kill cut that one off.
pub fn explained(rows: &[Row], killed: &[(i64, i64)]) -> Result<(), &'static str> {
    if rows
        .iter()
        .zip(1..)
        .any(|(row, number)| row.number != number)
    {
        return Err("a gap in the numbers");
    }
    for pair in rows.windows(2) {
        let [one, next] = pair else { continue };
        let is_killed = killed
            .iter()
            .any(|(before, after)| one.started <= *after && next.started >= *before);
        match one.error.as_str() {
            _ if one.delivered() => return Err("attempted after it was delivered"),
            "cut_off" if !is_killed => return Err("cut off, and no kill between"),
            _ => {}
        }
    }
    Ok(())
}

/// Checks that each attempt that arrived is on record: it arrives once, unless the record leaves that open, and is delivered only if the record says so.
pub fn recorded(sent: &Sent, rows: &[Row], arrived: &Arrivals) -> Result<(), &'static str> {
    // within its request each one is the first attempt, and a kill forgets it
    let requests = if sent.route == ROUTES[0] {
        0
    } else {
        sent.requests
    };
    let numbers: BTreeSet<u32> = arrived.iter().map(|(number, _, _)| *number).collect();
    for number in numbers {
        let count = |taken_only: bool| {
            arrived
                .iter()
                .filter(|(n, _, taken)| *n == number && (*taken || !taken_only))
                .count()
        };
        // one on a stale connection is sent again as attempt 2
        let inline = if number <= 2 { requests } else { 0 };
        let row = rows.iter().find(|row| row.number == number);
        if row.is_none() && inline == 0 {
            return Err("an attempt without a row");
        }
        let twice = usize::from(row.is_some_and(Row::unclear));
        // a connection that was kept and is dead has a request sent again
        if count(false) > usize::from(row.is_some()) + twice + 2 * inline {
            return Err("arrived more often than is on record");
        }
        if count(true) > usize::from(row.is_some_and(Row::delivered)) + 2 * twice + inline {
            return Err("taken, and not on record as delivered");
        }
    }
    Ok(())
}
