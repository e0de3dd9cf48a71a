//! The causes for which an upstream cannot be reached, as operators are shown them.
use std::process::Stdio;
use std::sync::Arc;

use serde_json::Value;

use super::support::config;
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::queue::{attempts, send, start_process};
use super::support::upstream::{Authority, Upstream};

const ONCE: &str = "retry: { initial: 1h, max: 1h, factor: 1, max_attempts: 5 }";
const EXPIRED: &str = "the upstream's certificate expired on 3 November 2024";

/// Runs a command against the gate.
fn run(gate: &Gate, args: &[&str]) -> String {
    let output = hookgate()
        .args(args)
        .arg("--config")
        .arg(gate.config_path())
        .args(["--admin", &gate.address("admin").to_string()])
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn expired_certificate_is_named_wherever_an_operator_looks() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let authority = Authority::new();
    let tls = authority.server_between("127.0.0.1", (2020, 11, 3), (2024, 11, 3));
    let app = runtime.block_on(Upstream::tls(vec![Vec::new()], Arc::clone(&tls)));
    let url = format!("https://{}", app.address);
    let config = config::queue(&url, ONCE);
    let trusted = format!("{url}, ca: {},", authority.file.display());
    let gate = start_process(&config.replace(&format!("{url},"), &trusted));
    assert_eq!(send(&gate, "id-1", b"{}").status, 200);
    wait_for("an attempt", || attempts(gate.dir()).contains_key("id-1"));
    assert_eq!(
        attempts(gate.dir())["id-1"],
        ["unreached_tls_expired 2024-11-03T00:00:00.000Z"]
    );

    let shown = run(&gate, &["deliveries", "show", "id-1"]);
    assert!(shown.contains(EXPIRED), "{shown}");
    let shown = run(&gate, &["deliveries", "show", "id-1", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let attempt = &shown["attempts"][0];
    assert_eq!(attempt["error"], "unreached_tls_expired");
    assert_eq!(attempt["outcome"], "unreached_tls_expired");
    assert_eq!(attempt["message"], EXPIRED);
    let status = run(&gate, &["status", "--json"]);
    assert!(status.contains(EXPIRED), "{status}");
    wait_for("its log line", || {
        gate.lines().iter().any(|line| line.contains(EXPIRED))
    });
    let found = run(&gate, &["doctor"]);
    assert!(found.contains(&format!("app: {EXPIRED}")), "{found}");
}

#[test]
fn refused_request_says_why_the_upstream_is_unreachable() {
    let gate = Gate::start(&config::forward("http://127.0.0.1:1", ""));
    assert_eq!(send(&gate, "id-1", b"{}").status, 502);
    let why = "the upstream refused the connection";
    wait_for("its log line", || {
        gate.lines().iter().any(|line| line.contains(why))
    });
    let refusals = gate.admin("/-/refusals");
    assert_eq!(refusals["refusals"][0]["why"], why, "{refusals}");
}
