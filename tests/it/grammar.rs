//! Keys of the config that no other test needs, each seen to do what the reference says, through the running gate.
use std::sync::Arc;

use super::support::app::App;
use super::support::config;
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::http;
use super::support::sign::{borrowed, github, hmac_hex};

const SECRET: &str = "a-secret-of-more-than-sixteen-bytes";

/// A gate with one route: `lines` stand in it, each with its indentation below `- name`.
fn gate(app: &App, lines: &str) -> Gate {
    Gate::in_process(&yaml(app, lines))
}

fn yaml(app: &App, lines: &str) -> String {
    let head = config::forward(&app.url(), "");
    let head = head.split("routes:\n").next().unwrap();
    format!("{head}routes:\n  - name: one\n{lines}")
}

fn post(gate: &Gate, target: &str, id: &str) -> u16 {
    gate.post(target, &github(SECRET, id, b"{}"), b"{}").status
}

fn verify(more: &str) -> String {
    format!(
        "    verify: {{ provider: github, secrets: [{{ insecure_inline: {SECRET} }}]{more} }}\n"
    )
}

#[test]
fn hosts_exact_and_wild_and_most_specific_whatever_the_order() {
    let app = App::start();
    let routes = format!(
        "    path: /{{*rest}}\n{all}    forward: {{ upstream: app, path: /all }}
  - name: wild\n    host: \"*.example.com\"\n    path: /a\n{all}    forward: {{ upstream: app, path: /wild }}
  - name: exact\n    host: hooks.example.com\n    path: /a\n{all}    forward: {{ upstream: app, path: /exact }}
  - name: plain\n    path: /a\n{all}    forward: {{ upstream: app, path: /plain }}\n",
        all = "    verify: none\n"
    );
    let gate = gate(&app, &routes);
    let sent_to = |host: &str, target: &str| {
        let answer = http::request(
            gate.address("senders"),
            "POST",
            target,
            &[("Host", host)],
            b"{}",
        );
        assert_eq!(answer.status, 200, "{host}{target}");
        app.last().target
    };
    assert_eq!(sent_to("hooks.example.com", "/a"), "/exact");
    assert_eq!(sent_to("HOOKS.example.com:8080", "/a"), "/exact");
    assert_eq!(sent_to("other.example.com", "/a"), "/wild");
    assert_eq!(sent_to("example.com", "/a"), "/plain");
    assert_eq!(sent_to("hooks.example.com", "/b"), "/all");
    assert_eq!(sent_to("hooks.example.com", "/"), "/all");
}

#[test]
fn methods_and_an_upstream_that_wants_its_own_host() {
    let app = App::start();
    let lines = "    path: /a\n    methods: [PUT, PATCH]\n    verify: none\n    forward: { upstream: app }\n";
    let gate = Gate::in_process(
        &yaml(&app, lines).replace("timeout: 5s }", "timeout: 5s, host: upstream }"),
    );
    let ask = |method: &str| {
        http::request(
            gate.address("senders"),
            method,
            "/a",
            &[("Host", "gate.test")],
            b"{}",
        )
    };
    assert_eq!([ask("PUT").status, ask("PATCH").status], [200, 200]);
    assert_eq!(
        app.last().header("Host"),
        Some(app.address.to_string().as_str())
    );
    assert_eq!(app.last().header("X-Forwarded-Host"), Some("gate.test"));
    let refused = ask("POST");
    assert_eq!(
        (refused.status, refused.header("Allow")),
        (405, Some("PUT, PATCH"))
    );
}

#[test]
fn the_query_is_dropped_unless_it_is_signed_or_kept() {
    let app = App::start();
    let pinned = "    public_url: https://hooks.example.com/u\n";
    let lines = format!(
        "    path: /drop\n{v}    forward: {{ upstream: app }}
  - name: keep\n    path: /keep\n{v}    forward: {{ upstream: app, query: keep }}
  - name: url\n    path: /u\n{pinned}    verify:\n      scheme: hmac\n      algorithm: sha256\n      signature: {{ header: X-Sig, encoding: hex }}
      signed_content: \"{{url}}\\n{{body}}\"\n      concatenated: a URL has no line feed\n      secrets: [{{ insecure_inline: {SECRET} }}]\n    forward: {{ upstream: app }}\n",
        v = verify("")
    );
    let gate = gate(&app, &lines);
    assert_eq!(post(&gate, "/drop?a=1", "1"), 200);
    assert_eq!(app.last().target, "/drop");
    assert_eq!(post(&gate, "/keep?a=1", "1"), 200);
    assert_eq!(app.last().target, "/keep?a=1");
    let signed = |url: &str| {
        vec![(
            "X-Sig".to_owned(),
            hmac_hex(SECRET, format!("{url}\n{{}}").as_bytes()),
        )]
    };
    assert_eq!(
        gate.post("/u?a=1", &signed("https://hooks.example.com/u?a=1"), b"{}")
            .status,
        200,
        "the public URL counts"
    );
    assert_eq!(app.last().target, "/u?a=1");
    assert_eq!(
        gate.post("/u?a=1", &signed("http://gate.test/u?a=1"), b"{}")
            .status,
        401
    );
}

#[test]
fn a_token_reaches_the_app_only_if_the_route_says_so() {
    let app = App::start();
    let token = |path: &str, more: &str| {
        format!(
            "    path: {path}\n    verify: {{ provider: gitlab, secrets: [{{ insecure_inline: {SECRET} }}] }}\n    forward: {{ upstream: app{more} }}\n"
        )
    };
    let gate = gate(
        &app,
        &format!(
            "{}  - name: two\n{}",
            token("/a", ""),
            token("/b", ", keep_token: true")
        ),
    );
    let headers = [("X-Gitlab-Token".to_owned(), SECRET.to_owned())];
    assert_eq!(gate.post("/a", &headers, b"{}").status, 200);
    assert!(app.last().all("X-Gitlab-Token").is_empty());
    assert_eq!(gate.post("/b", &headers, b"{}").status, 200);
    assert_eq!(app.last().header("X-Gitlab-Token"), Some(SECRET));
}

#[test]
fn a_table_by_header_and_one_written_as_one_file() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let table = dir.path().join("tenants.yaml");
    std::fs::write(
        &table,
        "one: secret-of-tenant-one-1\ntwo: secret-of-tenant-two-2\n\"bad key\": x\n",
    )
    .unwrap();
    let lines = "    path: /a\n    verify: { provider: github, secrets: { by: \"header:X-Tenant\", file: tenants.yaml } }\n    dedupe: {}\n    forward: { upstream: app }\n";
    let gate = Gate::in_process_in(dir, &yaml(&app, lines));
    let send = |tenant: &str, secret: &str| {
        let mut headers = github(secret, "the-same-id", b"{}");
        headers.push(("X-Tenant".to_owned(), tenant.to_owned()));
        gate.post("/a", &headers, b"{}").status
    };
    assert_eq!(
        [
            send("one", "secret-of-tenant-one-1"),
            send("two", "secret-of-tenant-two-2")
        ],
        [200, 200]
    );
    assert_eq!(app.count(), 2, "the ID of one tenant is new for another");
    assert_eq!(
        [
            send("one", "secret-of-tenant-two-2"),
            send("three", "secret-of-tenant-one-1")
        ],
        [401, 401]
    );
    assert_eq!(post(&gate, "/a", "no tenant"), 401);
    gate.wait_for_log(&["number 3 is ignored"]);
    std::fs::write(&table, "one: secret-of-tenant-one-3\n").unwrap();
    wait_for("the changed table", || {
        send("one", "secret-of-tenant-one-3") == 200
    });
    assert_eq!(send("two", "secret-of-tenant-two-2"), 401);
}

#[test]
fn bad_table_entry_is_logged_and_the_others_work() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let tenants = dir.path().join("tenants");
    std::fs::create_dir(&tenants).unwrap();
    std::fs::write(tenants.join("one"), "secret-of-tenant-one-1").unwrap();
    std::fs::write(tenants.join("two"), "secret-of-tenant-two-2").unwrap();
    let lines = "    path: /a/{tenant}\n    verify: { provider: github, secrets: { by: \"{tenant}\", dir: tenants } }\n    forward: { upstream: app }\n";
    let gate = Gate::in_process_in(dir, &yaml(&app, lines));
    std::fs::write(tenants.join("two"), "two lines\nare no secret").unwrap();
    gate.wait_for_log(&["key two is ignored"]);
    let send = |tenant: &str, secret: &str| {
        gate.post(
            &format!("/a/{tenant}"),
            &github(secret, tenant, b"{}"),
            b"{}",
        )
        .status
    };
    assert_eq!(
        [
            send("one", "secret-of-tenant-one-1"),
            send("two", "secret-of-tenant-two-2")
        ],
        [200, 401]
    );
}

#[test]
fn included_files_and_presets_of_ones_own() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    for folder in ["conf.d", "presets.d"] {
        std::fs::create_dir(dir.path().join(folder)).unwrap();
    }
    let preset = "title: Mine\nverify:\n  scheme: hmac\n  algorithm: sha512\n  signature: { header: X-Mine, encoding: base64 }\n  delivery_id: { header: X-Mine-Id }\nfacts: { answer_within: 3s, success_status: 202, retries_for: 2d }\n";
    std::fs::write(dir.path().join("presets.d/mine.yaml"), preset).unwrap();
    let included = format!(
        "routes:\n  - name: mine\n    path: /mine\n    verify: {{ provider: mine, secrets: [{{ insecure_inline: {SECRET} }}] }}\n    dedupe: {{}}\n    forward: {{ upstream: app }}\n"
    );
    std::fs::write(dir.path().join("conf.d/b.yaml"), included).unwrap();
    let head = config::forward(&app.url(), "");
    let head = head.split("routes:\n").next().unwrap();
    let gate = Gate::in_process_in(
        Arc::clone(&dir),
        &format!("include: [conf.d/*.yaml]\nproviders: presets.d\n{head}"),
    );
    let body = dir.path().join("body");
    std::fs::write(&body, "{}").unwrap();
    let url = format!("http://{}/mine", gate.address("senders"));
    let (body, path) = (
        body.display().to_string(),
        gate.config_path().display().to_string(),
    );
    let send = || {
        let args = [
            "sign", "--config", &path, "--route", "mine", "--body", &body, "--url", &url, "--id",
            "m-1", "--send", "--json",
        ];
        let output = hookgate().args(args).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap_or_default()
    };
    assert_eq!(send()["status"], 200);
    assert_eq!(app.last().header("Hookgate-Provider"), Some("mine"));
    let again = send();
    assert_eq!(
        (&again["status"], &again["hookgate_status"]),
        (&202.into(), &"duplicate".into()),
        "the preset's success status"
    );
    std::fs::write(
        dir.path().join("conf.d/c.yaml"),
        "routes:\n  - { name: late, path: /late, verify: none, forward: { upstream: app } }\n",
    )
    .unwrap();
    wait_for("a file that came later", || {
        gate.post("/late", &[], b"{}").status == 200
    });
}

#[test]
fn renamed_route_remembers_forwarded_ids() {
    let app = App::start();
    let gate = gate(
        &app,
        &format!(
            "    path: /a\n{}    dedupe: {{}}\n    forward: {{ upstream: app }}\n",
            verify("")
        ),
    );
    assert_eq!([post(&gate, "/a", "x"), post(&gate, "/a", "x")], [200, 200]);
    assert_eq!(app.count(), 1);
    let written = std::fs::read_to_string(gate.config_path()).unwrap();
    std::fs::write(
        gate.config_path(),
        written.replace("name: one", "name: other\n    previously: [one]"),
    )
    .unwrap();
    wait_for("the new name", || {
        gate.admin("/-/status")["routes"][0]["name"] == "other"
    });
    assert_eq!(post(&gate, "/a", "x"), 200);
    assert_eq!(
        app.count(),
        1,
        "an ID of the old name is known under the new one"
    );
}

#[test]
fn timestamps_are_written_and_tolerated_as_the_route_says() {
    let app = App::start();
    let lines = format!(
        "    path: /a\n    verify:\n      scheme: hmac\n      algorithm: sha256\n      signature: {{ header: X-Sig, encoding: hex }}
      signed_content: \"{{timestamp}}|{{body}}\"\n      timestamp: {{ header: X-Time, format: rfc3339, tolerance: 1h }}\n      secrets: [{{ insecure_inline: {SECRET} }}]\n    forward: {{ upstream: app }}
  - name: stripe\n    path: /s\n    verify: {{ provider: stripe, tolerance: 30s, secrets: [{{ insecure_inline: {SECRET} }}] }}\n    forward: {{ upstream: app }}\n"
    );
    let gate = gate(&app, &lines);
    let now = jiff::Timestamp::now();
    let ago = |seconds: i64| now - jiff::SignedDuration::from_secs(seconds);
    let own = |at: jiff::Timestamp| {
        let at = at.to_string();
        let sig = hmac_hex(SECRET, format!("{at}|{{}}").as_bytes());
        gate.post(
            "/a",
            &[("X-Time".to_owned(), at), ("X-Sig".to_owned(), sig)],
            b"{}",
        )
        .status
    };
    assert_eq!(
        [
            own(ago(1800)),
            own(ago(-1800)),
            own(ago(4000)),
            own(ago(-4000))
        ],
        [200, 200, 401, 401]
    );
    let stripe = |at: jiff::Timestamp| {
        let at = at.as_second();
        let sig = hmac_hex(SECRET, format!("{at}.{{}}").as_bytes());
        let headers = [("Stripe-Signature".to_owned(), format!("t={at},v1={sig}"))];
        http::request(
            gate.address("senders"),
            "POST",
            "/s",
            &borrowed(&headers),
            b"{}",
        )
        .status
    };
    assert_eq!(
        [stripe(ago(10)), stripe(ago(60))],
        [200, 401],
        "the preset says five minutes, the route half a minute"
    );
}
