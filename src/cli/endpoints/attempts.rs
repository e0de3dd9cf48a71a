//! `hookgate endpoints attempts` and `test`.
use http::Method;
use serde::Serialize;
use serde_json::value::RawValue;

use super::name::EndpointName;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_attempts::{self, Attempt, Of};
use crate::cli::outbound_client::OutboundClient;
use crate::cli::outbound_list::{ListArgs, foot};
use crate::cli::publish;
use crate::cli::term::{self, Look, Sign};

/// Arguments of `endpoints attempts`.
#[derive(Debug, clap::Args)]
pub(super) struct AttemptsArgs {
    #[command(flatten)]
    name: EndpointName,
    #[command(flatten)]
    list: ListArgs,
    /// Prints times in UTC also on a terminal.
    #[arg(long)]
    utc: bool,
}

/// Arguments of `endpoints test`.
#[derive(Debug, clap::Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    name: EndpointName,
    /// The type of the event (default: `hookgate.test`, which nobody can publish).
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// The version of the type.
    #[arg(long, value_name = "N", requires = "event_type")]
    version: Option<u16>,
    /// The data: JSON, or `@FILE`, or `-` for stdin (default: an example).
    #[arg(long, value_name = "JSON|@FILE|-")]
    data: Option<String>,
    /// Prints a JSON object.
    #[arg(long)]
    json: bool,
}

/// The request of a test.
#[derive(Debug, Serialize)]
struct TestBody<'a> {
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

/// Runs `endpoints attempts`.
pub(super) async fn attempts(client: &OutboundClient, args: &AttemptsArgs) -> Result<Exit, Error> {
    let target = args.name.target(&["attempts"]);
    let found = args
        .list
        .get::<Attempt>(client, &target, "attempts")
        .await?;
    let Some(found) = found else {
        return Ok(Exit::DONE);
    };
    if !found.items.is_empty() {
        let look = Look::of_stdout_in(args.utc);
        let now = context::now();
        term::print(&outbound_attempts::render(
            &found.items,
            Of::Endpoint,
            now,
            &look,
        ))?;
    }
    term::say(&foot(&found, "attempt"));
    Ok(Exit::DONE)
}

/// Runs `endpoints test`.
pub(super) async fn test(client: &OutboundClient, args: &TestArgs) -> Result<Exit, Error> {
    let data = args.data.as_deref().map(publish::data).transpose()?;
    let body = TestBody {
        event_type: args.event_type.as_deref(),
        version: args.version,
        data: data.as_deref().map(publish::json).transpose()?,
    };
    let target = args.name.target(&["test"]);
    let json: Box<RawValue> = client.change(Method::POST, &target, &body).await?;
    let attempt: Attempt = client.parse(json.get().as_bytes())?;
    if args.json {
        term::print_line(json.get())?;
    } else {
        term::print_line(&tested(&attempt, &Look::of_stdout()))?;
    }
    Ok(if attempt.is_success() {
        Exit::DONE
    } else {
        Exit::NO
    })
}

/// Renders the outcome of a test: `✓ 200 in 31 ms`.
fn tested(attempt: &Attempt, look: &Look) -> String {
    let sign = if attempt.is_success() {
        Sign::Good
    } else {
        Sign::Bad
    };
    let detail = attempt.detail();
    let detail = if detail.is_empty() {
        detail
    } else {
        format!(": {detail}")
    };
    let style = attempt.style();
    format!(
        "{} {style}{}{style:#} in {}{detail}",
        look.sign(sign),
        attempt.outcome(),
        term::took(attempt.took)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcome_of_a_test_is_one_line() {
        let look = Look {
            width: None,
            utf8: true,
            zone: jiff::tz::TimeZone::UTC,
        };
        let plain =
            |attempt: &Attempt| anstream::adapter::strip_str(&tested(attempt, &look)).to_string();
        let good = Attempt {
            status: Some(204),
            took: 0.031,
            ..Attempt::default()
        };
        assert_eq!(plain(&good), "✓ 204 in 31 ms");
        let bad = Attempt {
            error: Some("unreached_refused".to_owned()),
            message: Some("hooks.acme.example refused the connection".to_owned()),
            took: 0.001,
            ..Attempt::default()
        };
        assert_eq!(
            plain(&bad),
            "✕ unreached_refused in 1 ms: hooks.acme.example refused the connection"
        );
    }
}
