//! Accounts of one route share nothing: not an ID, not a lane, not a rate limit, not a look-up.
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::support::app::{Act, App};
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::http::{self, Answer};
use super::support::sign::hmac_hex;

/// The ways in which a route finds the secret of an account: where the key is, and where the secrets are.
const TABLES: [(&str, &str); 4] = [
    ("/hook", "{ by: \"header:X-Account\", dir: tenants }"),
    ("/hook", "{ by: \"header:X-Account\", file: tenants.yaml }"),
    ("/hook/{account}", "{ by: \"{account}\", dir: tenants }"),
    (
        "/hook/{account}",
        "{ by: \"{account}\", file: tenants.yaml }",
    ),
];
/// A signature that covers the ID, in the body; and one that does not, since it stands in a header.
const COVERED: &str = "timestamp: { header: X-Timestamp }, signed_content: \"{timestamp}.{body}\", delivery_id: { json: /id }";
const UNCOVERED: &str = "timestamp: { header: X-Timestamp }, signed_content: \"{timestamp}.{body}\", delivery_id: { header: X-Id }";

struct Accounts {
    gate: Gate,
    by_header: bool,
    yaml: String,
}

impl Accounts {
    fn start(app: &App, (path, secrets): (&str, &str), id: &str, rest: &str) -> Self {
        let yaml = format!(
            "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
shutdown: {{ delay: 0s, grace: 5s }}
store: {{ path: store }}
upstreams:
  app: {{ url: {}, timeout: 10s, connect_timeout: 10s, breaker: {{ failures: 0 }} }}
routes:
  - name: acme
    path: \"{path}\"
    verify: {{ scheme: hmac, algorithm: sha256, signature: {{ header: X-Signature, encoding: hex }}, {id}, secrets: {secrets} }}
    dedupe: {{ window: 24h }}
    {rest}
",
            app.url()
        );
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let tenants = dir.path().join("tenants");
        std::fs::create_dir(&tenants).unwrap();
        for account in ["a", "b"] {
            std::fs::write(tenants.join(account), secret(account)).unwrap();
        }
        std::fs::write(
            dir.path().join("tenants.yaml"),
            format!("a: {}\nb: {}\n", secret("a"), secret("b")),
        )
        .unwrap();
        Self {
            gate: Gate::in_process_in(dir, &yaml),
            by_header: !path.contains('{'),
            yaml,
        }
    }

    /// Ends the gateway and starts another on the same directory.
    fn restart(self) -> Self {
        let (dir, yaml) = (self.gate.shared_dir(), self.yaml);
        drop(self.gate);
        Self {
            gate: Gate::in_process_in(dir, &yaml),
            yaml,
            by_header: self.by_header,
        }
    }

    fn send(&self, account: &str, id: &str, more: &str) -> Answer {
        let body = format!("{{\"id\":\"{id}\"{more}}}");
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let signature = hmac_hex(&secret(account), format!("{now}.{body}").as_bytes());
        let headers = [
            ("X-Signature", signature),
            ("X-Timestamp", now.to_string()),
            ("X-Id", id.into()),
            ("X-Account", account.into()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value));
        let target = if self.by_header {
            "/hook".to_owned()
        } else {
            format!("/hook/{account}")
        };
        self.gate.post(&target, &headers, body.as_bytes())
    }

    #[track_caller]
    fn is_sent(&self, account: &str, id: &str, status: Option<&str>) {
        let answer = self.send(account, id, "");
        assert_eq!(
            (answer.status, answer.header("Hookgate-Status")),
            (200, status),
            "{account} {id}: {}",
            self.yaml
        );
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let (config, admin) = (
            self.gate.config_path().display().to_string(),
            self.gate.address("admin").to_string(),
        );
        let all = [args, &["--admin", &admin, "--config", &config]].concat();
        let output = hookgate()
            .args(all)
            .env_remove("HOOKGATE_CONFIG")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code(), text)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let token = std::fs::read_to_string(self.gate.dir().join("store/admin-token")).unwrap();
        let bearer = format!("Bearer {}", token.trim());
        let headers = [
            ("Host", "localhost"),
            ("Content-Type", "application/json"),
            ("Authorization", &*bearer),
        ];
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        let answer = http::request(
            self.gate.address("admin"),
            method,
            path,
            &headers,
            body.as_bytes(),
        );
        (
            answer.status,
            serde_json::from_slice(&answer.body).unwrap_or(Value::Null),
        )
    }

    /// The gateway's ID and the account of each delivery in a state, oldest first.
    fn in_state(&self, state: &str) -> Vec<(String, String)> {
        let found = self
            .gate
            .admin(&format!("/-/deliveries?state={state}&order=oldest"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        found["deliveries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (text(&one["id"]), text(&one["account"])))
            .collect()
    }
}

fn secret(account: &str) -> String {
    format!("secret-of-the-account-{account}")
}

/// An app that answers with this status until the test sets another.
fn app(first: u16) -> (App, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(first));
    let current = Arc::clone(&status);
    (
        App::answering(move |_, _| Act::status(current.load(Ordering::SeqCst))),
        status,
    )
}

const FORWARD: &str = "forward: { upstream: app }";

#[test]
fn an_id_of_one_account_is_new_for_another() {
    for table in TABLES {
        for id in [COVERED, UNCOVERED] {
            let app = App::start();
            let accounts = Accounts::start(&app, table, id, FORWARD);
            accounts.is_sent("a", "evt_1", None);
            accounts.is_sent("b", "evt_1", None);
            assert_eq!(app.count(), 2, "{table:?}");
            for account in ["a", "b"] {
                accounts.is_sent(account, "evt_1", Some("duplicate"));
            }
            let accounts = accounts.restart();
            accounts.is_sent("b", "evt_2", None);
            accounts.is_sent("a", "evt_2", None);
            assert_eq!(app.count(), 4, "{table:?}");
        }
    }
}

#[test]
fn equal_bodies_of_two_accounts_are_no_duplicates() {
    for table in TABLES {
        let app = App::start();
        let accounts = Accounts::start(&app, table, "signed_content: \"{body}\"", FORWARD);
        let send = |account: &str| {
            let headers = [
                ("X-Signature".to_owned(), hmac_hex(&secret(account), b"{}")),
                ("X-Account".to_owned(), account.to_owned()),
            ];
            let target = if accounts.by_header {
                "/hook".to_owned()
            } else {
                format!("/hook/{account}")
            };
            accounts
                .gate
                .post(&target, &headers, b"{}")
                .header("Hookgate-Status")
                .map(str::to_owned)
        };
        assert_eq!(
            [send("a"), send("b"), send("a")],
            [None, None, Some("duplicate".to_owned())],
            "{table:?}"
        );
    }
}

#[test]
fn a_failing_lane_of_one_account_does_not_hold_up_another() {
    for table in [TABLES[0], TABLES[2]] {
        let app = App::answering(|_, seen| {
            Act::status(if seen.header("X-Account") == Some("a") {
                500
            } else {
                200
            })
        });
        let queue = "queue: { upstream: app, fifo: json:/order, retry: { initial: 50ms, factor: 1, max: 50ms, max_attempts: 1000 } }";
        let accounts = Accounts::start(&app, table, COVERED, queue);
        assert_eq!(accounts.send("a", "evt_1", ",\"order\":42").status, 200);
        wait_for("the first attempt of a", || app.count() > 0);
        assert_eq!(accounts.send("a", "evt_2", ",\"order\":42").status, 200);
        assert_eq!(accounts.send("b", "evt_1", ",\"order\":42").status, 200);
        let of = |account: &str| {
            app.seen()
                .into_iter()
                .filter(|seen| seen.header("X-Account") == Some(account))
                .collect::<Vec<_>>()
        };
        wait_for("the order of b to arrive", || of("b").len() == 1);
        assert!(
            of("a")
                .iter()
                .all(|seen| seen.body.starts_with(b"{\"id\":\"evt_1\"")),
            "the order of a is kept"
        );
    }
}

#[test]
fn a_rate_by_value_is_counted_for_each_account() {
    for table in TABLES {
        let app = App::start();
        let limit =
            format!("rate_limit: {{ rate: 1/h, burst: 1, key: \"json:/shop\" }}\n    {FORWARD}");
        let accounts = Accounts::start(&app, table, COVERED, &limit);
        let send = |account: &str, id: &str| accounts.send(account, id, ",\"shop\":7").status;
        assert_eq!(
            [
                send("a", "1"),
                send("a", "2"),
                send("b", "1"),
                send("b", "2")
            ],
            [200, 429, 200, 429],
            "{table:?}"
        );
    }
}

#[test]
fn a_stored_delivery_keeps_its_account_and_is_replayed_alone() {
    for table in [TABLES[1], TABLES[3]] {
        let (app, status) = app(410);
        let accounts = Accounts::start(&app, table, COVERED, "queue: { upstream: app }");
        for account in ["a", "b"] {
            assert_eq!(
                accounts
                    .send(account, "evt_1", "")
                    .header("Hookgate-Status"),
                Some("queued"),
                "{account}"
            );
        }
        wait_for("both to be dead", || accounts.in_state("dead").len() == 2);
        let accounts = accounts.restart();
        let dead = accounts.in_state("dead");
        assert_eq!(
            dead.iter()
                .map(|(_, account)| &**account)
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
        let (exit, list) = accounts.run(&["deliveries", "list"]);
        assert!(exit == Some(0) && list.contains("ACCOUNT"), "{list}");
        for path in ["", "/body", "/http"] {
            assert_eq!(
                accounts
                    .ask("GET", &format!("/-/deliveries/evt_1{path}"), &Value::Null)
                    .0,
                409,
                "{path}"
            );
        }
        assert_eq!(
            accounts
                .ask("POST", "/-/deliveries/evt_1/replay", &json!({}))
                .0,
            409
        );
        status.store(200, Ordering::SeqCst);
        let (of_b, _) = &dead[1];
        assert!(
            accounts
                .run(&["deliveries", "show", of_b])
                .1
                .contains("account   b")
        );
        let seen = app.count();
        assert_eq!(
            accounts
                .ask("POST", &format!("/-/deliveries/{of_b}/replay"), &json!({}))
                .0,
            200
        );
        wait_for("the replay", || app.count() == seen + 1);
        assert_eq!(app.last().header("X-Account"), Some("b"));
        // the duplicate of a's, which is dead, sets a's going again, and not b's
        assert_eq!(
            accounts.send("a", "evt_1", "").header("Hookgate-Status"),
            Some("revived")
        );
        wait_for("the delivery of a", || {
            app.last().header("X-Account") == Some("a")
        });
        wait_for("both to be delivered", || {
            accounts.in_state("delivered").len() == 2
        });
        assert_eq!(app.count(), seen + 2);
        accounts.is_sent("b", "evt_1", Some("duplicate"));
    }
}

#[test]
fn forgetting_an_id_of_one_account_leaves_the_others() {
    for (table, queued) in [
        (TABLES[0], false),
        (TABLES[2], false),
        (TABLES[0], true),
        (TABLES[2], true),
    ] {
        let app = App::start();
        let (action, fresh) = if queued {
            ("queue: { upstream: app }", Some("queued"))
        } else {
            (FORWARD, None)
        };
        let accounts = Accounts::start(&app, table, COVERED, action);
        for account in ["a", "b"] {
            accounts.is_sent(account, "evt_1", fresh);
        }
        let (exit, text) = accounts.run(&["forget", "--route", "acme", "evt_1"]);
        assert!(exit != Some(0) && text.contains("account"), "{text}");
        accounts.is_sent("a", "evt_1", Some("duplicate"));
        assert_eq!(
            accounts
                .run(&["forget", "--route", "acme", "evt_1", "--account", "nobody"])
                .0,
            Some(1)
        );
        let (exit, text) = accounts.run(&["forget", "--route", "acme", "evt_1", "--account", "a"]);
        assert_eq!(exit, Some(0), "{text}");
        accounts.is_sent("b", "evt_1", Some("duplicate"));
        accounts.is_sent("a", "evt_1", fresh);
    }
}

#[test]
fn an_observing_route_keeps_accounts_apart() {
    let app = App::start();
    let until = "mode: observe\n    until: 2099-01-01T00:00:00Z";
    let limit = format!(
        "rate_limit: {{ rate: 1/h, burst: 1, key: \"json:/shop\" }}\n    {FORWARD}\n    {until}"
    );
    let accounts = Accounts::start(&app, TABLES[0], COVERED, &limit);
    let send = |account: &str, id: &str| accounts.send(account, id, ",\"shop\":7").status;
    assert_eq!(
        [send("a", "1"), send("a", "2"), send("b", "1")],
        [200, 429, 200]
    );
}
