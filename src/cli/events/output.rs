//! `hookgate events example`, `docs` and `openapi`: what a catalogue gives.
use std::path::PathBuf;

use crate::cli::error::{Error, Exit};
use crate::cli::events::source::{self, DirArgs};
use crate::cli::term;
use crate::event::{openapi, pages};
use crate::units::saturating;

/// Arguments of `events example`.
#[derive(Debug, clap::Args)]
pub(super) struct ExampleArgs {
    /// The type.
    event_type: String,
    /// The version; the newest if it is not given.
    #[arg(long, value_name = "NUMBER")]
    version: Option<u32>,
    #[command(flatten)]
    dir: DirArgs,
}

/// Arguments of `events docs`.
#[derive(Debug, clap::Args)]
pub(super) struct DocsArgs {
    /// The directory to write the pages into. It is made if it is missing; pages with the same name are replaced.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    dir: DirArgs,
}

/// Arguments of `events openapi`.
#[derive(Debug, clap::Args)]
pub(super) struct OpenapiArgs {
    #[command(flatten)]
    dir: DirArgs,
}

/// Runs `events example`.
pub(super) fn example(args: &ExampleArgs) -> Result<Exit, Error> {
    let dir = args.dir.path()?;
    let catalogue = source::load(&dir)?;
    let (event_type, entry) = source::entry(&catalogue, &args.event_type)?;
    let number = args.version.or_else(|| entry.newest()).unwrap_or_default();
    let Some(version) = entry.versions.get(&number) else {
        let known: Vec<String> = entry.versions.keys().map(u32::to_string).collect();
        let word = if known.len() == 1 {
            "version"
        } else {
            "versions"
        };
        return Err(Error::no(format!("{event_type} has no version {number}"))
            .why(format!("It has {word} {}.", known.join(", "))));
    };
    let Some(example) = &version.example else {
        return Err(
            Error::no(format!("{event_type} {number} has no example")).hint(format!(
                "write {}/{event_type}/{number}.example.json",
                dir.display()
            )),
        );
    };
    term::print_line(example.get())?;
    Ok(Exit::DONE)
}

/// Runs `events docs`.
pub(super) fn docs(args: &DocsArgs) -> Result<Exit, Error> {
    let catalogue = source::load(&args.dir.path()?)?;
    let pages = pages::render(&catalogue);
    let cannot = |path: &std::path::Path, error: std::io::Error| {
        Error::no("the page cannot be written")
            .at(path.display().to_string())
            .cause(error)
    };
    std::fs::create_dir_all(&args.to).map_err(|error| cannot(&args.to, error))?;
    for (name, text) in &pages {
        let path = args.to.join(name);
        std::fs::write(&path, text).map_err(|error| cannot(&path, error))?;
    }
    let to = term::clean(&args.to.display().to_string());
    let count = saturating(pages.len());
    term::say(&format!(
        "{} in {to}; README.md lists the types",
        term::counted(count, "page")
    ));
    Ok(Exit::DONE)
}

/// Runs `events openapi`.
pub(super) fn openapi(args: &OpenapiArgs) -> Result<Exit, Error> {
    let document = openapi::document(&source::load(&args.dir.path()?)?);
    let text = serde_json::to_string_pretty(&document)
        .map_err(|error| Error::no("the document cannot be written").cause(error))?;
    term::print_line(&text)?;
    Ok(Exit::DONE)
}
