//! A clock that a test sets, and a gate within its own process that runs by it.
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use hookgate::clock::{Clock, Now, SystemClock};
use hookgate::config::load::load;
use hookgate::config::snapshot::Snapshot;
use hookgate::gateway::Gate;
use hookgate::store::embedded::Embedded;
use hookgate::telemetry::{LogFormat, LogPolicy, LogRequests, Telemetry};

use super::app::App;

/// A wall clock that a test sets; monotonic time runs on.
#[derive(Debug, Default)]
pub struct SetClock(pub AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> Now {
        Now {
            wall: UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::SeqCst)),
            mono: SystemClock.now().mono,
        }
    }
}

/// Starts a gate that is asked through no listener yet.
pub fn start(runtime: &tokio::runtime::Runtime, clock: &Arc<SetClock>, snapshot: Snapshot) -> Gate {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    let policy = LogPolicy {
        format: LogFormat::Json,
        requests: LogRequests::None,
    };
    let telemetry = Telemetry::new(policy, Arc::clone(&clock), std::io::sink());
    let ledger = Arc::new(Embedded::in_memory(1000, Arc::clone(&clock)).unwrap());
    runtime
        .block_on(Gate::new(
            Arc::new(snapshot),
            clock,
            telemetry,
            ledger,
            None,
        ))
        .unwrap()
}

/// A route that no case asks for: a config has at least one.
pub const NOTHING: &str =
    "{ name: nothing, path: /nothing, verify: none, forward: { upstream: app } }";

/// A config with one route; `None` if the gate refuses it, as it does an empty secret.
pub fn snapshot(dir: &Path, app: &App, route: &str) -> Option<Snapshot> {
    let path = dir.join("config.yaml");
    let yaml = format!(
        "listen: [{{ address: 127.0.0.1:0 }}]\ntrusted_proxies: [127.0.0.0/8]\nupstreams:\n  app: {{ url: {} }}\nroutes: [{route}]\n",
        app.url()
    );
    std::fs::write(&path, yaml).unwrap();
    match load(&path, &|_| None, None, 1, SystemClock.now()) {
        Ok(loaded) => Some(loaded.snapshot),
        Err(refused) if refused.report.render(false).contains("secret") => None,
        Err(refused) => panic!("{}", refused.report.render(false)),
    }
}
