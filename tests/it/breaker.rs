//! The circuit breakers of webhooks, against traffic that must not move them.
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::support::app::{Act, App, unused_address};
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, wait_for};
use super::support::http::{self, Connection};
use super::support::sign;

/// The status of a signed webhook, on a connection of its own.
fn webhook(gate: &Gate, id: &str) -> u16 {
    webhook_at(gate, "/webhooks/github", id)
}

fn webhook_at(gate: &Gate, path: &str, id: &str) -> u16 {
    gate.post(path, &sign::github(SECRET, id, b"{}"), b"{}")
        .status
}

/// A signed webhook on an open connection.
fn webhook_on(connection: &mut Connection, id: &str) -> http::Answer {
    let headers = sign::github(SECRET, id, b"{}");
    connection.request("POST", "/webhooks/github", &sign::borrowed(&headers), b"{}")
}

fn visit(gate: &Gate, path: &str) -> u16 {
    http::request(gate.address("senders"), "GET", path, &[], b"").status
}

#[test]
fn pass_traffic_does_not_ask_open_or_close_it() {
    let address = unused_address();
    let gate = Gate::in_process(&config::pass(&format!("http://{address}"), "", ""));
    for _ in 0..10 {
        assert_eq!(visit(&gate, "/"), 502);
    }
    // ten failures of visitors have not opened it; three of webhooks do
    for id in ["a", "b", "c"] {
        assert_eq!(webhook(&gate, id), 502);
    }
    assert_eq!(webhook(&gate, "d"), 503);
    assert_eq!(
        visit(&gate, "/"),
        502,
        "a page goes to the app whatever the breaker says"
    );
    let _app = App::on(address, |_, _| Act::status(200));
    assert_eq!(visit(&gate, "/"), 200);
    assert_eq!(webhook(&gate, "e"), 503, "a page does not close it");
    assert_eq!(gate.admin("/-/status")["upstreams"][0]["breaker"], "open");
}

#[test]
fn an_upload_of_a_visitor_is_never_the_probe() {
    let address = unused_address();
    let yaml =
        config::pass(&format!("http://{address}"), "", "").replace("open: 10m", "open: 200ms");
    let gate = Gate::in_process(&yaml);
    for id in ["a", "b", "c"] {
        assert_eq!(webhook(&gate, id), 502);
    }
    let _app = App::on(address, |_, _| Act::status(200));
    let mut upload = Connection::open(gate.address("senders"));
    wait_for("a probe to be due", || {
        gate.admin("/-/status")["upstreams"][0]["breaker"] == "half_open"
    });
    upload.send(b"POST /upload HTTP/1.1\r\nHost: gate.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n").unwrap();
    for number in 0..10 {
        upload.send(b"1\r\ny\r\n").unwrap();
        assert_eq!(webhook(&gate, &format!("id-{number}")), 200);
    }
    upload.send(b"0\r\n\r\n").unwrap();
    assert_eq!(upload.answer().unwrap().status, 200);
}

#[test]
fn slow_pages_of_visitors_do_not_stop_webhooks() {
    let app = App::answering(|_, seen| {
        let slow = seen.target.starts_with("/slow");
        Act::status(200).after(if slow {
            Duration::from_secs(2)
        } else {
            Duration::ZERO
        })
    });
    let gate = Gate::in_process(&config::pass(&app.url(), ", timeout: 300ms", ""));
    let timeouts = (0..6).filter(|_| visit(&gate, "/slow") == 504).count();
    assert_eq!(timeouts, 6);
    for number in 0..20 {
        assert_eq!(webhook(&gate, &format!("id-{number}")), 200);
    }
}

#[test]
fn a_hanging_handler_does_not_stop_other_routes() {
    let app = App::answering(|_, seen| {
        let slow = seen.target == "/slow";
        Act::status(200).after(if slow {
            Duration::from_secs(1)
        } else {
            Duration::ZERO
        })
    });
    let route = |name: &str| {
        let secret =
            format!("[{{ name: main, insecure_inline: \"{SECRET}\", allow_whitespace: true }}]");
        format!(
            "  - name: {name}\n    path: /{name}\n    verify: {{ provider: github, secrets: {secret} }}\n    forward: {{ upstream: app }}\n"
        )
    };
    let gate = Gate::in_process(&format!(
        "listen: [{{ address: 127.0.0.1:0 }}]\nhealth: {{ address: 127.0.0.1:0 }}\nadmin: {{ address: 127.0.0.1:0 }}
upstreams: {{ app: {{ url: '{}', timeout: 200ms, breaker: {{ failures: 3, open: 10m }} }} }}\nroutes:\n{}{}",
        app.url(),
        route("slow"),
        route("fast")
    ));
    let statuses: Vec<u16> = (0..5)
        .map(|number| webhook_at(&gate, "/slow", &format!("slow-{number}")))
        .collect();
    assert_eq!(statuses, [504, 504, 504, 503, 503]);
    for number in 0..20 {
        assert_eq!(webhook_at(&gate, "/fast", &format!("fast-{number}")), 200);
    }
    let status = gate.admin("/-/status");
    let breakers = |name: &str| {
        status["routes"]
            .as_array()
            .unwrap()
            .iter()
            .find(|route| route["name"] == name)
            .unwrap()["breaker"]
            .clone()
    };
    assert_eq!(
        (breakers("slow"), breakers("fast")),
        ("open".into(), "closed".into())
    );
    assert_eq!(status["upstreams"][0]["breaker"], "closed");
    let metrics = gate.health("/metrics").text();
    assert!(
        metrics.contains("hookgate_route_breaker_open{route=\"slow\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("hookgate_route_breaker_open{route=\"fast\"} 0"),
        "{metrics}"
    );
}

#[test]
fn a_corrected_address_does_not_inherit_an_open_breaker() {
    let app = App::start();
    let wrong = config::pass(&format!("http://{}", unused_address()), "", "");
    let gate = Gate::in_process(&wrong);
    for id in ["a", "b", "c"] {
        assert_eq!(webhook(&gate, id), 502);
    }
    assert_eq!(webhook(&gate, "d"), 503);
    std::fs::write(gate.config_path(), config::pass(&app.url(), "", "")).unwrap();
    wait_for("the reload", || {
        gate.admin("/-/status")["generation"].as_u64() >= Some(2)
    });
    assert_eq!(webhook(&gate, "e"), 200);
}

/// A gateway without file descriptors says so, under a code of its own, and its breakers stay as they are.
#[test]
fn a_lack_of_descriptors_never_moves_it() {
    let app = App::answering(|_, _| Act {
        headers: vec![("Connection".into(), "close".into())],
        ..Act::status(200)
    });
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -n 80 && exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_hookgate"),
    ]);
    let gate = Gate::start_by(
        command,
        Arc::new(tempfile::tempdir().unwrap()),
        &config::pass(&app.url(), "", ""),
    );
    let mut sender = Connection::open(gate.address("senders"));
    assert_eq!(webhook_on(&mut sender, "a").status, 200);
    let mut visitor = Connection::open(gate.address("senders"));
    assert_eq!(visitor.request("GET", "/page", &[], b"").status, 200);
    let files = || {
        std::fs::read_dir(format!("/proc/{}/fd", gate.pid()))
            .unwrap()
            .count()
    };
    let mut idle: Vec<Connection> = Vec::new();
    // a descriptor may be free for a moment, when the gateway has read a file or closed what waited for long
    let mut number = 0;
    let mut refused = |ask: &mut dyn FnMut(usize) -> http::Answer| {
        wait_for("a refusal for want of descriptors", || {
            while files() < 80 {
                idle.push(Connection::open(gate.address("senders")));
            }
            number += 1;
            let answer = ask(number);
            assert!(
                answer.status == 200
                    || (answer.status, answer.header("Retry-After")) == (503, Some("1")),
                "{}",
                answer.text()
            );
            answer.status == 503
        });
    };
    for _ in 0..6 {
        refused(&mut |number| webhook_on(&mut sender, &format!("short-{number}")));
    }
    refused(&mut |_| visitor.request("GET", "/page", &[], b""));
    drop(idle);
    wait_for("the descriptors to be free", || files() < 60);
    assert_eq!(
        webhook_on(&mut sender, "b").status,
        200,
        "no breaker is open"
    );
    let lines = gate.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("\"out_of_descriptors\"")),
        "{lines:?}"
    );
    assert!(
        gate.health("/metrics")
            .text()
            .contains("{outcome=\"out_of_descriptors\",route=\"github\"} 6")
    );
}
