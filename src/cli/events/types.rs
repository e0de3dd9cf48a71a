//! `hookgate events types`: the types of a catalogue, of a directory or of a running gateway.
use serde_json::{Value, json};

use crate::cli::error::{Error, Exit};
use crate::cli::events::running;
use crate::cli::events::source::{self, Dir};
use crate::cli::events::type_view::TypeView;
use crate::cli::outbound_client::OutboundArgs;
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, Look, YELLOW, clean};

/// Arguments of `events types`.
#[derive(Debug, clap::Args)]
pub(super) struct TypesArgs {
    /// The type to show; without it all are listed.
    event_type: Option<String>,
    #[command(flatten)]
    dir: Dir,
    /// Asks the running gateway for its catalogue, instead of reading a directory.
    #[arg(long, conflicts_with = "dir")]
    live: bool,
    /// Prints a JSON object for each type.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    outbound: OutboundArgs,
}

/// Runs `events types`.
pub(super) fn types(args: &TypesArgs) -> Result<Exit, Error> {
    if args.live {
        let client = args.outbound.client()?;
        return match &args.event_type {
            Some(name) => print_one(&running::one(&client, name)?, args.json),
            None => print_all(&running::all(&client)?, args.json),
        };
    }
    let catalogue = source::load(&args.dir.path(args.outbound.config())?)?;
    match &args.event_type {
        Some(name) => {
            let (event_type, entry) = source::entry(&catalogue, name)?;
            print_one(&TypeView::of(&event_type, entry), args.json)
        }
        None => {
            let types = catalogue.types();
            let views: Vec<TypeView> = types
                .map(|(name, entry)| TypeView::of(name, entry))
                .collect();
            print_all(&views, args.json)
        }
    }
}

fn print_one(view: &TypeView, as_json: bool) -> Result<Exit, Error> {
    term::print(&if as_json {
        format!("{}\n", object(view, true))
    } else {
        show(view, &Look::of_stdout())
    })?;
    Ok(Exit::DONE)
}

fn print_all(views: &[TypeView], as_json: bool) -> Result<Exit, Error> {
    if as_json {
        let lines = views
            .iter()
            .map(|view| format!("{}\n", object(view, false)));
        term::print(&lines.collect::<String>())?;
    } else {
        term::print(&list(views, &Look::of_stdout()))?;
        term::say("next: hookgate events types TYPE");
    }
    Ok(Exit::DONE)
}

/// Renders the list of types.
pub(super) fn list(views: &[TypeView], look: &Look) -> String {
    let columns = ["TYPE", "VERSIONS", "DEPRECATED", "SENT WHEN"].map(|title| (title, Align::Left));
    let mut table = Table::new(&columns, 0);
    let or_none = |text: String| {
        if text.is_empty() {
            look.none().to_owned()
        } else {
            text
        }
    };
    for view in views {
        table.row([
            Cell::styled(clean(&view.name), BOLD),
            numbers(&view.versions).into(),
            Cell::styled(or_none(numbers(&view.deprecated)), YELLOW),
            or_none(clean(view.summary.as_deref().unwrap_or_default())).into(),
        ]);
    }
    table.render(look)
}

/// Renders one type: its versions, and the fields of the newest.
pub(super) fn show(view: &TypeView, look: &Look) -> String {
    let mut text = format!(
        "{BOLD}{}{BOLD:#}   {}\n\n",
        clean(&view.name),
        clean(view.summary.as_deref().unwrap_or_default())
    );
    text.push_str(&format!("  versions    {}\n", numbers(&view.versions)));
    if !view.deprecated.is_empty() {
        text.push_str(&format!(
            "  deprecated  {YELLOW}{}{YELLOW:#}\n",
            numbers(&view.deprecated)
        ));
    }
    let mappings = view.mappings.iter();
    let mappings: Vec<String> = mappings
        .map(|(from, to)| format!("{from} to {to}"))
        .collect();
    if !mappings.is_empty() {
        text.push_str(&format!("  mappings    {}\n", mappings.join(", ")));
    }
    if view.fields.is_empty() {
        return text;
    }
    let columns = ["FIELD", "TYPE", "ALWAYS", "MEANING"].map(|title| (title, Align::Left));
    let mut table = Table::new(&columns, 2);
    for field in &view.fields {
        table.row([
            Cell::styled(clean(&field.path), BOLD),
            clean(&field.kind).into(),
            if field.required { "yes" } else { "no" }.into(),
            clean(&field.description).into(),
        ]);
    }
    text.push('\n');
    text + &table.render(look)
}

/// Returns a type as JSON, with the fields of the newest version if asked for.
fn object(view: &TypeView, with_fields: bool) -> Value {
    let mappings = view.mappings.iter();
    let mappings: Vec<Value> = mappings
        .map(|(from, to)| json!({ "from": from, "to": to }))
        .collect();
    let mut object = json!({
        "type": view.name,
        "versions": view.versions,
        "deprecated": view.deprecated,
        "summary": view.summary,
        "mappings": mappings,
    });
    if with_fields && let Value::Object(map) = &mut object {
        map.insert("fields".to_owned(), json!(view.fields));
    }
    object
}

fn numbers<'n>(numbers: impl IntoIterator<Item = &'n u32>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(u32::to_string).collect();
    numbers.join(", ")
}
