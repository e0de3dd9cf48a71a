//! `hookgate reverify`: releases refused requests of a route that are authentic by the current config, after a plan.
use std::collections::BTreeMap;
use std::time::SystemTime;

use crate::api::quarantine::{Reverified, Reverify, ReverifyAnswer, ReverifyPlan};
use crate::cli::admin_client::AdminClient;
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::deliveries::confirm::YesArgs;
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, BOLD, Look, Sign};

/// Arguments of `reverify`.
#[derive(Debug, clap::Args)]
pub(super) struct ReverifyArgs {
    /// The route.
    #[arg(long, value_name = "ROUTE")]
    route: String,
    #[command(flatten)]
    confirm: YesArgs,
    /// The reason, for the audit log.
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Prints the plan and stops.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    gate: GateArgs,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `reverify`.
pub(super) fn reverify(args: &ReverifyArgs) -> Result<Exit, Error> {
    let client = args.gate.client()?;
    let order = Reverify {
        route: args.route.clone(),
        reason: args.reason.clone(),
        ..Reverify::default()
    };
    let dry_run = Reverify {
        dry_run: true,
        ..order.clone()
    };
    let ReverifyAnswer::Plan(plan) = context::block_on(client.post("/-/reverify", &dry_run))??
    else {
        return Err(another_version());
    };
    if args.json && args.dry_run {
        term::print_line(&json(&plan)?)?;
    } else {
        let look = Look::of_stdout();
        term::say(render_plan(&plan, &args.route, context::now(), &look).trim_end());
    }
    if args.dry_run || (plan.passing == 0 && plan.complete) {
        return Ok(if plan.passing > 0 {
            Exit::DONE
        } else {
            Exit::NO
        });
    }
    args.confirm.ask(&plan.passing.to_string())?;
    let done = context::block_on(release(&client, order))??;
    if args.json {
        term::print_line(&json(&done)?)?;
    } else {
        term::print_line(&render(&done, &Look::of_stdout()))?;
    }
    Ok(if done.failed.is_empty() {
        Exit::DONE
    } else {
        Exit::UNFINISHED
    })
}

/// Repeats the call until a whole pass over the kept requests releases nothing more, or leaves none that is authentic. Returns the sums of all
/// passes, and what the last one could not release.
async fn release(client: &AdminClient, mut order: Reverify) -> Result<Reverified, Error> {
    let mut sums = Reverified::default();
    loop {
        let mut pass = Reverified::default();
        order.after = None;
        loop {
            let ReverifyAnswer::Done(done) = client.post("/-/reverify", &order).await? else {
                return Err(another_version());
            };
            pass.released += done.released;
            pass.duplicates += done.duplicates;
            add(&mut pass.failed, done.failed);
            add(&mut pass.refused, done.refused);
            pass.left = done.left;
            order.after = done.next;
            if order.after.is_none() {
                break;
            }
        }
        let is_over = pass.failed.is_empty() || pass.released + pass.duplicates == 0;
        sums = Reverified {
            released: sums.released + pass.released,
            duplicates: sums.duplicates + pass.duplicates,
            ..pass
        };
        if is_over {
            return Ok(sums);
        }
    }
}

fn add(sums: &mut BTreeMap<String, u64>, more: BTreeMap<String, u64>) {
    for (code, count) in more {
        *sums.entry(code).or_default() += count;
    }
}

fn another_version() -> Error {
    Error::no("the gateway confused the plan and the release: it is of another version")
}

fn json(what: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(what)
        .map_err(|error| Error::no("the answer cannot be written").cause(error))
}

/// Renders the codes of requests: `signature_mismatch 3, timestamp_stale 1`.
fn codes(counts: &BTreeMap<String, u64>) -> String {
    let one =
        |(code, count): (&String, &u64)| format!("{} {}", term::clean(code), term::count(*count));
    counts.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Renders the plan: how many requests would be released, why the others would not, and some of them.
fn render_plan(plan: &ReverifyPlan, route: &str, now: SystemTime, look: &Look) -> String {
    let least = if plan.complete { "" } else { "at least " };
    let mut text = format!(
        "plan: {least}{BOLD}{}{BOLD:#} of {} kept for {} {} authentic now\n",
        term::count(plan.passing),
        term::counted(plan.kept, "request"),
        term::clean(route),
        if plan.passing == 1 { "is" } else { "are" },
    );
    if !plan.refused.is_empty() {
        text.push_str(&format!("      still refused: {}\n", codes(&plan.refused)));
    }
    for one in &plan.sample {
        let at = term::moment(&one.received_at).map(|at| look.time(at, now));
        let event_type = one.event_type.as_deref().map(term::clean);
        text.push_str(&format!(
            "      {}  {}  {}\n",
            term::clean(&one.id),
            at.unwrap_or_default(),
            event_type.as_deref().unwrap_or(look.none()),
        ));
    }
    text
}

/// Renders what happened, and what is still kept.
fn render(done: &Reverified, look: &Look) -> String {
    let sign = if done.failed.is_empty() {
        Sign::Good
    } else {
        Sign::Bad
    };
    let mut text = format!(
        "{} {} released",
        look.sign(sign),
        term::counted(done.released, "request")
    );
    if done.duplicates > 0 {
        text.push_str(&format!(
            ", {} delivered already",
            term::count(done.duplicates)
        ));
    }
    if !done.failed.is_empty() {
        text.push_str(&format!("; not released: {}", codes(&done.failed)));
    }
    if done.left > 0 {
        text.push_str(&format!("; {} still kept", term::count(done.left)));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::deliveries::tests::fake_gateway::{Fake, look, now};

    fn plan() -> Value {
        json!({ "kept": 40, "passing": 37, "refused": { "signature_mismatch": 3 }, "complete": true,
                "sample": [{ "id": "01JDC9R7T3WA", "received_at": "2026-11-24T13:04:33Z", "type": "push" },
                           { "id": "01JDC9R7T3WB", "received_at": "2026-11-24T13:04:34Z", "type": null }] })
    }

    fn done(released: u64, failed: &Value, next: Option<&str>) -> Value {
        json!({ "released": released, "duplicates": 0, "failed": failed, "refused": {}, "left": 3, "next": next })
    }

    #[test]
    fn texts_say_what_is_released_and_what_is_kept() {
        let plan: ReverifyPlan = serde_json::from_value(plan()).unwrap();
        let text = render_plan(&plan, "github", now(), &look());
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "plan: 37 of 40 requests kept for github are authentic now\n      still refused: signature_mismatch 3\n      \
             01JDC9R7T3WA  13:04:33  push\n      01JDC9R7T3WB  13:04:34  –\n"
        );
        let shown = |done: Value| {
            let done = serde_json::from_value(done).unwrap();
            anstream::adapter::strip_str(&render(&done, &look())).to_string()
        };
        assert_eq!(
            shown(done(37, &json!({}), None)),
            "✓ 37 requests released; 3 still kept"
        );
        let mut failed = done(1, &json!({ "upstream_open": 2 }), None);
        failed["duplicates"] = 4.into();
        assert_eq!(
            shown(failed),
            "✕ 1 request released, 4 delivered already; not released: upstream_open 2; 3 still kept"
        );
    }

    #[test]
    fn calls_are_repeated_until_nothing_more_is_released() {
        let answers = parking_lot::Mutex::new(vec![
            // the second pass releases nothing
            done(0, &json!({ "503": 1 }), None),
            done(20, &json!({ "503": 1 }), None),
            done(17, &json!({}), Some("01JDC9R7T3WA00000000000000")),
        ]);
        let gate = Fake::start(move |_, body| {
            let is_plan = body["dry_run"] == true;
            let answer = if is_plan {
                plan()
            } else {
                answers.lock().pop().unwrap()
            };
            (200, answer)
        });
        assert_eq!(
            gate.run(&[
                "reverify", "--route", "github", "--yes", "--reason", "mended"
            ]),
            Exit::UNFINISHED
        );
        let call = |after: Option<&str>| {
            let mut body = json!({ "route": "github", "dry_run": false, "reason": "mended" });
            if let Some(after) = after {
                body["after"] = after.into();
            }
            ("POST /-/reverify".to_owned(), body)
        };
        assert_eq!(
            gate.asked()[1..],
            [
                call(None),
                call(Some("01JDC9R7T3WA00000000000000")),
                call(None)
            ]
        );
    }

    #[test]
    fn nothing_is_released_unasked_or_in_vain() {
        let gate = Fake::start(|_, _| (200, plan()));
        // a test has no terminal
        assert_eq!(gate.run(&["reverify", "--route", "github"]), Exit::USAGE);
        assert_eq!(
            gate.run(&["reverify", "--route", "github", "--dry-run", "--json"]),
            Exit::DONE
        );
        let mut none = plan();
        (none["passing"], none["sample"]) = (0.into(), json!([]));
        let nothing = Fake::start(move |_, _| (200, none.clone()));
        assert_eq!(
            nothing.run(&["reverify", "--route", "github", "--yes"]),
            Exit::NO
        );
        let asked = [gate.asked(), nothing.asked()].concat();
        assert!(asked.iter().all(|(_, body)| body["dry_run"] == true));
    }
}
