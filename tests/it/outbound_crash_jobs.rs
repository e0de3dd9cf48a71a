//! A gateway that sends is killed while an event goes to many endpoints, and while an endpoint is resumed or removed: it goes on where it was.
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::support::dice::{Dice, seed};
use super::support::fault::{Fault, FaultServer, digest};
use super::support::gate::{Gate, wait_at_most};
use super::support::outbound::{Api, config};
use super::support::queue::waiting;

const PATIENCE: Duration = Duration::from_secs(120);

/// A gateway that is killed and started again on the same store, with servers of customers that answer 500 until they are well.
struct Killed {
    dir: Arc<tempfile::TempDir>,
    yaml: String,
    receiver: FaultServer,
    well: Arc<AtomicBool>,
    gate: Option<Gate>,
    dice: Dice,
}

impl Killed {
    fn new(what: &str) -> Self {
        let well = Arc::new(AtomicBool::new(false));
        let is_well = Arc::clone(&well);
        let receiver = FaultServer::start(move |_, _| {
            if is_well.load(Ordering::SeqCst) {
                Fault::Keep(200)
            } else {
                Fault::Keep(500)
            }
        });
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let ports = format!("[{}]", receiver.address.port());
        let waits = vec!["200ms"; 500].join(", ");
        let yaml = config("")
            .replace("STORE", dir.path().join("store").to_str().unwrap())
            .replace("ports: PORTS", &format!("per_tenant: 200, ports: {ports}"))
            .replace("[1s, 1s, 1s]", &format!("[{waits}]"));
        let gate = Some(Gate::start_in(Arc::clone(&dir), &yaml));
        let dice = Dice::new(seed(what));
        let killed = Self {
            dir,
            yaml,
            receiver,
            well,
            gate,
            dice,
        };
        killed.api().tenant("acme");
        killed
    }

    fn api(&self) -> Api {
        Api::of(self.gate.as_ref().unwrap())
    }

    /// Makes an endpoint with this path. Returns its ID.
    fn endpoint(&self, path: &str) -> String {
        let url = format!("{}{path}", self.receiver.url());
        let fields = json!({ "url": url, "payload": "raw" });
        let (status, answer) = self.api().endpoint("acme", &fields);
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Kills it within so many milliseconds, and starts it again.
    fn kill_within(&mut self, most: u64) {
        std::thread::sleep(Duration::from_millis(self.dice.below(most)));
        let gate = self.gate.take().unwrap();
        gate.signal("KILL");
        let log = gate.log_lines().join("\n");
        assert!(!log.contains("panicked"), "{log}");
        drop(gate);
        let gate = Gate::start_in(Arc::clone(&self.dir), &self.yaml);
        self.gate = Some(gate);
    }

    /// Returns the state of an endpoint.
    fn state(&self, id: &str) -> String {
        let path = format!("/v1/tenants/acme/endpoints/{id}");
        let (status, shown) = self.api().call("GET", &path, None);
        let state = shown["state"].as_str().unwrap_or("removed").to_owned();
        assert!([200, 404].contains(&status), "{shown}");
        state
    }

    /// Pauses an endpoint, or resumes it. Both may have happened already.
    fn set(&self, id: &str, call: &str, body: &serde_json::Value) {
        let path = format!("/v1/tenants/acme/endpoints/{id}/{call}");
        let (status, answer) = self.api().call("POST", &path, Some(body));
        assert!([200, 202, 409].contains(&status), "{answer}");
    }

    /// Returns what the servers answered 200 to: the digests of the bodies by path.
    fn taken(&self) -> BTreeMap<String, BTreeSet<[u8; 32]>> {
        let mut taken = BTreeMap::<_, BTreeSet<_>>::new();
        for request in self.receiver.seen() {
            if request.fault == Fault::Keep(200) {
                taken
                    .entry(request.target)
                    .or_default()
                    .insert(request.digest);
            }
        }
        taken
    }

    /// Stops it, and checks its store.
    fn finish(mut self) {
        let mut gate = self.gate.take().unwrap();
        gate.stop(Duration::from_secs(20));
        let database = database(self.dir.path());
        let integrity: String = database
            .query_row("pragma integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(integrity, "ok");
    }
}

fn database(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join("store/hookgate.db")).unwrap()
}

/// Publishes events by several callers at once. Returns the digests of their data.
fn publish(killed: &Killed, prefix: &str, count: usize) -> BTreeSet<[u8; 32]> {
    const CALLERS: usize = 8;
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let api = killed.api();
            scope.spawn(move || {
                for number in (caller..count).step_by(CALLERS) {
                    api.publish("acme", &format!("{prefix}-{number}"));
                }
            });
        }
    });
    let data = (0..count).map(|number| json!({ "key": format!("{prefix}-{number}") }).to_string());
    data.map(|data| digest(data.as_bytes())).collect()
}

#[test]
fn an_event_to_many_endpoints_reaches_each_however_often_the_gateway_is_killed() {
    const ENDPOINTS: usize = 100;
    let mut killed = Killed::new("an event to many endpoints");
    for number in 0..ENDPOINTS {
        killed.endpoint(&format!("/{number}"));
    }
    killed.well.store(true, Ordering::SeqCst);
    let mut known = BTreeSet::new();
    for life in 0..12 {
        known.extend(publish(&killed, &format!("life-{life}"), 4));
        killed.kill_within(120);
    }
    wait_at_most(PATIENCE, "all to be sent", || {
        waiting(killed.dir.path()) == 0
    });
    let taken = killed.taken();
    assert_eq!(taken.len(), ENDPOINTS);
    for (path, taken) in taken {
        assert_eq!(taken, known, "{path}");
    }
    killed.finish();
}

#[test]
fn a_resumed_endpoint_gets_all_that_waits_however_often_the_gateway_is_killed() {
    let mut killed = Killed::new("resume all");
    let id = killed.endpoint("/in");
    killed.set(&id, "pause", &json!({}));
    let known = publish(&killed, "waits", 1_500);
    for _ in 0..15 {
        killed.set(&id, "resume", &json!({ "waiting": "all" }));
        killed.kill_within(60);
        killed.set(&id, "pause", &json!({}));
        killed.kill_within(20);
    }
    killed.well.store(true, Ordering::SeqCst);
    killed.set(&id, "resume", &json!({ "waiting": "all" }));
    killed.kill_within(60);
    wait_at_most(PATIENCE, "all to be sent", || {
        killed.state(&id) == "active" && waiting(killed.dir.path()) == 0
    });
    assert_eq!(killed.taken()["/in"], known);
    killed.finish();
}

#[test]
fn events_that_a_resume_cancels_are_never_sent_however_often_the_gateway_is_killed() {
    let mut killed = Killed::new("resume none");
    let id = killed.endpoint("/in");
    killed.set(&id, "pause", &json!({}));
    publish(&killed, "cancelled", 1_500);
    killed.well.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        killed.set(&id, "resume", &json!({ "waiting": "none" }));
        killed.kill_within(40);
    }
    wait_at_most(PATIENCE, "the end of the job", || {
        killed.state(&id) == "active" && waiting(killed.dir.path()) == 0
    });
    let known = publish(&killed, "new", 20);
    wait_at_most(PATIENCE, "the new events", || {
        waiting(killed.dir.path()) == 0
    });
    assert_eq!(killed.taken()["/in"], known);
    killed.finish();
}

#[test]
fn a_removed_endpoint_stays_removed_however_often_the_gateway_is_killed() {
    let mut killed = Killed::new("remove");
    let id = killed.endpoint("/in");
    killed.set(&id, "pause", &json!({}));
    publish(&killed, "dropped", 1_500);
    killed.well.store(true, Ordering::SeqCst);
    let path = format!("/v1/tenants/acme/endpoints/{id}");
    assert_eq!(killed.api().call("DELETE", &path, None).0, 204);
    for _ in 0..8 {
        killed.kill_within(40);
        assert_eq!(killed.state(&id), "removed");
    }
    wait_at_most(PATIENCE, "the end of the job", || {
        waiting(killed.dir.path()) == 0
    });
    assert_eq!(killed.receiver.count(), 0);
    killed.finish();
}
