//! A rotation on a running gateway: which secret matches, over reloads and a restart.
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::support::app::App;
use super::support::config;
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::sign;

const OLD: &str =
    "{ name: old, insecure_inline: \"the-old-secret-of-2025\", expires: 2099-01-01T00:00:00Z }";
const NEW: &str = "{ name: new, insecure_inline: \"the-new-secret-of-2026\" }";
const REPLACED: &str = "{ name: new, insecure_inline: \"another-secret-of-2027\" }";

fn yaml(app: &App, secrets: &str) -> String {
    let route = config::forward(&app.url(), "").replace(
        "secrets: [{ name: main, insecure_inline: \"a secret of more than sixteen bytes\", allow_whitespace: true }]",
        &format!("secrets: [{secrets}]"),
    );
    format!("store: {{ path: store }}\n{route}")
}

fn send(gate: &Gate, secret: &str, id: &str) -> u16 {
    let headers = sign::github(secret, id, b"{}");
    gate.post("/webhooks/github", &headers, b"{}").status
}

/// Returns name, matches and state of each secret.
fn secrets(gate: &Gate) -> Vec<(String, u64, String)> {
    let all = gate.admin("/-/secrets");
    assert_eq!(all["stored"], Value::Bool(true), "{all}");
    let listed = all["routes"][0]["secrets"].as_array().unwrap().iter();
    let text = |secret: &Value, field: &str| secret[field].as_str().unwrap().to_owned();
    listed
        .map(|secret| {
            assert_eq!(secret["source"], "inline");
            let matches = secret["matches"].as_u64().unwrap();
            (text(secret, "name"), matches, text(secret, "state"))
        })
        .collect()
}

fn reload(gate: &Gate, yaml: &str, due: &[(&str, u64, &str)]) {
    std::fs::write(gate.config_path(), yaml).unwrap();
    expect(gate, due);
}

fn expect(gate: &Gate, due: &[(&str, u64, &str)]) {
    let due: Vec<_> = due
        .iter()
        .map(|(name, matches, state)| ((*name).to_owned(), *matches, (*state).to_owned()))
        .collect();
    wait_for(&format!("{due:?}"), || secrets(gate) == due);
}

#[test]
fn rotation_shows_which_secret_matches_over_reloads_and_a_restart() {
    let (app, dir) = (App::start(), Arc::new(tempfile::tempdir().unwrap()));
    let [old, new] = ["the-old-secret-of-2025", "the-new-secret-of-2026"];
    let mut gate = Gate::in_process_in(Arc::clone(&dir), &yaml(&app, OLD));
    expect(&gate, &[("old", 0, "never_matched")]);
    assert_eq!(send(&gate, old, "a"), 200);
    expect(&gate, &[("old", 1, "in_use")]);
    let both = yaml(&app, &format!("{NEW}, {OLD}"));
    reload(
        &gate,
        &both,
        &[("new", 0, "never_matched"), ("old", 1, "in_use")],
    );
    let sender_is_told = gate.admin("/-/secrets")["routes"][0]["secrets"][0]["verdict"].clone();
    assert!(
        sender_is_told
            .as_str()
            .unwrap()
            .contains("the sender uses old"),
        "{sender_is_told}"
    );
    assert_eq!([send(&gate, new, "b"), send(&gate, new, "c")], [200, 200]);
    expect(&gate, &[("new", 2, "in_use"), ("old", 1, "in_use")]);
    let metrics = gate.health("/metrics").text();
    for line in [
        "hookgate_secret_matches_total{route=\"github\",secret=\"new\"} 2",
        "hookgate_secret_last_match_timestamp_seconds{route=\"github\",secret=\"old\"} 1",
        "hookgate_secret_expires_timestamp_seconds{route=\"github\",secret=\"old\"} 4070908800",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    gate.stop(Duration::from_secs(60));
    drop(gate);
    let gate = Gate::in_process_in(Arc::clone(&dir), &both);
    expect(&gate, &[("new", 2, "in_use"), ("old", 1, "in_use")]);
    assert_eq!(send(&gate, new, "d"), 200);
    reload(&gate, &yaml(&app, NEW), &[("new", 3, "in_use")]);
    reload(&gate, &yaml(&app, REPLACED), &[("new", 0, "never_matched")]);
    reload(&gate, &yaml(&app, NEW), &[("new", 3, "in_use")]);
}

#[test]
fn secrets_status_says_what_needs_attention() {
    let app = App::start();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(73);
    let ending = OLD.replace("2099-01-01T00:00:00Z", &soon.to_string());
    let gate = Gate::in_process(&yaml(&app, &ending).replace("store: { path: store }\n", ""));
    let status = |arguments: &[&str]| {
        let mut command = hookgate();
        command
            .args(arguments)
            .args(["--admin", &gate.address("admin").to_string()]);
        let ran = command.output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stdout).unwrap())
    };
    let (code, page) = status(&["secrets", "status"]);
    assert!(
        code == Some(0) && page.contains("never matched in"),
        "{code:?} {page}"
    );
    assert!(page.contains("since the gateway started"), "{page}");
    assert_eq!(send(&gate, "the-old-secret-of-2025", "a"), 200);
    wait_for("the match", || {
        status(&["secrets", "status", "--json"])
            .1
            .contains("\"matches\":1")
    });
    let (code, page) = status(&["secrets", "status", "--route", "github"]);
    assert!(
        code == Some(1) && page.contains("! only this secret matches, and it expires in 3 d"),
        "{code:?} {page}"
    );
    assert!(page.contains("inline"), "{page}");
    let (code, page) = status(&["status"]);
    assert!(
        code == Some(1) && page.contains("secret old: only this secret matches"),
        "{code:?} {page}"
    );
    assert!(!page.contains("the-old-secret"), "{page}");
}
