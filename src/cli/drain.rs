//! `hookgate drain`: stops accepting deliveries and delivers those in the queue, before the gateway is stopped.
use std::path::PathBuf;
use std::time::Duration;

use crate::api::actions::{Drain, DrainRequest};
use crate::api::deliveries::DeliveryState;
use crate::cli::admin_client::AdminClient;
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::deliveries::export::{self, deliveries};
use crate::cli::deliveries::filter_args::FilterArgs;
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, Look, Sign};
use crate::clock::{Clock as _, SystemClock};
use crate::units;

/// The pause between two requests to the gateway.
const POLL_INTERVAL: Duration = Duration::from_millis(200);
/// The pause between two progress messages.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Arguments of `drain`.
#[derive(Debug, clap::Args)]
pub(super) struct DrainArgs {
    /// The longest time to wait for the queue to empty.
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = duration)]
    timeout: Duration,
    /// Also attempts deliveries at once whose next attempt is due later, such as a retry in an hour.
    #[arg(long)]
    now: bool,
    /// Writes the deliveries that are left to this file as JSON lines, readable by its owner only.
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
    #[command(flatten)]
    gate: GateArgs,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|why| why.to_string())
}

/// Runs `drain`.
pub(super) fn drain(args: &DrainArgs) -> Result<Exit, Error> {
    let client = args.gate.client()?;
    let waited = context::block_on(async {
        tokio::select! {
            left = wait(&client, args.timeout, args.now) => left.map(Some),
            signal = context::interrupted() => signal.map(|()| None),
        }
    })??;
    let Some(left) = waited else {
        term::say("the gateway accepts nothing more until it is restarted");
        return Ok(Exit::INTERRUPTED);
    };
    let is_done = is_done(&left);
    let exported = match &args.export {
        Some(path) if left.waiting + to_send(&left) + paused(&left) > 0 => Some((
            path,
            export::to_lines(&client, &FilterArgs::in_states(&WAITING), path)?,
        )),
        Some(_) | None => None,
    };
    if args.json {
        let count = exported.as_ref().map(|(_, count)| count);
        let line = serde_json::json!({ "waiting": left.waiting, "in_flight": left.in_flight, "dead": left.dead, "cancelled": left.cancelled, "outbound": left.outbound, "exported": count });
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
            render(&left, &Look::of_stdout()),
            written.unwrap_or_default()
        ))?;
        if !is_done {
            let options = client.options();
            term::say(&format!(
                "next: hookgate deliveries list --state pending,retrying,parked{options}"
            ));
            if left.waiting + to_send(&left) > 0 && !args.now {
                term::say(&format!(
                    "  or: hookgate drain --now{options}, which also attempts deliveries that are due later"
                ));
            }
        }
    }
    Ok(if is_done {
        Exit::DONE
    } else {
        Exit::UNFINISHED
    })
}

/// The states in which a delivery is still to be made.
const WAITING: [DeliveryState; 3] = [
    DeliveryState::Pending,
    DeliveryState::Retrying,
    DeliveryState::Parked,
];

/// Waits until nothing is left, or for `most`. Returns what is left.
async fn wait(client: &AdminClient, most: Duration, now: bool) -> Result<Drain, Error> {
    let began = SystemClock.mono();
    let mut left: Drain = client
        .post("/-/drain", &DrainRequest { accept: false, now })
        .await?;
    let mut reported = began;
    loop {
        let now = SystemClock.mono();
        if is_done(&left) || now.saturating_duration_since(began) >= most {
            return Ok(left);
        }
        if now.saturating_duration_since(reported) >= PROGRESS_INTERVAL {
            reported = now;
            term::say(&format!(
                "{}, {} in flight",
                waiting(&left).join(", "),
                term::count(left.in_flight)
            ));
        }
        tokio::time::sleep(
            POLL_INTERVAL.min(most.saturating_sub(now.saturating_duration_since(began))),
        )
        .await;
        left = client.get("/-/drain").await?;
    }
}

/// Returns whether nothing is left to deliver. Requests in flight may still become deliveries. Events for paused endpoints stay.
fn is_done(left: &Drain) -> bool {
    !left.accepting
        && left.waiting == 0
        && left.in_flight == 0
        && to_send(left) == 0
        && jobs(left) == 0
}

/// Returns the number of endpoints whose job is not over: it can begin further attempts.
fn jobs(left: &Drain) -> u64 {
    left.outbound.map_or(0, |outbound| outbound.jobs)
}

/// Returns the number of events that are left to send.
fn to_send(left: &Drain) -> u64 {
    left.outbound.map_or(0, |outbound| outbound.waiting)
}

/// Returns the number of events that wait for paused endpoints.
fn paused(left: &Drain) -> u64 {
    left.outbound.map_or(0, |outbound| outbound.paused)
}

/// Describes what waits in the store: received deliveries, and events to send.
fn waiting(left: &Drain) -> Vec<String> {
    let received = (left.waiting > 0 || to_send(left) == 0)
        .then(|| format!("{} left in the store", deliveries(left.waiting)));
    let events = (to_send(left) > 0)
        .then(|| format!("{} left to send", term::counted(to_send(left), "event")));
    received.into_iter().chain(events).collect()
}

fn render(left: &Drain, look: &Look) -> String {
    let ended: Vec<String> = [(left.dead, "dead"), (left.cancelled, "cancelled")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, state)| format!("{} {state}", term::count(count)))
        .collect();
    let mut stays = match ended.as_slice() {
        [] => String::new(),
        ended => format!("; {} stay stored", ended.join(" and ")),
    };
    match paused(left) {
        0 => {}
        1 => stays.push_str("; 1 event stays stored until its endpoint is resumed"),
        count => stays.push_str(&format!(
            "; {} events stay stored until their endpoints are resumed",
            term::count(count)
        )),
    }
    if is_done(left) {
        return format!("{} nothing is left{stays}", look.sign(Sign::Good));
    }
    let mut parts = Vec::new();
    if left.waiting + to_send(left) > 0 {
        parts.extend(waiting(left));
    }
    if jobs(left) > 0 {
        parts.push(format!("{} not over", term::counted(jobs(left), "job")));
    }
    if left.in_flight > 0 {
        parts.push(format!("{} in flight", term::count(left.in_flight)));
    }
    if left.accepting {
        parts.push("the gateway still accepts deliveries".to_owned());
    }
    format!("{} {}{stays}", look.sign(Sign::Bad), parts.join(", "))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use serde_json::json;

    use super::*;
    use crate::api::actions::OutboundDrain;
    use crate::cli::deliveries::tests::fake_gateway::Fake;

    #[test]
    fn now_flag_is_sent_to_the_gateway() {
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
    fn later_attempts_are_not_brought_forward() {
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
    fn waits_until_nothing_is_left() {
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
    fn events_of_paused_endpoints_do_not_hold_up_a_drain() {
        let left = |waiting, paused| Drain {
            outbound: Some(OutboundDrain {
                waiting,
                paused,
                jobs: 0,
                dead: 0,
            }),
            ..Drain::default()
        };
        let text = |left: &Drain| {
            let look = crate::cli::deliveries::tests::fake_gateway::look();
            anstream::adapter::strip_str(&render(left, &look)).to_string()
        };
        assert!(is_done(&left(0, 1_030)));
        assert_eq!(
            text(&left(0, 1_030)),
            "✓ nothing is left; 1,030 events stay stored until their endpoints are resumed"
        );
        assert_eq!(
            text(&left(2, 1)),
            "✕ 2 events left to send; 1 event stays stored until its endpoint is resumed"
        );
    }

    #[test]
    fn deliveries_left_are_exit_3() {
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
            outbound: None,
        };
        let plain = anstream::adapter::strip_str(&render(
            &left,
            &crate::cli::deliveries::tests::fake_gateway::look(),
        ))
        .to_string();
        assert_eq!(
            plain,
            "✕ 12 deliveries left in the store, 1 in flight; 3 dead and 2 cancelled stay stored"
        );
        assert!(
            !is_done(&Drain {
                outbound: Some(OutboundDrain {
                    waiting: 1,
                    ..OutboundDrain::default()
                }),
                ..Drain::default()
            }),
            "an event is left to send"
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
            "requests in flight may still be queued"
        );
    }
}
