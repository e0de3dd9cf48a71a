//! A gateway that sends is killed again and again: what it acknowledged reaches every endpoint, with the exact bytes, and no key has two events.
//!
//! `HOOKGATE_KILLS` says how often (100), `HOOKGATE_SEED` repeats a run.
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::dice::{Dice, seed};
use super::support::fault::{Fault, FaultServer, digest};
use super::support::gate::{Gate, wait_at_most};
use super::support::http::Connection;
use super::support::killed::kills;
use super::support::outbound::{TOKEN, config};
use super::support::queue::waiting;

const PUBLISHERS: u64 = 6;

/// An event as its publisher knows it.
#[derive(Clone, Debug)]
struct Event {
    /// The data, which an endpoint gets as it is.
    data: String,
    /// The ID of the event in the answers; none if no request was answered.
    ids: BTreeSet<String>,
}

/// The knowledge of all publishers, and the address of the gateway.
#[derive(Default)]
struct Publishers {
    address: Mutex<Option<SocketAddr>>,
    events: Mutex<BTreeMap<String, Event>>,
    over: AtomicBool,
}

impl Publishers {
    fn acknowledged(&self) -> usize {
        let events = self.events.lock().unwrap();
        events
            .values()
            .filter(|event| !event.ids.is_empty())
            .count()
    }

    /// Publishes events until it is over. A publish without an answer is repeated with its key, and some that were answered are, too.
    fn run(&self, number: u64, mut dice: Dice) {
        for event in 0..u64::MAX {
            let key = format!("{number}-{event}");
            let size = usize::try_from(dice.below(3_000)).unwrap();
            let data = json!({ "key": key, "fill": "x".repeat(size) }).to_string();
            let first = Event {
                data: data.clone(),
                ids: BTreeSet::new(),
            };
            self.events.lock().unwrap().insert(key.clone(), first);
            let body = format!(r#"{{"type":"invoice.paid","id":"{key}","data":{data}}}"#);
            // other tests run beside this one
            std::thread::sleep(Duration::from_millis(dice.below(20)));
            let mut answers = 0;
            while answers == 0 || (answers < 3 && dice.below(4) == 0) {
                if self.over.load(Ordering::SeqCst) {
                    return;
                }
                let Some(id) = self.publish(&body) else {
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                };
                answers += 1;
                let mut events = self.events.lock().unwrap();
                events.get_mut(&key).unwrap().ids.insert(id);
            }
        }
    }

    /// Publishes once. Returns the ID in the answer; none if there is no answer, or one that asks to repeat.
    fn publish(&self, body: &str) -> Option<String> {
        let address = (*self.address.lock().unwrap())?;
        let mut connection = Connection::try_open(address).ok()?;
        let authorization = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let path = "/v1/tenants/acme/events";
        let answer = connection
            .try_request("POST", path, &headers, body.as_bytes())
            .ok()?;
        assert!(
            [202, 503].contains(&answer.status),
            "{} {}",
            answer.status,
            answer.text()
        );
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        answer["id"].as_str().map(str::to_owned)
    }
}

/// An endpoint that takes its time, and fails now and then.
fn receiver(mut dice: Dice, fails: u64) -> FaultServer {
    let salt = dice.next();
    FaultServer::start(move |number, _| {
        let mut dice = Dice::new(salt ^ number as u64);
        std::thread::sleep(Duration::from_millis(dice.below(10)));
        match dice.below(100) {
            n if n < fails => Fault::Answer(503),
            n if n < 2 * fails => Fault::Answer(500),
            n if n < 3 * fails => Fault::Close,
            _ => Fault::Keep(200),
        }
    })
}

/// Makes a tenant with an endpoint for each receiver.
fn set_up(gate: &Gate, receivers: &[&FaultServer]) {
    let call = |method: &str, path: &str, body: &Value| {
        let authorization = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let mut connection = Connection::open(gate.address("outbound"));
        let body = body.to_string();
        let answer = connection.request(method, path, &headers, body.as_bytes());
        assert!(answer.status < 300, "{}", answer.text());
    };
    call("PUT", "/v1/tenants/acme", &json!({}));
    for receiver in receivers {
        let body =
            json!({ "url": receiver.url(), "types": ["*"], "payload": "raw", "concurrency": 16 });
        call("POST", "/v1/tenants/acme/endpoints", &body);
    }
}

#[test]
fn a_gateway_that_is_killed_again_and_again_sends_all_that_it_acknowledged() {
    let kills = kills(100, 1);
    let mut dice = Dice::new(seed("a gateway that sends is killed"));
    let receivers = [
        receiver(Dice::new(dice.next()), 1),
        receiver(Dice::new(dice.next()), 4),
    ];
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let ports: Vec<u16> = receivers.iter().map(|one| one.address.port()).collect();
    let waits = vec!["100ms"; 500].join(", ");
    let yaml = config("")
        .replace("STORE", dir.path().join("store").to_str().unwrap())
        .replace("PORTS", &format!("{ports:?}"))
        .replace("concurrency: 4", "concurrency: 16")
        .replace("[1s, 1s, 1s]", &format!("[{waits}]"));
    let publishers = Arc::new(Publishers::default());
    let start = || {
        let gate = Gate::start_in(Arc::clone(&dir), &yaml);
        *publishers.address.lock().unwrap() = Some(gate.address("outbound"));
        gate
    };
    let gate = start();
    set_up(&gate, &[&receivers[0], &receivers[1]]);
    let publishing: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let (publishers, dice) = (Arc::clone(&publishers), Dice::new(dice.next()));
            std::thread::spawn(move || publishers.run(number, dice))
        })
        .collect();
    let mut gate = Some(gate);
    for kill in 0..kills {
        let running = gate.take().unwrap_or_else(&start);
        std::thread::sleep(Duration::from_millis(50 + dice.below(150)));
        *publishers.address.lock().unwrap() = None;
        running.signal("KILL");
        let text = running.log_lines().join("\n");
        assert!(
            !text.contains("panicked") && !text.contains("\"level\":\"error\""),
            "life {kill}: {text}"
        );
    }
    let mut gate = start();
    let before = publishers.acknowledged();
    wait_at_most(Duration::from_secs(120), "more to be acknowledged", || {
        publishers.acknowledged() >= (before + 20).max(101)
    });
    publishers.over.store(true, Ordering::SeqCst);
    for publisher in publishing {
        publisher.join().unwrap();
    }
    wait_at_most(Duration::from_secs(180), "all to be sent", || {
        waiting(dir.path()) == 0
    });
    gate.signal("TERM");
    assert!(gate.wait(Duration::from_secs(60)).success());
    let events = publishers.events.lock().unwrap().clone();
    check(&dir, &events, &receivers);
}

/// Checks what arrived, and what the store has.
fn check(dir: &tempfile::TempDir, events: &BTreeMap<String, Event>, receivers: &[FaultServer; 2]) {
    let database = rusqlite::Connection::open(dir.path().join("store/hookgate.db")).unwrap();
    let integrity: String = database
        .query_row("pragma integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(integrity, "ok");
    let twice: i64 = database
        .query_row(
            "select count(*) from (select 1 from delivery where delivery_id is not null group by origin, delivery_id having count(*) > 1)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(twice, 0, "keys with two events");
    let taken: Vec<BTreeSet<[u8; 32]>> = receivers
        .iter()
        .map(|receiver| {
            let seen = receiver.seen();
            let taken = seen
                .iter()
                .filter(|one| matches!(one.fault, Fault::Keep(200)));
            taken.map(|one| one.digest).collect()
        })
        .collect();
    let known: BTreeSet<[u8; 32]> = events
        .values()
        .map(|event| digest(event.data.as_bytes()))
        .collect();
    for taken in &taken {
        assert!(taken.is_subset(&known), "bytes that nobody published");
    }
    let mut acknowledged = 0;
    for (key, event) in events.iter().filter(|(_, event)| !event.ids.is_empty()) {
        acknowledged += 1;
        assert_eq!(event.ids.len(), 1, "{key} has the events {:?}", event.ids);
        for (number, taken) in taken.iter().enumerate() {
            let has = taken.contains(&digest(event.data.as_bytes()));
            assert!(
                has,
                "{key} was acknowledged and never reached endpoint {number}"
            );
        }
    }
    assert!(acknowledged > 100, "{acknowledged} acknowledged");
    eprintln!("{acknowledged} acknowledged, each sent to both endpoints");
}
