//! Duplicates: dropped once handed on, waiting while in flight, let through after a failure.
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::support::app::{Act, App};
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, wait_for};
use super::support::http::{self, Connection};
use super::support::sign;

const NEW: &str = "the-secret-after-the-rotation";

#[test]
fn delivery_is_forwarded_once() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let send = |id: &str, body: &[u8]| {
        gate.post("/webhooks/github", &sign::github(SECRET, id, body), body)
    };
    let first = send("a", b"{}");
    assert_eq!((first.status, first.header("Hookgate-Status")), (200, None));
    for _ in 0..3 {
        let again = send("a", b"{}");
        assert_eq!(
            (again.status, again.header("Hookgate-Status")),
            (200, Some("duplicate"))
        );
    }
    assert_eq!(app.count(), 1);
    assert_eq!(send("b", b"{}").status, 200);
    assert_eq!(app.count(), 2);
}

/// GitHub signs the body, not the ID: a captured request under the ID of a delivery to come must not have that one dropped.
#[test]
fn a_captured_request_under_a_guessed_id_does_not_swallow_the_honest_one() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let captured = sign::github(SECRET, "the-id-of-tomorrow", b"captured");
    assert_eq!(
        gate.post("/webhooks/github", &captured, b"captured").status,
        200
    );
    let honest = gate.post(
        "/webhooks/github",
        &sign::github(SECRET, "the-id-of-tomorrow", b"honest"),
        b"honest",
    );
    assert_eq!(
        (honest.status, honest.header("Hookgate-Status")),
        (200, None)
    );
    assert_eq!(app.last().body, b"honest");
}

#[test]
fn a_forged_request_does_not_burn_the_id() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    assert_eq!(
        gate.post(
            "/webhooks/github",
            &sign::github("wrong", "a", b"{}"),
            b"{}"
        )
        .status,
        401
    );
    let honest = gate.post("/webhooks/github", &sign::github(SECRET, "a", b"{}"), b"{}");
    assert_eq!(
        (honest.status, honest.header("Hookgate-Status")),
        (200, None)
    );
}

#[test]
fn by_content_stops_a_captured_request_under_a_fresh_id() {
    let app = App::start();
    let gate = Gate::in_process(
        &config::forward(&app.url(), "").replace("window: 24h", "window: 24h, by: content"),
    );
    for id in ["a", "b", "c"] {
        assert_eq!(
            gate.post(
                "/webhooks/github",
                &sign::github(SECRET, id, b"same"),
                b"same"
            )
            .status,
            200
        );
    }
    assert_eq!(app.count(), 1);
}

/// Stripe retries for three days; a window that is written is not made longer by that.
#[test]
fn written_window_is_taken_as_written() {
    let app = App::start();
    let gate = Gate::in_process(
        &config::forward(&app.url(), "")
            .replace("provider: github", "provider: stripe")
            .replace("window: 24h", "window: 3s"),
    );
    let body = b"{\"id\":\"evt_1\"}";
    let send = || {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let signature = sign::hmac_hex(SECRET, &[format!("{now}.").as_bytes(), body].concat());
        gate.post(
            "/webhooks/github",
            &[(
                "Stripe-Signature".to_owned(),
                format!("t={now},v1={signature}"),
            )],
            body,
        )
    };
    assert_eq!(send().header("Hookgate-Status"), None);
    assert_eq!(send().header("Hookgate-Status"), Some("duplicate"));
    wait_for("the ID to be forgotten", || {
        send().header("Hookgate-Status").is_none()
    });
    assert_eq!(app.count(), 2);
}

/// Two events about one object: the ID in the body is that of the object.
#[test]
fn events_with_the_id_of_one_object_all_reach_the_app() {
    let app = App::start();
    let own = "scheme: hmac, algorithm: sha256, signature: { header: X-Sig, encoding: hex }, delivery_id: { json: /id, with_body: true }";
    let gate = Gate::in_process(&config::forward(&app.url(), "").replace("provider: github", own));
    let send = |body: &[u8]| {
        gate.post(
            "/webhooks/github",
            &[("X-Sig".to_owned(), sign::hmac_hex(SECRET, body))],
            body,
        )
    };
    for body in [
        &b"{\"id\":\"acct_1\",\"event\":\"created\"}"[..],
        b"{\"id\":\"acct_1\",\"event\":\"closed\"}",
    ] {
        assert_eq!(send(body).header("Hookgate-Status"), None);
        assert_eq!(app.last().header("Hookgate-Delivery-Id"), Some("acct_1"));
        assert_eq!(send(body).header("Hookgate-Status"), Some("duplicate"));
    }
    assert_eq!(app.count(), 2);
}

#[test]
fn without_an_id_the_content_counts() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let mut headers = sign::github(SECRET, "", b"same");
    headers.remove(0);
    for _ in 0..2 {
        assert_eq!(gate.post("/webhooks/github", &headers, b"same").status, 200);
    }
    assert_eq!(app.count(), 1);
}

#[test]
fn a_body_in_pieces_is_a_duplicate_of_a_whole_one() {
    let (app, body) = (App::start(), b"0123456789");
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let headers = sign::github(SECRET, "a", body);
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let mut sender = Connection::open(gate.address("senders"));
    sender.request("POST", "/webhooks/github", &headers, body);
    for size in [10, 3] {
        let answer = sender.chunked("POST", "/webhooks/github", &headers, body, size);
        assert_eq!(answer.header("Hookgate-Status"), Some("duplicate"));
    }
    assert_eq!(app.count(), 1);
}

/// The same ID and body, signed with the new secret after a rotation, and by content.
#[test]
fn a_retry_signed_with_another_secret_is_a_duplicate() {
    for by in ["id", "content"] {
        let app = App::start();
        let secrets = |text: String| {
            text.replace(
                "secrets: [{ name: main,",
                &format!("secrets: [{{ name: new, insecure_inline: \"{NEW}\" }}, {{ name: main,"),
            )
        };
        let yaml = secrets(
            config::forward(&app.url(), "")
                .replace("window: 24h", &format!("window: 24h, by: {by}")),
        );
        let gate = Gate::in_process(&yaml);
        for body in [&b"{}"[..], b"", &[b'x'; 300_000]] {
            let id = body.len().to_string();
            for (secret, status) in [
                (SECRET, None),
                (NEW, Some("duplicate")),
                (SECRET, Some("duplicate")),
            ] {
                let answer = gate.post("/webhooks/github", &sign::github(secret, &id, body), body);
                assert_eq!(
                    (answer.status, answer.header("Hookgate-Status")),
                    (200, status),
                    "{by} {id}"
                );
            }
        }
        assert_eq!(app.count(), 3, "{by}");
    }
}

/// Two endpoints of one provider on one URL: each event comes twice, with one ID and two secrets.
#[test]
fn per_secret_keeps_two_senders_apart() {
    for (by, action) in [("id", ""), ("content", ""), ("id", "queue")] {
        let app = App::start();
        let two = format!("secrets: [{{ name: new, insecure_inline: \"{NEW}\" }}, {{ name: main,");
        let yaml = config::forward(&app.url(), "").replace("secrets: [{ name: main,", &two);
        let yaml = yaml.replace(
            "window: 24h",
            &format!("window: 24h, per: secret, by: {by}"),
        );
        let yaml = if action.is_empty() {
            yaml
        } else {
            yaml.replace("forward: {", "queue: {")
        };
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let yaml = format!(
            "store: {{ path: {} }}\n{yaml}",
            dir.path().join("state").display()
        );
        let gate = Gate::in_process_in(dir, &yaml);
        let send = |secret: &str| {
            let answer = gate.post(
                "/webhooks/github",
                &sign::github(secret, "evt_1", b"{}"),
                b"{}",
            );
            (
                answer.status,
                answer.header("Hookgate-Status") == Some("duplicate"),
            )
        };
        let answers = [send(SECRET), send(NEW), send(SECRET), send(NEW)];
        assert_eq!(
            answers,
            [(200, false), (200, false), (200, true), (200, true)],
            "{by} {action}"
        );
        wait_for("both deliveries", || app.count() == 2);
    }
}

#[test]
fn duplicates_in_flight_wait_for_the_outcome() {
    let app = App::answering(|_, _| Act::status(200).after(Duration::from_millis(500)));
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let answers = at_once(&gate, 4);
    assert!(
        answers.iter().all(|answer| answer.status == 200),
        "{answers:?}"
    );
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.header("Hookgate-Status") == Some("duplicate"))
            .count(),
        3
    );
    assert_eq!(app.count(), 1);
}

#[test]
fn more_than_four_waiters_are_sent_away_with_503() {
    let app = App::answering(|_, _| Act::status(200).after(Duration::from_millis(800)));
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let answers = at_once(&gate, 8);
    let refused: Vec<_> = answers
        .iter()
        .filter(|answer| answer.status == 503)
        .collect();
    assert_eq!(
        (answers.len() - refused.len(), refused.len()),
        (5, 3),
        "{answers:?}"
    );
    assert!(
        refused
            .iter()
            .all(|answer| answer.header("Retry-After").is_some())
    );
    assert_eq!(app.count(), 1);
}

#[test]
fn after_a_failure_exactly_one_waiter_takes_over() {
    let app = App::answering(|number, _| {
        Act::status(if number == 0 { 500 } else { 200 }).after(Duration::from_millis(300))
    });
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let mut statuses: Vec<_> = at_once(&gate, 4)
        .iter()
        .map(|answer| answer.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 500]);
    assert_eq!(app.count(), 2);
}

/// The app needs longer than the sender waits. It is called once: the sender's retry is answered as a duplicate.
#[test]
fn a_slow_app_is_called_once_although_the_sender_hangs_up() {
    let done = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&done);
    let app = App::answering(move |_, _| {
        std::thread::sleep(Duration::from_millis(700));
        count.fetch_add(1, Ordering::SeqCst);
        Act::status(200)
    });
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let headers = sign::github(SECRET, "slow", b"{}");
    let mut sender = Connection::open(gate.address("senders"));
    sender
        .send(&http::head(
            "POST",
            "/webhooks/github",
            &sign::borrowed(&headers),
            Some(2),
        ))
        .unwrap();
    sender.send(b"{}").unwrap();
    wait_for("the app to be called", || app.count() == 1);
    drop(sender);
    let retry = gate.post("/webhooks/github", &headers, b"{}");
    assert_eq!(
        (retry.status, retry.header("Hookgate-Status")),
        (200, Some("duplicate"))
    );
    let later = gate.post("/webhooks/github", &headers, b"{}");
    assert_eq!(
        (later.status, later.header("Hookgate-Status")),
        (200, Some("duplicate"))
    );
    assert_eq!((app.count(), done.load(Ordering::SeqCst)), (1, 1));
}

/// A kill costs the IDs of the last 100 ms at most: the promise is tried to the millisecond.
#[test]
fn remembered_ids_survive_a_kill_after_100_ms() {
    const ROUNDS: usize = 4;
    let app = App::start();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let yaml = format!(
        "store: {{ path: {} }}\n{}",
        dir.path().join("state").display(),
        config::forward(&app.url(), "")
    );
    let headers = |round: usize| sign::github(SECRET, &format!("kept-{round}"), b"{}");
    for round in 0..ROUNDS {
        let gate = Gate::start_in(Arc::clone(&dir), &yaml);
        assert_eq!(
            gate.post("/webhooks/github", &headers(round), b"{}").status,
            200
        );
        std::thread::sleep(Duration::from_millis(100));
        gate.signal("KILL");
        drop(gate);
    }
    let gate = Gate::start_in(dir, &yaml);
    for round in 0..ROUNDS {
        let answer = gate.post("/webhooks/github", &headers(round), b"{}");
        assert_eq!(
            answer.header("Hookgate-Status"),
            Some("duplicate"),
            "round {round}"
        );
    }
    assert_eq!(app.count(), ROUNDS);
}

fn at_once(gate: &Gate, count: usize) -> Vec<http::Answer> {
    let headers = sign::github(SECRET, "same", b"{}");
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..count)
            .map(|_| scope.spawn(|| gate.post("/webhooks/github", &headers, b"{}")))
            .collect();
        senders
            .into_iter()
            .map(|sender| sender.join().unwrap())
            .collect()
    })
}
