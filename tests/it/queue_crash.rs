//! A gate is killed again and again while it accepts and delivers: what it acknowledged arrives, and the store explains whatever arrived twice.
//!
//! `HOOKGATE_KILLS` says how often (100), `HOOKGATE_SEED` repeats a run.
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::support::dice::{Dice, seed};
use super::support::gate::{Gate, wait_at_most};
use super::support::killed::kills;
use super::support::killed_senders::{
    Arrivals, ROUTES, Row, Senders, Sent, app, arrivals, config, explained, recorded, unix_ms,
};
use super::support::queue::waiting;

const SENDERS: u64 = 6;

#[test]
fn a_gate_that_is_killed_again_and_again_loses_nothing() {
    let kills = kills(100, 1);
    let mut dice = Dice::new(seed("a gate that is killed"));
    let (app, flaky) = (
        app(Dice::new(dice.next()), 3),
        app(Dice::new(dice.next()), 8),
    );
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let store = format!("{{ path: {} }}", dir.path().join("store").display());
    let yaml = config(&app, &flaky, &store);
    let senders = Arc::new(Senders::new(2));
    let sending: Vec<_> = (0..SENDERS)
        .map(|number| {
            let (senders, dice) = (Arc::clone(&senders), Dice::new(dice.next()));
            std::thread::spawn(move || senders.run(number, dice))
        })
        .collect();
    let start = || {
        let gate = Gate::start_in(Arc::clone(&dir), &yaml);
        *senders.addresses.lock().unwrap() = vec![gate.address("senders")];
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
        senders.addresses.lock().unwrap().clear();
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
