//! Gateways that share a PostgreSQL database: what one accepted, each delivers, and a duplicate is recognised at each.
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::support::app::{Act, App, unused_address};
use super::support::config;
use super::support::gate::{Gate, hookgate, metric, wait_at_most, wait_for};
use super::support::http::Answer;
use super::support::postgres_server::{self, Server};
use super::support::queue::send;

const QUICK: &str = "retry: { initial: 100ms, factor: 1, max: 100ms, max_attempts: 400 }";
/// The line of `migrate` about a schema that it made.
const CREATED: &str = "created schema hookgate, version 1.0";

/// Makes an empty database. Returns the block of `store` that names it.
fn store(server: &Server, more: &str) -> String {
    let database = server.empty();
    let name = database.get_dbname().unwrap();
    let directory = server.directory().display();
    format!(
        "store: {{ postgres: {{ url: 'postgres://hookgate@/{name}?host={directory}', timeout: 10s{more} }} }}"
    )
}

/// Returns a config with this store and a GitHub route that does `action`.
fn yaml(store: &str, app: &str, action: &str) -> String {
    config::with_action(app, action)
        .replace("store: { path: STORE }", store)
        .replace(
            "admin: { address: 127.0.0.1:0 }",
            "admin: { address: 127.0.0.1:0, token: { insecure_inline: the-token-of-the-tests } }",
        )
}

fn queue(more: &str) -> String {
    format!("queue: {{ upstream: app, {more} }}")
}

#[track_caller]
fn is(answer: &Answer, status: u16, word: Option<&str>) {
    let found = (answer.status, answer.header("Hookgate-Status"));
    assert_eq!(found, (status, word), "{}", answer.text());
}

#[test]
fn gateway_queues_delivers_and_drops_duplicates() {
    let app = App::answering(|number, _| Act::status(if number == 0 { 503 } else { 200 }));
    let store = store(postgres_server::server(), "");
    let gate = Gate::in_process(&yaml(&store, &app.url(), &queue(QUICK)));
    is(&send(&gate, "id-1", b"{\"n\":1}"), 200, Some("queued"));
    wait_for("the second attempt", || app.count() == 2);
    assert_eq!(app.last().body, b"{\"n\":1}");
    is(&send(&gate, "id-1", b"{\"n\":1}"), 200, Some("duplicate"));
    assert_eq!(app.count(), 2);
}

#[test]
fn two_gateways_share_ids_and_queue() {
    let app = App::start();
    let store = store(postgres_server::server(), "");
    // the app is away for the first gateway alone
    let away = yaml(
        &store,
        &format!("http://{}", unused_address()),
        &queue(QUICK),
    );
    let first = Gate::in_process(&away);
    is(&send(&first, "id-1", b"{}"), 200, Some("queued"));
    let second = Gate::in_process(&yaml(&store, &app.url(), &queue(QUICK)));
    is(&send(&second, "id-1", b"{}"), 200, Some("duplicate"));
    wait_at_most(Duration::from_secs(60), "the other to deliver it", || {
        app.count() == 1
    });
    is(&send(&second, "id-2", b"{\"n\":2}"), 200, Some("queued"));
    is(&send(&first, "id-2", b"{\"n\":2}"), 200, Some("duplicate"));
    wait_at_most(Duration::from_secs(60), "the second", || app.count() == 2);
    drop(first);
    is(&send(&second, "id-3", b"{\"n\":3}"), 200, Some("queued"));
    wait_for("the third", || app.count() == 3);
}

#[test]
fn forwarded_delivery_is_a_duplicate_at_the_other_gateway() {
    let app = App::start();
    let store = store(postgres_server::server(), "");
    let config = yaml(&store, &app.url(), "forward: { upstream: app }");
    let (first, second) = (Gate::in_process(&config), Gate::in_process(&config));
    is(&send(&first, "id-1", b"{}"), 200, None);
    is(&send(&second, "id-1", b"{}"), 200, Some("duplicate"));
    assert_eq!(app.count(), 1);
}

/// Runs `hookgate migrate` on a config. Returns its exit code and what it printed.
fn migrate(config: &std::path::Path, more: &[&str]) -> (Option<i32>, String) {
    let mut command: Command = hookgate();
    command.args(["migrate", "--config"]).arg(config).args(more);
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

/// The gateway waits for its schema, and its health listener answers meanwhile.
#[test]
fn gateway_waits_for_a_migration_that_another_makes() {
    let app = App::start();
    let store = store(postgres_server::server(), ", migrate: false");
    let config = yaml(&store, &app.url(), &queue(QUICK));
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut gate = Gate::spawn(hookgate(), dir, &config);
    wait_at_most(Duration::from_secs(60), "it to wait", || {
        let lines = gate.log_lines();
        lines
            .iter()
            .any(|line| line.contains("run `hookgate migrate`"))
    });
    assert_eq!(gate.health("/livez").status, 200);
    assert_eq!(gate.health("/readyz").status, 503);
    let path = gate.config_path();
    let (code, text) = migrate(&path, &["--dry-run"]);
    let to_do = CREATED.replace("created", "create");
    assert!(code == Some(0) && text.contains(&to_do), "{code:?} {text}");
    let (code, text) = migrate(&path, &[]);
    assert!(code == Some(0) && text.contains(CREATED), "{code:?} {text}");
    let (code, text) = migrate(&path, &[]);
    assert!(
        code == Some(0) && text.contains("nothing to do"),
        "{code:?} {text}"
    );
    gate.wait_until_ready();
    is(&send(&gate, "id-1", b"{}"), 200, Some("queued"));
    wait_for("the delivery", || app.count() == 1);
}

#[test]
fn schema_of_another_major_version_is_refused() {
    let server = postgres_server::server();
    let store = store(server, "");
    let config = yaml(&store, "http://127.0.0.1:1", &queue(QUICK));
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let path = dir.path().join("config.yaml");
    std::fs::write(&path, &config).unwrap();
    assert_eq!(migrate(&path, &[]).0, Some(0));
    let name = store.split("@/").nth(1).unwrap().split('?').next().unwrap();
    server.execute(
        name,
        "update hookgate.meta set value = '2.0' where name = 'schema'",
    );
    let (code, text) = migrate(&path, &[]);
    assert!(code == Some(1) && text.contains("version 2.0"), "{text}");
    let mut gate = Gate::spawn(hookgate(), dir, &config);
    assert_eq!(gate.wait(Duration::from_secs(60)).code(), Some(1));
    let log = gate.log_lines().join("\n");
    assert!(
        log.contains("run a release of hookgate whose schema is 2.x"),
        "{log}"
    );
}

/// Another role owns the schema, and the gateway's role has what `--grant` gives.
#[test]
fn gateway_runs_with_the_rights_that_migrate_grants() {
    let app = App::start();
    let server = postgres_server::server();
    let store = store(server, "");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("owner.yaml");
    std::fs::write(&path, yaml(&store, &app.url(), &queue(QUICK))).unwrap();
    server.execute("postgres", "create role gateway login");
    let (code, text) = migrate(&path, &["--grant", "gateway"]);
    assert!(code == Some(0) && text.contains("role gateway"), "{text}");
    let of_role = store.replace("hookgate@", "gateway@");
    let gate = Gate::in_process(&yaml(&of_role, &app.url(), &queue(QUICK)));
    is(&send(&gate, "id-1", b"{}"), 200, Some("queued"));
    wait_for("the delivery", || app.count() == 1);
    let (code, text) = migrate(&path, &["--grant", "nobody-of-this-name"]);
    assert!(code == Some(1) && text.contains("does not exist"), "{text}");
}

/// Deliveries wait while the app is away, and any gateway delivers them when it is back.
#[test]
fn queue_of_a_gateway_that_left_is_delivered_by_the_other() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let app =
        App::answering(move |_, _| Act::status(if up.load(Ordering::Relaxed) { 200 } else { 503 }));
    let store = store(postgres_server::server(), "");
    let config = yaml(&store, &app.url(), &queue(QUICK));
    let (first, second) = (Gate::in_process(&config), Gate::in_process(&config));
    for number in 0..20 {
        let body = format!("{{\"n\":{number}}}");
        is(
            &send(&first, &format!("id-{number}"), body.as_bytes()),
            200,
            Some("queued"),
        );
    }
    drop(first);
    is_up.store(true, Ordering::Relaxed);
    wait_at_most(Duration::from_secs(90), "all to be delivered", || {
        let answered = second.lines();
        answered
            .iter()
            .filter(|line| line.contains("\"after\":\"delivered\""))
            .count()
            >= 20
    });
}

/// Lets no gateway reach the database of a block of `store` any more, or again.
fn reach(store: &str, may: bool) {
    let server = postgres_server::server();
    let name = store.split("@/").nth(1).unwrap().split('?').next().unwrap();
    server.execute(
        "postgres",
        &format!("alter database {name} with allow_connections {may}"),
    );
    if !may {
        server.execute(
            "postgres",
            &format!(
                "select pg_terminate_backend(pid, 10000) from pg_stat_activity where datname = '{name}'"
            ),
        );
    }
}

#[test]
fn forwarding_goes_on_while_the_store_is_away_unless_the_route_refuses() {
    let app = App::start();
    let store = store(postgres_server::server(), "");
    let config = yaml(&store, &app.url(), "forward: { upstream: app }");
    let refusing = config.replace("window: 24h", "window: 24h, on_store_down: refuse");
    let (gate, refuses) = (Gate::in_process(&config), Gate::in_process(&refusing));
    is(&send(&gate, "id-1", b"{}"), 200, None);
    assert_eq!(app.last().header("Hookgate-Dedupe"), None);
    reach(&store, false);
    is(&send(&gate, "id-2", b"{}"), 200, None);
    assert_eq!(app.last().header("Hookgate-Dedupe"), Some("unavailable"));
    for id in ["id-1", "id-2"] {
        is(&send(&gate, id, b"{}"), 200, Some("duplicate"));
    }
    assert_eq!(send(&refuses, "id-3", b"{}").status, 503);
    assert_eq!(app.count(), 2);
    let passed = "hookgate_dedupe_passed_total{route=\"github\"}";
    assert!((metric(&gate, passed) - 1.0).abs() < 0.1);
    assert_eq!(gate.health("/readyz").status, 200);
    reach(&store, true);
    wait_for("the store to get the ID", || {
        send(&refuses, "id-2", b"{}").header("Hookgate-Status") == Some("duplicate")
    });
    is(&send(&gate, "id-4", b"{}"), 200, None);
    assert_eq!(app.last().header("Hookgate-Dedupe"), None);
}

#[test]
fn spool_takes_deliveries_while_the_store_is_away_and_hands_them_over() {
    let app = App::start();
    let store = store(postgres_server::server(), "");
    let config = yaml(&store, &app.url(), &queue(QUICK));
    let spooling = config.replace(&store, &store.replace("} }", "}, spool: { path: spool } }"));
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let mut gate = Gate::start_in(Arc::clone(&dir), &spooling);
    let without = Gate::in_process(&config);
    is(&send(&gate, "id-0", b"{}"), 200, Some("queued"));
    wait_for("the first", || app.count() == 1);
    reach(&store, false);
    assert_eq!(send(&without, "id-1", b"{}").status, 503);
    for number in 1..=3 {
        let (id, body) = (format!("id-{number}"), format!("{{\"n\":{number}}}"));
        is(&send(&gate, &id, body.as_bytes()), 200, Some("queued"));
    }
    is(&send(&gate, "id-1", b"{\"n\":1}"), 200, Some("duplicate"));
    wait_for("the number of them", || {
        (metric(&gate, "hookgate_spool_waiting") - 3.0).abs() < 0.1
    });
    assert_eq!(app.count(), 1);
    // a kill loses nothing that is in the spool
    gate.signal("KILL");
    gate.wait(Duration::from_secs(10));
    drop(gate);
    reach(&store, true);
    let gate = Gate::start_in(dir, &spooling);
    wait_at_most(Duration::from_secs(60), "all to be delivered", || {
        app.count() == 4
    });
    wait_for("the spool to be empty", || {
        metric(&gate, "hookgate_spool_waiting") < 0.1
    });
    wait_for("the other gateway to find out that it is back", || {
        send(&without, "id-2", b"{\"n\":2}").status != 503
    });
    is(
        &send(&without, "id-2", b"{\"n\":2}"),
        200,
        Some("duplicate"),
    );
    assert_eq!(app.count(), 4);
}

/// A delivery that was spooled after a failed attempt is known to the memory that decides while the store is away.
#[test]
fn spilled_delivery_is_spooled_and_delivered_once() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let app =
        App::answering(move |_, _| Act::status(if up.load(Ordering::Relaxed) { 200 } else { 503 }));
    let store = store(postgres_server::server(), "");
    let config = yaml(
        &store,
        &app.url(),
        &format!("forward: {{ upstream: app, on_failure: queue, {QUICK} }}"),
    );
    let config = config.replace(&store, &store.replace("} }", "}, spool: { path: spool } }"));
    let gate = Gate::in_process(&config);
    reach(&store, false);
    is(&send(&gate, "id-1", b"{}"), 200, Some("spilled"));
    assert_eq!(app.count(), 1);
    is_up.store(true, Ordering::Relaxed);
    is(&send(&gate, "id-1", b"{}"), 200, Some("duplicate"));
    assert_eq!(app.count(), 1);
    reach(&store, true);
    wait_at_most(Duration::from_secs(60), "it to be delivered", || {
        app.count() == 2
    });
    is(&send(&gate, "id-1", b"{}"), 200, Some("duplicate"));
    assert_eq!(app.count(), 2);
}
