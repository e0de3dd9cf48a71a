//! Sending goes wrong: endpoints fail, are paused and tested, the app is notified, and events are recovered.
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hookgate::clock::{Clock, Now, SystemClock, rfc3339};
use serde_json::{Value, json};

use super::support::app::{Act, App};
use super::support::gate::{Gate, wait_at_most, wait_for};
use super::support::http;
use super::support::outbound::{TOKEN, config};

const ENDPOINT: &str = "/v1/tenants/acme/endpoints/main";
const NOTICES_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A clock that a test sets forward.
#[derive(Debug, Default)]
struct LateClock(AtomicU64);

impl Clock for LateClock {
    fn now(&self) -> Now {
        let Now { wall, mono } = SystemClock.now();
        let late = Duration::from_secs(self.0.load(Ordering::SeqCst));
        Now {
            wall: wall + late,
            mono,
        }
    }
}

/// An endpoint that answers this status, until the test sets another one.
struct Receiver {
    app: App,
    status: Arc<AtomicU16>,
}

impl Receiver {
    fn start(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let answer = Arc::clone(&status);
        let app = App::answering(move |_, _| Act::status(answer.load(Ordering::SeqCst)));
        Self { app, status }
    }

    fn set(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Returns how often each event arrived after the first `skip` requests.
    fn arrived(&self, skip: usize) -> BTreeMap<String, usize> {
        let mut arrived = BTreeMap::new();
        for seen in self.app.seen().iter().skip(skip) {
            let id = seen.header("webhook-id").unwrap().to_owned();
            *arrived.entry(id).or_default() += 1;
        }
        arrived
    }
}

/// Returns a config whose events have two attempts.
fn yaml(dir: &tempfile::TempDir, receivers: &[&Receiver], more: &str) -> String {
    let ports = receivers.iter().map(|one| one.app.address.port());
    let ports: Vec<u16> = ports.chain([443]).collect();
    config(more)
        .replace("STORE", dir.path().join("store").to_str().unwrap())
        .replace("PORTS", &format!("{ports:?}"))
        .replace("[1s, 1s, 1s]", "[100ms]")
}

fn start(receivers: &[&Receiver], more: &str) -> Gate {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = yaml(&dir, receivers, more);
    Gate::in_process_in(dir, &yaml)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "callers write the JSON in place"
)]
fn call(gate: &Gate, method: &str, path: &str, body: Value) -> (u16, Value) {
    let authorization = format!("Bearer {TOKEN}");
    let mut headers = vec![("authorization", authorization.as_str())];
    let text = if body.is_null() {
        String::new()
    } else {
        headers.push(("content-type", "application/json"));
        body.to_string()
    };
    let address = gate.address("outbound");
    let answer = http::request(address, method, path, &headers, text.as_bytes());
    let json = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    (answer.status, json)
}

fn get(gate: &Gate, path: &str) -> Value {
    call(gate, "GET", path, Value::Null).1
}

fn post(gate: &Gate, path: &str, body: Value) -> (u16, Value) {
    call(gate, "POST", &format!("{ENDPOINT}/{path}"), body)
}

/// Makes the tenant `acme` with the endpoint `main`.
fn set_up(gate: &Gate, receiver: &Receiver) {
    assert_eq!(call(gate, "PUT", "/v1/tenants/acme", json!({})).0, 200);
    let body = json!({ "url": format!("{}/in", receiver.app.url()), "types": ["invoice.*"] });
    let (status, answer) = call(gate, "PUT", ENDPOINT, body);
    assert_eq!(status, 201, "{answer}");
}

/// Publishes events of a type. Returns their IDs.
fn publish(gate: &Gate, event_type: &str, count: usize) -> Vec<String> {
    let ids = (0..count).map(|number| {
        let key = format!("{event_type}-{number}-{}", gate.address("outbound"));
        let body = json!({ "type": event_type, "id": key, "data": { "number": number } });
        let (status, answer) = call(gate, "POST", "/v1/tenants/acme/events", body);
        assert_eq!(status, 202, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    });
    ids.collect()
}

fn state_of(gate: &Gate, event: &str) -> Value {
    let shown = get(gate, &format!("/v1/tenants/acme/events/{event}"));
    shown["targets"][0]["state"].clone()
}

fn wait_until_dead(gate: &Gate, events: &[String]) {
    wait_at_most(Duration::from_secs(60), "the events to be dead", || {
        events.iter().all(|event| state_of(gate, event) == "dead")
    });
}

fn an_hour_ago() -> String {
    rfc3339(SystemTime::now() - Duration::from_secs(3_600))
}

/// Waits for the end of the endpoint's job. Returns it.
fn ended_job(gate: &Gate) -> Value {
    wait_at_most(Duration::from_secs(60), "the end of the job", || {
        let job = &get(gate, ENDPOINT)["job"];
        job.is_object() && job["state"] != "running"
    });
    get(gate, ENDPOINT)["job"].clone()
}

#[test]
fn failed_and_missing_events_are_recovered_by_plan() {
    let receiver = Receiver::start(500);
    let gate = start(&[&receiver], "");
    set_up(&gate, &receiver);
    let failed = publish(&gate, "invoice.paid", 6);
    let missing = publish(&gate, "order.created", 3);
    wait_until_dead(&gate, &failed);
    let shown = get(&gate, ENDPOINT);
    let message = shown["health"]["message"].as_str().unwrap();
    assert!(message.starts_with("127.0.0.1 failed (500)"), "{message}");
    assert_eq!(shown["health"]["first"], json!(failed[0]));
    let attempts = get(&gate, &format!("{ENDPOINT}/attempts"));
    assert_eq!(attempts["attempts"][0]["message"], "127.0.0.1 failed (500)");
    call(&gate, "PATCH", ENDPOINT, json!({ "types": ["*"] }));

    let what = |what: &str, more: &Value| {
        let mut body = json!({ "what": what, "since": an_hour_ago(), "rate": 1000 });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let (status, plan) = post(&gate, "recover", what("both", &json!({ "dry_run": true })));
    assert_eq!(status, 200, "{plan}");
    assert_eq!(
        (&plan["count"], &plan["missing"], &plan["more"]),
        (&json!(9), &json!(3), &json!(false)),
        "{plan}"
    );
    assert_eq!(
        plan["types"],
        json!({ "invoice.paid": 6, "order.created": 3 })
    );
    let typed = json!({ "dry_run": true, "types": ["order.*"] });
    assert_eq!(post(&gate, "recover", what("both", &typed)).1["count"], 3);
    assert_eq!(receiver.app.count(), 12, "nothing is sent by a plan");

    receiver.set(200);
    let (status, plan) = post(
        &gate,
        "recover",
        what("failed", &json!({ "reason": "repaired" })),
    );
    assert_eq!((status, &plan["count"]), (202, &json!(6)), "{plan}");
    let job = ended_job(&gate);
    assert_eq!(
        (&job["state"], &job["planned"], &job["done"], &job["reason"]),
        (&json!("done"), &json!(6), &json!(6), &json!("repaired")),
        "{job}"
    );
    wait_for("the failed events", || receiver.app.count() == 18);
    let (_, plan) = post(&gate, "recover", what("both", &json!({})));
    assert_eq!((&plan["count"], &plan["missing"]), (&json!(3), &json!(3)));
    ended_job(&gate);
    wait_for("the missing events", || receiver.app.count() == 21);
    let arrived = receiver.arrived(12);
    assert!(
        failed
            .iter()
            .chain(&missing)
            .all(|id| arrived.get(id) == Some(&1)),
        "{arrived:?}"
    );
    // an event that is named is sent again, although it was delivered
    let named = json!({ "what": "ids", "ids": [missing[0]] });
    assert_eq!(post(&gate, "recover", named).0, 202);
    wait_for("the named event", || {
        receiver.arrived(12).get(&missing[0]) == Some(&2)
    });
    let (_, plan) = post(&gate, "recover", what("both", &json!({ "dry_run": true })));
    assert_eq!(plan["count"], 0, "{plan}");
}

#[test]
fn recovery_stops_after_failures_and_by_hand() {
    let receiver = Receiver::start(500);
    let gate = start(&[&receiver], "");
    set_up(&gate, &receiver);
    let failed = publish(&gate, "invoice.paid", 60);
    wait_until_dead(&gate, &failed);
    let before = receiver.app.count();
    let body = json!({ "what": "failed", "since": an_hour_ago(), "rate": 10, "stop_after": 3 });
    assert_eq!(post(&gate, "recover", body).0, 202);
    let job = ended_job(&gate);
    assert_eq!(
        (&job["state"], &job["stop_reason"]),
        (&json!("stopped"), &json!("failures")),
        "{job}"
    );
    assert!(job["done"].as_u64().unwrap() < 20, "{job}");
    assert!(receiver.app.count() - before < 40);
    assert_eq!(post(&gate, "job/stop", json!({})).1["code"], "state");

    receiver.set(200);
    let slow = json!({ "what": "failed", "since": an_hour_ago(), "rate": 1 });
    assert_eq!(post(&gate, "recover", slow.clone()).0, 202);
    assert_eq!(post(&gate, "recover", slow).1["code"], "busy");
    let (status, shown) = post(&gate, "job/stop", json!({}));
    assert_eq!(
        (status, &shown["job"]["stop_reason"]),
        (200, &json!("person")),
        "{shown}"
    );
    call(&gate, "POST", &format!("{ENDPOINT}/pause"), json!({}));
    let paused = json!({ "what": "failed", "since": an_hour_ago() });
    assert_eq!(post(&gate, "recover", paused).1["code"], "state");
}

#[test]
fn a_test_reaches_a_paused_endpoint_and_enters_no_queue() {
    let receiver = Receiver::start(200);
    let gate = start(&[&receiver], "");
    set_up(&gate, &receiver);
    call(&gate, "POST", &format!("{ENDPOINT}/pause"), json!({}));
    let (status, attempt) = post(&gate, "test", json!({}));
    assert_eq!(
        (status, &attempt["status"], &attempt["cause"]),
        (200, &json!(200), &json!("test")),
        "{attempt}"
    );
    let body: Value = serde_json::from_slice(&receiver.app.last().body).unwrap();
    assert_eq!(body["type"], "hookgate.test");
    // a slow machine makes some more before one comes too early
    wait_for("a test too early", || {
        let (status, answer) = post(&gate, "test", json!({}));
        let is_early = status == 503;
        assert!(!is_early || answer["code"] == "slow_down", "{answer}");
        is_early
    });
    let early = receiver.app.count();
    receiver.set(503);
    wait_for("the next test", || {
        let body = json!({ "type": "invoice.paid", "data": { "id": 7 } });
        let (status, attempt) = post(&gate, "test", body);
        let is_made = status == 200;
        assert!(!is_made || attempt["message"] == "127.0.0.1 failed (503)");
        is_made
    });
    let body: Value = serde_json::from_slice(&receiver.app.last().body).unwrap();
    assert_eq!(
        (&body["type"], &body["data"]),
        (&json!("invoice.paid"), &json!({ "id": 7 }))
    );
    let shown = get(&gate, ENDPOINT);
    assert_eq!(
        (
            &shown["state"],
            &shown["health"],
            &shown["paused"]["waiting"]
        ),
        (&json!("paused"), &Value::Null, &json!(0)),
        "{shown}"
    );
    let attempts = get(&gate, &format!("{ENDPOINT}/attempts"));
    assert_eq!(attempts["attempts"].as_array().unwrap().len(), early + 1);
    // a test is no event to recover
    let plan = json!({ "what": "both", "since": an_hour_ago(), "dry_run": true });
    assert_eq!(post(&gate, "recover", plan).1["count"], 0);
    let (_, refused) = post(&gate, "test", json!({ "type": "hookgate.endpoint.gone" }));
    assert_eq!(refused["code"], "invalid", "{refused}");
}

/// Returns the part of a config that notifies `ops`.
fn notices(ops: &Receiver, pause: &str) -> String {
    let url = ops.app.url();
    format!(
        "  {pause}
  notices: {{ url: \"{url}/hook\", secret: {{ insecure_inline: {NOTICES_SECRET} }} }}
egress: {{ allow: [127.0.0.0/8] }}
"
    )
}

fn notices_of(ops: &Receiver) -> Vec<Value> {
    let seen = ops.app.seen();
    let bodies = seen.iter().map(|seen| {
        assert!(seen.header("webhook-signature").unwrap().starts_with("v1,"));
        serde_json::from_slice(&seen.body).unwrap()
    });
    bodies.collect()
}

/// The slot of an attempt is free when the answer is there, but not if the answer pauses the endpoint.
#[test]
fn next_attempt_waits_for_the_save_of_an_answer_that_pauses_the_endpoint_alone() {
    for (status, sent) in [(410, 1), (500, 2)] {
        let receiver = Receiver::start(status);
        let gate = start(&[&receiver], "");
        set_up(&gate, &receiver);
        let disk = rusqlite::Connection::open(gate.dir().join("store/hookgate.db")).unwrap();
        disk.busy_timeout(Duration::from_secs(5)).unwrap();
        disk.execute_batch("create trigger refuse before insert on attempt begin select raise(abort, 'no room'); end").unwrap();
        let first = publish(&gate, "invoice.paid", 1).remove(0);
        wait_for("its attempt", || receiver.app.count() == 1);
        let second = publish(&gate, "invoice.void", 1).remove(0);
        let waits = Instant::now();
        wait_for("what follows", || {
            receiver.app.count() > sent || waits.elapsed() > Duration::from_secs(1)
        });
        assert_eq!(receiver.app.count(), sent, "{status}");
        disk.execute_batch("drop trigger refuse").unwrap();
        if status == 410 {
            wait_for("the pause", || get(&gate, ENDPOINT)["state"] == "paused");
            assert_eq!(receiver.arrived(0), BTreeMap::from([(first, 1)]));
            receiver.set(200);
            assert_eq!(post(&gate, "resume", json!({})).0, 202);
        } else {
            receiver.set(200);
        }
        wait_for("the second event", || {
            state_of(&gate, &second) == "delivered"
        });
    }
}

#[test]
fn an_endpoint_that_answers_410_is_reported_and_its_recovery_too() {
    let (receiver, ops) = (Receiver::start(410), Receiver::start(204));
    let gate = start(&[&receiver], &notices(&ops, "keep: {}"));
    set_up(&gate, &receiver);
    let events = publish(&gate, "invoice.paid", 1);
    wait_for("the notification", || ops.app.count() == 1);
    let notice = notices_of(&ops).remove(0);
    assert_eq!(notice["type"], "hookgate.endpoint.gone");
    let data = &notice["data"];
    assert_eq!(
        (
            &data["tenant"],
            &data["uid"],
            &data["state"],
            &data["first"]
        ),
        (
            &json!("acme"),
            &json!("main"),
            &json!("paused"),
            &json!(events[0])
        ),
        "{notice}"
    );
    let message = data["message"].as_str().unwrap();
    assert!(message.contains("is gone (410)"), "{message}");
    receiver.set(200);
    let (status, plan) = post(&gate, "resume", json!({ "dry_run": true }));
    assert_eq!(
        (status, &plan["state"], &plan["count"]),
        (200, &json!("paused"), &json!(1)),
        "{plan}"
    );
    assert_eq!(post(&gate, "resume", json!({})).0, 202);
    wait_for("the event", || state_of(&gate, &events[0]) == "delivered");
    let job = ended_job(&gate);
    assert_eq!(
        (&job["kind"], &job["done"]),
        (&json!("resume"), &json!(1)),
        "{job}"
    );
    let named = json!({ "what": "ids", "ids": events });
    assert_eq!(post(&gate, "recover", named).0, 202);
    wait_for("the notification", || ops.app.count() == 2);
    let notice = notices_of(&ops).remove(1);
    assert_eq!(notice["type"], "hookgate.recovery.done");
    assert_eq!(
        (&notice["data"]["state"], &notice["data"]["done"]),
        (&json!("done"), &json!(1)),
        "{notice}"
    );
}

/// The gateway looks at endpoints when it starts, and once a minute: each start of this test is a look.
#[test]
fn an_endpoint_that_fails_is_reported_paused_and_its_events_end() {
    let (receiver, ops) = (Receiver::start(500), Receiver::start(204));
    let (dir, clock) = (
        Arc::new(tempfile::tempdir().unwrap()),
        Arc::new(LateClock::default()),
    );
    let day = 86_400;
    let start = |pause: &str, days: u64| {
        clock.0.store(days * day, Ordering::SeqCst);
        let yaml = yaml(&dir, &[&receiver], &notices(&ops, pause));
        let clock = Arc::clone(&clock) as Arc<dyn Clock>;
        Gate::in_process_at(clock, Arc::clone(&dir), &yaml)
    };
    let gate = start("pause: {}", 0);
    set_up(&gate, &receiver);
    let events = publish(&gate, "invoice.paid", 2);
    wait_until_dead(&gate, &events);
    drop(gate);
    for (days, count) in [(1, 1), (2, 1), (3, 2), (6, 2)] {
        let gate = start("pause: {}", days);
        wait_for("the notification", || ops.app.count() >= count);
        // time for a look that would send another one: a slow machine finds no fault that is not there
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(ops.app.count(), count, "after {days} days");
        let notice = notices_of(&ops).remove(count - 1);
        assert_eq!(notice["type"], "hookgate.endpoint.failing", "{notice}");
        assert_eq!(notice["data"]["failures"], 4, "{notice}");
        assert_eq!(get(&gate, ENDPOINT)["state"], "active", "4 failures");
        drop(gate);
    }
    let gate = start("pause: { after: 1h, failures: 4, keep: 1d }", 6);
    wait_for("the pause", || get(&gate, ENDPOINT)["state"] == "paused");
    wait_for("the notification", || ops.app.count() == 3);
    let shown = get(&gate, ENDPOINT);
    assert_eq!(shown["paused"]["why"], "failing");
    assert_eq!(
        notices_of(&ops).remove(2)["type"],
        "hookgate.endpoint.paused"
    );
    let waiting = publish(&gate, "invoice.voided", 2);
    wait_for("the events to wait", || {
        get(&gate, ENDPOINT)["paused"]["waiting"] == 2
    });
    drop(gate);
    let gate = start("pause: { keep: 1d }", 8);
    wait_until_dead(&gate, &waiting);
    assert_eq!(get(&gate, ENDPOINT)["paused"]["waiting"], 0);
    receiver.set(200);
    assert_eq!(post(&gate, "resume", json!({})).0, 202);
    ended_job(&gate);
    let since = an_hour_ago();
    let body = json!({ "what": "failed", "since": since, "types": ["invoice.voided"] });
    assert_eq!(post(&gate, "recover", body).1["count"], 2);
    wait_for("the events that had ended", || {
        waiting
            .iter()
            .all(|event| state_of(&gate, event) == "delivered")
    });
}
