//! `hookgate endpoints show`: an endpoint with its failures, its secrets and its last attempts.
use std::fmt::Write as _;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::name::EndpointName;
use super::shown::{Endpoint, Health, Secret, time, unknown};
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_attempts::{self, Attempt, Of};
use crate::cli::outbound_client::OutboundClient;
use crate::cli::outbound_list::list;
use crate::cli::term::{self, BOLD, Look};

/// The number of attempts that are shown.
const ATTEMPTS: u64 = 5;
/// The number of dead events up to which the gateway counts them.
const MAX_DEAD: u64 = 100;

/// Arguments of `endpoints show`.
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    name: EndpointName,
    /// Prints a JSON object.
    #[arg(long)]
    json: bool,
    /// Prints times in UTC also on a terminal.
    #[arg(long)]
    utc: bool,
}

/// The secrets of an endpoint, as the API lists them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Secrets {
    secrets: Vec<Secret>,
}

/// Runs `endpoints show`.
pub(super) async fn show(client: &OutboundClient, args: &ShowArgs) -> Result<Exit, Error> {
    let json: Box<RawValue> = client.get(&args.name.target(&[])).await?;
    if args.json {
        term::print_line(json.get())?;
        return Ok(Exit::DONE);
    }
    let endpoint: Endpoint = client.parse(json.get().as_bytes())?;
    let secrets: Secrets = client.get(&args.name.target(&["secrets"])).await?;
    let attempts = args.name.target(&["attempts"]);
    let attempts = list(client, &attempts, "attempts", ATTEMPTS).await?;
    let look = Look::of_stdout_in(args.utc);
    term::print(&render(
        &args.name.tenant,
        &endpoint,
        &secrets.secrets,
        &attempts.items,
        context::now(),
        &look,
    ))?;
    if let Some(next) = next(&endpoint) {
        let (words, options) = (args.name.words(), client.options());
        let (command, more) = next;
        term::say(&format!(
            "next: hookgate endpoints {command} {words}{more}{options}"
        ));
    }
    Ok(Exit::DONE)
}

/// Returns the command that helps, and its options.
fn next(endpoint: &Endpoint) -> Option<(&'static str, &'static str)> {
    if endpoint.paused.is_some() {
        return Some(("resume", " --waiting all --dry-run"));
    }
    endpoint.health.is_some().then_some(("attempts", ""))
}

/// Renders the endpoint.
pub(super) fn render(
    tenant: &str,
    endpoint: &Endpoint,
    secrets: &[Secret],
    attempts: &[Attempt],
    now: SystemTime,
    look: &Look,
) -> String {
    let (sign, state) = endpoint.state(now, look);
    let style = sign.style();
    let mut text = format!(
        "{BOLD}{}{BOLD:#}   {}   {}   {style}{state}{style:#}\n\n",
        term::clean(&endpoint.id),
        term::clean(tenant),
        term::clean(&endpoint.url),
    );
    for (what, description) in lines(endpoint, secrets, now, look) {
        let description = term::clean(&description);
        writeln!(text, "  {what:<8}  {description}").ok();
    }
    if !attempts.is_empty() {
        text.push('\n');
        text.push_str(&outbound_attempts::render(
            attempts,
            Of::Endpoint,
            now,
            look,
        ));
    }
    text
}

/// Describes an endpoint, a line for each subject.
fn lines(
    endpoint: &Endpoint,
    secrets: &[Secret],
    now: SystemTime,
    look: &Look,
) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    lines.extend(endpoint.uid.clone().map(|uid| ("uid", uid)));
    if let Some(description) = &endpoint.description {
        lines.push(("about", description.clone()));
    }
    let waiting = endpoint.paused.as_ref().and_then(|paused| paused.waiting);
    match &endpoint.health {
        Some(health) => {
            lines.push(("why", why(health)));
            lines.push(("first", first(health, now, look)));
        }
        None => {
            lines.extend(waiting.map(|count| ("waiting", term::counted(count, "event"))));
        }
    }
    let dead = endpoint.dead.filter(|count| *count > 0);
    lines.extend(dead.map(|count| ("dead", dead_events(count))));
    lines.push(("sends", sends(endpoint)));
    lines.extend(unknown(&endpoint.unknown_types).map(|words| ("types", words)));
    if !secrets.is_empty() {
        lines.push(("secrets", described(secrets, now, look)));
    }
    let limits = limits(endpoint);
    if !limits.is_empty() {
        lines.push(("limits", limits));
    }
    if !endpoint.headers.is_empty() {
        lines.push(("headers", endpoint.headers.join(", ")));
    }
    if let Some(job) = &endpoint.job {
        lines.push(("job", job.describe(now, look)));
    }
    lines
}

/// Describes the events whose attempts are exhausted.
fn dead_events(count: u64) -> String {
    let more = if count >= MAX_DEAD { " or more" } else { "" };
    format!(
        "{}{more}; `hookgate endpoints recover` sends them again",
        term::counted(count, "event")
    )
}

/// Returns the failures in words.
fn why(health: &Health) -> String {
    let outcome = match (&health.message, health.status, &health.error) {
        (Some(message), ..) => return message.clone(),
        (None, Some(status), _) => format!("it answered {status}"),
        (None, None, Some(error)) => error.clone(),
        (None, None, None) => "it failed".to_owned(),
    };
    format!(
        "{outcome}; {} failed in a row",
        term::counted(health.failures, "attempt")
    )
}

/// Describes the first failure: the event, its time and how often it failed since.
fn first(health: &Health, now: SystemTime, look: &Look) -> String {
    format!(
        "{}, {}; {} failed since",
        health.first,
        time(&health.failing_since, now, look),
        term::counted(health.failures, "attempt")
    )
}

/// Describes what is sent: `invoice.*, order.created version 1; envelope; standard`.
fn sends(endpoint: &Endpoint) -> String {
    let pins = endpoint
        .versions
        .iter()
        .map(|(kind, version)| format!("{kind} in version {version}"));
    let types = endpoint.types.iter().cloned().chain(pins);
    let types: Vec<String> = types.collect();
    format!(
        "{}; {}; signed by {}",
        types.join(", "),
        endpoint.payload,
        endpoint.sign
    )
}

/// Describes the secrets: `2026-11 and 2026-05 (until 25 Nov 13:04)`.
fn described(secrets: &[Secret], now: SystemTime, look: &Look) -> String {
    let one = |secret: &Secret| {
        let mut notes = Vec::new();
        if !secret.signs {
            notes.push("does not sign yet".to_owned());
        }
        let until = secret.ends_at.as_deref();
        notes.extend(until.map(|at| format!("until {}", time(at, now, look))));
        if notes.is_empty() {
            secret.name.clone()
        } else {
            format!("{} ({})", secret.name, notes.join(", "))
        }
    };
    secrets.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Describes the limits: `10/s, 4 attempts at once, 15 s for one; in order`.
fn limits(endpoint: &Endpoint) -> String {
    let mut parts = Vec::new();
    parts.extend(endpoint.rate.clone());
    let concurrency = endpoint.concurrency;
    parts.extend(concurrency.map(|most| format!("{} at once", term::counted(most, "attempt"))));
    parts.extend(
        endpoint
            .timeout
            .map(|seconds| format!("{seconds} s for an attempt")),
    );
    if endpoint.ordered {
        let pauses = if endpoint.on_dead == "pause" {
            ", and a pause after an event that failed for good"
        } else {
            ""
        };
        parts.push(format!("in order{pauses}"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests;
