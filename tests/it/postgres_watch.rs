//! The view of operators on gateways that share a PostgreSQL database.
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use hookgate::clock::{Clock as _, SystemClock};

use super::support::app::{App, unused_address};
use super::support::gate::{Gate, hookgate, metric, wait_at_most, wait_for};
use super::support::postgres_server;
use super::support::queue::send;
use super::support::set_clock::SetClock;
use super::support::shared_database::Shared;

const QUEUE: &str = "queue: { upstream: app }";
/// Heartbeats and counts come every five seconds.
const LONG: Duration = Duration::from_secs(60);

fn is(gate: &Gate, name: &str, value: f64) -> bool {
    (metric(gate, name) - value).abs() < 0.1
}

/// Runs `hookgate` on the config of a test.
fn run(config: &std::path::Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command: Command = hookgate();
    command
        .args(args)
        .arg("--config")
        .arg(config)
        .env_remove("HOOKGATE_CONFIG");
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = String::from_utf8([stdout, stderr].concat()).unwrap();
    (status.code(), text)
}

/// Two gateways with addresses of their own run one config. Each shows the fleet, and an outage as it sees it.
#[test]
fn gateways_show_the_fleet_and_an_outage_of_its_store() {
    let (app, shared) = (App::start(), Shared::new(postgres_server::server()));
    let yaml = shared.yaml(&app.url(), QUEUE);
    let own = "listen: [{ address: 127.0.0.1:0 }]";
    let first = Gate::in_process(&yaml);
    let second = Gate::in_process(&yaml.replace(own, "listen: [{ address: 127.0.0.2:0 }]"));
    let hashes = [&first, &second].map(|gate| gate.admin("/-/status")["config"].clone());
    assert_ne!(hashes[0]["hash"], hashes[1]["hash"]);
    assert_eq!(hashes[0]["common_hash"], hashes[1]["common_hash"]);
    assert_eq!(send(&first, "id-1", b"{}").status, 200);
    wait_for("the delivery", || app.count() == 1);
    for gate in [&first, &second] {
        wait_at_most(LONG, "a heartbeat that tells of both", || {
            is(gate, "hookgate_store_gateways", 2.0)
        });
        assert!(is(gate, "hookgate_store_up", 1.0));
        assert!(metric(gate, "hookgate_store_connections") > 0.9);
        assert!(metric(gate, "hookgate_store_days_ahead") > 6.9);
    }
    wait_at_most(LONG, "one config", || {
        is(&second, "hookgate_store_configs", 1.0)
    });
    let accepts = "hookgate_store_call_seconds_count{call=\"accept\"}";
    assert!(metric(&first, accepts) > 0.9);
    assert!(metric(&first, "hookgate_store_batch_size_count") > 0.9);
    let status = first.admin("/-/status");
    assert_eq!(status["store"]["postgres"]["fleet"]["gateways"], 2);
    assert_eq!(
        status["store"]["postgres"]["away_seconds"],
        serde_json::Value::Null
    );
    shared.reach(false);
    wait_at_most(LONG, "the outage", || is(&first, "hookgate_store_up", 0.0));
    let status = first.admin("/-/status");
    assert!(status["store"]["postgres"]["away_seconds"].is_number());
    let alarm = status["store"]["alarm"].as_str().unwrap();
    assert!(alarm.contains("the database cannot be reached"), "{alarm}");
    shared.reach(true);
    wait_at_most(LONG, "the return", || is(&first, "hookgate_store_up", 1.0));
}

/// Both gateways see that a delivery waits for a route that neither has, and the webhook hears of it once.
#[test]
fn alarm_that_all_gateways_see_is_sent_once() {
    let (ops, shared) = (App::start(), Shared::new(postgres_server::server()));
    let yaml = shared.yaml(&format!("http://{}", unused_address()), QUEUE);
    let gone = Gate::in_process(&yaml);
    assert_eq!(send(&gone, "id-1", b"{}").status, 200);
    drop(gone);
    let yaml = format!(
        "{}egress: {{ allow: [127.0.0.0/8] }}\nalarms: {{ webhook: {{ url: '{}', secret: {{ insecure_inline: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw }} }} }}\n",
        yaml.replace("name: github\n", "name: other\n"),
        ops.url()
    );
    // within a span of time in which an alarm is sent once, and not at its end
    let now = SystemClock.now().unix_ms() / 1000;
    let clock = Arc::new(SetClock((now - now % 240 + 60).into()));
    let gates = [(); 2].map(|()| {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Gate::in_process_at(Arc::<SetClock>::clone(&clock), dir, &yaml)
    });
    for gate in &gates {
        wait_at_most(LONG, "the alarm to be stored", || {
            is(gate, "hookgate_alarm{code=\"parked\",route=\"-\"}", 1.0)
                && metric(gate, "hookgate_store_call_seconds_count{call=\"accept\"}") > 0.9
        });
    }
    let raised = || {
        let all = ops.seen();
        let is_parked = |body: &[u8]| {
            let text = String::from_utf8_lossy(body);
            text.contains("hookgate.alarm.raised") && text.contains("\"parked\"")
        };
        all.iter().filter(|seen| is_parked(&seen.body)).count()
    };
    wait_at_most(LONG, "the event", || raised() > 0);
    // the delivery that waits for no route, and one alarm
    shared.execute(
        "do $$ begin assert (select count(*) from hookgate.delivery) = 2, 'the alarm is stored twice'; end $$",
    );
    assert_eq!(raised(), 1);
}

/// A refused login is not taken for a server that is away.
#[test]
fn refused_login_and_missing_rights_are_told() {
    let shared = Shared::new(postgres_server::server());
    let dir = tempfile::tempdir().unwrap();
    let config = |name: &str, role: &str, more: &str| {
        let path = dir.path().join(name);
        let own = shared.store("hookgate", "");
        let yaml = shared.yaml("http://127.0.0.1:1", QUEUE);
        std::fs::write(&path, yaml.replace(&own, &shared.store(role, more))).unwrap();
        path
    };
    let unknown = config("unknown.yaml", "no_such_role", "");
    let (code, text) = run(&unknown, &["migrate"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("the database refuses the login"), "{text}");
    let (_, text) = run(&unknown, &["doctor"]);
    assert!(text.contains("refuses the login"), "{text}");
    let (code, text) = run(&unknown, &["status"]);
    assert!(
        code == Some(69) && text.contains("hookgate doctor"),
        "{text}"
    );
    shared.execute("create role poor login");
    let poor = config("poor.yaml", "poor", "");
    let (_, text) = run(&poor, &["doctor"]);
    assert!(text.contains("it has no right to make it"), "{text}");
    let (code, text) = run(
        &config("owner.yaml", "hookgate", ""),
        &["migrate", "--dry-run"],
    );
    assert!(
        code == Some(0) && text.contains("  create schema hookgate, version 1.0"),
        "{text}"
    );
    assert!(!text.contains("created"), "{text}");
}
