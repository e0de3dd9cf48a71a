//! A gate is killed again and again while it accepts and delivers: what it acknowledged arrives, and the store explains whatever arrived twice.
//!
//! `HOOKGATE_KILLS` says how often (100), `HOOKGATE_SEED` repeats a run.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::support::config::SECRET;
use super::support::dice::{Dice, seed};
use super::support::fault::{Fault, FaultServer, digest};
use super::support::gate::{Gate, wait_at_most};
use super::support::http::Connection;
use super::support::killed::kills;
use super::support::queue::waiting;
use super::support::sign;

const SENDERS: u64 = 6;
const ROUTES: [&str; 2] = ["queued", "spilled"];

/// A sender's knowledge of a delivery.
#[derive(Clone, Debug)]
struct Sent {
    route: &'static str,
    digest: [u8; 32],
    /// Requests that left, whole or in part.
    requests: usize,
    acknowledged: bool,
}

/// The knowledge of all senders, and the address of the gate.
#[derive(Default)]
struct Senders {
    address: Mutex<Option<SocketAddr>>,
    sent: Mutex<BTreeMap<String, Sent>>,
    over: AtomicBool,
}

impl Senders {
    /// Returns how many deliveries the gate has acknowledged.
    fn acknowledged(&self) -> usize {
        let sent = self.sent.lock().unwrap();
        sent.values().filter(|sent| sent.acknowledged).count()
    }

    fn run(&self, number: u64, mut dice: Dice) {
        let mut kept: Option<(SocketAddr, Connection)> = None;
        for delivery in 0..u64::MAX {
            let (id, body) = (format!("{number}-{delivery}"), dice.body());
            let route = ROUTES[usize::try_from(dice.below(2)).unwrap()];
            let (headers, target) = (
                sign::github(SECRET, &id, &body),
                format!("/webhooks/{route}"),
            );
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

fn config(app: &FaultServer, flaky: &FaultServer) -> String {
    let verify = format!(
        "{{ provider: github, secrets: [{{ insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}"
    );
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
    let kills = kills(100, 1);
    let mut dice = Dice::new(seed("a gate that is killed"));
    let (app, flaky) = (
        app(Dice::new(dice.next()), 3),
        app(Dice::new(dice.next()), 8),
    );
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
    let mut killed = Vec::new();
    for kill in 0..kills {
        let gate = start();
        // away for one life in four
        let away = dice.below(4) == 0;
        if away {
            flaky.go_down();
        }
        std::thread::sleep(Duration::from_millis(50 + dice.below(150)));
        *senders.address.lock().unwrap() = None;
        let before = unix_ms();
        gate.signal("KILL");
        let text = gate.log_lines().join("\n");
        assert!(
            !text.contains("panicked") && !text.contains("\"level\":\"error\""),
            "life {kill}: {text}"
        );
        drop(gate);
        killed.push((before, unix_ms()));
        flaky.come_back();
    }
    let mut gate = start();
    let before = senders.acknowledged();
    wait_at_most(Duration::from_secs(30), "more to be acknowledged", || {
        senders.acknowledged() >= before + 20
    });
    senders.over.store(true, Ordering::SeqCst);
    for sender in sending {
        sender.join().unwrap();
    }
    // some may have been cut off often, and wait for it
    let begun = Instant::now();
    wait_at_most(Duration::from_secs(180), "all to be delivered", || {
        waiting(dir.path()) == 0
    });
    eprintln!("drained in {:?}", begun.elapsed());
    gate.signal("TERM");
    assert!(gate.wait(Duration::from_secs(10)).success());
    let sent = senders.sent.lock().unwrap().clone();
    check(dir.path(), &sent, &arrivals([&app, &flaky]), &killed);
}

/// Milliseconds since the Unix epoch, as the store has them.
fn unix_ms() -> i64 {
    i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// The attempts of a delivery at an app: their numbers, each with the app's reaction.
type Arrivals = Vec<(u32, [u8; 32], bool)>;

fn arrivals(apps: [&FaultServer; 2]) -> BTreeMap<String, Arrivals> {
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
struct Row {
    number: u32,
    /// In milliseconds since the Unix epoch.
    started: i64,
    status: u16,
    error: String,
}

impl Row {
    fn delivered(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the app may have seen it twice, or have taken it although no 2xx is on record.
    fn unclear(&self) -> bool {
        self.error == "cut_off" || self.error == "resent" || self.error.starts_with("ambiguous")
    }
}

fn rows(database: &rusqlite::Connection) -> BTreeMap<String, Vec<Row>> {
    let all =
        "select d.delivery_id, a.number, a.started, coalesce(a.status, 0), coalesce(a.error, '')
        from delivery d join attempt a on a.id = d.id order by a.lease";
    let mut statement = database.prepare(all).unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        Ok((
            row.get::<_, String>(0)?,
            Row {
                number: row.get(1)?,
                started: row.get(2)?,
                status: row.get(3)?,
                error: row.get(4)?,
            },
        ))
    };
    let mut rows = BTreeMap::<String, Vec<Row>>::new();
    for row in statement.query_map([], read).unwrap() {
        let (id, row) = row.unwrap();
        rows.entry(id).or_default().push(row);
    }
    rows
}

/// Each attempt on record must have a reason: the one before it failed, or a kill cut that one off.
fn explained(rows: &[Row], killed: &[(i64, i64)]) -> Result<(), &'static str> {
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
fn recorded(sent: &Sent, rows: &[Row], arrived: &Arrivals) -> Result<(), &'static str> {
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

fn check(
    dir: &Path,
    sent: &BTreeMap<String, Sent>,
    arrived: &BTreeMap<String, Arrivals>,
    killed: &[(i64, i64)],
) {
    let database = rusqlite::Connection::open(dir.join("store/hookgate.db")).unwrap();
    assert_eq!(
        database
            .query_row("pragma integrity_check", [], |row| row.get::<_, String>(0))
            .unwrap(),
        "ok"
    );
    let count = |table: &str| {
        database
            .query_row(&format!("select count(*) from {table}"), [], |row| {
                row.get::<_, i64>(0)
            })
            .unwrap()
    };
    assert_eq!([count("due"), count("dead")], [0, 0]);
    assert_eq!(
        count("(select delivery_id from delivery group by 1 having count(*) > 1)"),
        0,
        "one row an ID, whatever was sent again"
    );
    let rows = rows(&database);
    let (mut acknowledged, mut cut_off, mut twice) = (0, 0, 0);
    for (id, sent) in sent {
        let (none, nothing) = (Arrivals::new(), Vec::new());
        let (arrived, rows) = (
            arrived.get(id).unwrap_or(&none),
            rows.get(id).unwrap_or(&nothing),
        );
        let taken = arrived.iter().filter(|(_, _, taken)| *taken).count();
        let what = || {
            format!(
                "{id}: {sent:?}, {rows:#?}, arrived {:?}",
                arrived
                    .iter()
                    .map(|(n, _, taken)| (n, taken))
                    .collect::<Vec<_>>()
            )
        };
        acknowledged += usize::from(sent.acknowledged);
        assert!(!sent.acknowledged || taken > 0, "lost: {}", what());
        assert!(
            arrived.iter().all(|(_, digest, _)| *digest == sent.digest),
            "other bytes: {}",
            what()
        );
        assert_eq!(explained(rows, killed), Ok(()), "{}", what());
        assert_eq!(recorded(sent, rows, arrived), Ok(()), "{}", what());
        cut_off += rows.iter().filter(|row| row.error == "cut_off").count();
        twice += usize::from(taken > 1);
    }
    assert!(arrived.keys().all(|id| sent.contains_key(id)));
    let kills = killed.len();
    eprintln!(
        "{kills} kills: {} deliveries sent, {acknowledged} acknowledged, {} in the store, {cut_off} attempts cut off, {twice} taken twice or more",
        sent.len(),
        rows.len()
    );
    assert!(
        acknowledged > 3 * kills && cut_off > 0,
        "the load was too light to show anything"
    );
}

/// The check itself: a retry without a reason, a gap and an attempt that is not on record are found.
#[test]
fn a_retry_without_a_reason_is_found() {
    let row = |number, started, status, error: &str| Row {
        number,
        started,
        status,
        error: error.to_owned(),
    };
    let sent = Sent {
        route: ROUTES[0],
        digest: [0; 32],
        requests: 1,
        acknowledged: true,
    };
    let killed = [(100, 110)];
    let good = [
        row(1, 50, 503, ""),
        row(2, 90, 0, "cut_off"),
        row(3, 120, 200, ""),
    ];
    let arrived = vec![(1, [0; 32], false), (2, [0; 32], true), (3, [0; 32], true)];
    assert_eq!(
        (explained(&good, &killed), recorded(&sent, &good, &arrived)),
        (Ok(()), Ok(()))
    );
    assert!(explained(&[row(1, 50, 200, ""), row(2, 60, 200, "")], &killed).is_err());
    assert!(explained(&[row(1, 50, 0, "cut_off"), row(2, 60, 200, "")], &killed).is_err());
    assert!(explained(&[row(1, 50, 500, ""), row(3, 60, 200, "")], &killed).is_err());
    assert!(
        recorded(&sent, &good[2..], &arrived).is_err(),
        "not on record"
    );
    let spurious = [&arrived[..], &[(1, [0; 32], false)]].concat();
    assert!(
        recorded(&sent, &good, &spurious).is_err(),
        "sent twice under one number"
    );
    assert!(
        recorded(&sent, &good, &vec![(1, [0; 32], true)]).is_err(),
        "taken, and recorded as 503"
    );
}
