//! Answers that come before the body: the sender gets them, the rest is read within bounds, and the connection ends.
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::support::app::App;
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, wait_for};
use super::support::{http, sign};

const PIECE: [u8; 16 * 1024] = [b'x'; 16 * 1024];
/// The longest time for which the gate reads a rest, with some room.
const BOUND: Duration = Duration::from_secs(4);

fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
}

/// All that comes until the end, and whether the end came in good order.
fn read(stream: &mut TcpStream) -> (String, bool) {
    let mut answer = Vec::new();
    let ended = stream.read_to_end(&mut answer);
    (String::from_utf8_lossy(&answer).into_owned(), ended.is_ok())
}

/// Sends a head and then `pieces` pieces as fast as it can, and only then looks for an answer.
fn push(address: SocketAddr, head: &str, pieces: usize, chunked: bool) -> (String, bool) {
    let mut stream = open(address);
    stream.write_all(head.as_bytes()).unwrap();
    for _ in 0..pieces {
        let sent = if chunked {
            let chunk = [format!("{:x}\r\n", PIECE.len()).as_bytes(), &PIECE, b"\r\n"].concat();
            stream.write_all(&chunk)
        } else {
            stream.write_all(&PIECE)
        };
        if sent.is_err() {
            break;
        }
    }
    read(&mut stream)
}

fn gate() -> (App, Gate) {
    let app = App::start();
    let gate = Gate::start(&config::forward(&app.url(), ""));
    (app, gate)
}

/// No connection is left, and the next honest sender is served.
fn is_over(gate: &Gate) {
    wait_for("the connections to end", || {
        gate.health("/metrics")
            .text()
            .lines()
            .any(|line| line == "hookgate_connections 0")
    });
}

#[test]
fn sender_that_keeps_sending_gets_the_answer() {
    let (app, gate) = gate();
    let address = gate.address("senders");
    let length = "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 3145728\r\n\r\n";
    let chunks = "POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let broken =
        "POST /webhooks/github HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\n";
    let bad = "POST /nowhere HTTP/1.1\r\nHost: a\r\nX : y\r\n";
    for _ in 0..8 {
        for (head, chunked, status) in [
            (length, false, "404"),
            (chunks, true, "404"),
            (broken, true, "400"),
            (bad, false, "400"),
        ] {
            let (answer, in_order) = push(address, head, 180, chunked);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")) && in_order,
                "{head:?}: {answer:?} {in_order}"
            );
            assert!(
                answer.to_ascii_lowercase().contains("connection: close"),
                "{answer}"
            );
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        }
    }
    is_over(&gate);
    assert_eq!(app.count(), 0);
}

/// A sender that has the answer and sends the rest of its body nevertheless is heard to the end: a reset could have overtaken the answer.
#[test]
fn the_rest_of_a_refused_body_is_read() {
    let (_app, gate) = gate();
    for (head, begin) in [
        ("Content-Length: 1048576", &PIECE[..]),
        ("Transfer-Encoding: chunked", b"100000\r\nx"),
    ] {
        let mut stream = open(gate.address("senders"));
        stream
            .write_all(format!("POST /nowhere HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n").as_bytes())
            .unwrap();
        stream.write_all(begin).unwrap();
        let (answer, in_order) = read(&mut stream);
        assert!(
            answer.starts_with("HTTP/1.1 404 ") && in_order,
            "{head}: {answer:?}"
        );
        for _ in 0..40 {
            stream
                .write_all(&PIECE)
                .unwrap_or_else(|error| panic!("{head}: {error}"));
        }
    }
    is_over(&gate);
}

/// The end of the answer's side comes with the answer: who waits for it need not wait for the drain.
#[test]
fn the_end_comes_with_the_answer() {
    let (_app, gate) = gate();
    for more in ["", "Expect: 100-continue\r\n"] {
        let mut stream = open(gate.address("senders"));
        let head =
            format!("POST /nowhere HTTP/1.1\r\nHost: a\r\n{more}Content-Length: 1000\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let begun = Instant::now();
        let (answer, in_order) = read(&mut stream);
        assert!(
            answer.starts_with("HTTP/1.1 404 ") && in_order,
            "{answer:?}"
        );
        assert!(
            begun.elapsed() < Duration::from_millis(1500),
            "{:?}",
            begun.elapsed()
        );
    }
    is_over(&gate);
}

/// Neither a sender without an end nor one that drips keeps the connection.
#[test]
fn reading_a_refused_body_is_bounded() {
    let (_app, gate) = gate();
    let address = gate.address("senders");
    let head = "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n";
    let begun = Instant::now();
    // a TiB; the write fails when the gate has had enough
    push(address, head, usize::MAX, false);
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    let begun = Instant::now();
    let mut drip = open(address);
    drip.write_all(head.as_bytes()).unwrap();
    wait_for("a drip to fail", || drip.write_all(b"x").is_err());
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    is_over(&gate);
}

/// A refused head does not end a connection that the sender had refused before: what comes later in its own time is a request.
#[test]
fn request_after_a_complete_refused_one_is_served() {
    let (_app, gate) = gate();
    let mut stream = open(gate.address("senders"));
    for _ in 0..3 {
        stream
            .write_all(b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        let mut answer = [0; 1024];
        let read = stream.read(&mut answer).unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 404 "));
    }
}

/// Whatever the first of two in one packet comes to, the second is never a request.
#[test]
fn bytes_sent_with_a_refused_request_are_dropped() {
    let app = App::start();
    let handshake = format!(
        "  - name: dropbox
    path: /webhooks/dropbox
    verify: {{ provider: dropbox, secrets: [{{ name: main, insecure_inline: \"{SECRET}\", allow_whitespace: true }}] }}
    forward: {{ upstream: app }}
"
    );
    let gate = Gate::start(&(config::forward(&app.url(), "") + &handshake));
    let signed = |id: &str| {
        let head = http::head(
            "POST",
            "/webhooks/github",
            &sign::borrowed(&sign::github(SECRET, id, b"{}")),
            Some(2),
        );
        String::from_utf8([head.as_slice(), b"{}"].concat()).unwrap()
    };
    let handshake = "GET /webhooks/dropbox?challenge=abc HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    for (first, what) in [
        (signed("a"), "done"),
        (signed("a"), "duplicate"),
        (handshake, "abc"),
    ] {
        let mut stream = open(gate.address("senders"));
        stream
            .write_all(format!("{first}{}", signed("hidden")).as_bytes())
            .unwrap();
        let (answer, in_order) = read(&mut stream);
        assert!(
            answer.starts_with("HTTP/1.1 200 ") && answer.contains(what) && in_order,
            "{answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
        assert!(
            answer.to_ascii_lowercase().contains("connection: close"),
            "{answer}"
        );
        assert_eq!(app.count(), 1);
    }
}

/// The operator sees why an honest but sloppy sender is refused. The sender does not.
#[test]
fn the_log_says_what_was_wrong() {
    let (_app, gate) = gate();
    for (text, why) in [
        (
            "POST /webhooks/github HTTP/1.1\nHost: a\n\n",
            "the end of a line",
        ),
        (
            "POST /webhooks/github HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n",
            "a folded line",
        ),
        (
            "POST /webhooks/github HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n",
            "the framing of a chunk",
        ),
    ] {
        let mut stream = open(gate.address("senders"));
        stream.write_all(text.as_bytes()).unwrap();
        let (answer, in_order) = read(&mut stream);
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && in_order && !answer.contains(why),
            "{answer}"
        );
        let expected = [
            format!("\"code\":\"malformed\",\"why\":\"{why}\""),
            "\"path\":\"/webhooks/github\"".to_owned(),
        ];
        wait_for(why, || {
            gate.lines()
                .iter()
                .any(|line| expected.iter().all(|part| line.contains(part)))
        });
    }
}
