//! `hookgate deliveries`: lists, shows, follows, replays, cancels, purges and exports stored deliveries.
use clap::Subcommand;

use crate::cli::ask::GateArgs;
use crate::cli::error::{Error, Exit};

mod attempts;
mod change;
pub(super) mod confirm;
pub(super) mod export;
pub(super) mod filter_args;
mod list;
mod pages;
mod plan;
mod raw;
mod replay;
pub(super) mod show;
mod tail;
mod watch;

#[cfg(test)]
pub(super) mod tests;

/// Arguments of `deliveries`.
#[derive(Debug, clap::Args)]
pub(super) struct DeliveriesArgs {
    #[command(subcommand)]
    command: DeliveriesCommand,
    #[command(flatten)]
    gate: GateArgs,
}

#[derive(Debug, Subcommand)]
enum DeliveriesCommand {
    /// Lists deliveries, newest first.
    #[command(
        after_help = "Examples:\n  hookgate deliveries list --route stripe --state retrying,dead\n  hookgate deliveries list --since 22h --json | jq -c '{id,type}'"
    )]
    List(list::ListArgs),
    /// Shows one delivery with all its attempts.
    #[command(
        after_help = "Examples:\n  hookgate deliveries show evt_1QNkT2Hd7mZ0pVbX\n  hookgate deliveries show evt_1QNkT2Hd7mZ0pVbX --body | jq ."
    )]
    Show(show::ShowArgs),
    /// Follows requests and attempts as they end.
    #[command(
        after_help = "Examples:\n  hookgate deliveries tail --route stripe\n  hookgate deliveries tail --json | jq -c 'select(.code)'"
    )]
    Tail(tail::TailArgs),
    /// Delivers again: one delivery by its ID, or all that a filter finds.
    #[command(
        after_help = "Examples:\n  hookgate deliveries replay evt_1QNkT2Hd7mZ0pVbX\n  hookgate deliveries replay --route stripe --state dead --since 22h --rate 20/s --stop-after 5"
    )]
    Replay(replay::ReplayArgs),
    /// Cancels pending deliveries: they stay stored, and no further attempt is made.
    #[command(
        after_help = "Examples:\n  hookgate deliveries cancel evt_1QNkT2Hd7mZ0pVbX --reason \"sent twice\"\n  hookgate deliveries cancel --route stripe --type payout.failed --dry-run"
    )]
    Cancel(change::ChangeArgs),
    /// Deletes deliveries for good.
    #[command(
        after_help = "Examples:\n  hookgate deliveries purge --route stripe --state dead --until 30d\n  hookgate deliveries purge --route old --include-waiting --yes --reason \"the route is gone\""
    )]
    Purge(change::PurgeArgs),
    /// Writes deliveries with their bodies, as JSON lines, curl commands or raw HTTP.
    #[command(
        after_help = "Examples:\n  hookgate deliveries export --route stripe --state dead --to dead.jsonl\n  hookgate deliveries export --id evt_1QNkT2Hd7mZ0pVbX --curl"
    )]
    Export(export::ExportArgs),
}

/// Runs `deliveries`.
pub(super) fn deliveries(args: &DeliveriesArgs) -> Result<Exit, Error> {
    let gate = &args.gate;
    match &args.command {
        DeliveriesCommand::List(args) => list::list(gate, args),
        DeliveriesCommand::Show(args) => show::show(gate, args),
        DeliveriesCommand::Tail(args) => tail::tail(gate, args),
        DeliveriesCommand::Replay(args) => replay::replay(gate, args),
        DeliveriesCommand::Cancel(args) => change::cancel(gate, args),
        DeliveriesCommand::Purge(args) => change::purge(gate, args),
        DeliveriesCommand::Export(args) => export::export(gate, args),
    }
}
