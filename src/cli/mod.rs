//! The commands, one file each. Answers go to stdout, messages about the run to stderr.
mod admin_client;
mod ask;
mod captured;
mod check;
mod clean;
mod clock_skew;
mod completions;
mod context;
mod deliveries;
mod demo;
mod doctor;
mod drain;
pub mod echo;
mod endpoints;
pub mod error;
mod events;
mod explain;
mod forget;
mod health;
mod message;
mod migrate;
mod move_store;
mod outbound_attempts;
mod outbound_client;
mod outbound_error;
mod outbound_list;
mod policy;
mod progress;
mod providers;
mod publish;
mod receive;
mod reload;
mod report;
mod reverify;
pub mod run;
mod running;
mod schema;
mod secrets;
mod set_aside;
mod sign;
mod status;
mod style;
mod table;
mod tenants;
pub mod term;
mod verify;
mod words;

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use error::{Error, Exit};

/// A webhook gateway that runs as a sidecar: verifies, limits, deduplicates and forwards.
#[derive(Debug, Parser)]
#[command(
    name = "hookgate",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  hookgate run --config config.yaml\n  hookgate providers show github"
)]
pub struct Cli {
    /// When to use colours: `auto` (on a terminal, unless NO_COLOR is set), `always`, `never`.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    color: clap::ColorChoice,
    /// Prints more: the system's error messages, and the checks of `doctor` that passed.
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway.
    #[command(
        after_help = "Examples:\n  hookgate run --config config.yaml\n  HOOKGATE_CONFIG=/etc/hookgate/config.yaml hookgate run"
    )]
    Run(run::RunArgs),
    /// Checks a config and lists its mistakes, as far as it can read it.
    #[command(
        after_help = "Examples:\n  hookgate check config.yaml\n  hookgate check --strict --format json config.yaml"
    )]
    Check(check::CheckArgs),
    /// Prints the JSON Schema of the config.
    #[command(
        after_help = "Examples:\n  hookgate schema > config.schema.json\n  hookgate schema | jq '.properties | keys'"
    )]
    Schema,
    /// Lists the built-in providers, or shows one.
    #[command(
        after_help = "Examples:\n  hookgate providers list --proof sdk\n  hookgate providers show stripe"
    )]
    Providers(providers::ProvidersArgs),
    /// Signs a body as a provider does: prints a curl command, or sends it.
    #[command(
        after_help = "Examples:\n  hookgate sign --provider github --secret-env GITHUB_SECRET --body body.json --url http://127.0.0.1:8080/webhooks/github\n  hookgate sign --config config.yaml --route stripe --body body.json --send"
    )]
    Sign(sign::SignArgs),
    /// Checks whether a recorded request is authentic.
    #[command(
        after_help = "Examples:\n  hookgate verify --provider github --secret-file secret.txt request.http\n  hookgate verify --provider stripe --secret-env STRIPE_SECRET --now 2026-11-24T12:00:00Z --json - < request.http"
    )]
    Verify(verify::VerifyArgs),
    /// Says in plain words why a captured request is refused, and what to do.
    #[command(
        after_help = "Examples:\n  hookgate explain 01K3Z6T1Q0V7Y2M4N8R5S9W3XA\n  hookgate explain --config config.yaml --route github request.http"
    )]
    Explain(explain::ExplainArgs),
    /// Shows what the gateway is refusing and why, and what needs attention.
    #[command(
        after_help = "Examples:\n  hookgate status\n  hookgate status --admin 127.0.0.1:9090 --json | jq .routes"
    )]
    Status(status::StatusArgs),
    /// Shows what routes in observe mode would have refused, and whether it is safe to enforce.
    #[command(
        after_help = "Examples:\n  hookgate report\n  hookgate report --route shopify --settled 7d"
    )]
    Report(report::ReportArgs),
    /// Shows which secrets of the routes match, and which are safe to remove.
    #[command(
        after_help = "Examples:\n  hookgate secrets status\n  hookgate secrets status --route github --json"
    )]
    Secrets(secrets::SecretsArgs),
    /// Lists, shows, follows, replays, cancels, purges and exports stored deliveries.
    #[command(
        after_help = "Examples:\n  hookgate deliveries list --route stripe --state retrying,dead\n  hookgate deliveries replay --route stripe --state dead --since 22h"
    )]
    Deliveries(deliveries::DeliveriesArgs),
    /// Lists and shows events that were published; checks, compares and prints the catalogue of the events that your app sends.
    #[command(
        after_help = "Examples:\n  hookgate events list acme\n  hookgate events check git:main events"
    )]
    Events(events::EventsArgs),
    /// Publishes an event. A call without an answer is repeated, and the event is published only once.
    #[command(
        disable_version_flag = true,
        after_help = "Examples:\n  hookgate publish --tenant acme --type invoice.paid --data @invoice.json\n  hookgate publish --tenant acme --type invoice.paid --data '{\"id\": \"in_1024\"}' --id invoice-1024-paid --dry-run"
    )]
    Publish(publish::PublishArgs),
    /// Lists, shows, makes and removes tenants: the customers that events are published for.
    #[command(
        after_help = "Examples:\n  hookgate tenants create acme --name \"Acme Inc.\"\n  hookgate tenants list --json | jq -r .uid"
    )]
    Tenants(tenants::TenantsArgs),
    /// Lists, shows, makes, changes, pauses, resumes, tests, recovers and removes the endpoints of tenants.
    #[command(
        after_help = "Examples:\n  hookgate endpoints create acme --url https://hooks.example.com/in --types 'invoice.*'\n  hookgate endpoints recover acme main --what failed --since 5d"
    )]
    Endpoints(endpoints::EndpointsArgs),
    /// Makes the gateway forget a delivery ID, so that the next delivery with it is not a duplicate.
    #[command(
        after_help = "Examples:\n  hookgate forget --route stripe evt_1QNkT2Hd7mZ0pVbX\n  hookgate forget --route acme --account a1 d-17 --reason \"lost by the app\""
    )]
    Forget(forget::ForgetArgs),
    /// Releases refused requests of a route that are kept in quarantine and are authentic by now, after a plan.
    #[command(
        after_help = "Examples:\n  hookgate reverify --route github --dry-run\n  hookgate reverify --route github --yes --reason \"the secret was wrong\""
    )]
    Reverify(reverify::ReverifyArgs),
    /// Stops accepting deliveries and delivers those in the queue, before the gateway is stopped.
    #[command(
        after_help = "Examples:\n  hookgate drain --timeout 25s\n  hookgate drain --export /backup/left.jsonl"
    )]
    Drain(drain::DrainArgs),
    /// Creates or upgrades the schema of a store on PostgreSQL, and moves the store of a directory into it.
    #[command(
        after_help = "Examples:\n  hookgate migrate --config owner.yaml --grant hookgate\n  hookgate migrate --config config.yaml --from /var/lib/hookgate --dry-run"
    )]
    Migrate(migrate::MigrateArgs),
    /// Renames a damaged store, so that the gateway starts with a new one.
    #[command(
        after_help = "Examples:\n  hookgate set-aside /var/lib/hookgate\n  hookgate set-aside ./store && hookgate run --config config.yaml"
    )]
    SetAside(set_aside::SetAsideArgs),
    /// Finds problems around the gateway: ways past it, files, certificates, disks, limits; and says what to do.
    #[command(
        after_help = "Examples:\n  hookgate doctor --config config.yaml\n  hookgate doctor -v --config /etc/hookgate/config.yaml"
    )]
    Doctor(doctor::DoctorArgs),
    /// Reloads the config of the running gateway. A config with mistakes is refused, and the last good one stays in use.
    #[command(
        after_help = "Examples:\n  hookgate reload\n  hookgate reload --config /etc/hookgate/config.yaml"
    )]
    Reload(reload::ReloadArgs),
    /// Reports whether a gateway runs here and answers, for a container's health check.
    #[command(
        after_help = "Examples:\n  hookgate health\n  hookgate health --ready --address 127.0.0.1:9091"
    )]
    Health(health::HealthArgs),
    /// Stands in for your app: answers every request with what it received.
    #[command(
        after_help = "Examples:\n  hookgate echo\n  hookgate echo --listen 127.0.0.1:3001 --quiet"
    )]
    Echo(echo::EchoArgs),
    /// Receives webhooks for a rehearsal: verifies each, prints a line, and answers, fails or delays as told.
    #[command(
        after_help = "Examples:\n  hookgate receive --secret-file whsec.txt --fail 3 --delay 2s\n  hookgate receive --secret-file whsec.txt --script script.txt --json"
    )]
    Receive(receive::ReceiveArgs),
    /// Starts a gateway and an app, sends authentic and forged requests, and shows each verdict; then publishes an event.
    #[command(
        after_help = "Examples:\n  hookgate demo --config config.example.yaml\n  hookgate demo --config config.example.yaml --sending demo/config.yaml --exit"
    )]
    Demo(demo::DemoArgs),
    /// Prints completions for a shell.
    #[command(
        after_help = "Examples:\n  hookgate completions bash > /etc/bash_completion.d/hookgate\n  hookgate completions fish | source"
    )]
    Completions(completions::CompletionsArgs),
}

/// Runs the command that `arguments` name, the program's name first. Prints its error, and returns its exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // help and version are answers; a closed pipe is no error
            error.print().ok();
            return if error.use_stderr() {
                Exit::USAGE
            } else {
                Exit::DONE
            };
        }
    };
    let choice = match cli.color {
        clap::ColorChoice::Auto => anstream::ColorChoice::Auto,
        clap::ColorChoice::Always => anstream::ColorChoice::Always,
        clap::ColorChoice::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
    cli.command.run(cli.verbose).unwrap_or_else(|error| {
        let text = error.render(cli.verbose);
        if !text.is_empty() {
            term::say(text.trim_end());
        }
        error.exit
    })
}

impl Command {
    fn run(&self, verbose: bool) -> Result<Exit, Error> {
        match self {
            Self::Run(args) => run::run(args),
            Self::Check(args) => check::check(args),
            Self::Schema => schema::print(),
            Self::Providers(args) => providers::providers(args),
            Self::Sign(args) => sign::sign(args),
            Self::Verify(args) => verify::verify(args),
            Self::Explain(args) => explain::explain(args),
            Self::Status(args) => status::status(args),
            Self::Report(args) => report::report(args),
            Self::Secrets(args) => secrets::secrets(args),
            Self::Deliveries(args) => deliveries::deliveries(args),
            Self::Events(args) => events::events(args),
            Self::Publish(args) => publish::publish(args),
            Self::Endpoints(args) => endpoints::endpoints(args),
            Self::Tenants(args) => tenants::tenants(args),
            Self::Forget(args) => forget::forget(args),
            Self::Reverify(args) => reverify::reverify(args),
            Self::Drain(args) => drain::drain(args),
            Self::Migrate(args) => migrate::migrate(args),
            Self::SetAside(args) => set_aside::set_aside(args),
            Self::Doctor(args) => doctor::doctor(args, verbose),
            Self::Reload(args) => reload::reload(args),
            Self::Health(args) => health::health(args),
            Self::Echo(args) => echo::echo(args),
            Self::Receive(args) => receive::receive(args),
            Self::Demo(args) => demo::demo(args),
            Self::Completions(args) => completions::completions(args, &mut Cli::command()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_two_examples() {
        let command = Cli::command();
        command.clone().debug_assert();
        let below = command
            .get_subcommands()
            .flat_map(clap::Command::get_subcommands);
        for command in command.get_subcommands().chain(below).chain([&command]) {
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert_eq!(help.matches("\n  ").count(), 2, "{}", command.get_name());
        }
    }

    #[test]
    fn help_of_the_commands_of_sending() {
        let mut command = Cli::command();
        command.build();
        for name in ["publish", "tenants", "endpoints"] {
            let command = command.find_subcommand_mut(name).unwrap();
            insta::assert_snapshot!(format!("help_{name}"), command.render_help());
        }
        let endpoints = command.find_subcommand_mut("endpoints").unwrap();
        for name in ["create", "recover"] {
            let command = endpoints.find_subcommand_mut(name).unwrap();
            insta::assert_snapshot!(format!("help_endpoints_{name}"), command.render_help());
        }
    }

    #[test]
    fn mistyped_command_gets_did_you_mean() {
        let error = Cli::try_parse_from(["hookgate", "chek"])
            .unwrap_err()
            .to_string();
        assert!(error.contains("check"), "{error}");
        assert_eq!(main(["hookgate".into(), "--version".into()]), Exit::DONE);
    }
}
