//! `hookgate health`: reports whether a gateway runs here and answers, by its exit code.
use std::path::PathBuf;

use http::StatusCode;

use crate::cli::admin_client;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::running::Running;
use crate::cli::term::{self, Look, Sign};

/// The health listener's address where neither a running gateway nor a config names one.
const DEFAULT_ADDRESS: &str = "127.0.0.1:9091";

/// Arguments of `health`.
#[derive(Debug, clap::Args)]
pub(super) struct HealthArgs {
    /// The health listener, HOST:PORT (default: the address of the running gateway, else `health.address` of the config, else 127.0.0.1:9091).
    #[arg(long)]
    address: Option<String>,
    /// Also exits with 1 while the gateway is not ready because it starts or drains.
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
        match admin_client::get(&address, "/readyz", args.config.as_deref()) {
            Ok((StatusCode::OK, _)) => {
                term::print_line(&format!("{} ready", look.sign(Sign::Good)))?;
                return Ok(Exit::DONE);
            }
            Ok((StatusCode::SERVICE_UNAVAILABLE, _)) => {
                let (sign, exit) = if args.ready {
                    (Sign::Bad, Exit::NO)
                } else {
                    (Sign::Warning, Exit::DONE)
                };
                term::print_line(&format!("{} running, not ready", look.sign(sign)))?;
                return Ok(exit);
            }
            Ok((status, _)) => {
                unanswered = Some(
                    Error::no(format!(
                        "the listener is not that of a gateway: it answers with status {}",
                        status.as_u16()
                    ))
                    .at(address),
                );
            }
            Err(error) => {
                unanswered = Some(Error {
                    exit: Exit::NO,
                    ..error
                });
            }
        }
    }
    Err(unanswered.unwrap_or_else(|| Error::no("the gateway has no health listener")))
}

/// Returns the addresses to ask, the most certain first.
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
        addresses.push(DEFAULT_ADDRESS.to_owned());
    }
    addresses.dedup();
    addresses
}
