//! A new `store.key`: customers' secrets are sealed with it while the gateway runs, and no kill loses one.
//!
//! `HOOKGATE_KILLS` makes this test longer: it changes the key again and again, and kills a tenth as often.
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookgate::verify::{SecretText, SigningKey};
use serde_json::{Value, json};

use super::support::app::{App, Seen};
use super::support::dice::{Dice, seed};
use super::support::gate::{Gate, hookgate, wait_at_most};
use super::support::http::Connection;
use super::support::killed::kills;
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

/// The kills of one change of the key.
const KILLS: u32 = 3;

/// A gateway whose `store.key` changes.
struct Resealed {
    dir: Arc<tempfile::TempDir>,
    /// The config, with `KEYS` in the place of the keys.
    yaml: String,
    dice: Dice,
}

impl Resealed {
    fn new(app: &App) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let yaml = config("")
            .replace("STORE", dir.path().join("store").to_str().unwrap())
            .replace("PORTS", &format!("[{}]", app.address.port()));
        let written = format!("key: {{ insecure_inline: \"{KEY}\" }}");
        assert!(yaml.contains(&written));
        Self {
            dir,
            yaml: yaml.replace(&written, "KEYS"),
            dice: Dice::new(seed("secrets are sealed again")),
        }
    }

    /// Returns the config with a key, and the one before it if it is still there.
    fn yaml(&self, key: &str, before: Option<&str>) -> String {
        let key = format!("key: {{ insecure_inline: \"{key}\" }}");
        let keys = before.map_or(key.clone(), |before| {
            format!("{key}, old_keys: [{{ insecure_inline: \"{before}\" }}]")
        });
        self.yaml.replace("KEYS", &keys)
    }

    fn start(&self, yaml: &str) -> Gate {
        Gate::start_in(Arc::clone(&self.dir), yaml)
    }

    /// Returns how many different keys sealed texts of endpoints.
    fn keys(&self) -> i64 {
        keys(&self.dir.path().join("store"))
    }

    /// Checks that it does not start with a config, which names no key that opens all.
    fn does_not_start(&self, yaml: &str, word: &str) {
        let error = refused(self.dir.path(), yaml);
        assert!(error.contains(word), "{error}");
    }

    /// Changes the key from `before` to `key`, and kills the gateway while it seals with the new one.
    fn change_key(&mut self, before: &str, key: &str) {
        let (old, new) = (self.yaml(before, None), self.yaml(key, None));
        let both = self.yaml(key, Some(before));
        self.does_not_start(&new, "store.old_keys");
        for kill in 0..KILLS {
            let gate = self.start(&both);
            // each life seals some, and there is more to do for a second at least
            let most = 240 - 40 * u64::from(kill) - 5 - self.dice.below(40);
            wait_at_most(Duration::from_secs(60), "some to be sealed", || {
                gate.admin("/-/status")["store"]["sealed_by_old_keys"]
                    .as_u64()
                    .is_some_and(|left| left < most)
            });
            gate.signal("KILL");
            drop(gate);
            assert_eq!(self.keys(), 2, "kill {kill}");
            self.does_not_start(&new, "store.old_keys");
        }
        let mut gate = self.start(&both);
        wait_at_most(Duration::from_secs(60), "all to be sealed", || {
            let lines = gate.log_lines();
            lines.iter().any(|line| line.contains("can be removed"))
        });
        let status = gate.admin("/-/status");
        assert_eq!(status["store"]["sealed_by_old_keys"], json!(0));
        gate.stop(Duration::from_secs(60));
        assert_eq!(self.keys(), 1);
        // the former key is of no use
        self.does_not_start(&old, "store.key");
    }
}

#[test]
fn secrets_are_sealed_again_with_a_new_key_through_kills() {
    let app = App::start();
    let mut resealed = Resealed::new(&app);
    let mut gate = resealed.start(&resealed.yaml(KEY, None));
    set_up(&gate, &app);
    gate.stop(Duration::from_secs(60));
    assert_eq!(resealed.keys(), 1);
    let (mut before, mut key) = (KEY, NEW_KEY);
    resealed.change_key(before, key);
    for _ in 1..kills(KILLS, 10).div_ceil(KILLS) {
        (before, key) = (key, before);
        resealed.change_key(before, key);
    }
    let gate = resealed.start(&resealed.yaml(key, None));
    let status = gate.admin("/-/status");
    assert_eq!(status["store"]["sealed_by_old_keys"], json!(null));
    let event = json!({ "type": "invoice.paid", "id": "key-1", "data": {} });
    let publish = ("POST", "/v1/tenants/acme/events".to_owned(), event);
    calls(&gate, [publish]);
    wait_at_most(Duration::from_secs(60), "all endpoints to get it", || {
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
