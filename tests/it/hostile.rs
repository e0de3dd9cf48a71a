//! Apps that break off and senders that play with framing: half an answer never looks complete, and a body is never a request.
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::support::app::{App, unused_address};
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::http::{self, Connection};
use super::support::raw_app::{HALF, raw_app};
use super::support::sign;

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n";

fn post(connection: &mut Connection, id: &str) -> http::Answer {
    connection.request(
        "POST",
        "/webhooks/github",
        &sign::borrowed(&sign::github(SECRET, id, b"{}")),
        b"{}",
    )
}

#[test]
fn an_answer_in_chunks_keeps_the_connection() {
    let gate = Gate::in_process(&config::forward(&format!("http://{}", raw_app(WHOLE)), ""));
    let mut sender = Connection::open(gate.address("senders"));
    for id in ["a", "b"] {
        let answer = post(&mut sender, id);
        assert_eq!((answer.status, answer.text().as_str()), (200, "half"));
        assert_eq!(
            (answer.header("Content-Length"), answer.header("Connection")),
            (Some("4"), Some("keep-alive"))
        );
    }
}

/// An app that sends two lengths: the sender gets the one that counts, or it would read a part of a response as the next one.
#[test]
fn a_length_beside_chunks_does_not_reach_the_sender() {
    for length in [2, 100] {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n4\r\nhalf\r\n0\r\n\r\n"
        );
        let app = raw_app(answer.into_bytes().leak());
        let gate = Gate::in_process(&config::forward(&format!("http://{app}"), ""));
        let mut sender = Connection::open(gate.address("senders"));
        for id in ["a", "b"] {
            let answer = post(&mut sender, id);
            assert_eq!((answer.status, answer.text().as_str()), (200, "half"));
            assert_eq!(answer.header("Content-Length"), Some("4"));
        }
    }
}

/// Without the last chunk the sender sees that the rest is missing. The app answered 200 and has the delivery: it is not called again.
#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    let gate = Gate::in_process(&config::forward(&format!("http://{}", raw_app(HALF)), ""));
    let mut sender = Connection::open(gate.address("senders"));
    let headers = sign::github(SECRET, "a", b"{}");
    sender
        .send(&http::head(
            "POST",
            "/webhooks/github",
            &sign::borrowed(&headers),
            Some(2),
        ))
        .unwrap();
    sender.send(b"{}").unwrap();
    assert_eq!(
        sender.answer().unwrap_err().kind(),
        std::io::ErrorKind::UnexpectedEof
    );
    let again = gate.post("/webhooks/github", &headers, b"{}");
    assert_eq!(
        (again.status, again.header("Hookgate-Status")),
        (200, Some("duplicate"))
    );
}

/// Chunk heads that no two readers agree on, and a signed request behind them.
#[test]
fn bytes_after_a_broken_body_are_never_a_request() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let mut behind = http::head(
        "POST",
        "/webhooks/github",
        &sign::borrowed(&sign::github(SECRET, "behind", b"{}")),
        Some(2),
    );
    behind.extend_from_slice(b"{}");
    for (number, broken) in [
        "x\r\n",
        "2x\r\n{}\r\n",
        "-2\r\n{}\r\n",
        "0x2\r\n{}\r\n",
        "1\r\n{}\r\n",
        "3\r\n{}\r\n",
    ]
    .iter()
    .enumerate()
    {
        for later in [false, true] {
            let headers = sign::github(SECRET, &format!("{number}-{later}"), b"{}");
            let mut sender = Connection::open(gate.address("senders"));
            let mut first = http::head("POST", "/webhooks/github", &sign::borrowed(&headers), None);
            first.extend_from_slice(broken.as_bytes());
            sender.send(&first).unwrap();
            if later {
                std::thread::sleep(Duration::from_millis(50));
            }
            // the gate may have closed already
            sender.send(&behind).ok();
            assert_eq!(sender.answer().unwrap().status, 400, "{broken:?}");
            assert!(sender.is_closed(), "{broken:?}");
        }
    }
    assert_eq!(app.count(), 0);
}

/// Two readers could read them differently: 400 and closed, whatever else is right.
#[test]
fn two_framings_or_two_names_are_refused() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let good = http::head(
        "POST",
        "/webhooks/github",
        &sign::borrowed(&sign::github(SECRET, "a", b"{}")),
        None,
    );
    let good = String::from_utf8(good).unwrap();
    let (chunked, body) = ("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n");
    for (from, to) in [
        (
            chunked,
            "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        ),
        (
            chunked,
            "content-LENGTH: 2\r\nTransfer-Encoding: chunked\r\n",
        ),
        (
            chunked,
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        ),
        (chunked, "Transfer-Encoding: gzip, chunked\r\n"),
        (chunked, "Content-Length: 2\r\nContent-Length: 2\r\n"),
        (
            "Host: gate.test\r\n",
            "Host: gate.test\r\nHost: gate.test\r\n",
        ),
        ("Host: gate.test\r\n", ""),
        (" /webhooks", " http://gate.test/webhooks"),
    ] {
        let head = good.replacen(from, to, 1);
        assert_ne!(head, good);
        let mut sender = Connection::open(gate.address("senders"));
        sender
            .send(format!("{head}{body}{good}{body}").as_bytes())
            .unwrap();
        assert_eq!(sender.answer().unwrap().status, 400, "{to:?}");
        assert!(sender.is_closed(), "{to:?}");
    }
    assert_eq!(app.count(), 0);
}

/// HTTP/1.0 knows no interim answers: a client would take `100 Continue` for the final one.
#[test]
fn an_old_client_is_not_invited() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(&app.url(), ""));
    let headers = sign::github(SECRET, "old", b"{}");
    let head = http::head(
        "POST",
        "/webhooks/github",
        &sign::borrowed(&headers),
        Some(2),
    );
    let head = String::from_utf8(head)
        .unwrap()
        .replace("HTTP/1.1\r\n", "HTTP/1.0\r\nExpect: 100-continue\r\n");
    let mut stream = TcpStream::connect(gate.address("senders")).unwrap();
    stream.write_all(format!("{head}{{}}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// A log collector that hangs, then dies. Deliveries go on, reloads go on, and SIGTERM is obeyed.
#[test]
fn unread_output_blocks_nothing() {
    let app = App::start();
    let dir = tempfile::tempdir().unwrap();
    let free = unused_address();
    let config_path = dir.path().join("config.yaml");
    let yaml = config::forward(&app.url(), "").replacen("127.0.0.1:0", &free.to_string(), 1);
    std::fs::write(&config_path, yaml).unwrap();
    for dies in [false, true] {
        let mut gate = hookgate()
            .args(["run", "--config"])
            .arg(&config_path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("the gate to listen", || TcpStream::connect(free).is_ok());
        if dies {
            drop((gate.stdout.take(), gate.stderr.take()));
        }
        let mut sender = Connection::open(free);
        // each reload says a line; a pipe holds some hundred of them
        for number in 0..900 {
            if number % 50 == 0 {
                assert_eq!(post(&mut sender, &format!("{dies}-{number}")).status, 200);
            }
            Command::new("kill")
                .args(["-HUP", &gate.id().to_string()])
                .status()
                .unwrap();
            std::thread::sleep(Duration::from_millis(2));
        }
        Command::new("kill")
            .arg(gate.id().to_string())
            .status()
            .unwrap();
        let mut left = None;
        wait_for("the gate to leave", || {
            left = gate.try_wait().unwrap();
            left.is_some()
        });
        assert_eq!(left.unwrap().code(), Some(0));
    }
}
