//! `hookgate events types`: the types of a catalogue.
use serde_json::{Value, json};

use crate::cli::error::{Error, Exit};
use crate::cli::events::source::{self, Dir};
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, BOLD, Look, YELLOW, clean};
use crate::event::EventType;
use crate::event::catalogue::{Catalogue, TypeEntry};
use crate::event::fields::{self, Field};

/// Arguments of `events types`.
#[derive(Debug, clap::Args)]
pub(super) struct TypesArgs {
    /// The type to show; without it all are listed.
    event_type: Option<String>,
    #[command(flatten)]
    dir: Dir,
    /// Prints a JSON object for each type.
    #[arg(long)]
    json: bool,
}

/// Runs `events types`.
pub(super) fn types(args: &TypesArgs) -> Result<Exit, Error> {
    let catalogue = source::load(&args.dir.dir)?;
    let look = Look::of_stdout();
    match &args.event_type {
        Some(name) => {
            let (event_type, entry) = source::entry(&catalogue, name)?;
            term::print(&if args.json {
                format!("{}\n", object(&event_type, entry, true))
            } else {
                show(&event_type, entry, &look)
            })?;
        }
        None if args.json => {
            let lines = catalogue
                .types()
                .map(|(event_type, entry)| format!("{}\n", object(event_type, entry, false)));
            term::print(&lines.collect::<String>())?;
        }
        None => {
            term::print(&list(&catalogue, &look))?;
            term::say("then: hookgate events types TYPE");
        }
    }
    Ok(Exit::DONE)
}

/// Renders the list of types.
pub(super) fn list(catalogue: &Catalogue, look: &Look) -> String {
    let columns = ["TYPE", "VERSIONS", "DEPRECATED", "SENT WHEN"].map(|title| (title, Align::Left));
    let mut table = Table::new(&columns, 0);
    for (event_type, entry) in catalogue.types() {
        let or_none = |text: String| {
            if text.is_empty() {
                look.none().to_owned()
            } else {
                text
            }
        };
        table.row([
            Cell::styled(event_type.as_str(), BOLD),
            numbers(entry.versions.keys()).into(),
            Cell::styled(or_none(numbers(&entry.deprecated)), YELLOW),
            or_none(clean(entry.summary().unwrap_or_default())).into(),
        ]);
    }
    table.render(look)
}

/// Renders one type: its versions, and the fields of the newest.
pub(super) fn show(event_type: &EventType, entry: &TypeEntry, look: &Look) -> String {
    let mut text = format!(
        "{BOLD}{event_type}{BOLD:#}   {}\n\n",
        clean(entry.summary().unwrap_or_default())
    );
    text.push_str(&format!(
        "  versions    {}\n",
        numbers(entry.versions.keys())
    ));
    if !entry.deprecated.is_empty() {
        text.push_str(&format!(
            "  deprecated  {YELLOW}{}{YELLOW:#}\n",
            numbers(&entry.deprecated)
        ));
    }
    let mappings: Vec<String> = entry
        .mappings
        .keys()
        .map(|(from, to)| format!("{from} to {to}"))
        .collect();
    if !mappings.is_empty() {
        text.push_str(&format!("  mappings    {}\n", mappings.join(", ")));
    }
    let fields = newest_fields(entry);
    if fields.is_empty() {
        return text;
    }
    let columns = ["FIELD", "TYPE", "ALWAYS", "MEANING"].map(|title| (title, Align::Left));
    let mut table = Table::new(&columns, 2);
    for field in fields {
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
fn object(event_type: &EventType, entry: &TypeEntry, with_fields: bool) -> Value {
    let mappings: Vec<Value> = entry
        .mappings
        .keys()
        .map(|(from, to)| json!({ "from": from, "to": to }))
        .collect();
    let mut object = json!({
        "type": event_type.as_str(),
        "versions": entry.versions.keys().collect::<Vec<_>>(),
        "deprecated": entry.deprecated,
        "summary": entry.summary(),
        "mappings": mappings,
    });
    if with_fields && let Value::Object(map) = &mut object {
        map.insert("fields".to_owned(), json!(newest_fields(entry)));
    }
    object
}

fn newest_fields(entry: &TypeEntry) -> Vec<Field> {
    let newest = entry.versions.values().next_back();
    newest
        .map(|version| fields::list(&version.document))
        .unwrap_or_default()
}

fn numbers<'n>(numbers: impl IntoIterator<Item = &'n u32>) -> String {
    let numbers: Vec<String> = numbers.into_iter().map(u32::to_string).collect();
    numbers.join(", ")
}
