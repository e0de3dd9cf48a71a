//! `hookgate deliveries cancel` and `purge`: one delivery at once, several after a plan.
use super::export::deliveries;
use super::list::json;
use super::{plan, show};
use crate::api::actions::{ActAnswer, ActMany, Acted};
use crate::cli::admin_client::AdminClient;
use crate::cli::ask::GateArgs;
use crate::cli::context;
use crate::cli::deliveries::confirm::ConfirmArgs;
use crate::cli::deliveries::filter_args::FilterArgs;
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, Look, Sign};

/// Arguments of `deliveries cancel`.
#[derive(Debug, clap::Args)]
pub(super) struct ChangeArgs {
    /// One delivery: the provider's ID of it, or the gateway's.
    #[arg(value_name = "ID", conflicts_with_all = ["route", "state", "since", "until", "delivery_id", "event_type", "text"])]
    one: Option<String>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
    /// Prints the plan and stops.
    #[arg(long)]
    dry_run: bool,
    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `deliveries purge`.
#[derive(Debug, clap::Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    change: ChangeArgs,
    /// Also purges pending deliveries, which are then never delivered.
    #[arg(long)]
    include_waiting: bool,
}

/// A change of deliveries, as it is requested and described.
#[derive(Clone, Copy)]
struct Change {
    target: &'static str,
    done: &'static str,
    include_waiting: bool,
    effect: &'static str,
}

/// Runs `deliveries cancel`.
pub(super) fn cancel(gate: &GateArgs, args: &ChangeArgs) -> Result<Exit, Error> {
    let effect = "cancels them: no further attempt is made; they stay stored and can be replayed";
    change(
        gate,
        args,
        Change {
            target: "/-/deliveries/cancel",
            done: "cancelled",
            include_waiting: false,
            effect,
        },
    )
}

/// Runs `deliveries purge`.
pub(super) fn purge(gate: &GateArgs, args: &PurgeArgs) -> Result<Exit, Error> {
    let effect = match args.include_waiting {
        true => "deletes them for good, including pending ones, which are never delivered",
        false => "deletes them for good; pending ones stay",
    };
    change(
        gate,
        &args.change,
        Change {
            target: "/-/deliveries/purge",
            done: "purged",
            include_waiting: args.include_waiting,
            effect,
        },
    )
}

fn change(gate: &GateArgs, args: &ChangeArgs, change: Change) -> Result<Exit, Error> {
    let client = gate.client()?;
    let mut order = ActMany {
        include_waiting: change.include_waiting,
        ..ActMany::default()
    };
    if let Some(id) = &args.one {
        let shown = context::block_on(show::find(&client, id))??;
        order.ids = Some(vec![shown.delivery.id]);
        order.reason = args.confirm.reason.clone().unwrap_or_default();
    } else if args.filter.is_empty() {
        return Err(Error::usage("no deliveries are selected")
            .hint("give an ID, or a filter such as --route ROUTE or --state dead"));
    } else {
        order.filter = Some(args.filter.to_filter(context::now()));
    }
    let several = args.one.is_none();
    if several || args.dry_run {
        let dry_run = ActMany {
            dry_run: true,
            ..order.clone()
        };
        let ActAnswer::Plan(planned) = context::block_on(client.post(change.target, &dry_run))??
        else {
            return Err(Error::no(
                "the gateway made the change instead of a plan: it is of another version",
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
                    &[change.effect.to_owned()],
                    context::now(),
                    &look,
                )
                .trim_end(),
            );
        }
        if args.dry_run || planned.count == 0 {
            return Ok(Exit::DONE);
        }
        order.reason = args.confirm.ask(planned.count)?;
    }
    let done = context::block_on(act(&client, change.target, &order))??;
    if args.json {
        term::print_line(&json(&Acted { done, more: false })?)?;
    } else {
        let sign = Look::of_stdout().sign(if done > 0 { Sign::Good } else { Sign::Warning });
        term::print_line(&format!("{sign} {} {}", deliveries(done), change.done))?;
    }
    Ok(if done > 0 { Exit::DONE } else { Exit::NO })
}

/// Repeats the request until nothing is left to do. Returns the number of changed deliveries.
async fn act(client: &AdminClient, target: &str, order: &ActMany) -> Result<u64, Error> {
    let mut done = 0;
    loop {
        let ActAnswer::Acted(acted) = client.post(target, order).await? else {
            return Err(Error::no(
                "the gateway made a plan instead of the change: it is of another version",
            ));
        };
        done += acted.done;
        if !acted.more {
            return Ok(done);
        }
        if acted.done == 0 {
            // this call reached its limit and found nothing to change: another one would begin at the same place
            return Err(Error::new(
                Exit::UNFINISHED,
                format!("{} were changed, and there may be more", deliveries(done)),
            )
            .hint("use a smaller range of --since and --until"));
        }
    }
}
