//! Webhook requests and streamed ones on one HTTP/1 connection, which two servers share.
use std::time::Duration;

use super::support::app::{Act, App};
use super::support::config::{self, SECRET};
use super::support::gate::Gate;
use super::support::http::{self, Connection};
use super::support::{dice::Dice, sign};

/// The bytes of a signed webhook.
fn webhook(id: &str, body: &[u8], chunk: Option<usize>) -> Vec<u8> {
    let headers = sign::github(SECRET, id, body);
    let size = chunk.is_none().then_some(body.len());
    let mut bytes = http::head("POST", "/webhooks/github", &sign::borrowed(&headers), size);
    put_body(&mut bytes, body, chunk);
    bytes
}

/// The bytes of a request of the pass route.
fn stream(number: usize, body: &[u8], chunk: Option<usize>) -> Vec<u8> {
    let target = format!("/page/{number}");
    let size = chunk.is_none().then_some(body.len());
    let mut bytes = http::head("PUT", &target, &[("X-Page", "a")], size);
    put_body(&mut bytes, body, chunk);
    bytes
}

fn put_body(bytes: &mut Vec<u8>, body: &[u8], chunk: Option<usize>) {
    let Some(chunk) = chunk else {
        bytes.extend_from_slice(body);
        return;
    };
    for piece in body.chunks(chunk) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
}

fn gate(app: &App) -> Gate {
    Gate::in_process(&config::pass(&app.url(), "", ""))
}

/// Both kinds in any order, with bodies of any size and form, in packets of any size: each request is answered, and the app sees each byte.
#[test]
fn webhooks_and_streams_take_turns_on_a_connection() {
    let app = App::start();
    let gate = gate(&app);
    let mut dice = Dice::new(16);
    for round in 0..4 {
        let mut connection = Connection::open(gate.address("senders"));
        for number in 0..25 {
            let number = round * 100 + number;
            let body = vec![b'a' + (number % 26) as u8; [0, 2, 700, 20_000, 150_000][number % 5]];
            let chunk = (dice.below(3) == 0 && !body.is_empty()).then_some(1000);
            let is_webhook = dice.below(2) == 0 && !body.is_empty();
            let bytes = if is_webhook {
                webhook(&format!("id-{number}"), &body, chunk)
            } else {
                stream(number, &body, chunk)
            };
            let piece = [bytes.len().max(1), 100, 5000][dice.below(3) as usize];
            // a thousand packets at most
            for piece in bytes.chunks(piece.max(bytes.len() / 1000)) {
                connection.send(piece).unwrap();
            }
            let answer = connection.answer().unwrap();
            assert_eq!(
                (answer.status, answer.text().as_str()),
                (200, "done"),
                "{number}"
            );
            assert_eq!(answer.header("Connection"), Some("keep-alive"), "{number}");
            let seen = app.last();
            assert_eq!(seen.body.len(), body.len());
            assert!(seen.body == body, "{number}");
            assert_eq!(
                seen.header("Hookgate-Verified"),
                Some(if is_webhook { "true" } else { "false" })
            );
        }
    }
    assert_eq!(app.count(), 100);
}

/// A request that came together with the one before it is never read, whichever of the two is streamed.
#[test]
fn pipelined_request_is_never_read() {
    let app = App::start();
    let gate = gate(&app);
    let some = |number: usize, is_webhook: bool, chunk| {
        if is_webhook {
            webhook(&format!("pipelined-{number}-{chunk:?}"), b"{}", chunk)
        } else {
            stream(number, b"{}", chunk)
        }
    };
    let mut number = 0;
    for first in [true, false] {
        for second in [true, false] {
            for chunk in [None, Some(1)] {
                number += 1;
                let mut connection = Connection::open(gate.address("senders"));
                let both = [
                    some(number, first, chunk),
                    some(number + 100, second, chunk),
                ]
                .concat();
                connection.send(&both).unwrap();
                let answer = connection.answer().unwrap();
                assert_eq!(
                    (answer.status, answer.header("Connection")),
                    (200, Some("close")),
                    "{first} {second} {chunk:?}"
                );
                assert!(connection.is_closed());
                assert_eq!(app.count(), number);
            }
        }
    }
}

/// pingora reads a head into a buffer of 4 KiB. Bytes that arrive behind a full one are known before the response.
#[test]
fn pipelined_request_behind_a_full_buffer_is_announced() {
    const BUFFER: usize = 4096;
    let app = App::start();
    let gate = gate(&app);
    let padded = |pad: usize, size: Option<usize>, body: &[u8]| {
        let pad = "a".repeat(pad);
        let mut bytes = http::head("PUT", "/page", &[("X-Pad", &pad)], size);
        bytes.extend_from_slice(body);
        bytes
    };
    let requests = [
        (Some(0), &b""[..]),
        (Some(2), &b"{}"[..]),
        (None, &b"2\r\n{}\r\n0\r\n\r\n"[..]),
    ];
    for (size, body) in requests {
        for length in [BUFFER - 1, BUFFER, BUFFER + 1] {
            let pad = length - padded(0, size, body).len();
            let first = padded(pad, size, body);
            assert_eq!(first.len(), length);
            let mut connection = Connection::open(gate.address("senders"));
            connection
                .send(&[first.clone(), stream(1, b"{}", None)].concat())
                .unwrap();
            let answer = connection.answer().unwrap();
            assert_eq!(
                (answer.status, answer.header("Connection")),
                (200, Some("close")),
                "{size:?} {length}"
            );
            assert!(connection.is_closed());
            // without one, the connection goes on
            let mut connection = Connection::open(gate.address("senders"));
            for _ in 0..2 {
                connection.send(&first).unwrap();
                let answer = connection.answer().unwrap();
                assert_eq!(answer.status, 200);
                assert_ne!(answer.header("Connection"), Some("close"));
            }
        }
    }
}

/// The framing of a response follows what the upstream says, and the connection serves the next request.
#[test]
fn responses_are_framed_as_the_request_allows() {
    let app = App::answering(|number, _| {
        let mut act = Act::status([200, 204, 304, 404, 299][number % 5]);
        if number % 5 == 0 {
            act.body = vec![b'x'; 100_000];
        }
        act
    });
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let mut connection = Connection::open(gate.address("senders"));
    for number in 0..10 {
        let body = format!("{{\"n\":{number}}}");
        connection
            .send(&webhook(&format!("id-{number}"), body.as_bytes(), None))
            .unwrap();
        let answer = connection.answer().unwrap();
        assert_eq!(answer.status, [200, 204, 304, 404, 299][number % 5]);
        let size = [100_000, 0, 0, 4, 4][number % 5];
        assert_eq!(answer.body.len(), size, "{number}");
        assert!(
            answer
                .header("Date")
                .is_some_and(|date| date.ends_with(" GMT"))
        );
        assert_eq!(answer.header("Connection"), Some("keep-alive"));
    }
    // HTTP/1.0 keeps the connection only where it asks for that
    for (asks, connection_header) in [("", "close"), ("Connection: keep-alive\r\n", "keep-alive")] {
        let mut connection = Connection::open(gate.address("senders"));
        let bytes = webhook(
            &format!("old-{asks}").replace("\r\n", ""),
            b"{\"old\":1}",
            None,
        );
        let text = String::from_utf8(bytes).unwrap();
        let text = text.replacen("HTTP/1.1\r\n", &format!("HTTP/1.0\r\n{asks}"), 1);
        connection.send(text.as_bytes()).unwrap();
        let answer = connection.answer().unwrap();
        assert_eq!(answer.header("Connection"), Some(connection_header));
    }
}

/// A sender that leaves while its webhook is forwarded changes nothing: the delivery is settled, and its duplicate is one.
#[test]
fn sender_that_leaves_has_its_delivery_settled() {
    let app = App::answering(|_, _| Act::status(200).after(Duration::from_millis(200)));
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let bytes = webhook("left", b"{}", None);
    let mut connection = Connection::open(gate.address("senders"));
    connection.send(&bytes).unwrap();
    super::support::gate::wait_for("the app to have it", || app.count() == 1);
    drop(connection);
    let again = gate.post(
        "/webhooks/github",
        &sign::github(SECRET, "left", b"{}"),
        b"{}",
    );
    assert_eq!(
        (again.status, again.header("Hookgate-Status")),
        (200, Some("duplicate"))
    );
    assert_eq!(app.count(), 1);
}
