//! `hookgate events`: lists and shows published events of a running gateway; checks a catalogue, compares two, and prints what one holds.
mod check;
mod git;
mod live;
mod output;
mod published;
mod report;
mod running;
pub(super) mod source;
mod type_view;
mod types;

use clap::Subcommand;

use crate::cli::error::{Error, Exit};

/// Arguments of `events`.
#[derive(Debug, clap::Args)]
pub(super) struct EventsArgs {
    #[command(subcommand)]
    command: EventsCommand,
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// Lists the events that were published for a tenant, newest first.
    #[command(
        after_help = "Examples:\n  hookgate events list acme --type invoice.paid\n  hookgate events list acme --json | jq -r .id"
    )]
    List(published::ListEventsArgs),
    /// Shows a published event: its state at each endpoint, and its attempts.
    #[command(
        after_help = "Examples:\n  hookgate events show acme msg_01936f0c4e7a7d1e9b1f6a2c8d4e0b57\n  hookgate events show acme msg_01936f0c4e7a7d1e9b1f6a2c8d4e0b57 --data | jq ."
    )]
    Show(published::ShowEventArgs),
    /// Checks a catalogue; with two, says what changed and whether it breaks those who receive the events.
    #[command(
        after_help = "Examples:\n  hookgate events check events\n  hookgate events check git:main events --live --config /etc/hookgate/config.yaml"
    )]
    Check(check::CheckArgs),
    /// Lists the types of a catalogue, or shows one.
    #[command(
        after_help = "Examples:\n  hookgate events types --dir events\n  hookgate events types invoice.paid --live --json | jq .fields"
    )]
    Types(types::TypesArgs),
    /// Prints the example of a type, as data to publish.
    #[command(
        disable_version_flag = true,
        after_help = "Examples:\n  hookgate events example invoice.paid > invoice.json\n  hookgate events example invoice.paid --version 1 --dir events"
    )]
    Example(output::ExampleArgs),
    /// Writes a page in Markdown for each type.
    #[command(
        after_help = "Examples:\n  hookgate events docs --to docs/events\n  hookgate events docs --dir events --to site/events"
    )]
    Docs(output::DocsArgs),
    /// Prints an OpenAPI 3.1 document with a webhook for each type and version.
    #[command(
        after_help = "Examples:\n  hookgate events openapi > webhooks.json\n  hookgate events openapi --dir events | jq '.webhooks | keys'"
    )]
    Openapi(output::OpenapiArgs),
}

/// Runs `events`.
pub(super) fn events(args: &EventsArgs) -> Result<Exit, Error> {
    match &args.command {
        EventsCommand::List(args) => published::list_events(args),
        EventsCommand::Show(args) => published::show_event(args),
        EventsCommand::Check(args) => check::check(args),
        EventsCommand::Types(args) => types::types(args),
        EventsCommand::Example(args) => output::example(args),
        EventsCommand::Docs(args) => output::docs(args),
        EventsCommand::Openapi(args) => output::openapi(args),
    }
}

#[cfg(test)]
mod tests;
