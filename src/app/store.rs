//! Opens the store of a gateway, and waits for it while another process holds it. The rooms above do not know its engine.
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::app::operators::HealthListener;
use crate::app::postgres;
use crate::app::start_error::StartError;
use crate::clock::Clock;
use crate::config::snapshot::{Engine, Snapshot};
use crate::deliver::Spool;
use crate::store::Store;
use crate::store::embedded::sqlite::OpenError;
use crate::store::embedded::{Embedded, Opened};

/// The time to wait for a store that another process holds: in a rolling update the old process ends meanwhile.
const STORE_WAIT: Duration = Duration::from_secs(60);
/// The pause between two attempts to open the store.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// The stores of a gateway.
pub(super) struct Stores {
    /// The store.
    pub(super) store: Arc<dyn Store>,
    /// The local disk that takes deliveries while the store is away, if the config has one.
    pub(super) spool: Option<Arc<Spool>>,
    /// The alarm that opening them raised.
    pub(super) alarm: Option<String>,
}

impl Stores {
    fn alone(store: impl Store + 'static, alarm: Option<String>) -> Self {
        Self {
            store: Arc::new(store),
            spool: None,
            alarm,
        }
    }
}

/// Opens the store of the config, or one in memory.
pub(super) async fn open(
    snapshot: &Snapshot,
    clock: &Arc<dyn Clock>,
    health: &mut HealthListener,
) -> Result<Stores, StartError> {
    let capacity = snapshot.store.ledger_entries;
    match &snapshot.store.engine {
        Engine::Memory => {
            let store = Embedded::in_memory(capacity, Arc::clone(clock));
            let store = store.map_err(|error| StartError::Open(error.into()))?;
            Ok(Stores::alone(store, None))
        }
        Engine::Directory(path) => {
            let opened = directory(path, capacity, clock, health).await?;
            Ok(Stores::alone(opened.ledger, opened.alarm))
        }
        Engine::Postgres(engine) => {
            let near = match &snapshot.store.spool {
                Some(spool) => {
                    let opened = directory(&spool.path, capacity, clock, health).await?;
                    Some((opened, spool.bytes))
                }
                None => None,
            };
            let store = postgres::open(engine, capacity, clock, health).await?;
            let alarm = near.as_ref().and_then(|(opened, _)| opened.alarm.clone());
            let spool = near.map(|(opened, bytes)| {
                let near = Arc::new(opened.ledger) as Arc<dyn Store>;
                Arc::new(Spool::new(near, Arc::clone(&store), bytes))
            });
            Ok(Stores {
                store,
                spool,
                alarm,
            })
        }
    }
}

/// Opens the store in a directory, and waits while another process holds it.
async fn directory(
    path: &Path,
    capacity: usize,
    clock: &Arc<dyn Clock>,
    health: &mut HealthListener,
) -> Result<Opened, StartError> {
    let wait_ends = clock.mono() + STORE_WAIT;
    let mut is_logged = false;
    loop {
        match Embedded::open(path, capacity, Arc::clone(clock)) {
            Ok(opened) => {
                if let Some(alarm) = &opened.alarm {
                    tracing::error!("{alarm}");
                }
                return Ok(opened);
            }
            Err(held @ OpenError::InUse { .. }) if clock.mono() < wait_ends => {
                if !is_logged {
                    tracing::warn!("{held}; waiting for it, not ready");
                    is_logged = true;
                }
                // the process that holds the store may have this address too, and leaves both
                health.listen().await.ok();
                tokio::time::sleep(STORE_PAUSE).await;
            }
            Err(held @ OpenError::InUse { .. }) => {
                return Err(StartError::StoreHeld(held.into()));
            }
            Err(OpenError::Store(cause)) => {
                let message = format!("{}: {cause}", path.display());
                return Err(StartError::Open(message.into()));
            }
            Err(error) => return Err(StartError::Open(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::load::load;
    use crate::store::contract::HandClock;

    const ROUTE: &str = "routes: [{ name: a, path: /a, verify: none, ";

    fn snapshot(directory: &Path, action: &str) -> Snapshot {
        let (path, store) = (directory.join("config.yaml"), directory.join("store"));
        let yaml = format!(
            "store: {{ path: '{}' }}\nlisten: [{{ address: 127.0.0.1:0 }}]\nupstreams: {{ app: {{ url: http://127.0.0.1:9 }} }}\n{ROUTE}{action} }}]\n",
            store.display()
        );
        std::fs::write(&path, yaml).unwrap();
        load(&path, &|_| None, None, 1, SystemClock.now())
            .unwrap_or_else(|refused| panic!("{}", refused.report.render(true)))
            .snapshot
    }

    /// The minute is measured by a clock that the test advances; the pauses between attempts are the runtime's.
    #[tokio::test(start_paused = true)]
    async fn held_store_is_awaited_for_a_minute() {
        let (directory, clock) = (tempfile::tempdir().unwrap(), HandClock::new());
        let snapshot = snapshot(directory.path(), "queue: { upstream: app }");
        let held = Embedded::open(&directory.path().join("store"), 10, clock.clone()).unwrap();
        let shared: Arc<dyn Clock> = clock.clone();
        let advancing = Arc::clone(&clock);
        let ticking = tokio::spawn(async move {
            loop {
                tokio::time::sleep(STORE_PAUSE).await;
                advancing.advance(STORE_PAUSE);
            }
        });
        let begun = clock.mono();
        let Err(error) = open(&snapshot, &shared, &mut no_health()).await else {
            panic!("two processes hold the store")
        };
        let waited = clock.mono() - begun;
        assert!(
            waited >= STORE_WAIT && waited < STORE_WAIT + 2 * STORE_PAUSE,
            "{waited:?}"
        );
        assert!(matches!(error, StartError::StoreHeld(_)), "{error}");
        let holder = format!("process {}", std::process::id());
        assert!(error.to_string().contains(&holder), "{error}");
        let release = async {
            tokio::time::sleep(STORE_WAIT / 2).await;
            drop(held);
        };
        let mut health = no_health();
        let (opened, ()) = tokio::join!(open(&snapshot, &shared, &mut health), release);
        assert!(opened.is_ok());
        ticking.abort();
    }

    fn no_health() -> HealthListener {
        HealthListener::new(None, tokio::sync::watch::channel(false).1)
    }

    /// The marker file beside the store decides whether it may hold deliveries; the config that runs now makes no difference.
    #[tokio::test]
    async fn damaged_store_without_deliveries_is_set_aside() {
        let actions = [
            "queue: { upstream: app }",
            "forward: { upstream: app, on_failure: queue }",
            "forward: { upstream: app, record: all }",
            "forward: { upstream: app }",
        ];
        let damage = "no database, but long enough to be one ".repeat(99);
        for (action, holds) in actions
            .into_iter()
            .flat_map(|action| [(action, true), (action, false)])
        {
            let (directory, clock) = (
                tempfile::tempdir().unwrap(),
                Arc::new(SystemClock) as Arc<dyn Clock>,
            );
            let (snapshot, store) = (
                snapshot(directory.path(), action),
                directory.path().join("store"),
            );
            // the store of a stopped gateway, with or without a pending delivery
            let opened = Embedded::open(&store, 10, Arc::clone(&clock))
                .unwrap()
                .ledger;
            if holds {
                let one =
                    crate::store::contract::queue::delivery(1, crate::store::queue::Start::Anyone);
                crate::store::queue::Queue::accept(
                    &opened,
                    Arc::new(one),
                    crate::store::queue::Dedupe::None,
                )
                .await
                .unwrap();
            }
            drop(opened);
            std::fs::write(store.join("hookgate.db"), &damage).unwrap();
            for suffix in ["-wal", "-shm"] {
                std::fs::remove_file(store.join(format!("hookgate.db{suffix}"))).ok();
            }
            let aside = || {
                let names = std::fs::read_dir(&store)
                    .unwrap()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap());
                names
                    .filter(|name| name.starts_with("hookgate.db.damaged-"))
                    .count()
            };
            match open(&snapshot, &clock, &mut no_health()).await {
                Ok(opened) => {
                    assert!(!holds && opened.alarm.is_some() && aside() == 1, "{action}");
                }
                Err(error) => {
                    let message = error.to_string();
                    assert!(
                        holds
                            && message.contains(&format!("hookgate set-aside {}", store.display())),
                        "{action}: {message}"
                    );
                    assert_eq!(
                        std::fs::read_to_string(store.join("hookgate.db")).unwrap(),
                        damage,
                        "{action}: not touched"
                    );
                    assert_eq!(aside(), 0, "{action}");
                }
            }
        }
    }
}
