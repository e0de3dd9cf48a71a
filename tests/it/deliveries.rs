//! The admin API of deliveries against a real gate: what waits and what is dead is found, shown, replayed and forgotten, and by whom.
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::{Value, json};

use super::support::app::{Act, App};
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::http;
use super::support::queue::start_process;
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
    let gate = start_process(
        &config::queue(&app.url(), "").replace("admin: { address: 127.0.0.1:0 }", &tokens),
    );
    (app, status, gate)
}

fn send(gate: &Gate, id: &str) -> Option<String> {
    let body = format!("{{\"zen\":\"of {id}\"}}");
    gate.post(
        "/webhooks/github",
        &sign::github(SECRET, id, body.as_bytes()),
        body.as_bytes(),
    )
    .header("Hookgate-Status")
    .map(str::to_owned)
}

fn ask(gate: &Gate, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let body = body.to_string();
    let body = if method == "POST" {
        body.as_bytes()
    } else {
        b""
    };
    let answer = http::request(
        gate.address("admin"),
        method,
        path,
        &[HOST, JSON, ("Authorization", &bearer)],
        body,
    );
    let text = answer.text();
    (
        answer.status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

fn found(gate: &Gate, status: &str) -> usize {
    gate.admin(&format!("/-/deliveries?route=github&state={status}"))["deliveries"]
        .as_array()
        .unwrap()
        .len()
}

#[test]
fn dead_deliveries_are_found_shown_and_replayed() {
    let (app, status, gate) = gate();
    for number in 0..6 {
        assert_eq!(
            send(&gate, &format!("id-{number}")).as_deref(),
            Some("queued")
        );
    }
    wait_for("all to be dead", || found(&gate, "dead") == 6);
    let shown = gate.admin("/-/deliveries/id-3");
    assert_eq!(
        (
            &shown["origin"]["name"],
            &shown["request"]["secret"],
            &shown["request"]["response_status"]
        ),
        (&json!("github"), &json!("main"), &json!(200))
    );
    assert_eq!(
        (
            &shown["attempts"][0]["outcome"],
            &shown["targets"][0]["reason"]
        ),
        (&json!("410"), &json!("410"))
    );
    assert_eq!(
        (&shown["request"]["verified"], &shown["request"]["client"]),
        (&json!(true), &json!("127.0.0.1"))
    );
    let signature = &sign::github(SECRET, "id-3", b"{\"zen\":\"of id-3\"}")[2].1;
    assert!(!shown.to_string().contains(signature), "{shown}");
    let body = ask(&gate, "GET", "/-/deliveries/id-3/body", BEN, &Value::Null);
    assert_eq!(body, (200, json!({ "zen": "of id-3" })));
    let searched = ask(
        &gate,
        "GET",
        "/-/deliveries?text=of%20id-4",
        BEN,
        &Value::Null,
    )
    .1;
    assert_eq!(
        (
            &searched["deliveries"][0]["delivery_id"],
            searched["deliveries"].as_array().unwrap().len()
        ),
        (&json!("id-4"), 1)
    );

    status.store(200, Ordering::Relaxed);
    let replay = json!({ "filter": { "route": "github" }, "rate": 100, "stop_after": 3, "reason": "mended" });
    assert_eq!(
        ask(&gate, "POST", "/-/deliveries/replay", BEN, &replay).0,
        403
    );
    assert_eq!(
        ask(&gate, "POST", "/-/deliveries/replay", "nobody's", &replay).0,
        401
    );
    let (answered, begun) = ask(&gate, "POST", "/-/deliveries/replay", ANNA, &replay);
    assert_eq!(answered, 202, "{begun}");
    let path = format!("/-/replays/{}", begun["id"].as_str().unwrap());
    wait_for("the replay to be over", || {
        gate.admin(&path)["state"] != "running"
    });
    let over = gate.admin(&path);
    assert_eq!(
        (&over["state"], &over["delivered"], &over["who"]),
        (&json!("done"), &json!(6), &json!("anna")),
        "{over}"
    );
    assert_eq!((app.count(), found(&gate, "delivered")), (12, 6));
    let audit = gate.admin("/-/audit");
    assert_eq!(
        (
            &audit["audit"][0]["who"],
            &audit["audit"][0]["reason"],
            &audit["audit"][0]["done"]
        ),
        (&json!("anna"), &json!("mended"), &json!(6))
    );
    assert_eq!(
        audit["audit"].as_array().unwrap().len(),
        1,
        "one row for all of it"
    );
    assert_eq!(
        audit["audit"][0]["selection"], r#"{"route":"github","state":["dead","cancelled"]}"#,
        "and it says what all of it was"
    );
}

#[test]
fn a_dead_app_stops_a_replay() {
    let (_app, status, gate) = gate();
    for number in 0..12 {
        send(&gate, &format!("id-{number}"));
    }
    wait_for("all to be dead", || found(&gate, "dead") == 12);
    status.store(500, Ordering::Relaxed);
    let replay = json!({ "filter": { "state": ["dead"] }, "rate": 10, "stop_after": 2 });
    let (_, begun) = ask(&gate, "POST", "/-/deliveries/replay", ANNA, &replay);
    let path = format!("/-/replays/{}", begun["id"].as_str().unwrap());
    wait_for("the replay to be over", || {
        gate.admin(&path)["state"] != "running"
    });
    let over = gate.admin(&path);
    assert_eq!(over["state"], "stopped", "{over}");
    assert!(
        over["stop_reason"].as_str().unwrap().contains("500")
            && over["not_attempted"].as_u64() > Some(0),
        "{over}"
    );
}

#[test]
fn forgotten_delivery_is_forwarded_again() {
    let (app, status, gate) = gate();
    status.store(200, Ordering::Relaxed);
    assert_eq!(send(&gate, "id-1").as_deref(), Some("queued"));
    wait_for("it to be handed on", || found(&gate, "delivered") == 1);
    assert_eq!(send(&gate, "id-1").as_deref(), Some("duplicate"));
    let forget = json!({ "route": "github", "id": "id-1", "reason": "the app lost it" });
    assert_eq!(ask(&gate, "POST", "/-/forget", BEN, &forget).0, 403);
    assert_eq!(
        ask(&gate, "POST", "/-/forget", ANNA, &forget),
        (200, json!({ "forgotten": true }))
    );
    assert_eq!(send(&gate, "id-1").as_deref(), Some("queued"));
    wait_for("the app to have it twice", || app.count() == 2);
    let purge = json!({ "filter": { "id": "id-1" }, "reason": "asked for" });
    wait_for("both to be over", || found(&gate, "delivered") == 2);
    assert_eq!(
        ask(&gate, "POST", "/-/deliveries/purge", ANNA, &purge).1["done"],
        2
    );
    assert_eq!(found(&gate, "delivered,dead,pending,retrying"), 0);
    assert_eq!(
        send(&gate, "id-1").as_deref(),
        Some("duplicate"),
        "its ID stays remembered"
    );
}

/// The header of a token has a name that nobody could guess, and the upstream gets it: no page, line or command shows it.
#[test]
fn a_declared_secret_is_shown_nowhere() {
    const TOKEN: &str = "plain-0123456789abcdef0123";
    let app = App::answering(|_, _| Act::status(410));
    let verify = "verify: { scheme: token, signature: { header: X-Hook-Auth }, delivery_id: { header: X-Id }, secrets: [{ name: main, insecure_inline: plain-0123456789abcdef0123 }] }";
    let mut yaml = config::queue(&app.url(), "keep_token: true");
    let line = yaml
        .lines()
        .find(|line| line.trim_start().starts_with("verify:"))
        .unwrap()
        .trim_start()
        .to_owned();
    yaml = yaml.replace(&line, verify);
    let gate = start_process(&yaml);
    let post = |headers: &[(&str, &str)]| {
        http::request(
            gate.address("senders"),
            "POST",
            "/webhooks/github",
            headers,
            b"{}",
        )
        .status
    };
    let request_id = ("X-Request-Id", "a");
    assert_eq!(
        post(&[("X-Hook-Auth", TOKEN), ("X-Id", "one"), request_id]),
        200
    );
    assert_eq!(
        post(&[
            ("X-Hook-Auth", &format!("{TOKEN}x")),
            ("X-Id", "two"),
            request_id
        ]),
        401
    );
    wait_for("the delivery to be dead", || found(&gate, "dead") == 1);
    assert_eq!(
        app.last().header("X-Hook-Auth"),
        Some(TOKEN),
        "the app gets it"
    );

    let mut shown = Vec::new();
    let token = std::fs::read_to_string(gate.dir().join("store/admin-token")).unwrap();
    for path in [
        "/-/deliveries/one",
        "/-/deliveries/one/http",
        "/-/deliveries/one/body",
        "/-/deliveries",
        "/-/status",
        "/-/refusals",
        "/-/report",
    ] {
        for bearer in ["", token.trim()] {
            shown.push((
                path.to_owned(),
                ask(&gate, "GET", path, bearer, &Value::Null).1.to_string(),
            ));
        }
    }
    let admin = gate.address("admin").to_string();
    let path = gate.config_path().display().to_string();
    for args in [
        "show one",
        "show one --json",
        "show one --http",
        "show one --curl",
        "show one --body",
        "list --json",
        "export",
        "export --http",
        "export --curl",
    ] {
        let args: Vec<&str> = ["deliveries"]
            .into_iter()
            .chain(args.split(' '))
            .chain(["--admin", &admin, "--config", &path])
            .collect();
        let output = hookgate()
            .args(&args)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = [output.stdout, output.stderr].concat();
        shown.push((args.join(" "), String::from_utf8_lossy(&text).into_owned()));
    }
    shown.push(("lines".to_owned(), gate.lines().join("\n")));
    shown.push(("log".to_owned(), gate.log_lines().join("\n")));
    for (place, text) in &shown {
        assert!(!text.contains("plain-0123"), "{place}: {text}");
    }
    let of = |place: &str| {
        &shown
            .iter()
            .rfind(|(known, _)| known.starts_with(place))
            .unwrap()
            .1
    };
    assert!(
        of("deliveries show one --curl").contains("x-hook-auth: [redacted]"),
        "{}",
        of("deliveries show one --curl")
    );
    assert!(of("/-/deliveries/one/http").contains("x-hook-auth: [redacted]"));
}
