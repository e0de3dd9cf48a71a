//! Operating a gateway that sends: metrics, status, alarms, a drain, and its events beside received deliveries.
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use super::support::app::{Act, App};
use super::support::gate::{Gate, hookgate, metric, wait_for};
use super::support::http::{self, Answer};
use super::support::outbound::{TOKEN, config};

/// Returns the config of a gateway that may send to these receivers.
fn yaml(dir: &tempfile::TempDir, receivers: &[&App]) -> String {
    let ports: Vec<u16> = receivers.iter().map(|app| app.address.port()).collect();
    // no test waits until the attempts are exhausted
    let waits = vec!["1s"; 100].join(", ");
    config("")
        .replace("STORE", dir.path().join("store").to_str().unwrap())
        .replace("PORTS", &format!("{ports:?}"))
        .replace("1s, 1s, 1s", &waits)
}

fn start(receivers: &[&App]) -> Gate {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = yaml(&dir, receivers);
    Gate::in_process_in(dir, &yaml)
}

/// Sends a request to the API.
fn ask(gate: &Gate, method: &str, path: &str, body: &Value) -> Answer {
    let authorization = format!("Bearer {TOKEN}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let mut headers = vec![("authorization", authorization.as_str())];
    if !body.is_empty() {
        headers.push(("content-type", "application/json"));
    }
    let path = format!("/v1/tenants/{path}");
    http::request(
        gate.address("outbound"),
        method,
        &path,
        &headers,
        body.as_bytes(),
    )
}

/// Sends a request that succeeds.
#[track_caller]
fn call(gate: &Gate, method: &str, path: &str, body: &Value) -> Value {
    let answer = ask(gate, method, path, body);
    assert!(
        (200..300).contains(&answer.status),
        "{path}: {} {}",
        answer.status,
        answer.text()
    );
    serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
}

/// Makes the tenant `acme` with the endpoint `main`. Returns the ID of the endpoint.
#[track_caller]
fn acme(gate: &Gate, app: &App) -> String {
    call(gate, "PUT", "acme", &json!({}));
    let url = format!("{}/in", app.url());
    let made = call(gate, "PUT", "acme/endpoints/main", &json!({ "url": url }));
    made["id"].as_str().unwrap().to_owned()
}

fn event(key: &str) -> Value {
    json!({ "type": "invoice.paid", "id": key, "data": { "amount": 12 } })
}

/// Publishes an event to `acme`. Returns its ID.
#[track_caller]
fn publish(gate: &Gate, key: &str) -> String {
    let published = call(gate, "POST", "acme/events", &event(key));
    published["id"].as_str().unwrap().to_owned()
}

/// Posts to the admin listener, with its token.
fn post_admin(gate: &Gate, path: &str, body: &Value) -> Value {
    let token = std::fs::read_to_string(gate.dir().join("store/admin-token")).unwrap();
    let authorization = format!("Bearer {}", token.trim());
    let headers = [
        ("Host", "localhost"),
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let body = body.to_string();
    let address = gate.address("admin");
    let answer = http::request(address, "POST", path, &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// Runs a command against the gateway.
fn run(gate: &Gate, args: &[&str]) -> Output {
    let config = gate.config_path().display().to_string();
    let admin = gate.address("admin").to_string();
    let all = [args, &["--admin", &admin, "--config", &config]].concat();
    hookgate()
        .args(all)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("HOOKGATE_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Runs a command that ends with `code`. Returns its output.
#[track_caller]
fn ends(gate: &Gate, args: &[&str], code: i32) -> String {
    let output = run(gate, args);
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    text
}

/// An app that answers with a status that the test sets.
fn app(first: u16) -> (App, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(first));
    let current = Arc::clone(&status);
    let app = App::answering(move |_, _| Act::status(current.load(Ordering::SeqCst)));
    (app, status)
}

#[test]
fn metrics_of_sending_have_no_names_of_customers() {
    let (app, status) = app(200);
    let gate = start(&[&app]);
    let id = acme(&gate, &app);
    publish(&gate, "one");
    publish(&gate, "one");
    assert_eq!(
        ask(&gate, "POST", "acme/events", &json!({ "type": "a" })).status,
        400
    );
    wait_for("the first attempt", || {
        metric(&gate, "hookgate_outbound_attempts_total{outcome=\"2xx\"}") > 0.5
    });
    status.store(503, Ordering::SeqCst);
    publish(&gate, "two");
    wait_for("the failed attempt", || {
        metric(&gate, "hookgate_outbound_attempts_total{outcome=\"5xx\"}") > 0.5
    });
    let results = ["accepted", "repeated", "refused", "unavailable"].map(|result| {
        let name = format!("hookgate_outbound_published_total{{result=\"{result}\"}}");
        metric(&gate, &name).round() as u64
    });
    assert_eq!(results, [2, 1, 1, 0]);
    wait_for("the sweep to count the endpoint", || {
        metric(&gate, "hookgate_outbound_endpoints{state=\"active\"}") > 0.5
    });
    let text = gate.health("/metrics").text();
    for name in [
        "hookgate_outbound_start_seconds_count",
        "hookgate_outbound_attempt_seconds_count",
        "hookgate_outbound_waiting",
        "hookgate_outbound_dead",
        "hookgate_outbound_slots{half=\"suspects\"}",
        "hookgate_outbound_slots{half=\"others\"}",
    ] {
        assert!(text.contains(name), "{name}");
    }
    for secret in ["acme", &id, &app.address.port().to_string()] {
        let shown: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("outbound") && line.contains(secret))
            .collect();
        assert!(shown.is_empty(), "{secret}: {shown:?}");
    }
}

#[test]
fn paused_endpoint_is_in_the_status_and_raises_an_alarm() {
    let (app, status) = app(200);
    let gate = start(&[&app]);
    wait_for("the first sweep", || {
        gate.admin("/-/status")["outbound"]["endpoints"]["active"] == json!(0)
    });
    let id = acme(&gate, &app);
    wait_for("the status to count the endpoint", || {
        gate.admin("/-/status")["outbound"]["endpoints"]["active"] == json!(1)
    });
    let shown = ends(&gate, &["status"], 0);
    assert!(shown.contains("1 tenant, 1 endpoint; 0 events"), "{shown}");
    status.store(410, Ordering::SeqCst);
    publish(&gate, "one");
    let outbound = || gate.admin("/-/status")["outbound"].clone();
    wait_for("the pause", || {
        outbound()["endpoints"]["paused_gone"] == json!(1)
    });
    wait_for("the failing endpoint", || {
        outbound()["failing"][0]["id"] == json!(id)
    });
    let outbound = outbound();
    assert_eq!(
        (
            &outbound["published"],
            &outbound["failed_attempts"],
            &outbound["waiting"]
        ),
        (&json!(1), &json!(1), &json!(1)),
        "{outbound}"
    );
    let failing = &outbound["failing"][0];
    assert_eq!(
        (&failing["tenant"], &failing["state"], &failing["failures"]),
        (&json!("acme"), &json!("paused"), &json!(1))
    );
    wait_for("the alarm", || {
        let alarms = gate.admin("/-/status")["alarms"].to_string();
        alarms.contains("endpoints_paused")
    });
    let shown = ends(&gate, &["status"], 1);
    assert!(
        shown.contains("1 endpoint (1 paused); 1 event published, 1 wait")
            && shown.contains(&format!(
                "acme main ({id}, paused): 127.0.0.1 answered that"
            )),
        "{shown}"
    );
    let found = ends(&gate, &["doctor"], 1);
    assert!(found.contains("1 endpoint paused"), "{found}");
}

#[test]
fn drain_waits_for_no_paused_endpoint_and_refuses_new_events() {
    let (app, _) = app(200);
    let gate = start(&[&app]);
    let id = acme(&gate, &app);
    call(&gate, "POST", "acme/endpoints/main/pause", &json!({}));
    publish(&gate, "one");
    let drain = post_admin(&gate, "/-/drain", &json!({ "accept": false }));
    assert_eq!(
        (&drain["waiting"], &drain["outbound"]),
        (
            &json!(0),
            &json!({ "waiting": 0, "paused": 1, "jobs": 0, "dead": 0 })
        ),
        "{drain}"
    );
    for (method, path, body) in [
        ("POST", "acme/events", event("two")),
        ("PUT", "acme", json!({ "name": "Acme" })),
        (
            "PATCH",
            "acme/endpoints/main",
            json!({ "description": "a" }),
        ),
        ("POST", "acme/endpoints/main/resume", json!({})),
    ] {
        let answer = ask(&gate, method, path, &body);
        let json: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(
            (answer.status, &json["code"], answer.header("retry-after")),
            (503, &json!("leaving"), Some("1")),
            "{method} {path}: {json}"
        );
    }
    assert_eq!(
        ask(&gate, "GET", &format!("acme/endpoints/{id}"), &Value::Null).status,
        200,
        "reading goes on"
    );
    let text = ends(&gate, &["drain", "--timeout", "20s"], 0);
    assert!(
        text.contains("nothing is left; 1 event stays stored until its endpoint is resumed"),
        "{text}"
    );
    let left: Value = serde_json::from_str(&ends(&gate, &["drain", "--json"], 0)).unwrap();
    assert_eq!(left["outbound"]["paused"], json!(1), "{left}");
}

#[test]
fn drain_waits_for_events_of_active_endpoints() {
    let (app, status) = app(503);
    let gate = start(&[&app]);
    acme(&gate, &app);
    publish(&gate, "one");
    let text = ends(&gate, &["drain", "--timeout", "200ms"], 3);
    assert!(text.contains("1 event left to send"), "{text}");
    status.store(200, Ordering::SeqCst);
    let text = ends(&gate, &["drain", "--timeout", "50s", "--now"], 0);
    assert!(text.contains("nothing is left"), "{text}");
}

#[test]
fn events_are_shown_beside_received_deliveries() {
    let (app, status) = app(200);
    let gate = start(&[&app]);
    let main = acme(&gate, &app);
    let url = format!("{}/other", app.url());
    let made = call(&gate, "PUT", "acme/endpoints/other", &json!({ "url": url }));
    let other = made["id"].as_str().unwrap().to_owned();
    let event = publish(&gate, "key-1");
    wait_for("both to get it", || app.count() == 2);
    let details = || gate.admin(&format!("/-/deliveries/{event}"));
    wait_for("both attempts to be recorded", || {
        details()["attempts"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    });
    let shown = details();
    assert_eq!(
        (&shown["id"], &shown["origin"], &shown["delivery_id"]),
        (
            &json!(event),
            &json!({ "kind": "tenant", "name": "acme" }),
            &json!("key-1")
        ),
        "{shown}"
    );
    let mut targets: Vec<&str> = (0..2)
        .map(|index| shown["targets"][index]["target"].as_str().unwrap())
        .collect();
    targets.sort_unstable();
    let mut expected = [main.as_str(), other.as_str()];
    expected.sort_unstable();
    assert_eq!(targets, expected);
    let text = ends(&gate, &["deliveries", "show", &event], 0);
    for part in [
        "invoice.paid",
        "tenant acme",
        &event,
        "key-1",
        &main,
        &other,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("verified"), "{text}");
    let list = |args: &[&str]| {
        let all = [&["deliveries", "list", "--json"], args].concat();
        ends(&gate, &all, 0).lines().count()
    };
    assert_eq!(list(&["--tenant", "acme"]), 1);
    assert_eq!(list(&["--tenant", "acme", "--endpoint", "other"]), 1);
    assert_eq!(list(&["--tenant", "acme", "--endpoint", &main]), 1);
    status.store(503, Ordering::SeqCst);
    call(&gate, "POST", "acme/endpoints/other/pause", &json!({}));
    publish(&gate, "key-2");
    let waiting = [
        "--tenant",
        "acme",
        "--endpoint",
        "other",
        "--state",
        "pending",
    ];
    assert_eq!(list(&waiting), 1);
    // of this endpoint alone, and it waits for its resume
    let all = [&["deliveries", "list", "--json"], &waiting[..]].concat();
    let shown: Value = serde_json::from_str(&ends(&gate, &all, 0)).unwrap();
    let targets = shown["targets"].as_array().unwrap();
    assert_eq!(
        (targets.len(), &targets[0]["paused"], &targets[0]["next_at"]),
        (1, &json!(true), &Value::Null),
        "{shown}"
    );
    let text = ends(&gate, &["deliveries", "list"], 0);
    assert!(text.contains("ENDPOINT") && text.contains(&other), "{text}");
    for (args, words) in [
        (["--tenant", "none"], "there is no tenant"),
        (["--endpoint", "other"], "--tenant"),
    ] {
        let output = run(&gate, &[&["deliveries", "list"], &args[..]].concat());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(words), "{text}");
    }
    let cancel = [
        "deliveries",
        "cancel",
        "--tenant",
        "acme",
        "--endpoint",
        "other",
    ];
    let output = run(&gate, &[&cancel, &["--dry-run"][..]].concat());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("only a list can be about one endpoint"),
        "{text}"
    );
}

#[test]
fn gateway_that_only_sends_runs() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml: String = yaml(&dir, &[&app])
        .lines()
        .filter(|line| {
            !["listen:", "routes:", "upstreams:"]
                .iter()
                .any(|key| line.starts_with(key))
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let mut gate = Gate::start_in(dir, &yaml);
    assert_eq!(gate.health("/readyz").status, 200);
    assert!(gate.addresses("senders").is_empty());
    acme(&gate, &app);
    publish(&gate, "one");
    wait_for("the event", || app.count() == 1);
    let config = gate.config_path().display().to_string();
    let checked = hookgate().args(["check", &config]).output().unwrap();
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(
        checked.status.success() && text.contains("only sends events; 3 secrets"),
        "{text}"
    );
    wait_for("the sweep", || {
        gate.admin("/-/status")["outbound"]["tenants"] == json!(1)
    });
    let text = ends(&gate, &["status"], 0);
    assert!(text.contains("1 event published"), "{text}");
    // what it finds are the token and the key in the config itself, and http to loopback
    let output = run(&gate, &["doctor", "--json"]);
    let findings = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        findings.contains("1 tenant, 1 endpoint; none is paused because of failures"),
        "{findings}"
    );
    ends(&gate, &["reload"], 0);
    gate.stop(std::time::Duration::from_secs(20));
}
