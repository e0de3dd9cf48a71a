//! The commands as a person or a script calls them: what they say, where, and how they exit.
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use super::support::app::{App, unused_address};
use super::support::config;
use super::support::gate::{Gate, hookgate};
use super::support::vectors;

#[track_caller]
fn run(args: &[&str]) -> Output {
    hookgate()
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("HOOKGATE_CONFIG")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Every golden request of every provider, as a recorded request: exit 0, or 1 with the code.
#[test]
fn verify_judges_recorded_requests() {
    let dir = tempfile::tempdir().unwrap();
    let deviations = vectors::deviations();
    let (mut count, mut wrong) = (0, Vec::new());
    for (provider, path) in vectors::files() {
        for case in vectors::load(&path).iter().filter(|case| {
            case.valid || case.name.contains("wrong_secret") || case.name.contains("one_byte")
        }) {
            let request = dir.path().join("request.http");
            let mut raw = format!(
                "{} {} HTTP/1.1\r\nHost: {}\r\n",
                case.method,
                case.target(),
                case.authority()
            )
            .into_bytes();
            for (name, value) in case
                .headers
                .iter()
                .filter(|(name, _)| !name.eq_ignore_ascii_case("host"))
            {
                raw.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            raw.extend_from_slice(b"\r\n");
            raw.extend_from_slice(&case.body());
            std::fs::write(&request, raw).unwrap();
            let now = case.now.to_string();
            let mut args = vec![
                "verify",
                "--provider",
                &provider,
                "--url",
                &case.url,
                "--now",
                &now,
                "--json",
            ];
            let secrets: Vec<_> = case
                .texts()
                .iter()
                .enumerate()
                .map(|(number, text)| secret_file(dir.path(), number, text))
                .collect();
            secrets
                .iter()
                .for_each(|secret| args.extend(["--secret-file", secret]));
            let request = request.display().to_string();
            args.push(&request);
            let output = run(&args);
            let due = case.due(deviations.get(&provider));
            count += 1;
            let verdict: serde_json::Value =
                serde_json::from_slice(&output.stdout).unwrap_or_default();
            let says_so = if due {
                verdict["verdict"] == "authentic"
            } else {
                verdict["code"].is_string()
            };
            if output.status.code() != Some(i32::from(!due)) || !says_so {
                wrong.push(format!(
                    "{provider} {}: {:?} {verdict} {}",
                    case.name,
                    output.status.code(),
                    String::from_utf8_lossy(&output.stderr)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}: {wrong:#?}", wrong.len());
    assert!(count >= 250, "{count}");
}

fn secret_file(dir: &Path, number: usize, text: &str) -> String {
    let path = dir.join(format!("secret-{number}"));
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn verify_called_wrongly_exits_with_2() {
    let dir = tempfile::tempdir().unwrap();
    let secret = secret_file(dir.path(), 0, "a-secret-of-many-bytes");
    for args in [
        vec![
            "verify",
            "--provider",
            "githup",
            "--secret-file",
            &secret,
            "-",
        ],
        vec!["verify", "--provider", "github", "-"],
        vec![
            "verify",
            "--provider",
            "github",
            "--secret-file",
            "/nonexistent",
            "-",
        ],
        vec![
            "verify",
            "--provider",
            "github",
            "--secret-file",
            &secret,
            "/nonexistent",
        ],
        vec![
            "verify",
            "--provider",
            "github",
            "--secret-file",
            &secret,
            "--now",
            "yesterday",
            "-",
        ],
        vec!["verifi"],
    ] {
        let output = run(&args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{args:?}"
        );
    }
    let mut child = hookgate()
        .args([
            "verify",
            "--provider",
            "github",
            "--secret-file",
            &secret,
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"not a request at all")
        .unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(2));
}

#[test]
fn gate_accepts_requests_made_by_sign() {
    let app = App::start();
    let dir = tempfile::tempdir().unwrap();
    let body = dir.path().join("body.json");
    std::fs::write(&body, r#"{"id": "evt_1", "type": "ping"}"#).unwrap();
    let body = body.display().to_string();
    let secret = secret_file(dir.path(), 0, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let routes: String = ["github", "stripe", "slack", "standard-webhooks", "svix", "shopify", "gitlab", "square", "twitch", "zendesk", "workos", "retell"]
        .iter()
        .map(|provider| {
            format!(
                "  - name: {provider}\n    path: /in/{provider}\n    public_url: https://hooks.example.com/in/{provider}\n    verify: {{ provider: {provider}, secrets: [{{ file: {secret} }}] }}\n    forward: {{ upstream: app }}\n"
            )
        })
        .collect();
    let yaml = config::forward(&app.url(), "");
    let yaml = format!(
        "{}routes:\n{routes}",
        yaml.split("routes:\n").next().unwrap()
    );
    let gate = Gate::start(&yaml);
    for (number, route) in gate.admin("/-/status")["routes"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let provider = route["name"].as_str().unwrap();
        let url = format!("http://{}/in/{provider}", gate.address("senders"));
        let signed = if provider == "square" {
            // the signature covers the public URL, so the route's own block signs
            let config = gate.config_path().display().to_string();
            run(&[
                "sign", "--config", &config, "--route", provider, "--body", &body, "--url", &url,
                "--send",
            ])
        } else {
            run(&[
                "sign",
                "--provider",
                provider,
                "--secret-file",
                &secret,
                "--body",
                &body,
                "--url",
                &url,
                "--send",
            ])
        };
        assert_eq!(
            signed.status.code(),
            Some(0),
            "{provider}: {} {}",
            stdout(&signed),
            String::from_utf8_lossy(&signed.stderr)
        );
        assert_eq!(app.count(), number + 1, "{provider}");
    }
}

#[test]
fn sign_prints_a_curl_command_that_works() {
    let app = App::start();
    let gate = Gate::start(&config::forward(&app.url(), ""));
    let dir = tempfile::tempdir().unwrap();
    let body = dir.path().join("body with 'quotes'.json");
    std::fs::write(&body, "{}").unwrap();
    let secret = secret_file(dir.path(), 0, "a secret of more than sixteen bytes");
    let url = format!("http://{}/webhooks/github", gate.address("senders"));
    let signed = run(&[
        "sign",
        "--provider",
        "github",
        "--secret-file",
        &secret,
        "--body",
        &body.display().to_string(),
        "--url",
        &url,
    ]);
    let command = stdout(&signed);
    assert!(command.starts_with("curl "), "{command}");
    let answer = std::process::Command::new("sh")
        .args([
            "-c",
            &format!("{} -s -o /dev/null -w '%{{http_code}}'", command.trim_end()),
        ])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "200", "{command}");
}

#[test]
fn check_says_all_at_once_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let good = config::forward("http://127.0.0.1:3000", "");
    std::fs::write(&path, &good).unwrap();
    let path = path.display().to_string();
    let checked = run(&["check", &path]);
    assert_eq!(checked.status.code(), Some(0), "{}", stdout(&checked));
    assert!(stdout(&checked).contains('✓'));
    assert_eq!(run(&["check", "--strict", &path]).status.code(), Some(0));
    std::fs::write(
        &path,
        format!(
            "{good}  - {{ name: open, path: /open, verify: none, forward: {{ upstream: app }} }}\n"
        ),
    )
    .unwrap();
    let warned = run(&["check", "--strict", &path]);
    assert_eq!(
        warned.status.code(),
        Some(1),
        "it has a warning: {}",
        stdout(&warned)
    );
    std::fs::write(
        &path,
        good.replace("upstream: app", "upstream: ap")
            .replace("dedupe:", "dedup:")
            .replace("timeout: 5s", "timeout: 5"),
    )
    .unwrap();
    let checked = run(&["check", &path]);
    assert_eq!(checked.status.code(), Some(1));
    let text = stdout(&checked);
    for part in [
        "did you mean `app`?",
        "did you mean `dedupe`?",
        "write a unit: `5s`, `5m` or `5h`",
        "config.yaml:6:",
        "3 errors",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let json = stdout(&run(&["check", "--format", "json", &path]));
    let lines: Vec<serde_json::Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        lines.iter().filter(|line| line["level"] == "error").count(),
        3
    );
    assert!(
        lines
            .iter()
            .all(|line| line["line"].is_u64() && line["message"].is_string())
    );
}

#[test]
fn the_demo_shows_every_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let [gate, health, admin, upstream] = [(); 4].map(|()| unused_address().port());
    let example = std::fs::read_to_string("config.example.yaml").unwrap();
    let mine = [
        ("8080", gate),
        ("9091", health),
        ("9090", admin),
        ("3000", upstream),
    ];
    let yaml = mine.iter().fold(example, |yaml, (port, mine)| {
        yaml.replace(&format!("127.0.0.1:{port}"), &format!("127.0.0.1:{mine}"))
    });
    let path = dir.path().join("config.example.yaml");
    std::fs::write(&path, yaml).unwrap();
    copy("demo", &dir.path().join("demo"));
    let sending = dir.path().join("demo/config.yaml");
    let yaml = std::fs::read_to_string(&sending).unwrap();
    let mine = [
        ("127.0.0.1:9092", "127.0.0.1:"),
        ("127.0.0.1:9400", "127.0.0.1:"),
        ("[4000, ", "["),
    ];
    let yaml = mine.iter().fold(yaml, |yaml, (known, before)| {
        let port = unused_address().port();
        let after = if before.ends_with('[') { ", " } else { "" };
        yaml.replace(known, &format!("{before}{port}{after}"))
    });
    std::fs::write(&sending, yaml).unwrap();
    let shown = run(&[
        "demo",
        "--exit",
        "--config",
        &path.display().to_string(),
        "--sending",
        &sending.display().to_string(),
    ]);
    let text = stdout(&shown);
    assert_eq!(
        shown.status.code(),
        Some(0),
        "{text}{}",
        String::from_utf8_lossy(&shown.stderr)
    );
    assert!(
        text.contains("4 authentic, 2 refused, 1 duplicate; the app got 4 requests, as expected."),
        "{text}"
    );
    assert!(
        text.contains("1 event published, received and verified, as expected."),
        "{text}"
    );
    let text = format!("{text}{}", String::from_utf8_lossy(&shown.stderr));
    for name in [
        "outbound-token",
        "store-key",
        "github-2026-11",
        "github-2026-05",
        "stripe",
        "slack",
        "standard-webhooks",
        "admin-token",
    ] {
        let secret = std::fs::read_to_string(format!("demo/secrets/{name}")).unwrap();
        assert!(
            !text.contains(secret.trim()),
            "the demo shows the secret {name}"
        );
    }
}

fn copy(from: impl AsRef<Path>, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn health_and_status_answer_by_exit_code() {
    let app = App::start();
    let gate = Gate::start(&config::forward(&app.url(), ""));
    let health = gate.address("health").to_string();
    assert_eq!(
        run(&["health", "--address", &health]).status.code(),
        Some(0)
    );
    let admin = gate.address("admin").to_string();
    let calm = run(&["status", "--admin", &admin]);
    assert_eq!(calm.status.code(), Some(0), "{}", stdout(&calm));
    gate.post("/webhooks/github", &[], b"{}");
    let busy = run(&["status", "--admin", &admin]);
    assert_eq!(busy.status.code(), Some(1));
    assert!(
        stdout(&busy).contains("signature_missing"),
        "{}",
        stdout(&busy)
    );
    let json: serde_json::Value =
        serde_json::from_slice(&run(&["status", "--json", "--admin", &admin]).stdout).unwrap();
    assert_eq!(json["generation"], 1);
    drop(gate);
    assert_eq!(
        run(&["health", "--address", &health]).status.code(),
        Some(1),
        "Docker knows 0 and 1 alone"
    );
    assert_eq!(run(&["status", "--admin", &admin]).status.code(), Some(69));
}

/// Nothing that a gate or a command says holds the secret: not the log, not an error, not the admin API, not a metric.
#[test]
fn no_command_shows_a_secret() {
    let app = App::start();
    let secret = "S3cretThatNobodyMaySee-0123456789";
    let yaml = config::forward(&app.url(), "").replace(
        "insecure_inline: \"a secret of more than sixteen bytes\", allow_whitespace: true",
        &format!("insecure_inline: \"{secret}\""),
    );
    let token = format!(
        "  - name: gitlab\n    path: /webhooks/gitlab\n    verify: {{ provider: gitlab, secrets: [{{ insecure_inline: \"{secret}\" }}] }}\n    forward: {{ upstream: app }}\n"
    );
    let gate = Gate::start(&format!("{yaml}{token}"));
    let with = |name: &str| {
        vec![
            (name.to_owned(), secret.to_owned()),
            ("Idempotency-Key".to_owned(), secret[..0].to_owned()),
        ]
    };
    assert_eq!(
        gate.post("/webhooks/gitlab", &with("X-Gitlab-Token"), b"{}")
            .status,
        200
    );
    assert!(
        app.last()
            .headers
            .iter()
            .all(|(_, value)| !value.contains(secret)),
        "the token reaches the app"
    );
    gate.post(
        &format!("/webhooks/gitlab?token={secret}"),
        &with("Authorization"),
        b"{}",
    );
    gate.post(
        &format!("/none?token={secret}"),
        &with("Authorization"),
        b"{}",
    );
    std::fs::write(gate.config_path(), format!("{yaml}{token}typo: {secret}\n")).unwrap();
    gate.signal("HUP");
    super::support::gate::wait_for("the error", || {
        !gate.admin("/-/status")["last_error"].is_null()
    });
    let admin = gate.address("admin").to_string();
    let config = gate.config_path().display().to_string();
    let all = [
        gate.log_lines().join("\n"),
        gate.lines().join("\n"),
        gate.admin("/-/status").to_string(),
        gate.admin("/-/refusals").to_string(),
        gate.health("/metrics").text(),
        stdout(&run(&["status", "--admin", &admin])),
        stdout(&run(&["check", &config])),
        stdout(&run(&["check", "--format", "json", &config])),
    ];
    for (number, text) in all.iter().enumerate() {
        assert!(!text.contains(secret), "{number}: {text}");
    }
}

/// Commands that hold the secret, well and badly called: none of them prints it, plain or encoded, and none panics.
#[test]
fn no_command_prints_a_secret() {
    let secret = "S3cretThatNobodyMaySee-0123456789";
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (file, body, request) = (
        secret_file(dir.path(), 0, secret),
        at("body"),
        at("request"),
    );
    std::fs::write(&body, "{}").unwrap();
    std::fs::write(
        &request,
        format!("POST /a?token={secret} HTTP/1.1\r\nHost: h\r\nX-Gitlab-Token: {secret}\r\nAuthorization: Basic {secret}\r\n\r\n{{}}"),
    )
    .unwrap();
    std::fs::write(at("broken"), format!("POST /a?token={secret}\r\n{secret}")).unwrap();
    std::fs::write(
        at("bad.yaml"),
        format!("listen: {secret}\nroutes:\n  - name: {secret}\n    verify: {{ provider: {secret}, secrets: {secret} }}\n"),
    )
    .unwrap();
    std::fs::write(
        at("good.yaml"),
        config::forward("http://127.0.0.1:9", "").replace(
            "\"a secret of more than sixteen bytes\", allow_whitespace: true",
            secret,
        ),
    )
    .unwrap();
    let (good, bad, broken) = (at("good.yaml"), at("bad.yaml"), at("broken"));
    let mut runs: Vec<Vec<&str>> = Vec::new();
    for provider in [
        "github",
        "stripe",
        "slack",
        "standard-webhooks",
        "gitlab",
        "square",
        "telegram",
        "postmark",
        "shopify",
        "twitch",
    ] {
        runs.push(vec![
            "sign",
            "--provider",
            provider,
            "--secret-file",
            &file,
            "--body",
            &body,
        ]);
        runs.push(vec![
            "sign",
            "--provider",
            provider,
            "--secret-env",
            "THE_SECRET",
            "--body",
            &body,
            "--json",
        ]);
        runs.push(vec![
            "sign",
            "--provider",
            provider,
            "--secret-env",
            "THE_SECRET",
            "--body",
            &body,
            "--send",
            "--url",
            "http://127.0.0.1:9/x",
        ]);
        runs.push(vec![
            "verify",
            "--provider",
            provider,
            "--secret-file",
            &file,
            &request,
        ]);
        runs.push(vec![
            "verify",
            "--provider",
            provider,
            "--secret-env",
            "THE_SECRET",
            "--json",
            &request,
        ]);
        runs.push(vec![
            "-v",
            "verify",
            "--provider",
            provider,
            "--secret-file",
            &file,
            &broken,
        ]);
    }
    runs.push(vec![
        "sign", "--config", &good, "--route", "github", "--body", &body,
    ]);
    runs.push(vec![
        "verify", "--config", &good, "--route", "github", &request,
    ]);
    runs.push(vec![
        "verify", "--config", &bad, "--route", "github", &request,
    ]);
    runs.push(vec!["-v", "check", &good]);
    runs.push(vec!["check", "--json", &bad]);
    runs.push(vec!["check", &bad]);
    runs.push(vec!["check", &file]);
    runs.push(vec!["run", "--config", &bad]);
    runs.push(vec!["run", "--config", &file]);
    runs.push(vec!["status", "--config", &bad]);
    runs.push(vec![
        "status",
        "--config",
        &good,
        "--token-file",
        &file,
        "--admin",
        "127.0.0.1:9",
    ]);
    runs.push(vec!["health", "--config", &bad]);
    runs.push(vec!["demo", "--exit", "--config", &bad]);
    let spellings = [
        secret.to_owned(),
        hex::encode(secret),
        "UzNjcmV0VGhhdE5vYm9keU1heVNlZS0wMTIzNDU2Nzg5".to_owned(),
    ];
    for args in runs {
        let output = hookgate()
            .args(&args)
            .env("THE_SECRET", secret)
            .env_remove("HOOKGATE_CONFIG")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            stdout(&output),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            spellings.iter().all(|secret| !text.contains(secret)),
            "{args:?}: {text}"
        );
        assert!(
            !text.contains("panicked") && output.status.code().is_some_and(|code| code < 100),
            "{args:?}: {text}"
        );
        assert!(!text.is_empty(), "{args:?} says nothing");
    }
}

/// Signs a body with `--secret-file`, and returns the command that sends it.
fn signed_request(dir: &Path, secret: &str) -> String {
    std::fs::write(dir.join("body.json"), "{\"ref\":\"main\"}").unwrap();
    let [secret, body] = [secret, "body.json"].map(|name| dir.join(name).display().to_string());
    let url = "http://127.0.0.1:8080/webhooks/github";
    let args = [
        "sign",
        "--provider",
        "github",
        "--secret-file",
        &secret,
        "--body",
        &body,
        "--url",
        url,
    ];
    let signed = run(&args);
    assert!(signed.status.success(), "{signed:?}");
    stdout(&signed)
}

#[test]
fn explain_names_the_route_whose_secret_matches() {
    let dir = tempfile::tempdir().unwrap();
    for (name, secret) in [
        ("own", "a-secret-of-this-route-alone"),
        ("labs", "a-secret-of-the-other-route"),
    ] {
        std::fs::write(dir.path().join(name), secret).unwrap();
    }
    let route = |name: &str, secret: &str| {
        format!(
            "  - {{ name: {name}, path: /webhooks/{name}, verify: {{ provider: github, secrets: [{{ file: {secret}, name: main }}] }}, dedupe: {{}}, forward: {{ upstream: app }} }}\n"
        )
    };
    let config = dir.path().join("config.yaml");
    let yaml = format!(
        "listen: [{{ address: 127.0.0.1:0 }}]\nupstreams: {{ app: {{ url: http://127.0.0.1:1 }} }}\nroutes:\n{}{}",
        route("github", "own"),
        route("labs", "labs")
    );
    std::fs::write(&config, yaml).unwrap();
    let command = dir.path().join("command.txt");
    std::fs::write(&command, signed_request(dir.path(), "labs")).unwrap();
    let paths = [&config, &command].map(|path| path.display().to_string());
    let [config, command] = paths.each_ref().map(String::as_str);
    let args = ["explain", "--config", config, "--route", "github", command];
    let output = run(&args);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        text.contains("signed with a secret of another route, labs"),
        "{text}"
    );
    assert!(!text.contains("a-secret-of"), "{text}");

    std::fs::write(dir.path().join("own"), "another-secret-that-nobody-has").unwrap();
    std::fs::write(dir.path().join("labs"), "yet-another-secret-nobody-has").unwrap();
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        stdout(&output).contains("None of the known causes"),
        "{output:?}"
    );
}
