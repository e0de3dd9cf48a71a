//! The main path: a signed request passes unchanged, all else is refused, whatever the body's size and framing.
use std::time::Duration;

use super::support::app::{Act, App};
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, wait_for};
use super::support::http::{self, Connection};
use super::support::sign;

#[test]
fn a_signed_request_passes() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let body = br#"{"zen": "Keep it logically awesome.", "n": 1.0}"#;
    let answer = gate.post(
        "/webhooks/github",
        &sign::github(SECRET, "id-1", body),
        body,
    );
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    let seen = app.last();
    assert_eq!(
        (
            seen.method.as_str(),
            seen.target.as_str(),
            seen.body.as_slice()
        ),
        ("POST", "/webhooks/github", body.as_slice())
    );
    assert_eq!(seen.header("Hookgate-Verified"), Some("true"));
    assert_eq!(seen.header("Hookgate-Route"), Some("github"));
    assert_eq!(seen.header("Hookgate-Provider"), Some("github"));
    assert_eq!(seen.header("Hookgate-Delivery-Id"), Some("id-1"));
    assert_eq!(seen.header("Hookgate-Secret"), Some("main"));
    assert_eq!(seen.header("Hookgate-Covers"), Some("body"));
    assert_eq!(seen.header("Hookgate-Attempt"), Some("1"));
    assert_eq!(seen.header("Host"), Some("gate.test"));
    assert_eq!(seen.header("X-Request-Id"), answer.header("X-Request-Id"));
}

#[test]
fn forged_requests_are_all_the_same_401() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let body = b"{}";
    let bare = |answer: http::Answer| {
        let id = answer.header("X-Request-Id").unwrap().to_owned();
        let headers: Vec<_> = answer
            .headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("date"))
            .cloned()
            .collect();
        (
            answer.status,
            format!("{headers:?}").replace(&id, "ID"),
            answer.text().replace(&id, "ID"),
        )
    };
    let wrong_secret = bare(gate.post(
        "/webhooks/github",
        &sign::github("another", "id", body),
        body,
    ));
    let missing = bare(gate.post("/webhooks/github", &[], body));
    let malformed = bare(gate.post(
        "/webhooks/github",
        &[("X-Hub-Signature-256".into(), "sha256=xyz".into())],
        body,
    ));
    let tampered = bare(gate.post(
        "/webhooks/github",
        &sign::github(SECRET, "id", body),
        b"{ }",
    ));
    assert_eq!(wrong_secret.0, 401);
    assert_eq!(
        (&wrong_secret, &wrong_secret, &wrong_secret),
        (&missing, &malformed, &tampered)
    );
    assert_eq!(app.count(), 0);
    // a refusal is on record right after its answer is out
    wait_for("all reasons to be on record", || {
        let refusals = gate.admin("/-/refusals")["refusals"].to_string();
        [
            "signature_mismatch",
            "signature_missing",
            "signature_malformed",
        ]
        .iter()
        .all(|code| refusals.contains(code))
    });
}

#[test]
fn other_requests_are_refused_with_their_reason() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(
        &app.url(),
        "    max_body: 1KiB\n    allow: [127.0.0.0/8]\n",
    ));
    let senders = gate.address("senders");
    assert_eq!(gate.post("/else", &[], b"").status, 404);
    let get = http::request(senders, "GET", "/webhooks/github", &[], b"");
    assert_eq!((get.status, get.header("Allow")), (405, Some("POST")));
    assert_eq!(
        gate.post("/webhooks/github", &[], &[b'x'; 1025]).status,
        413
    );
    let mut chunked = Connection::open(senders);
    assert_eq!(
        chunked
            .chunked("POST", "/webhooks/github", &[], &[b'x'; 2000], 100)
            .status,
        413
    );
    assert!(chunked.is_closed());
    for target in ["http://gate.test/webhooks/github", "pass", "*"] {
        assert_eq!(
            http::request(senders, "POST", target, &[], b"").status,
            400,
            "{target}"
        );
    }
    assert_eq!(
        http::request(
            senders,
            "POST",
            "/webhooks/github",
            &[("Transfer-Encoding", "gzip, chunked")],
            b""
        )
        .status,
        400
    );
    assert_eq!(app.count(), 0);
}

#[test]
fn bodies_of_all_sizes_arrive_byte_exact_and_the_connection_goes_on() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), "").replace("limits:", ""));
    let mut kept = Connection::open(gate.address("senders"));
    let sizes = [0, 1, 65_535, 65_536, 65_537, 1 << 20, 25 << 20];
    for (number, size) in sizes.into_iter().enumerate() {
        let body: Vec<u8> = (0..size)
            .map(|at: usize| (at.wrapping_mul(31) >> 3) as u8)
            .collect();
        let headers = sign::github(SECRET, &format!("cl-{number}"), &body);
        let answer = kept.request("POST", "/webhooks/github", &sign::borrowed(&headers), &body);
        assert_eq!(
            answer.status,
            200,
            "{size} bytes with a length: {}",
            answer.text()
        );
        assert!(app.last().body == body, "{size} bytes with a length differ");
        let headers = sign::github(SECRET, &format!("te-{number}"), &body);
        let answer = kept.chunked(
            "POST",
            "/webhooks/github",
            &sign::borrowed(&headers),
            &body,
            10_007,
        );
        assert_eq!(
            answer.status,
            200,
            "{size} bytes in chunks: {}",
            answer.text()
        );
        assert!(app.last().body == body, "{size} bytes in chunks differ");
    }
    assert_eq!(app.count(), 2 * sizes.len());
}

#[test]
fn a_sender_that_asks_first_is_invited() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let mut kept = Connection::open(gate.address("senders"));
    for number in 0..3 {
        let body = vec![b'e'; 5_000];
        let headers = sign::github(SECRET, &format!("id-{number}"), &body);
        let mut headers = sign::borrowed(&headers);
        headers.push(("Expect", "100-continue"));
        kept.send(&http::head(
            "POST",
            "/webhooks/github",
            &headers,
            Some(body.len()),
        ))
        .unwrap();
        std::thread::sleep(Duration::from_millis(50));
        kept.send(&body).unwrap();
        assert_eq!(kept.answer().unwrap().status, 200);
        assert_eq!(app.last().header("Expect"), None);
    }
    let refused = kept.request("POST", "/none", &[("Expect", "100-continue")], b"");
    assert_eq!(refused.status, 404);
}

#[test]
fn answers_pass_unchanged_and_failures_release_the_id() {
    let app = App::answering(|number, _| match number {
        0 => Act {
            headers: vec![
                ("X-App".into(), "yes".into()),
                ("Connection".into(), "X-Hop".into()),
                ("X-Hop".into(), "1".into()),
            ],
            ..Act::status(500)
        },
        1 => Act::status(302),
        2 => Act::status(422),
        _ => Act::status(204),
    });
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let send = || {
        gate.post(
            "/webhooks/github",
            &sign::github(SECRET, "same", b"{}"),
            b"{}",
        )
    };
    let first = send();
    assert_eq!(
        (
            first.status,
            first.header("X-App"),
            first.header("X-Hop"),
            first.text().as_str()
        ),
        (500, Some("yes"), None, "done")
    );
    assert_eq!(
        (send().status, send().status, send().status),
        (302, 422, 204)
    );
    let duplicate = send();
    assert_eq!(
        (duplicate.status, duplicate.header("Hookgate-Status")),
        (200, Some("duplicate"))
    );
    assert_eq!(app.count(), 4);
}

#[test]
fn a_dead_app_is_502_and_later_503_and_its_return_is_noticed() {
    let address = {
        let app = App::start();
        app.address
    };
    let url = format!("http://{address}");
    let yaml = config::forward(&url, "").replace(
        "timeout: 5s",
        "timeout: 5s, breaker: { failures: 3, open: 300ms }",
    );
    let gate = Gate::in_process(&yaml);
    let send = || {
        gate.post(
            "/webhooks/github",
            &sign::github(SECRET, "same", b"{}"),
            b"{}",
        )
    };
    assert_eq!(
        (send().status, send().status, send().status),
        (502, 502, 502)
    );
    let open = send();
    assert_eq!((open.status, open.header("Retry-After")), (503, Some("1")));
    let app = App::on(address, |_, _| Act::status(200));
    wait_for("the breaker to close", || send().status == 200);
    assert_eq!(app.count(), 1);
}

#[test]
fn an_app_that_does_not_answer_is_504_and_one_that_hangs_up_502() {
    let app = App::answering(|number, _| {
        if number == 0 {
            Act::status(200).after(Duration::from_secs(3))
        } else {
            Act::hang_up()
        }
    });
    let gate =
        Gate::in_process(&config::forward(&app.url(), "").replace("timeout: 5s", "timeout: 500ms"));
    let send = || {
        gate.post(
            "/webhooks/github",
            &sign::github(SECRET, "same", b"{}"),
            b"{}",
        )
    };
    assert_eq!(send().status, 504);
    assert_eq!(send().status, 502);
}

#[test]
fn forged_hookgate_headers_are_removed() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let mut headers = sign::github(SECRET, "id", b"{}");
    for (name, value) in [
        ("Hookgate-Verified", "false"),
        ("HOOKGATE_ROUTE", "x"),
        ("Http-Hookgate-Secret", "x"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Forwarded-Proto", "https"),
        ("X-Original-URL", "/admin"),
        ("X-HTTP-Method-Override", "DELETE"),
        ("Connection", "hookgate-verified, x-github-event"),
        ("Cookie", "a=b"),
    ] {
        headers.push((name.into(), value.into()));
    }
    assert_eq!(
        gate.post("/webhooks/github?drop=me", &headers, b"{}")
            .status,
        200
    );
    let seen = app.last();
    assert_eq!(seen.target, "/webhooks/github", "the query is not covered");
    assert_eq!(seen.header("Hookgate-Verified"), Some("true"));
    assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(seen.header("X-Forwarded-Proto"), Some("http"));
    assert_eq!(seen.header("Cookie"), Some("a=b"));
    for gone in [
        "HOOKGATE_ROUTE",
        "Http-Hookgate-Secret",
        "X-Original-URL",
        "X-HTTP-Method-Override",
        "X-GitHub-Event",
    ] {
        assert_eq!(seen.header(gone), None, "{gone}");
    }
}
