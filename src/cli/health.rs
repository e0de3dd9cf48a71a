//! `hookgate health`: whether a gateway runs here and answers, as an exit code.
use std::path::PathBuf;

use http::StatusCode;

use crate::cli::ask;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::running::Running;
use crate::cli::term::{self, Look, Sign};

/// The health listener's address where nothing else says it.
const ADDRESS: &str = "127.0.0.1:9091";

/// Arguments of `health`.
#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    /// The health listener, HOST:PORT (default: where the running gateway listens, else `health.address` of the config, else 127.0.0.1:9091).
    #[arg(long)]
    address: Option<String>,
    /// Exits with 1 also while the gateway is not ready, as it starts or drains.
    #[arg(long)]
    ready: bool,
    /// The config of the gateway.
    #[arg(long, env = "HOOKGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs `health`. The config only helps to find the gateway: one that is broken or gone says nothing about the gateway that runs.
pub(super) fn health(args: &HealthArgs) -> Result<Exit, Error> {
    let look = Look::of_stdout();
    let mut unanswered = None;
    for address in addresses(args) {
        match ask::get(&address, "/readyz", None) {
            Ok((StatusCode::OK, _)) => {
                term::print_line(&format!("{} ready", look.sign(Sign::Good)))?;
                return Ok(Exit::DONE);
            }
            Ok((StatusCode::SERVICE_UNAVAILABLE, _)) => {
                let (sign, exit) = if args.ready {
                    (Sign::Bad, Exit::NO)
                } else {
                    (Sign::Look, Exit::DONE)
                };
                term::print_line(&format!("{} running, not ready", look.sign(sign)))?;
                return Ok(exit);
            }
            Ok((status, _)) => {
                unanswered = Some(
                    Error::no(format!(
                        "this listener is not a gateway's: it answers {}",
                        status.as_u16()
                    ))
                    .at(address),
                );
            }
            Err(error) => {
                unanswered = Some(Error {
                    exit: Exit::NO,
                    ..error
                })
            }
        }
    }
    Err(unanswered.unwrap_or_else(|| Error::no("the gateway has no health listener")))
}

/// Returns the addresses to ask, the surest first.
fn addresses(args: &HealthArgs) -> Vec<String> {
    if let Some(address) = &args.address {
        return vec![address.clone()];
    }
    let written = args
        .config
        .as_deref()
        .and_then(|config| context::written(config).ok())
        .unwrap_or_default();
    let store = context::store_of(args.config.as_deref());
    let running =
        Running::find(args.config.as_deref(), store.as_deref()).and_then(|running| running.health);
    let written = written.health.and_then(|health| health.address);
    let mut addresses: Vec<String> = running.into_iter().chain(written).collect();
    if addresses.is_empty() {
        addresses.push(ADDRESS.to_owned());
    }
    addresses.dedup();
    addresses
}
