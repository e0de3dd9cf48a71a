//! The admin listener against pages of other sites, wrong tokens and greedy senders; and that nothing it says is a secret.
use std::sync::Arc;

use super::support::app::App;
use super::support::config;
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::http::{self, Answer, Connection};
use super::support::sign;

const TOKEN: &str = "An-Admin-Token-0123456789abcdef";
const JSON: (&str, &str) = ("Content-Type", "application/json");
const HOST: (&str, &str) = ("Host", "localhost");
const PATHS: [&str; 4] = ["/-/status", "/-/refusals", "/-/report", "/-/reload"];

fn guarded() -> (App, Gate) {
    let app = App::start();
    let admin =
        format!("admin: {{ address: 127.0.0.1:0, token: {{ insecure_inline: \"{TOKEN}\" }} }}");
    let gate = Gate::start(
        &config::forward(&app.url(), "").replace("admin: { address: 127.0.0.1:0 }", &admin),
    );
    (app, gate)
}

fn ask(gate: &Gate, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    http::request(gate.address("admin"), method, target, headers, body)
}

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

fn generation(gate: &Gate) -> u64 {
    gate.admin("/-/status")["generation"].as_u64().unwrap()
}

/// A `Host` name that resolves to this machine is refused, on any path and with the token.
#[test]
fn names_that_resolve_to_this_machine_are_refused() {
    let (_app, gate) = guarded();
    let port = gate.address("admin").port();
    let with_port = [
        format!("evil.example:{port}"),
        format!("127.0.0.1.nip.io:{port}"),
        format!("localhost.evil.example:{port}"),
    ];
    let names = [
        "evil.example",
        "",
        "127.0.0.1.",
        "localhost.",
        "127.0.0.1@evil.example",
        "evil.example#localhost",
        "0.0.0.0",
        "2130706433",
        "0x7f000001",
        "127.1",
        "[::ffff:10.0.0.1]",
        "10.0.0.1",
    ];
    let token = bearer();
    for name in names
        .into_iter()
        .chain(with_port.iter().map(String::as_str))
    {
        for path in PATHS {
            let method = if path == "/-/reload" { "POST" } else { "GET" };
            let answer = ask(
                &gate,
                method,
                path,
                &[("Host", name), ("Authorization", &token), JSON],
                b"",
            );
            assert!(
                matches!(answer.status, 400 | 403),
                "{name} {path}: {}",
                answer.status
            );
            assert!(!answer.text().contains("generation"), "{name} {path}");
        }
    }
    for name in [
        "localhost",
        "LocalHost",
        "127.0.0.1",
        "127.8.8.8",
        "[::1]",
        &format!("127.0.0.1:{port}"),
    ] {
        assert_eq!(
            ask(&gate, "GET", "/-/status", &[("Host", name)], b"").status,
            200,
            "{name}"
        );
    }
    let twice = ask(
        &gate,
        "GET",
        "/-/status",
        &[HOST, ("Host", "evil.example")],
        b"",
    );
    assert!(matches!(twice.status, 400 | 403), "{}", twice.status);
    let absolute = ask(&gate, "GET", "http://evil.example/-/status", &[HOST], b"");
    assert!(
        matches!(absolute.status, 400 | 403 | 404),
        "{}",
        absolute.status
    );
    let mut bare = Connection::open(gate.address("admin"));
    bare.send(b"GET /-/status HTTP/1.0\r\n\r\n").unwrap();
    assert!(matches!(bare.answer().unwrap().status, 400 | 403));
}

/// Requests that a page can send without a preflight: forms of three types, and reads by `<img>` and navigation.
#[test]
fn pages_of_other_sites_change_and_learn_nothing() {
    let (_app, gate) = guarded();
    let token = bearer();
    let before = generation(&gate);
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "text/plain; application/json",
        "application/jsonp",
        "text/json",
        "application/json-patch+json",
        "",
    ] {
        let answer = ask(
            &gate,
            "POST",
            "/-/reload",
            &[HOST, ("Content-Type", kind), ("Authorization", &token)],
            b"{}",
        );
        assert_eq!(answer.status, 415, "{kind}");
    }
    let both = ask(
        &gate,
        "POST",
        "/-/reload",
        &[
            HOST,
            JSON,
            ("Content-Type", "text/plain"),
            ("Authorization", &token),
        ],
        b"{}",
    );
    assert_eq!(both.status, 415);
    for mark in [
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
    ] {
        for path in PATHS {
            let method = if path == "/-/reload" { "POST" } else { "GET" };
            let answer = ask(
                &gate,
                method,
                path,
                &[HOST, mark, JSON, ("Authorization", &token)],
                b"",
            );
            assert_eq!(answer.status, 403, "{mark:?} {path}");
            assert!(
                answer
                    .headers
                    .iter()
                    .all(|(name, _)| !name.to_ascii_lowercase().starts_with("access-control")),
                "{answer:?}"
            );
        }
        let preflight = [
            HOST,
            mark,
            ("Access-Control-Request-Method", "POST"),
            (
                "Access-Control-Request-Headers",
                "authorization,content-type",
            ),
        ];
        let answer = ask(&gate, "OPTIONS", "/-/reload", &preflight, b"");
        assert_eq!(answer.status, 403);
        assert!(
            answer
                .headers
                .iter()
                .all(|(name, _)| !name.to_ascii_lowercase().starts_with("access-control")),
            "{answer:?}"
        );
    }
    assert_eq!(generation(&gate), before, "nothing was reloaded");
    for answer in [
        ask(&gate, "GET", "/-/status", &[HOST], b""),
        ask(&gate, "GET", "/none", &[HOST], b""),
        ask(&gate, "POST", "/-/reload", &[HOST], b""),
    ] {
        for (name, value) in [
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        assert!(
            answer
                .header("Content-Security-Policy")
                .unwrap()
                .starts_with("default-src 'none'")
        );
        assert_eq!(answer.header("Content-Type"), Some("application/json"));
    }
    assert_eq!(
        ask(
            &gate,
            "POST",
            "/-/reload",
            &[
                HOST,
                ("Content-Type", "application/json; charset=utf-8"),
                ("Authorization", &token)
            ],
            b"{}"
        )
        .status,
        200
    );
}

#[test]
fn a_token_is_right_to_the_last_byte() {
    let (_app, gate) = guarded();
    let reload = |authorization: &str| {
        ask(
            &gate,
            "POST",
            "/-/reload",
            &[HOST, JSON, ("Authorization", authorization)],
            b"{}",
        )
    };
    let wrong = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        TOKEN.to_owned(),
        format!("Basic {TOKEN}"),
        format!("Bearer  {TOKEN}"),
        format!("Bearer {TOKEN}x"),
        format!("Bearer {}", &TOKEN[1..]),
        format!("Bearer {}", &TOKEN[..TOKEN.len() - 1]),
        format!("Bearer {}", TOKEN.to_lowercase()),
        format!("Bearer \"{TOKEN}\""),
        format!("Bearer {TOKEN}, Bearer {TOKEN}"),
        format!("Bearer {}", "x".repeat(4000)),
    ];
    let bodies: std::collections::HashSet<String> = wrong
        .iter()
        .map(|authorization| {
            let answer = reload(authorization);
            assert_eq!(answer.status, 401, "{authorization}");
            answer.text()
        })
        .collect();
    assert_eq!(bodies.len(), 1, "all get the same answer: {bodies:?}");
    assert_eq!(
        ask(
            &gate,
            "POST",
            &format!("/-/reload?token={TOKEN}&access_token={TOKEN}"),
            &[HOST, JSON],
            b"{}"
        )
        .status,
        401
    );
    assert_eq!(
        ask(
            &gate,
            "POST",
            "/-/reload",
            &[
                HOST,
                JSON,
                ("Authorization", &bearer()),
                ("Authorization", "Bearer x")
            ],
            b"{}"
        )
        .status,
        401
    );
    assert_eq!(reload(&bearer()).status, 200);
    assert_eq!(reload(&format!("bEARER {TOKEN}")).status, 200);
    assert_eq!(ask(&gate, "GET", "/-/reload", &[HOST], b"").status, 405);
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "POST"] {
        assert_eq!(
            ask(&gate, method, "/-/status", &[HOST, JSON], b"").status,
            401,
            "{method}"
        );
        assert_eq!(
            ask(
                &gate,
                method,
                "/-/status",
                &[HOST, JSON, ("Authorization", &bearer())],
                b""
            )
            .status,
            405,
            "{method}"
        );
    }
}

/// A token that leaked is changed, and the old one is worth nothing from then on.
#[test]
fn a_changed_token_counts_at_once() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let file = dir.path().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let admin = format!(
        "admin: {{ address: 127.0.0.1:0, token: {{ file: {} }} }}",
        file.display()
    );
    let gate = Gate::start_in(
        dir,
        &config::forward(&app.url(), "").replace("admin: { address: 127.0.0.1:0 }", &admin),
    );
    let reload = |token: &str| {
        ask(
            &gate,
            "POST",
            "/-/reload",
            &[HOST, JSON, ("Authorization", &format!("Bearer {token}"))],
            b"{}",
        )
        .status
    };
    assert_eq!(reload(TOKEN), 200);
    std::fs::write(&file, "another-token-of-many-bytes-0123").unwrap();
    wait_for("the new token", || {
        reload("another-token-of-many-bytes-0123") == 200
    });
    assert_eq!(reload(TOKEN), 401);
}

#[test]
fn without_a_token_it_says_what_to_configure() {
    let app = App::start();
    let gate = Gate::start(&config::forward(&app.url(), ""));
    let answer = ask(
        &gate,
        "POST",
        "/-/reload",
        &[HOST, JSON, ("Authorization", "Bearer anything")],
        b"{}",
    );
    assert_eq!(answer.status, 403);
    assert!(
        answer
            .text()
            .contains("set `admin.token`; or set `store.path`"),
        "{}",
        answer.text()
    );
    assert_eq!(
        ask(&gate, "GET", "/-/status", &[HOST], b"").status,
        200,
        "reading on loopback needs none"
    );
}

/// Off loopback everything needs the token, and a config without one is refused.
#[test]
fn off_loopback_everything_needs_the_token() {
    let app = App::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let wide = config::forward(&app.url(), "").replace(
        "admin: { address: 127.0.0.1:0 }",
        "admin: { address: 0.0.0.0:0 }",
    );
    std::fs::write(&path, &wide).unwrap();
    let checked = hookgate().arg("check").arg(&path).output().unwrap();
    assert_eq!(checked.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&checked.stdout)
            .contains("an admin listener that is not on loopback needs a token")
    );
    let gate = Gate::start(&wide.replace(
        "0.0.0.0:0",
        &format!("0.0.0.0:0, token: {{ insecure_inline: \"{TOKEN}\" }}"),
    ));
    let address = format!("127.0.0.1:{}", gate.address("admin").port())
        .parse()
        .unwrap();
    for path in [
        "/-/status",
        "/-/refusals",
        "/-/report",
        "/-/secrets",
        "/none",
    ] {
        assert_eq!(
            http::request(address, "GET", path, &[HOST], b"").status,
            401,
            "{path}"
        );
    }
    assert_eq!(
        http::request(
            address,
            "GET",
            "/-/status",
            &[HOST, ("Authorization", &bearer())],
            b""
        )
        .status,
        200
    );
}

/// Heads and bodies without end cost a connection each, and no more.
#[test]
fn greedy_senders_lose_their_connection() {
    let (_app, gate) = guarded();
    let long = "x".repeat(200_000);
    let mut sender = Connection::open(gate.address("admin"));
    // what is not read may reset the connection while it is being written
    sender
        .send(
            format!("GET /-/status HTTP/1.1\r\nHost: localhost\r\nX-Long: {long}\r\n\r\n")
                .as_bytes(),
        )
        .ok();
    assert!(sender.answer().map_or(true, |answer| answer.status >= 400));
    let mut sender = Connection::open(gate.address("admin"));
    let many: String = (0..2_000)
        .map(|number| format!("X-{number}: y\r\n"))
        .collect();
    sender
        .send(format!("GET /-/status HTTP/1.1\r\nHost: localhost\r\n{many}\r\n").as_bytes())
        .ok();
    assert!(sender.answer().map_or(true, |answer| answer.status >= 400));
    let mut sender = Connection::open(gate.address("admin"));
    let head = format!(
        "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: {}\r\nContent-Length: 99999999\r\n\r\n",
        bearer()
    );
    sender.send(head.as_bytes()).unwrap();
    let piece = [b' '; 64 * 1024];
    let mut sent = 0;
    while sent < 99_999_999 && sender.send(&piece).is_ok() {
        sent += piece.len();
    }
    assert!(
        sent < 32 << 20,
        "{sent} bytes of a body that nobody reads were taken"
    );
    assert_eq!(ask(&gate, "GET", "/-/status", &[HOST], b"").status, 200);
}

/// All secrets that a config can hold, and all that a gate and its commands say.
#[test]
fn no_output_of_the_gate_contains_a_secret() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let secrets: Vec<String> = (0..6)
        .map(|number| format!("S{number}cretThatNobodyMaySee-0123456789"))
        .collect();
    let at = |name: &str| dir.path().join(name);
    for (name, secret) in [
        ("github", &secrets[0]),
        ("gitlab", &secrets[1]),
        ("verify", &secrets[2]),
    ] {
        std::fs::write(at(name), secret).unwrap();
    }
    std::fs::create_dir(at("tenants")).unwrap();
    std::fs::write(at("tenants/berlin"), &secrets[3]).unwrap();
    let yaml = format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0, token: {{ insecure_inline: \"{}\" }} }}
shutdown: {{ delay: 0s, grace: 1s }}
upstreams: {{ app: {{ url: {} }} }}
routes:
  - name: github
    path: /github
    verify: {{ provider: github, secrets: [{{ file: github }}, {{ insecure_inline: \"{}\" }}] }}
    mode: observe
    until: {}
    forward: {{ upstream: app }}
  - name: gitlab
    path: /gitlab
    verify: {{ provider: gitlab, secrets: [{{ file: gitlab }}] }}
    forward: {{ upstream: app }}
  - name: meta
    path: /meta
    verify: {{ provider: meta-whatsapp, secrets: [{{ file: gitlab }}] }}
    handshake: {{ verify_token: {{ file: verify }} }}
    forward: {{ upstream: app }}
  - name: tenants
    path: /tenants/{{account}}
    verify: {{ scheme: token, signature: {{ header: X-Token }}, secrets: {{ by: \"{{account}}\", dir: tenants }} }}
    forward: {{ upstream: app }}
",
        secrets[4],
        app.url(),
        secrets[5],
        jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * 10),
    );
    let gate = Gate::start_in(Arc::clone(&dir), &yaml);
    let mut texts: Vec<String> = Vec::new();
    let as_header = |name: &str, secret: &str| {
        vec![
            (name.to_owned(), secret.to_owned()),
            ("User-Agent".to_owned(), secret.to_owned()),
        ]
    };
    for secret in &secrets {
        for path in ["/github", "/gitlab", "/tenants/berlin", "/none"] {
            for name in [
                "X-Gitlab-Token",
                "X-Token",
                "Authorization",
                "X-Hub-Signature-256",
                "Cookie",
            ] {
                texts.push(
                    gate.post(
                        &format!("{path}?token={secret}"),
                        &as_header(name, secret),
                        b"{}",
                    )
                    .text(),
                );
            }
        }
        texts.push(
            http::request(
                gate.address("senders"),
                "GET",
                &format!("/meta?hub.mode=subscribe&hub.verify_token={secret}&hub.challenge=1"),
                &[],
                b"",
            )
            .text(),
        );
        gate.post("/github", &sign::github(secret, "id", b"{}"), b"{}");
    }
    let token = format!("Bearer {}", secrets[4]);
    for (method, path) in [
        ("GET", "/-/status"),
        ("GET", "/-/refusals?limit=256"),
        ("GET", "/-/report"),
        ("GET", "/-/secrets"),
        ("POST", "/-/reload"),
        ("GET", "/none"),
        ("PUT", "/-/status"),
    ] {
        for authorization in [token.as_str(), "Bearer wrong", ""] {
            let answer = ask(
                &gate,
                method,
                path,
                &[HOST, JSON, ("Authorization", authorization)],
                b"{}",
            );
            texts.push(format!(
                "{} {:?} {}",
                answer.status,
                answer.headers,
                answer.text()
            ));
        }
    }
    assert!(
        texts.iter().any(|text| text.contains("signature_mismatch")),
        "the report tells of the forged ones"
    );
    // a reload that fails tells its reasons
    std::fs::write(gate.config_path(), format!("{yaml}typo: {}\n", secrets[0])).unwrap();
    wait_for("the error", || {
        !gate.admin("/-/status")["last_error"].is_null()
    });
    let (admin, config) = (
        gate.address("admin").to_string(),
        gate.config_path().display().to_string(),
    );
    texts.push(gate.admin("/-/status").to_string());
    for path in ["/livez", "/readyz", "/metrics", "/none"] {
        texts.push(gate.health(path).text());
    }
    for round in 0..2 {
        for command in [
            &["status"][..],
            &["status", "--json"],
            &["report"],
            &["report", "--json"],
            &["report", "--route", "gitlab"],
            &["doctor"],
            &["doctor", "-v"],
            &["doctor", "--json"],
        ] {
            let output = hookgate()
                .args(command)
                .args(["--admin", &admin, "--config", &config, "-v"])
                .output()
                .unwrap();
            texts.push(format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        for command in [&["check", &config][..], &["check", "--json", &config]] {
            let output = hookgate().args(command).output().unwrap();
            texts.push(format!(
                "{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            ));
        }
        if round == 0 {
            std::fs::write(gate.config_path(), &yaml).unwrap();
        }
    }
    // so many at the least: lines of one route and reason are capped
    wait_for("the lines", || gate.lines().len() >= 20);
    texts.extend([gate.log_lines().join("\n"), gate.lines().join("\n")]);
    for (number, text) in texts.iter().enumerate() {
        for secret in &secrets {
            assert!(
                !text.contains(secret.as_str()),
                "{number} tells {secret}: {text}"
            );
            assert!(
                !text.contains(&secret[..20]),
                "{number} tells a part of {secret}: {text}"
            );
        }
    }
}
