//! A new config, whole or not at all. What asked for it (a file, a signal, the admin API) makes no difference.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use crate::config::load::{Loaded, Rejected, load_by};
use crate::config::secret::Cache;
use crate::config::snapshot::Snapshot;
use crate::gateway::Gate;
use crate::gateway::serve::{Server, Shared};

/// Between the two reads that must agree before a change counts.
const SETTLE: Duration = Duration::from_millis(100);
/// How often certificates that wait are judged again.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(60);
/// Files that never settle change nothing.
const MOST_READS: u32 = 20;

/// Compiles and swaps, one at a time.
#[derive(Debug)]
pub struct Reloader {
    gate: Arc<Gate>,
    shared: Shared,
    config: PathBuf,
    last: Mutex<Arc<Cache>>,
    state: ArcSwap<ReloadState>,
    files: watch::Sender<Vec<PathBuf>>,
}

/// What the last reload came to, for status and metrics.
#[derive(Clone, Debug, Default)]
pub struct ReloadState {
    /// Why the last one was refused, as `check` prints it; `None` after a good one.
    pub error: Option<ReloadError>,
    /// Keys whose change waits for a restart.
    pub needs_restart: Vec<String>,
    /// Secrets (`route/secret`) whose file holds no usable text now; the last good text counts.
    pub stale_secrets: Vec<String>,
    /// Certificates whose files hold no valid pair now, and why; the last good pair counts.
    pub stale_certificates: Vec<String>,
}

/// A reload that changed nothing.
#[derive(Clone, Debug)]
pub struct ReloadError {
    /// When.
    pub at: SystemTime,
    /// Every mistake with its line.
    pub text: String,
}

const NO_WEBHOOKS: &str = "the config has no webhook route any more: all webhooks would be refused; restart the gateway if this is meant";
const BROKE_OFF: &str = "the config could not be read to its end";

/// Reads the environment that secrets may stand in.
pub fn environment(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

impl Reloader {
    /// A reloader for a gate that runs on the config at `config`, first read as `cache` and `stale_secrets` say.
    pub fn new(
        gate: Arc<Gate>,
        server: &Server,
        config: PathBuf,
        cache: Cache,
        stale_secrets: Vec<String>,
    ) -> Self {
        let (files, _) = watch::channel(gate.snapshot().files.clone());
        let state = ReloadState {
            stale_secrets,
            ..ReloadState::default()
        };
        let last = Mutex::new(Arc::new(cache));
        Self {
            gate,
            shared: server.shared(),
            config,
            last,
            state: ArcSwap::from_pointee(state),
            files,
        }
    }

    /// The files that the config was read from, for the watcher.
    pub fn files(&self) -> watch::Receiver<Vec<PathBuf>> {
        self.files.subscribe()
    }

    /// What the last reload came to.
    pub fn state(&self) -> Arc<ReloadState> {
        self.state.load_full()
    }

    /// Reloads if the files say something else than what runs: nothing else notices what changed between a load and the begin of the watch.
    pub async fn catch_up(&self) {
        let cache = Arc::clone(&*self.last.lock().await);
        let read = self.read(&cache, 0).await;
        if !read.is_some_and(|read| self.is_running(&read)) {
            // the outcome is logged and kept for status
            self.reload().await.ok();
        }
    }

    /// Reads, compiles and swaps. The new generation's number.
    ///
    /// # Errors
    /// Every mistake with its line; then nothing has changed.
    pub async fn reload(&self) -> Result<u64, String> {
        let mut last = self.last.lock().await;
        let generation = self.gate.snapshot().generation + 1;
        let loaded = match self.settled(&last, generation).await {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(Rejected { report, mut files })) => {
                // what is wrong now, and what runs: an edit of either is worth another try
                files.extend(self.gate.snapshot().files.iter().cloned());
                files.sort();
                files.dedup();
                self.files.send_replace(files);
                return Err(self.refuse(format!("{}{}", report.render(false), report.summary())));
            }
            Err(why) => return Err(self.refuse(why.to_owned())),
        };
        let Loaded {
            snapshot,
            report,
            notes,
            removed_keys,
            stale,
            stale_certificates,
            cache,
            ..
        } = loaded;
        let snapshot = Arc::new(snapshot);
        let running = self.gate.snapshot();
        if snapshot.hooks.is_empty() && !running.hooks.is_empty() {
            return Err(self.refuse(NO_WEBHOOKS.to_owned()));
        }
        let removed_routes = removed_routes(&running, &snapshot);
        if let Err(error) = self.gate.swap(&snapshot).await {
            return Err(self.refuse(error.to_string()));
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
            tracing::warn!(key, "this change waits for a restart, the rest applies");
        }
        report.log_warnings();
        for secret in &stale {
            tracing::warn!(
                secret,
                "its file holds no usable secret now; the last good text stays in use"
            );
        }
        for why in &stale_certificates {
            tracing::warn!(
                why,
                "the files hold no certificate with its key that is valid now; the last good pair stays in use"
            );
        }
        for note in notes {
            tracing::info!("{note}");
        }
        self.gate.telemetry.set_policy(snapshot.log);
        self.gate.telemetry.reloaded(generation, snapshot.loaded_at);
        self.state.store(Arc::new(ReloadState {
            error: None,
            needs_restart,
            stale_secrets: stale,
            stale_certificates,
        }));
        self.files.send_replace(snapshot.files.clone());
        *last = Arc::new(cache);
        Ok(generation)
    }

    /// Judges each minute whether a certificate that waits takes the place of the one in use, and reloads then.
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
            // a config that was refused is read again when it changes
            if is_due && self.state().error.is_none() {
                self.reload().await.ok();
            }
        }
    }

    /// Reads and compiles until two reads agree: nobody is in the middle of writing, and no two files are of different versions.
    ///
    /// # Errors
    /// They never do, or a read broke off.
    async fn settled(
        &self,
        cache: &Arc<Cache>,
        generation: u64,
    ) -> Result<Result<Loaded, Rejected>, &'static str> {
        let mut last = self.read(cache, generation).await.ok_or(BROKE_OFF)?;
        for _ in 0..MOST_READS {
            if self.is_running(&last) {
                return Ok(last);
            }
            tokio::time::sleep(SETTLE).await;
            let next = self.read(cache, generation).await.ok_or(BROKE_OFF)?;
            let agree = match (&last, &next) {
                (Ok(last), Ok(next)) => last.snapshot.hash == next.snapshot.hash,
                (Err(last), Err(next)) => last.report == next.report,
                (Ok(_) | Err(_), _) => false,
            };
            last = next;
            if agree {
                return Ok(last);
            }
        }
        Err("the config and its files change faster than they can be read")
    }

    /// `None` if it broke off.
    async fn read(&self, cache: &Arc<Cache>, generation: u64) -> Option<Result<Loaded, Rejected>> {
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

    /// Whether the files say what runs.
    fn is_running(&self, read: &Result<Loaded, Rejected>) -> bool {
        matches!(read, Ok(loaded) if loaded.snapshot.hash == self.gate.snapshot().hash)
    }

    fn refuse(&self, text: String) -> String {
        tracing::error!(
            error = text,
            "config not reloaded, the last good one goes on"
        );
        self.gate.telemetry.reload_refused();
        let error = Some(ReloadError {
            at: self.gate.clock.now().wall,
            text: text.clone(),
        });
        self.state.store(Arc::new(ReloadState {
            error,
            ..(*self.state()).clone()
        }));
        text
    }
}

/// Returns the names of the routes that `new` has no more, not even under a new name.
fn removed_routes(running: &Snapshot, new: &Snapshot) -> Vec<String> {
    let renamed = |name: &str| {
        new.hooks
            .iter()
            .any(|hook| hook.previously.iter().any(|before| **before == *name))
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
