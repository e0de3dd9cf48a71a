//! A route that observes lets everything in and says what it would have refused; then it enforces.
use std::process::Output;
use std::time::{Duration, SystemTime};

use super::support::app::App;
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::{http, sign};

/// The config of [`config`], its route observing until `until`.
fn observing(app: &App, until: SystemTime) -> String {
    config::forward(&app.url(), "").replace(
        "    dedupe:",
        &format!(
            "    mode: observe\n    until: {}\n    dedupe:",
            rfc3339(until)
        ),
    )
}

fn rfc3339(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).unwrap().to_string()
}

fn days(count: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(count * 86_400)
}

fn report(gate: &Gate, more: &[&str]) -> Output {
    let admin = gate.address("admin").to_string();
    hookgate()
        .args(["report", "--admin", &admin])
        .args(more)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("HOOKGATE_CONFIG")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Names of the headers that only the gate may set, as the app saw them last.
fn ours(app: &App) -> Vec<(String, String)> {
    let all = app.last().headers.into_iter();
    let ours = all
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| name.starts_with("hookgate"));
    // the ID of the request says nothing about who sent it
    ours.filter(|(name, _)| name != "hookgate-request-id")
        .collect()
}

#[test]
fn observed_requests_pass_as_unverified_and_are_counted() {
    let app = App::start();
    let gate = Gate::in_process(&observing(&app, days(14)));
    let unverified = [("hookgate-verified".to_owned(), "false".to_owned())];
    let signed = sign::github(SECRET, "id-1", b"{}");
    for _ in 0..2 {
        // the same delivery twice: nothing is claimed, so nothing is a duplicate
        assert_eq!(gate.post("/webhooks/github", &signed, b"{}").status, 200);
        assert_eq!(ours(&app), unverified);
    }
    assert_eq!(app.count(), 2);
    // a line is written after the answer, and the next connection's may overtake it
    wait_for("their lines", || gate.lines().len() == 2);
    let mut forged = sign::github("another secret of many bytes", "id-2", b"{}");
    forged.extend([
        ("Hookgate-Verified".to_owned(), "true".to_owned()),
        ("Hookgate_Route".to_owned(), "github".to_owned()),
        ("User-Agent".to_owned(), "curl/8.5.0".to_owned()),
    ]);
    assert_eq!(gate.post("/webhooks/github", &forged, b"{}").status, 200);
    assert_eq!(ours(&app), unverified);
    assert_eq!(app.last().body, b"{}");
    wait_for("its line", || gate.lines().len() == 3);
    assert_eq!(gate.post("/webhooks/github", &[], b"unsigned").status, 200);
    assert_eq!((ours(&app), app.count()), (unverified.to_vec(), 4));

    wait_for("the lines", || gate.lines().len() == 4);
    let lines: Vec<serde_json::Value> = gate
        .lines()
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (
            &lines[0]["secret"],
            &lines[0]["would_refuse"],
            &lines[0]["status"]
        ),
        (&"main".into(), &serde_json::Value::Null, &200.into())
    );
    assert_eq!(
        (&lines[2]["would_refuse"], &lines[2]["secret"]),
        (&"signature_mismatch".into(), &serde_json::Value::Null)
    );
    assert_eq!(lines[3]["would_refuse"], "signature_missing");
    let missing = "the header X-Hub-Signature-256 is missing";
    assert_eq!(lines[3]["why"], missing);

    let metrics = gate.health("/metrics").text();
    for line in [
        "hookgate_route_not_enforcing{route=\"github\"} 1",
        "hookgate_would_refuse_total{code=\"signature_mismatch\",route=\"github\"} 1",
        "hookgate_would_refuse_total{code=\"signature_missing\",route=\"github\"} 1",
        "hookgate_secret_matches_total{route=\"github\",secret=\"main\"} 2",
        "hookgate_requests_total{outcome=\"forwarded\",route=\"github\"} 4",
    ] {
        assert!(
            metrics.lines().any(|known| known == line),
            "{line} is not in\n{metrics}"
        );
    }
    assert_eq!(
        gate.admin("/-/refusals")["refusals"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    let route = &gate.admin("/-/status")["routes"][0];
    assert_eq!(
        (&route["mode"], route["until"].is_string()),
        (&"observe".into(), true)
    );
    assert!(route["secrets"][0]["last_match_at"].is_string(), "{route}");

    let route = &gate.admin("/-/report")["routes"][0];
    assert_eq!(
        (&route["route"], &route["observes"], &route["authentic"]),
        (&"github".into(), &true.into(), &2.into())
    );
    let mut refused = route["refused"].as_array().unwrap().iter();
    let unsigned = refused.find(|one| one["code"] == "signature_missing");
    assert_eq!(unsigned.unwrap()["why"], missing);
    let mismatch = route["refused"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["code"] == "signature_mismatch")
        .unwrap();
    assert_eq!(
        (&mismatch["count"], &mismatch["hint"]),
        (
            &1.into(),
            &"all from 127.0.0.1, User-Agent curl/8.5.0: a test?".into()
        )
    );
}

#[test]
fn the_report_says_when_it_is_safe() {
    let app = App::start();
    let gate = Gate::in_process(&observing(&app, days(14)));
    let none = report(&gate, &[]);
    assert_eq!(none.status.code(), Some(1));
    assert!(
        stdout(&none).contains("Not yet: no authentic request was received."),
        "{}",
        stdout(&none)
    );
    gate.post(
        "/webhooks/github",
        &sign::github(SECRET, "id-1", b"{}"),
        b"{}",
    );
    let early = report(&gate, &[]);
    assert_eq!(early.status.code(), Some(1));
    assert!(
        stdout(&early).contains("Not yet: it has observed for"),
        "{}",
        stdout(&early)
    );
    let safe = report(&gate, &["--settled", "0s"]);
    assert_eq!(safe.status.code(), Some(0), "{}", stdout(&safe));
    assert!(
        stdout(&safe).contains("To enforce: remove `mode: observe` from route github."),
        "{}",
        stdout(&safe)
    );
    gate.post(
        "/webhooks/github",
        &sign::github("another secret of many bytes", "id-2", b"{}"),
        b"{}",
    );
    let unsafe_now = report(&gate, &["--settled", "1h", "--route", "github"]);
    assert_eq!(unsafe_now.status.code(), Some(1));
    assert!(
        stdout(&unsafe_now).contains("Not yet: 1 signed request would have been refused"),
        "{}",
        stdout(&unsafe_now)
    );
    let json: serde_json::Value =
        serde_json::from_slice(&report(&gate, &["--json"]).stdout).unwrap();
    assert_eq!(
        (&json["route"], &json["safe"], &json["authentic"]),
        (&"github".into(), &false.into(), &1.into())
    );
    let wrong = report(&gate, &["--route", "githup"]);
    assert_eq!(
        (
            wrong.status.code(),
            String::from_utf8_lossy(&wrong.stderr).contains("did you mean `github`?")
        ),
        (Some(2), true)
    );
    let admin = gate.address("admin").to_string();
    drop(gate);
    assert_eq!(
        hookgate()
            .args(["report", "--admin", &admin])
            .output()
            .unwrap()
            .status
            .code(),
        Some(69)
    );
}

#[test]
fn it_enforces_by_itself_when_its_time_is_over() {
    let app = App::start();
    let until = SystemTime::now() + Duration::from_secs(3);
    let gate = Gate::in_process(&observing(&app, until));
    let forged = || {
        gate.post(
            "/webhooks/github",
            &sign::github("another secret of many bytes", "x", b"{}"),
            b"{}",
        )
        .status
    };
    if SystemTime::now() < until - Duration::from_millis(500) {
        assert_eq!(forged(), 200);
    }
    wait_for("the end", || forged() == 401);
    assert!(SystemTime::now() >= until);
    let signed = sign::github(SECRET, "id-1", b"{}");
    assert_eq!(gate.post("/webhooks/github", &signed, b"{}").status, 200);
    assert_eq!(app.last().header("Hookgate-Verified"), Some("true"));
    assert_eq!(
        gate.post("/webhooks/github", &signed, b"{}")
            .header("Hookgate-Status"),
        Some("duplicate")
    );
    assert!(
        gate.health("/metrics")
            .text()
            .contains("hookgate_route_not_enforcing{route=\"github\"} 0")
    );
    assert_eq!(
        gate.admin("/-/status")["generation"],
        1,
        "no reload was needed"
    );
    let over = report(&gate, &[]);
    assert_eq!(over.status.code(), Some(0));
    assert!(
        stdout(&over)
            .contains("It enforces. Remove `mode: observe` and `until` from route github."),
        "{}",
        stdout(&over)
    );
}

#[test]
fn counts_survive_reloads_and_observed_ids_are_not_claimed() {
    let app = App::start();
    let yaml = observing(&app, days(14));
    let gate = Gate::in_process(&yaml);
    let generation = || gate.admin("/-/status")["generation"].as_u64().unwrap();
    let signed = sign::github(SECRET, "id-1", b"{}");
    gate.post("/webhooks/github", &signed, b"{}");
    let before = gate.admin("/-/report")["routes"][0].clone();
    std::fs::write(gate.config_path(), format!("{yaml}# edited\n")).unwrap();
    wait_for("the reload", || generation() == 2);
    let after = gate.admin("/-/report")["routes"][0].clone();
    assert_eq!(
        (&after["authentic"], &after["since"]),
        (&1.into(), &before["since"])
    );
    std::fs::write(gate.config_path(), config::forward(&app.url(), "")).unwrap();
    wait_for("the reload", || generation() == 3);
    assert_eq!(gate.post("/webhooks/github", &[], b"{}").status, 401);
    let fresh = gate.post("/webhooks/github", &signed, b"{}");
    assert_eq!(
        (fresh.status, fresh.header("Hookgate-Status")),
        (200, None),
        "what was observed is no proof that it was handed on"
    );
    assert_eq!(app.last().header("Hookgate-Delivery-Id"), Some("id-1"));
    assert_eq!(
        gate.post("/webhooks/github", &signed, b"{}")
            .header("Hookgate-Status"),
        Some("duplicate")
    );
    assert_eq!(
        gate.admin("/-/report")["routes"][0]["since"],
        serde_json::Value::Null
    );
    assert!(stdout(&report(&gate, &[])).contains("no route observes"));
    std::fs::write(gate.config_path(), &yaml).unwrap();
    wait_for("the reload", || generation() == 4);
    let again = gate.admin("/-/report")["routes"][0].clone();
    assert_eq!(
        (&again["authentic"], again["since"] != before["since"]),
        (&0.into(), true),
        "it begins anew"
    );
}

/// Observing takes nothing off but the proof: whoever is refused for another reason is refused.
#[test]
fn limits_hold_and_observed_requests_are_no_refusals() {
    let app = App::start();
    let yaml = observing(&app, days(14))
        .replace("shutdown:", "trusted_proxies: [127.0.0.1]\nlimits: { refused_per_client: 1/h }\nshutdown:")
        .replace(
            "    dedupe:",
            "    max_body: 1KiB\n    allow: [192.0.2.0/24]\n    rate_limit: { rate: 1/h, burst: 30, key: route }\n    dedupe:",
        );
    let gate = Gate::in_process(&yaml);
    let from = |client: &str| vec![("X-Forwarded-For".to_owned(), client.to_owned())];
    assert_eq!(
        gate.post("/webhooks/github", &from("198.51.100.1"), b"{}")
            .status,
        403
    );
    assert_eq!(
        gate.post("/webhooks/github", &from("192.0.2.1"), &[b'x'; 2000])
            .status,
        413
    );
    assert_eq!(
        http::request(
            gate.address("senders"),
            "GET",
            "/webhooks/github",
            &[("X-Forwarded-For", "192.0.2.2")],
            b""
        )
        .status,
        405
    );
    // one refusal an hour is allowed, ten at once: these are none
    let statuses: Vec<u16> = (0..30)
        .map(|_| {
            gate.post("/webhooks/github", &from("192.0.2.9"), b"{}")
                .status
        })
        .collect();
    assert_eq!(statuses, [200; 30]);
    assert_eq!(
        gate.post("/webhooks/github", &from("192.0.2.9"), b"{}")
            .status,
        429,
        "rates hold"
    );
    assert_eq!(app.count(), 30);
}

/// A provider's test of the endpoint is answered as under `enforce`; a forged one goes on like everything else.
#[test]
fn handshakes_are_answered_after_the_proof() {
    let app = App::start();
    let route = format!(
        "  - name: slack
    path: /slack
    verify: {{ provider: slack, secrets: [{{ insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}
    mode: observe
    until: {}
    forward: {{ upstream: app }}
",
        rfc3339(days(14))
    );
    let gate = Gate::in_process(&config::forward(&app.url(), &route));
    let dir = tempfile::tempdir().unwrap();
    let body = dir.path().join("body.json");
    std::fs::write(
        &body,
        r#"{"type": "url_verification", "challenge": "abc123", "token": "x"}"#,
    )
    .unwrap();
    let url = format!("http://{}/slack", gate.address("senders"));
    let send = |secret: &str| {
        let file = dir.path().join("secret");
        std::fs::write(&file, secret).unwrap();
        let arguments = [
            "sign",
            "--provider",
            "slack",
            "--secret-file",
            file.to_str().unwrap(),
            "--body",
            body.to_str().unwrap(),
            "--url",
            &url,
            "--send",
        ];
        stdout(&hookgate().args(arguments).output().unwrap())
    };
    let answer = send(SECRET);
    assert!(answer.contains("abc123"), "{answer}");
    assert_eq!(app.count(), 0);
    let answer = send("another secret of many bytes");
    assert!(!answer.contains("abc123"), "{answer}");
    assert_eq!(
        (app.count(), app.last().header("Hookgate-Verified")),
        (1, Some("false"))
    );
}
