//! `hookgate drain`: before a gate is stopped, has it take nothing more and deliver what is queued.
use std::path::PathBuf;
use std::time::Duration;

use crate::api::actions::{Drain, DrainRequest};
use crate::api::deliveries::DeliveryState;
use crate::cli::ask::{Door, GateArgs};
use crate::cli::context;
use crate::cli::deliveries::export::{self, deliveries};
use crate::cli::deliveries::filter_args::Which;
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, Look, Sign};
use crate::clock::{Clock as _, SystemClock};
use crate::units;

/// How often the gate is asked.
const EVERY: Duration = Duration::from_millis(200);
/// How often it is told that there is something left.
const TELL: Duration = Duration::from_secs(5);

/// Arguments of `drain`.
#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    /// How long to wait for what is queued.
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = duration)]
    timeout: Duration,
    /// Also attempts at once what waits for a later time, such as a retry in an hour.
    #[arg(long)]
    now: bool,
    /// Writes what is left then to this file as JSON lines, for its owner alone.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    #[command(flatten)]
    gate: GateArgs,
    /// Prints what is left as JSON.
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|why| why.to_string())
}

/// Runs `drain`.
pub(super) fn drain(args: &DrainArgs) -> Result<Exit, Error> {
    let door = args.gate.door()?;
    let waited = context::block_on(async {
        tokio::select! {
            left = wait(&door, args.timeout, args.now) => left.map(Some),
            signal = context::interrupted() => signal.map(|()| None),
        }
    })??;
    let Some(left) = waited else {
        term::say("the gate takes nothing more until it is started anew");
        return Ok(Exit::INTERRUPTED);
    };
    let is_done = is_done(&left);
    let exported = match &args.export {
        Some(path) if left.waiting > 0 => Some((
            path,
            export::waiting(&door, &Which::in_states(&WAITING), path)?,
        )),
        Some(_) | None => None,
    };
    if args.json {
        let count = exported.as_ref().map(|(_, count)| count);
        let line = serde_json::json!({ "waiting": left.waiting, "in_flight": left.in_flight, "dead": left.dead, "cancelled": left.cancelled, "exported": count });
        term::print_line(&line.to_string())?;
    } else {
        let written = exported.map(|(path, count)| {
            format!(
                "; {count} written to {}",
                term::clean(&path.display().to_string())
            )
        });
        term::print_line(&format!(
            "{}{}",
            said(&left, &Look::of_stdout()),
            written.unwrap_or_default()
        ))?;
        if !is_done {
            term::say("then: hookgate deliveries list --state pending,retrying,parked");
            if left.waiting > 0 && !args.now {
                term::say(
                    "  or: hookgate drain --now, which also attempts what waits for a later time",
                );
            }
        }
    }
    Ok(if is_done {
        Exit::DONE
    } else {
        Exit::UNFINISHED
    })
}

/// What still waits.
const WAITING: [DeliveryState; 3] = [
    DeliveryState::Pending,
    DeliveryState::Retrying,
    DeliveryState::Parked,
];

/// Until nothing is left, or the time is over; what is left.
async fn wait(door: &Door, most: Duration, now: bool) -> Result<Drain, Error> {
    let began = SystemClock.mono();
    let mut left: Drain = door
        .post("/-/drain", &DrainRequest { accept: false, now })
        .await?;
    let mut told = began;
    loop {
        let now = SystemClock.mono();
        if is_done(&left) || now.saturating_duration_since(began) >= most {
            return Ok(left);
        }
        if now.saturating_duration_since(told) >= TELL {
            told = now;
            term::say(&format!(
                "{} left, {} under way",
                deliveries(left.waiting),
                term::count(left.in_flight)
            ));
        }
        tokio::time::sleep(EVERY.min(most.saturating_sub(now.saturating_duration_since(began))))
            .await;
        left = door.get("/-/drain").await?;
    }
}

/// Whether nothing is left that would go out by itself. Requests under way may still become deliveries.
fn is_done(left: &Drain) -> bool {
    !left.accepting && left.waiting == 0 && left.in_flight == 0
}

fn said(left: &Drain, look: &Look) -> String {
    let kept: Vec<String> = [(left.dead, "dead"), (left.cancelled, "cancelled")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{} {state}", term::count(count)))
        .collect();
    let dead = match kept.as_slice() {
        [] => String::new(),
        kept => format!("; {} stay in the store", kept.join(" and ")),
    };
    if is_done(left) {
        return format!("{} nothing is left{dead}", look.sign(Sign::Good));
    }
    let mut parts = Vec::new();
    if left.waiting > 0 {
        parts.push(format!("{} left on the disk", deliveries(left.waiting)));
    }
    if left.in_flight > 0 {
        parts.push(format!("{} under way", term::count(left.in_flight)));
    }
    if left.accepting {
        parts.push("the gate still takes deliveries".to_owned());
    }
    format!("{} {}{dead}", look.sign(Sign::Bad), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::json;

    use super::*;
    use crate::cli::deliveries::fake::Fake;

    #[test]
    fn now_is_passed_on() {
        let gate = Fake::start(|_, _| {
            (
                200,
                json!({ "accepting": false, "waiting": 0, "in_flight": 0, "dead": 0, "cancelled": 0 }),
            )
        });
        assert_eq!(gate.run(&["drain", "--now"]), Exit::DONE);
        assert_eq!(
            gate.asked(),
            [(
                "POST /-/drain".to_owned(),
                json!({ "accept": false, "now": true })
            )]
        );
    }

    #[test]
    fn a_drain_leaves_later_times_alone_unless_told() {
        let gate = Fake::start(|_, _| {
            (
                200,
                json!({ "accepting": false, "waiting": 0, "in_flight": 0, "dead": 0, "cancelled": 0 }),
            )
        });
        assert_eq!(gate.run(&["drain"]), Exit::DONE);
        assert_eq!(
            gate.asked(),
            [("POST /-/drain".to_owned(), json!({ "accept": false }))]
        );
    }

    #[test]
    fn it_waits_until_nothing_is_left() {
        let left = AtomicU64::new(3);
        let gate = Fake::start(move |_, _| {
            let waiting = left.fetch_sub(1, Ordering::Relaxed).saturating_sub(1);
            (
                200,
                json!({ "accepting": false, "waiting": waiting, "in_flight": 0, "dead": 5, "cancelled": 0 }),
            )
        });
        assert_eq!(gate.run(&["drain"]), Exit::DONE);
        let asked = gate.asked();
        assert_eq!(
            asked[0],
            ("POST /-/drain".to_owned(), json!({ "accept": false }))
        );
        assert_eq!(asked.len(), 3);
    }

    #[test]
    fn what_is_left_is_exit_3_and_told() {
        let gate = Fake::start(|_, _| {
            (
                200,
                json!({ "accepting": false, "waiting": 12, "in_flight": 1, "dead": 0, "cancelled": 0 }),
            )
        });
        assert_eq!(gate.run(&["drain", "--timeout", "300ms"]), Exit::UNFINISHED);
        let left = Drain {
            accepting: false,
            waiting: 12,
            in_flight: 1,
            dead: 3,
            cancelled: 2,
        };
        let plain =
            anstream::adapter::strip_str(&said(&left, &crate::cli::deliveries::fake::look()))
                .to_string();
        assert_eq!(
            plain,
            "✕ 12 deliveries left on the disk, 1 under way; 3 dead and 2 cancelled stay in the store"
        );
        assert!(
            !is_done(&Drain {
                accepting: true,
                ..Drain::default()
            }),
            "a gate that takes more is not done"
        );
        assert!(
            !is_done(&Drain {
                in_flight: 1,
                ..Drain::default()
            }),
            "what is under way may still be queued"
        );
    }
}
