//! The config changes while it runs: all of it or nothing, and nobody notices but by what it says.
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::support::app::App;
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, wait_for};
use super::support::http::{self, Connection};
use super::support::sign;

fn generation(gate: &Gate) -> u64 {
    gate.admin("/-/status")["generation"].as_u64().unwrap()
}

#[test]
fn an_edit_takes_effect_and_a_mistake_changes_nothing() {
    let app = App::start();
    let yaml = config::forward(&app.url(), "");
    let gate = Gate::start(&yaml);
    assert_eq!(
        gate.post("/elsewhere", &sign::github(SECRET, "a", b"{}"), b"{}")
            .status,
        404
    );
    std::fs::write(
        gate.config_path(),
        yaml.replace("/webhooks/github", "/elsewhere"),
    )
    .unwrap();
    wait_for("the new path", || {
        gate.post("/elsewhere", &sign::github(SECRET, "a", b"{}"), b"{}")
            .status
            == 200
    });
    assert_eq!(generation(&gate), 2);
    std::fs::write(
        gate.config_path(),
        yaml.replace("upstream: app", "upstream: ap"),
    )
    .unwrap();
    wait_for("the error to show", || {
        !gate.admin("/-/status")["last_error"].is_null()
    });
    let status = gate.admin("/-/status");
    assert!(
        status["last_error"]
            .to_string()
            .contains("did you mean `app`"),
        "{status}"
    );
    assert_eq!(generation(&gate), 2);
    assert_eq!(
        gate.post("/elsewhere", &sign::github(SECRET, "b", b"{}"), b"{}")
            .status,
        200
    );
    std::fs::write(gate.config_path(), &yaml).unwrap();
    wait_for("the error to go", || {
        gate.admin("/-/status")["last_error"].is_null()
    });
    assert_eq!(
        gate.post("/webhooks/github", &sign::github(SECRET, "c", b"{}"), b"{}")
            .status,
        200
    );
    let metrics = gate.health("/metrics").text();
    assert!(
        metrics.contains("hookgate_config_generation 3"),
        "{metrics}"
    );
}

#[test]
fn a_secret_file_changes() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let secret = dir.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let gate = Gate::start_in(dir, &with_secret_file(&app, &secret));
    assert_eq!(
        gate.post("/webhooks/github", &sign::github(SECRET, "a", b"{}"), b"{}")
            .status,
        200
    );
    std::fs::write(&secret, "another secret of many bytes").unwrap();
    wait_for("the new secret", || {
        gate.post(
            "/webhooks/github",
            &sign::github("another secret of many bytes", "b", b"{}"),
            b"{}",
        )
        .status
            == 200
    });
    assert_eq!(
        gate.post("/webhooks/github", &sign::github(SECRET, "c", b"{}"), b"{}")
            .status,
        401
    );
    // an empty file may be one that is being written: the last good secret stays
    std::fs::write(&secret, "").unwrap();
    wait_for("the empty file to be reported", || {
        let stale = &gate.admin("/-/status")["config"]["stale_secrets"];
        stale.as_array().is_some_and(|stale| !stale.is_empty())
    });
    assert_eq!(
        gate.post(
            "/webhooks/github",
            &sign::github("another secret of many bytes", "d", b"{}"),
            b"{}"
        )
        .status,
        200
    );
}

/// How Kubernetes changes a mounted Secret: the files are links into `..data`, itself a link that is swapped.
#[test]
fn a_symlink_swap_is_noticed() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mount = dir.path().join("mount");
    for (version, secret) in [("..1", SECRET), ("..2", "another secret of many bytes")] {
        std::fs::create_dir_all(mount.join(version)).unwrap();
        std::fs::write(mount.join(version).join("github"), secret).unwrap();
    }
    symlink("..1", mount.join("..data")).unwrap();
    symlink("..data/github", mount.join("github")).unwrap();
    let gate = Gate::start_in(dir, &with_secret_file(&app, &mount.join("github")));
    assert_eq!(
        gate.post("/webhooks/github", &sign::github(SECRET, "a", b"{}"), b"{}")
            .status,
        200
    );
    symlink("..2", mount.join("..tmp")).unwrap();
    std::fs::rename(mount.join("..tmp"), mount.join("..data")).unwrap();
    wait_for("the new secret", || {
        gate.post(
            "/webhooks/github",
            &sign::github("another secret of many bytes", "b", b"{}"),
            b"{}",
        )
        .status
            == 200
    });
}

#[test]
fn sighup_and_the_admin_api_reload() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let token = "an-admin-token-of-many-bytes";
    let yaml = config::forward(&app.url(), "").replace(
        "admin: { address: 127.0.0.1:0 }",
        &format!("admin: {{ address: 127.0.0.1:0, token: {{ insecure_inline: \"{token}\" }} }}"),
    );
    let gate = Gate::start_in(dir, &yaml);
    let before = generation(&gate);
    gate.signal("HUP");
    wait_for("a new generation", || generation(&gate) > before);
    let admin = gate.address("admin");
    let reload =
        |headers: &[(&str, &str)]| http::request(admin, "POST", "/-/reload", headers, b"{}");
    let bearer = format!("Bearer {token}");
    assert_eq!(
        reload(&[("Host", "localhost"), ("Content-Type", "application/json")]).status,
        401
    );
    assert_eq!(
        reload(&[("Host", "localhost"), ("Authorization", &bearer)]).status,
        415
    );
    assert_eq!(
        reload(&[
            ("Host", "evil.example"),
            ("Content-Type", "application/json"),
            ("Authorization", &bearer)
        ])
        .status,
        403
    );
    let before = generation(&gate);
    assert_eq!(
        reload(&[
            ("Host", "localhost"),
            ("Content-Type", "application/json"),
            ("Authorization", &bearer)
        ])
        .status,
        200
    );
    assert!(generation(&gate) > before);
}

/// The watcher also notices the files that a reload has read already. They are not read again.
#[test]
fn change_that_was_reloaded_is_not_reloaded_again() {
    let app = App::start();
    let yaml = config::forward(&app.url(), "");
    let gate = Gate::start(&yaml);
    let serves_at = |path: &str| {
        let changed = yaml.replace("/webhooks/github", path);
        std::fs::write(gate.config_path(), changed).unwrap();
        if path == "/first" {
            gate.reload();
        }
        wait_for(path, || {
            gate.post(path, &sign::github(SECRET, path, b"{}"), b"{}")
                .status
                == 200
        });
    };
    serves_at("/first");
    assert_eq!(generation(&gate), 2);
    // the watcher looks within this time
    std::thread::sleep(std::time::Duration::from_millis(400));
    serves_at("/second");
    assert_eq!(generation(&gate), 3);
}

#[test]
fn listener_changes_need_a_restart_and_the_rest_applies() {
    let app = App::start();
    let yaml = config::forward(&app.url(), "");
    let gate = Gate::start(&yaml);
    let changed = yaml
        .replace(
            "listen: [{ address: 127.0.0.1:0 }]",
            "listen: [{ address: 127.0.0.1:1 }]",
        )
        .replace("/webhooks/github", "/elsewhere");
    std::fs::write(gate.config_path(), changed).unwrap();
    wait_for("the new path", || {
        gate.post("/elsewhere", &sign::github(SECRET, "a", b"{}"), b"{}")
            .status
            == 200
    });
    assert!(
        gate.admin("/-/status")["config"]["needs_restart"]
            .to_string()
            .contains("listen")
    );
}

/// 50 reloads under load: not one failed request; buckets, claims and breakers stay as they are.
#[test]
fn fifty_reloads_under_load() {
    let app = App::start();
    let dead = App::start().address;
    let more = format!(
        "  - name: limited
    path: /limited
    verify: {{ provider: github, secrets: [{{ insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}
    rate_limit: {{ rate: 1/h, burst: 5 }}
    forward: {{ upstream: app }}
  - name: dead
    path: /dead
    verify: {{ provider: github, secrets: [{{ insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}
    forward: {{ upstream: dead }}
"
    );
    let yaml = config::forward(&app.url(), &more).replace(
        "upstreams:\n",
        &format!(
            "upstreams:\n  dead: {{ url: http://{dead}, breaker: {{ failures: 2, open: 10m }} }}\n"
        ),
    );
    let gate = Gate::start(&yaml);
    let post = |path: &str, id: &str| {
        gate.post(
            path,
            &sign::github(SECRET, id, id.as_bytes()),
            id.as_bytes(),
        )
        .status
    };
    assert_eq!(post("/webhooks/github", "remembered"), 200);
    assert_eq!(
        [
            post("/limited", "1"),
            post("/limited", "2"),
            post("/limited", "3")
        ],
        [200; 3]
    );
    assert_eq!(
        [post("/dead", "1"), post("/dead", "2"), post("/dead", "3")],
        [502, 502, 503]
    );

    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let address = gate.address("senders");
    let begun = generation(&gate);
    let load = |sender: usize| {
        let mut failed = Vec::new();
        let mut kept = Connection::open(address);
        let mut number = 0;
        while !stop.load(Ordering::SeqCst) {
            number += 1;
            let id = format!("{sender}-{number}");
            let headers = sign::github(SECRET, &id, id.as_bytes());
            let answer = kept.request(
                "POST",
                "/webhooks/github",
                &sign::borrowed(&headers),
                id.as_bytes(),
            );
            sent.fetch_add(1, Ordering::SeqCst);
            if answer.status != 200 {
                failed.push(format!("{id}: {} {}", answer.status, answer.text()));
            }
        }
        failed
    };
    let failed: Vec<String> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..4)
            .map(|sender| (sender, &load))
            .map(|(sender, load)| scope.spawn(move || load(sender)))
            .collect();
        for round in 0..50 {
            let before = generation(&gate);
            std::fs::write(gate.config_path(), format!("{yaml}# {round}\n")).unwrap();
            gate.signal("HUP");
            wait_for("a new generation", || generation(&gate) > before);
        }
        stop.store(true, Ordering::SeqCst);
        senders
            .into_iter()
            .flat_map(|sender| sender.join().unwrap())
            .collect()
    });
    assert!(
        failed.is_empty(),
        "{} of {} failed: {failed:?}",
        failed.len(),
        sent.load(Ordering::SeqCst)
    );
    assert!(generation(&gate) >= begun + 50);
    assert!(
        sent.load(Ordering::SeqCst) > 500,
        "only {} requests",
        sent.load(Ordering::SeqCst)
    );
    let again = gate.post(
        "/webhooks/github",
        &sign::github(SECRET, "remembered", b"remembered"),
        b"remembered",
    );
    assert_eq!(again.header("Hookgate-Status"), Some("duplicate"));
    assert_eq!(
        [
            post("/limited", "4"),
            post("/limited", "5"),
            post("/limited", "6")
        ],
        [200, 200, 429]
    );
    assert_eq!(post("/dead", "4"), 503);
    eprintln!(
        "50 reloads under load: {} requests, none failed",
        sent.load(Ordering::SeqCst)
    );
}

/// A file that was cut off while it was written is a config, too.
#[test]
fn a_reload_that_would_lose_all_webhooks_is_refused() {
    let app = App::start();
    let more = "  - name: other
    path: /other
    verify: none
    forward: { upstream: app }
";
    let yaml = config::forward(&app.url(), more);
    let gate = Gate::start(&yaml);
    let error = || gate.admin("/-/status")["last_error"].to_string();
    let head = yaml.split("routes:").next().unwrap();
    let passing = format!(
        "{head}routes:\n  - {{ name: rest, path: '/{{*rest}}', pass: {{ upstream: app }} }}\n"
    );
    for (text, why) in [
        (head.to_owned(), "there are no routes"),
        (format!("{head}routes: []\n"), "there are no routes"),
        (
            yaml[..yaml.find("name: other").unwrap()].to_owned(),
            "is truncated",
        ),
        (passing, "no webhook route any more"),
    ] {
        std::fs::write(gate.config_path(), &text).unwrap();
        wait_for(why, || error().contains(why));
        assert_eq!(
            gate.post(
                "/webhooks/github",
                &sign::github(SECRET, why, why.as_bytes()),
                why.as_bytes()
            )
            .status,
            200
        );
    }
    assert_eq!(generation(&gate), 1);
    std::fs::write(gate.config_path(), yaml.replace(more, "")).unwrap();
    wait_for("the route to go", || {
        gate.post("/other", &[], b"{}").status == 404
    });
    gate.wait_for_log(&["config reloaded", "\"removed_routes\":\"other\""]);
}

/// Binary junk in a secret file refuses nobody.
#[test]
fn a_secret_file_of_junk_keeps_the_last_good_text() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let secret = dir.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let gate = Gate::start_in(dir, &with_secret_file(&app, &secret));
    for (id, junk) in [
        ("a", &b"\x7fELF\x02\x01\x01\0"[..]),
        ("b", b"\xff\xfea\0"),
        ("c", b"\xef\xbb\xbfa secret of many bytes"),
    ] {
        std::fs::write(&secret, junk).unwrap();
        wait_for("the stale secret", || {
            gate.admin("/-/status")["config"]["stale_secrets"]
                .to_string()
                .contains("github/main")
        });
        assert_eq!(
            gate.post(
                "/webhooks/github",
                &sign::github(SECRET, id, id.as_bytes()),
                id.as_bytes()
            )
            .status,
            200
        );
        std::fs::write(&secret, SECRET).unwrap();
        wait_for("the good one", || {
            !gate.admin("/-/status")["config"]["stale_secrets"]
                .to_string()
                .contains("main")
        });
    }
}

fn with_secret_file(app: &App, secret: &Path) -> String {
    config::forward(&app.url(), "").replace(
        &format!("{{ name: main, insecure_inline: \"{SECRET}\", allow_whitespace: true }}"),
        &format!(
            "{{ name: main, file: {}, allow_whitespace: true }}",
            secret.display()
        ),
    )
}
