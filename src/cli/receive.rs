//! `hookgate receive`: receives webhooks for a rehearsal. Verifies each, prints a line, and answers, fails or delays as told.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::cli::context;
use crate::cli::echo;
use crate::cli::error::{Error, Exit};
use crate::cli::events::source;
use crate::cli::term::{self, Look};

mod data;
mod entry;
mod events;
mod judge;
mod plan;
pub(super) mod rehearsal;
mod secrets;
mod server;
mod wire;

use entry::Entry;
use plan::{Plan, Reaction};
use server::{Receiver, serve};

/// Arguments of `receive`.
#[derive(Debug, clap::Args)]
pub(super) struct ReceiveArgs {
    /// The address to listen on.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4000")]
    listen: SocketAddr,
    /// A file with the secrets of the endpoint, one a line (`whsec_…`); may be repeated.
    #[arg(long, value_name = "FILE", required_unless_present = "scheme")]
    secret_file: Vec<PathBuf>,
    /// The scheme that is verified instead of Standard Webhooks: one of `outbound.schemes` of the config, or that of a route. The secrets of a
    /// route are used unless there is a secret file.
    #[arg(long, value_name = "NAME", requires = "config")]
    scheme: Option<String>,
    /// The config with that scheme.
    #[arg(long, value_name = "FILE", requires = "scheme")]
    config: Option<PathBuf>,
    /// The status of the answer.
    #[arg(long, value_name = "STATUS", default_value = "200", value_parser = plan::status)]
    answer: StatusCode,
    /// Fails the first N attempts of each event: with 500, or by --hang, --drop or --drip.
    #[arg(long, value_name = "N", default_value_t = 0)]
    fail: u32,
    /// Waits before the answer.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = plan::duration)]
    delay: Duration,
    /// Does not answer, and keeps the connection open.
    #[arg(long, conflicts_with_all = ["drop", "drip"])]
    hang: bool,
    /// Closes the connection without an answer.
    #[arg(long, conflicts_with = "drip")]
    drop: bool,
    /// Answers a byte a second.
    #[arg(long)]
    drip: bool,
    /// A file with a line for each attempt of an event: a status, then perhaps a delay; or `drop`, `hang`, `drip`. The last line is repeated.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["answer", "fail", "delay", "hang", "drop", "drip"])]
    script: Option<PathBuf>,
    /// Holds the data of authentic events against this catalogue, and says what is not valid.
    #[arg(long, value_name = "DIR")]
    events: Option<PathBuf>,
    /// Prints a JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Runs `receive` until it is interrupted.
pub(super) fn receive(args: &ReceiveArgs) -> Result<Exit, Error> {
    let receiver = args.receiver()?;
    let look = Look::of_stdout();
    context::block_on(async {
        let listener = echo::bind(args.listen).await.map_err(|error| {
            error.hint("hookgate receive --listen 127.0.0.1:PORT, with the same port in the URL of the endpoint")
        })?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            term::warn("this address is not loopback: others can send requests to it");
        }
        term::say(&format!(
            "http://{address} receives; {}",
            receiver.plan().describe()
        ));
        let mut show = |entry: &Entry| {
            term::print_line(&if args.json {
                entry.json().to_string()
            } else {
                entry.text(&look)
            })
        };
        let stop = context::interrupted();
        let summary = serve(&listener, &Arc::new(receiver), &mut show, stop).await?;
        term::say(&summary.text());
        Ok(Exit::INTERRUPTED)
    })?
}

impl ReceiveArgs {
    fn receiver(&self) -> Result<Receiver, Error> {
        let verifier = match (&self.scheme, &self.config) {
            (Some(name), Some(config)) => secrets::scheme(config, name, &self.secret_file)?,
            _ => secrets::standard(&self.secret_file)?,
        };
        let catalogue = self.events.as_deref().map(source::load).transpose()?;
        Ok(Receiver::new(verifier, catalogue, self.plan()?))
    }

    fn plan(&self) -> Result<Plan, Error> {
        if let Some(path) = &self.script {
            let text = context::read(path, "the script")?;
            return Plan::script(&String::from_utf8_lossy(&text)).map_err(|why| {
                Error::usage("the script cannot be used")
                    .at(path.display().to_string())
                    .why(why)
            });
        }
        let way = if self.hang {
            Some(Reaction::Hang)
        } else if self.drop {
            Some(Reaction::Drop)
        } else if self.drip {
            Some(Reaction::Drip(self.answer))
        } else {
            None
        };
        Ok(Plan::failing(self.fail, way, self.answer, self.delay))
    }
}

#[cfg(test)]
mod tests;
