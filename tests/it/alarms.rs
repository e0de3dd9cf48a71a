//! Alarms: raised, shown, sent through the queue, signed; and where the gate may not send them.
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use hookgate::alarm::Code;
use hookgate::verify::{SecretText, SigningKey};

use super::support::app::{Act, App, Seen, unused_address};
use super::support::config::SECRET;
use super::support::gate::{Gate, wait_at_most, wait_for};
use super::support::sign;

/// The secret that is being replaced.
const OLD: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
const ALARMS: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A gate whose one route queues for `app`, one try a delivery, and whose alarms go to `url`.
fn config(app: &str, url: &str, more: &str) -> String {
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
shutdown: {{ delay: 0s, grace: 5s }}
store: {{ path: STORE }}
alarms: {{ webhook: {{ url: \"{url}\", secret: [{{ insecure_inline: {OLD} }}, {{ insecure_inline: {ALARMS} }}] }}, disk_free: 1B }}
upstreams:
  app: {{ url: {app} }}
routes:
  - name: github
    path: /webhooks/github
    verify: {{ provider: github, secrets: [{{ name: main, insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}
    queue: {{ upstream: app, retry: {{ max_attempts: 1 }} }}
{more}"
    )
}

const LOOPBACK: &str = "egress: { allow: [127.0.0.0/8, \"::1\"] }\n";

fn start(yaml: &str) -> Gate {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = yaml.replace("STORE", dir.path().join("store").to_str().unwrap());
    Gate::in_process_in(dir, &yaml)
}

fn send(gate: &Gate, id: &str) {
    assert_eq!(
        gate.post("/webhooks/github", &sign::github(SECRET, id, b"{}"), b"{}")
            .status,
        200
    );
}

fn shows(gate: &Gate, line: &str) -> bool {
    gate.health("/metrics")
        .text()
        .lines()
        .any(|known| known == line)
}

fn raised(gate: &Gate) -> bool {
    shows(
        gate,
        "hookgate_alarm{code=\"dead_letters\",route=\"github\"} 1",
    )
}

/// Whether a request is signed as Standard Webhooks has it; its ID and body.
#[track_caller]
fn verified(seen: &Seen) -> (String, serde_json::Value) {
    let text = ALARMS.as_bytes().to_vec().into();
    let key = SigningKey::new(&SecretText {
        name: "a".into(),
        text,
        encodings: None,
        not_before: None,
        expires: None,
    })
    .unwrap();
    let id = seen.header("webhook-id").unwrap();
    let at = UNIX_EPOCH
        + Duration::from_secs(seen.header("webhook-timestamp").unwrap().parse().unwrap());
    let expected = key.sign(id, at, &seen.body).unwrap();
    let signatures = seen.header("webhook-signature").unwrap();
    assert_eq!(signatures.split(' ').count(), 2, "one by each secret");
    assert_eq!(
        signatures.split(' ').next_back(),
        Some(expected[2].1.to_str().unwrap())
    );
    (id.to_owned(), serde_json::from_slice(&seen.body).unwrap())
}

#[test]
fn a_dead_letter_is_shown_and_sent_signed_until_it_is_taken() {
    let dead = App::answering(|_, _| Act::status(410));
    let ops = App::answering(|n, _| {
        if n == 0 {
            Act::status(503)
        } else {
            Act::status(204)
        }
    });
    let gate = start(&config(
        &dead.url(),
        &format!("{}/hook?team=a", ops.url()),
        LOOPBACK,
    ));
    assert!(shows(
        &gate,
        "hookgate_alarm{code=\"dead_letters\",route=\"github\"} 0"
    ));
    assert!(shows(
        &gate,
        "hookgate_alarm{code=\"clock_jump\",route=\"-\"} 0"
    ));
    send(&gate, "1");
    wait_for("the alarm", || raised(&gate));
    let status = gate.admin("/-/status");
    let alarm = &status["alarms"][0];
    assert_eq!(
        (alarm["code"].as_str(), alarm["route"].as_str()),
        (Some("dead_letters"), Some("github")),
        "{alarm}"
    );
    gate.wait_for_log(&["alarm raised", "dead_letters"]);
    wait_at_most(Duration::from_secs(20), "the alarm to be taken", || {
        ops.count() >= 2
    });
    let seen = ops.seen();
    let (first, again) = (verified(&seen[0]), verified(&seen[1]));
    assert_eq!(first, again, "the same one");
    let (_, event) = first;
    assert_eq!(
        (&*seen[0].method, &*seen[0].target, seen[0].header("host")),
        ("POST", "/hook?team=a", Some(&*ops.address.to_string()))
    );
    assert_eq!(
        (event["type"].as_str(), event["data"]["code"].as_str()),
        (Some("hookgate.alarm.raised"), Some("dead_letters"))
    );
    assert_eq!(
        (
            event["data"]["since"].as_str(),
            event["data"]["route"].as_str()
        ),
        (event["timestamp"].as_str(), Some("github"))
    );
    assert!(
        !gate.log_lines().iter().any(|line| line.contains("team=a")),
        "what stands in a URL may be a secret"
    );
}

#[test]
fn an_alarm_survives_a_gate_that_is_killed() {
    let dead = App::answering(|_, _| Act::status(410));
    let closed = unused_address();
    let yaml = config(&dead.url(), &format!("http://{closed}/"), LOOPBACK);
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = yaml.replace("STORE", dir.path().join("store").to_str().unwrap());
    let gate = Gate::start_in(Arc::clone(&dir), &yaml);
    send(&gate, "1");
    gate.wait_for_log(&["an alarm is not delivered yet"]);
    drop(gate);
    let ops = App::on(closed, |_, _| Act::status(200));
    let _gate = Gate::start_in(dir, &yaml);
    wait_at_most(Duration::from_secs(30), "the alarm", || ops.count() > 0);
    assert_eq!(verified(&ops.last()).1["data"]["code"], "dead_letters");
}

#[test]
fn waiting_alarms_without_a_webhook_are_not_parked() {
    let dead = App::answering(|_, _| Act::status(410));
    let closed = unused_address();
    let yaml = config(&dead.url(), &format!("http://{closed}/"), LOOPBACK);
    let gate = start(&yaml);
    send(&gate, "1");
    gate.wait_for_log(&["an alarm is not delivered yet"]);
    let without = yaml.lines().map(|line| {
        if line.starts_with("alarms:") {
            "alarms: { disk_free: 1B }\n"
        } else {
            line
        }
    });
    let without = without
        .collect::<Vec<_>>()
        .join("\n")
        .replace("STORE", gate.dir().join("store").to_str().unwrap());
    let parked = |status: &serde_json::Value| status["store"]["parked"].as_u64();
    // after the reload, and where the store is opened without one
    let dir = gate.shared_dir();
    std::fs::write(gate.config_path(), &without).unwrap();
    gate.reload();
    wait_for("the reload", || {
        gate.admin("/-/status")["generation"].as_u64() >= Some(2)
    });
    send(&gate, "2");
    wait_for("new counts", || {
        gate.admin("/-/status")["routes"][0]["dead"] == 2
    });
    assert_eq!(parked(&gate.admin("/-/status")), Some(0));
    assert!(shows(
        &gate,
        "hookgate_alarm{code=\"parked\",route=\"-\"} 0"
    ));
    drop(gate);
    let gate = Gate::in_process_in(dir, &without);
    wait_for("the counts", || {
        gate.admin("/-/status")["routes"][0]["dead"] == 2
    });
    assert_eq!(parked(&gate.admin("/-/status")), Some(0));
}

#[test]
fn no_address_that_is_not_public_is_called() {
    let dead = App::answering(|_, _| Act::status(410));
    let ops = App::start();
    let port = ops.address.port();
    let denied = "egress: { allow: [127.0.0.0/8, \"::1\"], deny: [127.0.0.1] }\n";
    let cases = [
        ("localhost", "egress: { allow: [10.0.0.0/8] }\n"),
        ("[::ffff:127.0.0.1]", ""),
        ("127.0.0.1", denied),
    ];
    // an attempt takes seconds to begin: the gates wait for theirs at the same time
    let gates = cases.map(|(host, more)| {
        let url = format!("http://{host}:{port}/");
        let gate = start(&config(&dead.url(), &url, more));
        send(&gate, "1");
        gate
    });
    for (gate, case) in gates.iter().zip(cases) {
        gate.wait_for_log(&["unreached_blocked"]);
        assert_eq!(ops.count(), 0, "{case:?}");
    }
}

#[test]
fn a_redirect_is_an_answer_and_not_followed() {
    let dead = App::answering(|_, _| Act::status(410));
    let inside = App::start();
    let to = inside.url();
    let ops = App::answering(move |_, _| Act {
        headers: vec![("Location".to_owned(), to.clone())],
        ..Act::status(307)
    });
    let gate = start(&config(&dead.url(), &ops.url(), LOOPBACK));
    send(&gate, "1");
    gate.wait_for_log(&["an alarm is not delivered yet", "307"]);
    assert_eq!(inside.count(), 0);
}

/// `docs/alarms.md` has a row for each code, in their order, and no other.
#[test]
fn the_page_is_complete() {
    let page = std::fs::read_to_string("docs/alarms.md").unwrap();
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(
        rows.collect::<Vec<_>>(),
        Code::ALL.iter().map(|code| code.code()).collect::<Vec<_>>()
    );
}
