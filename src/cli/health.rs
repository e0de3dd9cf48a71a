//! `hookgate health`: whether a running gate is ready, as an exit code.
use std::path::PathBuf;

use crate::cli::ask;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, Look, Sign};

/// Where the health listener is unless a config says.
const ADDRESS: &str = "127.0.0.1:9091";

/// Arguments of `health`.
#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    /// The health listener, HOST:PORT (default: `health.address` of the config, else 127.0.0.1:9091).
    #[arg(long)]
    address: Option<String>,
    /// The config of the gate.
    #[arg(long, env = "HOOKGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs `health`.
pub(super) fn health(args: &HealthArgs) -> Result<Exit, Error> {
    let address = match (&args.address, &args.config) {
        (Some(address), _) => address.clone(),
        (None, Some(config)) => context::written(config)?.health.and_then(|health| health.address).unwrap_or_else(|| ADDRESS.to_owned()),
        (None, None) => ADDRESS.to_owned(),
    };
    let (status, _) = ask::get(&address, "/readyz", None)?;
    let look = Look::of_stdout();
    if status.is_success() {
        term::print_line(&format!("{} ready", look.sign(Sign::Good)))?;
        return Ok(Exit::DONE);
    }
    term::print_line(&format!("{} not ready: {}", look.sign(Sign::Bad), status.as_u16()))?;
    Ok(Exit::NO)
}
