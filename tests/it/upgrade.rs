//! A store and a config that an earlier version left are taken over. `HOOKGATE_WRITE_EXPECTED=1` writes those of this version, if it has none
//! yet: what a released version left is never written again.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::support::app::{Act, App};
use super::support::gate::{Gate, wait_for};
use super::support::sign;

const SECRET: &str = "the-secret-of-the-fixture";
/// The files of a store that mean something without the process that wrote them.
const FILES: [&str; 3] = ["hookgate.db", "has-deliveries", "ledger-saved"];

fn fixture(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(version)
}

/// Three routes: deliveries of `delivered` reach the app, those of `dead` are given up at once, those of `waiting` wait for an app.
fn config(app: &str, dir: &Path) -> String {
    let store = dir.join("store");
    let mut yaml = format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
shutdown: {{ delay: 0s, grace: 5s }}
store: {{ path: {} }}
upstreams: {{ app: {{ url: {app}, timeout: 2s, breaker: {{ failures: 0, open: 1s }} }} }}
routes:
",
        store.display()
    );
    for name in ["delivered", "dead", "waiting"] {
        let attempts = if name == "dead" { 1 } else { 100 };
        yaml.push_str(&format!(
            "  - name: {name}
    path: /{name}
    verify: {{ provider: github, secrets: [{{ name: main, insecure_inline: {SECRET} }}] }}
    dedupe: {{ window: 24h }}
    queue: {{ upstream: app, retry: {{ initial: 1s, factor: 1, max: 1s, max_attempts: {attempts} }} }}
"
        ));
    }
    yaml
}

fn send(gate: &Gate, route: &str) -> u16 {
    let body = format!("{{\"route\":\"{route}\"}}");
    let headers = sign::github(SECRET, &format!("id-{route}"), body.as_bytes());
    gate.post(&format!("/{route}"), &headers, body.as_bytes())
        .status
}

/// Returns the route of each delivery and its state at its target, as the API shows them.
fn states(gate: &Gate) -> Vec<(String, String)> {
    let page = gate.admin("/-/deliveries");
    let mut all: Vec<(String, String)> = page["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|delivery| {
            let id = delivery["delivery_id"].as_str().unwrap();
            let state = delivery["targets"][0]["state"].as_str().unwrap();
            (id.trim_start_matches("id-").to_owned(), state.to_owned())
        })
        .collect();
    all.sort();
    all
}

fn expected() -> Vec<(String, String)> {
    [
        ("dead", "dead"),
        ("delivered", "delivered"),
        ("waiting", "retrying"),
    ]
    .map(|(route, state)| (route.to_owned(), state.to_owned()))
    .to_vec()
}

/// Answers 200 to the route `delivered`, and 503 to the others.
fn app() -> App {
    App::answering(|_, request| {
        Act::status(if request.target == "/delivered" {
            200
        } else {
            503
        })
    })
}

#[test]
fn fixture_of_this_version_is_written_on_request() {
    let target = fixture(env!("CARGO_PKG_VERSION"));
    if target.exists() || std::env::var_os("HOOKGATE_WRITE_EXPECTED").is_none() {
        assert!(fixture("0.1.0").join("store/hookgate.db").exists());
        return;
    }
    let app = app();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut gate = Gate::start_in(Arc::clone(&dir), &config(&app.url(), dir.path()));
    for route in ["delivered", "dead", "waiting"] {
        assert_eq!(send(&gate, route), 200);
    }
    wait_for("the attempts", || states(&gate) == expected());
    gate.signal("TERM");
    assert!(gate.wait(std::time::Duration::from_secs(20)).success());
    fs::create_dir_all(target.join("store")).unwrap();
    for file in FILES {
        fs::copy(
            dir.path().join("store").join(file),
            target.join("store").join(file),
        )
        .unwrap();
    }
    let readme = fs::read_to_string("README.md").unwrap();
    let yaml = readme.split("```yaml\n").nth(1).unwrap();
    fs::write(
        target.join("config.yaml"),
        yaml.split("```").next().unwrap(),
    )
    .unwrap();
}

#[test]
fn store_of_0_1_0_is_taken_over() {
    let app = app();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let store = dir.path().join("store");
    fs::create_dir(&store).unwrap();
    for file in FILES {
        fs::copy(fixture("0.1.0").join("store").join(file), store.join(file)).unwrap();
    }
    let gate = Gate::start_in(Arc::clone(&dir), &config(&app.url(), dir.path()));
    assert_eq!(states(&gate), expected());
    drop(gate);
    let up = App::start();
    let gate = Gate::start_in(Arc::clone(&dir), &config(&up.url(), dir.path()));
    wait_for("the waiting delivery", || up.count() == 1);
    assert_eq!(up.last().target, "/waiting");
    assert_eq!(up.last().body, b"{\"route\":\"waiting\"}");
    wait_for("its outcome", || {
        states(&gate).contains(&("waiting".to_owned(), "delivered".to_owned()))
    });
}

#[test]
fn config_of_0_1_0_compiles_without_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = fs::read_to_string(fixture("0.1.0").join("config.yaml")).unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let path = dir.path().join("config.yaml");
    fs::write(
        &path,
        yaml.replace("/run/secrets/github", secret.to_str().unwrap()),
    )
    .unwrap();
    let checked = super::support::gate::hookgate()
        .arg("check")
        .arg(&path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&checked.stderr).into_owned()
        + &String::from_utf8_lossy(&checked.stdout);
    assert!(
        checked.status.success() && !text.contains("warning"),
        "{text}"
    );
}
