//! Late retries: providers that repeat the signed time. A retry after the tolerance reaches the app if its first attempt did not.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::support::app::{Act, App};
use super::support::gate::{Gate, wait_for};
use super::support::http::Answer;
use super::support::sign::hmac_hex;

const SECRET: &str = "a-secret-of-more-than-sixteen-bytes";
/// The tolerance of the presets here, in place of their own: tests wait for it.
const TOLERANCE: Duration = Duration::from_secs(2);

/// The shipped presets, with a short tolerance and the fact that a retry keeps its time.
fn presets(dir: &Path) {
    std::fs::create_dir_all(dir.join("presets.d")).unwrap();
    for (name, tolerance) in [("linear", "60s"), ("mailgun", "5m")] {
        let text = std::fs::read_to_string(format!("providers/{name}.yaml")).unwrap();
        assert!(text.contains(&format!("tolerance: {tolerance}")), "{name}");
        let text = text.replace(&format!("tolerance: {tolerance}"), "tolerance: 2s");
        let fact = if text.contains("retry_keeps_time: yes") {
            ""
        } else {
            "facts:\n  retry_keeps_time: yes\n"
        };
        let text = if fact.is_empty() {
            text
        } else {
            text.replacen("facts:\n", fact, 1)
        };
        std::fs::write(dir.join(format!("presets.d/my-{name}.yaml")), text).unwrap();
    }
}

fn yaml(app: &App, store: bool, dedupe: &str) -> String {
    let store = if store {
        "store: { path: store }\n"
    } else {
        ""
    };
    let route = |name: &str| {
        let secrets = format!("secrets: [{{ name: main, insecure_inline: {SECRET} }}]");
        format!(
            "  - {{ name: {name}, path: /{name}, verify: {{ provider: my-{name}, {secrets} }}, {dedupe} forward: {{ upstream: app }} }}\n"
        )
    };
    format!(
        "listen: [{{ address: 127.0.0.1:0 }}]
health: {{ address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
shutdown: {{ delay: 0s, grace: 5s }}
providers: presets.d
{store}upstreams:
  app: {{ url: {}, timeout: 2s, connect_timeout: 500ms, breaker: {{ failures: 0 }} }}
routes:
{}{}",
        app.url(),
        route("linear"),
        route("mailgun")
    )
}

fn start(app: &App, store: bool, dedupe: &str) -> Gate {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    presets(dir.path());
    Gate::start_in(dir, &yaml(app, store, dedupe))
}

/// A request that can be sent again as it was.
#[derive(Clone)]
struct Request {
    path: &'static str,
    headers: Vec<(String, String)>,
    body: String,
    signed: SystemTime,
}

impl Request {
    fn linear(event: &str, secret: &str, signed: SystemTime) -> Self {
        let ms = signed.duration_since(UNIX_EPOCH).unwrap().as_millis();
        let body = format!("{{\"type\":\"Issue\",\"webhookTimestamp\":{ms},\"data\":\"{event}\"}}");
        let headers = vec![
            (
                "Linear-Signature".to_owned(),
                hmac_hex(secret, body.as_bytes()),
            ),
            ("Linear-Delivery".to_owned(), event.to_owned()),
        ];
        Self {
            path: "/linear",
            headers,
            body,
            signed,
        }
    }

    fn mailgun(event: &str, signed: SystemTime) -> Self {
        let seconds = signed.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let signature = hmac_hex(SECRET, format!("{seconds}{event}").as_bytes());
        let body = format!(
            "{{\"signature\":{{\"timestamp\":\"{seconds}\",\"token\":\"{event}\",\"signature\":\"{signature}\"}},\"event-data\":{{\"event\":\"opened\"}}}}"
        );
        Self {
            path: "/mailgun",
            headers: Vec::new(),
            body,
            signed: UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    fn send(&self, gate: &Gate) -> Answer {
        gate.post(self.path, &self.headers, self.body.as_bytes())
    }

    #[track_caller]
    fn is_answered(&self, gate: &Gate, status: u16, said: Option<&str>) {
        let answer = self.send(gate);
        assert_eq!(
            (answer.status, answer.header("Hookgate-Status")),
            (status, said),
            "{}",
            answer.text()
        );
    }

    /// Waits until the tolerance has passed.
    fn goes_stale(&self) {
        wait_for("the tolerance to pass", || {
            SystemTime::now() > self.signed + TOLERANCE + Duration::from_millis(5)
        });
    }
}

fn app(first: u16) -> (App, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(first));
    let told = Arc::clone(&status);
    (
        App::answering(move |_, _| Act::status(told.load(Ordering::SeqCst))),
        status,
    )
}

#[test]
fn a_late_retry_of_a_failed_delivery_reaches_the_app() {
    let (app, status) = app(503);
    let gate = start(&app, true, "dedupe: {},");
    let linear = |now| Request::linear("one", SECRET, now);
    let mailgun = |now| Request::mailgun("one", now);
    let requests: [&dyn Fn(SystemTime) -> Request; 2] = [&linear, &mailgun];
    for request in requests {
        let request = request(SystemTime::now());
        status.store(503, Ordering::SeqCst);
        let seen = app.count();
        request.is_answered(&gate, 503, None);
        request.goes_stale();
        let other_body = Request {
            body: request
                .body
                .replace("Issue", "Event")
                .replace("opened", "failed"),
            ..request.clone()
        };
        other_body.is_answered(&gate, 401, None);
        request.is_answered(&gate, 503, None);
        status.store(200, Ordering::SeqCst);
        request.is_answered(&gate, 200, None);
        request.is_answered(&gate, 200, Some("duplicate"));
        assert_eq!(app.count(), seen + 3, "{}", request.path);
    }
    let metrics = gate.health("/metrics").text();
    for route in ["linear", "mailgun"] {
        assert!(
            metrics.contains(&format!(
                "hookgate_late_retries_total{{route=\"{route}\"}} 3"
            )),
            "{metrics}"
        );
    }
    assert_eq!(gate.admin("/-/status")["routes"][0]["late_retries"], 3);
}

#[test]
fn a_first_attempt_that_was_never_seen_counts_only_without_a_gap() {
    for (store, restarts, status) in [
        (true, true, 200),
        (true, false, 200),
        (false, false, 200),
        (false, true, 401),
    ] {
        let app = App::start();
        let gate = start(&app, store, "dedupe: {},");
        let requests = [
            Request::linear("lost", SECRET, SystemTime::now()),
            Request::mailgun("lost", SystemTime::now()),
        ];
        requests[0].goes_stale();
        requests[1].goes_stale();
        let gate = if restarts {
            let dir = gate.shared_dir();
            gate.signal("KILL");
            drop(gate);
            Gate::start_in(dir, &yaml(&app, store, "dedupe: {},"))
        } else {
            gate
        };
        requests[0].is_answered(&gate, status, None);
        requests[1].is_answered(&gate, 401, None);
        let early = Request::linear(
            "before the start",
            SECRET,
            SystemTime::now() - Duration::from_secs(600),
        );
        early.is_answered(&gate, 401, None);
    }
}

#[test]
fn a_captured_request_is_never_delivered_again() {
    let app = App::start();
    let gate = start(&app, true, "dedupe: {},");
    let now = SystemTime::now();
    let captured = [
        Request::linear("one", SECRET, now),
        Request::mailgun("one", now),
    ];
    for request in &captured {
        request.is_answered(&gate, 200, None);
    }
    for request in &captured {
        request.goes_stale();
        let mut renamed = request.clone();
        renamed
            .headers
            .iter_mut()
            .filter(|(name, _)| name == "Linear-Delivery")
            .for_each(|(_, id)| *id = "another".to_owned());
        for replayed in [request, &renamed, request] {
            let answer = replayed.send(&gate);
            assert!(
                answer.status == 401 || answer.header("Hookgate-Status") == Some("duplicate"),
                "{} {}",
                answer.status,
                request.path
            );
        }
    }
    assert_eq!(app.count(), 2);
}

/// What was delivered while the disk took nothing is lost with the process: the ledger may not pass for complete.
#[test]
fn captured_request_is_refused_after_a_disk_lost_its_commit() {
    for signal in ["KILL", "TERM"] {
        let app = App::start();
        let mut gate = start(&app, true, "dedupe: {},");
        let dir = gate.shared_dir();
        let disk = rusqlite::Connection::open(dir.path().join("store/hookgate.db")).unwrap();
        disk.busy_timeout(Duration::from_secs(5)).unwrap();
        let is_kept = "select exists (select 1 from meta where name = 'kept')";
        wait_for("the route to be kept", || {
            disk.query_row(is_kept, [], |row| row.get(0)).unwrap()
        });
        disk.execute_batch("create trigger refuse before insert on ledger begin select raise(abort, 'no room'); end").unwrap();
        let request = Request::linear("one", SECRET, SystemTime::now());
        request.is_answered(&gate, 200, None);
        wait_for("the disk to refuse it", || {
            gate.said()
                .iter()
                .any(|line| line.contains("writes to the store fail"))
        });
        gate.signal(signal);
        gate.wait(Duration::from_secs(20));
        drop(gate);
        disk.execute_batch("drop trigger refuse").unwrap();
        drop(disk);
        let gate = Gate::start_in(dir, &yaml(&app, true, "dedupe: {},"));
        request.goes_stale();
        request.is_answered(&gate, 401, None);
        assert_eq!(app.count(), 1);
        let request = Request::linear("after the start", SECRET, SystemTime::now());
        request.goes_stale();
        request.is_answered(&gate, 200, None);
    }
}

#[test]
fn the_rule_needs_dedupe_and_an_unchanged_route_and_a_good_signature() {
    let (app, status) = app(503);
    let gate = start(&app, true, "");
    let request = Request::linear("one", SECRET, SystemTime::now());
    request.is_answered(&gate, 503, None);
    request.goes_stale();
    request.is_answered(&gate, 401, None);
    let dir = gate.shared_dir();
    drop(gate);
    status.store(200, Ordering::SeqCst);
    let gate = Gate::start_in(dir, &yaml(&app, true, "dedupe: {},"));
    request.is_answered(&gate, 401, None);
    let forged = Request::linear("forged", "another-secret-of-many-bytes", SystemTime::now());
    forged.goes_stale();
    forged.is_answered(&gate, 401, None);
    Request::linear("ahead", SECRET, SystemTime::now() + Duration::from_secs(60))
        .is_answered(&gate, 401, None);
    assert_eq!(app.count(), 1);
}
