//! The work of operators: asking a gate over a socket or with a token, reading its log, starting it wrongly.
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::support::app::App;
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, hookgate, wait_at_most, wait_for};
use super::support::http;
use super::support::sign::github;
use super::support::tls_gate;

fn run(args: &[&str]) -> Output {
    hookgate()
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("HOOKGATE_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text_of(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn an_admin_socket_is_for_its_owner_and_group() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = config::forward(&app.url(), "").replace(
        "admin: { address: 127.0.0.1:0 }",
        "admin: { address: unix:admin.sock }",
    );
    let gate = Gate::start_in(Arc::clone(&dir), &yaml);
    let socket = dir.path().join("admin.sock");
    let metadata = std::fs::metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);
    let address = format!("unix:{}", socket.display());
    assert_eq!(run(&["status", "--admin", &address]).status.code(), Some(0));
    drop(gate);
    assert_eq!(
        run(&["status", "--admin", &address]).status.code(),
        Some(69),
        "the socket is left over"
    );
    let again = Gate::start_in(Arc::clone(&dir), &yaml);
    assert_eq!(
        run(&["status", "--admin", &address]).status.code(),
        Some(0),
        "the next gate takes its place"
    );
    drop(again);
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "somebody's file").unwrap();
    let refused = run(&[
        "run",
        "--config",
        &dir.path().join("config.yaml").display().to_string(),
    ]);
    assert_eq!(refused.status.code(), Some(1), "{}", text_of(&refused));
    assert_eq!(std::fs::read(&socket).unwrap(), b"somebody's file");
}

#[test]
fn a_token_is_made_beside_the_store_and_changes_need_it() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = format!(
        "store: {{ path: state }}\n{}",
        config::forward(&app.url(), "")
    );
    let gate = Gate::start_in(Arc::clone(&dir), &yaml);
    let path = dir.path().join("state/admin-token");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let bearer = format!("Bearer {}", std::fs::read_to_string(&path).unwrap().trim());
    let reload = |more: &[(&str, &str)]| {
        let headers = [
            &[("Host", "localhost"), ("Content-Type", "application/json")],
            more,
        ]
        .concat();
        http::request(gate.address("admin"), "POST", "/-/reload", &headers, b"{}").status
    };
    assert_eq!(
        [
            reload(&[]),
            reload(&[("Authorization", "Bearer wrong")]),
            reload(&[("Authorization", &bearer)])
        ],
        [401, 401, 200]
    );
    let admin = gate.address("admin").to_string();
    let config = gate.config_path().display().to_string();
    assert_eq!(
        run(&["status", "--admin", &admin, "--config", &config])
            .status
            .code(),
        Some(0)
    );
}

/// Libraries tell what senders wrote; the log holds none of it at any level.
#[test]
fn the_log_is_the_gates_own_at_any_level() {
    let app = App::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(
        &path,
        config::forward(&app.url(), "").replace(
            "admin: { address: 127.0.0.1:0 }\n",
            "log: { format: json }\n",
        ),
    )
    .unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut child = hookgate()
        .args(["run", "--config"])
        .arg(&path)
        .env("HOOKGATE_LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    wait_for("the gate to be ready", || read().contains("\"ready\""));
    let address = |what: &str| {
        let text = read();
        let line = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .find(|line| line["msg"] == "listening" && line["for"] == what)
            .unwrap();
        line["address"].as_str().unwrap().parse().unwrap()
    };
    let marked = [
        ("X-Marked", "marked-by-the-sender"),
        ("Authorization", "Bearer marked-by-the-sender"),
    ];
    http::request(
        address("senders"),
        "POST",
        "/webhooks/github?q=marked-by-the-sender",
        &marked,
        b"{}",
    );
    let mut broken = http::Connection::open(address("senders"));
    broken
        .send(b"POST /marked-by-the-sender HTTP/9.9\r\nmarked by the sender\r\n\r\n")
        .unwrap();
    broken.answer().ok();
    let metrics = http::request(
        address("health"),
        "GET",
        "/metrics",
        &[("Host", "localhost")],
        b"",
    )
    .text();
    assert!(metrics.contains("hookgate_requests_total"), "{metrics}");
    let status = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    assert!(child.wait().unwrap().success());
    let text = read();
    assert!(text.contains("left"), "the last line is written: {text}");
    assert!(!text.contains("marked"), "{text}");
    for line in text.lines() {
        let module = serde_json::from_str::<serde_json::Value>(line).unwrap()["module"].clone();
        assert!(
            module
                .as_str()
                .is_some_and(|module| module.starts_with("hookgate::")),
            "a line of another library: {line}"
        );
    }
}

#[test]
fn unread_log_does_not_hold_up_the_gate() {
    let app = App::start();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let good = config::forward(&app.url(), "");
    std::fs::write(&path, &good).unwrap();
    let mut child = hookgate()
        .args(["run", "--config"])
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // read as far as the addresses, and no further
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut addresses = std::collections::HashMap::new();
    loop {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if line["msg"] == "ready" {
            break;
        }
        if line["msg"] == "listening" {
            let address: std::net::SocketAddr = line["address"].as_str().unwrap().parse().unwrap();
            addresses.insert(line["for"].as_str().unwrap().to_owned(), address);
        }
    }
    // the log has all mistakes of each refused reload
    let refused = || {
        let metrics = http::request(
            addresses["health"],
            "GET",
            "/metrics",
            &[("Host", "localhost")],
            b"",
        )
        .text();
        let line = metrics
            .lines()
            .find(|line| line.starts_with("hookgate_reloads_total{result=\"refused\"}"))
            .map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok())
            .unwrap_or_default()
    };
    for round in 0..12 {
        let wrong: String = (0..60)
            .map(|number| format!("wrong_{round}_{number}: 1\n"))
            .collect();
        std::fs::write(&path, format!("{good}{wrong}")).unwrap();
        let before = refused();
        let status = std::process::Command::new("kill")
            .args(["-HUP", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        wait_at_most(Duration::from_secs(10), "the reload to be refused", || {
            refused() > before
        });
    }
    let headers = github(SECRET, "id", b"{}");
    let answer = http::request(
        addresses["senders"],
        "POST",
        "/webhooks/github",
        &super::support::sign::borrowed(&headers),
        b"{}",
    );
    assert_eq!(answer.status, 200);
    let status = std::process::Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
    assert!(child.wait().unwrap().success(), "it leaves, too");
    drop(stderr);
}

#[test]
fn a_gate_started_wrongly_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let shown = path.display().to_string();
    let none = run(&["run"]);
    assert_eq!(none.status.code(), Some(2));
    assert!(text_of(&none).contains("--config"), "{}", text_of(&none));
    let absent = run(&["run", "--config", &shown]);
    assert_eq!(absent.status.code(), Some(1));
    assert!(
        text_of(&absent).contains("does not exist"),
        "{}",
        text_of(&absent)
    );
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let good = config::forward("http://127.0.0.1:9", "");
    std::fs::write(&path, good.replace("upstream: app", "upstream: ap")).unwrap();
    let wrong = hookgate()
        .arg("run")
        .env("HOOKGATE_CONFIG", &path)
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(wrong.stdout.is_empty(), "the report is talk about the run");
    assert!(
        text_of(&wrong).contains("did you mean `app`?"),
        "{}",
        text_of(&wrong)
    );
    for listener in [
        "listen: [{ address: 127.0.0.1:0 }]",
        "health: { address: 127.0.0.1:0 }",
        "admin: { address: 127.0.0.1:0 }",
    ] {
        std::fs::write(
            &path,
            good.replace(
                listener,
                &listener.replace("127.0.0.1:0", &taken.to_string()),
            ),
        )
        .unwrap();
        let output = run(&["run", "--config", &shown]);
        assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
        assert!(
            text_of(&output).contains(&format!("cannot listen on {taken}")),
            "{}",
            text_of(&output)
        );
    }
    drop(holder);
}

#[test]
fn stale_secret_is_shown_in_log_status_and_metric() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "a-secret-in-a-file-of-its-own").unwrap();
    let inline = "insecure_inline: \"a secret of more than sixteen bytes\", allow_whitespace: true";
    let gate = Gate::start_in(
        dir,
        &config::forward(&app.url(), "").replace(inline, "file: secret"),
    );
    std::fs::write(&secret, "").unwrap();
    wait_for("the stale secret", || {
        gate.health("/metrics")
            .text()
            .contains("hookgate_secret_stale 1")
    });
    let status = run(&["status", "--admin", &gate.address("admin").to_string()]);
    assert_eq!(status.status.code(), Some(1));
    assert!(
        text_of(&status).contains("github/main"),
        "{}",
        text_of(&status)
    );
    gate.wait_for_log(&["last good text"]);
    assert_eq!(
        gate.post(
            "/webhooks/github",
            &github("a-secret-in-a-file-of-its-own", "x", b"{}"),
            b"{}"
        )
        .status,
        200
    );
}

/// Between the load of the config and the begin of the watch there may be a minute of waiting for the store.
#[test]
fn changes_during_the_start_are_loaded() {
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = format!(
        "store: {{ path: state }}\n{}",
        config::forward(&app.url(), "")
    );
    let first = Gate::start_in(Arc::clone(&dir), &yaml);
    let mut second = Gate::spawn(hookgate(), Arc::clone(&dir), &yaml);
    second.wait_for_log(&["waiting"]);
    std::fs::write(
        dir.path().join("config.yaml"),
        yaml.replace("/webhooks/github", "/elsewhere"),
    )
    .unwrap();
    drop(first);
    second.wait_until_ready();
    assert_eq!(
        second
            .post("/elsewhere", &github(SECRET, "x", b"{}"), b"{}")
            .status,
        200
    );
}

#[test]
fn colour_is_for_terminals_or_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    std::fs::write(
        &path,
        config::forward("http://127.0.0.1:9", "").replace("upstream: app", "upstream: ap"),
    )
    .unwrap();
    let check = |name: &str, value: &str, more: &[&str]| {
        let output = hookgate()
            .args(more)
            .arg("check")
            .arg(&path)
            .env(name, value)
            .output()
            .unwrap();
        output.stdout.contains(&0x1b)
    };
    assert!(!check("X", "", &[]), "a pipe is no terminal");
    assert!(check("CLICOLOR_FORCE", "1", &[]));
    assert!(check("X", "", &["--color", "always"]));
    assert!(!check("CLICOLOR_FORCE", "1", &["--color", "never"]));
    assert!(!check("NO_COLOR", "1", &[]));
}

/// Returns how often the threads of a process have gone to sleep so far.
#[cfg(target_os = "linux")]
fn sleeps(pid: u32) -> u64 {
    let of_thread = |status: String| -> u64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        line.map_or(0, |count| count.trim().parse().unwrap())
    };
    std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok())
        .map(of_thread)
        .sum()
}

/// Waits until the process of a gate wakes at most five times a second. The first seconds give back what its requests used.
#[cfg(target_os = "linux")]
fn wait_until_asleep(gate: &Gate) {
    const SECONDS: u64 = 4;
    wait_at_most(Duration::from_secs(30), "the gateway to be idle", || {
        let before = sleeps(gate.pid());
        std::thread::sleep(Duration::from_secs(SECONDS));
        sleeps(gate.pid()) - before <= 5 * SECONDS
    });
}

/// An idle gateway lets the machine sleep, also after it has served and streamed requests.
#[test]
#[cfg(target_os = "linux")]
fn idle_gateway_wakes_at_most_five_times_a_second() {
    let app = App::start();
    let gate = Gate::start(&config::pass(&app.url(), "", ""));
    assert_eq!(
        gate.post("/webhooks/github", &github(SECRET, "a", b"{}"), b"{}")
            .status,
        200
    );
    let page = http::request(gate.address("senders"), "GET", "/page", &[], b"");
    assert_eq!(page.status, 200);
    wait_until_asleep(&gate);
}

/// The same over HTTP/2, whose connection is open still.
#[test]
#[cfg(target_os = "linux")]
fn idle_gateway_wakes_as_seldom_after_http_2() {
    let app = App::start();
    let (gate, certificate) = tls_gate::start_with(&config::pass(&app.url(), "", ""));
    let runtime = tls_gate::runtime();
    let _sender = runtime.block_on(async {
        let mut sender = tls_gate::connect(&gate, certificate).await;
        let request = ::http::Request::get("https://gate.test/page")
            .body(())
            .unwrap();
        let (answer, _) = sender.send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
        sender
    });
    wait_until_asleep(&gate);
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    for args in [
        &["providers", "list"][..],
        &["schema"],
        &["completions", "bash"],
        &["providers", "list", "--json"],
        &["--help"],
    ] {
        let mut child = hookgate()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            (output.status.code(), output.stderr.len()),
            (Some(0), 0),
            "{args:?}: {}",
            text_of(&output)
        );
    }
}
