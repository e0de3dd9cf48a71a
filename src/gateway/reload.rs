//! A new config, whole or not at all. What asked for it (a file, a signal, the admin API) makes no difference.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, watch};

use crate::config::load::{Loaded, Rejected, load};
use crate::config::secret::Cache;
use crate::gateway::Gate;
use crate::gateway::serve::{Server, Shared};

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
    /// Secrets (`route/secret`) whose file is empty or unreadable now; the last good text counts.
    pub stale_secrets: Vec<String>,
    /// Certificates whose files hold no good pair now, and why; the last good pair counts.
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

/// Reads the environment that secrets may stand in.
pub fn environment(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

impl Reloader {
    /// A reloader for a gate that runs on the config at `config`, first read as `cache` and `stale_secrets` say.
    pub fn new(gate: Arc<Gate>, server: &Server, config: PathBuf, cache: Cache, stale_secrets: Vec<String>) -> Self {
        let (files, _) = watch::channel(gate.snapshot().files.clone());
        let state = ReloadState { stale_secrets, ..ReloadState::default() };
        let last = Mutex::new(Arc::new(cache));
        Self { gate, shared: server.shared(), config, last, state: ArcSwap::from_pointee(state), files }
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
        let (now, config, cache) = (self.gate.clock.now(), self.config.clone(), Arc::clone(&*self.last.lock().await));
        let loading = tokio::task::spawn_blocking(move || load(&config, &environment, Some(&cache), 0, now)).await;
        let same = matches!(&loading, Ok(Ok(loaded)) if loaded.snapshot.hash == self.gate.snapshot().hash);
        if !same {
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
        let (now, generation) = (self.gate.clock.now(), self.gate.snapshot().generation + 1);
        let (config, cache) = (self.config.clone(), Arc::clone(&last));
        let loading = tokio::task::spawn_blocking(move || load(&config, &environment, Some(&cache), generation, now)).await;
        let loaded = match loading {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(Rejected { report, mut files })) => {
                // what is wrong now, and what runs: an edit of either is worth another try
                files.extend(self.gate.snapshot().files.iter().cloned());
                files.sort();
                files.dedup();
                self.files.send_replace(files);
                return Err(self.refuse(format!("{}{}", report.render(false), report.summary())));
            }
            Err(_) => return Err(self.refuse("the config could not be read to its end".to_owned())),
        };
        let Loaded { snapshot, report, notes, stale, stale_certificates, cache, .. } = loaded;
        let snapshot = Arc::new(snapshot);
        if let Err(error) = self.gate.swap(&snapshot) {
            return Err(self.refuse(error.to_string()));
        }
        let needs_restart = self.shared.follow(&snapshot);
        tracing::info!(generation, hash = snapshot.hash, "config reloaded");
        for key in &needs_restart {
            tracing::warn!(key, "this change waits for a restart, the rest applies");
        }
        report.log_warnings();
        for secret in &stale {
            tracing::warn!(secret, "its file is empty or unreadable, the last good text stays in use");
        }
        for why in &stale_certificates {
            tracing::warn!(why, "the files hold no certificate with its key, the last good pair stays in use");
        }
        for note in notes {
            tracing::info!("{note}");
        }
        self.gate.telemetry.set_policy(snapshot.log);
        self.gate.telemetry.reloaded(generation, snapshot.loaded_at);
        self.state.store(Arc::new(ReloadState { error: None, needs_restart, stale_secrets: stale, stale_certificates }));
        self.files.send_replace(snapshot.files.clone());
        *last = Arc::new(cache);
        Ok(generation)
    }

    fn refuse(&self, text: String) -> String {
        tracing::error!(error = text, "config not reloaded, the last good one goes on");
        self.gate.telemetry.reload_refused();
        let error = Some(ReloadError { at: self.gate.clock.now().wall, text: text.clone() });
        self.state.store(Arc::new(ReloadState { error, ..(*self.state()).clone() }));
        text
    }
}
