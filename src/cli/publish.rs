//! `hookgate publish`: publishes an event, and repeats a call without an answer with the same key.
use std::path::Path;
use std::time::{Duration, Instant};

use clap::builder::NonEmptyStringValueParser;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_client::{OutboundArgs, OutboundClient, Reply, Request, Right, within};
use crate::cli::policy::quoted;
use crate::cli::term::{self, BOLD, Look, Sign};
use crate::clock::{Clock as _, SystemClock};
use crate::random;
use crate::upstream::fetch::FetchError;

mod plan;

/// The time for which a call is repeated.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first wait before a call is repeated; each next one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Arguments of `publish`.
#[derive(Debug, clap::Args)]
pub(super) struct PublishArgs {
    /// The tenant whose endpoints get the event.
    #[arg(long, value_name = "TENANT", value_parser = NonEmptyStringValueParser::new())]
    tenant: String,
    /// The type, such as invoice.paid.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// The data: JSON, or `@FILE`, or `-` for stdin. Endpoints get these bytes as they are.
    #[arg(long, value_name = "JSON|@FILE|-")]
    data: String,
    /// The key of the event, 1 to 256 visible ASCII characters (default: a new one). With the same key the event is published only once.
    #[arg(long, value_name = "KEY")]
    id: Option<String>,
    /// The version of the type that the data has (default: the latest one).
    #[arg(long, value_name = "N")]
    version: Option<u16>,
    /// The time of the event, as RFC 3339 (default: now).
    #[arg(long, value_name = "TIME")]
    timestamp: Option<String>,
    /// Publishes nothing, and says which endpoints would get the event.
    #[arg(long)]
    dry_run: bool,
    /// Prints a JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    outbound: OutboundArgs,
}

/// The body of a publish.
#[derive(Debug, Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u16>,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    data: &'a RawValue,
}

/// An event that is stored, as the API says it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Published {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    version: u64,
    targets: u64,
    accepted_at: String,
    repeated: bool,
    /// The faults of the event that the config lets pass.
    warnings: Vec<plan::Warning>,
}

/// Runs `publish`.
pub(super) fn publish(args: &PublishArgs) -> Result<Exit, Error> {
    let client = args.outbound.client()?;
    let text = data(&args.data)?;
    let data = json(&text)?;
    let key = args
        .id
        .clone()
        .unwrap_or_else(|| format!("cli-{:032x}", random::wide()));
    let body = serde_json::to_vec(&Body {
        event_type: &args.event_type,
        version: args.version,
        id: &key,
        timestamp: args.timestamp.as_deref(),
        data,
    })
    .map_err(|error| Error::no("the request cannot be written as JSON").cause(error))?;
    let events = within(&args.tenant, &["events"]);
    let request = Request {
        right: Right::Publish,
        method: Method::POST,
        target: if args.dry_run {
            format!("{events}?dry_run=true")
        } else {
            events
        },
        body: body.into(),
    };
    let began = SystemClock.mono();
    let reply = context::block_on(send(&client, &request, &key, began))??;
    if !reply.status.is_success() {
        return Err(client.refused(&request.target, &reply));
    }
    if args.json {
        term::print_line(String::from_utf8_lossy(&reply.body).trim_end())?;
        return Ok(Exit::DONE);
    }
    let look = Look::of_stdout();
    if args.dry_run {
        let planned: plan::Planned = client.parse(&reply.body)?;
        term::print(&planned.render(&look))?;
        planned.warnings.iter().for_each(plan::Warning::say);
        term::say(&planned.foot());
        return Ok(Exit::DONE);
    }
    let published: Published = client.parse(&reply.body)?;
    let took = SystemClock.mono().saturating_duration_since(began);
    term::print_line(&published.render(took, &look))?;
    published.warnings.iter().for_each(plan::Warning::say);
    term::say(&format!(
        "next: hookgate events show {} {}{}",
        term::clean(&quoted(&args.tenant)),
        term::clean(&published.id),
        client.options()
    ));
    Ok(Exit::DONE)
}

/// Reads the data that an option names: JSON, `@FILE`, or `-`.
///
/// # Errors
/// The file cannot be read, or its text is not UTF-8.
pub(super) fn data(option: &str) -> Result<String, Error> {
    let path = match option.strip_prefix('@') {
        Some(path) => path,
        None if option == "-" => option,
        None => return Ok(option.to_owned()),
    };
    let bytes = context::read(Path::new(path), "the data")?;
    String::from_utf8(bytes)
        .map_err(|_| Error::usage("the data is not UTF-8, so it cannot be JSON").at(path))
}

/// Parses data. An error repeats none of it.
///
/// # Errors
/// The text is not JSON.
pub(super) fn json(text: &str) -> Result<&RawValue, Error> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Error::usage("the data is not JSON")
            .why(format!("see line {line}, column {column}"))
            .hint("--data '{\"id\": \"in_1\"}', --data @FILE, or --data - for stdin")
    })
}

/// Sends a publish until there is an answer that a repetition cannot change.
async fn send(
    client: &OutboundClient,
    request: &Request,
    key: &str,
    began: Instant,
) -> Result<Reply, Error> {
    let (mut wait, mut may_be_stored) = (FIRST_WAIT, false);
    loop {
        let sent = client.send(request).await?;
        let (error, retry_after) = match sent {
            Ok(reply) if !can_repeat(reply.status) => return Ok(reply),
            Ok(reply) => (client.refused(&request.target, &reply), reply.retry_after),
            Err(error @ (FetchError::Url | FetchError::Unusable(_))) => {
                return Err(client.unreached(&error));
            }
            // nothing listens there, and nothing was sent before
            Err(error @ FetchError::Unreached(_)) if !may_be_stored => {
                return Err(client.unreached(&error));
            }
            Err(error) => (client.unreached(&error), None),
        };
        may_be_stored = true;
        let pause = retry_after.unwrap_or_default().max(wait);
        let spent = SystemClock.mono().saturating_duration_since(began);
        if spent + pause > PATIENCE {
            return Err(given_up(error, key));
        }
        term::say(&format!(
            "{}; the publish is repeated with the same key in {}",
            term::clean(&error.message),
            term::took(pause.as_secs_f64())
        ));
        tokio::time::sleep(pause).await;
        wait *= 2;
    }
}

/// Returns the error of a publish whose outcome is not known.
fn given_up(error: Error, key: &str) -> Error {
    let reason = match &error.why {
        Some(why) => format!("{}: {why}", error.message),
        None => error.message.clone(),
    };
    Error {
        message: "the event may be published, or not: there was no final answer".to_owned(),
        why: Some(reason.into()),
        ..error
    }
    .hint(format!(
        "the same command with --id {}: it publishes the event only once",
        quoted(key)
    ))
}

/// Returns whether the same publish can get another answer later.
fn can_repeat(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

impl Published {
    /// Renders the answer: `✓ msg_…   invoice.paid 2, 3 endpoints, on disk in 2 ms`.
    fn render(&self, took: Duration, look: &Look) -> String {
        let end = if self.repeated {
            let at = term::moment(&self.accepted_at);
            let at = at.map_or_else(String::new, |at| {
                format!(" at {}", look.time(at, context::now()))
            });
            format!("published before{at}")
        } else {
            format!("on disk in {}", term::took(took.as_secs_f64()))
        };
        let sign = if self.repeated || self.targets == 0 {
            Sign::Warning
        } else {
            Sign::Good
        };
        let targets = match self.targets {
            0 => "no endpoint wants it".to_owned(),
            some => term::counted(some, "endpoint"),
        };
        format!(
            "{} {BOLD}{}{BOLD:#}   {} {}, {targets}, {end}",
            look.sign(sign),
            term::clean(&self.id),
            term::clean(&self.event_type),
            self.version,
        )
    }
}

#[cfg(test)]
mod tests;
