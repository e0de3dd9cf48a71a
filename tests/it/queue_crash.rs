//! A gate is killed again and again while it accepts and delivers: what it acknowledged arrives, and the store explains whatever arrived twice.
//!
//! `HOOKGATE_KILLS` says how often (100), `HOOKGATE_SEED` repeats a run.
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::queue::{SECRET, waiting};
use super::support::fault::{Fault, FaultServer, digest};
use super::support::gate::{Gate, wait_at_most};
use super::support::http::Connection;
use super::support::sign;

const SENDERS: u64 = 6;
const ROUTES: [&str; 2] = ["queued", "spilled"];

/// Numbers that look random and come again with the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        // splitmix64, <https://prng.di.unimi.it/splitmix64.c>
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Any bytes: 10 to 100 Ki of them, small ones as often as large ones.
    pub fn body(&mut self) -> Vec<u8> {
        let most = 10_u64 << self.below(14);
        let length = (10 + self.below(most)).min(100 << 10);
        let mut body: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        body.truncate(usize::try_from(length).unwrap());
        body
    }
}

/// Any seed, or the one that is to be repeated; it is printed.
pub fn seed(what: &str) -> u64 {
    let any = || u64::from(std::process::id()) ^ std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = std::env::var("HOOKGATE_SEED").map_or_else(|_| any(), |seed| seed.parse().unwrap());
    eprintln!("{what}: HOOKGATE_SEED={seed}");
    seed
}

/// What a sender knows of a delivery.
#[derive(Clone, Debug)]
struct Sent {
    route: &'static str,
    digest: [u8; 32],
    /// Requests that left, whole or in part.
    requests: usize,
    acknowledged: bool,
}

/// What all senders know, and where the gate is.
#[derive(Default)]
struct Senders {
    address: Mutex<Option<SocketAddr>>,
    sent: Mutex<BTreeMap<String, Sent>>,
    over: AtomicBool,
}

impl Senders {
    fn run(&self, number: u64, mut dice: Dice) {
        let mut kept: Option<(SocketAddr, Connection)> = None;
        for delivery in 0..u64::MAX {
            let (id, body) = (format!("{number}-{delivery}"), dice.body());
            let route = ROUTES[usize::try_from(dice.below(2)).unwrap()];
            let (headers, target) = (sign::github(SECRET, &id, &body), format!("/webhooks/{route}"));
            // a provider that got no answer, or none that it likes, sends it again; some give up
            for request in 1..=1 + dice.below(6) {
                if self.over.load(Ordering::SeqCst) {
                    return;
                }
                let Some(address) = *self.address.lock().unwrap() else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                let connection = match kept.take() {
                    Some((known, connection)) if known == address => Ok(connection),
                    _ => Connection::try_open(address),
                };
                let Ok(mut connection) = connection else { continue };
                let first = Sent { route, digest: digest(&body), requests: 0, acknowledged: false };
                self.sent.lock().unwrap().entry(id.clone()).or_insert(first).requests += 1;
                let Ok(answer) = connection.try_request("POST", &target, &sign::borrowed(&headers), &body) else { continue };
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

fn config(app: &FaultServer, flaky: &FaultServer) -> String {
    let verify = format!("{{ provider: github, secrets: [{{ insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}");
    let retry = "retry: { initial: 20ms, factor: 1.5, max: 200ms, max_attempts: 1000 }";
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
log: {{ requests: none }}
shutdown: {{ delay: 0s, grace: 5s }}
store: {{ path: STORE }}
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
fn app(mut dice: Dice, fails: u64) -> FaultServer {
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

#[test]
fn a_gate_that_is_killed_again_and_again_loses_nothing() {
    let kills: u32 = std::env::var("HOOKGATE_KILLS").map_or(100, |kills| kills.parse().unwrap());
    let mut dice = Dice::new(seed("a gate that is killed"));
    let (app, flaky) = (app(Dice::new(dice.next()), 3), app(Dice::new(dice.next()), 8));
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = config(&app, &flaky).replace("STORE", dir.path().join("store").to_str().unwrap());
    let senders = Arc::new(Senders::default());
    let sending: Vec<_> = (0..SENDERS)
        .map(|number| {
            let (senders, dice) = (Arc::clone(&senders), Dice::new(dice.next()));
            std::thread::spawn(move || senders.run(number, dice))
        })
        .collect();
    let start = || {
        let gate = Gate::start_in(Arc::clone(&dir), &yaml);
        *senders.address.lock().unwrap() = Some(gate.address("senders"));
        gate
    };
    for kill in 0..kills {
        let gate = start();
        // away for one life in four
        let away = dice.below(4) == 0;
        if away {
            flaky.go_down();
        }
        std::thread::sleep(Duration::from_millis(50 + dice.below(150)));
        *senders.address.lock().unwrap() = None;
        gate.signal("KILL");
        let said = gate.said().join("\n");
        assert!(!said.contains("panicked") && !said.contains("ERROR"), "life {kill}: {said}");
        drop(gate);
        flaky.come_back();
    }
    let mut gate = start();
    std::thread::sleep(Duration::from_millis(500));
    senders.over.store(true, Ordering::SeqCst);
    for sender in sending {
        sender.join().unwrap();
    }
    // some may have been cut off often, and wait for it
    let begun = Instant::now();
    wait_at_most(Duration::from_secs(60), "all to be delivered", || waiting(dir.path()) == 0);
    eprintln!("drained in {:?}", begun.elapsed());
    gate.signal("TERM");
    assert!(gate.wait(Duration::from_secs(10)).success());
    let sent = senders.sent.lock().unwrap().clone();
    let arrived = arrivals([&app, &flaky]);
    check(dir.path(), &sent, &arrived, kills);
}

/// What an app saw of a delivery.
#[derive(Debug, Default)]
struct Arrivals {
    digests: Vec<[u8; 32]>,
    /// Those that it answered with 200.
    taken: usize,
}

fn arrivals(apps: [&FaultServer; 2]) -> BTreeMap<String, Arrivals> {
    let mut all = BTreeMap::<String, Arrivals>::new();
    for request in apps.into_iter().flat_map(FaultServer::seen) {
        let arrivals = all.entry(request.id).or_default();
        arrivals.digests.push(request.digest);
        arrivals.taken += usize::from(matches!(request.fault, Fault::Answer(200) | Fault::Keep(200)));
    }
    all
}

/// What the store says of a delivery.
#[derive(Debug, Default)]
struct Rows {
    /// The last lease of which there is a try.
    last: usize,
    /// Tries on record.
    tries: usize,
    /// Those that were answered with 2xx.
    delivered: usize,
    /// Those that may have arrived, and those sent a second time over a new connection.
    ambiguous: usize,
    resent: usize,
}

fn rows(database: &rusqlite::Connection) -> BTreeMap<String, Rows> {
    let all = "select d.delivery_id, count(a.n), coalesce(max(a.n), 0), coalesce(sum(a.status between 200 and 299), 0),
        coalesce(sum(a.error like 'ambiguous%'), 0), coalesce(sum(a.error = 'resent'), 0)
        from delivery d left join attempt a on a.id = d.id group by d.id";
    let mut statement = database.prepare(all).unwrap();
    let rows = statement.query_map([], |row| {
        let count = |at: usize| Ok::<_, rusqlite::Error>(usize::try_from(row.get::<_, i64>(at)?).unwrap());
        let (tries, last, delivered, ambiguous, resent) = (count(1)?, count(2)?, count(3)?, count(4)?, count(5)?);
        Ok((row.get(0)?, Rows { last, tries, delivered, ambiguous, resent }))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn check(dir: &Path, sent: &BTreeMap<String, Sent>, arrived: &BTreeMap<String, Arrivals>, kills: u32) {
    let database = rusqlite::Connection::open(dir.join("store/hookgate.db")).unwrap();
    assert_eq!(database.query_row("pragma integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
    let count = |table: &str| database.query_row(&format!("select count(*) from {table}"), [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!([count("due"), count("dead")], [0, 0]);
    assert_eq!(count("(select delivery_id from delivery group by 1 having count(*) > 1)"), 0, "one row an ID, whatever was sent again");
    let (rows, nothing) = (rows(&database), Rows::default());
    let (mut acknowledged, mut cut_off, mut twice) = (0, 0, 0);
    for (id, sent) in sent {
        let none = Arrivals::default();
        let (arrived, rows) = (arrived.get(id).unwrap_or(&none), rows.get(id).unwrap_or(&nothing));
        let what = || format!("{id}: {sent:?}, {rows:?}, {} arrivals, {} taken", arrived.digests.len(), arrived.taken);
        acknowledged += usize::from(sent.acknowledged);
        assert!(!sent.acknowledged || arrived.taken > 0, "lost: {}", what());
        assert!(arrived.digests.iter().all(|digest| *digest == sent.digest), "other bytes: {}", what());
        // on a route that queues nothing arrives but by a lease; on the other each request may hand it on as well, and a kill forget that.
        // A try that finds its connection dead sends it again; one that ends so may have arrived twice.
        let inline = if sent.route == ROUTES[0] { 0 } else { sent.requests };
        let missing = rows.last - rows.tries;
        assert!(
            arrived.digests.len() <= rows.last + rows.resent + rows.ambiguous + missing + 2 * inline,
            "a try without a lease: {}",
            what()
        );
        assert!(arrived.taken <= rows.delivered + missing + rows.ambiguous + rows.resent + inline, "twice without a reason: {}", what());
        assert!(rows.delivered <= 1, "tried after it was delivered: {}", what());
        // nobody was killed between: once it was taken that was the end
        if missing == 0 && rows.ambiguous == 0 && sent.requests == 1 {
            assert!(arrived.taken <= 1, "twice without a reason: {}", what());
        }
        cut_off += missing;
        twice += usize::from(arrived.taken > 1);
    }
    assert!(arrived.keys().all(|id| sent.contains_key(id)));
    eprintln!(
        "{kills} kills: {} deliveries sent, {acknowledged} acknowledged, {} in the store, {cut_off} tries cut off, {twice} taken twice or more",
        sent.len(),
        rows.len()
    );
    assert!(acknowledged > 10 * kills as usize && cut_off > 0, "the load was too light to show anything");
}
