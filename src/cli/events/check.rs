//! `hookgate events check`: the mistakes of a catalogue, and what changed between two.
use std::path::Path;

use clap::ValueEnum;

use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::events::live;
use crate::cli::events::report::{Report, Style};
use crate::cli::events::source::Loaded;
use crate::cli::outbound_client::OutboundArgs;
use crate::cli::term::{self, Look};
use crate::event::diff;

/// Arguments of `events check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// The catalogue as it was: a directory, `git:REF` or `git:REF:PATH`. Alone, the catalogue that is checked.
    old: String,
    /// The catalogue as it is now.
    new: Option<String>,
    /// The format: `text`, `json` with one object a line, or `github` for annotations of a pull request.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true
    )]
    format: Format,
    /// Short for `--format json`.
    #[arg(long)]
    json: bool,
    /// Asks the running gateway, too: who gets the versions that break, and whether the last 100 events of each changed type are valid now.
    #[arg(long, requires = "new")]
    live: bool,
    #[command(flatten)]
    outbound: OutboundArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Github,
}

/// Runs `events check`.
pub(super) fn check(args: &CheckArgs) -> Result<Exit, Error> {
    let style = match args.format {
        Format::Json => Style::Json,
        Format::Text if args.json => Style::Json,
        Format::Text => Style::Text,
        Format::Github => Style::Github,
    };
    let mut report = match &args.new {
        None => report(&args.old, None)?,
        Some(new) => report(new, Some(&args.old))?,
    };
    let asked = match &report.changes {
        Some(changes) if args.live => {
            let client = args.outbound.client()?;
            let asking = live::ask(&client, changes, &report.catalogue);
            Some(context::block_on(asking)?)
        }
        Some(_) | None => None,
    };
    // what was compared is shown although no gateway answers
    let asked = asked.transpose();
    if let Ok(asked) = &asked {
        report.live.clone_from(asked);
    }
    term::print(&report.render(style, &Look::of_stdout()))?;
    asked?;
    if report.changes.is_some() {
        term::say("fields that the new catalogue does not name are taken as not sent");
    }
    Ok(if report.is_bad() {
        Exit::NO
    } else {
        Exit::DONE
    })
}

/// Reads one catalogue or two, and compares them if neither has an error that hides a change.
pub(super) fn report(new: &str, old: Option<&str>) -> Result<Report, Error> {
    let beside = |place: &str| (!place.starts_with("git:")).then(|| Path::new(place).to_owned());
    let now = Loaded::new(new, old.and_then(beside).as_deref())?;
    let newest = now
        .catalogue
        .types()
        .filter_map(|(event_type, entry)| Some((event_type.to_string(), entry.newest()?)));
    let newest = newest.collect();
    let changes = match old {
        Some(old) if now.error().is_none() => {
            let before = Loaded::new(old, beside(new).as_deref())?;
            if let Some(finding) = before.error() {
                term::warn(&format!(
                    "{old} has errors; a version that has one counts as missing there: {finding}"
                ));
            }
            Some(diff::compare(&before.catalogue, &now.catalogue))
        }
        Some(_) | None => None,
    };
    Ok(Report {
        catalogue: now.catalogue,
        live: None,
        place: new.to_owned(),
        findings: now.findings,
        newest,
        changes,
    })
}
