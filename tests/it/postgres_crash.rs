//! Two gateways on one PostgreSQL database are killed in turn while they accept and deliver: what was acknowledged arrives, and the store explains
//! whatever arrived twice.
//!
//! `HOOKGATE_KILLS` says how often (8), `HOOKGATE_SEED` repeats a run.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_postgres::Config;

use super::support::dice::{Dice, seed};
use super::support::fault::FaultServer;
use super::support::fleet;
use super::support::gate::{Gate, wait_at_most};
use super::support::killed::kills;
use super::support::killed_senders::{
    Arrivals, Row, Senders, Sent, app, arrivals, config, explained, recorded, unix_ms,
};
use super::support::postgres_server;

const SENDERS: u64 = 16;
/// The part of a lease that no config shortens, in milliseconds: before it is over, no other gateway takes the delivery.
const LEASE: i64 = 15_000;

/// Two gateways, of which one may be away, and their senders.
struct Pair {
    yaml: String,
    gates: [Option<Gate>; 2],
    senders: Arc<Senders>,
}

impl Pair {
    fn start(&mut self, place: usize) {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        self.gates[place] = Some(Gate::start_in(dir, &self.yaml));
        self.tell();
    }

    /// Kills one. Returns when, in milliseconds: not before, and not after.
    fn kill(&mut self, place: usize) -> (i64, i64) {
        let gate = self.gates[place].take().unwrap();
        self.tell();
        let before = unix_ms();
        gate.signal("KILL");
        let text = gate.log_lines().join("\n");
        assert!(
            !text.contains("panicked") && !text.contains("\"level\":\"error\""),
            "{text}"
        );
        drop(gate);
        (before, unix_ms())
    }

    /// Tells the senders which gateways run.
    fn tell(&self) {
        let running = self.gates.iter().flatten();
        let addresses = running.map(|gate| gate.address("senders")).collect();
        *self.senders.addresses.lock().unwrap() = addresses;
    }
}

#[test]
fn gateways_that_are_killed_in_turn_lose_nothing() {
    let kills = kills(8, 1);
    let mut dice = Dice::new(seed("gateways that are killed in turn"));
    let (app, flaky) = (
        app(Dice::new(dice.next()), 3),
        app(Dice::new(dice.next()), 8),
    );
    let server = postgres_server::server();
    let database = server.empty();
    let (name, directory) = (database.get_dbname().unwrap(), server.directory().display());
    let store = format!(
        "{{ postgres: {{ url: 'postgres://hookgate@/{name}?host={directory}', timeout: 10s }} }}"
    );
    // a claim of a gateway that was killed keeps its sender waiting, so few go that way
    let senders = Arc::new(Senders::new(10));
    let mut pair = Pair {
        yaml: config(&app, &flaky, &store)
            .replace("listen:", "admin: { address: 127.0.0.1:0, token: { insecure_inline: the-token-of-the-tests } }\nlisten:"),
        gates: [None, None],
        senders: Arc::clone(&senders),
    };
    let sending: Vec<_> = (0..SENDERS)
        .map(|number| {
            let (senders, dice) = (Arc::clone(&senders), Dice::new(dice.next()));
            std::thread::spawn(move || senders.run(number, dice))
        })
        .collect();
    let mut killed = Vec::new();
    pair.start(0);
    for kill in 0..kills {
        let next = usize::from(kill % 2 == 0);
        pair.start(next);
        if dice.below(4) == 0 {
            flaky.go_down();
        }
        std::thread::sleep(Duration::from_millis(50 + dice.below(150)));
        killed.push(pair.kill(1 - next));
        flaky.come_back();
    }
    let before = senders.acknowledged();
    wait_at_most(Duration::from_secs(60), "more to be acknowledged", || {
        senders.acknowledged() >= before + 20
    });
    senders.over.store(true, Ordering::SeqCst);
    for sender in sending {
        sender.join().unwrap();
    }
    // what a gateway held that was killed waits for the end of its lease
    let begun = Instant::now();
    wait_at_most(Duration::from_secs(900), "all to be delivered", || {
        fleet::number(&database, "select count(*) from hookgate.due") == 0
    });
    eprintln!("drained in {:?}", begun.elapsed());
    for mut gate in pair.gates.into_iter().flatten() {
        gate.stop(Duration::from_secs(30));
    }
    let sent = senders.sent.lock().unwrap().clone();
    check(&database, &sent, [&app, &flaky], &killed);
}

fn rows(database: &Config) -> BTreeMap<String, Vec<Row>> {
    let all = "select concat_ws('|', d.delivery_id, a.number, (extract(epoch from a.started) * 1000)::bigint, coalesce(a.status, 0), coalesce(a.error, ''))
        from hookgate.delivery d join hookgate.attempt a on a.id = d.id order by a.lease, a.entry";
    let mut rows = BTreeMap::<String, Vec<Row>>::new();
    for text in fleet::column(database, all) {
        let parts: Vec<_> = text.split('|').collect();
        let row = Row {
            number: parts[1].parse().unwrap(),
            started: parts[2].parse().unwrap(),
            status: parts[3].parse().unwrap(),
            error: parts[4].to_owned(),
        };
        rows.entry(parts[0].to_owned()).or_default().push(row);
    }
    rows
}

fn check(
    database: &Config,
    sent: &BTreeMap<String, Sent>,
    apps: [&FaultServer; 2],
    killed: &[(i64, i64)],
) {
    let dead = fleet::number(database, "select count(*) from hookgate.dead");
    assert_eq!(dead, 0);
    let (rows, arrived) = (rows(database), arrivals(apps));
    let (mut acknowledged, mut cut_off, mut twice) = (std::collections::BTreeSet::new(), 0, 0);
    for (id, sent) in sent {
        let (none, nothing) = (Arrivals::new(), Vec::new());
        let (arrived, rows) = (
            arrived.get(id).unwrap_or(&none),
            rows.get(id).unwrap_or(&nothing),
        );
        let taken = arrived.iter().filter(|(_, _, taken)| *taken).count();
        let what = || format!("{id}: {sent:?}, {rows:#?}, arrived {arrived:?}");
        assert!(!sent.acknowledged || taken > 0, "lost: {}", what());
        let is_whole = arrived.iter().all(|(_, digest, _)| *digest == sent.digest);
        assert!(is_whole, "other bytes: {}", what());
        assert_eq!(explained(rows, killed), Ok(()), "{}", what());
        assert_eq!(recorded(sent, rows, arrived), Ok(()), "{}", what());
        let too_early = rows
            .windows(2)
            .any(|pair| pair[0].error == "cut_off" && pair[1].started - pair[0].started < LEASE);
        assert!(!too_early, "taken over within its lease: {}", what());
        if sent.acknowledged {
            acknowledged.insert(id.clone());
        }
        cut_off += rows.iter().filter(|row| row.error == "cut_off").count();
        twice += usize::from(taken > 1);
    }
    assert!(arrived.keys().all(|id| sent.contains_key(id)));
    let forwarded = |id: &String| !rows.contains_key(id);
    let stored: std::collections::BTreeSet<_> = acknowledged
        .iter()
        .filter(|id| !forwarded(id))
        .cloned()
        .collect();
    fleet::nothing_is_lost(database, &stored);
    let kills = killed.len();
    eprintln!(
        "{kills} kills: {} deliveries sent, {} acknowledged, {} in the store, 0 lost, {cut_off} attempts cut off, {twice} taken twice or more",
        sent.len(),
        acknowledged.len(),
        rows.len()
    );
    assert!(
        acknowledged.len() > 3 * kills && cut_off > 0,
        "the load was too light to show anything"
    );
}
