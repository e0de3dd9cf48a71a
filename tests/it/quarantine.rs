//! Refused requests that are kept: the bounds under a flood, and the way from a wrong secret to the released deliveries.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::support::app::{Act, App};
use super::support::config::SECRET;
use super::support::gate::{Gate, hookgate, metric, wait_for};
use super::support::http;
use super::support::queue;
use super::support::set_clock::SetClock;
use super::support::sign;

const TOKEN: &str = "An-Admin-Token-0123456789abcdef01";
/// The secret that the config has first. The provider signs with [`SECRET`].
const WRONG: &str = "another secret of many bytes";

/// A config with one route that reads its secret from the file `secret`. `more` are keys of the route.
fn config(app: &App, secret: &str, more: &str) -> String {
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0, token: {{ insecure_inline: {TOKEN} }} }}
trusted_proxies: [127.0.0.1]
shutdown: {{ delay: 0s, grace: 5s }}
store: {{ path: STORE }}
upstreams:
  app: {{ url: {}, timeout: 10s, breaker: {{ failures: 3, open: 100ms }} }}
routes:
  - name: github
    path: /webhooks/github
    verify: {{ provider: github, secrets: [{{ name: main, insecure_inline: \"{secret}\", allow_whitespace: true }}] }}
    {more}
",
        app.url()
    )
}

fn forwarding(app: &App, secret: &str) -> String {
    config(
        app,
        secret,
        "dedupe: { window: 24h }\n    forward: { upstream: app }\n    quarantine: {}",
    )
}

fn send(gate: &Gate, id: &str, body: &[u8]) -> http::Answer {
    gate.post("/webhooks/github", &sign::github(SECRET, id, body), body)
}

/// Sends a request of the client at an address behind the proxy.
fn send_from(gate: &Gate, client: &str, secret: &str, id: &str, body: &[u8]) -> http::Answer {
    let mut headers = sign::github(secret, id, body);
    headers.push(("X-Forwarded-For".to_owned(), client.to_owned()));
    gate.post("/webhooks/github", &headers, body)
}

fn call(gate: &Gate, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [
        ("Host", "localhost"),
        ("Content-Type", "application/json"),
        ("Authorization", bearer.as_str()),
    ];
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let answer = http::request(gate.address("admin"), method, path, &headers, &body);
    let json = serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!(answer.text()));
    (answer.status, json)
}

fn reverify(gate: &Gate, route: &str) -> Value {
    let (status, done) = call(gate, "POST", "/-/reverify", &json!({ "route": route }));
    assert_eq!(status, 200, "{done}");
    done
}

fn plan(gate: &Gate, route: &str) -> Value {
    let body = json!({ "route": route, "dry_run": true });
    let (status, plan) = call(gate, "POST", "/-/reverify", &body);
    assert_eq!(status, 200, "{plan}");
    plan
}

fn quarantined(gate: &Gate) -> Value {
    let (status, listed) = call(gate, "GET", "/-/quarantine?limit=1000", &Value::Null);
    assert_eq!(status, 200, "{listed}");
    listed
}

/// Waits until `count` requests are kept.
fn wait_for_kept(gate: &Gate, count: usize) {
    wait_for("the requests to be kept", || {
        quarantined(gate)["requests"].as_array().unwrap().len() == count
    });
}

/// Changes the config, and waits until it is in use.
fn reconfigure(gate: &Gate, yaml: &str) {
    let generation = || gate.admin("/-/status")["generation"].as_u64().unwrap();
    let before = generation();
    std::fs::write(gate.config_path(), queue::with_store(gate.dir(), yaml)).unwrap();
    gate.reload();
    wait_for("the new config", || generation() > before);
}

#[test]
fn wrong_secret_loses_no_delivery() {
    let app = App::start();
    let gate = queue::start(&forwarding(&app, WRONG));
    let bodies: Vec<Vec<u8>> = (0..3_u8)
        .map(|number| {
            format!("{{\"number\":{number},  \"odd\":\"\\u00e9\u{e9}\"}}\r\n").into_bytes()
        })
        .collect();
    for (number, body) in bodies.iter().enumerate() {
        let answer = send(&gate, &format!("d-{number}"), body);
        assert_eq!(answer.status, 401);
        assert!(!answer.text().contains("quarantine"), "{}", answer.text());
    }
    gate.post(
        "/webhooks/github",
        &sign::github("forged", "d-7", b"{}"),
        b"{}",
    );
    gate.post(
        "/webhooks/github",
        &[("X-Hub-Signature-256".to_owned(), "nonsense".to_owned())],
        b"{}",
    );
    wait_for_kept(&gate, 5);

    let listed = quarantined(&gate);
    let first = &listed["requests"][4];
    assert_eq!(
        (&first["route"], &first["code"]),
        (&json!("github"), &json!("signature_mismatch"))
    );
    let route = &listed["routes"][0];
    assert_eq!(
        (&route["requests"], &route["max_bytes"], &route["max_age"]),
        (&json!(5), &json!(16 << 20), &json!(86_400))
    );
    let refusals = gate.admin("/-/refusals");
    let refusals = refusals["refusals"].as_array().unwrap();
    let of_first = refusals
        .iter()
        .find(|refusal| refusal["request_id"] == first["id"])
        .unwrap();
    assert_eq!(of_first["kept_until"], first["kept_until"]);
    assert_eq!(
        metric(&gate, "hookgate_quarantine_requests{route=\"github\"}"),
        5.0
    );
    assert_eq!(plan(&gate, "github")["passing"], 0);
    assert_eq!(reverify(&gate, "github")["released"], 0);
    assert_eq!(app.count(), 0);

    reconfigure(&gate, &forwarding(&app, SECRET));
    let plan = plan(&gate, "github");
    assert_eq!(
        (&plan["kept"], &plan["passing"], &plan["complete"]),
        (&json!(5), &json!(3), &json!(true))
    );
    assert_eq!(
        plan["refused"],
        json!({ "signature_malformed": 1, "signature_mismatch": 1 })
    );
    assert_eq!(
        (&plan["sample"][0]["id"], &plan["sample"][0]["type"]),
        (&first["id"], &json!("push"))
    );
    let run = hookgate()
        .args([
            "reverify",
            "--route",
            "github",
            "--yes",
            "--json",
            "--reason",
            "wrong secret",
        ])
        .args(["--admin", &gate.address("admin").to_string()])
        .arg("--token-file")
        .arg(token_file(&gate))
        .output()
        .unwrap();
    let done: Value = serde_json::from_slice(&run.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&run.stderr)));
    assert_eq!(
        (run.status.code(), &done["released"], &done["left"]),
        (Some(0), &json!(3), &json!(2))
    );
    let seen = app.seen();
    let got: Vec<&Vec<u8>> = seen.iter().map(|request| &request.body).collect();
    assert_eq!(
        got,
        bodies.iter().collect::<Vec<_>>(),
        "all, once each, byte for byte"
    );
    assert_eq!(seen[0].header("Hookgate-Verified"), Some("true"));
    assert_eq!(seen[0].header("Hookgate-Delivery-Id"), Some("d-0"));

    // each has its record, with the ID of the request that was refused
    let line = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    wait_for("the lines", || {
        let lines = gate.lines();
        let released = lines
            .iter()
            .map(line)
            .filter(|line| line["from"] == "quarantine");
        let mut ids = released
            .filter(|line| line["status"] == 200)
            .map(|line| line["request_id"].clone());
        ids.next() == Some(first["id"].clone()) && ids.count() == 2
    });
    let forwarded = "hookgate_requests_total{outcome=\"forwarded\",route=\"github\"}";
    assert_eq!(metric(&gate, forwarded), 3.0);
    let (_, audit) = call(&gate, "GET", "/-/audit?limit=1", &Value::Null);
    let row = &audit["audit"][0];
    assert_eq!(
        (
            &row["action"],
            &row["selection"],
            &row["reason"],
            &row["done"]
        ),
        (
            &json!("reverify"),
            &json!("route github"),
            &json!("wrong secret"),
            &json!(3)
        )
    );
    assert_eq!(reverify(&gate, "github")["released"], 0);
    assert_eq!(
        send(&gate, "d-1", &bodies[1]).header("Hookgate-Status"),
        Some("duplicate")
    );
    assert_eq!(app.count(), 3);
}

fn token_file(gate: &Gate) -> std::path::PathBuf {
    let path = gate.dir().join("token");
    std::fs::write(&path, TOKEN).unwrap();
    path
}

/// The provider's own retry was quicker.
#[test]
fn delivered_request_is_a_duplicate_when_it_is_released() {
    let app = App::start();
    let gate = queue::start(&forwarding(&app, WRONG));
    assert_eq!(send(&gate, "d-1", b"{}").status, 401);
    wait_for_kept(&gate, 1);
    reconfigure(&gate, &forwarding(&app, SECRET));
    assert_eq!(send(&gate, "d-1", b"{}").status, 200);
    let done = reverify(&gate, "github");
    assert_eq!(
        (&done["released"], &done["duplicates"], &done["left"]),
        (&json!(0), &json!(1), &json!(0))
    );
    assert_eq!(app.count(), 1);
}

#[test]
fn what_the_app_does_not_take_is_kept() {
    let is_up = Arc::new(AtomicBool::new(false));
    let shown = Arc::clone(&is_up);
    let app = App::answering(move |_, _| match shown.load(Ordering::SeqCst) {
        true => Act::status(200),
        false => Act::status(500),
    });
    let gate = queue::start(&forwarding(&app, WRONG));
    assert_eq!(send(&gate, "d-1", b"{}").status, 401);
    wait_for_kept(&gate, 1);
    reconfigure(&gate, &forwarding(&app, SECRET));
    let done = reverify(&gate, "github");
    assert_eq!(
        (&done["failed"], &done["left"]),
        (&json!({ "500": 1 }), &json!(1))
    );
    is_up.store(true, Ordering::SeqCst);
    let done = reverify(&gate, "github");
    assert_eq!((&done["released"], &done["left"]), (&json!(1), &json!(0)));
    // a drained gateway releases nothing
    assert_eq!(
        call(&gate, "POST", "/-/drain", &json!({ "accept": false })).0,
        200
    );
    let (status, denied) = call(&gate, "POST", "/-/reverify", &json!({ "route": "github" }));
    assert_eq!(status, 409, "{denied}");
}

/// Two calls at once, with and without a ledger that would tell.
#[test]
fn concurrent_calls_release_each_request_once() {
    for dedupe in ["dedupe: { window: 24h }\n    ", ""] {
        let app = App::answering(|_, _| Act::status(200).after(Duration::from_millis(20)));
        let more = format!("{dedupe}forward: {{ upstream: app }}\n    quarantine: {{}}");
        let gate = queue::start(&config(&app, WRONG, &more));
        for number in 0..8 {
            assert_eq!(
                send(
                    &gate,
                    &format!("d-{number}"),
                    format!("{{\"n\":{number}}}").as_bytes()
                )
                .status,
                401
            );
        }
        wait_for_kept(&gate, 8);
        reconfigure(&gate, &config(&app, SECRET, &more));
        let released: u64 = std::thread::scope(|scope| {
            let calls: Vec<_> = (0..3)
                .map(|_| scope.spawn(|| reverify(&gate, "github")))
                .collect();
            calls
                .into_iter()
                .map(|call| call.join().unwrap()["released"].as_u64().unwrap())
                .sum()
        });
        assert_eq!((released, app.count()), (8, 8), "{dedupe}");
    }
}

#[test]
fn released_request_is_queued_where_its_route_queues() {
    let app = App::start();
    let more = "dedupe: { window: 24h }\n    queue: { upstream: app }\n    quarantine: {}";
    let gate = queue::start(&config(&app, WRONG, more));
    assert_eq!(send(&gate, "d-1", b"{\"a\":1}").status, 401);
    wait_for_kept(&gate, 1);
    reconfigure(&gate, &config(&app, SECRET, more));
    assert_eq!(reverify(&gate, "github")["released"], 1);
    wait_for("the delivery", || app.count() == 1);
    let (_, shown) = call(&gate, "GET", "/-/deliveries/d-1", &Value::Null);
    assert_eq!(shown["request"]["from_quarantine"], true, "{shown}");
}

/// The signed time is judged as of the receipt: ten minutes later a fresh one is released, and a stale one is not, however late it is.
#[test]
fn signed_time_is_judged_as_of_the_receipt() {
    let app = App::start();
    let more = |secret: &str| {
        let verify = format!(
            "verify: {{ scheme: hmac, algorithm: sha256, signature: {{ header: X-Sig, encoding: hex }}, signed_content: \"{{timestamp}}.{{body}}\", timestamp: {{ header: X-Time, format: unix, tolerance: 5m }}, delivery_id: {{ header: X-Id }}, secrets: [{{ name: main, insecure_inline: \"{secret}\", allow_whitespace: true }}] }}"
        );
        let yaml = config(
            &app,
            secret,
            "dedupe: { window: 24h }\n    forward: { upstream: app }\n    quarantine: {}",
        );
        let lines = yaml.lines().map(|line| {
            if line.trim_start().starts_with("verify:") {
                format!("    {verify}")
            } else {
                line.to_owned()
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let clock = Arc::new(SetClock::default());
    let began = 1_796_083_200;
    clock.0.store(began, Ordering::SeqCst);
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let store = dir.path().join("store");
    let written = |secret: &str| more(secret).replace("STORE", store.to_str().unwrap());
    let gate = Gate::in_process_at(Arc::clone(&clock) as _, Arc::clone(&dir), &written(WRONG));
    for (id, age) in [("fresh", 10), ("stale", 400), ("future", -400_i64)] {
        let time = i64::try_from(began).unwrap() - age;
        let tag = sign::hmac_hex(SECRET, format!("{time}.{id}").as_bytes());
        let headers = [
            ("X-Sig", tag),
            ("X-Time", time.to_string()),
            ("X-Id", id.to_owned()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(
            gate.post("/webhooks/github", &headers, id.as_bytes())
                .status,
            401
        );
    }
    wait_for_kept(&gate, 3);
    clock.0.store(began + 600, Ordering::SeqCst);
    reconfigure(&gate, &more(SECRET));
    let done = reverify(&gate, "github");
    assert_eq!(
        (&done["released"], &done["refused"], &done["left"]),
        (
            &json!(1),
            &json!({ "timestamp_stale": 1, "timestamp_future": 1 }),
            &json!(2)
        )
    );
    assert_eq!((app.count(), &*app.last().body), (1, &b"fresh"[..]));
    let wider = more(SECRET).replace("tolerance: 5m", "tolerance: 1h");
    reconfigure(&gate, &wider);
    let done = reverify(&gate, "github");
    assert_eq!(
        (&done["released"], &done["refused"]),
        (
            &json!(0),
            &json!({ "timestamp_stale": 1, "timestamp_future": 1 })
        ),
        "a tolerance that is raised later lets no old request in"
    );
}

/// The network, the methods and the path of the route are judged again too.
#[test]
fn route_that_was_narrowed_releases_nothing_else() {
    let app = App::start();
    let gate = queue::start(&forwarding(&app, WRONG));
    assert_eq!(send(&gate, "d-1", b"{}").status, 401);
    wait_for_kept(&gate, 1);
    for (change, code) in [
        (
            "allow: [192.0.2.0/24]\n    quarantine: {}",
            "client_not_allowed",
        ),
        ("methods: [PUT]\n    quarantine: {}", "method_not_allowed"),
        ("max_body: 1\n    quarantine: {}", "body_too_large"),
    ] {
        reconfigure(
            &gate,
            &forwarding(&app, SECRET).replace("quarantine: {}", change),
        );
        let done = reverify(&gate, "github");
        assert_eq!(
            (&done["released"], &done["refused"]),
            (&json!(0), &json!({ code: 1 }))
        );
    }
    let moved = forwarding(&app, SECRET).replace("path: /webhooks/github", "path: /hooks");
    reconfigure(&gate, &moved);
    assert_eq!(
        reverify(&gate, "github")["refused"],
        json!({ "no_route": 1 })
    );
    reconfigure(&gate, &forwarding(&app, SECRET));
    assert_eq!(reverify(&gate, "github")["released"], 1);
}

#[test]
fn killed_gateway_still_has_what_it_kept() {
    let app = App::start();
    let gate = queue::start_process(&forwarding(&app, WRONG));
    assert_eq!(send(&gate, "d-1", b"{\"a\":1}").status, 401);
    wait_for_kept(&gate, 1);
    let (dir, kept) = (gate.shared_dir(), quarantined(&gate)["requests"].clone());
    gate.signal("KILL");
    drop(gate);
    let gate = queue::start_process_in(dir, &forwarding(&app, SECRET));
    assert_eq!(quarantined(&gate)["requests"], kept);
    assert_eq!(reverify(&gate, "github")["released"], 1);
    assert_eq!(app.last().body, b"{\"a\":1}");
}

/// The resident memory of a process in bytes.
fn memory(gate: &Gate) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .trim()
        .parse::<u64>()
        .unwrap()
        * 1024
}

#[test]
#[cfg(target_os = "linux")]
fn flood_of_forgeries_stays_within_its_bounds() {
    let app = App::start();
    let more = "dedupe: { window: 24h }\n    forward: { upstream: app }\n    quarantine: { max_bytes: 1MiB }";
    let yaml = config(&app, SECRET, more);
    let gate = queue::start_process(&format!(
        "limits: {{ refused_per_client: 100000/s }}\n{yaml}"
    ));
    let body = vec![b'x'; 8 * 1024];
    let forge = |client: &str| {
        let mut headers = sign::github("forged", "d", &body);
        headers.push(("X-Forwarded-For".to_owned(), client.to_owned()));
        let head = sign::borrowed(&headers);
        let mut connection = http::Connection::open(gate.address("senders"));
        for _ in 0..300 {
            assert_eq!(
                connection
                    .request("POST", "/webhooks/github", &head, &body)
                    .status,
                401
            );
        }
    };
    // one client, under many addresses of one network
    forge("2001:db8::1");
    let before = memory(&gate);
    std::thread::scope(|scope| {
        for client in ["2001:db8::2", "2001:db8::ffff:1"] {
            scope.spawn(move || forge(client));
        }
        for number in 0..20 {
            let id = format!("good-{number}");
            assert_eq!(
                send_from(&gate, "203.0.113.9", SECRET, &id, b"{}").status,
                200
            );
        }
    });
    assert_eq!(app.count(), 20);
    let bytes = || metric(&gate, "hookgate_quarantine_bytes{route=\"github\"}");
    assert!(
        bytes() <= 65_536.0 && bytes() > 50_000.0,
        "a sixteenth: {}",
        bytes()
    );
    assert!(
        metric(
            &gate,
            "hookgate_quarantine_not_kept_total{reason=\"client_full\"}"
        ) >= 850.0
    );
    // many clients
    for client in 0..20 {
        for _ in 0..8 {
            let client = format!("198.51.100.{client}");
            assert_eq!(send_from(&gate, &client, "forged", "d", &body).status, 401);
        }
    }
    assert!(bytes() <= 1_048_576.0 && bytes() > 900_000.0, "{}", bytes());
    assert!(
        metric(
            &gate,
            "hookgate_quarantine_not_kept_total{reason=\"route_full\"}"
        ) > 0.0
    );
    let file = gate.dir().join("store/quarantine.db");
    let size = std::fs::metadata(file).unwrap().len();
    assert!(size <= 2 * 1_048_576, "{size}");
    let grown = memory(&gate).saturating_sub(before);
    assert!(grown < 16 * 1_048_576, "{grown}");
}

#[test]
fn calls_refuse_what_cannot_be() {
    let app = App::start();
    let gate = queue::start(&forwarding(&app, SECRET));
    let post = |body: Value| call(&gate, "POST", "/-/reverify", &body).0;
    assert_eq!(post(json!({ "route": "gitlab" })), 404);
    assert_eq!(post(json!({ "route": "github", "after": "x" })), 400);
    assert_eq!(post(json!({})), 400);
    let get = |query: &str| call(&gate, "GET", &format!("/-/quarantine{query}"), &Value::Null).0;
    assert_eq!(
        (get("?limit=0"), get("?route=gitlab"), get("?route=github")),
        (400, 404, 200)
    );
    // it needs a token, on loopback too
    let bare = http::request(
        gate.address("admin"),
        "GET",
        "/-/quarantine",
        &[("Host", "localhost")],
        b"",
    );
    assert_eq!(bare.status, 401);
    let without = "forward: { upstream: app }\n    mode: observe\n    until: 2999-01-01";
    reconfigure(&gate, &config(&app, SECRET, without));
    assert_eq!(post(json!({ "route": "github" })), 409);
}
