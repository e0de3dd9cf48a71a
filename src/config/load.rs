//! Reads a config from disk and compiles it: all or nothing.
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::{Dates, Now};
use crate::config::compile::{self, Context};
use crate::config::inputs::{Contents, Inputs};
use crate::config::presets::Catalogue;
use crate::config::report::Report;
use crate::config::secret::{Cache, Env, Loader, Origins};
use crate::config::snapshot::Snapshot;
use crate::config::yaml_tree;
use crate::mount::{self, Mount};

mod common;
mod reading;
mod summary;

use reading::Reading;

/// A config that can run.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled config.
    pub snapshot: Snapshot,
    /// The warnings.
    pub report: Report,
    /// Notes for the log. Each is made once, as long as the cache is passed on.
    pub notes: Vec<String>,
    /// The top-level keys that the previous config had and this one does not have.
    pub removed_keys: Vec<String>,
    /// The names (`route/secret`) of secrets whose file contains no valid text now, so that the last good one stays in use: `secret_stale`.
    pub stale: Vec<String>,
    /// The certificates whose files contain no valid pair now, with the reason. The last good pair stays in use.
    pub stale_certificates: Vec<String>,
    /// The contents that were read.
    pub contents: Arc<Contents>,
    /// The number of secrets, those of tables included.
    pub secrets: usize,
    /// The sources of the secrets.
    pub origins: Origins,
    /// The presets, those of `providers` included.
    pub catalogue: Catalogue,
    /// The cache for the next load.
    pub cache: Cache,
}

/// The errors of a config that cannot run.
pub struct RefusedConfig {
    /// The errors and warnings.
    pub report: Report,
    /// All files that were read. When one of them changes, the config can be loaded again.
    pub files: Vec<PathBuf>,
    /// The contents that were read.
    pub contents: Arc<Contents>,
}

impl std::fmt::Debug for RefusedConfig {
    /// Leaves out the files: a user who writes a secret into `file` by mistake has it among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RefusedConfig")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

/// Reads and compiles the config at `path`. `previous` is the cache of the previous load: unchanged entries of tables are not read again,
/// and a secret file that is empty now keeps its last good text.
///
/// # Errors
/// The errors of the config.
pub fn load(
    path: &Path,
    env: Env<'_>,
    previous: Option<&Cache>,
    generation: u64,
    now: Now,
) -> Result<Loaded, RefusedConfig> {
    load_by(path, env, previous, generation, now, Dates::at(now.wall))
}

/// Loads the config of a running gateway, whose `dates` judge certificates.
///
/// # Errors
/// The errors of the config.
pub fn load_by(
    path: &Path,
    env: Env<'_>,
    previous: Option<&Cache>,
    generation: u64,
    now: Now,
    dates: Dates,
) -> Result<Loaded, RefusedConfig> {
    load_among(
        &mount::own(),
        path,
        Loader::new(&base_of(path), env, previous, now, dates),
        generation,
    )
}

/// Returns the directory of a config, to which paths are relative.
fn base_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// Reads and compiles the config on a machine with these mounts.
fn load_among(
    mounts: &[Mount],
    path: &Path,
    mut loader: Loader<'_>,
    generation: u64,
) -> Result<Loaded, RefusedConfig> {
    let previous = loader.previous;
    let main = match loader.inputs.read_main(path, yaml_tree::MAX_BYTES) {
        Ok(bytes) => reading::source(path, bytes, &mut loader),
        Err(why) => {
            let report = Report::of_file(&path.display().to_string(), format!("the config {why}"));
            return Err(refused(report, loader.inputs));
        }
    };
    let removed_keys = loader.cache.keep_keys(main.keys(), previous);
    if let Some(tree) = &main.tree {
        common::feed(tree, &mut loader.inputs);
    }
    let mut reading = Reading::new(loader, main);
    let (written, catalogue) = reading.all();
    let Reading {
        loader,
        sources,
        problems,
        ..
    } = reading;
    // A file that is not valid YAML hides what others refer to; only its own faults are reported.
    if sources
        .iter()
        .any(|source| source.tree.is_none() || source.faults.iter().any(|fault| fault.fatal))
    {
        return Err(refused(Report::new(&sources, &problems), loader.inputs));
    }
    let mut cx = Context {
        problems,
        loader,
        catalogue: &catalogue,
        mounts,
        certificates: Vec::new(),
        findings: Vec::new(),
        asks_for_certificates: false,
        has_store: false,
        on_store_down: None,
        is_shared: false,
    };
    let snapshot = compile::compile(written, generation, &mut cx);
    let Context {
        problems,
        loader,
        findings,
        ..
    } = cx;
    let report = Report::new(&sources, &problems).with(findings);
    let mut loaded = finished(snapshot, report, loader, removed_keys)?;
    loaded.catalogue = catalogue;
    Ok(loaded)
}

/// Returns the errors of a config that cannot run.
fn refused(report: Report, inputs: Inputs) -> RefusedConfig {
    let read = inputs.finish();
    RefusedConfig {
        report,
        files: read.files,
        contents: Arc::new(read.contents),
    }
}

/// Returns the result of a load, without its presets, unless the report has errors.
fn finished(
    mut snapshot: Snapshot,
    report: Report,
    loader: Loader<'_>,
    removed_keys: Vec<String>,
) -> Result<Loaded, RefusedConfig> {
    let Loader {
        inputs,
        notes,
        stale,
        stale_certificates,
        count,
        origins,
        cache,
        ..
    } = loader;
    if report.errors() > 0 {
        return Err(refused(report, inputs));
    }
    let read = inputs.finish();
    snapshot.hash = read.hash;
    snapshot.common_hash = read.common;
    snapshot.files = read.files;
    Ok(Loaded {
        snapshot,
        report,
        notes,
        removed_keys,
        stale,
        stale_certificates,
        contents: Arc::new(read.contents),
        secrets: count,
        origins,
        catalogue: Catalogue::default(),
        cache,
    })
}

#[cfg(test)]
mod tests;
