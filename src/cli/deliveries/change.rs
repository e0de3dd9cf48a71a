//! `hookgate deliveries cancel` and `purge`: one at once, several after a plan.
use super::export::deliveries;
use super::list::json;
use super::{plan, show};
use crate::api::actions::{ActAnswer, ActMany, Acted};
use crate::cli::ask::{Door, GateArgs};
use crate::cli::context;
use crate::cli::deliveries::confirm::Sure;
use crate::cli::deliveries::filter_args::Which;
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, Look, Sign};

/// Arguments of `deliveries cancel`.
#[derive(Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// One delivery: the provider's ID of it, or its ID here.
    #[arg(value_name = "ID", conflicts_with_all = ["route", "state", "since", "until", "delivery_id", "event_type", "text"])]
    one: Option<String>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    sure: Sure,
    /// Prints the plan and stops.
    #[arg(long)]
    dry_run: bool,
    /// Prints what was done as JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `deliveries purge`.
#[derive(Debug, clap::Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// Also what still waits: it is never delivered then.
    #[arg(long)]
    include_waiting: bool,
}

/// What is done.
#[derive(Clone, Copy)]
struct Change {
    target: &'static str,
    done: &'static str,
    waiting: bool,
    means: &'static str,
}

/// Runs `deliveries cancel`.
pub(super) fn cancel(gate: &GateArgs, args: &ChangeArgs) -> Result<Exit, Error> {
    let means = "cancelled: no try is made any more; kept, and can be replayed";
    change(
        gate,
        args,
        Change {
            target: "/-/deliveries/cancel",
            done: "cancelled",
            waiting: false,
            means,
        },
    )
}

/// Runs `deliveries purge`.
pub(super) fn purge(gate: &GateArgs, args: &PurgeArgs) -> Result<Exit, Error> {
    let means = match args.include_waiting {
        true => "deleted for good, what waits among them: it is never delivered",
        false => "deleted for good; what waits stays",
    };
    change(
        gate,
        &args.change,
        Change {
            target: "/-/deliveries/purge",
            done: "purged",
            waiting: args.include_waiting,
            means,
        },
    )
}

fn change(gate: &GateArgs, args: &ChangeArgs, change: Change) -> Result<Exit, Error> {
    let door = gate.door()?;
    let mut order = ActMany {
        include_waiting: change.waiting,
        ..ActMany::default()
    };
    if let Some(id) = &args.one {
        let shown = context::block_on(show::find(&door, id))??;
        order.ids = Some(vec![shown.delivery.id]);
        order.reason = args.sure.reason.clone().unwrap_or_default();
    } else if args.which.is_empty() {
        return Err(Error::usage("nothing says which deliveries")
            .hint("an ID, or --route ROUTE, --state dead, …"));
    } else {
        order.filter = Some(args.which.filter(super::now()));
    }
    let several = args.one.is_none();
    if several || args.dry_run {
        let asked = ActMany {
            dry_run: true,
            ..order.clone()
        };
        let ActAnswer::Plan(planned) = context::block_on(door.post(change.target, &asked))?? else {
            return Err(Error::no(
                "the gate did it instead of planning it: it is of another version",
            ));
        };
        let filter = order.filter.clone().unwrap_or_default();
        if args.json && args.dry_run {
            term::print_line(&json(&planned)?)?;
        } else {
            let look = Look::of_stdout();
            term::say(
                plan::render(
                    &planned,
                    &filter,
                    "",
                    &[change.means.to_owned()],
                    super::now(),
                    &look,
                )
                .trim_end(),
            );
        }
        if args.dry_run || planned.count == 0 {
            return Ok(Exit::DONE);
        }
        order.reason = args.sure.ask(planned.count)?;
    }
    let done = context::block_on(act(&door, change.target, &order))??;
    if args.json {
        term::print_line(&json(&Acted { done, more: false })?)?;
    } else {
        let sign = Look::of_stdout().sign(if done > 0 { Sign::Good } else { Sign::Look });
        term::print_line(&format!("{sign} {} {}", deliveries(done), change.done))?;
    }
    Ok(if done > 0 { Exit::DONE } else { Exit::NO })
}

/// Until there is nothing more to do; how many in all.
async fn act(door: &Door, target: &str, order: &ActMany) -> Result<u64, Error> {
    let mut done = 0;
    loop {
        let ActAnswer::Acted(acted) = door.post(target, order).await? else {
            return Err(Error::no(
                "the gate planned it instead of doing it: it is of another version",
            ));
        };
        done += acted.done;
        if !acted.more {
            return Ok(done);
        }
        if acted.done == 0 {
            // it looked for as long as one call may, and found nothing to change: another call would begin where this one did
            return Err(Error::new(
                Exit::UNFINISHED,
                format!("{} were changed, and there may be more", deliveries(done)),
            )
            .hint("narrow it by --since and --until"));
        }
    }
}
