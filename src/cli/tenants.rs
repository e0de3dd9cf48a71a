//! `hookgate tenants`: lists, shows, makes and removes the customers that events are published for.
use clap::Subcommand;
use clap::builder::NonEmptyStringValueParser;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cli::context;
use crate::cli::deliveries::confirm::YesArgs;
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_client::{OutboundArgs, OutboundClient, within};
use crate::cli::outbound_list::{ListArgs, Listed, foot, list};
use crate::cli::policy::quoted;
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, Look, Sign};

/// The largest number of endpoints of a tenant.
const MAX_ENDPOINTS: u64 = 1_000;

/// Arguments of `tenants`.
#[derive(Debug, clap::Args)]
pub(super) struct TenantsArgs {
    #[command(subcommand)]
    command: TenantsCommand,
    #[command(flatten)]
    outbound: OutboundArgs,
}

#[derive(Debug, Subcommand)]
enum TenantsCommand {
    /// Lists tenants by name.
    #[command(
        after_help = "Examples:\n  hookgate tenants list\n  hookgate tenants list --json | jq -r .uid"
    )]
    List(ListTenantsArgs),
    /// Shows a tenant, its limits and the number of its endpoints.
    #[command(
        after_help = "Examples:\n  hookgate tenants show acme\n  hookgate tenants show acme --json | jq .limits"
    )]
    Show(ShowArgs),
    /// Makes a tenant.
    #[command(
        after_help = "Examples:\n  hookgate tenants create acme --name \"Acme Inc.\"\n  hookgate tenants create acme --publish 100/s --endpoints 10 --replace"
    )]
    Create(CreateArgs),
    /// Removes a tenant that has no endpoints. Its events stay until their retention is over.
    #[command(
        after_help = "Examples:\n  hookgate tenants delete acme\n  hookgate tenants delete acme --yes"
    )]
    Delete(DeleteArgs),
}

/// Arguments of `tenants list`.
#[derive(Debug, clap::Args)]
struct ListTenantsArgs {
    #[command(flatten)]
    list: ListArgs,
    /// Prints times in UTC also on a terminal.
    #[arg(long)]
    utc: bool,
}

/// Arguments of `tenants show`.
#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The tenant.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    tenant: String,
    /// Prints a JSON object.
    #[arg(long)]
    json: bool,
    /// Prints times in UTC also on a terminal.
    #[arg(long)]
    utc: bool,
}

/// Arguments of `tenants create`.
#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Your name of it: 1 to 128 letters, digits and `.`, `_`, `:`, `-`.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    tenant: String,
    /// A text for people.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The rate of its events, such as 100/s (default: `outbound.limits.publish` of the config).
    #[arg(long, value_name = "RATE")]
    publish: Option<String>,
    /// The largest number of its endpoints (default: `outbound.endpoints.per_tenant` of the config).
    #[arg(long, value_name = "COUNT")]
    endpoints: Option<u32>,
    /// Replaces the settings of a tenant that exists.
    #[arg(long)]
    replace: bool,
    /// Prints a JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `tenants delete`.
#[derive(Debug, clap::Args)]
struct DeleteArgs {
    /// The tenant.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    tenant: String,
    #[command(flatten)]
    yes: YesArgs,
}

/// A tenant, as the API shows it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Tenant {
    uid: String,
    created_at: String,
    name: Option<String>,
    limits: Limits,
}

/// The settings of a tenant, as the API reads them.
#[derive(Debug, Serialize)]
struct Settings<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    limits: Limits,
}

/// The limits of a tenant. Those of the config hold where there are none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    publish: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoints: Option<u32>,
}

/// The part of an endpoint that is counted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct EndpointState {
    state: String,
}

/// Runs `tenants`.
pub(super) fn tenants(args: &TenantsArgs) -> Result<Exit, Error> {
    let client = args.outbound.client()?;
    context::block_on(async {
        match &args.command {
            TenantsCommand::List(args) => list_tenants(&client, args).await,
            TenantsCommand::Show(args) => show(&client, args).await,
            TenantsCommand::Create(args) => create(&client, args).await,
            TenantsCommand::Delete(args) => delete(&client, args).await,
        }
    })?
}

async fn list_tenants(client: &OutboundClient, args: &ListTenantsArgs) -> Result<Exit, Error> {
    let found = args.list.get(client, "/v1/tenants", "tenants").await?;
    let Some(found) = found else {
        return Ok(Exit::DONE);
    };
    if !found.items.is_empty() {
        term::print(&render_list(&found, &Look::of_stdout_in(args.utc)))?;
    }
    term::say(&foot(&found, "tenant"));
    if found.items.is_empty() && found.is_whole {
        term::say(&format!(
            "next: hookgate tenants create NAME{}",
            client.options()
        ));
    }
    Ok(Exit::DONE)
}

fn render_list(found: &Listed<Tenant>, look: &Look) -> String {
    let columns = [
        ("TENANT", Align::Left),
        ("NAME", Align::Left),
        ("PUBLISH", Align::Right),
        ("ENDPOINT LIMIT", Align::Right),
        ("CREATED", Align::Left),
    ];
    let mut table = Table::new(&columns, 0);
    let or_none = |text: Option<String>| Cell::from(text.unwrap_or_else(|| look.none().to_owned()));
    for tenant in &found.items {
        table.row([
            Cell::styled(term::clean(&tenant.uid), BOLD),
            or_none(tenant.name.as_deref().map(term::clean)),
            or_none(tenant.limits.publish.as_deref().map(term::clean)),
            or_none(tenant.limits.endpoints.map(|most| most.to_string())),
            created(tenant, look).into(),
        ]);
    }
    table.render(look)
}

fn created(tenant: &Tenant, look: &Look) -> String {
    term::moment(&tenant.created_at).map_or_else(
        || look.none().to_owned(),
        |at| look.time(at, context::now()),
    )
}

async fn show(client: &OutboundClient, args: &ShowArgs) -> Result<Exit, Error> {
    let target = within(&args.tenant, &[]);
    let json: Box<RawValue> = client.get(&target).await?;
    if args.json {
        term::print_line(json.get())?;
        return Ok(Exit::DONE);
    }
    let tenant: Tenant = client.parse(json.get().as_bytes())?;
    let endpoints = within(&args.tenant, &["endpoints"]);
    let endpoints = list(client, &endpoints, "endpoints", MAX_ENDPOINTS).await?;
    term::print(&render(
        &tenant,
        &endpoints.items,
        &Look::of_stdout_in(args.utc),
    ))?;
    let uid = term::clean(&quoted(&tenant.uid));
    let next = if endpoints.items.is_empty() {
        format!("endpoints create {uid} --url https://hooks.example.com/in")
    } else {
        format!("endpoints list {uid}")
    };
    term::say(&format!("next: hookgate {next}{}", client.options()));
    Ok(Exit::DONE)
}

fn render(tenant: &Tenant, endpoints: &[EndpointState], look: &Look) -> String {
    let name = tenant.name.as_deref().map(term::clean);
    let name = name.map_or_else(String::new, |name| format!("   {name}"));
    let publish = tenant.limits.publish.as_deref().map_or_else(
        || "as in the config".to_owned(),
        |rate| format!("{} events", term::clean(rate)),
    );
    let most = tenant.limits.endpoints.map_or_else(String::new, |most| {
        format!(", at most {}", term::count(most.into()))
    });
    let count = |paused: bool| {
        let counted = endpoints
            .iter()
            .filter(|endpoint| !paused || endpoint.state == "paused");
        u64::try_from(counted.count()).unwrap_or(u64::MAX)
    };
    let paused = match count(true) {
        0 => String::new(),
        paused => format!(", {} paused", term::count(paused)),
    };
    format!(
        "{BOLD}{}{BOLD:#}{name}\n\n  created    {}\n  publishes  {publish}\n  endpoints  {}{paused}{most}\n",
        term::clean(&tenant.uid),
        created(tenant, look),
        term::count(count(false)),
    )
}

async fn create(client: &OutboundClient, args: &CreateArgs) -> Result<Exit, Error> {
    let target = within(&args.tenant, &[]);
    if !args.replace && exists(client, &target).await? {
        return Err(
            Error::no(format!("there is a tenant `{}` already", args.tenant)).hint(format!(
                "--replace replaces its settings; hookgate tenants show {}{} shows them",
                quoted(&args.tenant),
                client.options()
            )),
        );
    }
    let settings = Settings {
        name: args.name.as_deref(),
        limits: Limits {
            publish: args.publish.clone(),
            endpoints: args.endpoints,
        },
    };
    let made: Box<RawValue> = client.change(Method::PUT, &target, &settings).await?;
    if args.json {
        term::print_line(made.get())?;
        return Ok(Exit::DONE);
    }
    let uid = term::clean(&args.tenant);
    let sign = Look::of_stdout().sign(Sign::Good);
    term::print_line(&format!("{sign} tenant {BOLD}{uid}{BOLD:#} is saved"))?;
    term::say(&format!(
        "next: hookgate endpoints create {} --url https://hooks.example.com/in{}",
        term::clean(&quoted(&args.tenant)),
        client.options()
    ));
    Ok(Exit::DONE)
}

/// Returns whether the tenant of a target exists.
async fn exists(client: &OutboundClient, target: &str) -> Result<bool, Error> {
    Ok(client.find::<Tenant>(target, "no_tenant").await?.is_some())
}

async fn delete(client: &OutboundClient, args: &DeleteArgs) -> Result<Exit, Error> {
    let target = within(&args.tenant, &[]);
    args.yes.ask(&args.tenant)?;
    client.delete(&target).await?;
    let sign = Look::of_stdout().sign(Sign::Good);
    term::print_line(&format!(
        "{sign} tenant {BOLD}{}{BOLD:#} is removed; its events stay until their retention is over",
        term::clean(&args.tenant)
    ))?;
    Ok(Exit::DONE)
}

#[cfg(test)]
mod tests;
