//! `hookgate providers`: lists the built-in presets, and shows what each does.
mod row;
mod show;

use clap::{Subcommand, ValueEnum};

use self::row::Row;
use self::show::show;
use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::table::{Align, Cell, Table, cut};
use crate::cli::term::{self, BOLD, GREEN, Look, PLAIN, YELLOW};
use crate::config::presets::Catalogue;

/// The width of a handshake in the list on a terminal, in characters.
const HANDSHAKE_WIDTH: usize = 24;

/// Arguments of `providers`.
#[derive(Debug, clap::Args)]
pub(super) struct ProvidersArgs {
    #[command(subcommand)]
    command: ProvidersCommand,
}

#[derive(Debug, Subcommand)]
enum ProvidersCommand {
    /// Lists the presets.
    #[command(
        after_help = "Examples:\n  hookgate providers list --proof sdk\n  hookgate providers list --json | jq -r .name"
    )]
    List {
        /// Lists only presets with this proof.
        #[arg(long)]
        proof: Option<Proof>,
        /// Prints one JSON object for each preset.
        #[arg(long, conflicts_with = "markdown")]
        json: bool,
        /// Prints the table of docs/providers.md.
        #[arg(long)]
        markdown: bool,
    },
    /// Shows one preset.
    #[command(
        after_help = "Examples:\n  hookgate providers show stripe\n  hookgate providers show github --json | jq .facts"
    )]
    Show {
        /// The name of the preset.
        name: String,
        /// Prints a JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// The proof of a preset: the source of the requests that it is tested with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Proof {
    Sdk,
    ThirdParty,
    Published,
    Library,
    Unproven,
}

impl Proof {
    fn name(self) -> &'static str {
        match self {
            Self::Sdk => "sdk",
            Self::ThirdParty => "third-party",
            Self::Published => "published",
            Self::Library => "library",
            Self::Unproven => "unproven",
        }
    }
}

/// Runs `providers`.
pub(super) fn providers(args: &ProvidersArgs) -> Result<Exit, Error> {
    let catalogue = Catalogue::built_in();
    match &args.command {
        ProvidersCommand::List {
            proof,
            json,
            markdown,
        } => list(catalogue, *proof, *json, *markdown),
        ProvidersCommand::Show { name, json } => {
            let preset = context::preset(catalogue, name)?;
            let row = Row::of(&preset);
            if *json {
                term::print_line(&row.json().to_string())?;
            } else {
                term::print(&show(&row))?;
            }
            Ok(Exit::DONE)
        }
    }
}

fn list(
    catalogue: &Catalogue,
    proof: Option<Proof>,
    json: bool,
    markdown: bool,
) -> Result<Exit, Error> {
    let all = catalogue.presets().count();
    let rows: Vec<Row<'_>> = catalogue.presets().map(|preset| Row::of(preset)).collect();
    let rows: Vec<Row<'_>> = rows
        .into_iter()
        .filter(|row| proof.is_none_or(|proof| row.proof() == proof.name()))
        .collect();
    if json {
        term::print(
            &rows
                .iter()
                .map(|row| format!("{}\n", row.json()))
                .collect::<String>(),
        )?;
        return Ok(Exit::DONE);
    }
    if markdown {
        term::print(&markdown_table(&rows))?;
        return Ok(Exit::DONE);
    }
    let look = Look::of_stdout();
    term::print(&table(&rows, &look))?;
    term::say(&footer(&rows, all, proof));
    Ok(Exit::DONE)
}

fn table(rows: &[Row<'_>], look: &Look) -> String {
    let columns = ["NAME", "SCHEME", "PROOF", "COVERS", "RETRIES", "HANDSHAKE"]
        .map(|title| (title, Align::Left));
    let mut table = Table::new(&columns, 0);
    for row in rows {
        let style = match row.proof() {
            "unproven" => YELLOW,
            "sdk" => GREEN,
            _ => PLAIN,
        };
        let covers = row.covers.to_string();
        let covers = Cell::styled(covers, if row.covers.nothing() { YELLOW } else { PLAIN });
        let retries = Some(row.retries())
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| look.none().to_owned());
        let handshake = row
            .preset
            .provider
            .facts
            .handshake
            .as_deref()
            .unwrap_or_else(|| look.none());
        // the last column would keep its whole sentence at the cost of the covered parts
        let handshake = cut(
            handshake,
            if look.width.is_some() {
                HANDSHAKE_WIDTH
            } else {
                usize::MAX
            },
            look,
        );
        table.row([
            Cell::styled(&*row.preset.name, BOLD),
            row.scheme().into(),
            Cell::styled(row.proof(), style),
            covers,
            retries.into(),
            handshake.into(),
        ]);
    }
    table.render(look)
}

/// Renders the number of presets, and the command for one.
fn footer(rows: &[Row<'_>], all: usize, proof: Option<Proof>) -> String {
    let unproven = rows.iter().filter(|row| row.proof() == "unproven").count();
    match proof {
        Some(_) => format!(
            "{} of {all}; hookgate providers show NAME describes one",
            rows.len()
        ),
        None => format!(
            "{all}, {} proven, {unproven} not; hookgate providers show NAME describes one",
            all - unproven
        ),
    }
}

/// Renders the table of `docs/providers.md`.
fn markdown_table(rows: &[Row<'_>]) -> String {
    let head = "| name | scheme | proof | covers | resign | delivery ID | bodies repeat |\n|---|---|---|---|---|---|---|\n".to_owned();
    rows.iter().fold(head, |text, row| {
        let covers = [
            (row.covers.body, "body"),
            (row.covers.fields, "fields of the body"),
            (row.covers.timestamp, "time"),
            (row.covers.id, "ID"),
            (row.covers.url, "URL"),
            (row.covers.method, "method"),
            (row.covers.path, "path"),
            (row.covers.query, "query"),
            (row.covers.headers, "headers"),
        ];
        let covers: Vec<&str> = covers
            .into_iter()
            .filter(|(covered, _)| *covered)
            .map(|(_, name)| name)
            .collect();
        let covers = if covers.is_empty() {
            "nothing".to_owned()
        } else {
            covers.join(", ")
        };
        let resign = if row.resignable { "yes" } else { "no" };
        let repeat = row
            .preset
            .provider
            .facts
            .bodies_repeat
            .as_deref()
            .unwrap_or("unknown");
        let (name, scheme, proof, id) = (
            &row.preset.name,
            row.scheme(),
            row.proof(),
            row.delivery_id(),
        );
        format!("{text}| {name} | {scheme} | {proof} | {covers} | {resign} | {id} | {repeat} |\n")
    })
}

#[cfg(test)]
mod tests;
