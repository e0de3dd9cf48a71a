//! `hookgate endpoints recover`: sends events again that failed, or for the first time those that the endpoint missed.
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::job::follow;
use super::name::EndpointName;
use super::shown::time;
use crate::cli::context;
use crate::cli::deliveries::confirm::ConfirmArgs;
use crate::cli::deliveries::filter_args::{When, when};
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_client::OutboundClient;
use crate::cli::table::cut;
use crate::cli::term::{self, BOLD, Look};
use crate::units;

/// The number of types that a plan names.
const MAX_TYPES: usize = 6;

/// Arguments of `endpoints recover`.
#[derive(Debug, clap::Args)]
pub(super) struct RecoverArgs {
    #[command(flatten)]
    name: EndpointName,
    /// The events: `failed` (attempts exhausted or cancelled), `missing` (published while the endpoint was not there), or `both`.
    #[arg(
        long,
        value_name = "WHICH",
        required_unless_present = "id",
        conflicts_with = "id",
        hide_possible_values = true
    )]
    what: Option<What>,
    /// An event, `msg_…`; may be repeated.
    #[arg(long, value_name = "EVENT", value_delimiter = ',')]
    id: Vec<String>,
    /// Only events accepted at or after this time: an age such as 5d, or a time such as 2026-11-16T09:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = when, required_unless_present = "id", conflicts_with = "id")]
    since: Option<When>,
    /// Only events accepted before this time: an age, or a time.
    #[arg(long, value_name = "TIME", value_parser = when, conflicts_with = "id")]
    until: Option<When>,
    /// Only events of these types: `invoice.paid`, `invoice.*`.
    #[arg(
        long,
        value_name = "TYPE,…",
        value_delimiter = ',',
        conflicts_with = "id"
    )]
    types: Vec<String>,
    /// The rate of attempts, in whole events a second.
    #[arg(long, value_name = "RATE", default_value = "20/s", value_parser = rate)]
    rate: Rate,
    /// Stops after this many failures in a row.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    stop_after: u32,
    #[command(flatten)]
    confirm: ConfirmArgs,
    /// Prints the plan and stops.
    #[arg(long)]
    dry_run: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// The kind of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    Failed,
    Missing,
    Both,
}

/// A rate in whole events a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct Rate(u32);

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

/// Parses a rate in whole events a second.
fn rate(text: &str) -> Result<Rate, String> {
    let rate = units::rate(text).map_err(|why| why.to_string())?;
    if rate.per == Duration::from_secs(1) {
        return Ok(Rate(rate.count.get()));
    }
    Err("write events a second, such as `20/s`".to_owned())
}

/// The request of a recovery.
#[derive(Debug, Serialize)]
struct Recover {
    what: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<String>,
    rate: Rate,
    stop_after: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

/// The plan of a recovery, as the API gives it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Plan {
    count: u64,
    /// Whether there may be more.
    more: bool,
    /// The events that the endpoint has never got.
    missing: u64,
    types: BTreeMap<String, u64>,
    first: Option<String>,
    last: Option<String>,
}

/// Runs `endpoints recover`.
pub(super) async fn recover(client: &OutboundClient, args: &RecoverArgs) -> Result<Exit, Error> {
    let now = context::now();
    let mut order = args.order(now);
    let target = args.name.target(&["recover"]);
    let json: Box<RawValue> = client.change(Method::POST, &target, &order).await?;
    let plan: Plan = client.parse(json.get().as_bytes())?;
    if args.json && args.dry_run {
        term::print_line(json.get())?;
    } else {
        let look = Look::of_stdout();
        term::say(
            plan.render(&args.name.endpoint, &order, now, &look)
                .trim_end(),
        );
    }
    if args.dry_run {
        return Ok(Exit::DONE);
    }
    if plan.count == 0 {
        if args.json {
            term::print_line(json.get())?;
        }
        term::say(order.nothing_found());
        return Ok(Exit::DONE);
    }
    order.reason = args.confirm.ask(plan.count)?;
    order.dry_run = false;
    client
        .change::<Box<RawValue>>(Method::POST, &target, &order)
        .await?;
    follow(client, &args.name, args.json).await
}

impl RecoverArgs {
    /// Returns the request for the plan. Ages are counted from `now`, so that plan and recovery are about the same events.
    fn order(&self, now: SystemTime) -> Recover {
        Recover {
            what: match self.what {
                Some(What::Failed) => "failed",
                Some(What::Missing) => "missing",
                Some(What::Both) => "both",
                None => "ids",
            },
            ids: self.id.clone(),
            since: self.since.map(|when| when.text(now)),
            until: self.until.map(|when| when.text(now)),
            types: self.types.clone(),
            rate: self.rate,
            stop_after: self.stop_after,
            dry_run: true,
            reason: self.confirm.reason.clone().unwrap_or_default(),
        }
    }
}

impl Recover {
    /// Returns the line about a plan without events.
    fn nothing_found(&self) -> &'static str {
        match self.what {
            "failed" => {
                "there is nothing to recover: no such event is dead or cancelled. Events that wait are sent without it"
            }
            "missing" => {
                "there is nothing to recover: each such event was delivered, or still waits for an attempt"
            }
            _ => "there is nothing to recover",
        }
    }
}

impl Plan {
    /// Renders the plan: the number of events, the pace, the types.
    fn render(&self, endpoint: &str, order: &Recover, now: SystemTime, look: &Look) -> String {
        let kind = match order.what {
            "both" | "ids" => String::new(),
            other => format!("{other} "),
        };
        let at = |text: &Option<String>| text.as_deref().map(|text| time(text, now, look));
        let span = match (at(&self.first), at(&self.last)) {
            (Some(first), Some(last)) if first != last => format!(", {first} to {last}"),
            (Some(one), _) | (None, Some(one)) => format!(", {one}"),
            (None, None) => String::new(),
        };
        let word = if self.count == 1 { "event" } else { "events" };
        let least = if self.more { "at least " } else { "" };
        let parts = if order.what == "both" && self.count > 0 {
            format!(
                ": {} failed, {} missing",
                term::count(self.count.saturating_sub(self.missing)),
                term::count(self.missing)
            )
        } else {
            String::new()
        };
        let mut text = format!(
            "plan: {least}{BOLD}{} {kind}{word}{BOLD:#} for {}{span}{parts}\n",
            term::count(self.count),
            term::clean(endpoint)
        );
        let left = Duration::from_secs(self.count.div_ceil(u64::from(order.rate.0).max(1)));
        let stops = match order.stop_after {
            1 => "the first failure".to_owned(),
            many => format!("{} failures in a row", term::count(many.into())),
        };
        text.push_str(&format!(
            "      {}, about {}; new retry budget; stops after {stops}\n",
            order.rate,
            term::age(left)
        ));
        let room = look
            .width
            .map_or(usize::MAX, |width| width.saturating_sub(6));
        let types = self.types();
        if !types.is_empty() {
            text.push_str(&format!("      {}\n", cut(&types, room, look)));
        }
        text
    }

    /// Renders the types, the most frequent first: `invoice.paid 811, invoice.voided 393`.
    fn types(&self) -> String {
        let mut types: Vec<(&String, u64)> = self
            .types
            .iter()
            .map(|(kind, count)| (kind, *count))
            .collect();
        types.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
        let rest: u64 = types.iter().skip(MAX_TYPES).map(|(_, count)| count).sum();
        let named = types
            .iter()
            .take(MAX_TYPES)
            .map(|(kind, count)| format!("{} {}", term::clean(kind), term::count(*count)));
        let others = (rest > 0).then(|| format!("others {}", term::count(rest)));
        named.chain(others).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_fits_100_columns() {
        let types = [("invoice.paid", 811), ("invoice.voided", 393)];
        let plan = Plan {
            count: 1204,
            more: false,
            missing: 34,
            types: types.map(|(kind, count)| (kind.to_owned(), count)).into(),
            first: Some("2026-11-16T09:14:00Z".to_owned()),
            last: Some("2026-11-21T09:14:00Z".to_owned()),
        };
        let order = Recover {
            what: "both",
            ids: Vec::new(),
            since: None,
            until: None,
            types: Vec::new(),
            rate: rate("20/s").unwrap(),
            stop_after: 5,
            dry_run: true,
            reason: String::new(),
        };
        let look = Look {
            width: Some(100),
            utf8: true,
            zone: jiff::tz::TimeZone::UTC,
        };
        let now = term::moment("2026-11-21T13:00:00Z").unwrap();
        let text = plan.render("ep_9D1C", &order, now, &look);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            plain,
            "plan: 1,204 events for ep_9D1C, 16 Nov 09:14 to 09:14:00: 1,170 failed, 34 missing\n      20/s, about 1 m; new retry budget; stops after 5 failures in a row\n      invoice.paid 811, invoice.voided 393\n"
        );
    }

    #[test]
    fn rate_is_in_events_a_second() {
        assert_eq!(rate("20/s"), Ok(Rate(20)));
        assert!(rate("30/m").is_err() && rate("20").is_err());
        assert_eq!(Rate(20).to_string(), "20/s");
    }
}
