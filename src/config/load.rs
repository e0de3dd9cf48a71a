//! Reads a config from disk and compiles it: all or nothing.
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::clock::{Dates, Now};
use crate::config::compile::{self, Context, Written};
use crate::config::diagnostic::{Diagnostics, Place, shown};
use crate::config::file;
use crate::config::presets::{Catalogue, check_facts};
use crate::config::report::Report;
use crate::config::secret::{Cache, Env, Loader, Origins};
use crate::config::snapshot::{Action, Snapshot};
use crate::config::source::{self, BadPattern, MAX_MATCHES, Source};
use crate::config::yaml_tree;
use crate::mount::{self, Mount};

/// How large all files beside the config may be together, in bytes.
const MAX_INCLUDED: usize = 16 * 1024 * 1024;

/// A config that can run.
#[derive(Debug)]
pub struct Loaded {
    /// What runs.
    pub snapshot: Snapshot,
    /// Its warnings.
    pub report: Report,
    /// What is worth a line in the log, and no more: each is said once, as long as the cache is handed on.
    pub notes: Vec<String>,
    /// Keys of the config itself that the load before this one had, and this one has not.
    pub removed_keys: Vec<String>,
    /// Names (`route/secret`) whose file holds no usable text now, so that the last good one stays in use: `secret_stale`.
    pub stale: Vec<String>,
    /// Certificates whose files hold no good pair now, and why, so that the last good one stays in use.
    pub stale_certificates: Vec<String>,
    /// How many secrets there are, all tables included.
    pub secrets: usize,
    /// Where the secrets come from.
    pub origins: Origins,
    /// The presets, those of the config's own directory included.
    pub catalogue: Catalogue,
    /// For the next load.
    pub cache: Cache,
}

impl Loaded {
    /// ``7 routes, 2 upstreams, 9 secrets; no route unverified``
    pub fn summary(&self) -> String {
        let counted = |count: usize, word: &str| {
            format!("{count} {word}{}", if count == 1 { "" } else { "s" })
        };
        let unverified: Vec<&str> = self
            .snapshot
            .hooks
            .iter()
            .filter(|hook| hook.verifier.is_none())
            .map(|hook| &*hook.name)
            .collect();
        let passes = self
            .snapshot
            .routes
            .iter()
            .filter(|route| route.pass().is_some())
            .count();
        let unverified = match unverified.as_slice() {
            [] if passes > 0 => "no webhook route unverified".to_owned(),
            [] => "no route unverified".to_owned(),
            names => format!("unverified: {}", names.join(", ")),
        };
        let dates = Dates::at(self.snapshot.loaded_at);
        let observing = self
            .snapshot
            .hooks
            .iter()
            .filter(|hook| hook.observes(&dates));
        let observing: Vec<&str> = observing.map(|hook| &*hook.name).collect();
        let observing = if observing.is_empty() {
            String::new()
        } else {
            format!("; observing: {}", observing.join(", "))
        };
        let [routes, upstreams] = [self.snapshot.routes.len(), self.snapshot.upstreams.len()];
        let queues = self
            .snapshot
            .hooks
            .iter()
            .filter(|hook| matches!(hook.action, Action::Queue))
            .count();
        let spills = self
            .snapshot
            .hooks
            .iter()
            .filter(|hook| hook.action.queues())
            .count()
            - queues;
        let kinds = [(queues, "queue"), (spills, "spill"), (passes, "pass")];
        let kinds: Vec<String> = kinds
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, kind)| format!("{count} {kind}"))
            .collect();
        let kinds = if kinds.is_empty() {
            String::new()
        } else {
            format!(" ({})", kinds.join(", "))
        };
        format!(
            "{}{kinds}, {}, {}; {unverified}{observing}",
            counted(routes, "route"),
            counted(upstreams, "upstream"),
            counted(self.secrets, "secret")
        )
    }
}

/// Why a config cannot run.
pub struct Rejected {
    /// All that is wrong with it, and its warnings.
    pub report: Report,
    /// All files that were looked at: when one of them changes, it may be worth another try.
    pub files: Vec<PathBuf>,
}

impl std::fmt::Debug for Rejected {
    /// Without the files: who mistakes `file` for the place of the secret itself has it among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rejected")
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

/// Reads and compiles the config at `path`. `previous` is what the load before this one kept: unchanged entries of tables are not read again,
/// and a secret file that is empty now keeps its last good text.
///
/// # Errors
/// All that is wrong with it.
pub fn load(
    path: &Path,
    env: Env<'_>,
    previous: Option<&Cache>,
    generation: u64,
    now: Now,
) -> Result<Loaded, Rejected> {
    load_by(path, env, previous, generation, now, Dates::at(now.wall))
}

/// [`load`] in a running gateway, whose `dates` judge certificates.
///
/// # Errors
/// All that is wrong with it.
pub fn load_by(
    path: &Path,
    env: Env<'_>,
    previous: Option<&Cache>,
    generation: u64,
    now: Now,
    dates: Dates,
) -> Result<Loaded, Rejected> {
    load_among(
        &mount::own(),
        path,
        Loader::new(&base_of(path), env, previous, now, dates),
        generation,
    )
}

/// Returns the directory of a config: relative paths begin there.
fn base_of(path: &Path) -> PathBuf {
    path.parent().map_or_else(PathBuf::new, Path::to_owned)
}

/// [`load`] on a machine with these mounts.
fn load_among(
    mounts: &[Mount],
    path: &Path,
    mut loader: Loader<'_>,
    generation: u64,
) -> Result<Loaded, Rejected> {
    let previous = loader.previous;
    let main = match loader.inputs.read(path, yaml_tree::MAX_BYTES) {
        Ok(bytes) => source(path, bytes, &mut loader),
        Err(why) => {
            let report = Report::of_file(&path.display().to_string(), format!("the config {why}"));
            return Err(Rejected {
                report,
                files: vec![path.to_owned()],
            });
        }
    };
    let removed_keys = loader.cache.keep_keys(main.keys(), previous);
    let mut reading = Reading {
        loader,
        sources: vec![main],
        problems: Diagnostics::default(),
        bytes: 0,
        is_too_large: false,
    };
    let mut main: file::File = reading.parse(0);
    let catalogue = reading.catalogue(main.providers.as_deref());
    let mut upstreams = with_places(0, std::mem::take(&mut main.upstreams));
    let mut routes = indexed(0, std::mem::take(&mut main.routes));
    for index in reading.include(&main.include) {
        let included: file::Included = reading.parse(index);
        let file::Included {
            upstreams: more_upstreams,
            routes: more_routes,
        } = included;
        upstreams.extend(with_places(index, more_upstreams));
        routes.extend(indexed(index, more_routes));
    }
    let Reading {
        loader,
        sources,
        problems,
        ..
    } = reading;
    // A file that cannot be read as YAML hides what others refer to; its own faults are told alone.
    if sources
        .iter()
        .any(|source| source.tree.is_none() || source.faults.iter().any(|fault| fault.fatal))
    {
        return Err(Rejected {
            report: Report::new(&sources, &problems),
            files: loader.inputs.finish().0,
        });
    }
    let mut cx = Context {
        problems,
        loader,
        catalogue: &catalogue,
        mounts,
        certificates: Vec::new(),
        asks_for_certificates: false,
        has_store: false,
    };
    let mut snapshot = compile::compile(
        Written {
            main,
            upstreams,
            routes,
        },
        generation,
        &mut cx,
    );
    let Context {
        problems, loader, ..
    } = cx;
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
    let report = Report::new(&sources, &problems);
    let (files, hash) = inputs.finish();
    if report.errors() > 0 {
        return Err(Rejected { report, files });
    }
    snapshot.hash = hash;
    snapshot.files = files;
    Ok(Loaded {
        snapshot,
        report,
        notes,
        removed_keys,
        stale,
        stale_certificates,
        secrets: count,
        origins,
        catalogue,
        cache,
    })
}

/// Returns a file of the config with what is wrong with it as YAML. One that was cut off since the last load is wrong.
fn source(path: &Path, bytes: Zeroizing<Vec<u8>>, loader: &mut Loader<'_>) -> Source {
    let mut source = Source::new(path.display().to_string(), &bytes);
    if loader
        .previous
        .is_some_and(|previous| previous.breaks_off(path, &bytes))
    {
        source.break_off();
    }
    loader.cache.keep_written(path, bytes);
    source
}

fn with_places(
    file: usize,
    upstreams: std::collections::BTreeMap<String, file::Upstream>,
) -> Vec<(Place, String, file::Upstream)> {
    let root = Place::root(file).key("upstreams");
    upstreams
        .into_iter()
        .map(|(name, upstream)| (root.key(&name), name, upstream))
        .collect()
}

fn indexed(file: usize, routes: Vec<file::Route>) -> Vec<(Place, file::Route)> {
    let root = Place::root(file).key("routes");
    routes
        .into_iter()
        .enumerate()
        .map(|(index, route)| (root.index(index), route))
        .collect()
}

struct Reading<'a> {
    loader: Loader<'a>,
    sources: Vec<Source>,
    problems: Diagnostics,
    /// The size of the files beside the config.
    bytes: usize,
    /// Whether that was too much.
    is_too_large: bool,
}

impl Reading<'_> {
    fn parse<T: serde::de::DeserializeOwned + schemars::JsonSchema + Default>(
        &mut self,
        index: usize,
    ) -> T {
        self.sources
            .get_mut(index)
            .map(|source| source.parse(index, &mut self.problems))
            .unwrap_or_default()
    }

    /// Reads a file beside the main one; the index of its source. `at` is where the config names it.
    fn open(&mut self, path: &Path, at: &Place) -> Option<usize> {
        match self.loader.inputs.read(path, yaml_tree::MAX_BYTES) {
            // Whoever writes it anew empties it first: that takes no route away.
            Ok(bytes) if bytes.trim_ascii().is_empty() => {
                let help =
                    "write into it what it is for, or a comment if it shall say nothing".to_owned();
                self.problems.error(
                    at,
                    format!("the file {} is empty", shown(&path.display().to_string())),
                    help,
                );
                None
            }
            Ok(bytes) => {
                self.bytes = self.bytes.saturating_add(bytes.len());
                if self.bytes > MAX_INCLUDED {
                    if !std::mem::replace(&mut self.is_too_large, true) {
                        let help = "name only files of the config".to_owned();
                        self.problems.error(
                            at,
                            format!(
                                "the files beside the config have more than {MAX_INCLUDED} bytes"
                            ),
                            help,
                        );
                    }
                    return None;
                }
                self.sources.push(source(path, bytes, &mut self.loader));
                Some(self.sources.len() - 1)
            }
            Err(why) => {
                self.problems.error(
                    at,
                    format!("the file {} {why}", shown(&path.display().to_string())),
                    None,
                );
                None
            }
        }
    }

    /// Reads the included files, in the order of their names for each pattern; the indices of their sources.
    fn include(&mut self, patterns: &[String]) -> Vec<usize> {
        let mut indices = Vec::new();
        let mut known: Vec<PathBuf> = Vec::new();
        for (number, pattern) in patterns.iter().enumerate() {
            let at = Place::root(0).key("include").index(number);
            let path = self.loader.base.join(pattern);
            if !pattern.contains(['*', '?', '[']) {
                known.push(path.clone());
                indices.extend(self.open(&path, &at));
                continue;
            }
            let found = match source::matching(&path) {
                Ok(found) => found,
                Err(BadPattern::Unreadable) => {
                    self.problems.error(
                        &at,
                        "this is not a pattern",
                        "write a path with `*`, such as `conf.d/*.yaml`".to_owned(),
                    );
                    continue;
                }
                Err(BadPattern::TooMany) => {
                    let message = format!(
                        "the pattern matches more than {MAX_MATCHES} files and directories"
                    );
                    self.problems.error(
                        &at,
                        message,
                        "name the directory of the config, such as `conf.d/*.yaml`".to_owned(),
                    );
                    continue;
                }
            };
            // A file that comes later is found by watching the pattern.
            self.loader.inputs.watch(&path);
            let found: Vec<PathBuf> = found.into_iter().filter(|path| path.is_file()).collect();
            if found.is_empty() {
                self.problems.warning(
                    &at,
                    "no file matches this pattern",
                    "check the path; it is relative to this file".to_owned(),
                );
            }
            for path in found {
                if !known.contains(&path) {
                    known.push(path.clone());
                    indices.extend(self.open(&path, &at));
                }
            }
        }
        indices
    }

    /// The built-in presets and those of a directory.
    fn catalogue(&mut self, directory: Option<&str>) -> Catalogue {
        let mut catalogue = Catalogue::built_in().clone();
        let Some(directory) = directory else {
            return catalogue;
        };
        let at = Place::root(0).key("providers");
        let directory = self.loader.base.join(directory);
        self.loader.inputs.watch(&directory.join("*.yaml"));
        let Ok(entries) = std::fs::read_dir(&directory) else {
            self.problems.error(
                &at,
                "the directory of presets cannot be read",
                "make it, with one `NAME.yaml` a provider".to_owned(),
            );
            return catalogue;
        };
        let is_preset = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        };
        let mut paths: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(is_preset)
            .collect();
        paths.sort();
        for path in paths {
            let Some(index) = self.open(&path, &at) else {
                continue;
            };
            let provider: file::Provider = self.parse(index);
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            check_facts(
                &provider.facts,
                &Place::root(index).key("facts"),
                &mut self.problems,
            );
            if !catalogue.add(name, provider) {
                self.problems.error(
                    &Place::root(index),
                    format!("`{}` is built in", shown(name)),
                    "give the file another name".to_owned(),
                );
            }
        }
        catalogue
    }
}

#[cfg(test)]
mod tests;
