//! A new config, whole or not at all. What asked for it (a file, a signal, the admin API) makes no difference.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, watch};

use crate::config::load::{self, Loaded, Sources};
use crate::gateway::Gate;
use crate::gateway::serve::{Server, Shared};

/// Compiles and swaps, one at a time.
#[derive(Debug)]
pub struct Reloader {
    gate: Arc<Gate>,
    shared: Shared,
    sources: Sources,
    last: Mutex<Arc<Loaded>>,
    state: ArcSwapOption<ReloadState>,
    files: watch::Sender<Vec<PathBuf>>,
}

/// What the last reload came to, for status and metrics.
#[derive(Clone, Debug, Default)]
pub struct ReloadState {
    /// Why the last one was refused, as `check` prints it; `None` after a good one.
    pub error: Option<ReloadError>,
    /// Keys whose change waits for a restart.
    pub needs_restart: Vec<String>,
    /// Secret files that are empty or unreadable now, by secret name; their last good text counts.
    pub stale_secrets: Vec<String>,
}

/// A reload that changed nothing.
#[derive(Clone, Debug)]
pub struct ReloadError {
    /// When.
    pub at: SystemTime,
    /// Every mistake with its line.
    pub text: String,
}

impl Reloader {
    /// A reloader for a gate that runs on `loaded`.
    pub fn new(gate: Arc<Gate>, server: &Server, sources: Sources, loaded: Arc<Loaded>) -> Self {
        let (files, _) = watch::channel(loaded.files.clone());
        let state = ReloadState { stale_secrets: loaded.stale_secrets.clone(), ..ReloadState::default() };
        Self { gate, shared: server.shared(), sources, last: Mutex::new(loaded), state: ArcSwapOption::from_pointee(state), files }
    }

    /// The files that the config was read from, for the watcher.
    pub fn files(&self) -> watch::Receiver<Vec<PathBuf>> {
        self.files.subscribe()
    }

    /// What the last reload came to.
    pub fn state(&self) -> Arc<ReloadState> {
        self.state.load_full().unwrap_or_default()
    }

    /// Reads, compiles and swaps. The new generation's number.
    ///
    /// # Errors
    /// Every mistake with its line; then nothing has changed.
    pub async fn reload(&self) -> Result<u64, String> {
        let mut last = self.last.lock().await;
        let now = self.gate.clock.now();
        let (sources, previous) = (self.sources.clone(), Arc::clone(&last));
        let loading = tokio::task::spawn_blocking(move || load::load(&sources, Some(&previous), now)).await;
        let loaded = match loading {
            Ok(Ok(loaded)) => loaded,
            Ok(Err(report)) => return Err(self.refuse(report.plain())),
            Err(_) => return Err(self.refuse("the config could not be read to its end".to_owned())),
        };
        let snapshot = Arc::clone(&loaded.snapshot);
        if let Err(error) = self.gate.swap(Arc::clone(&snapshot)) {
            return Err(self.refuse(error.to_string()));
        }
        let needs_restart = self.shared.follow(&snapshot);
        tracing::info!(generation = snapshot.generation, hash = snapshot.hash, "config reloaded");
        for key in &needs_restart {
            tracing::warn!(key, "this change waits for a restart, the rest applies");
        }
        self.gate.telemetry.reloaded(&snapshot);
        self.state.store(Some(Arc::new(ReloadState { error: None, needs_restart, stale_secrets: loaded.stale_secrets.clone() })));
        self.files.send_replace(loaded.files.clone());
        *last = Arc::new(loaded);
        Ok(snapshot.generation)
    }

    fn refuse(&self, text: String) -> String {
        tracing::error!(error = text, "config not reloaded, the last good one goes on");
        self.gate.telemetry.reload_refused();
        let state = ReloadState { error: Some(ReloadError { at: self.gate.clock.now().wall, text: text.clone() }), ..(*self.state()).clone() };
        self.state.store(Some(Arc::new(state)));
        text
    }
}
