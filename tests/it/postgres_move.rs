//! A gateway's store moves from its directory to PostgreSQL: the next gateway delivers what waited, and knows what was delivered.
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::support::app::{Act, App};
use super::support::config;
use super::support::gate::{Gate, hookgate, wait_at_most, wait_for};
use super::support::outbound::{self, Api};
use super::support::postgres_server;
use super::support::queue::send;

const STOP: Duration = Duration::from_secs(30);
const QUICK: &str = "retry: { initial: 100ms, factor: 1, max: 100ms, max_attempts: 400 }";
const TOKEN: &str = "the-token-of-the-tests";

/// Returns a config whose store is a new database, in place of a directory.
fn on_postgres(yaml: &str, directory: &str) -> String {
    let server = postgres_server::server();
    let database = server.empty();
    let name = database.get_dbname().unwrap();
    let url = format!(
        "postgres://hookgate@/{name}?host={}",
        server.directory().display()
    );
    yaml.replace(
        &format!("path: {directory}"),
        &format!("postgres: {{ url: '{url}', timeout: 10s }}"),
    )
    .replace(
        "admin: { address: 127.0.0.1:0 }",
        &format!("admin: {{ address: 127.0.0.1:0, token: {{ insecure_inline: {TOKEN} }} }}"),
    )
}

/// A directory with a store, and the configs before and after the move.
struct Case {
    dir: Arc<tempfile::TempDir>,
    before: String,
    after: String,
}

impl Case {
    fn new(yaml: &str) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let store = dir.path().join("store").display().to_string();
        let before = yaml.replace("STORE", &store);
        let after = on_postgres(&before, &store);
        std::fs::write(dir.path().join("after.yaml"), &after).unwrap();
        Self { dir, before, after }
    }

    fn store(&self) -> String {
        self.dir.path().join("store").display().to_string()
    }

    fn command(&self, config: &Path, more: &[&str]) -> Command {
        let mut command = hookgate();
        command.args(["migrate", "--config"]).arg(config);
        command.args(["--from", &self.store()]).args(more);
        command
    }

    /// Moves the store. Returns the exit code and what was printed.
    #[track_caller]
    fn migrate(&self, more: &[&str], code: i32) -> String {
        let mut command = self.command(&self.dir.path().join("after.yaml"), more);
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        text
    }

    /// Starts the gateway whose store is the directory. Returns what it says when it refuses.
    fn refusal(&self) -> String {
        let mut gate = Gate::spawn(hookgate(), Arc::clone(&self.dir), &self.before);
        assert_eq!(gate.wait(STOP).code(), Some(1));
        gate.log_lines().join("\n")
    }
}

#[test]
fn next_gateway_delivers_what_waited_and_drops_duplicates() {
    let is_up = Arc::new(AtomicBool::new(true));
    let up = Arc::clone(&is_up);
    let app =
        App::answering(move |_, _| Act::status(if up.load(Ordering::Relaxed) { 200 } else { 503 }));
    let action = format!("queue: {{ upstream: app, {QUICK} }}");
    let case = Case::new(&config::with_action(&app.url(), &action));
    let mut gate = Gate::start_in(Arc::clone(&case.dir), &case.before);
    assert_eq!(send(&gate, "id-0", b"{\"n\":0}").status, 200);
    wait_for("the first delivery", || app.count() == 1);
    is_up.store(false, Ordering::Relaxed);
    for number in 1..=3 {
        let (id, body) = (format!("id-{number}"), format!("{{\"n\":{number}}}"));
        assert_eq!(send(&gate, &id, body.as_bytes()).status, 200);
    }
    wait_for("an attempt of each", || app.count() >= 4);
    let held = case.migrate(&["--dry-run"], 75);
    assert!(held.contains("is held by process"), "{held}");
    gate.stop(STOP);
    let plan = case.migrate(&["--dry-run"], 0);
    assert!(
        plan.contains("4  deliveries") && plan.contains("3  units that wait"),
        "{plan}"
    );
    // a kill at any moment: the next call makes the move, or finds that it is made
    for delay in [20, 60, 120] {
        let config = case.dir.path().join("after.yaml");
        let mut child = case
            .command(&config, &[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let moved = case.migrate(&[], 0);
    assert!(
        moved.contains("the store is in") || moved.contains("an earlier call"),
        "{moved}"
    );
    let again = case.migrate(&[], 0);
    assert!(again.contains("an earlier call moved the store"), "{again}");
    let refusal = case.refusal();
    assert!(refusal.contains("was moved to PostgreSQL"), "{refusal}");
    let attempts = app.count();
    let gate = Gate::in_process(&case.after);
    wait_for("attempts of what waited", || app.count() > attempts);
    is_up.store(true, Ordering::Relaxed);
    let delivered = |body: &[u8]| app.seen().iter().any(|seen| seen.body == body);
    wait_at_most(Duration::from_secs(60), "all to be delivered", || {
        let lines = gate.lines();
        lines
            .iter()
            .filter(|line| line.contains("\"after\":\"delivered\""))
            .count()
            == 3
    });
    assert!((0..=3).all(|number| delivered(format!("{{\"n\":{number}}}").as_bytes())));
    let attempts = app.count();
    for number in 0..=3 {
        let (id, body) = (format!("id-{number}"), format!("{{\"n\":{number}}}"));
        let answer = send(&gate, &id, body.as_bytes());
        assert_eq!(answer.header("Hookgate-Status"), Some("duplicate"), "{id}");
    }
    assert_eq!(app.count(), attempts);
    let address = gate.address("admin").to_string();
    let token = case.dir.path().join("token");
    std::fs::write(&token, TOKEN).unwrap();
    let mut list = hookgate();
    list.args(["deliveries", "list", "--json", "--admin", &address]);
    let listed = list.arg("--token-file").arg(&token).output().unwrap();
    let listed = String::from_utf8([listed.stdout, listed.stderr].concat()).unwrap();
    for number in 0..=3 {
        assert!(listed.contains(&format!("\"id-{number}\"")), "{listed}");
    }
}

/// Tenants, endpoints and their secrets move too: the endpoint verifies what the next gateway sends, and an event's ID stays taken.
#[test]
fn tenants_and_their_secrets_move() {
    let is_up = Arc::new(AtomicBool::new(false));
    let up = Arc::clone(&is_up);
    let receiver =
        App::answering(move |_, _| Act::status(if up.load(Ordering::Relaxed) { 200 } else { 503 }));
    let port = receiver.url().rsplit(':').next().unwrap().to_owned();
    let yaml = outbound::config("").replace("PORTS", &format!("[{port}]"));
    let case = Case::new(&yaml);
    let mut gate = Gate::start_in(Arc::clone(&case.dir), &case.before);
    let api = Api::of(&gate);
    api.tenant("acme");
    let (status, endpoint) =
        api.endpoint("acme", &json!({ "url": receiver.url(), "types": ["*"] }));
    assert_eq!(status, 201, "{endpoint}");
    let event = api.publish("acme", "key-1");
    wait_for("a failed attempt", || receiver.count() > 0);
    gate.stop(STOP);
    let config = case.dir.path().join("after.yaml");
    let other = case.after.replace(
        outbound::KEY,
        "ZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXoxMjM0NTY3ODk=",
    );
    for (yaml, part) in [
        (other, "`store.key` is not the key"),
        (
            case.after.split("outbound:\n").next().unwrap().replace(
                &format!(", key: {{ insecure_inline: \"{}\" }}", outbound::KEY),
                "",
            ),
            "no `store.key`",
        ),
    ] {
        std::fs::write(&config, yaml).unwrap();
        let refused = case.migrate(&[], 1);
        assert!(refused.contains(part), "{refused}");
    }
    std::fs::write(&config, &case.after).unwrap();
    let moved = case.migrate(&[], 0);
    assert!(
        moved.contains("1  tenants") && moved.contains("1  endpoints"),
        "{moved}"
    );
    is_up.store(true, Ordering::Relaxed);
    let gate = Gate::in_process(&case.after);
    let api = Api::of(&gate);
    assert_eq!(api.publish("acme", "key-1"), event, "published once");
    let path = format!(
        "/v1/tenants/acme/endpoints/{}",
        endpoint["id"].as_str().unwrap()
    );
    let (status, shown) = api.call("GET", &path, None);
    assert!(status == 200 && shown["url"] == endpoint["url"], "{shown}");
    let before = receiver.count();
    wait_at_most(Duration::from_secs(60), "the event to be delivered", || {
        receiver.count() > before
    });
    let sent = receiver.last();
    assert_eq!(sent.header("webhook-id"), Some(event.as_str()));
}
