//! Reads a catalogue from a directory, or from a commit of git.
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::cli::ask::beside;
use crate::cli::context;
use crate::cli::error::Error;
use crate::cli::events::git::{self, MAX_FILES};
use crate::cli::term;
use crate::config::diagnostic::did_you_mean;
use crate::event::EventType;
use crate::event::catalogue::{Catalogue, Files, Finding, Level, MAX_FILE_BYTES, TypeEntry};

/// The directory where no option and no config names one.
const DEFAULT_DIR: &str = "events";

/// The directory of a catalogue.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Dir {
    /// The directory of the catalogue (default: `outbound.events.dir` of the config; without it `events`).
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The directory of a catalogue, or a config that names it.
#[derive(Debug, clap::Args)]
pub(super) struct DirArgs {
    #[command(flatten)]
    dir: Dir,
    /// The config of the gateway, which names the directory.
    #[arg(long, env = "HOOKGATE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Dir {
    /// Returns the directory.
    ///
    /// # Errors
    /// The config cannot be read.
    pub(super) fn path(&self, config: Option<&Path>) -> Result<PathBuf, Error> {
        if let Some(dir) = &self.dir {
            return Ok(dir.clone());
        }
        let outbound = match config {
            Some(path) => context::written(path)?.outbound,
            None => None,
        };
        let dir = outbound.and_then(|outbound| outbound.events?.dir);
        Ok(dir.map_or_else(
            || PathBuf::from(DEFAULT_DIR),
            |dir| beside(config).join(dir),
        ))
    }
}

impl DirArgs {
    /// Returns the directory.
    ///
    /// # Errors
    /// As [`Dir::path`].
    pub(super) fn path(&self) -> Result<PathBuf, Error> {
        self.dir.path(self.config.as_deref())
    }
}

/// A compiled catalogue, with the findings about it.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The catalogue.
    pub(super) catalogue: Catalogue,
    /// The findings.
    pub(super) findings: Vec<Finding>,
}

impl Loaded {
    /// Reads a catalogue from `DIR`, `git:REF` or `git:REF:PATH`. `beside` is the other directory: the path inside a commit, if none is written.
    pub(super) fn new(place: &str, beside: Option<&Path>) -> Result<Self, Error> {
        let files = match place.strip_prefix("git:") {
            Some(reference) => git::read(reference, beside)?,
            None => read(Path::new(place))?,
        };
        let (catalogue, findings) = Catalogue::compile(&files);
        Ok(Self {
            catalogue,
            findings,
        })
    }

    /// Returns the first error.
    pub(super) fn error(&self) -> Option<&Finding> {
        self.findings
            .iter()
            .find(|finding| finding.level == Level::Error)
    }
}

/// Reads a catalogue that must have no error.
pub(in crate::cli) fn load(dir: &Path) -> Result<Catalogue, Error> {
    let loaded = Loaded::new(&dir.display().to_string(), None)?;
    match loaded.error() {
        None => Ok(loaded.catalogue),
        Some(finding) => Err(Error::no("the catalogue has errors")
            .at(format!("{}/{finding}", dir.display()))
            .hint(format!("hookgate events check {}", dir.display()))),
    }
}

/// Returns a type of the catalogue by its name.
pub(super) fn entry<'c>(
    catalogue: &'c Catalogue,
    name: &str,
) -> Result<(EventType, &'c TypeEntry), Error> {
    let event_type = EventType::new(name).map_err(|why| Error::usage(why.to_string()))?;
    match catalogue.get(&event_type) {
        Some(entry) => Ok((event_type, entry)),
        None => {
            let near = did_you_mean(name, catalogue.types().map(|(known, _)| known.as_str()));
            let error = Error::no(format!("the catalogue has no type `{name}`"));
            Err(match near {
                Some(near) => error.why(near),
                None => error.hint("hookgate events types"),
            })
        }
    }
}

/// Reads the files of a directory, and those of the folders in it.
fn read(dir: &Path) -> Result<Files, Error> {
    let mut files = Files::new();
    let cannot = |path: &Path, error: std::io::Error| {
        Error::no("the catalogue cannot be read")
            .at(path.display().to_string())
            .why("A catalogue is a directory with a folder for each type.")
            .hint("--dir DIR, or the directory as an argument of `events check`")
            .cause(error)
    };
    for (name, path) in entries(dir).map_err(|error| cannot(dir, error))? {
        if path.is_dir() {
            for (inside, path) in entries(&path).map_err(|error| cannot(&path, error))? {
                add(&mut files, format!("{name}/{inside}"), &path)
                    .map_err(|error| cannot(&path, error))?;
            }
        } else {
            add(&mut files, name, &path).map_err(|error| cannot(&path, error))?;
        }
        if files.len() > MAX_FILES {
            return Err(
                Error::no("the directory has too many files for a catalogue")
                    .at(dir.display().to_string()),
            );
        }
    }
    Ok(files)
}

/// Returns the names and paths in a directory. Hidden ones and those that are not UTF-8 are left out.
fn entries(dir: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_name().into_string() {
            Ok(name) if !name.starts_with('.') => found.push((name, entry.path())),
            Ok(_) => {}
            Err(name) => term::warn(&format!(
                "{} is not read: its name is not UTF-8",
                name.display()
            )),
        }
    }
    found.sort();
    Ok(found)
}

/// Reads a file, as much of it as shows that it is too large.
fn add(files: &mut Files, name: String, path: &Path) -> std::io::Result<()> {
    if !path.is_file() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_FILE_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(1);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    files.insert(name, bytes);
    Ok(())
}
