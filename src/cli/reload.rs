//! `hookgate reload`: the running gateway takes its config again, now, and the exit code says whether it did.
use crate::admin::api::Reloaded;
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, Look, Sign};

/// Arguments of `reload`.
#[derive(Debug, clap::Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    gate: GateArgs,
}

/// Runs `reload`. A config with mistakes changes nothing: they are printed, and the exit code is 1.
pub(super) fn reload(args: &ReloadArgs) -> Result<Exit, Error> {
    let door = args.gate.door()?;
    let reloaded: Reloaded = context::block_on(door.post("/-/reload", &serde_json::json!({})))??;
    term::print_line(&format!("{} config reloaded, generation {}", Look::of_stdout().sign(Sign::Good), reloaded.generation))?;
    Ok(Exit::DONE)
}
