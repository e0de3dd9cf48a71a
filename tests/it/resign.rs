//! Deliveries that are sent later than within their request are signed anew. The gate can also sign in its own name.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use hmac::{Hmac, KeyInit, Mac};
use hookgate::clock::{Clock as _, SystemClock, unix_ms};
use sha2::Sha256;

use super::support::app::{Act, App, Seen};
use super::support::gate::{Gate, wait_for};
use super::support::{http, sign};

const OLD: &str = "whsec_the-secret-of-last-year";
const NEW: &str = "whsec_the-secret-of-this-year";
const OWN: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const TOKEN: &str = "a-token-of-more-than-sixteen-bytes";
/// How old what is sent is, in seconds: Stripe's SDK takes 300.
const AGE: u64 = 1_200;

fn start(app: &App, action: &str) -> Gate {
    Gate::in_process(&format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0, token: {{ insecure_inline: {TOKEN} }} }}
shutdown: {{ delay: 0s, grace: 5s }}
store: {{ path: store }}
upstreams:
  app: {{ url: {}, timeout: 10s }}
routes:
  - name: stripe
    path: /stripe
    verify: {{ provider: stripe, tolerance: 1h, secrets: [{{ insecure_inline: {OLD}, name: then }}] }}
    dedupe: {{}}
    {action}
",
        app.url()
    ))
}

fn now() -> u64 {
    unix_ms(SystemClock.now().wall) / 1000
}

fn stripe(secret: &str, at: u64, body: &[u8]) -> String {
    let signed = [format!("{at}.").as_bytes(), body].concat();
    format!("t={at},v1={}", sign::hmac_hex(secret, &signed))
}

/// Sends what was signed a while ago; its signature.
#[track_caller]
fn send(gate: &Gate, body: &[u8], status: u16) -> String {
    let signature = stripe(OLD, now() - AGE, body);
    let answer = gate.post(
        "/stripe",
        &[("Stripe-Signature".into(), signature.clone())],
        body,
    );
    assert_eq!(answer.status, status, "{}", answer.text());
    signature
}

/// The time of a signature, which must be of now and made with `secret`.
#[track_caller]
fn is_fresh(seen: &Seen, secret: &str) {
    let signature = seen.header("Stripe-Signature").unwrap();
    let at: u64 = signature
        .strip_prefix("t=")
        .and_then(|rest| rest.split(',').next())
        .unwrap()
        .parse()
        .unwrap();
    assert!(now() - at < 60, "{signature} at {}", now());
    assert_eq!(signature, stripe(secret, at, &seen.body));
}

#[test]
fn queued_delivery_is_resigned_with_the_current_secret() {
    let back = Arc::new(AtomicBool::new(false));
    let is_back = Arc::clone(&back);
    let app = App::answering(move |_, _| {
        Act::status(if is_back.load(Ordering::Relaxed) {
            200
        } else {
            500
        })
    });
    let waits = ["100ms"; 100].join(", ");
    let gate = start(
        &app,
        &format!("queue: {{ upstream: app, resign: true, retry: {{ schedule: [{waits}] }} }}"),
    );
    let body = b"{\"id\":\"evt_1\", \"n\":1.0}\n \t";
    send(&gate, body, 200);
    wait_for("two tries", || app.count() >= 2);
    app.seen()
        .iter()
        .take(2)
        .for_each(|seen| is_fresh(seen, OLD));
    let yaml = std::fs::read_to_string(gate.config_path()).unwrap();
    std::fs::write(gate.config_path(), yaml.replace(OLD, NEW)).unwrap();
    gate.reload();
    wait_for("the reload", || {
        gate.admin("/-/status")["generation"].as_u64() >= Some(2)
    });
    // an attempt that began before the reload is over once another one has arrived
    let before = app.count();
    wait_for("two more attempts", || app.count() >= before + 2);
    back.store(true, Ordering::Relaxed);
    wait_for("the delivery", || {
        gate.lines()
            .iter()
            .any(|line| line.contains("\"after\":\"delivered\""))
    });
    is_fresh(&app.last(), NEW);
    assert!(
        app.seen()
            .iter()
            .all(|seen| seen.body == body && seen.header("Hookgate-Delivery-Id") == Some("evt_1"))
    );
}

#[test]
fn forwarded_request_is_unchanged_and_its_replay_is_resigned() {
    let app = App::start();
    let gate = start(
        &app,
        "forward: { upstream: app, record: all, resign: true }",
    );
    let signature = send(&gate, b"{\"id\":\"evt_1\"}", 200);
    assert_eq!(
        app.last().header("Stripe-Signature"),
        Some(signature.as_str())
    );
    let replay = || {
        let headers = [
            ("Host", "localhost"),
            ("Authorization", &*format!("Bearer {TOKEN}")),
            ("Content-Type", "application/json"),
        ];
        http::request(
            gate.address("admin"),
            "POST",
            "/-/deliveries/evt_1/replay",
            &headers,
            b"{\"reason\":\"a test\",\"include_delivered\":true}",
        )
        .status
    };
    // it is recorded after it was answered
    wait_for("the record", || replay() == 200);
    wait_for("the replay", || app.count() == 2);
    is_fresh(&app.last(), OLD);
}

#[test]
fn own_signature_is_added_and_forged_ones_are_removed() {
    let app = App::start();
    let gate = start(
        &app,
        &format!("forward: {{ upstream: app, sign: {{ secret: {{ insecure_inline: {OWN} }} }} }}"),
    );
    let body = b"{\"id\":\"evt_1\"}";
    let forged = [
        ("Webhook-Id", "forged"),
        ("webhook_timestamp", "1"),
        ("Webhook-Signature", "v1,forged"),
    ];
    let mut headers: Vec<(String, String)> = forged
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    headers.push(("Stripe-Signature".into(), stripe(OLD, now(), body)));
    assert_eq!(gate.post("/stripe", &headers, body).status, 200);
    let seen = app.last();
    assert_eq!(
        (seen.header("webhook-id"), seen.all("webhook_timestamp")),
        (Some("evt_1"), vec![])
    );
    let at = seen.header("webhook-timestamp").unwrap();
    assert!(now() - at.parse::<u64>().unwrap() < 60, "{at}");
    let base64 = base64::engine::general_purpose::STANDARD;
    let mut mac = Hmac::<Sha256>::new_from_slice(&base64.decode(&OWN[6..]).unwrap()).unwrap();
    mac.update(format!("evt_1.{at}.").as_bytes());
    mac.update(body);
    assert_eq!(
        seen.header("webhook-signature"),
        Some(format!("v1,{}", base64.encode(mac.finalize().into_bytes())).as_str())
    );
}
