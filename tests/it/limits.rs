//! Rates by client, route and value; networks; the bound on bodies in flight; hosts.
use super::support::app::{Act, App};
use super::support::config::{self, SECRET};
use super::support::gate::{Gate, hookgate, wait_for};
use super::support::http::{self, Connection};
use super::support::sign;
use std::time::Duration;

fn post(gate: &Gate, id: usize, more: &[(&str, &str)], body: &str) -> http::Answer {
    let mut headers = sign::github(SECRET, &format!("id-{id}"), body.as_bytes());
    headers.extend(
        more.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    gate.post("/webhooks/github", &headers, body.as_bytes())
}

#[test]
fn a_rate_by_client_counts_every_request_before_authentication() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(
        &app.url(),
        "    rate_limit: { rate: 1/h, burst: 3, key: client_ip }\n",
    ));
    let forged = gate.post(
        "/webhooks/github",
        &sign::github("wrong", "a", b"{}"),
        b"{}",
    );
    assert_eq!(forged.status, 401);
    assert_eq!(
        [
            post(&gate, 1, &[], "1").status,
            post(&gate, 2, &[], "2").status
        ],
        [200, 200]
    );
    let limited = post(&gate, 3, &[], "3");
    assert_eq!(limited.status, 429);
    assert!(
        limited
            .header("Retry-After")
            .and_then(|after| after.parse::<u64>().ok())
            .is_some_and(|after| (3000..=3600).contains(&after)),
        "{limited:?}"
    );
    assert_eq!(app.count(), 2);
}

#[test]
fn a_rate_by_route_counts_authentic_requests_alone() {
    let app = App::start();
    let gate = Gate::in_process(&config::forward(
        &app.url(),
        "    rate_limit: { rate: 1/h, burst: 2 }\n",
    ));
    for _ in 0..5 {
        assert_eq!(
            gate.post(
                "/webhooks/github",
                &sign::github("wrong", "a", b"{}"),
                b"{}"
            )
            .status,
            401
        );
    }
    assert_eq!(
        [1, 2, 3].map(|id| post(&gate, id, &[], &id.to_string()).status),
        [200, 200, 429]
    );
}

#[test]
fn rates_by_header_and_by_json_are_apart_for_each_value_and_several_hold_together() {
    let app = App::start();
    let limits = "    rate_limit: [{ rate: 1/h, burst: 2, key: \"json:/tenant\" }, { rate: 1/h, burst: 3, key: \"header:X-Shop\" }]\n";
    let gate = Gate::in_process(&config::forward(&app.url(), limits));
    let send = |id: usize, tenant: &str, shop: &str| {
        post(
            &gate,
            id,
            &[("X-Shop", shop)],
            &format!("{{\"tenant\": \"{tenant}\", \"id\": {id}}}"),
        )
        .status
    };
    assert_eq!(
        [send(1, "a", "x"), send(2, "a", "x"), send(3, "a", "y")],
        [200, 200, 429]
    );
    assert_eq!([send(4, "b", "x"), send(5, "b", "x")], [200, 429]);
    assert_eq!(send(6, "b", "y"), 200);
}

#[test]
fn refusals_slow_a_client_down_and_authentic_requests_do_not() {
    let app = App::start();
    let yaml = format!(
        "trusted_proxies: [127.0.0.1]\nlimits: {{ refused_per_client: 1/h }}\n{}",
        config::forward(&app.url(), "")
    );
    let gate = Gate::in_process(&yaml);
    let from = |ip: &str, id: usize, secret: &str| {
        let body = id.to_string();
        let mut headers = sign::github(secret, &format!("id-{id}"), body.as_bytes());
        headers.push(("X-Forwarded-For".into(), ip.into()));
        gate.post("/webhooks/github", &headers, body.as_bytes())
            .status
    };
    for id in 0..30 {
        assert_eq!(from("203.0.113.1", id, SECRET), 200, "{id}");
    }
    let forged: Vec<_> = (0..11).map(|id| from("203.0.113.2", id, "wrong")).collect();
    assert_eq!(forged.iter().filter(|status| **status == 401).count(), 10);
    assert_eq!(forged.last(), Some(&429));
    assert_eq!(from("203.0.113.2", 100, SECRET), 429);
    assert_eq!(from("203.0.113.1", 101, SECRET), 200);
}

#[test]
fn networks() {
    let app = App::start();
    let yaml = format!(
        "trusted_proxies: [127.0.0.1]\n{}",
        config::forward(&app.url(), "    allow: [192.0.2.0/24, \"2001:db8::/32\"]\n")
    );
    let gate = Gate::in_process(&yaml);
    let from = |ip: &str| post(&gate, ip.len(), &[("X-Forwarded-For", ip)], ip).status;
    assert_eq!(
        [from("192.0.2.7"), from("2001:db8::7"), from("198.51.100.7")],
        [200, 200, 403]
    );
    assert_eq!(
        from("192.0.2.7, 198.51.100.7"),
        403,
        "the rightmost that is no trusted proxy counts"
    );
}

#[test]
fn bodies_that_do_not_fit_are_refused_and_their_bytes_come_back() {
    let app = App::answering(|_, _| Act::status(200).after(Duration::from_millis(600)));
    let gate = Gate::in_process(&format!(
        "limits: {{ in_flight_bytes: 200KiB }}\n{}",
        config::forward(&app.url(), "")
    ));
    let big = vec![b'x'; 60 * 1024];
    let send = |id: &str| gate.post("/webhooks/github", &sign::github(SECRET, id, &big), &big);
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| send("a").status);
        wait_for("the first to be in flight", || app.count() == 1);
        let second = send("b");
        (first.join().unwrap(), second)
    });
    assert_eq!(
        (first, second.status, second.header("Retry-After")),
        (200, 503, Some("1"))
    );
    wait_for("the bytes to come back", || {
        gate.health("/metrics")
            .text()
            .contains("\nhookgate_in_flight_bytes 0\n")
    });
    assert_eq!(send("c").status, 200);
}

#[test]
fn hosts_choose_the_route() {
    let app = App::start();
    let yaml = config::forward(&app.url(), "").replace(
        "    path: /webhooks/github\n",
        "    host: hooks.example.com\n    path: /webhooks/github\n",
    );
    let gate = Gate::in_process(&yaml);
    let to = |host: &str| {
        let headers = sign::github(SECRET, host, host.as_bytes());
        let mut headers = sign::borrowed(&headers);
        headers.push(("Host", host));
        http::request(
            gate.address("senders"),
            "POST",
            "/webhooks/github",
            &headers,
            host.as_bytes(),
        )
        .status
    };
    assert_eq!(
        [
            to("hooks.example.com"),
            to("HOOKS.example.com:8080"),
            to("example.com"),
            to("hooks.example.com.evil")
        ],
        [200, 200, 404, 404]
    );
}

#[test]
fn a_head_that_does_not_end_is_closed_and_one_that_is_too_large_is_refused() {
    let app = App::start();
    let gate = Gate::in_process(&format!(
        "limits: {{ header_timeout: 400ms, header_bytes: 4KiB, body_timeout: 400ms }}\n{}",
        config::forward(&app.url(), "")
    ));
    let mut slow = Connection::open(gate.address("senders"));
    slow.send(b"POST /webhooks/github HTTP/1.1\r\nHost: a\r\n")
        .unwrap();
    assert!(slow.answer().is_err());
    let mut large = Connection::open(gate.address("senders"));
    large
        .send(
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
                "x".repeat(8 * 1024)
            )
            .as_bytes(),
        )
        .unwrap();
    assert_eq!(large.answer().unwrap().status, 431);
    assert!(large.is_closed());
    let mut long = Connection::open(gate.address("senders"));
    long.send(format!("POST /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(8 * 1024)).as_bytes())
        .unwrap();
    assert_eq!(long.answer().unwrap().status, 414);
    assert!(long.is_closed());
    let code = |code: &str| {
        gate.lines()
            .iter()
            .any(|line| line.contains(&format!("\"code\":\"{code}\"")))
    };
    wait_for("both to be on record", || {
        code("head_too_large") && code("target_too_long")
    });
    let mut body = Connection::open(gate.address("senders"));
    body.send(&http::head("POST", "/webhooks/github", &[], Some(10)))
        .unwrap();
    body.send(b"123").unwrap();
    assert_eq!(body.answer().unwrap().status, 408);
    assert!(body.is_closed());
    assert_eq!(post(&gate, 1, &[], "1").status, 200);
}

#[test]
fn connections_of_one_client_are_bounded() {
    let app = App::start();
    let gate = Gate::in_process(&format!(
        "limits: {{ connections_per_client: 3 }}\n{}",
        config::forward(&app.url(), "")
    ));
    let address = gate.address("senders");
    let mut held: Vec<_> = (0..3).map(|_| Connection::open(address)).collect();
    for (id, connection) in held.iter_mut().enumerate() {
        let body = id.to_string();
        let headers = sign::github(SECRET, &body, body.as_bytes());
        assert_eq!(
            connection
                .request(
                    "POST",
                    "/webhooks/github",
                    &sign::borrowed(&headers),
                    body.as_bytes()
                )
                .status,
            200
        );
    }
    let mut over = Connection::open(address);
    over.send(&http::head("POST", "/none", &[], Some(0))).ok();
    assert!(over.answer().is_err());
    held.clear();
    wait_for("a place", || {
        let mut again = Connection::open(address);
        again
            .send(&http::head("POST", "/none", &[], Some(0)))
            .is_ok()
            && again.answer().is_ok_and(|answer| answer.status == 404)
    });
}

/// A gateway whose shell sets the limit of open files first.
#[cfg(target_os = "linux")]
fn limited(ulimit: &str, yaml: &str) -> Gate {
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", &format!("ulimit {ulimit}; exec \"$0\" \"$@\"")])
        .arg(hookgate().get_program());
    Gate::start_by(
        command,
        std::sync::Arc::new(tempfile::tempdir().unwrap()),
        yaml,
    )
}

#[cfg(target_os = "linux")]
#[test]
fn the_limit_of_open_files_is_raised_at_start() {
    let gate = limited("-S -n 64", &config::forward("http://127.0.0.1:9", ""));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gate.pid())).unwrap();
    let files: Vec<&str> = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap()
        .split_whitespace()
        .skip(3)
        .take(2)
        .collect();
    assert_eq!(files[0], files[1], "soft and hard");
}

#[cfg(target_os = "linux")]
#[test]
fn want_of_open_files_is_logged_counted_and_an_alarm() {
    let app = App::start();
    let gate = limited("-n 48", &config::forward(&app.url(), ""));
    let lines = |text: &str| {
        gate.log_lines()
            .iter()
            .filter(|line| line.contains(text))
            .count()
    };
    let mut held: Vec<_> = (0..60)
        .map(|_| Connection::open(gate.address("senders")))
        .collect();
    wait_for("the line about it", || {
        lines("connections cannot be accepted") == 1
    });
    held.clear();
    wait_for("a delivery to pass again", || {
        post(&gate, 1, &[], "1").status == 200
    });
    wait_for("the count", || {
        gate.health("/metrics").text().lines().any(|line| {
            line.strip_prefix("hookgate_accept_errors_total{cause=\"no_files\"} ")
                .is_some_and(|count| count != "0")
        })
    });
    wait_for("the alarm", || {
        gate.admin("/-/status")["alarms"]
            .to_string()
            .contains("out_of_files")
    });
    assert_eq!(
        (
            lines("connections cannot be accepted"),
            lines("connections are accepted again")
        ),
        (1, 1)
    );
}
