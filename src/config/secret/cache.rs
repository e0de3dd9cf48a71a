//! Stores what one load of the config leaves to the next.
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::inputs::Digest;
use crate::config::secret::row::Row;
use crate::config::snapshot::Identity;
use crate::event::catalogue::{Catalogue, Finding};

/// The results of a load that the next one needs: the last good texts of files, and the entries of tables.
#[derive(Default)]
pub struct Cache {
    pub(super) texts: HashMap<PathBuf, Zeroizing<Vec<u8>>>,
    pub(super) rows: HashMap<PathBuf, Row>,
    /// Files whose trailing newline was ignored and logged.
    pub(super) trimmed: HashSet<PathBuf>,
    /// The last good pairs, by the files of certificate and key.
    pub(super) pairs: HashMap<(PathBuf, PathBuf), Arc<Identity>>,
    /// The catalogue of events.
    catalogue: Option<CompiledCatalogue>,
    /// The texts of the config and its included files.
    written: HashMap<PathBuf, Zeroizing<Vec<u8>>>,
    /// The top-level keys of the config.
    keys: BTreeSet<String>,
    /// The last good texts of files that are read at each connect.
    connect_texts: HashMap<PathBuf, Zeroizing<String>>,
}

/// A catalogue of events that was compiled from files with this content. Compiling a large one takes seconds.
#[derive(Clone, Debug)]
pub struct CompiledCatalogue {
    /// The digest of all names and contents.
    pub content: Digest,
    /// The types.
    pub catalogue: Arc<Catalogue>,
    /// The warnings.
    pub findings: Vec<Finding>,
}

impl Cache {
    /// Stores a compiled catalogue for the next load.
    pub fn keep_catalogue(&mut self, compiled: CompiledCatalogue) {
        self.catalogue = Some(compiled);
    }

    /// Returns the compiled catalogue, if it was made of files with this content.
    pub fn catalogue(&self, content: Digest) -> Option<&CompiledCatalogue> {
        let compiled = self.catalogue.as_ref();
        compiled.filter(|compiled| compiled.content == content)
    }

    /// Stores a good pair for the next load.
    pub fn keep_pair(&mut self, files: (PathBuf, PathBuf), pair: Arc<Identity>) {
        self.pairs.insert(files, pair);
    }

    /// Stores the text of a file that is read at each connect for the next load.
    pub fn keep_connect_text(&mut self, path: &Path, text: Zeroizing<String>) {
        self.connect_texts.insert(path.to_owned(), text);
    }

    /// Returns the last good text of a file that is read at each connect.
    pub fn connect_text(&self, path: &Path) -> Option<&Zeroizing<String>> {
        self.connect_texts.get(path)
    }

    /// Stores the text of a file of the config for the next load.
    pub fn keep_written(&mut self, path: &Path, bytes: Zeroizing<Vec<u8>>) {
        self.written.insert(path.to_owned(), bytes);
    }

    /// Returns whether `bytes` are the earlier content of the file, truncated in the middle of a line.
    pub fn breaks_off(&self, path: &Path, bytes: &[u8]) -> bool {
        let Some(before) = self.written.get(path) else {
            return false;
        };
        let Some(rest) = before
            .strip_prefix(bytes)
            .filter(|rest| !rest.trim_ascii().is_empty())
        else {
            return false;
        };
        let whole_lines =
            bytes.ends_with(b"\n") || rest.starts_with(b"\n") && !before.ends_with(b"\n");
        !whole_lines
    }

    /// Stores the top-level keys of the config, and returns those of `previous` that are gone.
    pub fn keep_keys(&mut self, keys: BTreeSet<String>, previous: Option<&Self>) -> Vec<String> {
        let gone = previous.map(|previous| previous.keys.difference(&keys).cloned().collect());
        self.keys = keys;
        gone.unwrap_or_default()
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("files", &self.texts.len())
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}
