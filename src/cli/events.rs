//! `hookgate events`: checks a catalogue of events, compares two, and prints what it holds. It asks no running gateway.
mod check;
mod git;
mod live;
mod output;
mod report;
mod source;
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
    /// Checks a catalogue; with two, says what changed and whether it breaks those who receive the events.
    #[command(
        after_help = "Examples:\n  hookgate events check events\n  hookgate events check git:main events --format github\n  hookgate events check git:main events --live --config /etc/hookgate/config.yaml"
    )]
    Check(check::CheckArgs),
    /// Lists the types of a catalogue, or shows one.
    #[command(
        after_help = "Examples:\n  hookgate events types --dir events\n  hookgate events types invoice.paid --json | jq .fields"
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
        EventsCommand::Check(args) => check::check(args),
        EventsCommand::Types(args) => types::types(args),
        EventsCommand::Example(args) => output::example(args),
        EventsCommand::Docs(args) => output::docs(args),
        EventsCommand::Openapi(args) => output::openapi(args),
    }
}

#[cfg(test)]
mod tests;
