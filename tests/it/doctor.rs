//! `hookgate doctor` on the machine that the tests run on: what it finds is there, and what it says to do takes it away.
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use super::support::app::{Act, App};
use super::support::config;
use super::support::gate::{Gate, hookgate};
use super::support::sign;

fn doctor(config: &Path, more: &[&str]) -> Output {
    hookgate()
        .arg("doctor")
        .args(more)
        .arg("--config")
        .arg(config)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("HOOKGATE_CONFIG")
        .output()
        .unwrap()
}

/// The findings as JSON.
fn findings(config: &Path, more: &[&str]) -> Vec<serde_json::Value> {
    let output = doctor(config, &[&["--json"], more].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let all: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let needs = all
        .iter()
        .any(|finding| finding["level"] == "bad" || finding["level"] == "warning");
    assert_eq!(
        output.status.code(),
        Some(i32::from(needs)),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    all
}

#[track_caller]
fn find<'a>(all: &'a [serde_json::Value], check: &str, words: &str) -> &'a serde_json::Value {
    let found = all.iter().find(|finding| {
        finding["check"] == check && finding["message"].as_str().unwrap().contains(words)
    });
    found.unwrap_or_else(|| panic!("no {check} says {words}: {all:#?}"))
}

/// Addresses of this machine beside loopback.
fn others() -> usize {
    let all = nix::ifaddrs::getifaddrs()
        .unwrap()
        .filter_map(|interface| interface.address);
    let v4 = all.filter_map(|address| {
        address
            .as_sockaddr_in()
            .map(nix::sys::socket::SockaddrIn::ip)
    });
    v4.filter(|ip| !ip.is_loopback()).count()
}

/// An app bound to every address is reached past the gate; one on loopback is not.
#[test]
fn bypass_of_the_gate_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let near = App::start();
    std::fs::write(&path, config::forward(&near.url(), "")).unwrap();
    let all = findings(&path, &[]);
    assert_eq!(find(&all, "bypass", "app is on loopback")["level"], "good");
    let wide = App::on("0.0.0.0:0".parse().unwrap(), |_, _| Act::status(200));
    std::fs::write(
        &path,
        config::forward(&format!("http://127.0.0.1:{}", wide.address.port()), ""),
    )
    .unwrap();
    let all = findings(&path, &[]);
    if others() == 0 {
        find(&all, "bypass", "no other address");
    } else {
        let found = find(&all, "bypass", "past the gate");
        assert_eq!(
            (&found["level"], &found["help"]),
            (&"bad".into(), &"bind it to 127.0.0.1".into())
        );
    }
    assert_eq!(wide.count(), 0, "nothing is sent");
    std::fs::write(&path, config::forward("http://192.0.2.200:3000", "")).unwrap();
    find(&findings(&path, &[]), "bypass", "on another machine");
}

/// A route with the same secret file as the first one.
const OTHER_ROUTE: &str = "  - name: gitlab
    path: /webhooks/gitlab
    verify: { provider: gitlab, secrets: [{ file: secret }] }
    forward: { upstream: app }
";

#[test]
fn files_are_judged_by_who_may_read_them() {
    let app = App::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a-secret-of-many-bytes").unwrap();
    let inline = "insecure_inline: \"a secret of more than sixteen bytes\", allow_whitespace: true";
    std::fs::write(
        &path,
        config::forward(&app.url(), OTHER_ROUTE).replace(inline, "file: secret"),
    )
    .unwrap();
    let mode =
        |mode| std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    let all = findings(&path, &[]);
    let found = find(&all, "files", "secret is readable by all (0644)");
    let command = found["help"].as_str().unwrap();
    assert_eq!(command, format!("chmod 600 {}", secret.display()));
    let count = all.iter().filter(|one| one["help"] == command).count();
    assert_eq!(count, 1, "a file of two routes is one finding");
    assert!(
        std::process::Command::new("sh")
            .args(["-c", command])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        find(
            &findings(&path, &[]),
            "files",
            "readable only by the gateway"
        )["level"],
        "good"
    );
    // a link is judged by where it leads
    mode(0o646);
    std::fs::rename(&secret, dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", &secret).unwrap();
    assert_eq!(
        find(&findings(&path, &[]), "files", "writable by all")["level"],
        "bad"
    );
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(800 * 86_400);
    std::fs::File::options()
        .write(true)
        .open(&secret)
        .unwrap()
        .set_modified(old)
        .unwrap();
    find(&findings(&path, &[]), "files", "is 800 d old");
}

#[test]
fn certificates_keys_and_disks_are_judged() {
    let app = App::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = |params: &rcgen::CertificateParams| {
        std::fs::write(
            dir.path().join("tls.crt"),
            params.self_signed(&key).unwrap().pem(),
        )
        .unwrap();
    };
    certificate(&params);
    std::fs::write(dir.path().join("tls.key"), key.serialize_pem()).unwrap();
    std::fs::set_permissions(
        dir.path().join("tls.key"),
        std::fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let tls = "listen: [{ address: 127.0.0.1:0, tls: { certificate: tls.crt, key: tls.key } }]\nstore: { path: state }";
    std::fs::write(
        &path,
        config::forward(&app.url(), "").replace("listen: [{ address: 127.0.0.1:0 }]", tls),
    )
    .unwrap();
    let all = findings(&path, &[]);
    assert_eq!(find(&all, "certificates", "all are valid")["level"], "good");
    find(&all, "files", "tls.key is readable by all");
    assert!(
        all.iter().any(|finding| finding["check"] == "store"),
        "{all:#?}"
    );
    find(&all, "free space", "are left under");
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    certificate(&params);
    assert_eq!(
        find(&findings(&path, &[]), "certificates", "tls.crt expired")["level"],
        "bad"
    );
}

#[test]
fn a_running_gate_tells_its_clock_and_its_limits() {
    let app = App::start();
    let route = "  - name: stripe\n    path: /stripe\n    verify: { provider: stripe, secrets: [{ insecure_inline: a-secret-of-many-bytes }] }\n    forward: { upstream: app }\n";
    let gate = Gate::start(
        &config::forward(&app.url(), route)
            .replace("shutdown:", "limits: { connections: 100 }\nshutdown:"),
    );
    let admin = gate.address("admin").to_string();
    let path = gate.config_path();
    find(
        &findings(&path, &["--admin", &admin]),
        "clock",
        "no request with a signed time",
    );
    let dir = tempfile::tempdir().unwrap();
    let (secret, body) = (dir.path().join("secret"), dir.path().join("body"));
    std::fs::write(&secret, "a-secret-of-many-bytes").unwrap();
    std::fs::write(&body, "{\"id\": \"evt_1\"}").unwrap();
    let url = format!("http://{}/stripe", gate.address("senders"));
    let sent = hookgate()
        .args([
            "sign",
            "--provider",
            "stripe",
            "--url",
            &url,
            "--send",
            "--secret-file",
        ])
        .arg(&secret)
        .arg("--body")
        .arg(&body)
        .output()
        .unwrap();
    assert!(
        sent.status.success(),
        "{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    let all = findings(&path, &["--admin", &admin]);
    assert_eq!(
        find(&all, "clock", "by 1 signed timestamp")["level"],
        "good"
    );
    find(&all, "open files", "the gateway may open");
    assert_eq!(
        find(&all, "secrets", "in the config itself")["level"],
        "warning"
    );
    assert_eq!(
        gate.post("/webhooks/github", &sign::github("x", "y", b"{}"), b"{}")
            .status,
        401
    );
    drop(gate);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(
        &path,
        config::forward(&app.url(), "").replace("connections: 100", "connections: 100000000"),
    )
    .unwrap();
    assert_eq!(
        find(
            &findings(&path, &["--admin", &admin]),
            "clock",
            "not checked: the gateway does not answer"
        )["level"],
        "skipped"
    );
}

#[test]
fn text_is_ordered_and_a_wrong_config_is_reported() {
    let app = App::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, config::forward(&app.url(), "")).unwrap();
    let short = String::from_utf8_lossy(&doctor(&path, &[]).stdout).into_owned();
    assert!(
        short
            .lines()
            .any(|line| line.contains(" more ") && line.ends_with("-v lists them")),
        "{short}"
    );
    let long = String::from_utf8_lossy(&doctor(&path, &["-v"]).stdout).into_owned();
    assert!(
        long.contains("✓ bypass") && !long.contains("-v lists them"),
        "{long}"
    );
    let signs: Vec<char> = long
        .lines()
        .filter_map(|line| line.trim_start().chars().next())
        .collect();
    let mut sorted = signs.clone();
    sorted.sort_by_key(|sign| ['✕', '!', '–', '✓'].iter().position(|known| known == sign));
    assert_eq!(signs, sorted, "{long}");
    std::fs::write(&path, "listen: nowhere\n").unwrap();
    let broken = doctor(&path, &[]);
    assert_eq!(broken.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&broken.stdout).contains("hookgate check"),
        "{}",
        String::from_utf8_lossy(&broken.stdout)
    );
    let none = hookgate()
        .arg("doctor")
        .env_remove("HOOKGATE_CONFIG")
        .output()
        .unwrap();
    assert_eq!(none.status.code(), Some(2));
}
