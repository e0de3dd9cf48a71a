//! SIGTERM: no accepted request is lost, and an idle gate leaves at once.
use std::io::{BufRead, BufReader, Read, Write};
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
    gate.signal("TERM");
    let begun = Instant::now();
    wait_for("not ready", || gate.health("/readyz").status == 503);
    assert_eq!(gate.health("/livez").status, 200);
    let late = gate.post("/webhooks/github", &sign::github(SECRET, "b", b"{}"), b"{}");
    assert_eq!(
        (late.status, late.header("Connection")),
        (200, Some("close"))
    );
    let left = gate.wait(Duration::from_secs(5));
    assert_eq!(left.code(), Some(0));
    assert!(
        begun.elapsed() >= Duration::from_millis(700) && begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
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
    assert_eq!(gate.wait(Duration::from_secs(5)).code(), Some(0));
}

#[test]
fn grace_ends() {
    let app = App::answering(|_, _| Act::status(200).after(Duration::from_secs(4)));
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
        let begun = Instant::now();
        assert_eq!(gate.wait(Duration::from_secs(3)).code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(2));
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
    let app = App::start();
    let mut gate =
        Gate::start(&config::forward(&app.url(), "").replace("delay: 0s", "delay: 300ms"));
    let address = gate.address("senders");
    gate.signal("TERM");
    let begun = Instant::now();
    let mut answered = 0;
    while begun.elapsed() < Duration::from_millis(290) {
        let headers = sign::github(SECRET, &format!("id-{answered}"), b"{}");
        assert_eq!(
            http::request(
                address,
                "POST",
                "/webhooks/github",
                &sign::borrowed(&headers),
                b"{}"
            )
            .status,
            200
        );
        answered += 1;
    }
    // past it, each connection is refused or served to its end
    while let Ok(mut late) = std::net::TcpStream::connect(address) {
        let headers = sign::github(SECRET, &format!("id-{answered}"), b"{}");
        let mut request = http::head(
            "POST",
            "/webhooks/github",
            &sign::borrowed(&headers),
            Some(2),
        );
        request.extend_from_slice(b"{}");
        let mut answer = String::new();
        // one that comes in the very moment the socket is closed was never accepted: the system resets it
        if late
            .write_all(&request)
            .and_then(|()| late.read_to_string(&mut answer))
            .is_err()
        {
            break;
        }
        assert!(
            answer.starts_with("HTTP/1.1 200 "),
            "{answer:?} after {:?}",
            begun.elapsed()
        );
        answered += 1;
    }
    assert_eq!(gate.wait(Duration::from_secs(5)).code(), Some(0));
}
