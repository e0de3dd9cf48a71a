//! A refused request that is kept is explained by its ID, to those who may act.
use serde_json::{Value, json};

use super::support::app::App;
use super::support::config::SECRET;
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::http;
use super::support::queue;
use super::support::sign;

const ACTING: &str = "An-Acting-Token-0123456789abcdef01";
const READING: &str = "A-Reading-Token-0123456789abcdef01";
/// The secret of the route that refuses. The sender signs with [`SECRET`], that of the other route.
const WRONG: &str = "another-secret-of-many-bytes";

fn config(app: &App) -> String {
    let route = |name: &str, secret: &str, more: &str| {
        format!(
            "  - name: {name}
    path: /webhooks/{name}
    verify: {{ provider: github, secrets: [{{ name: main, insecure_inline: \"{secret}\", allow_whitespace: true }}] }}
    forward: {{ upstream: app }}
    {more}
"
        )
    };
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
admin: {{ address: 127.0.0.1:0, tokens: [{{ name: anna, insecure_inline: {ACTING}, allow: [read, act] }}, {{ name: ben, insecure_inline: {READING}, allow: [read] }}] }}
store: {{ path: STORE }}
upstreams: {{ app: {{ url: {} }} }}
routes:
{}{}",
        app.url(),
        route("github", WRONG, "quarantine: {}"),
        route("github-labs", SECRET, "")
    )
}

fn call(gate: &Gate, token: &str, method: &str, path: &str) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("Host", "localhost"),
        ("Content-Type", "application/json"),
        ("Authorization", bearer.as_str()),
    ];
    let body: &[u8] = if method == "POST" { b"{}" } else { b"" };
    let answer = http::request(gate.address("admin"), method, path, &headers, body);
    let json = serde_json::from_slice(&answer.body).unwrap_or_else(|_| json!(answer.text()));
    (answer.status, json)
}

/// Runs `explain` as a person does. Returns the exit code, and what it printed.
fn explain(gate: &Gate, id: &str, more: &[&str]) -> (Option<i32>, String) {
    let token = gate.dir().join("token");
    std::fs::write(&token, ACTING).unwrap();
    let run = hookgate()
        .args(["explain", id, "--admin", &gate.address("admin").to_string()])
        .arg("--token-file")
        .arg(token)
        .args(more)
        .output()
        .unwrap();
    let printed = [run.stdout, run.stderr].concat();
    (run.status.code(), String::from_utf8(printed).unwrap())
}

#[test]
fn kept_request_is_explained_by_its_id() {
    let app = App::start();
    let gate = queue::start(&config(&app));
    let body = b"{\"zen\":\"a body that nobody shows\"}";
    let answer = gate.post(
        "/webhooks/github",
        &sign::github(SECRET, "delivery-1", body),
        body,
    );
    assert_eq!(answer.status, 401);
    let id = answer.header("x-request-id").unwrap().to_owned();
    let kept = || call(&gate, READING, "GET", "/-/quarantine").1["requests"][0]["id"] == id;
    wait_for("the request to be kept", kept);

    let (code, text) = explain(&gate, &id, &[]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "signature_mismatch   github\n",
        "It was signed with a secret of another route, github-labs",
        "matches   secret main of github-labs",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let (_, json) = explain(&gate, &id, &["--json"]);
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        found["matches"],
        json!({ "route": "github-labs", "secret": "main" })
    );
    assert_eq!(found["causes"][0]["code"], "secret_of_other_route");
    for secret in [SECRET, WRONG, "nobody shows"] {
        assert!(!text.contains(secret) && !json.contains(secret));
    }

    let target = format!("/-/refusals/{id}/explain");
    assert_eq!(call(&gate, READING, "POST", &target).0, 403);
    assert_eq!(call(&gate, "no-token", "POST", &target).0, 401);
    let audit = call(&gate, READING, "GET", "/-/audit").1;
    let rows = audit["audit"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{audit}");
    let selection = format!("request {id} of route github");
    for row in rows {
        assert_eq!(
            (&row["action"], &row["who"], &row["selection"]),
            (&json!("explain"), &json!("anna"), &json!(selection))
        );
    }

    let (code, text) = explain(&gate, "00000000000000000000000000", &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("does not keep this request"), "{text}");
    let (code, text) = explain(&gate, "nonsense", &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("neither a file nor the ID of a request"),
        "{text}"
    );
    let (status, _) = call(&gate, ACTING, "POST", "/-/refusals/nonsense/explain");
    assert_eq!(status, 400);
}
