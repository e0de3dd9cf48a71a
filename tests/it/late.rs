//! Late retries: providers that repeat the signed time. A retry after the tolerance reaches the app if its first attempt did not.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::support::app::{Act, App};
use super::support::gate::{Gate, wait_for};
use super::support::http::Answer;
use super::support::set_clock::SetClock;
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
  app: {{ url: {}, timeout: 10s, connect_timeout: 10s, breaker: {{ failures: 0 }} }}
routes:
{}{}",
        app.url(),
        route("linear"),
        route("mailgun")
    )
}

/// Starts a gate by a clock of the test: no machine is too slow to send within the tolerance.
fn start(app: &App, clock: &Arc<SetClock>, store: bool, dedupe: &str) -> Gate {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    presets(dir.path());
    Gate::in_process_at(Arc::clone(clock) as _, dir, &yaml(app, store, dedupe))
}

/// Starts a gate as a process of its own, which can be killed.
fn start_process(app: &App, store: bool) -> Gate {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    presets(dir.path());
    Gate::start_in(dir, &yaml(app, store, "dedupe: {},"))
}

/// A clock that stands at the present second.
fn clock() -> Arc<SetClock> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Arc::new(SetClock(now.as_secs().into()))
}

/// Returns the time of a clock.
fn time(clock: &SetClock) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(clock.0.load(Ordering::SeqCst))
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
    fn is_answered(&self, gate: &Gate, status: u16, word: Option<&str>) {
        let answer = self.send(gate);
        assert_eq!(
            (answer.status, answer.header("Hookgate-Status")),
            (status, word),
            "{}",
            answer.text()
        );
    }

    /// Sets the clock to a time after the tolerance.
    fn goes_stale(&self, clock: &SetClock) {
        let late = self.signed + TOLERANCE + Duration::from_secs(1);
        let late = late.duration_since(UNIX_EPOCH).unwrap().as_secs();
        clock.0.fetch_max(late, Ordering::SeqCst);
    }

    /// Waits until the tolerance has passed, for a gate by the real clock.
    fn becomes_stale(&self) {
        wait_for("the tolerance to pass", || {
            SystemTime::now() > self.signed + TOLERANCE + Duration::from_millis(5)
        });
    }
}

fn app(first: u16) -> (App, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(first));
    let current = Arc::clone(&status);
    (
        App::answering(move |_, _| Act::status(current.load(Ordering::SeqCst))),
        status,
    )
}

#[test]
fn a_late_retry_of_a_failed_delivery_reaches_the_app() {
    let (app, status) = app(503);
    let clock = clock();
    let gate = start(&app, &clock, true, "dedupe: {},");
    let linear = |now| Request::linear("one", SECRET, now);
    let mailgun = |now| Request::mailgun("one", now);
    let requests: [&dyn Fn(SystemTime) -> Request; 2] = [&linear, &mailgun];
    for request in requests {
        let request = request(time(&clock));
        status.store(503, Ordering::SeqCst);
        let seen = app.count();
        request.is_answered(&gate, 503, None);
        request.goes_stale(&clock);
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
    let app = App::start();
    let gates = [true, false].map(|store| {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        presets(dir.path());
        Gate::in_process_in(dir, &yaml(&app, store, "dedupe: {},"))
    });
    let requests = [
        Request::linear("lost", SECRET, SystemTime::now()),
        Request::mailgun("lost", SystemTime::now()),
    ];
    // the real clock: the gate measures by the monotonic one for how long it has been there
    requests.iter().for_each(Request::becomes_stale);
    for gate in &gates {
        requests[0].is_answered(gate, 200, None);
        requests[1].is_answered(gate, 401, None);
        let early = SystemTime::now() - Duration::from_secs(600);
        Request::linear("before the start", SECRET, early).is_answered(gate, 401, None);
    }
}

/// A store bridges a kill. A ledger in memory is empty after it.
#[test]
fn a_late_retry_after_a_kill_counts_only_with_a_store() {
    let app = App::start();
    let gates = [true, false].map(|store| (store, start_process(&app, store)));
    let requests = [
        Request::linear("lost", SECRET, SystemTime::now()),
        Request::mailgun("lost", SystemTime::now()),
    ];
    requests.iter().for_each(Request::becomes_stale);
    for (store, gate) in gates {
        let dir = gate.shared_dir();
        gate.signal("KILL");
        drop(gate);
        let gate = Gate::start_in(dir, &yaml(&app, store, "dedupe: {},"));
        requests[0].is_answered(&gate, if store { 200 } else { 401 }, None);
        requests[1].is_answered(&gate, 401, None);
        let early = SystemTime::now() - Duration::from_secs(600);
        Request::linear("before the start", SECRET, early).is_answered(&gate, 401, None);
    }
}

#[test]
fn a_captured_request_is_never_delivered_again() {
    let app = App::start();
    let clock = clock();
    let gate = start(&app, &clock, true, "dedupe: {},");
    let now = time(&clock);
    let captured = [
        Request::linear("one", SECRET, now),
        Request::mailgun("one", now),
    ];
    for request in &captured {
        request.is_answered(&gate, 200, None);
    }
    for request in &captured {
        request.goes_stale(&clock);
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

/// A commit that the disk refused is lost with the process, so the ledger may not count as complete.
#[test]
fn captured_request_is_refused_after_a_disk_lost_its_commit() {
    for signal in ["KILL", "TERM"] {
        let app = App::start();
        let mut gate = start_process(&app, true);
        let dir = gate.shared_dir();
        let disk = rusqlite::Connection::open(dir.path().join("store/hookgate.db")).unwrap();
        disk.busy_timeout(Duration::from_secs(5)).unwrap();
        let is_kept = "select exists (select 1 from meta where name = 'continuity')";
        wait_for("the route to be kept", || {
            disk.query_row(is_kept, [], |row| row.get(0)).unwrap()
        });
        disk.execute_batch("create trigger refuse before insert on journal begin select raise(abort, 'no room'); end").unwrap();
        let request = Request::linear("one", SECRET, SystemTime::now());
        request.is_answered(&gate, 200, None);
        gate.wait_for_log(&["writes to the store fail"]);
        gate.signal(signal);
        gate.wait(Duration::from_secs(20));
        drop(gate);
        disk.execute_batch("drop trigger refuse").unwrap();
        drop(disk);
        let gate = Gate::start_in(dir, &yaml(&app, true, "dedupe: {},"));
        request.becomes_stale();
        request.is_answered(&gate, 401, None);
        assert_eq!(app.count(), 1);
        let request = Request::linear("after the start", SECRET, SystemTime::now());
        request.becomes_stale();
        request.is_answered(&gate, 200, None);
    }
}

#[test]
fn the_rule_needs_dedupe_and_an_unchanged_route_and_a_good_signature() {
    let (app, status) = app(503);
    let clock = clock();
    let gate = start(&app, &clock, true, "");
    let request = Request::linear("one", SECRET, time(&clock));
    request.is_answered(&gate, 503, None);
    request.goes_stale(&clock);
    request.is_answered(&gate, 401, None);
    let dir = gate.shared_dir();
    drop(gate);
    status.store(200, Ordering::SeqCst);
    let gate = Gate::in_process_at(
        Arc::clone(&clock) as _,
        dir,
        &yaml(&app, true, "dedupe: {},"),
    );
    request.is_answered(&gate, 401, None);
    let forged = Request::linear("forged", "another-secret-of-many-bytes", time(&clock));
    forged.goes_stale(&clock);
    forged.is_answered(&gate, 401, None);
    Request::linear("ahead", SECRET, time(&clock) + Duration::from_secs(60))
        .is_answered(&gate, 401, None);
    assert_eq!(app.count(), 1);
}
