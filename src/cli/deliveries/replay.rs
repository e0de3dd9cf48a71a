//! `hookgate deliveries replay`: one at once, many after a plan, by a job in the gate that is watched from here.
use std::time::Duration;

use super::list::json;
use super::watch::{self, watch};
use super::{escaped, plan};
use crate::api::actions::{Replay, ReplayBegun, ReplayState, Resume};
use crate::api::deliveries::{Order, Plan, ReplayMany, ReplayOne, Replayed};
use crate::cli::ask::{Door, GateArgs};
use crate::cli::context;
use crate::cli::deliveries::confirm::Sure;
use crate::cli::deliveries::filter_args::Which;
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, Look, Sign};
use crate::units;

/// How long a replay that is told to stop is waited for.
const STOPS: Duration = Duration::from_secs(5);

/// Arguments of `deliveries replay`.
#[derive(Debug, clap::Args)]
pub(super) struct ReplayArgs {
    /// One delivery: the provider's ID of it, or its ID here. It goes at once.
    #[arg(value_name = "ID", conflicts_with_all = ["route", "state", "since", "until", "delivery_id", "event_type", "text"])]
    one: Option<String>,
    #[command(flatten)]
    which: Which,
    /// So many deliveries in so long, of those that a filter finds (default: 20/s).
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<f64>,
    /// Stops after so many failures in a row; 0: never.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    stop_after: u32,
    /// Also replays deliveries that were delivered: your app receives them again.
    #[arg(long)]
    include_delivered: bool,
    /// Also those whose ID another delivery has that was handed on, or waits.
    #[arg(long)]
    bypass_dedupe: bool,
    /// Newest first.
    #[arg(long)]
    newest: bool,
    #[command(flatten)]
    sure: Sure,
    /// Prints the plan and stops.
    #[arg(long)]
    dry_run: bool,
    /// Goes on with a replay that stopped or was stopped.
    #[arg(long, value_name = "REPLAY", conflicts_with_all = ["one", "stop"])]
    resume: Option<String>,
    /// Stops a replay that runs.
    #[arg(long, value_name = "REPLAY", conflicts_with = "one")]
    stop: Option<String>,
    /// Prints what it came to as JSON.
    #[arg(long)]
    json: bool,
}

/// Deliveries a second.
fn rate(text: &str) -> Result<f64, String> {
    let rate = units::rate(text).map_err(|why| why.to_string())?;
    Ok(f64::from(rate.count.get()) / rate.per.as_secs_f64())
}

/// Runs `deliveries replay`.
pub(super) fn replay(gate: &GateArgs, args: &ReplayArgs) -> Result<Exit, Error> {
    let door = gate.door()?;
    if let Some(id) = &args.stop {
        return context::block_on(stop(&door, id))?
            .and_then(|stopped| finish(&stopped, args.json))
            .map(|_| Exit::DONE);
    }
    if let Some(id) = &args.resume {
        let begun: Replay = context::block_on(door.post(
            &format!("/-/replays/{}/resume", escaped(id)),
            &Resume { rate: args.rate },
        ))??;
        return go_on(&door, &begun.id, args.json);
    }
    if let Some(id) = &args.one {
        return one(&door, id, args);
    }
    if args.which.is_empty() {
        return Err(Error::usage("nothing says which deliveries")
            .hint("an ID, or --route ROUTE, --state dead, …"));
    }
    many(&door, args)
}

/// Stops a replay, and waits for the delivery that it is at.
async fn stop(door: &Door, id: &str) -> Result<Replay, Error> {
    let asked = door
        .post::<Replay>(
            &format!("/-/replays/{}/stop", escaped(id)),
            &serde_json::json!({}),
        )
        .await?;
    if asked.state != ReplayState::Running {
        return Ok(asked);
    }
    // if that one takes long, what is known then is told
    tokio::time::timeout(STOPS, watch(door, id))
        .await
        .unwrap_or(Ok(asked))
}

fn one(door: &Door, id: &str, args: &ReplayArgs) -> Result<Exit, Error> {
    let order = ReplayOne {
        reason: args.sure.reason.clone().unwrap_or_default(),
        include_delivered: args.include_delivered,
        bypass_dedupe: args.bypass_dedupe,
    };
    if args.dry_run {
        return Err(
            Error::usage("one delivery goes without a plan").hint("hookgate deliveries show ID")
        );
    }
    let replayed: Replayed =
        context::block_on(door.post(&format!("/-/deliveries/{}/replay", escaped(id)), &order))??;
    if args.json {
        term::print_line(&json(&replayed)?)?;
    } else if replayed.done > 0 {
        term::print_line(&format!(
            "{} {} goes again",
            Look::of_stdout().sign(Sign::Good),
            term::clean(id)
        ))?;
        term::say(&format!(
            "then: hookgate deliveries show {}",
            term::clean(&replayed.id)
        ));
    } else {
        let why = "it waits already, or it was handed on, or another of its ID was";
        term::print_line(&format!(
            "{} {} stays as it is: {why}",
            Look::of_stdout().sign(Sign::Look),
            term::clean(id)
        ))?;
        term::say("--include-delivered and --bypass-dedupe send it even so");
    }
    Ok(if replayed.done > 0 {
        Exit::DONE
    } else {
        Exit::NO
    })
}

fn many(door: &Door, args: &ReplayArgs) -> Result<Exit, Error> {
    let now = super::now();
    let mut order = ReplayMany {
        filter: args.which.filter(now),
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
    let planned: Plan = context::block_on(door.post("/-/deliveries/replay", &order))??;
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
                &[manner(&order, planned.count)],
                now,
                &Look::of_stdout(),
            )
            .trim_end(),
        );
    }
    if args.dry_run || planned.count == 0 {
        return Ok(Exit::DONE);
    }
    order.reason = args.sure.ask(planned.count)?;
    order.dry_run = false;
    let begun: ReplayBegun = context::block_on(door.post("/-/deliveries/replay", &order))??;
    go_on(door, &begun.id, args.json)
}

/// `20/s, about 1 m; fresh retry budget; stops after 5 failures in a row; dedupe kept`
fn manner(order: &ReplayMany, count: u64) -> String {
    let stops = match order.stop_after {
        0 => "stops for no failure".to_owned(),
        1 => "stops after the first failure".to_owned(),
        many => format!("stops after {many} failures in a row"),
    };
    let dedupe = if order.bypass_dedupe {
        "dedupe bypassed"
    } else {
        "dedupe kept"
    };
    let delivered = if order.include_delivered {
        "; what was handed on goes again"
    } else {
        ""
    };
    format!(
        "{}, about {}; fresh retry budget; {stops}; {dedupe}{delivered}",
        watch::rate(order.rate),
        watch::left(count, order.rate)
    )
}

/// Watches a replay to its end; Ctrl-C ends the watching alone.
fn go_on(door: &Door, id: &str, as_json: bool) -> Result<Exit, Error> {
    let watched = context::block_on(async {
        tokio::select! {
            replay = watch(door, id) => replay.map(Some),
            signal = context::interrupted() => signal.map(|()| None),
        }
    })??;
    match watched {
        Some(replay) => finish(&replay, as_json),
        None => {
            term::say(&format!(
                "\nit goes on in the gate; to stop it: hookgate deliveries replay --stop {}",
                term::clean(id)
            ));
            Ok(Exit::INTERRUPTED)
        }
    }
}

fn finish(replay: &Replay, as_json: bool) -> Result<Exit, Error> {
    if as_json {
        term::print_line(&json(replay)?)?;
    } else {
        term::print_line(&watch::end(replay, &Look::of_stdout()))?;
        if let Some(next) = watch::next(replay) {
            term::say(&next);
        }
    }
    Ok(watch::exit(replay))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::deliveries::fake;

    #[test]
    fn a_plan_at_100_columns() {
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
            &[manner(&order, planned.count)],
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
    fn a_rate_is_deliveries_a_second() {
        assert_eq!((rate("20/s"), rate("30/m")), (Ok(20.0), Ok(0.5)));
        assert!(rate("20").is_err());
    }
}
