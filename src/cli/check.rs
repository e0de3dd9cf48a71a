//! `hookgate check`: all that is wrong with a config, each with its line and what to write.
use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::context;
use crate::cli::error::{Error, Exit};
use crate::cli::term::{self, Look, Sign};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    /// Counts warnings as errors.
    #[arg(long)]
    strict: bool,
    /// How findings are printed: `text` or `json`, one object a line.
    #[arg(long, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    format: Format,
    /// As `--format json`.
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
        Err(rejected) => (&rejected.report, None),
    };
    for note in loaded.iter().flat_map(|loaded| &loaded.notes) {
        term::say(&term::clean(note));
    }
    if args.json || args.format == Format::Json {
        term::print(&report.json_lines())?;
    } else {
        term::print(&report.render(true))?;
        if !report.findings.is_empty() {
            term::print_line(&format!("\n{}", report.summary()))?;
        }
        if let Some(summary) = summary {
            let sign = Look::of_stdout().sign(Sign::Good);
            term::print_line(&format!("{sign} {}: {summary}", term::clean(&args.file.display().to_string())))?;
        }
    }
    let bad = loaded.is_err() || (args.strict && report.warnings() > 0);
    Ok(if bad { Exit::NO } else { Exit::DONE })
}
