//! `hookgate endpoints job`: the job of an endpoint, shown, stopped, or watched to its end.
use std::time::Duration;

use clap::Subcommand;
use http::Method;
use serde_json::json;
use serde_json::value::RawValue;

use super::name::EndpointName;
use super::shown::Job;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_client::OutboundClient;
use crate::cli::progress::Progress;
use crate::cli::term::{self, Look, Sign};

/// The pause between two requests to the gateway.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Arguments of `endpoints job`.
#[derive(Debug, clap::Args)]
pub(super) struct JobArgs {
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, Subcommand)]
enum JobCommand {
    /// Shows the last job of an endpoint.
    #[command(
        after_help = "Examples:\n  hookgate endpoints job show acme main\n  hookgate endpoints job show acme main --json | jq .done"
    )]
    Show(ShowArgs),
    /// Stops the recovery of an endpoint's events. Attempts that were begun go on.
    #[command(
        after_help = "Examples:\n  hookgate endpoints job stop acme main\n  hookgate endpoints job stop acme ep_9D1C"
    )]
    Stop(StopArgs),
}

/// Arguments of `endpoints job show`.
#[derive(Debug, clap::Args)]
struct ShowArgs {
    #[command(flatten)]
    name: EndpointName,
    /// Prints a JSON object, or `null` without a job.
    #[arg(long)]
    json: bool,
    /// Prints times in UTC also on a terminal.
    #[arg(long)]
    utc: bool,
}

/// Arguments of `endpoints job stop`.
#[derive(Debug, clap::Args)]
struct StopArgs {
    #[command(flatten)]
    name: EndpointName,
    /// Prints the job as a JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `endpoints job`.
pub(super) async fn job(client: &OutboundClient, args: &JobArgs) -> Result<Exit, Error> {
    match &args.command {
        JobCommand::Show(args) => show(client, args).await,
        JobCommand::Stop(args) => stop(client, args).await,
    }
}

async fn show(client: &OutboundClient, args: &ShowArgs) -> Result<Exit, Error> {
    let found = last(client, &args.name).await?;
    if args.json {
        let json = found.as_ref().map_or("null", |(json, _)| json.get());
        term::print_line(json)?;
        return Ok(Exit::DONE);
    }
    let Some((_, job)) = found else {
        term::say("the endpoint had no job");
        return Ok(Exit::NO);
    };
    let look = Look::of_stdout_in(args.utc);
    term::print_line(&line(&job, &look))?;
    if job.is_running() {
        term::say(&to_stop(client, &args.name));
    }
    Ok(Exit::DONE)
}

async fn stop(client: &OutboundClient, args: &StopArgs) -> Result<Exit, Error> {
    let target = args.name.target(&["job", "stop"]);
    client
        .change::<Box<RawValue>>(Method::POST, &target, &json!({}))
        .await?;
    let found = last(client, &args.name).await?;
    if args.json {
        let json = found.as_ref().map_or("null", |(json, _)| json.get());
        term::print_line(json)?;
    } else if let Some((_, job)) = found {
        term::print_line(&line(&job, &Look::of_stdout()))?;
    }
    Ok(Exit::DONE)
}

/// Returns the last job of an endpoint.
async fn last(
    client: &OutboundClient,
    name: &EndpointName,
) -> Result<Option<(Box<RawValue>, Job)>, Error> {
    #[derive(serde::Deserialize)]
    struct WithJob {
        job: Option<Box<RawValue>>,
    }
    let endpoint: WithJob = client.get(&name.target(&[])).await?;
    let Some(json) = endpoint.job else {
        return Ok(None);
    };
    let job = client.parse(json.get().as_bytes())?;
    Ok(Some((json, job)))
}

/// Renders a job in one line, with its sign.
fn line(job: &Job, look: &Look) -> String {
    let sign = match job.state.as_str() {
        "stopped" => Sign::Bad,
        "running" => Sign::Warning,
        _ => Sign::Good,
    };
    format!("{} {}", look.sign(sign), job.describe(context::now(), look))
}

fn to_stop(client: &OutboundClient, name: &EndpointName) -> String {
    format!(
        "to stop it: hookgate endpoints job stop {}{}",
        name.words(),
        client.options()
    )
}

/// Watches the job of an endpoint to its end, and prints the end. Ctrl-C ends only the watching.
///
/// # Errors
/// The gateway does not answer any more.
pub(super) async fn follow(
    client: &OutboundClient,
    name: &EndpointName,
    as_json: bool,
) -> Result<Exit, Error> {
    let watched = tokio::select! {
        job = watch(client, name) => Some(job?),
        signal = context::interrupted() => { signal?; None }
    };
    let Some(found) = watched else {
        term::say(&format!(
            "\nthe job continues in the gateway; {}",
            to_stop(client, name)
        ));
        return Ok(Exit::INTERRUPTED);
    };
    let Some((json, job)) = found else {
        // another change of the endpoint took its place
        return Ok(Exit::DONE);
    };
    if as_json {
        term::print_line(json.get())?;
    } else {
        term::print_line(&line(&job, &Look::of_stdout()))?;
    }
    if job.state == "stopped" {
        term::say(&format!(
            "next: hookgate endpoints attempts {}{}",
            name.words(),
            client.options()
        ));
        return Ok(Exit::UNFINISHED);
    }
    Ok(Exit::DONE)
}

async fn watch(
    client: &OutboundClient,
    name: &EndpointName,
) -> Result<Option<(Box<RawValue>, Job)>, Error> {
    let (mut progress, look) = (Progress::new(), Look::of_stdout());
    loop {
        let found = last(client, name).await?;
        match &found {
            Some((_, job)) if job.is_running() => {
                progress.show(&job.describe(context::now(), &look));
            }
            Some(_) | None => {
                progress.end();
                return Ok(found);
            }
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
