//! The admin API of deliveries against a real gate: what waits and what is dead is found, shown, replayed and forgotten, and by whom.
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use super::queue::{SECRET, config, start};
use super::support::app::{Act, App};
use super::support::gate::{Gate, wait_for};
use super::support::http;
use super::support::sign;

const HOST: (&str, &str) = ("Host", "localhost");
const JSON: (&str, &str) = ("Content-Type", "application/json");
const ANNA: &str = "Anna-s-Token-0123456789abcdef0123";
const BEN: &str = "Ben-s-Token-0123456789abcdef01234";

/// A gate whose app answers with what the number says, and its tokens: Anna's reads and acts, Ben's reads.
fn gate() -> (App, Arc<AtomicU16>, Gate) {
    let status = Arc::new(AtomicU16::new(410));
    let of_app = Arc::clone(&status);
    let app = App::answering(move |_, _| Act::status(of_app.load(Ordering::Relaxed)));
    let tokens = format!(
        "admin: {{ address: 127.0.0.1:0, tokens: [{{ name: anna, insecure_inline: {ANNA}, allow: [read, act] }}, {{ name: ben, insecure_inline: {BEN}, allow: [read] }}] }}"
    );
    let gate = start(&config(&app.url(), "").replace("admin: { address: 127.0.0.1:0 }", &tokens));
    (app, status, gate)
}

fn send(gate: &Gate, id: &str) -> Option<String> {
    let body = format!("{{\"zen\":\"of {id}\"}}");
    gate.post("/webhooks/github", &sign::github(SECRET, id, body.as_bytes()), body.as_bytes()).header("Hookgate-Status").map(str::to_owned)
}

fn ask(gate: &Gate, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let body = body.to_string();
    let body = if method == "POST" { body.as_bytes() } else { b"" };
    let answer = http::request(gate.address("admin"), method, path, &[HOST, JSON, ("Authorization", &bearer)], body);
    let text = answer.text();
    (answer.status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn found(gate: &Gate, status: &str) -> usize {
    gate.admin(&format!("/-/deliveries?route=github&status={status}"))["deliveries"].as_array().unwrap().len()
}

#[test]
fn what_is_dead_is_found_shown_and_replayed() {
    let (app, status, gate) = gate();
    for number in 0..6 {
        assert_eq!(send(&gate, &format!("id-{number}")).as_deref(), Some("queued"));
    }
    wait_for("all to be dead", || found(&gate, "dead") == 6);
    let shown = gate.admin("/-/deliveries/id-3");
    assert_eq!(
        (&shown["origin"]["name"], &shown["request"]["secret"], &shown["request"]["answered"]),
        (&json!("github"), &json!("main"), &json!(200))
    );
    assert_eq!((&shown["attempts"][0]["came_to"], &shown["targets"][0]["reason"]), (&json!("410"), &json!("410")));
    assert_eq!((&shown["request"]["verified"], &shown["request"]["client"]), (&json!(true), &json!("127.0.0.1")));
    let signature = &sign::github(SECRET, "id-3", b"{\"zen\":\"of id-3\"}")[2].1;
    assert!(!shown.to_string().contains(signature), "{shown}");
    let body = ask(&gate, "GET", "/-/deliveries/id-3/body", BEN, &Value::Null);
    assert_eq!(body, (200, json!({ "zen": "of id-3" })));
    let searched = ask(&gate, "GET", "/-/deliveries?text=of%20id-4", BEN, &Value::Null).1;
    assert_eq!((&searched["deliveries"][0]["delivery_id"], searched["deliveries"].as_array().unwrap().len()), (&json!("id-4"), 1));

    status.store(200, Ordering::Relaxed);
    let replay = json!({ "filter": { "route": "github" }, "rate": 100, "stop_after": 3, "reason": "mended" });
    assert_eq!(ask(&gate, "POST", "/-/deliveries/replay", BEN, &replay).0, 403);
    assert_eq!(ask(&gate, "POST", "/-/deliveries/replay", "nobody's", &replay).0, 401);
    let (answered, begun) = ask(&gate, "POST", "/-/deliveries/replay", ANNA, &replay);
    assert_eq!(answered, 202, "{begun}");
    let path = format!("/-/replays/{}", begun["id"].as_str().unwrap());
    wait_for("the replay to be over", || gate.admin(&path)["state"] != "running");
    let over = gate.admin(&path);
    assert_eq!((&over["state"], &over["handed_on"], &over["who"]), (&json!("done"), &json!(6), &json!("anna")), "{over}");
    assert_eq!((app.count(), found(&gate, "delivered")), (12, 6));
    let audit = gate.admin("/-/audit");
    assert_eq!(
        (&audit["audit"][0]["who"], &audit["audit"][0]["reason"], &audit["audit"][0]["done"]),
        (&json!("anna"), &json!("mended"), &json!(6))
    );
    assert_eq!(audit["audit"].as_array().unwrap().len(), 1, "one row for all of it");
}

#[test]
fn a_dead_app_stops_a_replay() {
    let (_app, status, gate) = gate();
    for number in 0..12 {
        send(&gate, &format!("id-{number}"));
    }
    wait_for("all to be dead", || found(&gate, "dead") == 12);
    status.store(500, Ordering::Relaxed);
    let replay = json!({ "filter": { "status": ["dead"] }, "rate": 10, "stop_after": 2 });
    let (_, begun) = ask(&gate, "POST", "/-/deliveries/replay", ANNA, &replay);
    let path = format!("/-/replays/{}", begun["id"].as_str().unwrap());
    wait_for("the replay to be over", || gate.admin(&path)["state"] != "running");
    let over = gate.admin(&path);
    assert_eq!(over["state"], "stopped", "{over}");
    assert!(over["why"].as_str().unwrap().contains("500") && over["not_tried"].as_u64() > Some(0), "{over}");
}

#[test]
fn what_is_forgotten_is_handed_on_again() {
    let (app, status, gate) = gate();
    status.store(200, Ordering::Relaxed);
    assert_eq!(send(&gate, "id-1").as_deref(), Some("queued"));
    wait_for("it to be handed on", || found(&gate, "delivered") == 1);
    assert_eq!(send(&gate, "id-1").as_deref(), Some("duplicate"));
    let forget = json!({ "route": "github", "id": "id-1", "reason": "the app lost it" });
    assert_eq!(ask(&gate, "POST", "/-/forget", BEN, &forget).0, 403);
    assert_eq!(ask(&gate, "POST", "/-/forget", ANNA, &forget), (200, json!({ "forgotten": true })));
    assert_eq!(send(&gate, "id-1").as_deref(), Some("queued"));
    wait_for("the app to have it twice", || app.count() == 2);
    let purge = json!({ "filter": { "id": "id-1" }, "reason": "asked for" });
    wait_for("both to be over", || found(&gate, "delivered") == 2);
    assert_eq!(ask(&gate, "POST", "/-/deliveries/purge", ANNA, &purge).1["done"], 2);
    assert_eq!(found(&gate, "delivered,dead,pending,retrying"), 0);
    assert_eq!(send(&gate, "id-1").as_deref(), Some("duplicate"), "its ID stays remembered");
}
