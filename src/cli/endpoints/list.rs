//! `hookgate endpoints list`: one line for each endpoint of a tenant.
use clap::builder::NonEmptyStringValueParser;

use super::shown::Endpoint;
use crate::cli::error::{Error, Exit};
use crate::cli::outbound_client::{OutboundClient, within};
use crate::cli::outbound_list::{ListArgs, foot};
use crate::cli::policy::quoted;
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, DIM, Look};

/// Arguments of `endpoints list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListEndpointsArgs {
    /// The tenant.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    tenant: String,
    #[command(flatten)]
    list: ListArgs,
}

/// Runs `endpoints list`.
pub(super) async fn list_endpoints(
    client: &OutboundClient,
    args: &ListEndpointsArgs,
) -> Result<Exit, Error> {
    let target = within(&args.tenant, &["endpoints"]);
    let found = args
        .list
        .get::<Endpoint>(client, &target, "endpoints")
        .await?;
    let Some(found) = found else {
        return Ok(Exit::DONE);
    };
    if !found.items.is_empty() {
        term::print(&render(&found.items, &Look::of_stdout()))?;
    }
    term::say(&foot(&found, "endpoint"));
    let tenant = term::clean(&quoted(&args.tenant));
    let options = client.options();
    let bad = found
        .items
        .iter()
        .find(|endpoint| endpoint.paused.is_some() || endpoint.health.is_some());
    if let Some(bad) = bad {
        let id = term::clean(&bad.id);
        term::say(&format!(
            "next: hookgate endpoints show {tenant} {id}{options}"
        ));
    } else if found.items.is_empty() && found.is_whole {
        term::say(&format!(
            "next: hookgate endpoints create {tenant} --url https://hooks.example.com/in{options}"
        ));
    }
    Ok(Exit::DONE)
}

/// Renders the table.
pub(super) fn render(endpoints: &[Endpoint], look: &Look) -> String {
    let with_uid = endpoints.iter().any(|endpoint| endpoint.uid.is_some());
    let mut columns = vec![
        ("ID", Align::Left),
        ("URL", Align::Left),
        ("TYPES", Align::Left),
        ("STATE", Align::Left),
    ];
    if with_uid {
        columns.insert(1, ("UID", Align::Left));
    }
    let mut table = Table::new(&columns, 0);
    for endpoint in endpoints {
        let (sign, state) = endpoint.short_state(look);
        let mut cells = vec![
            Cell::styled(term::clean(&endpoint.id), BOLD),
            term::clean(&endpoint.url).into(),
            term::clean(&endpoint.types.join(", ")).into(),
            Cell::styled(state, sign.style()),
        ];
        if with_uid {
            let uid = endpoint.uid.as_deref().map(term::clean);
            let uid = uid.map_or_else(|| Cell::styled(look.none(), DIM), Cell::from);
            cells.insert(1, uid);
        }
        table.row(cells);
    }
    table.render(look)
}
