//! `hookgate endpoints pause` and `resume`.
use clap::ValueEnum;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::job::follow;
use super::name::EndpointName;
use crate::cli::context;
use crate::cli::deliveries::confirm::ConfirmArgs;
use crate::cli::deliveries::filter_args::{When, when};
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_client::OutboundClient;
use crate::cli::term::{self, BOLD, Look, Sign};

/// Arguments of `endpoints pause`.
#[derive(Debug, clap::Args)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    name: EndpointName,
    /// The reason, for the audit log.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Prints a JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `endpoints resume`.
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    name: EndpointName,
    /// The events that are sent: `all` that wait, those accepted `since` a time, or `none`. The others are cancelled.
    #[arg(
        long,
        value_name = "WHICH",
        default_value = "all",
        hide_possible_values = true
    )]
    waiting: Waiting,
    /// With --waiting since: an age such as 2h, or a time such as 2026-11-23T09:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = when)]
    since: Option<When>,
    #[command(flatten)]
    confirm: ConfirmArgs,
    /// Prints the plan and stops.
    #[arg(long)]
    dry_run: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// The events that are sent after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Waiting {
    All,
    Since,
    None,
}

/// The request to resume an endpoint.
#[derive(Debug, Serialize)]
struct Resume {
    waiting: Waiting,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// The plan of a resume, as the API gives it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Plan {
    /// The events that are sent.
    count: u64,
    /// The events that are cancelled.
    cancelled: u64,
}

/// Runs `endpoints pause`.
pub(super) async fn pause(client: &OutboundClient, args: &PauseArgs) -> Result<Exit, Error> {
    let target = args.name.target(&["pause"]);
    let body = json!({ "reason": args.reason });
    let json: Box<RawValue> = client.change(Method::POST, &target, &body).await?;
    if args.json {
        term::print_line(json.get())?;
        return Ok(Exit::DONE);
    }
    let sign = Look::of_stdout().sign(Sign::Good);
    term::print_line(&format!(
        "{sign} endpoint {BOLD}{}{BOLD:#} is paused; its events wait",
        term::clean(&args.name.endpoint)
    ))?;
    term::say(&format!(
        "next: hookgate endpoints resume {}{}",
        args.name.words(),
        client.options()
    ));
    Ok(Exit::DONE)
}

/// Runs `endpoints resume`.
pub(super) async fn resume(client: &OutboundClient, args: &ResumeArgs) -> Result<Exit, Error> {
    let target = args.name.target(&["resume"]);
    let mut order = Resume {
        waiting: args.waiting,
        since: args.since.map(|when| when.text(context::now())),
        dry_run: true,
        reason: args.confirm.reason.clone().unwrap_or_default(),
    };
    let planned: Box<RawValue> = client.change(Method::POST, &target, &order).await?;
    let plan: Plan = client.parse(planned.get().as_bytes())?;
    if args.json && args.dry_run {
        term::print_line(planned.get())?;
    } else {
        term::say(&described(&args.name.endpoint, &order, plan));
    }
    if args.dry_run {
        return Ok(Exit::DONE);
    }
    let affected = plan.count.saturating_add(plan.cancelled);
    if affected > 1 || plan.cancelled > 0 {
        order.reason = args.confirm.ask(affected)?;
    }
    order.dry_run = false;
    client
        .change::<Box<RawValue>>(Method::POST, &target, &order)
        .await?;
    follow(client, &args.name, args.json).await
}

/// Describes what a resume does: `plan: resumes main: sends 1,030 waiting events, cancels 34 accepted before …`.
fn described(endpoint: &str, order: &Resume, plan: Plan) -> String {
    let cancels = match &order.since {
        _ if plan.cancelled == 0 => String::new(),
        Some(since) => format!(
            ", cancels {} accepted before {}",
            term::count(plan.cancelled),
            term::clean(since)
        ),
        None => format!(", cancels {}", term::count(plan.cancelled)),
    };
    format!(
        "plan: resumes {BOLD}{}{BOLD:#}: sends {}{cancels}",
        term::clean(endpoint),
        term::counted(plan.count, "waiting event")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_says_what_is_sent_and_cancelled() {
        let described = |waiting, since: Option<&str>, count, cancelled| {
            let order = Resume {
                waiting,
                since: since.map(str::to_owned),
                dry_run: true,
                reason: String::new(),
            };
            let text = described("main", &order, Plan { count, cancelled });
            anstream::adapter::strip_str(&text).to_string()
        };
        assert_eq!(
            described(Waiting::All, None, 1030, 0),
            "plan: resumes main: sends 1,030 waiting events"
        );
        assert_eq!(
            described(Waiting::Since, Some("2026-11-21T09:00:00.000Z"), 1, 34),
            "plan: resumes main: sends 1 waiting event, cancels 34 accepted before 2026-11-21T09:00:00.000Z"
        );
        assert_eq!(
            described(Waiting::None, None, 0, 1030),
            "plan: resumes main: sends 0 waiting events, cancels 1,030"
        );
    }
}
