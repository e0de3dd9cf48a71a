//! A whole gateway in one process: starts the store, the gate, the worker, the listeners and the admin API of a config, and stops them gracefully.
pub mod memory;
mod operators;
mod outbound;
pub mod postgres;
mod start_error;
mod store;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::app::operators::{HealthListener, Operators};
use crate::app::outbound::OutboundListener;
use crate::app::store::Stores;
use crate::clock::Clock;
use crate::config::load::Loaded;
use crate::config::snapshot::{AdminAddress, ListenAddress, Snapshot};
use crate::config::watch as config_watch;
use crate::deliver::{self, Spool};
use crate::gateway::admin_source::GatewaySource;
use crate::gateway::reload::Reloader;
use crate::gateway::serve::Server;
use crate::gateway::{Gate, alarm_watch, secret_exchange};
use crate::store::Store;
use crate::telemetry::Telemetry;

pub use start_error::StartError;

/// The parts from which a gateway is started.
#[derive(Debug)]
pub struct Setup {
    /// The path of the config. Reloads read it again.
    pub config: PathBuf,
    /// The config as it was loaded from that path.
    pub loaded: Loaded,
    /// The clock of the whole gateway.
    pub clock: Arc<dyn Clock>,
    /// The log of requests and the metrics.
    pub telemetry: Arc<Telemetry>,
}

/// A handle that stops a gateway gracefully. Its clones stop the same gateway.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Default for Stop {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Stop {
    /// Requests the stop. It is also honoured while the gateway still starts.
    pub fn request(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the stop is requested.
    pub async fn requested(&self) {
        let mut requested = self.0.subscribe();
        // an error would mean that the sender is gone, and this is one
        requested.wait_for(|requested| *requested).await.ok();
    }
}

/// A gateway whose listeners are bound. It accepts requests, and reports that it is ready once [`App::run`] is called.
#[derive(Debug)]
pub struct App {
    gate: Arc<Gate>,
    server: Server,
    store: Arc<dyn Store>,
    reloader: Arc<Reloader>,
    operators: Operators,
    outbound: Option<OutboundListener>,
    /// Receives a message for each change of the config's files.
    changes: mpsc::Receiver<()>,
    /// The tasks that end with the gateway.
    tasks: JoinSet<()>,
    stop: Stop,
    /// Closes the health and admin listeners, after the last request.
    closed: watch::Sender<bool>,
}

impl App {
    /// Starts a gateway in the current tokio runtime: opens its store, binds its listeners, starts its worker and watches its files.
    ///
    /// # Errors
    /// The store cannot be opened, an address cannot be bound, or the stop was requested before the store was open.
    pub async fn start(setup: Setup, stop: Stop) -> Result<Self, StartError> {
        let Setup {
            config,
            loaded,
            clock,
            telemetry,
        } = setup;
        let Loaded {
            snapshot,
            report,
            notes,
            stale,
            contents,
            cache,
            ..
        } = loaded;
        let snapshot = Arc::new(snapshot);
        report.log_warnings();
        for note in notes {
            tracing::info!("{note}");
        }
        let (closed, closing) = watch::channel(false);
        let mut health = HealthListener::new(snapshot.health, closing);
        let Stores {
            store,
            spool,
            alarm,
        } = tokio::select! {
            opened = store::open(&snapshot, &clock, &mut health) => opened?,
            () = stop.requested() => return Err(StartError::Stopped),
        };
        let (gate, server) = serve(&snapshot, &clock, telemetry, &store, spool).await?;
        let reloader = Arc::new(Reloader::new(
            Arc::clone(&gate),
            &server,
            config,
            (cache, contents),
            stale,
        ));
        let source = Arc::new(GatewaySource::new(
            Arc::clone(&gate),
            Arc::clone(&reloader),
            alarm.clone(),
        ));
        let listeners = listeners(&gate, &source, &mut health, &server, &closed).await;
        let (operators, outbound) = match listeners {
            Ok(listeners) => listeners,
            Err(error) => {
                // requests were accepted already: they get their answers
                server.shut_down(snapshot.shutdown).await;
                close(&*store).await;
                return Err(error);
            }
        };
        let mut tasks = JoinSet::new();
        let changes = watch_files(&reloader, &mut tasks).await;
        deliver_from(&gate, &mut tasks);
        look_after(&gate, alarm, &mut tasks);
        Ok(Self {
            gate,
            server,
            store,
            reloader,
            operators,
            outbound,
            changes,
            tasks,
            stop,
            closed,
        })
    }

    /// Reports that the gateway is ready, and reloads at each change of its files until the stop is requested.
    /// Then shuts down: answers the requests that are in flight, closes the listeners and the store.
    pub async fn run(mut self) {
        self.server.ready();
        let snapshot = self.gate.snapshot();
        tracing::info!(
            generation = snapshot.generation,
            hash = snapshot.hash,
            routes = snapshot.routes.len(),
            "ready"
        );
        drop(snapshot);
        self.reload_until_stopped().await;
        let timing = self.gate.snapshot().shutdown;
        tracing::info!(
            delay_s = timing.delay.as_secs_f64(),
            grace_s = timing.grace.as_secs_f64(),
            "leaving"
        );
        let cut_off = self.server.shut_down(timing).await;
        if cut_off > 0 {
            tracing::warn!(requests = cut_off, "grace is over, requests were cut off");
        }
        self.closed.send_replace(true);
        self.gate.pay_commits_once().await;
        secret_exchange::last(&self.gate).await;
        if let Some(spool) = self.gate.spool() {
            spool.close().await;
        }
        close(&*self.store).await;
        self.tasks.abort_all();
        tracing::info!("left");
    }

    async fn reload_until_stopped(&mut self) {
        loop {
            tokio::select! {
                () = self.stop.requested() => return,
                Some(()) = self.changes.recv() => {}
            }
            // the outcome is logged and shown by the status; the stop does not wait for it
            tokio::select! {
                () = self.stop.requested() => return,
                () = self.reloader.follow_files() => {}
            }
        }
    }

    /// Returns the reloader, for what asks for a reload apart from a changed file.
    pub fn reloader(&self) -> Arc<Reloader> {
        Arc::clone(&self.reloader)
    }

    /// Returns the addresses for senders in the order of the config, each with its real port.
    pub fn senders(&self) -> &[ListenAddress] {
        self.server.addresses()
    }

    /// Returns the address of the health listener, with its real port.
    pub fn health(&self) -> Option<SocketAddr> {
        self.operators.health
    }

    /// Returns the address of the admin listener, with its real port.
    pub fn admin(&self) -> Option<&AdminAddress> {
        self.operators.admin.as_ref()
    }

    /// Returns the address of the listener for the app, with its real port.
    pub fn outbound(&self) -> Option<&ListenAddress> {
        self.outbound.as_ref().map(|outbound| &outbound.address)
    }

    /// Returns the file with the admin token, if the gateway made one beside the store.
    pub fn token_file(&self) -> Option<&Path> {
        self.operators.token_file.as_deref()
    }
}

/// Closes the store.
async fn close(store: &dyn Store) {
    if let Err(error) = store.close().await {
        tracing::error!(%error, "cannot close the store");
    }
}

/// Watches what people must know of, gives memory back, and gives a store that was away what it missed.
fn look_after(gate: &Arc<Gate>, alarm: Option<String>, tasks: &mut JoinSet<()>) {
    tasks.spawn(alarm_watch::watch(Arc::clone(gate), alarm));
    tasks.spawn(secret_exchange::watch(Arc::clone(gate)));
    tasks.spawn(memory::give_back(Arc::clone(gate)));
    tasks.spawn(gate.pay_commits());
    tasks.spawn(Arc::clone(gate).reserve_tokens());
    if let Some(spool) = gate.spool() {
        tasks.spawn(spool.hand_over());
    }
}

/// Delivers what is queued. Without a durable store nothing is queued, and nothing will be until a restart.
fn deliver_from(gate: &Arc<Gate>, tasks: &mut JoinSet<()>) {
    let snapshot = gate.snapshot();
    if !gate.store().nature().durable {
        return;
    }
    tasks.spawn(deliver::run(gate.worker()));
    tasks.spawn(deliver::sweep(gate.worker()));
    if snapshot.outbound.is_some() {
        tasks.spawn(deliver::run_jobs(gate.worker()));
        tasks.spawn(deliver::watch_health(gate.worker()));
        tasks.spawn(deliver::reseal(gate.worker()));
    }
}

/// Binds and serves the listeners for operators and for the app.
async fn listeners(
    gate: &Arc<Gate>,
    source: &Arc<GatewaySource>,
    health: &mut HealthListener,
    server: &Server,
    closed: &watch::Sender<bool>,
) -> Result<(Operators, Option<OutboundListener>), StartError> {
    let operators = operators::listen(gate, source, health).await?;
    let outbound = outbound::listen(gate, server.outbound_tls(), closed.subscribe()).await?;
    Ok((operators, outbound))
}

/// Builds the gate and serves senders.
async fn serve(
    snapshot: &Arc<Snapshot>,
    clock: &Arc<dyn Clock>,
    telemetry: Arc<Telemetry>,
    store: &Arc<dyn Store>,
    spool: Option<Arc<Spool>>,
) -> Result<(Arc<Gate>, Server), StartError> {
    telemetry.reloaded(snapshot.generation, snapshot.loaded_at);
    store.configured(&snapshot.common_hash, snapshot.generation);
    let gate = Gate::new(
        Arc::clone(snapshot),
        Arc::clone(clock),
        telemetry,
        Arc::clone(store),
        spool,
    );
    let gate = Arc::new(gate.await?);
    let server = Server::start(Arc::clone(&gate)).await?;
    for address in server.addresses() {
        tracing::info!(r#for = "senders", %address, "listening");
    }
    Ok((gate, server))
}

/// Watches the files of the config from now on, and reloads if they changed since they were loaded.
async fn watch_files(reloader: &Arc<Reloader>, tasks: &mut JoinSet<()>) -> mpsc::Receiver<()> {
    let (changed, changes) = mpsc::channel(1);
    let beginning = config_watch::Beginning::look(reloader.files()).await;
    reloader.follow_files().await;
    tasks.spawn(config_watch::watch(beginning, changed));
    tasks.spawn(Arc::clone(reloader).judge_certificates());
    changes
}
