//! A queue pauses while something in front of its app answers for it, and the pause costs no attempts.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::support::app::{Act, App};
use super::support::config;
use super::support::gate::{Gate, metric, wait_at_most, wait_for};
use super::support::queue::{attempts, send, start, waiting};

const PAUSED: &str = "hookgate_queue_paused{route=\"github\"}";
const DEAD: &str = "hookgate_queue_dead{route=\"github\"}";

/// An app that does `away` until the flag is set.
fn away_app(away: impl Fn() -> Act + Send + Sync + 'static) -> (App, Arc<AtomicBool>) {
    let is_back = Arc::new(AtomicBool::new(false));
    let current = Arc::clone(&is_back);
    let app = App::answering(move |_, _| {
        if current.load(Ordering::SeqCst) {
            Act::status(200)
        } else {
            away()
        }
    });
    (app, is_back)
}

fn queue_all(gate: &Gate, count: usize, body: impl Fn(usize) -> String) {
    for number in 0..count {
        let answer = send(gate, &format!("id-{number:02}"), body(number).as_bytes());
        assert_eq!(
            (answer.status, answer.header("Hookgate-Status")),
            (200, Some("queued")),
            "{}",
            answer.text()
        );
    }
}

fn ids(app: &App) -> Vec<String> {
    app.seen()
        .iter()
        .map(|seen| seen.header("Hookgate-Delivery-Id").unwrap().to_owned())
        .collect()
}

/// Three attempts each: without a pause all would be dead after some 50 ms.
#[test]
fn an_app_behind_a_proxy_that_is_away_costs_no_attempts() {
    let acts: [fn() -> Act; 5] = [
        || Act::status(429),
        || Act::status(502),
        || Act::status(503),
        || Act::status(504),
        Act::hang_up,
    ];
    std::thread::scope(|scope| {
        for away in acts {
            scope.spawn(move || {
                // the app answers nobody before all twelve wait: else, on a busy machine, the first
                // of them has its three attempts before three deliveries have failed
                let is_filled = Arc::new(AtomicBool::new(false));
                let filled = Arc::clone(&is_filled);
                let (app, is_back) = away_app(move || {
                    wait_for("twelve deliveries", || filled.load(Ordering::SeqCst));
                    away()
                });
                // as many attempts as failures that pause it: no delivery is dead before, however slow the machine is
                let retry = "retry: { initial: 10ms, factor: 1, max: 10ms, max_attempts: 5 }, concurrency: 2";
                let gate = start(&config::queue(&app.url(), retry));
                queue_all(&gate, 12, |number| format!("{{\"n\":{number}}}"));
                is_filled.store(true, Ordering::SeqCst);
                wait_for("the pause", || metric(&gate, PAUSED) == 1.0);
                // five that pause it, one that was under way, and probes after 100, 200, 400 ms
                wait_for("probes", || app.count() >= 9);
                assert!(app.count() <= 11, "{}", app.count());
                let probes = ids(&app).split_off(6);
                assert!(probes.windows(2).all(|two| two[0] != two[1]), "each is another delivery: {probes:?}");
                let status = gate.admin("/-/status");
                assert!(status["routes"][0]["pause_seconds"].is_u64(), "{status}");
                is_back.store(true, Ordering::SeqCst);
                wait_for("all to arrive", || waiting(gate.dir()) == 0);
                wait_for("the metrics", || {
                    metric(&gate, PAUSED) == 0.0 && metric(&gate, "hookgate_queue_waiting{route=\"github\"}") == 0.0
                });
                assert_eq!(metric(&gate, DEAD), 0.0);
                assert!(attempts(gate.dir()).values().all(|all| all.last().is_some_and(|came| came == "200")));
            });
        }
    });
}

#[test]
fn probes_of_a_fifo_route_are_of_another_lane() {
    let (app, is_back) = away_app(|| Act::status(502));
    let more = "fifo: json:/lane, retry: { initial: 10ms, factor: 1, max: 10ms }, concurrency: 1";
    let gate = start(&config::queue(&app.url(), more));
    queue_all(&gate, 9, |number| {
        format!("{{\"lane\":\"{}\",\"n\":{number}}}", number % 3)
    });
    wait_for("probes", || app.count() >= 8);
    let lane = |id: &String| id[3..].parse::<usize>().unwrap() % 3;
    let probes = ids(&app).split_off(5);
    assert!(
        probes.windows(2).all(|two| lane(&two[0]) != lane(&two[1])),
        "{probes:?}"
    );
    is_back.store(true, Ordering::SeqCst);
    wait_for("all to arrive", || waiting(gate.dir()) == 0);
    for of in 0..3 {
        let mut order: Vec<_> = ids(&app).into_iter().filter(|id| lane(id) == of).collect();
        order.dedup();
        assert!(order.is_sorted(), "{order:?}");
    }
}

#[test]
fn retry_after_pauses_the_whole_target() {
    let (app, is_back) = away_app(|| {
        let mut act = Act::status(429);
        act.headers.push(("Retry-After".into(), "1".into()));
        act
    });
    let gate = start(&config::queue(
        &app.url(),
        "retry: { initial: 10ms, factor: 1, max: 10ms, max_attempts: 2 }, concurrency: 4",
    ));
    let begun = Instant::now();
    queue_all(&gate, 40, |number| format!("{{\"n\":{number}}}"));
    wait_for("a probe", || {
        app.count() >= 5 && begun.elapsed() > Duration::from_millis(2500)
    });
    // those that paused it, those under way with them, and a probe a second
    assert!(app.count() <= 5 + 3 + 3, "{}", app.count());
    is_back.store(true, Ordering::SeqCst);
    wait_for("all to arrive", || waiting(gate.dir()) == 0);
    assert_eq!(metric(&gate, DEAD), 0.0);
}

#[test]
fn one_poison_delivery_never_pauses_its_target() {
    let app = App::answering(|_, seen| {
        Act::status(if seen.body.starts_with(b"{\"poison\"") {
            502
        } else {
            200
        })
    });
    let gate = start(&config::queue(
        &app.url(),
        "retry: { initial: 5ms, factor: 1, max: 5ms, max_attempts: 12 }, concurrency: 1",
    ));
    assert_eq!(send(&gate, "poison", b"{\"poison\":1}").status, 200);
    wait_for("it to be dead", || {
        attempts(gate.dir())
            .get("poison")
            .is_some_and(|all| all.len() == 12)
            && waiting(gate.dir()) == 0
    });
    assert!(
        gate.log_lines().iter().all(|line| !line.contains("pauses")),
        "{:?}",
        gate.log_lines()
    );
}

#[test]
fn a_pause_refuses_no_forward_within_a_request() {
    let (app, is_back) = away_app(|| Act::status(502));
    let more = "on_failure: queue, retry: { initial: 10ms, factor: 1, max: 10ms }";
    let gate =
        start(&config::forward_with_store(&app.url(), more).replace("open: 100ms", "open: 60s"));
    for number in 0..5 {
        assert_eq!(
            send(
                &gate,
                &format!("id-{number}"),
                format!("{{\"n\":{number}}}").as_bytes()
            )
            .header("Hookgate-Status"),
            Some("spilled")
        );
    }
    wait_for("the pause", || metric(&gate, PAUSED) == 1.0);
    let answer = send(&gate, "within", b"{\"n\":100}");
    assert_eq!(
        answer.header("Hookgate-Status"),
        Some("spilled"),
        "{}",
        answer.text()
    );
    assert_eq!(
        ids(&app).iter().filter(|id| *id == "within").count(),
        1,
        "it was forwarded all the same"
    );
    is_back.store(true, Ordering::SeqCst);
    let answer = send(&gate, "after", b"{\"n\":101}");
    assert_eq!(
        (answer.status, answer.header("Hookgate-Status")),
        (200, None),
        "{}",
        answer.text()
    );
    wait_at_most(
        Duration::from_secs(2),
        "the queue to wait for its own pause",
        || waiting(gate.dir()) == 6,
    );
}

#[test]
fn a_new_address_ends_the_pause() {
    let (app, _) = away_app(|| Act::status(502));
    let yaml = config::queue(&app.url(), "retry: { initial: 10ms, factor: 1, max: 10ms }")
        .replace("open: 100ms", "open: 60s");
    let gate = start(&yaml);
    queue_all(&gate, 5, |number| format!("{{\"n\":{number}}}"));
    wait_for("the pause", || metric(&gate, PAUSED) == 1.0);
    let good = App::start();
    let store = gate.dir().join("store");
    std::fs::write(
        gate.config_path(),
        yaml.replace(&app.url(), &good.url())
            .replace("STORE", store.to_str().unwrap()),
    )
    .unwrap();
    gate.reload();
    wait_for("all to arrive", || {
        waiting(gate.dir()) == 0 && good.count() == 5
    });
}
