//! A new `store.key`: customers' secrets are sealed with it while the gateway runs, and no kill loses one.
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookgate::verify::{SecretText, SigningKey};
use serde_json::{Value, json};

use super::support::app::{App, Seen};
use super::support::gate::{Gate, hookgate, wait_at_most};
use super::support::http::Connection;
use super::support::outbound::{KEY, TOKEN, config};

/// The new key.
const NEW_KEY: &str = "/+Dm7OXi6e7r6OXi397b2NXSz8zJxsPAvbq3tLGuqys=";
/// The endpoints. Each has a secret and a header, and a hundred texts are sealed in a second.
const ENDPOINTS: usize = 120;

/// Returns the secret of an endpoint.
fn secret(number: usize) -> String {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    format!("whsec_{}", STANDARD.encode(bytes))
}

/// Sends requests to the API over one connection.
fn calls(gate: &Gate, calls: impl IntoIterator<Item = (&'static str, String, Value)>) {
    let authorization = format!("Bearer {TOKEN}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let mut connection = Connection::open(gate.address("outbound"));
    for (method, path, body) in calls {
        let body = body.to_string();
        let answer = connection.request(method, &path, &headers, body.as_bytes());
        assert!(answer.status < 300, "{path}: {}", answer.text());
    }
}

/// Makes a tenant with all endpoints.
fn set_up(gate: &Gate, app: &App) {
    let tenant = "/v1/tenants/acme";
    let limits = json!({ "limits": { "endpoints": ENDPOINTS } });
    let endpoint = |number: usize| {
        let body = json!({
            "url": format!("{}/{number}", app.url()),
            "secret": secret(number),
            "headers": { "X-Own": format!("value-{number}") },
        });
        ("PUT", format!("{tenant}/endpoints/e{number}"), body)
    };
    let all = std::iter::once(("PUT", tenant.to_owned(), limits));
    calls(gate, all.chain((0..ENDPOINTS).map(endpoint)));
}

/// Returns how many different keys sealed texts of endpoints.
fn keys(store: &Path) -> i64 {
    let database = rusqlite::Connection::open(store.join("hookgate.db")).unwrap();
    let count = "select count(distinct substr(sealed, 1, 5)) from
        (select sealed from secret union all select sealed from endpoint where sealed is not null)";
    database.query_row(count, [], |row| row.get(0)).unwrap()
}

/// Runs a gateway with a config that does not start, and returns what it says.
fn refused(dir: &Path, yaml: &str) -> String {
    let path = dir.join("refused.yaml");
    std::fs::write(&path, yaml).unwrap();
    let output = hookgate()
        .args(["run", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// Checks the signature of a request by Standard Webhooks.
fn check(seen: &Seen, secret: &str) {
    let key = SigningKey::new(&SecretText {
        name: "a".into(),
        text: secret.as_bytes().to_vec().into(),
        encodings: None,
        not_before: None,
        expires: None,
    });
    let seconds = seen.header("webhook-timestamp").unwrap().parse().unwrap();
    let at = UNIX_EPOCH + Duration::from_secs(seconds);
    let id = seen.header("webhook-id").unwrap();
    let expected = key.unwrap().sign(id, at, &seen.body).unwrap();
    let signature = seen.header("webhook-signature").unwrap();
    assert_eq!(expected[2].1.to_str().unwrap(), signature);
}

#[test]
fn secrets_are_sealed_again_with_a_new_key_through_kills() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let store = dir.path().join("store");
    let old = config("")
        .replace("STORE", store.to_str().unwrap())
        .replace("PORTS", &format!("[{}]", app.address.port()));
    let old_key = format!("key: {{ insecure_inline: \"{KEY}\" }}");
    let new_key = format!("key: {{ insecure_inline: \"{NEW_KEY}\" }}");
    let both_keys = format!("{new_key}, old_keys: [{{ insecure_inline: \"{KEY}\" }}]");
    let new = old.replace(&old_key, &new_key);
    let both = old.replace(&old_key, &both_keys);
    assert!(new != old && both != new);
    let mut gate = Gate::start_in(Arc::clone(&dir), &old);
    set_up(&gate, &app);
    gate.stop(Duration::from_secs(20));
    assert_eq!(keys(&store), 1);
    let early = refused(dir.path(), &new);
    assert!(early.contains("store.old_keys"), "{early}");
    for kill in 0..3 {
        let gate = Gate::start_in(Arc::clone(&dir), &both);
        wait_at_most(Duration::from_secs(20), "some to be sealed", || {
            gate.admin("/-/status")["store"]["sealed_by_old_keys"]
                .as_u64()
                .is_some_and(|left| left < 240 - 40 * kill - 5)
        });
        gate.signal("KILL");
        drop(gate);
        assert_eq!(keys(&store), 2, "kill {kill}");
        let early = refused(dir.path(), &new);
        assert!(early.contains("store.old_keys"), "{early}");
    }
    let mut gate = Gate::start_in(Arc::clone(&dir), &both);
    wait_at_most(Duration::from_secs(30), "all to be sealed", || {
        let lines = gate.log_lines();
        lines.iter().any(|line| line.contains("can be removed"))
    });
    let status = gate.admin("/-/status");
    assert_eq!(status["store"]["sealed_by_old_keys"], json!(0));
    gate.stop(Duration::from_secs(20));
    assert_eq!(keys(&store), 1);
    let early = refused(dir.path(), &old);
    assert!(early.contains("store.key"), "the former key is of no use");
    let gate = Gate::start_in(Arc::clone(&dir), &new);
    let status = gate.admin("/-/status");
    assert_eq!(status["store"]["sealed_by_old_keys"], json!(null));
    let event = json!({ "type": "invoice.paid", "id": "key-1", "data": {} });
    let publish = ("POST", "/v1/tenants/acme/events".to_owned(), event);
    calls(&gate, [publish]);
    wait_at_most(Duration::from_secs(30), "all endpoints to get it", || {
        app.count() >= ENDPOINTS
    });
    for number in 0..ENDPOINTS {
        let path = format!("/{number}");
        let all = app.seen();
        let seen = all.iter().find(|seen| seen.target == path).unwrap();
        check(seen, &secret(number));
        assert_eq!(seen.header("x-own"), Some(&*format!("value-{number}")));
    }
}
