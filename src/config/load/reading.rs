//! Reads the files of a config: the main file, included files and presets.
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::config::compile::Written;
use crate::config::diagnostic::{Diagnostics, Place, shown};
use crate::config::file;
use crate::config::presets::{Catalogue, check_facts};
use crate::config::secret::Loader;
use crate::config::source::{self, BadPattern, MAX_MATCHES, Source};
use crate::config::yaml_tree;

/// The largest size of all files beside the main one together, in bytes.
const MAX_INCLUDED: usize = 16 * 1024 * 1024;

/// Parses a file of the config. A file that was truncated since the last load has a fault.
pub(super) fn source(path: &Path, bytes: Zeroizing<Vec<u8>>, loader: &mut Loader<'_>) -> Source {
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

/// Returns upstreams with their places.
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

/// Returns routes with their places.
fn indexed(file: usize, routes: Vec<file::Route>) -> Vec<(Place, file::Route)> {
    let root = Place::root(file).key("routes");
    routes
        .into_iter()
        .enumerate()
        .map(|(index, route)| (root.index(index), route))
        .collect()
}

/// The files of a config while they are read.
pub(super) struct Reading<'a> {
    pub(super) loader: Loader<'a>,
    pub(super) sources: Vec<Source>,
    pub(super) problems: Diagnostics,
    /// The size of the files beside the main one.
    bytes: usize,
    /// Whether that is too much.
    is_too_large: bool,
}

impl<'a> Reading<'a> {
    /// Begins with the main file.
    pub(super) fn new(loader: Loader<'a>, main: Source) -> Self {
        Self {
            loader,
            sources: vec![main],
            problems: Diagnostics::default(),
            bytes: 0,
            is_too_large: false,
        }
    }

    /// Reads all files. Returns the config as written, and the presets.
    pub(super) fn all(&mut self) -> (Written, Catalogue) {
        let mut main: file::File = self.parse(0);
        let catalogue = self.catalogue(main.providers.as_deref());
        let mut upstreams = with_places(0, std::mem::take(&mut main.upstreams));
        let mut routes = indexed(0, std::mem::take(&mut main.routes));
        for index in self.include(&main.include) {
            let included: file::Included = self.parse(index);
            let file::Included {
                upstreams: more_upstreams,
                routes: more_routes,
            } = included;
            upstreams.extend(with_places(index, more_upstreams));
            routes.extend(indexed(index, more_routes));
        }
        let written = Written {
            main,
            upstreams,
            routes,
        };
        (written, catalogue)
    }

    /// Parses a source.
    fn parse<T: serde::de::DeserializeOwned + schemars::JsonSchema + Default>(
        &mut self,
        index: usize,
    ) -> T {
        self.sources
            .get_mut(index)
            .map(|source| source.parse(index, &mut self.problems))
            .unwrap_or_default()
    }

    /// Reads a file beside the main one, which the config names at `at`. Returns the index of its source.
    fn open(&mut self, path: &Path, at: &Place) -> Option<usize> {
        match self.loader.inputs.read(path, yaml_tree::MAX_BYTES) {
            // An editor may truncate a file before it writes it: that must not remove routes.
            Ok(bytes) if bytes.trim_ascii().is_empty() => {
                let help = "write its content, or a comment if it should be empty".to_owned();
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
                        let help = "include only config files".to_owned();
                        self.problems.error(
                            at,
                            format!(
                                "the included files and presets are larger than {MAX_INCLUDED} bytes together"
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

    /// Reads the included files, sorted by name for each pattern. Returns the indices of their sources.
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
            // Files that are added later are found by watching the pattern.
            self.loader.inputs.list(&path);
            let found = match source::matching(&path) {
                Ok(found) => found,
                Err(BadPattern::Unreadable) => {
                    self.problems.error(
                        &at,
                        "this is not a valid pattern",
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
                        "use a narrower pattern, such as `conf.d/*.yaml`".to_owned(),
                    );
                    continue;
                }
            };
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

    /// Returns the built-in presets and those of a directory.
    fn catalogue(&mut self, directory: Option<&str>) -> Catalogue {
        let mut catalogue = Catalogue::built_in().clone();
        let Some(directory) = directory else {
            return catalogue;
        };
        let at = Place::root(0).key("providers");
        let directory = self.loader.base.join(directory);
        self.loader.inputs.list(&directory.join("*.yaml"));
        let Ok(entries) = std::fs::read_dir(&directory) else {
            self.problems.error(
                &at,
                "the directory of presets cannot be read",
                "create it, with one `NAME.yaml` per provider".to_owned(),
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
                    format!("`{}` is a built-in provider", shown(name)),
                    "rename the file".to_owned(),
                );
            }
        }
        catalogue
    }
}
