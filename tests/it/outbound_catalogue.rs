//! The catalogue of events at a publish: what is refused, which version each endpoint gets, and how the catalogue changes while it runs.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::app::App;
use super::support::gate::{Gate, wait_at_most, wait_for};
use super::support::http;
use super::support::outbound::{TOKEN, config};

const ONE: &str = r#"{ "type": "object", "required": ["id", "amount_cents"], "properties": { "id": { "type": "string" }, "amount_cents": { "type": "integer" } } }"#;
const TWO: &str = r#"{ "type": "object", "required": ["id", "amount"], "properties": { "id": { "type": "string" }, "amount": {
  "type": "object", "required": ["value"], "properties": { "value": { "type": "integer" }, "currency": { "enum": ["EUR", "USD"] } } } } }"#;
const TWO_TO_ONE: &str = "- move: { from: /amount/value, to: /amount_cents }\n- drop: /amount\n";

/// A gateway with a catalogue: `invoice.paid` in two versions, and `order.created` in one.
struct Sender {
    gate: Gate,
    dir: Arc<tempfile::TempDir>,
}

impl Sender {
    fn start(receivers: &[&App], events: &str) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        write(dir.path(), "invoice.paid/1.schema.json", ONE);
        write(dir.path(), "invoice.paid/2.schema.json", TWO);
        write(dir.path(), "invoice.paid/2-to-1.yaml", TWO_TO_ONE);
        write(
            dir.path(),
            "invoice.paid/2.example.json",
            r#"{ "id": "in_1", "amount": { "value": 4200, "currency": "EUR" } }"#,
        );
        write(
            dir.path(),
            "order.created/1.schema.json",
            r#"{ "type": "object" }"#,
        );
        let ports: Vec<u16> = receivers.iter().map(|app| app.address.port()).collect();
        let yaml = config(&format!("  events: {events}\n"))
            .replace("STORE", dir.path().join("store").to_str().unwrap())
            .replace("PORTS", &format!("{ports:?}"));
        let gate = Gate::start_in(Arc::clone(&dir), &yaml);
        let sender = Self { gate, dir };
        let (status, answer) = sender.call("PUT", "/v1/tenants/acme", Some(&json!({})));
        assert_eq!(status, 200, "{answer}");
        sender
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let authorization = format!("Bearer {TOKEN}");
        let mut headers = vec![("authorization", authorization.as_str())];
        if !body.is_empty() {
            headers.push(("content-type", "application/json"));
        }
        let address = self.gate.address("outbound");
        let answer = http::request(address, method, path, &headers, body.as_bytes());
        (
            answer.status,
            serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
        )
    }

    /// Makes or replaces an endpoint. Returns its pins.
    #[track_caller]
    fn endpoint(&self, uid: &str, app: &App, more: &Value) -> Value {
        let mut body = json!({ "url": format!("{}/in", app.url()) });
        let fields = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        let path = format!("/v1/tenants/acme/endpoints/{uid}");
        let (status, answer) = self.call("PUT", &path, Some(&body));
        assert!(matches!(status, 200 | 201), "{answer}");
        answer["versions"].clone()
    }

    fn publish(&self, key: &str, event: &Value) -> (u16, Value) {
        let mut body = json!({ "type": "invoice.paid", "id": key });
        let fields = event.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(fields);
        self.call("POST", "/v1/tenants/acme/events", Some(&body))
    }

    /// Waits until the first attempt of an endpoint is recorded, and returns it.
    #[track_caller]
    fn attempt(&self, uid: &str) -> Value {
        let path = format!("/v1/tenants/acme/endpoints/{uid}/attempts");
        let mut found = Value::Null;
        wait_for("the attempt", || {
            found = self.call("GET", &path, None).1["attempts"][0].clone();
            found["status"] == json!(200)
        });
        found
    }
}

fn write(dir: &Path, name: &str, text: &str) {
    let path = dir.join("events").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn two(value: &Value) -> Value {
    json!({ "data": { "id": "in_1", "amount": { "value": value } } })
}

fn data(app: &App) -> Value {
    let body: Value = serde_json::from_slice(&app.last().body).unwrap();
    body["data"].clone()
}

#[test]
fn events_that_do_not_fit_the_catalogue_are_refused() {
    let app = App::start();
    let sender = Sender::start(&[&app], "{ dir: events }");
    sender.endpoint("main", &app, &json!({}));
    let secret = "a-value-that-nobody-may-see";
    for (key, event, code, at) in [
        (
            "a",
            two(&json!(secret)),
            "invalid_data",
            "/data/amount/value",
        ),
        (
            "b",
            json!({ "data": { "id": secret } }),
            "invalid_data",
            "/data/amount",
        ),
        (
            "c",
            json!({ "versions": { "1": { "id": 1, "amount_cents": secret }, "2": two(&json!(1))["data"] } }),
            "invalid_data",
            "/versions/1",
        ),
        (
            "d",
            json!({ "type": "invoice.lost", "data": secret }),
            "unknown_type",
            "/type",
        ),
        (
            "e",
            json!({ "data": secret, "version": 3 }),
            "unknown_version",
            "/version",
        ),
        (
            "f",
            json!({ "versions": { "7": secret } }),
            "unknown_version",
            "/versions/7",
        ),
    ] {
        let (status, answer) = sender.publish(key, &event);
        assert_eq!((status, &answer["code"]), (422, &json!(code)), "{answer}");
        assert!(answer["at"].as_str().unwrap().starts_with(at), "{answer}");
        let text = answer.to_string();
        assert!(!text.contains(secret), "{text}");
    }
    // a key twice is refused before the schema is asked
    let body =
        r#"{"type":"invoice.paid","id":"g","data":{"id":"in_1","amount":{"value":1},"amount":{}}}"#;
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let address = sender.gate.address("outbound");
    let answer = http::request(
        address,
        "POST",
        "/v1/tenants/acme/events",
        &headers,
        body.as_bytes(),
    );
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("repeated_key"), "{}", answer.text());
    let (status, answer) = sender.publish("h", &two(&json!(1)));
    assert_eq!((status, &answer["version"]), (202, &json!(2)), "{answer}");
    wait_for("the only event", || app.count() == 1);
}

#[test]
fn each_endpoint_gets_the_version_of_its_pin() {
    let [one, two_, raw, given] = [App::start(), App::start(), App::start(), App::start()];
    let sender = Sender::start(&[&one, &two_, &raw, &given], "{ dir: events }");
    let pins = sender.endpoint("two", &two_, &json!({}));
    assert_eq!(pins, json!({ "invoice.paid": 2 }), "the newest");
    let pinned = json!({ "versions": { "invoice.paid": 1 } });
    assert_eq!(
        sender.endpoint("one", &one, &pinned),
        json!({ "invoice.paid": 1 })
    );
    let raw_one = json!({ "versions": { "invoice.paid": 1 }, "payload": "raw" });
    sender.endpoint("raw", &raw, &raw_one);
    for (pin, code) in [
        (json!({ "invoice.paid": 3 }), "unknown_version"),
        (json!({ "invoice.lost": 1 }), "unknown_type"),
    ] {
        let body = json!({ "url": format!("{}/in", one.url()), "versions": pin });
        let (status, answer) = sender.call("POST", "/v1/tenants/acme/endpoints", Some(&body));
        assert_eq!((status, &answer["code"]), (422, &json!(code)), "{answer}");
    }
    // a dry run says who gets what, and why
    let mut body = two(&json!(42));
    body.as_object_mut().unwrap().extend([
        ("type".to_owned(), json!("invoice.paid")),
        ("id".to_owned(), json!("k")),
    ]);
    let (status, plan) = sender.call("POST", "/v1/tenants/acme/events?dry_run=true", Some(&body));
    assert_eq!((status, &plan["version"]), (200, &json!(2)), "{plan}");
    let targets = plan["targets"].as_array().unwrap();
    let mapped: Vec<&Value> = targets
        .iter()
        .filter(|target| target["why"] == json!("*, mapped 2 → 1"))
        .collect();
    assert_eq!(mapped.len(), 2, "{plan}");
    assert!(mapped.iter().all(|target| target["version"] == json!(1)));
    // the event goes out in both versions
    let (status, answer) = sender.publish("k", &two(&json!(42)));
    assert_eq!((status, &answer["targets"]), (202, &json!(3)), "{answer}");
    wait_for("the events", || {
        one.count() == 1 && two_.count() == 1 && raw.count() == 1
    });
    assert_eq!(data(&one), json!({ "id": "in_1", "amount_cents": 42 }));
    assert_eq!(
        data(&two_),
        json!({ "id": "in_1", "amount": { "value": 42 } })
    );
    assert_eq!(raw.last().body, br#"{"id":"in_1","amount_cents":42}"#);
    assert_eq!(sender.attempt("one")["version"], json!(1));
    assert_eq!(sender.attempt("two")["version"], json!(2));
    let event = answer["id"].as_str().unwrap();
    let path = format!("/v1/tenants/acme/events/{event}/data");
    let read = |query: &str| sender.call("GET", &format!("{path}{query}"), None);
    assert_eq!(read("").1["data"]["amount"], json!({ "value": 42 }));
    assert_eq!(read("?version=2").1, read("").1);
    assert_eq!(read("?version=1").1["data"]["amount_cents"], json!(42));
    assert_eq!(read("?version=3").0, 404);
    // a version that the app gives is not made by a mapping
    let both = json!({ "versions": { "1": { "id": "in_2", "amount_cents": 7 }, "2": two(&json!(8))["data"] } });
    let (status, answer) = sender.publish("l", &both);
    assert_eq!((status, &answer["version"]), (202, &json!(2)), "{answer}");
    wait_for("the second event", || one.count() == 2);
    assert_eq!(data(&one), json!({ "id": "in_2", "amount_cents": 7 }));
    // the versions are part of the meaning of a key
    let (status, again) = sender.publish("l", &both);
    assert_eq!((status, &again["repeated"]), (202, &json!(true)), "{again}");
    let (status, other) = sender.publish("l", &two(&json!(8)));
    assert_eq!(
        (status, &other["code"]),
        (422, &json!("key_reused")),
        "{other}"
    );
}

#[test]
fn pin_that_moves_while_an_event_waits_is_followed() {
    let app = App::start();
    let sender = Sender::start(&[&app], "{ dir: events }");
    let pinned = json!({ "types": ["invoice.*"], "versions": { "invoice.paid": 1 } });
    sender.endpoint("main", &app, &pinned);
    let path = "/v1/tenants/acme/endpoints/main";
    let act = |act: &str| sender.call("POST", &format!("{path}/{act}"), Some(&json!({})));
    assert_eq!(act("pause").0, 200);
    sender.publish("a", &two(&json!(1)));
    // a replacement without `versions` moves no pin
    let kept = sender.endpoint("main", &app, &json!({ "types": ["invoice.paid"] }));
    assert_eq!(kept, json!({ "invoice.paid": 1 }));
    let moved = json!({ "versions": { "invoice.paid": 2 } });
    let (status, answer) = sender.call("PATCH", path, Some(&moved));
    assert_eq!(
        (status, &answer["versions"]),
        (200, &json!({ "invoice.paid": 2 }))
    );
    assert_eq!(act("resume").0, 202);
    wait_at_most(Duration::from_secs(90), "the event", || app.count() == 1);
    assert_eq!(
        data(&app),
        json!({ "id": "in_1", "amount": { "value": 1 } })
    );
    assert_eq!(sender.attempt("main")["version"], json!(2));
    // what was published in the newest version alone cannot be had in a lower one later
    wait_for("the end of the resume", || act("pause").0 == 200);
    sender.publish("b", &two(&json!(2)));
    sender.endpoint("main", &app, &pinned);
    assert_eq!(act("resume").0, 202);
    wait_at_most(Duration::from_secs(90), "the second event", || {
        app.count() == 2
    });
    assert_eq!(
        data(&app),
        json!({ "id": "in_1", "amount": { "value": 2 } })
    );
}

#[test]
fn catalogue_changes_while_the_gateway_runs() {
    let app = App::start();
    let sender = Sender::start(&[&app], "{ dir: events }");
    sender.endpoint("main", &app, &json!({}));
    let event = json!({ "type": "invoice.void", "data": { "id": "in_1" } });
    assert_eq!(sender.publish("a", &event).1["code"], json!("unknown_type"));
    let (_, first) = sender.publish("b", &two(&json!(1)));
    // a new folder
    write(
        sender.dir.path(),
        "invoice.void/1.schema.json",
        r#"{ "required": ["id"] }"#,
    );
    wait_for("the new type", || {
        sender.call("GET", "/v1/event-types/invoice.void", None).0 == 200
    });
    assert_eq!(sender.publish("a", &event).0, 202);
    // a broken file changes nothing, and is reported with its line
    write(
        sender.dir.path(),
        "invoice.void/1.schema.json",
        "{\n  \"required\": \"id\"\n}",
    );
    wait_for("the error", || {
        let status = sender.gate.admin("/-/status")["last_error"].to_string();
        status.contains("invoice.void/1.schema.json:2:3")
    });
    assert_eq!(sender.publish("c", &event).0, 202);
    // a new version does not reach an endpoint by itself, and its type is the newest for new endpoints
    write(
        sender.dir.path(),
        "invoice.void/1.schema.json",
        r#"{ "required": ["id"] }"#,
    );
    write(
        sender.dir.path(),
        "invoice.void/2.schema.json",
        r#"{ "required": ["id", "reason"] }"#,
    );
    write(
        sender.dir.path(),
        "invoice.void/2-to-1.yaml",
        "- drop: /reason\n",
    );
    // stricter data than that of an event which was accepted before
    write(
        sender.dir.path(),
        "invoice.paid/2.schema.json",
        r#"{ "required": ["id", "amount", "due"] }"#,
    );
    write(
        sender.dir.path(),
        "invoice.paid/2.example.json",
        r#"{ "id": "in_1", "amount": { "value": 4200 }, "due": 1 }"#,
    );
    wait_for("the new version", || {
        let shown = sender.call("GET", "/v1/event-types/invoice.void", None).1;
        shown["versions"] == json!([1, 2])
    });
    let newest = json!({ "type": "invoice.void", "data": { "id": "in_3", "reason": "x" } });
    let before = app.count();
    let (status, answer) = sender.publish("d", &newest);
    assert_eq!((status, &answer["version"]), (202, &json!(2)), "{answer}");
    wait_for("the event", || app.count() > before);
    wait_for("its data", || data(&app) == json!({ "id": "in_3" }));
    wait_for("the stricter schema", || {
        sender.publish("e", &two(&json!(1))).1["code"] == json!("invalid_data")
    });
    let (status, again) = sender.publish("b", &two(&json!(1)));
    assert_eq!(
        (status, &again["id"], &again["repeated"]),
        (202, &first["id"], &json!(true)),
        "{again}"
    );
}

#[test]
fn faults_are_logged_where_the_config_warns() {
    let app = App::start();
    let sender = Sender::start(&[&app], "{ dir: events, invalid: warn, unknown: warn }");
    sender.endpoint("main", &app, &json!({ "versions": { "invoice.new": 3 } }));
    let secret = "a-value-that-nobody-may-see";
    let (status, answer) = sender.publish("a", &two(&json!(secret)));
    assert_eq!(status, 202, "{answer}");
    assert_eq!(
        (&answer["warnings"][0]["code"], &answer["warnings"][0]["at"]),
        (&json!("invalid_data"), &json!("/data/amount/value")),
        "{answer}"
    );
    let (status, answer) = sender.publish("b", &json!({ "type": "invoice.new", "data": 1 }));
    assert_eq!(
        (status, &answer["warnings"][0]["code"]),
        (202, &json!("unknown_type")),
        "{answer}"
    );
    wait_for("both", || app.count() == 2);
    sender.gate.wait_for_log(&["do not fit the catalogue"]);
    let log = sender.gate.log_lines().join("\n");
    assert!(!log.contains(secret), "{log}");
}

#[test]
fn catalogue_is_read_by_the_api() {
    let app = App::start();
    let sender = Sender::start(&[&app], "{ dir: events }");
    sender.endpoint("two", &app, &json!({}));
    sender.endpoint("one", &app, &json!({ "versions": { "invoice.paid": 1 } }));
    sender.endpoint("other", &app, &json!({ "types": ["order.*"] }));
    let read = |path: &str| sender.call("GET", &format!("/v1/event-types{path}"), None);
    let (_, list) = read("?limit=1");
    assert_eq!(
        (&list["types"][0]["type"], &list["next"]),
        (&json!("invoice.paid"), &json!("invoice.paid")),
        "{list}"
    );
    let (_, list) = read("?limit=1&after=invoice.paid");
    assert_eq!(
        (&list["types"][0]["type"], &list["next"]),
        (&json!("order.created"), &Value::Null),
        "{list}"
    );
    let (_, shown) = read("/invoice.paid");
    assert_eq!(
        (&shown["versions"], &shown["mappings"][0]),
        (&json!([1, 2]), &json!({ "from": 2, "to": 1 })),
        "{shown}"
    );
    assert_eq!(shown["schemas"][0]["schema"]["type"], json!("object"));
    assert_eq!(read("/invoice.lost").1["code"], json!("no_type"));
    let (_, document) = read("/openapi.json");
    assert!(
        document["webhooks"]["invoice.paid.2"].is_object(),
        "{document}"
    );
    let (_, pins) = read("/invoice.paid/pins");
    assert_eq!(
        pins["pins"],
        json!([
            { "version": 1, "tenants": 1, "endpoints": 1 },
            { "version": 2, "tenants": 1, "endpoints": 1 },
        ])
    );
    for number in 0..3 {
        sender.publish(&format!("key-{number}"), &two(&json!(number)));
    }
    let (_, events) = read("/invoice.paid/events?limit=2");
    let values: Vec<&Value> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["data"]["amount"]["value"])
        .collect();
    assert_eq!(values, [&json!(2), &json!(1)], "{events}");
    let next = events["next"].as_str().unwrap();
    let (_, rest) = read(&format!("/invoice.paid/events?after={next}"));
    assert_eq!(
        rest["events"][0]["data"]["amount"]["value"],
        json!(0),
        "{rest}"
    );
    // a test has the example of the catalogue, and is no event of the app
    let path = "/v1/tenants/acme/endpoints/two/test";
    let (status, attempt) = sender.call("POST", path, Some(&json!({ "type": "invoice.paid" })));
    assert_eq!((status, &attempt["version"]), (200, &json!(2)), "{attempt}");
    let amount = json!({ "value": 4200, "currency": "EUR" });
    assert!(
        app.seen().iter().any(|seen| {
            let body: Value = serde_json::from_slice(&seen.body).unwrap();
            body["data"]["amount"] == amount
        }),
        "the example was sent"
    );
    let (_, events) = read("/invoice.paid/events");
    assert_eq!(events["events"].as_array().unwrap().len(), 3, "{events}");
}
