//! `hookgate run`: runs a gateway until SIGTERM or SIGINT.
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, Setup, StartError, Stop, memory};
use crate::cli::error::{Error, Exit};
use crate::cli::running::{self, Running, RunningFile};
use crate::cli::term;
use crate::clock::{Clock, SystemClock};
use crate::config::load::load;
use crate::config::snapshot::AdminAddress;
use crate::gateway::reload::{Reloader, environment};
use crate::gateway::serve::CannotListen;
use crate::telemetry::{Telemetry, log};

/// The time that tasks have to end after the gateway has shut down.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// Runs the gateway.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The config file.
    #[arg(long, env = "HOOKGATE_CONFIG", value_name = "FILE")]
    pub config: PathBuf,
}

/// Runs the gateway until SIGTERM or SIGINT.
///
/// # Errors
/// The config has mistakes, an address is in use, or the store cannot be opened.
pub fn run(args: &RunArgs) -> Result<Exit, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let loaded = match load(&args.config, &environment, None, 1, clock.now()) {
        Ok(loaded) => loaded,
        Err(refused) => {
            term::say(&format!(
                "{}\n{} The gateway does not start.",
                refused.report.render(true),
                refused.report.counts()
            ));
            return Ok(Exit::NO);
        }
    };
    log::init(loaded.snapshot.log.format).map_err(|error| Error::no(error.to_string()))?;
    memory::use_small_pages();
    memory::raise_open_files();
    let runtime = runtime().map_err(|error| Error::no(format!("no runtime: {error}")))?;
    let telemetry = Telemetry::new(loaded.snapshot.log, Arc::clone(&clock), std::io::stdout());
    let setup = Setup {
        config: args.config.clone(),
        loaded,
        clock,
        telemetry: Arc::clone(&telemetry),
    };
    let ended = runtime.block_on(serve(setup));
    // the record of a request that was cut off closes when its task ends
    runtime.shutdown_timeout(LAST_TASKS);
    telemetry.flush();
    log::flush();
    ended
}

/// Builds the runtime. A single worker needs no queue between workers.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut builder = if workers == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    builder.enable_all().build()
}

/// Starts the gateway, and runs it until a signal stops it.
async fn serve(setup: Setup) -> Result<Exit, Error> {
    let config = running::absolute(&setup.config);
    let engine = setup.loaded.snapshot.store.engine.clone();
    // from here on the signals are handled: one that comes while the gateway starts must not kill it while it already serves requests
    let (stop, mut hangups) = (Stop::default(), handler(SignalKind::hangup())?);
    let stopping = stop_on(
        handler(SignalKind::terminate())?,
        handler(SignalKind::interrupt())?,
        stop.clone(),
    );
    tokio::spawn(stopping);
    let app = match App::start(setup, stop.clone()).await {
        Ok(app) => app,
        Err(StartError::Stopped) => return Ok(Exit::DONE),
        Err(error) => return Err(not_started(&error)),
    };
    let mut running = addresses(&app, config).leave(engine.directory());
    let reloader = app.reloader();
    let reloading = reload_on(&mut hangups, &reloader, &stop, running.as_mut());
    tokio::join!(app.run(), reloading);
    Ok(Exit::DONE)
}

/// Returns the error for a gateway that did not start, with the remedy if another process has an address.
fn not_started(error: &StartError) -> Error {
    let cause = match error {
        StartError::StoreHeld(_) => return Error::new(Exit::STORE_HELD, error.to_string()),
        StartError::Listen(CannotListen { cause, .. }) | StartError::System { cause, .. } => {
            Some(cause)
        }
        StartError::Stopped
        | StartError::Open(_)
        | StartError::Gate(_)
        | StartError::SealCheck(_)
        | StartError::WrongStoreKey
        | StartError::OldStoreKey(_) => None,
    };
    let is_taken = cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::AddrInUse);
    let failed = Error::no(error.to_string());
    if is_taken {
        failed.hint("end the process that listens there, or write another address in the config")
    } else {
        failed
    }
}

/// Returns what commands need to find this gateway.
fn addresses(app: &App, config: PathBuf) -> Running {
    let admin = app.admin().map(|address| match address {
        AdminAddress::Tcp(address) => address.to_string(),
        AdminAddress::Unix(path) => format!("unix:{}", running::absolute(path).display()),
    });
    Running {
        config,
        health: app.health().map(|address| address.to_string()),
        admin,
        token_file: app.token_file().map(running::absolute),
        ..Running::default()
    }
}

fn handler(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(|error| Error::no(format!("cannot handle signals: {error}")))
}

/// Requests the stop on SIGTERM or SIGINT.
async fn stop_on(mut terminate: Signal, mut interrupt: Signal, stop: Stop) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.request();
}

/// Reloads on each SIGHUP, until the stop is requested. Writes the outcome into the file of the running gateway.
async fn reload_on(
    hangups: &mut Signal,
    reloader: &Reloader,
    stop: &Stop,
    mut running: Option<&mut RunningFile>,
) {
    loop {
        tokio::select! {
            () = stop.requested() => return,
            _ = hangups.recv() => {}
        }
        // the outcome is logged and shown by the status; the stop does not wait for it
        tokio::select! {
            () = stop.requested() => return,
            outcome = reloader.reload() => {
                if let Some(running) = running.as_mut() {
                    running.note_reload(outcome.map_err(|error| error.to_string()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_in_use_gets_a_remedy() {
        let error = |kind: std::io::ErrorKind| {
            not_started(&StartError::System {
                action: "listen on 127.0.0.1:9090 for admin".to_owned(),
                cause: kind.into(),
            })
        };
        let taken = error(std::io::ErrorKind::AddrInUse);
        assert!(taken.hint.unwrap().starts_with("end the process"));
        assert_eq!(error(std::io::ErrorKind::PermissionDenied).hint, None);
    }
}
