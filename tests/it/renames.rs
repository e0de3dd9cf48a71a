//! Routes that are renamed, rolled back and merged: each delivery goes to the app of the route that owns it now.
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::support::app::{Act, App, unused_address};
use super::support::config::SECRET;
use super::support::gate::{Gate, wait_at_most, wait_for};
use super::support::queue::{start, start_in};
use super::support::sign;

const HEAD: &str = "listen: [{ address: 127.0.0.1:0 }]
health: { address: 127.0.0.1:0 }
admin: { address: 127.0.0.1:0 }
shutdown: { delay: 0s, grace: 5s }
store: { path: STORE }
";

/// A config of routes, each with its former names and its app. Route `a` has the path `/a`.
fn config(routes: &[(&str, &str, SocketAddr)]) -> String {
    let mut yaml = format!("{HEAD}upstreams:\n");
    for (name, _, app) in routes {
        yaml += &format!(
            "  app-{name}: {{ url: http://{app}, timeout: 10s, connect_timeout: 10s, breaker: {{ failures: 0, open: 100ms }} }}\n"
        );
    }
    yaml += "routes:\n";
    for (name, before, _) in routes {
        let secrets =
            format!("[{{ name: main, insecure_inline: \"{SECRET}\", allow_whitespace: true }}]");
        yaml += &format!(
            "  - name: {name}
    previously: [{before}]
    path: /{name}
    verify: {{ provider: github, secrets: {secrets} }}
    dedupe: {{ window: 24h }}
    queue: {{ upstream: app-{name}, retry: {{ initial: 50ms, factor: 1, max: 50ms, max_attempts: 10000 }} }}
"
        );
    }
    yaml
}

/// The hash of the config; each reload here changes it, and a second one of the same file does not.
fn hash(gate: &Gate) -> String {
    gate.admin("/-/status")["hash"].as_str().unwrap().to_owned()
}

fn reload(gate: &Gate, yaml: &str) {
    let before = hash(gate);
    std::fs::write(
        gate.config_path(),
        yaml.replace("STORE", gate.dir().join("store").to_str().unwrap()),
    )
    .unwrap();
    gate.reload();
    wait_for("the reload", || hash(gate) != before);
}

fn restart(mut gate: Gate, yaml: &str) -> Gate {
    let dir = gate.shared_dir();
    gate.stop(Duration::from_secs(10));
    start_in(dir, yaml)
}

#[track_caller]
fn send(gate: &Gate, route: &str, ids: &[&str]) {
    for id in ids {
        let body = format!("{{\"id\":\"{id}\"}}");
        let answer = gate.post(
            &format!("/{route}"),
            &sign::github(SECRET, id, body.as_bytes()),
            body.as_bytes(),
        );
        assert_eq!(
            (answer.status, answer.header("Hookgate-Status")),
            (200, Some("queued")),
            "{id}: {}",
            answer.text()
        );
    }
}

/// The IDs that arrived at an app.
fn ids(app: &App) -> BTreeSet<String> {
    app.seen()
        .iter()
        .filter_map(|seen| seen.header("Hookgate-Delivery-Id").map(str::to_owned))
        .collect()
}

#[track_caller]
fn arrive(app: &App, expected: &[&str]) {
    let expected: BTreeSet<String> = expected.iter().map(|id| (*id).to_owned()).collect();
    wait_at_most(Duration::from_secs(15), "all to arrive", || {
        ids(app).is_superset(&expected)
    });
    assert_eq!(ids(app), expected);
}

fn app_on(address: SocketAddr) -> App {
    App::on(address, |_, _| Act::status(200))
}

#[test]
fn new_route_with_an_old_name_gets_no_deliveries_of_the_renamed_one() {
    let (first, second) = (unused_address(), App::start());
    let gate = start(&config(&[("a", "", first)]));
    send(&gate, "a", &["1", "2", "3"]);
    reload(&gate, &config(&[("b", "a", first)]));
    send(&gate, "b", &["4", "5"]);
    let both = config(&[("b", "", first), ("a", "", second.address)]);
    reload(&gate, &both);
    // the same IDs again: the new route has a ledger of its own
    send(&gate, "a", &["1", "4", "6"]);
    arrive(&second, &["1", "4", "6"]);
    let gate = restart(gate, &both);
    send(&gate, "a", &["7"]);
    arrive(&second, &["1", "4", "6", "7"]);
    // and the renamed route has its own still
    let body = b"{\"id\":\"1\"}";
    let again = gate.post("/b", &sign::github(SECRET, "1", body), body);
    assert_eq!(again.header("Hookgate-Status"), Some("duplicate"));
    let app = app_on(first);
    arrive(&app, &["1", "2", "3", "4", "5"]);
    assert_eq!(ids(&second).len(), 4);
}

#[test]
fn rolled_back_rename_delivers_everything_after_a_restart() {
    let address = unused_address();
    let (before, after) = (
        config(&[("a", "", address)]),
        config(&[("b", "a", address)]),
    );
    let gate = start(&before);
    send(&gate, "a", &["1", "2"]);
    reload(&gate, &after);
    send(&gate, "b", &["3"]);
    reload(&gate, &before);
    send(&gate, "a", &["4", "5"]);
    let gate = restart(gate, &before);
    assert_eq!(gate.admin("/-/status")["store"]["parked"], 0);
    arrive(&app_on(address), &["1", "2", "3", "4", "5"]);
}

#[test]
fn merged_route_delivers_what_waited_for_both() {
    let address = unused_address();
    let merged = config(&[("b", "a", address)]);
    let gate = start(&config(&[("a", "", address), ("b", "", address)]));
    send(&gate, "a", &["1", "2"]);
    send(&gate, "b", &["3"]);
    reload(&gate, &merged);
    send(&gate, "b", &["4"]);
    wait_for("all to be counted", || {
        gate.admin("/-/status")["routes"][0]["waiting"] == 4
    });
    let listed = gate.admin("/-/deliveries?route=b&state=pending,retrying");
    assert_eq!(
        listed["deliveries"].as_array().map(Vec::len),
        Some(4),
        "{listed}"
    );
    let gate = restart(gate, &merged);
    arrive(&app_on(address), &["1", "2", "3", "4"]);
    wait_for("all to be over", || {
        gate.admin("/-/status")["routes"][0]["waiting"] == 0
    });
}

#[test]
fn rolled_back_merge_gives_each_route_its_deliveries_back() {
    let (first, second) = (unused_address(), unused_address());
    let both = config(&[("a", "", first), ("b", "", second)]);
    let gate = start(&both);
    send(&gate, "a", &["1", "2"]);
    send(&gate, "b", &["3"]);
    reload(&gate, &config(&[("b", "a", second)]));
    send(&gate, "b", &["4"]);
    reload(&gate, &both);
    // the acknowledged ones are duplicates again
    let body = b"{\"id\":\"1\"}";
    assert_eq!(
        gate.post("/a", &sign::github(SECRET, "1", body), body)
            .header("Hookgate-Status"),
        Some("duplicate")
    );
    send(&gate, "a", &["5"]);
    let gate = restart(gate, &both);
    let (a, b) = (app_on(first), app_on(second));
    arrive(&a, &["1", "2", "5"]);
    arrive(&b, &["3", "4"]);
    assert_eq!(gate.admin("/-/status")["store"]["parked"], 0);
}

#[test]
fn rate_limit_follows_a_renamed_route_and_not_its_old_name() {
    let (first, second) = (App::start(), App::start());
    let gate = start(&config(&[("a", "", first.address)]));
    let shape = |yaml: String| {
        let retry = ", retry: { initial: 50ms, factor: 1, max: 50ms, max_attempts: 10000 }";
        yaml.replace(retry, "").replace(
            "    queue: {",
            "    rate_limit: [{ key: route, rate: 20/h, burst: 20 }]\n    forward: {",
        )
    };
    reload(&gate, &shape(config(&[("a", "", first.address)])));
    let status = |route: &str, id: usize| {
        let body = format!("{{\"id\":{id}}}");
        gate.post(
            &format!("/{route}"),
            &sign::github(SECRET, &format!("id-{id}"), body.as_bytes()),
            body.as_bytes(),
        )
        .status
    };
    assert!((0..20).all(|id| status("a", id) == 200));
    assert_eq!(status("a", 20), 429);
    reload(&gate, &shape(config(&[("b", "a", first.address)])));
    assert_eq!(status("b", 20), 429, "its bucket went with it");
    reload(
        &gate,
        &shape(config(&[
            ("b", "", first.address),
            ("a", "", second.address),
        ])),
    );
    assert_eq!(
        (status("b", 20), status("a", 20)),
        (429, 200),
        "the new route has one of its own"
    );
}

#[test]
fn parked_deliveries_raise_an_alarm_that_names_the_way_out() {
    let (first, second) = (unused_address(), App::start());
    let gate = start(&config(&[("a", "", first)]));
    send(&gate, "a", &["1"]);
    reload(&gate, &config(&[("c", "", second.address)]));
    wait_for("the alarm", || {
        gate.health("/metrics")
            .text()
            .contains("hookgate_alarm{code=\"parked\",route=\"-\"} 1")
    });
    assert!(
        gate.admin("/-/status")["alarms"]
            .to_string()
            .contains("previously")
    );
    reload(&gate, &config(&[("c", "a", second.address)]));
    arrive(&second, &["1"]);
}

#[test]
fn a_name_of_two_routes_is_refused_and_changes_nothing() {
    let (first, second) = (unused_address(), App::start());
    let good = config(&[("a", "", first), ("b", "", second.address)]);
    let gate = start(&good);
    send(&gate, "a", &["1"]);
    for bad in [
        config(&[("a", "", first), ("b", "a", second.address)]),
        config(&[("b", "a", second.address), ("c", "a", second.address)]),
        // the store is not asked before all else is known to be right
        config(&[("b", "a", second.address)]).replace("url: http://", "url: nonsense://"),
    ] {
        let before = gate.admin("/-/status")["last_error"].clone();
        std::fs::write(
            gate.config_path(),
            bad.replace("STORE", gate.dir().join("store").to_str().unwrap()),
        )
        .unwrap();
        gate.reload();
        wait_for("the refusal", || {
            gate.admin("/-/status")["last_error"] != before
        });
    }
    let gate = restart(gate, &good);
    arrive(&app_on(first), &["1"]);
    assert_eq!(second.count(), 0);
    drop(gate);
}
