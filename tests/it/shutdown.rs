//! SIGTERM: no accepted request is lost, and an idle gate leaves at once.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::support::app::{Act, App};
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::http::{self, Connection};
use super::support::sign;

#[test]
fn an_idle_gate_leaves_as_soon_as_the_delay_is_over() {
    let app = App::start();
    let mut gate = Gate::start(
        &config::forward(&app.url(), "")
            .replace("delay: 0s, grace: 5s", "delay: 700ms, grace: 20s"),
    );
    let mut idle = Connection::open(gate.address("senders"));
    let headers = sign::github(SECRET, "a", b"{}");
    assert_eq!(
        idle.request("POST", "/webhooks/github", &sign::borrowed(&headers), b"{}")
            .status,
        200
    );
    assert_eq!(gate.health("/readyz").status, 200);
    let begun = Instant::now();
    gate.signal("TERM");
    wait_for("not ready", || gate.health("/readyz").status == 503);
    assert_eq!(gate.health("/livez").status, 200);
    let late = gate.post("/webhooks/github", &sign::github(SECRET, "b", b"{}"), b"{}");
    assert_eq!(
        (late.status, late.header("Connection")),
        (200, Some("close"))
    );
    // sooner than the grace is over
    let left = gate.wait(Duration::from_secs(15));
    assert_eq!(left.code(), Some(0));
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(700), "{took:?}");
}

#[test]
fn requests_in_flight_are_served_to_their_end() {
    let app = App::answering(|_, _| Act::status(200).after(Duration::from_millis(1_200)));
    let mut gate = Gate::start(&config::forward(&app.url(), ""));
    let address = gate.address("senders");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let send = |number: usize| {
            let id = format!("id-{number}");
            http::request(
                address,
                "POST",
                "/webhooks/github",
                &sign::borrowed(&sign::github(SECRET, &id, b"{}")),
                b"{}",
            )
            .status
        };
        let senders: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || send(number)))
            .collect();
        wait_for("all to be in flight", || app.count() == 8);
        gate.signal("TERM");
        senders
            .into_iter()
            .map(|sender| sender.join().unwrap())
            .collect()
    });
    assert_eq!(statuses, [200; 8]);
    assert_eq!(gate.wait(Duration::from_secs(30)).code(), Some(0));
}

#[test]
fn grace_ends() {
    let app = App::answering(|_, _| Act::status(200).after(Duration::from_secs(60)));
    let mut gate =
        Gate::start(&config::forward(&app.url(), "").replace("grace: 5s", "grace: 500ms"));
    let address = gate.address("senders");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut sender = Connection::open(address);
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
            assert!(sender.answer().is_err());
        });
        wait_for("it to be in flight", || app.count() == 1);
        gate.signal("TERM");
        // sooner than the app answers
        assert_eq!(gate.wait(Duration::from_secs(20)).code(), Some(0));
    });
}

/// A gate that waits for another's store leaves in good order when it gets SIGTERM, also as process 1 of a container.
#[test]
fn gate_that_waits_for_its_store_stops_on_sigterm() {
    let app = App::start();
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let yaml = format!(
        "store: {{ path: {} }}\n{}",
        dir.path().join("state").display(),
        config::forward(&app.url(), "")
    );
    let holder = Gate::start_in(dir, &yaml);
    let mut second = hookgate()
        .args(["run", "--config"])
        .arg(holder.config_path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log_lines = BufReader::new(second.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok);
    assert!(log_lines.any(
        |line| line.contains(&format!("process {}", holder.pid())) && line.contains("waiting")
    ));
    Command::new("kill")
        .arg(second.id().to_string())
        .status()
        .unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(0));
}

/// Connections that were made, and requests that were sent, just before the signal took effect.
#[test]
fn requests_sent_before_the_stop_are_answered() {
    const DELAY: Duration = Duration::from_millis(300);
    let app = App::start();
    let mut gate =
        Gate::start(&config::forward(&app.url(), "").replace("delay: 0s", "delay: 300ms"));
    let address = gate.address("senders");
    let begun = Instant::now();
    gate.signal("TERM");
    let mut sent = 0;
    // each connection is served to its end, until one is refused
    while let Ok(mut stream) = TcpStream::connect(address) {
        let mut headers = sign::github(SECRET, &format!("id-{sent}"), b"{}");
        headers.push(("Connection".to_owned(), "close".to_owned()));
        let headers = sign::borrowed(&headers);
        let mut request = http::head("POST", "/webhooks/github", &headers, Some(2));
        request.extend_from_slice(b"{}");
        let mut answer = String::new();
        let exchanged = stream.write_all(&request);
        // one that comes in the very moment the socket is closed was never accepted: the system resets it
        if exchanged
            .and_then(|()| stream.read_to_string(&mut answer))
            .is_err()
        {
            break;
        }
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{answer:?} after {:?}",
            begun.elapsed()
        );
        sent += 1;
    }
    // the socket is closed no sooner than the delay is over, and the connection that found that out ended after it
    let took = begun.elapsed();
    assert!(took >= DELAY, "{sent} requests, {took:?}");
    assert_eq!(gate.wait(Duration::from_secs(30)).code(), Some(0));
}
