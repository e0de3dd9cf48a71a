//! `hookgate endpoints`: lists, shows, makes, changes, pauses, resumes, tests, recovers and removes the endpoints of tenants.
use clap::Subcommand;

use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_client::OutboundArgs;

mod attempts;
mod fields;
mod job;
mod list;
mod make;
mod name;
mod recover;
mod remove;
mod secrets;
mod show;
mod shown;
mod state;

/// Arguments of `endpoints`.
#[derive(Debug, clap::Args)]
pub(super) struct EndpointsArgs {
    #[command(subcommand)]
    command: EndpointsCommand,
    #[command(flatten)]
    outbound: OutboundArgs,
}

#[derive(Debug, Subcommand)]
enum EndpointsCommand {
    /// Lists the endpoints of a tenant.
    #[command(
        after_help = "Examples:\n  hookgate endpoints list acme\n  hookgate endpoints list acme --json | jq -c '{id,state}'"
    )]
    List(list::ListEndpointsArgs),
    /// Shows an endpoint: its state, what failed, its secrets and its last attempts.
    #[command(
        after_help = "Examples:\n  hookgate endpoints show acme main\n  hookgate endpoints show acme main --json | jq .health"
    )]
    Show(show::ShowArgs),
    /// Makes an endpoint. Prints its secret, which is shown this once.
    #[command(
        after_help = "Examples:\n  hookgate endpoints create acme --url https://hooks.example.com/in --types 'invoice.*'\n  (umask 077; hookgate endpoints create acme --url https://hooks.example.com/in > whsec.txt)"
    )]
    Create(make::CreateArgs),
    /// Changes settings of an endpoint. The others stay as they are.
    #[command(
        after_help = "Examples:\n  hookgate endpoints edit acme main --url https://hooks.example.com/new\n  hookgate endpoints edit acme main --rate 10/s --unset concurrency"
    )]
    Edit(make::EditArgs),
    /// Pauses an endpoint: its events wait.
    #[command(
        after_help = "Examples:\n  hookgate endpoints pause acme main --reason \"asked for by the customer\"\n  hookgate endpoints pause acme main"
    )]
    Pause(state::PauseArgs),
    /// Resumes a paused endpoint: sends all events that wait, those since a time, or none.
    #[command(
        after_help = "Examples:\n  hookgate endpoints resume acme main --waiting all --dry-run\n  hookgate endpoints resume acme main --waiting since --since 2h"
    )]
    Resume(state::ResumeArgs),
    /// Gives an endpoint a new secret, which is printed this once. The old ones end after an overlap.
    #[command(
        after_help = "Examples:\n  (umask 077; hookgate endpoints rotate acme main > whsec.txt)\n  hookgate endpoints rotate acme main --overlap 0s"
    )]
    Rotate(secrets::RotateArgs),
    /// Sends a test event to an endpoint at once, also if it is paused.
    #[command(
        disable_version_flag = true,
        after_help = "Examples:\n  hookgate endpoints test acme main\n  hookgate endpoints test acme main --type invoice.paid --data @invoice.json --json"
    )]
    Test(attempts::TestArgs),
    /// Lists the attempts to an endpoint, newest first.
    #[command(
        after_help = "Examples:\n  hookgate endpoints attempts acme main\n  hookgate endpoints attempts acme main --limit 500 --json | jq -c 'select(.status != 200)'"
    )]
    Attempts(attempts::AttemptsArgs),
    /// Sends events again that failed, or for the first time those that the endpoint missed.
    #[command(
        after_help = "Examples:\n  hookgate endpoints recover acme main --what failed --since 5d --dry-run\n  hookgate endpoints recover acme main --what both --since 5d --rate 20/s --stop-after 5"
    )]
    Recover(recover::RecoverArgs),
    /// Removes an endpoint. Events that wait for it are not sent any more.
    #[command(
        after_help = "Examples:\n  hookgate endpoints delete acme main\n  hookgate endpoints delete acme main --yes"
    )]
    Delete(remove::DeleteArgs),
    /// Shows the last job of an endpoint, such as a recovery, or stops it.
    #[command(
        after_help = "Examples:\n  hookgate endpoints job show acme main\n  hookgate endpoints job stop acme main"
    )]
    Job(job::JobArgs),
}

/// Runs `endpoints`.
pub(super) fn endpoints(args: &EndpointsArgs) -> Result<Exit, Error> {
    let client = args.outbound.client()?;
    context::block_on(async {
        match &args.command {
            EndpointsCommand::List(args) => list::list_endpoints(&client, args).await,
            EndpointsCommand::Show(args) => show::show(&client, args).await,
            EndpointsCommand::Create(args) => make::create(&client, args).await,
            EndpointsCommand::Edit(args) => make::edit(&client, args).await,
            EndpointsCommand::Pause(args) => state::pause(&client, args).await,
            EndpointsCommand::Resume(args) => state::resume(&client, args).await,
            EndpointsCommand::Rotate(args) => secrets::rotate(&client, args).await,
            EndpointsCommand::Test(args) => attempts::test(&client, args).await,
            EndpointsCommand::Attempts(args) => attempts::attempts(&client, args).await,
            EndpointsCommand::Recover(args) => recover::recover(&client, args).await,
            EndpointsCommand::Delete(args) => remove::delete(&client, args).await,
            EndpointsCommand::Job(args) => job::job(&client, args).await,
        }
    })?
}
