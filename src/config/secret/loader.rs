//! The inputs of loading secrets, and its results beside the diagnostics.
use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::clock::{Dates, Now};
use crate::config::inputs::Inputs;
use crate::config::secret::cache::Cache;
use crate::config::snapshot::Identity;

/// A function that reads one environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The sources of all secrets, for `doctor`.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    /// The files, those of tables included.
    pub files: Vec<PathBuf>,
    /// The number of secrets in the environment.
    pub variables: usize,
    /// The names (`route/secret`) of secrets that are written into the config.
    pub inline: Vec<String>,
}

/// The inputs of loading secrets, and its results beside the diagnostics.
pub struct Loader<'a> {
    /// The directory of the config, to which paths are relative.
    pub base: &'a Path,
    /// The environment.
    pub env: Env<'a>,
    /// The cache of the previous load.
    pub previous: Option<&'a Cache>,
    /// The cache for the next load.
    pub cache: Cache,
    /// All files that were read.
    pub inputs: Inputs,
    /// Notes for the log.
    pub notes: Vec<String>,
    /// The names of secrets whose file contains no valid text now, so that the last good one stays in use.
    pub stale: Vec<String>,
    /// The certificates whose files contain no valid pair now, with the reason. The last good pair stays in use.
    pub stale_certificates: Vec<String>,
    /// The number of secrets that were loaded.
    pub count: usize,
    /// The sources of the secrets.
    pub origins: Origins,
    /// The time of the load.
    pub now: Now,
    /// The time by which certificates are judged.
    pub dates: Dates,
    /// The route that uses a text, by the hash of the text.
    pub(super) routes: HashMap<[u8; 32], String>,
}

impl std::fmt::Debug for Loader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

impl<'a> Loader<'a> {
    /// Creates a loader that has read nothing.
    pub fn new(
        base: &'a Path,
        env: Env<'a>,
        previous: Option<&'a Cache>,
        now: Now,
        dates: Dates,
    ) -> Self {
        Self {
            base,
            env,
            previous,
            cache: Cache::default(),
            inputs: Inputs::default(),
            notes: Vec::new(),
            stale: Vec::new(),
            stale_certificates: Vec::new(),
            count: 0,
            origins: Origins::default(),
            now,
            dates,
            routes: HashMap::new(),
        }
    }

    /// Returns the last good pair of these files.
    pub fn last_good_pair(&self, files: &(PathBuf, PathBuf)) -> Option<Arc<Identity>> {
        self.previous?.pairs.get(files).map(Arc::clone)
    }
}
