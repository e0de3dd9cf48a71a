//! The durable queue: acknowledged once it is on the disk, delivered until the app has it, and nothing lost on the way.
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::support::app::{Act, App, unused_address};
use super::support::config::{self, SECRET};
use super::support::gate::{metric, wait_for};
use super::support::http::Answer;
use super::support::queue::{
    attempts, send, start, start_in, start_process, start_process_in, waiting, with_store,
};
use super::support::sign;

const QUICK: &str = "retry: { initial: 20ms, factor: 1, max: 20ms, max_attempts: 40 }";

#[track_caller]
fn is(answer: &Answer, status: u16, word: Option<&str>) {
    assert_eq!(
        (answer.status, answer.header("Hookgate-Status")),
        (status, word),
        "{}",
        answer.text()
    );
}

#[test]
fn delivery_is_acknowledged_at_once_and_sent_unchanged() {
    let app = App::answering(|_, _| Act::status(200).after(Duration::from_millis(800)));
    let gate = start(&config::queue(&app.url(), QUICK));
    let body = b"{\"zen\": \"Keep it logically awesome.\", \"n\": 1.0}\n\xff";
    let begun = Instant::now();
    let answer = send(&gate, "id-1", body);
    assert!(
        begun.elapsed() < Duration::from_millis(700),
        "{:?}",
        begun.elapsed()
    );
    is(&answer, 200, Some("queued"));
    wait_for("the app to be called", || app.count() == 1);
    let seen = app.last();
    assert_eq!(
        (
            seen.method.as_str(),
            seen.target.as_str(),
            seen.body.as_slice()
        ),
        ("POST", "/webhooks/github", body.as_slice())
    );
    for (name, value) in [
        ("Verified", "true"),
        ("Route", "github"),
        ("Delivery-Id", "id-1"),
        ("Secret", "main"),
        ("Attempt", "1"),
    ] {
        assert_eq!(seen.header(&format!("Hookgate-{name}")), Some(value));
    }
    assert_eq!(seen.header("X-Request-Id"), answer.header("X-Request-Id"));
    assert_eq!(
        seen.header("X-Hub-Signature-256"),
        Some(sign::github(SECRET, "id-1", body)[2].1.as_str())
    );
    wait_for("it to be over", || {
        gate.lines()
            .iter()
            .any(|line| line.contains("\"after\":\"delivered\""))
    });
    assert_eq!(attempts(gate.dir())["id-1"], ["200"]);
    is(&send(&gate, "id-1", body), 200, Some("duplicate"));
    assert_eq!(app.count(), 1);
}

#[test]
fn queue_route_configures_the_answer() {
    let app = App::start();
    let gate = start(&config::queue(
        &app.url(),
        "answer: { status: 202, body: '{\"ok\":true}', content_type: application/json }",
    ));
    let answer = send(&gate, "id-1", b"{}");
    is(&answer, 202, Some("queued"));
    assert_eq!(
        (answer.text().as_str(), answer.header("Content-Type")),
        ("{\"ok\":true}", Some("application/json"))
    );
}

/// A duplicate is answered as the route says, as the first delivery was.
#[test]
fn duplicate_gets_the_answer_of_the_route() {
    const ANSWER: &str =
        "answer: { status: 202, body: '{\"ok\":true}', content_type: application/json }";
    let is_configured = |answer: &Answer, word: &str| {
        is(answer, 202, Some(word));
        assert_eq!(
            (answer.text().as_str(), answer.header("Content-Type")),
            ("{\"ok\":true}", Some("application/json"))
        );
    };
    let queued = App::start();
    let gate = start(&config::queue(&queued.url(), ANSWER));
    is_configured(&send(&gate, "id-1", b"{}"), "queued");
    wait_for("it to be delivered", || queued.count() == 1);
    is_configured(&send(&gate, "id-1", b"{}"), "duplicate");
    let forwarded = App::start();
    let gate = start(&config::forward_with_store(&forwarded.url(), ANSWER));
    is(&send(&gate, "id-1", b"{}"), 200, None);
    is_configured(&send(&gate, "id-1", b"{}"), "duplicate");
    let down = App::answering(|number, _| Act::status(if number == 0 { 503 } else { 200 }));
    let gate = start(&config::forward_with_store(
        &down.url(),
        &format!("on_failure: queue, {ANSWER}, {QUICK}"),
    ));
    is_configured(&send(&gate, "id-1", b"{}"), "spilled");
    wait_for("the app to have it", || down.count() == 2);
    is_configured(&send(&gate, "id-1", b"{}"), "duplicate");
    is(&send(&gate, "id-2", b"{\"n\":2}"), 200, None);
    is_configured(&send(&gate, "id-2", b"{\"n\":2}"), "duplicate");
    assert_eq!((queued.count(), forwarded.count(), down.count()), (1, 1, 3));
}

#[test]
fn delivery_is_retried_until_the_app_accepts_it() {
    let app = App::answering(|number, _| {
        if number == 0 {
            Act::hang_up()
        } else {
            Act::status(if number < 3 { 500 } else { 204 })
        }
    });
    let gate = start(&config::queue(&app.url(), QUICK));
    is(&send(&gate, "id-1", b"{}"), 200, Some("queued"));
    is(&send(&gate, "id-1", b"{}"), 200, Some("duplicate"));
    wait_for("it to be delivered", || {
        gate.lines()
            .iter()
            .any(|line| line.contains("\"after\":\"delivered\""))
    });
    let tries: Vec<_> = app
        .seen()
        .iter()
        .map(|seen| seen.header("Hookgate-Attempt").unwrap().to_owned())
        .collect();
    assert_eq!(tries, ["1", "2", "3", "4"]);
    assert!(
        app.seen()
            .iter()
            .all(|seen| seen.header("Hookgate-Delivery-Id") == Some("id-1"))
    );
    assert_eq!(
        attempts(gate.dir())["id-1"],
        ["ambiguous_reset", "500", "500", "204"]
    );
    assert!(
        metric(
            &gate,
            "hookgate_attempts_total{outcome=\"5xx\",route=\"github\"}"
        ) >= 2.0
    );
}

/// A kept connection that turned out closed costs an attempt of its own, and the next one is made at once.
#[test]
fn a_stale_connection_is_followed_by_another_attempt() {
    let app = App::answering(|number, _| {
        if number == 1 {
            Act::hang_up()
        } else {
            Act::status(200)
        }
    });
    let gate = start(&config::queue(
        &app.url(),
        "retry: { initial: 1h, max: 1h }",
    ));
    for number in 0..2 {
        is(
            &send(
                &gate,
                &format!("id-{number}"),
                format!("{{\"n\":{number}}}").as_bytes(),
            ),
            200,
            Some("queued"),
        );
        wait_for("it to be over", || {
            gate.lines()
                .iter()
                .filter(|line| line.contains("\"after\":\"delivered\""))
                .count()
                == number + 1
        });
    }
    assert_eq!(attempts(gate.dir())["id-1"], ["ambiguous_stale", "200"]);
    let numbers: Vec<_> = app
        .seen()
        .iter()
        .map(|seen| seen.header("Hookgate-Attempt").unwrap().to_owned())
        .collect();
    assert_eq!(numbers, ["1", "1", "2"]);
    assert!(
        app.seen()
            .iter()
            .all(|seen| seen.header("Accept-Encoding") == Some("identity")),
        "answers can be read in the log of attempts"
    );
}

/// Within a request as well: the second attempt has its own number and its own row. A written `ambiguous: fail` switches it off.
#[test]
fn a_request_on_a_stale_connection_is_sent_again_as_attempt_2() {
    let app = || {
        App::answering(|number, _| {
            if number == 1 {
                Act::hang_up()
            } else {
                Act::status(200)
            }
        })
    };
    let numbers = |app: &App| {
        app.seen()
            .iter()
            .map(|seen| seen.header("Hookgate-Attempt").unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for more in [
        "record: all",
        "record: all, on_failure: { unreached: queue }",
        "record: all, on_failure: queue",
    ] {
        let app = app();
        let gate = start(&config::forward_with_store(&app.url(), more));
        for id in ["id-0", "id-1"] {
            assert_eq!(send(&gate, id, id.as_bytes()).status, 200, "{more}");
        }
        assert_eq!(numbers(&app), ["1", "1", "2"], "{more}");
        wait_for("the record", || attempts(gate.dir()).len() == 2);
        assert_eq!(
            attempts(gate.dir())["id-1"],
            ["ambiguous_stale", "200"],
            "{more}"
        );
    }
    let app = app();
    let gate = start(&config::forward_with_store(
        &app.url(),
        "record: all, on_failure: { unreached: queue, ambiguous: fail }",
    ));
    assert_eq!(
        [
            send(&gate, "id-0", b"0").status,
            send(&gate, "id-1", b"1").status
        ],
        [200, 502]
    );
    assert_eq!(numbers(&app), ["1", "1"]);
    wait_for("the record", || attempts(gate.dir()).len() == 2);
    assert_eq!(attempts(gate.dir())["id-1"], ["ambiguous_stale"]);
}

#[test]
fn final_status_ends_a_delivery_and_a_duplicate_revives_it() {
    let app = App::answering(|number, _| Act::status([410, 422, 500, 500, 200][number.min(4)]));
    let gate = start(&config::queue(
        &app.url(),
        "retry: { initial: 10ms, max: 10ms, max_attempts: 2, terminal: [422] }, concurrency: 1",
    ));
    let ended = |id: &str, tries: usize| {
        wait_for("it to end", || {
            attempts(gate.dir())
                .get(id)
                .is_some_and(|all| all.len() == tries)
        });
        wait_for("the metric", || {
            metric(&gate, "hookgate_queue_waiting{route=\"github\"}") == 0.0
        });
    };
    for (id, body, tries) in [
        ("gone", b"{\"a\":1}", 1),
        ("wrong", b"{\"a\":2}", 1),
        ("broken", b"{\"a\":3}", 2),
    ] {
        is(&send(&gate, id, body), 200, Some("queued"));
        ended(id, tries);
    }
    wait_for("the metric", || {
        metric(&gate, "hookgate_queue_dead{route=\"github\"}") == 3.0
    });
    is(&send(&gate, "broken", b"{\"a\":3}"), 200, Some("revived"));
    ended("broken", 3);
    assert_eq!(attempts(gate.dir())["broken"], ["500", "500", "200"]);
    is(&send(&gate, "broken", b"{\"a\":3}"), 200, Some("duplicate"));
    assert_eq!(app.count(), 5);
}

#[test]
fn an_app_that_asks_for_a_wait_gets_it() {
    let app = App::answering(|number, _| {
        let mut act = Act::status(if number == 0 { 429 } else { 200 });
        act.headers.push(("Retry-After".into(), "1".into()));
        act
    });
    let gate = start(&config::queue(&app.url(), QUICK));
    let begun = Instant::now();
    is(&send(&gate, "id-1", b"{}"), 200, Some("queued"));
    wait_for("the second try", || app.count() == 2);
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn an_app_that_asks_for_a_wait_within_the_request_gets_it_too() {
    let app = App::answering(|number, _| {
        let mut act = Act::status(if number == 0 { 503 } else { 200 });
        act.headers.push(("Retry-After".into(), "1".into()));
        act
    });
    let gate = start(&config::forward_with_store(
        &app.url(),
        &format!("on_failure: queue, {QUICK}"),
    ));
    let begun = Instant::now();
    is(&send(&gate, "id-1", b"{}"), 200, Some("spilled"));
    wait_for("the second try", || app.count() == 2);
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_retry_after_beyond_max_age_ends_no_delivery() {
    let answers = || {
        App::answering(|number, _| {
            let mut act = Act::status(if number == 0 { 503 } else { 200 });
            act.headers.push(("Retry-After".into(), "999999".into()));
            act
        })
    };
    let retry = "retry: { initial: 20ms, max: 20ms, max_age: 1s }";
    for (action, word) in [
        ("queue: { upstream: app,", "queued"),
        ("forward: { upstream: app, on_failure: queue,", "spilled"),
    ] {
        let app = answers();
        let gate = start(&config::with_action(
            &app.url(),
            &format!("{action} {retry} }}"),
        ));
        is(&send(&gate, "id-1", b"{}"), 200, Some(word));
        wait_for("the attempt at the end of its age", || {
            attempts(gate.dir())
                .get("id-1")
                .is_some_and(|all| all == &["503", "200"])
        });
    }
}

#[test]
fn dead_app_costs_no_attempts_once_the_breaker_is_open() {
    let address = unused_address();
    let gate = start(&config::queue(
        &format!("http://{address}"),
        "retry: { initial: 10ms, factor: 1, max: 10ms, max_attempts: 8 }, concurrency: 1",
    ));
    for number in 0..5 {
        is(
            &send(
                &gate,
                &format!("id-{number}"),
                format!("{{\"n\":{number}}}").as_bytes(),
            ),
            200,
            Some("queued"),
        );
    }
    // far more tries than all of them have together
    wait_for("many probes", || {
        metric(
            &gate,
            "hookgate_attempts_total{outcome=\"unreached\",route=\"github\"}",
        ) >= 12.0
    });
    assert_eq!(metric(&gate, "hookgate_queue_dead{route=\"github\"}"), 0.0);
    let app = App::on(address, |_, _| Act::status(200));
    wait_for("all to arrive", || app.count() >= 5);
    wait_for("all to be over", || waiting(gate.dir()) == 0);
    assert_eq!(app.count(), 5);
}

#[test]
fn a_killed_gate_delivers_after_its_restart() {
    let address = unused_address();
    let yaml = config::queue(&format!("http://{address}"), QUICK);
    let gate = start_process(&yaml);
    for number in 0..20 {
        is(
            &send(
                &gate,
                &format!("id-{number}"),
                format!("{{\"n\":{number}}}").as_bytes(),
            ),
            200,
            Some("queued"),
        );
    }
    let dir = gate.shared_dir();
    gate.signal("KILL");
    drop(gate);
    let app = App::on(address, |_, _| Act::status(200));
    let gate = start_process_in(dir, &yaml);
    wait_for("all to arrive", || app.count() >= 20);
    let mut ids: Vec<_> = app
        .seen()
        .iter()
        .map(|seen| seen.header("Hookgate-Delivery-Id").unwrap().to_owned())
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20);
    is(&send(&gate, "id-7", b"{\"n\":7}"), 200, Some("duplicate"));
}

#[test]
fn stopping_gate_ends_running_attempts_and_keeps_the_rest() {
    let app = App::answering(|_, _| Act::status(200).after(Duration::from_millis(700)));
    let yaml = config::queue(&app.url(), &format!("{QUICK}, concurrency: 1"));
    let mut gate = start_process(&yaml);
    for number in 0..4 {
        is(
            &send(
                &gate,
                &format!("id-{number}"),
                format!("{{\"n\":{number}}}").as_bytes(),
            ),
            200,
            Some("queued"),
        );
    }
    wait_for("the first to be under way", || app.count() == 1);
    gate.signal("TERM");
    assert_eq!(gate.wait(Duration::from_secs(5)).code(), Some(0));
    assert_eq!(
        attempts(gate.dir()).into_iter().collect::<Vec<_>>(),
        [("id-0".to_owned(), vec!["200".to_owned()])]
    );
    assert_eq!(app.count(), 1);
    let gate = start_process_in(gate.shared_dir(), &yaml);
    wait_for("the rest to be over", || attempts(gate.dir()).len() == 4);
    assert_eq!(app.count(), 4, "each once");
}

#[test]
fn a_route_that_verifies_nothing_queues_without_a_proof() {
    let app = App::answering(|number, _| Act::status(if number == 0 { 500 } else { 200 }));
    let gate = start(
        &config::queue(&app.url(), QUICK)
            .replace("verify: { provider: github", "verify: none #")
            .replace("    dedupe: { window: 24h }\n", ""),
    );
    is(&send(&gate, "id-1", b"{}"), 200, Some("queued"));
    wait_for("the second try", || app.count() == 2);
    assert!(
        app.seen()
            .iter()
            .all(|seen| seen.header("Hookgate-Verified") == Some("false")
                && seen.header("Hookgate-Delivery-Id").is_none())
    );
    let ids: Vec<_> = app
        .seen()
        .iter()
        .map(|seen| seen.header("X-Request-Id").unwrap().to_owned())
        .collect();
    assert_eq!(ids[0], ids[1]);
    is(&send(&gate, "id-1", b"{}"), 200, Some("queued"));
}

#[test]
fn token_of_a_request_is_neither_stored_nor_forwarded() {
    let app = App::start();
    let token = "verify: { scheme: token, signature: { header: X-Token }, secrets: [{ insecure_inline: \"the-token-of-sixteen-and-more\" }] } #";
    let gate = start(
        &config::queue(&app.url(), QUICK)
            .replace("verify: { provider: github", token)
            .replace("    dedupe: { window: 24h }\n", ""),
    );
    let headers = [(
        "X-Token".to_owned(),
        "the-token-of-sixteen-and-more".to_owned(),
    )];
    is(
        &gate.post("/webhooks/github", &headers, b"{}"),
        200,
        Some("queued"),
    );
    wait_for("it to arrive", || app.count() == 1);
    assert_eq!(app.last().header("X-Token"), None);
    for entry in std::fs::read_dir(gate.dir().join("store")).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(
            !bytes
                .windows(29)
                .any(|piece| piece == b"the-token-of-sixteen-and-more")
        );
    }
}

#[test]
fn failed_forward_spills_and_arrives_later() {
    let address = unused_address();
    let gate = start(&config::forward_with_store(
        &format!("http://{address}"),
        &format!("on_failure: queue, {QUICK}"),
    ));
    // until the breaker opens it is tried within the request, then it is not
    for number in 0..6 {
        is(
            &send(
                &gate,
                &format!("id-{number}"),
                format!("{{\"n\":{number}}}").as_bytes(),
            ),
            200,
            Some("spilled"),
        );
    }
    is(&send(&gate, "id-0", b"{\"n\":0}"), 200, Some("duplicate"));
    let app = App::on(address, |_, _| Act::status(200));
    wait_for("all to arrive", || app.count() == 6);
    wait_for("all to be over", || waiting(gate.dir()) == 0);
    wait_for("the breaker to close", || {
        send(&gate, "id-9", b"{\"n\":9}").status == 200
    });
    let answer = send(&gate, "id-10", b"{\"n\":10}");
    is(&answer, 200, None);
    assert_eq!(answer.text(), "done");
    let first = &attempts(gate.dir())["id-0"];
    assert_eq!(
        (
            first.first().map(String::as_str),
            first.last().map(String::as_str)
        ),
        (Some("unreached_refused"), Some("200"))
    );
}

/// An equal notification is dropped while the one before it waits, and within the window that is written. Not longer.
#[test]
fn equal_delivery_after_its_window_is_delivered_too() {
    std::thread::scope(|scope| {
        for spills in [false, true] {
            scope.spawn(move || equal_delivery_after_its_window(spills));
        }
    });
}

fn equal_delivery_after_its_window(spills: bool) {
    const WINDOW: Duration = Duration::from_secs(2);
    let address = unused_address();
    let url = format!("http://{address}");
    let yaml = if spills {
        config::forward_with_store(&url, &format!("on_failure: queue, {QUICK}"))
    } else {
        config::queue(&url, QUICK)
    };
    let gate = start(&yaml.replace("window: 24h", "window: 2s"));
    let is_duplicate = || send(&gate, "a", b"{}").header("Hookgate-Status") == Some("duplicate");
    assert!(!is_duplicate());
    let accepted = Instant::now();
    wait_for("the window to pass", || accepted.elapsed() > 2 * WINDOW);
    assert!(is_duplicate(), "it waits still");
    let app = App::on(address, |_, _| Act::status(200));
    wait_for("it to arrive", || app.count() == 1);
    let mut sent = Instant::now();
    wait_for("the next one to be new", || {
        sent = Instant::now();
        !is_duplicate()
    });
    wait_for("the next one to arrive", || app.count() == 2);
    let is_within = is_duplicate();
    assert!(is_within || sent.elapsed() >= WINDOW, "within its window");
}

/// Spilled deliveries drain at the rate of the route and oldest first. The app answers new ones in the meantime.
#[test]
fn spilled_deliveries_drain_oldest_first_and_new_ones_pass() {
    let address = unused_address();
    let more = "on_failure: queue, retry: { initial: 20ms, factor: 1, max: 20ms }, rate: 20/s, burst: 1, concurrency: 1";
    let gate = start(
        &config::forward_with_store(&format!("http://{address}"), more)
            .replace("failures: 3", "failures: 1")
            // no probe before the app is there: it would put some deliveries behind others
            .replace("open: 100ms", "open: 2s"),
    );
    for number in 0..12 {
        is(
            &send(
                &gate,
                &format!("id-{number:02}"),
                format!("{{\"n\":{number}}}").as_bytes(),
            ),
            200,
            Some("spilled"),
        );
    }
    // the second waits for the new one, however long the breaker takes to close
    let has_passed = Arc::new(AtomicBool::new(false));
    let passed = Arc::clone(&has_passed);
    let app = App::on(address, move |number, seen| {
        if number > 0 && seen.header("Hookgate-Delivery-Id") != Some("new") {
            wait_for("the new one to pass", || passed.load(Ordering::SeqCst));
        }
        Act::status(200)
    });
    wait_for("the first to arrive", || app.count() >= 1);
    let begun = Instant::now();
    wait_for("the breaker to close", || {
        send(&gate, "new", b"{\"n\":100}").status == 200
    });
    assert!(app.count() < 12, "the rest waits still");
    has_passed.store(true, Ordering::SeqCst);
    wait_for("all to arrive", || app.count() == 13);
    // the first two are there, a third may follow at once, nine more at 20 a second
    assert!(
        begun.elapsed() >= Duration::from_millis(450),
        "{:?}",
        begun.elapsed()
    );
    let ids: Vec<_> = app
        .seen()
        .iter()
        .map(|seen| seen.header("Hookgate-Delivery-Id").unwrap().to_owned())
        .collect();
    wait_for("all to be on record", || {
        attempts(gate.dir())
            .values()
            .all(|all| all.last().is_some_and(|came| came == "200"))
    });
    // one that was tried while the app was away waits its own time again
    let tried = attempts(gate.dir());
    let order: Vec<_> = ids
        .iter()
        .filter(|id| tried.get(*id).is_some_and(|all| all.len() == 1))
        .collect();
    assert!(order.len() >= 6 && order.is_sorted(), "{ids:?}");
}

#[test]
fn concurrency_bounds_the_attempts_at_once() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, seen) = (Arc::clone(&now), Arc::clone(&most));
    let app = App::answering(move |_, _| {
        seen.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        inside.fetch_sub(1, Ordering::SeqCst);
        Act::status(200)
    });
    let gate = start(&config::queue(&app.url(), "concurrency: 3"));
    for number in 0..20 {
        is(
            &send(
                &gate,
                &format!("id-{number}"),
                format!("{{\"n\":{number}}}").as_bytes(),
            ),
            200,
            Some("queued"),
        );
    }
    wait_for("all to arrive", || {
        app.count() == 20 && now.load(Ordering::SeqCst) == 0
    });
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[test]
fn ambiguous_failures_differ_from_unreached_ones() {
    let app = App::answering(|number, _| match number {
        0 => Act::hang_up(),
        1 => Act::status(503),
        2 => Act::status(500),
        _ => Act::status(200),
    });
    let gate = start(&config::forward_with_store(
        &app.url(),
        &format!("on_failure: {{ unreached: queue, ambiguous: fail }}, {QUICK}"),
    ));
    is(&send(&gate, "id-0", b"{\"n\":0}"), 502, None);
    is(&send(&gate, "id-1", b"{\"n\":1}"), 503, None);
    is(&send(&gate, "id-2", b"{\"n\":2}"), 500, None);
    is(&send(&gate, "id-2", b"{\"n\":2}"), 200, None);
    let app = App::answering(|number, _| match number {
        0 => Act::hang_up(),
        1 => Act::status(503),
        _ => Act::status(200),
    });
    let gate = start(&config::forward_with_store(
        &app.url(),
        &format!("on_failure: queue, {QUICK}"),
    ));
    is(&send(&gate, "id-0", b"{\"n\":0}"), 200, Some("spilled"));
    wait_for("the first to arrive", || {
        app.seen()
            .iter()
            .filter(|seen| seen.header("Hookgate-Delivery-Id") == Some("id-0"))
            .count()
            >= 2
    });
    let tries: Vec<_> = app
        .seen()
        .iter()
        .map(|seen| seen.header("Hookgate-Attempt").unwrap().to_owned())
        .collect();
    assert_eq!(tries[..2], ["1", "2"]);
}

#[test]
fn outcomes_are_recorded_as_the_route_says() {
    for (record, kept) in [
        ("all", &["fails", "works"][..]),
        ("failures", &["fails"]),
        ("none", &[]),
    ] {
        let app = App::answering(|_, seen| {
            Act::status(if seen.header("Hookgate-Delivery-Id") == Some("fails") {
                500
            } else {
                200
            })
        });
        let gate = start(&config::forward_with_store(
            &app.url(),
            &format!("record: {record}"),
        ));
        is(&send(&gate, "works", b"{\"n\":1}"), 200, None);
        is(&send(&gate, "fails", b"{\"n\":2}"), 500, None);
        let all = || attempts(gate.dir()).into_keys().collect::<Vec<_>>();
        wait_for("the records", || all().len() == kept.len());
        assert_eq!(all(), kept);
        // the provider's retry reaches the app all the same
        is(&send(&gate, "fails", b"{\"n\":2}"), 500, None);
    }
}

#[test]
fn deliveries_of_one_key_arrive_one_after_the_other_in_their_order() {
    let app = App::answering(|number, _| {
        Act::status(if number % 3 == 0 { 500 } else { 200 }).after(Duration::from_millis(5))
    });
    let gate = start(&config::queue(
        &app.url(),
        &format!("fifo: json:/account, {QUICK}, concurrency: 8"),
    ));
    for number in 0..24 {
        let body = format!("{{\"account\":\"{}\",\"n\":{number}}}", number % 3);
        is(
            &send(&gate, &format!("id-{number:02}"), body.as_bytes()),
            200,
            Some("queued"),
        );
    }
    wait_for("all to be over", || {
        attempts(gate.dir())
            .values()
            .filter(|all| all.last().is_some_and(|came| came == "200"))
            .count()
            == 24
    });
    for account in 0..3 {
        let mut order: Vec<_> = app
            .seen()
            .iter()
            .map(|seen| {
                seen.header("Hookgate-Delivery-Id").unwrap()[3..]
                    .parse::<u32>()
                    .unwrap()
            })
            .collect();
        order.retain(|number| number % 3 == account);
        assert!(order.is_sorted(), "{order:?}");
    }
}

#[test]
fn queue_rate_delays_and_refuses_nothing() {
    let app = App::start();
    let gate = start(&config::queue(&app.url(), "rate: 20/s, burst: 2"));
    let begun = Instant::now();
    for number in 0..12 {
        is(
            &send(
                &gate,
                &format!("id-{number}"),
                format!("{{\"n\":{number}}}").as_bytes(),
            ),
            200,
            Some("queued"),
        );
    }
    wait_for("all to arrive", || app.count() == 12);
    // 2 at once, 10 more at 20 a second
    assert!(
        begun.elapsed() >= Duration::from_millis(490),
        "{:?}",
        begun.elapsed()
    );
}

/// A wait of an hour is over as soon as the config says so, by a reload and by a restart.
#[test]
fn a_new_retry_applies_to_what_waits() {
    for restart in [false, true] {
        let app = App::answering(|number, _| Act::status(if number == 0 { 500 } else { 200 }));
        let long = config::queue(&app.url(), "retry: { schedule: [1h] }");
        let mut gate = start(&long);
        is(&send(&gate, "id-1", b"{}"), 200, Some("queued"));
        wait_for("the first attempt", || {
            attempts(gate.dir()).contains_key("id-1")
        });
        let short = long.replace("[1h]", "[50ms]");
        if restart {
            gate.stop(Duration::from_secs(10));
            gate = start_in(gate.shared_dir(), &short);
        } else {
            std::fs::write(
                gate.config_path(),
                short.replace("STORE", gate.dir().join("store").to_str().unwrap()),
            )
            .unwrap();
            gate.reload();
        }
        wait_for("the second attempt", || app.count() == 2);
        drop(gate);
    }
}

#[test]
fn a_route_that_is_gone_parks_and_one_that_was_renamed_goes_on() {
    let address = unused_address();
    let yaml = config::queue(
        &format!("http://{address}"),
        "retry: { initial: 50ms, factor: 1, max: 50ms, max_attempts: 100 }",
    );
    let gate = start(&yaml);
    is(&send(&gate, "id-1", b"{}"), 200, Some("queued"));
    let reload = |yaml: &str| {
        std::fs::write(gate.config_path(), with_store(gate.dir(), yaml)).unwrap();
        gate.reload();
        let path = if yaml.contains("/webhooks/other") {
            "/webhooks/other"
        } else {
            "/webhooks/github"
        };
        wait_for("the reload", || gate.post(path, &[], b"").status == 401);
    };
    reload(
        &yaml
            .replace("name: github", "name: other")
            .replace("/webhooks/github", "/webhooks/other"),
    );
    // an attempt that began before the reload has ended by now
    std::thread::sleep(Duration::from_millis(500));
    let app = App::on(address, |_, _| Act::status(200));
    // its own route works, the parked delivery stays where it is
    let body = b"{\"other\":1}";
    is(
        &gate.post("/webhooks/other", &sign::github(SECRET, "id-2", body), body),
        200,
        Some("queued"),
    );
    wait_for("the other to arrive", || app.count() == 1);
    reload(&yaml.replace("name: github", "name: hub\n    previously: [github]"));
    let mut parked = None;
    wait_for("the parked one to arrive", || {
        let mut seen = app.seen().into_iter();
        parked = seen.find(|seen| seen.header("Hookgate-Delivery-Id") == Some("id-1"));
        parked.is_some()
    });
    assert_eq!(parked.unwrap().header("Hookgate-Route"), Some("hub"));
}

#[test]
fn failed_write_is_answered_with_503() {
    let app = App::start();
    let gate = start(&config::queue(&app.url(), QUICK));
    is(&send(&gate, "id-1", b"{}"), 200, Some("queued"));
    let database = rusqlite::Connection::open(gate.dir().join("store/hookgate.db")).unwrap();
    // a trigger stands for the disk: each write fails, nothing is written
    database
        .execute_batch(
            "create trigger refuse before insert on delivery begin select raise(abort, 'no'); end",
        )
        .unwrap();
    let refused = send(&gate, "id-2", b"{\"n\":2}");
    is(&refused, 503, None);
    assert!(refused.header("Retry-After").is_some());
    wait_for("the metric", || {
        metric(
            &gate,
            "hookgate_requests_total{outcome=\"store_unavailable\",route=\"github\"}",
        ) == 1.0
    });
    database.execute_batch("drop trigger refuse").unwrap();
    // the provider's retry is no duplicate of what was not taken
    is(&send(&gate, "id-2", b"{\"n\":2}"), 200, Some("queued"));
    wait_for("both to arrive", || app.count() == 2);
}
