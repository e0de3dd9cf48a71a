//! `hookgate reload`: makes the running gateway reload its config. The exit code says whether it was accepted.
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::api::actions::Reloaded;
use crate::cli::ask::{self, GateArgs};
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::running::Running;
use crate::cli::term::{self, Look, Sign};
use crate::clock::{Clock as _, SystemClock};

/// The variable in which systemd gives `ExecReload` the ID of the gateway's process.
const MAIN_PID: &str = "MAINPID";
/// The longest time of a reload by signal, and the pause between two looks for its outcome.
const MAX_WAIT: Duration = Duration::from_secs(50);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Arguments of `reload`.
#[derive(Debug, clap::Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    gate: GateArgs,
}

/// Runs `reload`. A config with mistakes changes nothing: they are printed, and the exit code is 1.
pub(super) fn reload(args: &ReloadArgs) -> Result<Exit, Error> {
    let generation = match args.gate.without_listener() {
        Some(running) => by_signal(&args.gate, &running)?,
        None => {
            let client = args.gate.client()?;
            let reloaded: Reloaded =
                context::block_on(client.post("/-/reload", &serde_json::json!({})))??;
            reloaded.generation
        }
    };
    term::print_line(&format!(
        "{} config reloaded, generation {generation}",
        Look::of_stdout().sign(Sign::Good)
    ))?;
    Ok(Exit::DONE)
}

/// Sends SIGHUP to a gateway without an admin listener, and waits for the outcome in the file of the running gateway. Only systemd is trusted to know the
/// process: an ID in a file may be that of another process by now.
fn by_signal(gate: &GateArgs, before: &Running) -> Result<u64, Error> {
    let main = std::env::var(MAIN_PID)
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|pid| *pid > 1)
        .and_then(Pid::from_raw);
    let main = main.ok_or_else(ask::no_listener)?;
    kill_process(main, Signal::HUP)
        .map_err(|error| Error::no("SIGHUP cannot be sent to the gateway").cause(error))?;
    let begun = SystemClock.mono();
    while SystemClock.mono().saturating_duration_since(begun) < MAX_WAIT {
        match gate.without_listener() {
            Some(Running {
                signals,
                reloaded: Some(outcome),
                ..
            }) if signals != before.signals => return outcome.map_err(Error::no),
            _ => std::thread::sleep(POLL_INTERVAL),
        }
    }
    Err(Error::new(
        Exit::UNREACHED,
        "the gateway did not report whether it accepted the config",
    )
    .hint("read its log"))
}
