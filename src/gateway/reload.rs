//! Reloads the config, completely or not at all, whether a file, a signal or the admin API asked for it.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use crate::config::inputs::Contents;
use crate::config::load::{Loaded, RefusedConfig, load_by};
use crate::config::secret::Cache;
use crate::config::snapshot::Snapshot;
use crate::gateway::serve::{Server, Shared};
use crate::gateway::{CannotRun, Gate};

/// The pause between a read and the next one, which must agree before a change counts: somebody may still be writing the files.
const SETTLE_PAUSE: Duration = Duration::from_millis(100);
/// The pause between two checks of certificates that are not valid yet.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(60);
/// The most reads of files that do not settle; then the reload fails.
const MAX_READS: u32 = 20;

/// The reloader: compiles and swaps configs, one at a time.
#[derive(Debug)]
pub struct Reloader {
    gate: Arc<Gate>,
    shared: Shared,
    config: PathBuf,
    last: Mutex<Last>,
    state: ArcSwap<ReloadState>,
    files: watch::Sender<Vec<PathBuf>>,
}

/// The results of the last load that the next one needs.
#[derive(Debug)]
struct Last {
    cache: Arc<Cache>,
    contents: Arc<Contents>,
}

/// The result of the last reload, for status and metrics.
#[derive(Clone, Debug, Default)]
pub struct ReloadState {
    /// The errors for which it was refused, as `check` prints them; `None` after a successful one.
    pub error: Option<LastReloadError>,
    /// The keys whose change needs a restart.
    pub needs_restart: Vec<String>,
    /// The secrets (`route/secret`) whose file has no usable text now. The last good text stays in use.
    pub stale_secrets: Vec<String>,
    /// The certificates whose files have no valid pair now, and why. The last good pair stays in use.
    pub stale_certificates: Vec<String>,
}

/// The time and the text of a reload that changed nothing.
#[derive(Clone, Debug)]
pub struct LastReloadError {
    /// The time of the reload.
    pub at: SystemTime,
    /// Every error with its line.
    pub text: String,
}

/// The reason why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum NotReloaded {
    /// The config has errors. The text is that of `check`, each with its line.
    #[error("{0}")]
    Refused(String),
    /// The task that reads the config failed.
    #[error("the config could not be read")]
    Unread,
    /// No two reads of the config agreed.
    #[error("the config and its files change faster than they can be read")]
    Unsettled,
    /// The last webhook route was removed.
    #[error(
        "the config has no webhook route any more, so all webhooks would be refused; restart the gateway if this is intended"
    )]
    NoWebhooks,
    /// The gateway cannot run on the config.
    #[error(transparent)]
    CannotRun(#[from] CannotRun),
}

/// Reads a variable of the environment, in which secrets may be given.
pub fn environment(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

impl Reloader {
    /// Returns a reloader for a gate that runs on the config at `config`. `cache`, `contents` and `stale_secrets` are the results of its first
    /// load.
    pub fn new(
        gate: Arc<Gate>,
        server: &Server,
        config: PathBuf,
        (cache, contents): (Cache, Arc<Contents>),
        stale_secrets: Vec<String>,
    ) -> Self {
        let (files, _) = watch::channel(gate.snapshot().files.clone());
        let state = ReloadState {
            stale_secrets,
            ..ReloadState::default()
        };
        let last = Mutex::new(Last {
            cache: Arc::new(cache),
            contents,
        });
        Self {
            gate,
            shared: server.shared(),
            config,
            last,
            state: ArcSwap::from_pointee(state),
            files,
        }
    }

    /// Returns the files that the config was read from, for the watcher.
    pub fn files(&self) -> watch::Receiver<Vec<PathBuf>> {
        self.files.subscribe()
    }

    /// Returns the result of the last reload.
    pub fn state(&self) -> Arc<ReloadState> {
        self.state.load_full()
    }

    /// Reloads if the files differ from the active config, or the last reload was refused. Waits until nobody is writing them.
    pub async fn follow_files(&self) {
        let contents = Arc::clone(&self.last.lock().await.contents);
        if self.state().error.is_some() || !are_current(contents).await {
            // the outcome is logged and kept for status
            self.reload().await.ok();
        }
    }

    /// Reads, compiles and swaps the config, once nobody is writing its files. Returns the number of the new generation.
    ///
    /// # Errors
    /// The reason why nothing has changed.
    pub async fn reload(&self) -> Result<u64, NotReloaded> {
        let mut last = self.last.lock().await;
        let generation = self.gate.snapshot().generation + 1;
        let loaded = match self.settled(&last.cache, generation).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(RefusedConfig {
                report, mut files, ..
            })) => {
                // watches the files of the refused config and of the active one, since an edit of either may help
                files.extend(self.gate.snapshot().files.iter().cloned());
                files.sort();
                files.dedup();
                self.files.send_replace(files);
                return Err(self.refuse(NotReloaded::Refused(report.refusal())));
            }
            Err(error) => return Err(self.refuse(error)),
        };
        let Loaded {
            snapshot,
            report,
            notes,
            removed_keys,
            stale,
            stale_certificates,
            contents,
            cache,
            ..
        } = loaded;
        let snapshot = Arc::new(snapshot);
        let running = self.gate.snapshot();
        if snapshot.webhooks.is_empty() && !running.webhooks.is_empty() {
            return Err(self.refuse(NotReloaded::NoWebhooks));
        }
        let removed_routes = removed_routes(&running, &snapshot);
        if let Err(error) = self.gate.swap(&snapshot).await {
            return Err(self.refuse(error.into()));
        }
        let needs_restart = self.shared.follow(&snapshot);
        let listed = |names: &[String]| (!names.is_empty()).then(|| names.join(", "));
        let (removed_routes, removed_keys) = (listed(&removed_routes), listed(&removed_keys));
        tracing::info!(
            generation,
            hash = snapshot.hash,
            removed_routes,
            removed_keys,
            "config reloaded"
        );
        for key in &needs_restart {
            tracing::warn!(key, "this change needs a restart, the rest applies now");
        }
        report.log_warnings();
        log_stale(&stale, &stale_certificates);
        for note in notes {
            tracing::info!("{note}");
        }
        self.announce(&snapshot);
        self.state.store(Arc::new(ReloadState {
            error: None,
            needs_restart,
            stale_secrets: stale,
            stale_certificates,
        }));
        self.files.send_replace(snapshot.files.clone());
        *last = Last {
            cache: Arc::new(cache),
            contents,
        };
        Ok(generation)
    }

    /// Tells telemetry and the store of a config that is in use now.
    fn announce(&self, snapshot: &Snapshot) {
        let Gate {
            telemetry, store, ..
        } = &*self.gate;
        telemetry.set_policy(snapshot.log);
        telemetry.reloaded(snapshot.generation, snapshot.loaded_at);
        store.configured(&snapshot.common_hash, snapshot.generation);
    }

    /// Checks each minute whether a certificate that was not valid yet should replace the one in use, and reloads then.
    pub async fn judge_certificates(self: Arc<Self>) {
        loop {
            tokio::time::sleep(CERTIFICATE_INTERVAL).await;
            let dates = self.gate.dates(self.gate.clock.mono());
            let is_due = self
                .gate
                .snapshot()
                .certificates
                .iter()
                .any(|one| one.should_change(&dates));
            // a refused config is read again when it changes
            if is_due && self.state().error.is_none() {
                self.reload().await.ok();
            }
        }
    }

    /// Reads and compiles the config. Its files must have the same content when they are read again, [`SETTLE_PAUSE`] after the last of them was
    /// read first, so that none is half-written and all belong to one version; else it begins anew.
    ///
    /// # Errors
    /// The reads never agree, or the config cannot be read.
    async fn settled(
        &self,
        cache: &Arc<Cache>,
        generation: u64,
    ) -> Result<Result<Loaded, RefusedConfig>, NotReloaded> {
        for _ in 0..MAX_READS {
            let read = self
                .read(cache, generation)
                .await
                .ok_or(NotReloaded::Unread)?;
            let contents = match &read {
                Ok(loaded) => &loaded.contents,
                Err(refused) => &refused.contents,
            };
            if !self.is_running(&read) {
                // the time of the compile counts
                tokio::time::sleep(SETTLE_PAUSE.saturating_sub(contents.age())).await;
            }
            if are_current(Arc::clone(contents)).await {
                return Ok(read);
            }
        }
        Err(NotReloaded::Unsettled)
    }

    /// Reads and compiles the config once; `None` if the task failed.
    async fn read(
        &self,
        cache: &Arc<Cache>,
        generation: u64,
    ) -> Option<Result<Loaded, RefusedConfig>> {
        let (now, config, cache) = (
            self.gate.clock.now(),
            self.config.clone(),
            Arc::clone(cache),
        );
        let dates = self.gate.dates(now.mono);
        tokio::task::spawn_blocking(move || {
            load_by(&config, &environment, Some(&cache), generation, now, dates)
        })
        .await
        .ok()
    }

    /// Returns whether the files match the active config.
    fn is_running(&self, read: &Result<Loaded, RefusedConfig>) -> bool {
        matches!(read, Ok(loaded) if loaded.snapshot.hash == self.gate.snapshot().hash)
    }

    /// Logs and records the error of a reload, and returns it.
    fn refuse(&self, error: NotReloaded) -> NotReloaded {
        let text = error.to_string();
        tracing::error!(
            error = text,
            "config not reloaded; the last good one stays in use"
        );
        self.gate.telemetry.reload_refused();
        let last = Some(LastReloadError {
            at: self.gate.clock.now().wall,
            text,
        });
        self.state.store(Arc::new(ReloadState {
            error: last,
            ..(*self.state()).clone()
        }));
        error
    }
}

/// Returns whether the files still have these contents.
async fn are_current(contents: Arc<Contents>) -> bool {
    let check = tokio::task::spawn_blocking(move || contents.are_current());
    // the task is cancelled only when the runtime ends
    check.await.unwrap_or(false)
}

/// Returns the names of the routes that `new` does not have any more, not even renamed.
fn removed_routes(running: &Snapshot, new: &Snapshot) -> Vec<String> {
    let renamed = |name: &str| {
        new.webhooks
            .iter()
            .any(|webhook| webhook.previously.iter().any(|before| **before == *name))
    };
    let has = |name: &str| new.routes.iter().any(|route| **route.name() == *name) || renamed(name);
    running
        .routes
        .iter()
        .map(|route| &**route.name())
        .filter(|name| !has(name))
        .map(ToOwned::to_owned)
        .collect()
}

/// Logs which secrets and certificates keep their last good text, since their files have none now.
fn log_stale(secrets: &[String], certificates: &[String]) {
    for secret in secrets {
        tracing::warn!(
            secret,
            "the file of a secret has no usable text; the last good text stays in use"
        );
    }
    for why in certificates {
        tracing::warn!(
            why,
            "the files of a certificate have no valid pair; the last good pair stays in use"
        );
    }
}
