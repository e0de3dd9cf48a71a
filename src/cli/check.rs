//! `hookgate check`: the mistakes of a config, each with its line and what to write.
use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::table::{Align, Cell, Table};
use crate::cli::term::{self, Look, Sign};
use crate::config::snapshot::{Route, Snapshot};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Counts warnings as errors.
    #[arg(long)]
    strict: bool,
    /// The format of the findings: `text`, or `json` with one object a line.
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
    /// The config.
    file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Runs `check`.
pub(super) fn check(args: &CheckArgs) -> Result<Exit, Error> {
    let loaded = context::try_load(&args.file);
    let (report, summary) = match &loaded {
        Ok(loaded) => (&loaded.report, Some(loaded.summary())),
        Err(refused) => (&refused.report, None),
    };
    for note in loaded.iter().flat_map(|loaded| &loaded.notes) {
        term::say(&term::clean(note));
    }
    if args.json || args.format == Format::Json {
        term::print(&report.json_lines())?;
        for line in loaded.iter().flat_map(|loaded| guarded(&loaded.snapshot)) {
            term::print_line(&serde_json::to_string(&line).unwrap_or_default())?;
        }
    } else {
        term::print(&report.render(true))?;
        if !report.findings.is_empty() {
            term::print_line(&format!("\n{}", report.summary()))?;
        }
        if let Some(summary) = summary {
            let sign = Look::of_stdout().sign(Sign::Good);
            term::print_line(&format!(
                "{sign} {}: {summary}",
                term::clean(&args.file.display().to_string())
            ))?;
        }
        term::print(
            &loaded
                .iter()
                .map(|loaded| table(&guarded(&loaded.snapshot)))
                .collect::<String>(),
        )?;
    }
    let bad = loaded.is_err() || (args.strict && report.warnings() > 0);
    Ok(if bad { Exit::NO } else { Exit::DONE })
}

/// A path that only a webhook route may ask for.
#[derive(Debug, serde::Serialize)]
struct GuardedPath {
    level: &'static str,
    guarded_path: String,
    /// The webhook route of this path.
    route: String,
    /// The pass routes that cover this path, and refuse it in every spelling.
    pass_routes: Vec<String>,
}

/// Returns the guarded paths of the upstreams that have pass routes.
fn guarded(snapshot: &Snapshot) -> Vec<GuardedPath> {
    let passes: Vec<_> = snapshot
        .routes
        .iter()
        .filter_map(Route::pass)
        .map(|pass| (pass, snapshot.guards.of(&pass.upstream.address.app())))
        .collect();
    let mut paths: Vec<GuardedPath> = Vec::new();
    for (pass, guards) in &passes {
        for guard in &guards.list {
            let known = paths
                .iter()
                .position(|known| known.guarded_path == guard.path && known.route == *guard.route);
            let new = || GuardedPath {
                level: "info",
                guarded_path: guard.path.clone(),
                route: guard.route.to_string(),
                pass_routes: Vec::new(),
            };
            let at = known.unwrap_or_else(|| {
                paths.push(new());
                paths.len() - 1
            });
            if let Some(path) = paths.get_mut(at).filter(|_| guard.is_under(&pass.path)) {
                path.pass_routes.push(pass.name.to_string());
            }
        }
    }
    paths
}

fn table(paths: &[GuardedPath]) -> String {
    if paths.is_empty() {
        return String::new();
    }
    let mut table = Table::new(
        &[
            ("GUARDED PATH", Align::Left),
            ("BY ROUTE", Align::Left),
            ("REFUSED ON", Align::Left),
        ],
        2,
    );
    for path in paths {
        let refused_on = if path.pass_routes.is_empty() {
            "–".to_owned()
        } else {
            path.pass_routes.join(", ")
        };
        table.row([
            Cell::from(path.guarded_path.as_str()),
            Cell::from(path.route.as_str()),
            Cell::from(refused_on),
        ]);
    }
    format!("\n{}", table.render(&Look::of_stdout()))
}
