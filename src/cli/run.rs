//! `hookgate run`: the gate from its first file to its last request.
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::admin::{
    Guard, Offered, Source, TOKEN_FILE, TokenMatcher, api, health, serve_tcp, serve_unix,
    token_beside,
};
use crate::cli::error::{Error, Exit};
use crate::cli::memory;
use crate::cli::running::{self, Running, RunningFile};
use crate::cli::term;
use crate::clock::{Clock, SystemClock};
use crate::config::load::{Loaded, load};
use crate::config::snapshot::{AdminAddress, Snapshot, Token};
use crate::config::watch as config_watch;
use crate::deliver;
use crate::gateway::admin_source::Operator;
use crate::gateway::reload::{Reloader, environment};
use crate::gateway::serve::Server;
use crate::gateway::{Gate, alarm_watch};
use crate::listener::unix::{self, SocketFile};
use crate::store::embedded::Embedded;
use crate::store::embedded::sqlite::OpenError;
use crate::telemetry::{Telemetry, log};

/// How long a store that another process holds is waited for: a rolling update ends the old process meanwhile.
const STORE_PATIENCE: Duration = Duration::from_secs(60);
/// For tasks that are left when the gate leaves.
const LAST_TASKS: Duration = Duration::from_secs(1);
/// Between two tries to hold the store.
const STORE_PAUSE: Duration = Duration::from_millis(500);

/// Runs the gate.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The config file.
    #[arg(long, env = "HOOKGATE_CONFIG", value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs the gate until SIGTERM or SIGINT.
///
/// # Errors
/// The config is wrong, an address is taken, the store cannot be opened.
pub fn run(args: &RunArgs) -> Result<Exit, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let loaded = match load(&args.config, &environment, None, 1, clock.now()) {
        Ok(loaded) => loaded,
        Err(rejected) => {
            term::say(&format!(
                "{}\n{} The gate does not start.",
                rejected.report.render(true),
                rejected.report.counts()
            ));
            return Ok(Exit::NO);
        }
    };
    log::init(loaded.snapshot.log.format)
        .map_err(|error| Error::new(Exit::NO, error.to_string()))?;
    memory::small_pages();
    memory::more_files();
    let runtime =
        runtime().map_err(|error| Error::new(Exit::NO, format!("no runtime: {error}")))?;
    let telemetry = Telemetry::new(loaded.snapshot.log, Arc::clone(&clock), std::io::stdout());
    let ended = runtime.block_on(serve(
        args.config.clone(),
        loaded,
        clock,
        Arc::clone(&telemetry),
    ));
    // the record of a request that was cut off closes when its task goes
    runtime.shutdown_timeout(LAST_TASKS);
    telemetry.flush();
    log::flush();
    ended
}

/// One worker needs no queue between workers.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = if workers == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.enable_all().build()
}

async fn serve(
    config: PathBuf,
    loaded: Loaded,
    clock: Arc<dyn Clock>,
    telemetry: Arc<Telemetry>,
) -> Result<Exit, Error> {
    let Loaded {
        snapshot,
        report,
        notes,
        stale,
        cache,
        ..
    } = loaded;
    let snapshot = Arc::new(snapshot);
    report.log_warnings();
    for note in notes {
        tracing::info!("{note}");
    }
    let (stop, stopped) = watch::channel(false);
    let mut health = HealthListener {
        address: snapshot.health,
        is_bound: false,
        source: health::Later::default(),
        stopped: stopped.clone(),
    };
    // from here on a signal is ours: one that comes while we wait or bind must not kill what is being served already
    let mut signals = Signals::new()?;
    let opened = tokio::select! {
        opened = open_ledger(&snapshot, &clock, &mut health) => opened?,
        () = signals.leave() => return Ok(Exit::DONE),
    };
    let (ledger, alarm) = opened;
    telemetry.reloaded(snapshot.generation, snapshot.loaded_at);
    let gate = Gate::new(
        Arc::clone(&snapshot),
        Arc::clone(&clock),
        telemetry,
        Arc::clone(&ledger) as _,
    )
    .await;
    let gate = Arc::new(gate.map_err(|error| Error::new(Exit::NO, error.to_string()))?);
    let server = Server::start(Arc::clone(&gate))
        .await
        .map_err(|error| Error::new(Exit::NO, error.to_string()))?;
    let reloader = Arc::new(Reloader::new(
        Arc::clone(&gate),
        &server,
        config.clone(),
        cache,
        stale,
    ));
    let operator = Arc::new(Operator::new(
        Arc::clone(&gate),
        Arc::clone(&reloader),
        alarm.clone(),
    ));
    for address in server.addresses() {
        tracing::info!(r#for = "senders", %address, "listening");
    }
    let operators = match listen_for_operators(&gate, &operator, &mut health, &stopped).await {
        Ok(operators) => operators,
        Err(error) => {
            // senders were taken already: they get their answers
            server.shut_down(snapshot.shutdown).await;
            ledger.close();
            return Err(error);
        }
    };
    let (changed, changes) = mpsc::channel(1);
    let beginning = config_watch::Beginning::look(reloader.files()).await;
    reloader.catch_up().await;
    tokio::spawn(config_watch::watch(beginning, changed));
    tokio::spawn(Arc::clone(&reloader).judge_certificates());
    tokio::spawn(memory::give_back());
    // without a store nothing is queued, and nothing will be until a restart
    if snapshot.store.path.is_some() {
        tokio::spawn(deliver::run(gate.worker()));
        tokio::spawn(deliver::sweep(gate.worker()));
    }
    tokio::spawn(alarm_watch::watch(Arc::clone(&gate), alarm));
    server.ready();
    let running = operators.running(running::absolute(&config), snapshot.store.path.as_deref());
    let mut running = running.leave(snapshot.store.path.as_deref());
    tracing::info!(
        generation = snapshot.generation,
        hash = snapshot.hash,
        routes = snapshot.routes.len(),
        "ready"
    );
    until_told_to_leave(&reloader, changes, signals, running.as_mut()).await;
    let timing = gate.snapshot().shutdown;
    tracing::info!(
        delay_s = timing.delay.as_secs_f64(),
        grace_s = timing.grace.as_secs_f64(),
        "leaving"
    );
    let cut_off = server.shut_down(timing).await;
    if cut_off > 0 {
        tracing::warn!(requests = cut_off, "grace is over, requests were cut off");
    }
    stop.send_replace(true);
    ledger.close();
    tracing::info!("left");
    Ok(Exit::DONE)
}

/// The health listener. It answers from before the store is opened, so that a liveness probe does not end a process that waits for it.
struct HealthListener {
    /// The address it listens on, or will, if the config has one.
    address: Option<SocketAddr>,
    is_bound: bool,
    /// The state that it reports.
    source: health::Later,
    stopped: watch::Receiver<bool>,
}

impl HealthListener {
    /// Listens, unless it does already; where.
    async fn listen(&mut self) -> Result<Option<SocketAddr>, Error> {
        if let Some(address) = self.address.filter(|_| !self.is_bound) {
            let (address, listener) = bind("health", address).await?;
            (self.address, self.is_bound) = (Some(address), true);
            tokio::spawn(serve_tcp(
                listener,
                health::router(Arc::clone(&self.source)),
                self.stopped.clone(),
            ));
        }
        Ok(self.address)
    }
}

/// The ledger of the config's store, or one in memory; with what an operator must hear of it.
async fn open_ledger(
    snapshot: &Snapshot,
    clock: &Arc<dyn Clock>,
    health: &mut HealthListener,
) -> Result<(Arc<Embedded>, Option<String>), Error> {
    let capacity = snapshot.store.ledger_entries;
    let Some(path) = &snapshot.store.path else {
        let ledger = Embedded::in_memory(capacity, Arc::clone(clock))
            .map_err(|error| Error::new(Exit::NO, error.to_string()))?;
        return Ok((Arc::new(ledger), None));
    };
    let patience_ends = clock.mono() + STORE_PATIENCE;
    let mut said = false;
    loop {
        match Embedded::open(path, capacity, Arc::clone(clock)) {
            Ok(opened) => {
                if let Some(alarm) = &opened.alarm {
                    tracing::error!("{alarm}");
                }
                return Ok((Arc::new(opened.ledger), opened.alarm));
            }
            Err(held @ OpenError::Held { .. }) if clock.mono() < patience_ends => {
                if !said {
                    tracing::warn!("{held}; waiting for it, not ready");
                    said = true;
                }
                // the process that holds the store may have this address too, and leaves both
                health.listen().await.ok();
                tokio::time::sleep(STORE_PAUSE).await;
            }
            Err(held @ OpenError::Held { .. }) => {
                return Err(Error::new(Exit::STORE_HELD, held.to_string()));
            }
            Err(OpenError::Store(error)) => {
                return Err(Error::new(Exit::NO, format!("{}: {error}", path.display())));
            }
            Err(error) => return Err(Error::new(Exit::NO, error.to_string())),
        }
    }
}

/// The listeners for operators, as they were bound.
#[derive(Default)]
struct Operators {
    health: Option<SocketAddr>,
    admin: Option<String>,
    /// Whether the admin token was made beside the store.
    token_made: bool,
    /// The file of the admin socket, if it is one. Removed on drop.
    socket: Option<SocketFile>,
}

impl Operators {
    /// Returns what commands need to find this gateway.
    fn running(&self, config: PathBuf, store: Option<&Path>) -> Running {
        let token_file = store
            .filter(|_| self.token_made)
            .map(|store| running::absolute(&store.join(TOKEN_FILE)));
        let health = self.health.map(|address| address.to_string());
        Running {
            config,
            health,
            admin: self.admin.clone(),
            token_file,
            ..Running::default()
        }
    }
}

/// Binds and serves the health and admin listeners of the config.
async fn listen_for_operators(
    gate: &Arc<Gate>,
    operator: &Arc<Operator>,
    health: &mut HealthListener,
    stopped: &watch::Receiver<bool>,
) -> Result<Operators, Error> {
    let snapshot = gate.snapshot();
    let of_health: Arc<dyn Source> = Arc::clone(operator) as _;
    health.source.set(of_health).ok();
    let mut operators = Operators {
        health: health.listen().await?,
        ..Operators::default()
    };
    let Some(admin) = &snapshot.admin else {
        return Ok(operators);
    };
    let made = match (&admin.token, &snapshot.store.path) {
        (None, Some(store)) if admin.tokens.is_empty() => {
            Some(Token::new(token_beside(store).map_err(|error| {
                cannot(&format!("make a token beside {}", store.display()), &error)
            })?))
        }
        (None | Some(_), _) => None,
    };
    operators.token_made = made.is_some();
    // the token of the config that runs now: one that was changed because it leaked must not count until a restart
    let of_gate = Arc::clone(gate);
    let token: TokenMatcher = Arc::new(move |offered: &[u8]| {
        Offered::find(of_gate.snapshot().admin.as_ref(), made.as_ref(), offered)
    });
    match &admin.address {
        AdminAddress::Tcp(address) => {
            let (address, listener) = bind("admin", *address).await?;
            operators.admin = Some(address.to_string());
            let guard = Guard::tcp(address, token);
            tokio::spawn(serve_tcp(
                listener,
                api::router(Arc::clone(operator) as _, guard),
                stopped.clone(),
            ));
        }
        AdminAddress::Unix(path) => {
            let (listener, socket) = unix::listen(path)
                .map_err(|error| cannot(&format!("listen on unix:{}", path.display()), &error))?;
            operators.socket = Some(socket);
            operators.admin = Some(format!("unix:{}", running::absolute(path).display()));
            tracing::info!(r#for = "admin", address = %format_args!("unix:{}", path.display()), "listening");
            tokio::spawn(serve_unix(
                listener,
                api::router(Arc::clone(operator) as _, Guard::unix(token)),
                stopped.clone(),
            ));
        }
    }
    Ok(operators)
}

async fn bind(what: &str, address: SocketAddr) -> Result<(SocketAddr, TcpListener), Error> {
    let bound = TcpListener::bind(address)
        .await
        .and_then(|listener| Ok((listener.local_addr()?, listener)));
    let (address, listener) =
        bound.map_err(|error| cannot(&format!("listen on {address} for {what}"), &error))?;
    tracing::info!(r#for = what, %address, "listening");
    Ok((address, listener))
}

fn cannot(what: &str, error: &std::io::Error) -> Error {
    Error::new(Exit::NO, format!("cannot {what}: {error}"))
}

/// The signals that the gate obeys.
struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let handler = |kind| signal(kind).map_err(|error| cannot("handle signals", &error));
        let (term, int, hup) = (
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
        );
        Ok(Self {
            term: handler(term)?,
            int: handler(int)?,
            hup: handler(hup)?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    async fn leave(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

/// Reloads on every change and SIGHUP, until SIGTERM or SIGINT.
async fn until_told_to_leave(
    reloader: &Reloader,
    mut changes: mpsc::Receiver<()>,
    mut signals: Signals,
    mut running: Option<&mut RunningFile>,
) {
    loop {
        let by_signal = tokio::select! {
            _ = signals.term.recv() => return,
            _ = signals.int.recv() => return,
            _ = signals.hup.recv() => true,
            Some(()) = changes.recv() => false,
        };
        // the outcome is logged and kept for status; no reload is waited for on the way out
        tokio::select! {
            outcome = reloader.reload() => {
                if let Some(running) = running.as_mut().filter(|_| by_signal) {
                    running.note_reload(outcome);
                }
            }
            _ = signals.term.recv() => return,
            _ = signals.int.recv() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
            .unwrap_or_else(|rejected| panic!("{}", rejected.report.render(true)))
            .snapshot
    }

    /// A minute by a clock that is moved on; the pauses between tries are the runtime's.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_another_process_holds_is_waited_for_for_a_minute() {
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
        let Err(error) = open_ledger(&snapshot, &shared, &mut no_health()).await else {
            panic!("two hold it")
        };
        let waited = clock.mono() - begun;
        assert!(
            waited >= STORE_PATIENCE && waited < STORE_PATIENCE + 2 * STORE_PAUSE,
            "{waited:?}"
        );
        assert_eq!(error.exit, Exit::STORE_HELD);
        assert!(
            error
                .render(false)
                .contains(&format!("process {}", std::process::id())),
            "{}",
            error.render(false)
        );
        let release = async {
            tokio::time::sleep(STORE_PATIENCE / 2).await;
            drop(held);
        };
        let mut health = no_health();
        let (opened, ()) = tokio::join!(open_ledger(&snapshot, &shared, &mut health), release);
        assert!(opened.is_ok());
        ticking.abort();
    }

    fn no_health() -> HealthListener {
        HealthListener {
            address: None,
            is_bound: false,
            source: health::Later::default(),
            stopped: watch::channel(false).1,
        }
    }

    /// The file beside the store decides, which says whether deliveries may lie in it; the config of today makes no difference.
    #[tokio::test]
    async fn a_damaged_store_is_set_aside_where_no_delivery_can_lie_in_it() {
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
            // what a gate leaves behind, with or without something that waits
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
            match open_ledger(&snapshot, &clock, &mut no_health()).await {
                Ok((_, alarm)) => assert!(!holds && alarm.is_some() && aside() == 1, "{action}"),
                Err(error) => {
                    let said = error.render(false);
                    assert!(
                        holds && said.contains(&format!("hookgate set-aside {}", store.display())),
                        "{action}: {said}"
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
