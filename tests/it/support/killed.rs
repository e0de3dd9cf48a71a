//! A gateway that sends, and is killed again and again.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::dice::{Dice, seed};
use super::fault::{Fault, FaultServer, digest};
use super::gate::{Gate, hookgate};
use super::outbound::{Api, config};

/// Returns how often a test kills: `usual`, or one of `share` kills of `HOOKGATE_KILLS`, which is the number for the longest tests.
pub fn kills(usual: u32, share: u32) -> u32 {
    std::env::var("HOOKGATE_KILLS").map_or(usual, |all| {
        let all: u32 = all.parse().unwrap();
        (all / share).max(1)
    })
}

/// A gateway that is killed and started again on the same store, with a server of all customers that answers one status.
pub struct Killed {
    pub dir: Arc<tempfile::TempDir>,
    yaml: String,
    pub receiver: FaultServer,
    status: Arc<AtomicU16>,
    gate: Option<Gate>,
    pub dice: Dice,
}

impl Killed {
    /// Starts one with a tenant `acme`. The server answers 500. `schedule` has the waits between attempts, `more` is added to `outbound`.
    pub fn new(what: &str, schedule: &str, more: &str) -> Self {
        let status = Arc::new(AtomicU16::new(500));
        let answer = Arc::clone(&status);
        let receiver = FaultServer::start(move |_, _| Fault::Keep(answer.load(Ordering::SeqCst)));
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let ports = format!("[{}]", receiver.address.port());
        let yaml = config(more)
            .replace("STORE", dir.path().join("store").to_str().unwrap())
            .replace("ports: PORTS", &format!("per_tenant: 200, ports: {ports}"))
            .replace("1s, 1s, 1s", schedule);
        let gate = Some(Gate::start_in(Arc::clone(&dir), &yaml));
        let dice = Dice::new(seed(what));
        let killed = Self {
            dir,
            yaml,
            receiver,
            status,
            gate,
            dice,
        };
        killed.api().tenant("acme");
        killed
    }

    pub fn api(&self) -> Api {
        Api::of(self.gate.as_ref().unwrap())
    }

    /// Sets the status of all answers from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Makes an endpoint with this path. Returns its ID.
    pub fn endpoint(&self, path: &str) -> String {
        let url = format!("{}{path}", self.receiver.url());
        let fields = json!({ "url": url, "payload": "raw" });
        let (status, answer) = self.api().endpoint("acme", &fields);
        assert_eq!(status, 201, "{answer}");
        answer["id"].as_str().unwrap().to_owned()
    }

    /// Kills it within so many milliseconds, and starts it again.
    pub fn kill_within(&mut self, most: u64) {
        std::thread::sleep(Duration::from_millis(self.dice.below(most)));
        self.kill();
        self.start();
    }

    /// Kills it.
    pub fn kill(&mut self) {
        if let Some(gate) = self.gate.take() {
            kill(gate);
        }
    }

    /// Starts it.
    pub fn start(&mut self) {
        self.gate = Some(Gate::start_in(Arc::clone(&self.dir), &self.yaml));
    }

    /// Starts it and kills it within so many milliseconds of the time at which it begins its work.
    pub fn start_and_kill_within(&mut self, most: u64) {
        let gate = Gate::spawn(hookgate(), Arc::clone(&self.dir), &self.yaml);
        let begun = Instant::now();
        // it begins its work when it listens
        while gate.addresses("outbound").is_empty() {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "it does not start"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(self.dice.below(most)));
        kill(gate);
    }

    /// Shows an endpoint; null if it is removed.
    pub fn shown(&self, id: &str) -> Value {
        let path = format!("/v1/tenants/acme/endpoints/{id}");
        let (status, shown) = self.api().call("GET", &path, None);
        assert!([200, 404].contains(&status), "{shown}");
        if status == 200 { shown } else { Value::Null }
    }

    /// Returns the state of an endpoint.
    pub fn state(&self, id: &str) -> String {
        let shown = self.shown(id);
        shown["state"].as_str().unwrap_or("removed").to_owned()
    }

    /// Changes the state of an endpoint, or begins a job. It may have happened already.
    pub fn set(&self, id: &str, call: &str, body: &Value) {
        let path = format!("/v1/tenants/acme/endpoints/{id}/{call}");
        let (status, answer) = self.api().call("POST", &path, Some(body));
        assert!([200, 202, 409].contains(&status), "{answer}");
    }

    /// Publishes events by several callers at once. Returns the digests of their data.
    pub fn publish(&self, prefix: &str, count: usize) -> BTreeSet<[u8; 32]> {
        const CALLERS: usize = 8;
        std::thread::scope(|scope| {
            for caller in 0..CALLERS {
                let api = self.api();
                scope.spawn(move || {
                    for number in (caller..count).step_by(CALLERS) {
                        api.publish("acme", &format!("{prefix}-{number}"));
                    }
                });
            }
        });
        let data =
            (0..count).map(|number| json!({ "key": format!("{prefix}-{number}") }).to_string());
        data.map(|data| digest(data.as_bytes())).collect()
    }

    /// Returns what the server answered 200 to, without the first `skip` requests: how often each body arrived, by path.
    pub fn arrived(&self, skip: usize) -> BTreeMap<String, BTreeMap<[u8; 32], u32>> {
        let mut arrived = BTreeMap::<_, BTreeMap<_, _>>::new();
        for request in self.receiver.seen().into_iter().skip(skip) {
            if request.fault == Fault::Keep(200) {
                let bodies = arrived.entry(request.target).or_default();
                *bodies.entry(request.digest).or_default() += 1;
            }
        }
        arrived
    }

    /// Returns the bodies that the server answered 200 to, by path.
    pub fn taken(&self) -> BTreeMap<String, BTreeSet<[u8; 32]>> {
        let arrived = self.arrived(0).into_iter();
        let bodies = |of_path: BTreeMap<_, _>| of_path.into_keys().collect();
        arrived.map(|(path, found)| (path, bodies(found))).collect()
    }

    /// Opens its store beside it.
    pub fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.dir.path().join("store/hookgate.db")).unwrap()
    }

    /// Stops it, and checks its store.
    pub fn finish(mut self) {
        let mut gate = self.gate.take().unwrap();
        gate.stop(Duration::from_secs(60));
        let integrity: String = self
            .database()
            .query_row("pragma integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(integrity, "ok");
    }
}

/// Kills a gateway, which must not have panicked.
fn kill(gate: Gate) {
    let log = gate.log_lines().join("\n");
    assert!(!log.contains("panicked"), "{log}");
    // kills it at once, which `kill` as a command does not
    drop(gate);
}
