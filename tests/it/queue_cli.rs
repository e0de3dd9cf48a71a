//! The commands that show a queue and act on it, against a real gate.
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::support::app::{Act, App};
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::queue::{send, start_process, start_process_in};

const ONCE: &str = "retry: { initial: 1h, max: 1h, factor: 1, max_attempts: 5 }";

fn run(gate: &Gate, args: &[&str]) -> Output {
    let config = gate.config_path().display().to_string();
    let admin = gate.address("admin").to_string();
    let all = [args, &["--admin", &admin, "--config", &config]].concat();
    let output = hookgate()
        .args(all)
        .env("LC_ALL", "C.UTF-8")
        .env_remove("HOOKGATE_CONFIG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let token = std::fs::read_to_string(gate.dir().join("store/admin-token")).unwrap();
    let text = text_of(&output);
    assert!(
        !text.contains(SECRET) && !text.contains(token.trim()),
        "a secret is shown: {text}"
    );
    output
}

fn text_of(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[track_caller]
fn ends(gate: &Gate, args: &[&str], code: i32) -> String {
    let output = run(gate, args);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{args:?}: {}",
        text_of(&output)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The deliveries in a state, by the provider's ID.
fn in_state(gate: &Gate, state: &str) -> Vec<String> {
    let lines = ends(
        gate,
        &["deliveries", "list", "--state", state, "--oldest", "--json"],
        0,
    );
    let id = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["delivery_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    lines.lines().map(id).collect()
}

/// An app that answers with a status that the test sets.
fn app(first: u16) -> (App, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(first));
    let current = Arc::clone(&status);
    (
        App::answering(move |_, _| Act::status(current.load(Ordering::SeqCst))),
        status,
    )
}

#[test]
fn dead_letters_are_found_shown_and_replayed() {
    let (app, answers) = app(410);
    let gate = start_process(&config::queue(&app.url(), ONCE));
    for id in ["one", "two", "three"] {
        assert_eq!(
            send(
                &gate,
                id,
                format!("{{\"id\":\"{id}\",\"bad\":\"\u{1b}[2J\"}}").as_bytes()
            )
            .status,
            200
        );
    }
    wait_for("all to be dead", || in_state(&gate, "dead").len() == 3);
    let list = ends(&gate, &["deliveries", "list", "--route", "github"], 0);
    assert!(
        list.starts_with("ID") && list.contains("dead") && list.contains("410"),
        "{list}"
    );
    let shown = ends(&gate, &["deliveries", "show", "one"], 0);
    assert!(
        shown.contains("✕ dead, ended by 410")
            && shown.contains("secret main")
            && shown.contains("--body prints it"),
        "{shown}"
    );
    assert_eq!(
        ends(&gate, &["deliveries", "show", "one", "--body"], 0),
        "{\"id\":\"one\",\"bad\":\"\u{1b}[2J\"}"
    );
    assert!(
        ends(&gate, &["deliveries", "show", "one", "--http"], 0)
            .starts_with("POST /webhooks/github HTTP/1.1\r\n")
    );
    let curl = ends(&gate, &["deliveries", "show", "one", "--curl"], 0);
    assert!(
        curl.contains("curl -sS") && !curl.contains('\u{1b}'),
        "{curl}"
    );
    assert_eq!(
        ends(&gate, &["deliveries", "export", "--state", "dead"], 0)
            .lines()
            .count(),
        3
    );
    ends(&gate, &["deliveries", "show", "nothing"], 1);
    answers.store(200, Ordering::SeqCst);
    let before = app.count();
    let dry = run(
        &gate,
        &["deliveries", "replay", "--state", "dead", "--dry-run"],
    );
    assert!(
        text_of(&dry).contains("plan: 3 deliveries"),
        "{}",
        text_of(&dry)
    );
    ends(&gate, &["deliveries", "replay", "--state", "dead"], 2);
    assert_eq!(app.count(), before, "a plan changes nothing");
    ends(&gate, &["deliveries", "replay", "one"], 0);
    wait_for("one to be delivered", || {
        in_state(&gate, "delivered") == ["one"]
    });
    let many = run(
        &gate,
        &[
            "deliveries",
            "replay",
            "--state",
            "dead",
            "--yes",
            "--reason",
            "the app was away",
            "--rate",
            "100/s",
        ],
    );
    assert_eq!(many.status.code(), Some(0), "{}", text_of(&many));
    assert!(
        text_of(&many).contains("2 delivered, 0 failed"),
        "{}",
        text_of(&many)
    );
    assert_eq!(in_state(&gate, "delivered"), ["one", "two", "three"]);
}

#[test]
fn a_replay_that_stops_says_how_to_go_on() {
    let (app, answers) = app(410);
    let gate = start_process(&config::queue(&app.url(), ONCE));
    for id in ["one", "two", "three", "four"] {
        send(&gate, id, b"{}");
    }
    wait_for("all to be dead", || in_state(&gate, "dead").len() == 4);
    let stopped = run(
        &gate,
        &[
            "deliveries",
            "replay",
            "--state",
            "dead",
            "--yes",
            "--reason",
            "a try",
            // slow enough for each outcome to be known before the next one begins
            "--rate",
            "2/s",
            "--stop-after",
            "2",
        ],
    );
    let text = text_of(&stopped);
    assert_eq!(stopped.status.code(), Some(3), "{text}");
    assert!(
        text.contains("✕ stopped") && text.contains("2 failed") && text.contains("2 not attempted"),
        "{text}"
    );
    let id = text
        .split("--resume ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    answers.store(200, Ordering::SeqCst);
    let resumed = run(
        &gate,
        &["deliveries", "replay", "--resume", &id, "--rate", "100/s"],
    );
    assert_eq!(
        resumed.status.code(),
        Some(3),
        "two of all failed: {}",
        text_of(&resumed)
    );
    wait_for("the other two", || in_state(&gate, "delivered").len() == 2);
}

#[test]
fn pending_deliveries_are_cancelled_and_purged_and_ids_forgotten() {
    let (app, answers) = app(503);
    let gate = start_process(&config::queue(&app.url(), ONCE));
    for id in ["one", "two"] {
        send(&gate, id, b"{}");
    }
    wait_for("both to be tried", || {
        in_state(&gate, "retrying").len() == 2
    });
    // its counts are a second old
    wait_for("the status with both", || {
        let status = run(&gate, &["status"]);
        let text = text_of(&status);
        status.status.code() == Some(1)
            && text.contains("answers 503; 2 deliveries wait, oldest ")
            && text.contains("WAITING")
    });
    ends(
        &gate,
        &["deliveries", "cancel", "one", "--reason", "not wanted"],
        0,
    );
    assert_eq!(in_state(&gate, "cancelled"), ["one"]);
    ends(
        &gate,
        &[
            "deliveries",
            "purge",
            "--state",
            "retrying",
            "--yes",
            "--reason",
            "nor this",
            "--include-waiting",
        ],
        0,
    );
    assert!(in_state(&gate, "retrying").is_empty());
    ends(&gate, &["forget", "--route", "github", "two"], 1);
    answers.store(200, Ordering::SeqCst);
    send(&gate, "three", b"{}");
    wait_for("the third", || in_state(&gate, "delivered") == ["three"]);
    assert_eq!(
        send(&gate, "three", b"{}").header("Hookgate-Status"),
        Some("duplicate")
    );
    ends(
        &gate,
        &[
            "forget",
            "--route",
            "github",
            "--reason",
            "lost by the app",
            "three",
        ],
        0,
    );
    assert_eq!(
        send(&gate, "three", b"{}").header("Hookgate-Status"),
        Some("queued")
    );
    wait_for("the third once more", || {
        in_state(&gate, "delivered") == ["three", "three"]
    });
}

#[test]
fn a_gate_is_drained_and_says_what_is_left() {
    let (app, answers) = app(503);
    let quick = "retry: { initial: 50ms, max: 50ms, factor: 1, max_attempts: 1000 }";
    let gate = start_process(&config::queue(&app.url(), quick));
    for id in ["one", "two"] {
        send(&gate, id, id.as_bytes());
    }
    let file = gate.dir().join("left.jsonl").display().to_string();
    let left = ends(
        &gate,
        &["drain", "--timeout", "300ms", "--export", &file],
        3,
    );
    assert!(
        left.contains("2 deliveries left in the store") && left.contains("2 written to"),
        "{left}"
    );
    let lines = std::fs::read_to_string(&file).unwrap();
    let raw: Vec<String> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["raw_text"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert!(
        raw.len() == 2 && raw[0].ends_with("\r\n\r\none") && raw[1].ends_with("\r\n\r\ntwo"),
        "{raw:?}"
    );
    let refused = send(&gate, "three", b"{}");
    assert_eq!(refused.status, 503, "{}", refused.text());
    answers.store(200, Ordering::SeqCst);
    assert!(ends(&gate, &["drain"], 0).contains("nothing is left"));
    assert!(
        app.count() > 2,
        "both were tried again until the app took them"
    );
}

/// A running `deliveries tail`, and its output on stdout and stderr.
struct Tail {
    child: Child,
    out: Arc<Mutex<Vec<String>>>,
    err: Arc<Mutex<Vec<String>>>,
}

impl Tail {
    fn start(admin: &str) -> Self {
        let mut child = hookgate()
            .args(["deliveries", "tail", "--json", "--admin", admin])
            .env_remove("HOOKGATE_CONFIG")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let (out, err) = (
            collect(child.stdout.take().unwrap()),
            collect(child.stderr.take().unwrap()),
        );
        Self { child, out, err }
    }

    fn lines(&self) -> Vec<Value> {
        self.out
            .lock()
            .unwrap()
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn says(&self, text: &str) -> bool {
        self.err
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(text))
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn collect(from: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let of_thread = Arc::clone(&lines);
    std::thread::spawn(move || {
        BufReader::new(from)
            .lines()
            .map_while(Result::ok)
            .for_each(|line| of_thread.lock().unwrap().push(line));
    });
    lines
}

#[test]
fn a_tail_follows_both_sides_and_a_gate_that_was_away() {
    let (app, _) = app(200);
    let yaml = config::queue(&app.url(), ONCE).replace(
        "admin: { address: 127.0.0.1:0 }",
        "admin: { address: unix:admin.sock }",
    );
    let mut gate = start_process(&yaml);
    let dir = gate.shared_dir();
    let tail = Tail::start(&format!("unix:{}", dir.path().join("admin.sock").display()));
    let count = AtomicU16::new(0);
    let seen = |gate: &Gate, what: &str| {
        let first = count.load(Ordering::SeqCst);
        // it shows events from its connection on: send until one is seen
        wait_for(what, || {
            let number = count.fetch_add(1, Ordering::SeqCst);
            send(gate, &format!("id-{number}"), b"{}");
            let is_new = |line: &Value| {
                (first..=number).any(|number| line["delivery_id"] == format!("id-{number}"))
            };
            tail.lines()
                .iter()
                .any(|line| line["outcome"] == "queued" && is_new(line))
        });
    };
    seen(&gate, "a request");
    wait_for("its try", || {
        tail.lines().iter().any(|line| {
            line["kind"] == "attempt" && line["outcome"] == "delivered" && line["attempt"] == 1
        })
    });
    gate.signal("TERM");
    assert!(gate.wait(Duration::from_secs(10)).success());
    wait_for("it to say so", || tail.says("not connected"));
    drop(gate);
    let gate = start_process_in(dir, &yaml);
    wait_for("it to be back", || {
        tail.says("reconnected after") && tail.says("was restarted")
    });
    seen(&gate, "a request of the next gate");
}

/// The app lost a delivery that was forwarded and recorded: its key is made of the body, and is forgotten by the ID all the same.
#[test]
fn a_recorded_delivery_is_forgotten_and_accepted_again() {
    let (app, _answers) = app(200);
    let by_content = config::forward_with_store(&app.url(), "record: all").replace(
        "dedupe: { window: 24h }",
        "dedupe: { by: content, window: 24h }",
    );
    let gate = start_process(&by_content);
    assert_eq!(send(&gate, "lost", b"{}").status, 200);
    wait_for("it to be recorded", || {
        in_state(&gate, "delivered") == ["lost"]
    });
    assert_eq!(
        send(&gate, "lost", b"{}").header("Hookgate-Status"),
        Some("duplicate")
    );
    let refused = text_of(&run(&gate, &["deliveries", "replay", "lost"]));
    assert!(
        refused.contains("`--include-delivered`"),
        "the command's own words: {refused}"
    );
    ends(
        &gate,
        &[
            "forget",
            "--route",
            "github",
            "--reason",
            "lost by the app",
            "lost",
        ],
        0,
    );
    assert_eq!(
        send(&gate, "lost", b"{}").header("Hookgate-Status"),
        None,
        "it is forwarded"
    );
    assert_eq!(app.count(), 2);
}

/// Nothing of it is stored: the body makes the key.
#[test]
fn a_delivery_that_is_not_recorded_is_forgotten_by_its_body() {
    let (app, _answers) = app(200);
    for dedupe in [
        "dedupe: { by: content, window: 24h }",
        "dedupe: { window: 24h }",
    ] {
        let gate = start_process(
            &config::forward_with_store(&app.url(), "record: none")
                .replace("dedupe: { window: 24h }", dedupe),
        );
        let before = app.count();
        assert_eq!(send(&gate, "lost", b"{\"n\":1}").status, 200);
        assert_eq!(
            send(&gate, "lost", b"{\"n\":1}").header("Hookgate-Status"),
            Some("duplicate")
        );
        let refused = text_of(&run(&gate, &["forget", "--route", "github", "lost"]));
        assert!(refused.contains("`--body FILE`"), "{refused}");
        let file = gate.dir().join("body");
        std::fs::write(&file, "{\"n\":1}").unwrap();
        ends(
            &gate,
            &[
                "forget",
                "--route",
                "github",
                "lost",
                "--body",
                &file.display().to_string(),
            ],
            0,
        );
        assert_eq!(
            send(&gate, "lost", b"{\"n\":1}").header("Hookgate-Status"),
            None,
            "it is forwarded"
        );
        assert_eq!(app.count() - before, 2);
    }
}
