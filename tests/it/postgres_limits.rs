//! Rate limits that gateways share over a PostgreSQL database.
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::support::app::{Act, App};
use super::support::config;
use super::support::gate::{Gate, metric, wait_for};
use super::support::postgres_server::{self, Server};
use super::support::queue::send;
use super::support::sign;

/// Makes an empty database. Returns its name, and the config of a gateway on it with a GitHub route that has `route`.
fn yaml(server: &Server, app: &App, route: &str) -> (String, String) {
    let database = server.empty();
    let name = database.get_dbname().unwrap().to_owned();
    let directory = server.directory().display();
    let store = format!(
        "store: {{ postgres: {{ url: 'postgres://hookgate@/{name}?host={directory}', timeout: 10s }} }}"
    );
    let yaml = config::with_action(&app.url(), route)
        .replace("store: { path: STORE }", &store)
        .replace(
            "admin: { address: 127.0.0.1:0 }",
            "admin: { address: 127.0.0.1:0, token: { insecure_inline: the-token-of-the-tests } }",
        );
    (name, yaml)
}

/// Sends deliveries that differ. Counts those that are not refused by a limit.
struct Sender {
    number: usize,
    passed: usize,
}

impl Sender {
    fn send(&mut self, gate: &Gate) -> bool {
        self.number += 1;
        let body = format!("{{\"n\":{}}}", self.number);
        let answer = send(gate, &format!("id-{}", self.number), body.as_bytes());
        assert!([200, 429].contains(&answer.status), "{}", answer.text());
        self.passed += usize::from(answer.status == 200);
        answer.status == 200
    }
}

#[test]
fn two_gateways_pass_the_burst_of_their_limit_once() {
    let app = App::start();
    let route = "rate_limit: { rate: 1/h, burst: 6, scope: fleet }\n    forward: { upstream: app }";
    let (_, yaml) = yaml(postgres_server::server(), &app, route);
    let gates = [Gate::in_process(&yaml), Gate::in_process(&yaml)];
    let mut sender = Sender {
        number: 0,
        passed: 0,
    };
    wait_for("the burst to pass", || {
        gates.iter().for_each(|gate| {
            sender.send(gate);
        });
        sender.passed >= 6
    });
    for _ in 0..10 {
        assert!(gates.iter().all(|gate| !sender.send(gate)));
    }
    assert_eq!((sender.passed, app.count()), (6, 6));
}

#[test]
fn forged_requests_leave_no_rows_in_the_database() {
    let server = postgres_server::server();
    let app = App::start();
    let route = "rate_limit: [{ rate: 10/s, burst: 100, key: client_ip, scope: fleet }, { rate: 10/s, scope: fleet }]\n    forward: { upstream: app }";
    let (name, yaml) = yaml(server, &app, route);
    let gate = Gate::in_process(&yaml);
    let rows = |expected: u32| {
        let sql = format!(
            "do $$ begin if (select count(*) from hookgate.bucket) <> {expected} then raise 'not {expected} rows'; end if; end $$"
        );
        server.execute(&name, &sql);
    };
    for _ in 0..5 {
        let forged = sign::github("wrong", "a", b"{}");
        assert_eq!(gate.post("/webhooks/github", &forged, b"{}").status, 401);
    }
    // an authentic one is counted at once
    assert_eq!(send(&gate, "id-1", b"{}").status, 200);
    wait_for("the row of the route", || {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rows(1))).is_ok()
    });
}

#[test]
fn app_of_a_queue_sees_no_more_than_the_rate_of_the_fleet() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&seen);
    let app = App::answering(move |_, _| {
        times.lock().unwrap().push(Instant::now());
        Act::status(200)
    });
    let route = "queue: { upstream: app, rate: 20/s, burst: 4, scope: fleet }";
    let (_, yaml) = yaml(postgres_server::server(), &app, route);
    let gates = [Gate::in_process(&yaml), Gate::in_process(&yaml)];
    let mut sender = Sender {
        number: 0,
        passed: 0,
    };
    for _ in 0..20 {
        assert!(gates.iter().all(|gate| sender.send(gate)));
    }
    wait_for("all deliveries", || app.count() == 40);
    let seen = seen.lock().unwrap();
    for (before, first) in seen.iter().enumerate() {
        for (number, at) in seen.iter().enumerate().skip(before) {
            let allowed = 2.0 * 4.0 + 20.0 * (*at - *first).as_secs_f64() + 1.0;
            let count = f64::from(u32::try_from(number - before + 1).unwrap());
            assert!(count <= allowed, "{count} of {allowed}");
        }
    }
}

#[test]
fn gateway_goes_by_its_share_of_a_limit_while_the_database_is_away() {
    let server = postgres_server::server();
    let app = App::start();
    let route =
        "rate_limit: { rate: 1/h, burst: 40, scope: fleet }\n    forward: { upstream: app }";
    let (name, yaml) = yaml(server, &app, route);
    let gate = Gate::in_process(&yaml);
    let other = Gate::in_process(&yaml);
    let mut sender = Sender {
        number: 0,
        passed: 0,
    };
    assert!(sender.send(&gate));
    server.execute(
        "postgres",
        &format!("alter database {name} with allow_connections false"),
    );
    server.execute(
        "postgres",
        &format!(
            "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '{name}'"
        ),
    );
    for _ in 0..60 {
        sender.send(&gate);
    }
    // a quarter until the first heartbeat, then a half; all of it if that came before the other gateway
    let away = sender.passed;
    assert!((10..=40).contains(&away), "{away}");
    let local = "hookgate_rate_limit_local_total";
    wait_for("the decisions to be counted", || {
        sender.send(&gate);
        metric(&gate, local) >= 1.0
    });
    server.execute(
        "postgres",
        &format!("alter database {name} with allow_connections true"),
    );
    wait_for("the limit of the fleet to be used up", || {
        let refused = !sender.send(&gate) && !sender.send(&other);
        refused && sender.passed >= 40
    });
    assert!(sender.passed <= 80, "{}", sender.passed);
    assert_eq!(sender.passed, app.count());
}
