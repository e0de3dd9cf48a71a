//! `hookgate deliveries replay`: one delivery at once, many after a plan, by a job in the gateway that this command watches.
use std::time::Duration;

use super::list::json;
use super::plan;
use super::watch::{self, watch};
use crate::api::actions::{Replay, ReplayBegun, ReplayState, Resume};
use crate::api::deliveries::{Order, Plan, ReplayMany, ReplayOne, Replayed};
use crate::cli::admin_client::{AdminClient, escaped};
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::deliveries::confirm::ConfirmArgs;
use crate::cli::deliveries::filter_args::FilterArgs;
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, Look, Sign};
use crate::units;

/// The longest time to wait for a replay to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `deliveries replay`.
#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// One delivery: the provider's ID of it, or the gateway's. It is replayed at once.
    #[arg(value_name = "ID", conflicts_with_all = ["route", "state", "since", "until", "delivery_id", "event_type", "text"])]
    one: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// The rate of deliveries, if a filter finds several (default: 20/s).
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    /// Stops after this many failures in a row; 0: never.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    stop_after: u32,
    /// Also replays deliveries that were delivered: the app receives them twice.
    #[arg(long)]
    include_delivered: bool,
    /// Also replays a delivery if another one with its ID was delivered, or is pending.
    #[arg(long)]
    bypass_dedupe: bool,
    /// Replays the newest first.
    #[arg(long)]
    newest: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
    /// Prints the plan and stops.
    #[arg(long)]
    dry_run: bool,
    /// Resumes a replay that stopped or was stopped.
    #[arg(long, value_name = "REPLAY", conflicts_with_all = ["one", "stop"])]
    resume: Option<String>,
    /// Stops a running replay.
    #[arg(long, value_name = "REPLAY", conflicts_with = "one")]
    stop: Option<String>,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Parses a rate, in deliveries a second.
fn rate(text: &str) -> Result<f64, String> {
    let rate = units::rate(text).map_err(|why| why.to_string())?;
    Ok(f64::from(rate.count.get()) / rate.per.as_secs_f64())
}

/// Runs `deliveries replay`.
pub(super) fn replay(gate: &GateArgs, args: &ReplayArgs) -> Result<Exit, Error> {
    let client = gate.client()?;
    if let Some(id) = &args.stop {
        return context::block_on(stop(&client, id))?
            .and_then(|stopped| finish(&stopped, args.json, client.options()))
            .map(|_| Exit::DONE);
    }
    if let Some(id) = &args.resume {
        let begun: Replay = context::block_on(client.post(
            &format!("/-/replays/{}/resume", escaped(id)),
            &Resume { rate: args.rate },
        ))??;
        return follow(&client, &begun.id, args.json);
    }
    if let Some(id) = &args.one {
        return one(&client, id, args);
    }
    if args.filter.is_empty() {
        return Err(Error::usage("no deliveries are selected")
            .hint("give an ID, or a filter such as --route ROUTE or --state dead"));
    }
    many(&client, args)
}

/// Stops a replay, and waits for its current delivery.
async fn stop(client: &AdminClient, id: &str) -> Result<Replay, Error> {
    let asked = client
        .post::<Replay>(
            &format!("/-/replays/{}/stop", escaped(id)),
            &serde_json::json!({}),
        )
        .await?;
    if asked.state != ReplayState::Running {
        return Ok(asked);
    }
    // if that one takes long, the result is the state of the replay before
    tokio::time::timeout(STOP_TIMEOUT, watch(client, id))
        .await
        .unwrap_or(Ok(asked))
}

fn one(client: &AdminClient, id: &str, args: &ReplayArgs) -> Result<Exit, Error> {
    let order = ReplayOne {
        reason: args.confirm.reason.clone().unwrap_or_default(),
        include_delivered: args.include_delivered,
        bypass_dedupe: args.bypass_dedupe,
    };
    if args.dry_run {
        return Err(Error::usage("the replay of one delivery has no plan")
            .hint("hookgate deliveries show ID"));
    }
    let replayed: Replayed =
        context::block_on(client.post(&format!("/-/deliveries/{}/replay", escaped(id)), &order))??;
    if args.json {
        term::print_line(&json(&replayed)?)?;
    } else if replayed.done > 0 {
        term::print_line(&format!(
            "{} {} is replayed",
            Look::of_stdout().sign(Sign::Good),
            term::clean(id)
        ))?;
        term::say(&format!(
            "next: hookgate deliveries show {}{}",
            term::clean(&replayed.id),
            client.options()
        ));
    } else {
        let why = "it is pending already, or it was delivered, or another one with its ID was";
        term::print_line(&format!(
            "{} {} is not replayed: {why}",
            Look::of_stdout().sign(Sign::Warning),
            term::clean(id)
        ))?;
        term::say("--include-delivered and --bypass-dedupe replay it anyway");
    }
    Ok(if replayed.done > 0 {
        Exit::DONE
    } else {
        Exit::NO
    })
}

fn many(client: &AdminClient, args: &ReplayArgs) -> Result<Exit, Error> {
    let now = context::now();
    let mut order = ReplayMany {
        filter: args.filter.to_filter(now),
        dry_run: true,
        rate: args.rate.unwrap_or(ReplayMany::default().rate),
        stop_after: args.stop_after,
        reason: String::new(),
        bypass_dedupe: args.bypass_dedupe,
        include_delivered: args.include_delivered,
        order: if args.newest {
            Order::Newest
        } else {
            Order::Oldest
        },
    };
    let planned: Plan = context::block_on(client.post("/-/deliveries/replay", &order))??;
    if args.json && args.dry_run {
        term::print_line(&json(&planned)?)?;
    } else {
        let first = if args.newest {
            "newest first"
        } else {
            "oldest first"
        };
        term::say(
            plan::render(
                &planned,
                &order.filter,
                first,
                &[description(&order, planned.count)],
                now,
                &Look::of_stdout(),
            )
            .trim_end(),
        );
    }
    if args.dry_run || planned.count == 0 {
        return Ok(Exit::DONE);
    }
    order.reason = args.confirm.ask(planned.count)?;
    order.dry_run = false;
    let begun: ReplayBegun = context::block_on(client.post("/-/deliveries/replay", &order))??;
    follow(client, &begun.id, args.json)
}

/// Describes a replay: `20/s, about 1 m; new retry budget; stops after 5 failures in a row; skips duplicates`.
fn description(order: &ReplayMany, count: u64) -> String {
    let stops = match order.stop_after {
        0 => "does not stop on failures".to_owned(),
        1 => "stops after the first failure".to_owned(),
        many => format!("stops after {many} failures in a row"),
    };
    let dedupe = if order.bypass_dedupe {
        "does not skip duplicates"
    } else {
        "skips duplicates"
    };
    let delivered = if order.include_delivered {
        "; includes delivered ones"
    } else {
        ""
    };
    format!(
        "{}, about {}; new retry budget; {stops}; {dedupe}{delivered}",
        watch::rate(order.rate),
        watch::left(count, order.rate)
    )
}

/// Watches a replay to its end. Ctrl-C ends only the watching.
fn follow(client: &AdminClient, id: &str, as_json: bool) -> Result<Exit, Error> {
    let watched = context::block_on(async {
        tokio::select! {
            replay = watch(client, id) => replay.map(Some),
            signal = context::interrupted() => signal.map(|()| None),
        }
    })??;
    match watched {
        Some(replay) => finish(&replay, as_json, client.options()),
        None => {
            term::say(&format!(
                "\nthe replay continues in the gateway; to stop it: hookgate deliveries replay --stop {}{}",
                term::clean(id),
                client.options()
            ));
            Ok(Exit::INTERRUPTED)
        }
    }
}

fn finish(replay: &Replay, as_json: bool, options: &str) -> Result<Exit, Error> {
    if as_json {
        term::print_line(&json(replay)?)?;
    } else {
        term::print_line(&watch::end(replay, &Look::of_stdout()))?;
        if let Some(next) = watch::next(replay) {
            term::say(&format!("{next}{options}"));
        }
    }
    Ok(watch::exit(replay))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::deliveries::tests::fake_gateway as fake;

    #[test]
    fn plan_fits_100_columns() {
        let order = ReplayMany {
            filter: fake::filter(),
            stop_after: 5,
            ..ReplayMany::default()
        };
        let planned = fake::plan();
        let text = plan::render(
            &planned,
            &order.filter,
            "oldest first",
            &[description(&order, planned.count)],
            fake::now(),
            &fake::look(),
        );
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert!(
            plain.lines().all(|line| line.chars().count() <= 100),
            "{plain}"
        );
        insta::assert_snapshot!("plan_plain", plain);
        insta::assert_snapshot!("plan_coloured", text.replace('\x1b', "^"));
    }

    #[test]
    fn rate_is_in_deliveries_a_second() {
        assert_eq!((rate("20/s"), rate("30/m")), (Ok(20.0), Ok(0.5)));
        assert!(rate("20").is_err());
    }
}
