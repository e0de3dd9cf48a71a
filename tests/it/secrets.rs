//! Rotation, dates, and tables of secrets by path parameter or header.
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::support::app::App;
use super::support::config;
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::sign::{self, hmac_hex};

/// A route whose secret is found by the account in its path.
fn tenants(app: &App, secrets: &str) -> String {
    let route = format!(
        "  - name: acme
    path: /webhooks/acme/{{account}}
    verify:
      scheme: hmac
      algorithm: sha256
      signature: {{ header: X-Acme-Signature, prefix: \"v1=\", encoding: hex }}
      delivery_id: {{ header: X-Acme-Delivery }}
      secrets: {secrets}
    forward: {{ upstream: app, path: \"/hooks/{{account}}\" }}
    dedupe: {{ window: 24h }}
"
    );
    config::forward(&app.url(), &route)
}

fn send(gate: &Gate, account: &str, secret: &str, id: &str) -> u16 {
    let headers = [
        (
            "X-Acme-Signature".to_owned(),
            format!("v1={}", hmac_hex(secret, b"{}")),
        ),
        ("X-Acme-Delivery".to_owned(), id.to_owned()),
    ];
    gate.post(&format!("/webhooks/acme/{account}"), &headers, b"{}")
        .status
}

#[test]
fn old_and_new_secrets_are_accepted_by_name_until_they_expire() {
    let app = App::start();
    let secrets = "secrets: [{ name: new, insecure_inline: \"the-new-secret-of-2026\" }, { name: old, insecure_inline: \"the-old-secret-of-2025\", expires: 2099-01-01T00:00:00Z }, { name: gone, insecure_inline: \"the-gone-secret-of-2024\", expires: 2025-01-01T00:00:00Z }, { name: next, insecure_inline: \"the-next-secret-of-2099\", not_before: 2099-01-01T00:00:00Z }]";
    let yaml = config::forward(&app.url(), "")
        .replace("secrets: [{ name: main, insecure_inline: \"a secret of more than sixteen bytes\", allow_whitespace: true }]", secrets);
    let gate = Gate::in_process(&yaml);
    let status = |secret: &str| {
        gate.post(
            "/webhooks/github",
            &sign::github(secret, secret, secret.as_bytes()),
            secret.as_bytes(),
        )
        .status
    };
    assert_eq!(
        [
            status("the-new-secret-of-2026"),
            status("the-old-secret-of-2025")
        ],
        [200, 200]
    );
    assert_eq!(app.last().header("Hookgate-Secret"), Some("old"));
    assert_eq!(
        [
            status("the-gone-secret-of-2024"),
            status("the-next-secret-of-2099")
        ],
        [401, 401]
    );
    let metrics = gate.health("/metrics").text();
    assert!(
        metrics.contains("hookgate_secret_matches_total{route=\"github\",secret=\"old\"} 1"),
        "{metrics}"
    );
}

#[test]
fn a_directory_of_secrets_one_a_tenant() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let secrets = dir.path().join("acme");
    fill(&secrets, 3);
    let gate = Gate::in_process_in(
        dir,
        &tenants(
            &app,
            &format!("{{ by: \"{{account}}\", dir: {} }}", secrets.display()),
        ),
    );
    assert_eq!(send(&gate, "tenant-1", "secret-of-tenant-1", "a"), 200);
    assert_eq!(app.last().target, "/hooks/tenant-1");
    assert_eq!(
        send(&gate, "tenant-2", "secret-of-tenant-1", "b"),
        401,
        "another tenant's secret"
    );
    assert_eq!(
        send(&gate, "tenant-2", "secret-of-tenant-2", "a"),
        200,
        "the same ID of another tenant is no duplicate"
    );
    assert_eq!(send(&gate, "nobody", "secret-of-tenant-1", "c"), 401);
    assert_eq!(send(&gate, "..%2ftenant-1", "secret-of-tenant-1", "d"), 404);
    std::fs::write(secrets.join("tenant-9"), "secret-of-tenant-9").unwrap();
    wait_for("a new tenant", || {
        send(&gate, "tenant-9", "secret-of-tenant-9", "e") == 200
    });
    std::fs::remove_file(secrets.join("tenant-1")).unwrap();
    wait_for("a tenant to go", || {
        send(&gate, "tenant-1", "secret-of-tenant-1", "f") == 401
    });
}

#[test]
fn ten_thousand_tenants_and_one_changed_file() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let secrets = dir.path().join("acme");
    fill(&secrets, 10_000);
    let gate = Gate::in_process_in(
        dir,
        &tenants(
            &app,
            &format!("{{ by: \"{{account}}\", dir: {} }}", secrets.display()),
        ),
    );
    assert_eq!(
        send(&gate, "tenant-9999", "secret-of-tenant-9999", "a"),
        200
    );
    std::fs::write(secrets.join("tenant-5000"), "changed-secret-of-5000").unwrap();
    let began = Instant::now();
    gate.reload();
    wait_for("the changed one", || {
        send(&gate, "tenant-5000", "changed-secret-of-5000", "b") == 200
    });
    eprintln!(
        "one of 10,000 secret files changed: accepted after {:?}",
        began.elapsed()
    );
    assert_eq!(
        send(&gate, "tenant-4999", "secret-of-tenant-4999", "c"),
        200
    );
}

/// The letter of a tenant opens no other tenant's mailbox.
#[test]
fn a_path_parameter_without_cover_is_refused_by_check() {
    let app = App::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(
        &path,
        tenants(
            &app,
            "[{ insecure_inline: \"one-secret-for-all-tenants\" }]",
        ),
    )
    .unwrap();
    let checked = hookgate().arg("check").arg(&path).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&checked.stdout).contains("{account}"),
        "{}",
        String::from_utf8_lossy(&checked.stdout)
    );
}

fn fill(dir: &Path, count: usize) {
    std::fs::create_dir_all(dir).unwrap();
    for number in 0..count {
        std::fs::write(
            dir.join(format!("tenant-{number}")),
            format!("secret-of-tenant-{number}\n"),
        )
        .unwrap();
    }
}
